//! The figures of an open ring.

use super::Ring;
use crate::Storage;

/// Figures of an open ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Bytes of the whole ring, its own overhead included.
    pub capacity_bytes: u64,
    /// Bytes of the segments in use.
    pub used_bytes: u64,
    /// How many segments there are.
    pub segments: u32,
    /// How many segments are in use.
    pub segments_used: u32,
    /// Bytes of a segment.
    pub segment_bytes: u32,
    /// How many times this ring was recovered, and once more.
    pub generation: u64,
    /// Bytes written since the ring was opened.
    pub written_bytes: u64,
    /// Syncs since the ring was opened.
    pub syncs: u64,
    /// Bytes written in all the ring's life, the two superblocks of its creation not counted.
    ///
    /// After a crash it may miss what was written of the group that was cut.
    pub written_bytes_ever: u64,
    /// Syncs in all the ring's life, counted in the same way.
    pub syncs_ever: u64,
    /// Bytes that all states together occupy.
    pub state_bytes: usize,
    /// Bytes that all states together may occupy.
    pub state_bytes_max: usize,
}

impl<S: Storage> Ring<S> {
    /// Figures for status and metrics.
    pub fn stats(&self) -> Stats {
        let geometry = &self.format.geometry;
        let used = u64::try_from(self.segments.len()).unwrap_or(u64::MAX);
        let closed = used.saturating_sub(1) * u64::from(geometry.segment_bytes);
        let wear = self.writer.wear();
        Stats {
            capacity_bytes: geometry.capacity,
            used_bytes: closed + u64::from(self.writer.end()),
            segments: geometry.segments,
            segments_used: u32::try_from(used).unwrap_or(u32::MAX),
            segment_bytes: geometry.segment_bytes,
            generation: self.writer.generation(),
            written_bytes: self.writer.written_bytes(),
            syncs: self.writer.syncs(),
            written_bytes_ever: wear.written_bytes,
            syncs_ever: wear.syncs,
            state_bytes: self.states.len_max(),
            state_bytes_max: geometry.state_bytes_max(),
        }
    }
}

//! Which entries somebody means who wants them delivered once more.
//!
//! A replay is a range of the log between two numbers or two times of reception. What waits for
//! the destination anyway is left out, and so is what was overwritten, which is told.

use diskring::{Read, Ring, Seq, Storage, StorageError};
use serde::{Deserialize, Serialize};

use crate::stored::StoredRef;
use crate::time::WallClock;

/// What is asked for; everything that is still there when nothing is named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayWish {
    /// From the first record received then or later, in milliseconds since 1970.
    pub since_ms: Option<i64>,
    /// Up to the first record received then or later, in milliseconds since 1970.
    pub until_ms: Option<i64>,
    /// From this entry.
    pub from_seq: Option<u64>,
    /// Up to this entry, which is not meant any more.
    pub to_seq: Option<u64>,
}

/// What a wish comes to in a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayRange {
    /// The first entry; as many as `end - first` are looked at.
    pub first: u64,
    /// The first entry that is not meant any more.
    pub end: u64,
    /// The oldest entry that is left.
    pub oldest: u64,
    /// When that was received, in milliseconds since 1970.
    pub oldest_ms: Option<i64>,
    /// Everything before waits for nobody: only this may be delivered once more.
    pub delivered: u64,
    /// Whether some of what was asked for is overwritten already.
    pub is_cut: bool,
}

impl ReplayRange {
    /// Whether nothing is left of the wish.
    pub const fn is_empty(&self) -> bool {
        self.first >= self.end
    }
}

impl ReplayWish {
    /// What is left of it in `ring`, for a destination that has everything before `delivered`.
    pub fn find<S: Storage>(
        &self,
        ring: &Ring<S>,
        delivered: Seq,
    ) -> Result<ReplayRange, StorageError> {
        let oldest = ring.first();
        let oldest_ms = next_time(ring, oldest)?.map(WallClock::as_millis);
        let mut first = Seq::new(self.from_seq.unwrap_or(0));
        if let Some(since) = self.since_ms {
            first = first.max(first_since(ring, since)?);
        }
        let mut end = Seq::new(self.to_seq.unwrap_or(u64::MAX)).min(delivered);
        if let Some(until) = self.until_ms {
            end = end.min(first_since(ring, until)?);
        }
        let wants_older = match (self.since_ms, self.from_seq) {
            (Some(since), _) => oldest_ms.is_some_and(|oldest_ms| since < oldest_ms),
            (None, Some(from)) => from < oldest.get(),
            (None, None) => false,
        };
        Ok(ReplayRange {
            first: first.max(oldest).get(),
            end: end.get(),
            oldest: oldest.get(),
            oldest_ms,
            delivered: delivered.get(),
            is_cut: wants_older && oldest > Seq::ZERO,
        })
    }
}

/// The first entry that was received at `at_ms` or later; the end of the log when there is none.
///
/// Where the clock was set back in between, it is the first one in the order of the log.
pub fn first_since<S: Storage>(ring: &Ring<S>, at_ms: i64) -> Result<Seq, StorageError> {
    let mut cursor = ring.cursor(ring.seek_time(at_ms));
    loop {
        match ring.read(&mut cursor)? {
            Read::Frame(frame) => {
                let is_late = |payload| {
                    StoredRef::decode(payload)
                        .is_ok_and(|record| record.received_at.as_millis() >= at_ms)
                };
                let found = frame.entries().find(|entry| is_late(entry.payload));
                if let Some(entry) = found {
                    return Ok(entry.seq);
                }
            }
            Read::Lost { .. } | Read::Evicted { .. } => {}
            Read::End => return Ok(cursor.seq()),
        }
    }
}

/// When the first entry from `seq` on that can be read was received.
fn next_time<S: Storage>(ring: &Ring<S>, seq: Seq) -> Result<Option<WallClock>, StorageError> {
    let mut cursor = ring.cursor(seq);
    loop {
        match ring.read(&mut cursor)? {
            Read::Frame(frame) => {
                let mut times = frame
                    .entries()
                    .filter_map(|entry| StoredRef::decode(entry.payload).ok());
                if let Some(record) = times.next() {
                    return Ok(Some(record.received_at));
                }
            }
            Read::Lost { .. } | Read::Evicted { .. } => {}
            Read::End => return Ok(None),
        }
    }
}

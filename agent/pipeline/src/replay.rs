//! Which entries somebody means who wants them delivered once more.
//!
//! A replay is a range of the log between two numbers or two times of reception. What waits for
//! the destination anyway is left out, and so is what was overwritten, which is told.

use diskring::{Read, Ring, Seq, Storage, StorageError};
use serde::{Deserialize, Serialize};

use crate::boots::Boots;
use crate::stored::{ClockMark, StoredRef};
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
        boots: &Boots,
        delivered: Seq,
    ) -> Result<ReplayRange, StorageError> {
        let oldest = ring.first();
        let oldest_ms = first_time(ring, boots, oldest)?.map(WallClock::as_millis);
        let mut first = Seq::new(self.from_seq.unwrap_or(0));
        if let Some(since) = self.since_ms {
            first = first.max(first_since(ring, boots, since)?);
        }
        let mut end = Seq::new(self.to_seq.unwrap_or(u64::MAX)).min(delivered);
        if let Some(until) = self.until_ms {
            end = end.min(first_since(ring, boots, until)?);
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
/// Where the clock was set back in between, it is the first one in the order of the log. Times that
/// were not known count as corrected; one that never will be known is none.
pub fn first_since<S: Storage>(
    ring: &Ring<S>,
    boots: &Boots,
    at_ms: i64,
) -> Result<Seq, StorageError> {
    let mut cursor = ring.cursor(ring.seek_time(at_ms));
    loop {
        match ring.read(&mut cursor)? {
            Read::Frame(frame) => {
                let is_late =
                    |payload| known_time(boots, payload).is_some_and(|at| at.as_millis() >= at_ms);
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

/// When the last entry was received whose time is known, in the newest segments that have one.
pub fn last_time<S: Storage>(
    ring: &Ring<S>,
    boots: &Boots,
) -> Result<Option<WallClock>, StorageError> {
    let starts: Vec<Seq> = ring.segments().map(|segment| segment.first).collect();
    let mut end = ring.durable();
    for start in starts.into_iter().rev() {
        let mut cursor = ring.cursor(start);
        let mut last = None;
        while cursor.seq() < end {
            match ring.read(&mut cursor)? {
                Read::Frame(frame) => {
                    let times = frame.entries();
                    let times = times.filter_map(|entry| known_time(boots, entry.payload));
                    last = times.last().or(last);
                }
                Read::Lost { .. } | Read::Evicted { .. } => {}
                Read::End => break,
            }
        }
        if last.is_some() {
            return Ok(last);
        }
        end = start;
    }
    Ok(None)
}

/// When a stored record was received, if that is known.
pub fn known_time(boots: &Boots, stored: &[u8]) -> Option<WallClock> {
    let mut record = StoredRef::decode(stored).ok()?;
    boots.correct(&mut record);
    let is_known = !matches!(record.clock, ClockMark::Unsynced { .. });
    is_known.then_some(record.received_at)
}

/// When the first entry from `seq` on was received whose time is known.
pub fn first_time<S: Storage>(
    ring: &Ring<S>,
    boots: &Boots,
    seq: Seq,
) -> Result<Option<WallClock>, StorageError> {
    let mut cursor = ring.cursor(seq);
    loop {
        match ring.read(&mut cursor)? {
            Read::Frame(frame) => {
                let times = frame.entries();
                let mut times = times.filter_map(|entry| known_time(boots, entry.payload));
                if let Some(time) = times.next() {
                    return Ok(Some(time));
                }
            }
            Read::Lost { .. } | Read::Evicted { .. } => {}
            Read::End => return Ok(None),
        }
    }
}

//! How many entries of each tag lie in a range, mostly without reading them.
//!
//! Each segment opens with how many entries of each tag came before it. The difference of two such
//! snapshots is believed only when it sums to the entries between them; where it does not, because
//! something rotted, the range is halved until it is one segment, and that one is read.

use std::collections::BTreeMap;

use super::Ring;
use crate::read::Read;
use crate::state::OTHER_TAGS;
use crate::{Seq, Storage, StorageError};

type Counts = BTreeMap<u16, u64>;

impl<S: Storage> Ring<S> {
    /// How many entries with this tag were appended since the ring was created, the evicted and
    /// those that wait for a sync included.
    ///
    /// After a cut it is what the log says; entries that rotted in the newest segment are missing.
    pub fn appended(&self, tag: u16) -> u64 {
        self.states.counts().get(&tag).copied().unwrap_or(0)
    }

    /// How many entries of each tag lie in `first..end`, of those that were not evicted.
    ///
    /// At most the two segments at the ends are read, and those whose counts rotted. What cannot
    /// be known any more is missing: the counts then sum to less than there are entries.
    pub fn counts(&self, first: Seq, end: Seq) -> Result<BTreeMap<u16, u64>, StorageError> {
        self.check_poison()?;
        let (first, end) = (first.max(self.first()), end.min(self.next()));
        let mut counts = Counts::new();
        if first >= end {
            return Ok(counts);
        }
        let mut from = self.index_of(first);
        let mut to = self.index_of(Seq::new(end.get().saturating_sub(1))) + 1;
        let head_end = self.boundary(from + 1).min(end);
        if self.boundary(from) < first || head_end < self.boundary(from + 1) {
            add(&mut counts, self.count_part(from, first, head_end)?);
            from += 1;
        }
        if from < to && end < self.boundary(to) {
            to -= 1;
            add(&mut counts, self.count_part(to, self.boundary(to), end)?);
        }
        add(&mut counts, self.count_segments(from, to)?);
        Ok(counts)
    }

    /// The index of the segment with this entry.
    fn index_of(&self, seq: Seq) -> usize {
        self.segments
            .partition_point(|segment| segment.first <= seq)
            .saturating_sub(1)
    }

    /// The first entry of the segment at `index`, or the end of the log.
    pub(super) fn boundary(&self, index: usize) -> Seq {
        self.segments
            .get(index)
            .map_or(self.next(), |segment| segment.first)
    }

    fn count_segments(&self, from: usize, to: usize) -> Result<Counts, StorageError> {
        if from >= to {
            return Ok(Counts::new());
        }
        if let Some(counts) = self.snapshot_counts(from, to) {
            return Ok(counts);
        }
        if to - from == 1 {
            return self.scan(self.boundary(from), self.boundary(to));
        }
        let middle = from + (to - from) / 2;
        let mut counts = self.count_segments(from, middle)?;
        add(&mut counts, self.count_segments(middle, to)?);
        Ok(counts)
    }

    /// A part of one segment.
    fn count_part(&self, index: usize, first: Seq, end: Seq) -> Result<Counts, StorageError> {
        let counts = self.scan(first, end)?;
        if sum(&counts) == end.since(first) {
            return Ok(counts);
        }
        // What cannot be read here is what the segment's other entries leave of the whole.
        let Some(mut whole) = self.snapshot_counts(index, index + 1) else {
            return Ok(counts);
        };
        let (start, stop) = (self.boundary(index), self.boundary(index + 1));
        let mut others = self.scan(start, first)?;
        add(&mut others, self.scan(end, stop)?);
        if sum(&others) != first.since(start) + stop.since(end) {
            return Ok(counts);
        }
        for (tag, count) in &mut whole {
            *count = count.saturating_sub(others.get(tag).copied().unwrap_or(0));
        }
        whole.retain(|_, count| *count > 0);
        Ok(whole)
    }

    /// What the snapshots tell of the segments `from..to`; `None` when that is not all of it.
    fn snapshot_counts(&self, from: usize, to: usize) -> Option<Counts> {
        let earlier = self.counts_before(self.segments.get(from)?)?;
        let mut later = match self.segments.get(to) {
            Some(segment) => self.counts_before(segment)?,
            None => self.states.counts().clone(),
        };
        for (tag, before) in earlier {
            let count = later.get_mut(&tag)?;
            *count = count.checked_sub(before)?;
        }
        later.retain(|_, count| *count > 0);
        let entries = self.boundary(to).since(self.boundary(from));
        let is_whole = sum(&later) == entries && !later.contains_key(&OTHER_TAGS);
        is_whole.then_some(later)
    }

    /// Counts what can be read.
    fn scan(&self, first: Seq, end: Seq) -> Result<Counts, StorageError> {
        let mut counts = Counts::new();
        let mut cursor = self.cursor(first);
        while cursor.seq() < end {
            match self.read(&mut cursor)? {
                Read::Frame(frame) => {
                    for entry in frame.entries().filter(|entry| entry.seq < end) {
                        *counts.entry(entry.tag).or_default() += 1;
                    }
                }
                Read::Lost { .. } | Read::Evicted { .. } => {}
                Read::End => break,
            }
        }
        Ok(counts)
    }
}

fn add(counts: &mut Counts, more: Counts) {
    for (tag, count) in more {
        *counts.entry(tag).or_default() += count;
    }
}

fn sum(counts: &Counts) -> u64 {
    counts.values().sum()
}

//! Counters that survive a crash, and the law between them.
//!
//! For a source: received = filtered + stored. For a destination: what its sources stored since it
//! began = delivered + rejected + filtered + evicted + truncated + waiting. A tally only adds up;
//! [`crate::books`] says when, and keeps tallies as states of the ring, durable in the same sync
//! as what they count.

use std::collections::{BTreeMap, BTreeSet};

use diskring::Seq;

/// What became of a source's records, ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceTally {
    /// Put into the ring.
    pub stored: u64,
    /// Let go by a transform.
    pub filtered: u64,
    /// Kept raw because they could not be understood.
    pub decode_errors: u64,
    /// Cut because they were too long.
    pub cut: u64,
    /// Turned away.
    pub refused: u64,
}

impl SourceTally {
    /// Records taken in, ever.
    pub const fn received(&self) -> u64 {
        self.stored.saturating_add(self.filtered)
    }
}

/// The source of evicted records of which only the number is known.
pub const UNKNOWN_SOURCE: u16 = u16::MAX;

/// What became of the records of one batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchOutcome {
    /// Accepted by the destination.
    pub delivered: u64,
    /// Refused for good; in the dead letter.
    pub rejected: u64,
    /// Let go by the destination's transforms.
    pub filtered: u64,
    /// Not readable any more, those of sources that the destination does not take included.
    pub truncated: u64,
    /// Overwritten between two attempts; of which source is not known any more.
    pub evicted: u64,
}

impl BatchOutcome {
    /// How many records that were waiting are surely not any more.
    const fn settled(&self) -> u64 {
        self.delivered
            .saturating_add(self.rejected)
            .saturating_add(self.filtered)
            .saturating_add(self.evicted)
    }
}

impl std::ops::AddAssign for BatchOutcome {
    fn add_assign(&mut self, other: Self) {
        self.delivered += other.delivered;
        self.rejected += other.rejected;
        self.filtered += other.filtered;
        self.truncated += other.truncated;
        self.evicted += other.evicted;
    }
}

/// Where a destination stands, and what became of its records, ever.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DestinationTally {
    committed: u64,
    planned: u64,
    delivered: u64,
    rejected: u64,
    filtered: u64,
    truncated: u64,
    waiting: u64,
    /// How many entries of its sources the ring had had when `waiting` was counted.
    counted: u64,
    /// The sources it takes by number; `None` is every source.
    takes: Option<BTreeSet<u16>>,
    evicted: BTreeMap<u16, u64>,
}

/// How many numbers of a destination have a fixed place in its state.
const NUMBERS: usize = 9;

impl DestinationTally {
    /// A destination that begins with `start`.
    pub(crate) fn starting_at(start: Seq) -> Self {
        let start = start.get();
        Self {
            committed: start,
            planned: start,
            ..Self::default()
        }
    }

    /// As a state of the ring.
    ///
    /// Only sources that are taken or told apart make it longer: a commit needs no room, nor does an
    /// eviction of unknown sources, however full the ring is.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let unknown = self.evicted.get(&UNKNOWN_SOURCE).copied().unwrap_or(0);
        let numbers: [u64; NUMBERS] = [
            self.committed,
            self.planned,
            self.delivered,
            self.rejected,
            self.filtered,
            self.truncated,
            self.waiting,
            self.counted,
            unknown,
        ];
        let mut evicted = self.evicted.clone();
        evicted.remove(&UNKNOWN_SOURCE);
        // Sets and maps of numbers always serialize.
        let sources = postcard::to_allocvec(&(&self.takes, evicted)).unwrap_or_default();
        let mut bytes: Vec<u8> = numbers.into_iter().flat_map(u64::to_le_bytes).collect();
        bytes.extend_from_slice(&sources);
        bytes
    }

    /// Out of a state of the ring; `None` for anything else.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (numbers, sources) = bytes.split_at_checked(NUMBERS * size_of::<u64>())?;
        let (numbers, _) = numbers.as_chunks();
        let [
            committed,
            planned,
            delivered,
            rejected,
            filtered,
            truncated,
            waiting,
            counted,
            unknown,
        ] = <[[u8; 8]; NUMBERS]>::try_from(numbers)
            .ok()?
            .map(u64::from_le_bytes);
        let (takes, evicted) = postcard::from_bytes(sources).ok()?;
        let mut tally = Self {
            committed,
            planned,
            delivered,
            rejected,
            filtered,
            truncated,
            waiting,
            counted,
            takes,
            evicted,
        };
        tally.add_evicted(UNKNOWN_SOURCE, unknown);
        Some(tally)
    }

    /// Everything before has a final verdict.
    pub const fn committed(&self) -> Seq {
        Seq::new(self.committed)
    }

    /// The batch that was begun, if its verdict is not known: everything from `committed` to here.
    pub fn planned(&self) -> Option<Seq> {
        (self.planned > self.committed).then_some(Seq::new(self.planned))
    }

    /// Accepted, ever.
    pub const fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Refused for good, ever.
    pub const fn rejected(&self) -> u64 {
        self.rejected
    }

    /// Let go by the destination's transforms, ever.
    pub const fn filtered(&self) -> u64 {
        self.filtered
    }

    /// Not readable any more, ever.
    pub const fn truncated(&self) -> u64 {
        self.truncated
    }

    /// Records that wait for this destination.
    pub const fn waiting(&self) -> u64 {
        self.waiting
    }

    /// Evicted before they were delivered, ever, by source number.
    pub const fn evicted(&self) -> &BTreeMap<u16, u64> {
        &self.evicted
    }

    /// The sources it takes by number; `None` is every source.
    pub const fn takes(&self) -> Option<&BTreeSet<u16>> {
        self.takes.as_ref()
    }

    /// The ring has had `entries` entries of this destination's sources by now.
    pub(crate) const fn count(&mut self, entries: u64) {
        self.waiting += entries.saturating_sub(self.counted);
        self.counted = entries;
    }

    /// It takes these sources from here on, of which the ring has had `entries` entries.
    pub(crate) fn set_takes(&mut self, takes: Option<BTreeSet<u16>>, entries: u64) {
        self.takes = takes;
        self.counted = entries;
    }

    /// So many wait, as was counted anew; gives how many fewer these are than were thought.
    pub(crate) const fn recount(&mut self, waiting: u64) -> u64 {
        let missing = self.waiting.saturating_sub(waiting);
        self.waiting = waiting;
        missing
    }

    /// A batch up to `end` is about to be sent.
    pub(crate) const fn plan(&mut self, end: Seq) {
        self.planned = end.get();
    }

    /// Everything before `end` has a final verdict; what was planned beyond it stays planned.
    ///
    /// What could not be read is left to a recount, which knows for whom it was.
    pub(crate) fn commit(&mut self, end: Seq, outcome: BatchOutcome) {
        self.skip_to(end);
        self.delivered += outcome.delivered;
        self.rejected += outcome.rejected;
        self.filtered += outcome.filtered;
        self.waiting = self.waiting.saturating_sub(outcome.settled());
        self.add_evicted(UNKNOWN_SOURCE, outcome.evicted);
    }

    /// Records of this source, which were waiting, made room.
    pub(crate) fn evict(&mut self, source: u16, count: u64) {
        self.waiting = self.waiting.saturating_sub(count);
        self.add_evicted(source, count);
    }

    /// Records that do not count as waiting any more made room.
    pub(crate) fn add_evicted(&mut self, source: u16, count: u64) {
        if count > 0 {
            *self.evicted.entry(source).or_default() += count;
        }
    }

    /// Records that do not count as waiting any more could not be read.
    pub(crate) const fn add_truncated(&mut self, count: u64) {
        self.truncated += count;
    }

    /// Everything before `end` was accounted for.
    pub(crate) fn skip_to(&mut self, end: Seq) {
        self.committed = self.committed.max(end.get());
        self.planned = self.planned.max(self.committed);
    }

    /// Keeps evictions apart only for the sources that `keep` names.
    pub(crate) fn merge_evicted(&mut self, keep: impl Fn(u16) -> bool) {
        let merged: u64 = self
            .evicted
            .extract_if(.., |source, _| *source != UNKNOWN_SOURCE && !keep(*source))
            .map(|(_, count)| count)
            .sum();
        self.add_evicted(UNKNOWN_SOURCE, merged);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_law_of_a_destination_holds() {
        let mut tally = DestinationTally::starting_at(Seq::new(10));
        tally.set_takes(None, 10);
        tally.count(20);
        assert_eq!(tally.waiting(), 10);
        tally.plan(Seq::new(14));
        assert_eq!(tally.planned(), Some(Seq::new(14)));
        let outcome = BatchOutcome {
            delivered: 1,
            rejected: 1,
            ..BatchOutcome::default()
        };
        tally.commit(Seq::new(12), outcome);
        assert_eq!((tally.waiting(), tally.planned()), (8, Some(Seq::new(14))));
        tally.commit(Seq::new(14), outcome);
        assert_eq!((tally.waiting(), tally.planned()), (6, None));
        tally.evict(7, 2);
        tally.evict(8, 0);
        tally.skip_to(Seq::new(16));
        assert_eq!((tally.waiting(), tally.committed()), (4, Seq::new(16)));
        assert_eq!(tally.recount(3), 1);
        tally.add_truncated(1);
        assert_eq!(tally.evicted(), &BTreeMap::from([(7, 2)]));
        tally.merge_evicted(|source| source == 8);
        assert_eq!(tally.evicted(), &BTreeMap::from([(UNKNOWN_SOURCE, 2)]));
        let settled = tally.delivered() + tally.rejected() + tally.truncated() + 2;
        assert_eq!(settled + tally.waiting(), 10);
        assert_eq!(DestinationTally::decode(&tally.encode()), Some(tally));
    }

    #[test]
    fn a_position_never_goes_back() {
        let mut tally = DestinationTally::starting_at(Seq::new(10));
        tally.commit(Seq::new(4), BatchOutcome::default());
        assert_eq!((tally.committed(), tally.planned()), (Seq::new(10), None));
    }

    #[test]
    fn received_is_filtered_and_stored() {
        let tally = SourceTally {
            stored: 3,
            filtered: 4,
            ..SourceTally::default()
        };
        assert_eq!(tally.received(), 7);
    }
}

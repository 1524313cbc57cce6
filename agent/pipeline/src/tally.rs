//! Counters that survive a crash, and the law between them.
//!
//! For a source: received = filtered + stored. For a destination: what its sources stored =
//! delivered + rejected + filtered + evicted + truncated + waiting. Tallies are states of the
//! ring, durable in the same sync as what they count.

use std::collections::BTreeMap;

use diskring::Seq;
use serde::{Deserialize, Serialize};

/// What became of a source's records, ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceTally {
    /// In the ring.
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

    /// As a state of the ring.
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Out of a state of the ring; `None` for anything else.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        postcard::from_bytes(bytes).ok()
    }

    /// Whether something besides `stored` differs from `other`: what no scan of the ring tells.
    pub fn losses_differ(&self, other: &Self) -> bool {
        Self { stored: 0, ..*self }
            != Self {
                stored: 0,
                ..*other
            }
    }
}

/// Where a destination stands, and what became of its records, ever.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DestinationTally {
    committed: u64,
    planned: u64,
    delivered: u64,
    rejected: u64,
    filtered: u64,
    evicted: BTreeMap<u16, u64>,
    truncated: u64,
    waiting: u64,
    counted: u64,
}

/// What became of the records of one batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchOutcome {
    /// Accepted by the destination.
    pub delivered: u64,
    /// Refused for good; in the dead letter.
    pub rejected: u64,
    /// Let go by the destination's transforms.
    pub filtered: u64,
    /// Not readable any more.
    pub truncated: u64,
    /// Overwritten between two attempts; of which source is not known any more.
    pub evicted: u64,
}

/// The source of evicted records of which only the number is known.
pub const UNKNOWN_SOURCE: u16 = u16::MAX;

impl BatchOutcome {
    /// How many records that were waiting are not any more.
    pub const fn count(&self) -> u64 {
        self.delivered
            .saturating_add(self.rejected)
            .saturating_add(self.filtered)
            .saturating_add(self.truncated)
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

impl DestinationTally {
    /// As a state of the ring.
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Out of a state of the ring; `None` for anything else.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        postcard::from_bytes(bytes).ok()
    }

    /// A destination that begins with `start`; `waiting` records from there up to `counted` are
    /// for it.
    pub fn starting_at(start: Seq) -> Self {
        let start = start.get();
        Self {
            committed: start,
            planned: start,
            counted: start,
            ..Self::default()
        }
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

    /// Up to where `waiting` was counted.
    pub const fn counted(&self) -> Seq {
        Seq::new(self.counted)
    }

    /// The entry before `next` was appended; `takes` says whether it is for this destination.
    pub const fn appended(&mut self, next: Seq, takes: bool) {
        self.counted = next.get();
        if takes {
            self.waiting += 1;
        }
    }

    /// A batch up to `end` is about to be sent.
    pub const fn plan(&mut self, end: Seq) {
        self.planned = end.get();
    }

    /// Everything before `end` has a final verdict.
    pub fn commit(&mut self, end: Seq, outcome: BatchOutcome) {
        debug_assert!(self.committed <= end.get(), "a position never goes back");
        self.committed = self.committed.max(end.get());
        self.planned = self.committed;
        self.delivered += outcome.delivered;
        self.rejected += outcome.rejected;
        self.filtered += outcome.filtered;
        self.truncated += outcome.truncated;
        if outcome.evicted > 0 {
            *self.evicted.entry(UNKNOWN_SOURCE).or_default() += outcome.evicted;
        }
        self.waiting = self.waiting.saturating_sub(outcome.count());
    }

    /// Records of these sources made room before this destination had them.
    pub fn evict(&mut self, counts: impl IntoIterator<Item = (u16, u64)>) {
        for (source, count) in counts {
            if count > 0 {
                *self.evicted.entry(source).or_default() += count;
                self.waiting = self.waiting.saturating_sub(count);
            }
        }
    }

    /// Nothing before `first` is in the ring any more, and all of it was accounted for.
    pub fn skip_to(&mut self, first: Seq) {
        self.committed = self.committed.max(first.get());
        self.planned = self.planned.max(self.committed);
    }

    /// Forgets how many wait; they are counted anew from `committed` on.
    pub const fn recount(&mut self) {
        self.waiting = 0;
        self.counted = self.committed;
    }
}

fn encode(tally: &impl Serialize) -> Vec<u8> {
    // Numbers and maps of numbers always serialize.
    postcard::to_allocvec(tally).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_law_of_a_destination_holds() {
        let mut tally = DestinationTally::starting_at(Seq::new(10));
        for seq in 11..=20 {
            tally.appended(Seq::new(seq), seq % 2 == 0);
        }
        assert_eq!(tally.waiting(), 5);
        tally.plan(Seq::new(14));
        assert_eq!(tally.planned(), Some(Seq::new(14)));
        tally.commit(
            Seq::new(14),
            BatchOutcome {
                delivered: 1,
                rejected: 1,
                ..BatchOutcome::default()
            },
        );
        assert_eq!((tally.waiting(), tally.planned()), (3, None));
        tally.evict([(7, 2), (8, 0)]);
        tally.skip_to(Seq::new(18));
        assert_eq!((tally.waiting(), tally.committed()), (1, Seq::new(18)));
        assert_eq!(tally.evicted().get(&7), Some(&2));
        assert_eq!(tally.evicted().len(), 1);
    }

    #[test]
    fn received_is_filtered_and_stored() {
        let tally = SourceTally {
            stored: 3,
            filtered: 4,
            ..SourceTally::default()
        };
        assert_eq!(tally.received(), 7);
        assert!(!tally.losses_differ(&SourceTally { stored: 9, ..tally }));
        assert!(tally.losses_differ(&SourceTally { cut: 1, ..tally }));
    }
}

//! The book of one destination: what is given, evicted and committed, and when to count anew.
//!
//! Everything before `given` is its driver's to account for, evicted or not; what is evicted beyond
//! is booked here, and skipped once the driver has come to it. While all of it is still in the ring
//! a recount tells exactly how many records wait, and so how many rot has cost.

use std::collections::{BTreeMap, BTreeSet};

use diskring::{PutError, Ring, Seq, Storage, StorageError};

use super::states::{Ledger, destination_key};
use crate::tally::{BatchOutcome, DestinationTally, UNKNOWN_SOURCE};

/// A destination that is known, open or not.
#[derive(Debug)]
pub(super) struct DestinationBook {
    pub(super) name: String,
    pub(super) tally: DestinationTally,
    pub(super) is_open: bool,
    pub(super) is_unwritten: bool,
    /// The sources it takes by name, once it was opened; `None` is every source.
    from: Option<BTreeSet<String>>,
    /// Everything before was given to the driver, who owes a verdict for it.
    given: Seq,
    /// Everything before was evicted and accounted for, or given.
    evicted: Seq,
    /// Records before could not be read, for whom is not known: counted anew from here.
    doubt: Option<Seq>,
}

impl DestinationBook {
    /// The book of a destination as its state tells.
    pub(super) fn new(name: String, tally: DestinationTally) -> Self {
        let committed = tally.committed();
        Self {
            name,
            tally,
            is_open: false,
            is_unwritten: false,
            from: None,
            given: committed,
            evicted: committed,
            doubt: None,
        }
    }

    /// The book of a destination that is new: it has taken nothing yet.
    pub(super) fn starting_at(name: &str, start: Seq) -> Self {
        let mut tally = DestinationTally::starting_at(start);
        tally.set_takes(Some(BTreeSet::new()), 0);
        Self::new(name.to_owned(), tally)
    }

    /// Opens it with the sources it takes from here on, by name and by number.
    pub(super) fn open<S: Storage>(
        &mut self,
        ring: &Ring<S>,
        from: Option<BTreeSet<String>>,
        takes: Option<BTreeSet<u16>>,
    ) -> Result<(), StorageError> {
        self.count(ring);
        if self.tally.takes() != takes.as_ref() {
            let waiting = waiting(ring, takes.as_ref(), self.tally.committed())?;
            let entries = entries(ring, takes.as_ref());
            self.tally.set_takes(takes, entries);
            self.tally.recount(waiting);
        }
        self.from = from;
        self.is_open = true;
        Ok(())
    }

    /// Takes a source that has just got its number, if it is named; true if so.
    pub(super) fn take_source<S: Storage>(&mut self, ring: &Ring<S>, name: &str, tag: u16) -> bool {
        let is_named = self.from.as_ref().is_some_and(|from| from.contains(name));
        if is_named {
            self.change_takes(ring, |takes| {
                takes.insert(tag);
            });
        }
        is_named
    }

    /// Forgets a source that has no entries left.
    pub(super) fn forget_source<S: Storage>(&mut self, ring: &Ring<S>, tag: u16) {
        self.change_takes(ring, |takes| {
            takes.remove(&tag);
        });
        self.tally.merge_evicted(|source| source != tag);
    }

    /// The tally as it stands.
    pub(super) fn current<S: Storage>(&self, ring: &Ring<S>) -> DestinationTally {
        let mut tally = self.tally.clone();
        tally.count(entries(ring, tally.takes()));
        tally
    }

    /// Everything before `end` was given to the driver.
    pub(super) fn given(&mut self, end: Seq) {
        self.given = self.given.max(end);
    }

    /// Nobody owes anything any more: what was given and not committed waits again, and what of it
    /// was evicted meanwhile is lost.
    pub(super) fn settle<S: Storage>(&mut self, ring: &Ring<S>) -> Result<(), StorageError> {
        self.count(ring);
        let start = self.tally.committed().max(ring.first());
        let waiting = waiting(ring, self.tally.takes(), start)?;
        let missing = self.tally.recount(waiting);
        if self.tally.committed() < start {
            self.tally.add_evicted(UNKNOWN_SOURCE, missing);
        } else {
            self.tally.add_truncated(missing);
        }
        self.is_unwritten |= missing > 0;
        self.tally.skip_to(start);
        self.given = start;
        self.evicted = start;
        self.doubt = None;
        Ok(())
    }

    /// Everything before `end` has a final verdict.
    pub(super) fn commit<S: Storage>(
        &mut self,
        ring: &Ring<S>,
        end: Seq,
        outcome: BatchOutcome,
    ) -> Result<(), StorageError> {
        self.count(ring);
        self.tally.commit(end, outcome);
        if outcome.truncated > 0 {
            self.doubt = self.doubt.max(Some(end));
        }
        self.move_on();
        self.resolve(ring)?;
        self.heal(ring)
    }

    /// Accounts for the oldest segment, which has these entries.
    pub(super) fn evict<S: Storage>(
        &mut self,
        ring: &Ring<S>,
        (first, end): (Seq, Seq),
        whole: &BTreeMap<u16, u64>,
    ) -> Result<(), StorageError> {
        let start = self.given.max(self.tally.committed());
        let start = start.max(self.evicted).max(first);
        if start >= end {
            return Ok(());
        }
        self.count(ring);
        let part;
        let counts = if start == first {
            whole
        } else {
            part = ring.counts(start, end)?;
            &part
        };
        let mut unknown = end.since(start);
        for (tag, count) in counts {
            unknown = unknown.saturating_sub(*count);
            if self.tally.takes().is_none_or(|takes| takes.contains(tag)) {
                self.tally.evict(*tag, *count);
            }
        }
        if self.tally.takes().is_none() {
            self.tally.evict(UNKNOWN_SOURCE, unknown);
        } else if unknown > 0 {
            self.doubt = self.doubt.max(Some(end));
        }
        self.evicted = end;
        self.is_unwritten = true;
        self.move_on();
        self.resolve(ring)
    }

    /// Writes the tally into the ring's states; sources are told apart only while there is room.
    pub(super) fn write<S: Storage>(
        &mut self,
        ring: &mut Ring<S>,
        ledger: &mut Ledger,
    ) -> Result<(), PutError> {
        self.is_unwritten = true;
        let key = destination_key(&self.name);
        let put = ledger.put(ring, &key, &self.tally.encode());
        if let Err(PutError::Value { .. } | PutError::StateFull { .. } | PutError::Full) = put {
            self.tally.merge_evicted(|_| false);
            ledger.put(ring, &key, &self.tally.encode())?;
        } else {
            put?;
        }
        self.is_unwritten = false;
        Ok(())
    }

    fn count<S: Storage>(&mut self, ring: &Ring<S>) {
        self.tally.count(entries(ring, self.tally.takes()));
    }

    fn change_takes<S: Storage>(
        &mut self,
        ring: &Ring<S>,
        change: impl FnOnce(&mut BTreeSet<u16>),
    ) {
        self.count(ring);
        if let Some(mut takes) = self.tally.takes().cloned() {
            change(&mut takes);
            let entries = entries(ring, Some(&takes));
            self.tally.set_takes(Some(takes), entries);
        }
    }

    /// Skips what was evicted once the driver has nothing before it any more.
    fn move_on(&mut self) {
        if self.given <= self.tally.committed() {
            self.tally.skip_to(self.evicted);
            self.given = self.tally.committed();
        }
    }

    /// Counts anew behind what could not be read, once nothing before it is under way.
    fn resolve<S: Storage>(&mut self, ring: &Ring<S>) -> Result<(), StorageError> {
        let committed = self.tally.committed();
        if self.doubt.is_some_and(|doubt| doubt <= committed) && ring.first() <= committed {
            let waiting = waiting(ring, self.tally.takes(), committed)?;
            let missing = self.tally.recount(waiting);
            self.tally.add_truncated(missing);
            self.doubt = None;
        }
        Ok(())
    }

    /// Where the truth is plain, no record waits that is not there: a driver that began anew in
    /// between has not told of what was overwritten meanwhile.
    fn heal<S: Storage>(&mut self, ring: &Ring<S>) -> Result<(), StorageError> {
        let committed = self.tally.committed();
        let is_plain = self.tally.takes().is_none() || committed == ring.next();
        if is_plain && self.given <= committed && self.doubt.is_none() {
            let waiting = waiting(ring, self.tally.takes(), committed)?;
            let missing = self.tally.recount(waiting);
            self.tally.add_evicted(UNKNOWN_SOURCE, missing);
        }
        Ok(())
    }
}

/// How many entries of these sources the ring has had.
fn entries<S: Storage>(ring: &Ring<S>, takes: Option<&BTreeSet<u16>>) -> u64 {
    match takes {
        None => ring.next().get(),
        Some(takes) => takes.iter().map(|tag| ring.appended(*tag)).sum(),
    }
}

/// How many entries of these sources the ring has from `start` on.
fn waiting<S: Storage>(
    ring: &Ring<S>,
    takes: Option<&BTreeSet<u16>>,
    start: Seq,
) -> Result<u64, StorageError> {
    let Some(takes) = takes else {
        return Ok(ring.next().since(start));
    };
    let counts = ring.counts(start, ring.next())?;
    Ok(takes.iter().filter_map(|tag| counts.get(tag)).sum())
}

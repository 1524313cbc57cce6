//! The book of one destination: what is given, evicted and committed, and when to count anew.
//!
//! Everything before `given` is its driver's to account for, evicted or not; what is evicted beyond
//! is booked here, and skipped once the driver has come to it. While all of it is still in the ring
//! a recount tells exactly how many records wait, and so how many rot has cost. All of this holds
//! for each stretch of the log that the destination delivers by itself.

use std::collections::{BTreeMap, BTreeSet};

use diskring::{PutError, Ring, Seq, Storage, StorageError};

use super::states::{Ledger, destination_key};
use crate::mutant::Mutant;
use crate::tally::{
    BatchOutcome, DestinationTally, Stretch, StretchId, StretchKind, UNKNOWN_SOURCE,
};

/// A destination that is known, open or not.
#[derive(Debug)]
pub(super) struct DestinationBook {
    pub(super) name: String,
    pub(super) tally: DestinationTally,
    pub(super) is_open: bool,
    pub(super) is_unwritten: bool,
    /// The sources it takes by name, once it was opened; `None` is every source.
    from: Option<BTreeSet<String>>,
    /// Of each stretch of the tally.
    places: BTreeMap<StretchId, Places>,
}

/// How far a stretch is in other hands.
#[derive(Clone, Copy, Debug)]
struct Places {
    /// Everything before was given to the driver, who owes a verdict for it.
    given: Seq,
    /// Everything before was evicted and accounted for, or given.
    evicted: Seq,
    /// Records before could not be read, for whom is not known: counted anew from here.
    doubt: Option<Seq>,
}

impl Places {
    const fn at(seq: Seq) -> Self {
        Self {
            given: seq,
            evicted: seq,
            doubt: None,
        }
    }
}

impl DestinationBook {
    /// The book of a destination as its state tells.
    pub(super) fn new(name: String, tally: DestinationTally) -> Self {
        let places = tally
            .stretches()
            .map(|(id, stretch)| (id, Places::at(stretch.committed())))
            .collect();
        Self {
            name,
            tally,
            is_open: false,
            is_unwritten: false,
            from: None,
            places,
        }
    }

    /// The book of a destination that is new: it has taken nothing yet.
    pub(super) fn starting_at(name: &str, start: Seq, mutant: Mutant) -> Self {
        let mut tally = DestinationTally::starting_at(start);
        tally.mutant = mutant;
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
            let mut waiting = Vec::new();
            for (id, stretch) in self.tally.stretches() {
                let range = (stretch.committed(), end(ring, stretch));
                waiting.push((id, waiting_in(ring, takes.as_ref(), range)?));
            }
            let entries = entries(ring, takes.as_ref());
            self.tally.set_takes(takes, entries);
            for (id, waiting) in waiting {
                self.tally.set_waiting(id, waiting);
            }
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

    /// Whether a record before `seq` has no final verdict, be it of a replay.
    pub(super) fn is_behind(&self, seq: Seq) -> bool {
        let is_blind = self.tally.mutant.is(Mutant::ReplaysNotBehind);
        let mut stretches = self.tally.stretches();
        stretches.any(|(_, stretch)| {
            let is_seen = !is_blind || stretch.kind() != StretchKind::Replay;
            is_seen && stretch.committed() < seq
        })
    }

    /// Everything of a stretch before `end` was given to its driver.
    pub(super) fn given(&mut self, id: StretchId, end: Seq) {
        let limit = self.tally.stretch(id).and_then(Stretch::limit);
        if let Some(places) = self.places.get_mut(&id) {
            places.given = places.given.max(limit.map_or(end, |limit| end.min(limit)));
        }
    }

    /// A batch of a stretch up to `end` is about to be sent.
    pub(super) fn plan(&mut self, id: StretchId, end: Seq) {
        self.tally.plan(id, end);
    }

    /// Nobody owes anything any more: what was given and not committed waits again, and what of it
    /// was evicted meanwhile is lost.
    pub(super) fn settle<S: Storage>(&mut self, ring: &Ring<S>) -> Result<(), StorageError> {
        for id in self.ids(|_| true) {
            self.settle_stretch(ring, id)?;
        }
        Ok(())
    }

    /// Settles the stretches of a kind; which of them is to be delivered next.
    pub(super) fn open_stretch<S: Storage>(
        &mut self,
        ring: &Ring<S>,
        kind: StretchKind,
    ) -> Result<Option<(StretchId, Stretch)>, StorageError> {
        if !self.tally.mutant.is(Mutant::BegunUnsettled) {
            for id in self.ids(|stretch| stretch.kind() == kind) {
                self.settle_stretch(ring, id)?;
            }
        }
        let next = self.tally.next_stretch(kind);
        Ok(next.and_then(|id| Some((id, *self.tally.stretch(id)?))))
    }

    /// Splits what waits before `at` off the live stretch, as a backlog; false when nothing waits
    /// there, there are too many backlogs, or the ring has no room to remember another.
    ///
    /// The driver of the live stretch leaves what it has in hand; where nothing is split it goes on
    /// with that, so all stays as it was.
    pub(super) fn split<S: Storage>(
        &mut self,
        ring: &mut Ring<S>,
        ledger: &mut Ledger,
        at: Seq,
    ) -> Result<bool, StorageError> {
        let (before, places) = (self.tally.clone(), self.places.clone());
        if !self.tally.mutant.is(Mutant::SplitUnsettled) {
            self.settle_stretch(ring, StretchId::LIVE)?;
        }
        let first = self.tally.live().committed();
        let waiting = waiting_in(ring, self.tally.takes(), (first, at))?;
        let id = self.tally.split(at, waiting);
        let is_kept = id.is_some_and(|id| self.keep(ring, ledger, before.clone(), (id, first)));
        if is_kept {
            self.places.insert(StretchId::LIVE, Places::at(at));
        } else if !self.tally.mutant.is(Mutant::RefusedKept) {
            self.tally = before;
            self.places = places;
        }
        Ok(is_kept)
    }

    /// Begins to deliver `first..end` once more: how many records that are. `None` when too many
    /// replays wait or the ring has no room to remember another.
    pub(super) fn replay<S: Storage>(
        &mut self,
        ring: &mut Ring<S>,
        ledger: &mut Ledger,
        (first, end): (Seq, Seq),
        mark: u64,
    ) -> Result<Option<u64>, StorageError> {
        let before = self.tally.clone();
        let waiting = waiting_in(ring, self.tally.takes(), (first, end))?;
        let id = self.tally.replay(first, end, waiting, mark);
        let is_kept = id.is_some_and(|id| self.keep(ring, ledger, before, (id, first)));
        Ok(is_kept.then_some(waiting))
    }

    /// Keeps a stretch that has just begun, or everything as it was `before`.
    fn keep<S: Storage>(
        &mut self,
        ring: &mut Ring<S>,
        ledger: &mut Ledger,
        before: DestinationTally,
        (id, first): (StretchId, Seq),
    ) -> bool {
        let has_room =
            Ledger::has_room_for_stretch(ring, &destination_key(&self.name), &self.tally.encode());
        if !has_room || self.write(ring, ledger).is_err() {
            if !self.tally.mutant.is(Mutant::RefusedKept) {
                self.tally = before;
            }
            return false;
        }
        self.places.insert(id, Places::at(first));
        true
    }

    /// Forgets all replays; how many there were.
    pub(super) fn forget_replays(&mut self) -> usize {
        let replays = self.ids(|stretch| stretch.kind() == StretchKind::Replay);
        for id in &replays {
            self.tally.forget_replay(*id);
            self.places.remove(id);
        }
        replays.len()
    }

    /// Everything of a stretch before `end` has a final verdict.
    pub(super) fn commit<S: Storage>(
        &mut self,
        ring: &Ring<S>,
        id: StretchId,
        end: Seq,
        outcome: BatchOutcome,
    ) -> Result<(), StorageError> {
        self.count(ring);
        self.tally.commit(id, end, outcome);
        if outcome.truncated > 0 {
            self.doubt(id, end);
        }
        self.move_on(id);
        self.resolve(ring, id)?;
        self.heal(ring, id)?;
        self.finish(id);
        Ok(())
    }

    /// Accounts for the oldest segment, which has these entries.
    pub(super) fn evict<S: Storage>(
        &mut self,
        ring: &Ring<S>,
        range: (Seq, Seq),
        whole: &BTreeMap<u16, u64>,
    ) -> Result<(), StorageError> {
        let is_blind = self.tally.mutant.is(Mutant::OnlyLiveEvicted);
        for id in self.ids(|stretch| stretch.kind() == StretchKind::Live || !is_blind) {
            self.evict_stretch(ring, id, range, whole)?;
        }
        Ok(())
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

    /// The stretches that `wanted` says.
    fn ids(&self, wanted: impl Fn(&Stretch) -> bool) -> Vec<StretchId> {
        let stretches = self.tally.stretches();
        stretches
            .filter(|(_, stretch)| wanted(stretch))
            .map(|(id, _)| id)
            .collect()
    }

    fn settle_stretch<S: Storage>(
        &mut self,
        ring: &Ring<S>,
        id: StretchId,
    ) -> Result<(), StorageError> {
        self.count(ring);
        let Some(stretch) = self.tally.stretch(id) else {
            return Ok(());
        };
        let end = end(ring, stretch);
        let is_whole = ring.first() <= stretch.committed();
        let start = stretch.committed().max(ring.first()).min(end);
        let waiting = waiting_in(ring, self.tally.takes(), (start, end))?;
        let missing = self.tally.recount(id, waiting);
        if is_whole {
            self.tally.lose_truncated(id, missing);
        } else {
            self.tally.lose_evicted(id, UNKNOWN_SOURCE, missing);
        }
        self.is_unwritten |= missing > 0;
        self.tally.skip_to(id, start);
        self.places.insert(id, Places::at(start));
        self.finish(id);
        Ok(())
    }

    fn evict_stretch<S: Storage>(
        &mut self,
        ring: &Ring<S>,
        id: StretchId,
        (first, last): (Seq, Seq),
        whole: &BTreeMap<u16, u64>,
    ) -> Result<(), StorageError> {
        let (Some(stretch), Some(places)) = (self.tally.stretch(id), self.places.get(&id)) else {
            return Ok(());
        };
        let start = places.given.max(stretch.committed());
        let start = start.max(places.evicted).max(first);
        let limit = stretch.limit();
        let limit = limit.filter(|_| !self.tally.mutant.is(Mutant::LimitIgnored));
        let end = limit.map_or(last, |limit| limit.min(last));
        if start >= end {
            return Ok(());
        }
        self.count(ring);
        let part;
        let counts = if (start, end) == (first, last) {
            whole
        } else {
            part = ring.counts(start, end)?;
            &part
        };
        let mut unknown = end.since(start);
        for (tag, count) in counts {
            unknown = unknown.saturating_sub(*count);
            if self.tally.takes().is_none_or(|takes| takes.contains(tag)) {
                self.tally.evict(id, *tag, *count);
            }
        }
        if self.tally.takes().is_none() {
            self.tally.evict(id, UNKNOWN_SOURCE, unknown);
        } else if unknown > 0 {
            self.doubt(id, end);
        }
        if let Some(places) = self.places.get_mut(&id) {
            places.evicted = end;
        }
        self.is_unwritten = true;
        self.move_on(id);
        self.resolve(ring, id)?;
        self.finish(id);
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

    fn doubt(&mut self, id: StretchId, end: Seq) {
        // Past the end of the stretch it would never be resolved.
        let limit = self.tally.stretch(id).and_then(Stretch::limit);
        let end = limit.map_or(end, |limit| end.min(limit));
        if let Some(places) = self.places.get_mut(&id) {
            places.doubt = places.doubt.max(Some(end));
        }
    }

    /// Skips what was evicted once the driver has nothing before it any more.
    fn move_on(&mut self, id: StretchId) {
        let Some(places) = self.places.get_mut(&id) else {
            return;
        };
        let committed = self.tally.stretch(id).map(Stretch::committed);
        if Some(places.given) <= committed {
            self.tally.skip_to(id, places.evicted);
            places.given = self
                .tally
                .stretch(id)
                .map_or(places.given, Stretch::committed);
        }
    }

    /// Counts anew behind what could not be read, once nothing before it is under way.
    fn resolve<S: Storage>(&mut self, ring: &Ring<S>, id: StretchId) -> Result<(), StorageError> {
        let (Some(stretch), Some(places)) = (self.tally.stretch(id), self.places.get_mut(&id))
        else {
            return Ok(());
        };
        let committed = stretch.committed();
        if places.doubt.is_some_and(|doubt| doubt <= committed) && ring.first() <= committed {
            places.doubt = None;
            let range = (committed, end(ring, stretch));
            let waiting = waiting_in(ring, self.tally.takes(), range)?;
            let missing = self.tally.recount(id, waiting);
            self.tally.lose_truncated(id, missing);
        }
        Ok(())
    }

    /// Where the truth is plain, no record waits that is not there: a driver that began anew in
    /// between has not told of what was overwritten meanwhile.
    fn heal<S: Storage>(&mut self, ring: &Ring<S>, id: StretchId) -> Result<(), StorageError> {
        let (Some(stretch), Some(places)) = (self.tally.stretch(id), self.places.get(&id)) else {
            return Ok(());
        };
        let (committed, end) = (stretch.committed(), end(ring, stretch));
        let is_plain = self.tally.takes().is_none() || committed == end;
        if is_plain && places.given <= committed && places.doubt.is_none() {
            let waiting = waiting_in(ring, self.tally.takes(), (committed, end))?;
            let missing = self.tally.recount(id, waiting);
            self.tally.lose_evicted(id, UNKNOWN_SOURCE, missing);
        }
        Ok(())
    }

    /// Forgets a stretch that is finished and of which nobody has anything in hand.
    fn finish(&mut self, id: StretchId) {
        self.tally.finish(id);
        if self.tally.stretch(id).is_none() {
            self.places.remove(&id);
        }
    }
}

/// Where a stretch ends at present.
fn end<S: Storage>(ring: &Ring<S>, stretch: &Stretch) -> Seq {
    stretch.limit().unwrap_or_else(|| ring.next())
}

/// How many entries of these sources the ring has had.
fn entries<S: Storage>(ring: &Ring<S>, takes: Option<&BTreeSet<u16>>) -> u64 {
    match takes {
        None => ring.next().get(),
        Some(takes) => takes.iter().map(|tag| ring.appended(*tag)).sum(),
    }
}

/// How many entries of these sources the ring has in `first..end`.
fn waiting_in<S: Storage>(
    ring: &Ring<S>,
    takes: Option<&BTreeSet<u16>>,
    (first, end): (Seq, Seq),
) -> Result<u64, StorageError> {
    let Some(takes) = takes else {
        return Ok(end.since(first));
    };
    let counts = ring.counts(first, end)?;
    Ok(takes.iter().filter_map(|tag| counts.get(tag)).sum())
}

//! Counters that survive a crash, and the law between them.
//!
//! For a source: received = filtered + stored. For a destination: what its sources stored since it
//! began = delivered + delivered by its fallback + rejected + filtered + evicted + truncated +
//! waiting. A tally only adds up;
//! [`crate::books`] says when, and keeps tallies as states of the ring, durable in the same sync
//! as what they count.

mod outcome;
mod stretch;

use std::collections::{BTreeMap, BTreeSet};

use diskring::Seq;

use crate::mutant::Mutant;

pub use outcome::BatchOutcome;
pub use stretch::{Stretch, StretchId, StretchKind};

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

    /// Together with what another ring counted of the same source. What is turned away is counted
    /// on and on wherever the source is, so that of this the larger number holds.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self {
            stored: self.stored.saturating_add(other.stored),
            filtered: self.filtered.saturating_add(other.filtered),
            decode_errors: self.decode_errors.saturating_add(other.decode_errors),
            cut: self.cut.saturating_add(other.cut),
            refused: self.refused.max(other.refused),
        }
    }
}

/// The source of evicted records of which only the number is known.
pub const UNKNOWN_SOURCE: u16 = u16::MAX;

/// Where a destination stands, and what became of its records, ever.
///
/// What a replay delivers is not among them but for [`DestinationTally::replayed`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationTally {
    delivered: u64,
    by_fallback: u64,
    rejected: u64,
    filtered: u64,
    truncated: u64,
    replayed: u64,
    /// How many entries of its sources the ring had had when the live stretch was counted.
    counted: u64,
    /// The sources it takes by number; `None` is every source.
    takes: Option<BTreeSet<u16>>,
    evicted: BTreeMap<u16, u64>,
    live: Stretch,
    /// Backlogs and replays, none of them finished.
    others: BTreeMap<StretchId, Stretch>,
    /// The number that was given last: whoever still speaks of a stretch that is no more must not
    /// be taken for the driver of a new one. A restart has no such drivers.
    last: StretchId,
    pub(crate) mutant: Mutant,
}

/// How many numbers of a destination have a fixed place in its state.
const NUMBERS: usize = 7;

/// So many backlogs, and so many replays, a destination has at a time.
const STRETCHES_MAX: usize = 6;

impl DestinationTally {
    /// A destination that begins with `start`.
    pub(crate) const fn starting_at(start: Seq) -> Self {
        Self {
            delivered: 0,
            by_fallback: 0,
            rejected: 0,
            filtered: 0,
            truncated: 0,
            replayed: 0,
            counted: 0,
            takes: None,
            evicted: BTreeMap::new(),
            live: Stretch::live(start.get()),
            others: BTreeMap::new(),
            last: StretchId::LIVE,
            mutant: Mutant::None,
        }
    }

    /// As a state of the ring.
    ///
    /// Only sources that are taken or told apart and stretches that are begun make it longer: a
    /// commit needs no room, nor does an eviction of unknown sources, however full the ring is.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let unknown = self.evicted.get(&UNKNOWN_SOURCE).copied().unwrap_or(0);
        let numbers: [u64; NUMBERS] = [
            self.delivered,
            self.rejected,
            self.filtered,
            self.truncated,
            self.replayed,
            self.counted,
            unknown,
        ];
        let mut bytes: Vec<u8> = numbers.into_iter().flat_map(u64::to_le_bytes).collect();
        bytes.push(u8::try_from(self.others.len()).unwrap_or(u8::MAX));
        for (id, stretch) in self.stretches() {
            stretch.encode(id, &mut bytes);
        }
        let mut evicted = self.evicted.clone();
        evicted.remove(&UNKNOWN_SOURCE);
        // Sets and maps of numbers always serialize.
        let sources = postcard::to_allocvec(&(&self.takes, evicted)).unwrap_or_default();
        bytes.extend_from_slice(&sources);
        // Behind what states had that were written before destinations had fallbacks.
        bytes.extend_from_slice(&self.by_fallback.to_le_bytes());
        bytes
    }

    /// Out of a state of the ring; `None` for anything else.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (numbers, rest) = bytes.split_at_checked(NUMBERS * size_of::<u64>())?;
        let (numbers, _) = numbers.as_chunks();
        let [
            delivered,
            rejected,
            filtered,
            truncated,
            replayed,
            counted,
            unknown,
        ] = <[[u8; 8]; NUMBERS]>::try_from(numbers)
            .ok()?
            .map(u64::from_le_bytes);
        let (others_len, mut rest) = rest.split_first()?;
        let mut stretches = BTreeMap::new();
        for _ in 0..=*others_len {
            let (stretch, after) = rest.split_first_chunk()?;
            let (id, stretch) = Stretch::decode(*stretch)?;
            stretches.insert(id, stretch);
            rest = after;
        }
        let live = stretches.remove(&StretchId::LIVE)?;
        let last = stretches.last_key_value().map(|(id, _)| *id);
        let ((takes, evicted), rest) = postcard::take_from_bytes(rest).ok()?;
        let by_fallback = rest.first_chunk().copied().map(u64::from_le_bytes);
        let mut tally = Self {
            delivered,
            by_fallback: by_fallback.unwrap_or(0),
            rejected,
            filtered,
            truncated,
            replayed,
            counted,
            takes,
            evicted,
            live,
            others: stretches,
            last: last.unwrap_or(StretchId::LIVE),
            mutant: Mutant::None,
        };
        tally.add_evicted(UNKNOWN_SOURCE, unknown);
        Some(tally)
    }

    /// Everything before has a final verdict, and maybe more.
    pub fn committed(&self) -> Seq {
        let owed = self.owed();
        let committed = owed.map(|(_, stretch)| stretch.committed());
        let committed = if self.mutant.is(Mutant::CommittedMax) {
            committed.max()
        } else {
            committed.min()
        };
        committed.unwrap_or(self.live.committed())
    }

    /// Accepted, ever.
    pub const fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Accepted by its fallback in its place, ever.
    pub const fn by_fallback(&self) -> u64 {
        self.by_fallback
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

    /// Delivered once more because somebody asked for it, ever.
    pub const fn replayed(&self) -> u64 {
        self.replayed
    }

    /// Records that wait for this destination, those of replays apart.
    pub fn waiting(&self) -> u64 {
        self.owed().map(|(_, stretch)| stretch.waiting).sum()
    }

    /// Evicted before they were delivered, ever, by source number.
    pub const fn evicted(&self) -> &BTreeMap<u16, u64> {
        &self.evicted
    }

    /// The sources it takes by number; `None` is every source.
    pub const fn takes(&self) -> Option<&BTreeSet<u16>> {
        self.takes.as_ref()
    }

    /// Its stretches, the live one first.
    pub fn stretches(&self) -> impl Iterator<Item = (StretchId, &Stretch)> {
        let others = self.others.iter().map(|(id, stretch)| (*id, stretch));
        std::iter::once((StretchId::LIVE, &self.live)).chain(others)
    }

    /// The stretch without an end.
    pub const fn live(&self) -> &Stretch {
        &self.live
    }

    /// The stretch of this number, unless it is finished.
    pub fn stretch(&self, id: StretchId) -> Option<&Stretch> {
        if id == StretchId::LIVE {
            return Some(&self.live);
        }
        self.others.get(&id)
    }

    /// The stretch of this kind that is to be delivered next: the newest backlog, the replay that
    /// was asked for first.
    pub fn next_stretch(&self, kind: StretchKind) -> Option<StretchId> {
        let mut of_kind = self.stretches().filter(|(_, stretch)| stretch.kind == kind);
        let next = match kind {
            StretchKind::Live => of_kind.next(),
            StretchKind::Backlog if self.mutant.is(Mutant::OldestBacklogFirst) => of_kind.next(),
            StretchKind::Replay if self.mutant.is(Mutant::NewestReplayFirst) => of_kind.last(),
            StretchKind::Backlog => of_kind.max_by_key(|(_, backlog)| backlog.limit),
            StretchKind::Replay => of_kind.min_by_key(|(_, replay)| replay.mark),
        };
        next.map(|(id, _)| id)
    }

    /// The ring has had `entries` entries of this destination's sources by now.
    pub(crate) const fn count(&mut self, entries: u64) {
        self.live.waiting += entries.saturating_sub(self.counted);
        self.counted = entries;
    }

    /// It takes these sources from here on, of which the ring has had `entries` entries.
    pub(crate) fn set_takes(&mut self, takes: Option<BTreeSet<u16>>, entries: u64) {
        self.takes = takes;
        self.counted = entries;
    }

    /// So many of a stretch wait, now that it takes other sources.
    pub(crate) fn set_waiting(&mut self, id: StretchId, waiting: u64) {
        if let Some(stretch) = self.stretch_mut(id) {
            stretch.waiting = waiting;
        }
    }

    /// So many of a stretch wait at most, as was counted anew; gives how many fewer these are than
    /// were thought. What was given up once does not wait again: of what has rotted a later count
    /// may know more.
    pub(crate) fn recount(&mut self, id: StretchId, waiting: u64) -> u64 {
        let Some(stretch) = self.stretch_mut(id) else {
            return 0;
        };
        let missing = stretch.waiting.saturating_sub(waiting);
        stretch.waiting -= missing;
        missing
    }

    /// A batch up to `end` is about to be sent.
    pub(crate) fn plan(&mut self, id: StretchId, end: Seq) {
        if let Some(stretch) = self.stretch_mut(id) {
            stretch.planned = end.get();
        }
    }

    /// Everything of a stretch before `end` has a final verdict; what was planned beyond it stays
    /// planned.
    ///
    /// What could not be read is left to a recount, which knows for whom it was.
    pub(crate) fn commit(&mut self, id: StretchId, end: Seq, outcome: BatchOutcome) {
        let mutant = self.mutant;
        let Some(stretch) = self.stretch_mut(id) else {
            return;
        };
        stretch.skip_to(end);
        stretch.waiting = stretch.waiting.saturating_sub(outcome.settled());
        if stretch.kind == StretchKind::Replay && !mutant.is(Mutant::ReplaysDelivered) {
            self.replayed += outcome.delivered + outcome.by_fallback;
            return;
        }
        self.delivered += outcome.delivered;
        self.by_fallback += outcome.by_fallback;
        self.rejected += outcome.rejected;
        self.filtered += outcome.filtered;
        self.add_evicted(UNKNOWN_SOURCE, outcome.evicted);
    }

    /// Records of this source, which were waiting, made room.
    pub(crate) fn evict(&mut self, id: StretchId, source: u16, count: u64) {
        if let Some(stretch) = self.stretch_mut(id) {
            stretch.waiting = stretch.waiting.saturating_sub(count);
            self.lose_evicted(id, source, count);
        }
    }

    /// Records of a stretch that do not count as waiting any more made room.
    pub(crate) fn lose_evicted(&mut self, id: StretchId, source: u16, count: u64) {
        if self.owes(id) {
            self.add_evicted(source, count);
        }
    }

    /// Records of a stretch that do not count as waiting any more could not be read.
    pub(crate) fn lose_truncated(&mut self, id: StretchId, count: u64) {
        if self.owes(id) {
            self.truncated += count;
        }
    }

    /// Everything of a stretch before `end` was accounted for.
    pub(crate) fn skip_to(&mut self, id: StretchId, end: Seq) {
        if let Some(stretch) = self.stretch_mut(id) {
            stretch.skip_to(end);
        }
    }

    /// Splits the live stretch at `at`: what is before it becomes a backlog of which so many wait.
    /// `None` when there are too many already, or nothing to split.
    pub(crate) fn split(&mut self, at: Seq, waiting: u64) -> Option<StretchId> {
        if at <= self.live.committed() || self.of_kind(StretchKind::Backlog) >= STRETCHES_MAX {
            return None;
        }
        let backlog = Stretch {
            kind: StretchKind::Backlog,
            limit: at.get(),
            waiting,
            ..self.live
        };
        if !self.mutant.is(Mutant::WaitingKept) {
            self.live.waiting = self.live.waiting.saturating_sub(waiting);
        }
        self.live.skip_to(at);
        Some(self.begin(backlog))
    }

    /// Begins to deliver `first..end` once more, where so many records are for it; `None` when too
    /// many such wishes wait.
    pub(crate) fn replay(
        &mut self,
        first: Seq,
        end: Seq,
        waiting: u64,
        mark: u64,
    ) -> Option<StretchId> {
        if first >= end || self.of_kind(StretchKind::Replay) >= STRETCHES_MAX {
            return None;
        }
        Some(self.begin(Stretch {
            kind: StretchKind::Replay,
            committed: first.get(),
            planned: first.get(),
            waiting,
            limit: end.get(),
            mark,
        }))
    }

    /// Forgets a stretch once everything of it has a final verdict.
    pub(crate) fn finish(&mut self, id: StretchId) {
        let is_finished = self.others.get(&id).is_some_and(Stretch::is_finished);
        if is_finished && !self.mutant.is(Mutant::FinishedKept) {
            self.others.remove(&id);
        }
    }

    /// Forgets a replay, finished or not; true if there was one.
    pub(crate) fn forget_replay(&mut self, id: StretchId) -> bool {
        let is_replay = |stretch: &Stretch| stretch.kind == StretchKind::Replay;
        self.others.get(&id).is_some_and(is_replay) && self.others.remove(&id).is_some()
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

    /// The stretches whose records count.
    fn owed(&self) -> impl Iterator<Item = (StretchId, &Stretch)> {
        let owes_all = self.mutant.is(Mutant::ReplaysOwed);
        self.stretches()
            .filter(move |(_, stretch)| stretch.kind != StretchKind::Replay || owes_all)
    }

    fn owes(&self, id: StretchId) -> bool {
        self.stretch(id)
            .is_some_and(|stretch| stretch.kind != StretchKind::Replay)
            || self.mutant.is(Mutant::ReplaysEvicted)
    }

    fn of_kind(&self, kind: StretchKind) -> usize {
        let others = self.others.values();
        others.filter(|stretch| stretch.kind == kind).count()
    }

    fn begin(&mut self, stretch: Stretch) -> StretchId {
        loop {
            self.last = self.last.next();
            if self.stretch(self.last).is_none() {
                self.others.insert(self.last, stretch);
                return self.last;
            }
        }
    }

    fn stretch_mut(&mut self, id: StretchId) -> Option<&mut Stretch> {
        if id == StretchId::LIVE {
            return Some(&mut self.live);
        }
        self.others.get_mut(&id)
    }

    fn add_evicted(&mut self, source: u16, count: u64) {
        if count > 0 {
            *self.evicted.entry(source).or_default() += count;
        }
    }
}

#[cfg(test)]
mod tests;

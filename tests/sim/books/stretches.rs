//! Stretches: split off, asked for, stopped, evicted.

use diskring::Seq;
use pipeline::tally::{StretchId, StretchKind};

use super::truth::{Change, Fate, Loss, Progress, StretchTruth};
use super::{World, fatal};

/// So many backlogs, and so many replays, a destination has at a time.
const STRETCHES_MAX: usize = 6;

/// More than a stretch takes of the room for states.
const STRETCH_BYTES: usize = 64;

/// What of the room for states no stretch takes: it is for new destinations and sources.
const PLACE_BYTES: usize = 256;

impl World {
    /// Every stretch there is.
    pub(super) fn stretches(&self) -> Vec<(String, StretchId)> {
        let destinations = self.now.destinations.iter();
        destinations
            .flat_map(|(name, truth)| truth.stretches.keys().map(|id| (name.clone(), *id)))
            .collect()
    }

    /// One split, or as many as there may be and more, with new records before each.
    pub(super) fn split_some(&mut self) -> Result<(), String> {
        if !self.rng.one_in(12) {
            return self.split();
        }
        let Some(name) = self.pick(self.open.keys().cloned().collect()) else {
            return Ok(());
        };
        for _ in 0..=STRETCHES_MAX {
            if let Some(source) = self.pick_source() {
                let tag = self.now.sources[&source].tag;
                self.append(&source, tag, b"x")?;
            }
            self.sync()?;
            self.split_of(&name)?;
            if self.disk.disk().is_dead() {
                break;
            }
        }
        Ok(())
    }

    fn split(&mut self) -> Result<(), String> {
        match self.pick(self.open.keys().cloned().collect()) {
            Some(name) => self.split_of(&name),
            None => Ok(()),
        }
    }

    /// As the store does it: the live stretch begins behind all that is durable, and its driver
    /// has nothing in hand afterwards; one that is refused goes on with what it has.
    fn split_of(&mut self, name: &str) -> Result<(), String> {
        let name = name.to_owned();
        let index = self.open[&name];
        let at = self.ring.durable();
        let is_split = self.books.split(&mut self.ring, index, at).map_err(fatal)?;
        if self.disk.disk().is_dead() {
            return Ok(());
        }
        if !is_split {
            return self.check_refused_split(&name, at.get());
        }
        let first = self.ring.first().get();
        let backlog = self.newest(&name);
        self.note_split(&name, first);
        let change = Change::Split {
            backlog,
            at: at.get(),
            first,
        };
        self.record_change(&name, change);
        self.hands.remove(&(name.clone(), StretchId::LIVE));
        if let Some(driver) = self.drivers.get_mut(&(name, StretchKind::Live)) {
            driver.cursor = self.ring.cursor(at);
            driver.in_hand.clear();
        }
        Ok(())
    }

    fn note_split(&mut self, name: &str, first: u64) {
        self.coverage.count("splits", 1);
        let live = self.now.stretch(name, StretchId::LIVE).unwrap();
        let is_planned = live.is_planned();
        self.coverage
            .count("splits of a plan", u64::from(is_planned));
        let driver = self.drivers.get(&(name.to_owned(), StretchKind::Live));
        let Some(driver) = driver.filter(|driver| !driver.in_hand.is_empty()) else {
            return;
        };
        self.coverage.count("splits with records in hand", 1);
        let is_gone = driver.in_hand.iter().any(|(seq, _)| *seq < first);
        self.coverage
            .count("splits of what was evicted in hand", u64::from(is_gone));
    }

    fn check_refused_split(&mut self, name: &str, at: u64) -> Result<(), String> {
        let truth = &self.now.destinations[name];
        let live = truth.stretches[&StretchId::LIVE].clone();
        let backlogs = truth.of_kind(StretchKind::Backlog).count();
        // What is gone is not split off.
        let what = if at <= live.committed.max(self.now.first) {
            "splits refused, nothing to split"
        } else if backlogs >= STRETCHES_MAX {
            "splits refused, too many"
        } else if self.is_short_of_room()? {
            "splits refused, no room"
        } else {
            return Err(format!("{name} is not split at {at}: {live:?}"));
        };
        self.coverage.count(what, 1);
        Ok(())
    }

    fn is_short_of_room(&mut self) -> Result<bool, String> {
        Ok(self.state_room() < STRETCH_BYTES + PLACE_BYTES || !self.has_room(STRETCH_BYTES)?)
    }

    /// Something that was delivered is asked for once more.
    pub(super) fn replay(&mut self) -> Result<(), String> {
        let oldest = self.ring.first().get();
        let open = self.open.keys().cloned();
        let has_some = |name: &String| self.now.destinations[name].committed() > oldest;
        let (some, none): (Vec<_>, Vec<_>) = open.partition(has_some);
        let is_any = some.is_empty() || self.rng.one_in(8);
        let Some(name) = self.pick(if is_any { none } else { some }) else {
            return Ok(());
        };
        let truth = &self.now.destinations[&name];
        let delivered = truth.committed().min(self.ring.durable().get());
        let span = usize::try_from(delivered.saturating_sub(oldest)).unwrap();
        let first = oldest + u64::try_from(self.rng.below(span + 1)).unwrap();
        let end = delivered.saturating_sub(u64::try_from(self.rng.below(span / 2 + 1)).unwrap());
        self.replay_of(&name, (first, end))
    }

    /// Asks for a range once more.
    pub(super) fn replay_of(&mut self, name: &str, (first, end): (u64, u64)) -> Result<(), String> {
        let name = name.to_owned();
        let replays = self.now.destinations[&name].of_kind(StretchKind::Replay);
        let replays = replays.count();
        let mark = self.rng.next_u64() >> 40;
        let (index, range) = (self.open[&name], (Seq::new(first), Seq::new(end)));
        let records = self
            .books
            .replay(&mut self.ring, index, range, mark)
            .map_err(fatal)?;
        if self.disk.disk().is_dead() {
            return Ok(());
        }
        let Some(records) = records else {
            self.coverage.count("replays refused", 1);
            let is_right = first >= end || replays >= STRETCHES_MAX || self.is_short_of_room()?;
            return is_right
                .then_some(())
                .ok_or_else(|| format!("{name} is not given {first}..{end} once more"));
        };
        self.coverage.count("replays", 1);
        let replay = self.newest(&name);
        let change = Change::Replay {
            replay,
            range: (first, end),
            mark,
        };
        self.record_change(&name, change);
        let expected = self.now.unfated(&name, replay, (first, end)).len();
        if usize::try_from(records).unwrap() != expected {
            return Err(format!("{records} to replay instead of {expected}"));
        }
        Ok(())
    }

    pub(super) fn stop_replays(&mut self) -> Result<(), String> {
        let Some(name) = self.pick(self.open.keys().cloned().collect()) else {
            return Ok(());
        };
        let index = self.open[&name];
        let replays = self.now.destinations[&name].of_kind(StretchKind::Replay);
        let replays: Vec<StretchId> = replays.map(|(id, _)| *id).collect();
        self.record_change(&name, Change::StopReplays);
        let stopped = self.books.forget_replays(&mut self.ring, index);
        for id in &replays {
            self.retire(&name, *id);
        }
        let what = "replays stopped";
        self.coverage.count(what, u64::try_from(stopped).unwrap());
        if stopped != replays.len() {
            return Err(format!("{stopped} replays stopped of {replays:?}"));
        }
        Ok(())
    }

    /// The stretch that the books have and the truth does not.
    fn newest(&self, name: &str) -> StretchId {
        let tallies = self.books.tallies(&self.ring);
        let known = &self.now.destinations[name].stretches;
        let mut ids = tallies[name].stretches().map(|(id, _)| id);
        ids.find(|id| !known.contains_key(id)).unwrap()
    }

    /// A stretch is no more; its driver has not noticed.
    pub(super) fn retire(&mut self, name: &str, id: StretchId) {
        self.hands.remove(&(name.to_owned(), id));
        if let Some(index) = self.open.get(name) {
            self.retired.push((*index, id));
        }
    }

    /// Whether evicting everything before `end` loses what is owed.
    pub(super) fn would_lose(&mut self, end: u64) -> bool {
        let stretches = self.now.destinations.values();
        let stretches = stretches.flat_map(|truth| truth.stretches.values());
        let behind: Vec<StretchKind> = stretches
            .filter(|stretch| stretch.committed < end)
            .map(|stretch| stretch.kind)
            .collect();
        let is_behind = |kind| behind.contains(&kind);
        let is_backlog = is_behind(StretchKind::Backlog) && !is_behind(StretchKind::Live);
        let is_owed = is_backlog || is_behind(StretchKind::Live);
        let is_replay = is_behind(StretchKind::Replay) && !is_owed;
        let what = "evictions that a backlog alone forbids";
        self.coverage
            .count(what, u64::from(self.blocks && is_backlog));
        let what = "evictions past a replay";
        self.coverage
            .count(what, u64::from(self.blocks && is_replay));
        is_owed
    }

    /// Whether a record that is gone has no fate yet: one that is owed, one of a replay.
    pub(super) fn behind(&self) -> (bool, bool) {
        let destinations = self.now.destinations.values();
        let stretches = destinations.flat_map(|truth| truth.stretches.values());
        let behind = stretches.filter(|stretch| stretch.committed < self.now.first);
        let (owed, replayed): (Vec<_>, Vec<_>) = behind.partition(|stretch| stretch.is_owed());
        (!owed.is_empty(), !replayed.is_empty())
    }

    /// What a stretch loses when `first..end` goes.
    pub(super) fn lose(
        &mut self,
        name: &str,
        id: StretchId,
        (first, end): (u64, u64),
    ) -> Result<Loss, String> {
        let key = (name.to_owned(), id);
        let stretch = self.now.stretch(name, id).unwrap().clone();
        let mut hand = self.hands.get(&key).copied().unwrap_or_default();
        let start = stretch
            .committed
            .max(hand.given)
            .max(hand.evicted)
            .max(first);
        let lost = self.now.unfated(name, id, (start, end));
        let held = (first.max(stretch.committed), end.min(start));
        let in_hand = self.now.unfated(name, id, held).len();
        if self.blocks && stretch.is_owed() && lost.len() + in_hand > 0 {
            return Err(format!("{name} loses records of a ring that blocks"));
        }
        let mut committed = stretch.committed;
        let end = end.min(stretch.limit);
        if start < end {
            if hand.given <= committed {
                committed = end;
            }
            hand.evicted = end;
            hand.given = hand.given.max(committed);
            self.hands.insert(key, hand);
        }
        self.note_loss(&stretch, committed, lost.len(), in_hand);
        if committed >= stretch.limit {
            self.retire(name, id);
        }
        let fates = lost.into_iter().map(|(seq, tag)| (seq, Fate::Evicted(tag)));
        let progress = Progress {
            stretch: id,
            committed,
            fates: fates.collect(),
        };
        Ok(Loss {
            destination: name.to_owned(),
            progress,
        })
    }

    fn note_loss(&mut self, stretch: &StretchTruth, committed: u64, lost: usize, in_hand: usize) {
        let is_wholly = committed >= stretch.limit;
        let is_hurt = lost + in_hand > 0;
        let is = |kind| u64::from(stretch.kind == kind && is_hurt);
        let what = if is_wholly {
            "backlogs evicted wholly"
        } else {
            "backlogs evicted partly"
        };
        self.coverage.count(what, is(StretchKind::Backlog));
        let what = "replays evicted under way";
        self.coverage.count(what, is(StretchKind::Replay));
        if stretch.is_owed() {
            let count = |count| u64::try_from(count).unwrap();
            self.coverage.count("evicted records", count(lost));
            let what = "records evicted in hand";
            self.coverage.count(what, count(in_hand));
        }
    }
}

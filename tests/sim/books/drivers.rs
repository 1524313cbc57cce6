//! What drivers do: read, plan, commit, die and begin anew, each kind of stretch by itself.

use std::collections::VecDeque;

use diskring::{Cursor, Read, Seq};
use pipeline::tally::{BatchOutcome, StretchId, StretchKind};

use super::truth::{Change, Fate, Progress};
use super::{World, fatal};

/// A driver: what it has in hand is what was read and has no verdict yet.
pub(super) struct Driver {
    stretch: StretchId,
    pub(super) cursor: Cursor,
    pub(super) in_hand: VecDeque<(u64, u16)>,
}

/// How far a stretch is in its driver's hands.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hand {
    /// Everything before was read, or evicted before it was.
    pub(super) given: u64,
    /// Everything before was evicted and accounted for, or given.
    pub(super) evicted: u64,
}

impl World {
    fn pick_driver(&mut self) -> Option<(String, StretchKind)> {
        let nth = self.rng.below(self.drivers.len());
        self.drivers.keys().nth(nth).cloned()
    }

    pub(super) fn read(&mut self) -> Result<(), String> {
        let Some((name, kind)) = self.pick_driver() else {
            return Ok(());
        };
        for _ in 0..self.rng.below(4) {
            if !self.read_on(&name, kind)? {
                break;
            }
        }
        Ok(())
    }

    /// Reads a frame, up to the limit; false at the end. A driver whose stretch is no more leaves.
    pub(super) fn read_on(&mut self, name: &str, kind: StretchKind) -> Result<bool, String> {
        let driver_key = (name.to_owned(), kind);
        let driver = self.drivers.get_mut(&driver_key).unwrap();
        let id = driver.stretch;
        let key = (self.open[name], id);
        let limit = self.now.stretch(name, id).map(|stretch| stretch.limit);
        let told = self.books.limit(key.0, id).map(Seq::get);
        if told != limit {
            return Err(format!("{name} {id:?} ends at {told:?}, not {limit:?}"));
        }
        let Some(limit) = limit else {
            self.coverage.count("stretches gone under their driver", 1);
            self.drivers.remove(&driver_key);
            return Ok(false);
        };
        let from = driver.cursor.seq().get();
        if from >= limit {
            return Ok(false);
        }
        let has_more = match self.ring.read(&mut driver.cursor).map_err(fatal)? {
            Read::Frame(frame) => {
                let entries = frame.entries().map(|entry| (entry.seq.get(), entry.tag));
                let entries = entries.filter(|(seq, _)| (from..limit).contains(seq));
                driver.in_hand.extend(entries);
                true
            }
            Read::Evicted { .. } => true,
            Read::End => false,
            lost @ Read::Lost { .. } => return Err(format!("{lost:?}")),
        };
        let end = driver.cursor.seq().get();
        let hand = self.hands.entry((name.to_owned(), id)).or_default();
        hand.given = hand.given.max(end.min(limit));
        self.books.given(key.0, id, Seq::new(end));
        Ok(has_more)
    }

    /// A place behind the position up to which everything was read; `None` when the stretch is no
    /// more.
    fn place(&mut self, name: &str, kind: StretchKind) -> Option<u64> {
        let driver = &self.drivers[&(name.to_owned(), kind)];
        let stretch = self.now.stretch(name, driver.stretch)?;
        let committed = stretch.committed;
        let read = driver.cursor.seq().get().min(stretch.limit);
        let span = usize::try_from(read.saturating_sub(committed)).unwrap();
        Some(match self.rng.below(3) {
            0 => read.max(committed),
            _ => committed + u64::try_from(self.rng.below(span + 1)).unwrap(),
        })
    }

    pub(super) fn plan(&mut self) {
        let Some((name, kind)) = self.pick_driver() else {
            return;
        };
        let id = self.drivers[&(name.clone(), kind)].stretch;
        let key = (self.open[&name], id);
        let Some(end) = self.place(&name, kind) else {
            return self.books.plan(&mut self.ring, key, Seq::new(7));
        };
        if end > self.now.stretch(&name, id).unwrap().committed {
            self.record_change(&name, Change::Plan(id, end));
            self.books.plan(&mut self.ring, key, Seq::new(end));
        }
    }

    pub(super) fn commit(&mut self) -> Result<(), String> {
        let Some((name, kind)) = self.pick_driver() else {
            return Ok(());
        };
        let end = self.place(&name, kind).unwrap_or(u64::MAX);
        self.commit_up_to(&name, kind, end)
    }

    /// Commits what is in hand before `end`, with some verdict or other; of a stretch that is no
    /// more nothing counts.
    pub(super) fn commit_up_to(
        &mut self,
        name: &str,
        kind: StretchKind,
        end: u64,
    ) -> Result<(), String> {
        let Some(driver) = self.drivers.get(&(name.to_owned(), kind)) else {
            return Ok(());
        };
        let id = driver.stretch;
        let end = end.min(driver.cursor.seq().get());
        let (outcome, fates) = self.verdicts(name, kind, end);
        if let Some(stretch) = self.now.stretch(name, id) {
            let (limit, end) = (stretch.limit, end.min(stretch.limit));
            let mut committed = stretch.committed.max(end);
            let hand = self.hands.entry((name.to_owned(), id)).or_default();
            if hand.given <= committed {
                committed = committed.max(hand.evicted);
                hand.given = committed;
            } else {
                self.coverage.count("partial commits", 1);
            }
            if committed >= limit {
                match kind {
                    StretchKind::Live => {}
                    StretchKind::Backlog => self.coverage.count("backlogs finished", 1),
                    StretchKind::Replay => self.coverage.count("replays finished", 1),
                }
                self.retire(name, id);
            }
            let progress = Progress {
                stretch: id,
                committed,
                fates,
            };
            self.record_change(name, Change::Commit(progress));
        }
        let key = (self.open[name], id);
        self.books
            .commit(&mut self.ring, key, Seq::new(end), outcome)
            .map_err(fatal)
    }

    /// What becomes of the records in hand before `end`; some of those that are overwritten had to
    /// be read again and were not there.
    fn verdicts(
        &mut self,
        name: &str,
        kind: StretchKind,
        end: u64,
    ) -> (BatchOutcome, Vec<(u64, Fate)>) {
        let first = self.ring.first().get();
        let takes = &self.now.destinations[name].takes;
        let driver = self.drivers.get_mut(&(name.to_owned(), kind)).unwrap();
        let ended = driver.in_hand.partition_point(|(seq, _)| *seq < end);
        let mut outcome = BatchOutcome::default();
        let mut fates = Vec::new();
        for (seq, tag) in driver.in_hand.drain(..ended) {
            if takes.as_ref().is_some_and(|takes| !takes.contains(&tag)) {
                continue;
            }
            let gone = seq < first && self.rng.one_in(2);
            let (count, fate) = match self.rng.below(8) {
                _ if gone => (&mut outcome.evicted, Fate::Evicted(u16::MAX)),
                0 => (&mut outcome.rejected, Fate::Rejected),
                1 => (&mut outcome.filtered, Fate::Filtered),
                2 => (&mut outcome.by_fallback, Fate::ByFallback),
                _ => (&mut outcome.delivered, Fate::Delivered),
            };
            *count += 1;
            fates.push((seq, fate));
        }
        (outcome, fates)
    }

    /// Drivers that have not noticed yet how far their position was moved on, that they were
    /// closed, or that their stretch is no more.
    pub(super) fn speak_behind(&mut self) -> Result<(), String> {
        if let Some((name, kind)) = self.pick_driver() {
            let id = self.drivers[&(name.clone(), kind)].stretch;
            let stretch = self.now.stretch(&name, id);
            let end = stretch.map_or(0, |stretch| stretch.committed.saturating_sub(1));
            self.coverage.count("commits behind the position", 1);
            let key = (self.open[&name], id);
            self.books
                .commit(&mut self.ring, key, Seq::new(end), BatchOutcome::default())
                .map_err(fatal)?;
        }
        let nth = self.rng.below(self.retired.len());
        let Some(key) = self.retired.get(nth).copied() else {
            return Ok(());
        };
        self.coverage.count("words of the retired", 1);
        if let Some(limit) = self.books.limit(key.0, key.1) {
            return Err(format!("{key:?} is no more and ends at {limit:?}"));
        }
        let outcome = BatchOutcome {
            delivered: 7,
            ..BatchOutcome::default()
        };
        let end = self.ring.durable();
        self.books.given(key.0, key.1, end);
        self.books.plan(&mut self.ring, key, end);
        self.books
            .commit(&mut self.ring, key, end, outcome)
            .map_err(fatal)
    }

    /// A driver of some kind begins anew, or dies.
    pub(super) fn begin_some(&mut self) -> Result<(), String> {
        let Some(name) = self.pick(self.open.keys().cloned().collect()) else {
            return Ok(());
        };
        let kind = match self.rng.below(8) {
            0..2 => StretchKind::Live,
            2..5 => StretchKind::Backlog,
            _ => StretchKind::Replay,
        };
        if self.rng.one_in(8) {
            // What it had in hand is its successor's to account for, who comes later.
            self.drivers.remove(&(name, kind));
            return Ok(());
        }
        self.begin(&name, kind)
    }

    /// A driver begins anew with the stretch of its kind that goes first; what its predecessor had
    /// in hand waits again, or is counted where it is gone.
    pub(super) fn begin(&mut self, name: &str, kind: StretchKind) -> Result<(), String> {
        let first = self.ring.first().get();
        let driver_key = (name.to_owned(), kind);
        let before = self.drivers.remove(&driver_key);
        let stretches: Vec<StretchId> = self.now.destinations[name]
            .of_kind(kind)
            .map(|(id, _)| *id)
            .collect();
        self.note_deaths(name, &stretches, first);
        self.record_change(name, Change::Settle(first, Some(kind)));
        for id in stretches {
            self.hands.remove(&(name.to_owned(), id));
            if self.now.stretch(name, id).is_none() {
                self.retire(name, id);
            }
        }
        let opened = self
            .books
            .open_stretch(&mut self.ring, self.open[name], kind)
            .map_err(fatal)?;
        let expected = self.now.destinations[name].next(kind);
        if opened.map(|(id, _)| id) != expected {
            return Err(format!("{name} opens {opened:?}, not {expected:?}"));
        }
        let Some((id, stretch)) = opened else {
            return Ok(());
        };
        self.now.compare_stretch(name, id, &stretch)?;
        let is_switch = before.is_some_and(|before| {
            before.stretch != id && self.now.stretch(name, before.stretch).is_some()
        });
        self.coverage.count("switches", u64::from(is_switch));
        let driver = Driver {
            stretch: id,
            cursor: self.ring.cursor(stretch.committed()),
            in_hand: VecDeque::new(),
        };
        self.drivers.insert(driver_key, driver);
        Ok(())
    }

    fn note_deaths(&mut self, name: &str, stretches: &[StretchId], first: u64) {
        for id in stretches {
            let committed = self.now.stretch(name, *id).unwrap().committed;
            let hand = self.hands.get(&(name.to_owned(), *id));
            if hand.is_none_or(|hand| hand.given <= committed) {
                continue;
            }
            self.coverage.count("beginnings anew, records in hand", 1);
            let is_gone = committed < first;
            let what = "beginnings anew, records in hand evicted";
            self.coverage.count(what, u64::from(is_gone));
        }
    }
}

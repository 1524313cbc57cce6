//! What drivers do: read, plan, commit, and begin anew with other sources.

use std::collections::{BTreeSet, VecDeque};

use diskring::{Cursor, Read, Seq};
use pipeline::books::DestinationIndex;
use pipeline::tally::{BatchOutcome, StretchId};

use super::truth::{Change, Fate, Names};
use super::{DESTINATIONS, SOURCES, World, fatal};

/// A driver: what it has in hand is what was read and has no verdict yet.
pub(super) struct Driver {
    pub(super) index: DestinationIndex,
    pub(super) cursor: Cursor,
    pub(super) in_hand: VecDeque<(u64, u16)>,
    /// Everything before was read, or evicted before it was.
    pub(super) given: u64,
    /// Everything before was evicted and accounted for, or given.
    pub(super) evicted: u64,
}

impl World {
    pub(super) fn read(&mut self) -> Result<(), String> {
        let Some(name) = self.pick_driver() else {
            return Ok(());
        };
        let driver = self.drivers.get_mut(&name).unwrap();
        for _ in 0..self.rng.below(4) {
            match self.ring.read(&mut driver.cursor).map_err(fatal)? {
                Read::Frame(frame) => driver
                    .in_hand
                    .extend(frame.entries().map(|entry| (entry.seq.get(), entry.tag))),
                Read::Evicted { .. } => {}
                Read::End => break,
                lost @ Read::Lost { .. } => return Err(format!("{lost:?}")),
            }
        }
        let end = driver.cursor.seq();
        driver.given = driver.given.max(end.get());
        self.books.given(driver.index, StretchId::LIVE, end);
        Ok(())
    }

    /// A place behind the position up to which everything was read.
    pub(super) fn place(&mut self, name: &str) -> u64 {
        let committed = self.now.destinations[name].committed;
        let read = self.drivers[name].cursor.seq().get();
        let span = usize::try_from(read.saturating_sub(committed)).unwrap();
        match self.rng.below(3) {
            0 => read.max(committed),
            _ => committed + u64::try_from(self.rng.below(span + 1)).unwrap(),
        }
    }

    pub(super) fn plan(&mut self) {
        let Some(destination) = self.pick_driver() else {
            return;
        };
        let end = self.place(&destination);
        let index = self.drivers[&destination].index;
        if end > self.now.destinations[&destination].committed {
            self.record_change(&destination, Change::Plan(end));
            let key = (index, StretchId::LIVE);
            self.books.plan(&mut self.ring, key, Seq::new(end));
        }
    }

    pub(super) fn commit(&mut self) -> Result<(), String> {
        let Some(destination) = self.pick_driver() else {
            return Ok(());
        };
        let end = self.place(&destination);
        let first = self.ring.first().get();
        let truth = &self.now.destinations[&destination];
        let driver = self.drivers.get_mut(&destination).unwrap();
        let ended = driver.in_hand.partition_point(|(seq, _)| *seq < end);
        let mut outcome = BatchOutcome::default();
        let mut fates = Vec::new();
        for (seq, tag) in driver.in_hand.drain(..ended) {
            if truth
                .takes
                .as_ref()
                .is_some_and(|takes| !takes.contains(&tag))
            {
                continue;
            }
            let gone = seq < first && self.rng.one_in(2);
            let (count, fate) = match self.rng.below(8) {
                _ if gone => (&mut outcome.evicted, Fate::Evicted(u16::MAX)),
                0 => (&mut outcome.rejected, Fate::Rejected),
                1 => (&mut outcome.filtered, Fate::Filtered),
                _ => (&mut outcome.delivered, Fate::Delivered),
            };
            *count += 1;
            fates.push((seq, fate));
        }
        let mut committed = truth.committed.max(end);
        if driver.given <= committed {
            committed = committed.max(driver.evicted);
            driver.given = committed;
        } else {
            self.coverage.partial_commits += 1;
        }
        let index = driver.index;
        self.record_change(&destination, Change::Commit { committed, fates });
        self.books
            .commit(
                &mut self.ring,
                (index, StretchId::LIVE),
                Seq::new(end),
                outcome,
            )
            .map_err(fatal)
    }

    /// Drivers that have not noticed yet how far their position was moved on, or that they were
    /// closed.
    pub(super) fn commit_behind(&mut self) -> Result<(), String> {
        let Some(destination) = self.pick_driver() else {
            return Ok(());
        };
        self.coverage.commits_behind += 1;
        let committed = self.now.destinations[&destination].committed;
        if let Some(index) = self.retired.last().copied() {
            let outcome = BatchOutcome {
                delivered: 7,
                ..BatchOutcome::default()
            };
            self.books
                .commit(
                    &mut self.ring,
                    (index, StretchId::LIVE),
                    Seq::new(committed + 7),
                    outcome,
                )
                .map_err(fatal)?;
        }
        let index = self.drivers[&destination].index;
        let end = Seq::new(committed.saturating_sub(1));
        self.books
            .commit(
                &mut self.ring,
                (index, StretchId::LIVE),
                end,
                BatchOutcome::default(),
            )
            .map_err(fatal)
    }

    /// Closes a destination, or opens it with other sources, or both.
    pub(super) fn reopen(&mut self) -> Result<(), String> {
        let name = DESTINATIONS[self.rng.below(DESTINATIONS.len())];
        let open = self.drivers.get(name).map(|driver| driver.index);
        if let Some(index) = open
            && self.rng.one_in(2)
        {
            self.record_close(name);
            self.books
                .close_destination(&mut self.ring, index)
                .map_err(fatal)?;
        }
        if self.rng.one_in(4) {
            return Ok(());
        }
        self.open_destination(name)
    }

    /// What a closing does to the truth.
    pub(super) fn record_close(&mut self, name: &str) {
        if let Some(driver) = self.drivers.remove(name) {
            self.retired.push(driver.index);
            let first = self.ring.first().get();
            self.record_change(name, Change::Settle(first));
        }
    }

    pub(super) fn open_destination(&mut self, name: &str) -> Result<(), String> {
        let from: Option<Names> = match name {
            "all" => None,
            "some" => Some(SOURCES[..2].iter().copied().map(str::to_owned).collect()),
            _ => self.random_from(name)?,
        };
        let takes: Option<BTreeSet<u16>> = from.as_ref().map(|from| {
            let named = self
                .now
                .sources
                .iter()
                .filter(|(name, _)| from.contains(*name));
            named.map(|(_, source)| source.tag).collect()
        });
        let known = self.now.destinations.get(name);
        let is_changed = known.is_some_and(|truth| truth.takes != takes);
        // Only what is new or takes others needs more room than it has.
        if (is_changed || known.is_none()) && !self.has_room(200)? {
            return Ok(());
        }
        self.coverage.changed += u64::from(is_changed);
        if self.drivers.contains_key(name) {
            self.coverage.doubled += 1;
            self.record_close(name);
        }
        let positions = self.now.destinations.values().map(|truth| truth.committed);
        let first = self.ring.first().get();
        let start = positions.min().unwrap_or(first).max(first);
        self.record_change(name, Change::Open { takes, start });
        self.from.remove(name);
        if let Some(from) = &from {
            self.from.insert(name.to_owned(), from.clone());
        }
        let names = from.map(|from| from.into_iter().collect());
        let index = self
            .books
            .open_destination(&mut self.ring, name, names)
            .map_err(fatal)?;
        let committed = self.now.destinations[name].committed;
        let driver = Driver {
            index,
            cursor: self.ring.cursor(Seq::new(committed)),
            in_hand: VecDeque::new(),
            given: committed,
            evicted: committed,
        };
        self.drivers.insert(name.to_owned(), driver);
        Ok(())
    }

    /// Some sources; those that it has where a state has no room to grow.
    pub(super) fn random_from(&mut self, name: &str) -> Result<Option<Names>, String> {
        if let Some(known) = self.now.destinations.get(name).cloned()
            && !self.has_room(200)?
        {
            let sources = self.now.sources.iter();
            return Ok(known.takes.map(|takes| {
                sources
                    .filter(|(_, source)| takes.contains(&source.tag))
                    .map(|(name, _)| name.clone())
                    .collect()
            }));
        }
        if self.rng.one_in(4) {
            return Ok(None);
        }
        let mut from = Names::new();
        for source in SOURCES {
            if self.rng.one_in(2) {
                from.insert(source.to_owned());
            }
        }
        Ok(Some(from))
    }
}

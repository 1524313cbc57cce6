//! Destinations: opened with other sources, closed, dropped.

use std::collections::BTreeSet;

use pipeline::tally::StretchKind;

use super::state_room::TAKES_BYTES;
use super::truth::{Change, DestinationTruth, Names};
use super::{DESTINATIONS, SOURCES, World, fatal};

impl World {
    /// Closes a destination, or opens it with other sources, or both.
    pub(super) fn reopen(&mut self) -> Result<(), String> {
        let name = DESTINATIONS[self.rng.below(DESTINATIONS.len())];
        if let Some(index) = self.open.get(name).copied()
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
        let Some(index) = self.open.remove(name) else {
            return;
        };
        let stretches = self.now.destinations[name].stretches.keys();
        self.retired.extend(stretches.map(|id| (index, *id)));
        let first = self.ring.first().get();
        self.record_change(name, Change::Settle(first, None));
        self.drivers.retain(|(of, _), _| of != name);
        self.hands.retain(|(of, _), _| of != name);
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
        let is_new = known.is_none();
        let is_changed = known.is_some_and(|truth| truth.takes != takes);
        // Only what is new or takes others needs more room than it has.
        if (is_changed || is_new) && !self.has_room(200)? {
            return Ok(());
        }
        if is_changed && self.state_room() < TAKES_BYTES {
            return Ok(());
        }
        self.coverage
            .count("changed subsets", u64::from(is_changed));
        if self.open.contains_key(name) {
            self.coverage.count("destinations opened twice", 1);
            self.record_close(name);
        }
        let positions = self.now.destinations.values();
        let positions = positions.map(DestinationTruth::committed);
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
        self.open.insert(name.to_owned(), index);
        self.begin(name, StretchKind::Live)
    }

    /// Forgets destinations that are closed.
    pub(super) fn drop_closed(&mut self) -> Result<(), String> {
        let known: Vec<String> = self.now.destinations.keys().cloned().collect();
        for destination in known {
            if !self.open.contains_key(&destination) {
                let stretches = self.now.destinations[&destination].stretches.len() - 1;
                let what = "stretches dropped with their destination";
                self.coverage.count(what, u64::try_from(stretches).unwrap());
                self.from.remove(&destination);
                self.record_change(&destination, Change::Drop);
            }
        }
        self.books
            .forget_closed_destinations(&mut self.ring)
            .map_err(fatal)
    }

    /// Some sources; those that it has where a state has no room to grow.
    pub(super) fn random_from(&mut self, name: &str) -> Result<Option<Names>, String> {
        if let Some(known) = self.now.destinations.get(name).cloned()
            && (!self.has_room(200)? || self.state_room() < TAKES_BYTES)
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

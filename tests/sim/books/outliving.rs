//! Sources of which only a replay has records left.

use pipeline::tally::StretchKind;

use super::truth::Names;
use super::{DESTINATIONS, World};

impl World {
    /// A replay takes records in hand, a source says nothing more, and the ring laps while
    /// everything is delivered that is owed: only the replay keeps the source's name.
    pub(super) fn outlive(&mut self) -> Result<(), String> {
        for name in DESTINATIONS {
            if !self.open.contains_key(name) {
                self.open_destination(name)?;
            }
        }
        let mut sources: Vec<String> = self.now.sources.keys().cloned().collect();
        if sources.len() < 2 || self.open.len() < DESTINATIONS.len() {
            return Ok(());
        }
        let silent = sources.swap_remove(self.rng.below(sources.len()));
        self.sync()?;
        self.deliver_owed()?;
        if !self.take_in_hand()? {
            return Ok(());
        }
        let silent_tag = self.now.sources[&silent].tag;
        while self.has_entries_of(silent_tag) {
            let source = self.pick(sources.clone()).unwrap();
            let tag = self.now.sources[&source].tag;
            let payload = vec![7; self.payload_max];
            if !self.append(&source, tag, &payload)? {
                self.sync()?;
                self.deliver_owed()?;
                if !self.append(&source, tag, &payload)? {
                    return Ok(());
                }
            }
        }
        self.sync()?;
        self.deliver_owed()?;
        let named: Names = sources.into_iter().collect();
        self.forget_sources_except(&named)
    }

    /// A destination is to have what is in the ring once more, and its driver reads some of it;
    /// false where it does not.
    fn take_in_hand(&mut self) -> Result<bool, String> {
        let name = self.pick(self.open.keys().cloned().collect()).unwrap();
        let end = self.now.destinations[&name].committed();
        self.replay_of(&name, (self.now.first, end))?;
        self.begin(&name, StretchKind::Replay)?;
        let key = (name.clone(), StretchKind::Replay);
        if !self.drivers.contains_key(&key) {
            return Ok(false);
        }
        for _ in 0..=self.rng.below(4) {
            self.read_on(&name, StretchKind::Replay)?;
        }
        Ok(true)
    }

    fn has_entries_of(&self, tag: u16) -> bool {
        let first = usize::try_from(self.now.first).unwrap();
        self.now.entries[first..].contains(&tag)
    }

    fn deliver_owed(&mut self) -> Result<(), String> {
        for name in DESTINATIONS {
            for kind in [StretchKind::Backlog, StretchKind::Live] {
                self.deliver(name, kind)?;
            }
        }
        Ok(())
    }
}

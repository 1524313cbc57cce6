//! What sources and the store do: batches, checkpoints, syncs, evictions.

use diskring::{AppendError, PutError};
use pipeline::books::Counts;
use pipeline::tally::SourceTally;

use super::truth::{Change, Fate, Loss, Names, Step};
use super::{SOURCES, World, fatal};

impl World {
    pub(super) fn batch(&mut self) -> Result<(), String> {
        let Some(source) = self.pick_source() else {
            return Ok(());
        };
        let tag = self.now.sources[&source].tag;
        for _ in 0..self.rng.below(12) {
            let payload = vec![7; self.rng.below(self.payload_max)];
            if !self.append(&source, tag, &payload)? {
                self.coverage.blocked += 1;
                break;
            }
        }
        for _ in 0..self.rng.below(4) {
            self.checkpoint(&source, tag)?;
        }
        if self.rng.one_in(2) {
            let counts = Counts {
                filtered: u64::try_from(self.rng.below(300)).unwrap(),
                decode_errors: u64::try_from(self.rng.below(2)).unwrap(),
                cut: u64::try_from(self.rng.below(2)).unwrap(),
            };
            self.record(Step::Took { source, counts });
            self.books.took(&mut self.ring, tag, counts);
        }
        Ok(())
    }

    /// Appends; false when there is no room that may be had.
    pub(super) fn append(
        &mut self,
        source: &str,
        tag: u16,
        payload: &[u8],
    ) -> Result<bool, String> {
        loop {
            match self.ring.append(tag, 0, payload) {
                Ok(_) => {
                    let source = source.to_owned();
                    self.record(Step::Append { source });
                    return Ok(true);
                }
                Err(AppendError::Full) => {
                    if !self.make_room()? {
                        return Ok(false);
                    }
                }
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    pub(super) fn checkpoint(&mut self, source: &str, tag: u16) -> Result<(), String> {
        let key = vec![b'k'; 1 + self.rng.below(120)];
        if self.rng.one_in(6) {
            self.record(Step::Checkpoint {
                source: source.to_owned(),
                key: key.clone(),
                offset: None,
            });
            return self
                .books
                .forget_checkpoint(&mut self.ring, tag, &key)
                .map_err(fatal);
        }
        let offset = self.rng.next_u64();
        match self.books.set_checkpoint(&mut self.ring, tag, &key, offset) {
            Ok(()) => self.record(Step::Checkpoint {
                source: source.to_owned(),
                key,
                offset: Some(offset),
            }),
            Err(PutError::StateFull { .. }) => self.coverage.checkpoints_refused += 1,
            Err(PutError::Full) => self.coverage.checkpoints_without_room += 1,
            Err(error) => return Err(error.to_string()),
        }
        Ok(())
    }

    /// Evicts the oldest segment unless that would lose something and the policy is to wait.
    pub(super) fn make_room(&mut self) -> Result<bool, String> {
        let Some(oldest) = self.ring.oldest() else {
            return Ok(false);
        };
        if self.blocks && self.books.would_lose(oldest.end) {
            return Ok(false);
        }
        let (first, end) = (oldest.first.get(), oldest.end.get());
        let mut losses = Vec::new();
        for (name, truth) in &self.now.destinations {
            let driver = self.drivers.get_mut(name);
            let (given, evicted) = driver.as_ref().map_or((0, 0), |d| (d.given, d.evicted));
            let start = truth.committed.max(given).max(evicted).max(first);
            let lost = self.now.unfated(name, start, end.max(start));
            let in_hand = self
                .now
                .unfated(name, first.max(truth.committed), end.min(start));
            self.coverage.evicted_in_hand += u64::try_from(in_hand.len()).unwrap();
            self.coverage.evicted += u64::try_from(lost.len()).unwrap();
            let mut committed = truth.committed;
            if start < end {
                if given <= committed {
                    committed = end;
                }
                if let Some(driver) = driver {
                    driver.evicted = end;
                    driver.given = driver.given.max(committed);
                }
            }
            let fates: Vec<(u64, Fate)> = lost
                .into_iter()
                .map(|(seq, tag)| (seq, Fate::Evicted(tag)))
                .collect();
            if self.blocks && (!fates.is_empty() || !in_hand.is_empty()) {
                return Err(format!("{name} loses records of a ring that blocks"));
            }
            losses.push(Loss {
                destination: name.clone(),
                fates,
                committed,
            });
        }
        self.record(Step::Evict { end, losses });
        self.books.evict(&mut self.ring).map_err(fatal)?;
        self.write()?;
        self.ring.evict_oldest().map_err(fatal)?;
        self.coverage.evictions += 1;
        self.settle_steps();
        Ok(true)
    }

    pub(super) fn sync(&mut self) -> Result<(), String> {
        self.ring.sync().map_err(fatal)?;
        // In a full ring states may wait for the next eviction.
        if !self.ring.is_pending() {
            self.settle_steps();
        }
        Ok(())
    }

    pub(super) fn settle_steps(&mut self) {
        for step in std::mem::take(&mut self.steps) {
            self.durable.apply(step);
        }
    }

    pub(super) fn refuse(&mut self) {
        if let Some(source) = self.pick_source() {
            let truth = &self.now.sources[&source];
            let (tag, total) = (truth.tag, truth.refused + 3);
            self.record(Step::Refused { source, total });
            self.books.set_refused(tag, total);
        }
    }

    pub(super) fn open_source(&mut self) -> Result<(), String> {
        let source = SOURCES[self.rng.below(SOURCES.len())].to_owned();
        if !self.has_room(200)? {
            return Ok(());
        }
        let opened = match self.books.open_source(&mut self.ring, &source) {
            Ok(opened) => opened,
            Err(error) => return Err(error.to_string()),
        };
        if self.now.sources.contains_key(&source) {
            return Ok(());
        }
        let tag = opened.tag;
        self.coverage.tags_reused += u64::from(!self.used_tags.insert(tag));
        if opened.tally != SourceTally::default() {
            return Err(format!("a new source begins with {opened:?}"));
        }
        self.record(Step::OpenSource {
            source: source.clone(),
            tag,
        });
        for destination in self.now.destinations.keys().cloned().collect::<Vec<_>>() {
            let from = self.from.get(&destination);
            if from.is_some_and(|from| from.contains(&source)) {
                self.record_change(&destination, Change::Take(tag));
            }
        }
        Ok(())
    }

    /// Forgets destinations that are closed, or sources that are gone.
    pub(super) fn forget(&mut self) -> Result<(), String> {
        if self.rng.one_in(4) {
            let known: Vec<String> = self.now.destinations.keys().cloned().collect();
            for destination in known {
                if !self.drivers.contains_key(&destination) {
                    self.from.remove(&destination);
                    self.record_change(&destination, Change::Drop);
                }
            }
            return self
                .books
                .forget_closed_destinations(&mut self.ring)
                .map_err(fatal);
        }
        let named: Names = SOURCES
            .iter()
            .map(|name| (*name).to_owned())
            .filter(|_| !self.rng.one_in(4))
            .collect();
        let sources = self.now.sources.iter();
        let mut gone: Vec<(u16, String)> = sources
            .filter(|(name, _)| !named.contains(*name))
            .map(|(name, source)| (source.tag, name.clone()))
            .collect();
        gone.sort();
        let first = usize::try_from(self.now.first).unwrap();
        for (tag, source) in gone {
            for (key, _) in self.books.checkpoints(&self.ring, tag) {
                self.record(Step::Checkpoint {
                    source: source.clone(),
                    key,
                    offset: None,
                });
            }
            // What a driver has in hand may be out of the ring.
            let mut positions = self.now.destinations.values();
            let in_hand = positions.any(|truth| truth.committed < self.now.first);
            if in_hand || self.now.entries[first..].contains(&tag) {
                continue;
            }
            for destination in self.now.destinations.keys().cloned().collect::<Vec<_>>() {
                self.record_change(&destination, Change::Untake(tag));
            }
            self.record(Step::DropSource { source });
            self.coverage.sources_forgotten += 1;
        }
        self.books
            .forget_sources_except(&mut self.ring, &named)
            .map_err(fatal)
    }
}

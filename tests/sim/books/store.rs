//! What sources and the store do: batches, checkpoints, syncs, evictions.

use diskring::{AppendError, PutError};
use pipeline::books::Counts;
use pipeline::tally::SourceTally;

use super::truth::{Change, Names, Step};
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
                self.coverage.count("blocked appends", 1);
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
            Err(PutError::StateFull { .. }) => self.coverage.count("checkpoints refused", 1),
            Err(PutError::Full) => self.coverage.count("checkpoints without room", 1),
            Err(error) => return Err(error.to_string()),
        }
        Ok(())
    }

    /// Evicts the oldest segment unless that would lose something and the policy is to wait.
    pub(super) fn make_room(&mut self) -> Result<bool, String> {
        let Some(oldest) = self.ring.oldest() else {
            return Ok(false);
        };
        let (first, end) = (oldest.first.get(), oldest.end.get());
        let would_lose = self.would_lose(end);
        if self.books.would_lose(oldest.end) != would_lose {
            return Err(format!("evicting up to {end} loses: {would_lose}"));
        }
        if self.blocks && would_lose {
            return Ok(false);
        }
        let mut losses = Vec::new();
        for (name, id) in self.stretches() {
            losses.push(self.lose(&name, id, (first, end))?);
        }
        self.record(Step::Evict { end, losses });
        self.books.evict(&mut self.ring).map_err(fatal)?;
        self.write()?;
        self.ring.evict_oldest().map_err(fatal)?;
        self.coverage.count("evictions", 1);
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
        let is_known = self.now.sources.contains_key(&source);
        let opened = self
            .books
            .open_source(&mut self.ring, &source)
            .map_err(fatal)?;
        if is_known {
            return Ok(());
        }
        let tag = opened.tag;
        let is_used = !self.used_tags.insert(tag);
        self.coverage
            .count("numbers used again", u64::from(is_used));
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
            return self.drop_closed();
        }
        let named: Names = SOURCES
            .iter()
            .map(|name| (*name).to_owned())
            .filter(|_| !self.rng.one_in(4))
            .collect();
        self.forget_sources_except(&named)
    }

    /// Forgets all sources but these, as far as it may.
    pub(super) fn forget_sources_except(&mut self, named: &Names) -> Result<(), String> {
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
            if self.now.entries[first..].contains(&tag) {
                continue;
            }
            let (owed, replayed) = self.behind();
            if owed || replayed {
                let what = "sources kept for a replay in hand";
                self.coverage.count(what, u64::from(!owed));
                continue;
            }
            for destination in self.now.destinations.keys().cloned().collect::<Vec<_>>() {
                self.record_change(&destination, Change::Untake(tag));
            }
            self.record(Step::DropSource { source });
            self.coverage.count("sources forgotten", 1);
        }
        self.books
            .forget_sources_except(&mut self.ring, named)
            .map_err(fatal)
    }
}

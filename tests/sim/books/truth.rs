//! The truth about the books: what became of each entry at each destination, one by one.
//!
//! The books only add up; here every entry has its own fate, so the law holds by construction and
//! the books are held to it. What was done since the last durable moment is kept as steps, as many
//! of which a cut may leave as it likes, but only from the front.

use std::collections::{BTreeMap, BTreeSet};

use diskring::Ring;
use diskring::sim::SharedDisk;
use pipeline::books::{Books, Counts};
use pipeline::tally::{DestinationTally, UNKNOWN_SOURCE};

pub(super) type Names = BTreeSet<String>;

/// What became of an entry at a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Delivered,
    Rejected,
    Filtered,
    /// Evicted, as a record of this source.
    Evicted(u16),
}

/// What changes the truth, as small as the ring may cut it.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Append {
        source: String,
    },
    Took {
        source: String,
        counts: Counts,
    },
    Refused {
        source: String,
        total: u64,
    },
    Checkpoint {
        source: String,
        key: Vec<u8>,
        offset: Option<u64>,
    },
    OpenSource {
        source: String,
        tag: u16,
    },
    DropSource {
        source: String,
    },
    Destination {
        name: String,
        change: Change,
    },
    /// The oldest segment goes.
    Evict {
        end: u64,
        losses: Vec<Loss>,
    },
}

/// What changes a destination.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// It takes a source that has just begun.
    Take(u16),
    /// A source that it may take is about to be forgotten.
    Untake(u16),
    Open {
        takes: Option<BTreeSet<u16>>,
        start: u64,
    },
    /// Nobody owes anything any more for what is gone before this entry.
    Settle(u64),
    Drop,
    Plan(u64),
    Commit {
        committed: u64,
        fates: Vec<(u64, Fate)>,
    },
}

/// What a destination loses by an eviction, and where it stands afterwards.
#[derive(Clone, Debug)]
pub(super) struct Loss {
    pub(super) destination: String,
    pub(super) fates: Vec<(u64, Fate)>,
    pub(super) committed: u64,
}

#[derive(Clone, Debug)]
pub(super) struct SourceTruth {
    pub(super) tag: u16,
    stored: u64,
    counts: Counts,
    pub(super) refused: u64,
    checkpoints: BTreeMap<Vec<u8>, u64>,
}

#[derive(Clone, Debug)]
pub(super) struct DestinationTruth {
    pub(super) takes: Option<BTreeSet<u16>>,
    pub(super) committed: u64,
    planned: u64,
    fates: BTreeMap<u64, Fate>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Truth {
    /// The source of every entry that ever was.
    pub(super) entries: Vec<u16>,
    pub(super) first: u64,
    pub(super) sources: BTreeMap<String, SourceTruth>,
    pub(super) destinations: BTreeMap<String, DestinationTruth>,
}

impl Truth {
    pub(super) fn next(&self) -> u64 {
        u64::try_from(self.entries.len()).unwrap()
    }

    /// Entries of `start..end` that are for this destination and have no fate yet.
    pub(super) fn unfated(&self, destination: &str, start: u64, end: u64) -> Vec<(u64, u16)> {
        let truth = &self.destinations[destination];
        (start..end)
            .map(|seq| (seq, self.entries[usize::try_from(seq).unwrap()]))
            .filter(|(_, tag)| truth.takes.as_ref().is_none_or(|takes| takes.contains(tag)))
            .filter(|(seq, _)| !truth.fates.contains_key(seq))
            .collect()
    }

    pub(super) fn apply(&mut self, step: Step) {
        match step {
            Step::Append { source } => {
                let source = self.sources.get_mut(&source).unwrap();
                source.stored += 1;
                self.entries.push(source.tag);
            }
            Step::Took { source, counts } => {
                let source = self.sources.get_mut(&source).unwrap();
                source.counts.filtered += counts.filtered;
                source.counts.decode_errors += counts.decode_errors;
                source.counts.cut += counts.cut;
            }
            Step::Refused { source, total } => {
                self.sources.get_mut(&source).unwrap().refused = total;
            }
            Step::Checkpoint {
                source,
                key,
                offset,
            } => {
                let checkpoints = &mut self.sources.get_mut(&source).unwrap().checkpoints;
                match offset {
                    Some(offset) => checkpoints.insert(key, offset),
                    None => checkpoints.remove(&key),
                };
            }
            Step::OpenSource { source, tag } => {
                let truth = SourceTruth {
                    tag,
                    stored: 0,
                    counts: Counts::default(),
                    refused: 0,
                    checkpoints: BTreeMap::new(),
                };
                assert!(self.sources.insert(source, truth).is_none());
            }
            Step::DropSource { source } => {
                self.sources.remove(&source);
            }
            Step::Evict { end, losses } => {
                self.first = end;
                for loss in losses {
                    self.destination(&loss.destination)
                        .commit(loss.committed, loss.fates);
                }
            }
            Step::Destination { name, change } => self.change(name, change),
        }
    }

    fn change(&mut self, name: String, change: Change) {
        match change {
            Change::Take(tag) => {
                let truth = self.destination(&name);
                truth.takes.as_mut().unwrap().insert(tag);
            }
            Change::Untake(tag) => {
                let truth = self.destination(&name);
                if let Some(takes) = &mut truth.takes {
                    takes.remove(&tag);
                }
                for fate in truth.fates.values_mut() {
                    if *fate == Fate::Evicted(tag) {
                        *fate = Fate::Evicted(UNKNOWN_SOURCE);
                    }
                }
            }
            Change::Open { takes, start } => {
                let truth = self.destinations.entry(name);
                let truth = truth.or_insert(DestinationTruth {
                    takes: None,
                    committed: start,
                    planned: start,
                    fates: BTreeMap::new(),
                });
                truth.takes = takes;
            }
            Change::Settle(first) => {
                let committed = self.destinations[&name].committed;
                let lost = self.unfated(&name, committed, first.max(committed));
                let fates = lost
                    .into_iter()
                    .map(|(seq, _)| (seq, Fate::Evicted(UNKNOWN_SOURCE)));
                let fates = fates.collect();
                self.destination(&name).commit(first, fates);
            }
            Change::Drop => {
                self.destinations.remove(&name);
            }
            Change::Plan(end) => self.destination(&name).planned = end,
            Change::Commit { committed, fates } => {
                self.destination(&name).commit(committed, fates);
            }
        }
    }

    /// What the books will say when they are opened after a cut.
    pub(super) fn settled(&self) -> Self {
        let mut truth = self.clone();
        for name in self.destinations.keys().cloned() {
            truth.change(name, Change::Settle(self.first));
        }
        truth
    }

    /// How many fates there are at all destinations.
    pub(super) fn fate_count(&self) -> u64 {
        let fates = self.destinations.values().map(|truth| truth.fates.len());
        u64::try_from(fates.sum::<usize>()).unwrap()
    }

    fn destination(&mut self, name: &str) -> &mut DestinationTruth {
        self.destinations.get_mut(name).unwrap()
    }

    /// Whether ring and books say the same; the text says where not.
    pub(super) fn compare(&self, ring: &Ring<SharedDisk>, books: &Books) -> Result<(), String> {
        let (first, next) = (ring.first().get(), ring.next().get());
        if (first, next) != (self.first, self.next()) {
            return Err(format!(
                "{first}..{next} instead of {}..{}",
                self.first,
                self.next()
            ));
        }
        let names: BTreeMap<u16, String> = books
            .source_names()
            .into_iter()
            .map(|(tag, name)| (tag, name.to_string()))
            .collect();
        let known = self.sources.iter();
        let expected: BTreeMap<u16, String> = known
            .map(|(name, source)| (source.tag, name.clone()))
            .collect();
        if names != expected {
            return Err(format!("sources {names:?} instead of {expected:?}"));
        }
        for (name, source) in &self.sources {
            source
                .compare(ring, books)
                .map_err(|text| format!("source {name}: {text}"))?;
        }
        let tallies = books.tallies(ring);
        if !tallies.keys().eq(self.destinations.keys()) {
            return Err(format!("destinations {:?}", tallies.keys()));
        }
        for (name, tally) in &tallies {
            self.compare_destination(name, tally)
                .map_err(|text| format!("destination {name}: {text}"))?;
        }
        Ok(())
    }

    fn compare_destination(&self, name: &str, tally: &DestinationTally) -> Result<(), String> {
        let truth = &self.destinations[name];
        let count = |wanted: Fate| truth.fates.values().filter(|fate| **fate == wanted).count();
        let number = |count: usize| u64::try_from(count).unwrap();
        let evicted = truth.evicted();
        let waiting = self.unfated(name, truth.committed, self.next()).len();
        let planned = (truth.planned > truth.committed).then_some(truth.planned);
        let expected = [
            ("committed", truth.committed, tally.committed().get()),
            (
                "planned",
                planned.unwrap_or(0),
                tally.live().planned().map_or(0, diskring::Seq::get),
            ),
            (
                "delivered",
                number(count(Fate::Delivered)),
                tally.delivered(),
            ),
            ("rejected", number(count(Fate::Rejected)), tally.rejected()),
            ("filtered", number(count(Fate::Filtered)), tally.filtered()),
            ("truncated", 0, tally.truncated()),
            ("waiting", number(waiting), tally.waiting()),
        ];
        for (what, truth, told) in expected {
            if truth != told {
                return Err(format!("{told} {what} instead of {truth}"));
            }
        }
        if tally.takes() != truth.takes.as_ref() {
            return Err(format!(
                "takes {:?} instead of {:?}",
                tally.takes(),
                truth.takes
            ));
        }
        // Where a state has no room for them, sources are not told apart any more.
        let is_merged = tally.evicted().values().sum::<u64>() == evicted.values().sum::<u64>()
            && tally.evicted().iter().all(|(tag, count)| {
                *tag == UNKNOWN_SOURCE || evicted.get(tag).is_some_and(|truth| count <= truth)
            });
        if !is_merged {
            return Err(format!(
                "evicted {:?} instead of {evicted:?}",
                tally.evicted()
            ));
        }
        Ok(())
    }
}

impl SourceTruth {
    fn compare(&self, ring: &Ring<SharedDisk>, books: &Books) -> Result<(), String> {
        let tally = books.source_tally(ring, self.tag).ok_or("unknown")?;
        let told = Counts {
            filtered: tally.filtered,
            decode_errors: tally.decode_errors,
            cut: tally.cut,
        };
        if (tally.stored, told, tally.refused) != (self.stored, self.counts, self.refused) {
            return Err(format!("{tally:?} instead of {self:?}"));
        }
        if tally.received() != self.stored + self.counts.filtered {
            return Err(format!("{} received", tally.received()));
        }
        let checkpoints: BTreeMap<Vec<u8>, u64> =
            books.checkpoints(ring, self.tag).into_iter().collect();
        if checkpoints != self.checkpoints {
            return Err(format!(
                "checkpoints {checkpoints:?} instead of {:?}",
                self.checkpoints
            ));
        }
        Ok(())
    }
}

impl DestinationTruth {
    /// How many entries of each source were evicted.
    pub(super) fn evicted(&self) -> BTreeMap<u16, u64> {
        let mut evicted = BTreeMap::new();
        for fate in self.fates.values() {
            if let Fate::Evicted(tag) = fate {
                *evicted.entry(*tag).or_default() += 1;
            }
        }
        evicted
    }

    fn commit(&mut self, committed: u64, fates: Vec<(u64, Fate)>) {
        self.committed = self.committed.max(committed);
        self.planned = self.planned.max(self.committed);
        for (seq, fate) in fates {
            assert!(
                self.fates.insert(seq, fate).is_none(),
                "{seq} has two fates"
            );
        }
    }
}

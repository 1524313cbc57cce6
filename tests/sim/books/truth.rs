//! The truth about the books: what became of each entry at each destination, one by one.
//!
//! The books only add up; here every entry has its own fate, so the law holds by construction and
//! the books are held to it. What was done since the last durable moment is kept as steps, as many
//! of which a cut may leave as it likes, but only from the front.

mod compare;
mod destination;

use std::collections::{BTreeMap, BTreeSet};

use pipeline::books::Counts;
use pipeline::tally::{StretchId, StretchKind, UNKNOWN_SOURCE};

pub(super) use destination::{DestinationTruth, StretchTruth};

pub(super) type Names = BTreeSet<String>;

/// What became of an entry at a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Delivered,
    ByFallback,
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
    /// Nobody owes anything any more for what is gone before this entry, in stretches of this
    /// kind, or in all.
    Settle(u64, Option<StretchKind>),
    Drop,
    Plan(StretchId, u64),
    Commit(Progress),
    /// What waits before `at` becomes a backlog, but for what is gone before `first`.
    Split {
        backlog: StretchId,
        at: u64,
        first: u64,
    },
    Replay {
        replay: StretchId,
        range: (u64, u64),
        mark: u64,
    },
    StopReplays,
}

/// What became of entries of a stretch, and where it stands afterwards.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    pub(super) stretch: StretchId,
    pub(super) committed: u64,
    pub(super) fates: Vec<(u64, Fate)>,
}

/// What a destination loses by an eviction.
#[derive(Clone, Debug)]
pub(super) struct Loss {
    pub(super) destination: String,
    pub(super) progress: Progress,
}

#[derive(Clone, Debug)]
pub(super) struct SourceTruth {
    pub(super) tag: u16,
    stored: u64,
    counts: Counts,
    pub(super) refused: u64,
    checkpoints: BTreeMap<Vec<u8>, u64>,
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

    /// Entries of a stretch in `start..end` that are for this destination and have no fate yet.
    pub(super) fn unfated(
        &self,
        destination: &str,
        id: StretchId,
        (start, end): (u64, u64),
    ) -> Vec<(u64, u16)> {
        let truth = &self.destinations[destination];
        let stretch = &truth.stretches[&id];
        let fates = truth.fates_of(stretch);
        (start..end.min(stretch.limit).max(start))
            .map(|seq| (seq, self.entries[usize::try_from(seq).unwrap()]))
            .filter(|(_, tag)| truth.takes.as_ref().is_none_or(|takes| takes.contains(tag)))
            .filter(|(seq, _)| !fates.contains_key(seq))
            .collect()
    }

    /// The stretch of a destination, unless one of both is no more.
    pub(super) fn stretch(&self, destination: &str, id: StretchId) -> Option<&StretchTruth> {
        self.destinations.get(destination)?.stretches.get(&id)
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
                    self.commit(&loss.destination, loss.progress);
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
            Change::Untake(tag) => self.destination(&name).untake(tag),
            Change::Open { takes, start } => {
                let truth = self.destinations.entry(name);
                let truth = truth.or_insert_with(|| DestinationTruth::starting_at(start));
                truth.takes = takes;
            }
            Change::Settle(first, kind) => self.settle(&name, first, kind),
            Change::Drop => {
                self.destinations.remove(&name);
            }
            Change::Plan(id, end) => {
                let stretches = &mut self.destination(&name).stretches;
                stretches.get_mut(&id).unwrap().planned = end;
            }
            Change::Commit(progress) => self.commit(&name, progress),
            Change::Split { backlog, at, first } => {
                self.settle(&name, first, Some(StretchKind::Live));
                self.destination(&name).split(backlog, at);
            }
            Change::Replay {
                replay,
                range,
                mark,
            } => self.destination(&name).replay(replay, range, mark),
            Change::StopReplays => {
                let stretches = &mut self.destination(&name).stretches;
                stretches.retain(|_, stretch| stretch.is_owed());
            }
        }
    }

    fn settle(&mut self, name: &str, first: u64, kind: Option<StretchKind>) {
        let of_kind = |stretch: &StretchTruth| kind.is_none_or(|kind| stretch.kind == kind);
        let stretches = self.destinations[name].stretches.iter();
        let places: Vec<(StretchId, u64, u64)> = stretches
            .filter(|(_, stretch)| of_kind(stretch))
            .map(|(id, stretch)| {
                let committed = stretch.committed.max(first.min(stretch.limit));
                (*id, stretch.committed, committed)
            })
            .collect();
        for (stretch, start, committed) in places {
            let lost = self.unfated(name, stretch, (start, committed));
            let lost = lost.into_iter().map(|(seq, _)| seq);
            let fates = lost.map(|seq| (seq, Fate::Evicted(UNKNOWN_SOURCE)));
            let progress = Progress {
                stretch,
                committed,
                fates: fates.collect(),
            };
            self.commit(name, progress);
        }
    }

    /// What is passed over has a fate afterwards.
    fn commit(&mut self, name: &str, progress: Progress) {
        let id = progress.stretch;
        let passed = (
            self.destinations[name].stretches[&id].committed,
            progress.committed,
        );
        self.destination(name).commit(progress);
        let left = self.unfated(name, id, passed);
        assert!(left.is_empty(), "{name} {id:?} passes {left:?}");
        self.destination(name).finish(id);
    }

    /// What the books will say when they are opened after a cut.
    pub(super) fn settled(&self) -> Self {
        let mut truth = self.clone();
        for name in self.destinations.keys() {
            truth.settle(name, self.first, None);
        }
        truth
    }

    /// How many fates there are at all destinations.
    pub(super) fn fate_count(&self) -> u64 {
        let fates = self.destinations.values().map(DestinationTruth::fate_count);
        fates.sum()
    }

    fn destination(&mut self, name: &str) -> &mut DestinationTruth {
        self.destinations.get_mut(name).unwrap()
    }
}

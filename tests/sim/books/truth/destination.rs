//! A destination as it truly is: the fates of its entries and how far its stretches are.

use std::collections::{BTreeMap, BTreeSet};

use pipeline::tally::{StretchId, StretchKind, UNKNOWN_SOURCE};

use super::{Fate, Progress};

#[derive(Clone, Debug)]
pub(in crate::books) struct DestinationTruth {
    pub(in crate::books) takes: Option<BTreeSet<u16>>,
    /// Those of the live stretch and of backlogs; an entry has one at most.
    pub(super) fates: BTreeMap<u64, Fate>,
    /// Records that replays have delivered.
    pub(super) replayed: u64,
    pub(in crate::books) stretches: BTreeMap<StretchId, StretchTruth>,
}

#[derive(Clone, Debug)]
pub(in crate::books) struct StretchTruth {
    pub(in crate::books) kind: StretchKind,
    pub(in crate::books) committed: u64,
    pub(super) planned: u64,
    /// The first entry behind it; the greatest of all for the live one.
    pub(in crate::books) limit: u64,
    pub(super) mark: u64,
    /// Those of a replay.
    fates: BTreeMap<u64, Fate>,
}

impl StretchTruth {
    const fn new(kind: StretchKind, (first, limit): (u64, u64), mark: u64) -> Self {
        Self {
            kind,
            committed: first,
            planned: first,
            limit,
            mark,
            fates: BTreeMap::new(),
        }
    }

    /// Whether its records count.
    pub(in crate::books) fn is_owed(&self) -> bool {
        self.kind != StretchKind::Replay
    }

    /// Whether a batch of it was begun whose verdict is not known.
    pub(in crate::books) fn is_planned(&self) -> bool {
        self.planned().is_some()
    }

    /// The batch that was begun and whose verdict is not known.
    pub(super) fn planned(&self) -> Option<u64> {
        (self.planned > self.committed).then_some(self.planned)
    }
}

impl DestinationTruth {
    pub(super) fn starting_at(start: u64) -> Self {
        let live = StretchTruth::new(StretchKind::Live, (start, u64::MAX), 0);
        Self {
            takes: None,
            fates: BTreeMap::new(),
            replayed: 0,
            stretches: BTreeMap::from([(StretchId::LIVE, live)]),
        }
    }

    /// Everything before has a fate.
    pub(in crate::books) fn committed(&self) -> u64 {
        let owed = self.stretches.values().filter(|stretch| stretch.is_owed());
        owed.map(|stretch| stretch.committed).min().unwrap()
    }

    /// The stretch of this kind that is to be delivered next.
    pub(in crate::books) fn next(&self, kind: StretchKind) -> Option<StretchId> {
        let of_kind = self.of_kind(kind);
        let next = match kind {
            StretchKind::Live | StretchKind::Replay => {
                of_kind.min_by_key(|(id, stretch)| (stretch.mark, **id))
            }
            StretchKind::Backlog => of_kind.max_by_key(|(_, stretch)| stretch.limit),
        };
        next.map(|(id, _)| *id)
    }

    pub(in crate::books) fn of_kind(
        &self,
        kind: StretchKind,
    ) -> impl Iterator<Item = (&StretchId, &StretchTruth)> {
        let stretches = self.stretches.iter();
        stretches.filter(move |(_, stretch)| stretch.kind == kind)
    }

    /// How many entries of each source were evicted.
    pub(in crate::books) fn evicted(&self) -> BTreeMap<u16, u64> {
        let mut evicted = BTreeMap::new();
        for fate in self.fates.values() {
            if let Fate::Evicted(tag) = fate {
                *evicted.entry(*tag).or_default() += 1;
            }
        }
        evicted
    }

    /// How many entries have this fate.
    pub(super) fn count(&self, wanted: Fate) -> u64 {
        let alike = self.fates.values().filter(|fate| **fate == wanted);
        u64::try_from(alike.count()).unwrap()
    }

    pub(super) fn fate_count(&self) -> u64 {
        u64::try_from(self.fates.len()).unwrap()
    }

    /// Where the fates of a stretch are.
    pub(super) fn fates_of<'a>(&'a self, stretch: &'a StretchTruth) -> &'a BTreeMap<u64, Fate> {
        if stretch.is_owed() {
            &self.fates
        } else {
            &stretch.fates
        }
    }

    pub(super) fn untake(&mut self, tag: u16) {
        if let Some(takes) = &mut self.takes {
            takes.remove(&tag);
        }
        for fate in self.fates.values_mut() {
            if *fate == Fate::Evicted(tag) {
                *fate = Fate::Evicted(UNKNOWN_SOURCE);
            }
        }
    }

    /// The live stretch begins at `at`, what was before it is another.
    pub(super) fn split(&mut self, backlog: StretchId, at: u64) {
        let live = self.stretches.get_mut(&StretchId::LIVE).unwrap();
        let mut front = live.clone();
        front.kind = StretchKind::Backlog;
        front.limit = at;
        live.committed = at;
        live.planned = live.planned.max(at);
        assert!(front.committed < at, "an empty backlog");
        self.begin(backlog, front);
    }

    pub(super) fn replay(&mut self, replay: StretchId, range: (u64, u64), mark: u64) {
        self.begin(replay, StretchTruth::new(StretchKind::Replay, range, mark));
    }

    pub(super) fn commit(&mut self, progress: Progress) {
        let stretch = self.stretches.get_mut(&progress.stretch).unwrap();
        assert!(progress.committed <= stretch.limit, "beyond the limit");
        stretch.committed = stretch.committed.max(progress.committed);
        stretch.planned = stretch.planned.max(stretch.committed);
        let is_owed = stretch.is_owed();
        let fates = if is_owed {
            &mut self.fates
        } else {
            &mut stretch.fates
        };
        for (seq, fate) in progress.fates {
            let is_taken = matches!(fate, Fate::Delivered | Fate::ByFallback);
            self.replayed += u64::from(!is_owed && is_taken);
            assert!(fates.insert(seq, fate).is_none(), "{seq} has two fates");
        }
    }

    /// Forgets a stretch of which everything has a fate.
    pub(super) fn finish(&mut self, id: StretchId) {
        let stretch = &self.stretches[&id];
        if stretch.committed >= stretch.limit {
            self.stretches.remove(&id);
        }
    }

    fn begin(&mut self, id: StretchId, stretch: StretchTruth) {
        assert!(
            self.stretches.insert(id, stretch).is_none(),
            "{id:?} is another's"
        );
    }
}

//! What the histories of the books have seen, so that none is green for want of it.

use std::collections::BTreeMap;

/// What is counted, and how often all histories together see it at least.
const FIGURES: [(&str, u64); 45] = [
    ("histories", 100),
    ("histories drained", 40),
    ("cuts", 500),
    ("cuts in a recovery", 50),
    ("rollbacks", 50),
    ("evictions", 500),
    ("evicted records", 5_000),
    ("records evicted in hand", 500),
    ("losses found at a start", 20),
    ("blocked appends", 50),
    ("partial commits", 200),
    ("commits behind the position", 50),
    ("words of the retired", 100),
    ("changed subsets", 50),
    ("destinations opened twice", 50),
    ("sources forgotten", 20),
    ("sources kept for a replay in hand", 100),
    ("numbers used again", 20),
    ("checkpoints refused", 20),
    ("checkpoints without room", 20),
    // Rare; seeds of their own see them.
    ("counted ranges", 100),
    ("splits", 300),
    ("splits with records in hand", 100),
    ("splits of what was evicted in hand", 20),
    ("splits of a plan", 20),
    ("splits refused, nothing to split", 50),
    ("splits refused, too many", 20),
    ("splits refused, no room", 20),
    ("splits lost by a cut", 20),
    ("splits kept by a cut", 20),
    ("stretches dropped with their destination", 20),
    ("backlogs finished", 100),
    ("backlogs evicted partly", 100),
    ("backlogs evicted wholly", 100),
    ("evictions that a backlog alone forbids", 20),
    ("evictions past a replay", 200),
    ("switches", 20),
    ("stretches gone under their driver", 50),
    ("beginnings anew, records in hand", 100),
    ("beginnings anew, records in hand evicted", 50),
    ("replays", 300),
    ("replays refused", 50),
    ("replays finished", 100),
    ("replays evicted under way", 100),
    ("replays stopped", 50),
];

/// What histories have seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Coverage {
    seen: BTreeMap<&'static str, u64>,
    /// Histories at whose end evicted records were not told apart by source.
    pub(super) merged: u64,
}

impl Coverage {
    /// This was seen so often more.
    pub(super) fn count(&mut self, what: &'static str, times: u64) {
        assert!(FIGURES.iter().any(|(name, _)| *name == what), "{what}");
        *self.seen.entry(what).or_default() += times;
    }

    /// How often this was seen.
    pub(super) fn times(&self, what: &str) -> u64 {
        self.seen.get(what).copied().unwrap_or(0)
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (what, times) in &other.seen {
            self.count(what, *times);
        }
        self.merged += other.merged;
    }

    /// Whether everything was seen often enough.
    pub(super) fn check(&self) {
        let rare: Vec<String> = FIGURES
            .iter()
            .filter(|(what, wanted)| self.times(what) < *wanted)
            .map(|(what, wanted)| format!("{} {what} instead of {wanted}", self.times(what)))
            .collect();
        assert!(rare.is_empty(), "only {}", rare.join(", "));
        let (merged, histories) = (self.merged, self.times("histories"));
        assert!(
            merged * 50 < histories,
            "sources are told apart in all but {merged} of {histories}"
        );
    }
}

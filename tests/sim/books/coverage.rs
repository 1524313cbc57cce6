//! What the histories of the books have seen, so that none is green for want of it.

/// What histories have seen.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Coverage {
    pub(super) histories: u64,
    pub(super) cuts: u64,
    pub(super) rollbacks: u64,
    pub(super) evictions: u64,
    pub(super) evicted: u64,
    pub(super) evicted_in_hand: u64,
    pub(super) settled_at_start: u64,
    pub(super) blocked: u64,
    pub(super) partial_commits: u64,
    pub(super) commits_behind: u64,
    pub(super) changed: u64,
    pub(super) doubled: u64,
    pub(super) sources_forgotten: u64,
    pub(super) tags_reused: u64,
    pub(super) checkpoints_refused: u64,
    pub(super) checkpoints_without_room: u64,
    pub(super) counts: u64,
    /// Histories at whose end evicted records were not told apart by source.
    pub(super) merged: u64,
}

impl Coverage {
    /// Each figure with its name.
    pub(super) fn figures(&self) -> [(&'static str, u64); 17] {
        [
            ("cuts", self.cuts),
            ("rollbacks", self.rollbacks),
            ("evictions", self.evictions),
            ("evicted records", self.evicted),
            ("records evicted in hand", self.evicted_in_hand),
            ("losses found at a start", self.settled_at_start),
            ("blocked appends", self.blocked),
            ("partial commits", self.partial_commits),
            ("commits behind the position", self.commits_behind),
            ("changed subsets", self.changed),
            ("destinations opened twice", self.doubled),
            ("sources forgotten", self.sources_forgotten),
            ("numbers used again", self.tags_reused),
            ("checkpoints refused", self.checkpoints_refused),
            ("checkpoints without room", self.checkpoints_without_room),
            ("histories", self.histories),
            ("counted ranges", self.counts),
        ]
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.histories += other.histories;
        self.cuts += other.cuts;
        self.rollbacks += other.rollbacks;
        self.evictions += other.evictions;
        self.evicted += other.evicted;
        self.evicted_in_hand += other.evicted_in_hand;
        self.settled_at_start += other.settled_at_start;
        self.blocked += other.blocked;
        self.partial_commits += other.partial_commits;
        self.commits_behind += other.commits_behind;
        self.changed += other.changed;
        self.doubled += other.doubled;
        self.sources_forgotten += other.sources_forgotten;
        self.tags_reused += other.tags_reused;
        self.checkpoints_refused += other.checkpoints_refused;
        self.checkpoints_without_room += other.checkpoints_without_room;
        self.counts += other.counts;
        self.merged += other.merged;
    }
}

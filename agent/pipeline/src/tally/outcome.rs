//! What becomes of a batch, as it is added to a tally.

/// What became of the records of one batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchOutcome {
    /// Accepted by the destination.
    pub delivered: u64,
    /// Accepted by the destination's fallback in its place.
    pub by_fallback: u64,
    /// Refused for good; in the dead letter.
    pub rejected: u64,
    /// Let go by the destination's transforms.
    pub filtered: u64,
    /// Not readable any more, those of sources that the destination does not take included.
    pub truncated: u64,
    /// Overwritten between two attempts; of which source is not known any more.
    pub evicted: u64,
}

impl BatchOutcome {
    /// How many records that were waiting are surely not any more.
    pub(super) const fn settled(&self) -> u64 {
        self.delivered
            .saturating_add(self.by_fallback)
            .saturating_add(self.rejected)
            .saturating_add(self.filtered)
            .saturating_add(self.evicted)
    }
}

impl std::ops::AddAssign for BatchOutcome {
    fn add_assign(&mut self, other: Self) {
        self.delivered += other.delivered;
        self.by_fallback += other.by_fallback;
        self.rejected += other.rejected;
        self.filtered += other.filtered;
        self.truncated += other.truncated;
        self.evicted += other.evicted;
    }
}

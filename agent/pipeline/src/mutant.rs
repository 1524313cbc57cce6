//! Deliberate faults of the books, so that tests can show they would notice.
//!
//! Without the `sim` feature none can be chosen and the compiler removes every question for one.

/// A rule of the books that is broken.
#[cfg_attr(
    not(feature = "sim"),
    expect(unreachable_pub, reason = "public only for the simulation")
)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mutant {
    /// Every rule holds.
    #[default]
    None,
    /// An eviction does not end where the stretch does.
    LimitIgnored,
    /// What a replay delivers counts as delivered.
    ReplaysDelivered,
    /// What a replay has still to deliver is owed.
    ReplaysOwed,
    /// What a replay loses counts as evicted.
    ReplaysEvicted,
    /// A split leaves what the live driver had in hand to a driver that is no more.
    SplitUnsettled,
    /// An eviction is accounted for in the live stretch only.
    OnlyLiveEvicted,
    /// A replay's driver has nothing in hand that a source's name is kept for.
    ReplaysNotBehind,
    /// The oldest backlog goes first.
    OldestBacklogFirst,
    /// The replay that was asked for last goes first.
    NewestReplayFirst,
    /// A stretch stays when everything of it has a final verdict.
    FinishedKept,
    /// What is split off waits in the live stretch as well.
    WaitingKept,
    /// A stretch for which there is no room stays in memory.
    RefusedKept,
    /// A destination stands where its foremost stretch does.
    CommittedMax,
    /// A driver that begins anew is not asked what its predecessor had in hand.
    BegunUnsettled,
}

impl Mutant {
    #[cfg(feature = "sim")]
    pub(crate) fn is(self, other: Self) -> bool {
        self == other
    }

    #[cfg(not(feature = "sim"))]
    #[expect(clippy::unused_self, reason = "the same call in both builds")]
    pub(crate) const fn is(self, _other: Self) -> bool {
        false
    }
}

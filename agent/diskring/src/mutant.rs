//! Deliberate faults, each switching one safeguard off, so that tests can show they would notice.
//!
//! Without the `sim` feature none can be chosen and the compiler removes every question for one.

/// A safeguard that is switched off.
#[cfg_attr(
    not(feature = "sim"),
    expect(unreachable_pub, reason = "public only for the simulation")
)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mutant {
    /// Everything is in place.
    #[default]
    None,
    /// Durability is claimed without a sync of the storage.
    AckBeforeSync,
    /// The tail is rewritten in one slot instead of two by turns.
    SingleSlot,
    /// Checksums of frames are not compared.
    NoCrc,
    /// Checksums depend on neither the ring nor the segment.
    NoSeed,
    /// Frames of another generation are taken for the newest group's.
    NoGeneration,
    /// Recovery does not raise the generation.
    GenerationKept,
    /// An eviction frees its segment before it is durable.
    ReuseBeforeDurable,
    /// The newest slot is believed without its group being checked.
    NoGroupCheck,
    /// The start of the page in which the newest group begins is not checked.
    NoPrefixCheck,
    /// States are made durable in a sync after that of the entries that they belong to.
    StateApart,
    /// The partial page is written at home as well, over durable frames.
    RewriteInPlace,
    /// The tail is written in two slots by turns instead of four.
    TwoSlots,
    /// Pages are not made good from the images of earlier slots.
    NoRepair,
    /// Entries leave no room for their group's states and an eviction.
    NoReserve,
    /// Recovery does not count the entries of the newest segment.
    NoCounts,
    /// Readers give up at a bad frame instead of searching for the next.
    NoResync,
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

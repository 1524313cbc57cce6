//! The position of an entry in the log.

use std::fmt;

/// Number of an entry, counted from 0 at the creation of the ring and never reused once durable.
///
/// Gaps do not occur: the entry after `Seq(n)` is `Seq(n + 1)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(u64);

impl Seq {
    /// The first entry of a ring.
    pub const ZERO: Self = Self(0);

    /// The entry with this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number, for encoding and display.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The entry `count` after this one.
    #[must_use]
    pub const fn advance(self, count: u64) -> Self {
        Self(self.0.saturating_add(count))
    }

    /// How many entries lie in `earlier..self`; 0 when `earlier` is not earlier.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

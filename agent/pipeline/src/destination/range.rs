//! A piece of the log.

use diskring::Seq;

/// Entries from `first` up to, not including, `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeqRange {
    /// The first entry.
    pub first: Seq,
    /// The first entry behind it.
    pub end: Seq,
}

impl SeqRange {
    /// The entries `first..end`.
    pub const fn new(first: Seq, end: Seq) -> Self {
        Self { first, end }
    }

    /// How many entries.
    pub const fn len(self) -> u64 {
        self.end.since(self.first)
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Whether `seq` is one of them.
    pub fn contains(self, seq: Seq) -> bool {
        self.first <= seq && seq < self.end
    }

    /// Two halves, the first the smaller; `None` for less than two entries.
    ///
    /// A pure function of the range, so that a repeat after a crash splits alike.
    pub fn halves(self) -> Option<(Self, Self)> {
        if self.len() < 2 {
            return None;
        }
        let middle = self.first.advance(self.len() / 2);
        Some((Self::new(self.first, middle), Self::new(middle, self.end)))
    }

    /// Each of the entries `at` alone, and what is before, between and behind them.
    pub fn cut(self, at: &[Seq]) -> Vec<Self> {
        let mut parts = Vec::new();
        let mut rest = self;
        for seq in at {
            if !rest.contains(*seq) {
                continue;
            }
            let behind = seq.advance(1);
            parts.push(Self::new(rest.first, *seq));
            parts.push(Self::new(*seq, behind));
            rest.first = behind;
        }
        parts.push(rest);
        parts.retain(|part| !part.is_empty());
        parts
    }
}

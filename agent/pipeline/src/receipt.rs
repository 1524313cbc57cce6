//! What is owed to a source for a record, and when it may be paid.
//!
//! A receipt goes in with its record and comes back only from [`Unsettled::settle`], which wants
//! proof that the disk has the record. Acknowledging too early does not type-check.

use std::collections::VecDeque;

use diskring::Seq;

/// What a source is owed for one record; only that source knows what the number means.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a receipt that is not settled leaves its sender without an acknowledgement"]
pub struct Receipt(u64);

impl Receipt {
    /// A receipt that its source will recognize by `number`.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number, given up with the receipt.
    pub const fn into_number(self) -> u64 {
        self.0
    }
}

/// Receipts whose records are not durable yet, in the order of the log.
#[derive(Debug, Default)]
pub struct Unsettled<K> {
    waiting: VecDeque<(Seq, K, Receipt)>,
}

impl<K> Unsettled<K> {
    /// No receipts.
    pub const fn new() -> Self {
        Self {
            waiting: VecDeque::new(),
        }
    }

    /// Takes the receipt of everything before `end` that `source` sent.
    pub fn push(&mut self, end: Seq, source: K, receipt: Receipt) {
        self.waiting.push_back((end, source, receipt));
    }

    /// How many are waiting.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none is waiting.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Gives back what is durable by now.
    pub fn settle(&mut self, durable: &diskring::Durable) -> impl Iterator<Item = (K, Receipt)> {
        let count = self
            .waiting
            .partition_point(|(end, _, _)| *end <= durable.end());
        self.waiting
            .drain(..count)
            .map(|(_, source, receipt)| (source, receipt))
    }
}

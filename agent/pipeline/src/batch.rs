//! When a batch is complete: by bytes, by count or by age, whichever comes first.
//!
//! The age counts from the arrival of the first record at the destination, not from its reception:
//! a backlog leaves in full batches. What is in the batch and how it is encoded is not decided
//! here.

use std::time::Duration;

use crate::config::{BatchConfig, DestinationKind};
use crate::time::Monotonic;

/// Watches one batch grow.
#[derive(Clone, Debug)]
pub struct Batcher {
    bytes_max: u64,
    count_max: u32,
    age_max: Duration,
    bytes: u64,
    count: u32,
    opened_at: Option<Monotonic>,
}

/// Why a batch is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Complete {
    /// It has the bytes it may have.
    Bytes,
    /// It has the records it may have.
    Count,
    /// Its first record has waited long enough.
    Age,
}

impl Batcher {
    /// An empty batch with the limits of `config`.
    ///
    /// Firehose and Kinesis count their own records, into which ours are packed; there the count is
    /// watched by
    /// [`crate::destination::Packer`].
    pub fn new(kind: &DestinationKind, config: &BatchConfig) -> Self {
        let count_max = match kind {
            DestinationKind::Firehose(_) | DestinationKind::Kinesis(_) => u32::MAX,
            DestinationKind::Http(_)
            | DestinationKind::Directory(_)
            | DestinationKind::S3(_)
            | DestinationKind::Redshift(_) => config.count_max.max(1),
        };
        Self {
            bytes_max: config.bytes_max.as_u64().max(1),
            count_max,
            age_max: config.age_max,
            bytes: 0,
            count: 0,
            opened_at: None,
        }
    }

    /// Whether a record of `bytes` before compression still fits; an empty batch takes any.
    pub fn fits(&self, bytes: u64) -> bool {
        self.opened_at.is_none()
            || (self.count < self.count_max && self.bytes.saturating_add(bytes) <= self.bytes_max)
    }

    /// A record of `bytes` before compression has joined.
    pub fn handle_record(&mut self, now: Monotonic, bytes: u64) {
        self.opened_at.get_or_insert(now);
        self.bytes = self.bytes.saturating_add(bytes);
        self.count = self.count.saturating_add(1);
    }

    /// Whether the batch is complete, and why. Never for an empty one.
    pub fn poll_complete(&self, now: Monotonic) -> Option<Complete> {
        let deadline = self.poll_timeout()?;
        if self.bytes >= self.bytes_max {
            Some(Complete::Bytes)
        } else if self.count >= self.count_max {
            Some(Complete::Count)
        } else if deadline <= now {
            Some(Complete::Age)
        } else {
            None
        }
    }

    /// When the batch is complete by age.
    pub fn poll_timeout(&self) -> Option<Monotonic> {
        Some(self.opened_at?.after(self.age_max))
    }

    /// The bytes before compression at which it is complete.
    pub const fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Bytes before compression so far.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Records so far.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.opened_at.is_none()
    }

    /// Starts the next batch.
    pub fn clear(&mut self) {
        self.bytes = 0;
        self.count = 0;
        self.opened_at = None;
    }

    /// The destination refused a batch of `bytes` before compression as too large.
    ///
    /// The batches after it are made half as large until the agent starts again, so that not
    /// each of them crosses the uplink twice.
    pub fn handle_too_large(&mut self, bytes: u64) {
        self.bytes_max = self.bytes_max.min(bytes / 2).max(1);
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config::{ByteSize, DirectoryConfig};

    fn at(ms: u64) -> Monotonic {
        Monotonic::from_start(Duration::from_millis(ms))
    }

    fn batcher(bytes_max: u64, count_max: u32, age_max_ms: u64) -> Batcher {
        let kind = DestinationKind::Directory(DirectoryConfig {
            path: PathBuf::new(),
            bytes_max: ByteSize::bytes(1),
            writers: Vec::new(),
        });
        let config = BatchConfig {
            bytes_max: ByteSize::bytes(bytes_max),
            count_max,
            age_max: Duration::from_millis(age_max_ms),
        };
        Batcher::new(&kind, &config)
    }

    #[test]
    fn complete_by_whichever_comes_first() {
        // Limits 100 bytes, 3 records, 1 s; records as (ms, bytes); asked at ms.
        let check = |records: &[(u64, u64)], asked_at: u64, expected: Option<Complete>| {
            let mut batcher = batcher(100, 3, 1000);
            for (ms, bytes) in records {
                batcher.handle_record(at(*ms), *bytes);
            }
            assert_eq!(batcher.poll_complete(at(asked_at)), expected, "{records:?}");
        };
        check(&[], 1_000_000, None);
        check(&[(500, 10)], 1499, None);
        check(&[(500, 10)], 1500, Some(Complete::Age));
        check(&[(500, 10), (1499, 10)], 1500, Some(Complete::Age));
        check(&[(0, 10), (0, 10), (0, 10)], 0, Some(Complete::Count));
        check(&[(0, 99)], 0, None);
        check(&[(0, 100)], 0, Some(Complete::Bytes));
        check(&[(0, 5000)], 0, Some(Complete::Bytes));
        check(&[(0, 50), (0, 50)], 0, Some(Complete::Bytes));
    }

    #[test]
    fn age_zero_leaves_at_once() {
        let mut batcher = batcher(100, 3, 0);
        assert_eq!(batcher.poll_complete(at(7)), None);
        batcher.handle_record(at(7), 1);
        assert_eq!(batcher.poll_timeout(), Some(at(7)));
        assert_eq!(batcher.poll_complete(at(7)), Some(Complete::Age));
    }

    #[test]
    fn record_that_does_not_fit_waits_for_the_next_batch() {
        let mut batcher = batcher(100, 3, 1000);
        assert!(batcher.fits(5000), "an empty batch takes any record");
        batcher.handle_record(at(0), 60);
        assert!(batcher.fits(40));
        assert!(!batcher.fits(41));
        batcher.handle_record(at(0), 1);
        batcher.handle_record(at(0), 1);
        assert!(!batcher.fits(0), "three are in");
        batcher.clear();
        assert!(batcher.is_empty() && batcher.fits(5000));
        assert_eq!(batcher.poll_timeout(), None);
    }

    #[test]
    fn refused_size_is_not_tried_again() {
        let mut batcher = batcher(1000, 100, 1000);
        batcher.handle_too_large(600);
        batcher.handle_record(at(0), 300);
        assert_eq!(batcher.poll_complete(at(0)), Some(Complete::Bytes));
        batcher.handle_too_large(0);
        batcher.clear();
        assert!(batcher.fits(9));
    }
}

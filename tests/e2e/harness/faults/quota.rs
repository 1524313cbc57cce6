//! A service that throttles what is more than its quota.

use std::time::Instant;

/// What it takes in a second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServiceQuota {
    pub(crate) bytes: u64,
    pub(crate) requests: u64,
    pub(crate) records: u64,
}

/// A second's worth of each, filled as time goes by.
pub(super) struct Bucket {
    per_second: [f64; 3],
    left: [f64; 3],
    filled_at: Instant,
}

impl Bucket {
    pub(super) fn new(quota: ServiceQuota) -> Self {
        let ServiceQuota {
            bytes,
            requests,
            records,
        } = quota;
        let number = |count: u64| f64::from(u32::try_from(count).unwrap());
        let per_second = [number(bytes), number(requests), number(records)];
        Bucket {
            per_second,
            left: per_second,
            filled_at: Instant::now(),
        }
    }

    /// Whether there is room for these records as one request, which they then take.
    pub(super) fn takes(&mut self, records: &[Vec<u8>]) -> bool {
        let elapsed = self.filled_at.elapsed().as_secs_f64();
        self.filled_at = Instant::now();
        let number = |count: usize| f64::from(u32::try_from(count).unwrap());
        let bytes = records.iter().map(Vec::len).sum();
        let wanted = [number(bytes), 1.0, number(records.len())];
        let parts = self.left.iter_mut().zip(self.per_second);
        for (left, per_second) in parts {
            *left = (*left + elapsed * per_second).min(per_second);
        }
        let has_room = self
            .left
            .iter()
            .zip(wanted)
            .all(|(left, wanted)| *left >= wanted);
        if has_room {
            for (left, wanted) in self.left.iter_mut().zip(wanted) {
                *left -= wanted;
            }
        }
        has_room
    }
}

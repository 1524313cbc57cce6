//! How fast calls may follow each other so that a service need not throttle them.
//!
//! A quota is what the service takes in a second. Each part of it is a bucket of its own, kept as
//! the moment at which it is full again, as in [`crate::rate_limit`]. It holds a fifth of a second's
//! worth and fills with the other four fifths, so that no second, wherever it begins, has more than
//! the quota. A call that is larger than a bucket goes out when that is full, and is paid for later.

use std::time::Duration;

use crate::time::Monotonic;

/// What a service takes in a second; `None` is as much as it likes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Records, as the service counts them.
    pub records: Option<u64>,
    /// Calls.
    pub requests: Option<u64>,
    /// Bytes of records.
    pub bytes: Option<u64>,
}

/// What a call takes of a quota.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Records, as the service counts them.
    pub records: u64,
    /// Bytes of records.
    pub bytes: u64,
}

/// Of a hundred, so many are the rate; the others come at once after a rest.
const RATE_PERCENT: u64 = 80;

impl Quota {
    /// The default quota of a Firehose stream for direct puts in a region of AWS.
    pub fn of_firehose(region: &str) -> Self {
        let is_large = matches!(region, "us-east-1" | "us-west-2" | "eu-west-1");
        let (records, requests, bytes) = if is_large {
            (500_000, 2_000, 5 << 20)
        } else {
            (100_000, 1_000, 1 << 20)
        };
        Self {
            records: Some(records),
            requests: Some(requests),
            bytes: Some(bytes),
        }
    }

    /// Whether nothing is bounded.
    pub fn is_unlimited(&self) -> bool {
        *self == Self::default()
    }
}

/// Spaces the calls of all who share a quota.
#[derive(Clone, Debug)]
pub struct Pace {
    records: Bucket,
    requests: Bucket,
    bytes: Bucket,
}

impl Pace {
    /// Full buckets.
    pub fn new(quota: Quota) -> Self {
        Self {
            records: Bucket::new(quota.records),
            requests: Bucket::new(quota.requests),
            bytes: Bucket::new(quota.bytes),
        }
    }

    /// When a call may be made, which is not before `now`.
    pub fn poll_ready(&self, now: Monotonic, cost: Cost) -> Monotonic {
        let ready = [
            self.records.ready_at(cost.records),
            self.requests.ready_at(1),
            self.bytes.ready_at(cost.bytes),
        ];
        ready.into_iter().fold(now, Monotonic::max)
    }

    /// A call is made.
    pub fn handle_call(&mut self, now: Monotonic, cost: Cost) {
        self.records.take(now, cost.records);
        self.requests.take(now, 1);
        self.bytes.take(now, cost.bytes);
    }
}

/// One part of a quota.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    per_second: Option<u64>,
    full_at: Monotonic,
}

impl Bucket {
    fn new(per_second: Option<u64>) -> Self {
        Self {
            per_second,
            full_at: Monotonic::default(),
        }
    }

    fn ready_at(&self, cost: u64) -> Monotonic {
        let Some(per_second) = self.per_second else {
            return Monotonic::default();
        };
        // What a full bucket holds, in the time it takes to fill.
        let capacity = per_second.saturating_mul(100 - RATE_PERCENT) / 100;
        let room = filling(per_second, capacity.max(1));
        let spare = room.saturating_sub(filling(per_second, cost));
        Monotonic::from_start(self.full_at.elapsed().saturating_sub(spare))
    }

    fn take(&mut self, now: Monotonic, cost: u64) {
        if let Some(per_second) = self.per_second {
            self.full_at = self.full_at.max(now).after(filling(per_second, cost));
        }
    }
}

/// How long it takes until so much has come in.
fn filling(per_second: u64, count: u64) -> Duration {
    let rate = u128::from(per_second.max(1)) * u128::from(RATE_PERCENT);
    let nanos = u128::from(count) * 100 * 1_000_000_000 / rate;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUOTA: Quota = Quota {
        records: Some(1_000),
        requests: Some(20),
        bytes: Some(1_000_000),
    };

    /// Makes calls for ten seconds, each as soon as it may be, with pauses in between; says when.
    fn calls(cost: impl Fn(u64) -> Cost, pause: impl Fn(u64) -> Duration) -> Vec<(Duration, Cost)> {
        let mut pace = Pace::new(QUOTA);
        let mut calls = Vec::new();
        let mut now = Monotonic::from_start(Duration::from_secs(100));
        let end = now.after(Duration::from_secs(10));
        for number in 0.. {
            let cost = cost(number);
            now = pace.poll_ready(now.after(pause(number)), cost);
            if end <= now {
                break;
            }
            pace.handle_call(now, cost);
            calls.push((now.elapsed(), cost));
        }
        calls
    }

    /// The most that any second has of something, wherever it begins.
    fn most(calls: &[(Duration, Cost)], of: impl Fn(&Cost) -> u64) -> u64 {
        let second = Duration::from_secs(1);
        let in_second = |start: Duration| {
            let within = calls
                .iter()
                .filter(move |(at, _)| start <= *at && *at < start + second);
            within.map(|(_, cost)| of(cost)).sum::<u64>()
        };
        calls
            .iter()
            .map(|(at, _)| in_second(*at))
            .max()
            .unwrap_or(0)
    }

    fn check(cost: impl Fn(u64) -> Cost, pause: impl Fn(u64) -> Duration, least_percent: u64) {
        let calls = calls(cost, pause);
        let most_of = [
            most(&calls, |cost| cost.records) * 100 / 1_000,
            most(&calls, |_| 1) * 100 / 20,
            most(&calls, |cost| cost.bytes) * 100 / 1_000_000,
        ];
        assert!(most_of.iter().all(|most| *most <= 100), "{most_of:?}");
        let ten_seconds = [
            calls.iter().map(|(_, cost)| cost.records).sum::<u64>() / 100,
            u64::try_from(calls.len()).unwrap() * 100 / 200,
            calls.iter().map(|(_, cost)| cost.bytes).sum::<u64>() / 100_000,
        ];
        let used = ten_seconds.into_iter().max().unwrap();
        assert!(used >= least_percent, "{ten_seconds:?}");
    }

    #[test]
    fn no_second_has_more_than_the_quota() {
        let none = |_| Duration::ZERO;
        let cost = |records, bytes| move |_| Cost { records, bytes };
        check(cost(1, 100), none, 80);
        check(cost(100, 100), none, 80);
        check(cost(200, 100), none, 80);
        check(cost(1, 150_000), none, 80);
        // Sizes as they come, and rests that fill the buckets.
        let mixed = |number: u64| Cost {
            records: number * 37 % 200,
            bytes: number * 71_993 % 200_000,
        };
        check(mixed, none, 70);
        check(mixed, |number| Duration::from_millis(number % 7 * 90), 20);
    }

    #[test]
    fn what_is_larger_than_a_bucket_waits_for_a_full_one() {
        let mut pace = Pace::new(QUOTA);
        let start = Monotonic::from_start(Duration::from_secs(5));
        let large = Cost {
            records: 1,
            bytes: 4_000_000,
        };
        assert_eq!(pace.poll_ready(start, large), start);
        pace.handle_call(start, large);
        assert_eq!(
            pace.poll_ready(start, large),
            start.after(Duration::from_secs(5))
        );
    }

    #[test]
    fn without_a_quota_nothing_waits() {
        let mut pace = Pace::new(Quota::default());
        let cost = Cost {
            records: u64::MAX,
            bytes: u64::MAX,
        };
        for _ in 0..1_000 {
            pace.handle_call(Monotonic::default(), cost);
        }
        let now = Monotonic::default();
        assert_eq!(pace.poll_ready(now, cost), now);
        assert!(Quota::default().is_unlimited());
    }

    #[test]
    fn regions_have_their_own() {
        let bytes = |region| Quota::of_firehose(region).bytes;
        assert_eq!(bytes("eu-west-1"), Some(5 << 20));
        assert_eq!(bytes("eu-south-2"), Some(1 << 20));
    }
}

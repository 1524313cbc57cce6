//! How much each of many senders may send.
//!
//! Each has a bucket of its own, kept as the moment at which it is full again (the generic cell
//! rate algorithm). Their number is bounded: when the table is full of senders that are not at
//! rest, newcomers share one bucket, so that somebody who makes up addresses gains nothing by it.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use crate::time::Monotonic;

/// So many messages in so long, and so many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Messages in `per`; not 0.
    pub messages: u64,
    /// The span in which they may come.
    pub per: Duration,
    /// How many may come at once after a rest; not 0.
    pub burst: u64,
}

impl RateLimit {
    /// How long one message keeps the bucket from being full.
    fn interval(&self) -> Duration {
        let nanos = self.per.as_nanos() / u128::from(self.messages.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX).max(1))
    }

    /// How far a bucket may be from full before another message: what a rest is worth at most.
    pub fn tolerance(&self) -> Duration {
        let more = u32::try_from(self.burst.saturating_sub(1)).unwrap_or(u32::MAX);
        self.interval().saturating_mul(more)
    }
}

/// What to do with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Take it.
    Admitted,
    /// It is over the limit; it would be admitted after so long.
    Over(Duration),
}

/// The buckets of all senders.
#[derive(Debug)]
pub struct SenderLimits<K> {
    limit: RateLimit,
    senders_max: usize,
    buckets: HashMap<K, Bucket>,
    /// Of all that have none of their own.
    shared: Bucket,
    /// No sweep before.
    swept_at: Monotonic,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    full_at: Monotonic,
    refused: u64,
}

impl<K: Clone + Eq + Hash + Ord> SenderLimits<K> {
    /// Buckets for up to `senders_max` senders.
    pub fn new(limit: RateLimit, senders_max: usize) -> Self {
        Self {
            limit,
            senders_max,
            buckets: HashMap::new(),
            shared: Bucket::default(),
            swept_at: Monotonic::default(),
        }
    }

    /// Whether a message of `sender` is taken.
    pub fn admit(&mut self, now: Monotonic, sender: &K) -> Admission {
        let (interval, tolerance) = (self.limit.interval(), self.limit.tolerance());
        let bucket = self.bucket(now, sender);
        let full_at = bucket.full_at.max(now);
        let wait = full_at.since(now).saturating_sub(tolerance);
        if wait > Duration::ZERO {
            return Admission::Over(wait);
        }
        bucket.full_at = full_at.after(interval);
        Admission::Admitted
    }

    /// Counts a message of `sender` that was refused.
    pub fn refuse(&mut self, now: Monotonic, sender: &K) {
        let bucket = self.bucket(now, sender);
        bucket.refused = bucket.refused.saturating_add(1);
    }

    /// The `most` senders of whom most was refused, with how much.
    pub fn refused(&self, most: usize) -> Vec<(K, u64)> {
        let of = |(sender, bucket): (&K, &Bucket)| (sender.clone(), bucket.refused);
        let mut refused: Vec<(K, u64)> = self.buckets.iter().map(of).collect();
        refused.retain(|(_, count)| *count > 0);
        refused.sort_by(|(a, more), (b, less)| less.cmp(more).then_with(|| a.cmp(b)));
        refused.truncate(most);
        refused
    }

    fn bucket(&mut self, now: Monotonic, sender: &K) -> &mut Bucket {
        if !self.buckets.contains_key(sender) && self.buckets.len() >= self.senders_max {
            self.sweep(now);
            if self.buckets.len() >= self.senders_max {
                return &mut self.shared;
            }
        }
        self.buckets.entry(sender.clone()).or_default()
    }

    /// Forgets senders at rest, those without a refusal first. It looks at all, and so not often.
    fn sweep(&mut self, now: Monotonic) {
        if now < self.swept_at {
            return;
        }
        self.swept_at = now.after(SWEEP_INTERVAL);
        let is_busy = |bucket: &Bucket| bucket.full_at > now;
        self.buckets
            .retain(|_, bucket| is_busy(bucket) || bucket.refused > 0);
        if self.buckets.len() >= self.senders_max {
            self.buckets.retain(|_, bucket| is_busy(bucket));
        }
    }
}

const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Monotonic {
        Monotonic::from_start(Duration::from_millis(ms))
    }

    fn limits(messages: u64, burst: u64, senders_max: usize) -> SenderLimits<u32> {
        let per = Duration::from_secs(1);
        let limit = RateLimit {
            messages,
            per,
            burst,
        };
        SenderLimits::new(limit, senders_max)
    }

    fn admitted(limits: &mut SenderLimits<u32>, now: Monotonic, sender: u32, tries: u32) -> usize {
        (0..tries)
            .filter(|_| limits.admit(now, &sender) == Admission::Admitted)
            .count()
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        let mut limits = limits(100, 20, 10);
        assert_eq!(admitted(&mut limits, at(5_000), 1, 50), 20);
        // One each 10 ms from then on, whoever asks how often.
        for step in 1..=100 {
            assert_eq!(
                admitted(&mut limits, at(5_000 + step * 10), 1, 3),
                1,
                "{step}"
            );
        }
        let wait = limits.admit(at(6_000), &1);
        assert_eq!(wait, Admission::Over(Duration::from_millis(10)));
        // A rest gives the burst back and no more.
        assert_eq!(admitted(&mut limits, at(60_000), 1, 50), 20);
    }

    #[test]
    fn senders_do_not_notice_each_other() {
        let mut limits = limits(1000, 1000, 10);
        assert_eq!(admitted(&mut limits, at(0), 1, 5_000), 1_000);
        assert_eq!(admitted(&mut limits, at(0), 2, 1_000), 1_000);
        for _ in 0..3 {
            limits.refuse(at(0), &1);
        }
        limits.refuse(at(0), &2);
        assert_eq!(limits.refused(8), [(1, 3), (2, 1)]);
        assert_eq!(limits.refused(1), [(1, 3)]);
    }

    #[test]
    fn made_up_senders_share_what_is_left() {
        let mut limits = limits(10, 10, 100);
        let mut total = 0;
        for sender in 0..100_000 {
            total += admitted(&mut limits, at(0), sender, 1);
        }
        assert_eq!(total, 100 + 10);
        assert_eq!(limits.buckets.len(), 100);
        // Those who were there keep their own.
        assert_eq!(admitted(&mut limits, at(0), 5, 20), 9);
        limits.refuse(at(0), &5);
        // At rest they make room, those without a refusal first.
        assert_eq!(admitted(&mut limits, at(10_000), 200_000, 20), 10);
        assert_eq!(limits.refused(8), [(5, 1)]);
        assert!(limits.buckets.len() <= 2, "{}", limits.buckets.len());
    }

    #[test]
    fn extremes_do_no_harm() {
        let largest = RateLimit {
            messages: u64::MAX,
            per: Duration::from_millis(1),
            burst: u64::MAX,
        };
        let mut limits = SenderLimits::new(largest, 0);
        let far = Monotonic::from_start(Duration::MAX);
        for now in [at(0), far, far] {
            assert_eq!(limits.admit(now, &1_u32), Admission::Admitted);
        }
        let slowest = RateLimit {
            messages: 1,
            per: Duration::from_hours(24),
            burst: 1,
        };
        let mut limits = SenderLimits::new(slowest, 1);
        assert_eq!(limits.admit(at(0), &1_u32), Admission::Admitted);
        assert_eq!(limits.admit(at(0), &1), Admission::Over(slowest.per));
    }
}

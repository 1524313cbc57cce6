//! Which of several brokers is tried next, and after what wait.
//!
//! The order of the list is an order of preference. A round tries each broker once, without a wait
//! in between; after a round in vain there is a wait that grows. A connection that is lost leads
//! back to the first broker, unless it was lost so soon that this broker seems to be no good:
//! then the next one is tried, after a wait.

use std::time::Duration;

use pipeline::time::Monotonic;

/// The ceiling of the first wait before a connection is made again.
const BACKOFF_INITIAL: Duration = Duration::from_millis(500);

/// The ceiling of every wait.
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// What lasts so long was a good connection: the waits begin anew.
const GOOD: Duration = Duration::from_secs(30);

/// Where among the brokers the client is.
#[derive(Debug)]
pub(super) struct Order {
    count: usize,
    current: usize,
    /// Waits since the last good connection.
    attempt: u32,
}

impl Order {
    /// Begins with the first of `count` brokers.
    pub(super) const fn new(count: usize) -> Self {
        Self {
            count,
            current: 0,
            attempt: 0,
        }
    }

    /// The broker to try, or the one that is connected.
    pub(super) const fn current(&self) -> usize {
        self.current
    }

    /// The broker could not be connected to. How long to wait before the next one.
    pub(super) fn handle_unreachable(&mut self, random: u32) -> Duration {
        self.advance();
        if self.current == 0 {
            self.wait(random)
        } else {
            Duration::ZERO
        }
    }

    /// A connection that was made at `since` is lost. How long to wait before the next one.
    pub(super) fn handle_lost(
        &mut self,
        since: Monotonic,
        now: Monotonic,
        random: u32,
    ) -> Duration {
        if now.since(since) >= GOOD {
            self.attempt = 0;
            self.current = 0;
            backoff(0, random)
        } else {
            self.advance();
            self.wait(random)
        }
    }

    /// A better broker is connected.
    pub(super) fn handle_better(&mut self, broker: usize) {
        self.current = broker;
    }

    fn advance(&mut self) {
        self.current = (self.current + 1) % self.count.max(1);
    }

    fn wait(&mut self, random: u32) -> Duration {
        self.attempt = self.attempt.saturating_add(1);
        backoff(self.attempt, random)
    }
}

/// The wait before attempt number `attempt`: at least half of a ceiling that doubles, so that a
/// broker that is down costs next to nothing and many clients do not come back at once.
fn backoff(attempt: u32, random: u32) -> Duration {
    let doubled = BACKOFF_INITIAL.saturating_mul(1 << attempt.saturating_sub(1).min(16));
    let half = doubled.min(BACKOFF_MAX) / 2;
    half + half.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_start(Duration::from_secs(seconds))
    }

    #[test]
    fn waits_grow_to_a_cap() {
        let check = |attempt, random, expected_ms| {
            let wait = backoff(attempt, random);
            assert_eq!(wait.as_millis(), expected_ms, "attempt {attempt}");
        };
        check(0, 0, 250);
        check(1, 0, 250);
        check(1, u32::MAX, 500);
        check(2, u32::MAX, 1000);
        check(7, u32::MAX, 30_000);
        check(7, 0, 15_000);
        check(u32::MAX, u32::MAX, 30_000);
    }

    /// Telegraf waits ten minutes by then (influxdata/telegraf 18466).
    #[test]
    fn a_broker_that_was_away_for_ten_minutes_is_tried_within_seconds() {
        for random in [0, u32::MAX / 2, u32::MAX] {
            let mut order = Order::new(1);
            let mut now = Duration::ZERO;
            let mut attempts = 0;
            while now < Duration::from_mins(10) {
                now += order.handle_unreachable(random);
                attempts += 1;
            }
            assert!(now <= Duration::from_mins(10) + BACKOFF_MAX, "{now:?}");
            assert!(attempts < 60, "{attempts} attempts within 10 minutes");
        }
    }

    #[test]
    fn brokers_are_tried_in_order_and_the_first_is_preferred() {
        let mut order = Order::new(3);
        assert_eq!(order.current(), 0);
        assert_eq!(order.handle_unreachable(0), Duration::ZERO);
        assert_eq!(order.handle_unreachable(0), Duration::ZERO);
        assert_eq!(order.current(), 2);
        // A round in vain.
        assert_eq!(order.handle_unreachable(0), Duration::from_millis(250));
        assert_eq!(order.current(), 0);
        assert_eq!(order.handle_unreachable(0), Duration::ZERO);
        // Connected to the second for a good while, then lost: the first again.
        order.handle_lost(at(0), at(100), 0);
        assert_eq!(order.current(), 0);
        // Lost at once: the next one, after a wait.
        assert!(order.handle_lost(at(100), at(101), 0) > Duration::ZERO);
        assert_eq!(order.current(), 1);
        order.handle_better(0);
        assert_eq!(order.current(), 0);
    }
}

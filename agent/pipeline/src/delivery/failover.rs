//! Which way the batches of a destination go: its own, or that of its fallback.
//!
//! The fallback is used once the destination has failed for a while without a success. From then on
//! the destination is tried again at an interval, each time with a batch. The first success leads
//! back, on trial: a failure within the interval leads to the fallback at once, so that a
//! destination that takes a batch now and then does not keep the others waiting.

use std::time::Duration;

use crate::destination::{UnitVerdict, Verdict};
use crate::time::Monotonic;

/// A way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The destination's own.
    Own,
    /// That of its fallback.
    Fallback,
}

/// Decides for all drivers of a destination.
#[derive(Clone, Debug)]
pub struct Failover {
    after: Duration,
    interval: Duration,
    state: State,
    /// The first failure, on whichever way, since something was taken.
    failing_since: Option<Monotonic>,
}

/// Where batches go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Their own way, which began to fail then.
    Own(Option<Monotonic>),
    /// To the fallback; the own way is tried again from this moment on.
    Fallback(Monotonic),
    /// Their own way; a failure before this moment leads back to the fallback.
    Trial(Monotonic),
}

impl Failover {
    /// A destination whose fallback is used `after` so long, and that is tried again each
    /// `interval` then.
    pub const fn new(after: Duration, interval: Duration) -> Self {
        Self {
            after,
            interval,
            state: State::Own(None),
            failing_since: None,
        }
    }

    /// The way to go at `now`.
    pub fn poll(&mut self, now: Monotonic) -> Way {
        match self.state {
            State::Own(Some(since)) if since.after(self.after) <= now => {
                self.state = State::Fallback(now.after(self.interval));
                Way::Fallback
            }
            State::Fallback(probe_at) if now < probe_at => Way::Fallback,
            State::Own(_) | State::Fallback(_) | State::Trial(_) => Way::Own,
        }
    }

    /// When [`Failover::poll`] may say something else without anything having been handled.
    pub fn poll_timeout(&self) -> Option<Monotonic> {
        match self.state {
            State::Own(since) => since.map(|since| since.after(self.after)),
            State::Fallback(probe_at) => Some(probe_at),
            State::Trial(_) => None,
        }
    }

    /// Whether the destination is given up for the time being, be it tried just now.
    pub const fn is_failed_over(&self) -> bool {
        matches!(self.state, State::Fallback(_))
    }

    /// The first failure, on whichever way, since something was taken.
    pub const fn failing_since(&self) -> Option<Monotonic> {
        self.failing_since
    }

    /// Takes the verdict on an attempt on `way`.
    pub fn handle_verdict(&mut self, way: Way, now: Monotonic, verdict: &Verdict) {
        if is_failure(verdict) {
            self.handle_failure(way, now);
        } else {
            self.handle_success(way, now);
        }
    }

    /// An attempt on `way` could not even be made, or ended without anything being taken.
    pub fn handle_failure(&mut self, way: Way, now: Monotonic) {
        self.failing_since.get_or_insert(now);
        if way == Way::Fallback {
            return;
        }
        self.state = match self.state {
            State::Own(since) => State::Own(Some(since.unwrap_or(now))),
            State::Trial(until) if until <= now => State::Own(Some(now)),
            State::Trial(_) | State::Fallback(_) => State::Fallback(now.after(self.interval)),
        };
        self.poll(now);
    }

    fn handle_success(&mut self, way: Way, now: Monotonic) {
        self.failing_since = None;
        if way == Way::Fallback {
            return;
        }
        self.state = match self.state {
            State::Fallback(_) => State::Trial(now.after(self.interval)),
            State::Trial(until) if now < until => State::Trial(until),
            State::Own(_) | State::Trial(_) => State::Own(None),
        };
    }
}

/// Whether nothing was taken or refused: a refusal is an answer as well.
fn is_failure(verdict: &Verdict) -> bool {
    match verdict {
        Verdict::Retry(_) => true,
        Verdict::Partial { units, .. } => units.iter().all(|unit| *unit == UnitVerdict::Retry),
        Verdict::Accepted | Verdict::TooLarge(_) | Verdict::Cut { .. } | Verdict::Rejected(_) => {
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::destination::{Refusal, Retry, RetryClass};

    const MINUTE: u64 = 60;

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_start(Duration::from_secs(seconds))
    }

    fn failed() -> Verdict {
        Verdict::Retry(Retry::new(RetryClass::Transient, "answered 503"))
    }

    /// Used after 15 minutes, tried again each 5.
    fn failover() -> Failover {
        Failover::new(
            Duration::from_secs(15 * MINUTE),
            Duration::from_secs(5 * MINUTE),
        )
    }

    /// A destination that fails from the first minute on, and its fallback that takes everything.
    fn failed_over() -> Failover {
        let mut failover = failover();
        failover.handle_verdict(Way::Own, at(MINUTE), &failed());
        assert_eq!(failover.poll_timeout(), Some(at(16 * MINUTE)));
        failover.handle_verdict(Way::Own, at(15 * MINUTE), &failed());
        assert_eq!(failover.poll(at(16 * MINUTE - 1)), Way::Own);
        assert_eq!(failover.poll(at(16 * MINUTE)), Way::Fallback);
        failover.handle_verdict(Way::Fallback, at(16 * MINUTE), &Verdict::Accepted);
        assert_eq!(failover.poll_timeout(), Some(at(21 * MINUTE)));
        failover
    }

    #[test]
    fn a_success_begins_the_count_anew() {
        let mut failover = failover();
        assert_eq!(failover.poll_timeout(), None);
        for minute in 0..200 {
            let verdict = match minute % 10 {
                0 => Verdict::Accepted,
                _ => failed(),
            };
            failover.handle_verdict(Way::Own, at(minute * MINUTE), &verdict);
            assert_eq!(failover.poll(at(minute * MINUTE)), Way::Own, "{minute}");
        }
    }

    #[test]
    fn the_own_way_is_tried_at_the_interval_until_it_works() {
        let mut failover = failed_over();
        for minute in [21, 26, 31] {
            assert_eq!(failover.poll(at(minute * MINUTE - 1)), Way::Fallback);
            assert_eq!(failover.poll(at(minute * MINUTE)), Way::Own);
            assert!(failover.is_failed_over());
            failover.handle_verdict(Way::Own, at(minute * MINUTE), &failed());
            assert_eq!(failover.poll(at(minute * MINUTE)), Way::Fallback);
        }
        failover.handle_verdict(Way::Own, at(36 * MINUTE), &Verdict::Accepted);
        assert!(!failover.is_failed_over());
        assert_eq!(failover.poll(at(36 * MINUTE)), Way::Own);
    }

    #[test]
    fn a_trial_ends_with_the_first_failure() {
        let mut failover = failed_over();
        failover.handle_verdict(Way::Own, at(21 * MINUTE), &Verdict::Accepted);
        failover.handle_verdict(Way::Own, at(24 * MINUTE), &Verdict::Accepted);
        failover.handle_verdict(Way::Own, at(25 * MINUTE), &failed());
        assert_eq!(failover.poll(at(25 * MINUTE)), Way::Fallback);
        assert_eq!(failover.poll_timeout(), Some(at(30 * MINUTE)));
        // Stood through, it is trusted again as at first.
        failover.handle_verdict(Way::Own, at(30 * MINUTE), &Verdict::Accepted);
        failover.handle_verdict(Way::Own, at(35 * MINUTE), &failed());
        assert_eq!(failover.poll(at(50 * MINUTE - 1)), Way::Own);
        assert_eq!(failover.poll(at(50 * MINUTE)), Way::Fallback);
    }

    #[test]
    fn a_refusal_is_an_answer() {
        let refusal = Refusal {
            code: "413".to_owned(),
            reason: "too large".to_owned(),
        };
        let partial = |unit| Verdict::Partial {
            units: vec![UnitVerdict::Retry, unit],
            retry: Retry::new(RetryClass::Throttled, "slow down"),
        };
        let check = |verdict: Verdict, expected| assert_eq!(is_failure(&verdict), expected);
        check(Verdict::Accepted, false);
        check(Verdict::Rejected(refusal.clone()), false);
        check(Verdict::TooLarge(refusal.clone()), false);
        check(partial(UnitVerdict::Accepted), false);
        check(partial(UnitVerdict::TooLarge(refusal)), false);
        check(partial(UnitVerdict::Retry), true);
        check(failed(), true);
    }

    #[test]
    fn nothing_taken_on_either_way_is_remembered() {
        let mut failover = failed_over();
        assert_eq!(failover.failing_since(), None);
        failover.handle_verdict(Way::Fallback, at(17 * MINUTE), &failed());
        failover.handle_verdict(Way::Own, at(21 * MINUTE), &failed());
        assert_eq!(failover.failing_since(), Some(at(17 * MINUTE)));
        failover.handle_verdict(Way::Fallback, at(22 * MINUTE), &Verdict::Accepted);
        assert_eq!(failover.failing_since(), None);
        assert!(failover.is_failed_over());
    }
}

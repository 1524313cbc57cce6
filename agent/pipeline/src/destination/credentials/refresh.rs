//! When keys are asked for anew.
//!
//! In good time before they expire, each gateway at a moment of its own; at once when a service
//! refused them, but not again and again; after failures with growing pauses. Until they expire
//! the last good ones are used, whatever fails meanwhile.

use std::time::Duration;

use super::{Credentials, Granted};
use crate::retry::Backoff;
use crate::time::{Monotonic, WallClock};

/// So long before they expire keys are asked for anew, or a third of their life if that is less.
const AHEAD_MAX: Duration = Duration::from_mins(15);

/// Keys that expire sooner may be worthless when a request arrives.
const LEAST: Duration = Duration::from_mins(1);

/// Keys that had expired when they came were given by a better clock than ours; so long they are
/// used at least.
const SUPPOSED_LIFE: Duration = Duration::from_mins(10);

/// Refused keys are not asked for anew more often than this, nor are others.
const REFUSED_PAUSE: Duration = Duration::from_secs(30);

const RETRY_INITIAL: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_mins(1);

/// Keys, and when they are asked for anew.
#[derive(Clone, Debug, Default)]
pub struct Refresh {
    held: Option<Held>,
    failure: Option<Failure>,
}

#[derive(Clone, Debug)]
struct Held {
    granted: Granted,
    /// When they came.
    since: Monotonic,
    /// So long before they expire others are asked for.
    ahead: Duration,
    is_refused: bool,
    /// They had expired when they came, if our clock is right.
    is_too_late: bool,
}

#[derive(Clone, Debug)]
struct Failure {
    count: u32,
    /// No other attempt before this.
    until: Monotonic,
    reason: String,
}

/// What is to be done before keys are used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing: use them.
    Nothing,
    /// Use them, and ask for others meanwhile.
    Ahead,
    /// Ask first.
    Now,
    /// There are none, and nobody is asked before this; the reason in words.
    Wait {
        /// When to ask again.
        until: Monotonic,
        /// Why the last attempt failed.
        reason: String,
    },
}

impl Refresh {
    /// The keys, unless they have expired by `now`, the best that is known of the calendar.
    pub fn credentials(&self, now: WallClock, at: Monotonic) -> Option<&Credentials> {
        let held = self.held.as_ref()?;
        let is_good = held.left(now, at).is_none_or(|left| !left.is_zero());
        is_good.then_some(&held.granted.credentials)
    }

    /// When the keys expire, if they do.
    pub fn expires(&self) -> Option<WallClock> {
        self.held.as_ref()?.granted.expires
    }

    /// Why the last attempt failed, if it did.
    pub fn failure(&self) -> Option<&str> {
        Some(self.failure.as_ref()?.reason.as_str())
    }

    /// What is to be done before keys are used.
    pub fn need(&self, now: WallClock, at: Monotonic) -> Need {
        let is_usable = self.credentials(now, at).is_some();
        let wait = self.failure.as_ref().filter(|failure| at < failure.until);
        let Some(held) = self.held.as_ref().filter(|_| is_usable) else {
            return match wait {
                Some(failure) => Need::Wait {
                    until: failure.until,
                    reason: failure.reason.clone(),
                },
                None => Need::Now,
            };
        };
        let is_stale = held.is_refused && at.since(held.since) >= REFUSED_PAUSE;
        let left = held.left(now, at).unwrap_or(Duration::MAX);
        if wait.is_some() || !(is_stale || left < held.ahead.max(LEAST)) {
            Need::Nothing
        } else if is_stale || left < LEAST {
            Need::Now
        } else {
            Need::Ahead
        }
    }

    /// A service refused the keys with this id; what lasts is read anew at once.
    pub fn handle_refused(&mut self, access_key_id: &str) {
        let Some(held) = &mut self.held else { return };
        if held.granted.credentials.access_key_id == access_key_id {
            held.is_refused = true;
            if held.granted.expires.is_none() {
                self.held = None;
            }
        }
    }

    /// Keys came. `random` is uniform over all of `u32`: a fleet that was switched on together
    /// does not ask together.
    pub fn handle_granted(&mut self, granted: Granted, now: WallClock, at: Monotonic, random: u32) {
        let is_too_late = granted.expires.is_some_and(|end| end <= now);
        let life = match granted.expires {
            Some(_) if is_too_late => SUPPOSED_LIFE,
            Some(end) => end.since(now),
            None => Duration::MAX,
        };
        let ahead = (life / 3).min(AHEAD_MAX);
        let part = u32::try_from((u64::from(random) * 250) >> u32::BITS).unwrap_or(0);
        self.failure = None;
        self.held = Some(Held {
            granted,
            since: at,
            ahead: ahead.saturating_sub(ahead / 1000 * part),
            is_refused: false,
            is_too_late,
        });
    }

    /// None came.
    pub fn handle_failed(&mut self, reason: String, at: Monotonic, random: u32) {
        let count = self.failure.as_ref().map_or(0, |failure| failure.count);
        let count = count.saturating_add(1);
        // Half of the pause is certain, so that an outage does not become a storm.
        let delay = Backoff::new(RETRY_INITIAL, RETRY_MAX).map_or(RETRY_MAX, |backoff| {
            (backoff.ceiling(count) + backoff.delay(count, random)) / 2
        });
        self.failure = Some(Failure {
            count,
            until: at.after(delay),
            reason,
        });
    }
}

impl Held {
    /// How long they still count; `None` is for ever.
    fn left(&self, now: WallClock, at: Monotonic) -> Option<Duration> {
        let end = self.granted.expires?;
        Some(if self.is_too_late {
            SUPPOSED_LIFE.saturating_sub(at.since(self.since))
        } else {
            end.since(now)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    const HOUR: u64 = 3600;

    fn granted(id: &str, expires_s: Option<u64>) -> Granted {
        Granted {
            credentials: Credentials {
                access_key_id: id.to_owned(),
                secret_access_key: Secret::new("hush"),
                session_token: None,
            },
            expires: expires_s.map(wall),
        }
    }

    fn wall(seconds: u64) -> WallClock {
        WallClock::from_millis(1_800_000_000_000).after(Duration::from_secs(seconds))
    }

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_start(Duration::from_secs(seconds))
    }

    /// What is to be done so many seconds after the start, by a clock that goes right.
    fn need(refresh: &Refresh, seconds: u64) -> Need {
        refresh.need(wall(seconds), at(seconds))
    }

    #[test]
    fn keys_are_asked_for_in_good_time() {
        let check = |life: u64, random: u32, seconds: u64, expected: Need| {
            let mut refresh = Refresh::default();
            assert_eq!(need(&refresh, 0), Need::Now);
            refresh.handle_granted(granted("AK", Some(life)), wall(0), at(0), random);
            assert_eq!(
                need(&refresh, seconds),
                expected,
                "{life} {random} {seconds}"
            );
        };
        check(HOUR, 0, 0, Need::Nothing);
        check(HOUR, 0, 2699, Need::Nothing);
        check(HOUR, 0, 2701, Need::Ahead);
        // A quarter of the quarter of an hour is up to chance.
        check(HOUR, u32::MAX, 2900, Need::Nothing);
        check(HOUR, u32::MAX, 2930, Need::Ahead);
        check(HOUR, 0, 3541, Need::Now);
        // The shortest that AWS gives are not asked for all the time.
        check(900, 0, 599, Need::Nothing);
        check(900, 0, 601, Need::Ahead);
        check(30, 0, 1, Need::Now);
    }

    #[test]
    fn lasting_keys_are_asked_for_once() {
        let mut refresh = Refresh::default();
        refresh.handle_granted(granted("AK", None), wall(0), at(0), 7);
        assert_eq!(need(&refresh, 1_000_000), Need::Nothing);
        refresh.handle_refused("other");
        assert_eq!(need(&refresh, 1), Need::Nothing);
        refresh.handle_refused("AK");
        assert_eq!(need(&refresh, 1), Need::Now);
    }

    #[test]
    fn the_last_good_ones_are_used_until_they_expire() {
        let mut refresh = Refresh::default();
        refresh.handle_granted(granted("AK", Some(HOUR)), wall(0), at(0), 0);
        let mut asked = 0;
        for seconds in 2_700..HOUR {
            match need(&refresh, seconds) {
                Need::Now | Need::Ahead => {
                    asked += 1;
                    refresh.handle_failed("down".to_owned(), at(seconds), u32::MAX);
                }
                Need::Nothing => {}
                Need::Wait { .. } => panic!("waits with good keys"),
            }
            assert!(refresh.credentials(wall(seconds), at(seconds)).is_some());
        }
        assert!((15..30).contains(&asked), "{asked} attempts in 15 minutes");
        assert!(refresh.credentials(wall(HOUR), at(HOUR)).is_none());
        let told = need(&refresh, HOUR);
        assert!(matches!(told, Need::Now | Need::Wait { .. }), "{told:?}");
        assert_eq!(refresh.failure(), Some("down"));
        refresh.handle_granted(
            granted("NEW", Some(3 * HOUR)),
            wall(2 * HOUR),
            at(2 * HOUR),
            0,
        );
        assert_eq!(need(&refresh, 2 * HOUR), Need::Nothing);
        assert_eq!(refresh.failure(), None);
    }

    /// Somebody who refuses fresh keys is not answered with a storm of requests for others.
    #[test]
    fn refused_keys_are_asked_for_anew_with_pauses() {
        let mut refresh = Refresh::default();
        refresh.handle_granted(granted("AK", Some(HOUR)), wall(0), at(0), 0);
        refresh.handle_refused("AK");
        assert_eq!(need(&refresh, 29), Need::Nothing);
        assert_eq!(need(&refresh, 30), Need::Now);
        refresh.handle_granted(granted("NEW", Some(HOUR)), wall(30), at(30), 0);
        // Another destination used the old ones.
        refresh.handle_refused("AK");
        assert_eq!(need(&refresh, 100), Need::Nothing);
    }

    /// What counts is the calendar: keys of a machine whose clock was put right expire rightly.
    #[test]
    fn a_clock_that_jumps_makes_keys_expire() {
        let mut refresh = Refresh::default();
        refresh.handle_granted(granted("AK", Some(HOUR)), wall(0), at(0), 0);
        assert_eq!(refresh.need(wall(2 * HOUR), at(1)), Need::Now);
        assert!(refresh.credentials(wall(2 * HOUR), at(1)).is_none());
    }

    /// A clock that is hours ahead must not keep a gateway from delivering.
    #[test]
    fn keys_that_come_expired_are_used_for_a_while() {
        let mut refresh = Refresh::default();
        refresh.handle_granted(granted("AK", Some(HOUR)), wall(5 * HOUR), at(0), 0);
        let need = |seconds| refresh.need(wall(5 * HOUR + seconds), at(seconds));
        assert_eq!(need(1), Need::Nothing);
        assert_eq!(need(399), Need::Nothing);
        assert_eq!(need(401), Need::Ahead);
        assert_eq!(need(600), Need::Now);
    }

    #[test]
    fn failures_are_waited_out() {
        let mut refresh = Refresh::default();
        refresh.handle_failed("down".to_owned(), at(0), 0);
        let until = Monotonic::from_start(Duration::from_millis(500));
        let reason = "down".to_owned();
        assert_eq!(need(&refresh, 0), Need::Wait { until, reason });
        assert_eq!(need(&refresh, 1), Need::Now);
        for _ in 0..40 {
            refresh.handle_failed("down".to_owned(), at(100), u32::MAX);
        }
        assert_eq!(need(&refresh, 160), Need::Now);
        assert!(matches!(need(&refresh, 130), Need::Wait { .. }));
    }
}

//! How long to wait before the next attempt.
//!
//! Full jitter: uniform between nothing and a ceiling that doubles with every failure. A server's
//! own wish only ever makes the wait longer, and never longer than [`RETRY_AFTER_MAX`].

use std::fmt;
use std::time::Duration;

/// A server that asks for a longer pause gets this one.
pub const RETRY_AFTER_MAX: Duration = Duration::from_hours(1);

/// Exponential backoff with full jitter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    initial: Duration,
    max: Duration,
}

/// Why a backoff makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackoffError {
    /// It would try again without any pause.
    InitialZero,
    /// The first ceiling is above the last.
    MaxBelowInitial {
        /// The first ceiling.
        initial: Duration,
        /// The last.
        max: Duration,
    },
}

impl fmt::Display for BackoffError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InitialZero => f.write_str("initial wait of 0 s would try without any pause"),
            Self::MaxBelowInitial { initial, max } => {
                write!(
                    f,
                    "longest wait {max:?} is below the initial wait {initial:?}"
                )
            }
        }
    }
}

impl std::error::Error for BackoffError {}

impl Backoff {
    /// A backoff whose ceiling starts at `initial` and grows to `max`.
    pub fn new(initial: Duration, max: Duration) -> Result<Self, BackoffError> {
        if initial.is_zero() {
            return Err(BackoffError::InitialZero);
        }
        if max < initial {
            return Err(BackoffError::MaxBelowInitial { initial, max });
        }
        Ok(Self { initial, max })
    }

    /// The longest wait after `failures` failures in a row, the first being 1.
    pub fn ceiling(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1);
        let factor = 1u32.checked_shl(doublings).unwrap_or(u32::MAX);
        self.initial.saturating_mul(factor).min(self.max)
    }

    /// The wait after `failures` failures in a row; `random` is uniform over all of `u32`.
    pub fn delay(&self, failures: u32, random: u32) -> Duration {
        // At most 2^32 - 1 times 2^64 seconds in nanoseconds: far within 128 bits, and the
        // quotient is below the ceiling again.
        let nanos = (self.ceiling(failures).as_nanos() * u128::from(random)) >> u32::BITS;
        u64::try_from(nanos).map_or(self.max, Duration::from_nanos)
    }

    /// The wait after `failures` failures in a row when the server asked for `after`.
    pub fn delay_after(&self, failures: u32, random: u32, after: Option<Duration>) -> Duration {
        let asked = after.unwrap_or(Duration::ZERO).min(RETRY_AFTER_MAX);
        self.delay(failures, random).max(asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backoff(initial_ms: u64, max_ms: u64) -> Backoff {
        let (initial, max) = (
            Duration::from_millis(initial_ms),
            Duration::from_millis(max_ms),
        );
        Backoff::new(initial, max).unwrap()
    }

    #[test]
    fn nonsense_is_refused() {
        let second = Duration::from_secs(1);
        assert_eq!(
            Backoff::new(Duration::ZERO, second),
            Err(BackoffError::InitialZero)
        );
        let error = Backoff::new(second, Duration::from_millis(1)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "longest wait 1ms is below the initial wait 1s"
        );
    }

    #[test]
    fn ceiling_doubles_up_to_the_cap() {
        let backoff = backoff(1000, 300_000);
        let ceilings: Vec<u64> = [0, 1, 2, 3, 9, 10, 31, 32, 33, 34, u32::MAX]
            .map(|failures| backoff.ceiling(failures).as_secs())
            .to_vec();
        assert_eq!(ceilings, [1, 1, 2, 4, 256, 300, 300, 300, 300, 300, 300]);
    }

    #[test]
    fn delay_is_uniform_below_the_ceiling() {
        let backoff = backoff(1000, 300_000);
        assert_eq!(backoff.delay(3, 0), Duration::ZERO);
        assert_eq!(backoff.delay(3, 1 << 31), Duration::from_secs(2));
        let last = backoff.delay(3, u32::MAX);
        assert!(last < Duration::from_secs(4) && last > Duration::from_millis(3999));
    }

    #[test]
    fn largest_values_do_not_overflow() {
        let backoff = Backoff::new(Duration::MAX, Duration::MAX).unwrap();
        assert!(backoff.delay(u32::MAX, u32::MAX) <= Duration::MAX);
    }

    #[test]
    fn servers_wish_makes_the_wait_longer_within_bounds() {
        let backoff = backoff(1000, 300_000);
        let check = |after: Option<u64>, expected_ms: u64| {
            let after = after.map(Duration::from_secs);
            let delay = backoff.delay_after(1, 1 << 31, after);
            assert_eq!(delay, Duration::from_millis(expected_ms));
        };
        check(None, 500);
        check(Some(0), 500);
        check(Some(7), 7000);
        check(Some(1_000_000), 3_600_000);
    }
}

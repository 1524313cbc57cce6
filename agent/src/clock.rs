//! The only place that asks the machine for the time.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use pipeline::time::{Monotonic, WallClock};

const FAR_AWAY: Duration = Duration::from_hours(24 * 365 * 30);

/// Both clocks of this process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    /// Starts counting.
    pub(crate) fn start() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    /// What the calendar says.
    #[expect(clippy::unused_self, reason = "who holds no clock is not to ask it")]
    pub(crate) fn wall(&self) -> WallClock {
        let since_epoch = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
            Err(before) => {
                i64::try_from(before.duration().as_millis()).map_or(i64::MIN, i64::saturating_neg)
            }
        };
        WallClock::from_millis(since_epoch)
    }

    /// What has passed since the start.
    pub(crate) fn monotonic(&self) -> Monotonic {
        Monotonic::from_start(self.start.elapsed())
    }

    /// The tokio instant of `at`, for timers.
    pub(crate) fn instant(&self, at: Monotonic) -> tokio::time::Instant {
        let at = self.start.checked_add(at.elapsed());
        // A moment that the machine cannot count is as good as never.
        tokio::time::Instant::from_std(at.unwrap_or_else(|| Instant::now() + FAR_AWAY))
    }
}

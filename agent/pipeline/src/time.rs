//! Two clocks that cannot be mixed up: what the calendar says and what has passed.
//!
//! Neither is ever read here; both are passed in.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00:00Z, as the machine's clock said. May jump either way.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct WallClock(i64);

impl WallClock {
    /// The time `millis` milliseconds after the epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds after the epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Later by `delay`, saturating.
    #[must_use]
    pub fn after(self, delay: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(delay.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// What lies between `earlier` and `self`; zero when the clock went back in between.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl fmt::Display for WallClock {
    /// RFC 3339 with milliseconds, UTC: `2026-11-23T16:40:01.123Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(timestamp) => write!(f, "{timestamp:.3}"),
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

/// Why a text is no time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeError(String);

impl fmt::Display for TimeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = &self.0;
        write!(
            f,
            "\"{text}\" is no time; write it as 2026-11-20T10:00 or 2026-11-20T10:00:30+01:00"
        )
    }
}

impl std::error::Error for TimeError {}

impl FromStr for WallClock {
    type Err = TimeError;

    /// RFC 3339, of which seconds, time of day and zone may be missing; without a zone it is UTC.
    fn from_str(text: &str) -> Result<Self, TimeError> {
        let refused = |_| TimeError(text.to_owned());
        if let Ok(timestamp) = text.parse::<jiff::Timestamp>() {
            return Ok(Self(timestamp.as_millisecond()));
        }
        // A zone that could not be read must not be taken for none.
        let time: jiff::civil::DateTime = text.parse().map_err(refused)?;
        let is_plain =
            |c: char| c.is_ascii_digit() || matches!(c, '-' | ':' | '.' | 'T' | 't' | ' ');
        if !text.chars().all(is_plain) {
            return Err(TimeError(text.to_owned()));
        }
        let timestamp = jiff::tz::TimeZone::UTC
            .to_timestamp(time)
            .map_err(refused)?;
        Ok(Self(timestamp.as_millisecond()))
    }
}

/// Time that only moves forward, counted from the start of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Monotonic(Duration);

impl Monotonic {
    /// The moment `elapsed` after the start.
    pub const fn from_start(elapsed: Duration) -> Self {
        Self(elapsed)
    }

    /// How long after the start.
    pub const fn elapsed(self) -> Duration {
        self.0
    }

    /// Later by `delay`, saturating.
    #[must_use]
    pub fn after(self, delay: Duration) -> Self {
        Self(self.0.saturating_add(delay))
    }

    /// What has passed since `earlier`; zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_what_people_leave_out() {
        let check = |text: &str, expected: Option<&str>| {
            let found = text.parse::<WallClock>().map(|time| time.to_string());
            assert_eq!(found.ok().as_deref(), expected, "{text}");
        };
        check("2026-11-20T10:00", Some("2026-11-20T10:00:00.000Z"));
        check("2026-11-20", Some("2026-11-20T00:00:00.000Z"));
        check("2026-11-20 10:00:01.5", Some("2026-11-20T10:00:01.500Z"));
        check("2026-11-20T10:00Z", Some("2026-11-20T10:00:00.000Z"));
        check(
            "2026-11-20T10:00:30+01:00",
            Some("2026-11-20T09:00:30.000Z"),
        );
        check("2026-11-23T16:40:01.123Z", Some("2026-11-23T16:40:01.123Z"));
        for wrong in [
            "",
            "yesterday",
            "10:00",
            "2026-13-01",
            "2026-11-20T25:00",
            "2026-11-20T10:00+26:00",
            "2026-11-20T10:00[Europe/Berlin]",
            "1795168800",
        ] {
            check(wrong, None);
        }
    }

    #[test]
    fn wall_clock_prints_rfc_3339() {
        assert_eq!(
            WallClock::from_millis(0).to_string(),
            "1970-01-01T00:00:00.000Z"
        );
        assert_eq!(
            WallClock::from_millis(1_795_452_001_123).to_string(),
            "2026-11-23T16:40:01.123Z"
        );
    }
}

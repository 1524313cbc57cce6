//! How wrong the machine's clock is, learned from the `Date` of verified peers.

use std::time::{Duration, UNIX_EPOCH};

use super::{HttpResponse, Retry, RetryClass, TransportError, Verdict};
use crate::time::WallClock;

/// A slower exchange says too little about the moment its `Date` was written.
const ELAPSED_MAX: Duration = Duration::from_mins(15);

/// A `Date` that sets the clock comes from an exchange that took no longer.
const FRESH_MAX: Duration = Duration::from_secs(10);

/// The difference between a service's clock and the machine's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockSkew {
    millis: Option<i64>,
}

impl ClockSkew {
    /// What a test knows of a service's clock.
    #[cfg(test)]
    pub(super) const fn new(millis: Option<i64>) -> Self {
        Self { millis }
    }

    /// Milliseconds that the machine's clock is behind; `None` until a peer was heard.
    pub const fn millis(self) -> Option<i64> {
        self.millis
    }

    /// `now` of the machine's clock as the service would say it.
    #[must_use]
    pub const fn correct(self, now: WallClock) -> WallClock {
        match self.millis {
            Some(millis) => WallClock::from_millis(now.as_millis().saturating_add(millis)),
            None => now,
        }
    }

    /// Learns from `response`, if it came from a verified peer itself and not from a cache.
    pub fn learn(&mut self, response: &HttpResponse) {
        let cached = response.header("age").is_some();
        if !response.tls_verified || cached || response.elapsed > ELAPSED_MAX {
            return;
        }
        let Some(date) = response.header("date").and_then(http_date) else {
            return;
        };
        let half_ms = i64::try_from(response.elapsed.as_millis() / 2).unwrap_or(0);
        let middle = response.received_at.as_millis().saturating_sub(half_ms);
        self.millis = Some(date.as_millis().saturating_sub(middle));
    }
}

/// Services forgive five minutes and more; a clock that is further off explains a refusal.
const SKEW_MAX_MS: u64 = 4 * 60 * 1000;

/// What was known of a service's clock before and after an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clocks {
    pub(super) signed_with: ClockSkew,
    pub(super) learned: ClockSkew,
}

impl Clocks {
    /// Has `skew` learn from an answer.
    pub(super) fn learn(
        skew: &mut ClockSkew,
        result: Result<&HttpResponse, &TransportError>,
    ) -> Self {
        let signed_with = *skew;
        if let Ok(response) = result {
            skew.learn(response);
        }
        Self {
            signed_with,
            learned: *skew,
        }
    }

    /// Whether the answer has told that the request was signed at a wrong time.
    pub(super) fn were_wrong(self) -> bool {
        let before = self.signed_with.millis().unwrap_or(0);
        let after = self.learned.millis().unwrap_or(before);
        after.abs_diff(before) > SKEW_MAX_MS
    }

    /// A refused signature: the clock, if it was wrong when signing, else the key. `is_of_time`
    /// when the service says that it is the time.
    pub(super) fn signature_refused(self, is_of_time: bool, reason: &str) -> Verdict {
        Verdict::Retry(if self.were_wrong() {
            let seconds = self.learned.millis().unwrap_or(0) / 1000;
            Retry {
                class: RetryClass::Clock,
                reason: format!("{reason}; this clock is {seconds} s behind, which is corrected"),
                after: Some(Duration::ZERO),
            }
        } else if is_of_time {
            let advice = "its clock is not known for sure: set the clock of this machine";
            Retry::new(RetryClass::Clock, format!("{reason}; {advice}"))
        } else {
            let advice = "check the secret access key";
            Retry::new(RetryClass::Credentials, format!("{reason}; {advice}"))
        })
    }
}

/// What time it was when `response` had come, if a verified peer itself said so just before.
pub fn date_at_receipt(response: &HttpResponse) -> Option<WallClock> {
    let is_fresh = response.header("age").is_none() && response.elapsed <= FRESH_MAX;
    let date = response.header("date").and_then(http_date)?;
    // A second that is named has half passed, and so has the exchange.
    let since = Duration::from_millis(500) + response.elapsed / 2;
    (response.tls_verified && is_fresh).then(|| date.after(since))
}

/// The moment an HTTP date names.
pub(super) fn http_date(text: &str) -> Option<WallClock> {
    let date = httpdate::parse_http_date(text).ok()?;
    let since = date.duration_since(UNIX_EPOCH).ok()?;
    Some(WallClock::from_millis(
        i64::try_from(since.as_millis()).ok()?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIDNIGHT: i64 = 1_767_225_600_000;

    /// Learns from a response, sent at midnight of 2026-01-01 by the machine's clock.
    fn learn(skew: &mut ClockSkew, elapsed_s: u64, headers: &[(&str, &str)], verified: bool) {
        let elapsed = Duration::from_secs(elapsed_s);
        skew.learn(&HttpResponse {
            status: 200,
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            elapsed,
            tls_verified: verified,
            received_at: WallClock::from_millis(MIDNIGHT).after(elapsed),
            ..HttpResponse::default()
        });
    }

    #[test]
    fn skew_is_date_less_the_middle_of_the_exchange() {
        let check = |elapsed_s, headers: &[(&str, &str)], expected: Option<i64>| {
            let mut skew = ClockSkew::default();
            learn(&mut skew, elapsed_s, headers, true);
            assert_eq!(skew.millis(), expected, "{elapsed_s} s, {headers:?}");
        };
        let second = ("Date", "Thu, 01 Jan 2026 00:00:01 GMT");
        let five_minutes = ("date", "Thu, 01 Jan 2026 00:05:01 GMT");
        check(2, &[second], Some(0));
        check(2, &[five_minutes], Some(300_000));
        check(
            2,
            &[("Date", "Wed, 31 Dec 2025 23:00:01 GMT")],
            Some(-3_600_000),
        );
        check(2, &[], None);
        check(2, &[("Date", "tomorrow")], None);
        check(2, &[("Date", "Thu, 01 Jan 1969 00:00:01 GMT")], None);
        // Too slow, and out of a cache.
        check(16 * 60, &[five_minutes], None);
        check(2, &[five_minutes, ("Age", "17280")], None);
    }

    #[test]
    fn a_date_tells_when_the_response_had_come() {
        let check = |elapsed_ms, headers: &[(&str, &str)], verified, expected: Option<i64>| {
            let response = HttpResponse {
                headers: headers
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                    .collect(),
                elapsed: Duration::from_millis(elapsed_ms),
                tls_verified: verified,
                ..HttpResponse::default()
            };
            let found = date_at_receipt(&response).map(WallClock::as_millis);
            assert_eq!(found, expected, "{elapsed_ms} ms, {headers:?}");
        };
        let date = ("Date", "Thu, 01 Jan 2026 00:00:00 GMT");
        check(0, &[date], true, Some(MIDNIGHT + 500));
        check(3_000, &[date], true, Some(MIDNIGHT + 2_000));
        check(11_000, &[date], true, None);
        check(0, &[date, ("Age", "5")], true, None);
        check(0, &[date], false, None);
        check(0, &[("Date", "soon")], true, None);
        check(0, &[], true, None);
    }

    #[test]
    fn only_a_verified_peer_teaches_and_the_last_one_counts() {
        let five_minutes = [("Date", "Thu, 01 Jan 2026 00:05:01 GMT")];
        let mut skew = ClockSkew::default();
        learn(&mut skew, 2, &five_minutes, false);
        assert_eq!(skew, ClockSkew::default());
        learn(&mut skew, 2, &five_minutes, true);
        let now = WallClock::from_millis(MIDNIGHT);
        assert_eq!(
            skew.correct(now),
            WallClock::from_millis(MIDNIGHT + 300_000)
        );
        learn(
            &mut skew,
            2,
            &[("Date", "Thu, 01 Jan 2026 00:00:01 GMT")],
            true,
        );
        assert_eq!(skew.correct(now), now);
    }
}

//! How wrong the machine's clock is, learned from the `Date` of verified peers.

use std::time::{Duration, UNIX_EPOCH};

use super::HttpResponse;
use crate::time::WallClock;

/// A slower exchange says too little about the moment its `Date` was written.
const ELAPSED_MAX: Duration = Duration::from_mins(15);

/// The difference between a service's clock and the machine's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockSkew {
    millis: Option<i64>,
}

impl ClockSkew {
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

/// The moment an HTTP date names.
pub(super) fn http_date(text: &str) -> Option<WallClock> {
    let date = httpdate::parse_http_date(text).ok()?;
    let since = date.duration_since(UNIX_EPOCH).ok()?;
    Some(WallClock::from_millis(
        i64::try_from(since.as_millis()).ok()?,
    ))
}

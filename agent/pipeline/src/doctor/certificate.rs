//! What it means when a certificate ends.

use super::report::Finding;

/// So long before its end a certificate is worth a warning.
const SOON_MS: i64 = 30 * DAY_MS;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Judges the end of a certificate at `now_ms`.
pub fn judge_expiry(about: &str, file: &str, end_ms: i64, now_ms: i64) -> Finding {
    let left = end_ms.saturating_sub(now_ms);
    let days = left / DAY_MS;
    if left <= 0 {
        let what = format!("{file} has expired {} days ago", -days);
        return Finding::problem(about, what, "renew it; it is read anew at each connection");
    }
    let what = format!("{file} expires in {days} days");
    if left < SOON_MS {
        Finding::warning(about, what, "renew it; it is read anew at each connection")
    } else {
        Finding::ok(about, what)
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::Level;
    use super::*;

    #[test]
    fn judgment() {
        let check = |left_ms: i64, level, words: &str| {
            let finding =
                judge_expiry("a", "c.pem", 1_000_000_000_000 + left_ms, 1_000_000_000_000);
            assert_eq!(finding.level, level, "{finding:?}");
            assert!(finding.what.contains(words), "{finding:?}");
        };
        check(-3 * DAY_MS, Level::Problem, "c.pem has expired 3 days ago");
        check(29 * DAY_MS, Level::Warning, "c.pem expires in 29 days");
        check(31 * DAY_MS, Level::Ok, "c.pem expires in 31 days");
    }
}

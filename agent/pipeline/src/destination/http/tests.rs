use std::collections::BTreeMap;

use diskring::Seq;

use super::super::{SeqRange, Unit, UnitFate};
use super::*;
use crate::config::{Secret, TlsConfig};
use crate::time::WallClock;

fn config(auth: HttpAuth, headers: &[(&str, &str)]) -> HttpConfig {
    HttpConfig {
        url: "https://collector.example/in?x=1".to_owned(),
        method: HttpMethod::Put,
        headers: headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Secret::new(*value)))
            .collect::<BTreeMap<_, _>>(),
        auth,
        tls: TlsConfig::default(),
    }
}

fn prepare(config: &HttpConfig, content_encoding: Option<&'static str>) -> HttpRequest {
    let sender = Sender {
        ring: 0xab,
        agent: "gw1".to_owned(),
        destination: "my audit".to_owned(),
        replay: None,
    };
    let body = EncodedBody {
        bytes: Arc::new(b"{}\n".to_vec()),
        content_type: "application/x-ndjson",
        content_encoding,
        extension: "ndjson",
        unit: Unit {
            range: SeqRange::new(Seq::new(3), Seq::new(9)),
            count: 1,
            filtered: 0,
            fate: UnitFate::Sendable,
        },
    };
    Http::new(config, sender, Duration::from_secs(30)).prepare(&body)
}

#[test]
fn request_names_its_batch() {
    let request = prepare(&config(HttpAuth::None, &[]), Some("gzip"));
    assert_eq!(request.method, "PUT");
    assert_eq!(request.url, "https://collector.example/in?x=1");
    assert_eq!(*request.body, b"{}\n");
    assert_eq!(request.timeout, Duration::from_secs(30));
    let headers: Vec<(&str, &str)> = request
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let expected = [
        ("content-type", "application/x-ndjson"),
        ("content-encoding", "gzip"),
        ("idempotency-key", "00000000000000ab-my_audit-3-9"),
        ("user-agent", concat!("hydrant/", env!("CARGO_PKG_VERSION"))),
    ];
    assert_eq!(headers, expected);
    assert_eq!(prepare(&config(HttpAuth::None, &[]), Some("gzip")), request);
}

#[test]
fn who_asks_is_said_and_not_printed() {
    let check = |auth: HttpAuth, headers: &[(&str, &str)], name: &str, expected: &[&str]| {
        let request = prepare(&config(auth, headers), None);
        let values: Vec<&str> = request
            .headers
            .iter()
            .filter(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
            .collect();
        assert_eq!(values, expected);
        let printed = format!("{request:?}");
        assert!(
            !printed.contains("Bearer") && !printed.contains("hush"),
            "{printed}"
        );
    };
    let basic = HttpAuth::Basic {
        username: "Aladdin".to_owned(),
        password: Secret::new("open sesame"),
    };
    let basic_value = "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==";
    check(basic, &[], "authorization", &[basic_value]);
    let bearer = HttpAuth::Bearer(Secret::new("hush"));
    check(bearer.clone(), &[], "authorization", &["Bearer hush"]);
    // What the user writes out wins, and a header is sent once.
    check(
        bearer,
        &[("Authorization", "Splunk hush")],
        "authorization",
        &["Splunk hush"],
    );
    let mine = [("Content-Type", "text/csv"), ("X-Key", "hush")];
    check(HttpAuth::None, &mine, "content-type", &["text/csv"]);
    check(HttpAuth::None, &mine, "x-key", &["hush"]);
    check(HttpAuth::None, &mine, "content-encoding", &[]);
}

fn response(status: u16, headers: &[(&str, &str)], body: &[u8]) -> HttpResponse {
    HttpResponse {
        status,
        headers: headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        body: body.to_vec(),
        received_at: WallClock::from_millis(1_767_225_600_000),
        ..HttpResponse::default()
    }
}

fn check(status: u16, headers: &[(&str, &str)], body: &[u8], expected: &str) {
    let verdict = Http::interpret(Ok(&response(status, headers, body)));
    let seen = match verdict {
        Verdict::Accepted => "accepted".to_owned(),
        Verdict::Partial { .. } => "partial".to_owned(),
        Verdict::Cut { .. } => "cut".to_owned(),
        Verdict::TooLarge(refusal) => format!("too large {}: {}", refusal.code, refusal.reason),
        Verdict::Rejected(refusal) => format!("rejected {}: {}", refusal.code, refusal.reason),
        Verdict::Retry(retry) => match retry.after {
            Some(after) => format!("{:?} {after:?}: {}", retry.class, retry.reason),
            None => format!("{:?}: {}", retry.class, retry.reason),
        },
    };
    assert_eq!(seen, expected);
}

#[test]
fn status_is_the_verdict() {
    check(200, &[], b"\xff\x00 rubbish", "accepted");
    check(201, &[], b"{\"error\":true}", "accepted");
    check(299, &[], b"", "accepted");
    check(408, &[], b"", "Transient: answered 408");
    check(425, &[], b"", "Transient: answered 425");
    check(429, &[], b"", "Throttled: answered 429");
    check(500, &[], b"oops", "Transient: answered 500: oops");
    check(503, &[], b"", "Transient: answered 503");
    check(599, &[], b"", "Transient: answered 599");
    check(413, &[], b"", "too large 413: answered 413");
    check(407, &[], b"", "Configuration: answered 407");
    for status in [400, 401, 403, 404, 405, 409, 422, 451, 499] {
        check(
            status,
            &[],
            b"",
            &format!("rejected {status}: answered {status}"),
        );
    }
    for status in [0, 100, 199, 600, u16::MAX] {
        check(status, &[], b"", &format!("Transient: answered {status}"));
    }
}

#[test]
fn redirects_are_for_the_operator() {
    check(
        302,
        &[("Location", "https://portal/\nlogin")],
        b"",
        "Configuration: answered 302, a redirect to https://portal/ login, which is not followed: \
         set the final URL",
    );
    check(
        304,
        &[],
        b"",
        "Configuration: answered 304, a redirect to an unnamed place, which is not followed: set \
         the final URL",
    );
}

#[test]
fn retry_after_is_seconds_or_a_date() {
    let check = |headers: &[(&str, &str)], expected: &str| check(503, headers, b"", expected);
    check(&[("Retry-After", "120")], "Transient 120s: answered 503");
    check(&[("retry-after", " 7 ")], "Transient 7s: answered 503");
    check(&[("Retry-After", "0")], "Transient: answered 503");
    check(&[("Retry-After", "-5")], "Transient: answered 503");
    check(&[("Retry-After", "")], "Transient: answered 503");
    check(&[("Retry-After", "soon")], "Transient: answered 503");
    let date = ("Retry-After", "Thu, 01 Jan 2026 00:02:00 GMT");
    // By this machine's clock, unless the server says its own.
    check(&[date], "Transient 120s: answered 503");
    let hour_later = ("Date", "Thu, 01 Jan 2026 00:01:30 GMT");
    check(&[date, hour_later], "Transient 30s: answered 503");
    let past = ("Retry-After", "Wed, 31 Dec 2025 00:02:00 GMT");
    check(&[past], "Transient: answered 503");
    let huge = response(503, &[("Retry-After", "99999999999999999999999")], b"");
    assert_eq!(retry_after(&huge), Some(Duration::MAX));
}

#[test]
fn reasons_are_one_short_line() {
    check(
        400,
        &[],
        b"<html>\r\n\t<b>no\x07</b>\r\n\r\n</html>\xff",
        "rejected 400: answered 400: <html> <b>no </b> </html>\u{fffd}",
    );
    let long = excerpt("\u{e4}b".repeat(10_000).as_bytes());
    assert_eq!(long.chars().count(), EXCERPT_CHARS_MAX + 3);
    assert!(long.ends_with("..."), "{long}");
    let exact = "x".repeat(EXCERPT_CHARS_MAX);
    assert_eq!(excerpt(exact.as_bytes()), exact);
}

#[test]
fn silence_is_tried_again() {
    let check = |error: TransportError, class, reason: &str| {
        let Verdict::Retry(retry) = Http::interpret(Err(&error)) else {
            panic!("{error} is final");
        };
        assert_eq!((retry.class, retry.reason.as_str()), (class, reason));
    };
    check(
        TransportError::Timeout,
        RetryClass::Transient,
        "no answer in time",
    );
    check(
        TransportError::Resolve("no such host".to_owned()),
        RetryClass::Transient,
        "name not resolved: no such host",
    );
    check(
        TransportError::Tls("unknown issuer".to_owned()),
        RetryClass::Configuration,
        "TLS failed: unknown issuer",
    );
    check(
        TransportError::Closed("reset".to_owned()),
        RetryClass::Transient,
        "connection closed before the answer ended: reset",
    );
}

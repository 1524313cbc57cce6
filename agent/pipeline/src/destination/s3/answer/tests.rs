use std::time::Duration;

use super::*;
use crate::destination::ClockSkew;
use crate::time::WallClock;

fn response(status: u16, headers: &[(&str, &str)], body: &str) -> HttpResponse {
    let headers = headers.iter();
    HttpResponse {
        status,
        headers: headers
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        body: body.as_bytes().to_vec(),
        tls_verified: true,
        received_at: WallClock::from_millis(1_795_452_001_123),
        ..HttpResponse::default()
    }
}

fn error(status: u16, code: &str) -> HttpResponse {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code>\
         <Message>Some &quot;text&quot; &amp; more</Message><RequestId>4442</RequestId></Error>"
    );
    response(status, &[], &body)
}

const UNKNOWN: Clocks = Clocks {
    signed_with: ClockSkew::new(None),
    learned: ClockSkew::new(None),
};

const WRONG: Clocks = Clocks {
    signed_with: ClockSkew::new(None),
    learned: ClockSkew::new(Some(3_600_000)),
};

/// The verdict in a word, with its reason.
fn said(response: &HttpResponse, clocks: Clocks) -> String {
    match interpret(Ok(response), clocks) {
        Verdict::Accepted => "accepted".to_owned(),
        Verdict::Partial { .. } => "partial".to_owned(),
        Verdict::Cut { .. } => "cut".to_owned(),
        Verdict::TooLarge(refusal) => format!("too large {}", refusal.code),
        Verdict::Rejected(refusal) => format!("rejected {}", refusal.code),
        Verdict::Retry(retry) => format!("{:?}: {}", retry.class, retry.reason),
    }
}

#[test]
fn success_needs_an_etag() {
    assert_eq!(
        said(&response(200, &[("ETag", "\"9\"")], ""), UNKNOWN),
        "accepted"
    );
    let text = said(&response(200, &[], "<html>welcome"), UNKNOWN);
    assert!(
        text.starts_with("Transient: answered 200: <html>welcome without an ETag"),
        "{text}"
    );
}

#[test]
fn codes_decide() {
    for (status, code, expected) in [
        (412, "PreconditionFailed", "accepted"),
        (409, "ConditionalRequestConflict", "Transient"),
        (409, "OperationAborted", "Transient"),
        (503, "SlowDown", "Throttled"),
        (503, "ServiceUnavailable", "Transient"),
        (503, "", "Throttled"),
        (429, "", "Throttled"),
        (500, "InternalError", "Transient"),
        (502, "", "Transient"),
        (400, "RequestTimeout", "Transient"),
        (400, "BadDigest", "Transient"),
        (400, "IncompleteBody", "Transient"),
        (400, "XAmzContentSHA256Mismatch", "Transient"),
        (400, "EntityTooLarge", "too large EntityTooLarge"),
        (413, "", "too large 413"),
        (400, "KeyTooLongError", "rejected KeyTooLongError"),
        (403, "AccessDenied", "Configuration"),
        (404, "NoSuchBucket", "Configuration"),
        (400, "InvalidBucketName", "Configuration"),
        (400, "InvalidTag", "Configuration"),
        (400, "KMS.DisabledException", "Configuration"),
        (400, "NeverHeardOf", "Configuration"),
        (501, "NotImplemented", "Configuration"),
        (403, "InvalidAccessKeyId", "Credentials"),
        (400, "ExpiredToken", "Credentials"),
        (403, "SignatureDoesNotMatch", "Credentials"),
        (403, "RequestTimeTooSkewed", "Clock"),
        (301, "PermanentRedirect", "Configuration"),
        (307, "TemporaryRedirect", "Configuration"),
        (302, "", "Configuration"),
    ] {
        let answer = if code.is_empty() {
            response(status, &[], "")
        } else {
            error(status, code)
        };
        let said = said(&answer, UNKNOWN);
        assert!(said.starts_with(expected), "{status} {code}: {said}");
    }
}

#[test]
fn reasons_say_what_to_do() {
    let text = said(&error(404, "NoSuchBucket"), UNKNOWN);
    assert_eq!(
        text,
        "Configuration: answered 404, NoSuchBucket: Some \"text\" & more"
    );
    let elsewhere = response(
        301,
        &[("x-amz-bucket-region", "eu-central-1")],
        "<Error><Code>PermanentRedirect</Code><Message>m</Message></Error>",
    );
    assert!(said(&elsewhere, UNKNOWN).ends_with("the bucket is in eu-central-1: set region"));
    let malformed = response(
        400,
        &[],
        "<Error><Code>AuthorizationHeaderMalformed</Code><Message>m</Message>\
         <Region>us-west-2</Region></Error>",
    );
    assert!(said(&malformed, UNKNOWN).ends_with("the bucket is in us-west-2: set region"));
    assert!(said(&error(501, "NotImplemented"), UNKNOWN).contains("if_none_match = false"));
    let slow = response(503, &[("Retry-After", "7")], "");
    let Verdict::Retry(retry) = interpret(Ok(&slow), UNKNOWN) else {
        panic!("to be tried again");
    };
    assert_eq!(retry.after, Some(Duration::from_secs(7)));
}

/// The time that the answer told is right now: once at once.
#[test]
fn a_clock_that_was_corrected_tries_again_at_once() {
    for code in [
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "AccessDenied",
    ] {
        let Verdict::Retry(retry) = interpret(Ok(&error(403, code)), WRONG) else {
            panic!("to be tried again");
        };
        assert_eq!(retry.class, RetryClass::Clock, "{code}");
        assert_eq!(retry.after, Some(Duration::ZERO), "{code}");
    }
}

/// Whatever comes back, nothing panics and only what is stored counts.
#[test]
fn rubbish_is_no_success() {
    for body in [
        "",
        "<",
        "<Error",
        "<Error><Code>",
        "<Error><Code></Code>",
        "\u{ff}\0",
    ] {
        for status in [0, 100, 199, 201, 204, 206, 400, 403, 500, 599, 999] {
            let said = said(&response(status, &[("etag", "x")], body), UNKNOWN);
            assert_ne!(said, "accepted", "{status} {body:?}");
        }
    }
}

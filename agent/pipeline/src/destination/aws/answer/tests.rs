use super::*;
use crate::destination::ClockSkew;
use crate::time::WallClock;

const NOW: WallClock = WallClock::from_millis(1_795_452_000_000);

fn response(status: u16, headers: &[(&str, &str)], body: &str) -> HttpResponse {
    HttpResponse {
        status,
        headers: headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        body: body.as_bytes().to_vec(),
        tls_verified: true,
        received_at: NOW,
        ..HttpResponse::default()
    }
}

fn verdict(count: usize, response: &HttpResponse) -> Verdict {
    let signed_with = ClockSkew::default();
    let mut learned = signed_with;
    learned.learn(response);
    let clocks = Clocks {
        signed_with,
        learned,
    };
    interpret(count, Ok(response), clocks)
}

/// The verdict in short: one letter a unit, or the class of the retry, or what was refused.
fn short(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Accepted => "accepted".to_owned(),
        Verdict::Partial { units, retry } => {
            let units: String = units
                .iter()
                .map(|unit| match unit {
                    UnitVerdict::Accepted => 'a',
                    UnitVerdict::Retry => 'r',
                    UnitVerdict::TooLarge(_) => 't',
                })
                .collect();
            format!("{units} {:?}", retry.class)
        }
        Verdict::TooLarge(refusal) => format!("too large {}", refusal.code),
        Verdict::Cut { refusal, .. } => format!("cut {}", refusal.code),
        Verdict::Retry(retry) => match retry.after {
            Some(after) => format!("{:?} {after:?}", retry.class),
            None => format!("{:?}", retry.class),
        },
        Verdict::Rejected(refusal) => format!("rejected {}", refusal.code),
    }
}

fn check(count: usize, response: &HttpResponse, expected: &str) {
    let verdict = verdict(count, response);
    assert_eq!(short(&verdict), expected, "{response:?} -> {verdict:?}");
}

#[test]
fn only_a_record_id_is_a_delivery() {
    let check = |count, body: &str, expected| check(count, &response(200, &[], body), expected);
    let ok = r#"{"RecordId":"x"}"#;
    let slow = r#"{"ErrorCode":"ServiceUnavailableException","ErrorMessage":"Slow down."}"#;
    let fault = r#"{"ErrorCode":"InternalFailure","ErrorMessage":"Oops"}"#;
    let shape = r#"{"ErrorCode":"ValidationException","ErrorMessage":"too long"}"#;
    let body = |failed: u32, entries: &[&str]| {
        let entries = entries.join(",");
        format!(r#"{{"FailedPutCount":{failed},"Encrypted":false,"RequestResponses":[{entries}]}}"#)
    };
    check(1, &body(0, &[ok]), "accepted");
    check(3, &body(0, &[ok, ok, ok]), "accepted");
    check(3, &body(1, &[ok, slow, ok]), "ara Throttled");
    check(3, &body(2, &[fault, ok, slow]), "rar Transient");
    check(2, &body(2, &[slow, slow]), "rr Throttled");
    check(3, &body(2, &[ok, shape, fault]), "atr Transient");
    // The entries are believed, not the count, when they name more failures.
    check(2, &body(0, &[ok, fault]), "ar Transient");
    check(2, &body(1, &[ok, ok]), "Transient");
    check(2, &body(0, &[ok]), "Transient");
    check(1, &body(0, &[ok, ok]), "Transient");
    check(1, &body(0, &["{}"]), "r Transient");
    check(1, &body(0, &[r#"{"RecordId":""}"#]), "r Transient");
    check(
        1,
        &body(0, &[r#"{"RecordId":"x","ErrorCode":"E"}"#]),
        "r Transient",
    );
    check(
        1,
        &body(0, &[r#"{"RecordId":null,"ErrorCode":null}"#]),
        "r Transient",
    );
    check(1, "", "Transient");
    check(1, "{}", "Transient");
    check(1, "<html>It works!</html>", "Transient");
    check(
        1,
        r#"{"FailedPutCount":0,"RequestResponses":[{"RecordId":"#,
        "Transient",
    );
    check(1, &"[".repeat(100_000), "Transient");
}

#[test]
fn cut_or_half_answers_are_no_delivery() {
    let ok = r#"{"FailedPutCount":0,"RequestResponses":[{"RecordId":"x"}]}"#;
    let mut cut = response(200, &[], ok);
    cut.body_cut = true;
    check(1, &cut, "Transient");
    check(1, &response(204, &[], ok), "Transient");
    let Verdict::Retry(retry) = verdict(1, &response(200, &[], "<html>\n\tIt works!")) else {
        panic!("rubbish is tried again");
    };
    assert_eq!(
        retry.reason,
        "answered 200 with something else than its own JSON, taken for not delivered: \
         <html> It works!"
    );
}

#[test]
fn codes_decide() {
    let check = |status, code: &str, message: &str, expected| {
        let body = format!(r#"{{"__type":"{code}","message":"{message}"}}"#);
        check(9, &response(status, &[], &body), expected);
    };
    check(503, "ServiceUnavailableException", "", "Transient");
    check(500, "InternalFailure", "", "Transient");
    check(400, "RequestTimeout", "", "Transient");
    check(400, "ThrottlingException", "Rate exceeded", "Throttled");
    check(400, "LimitExceededException", "", "Throttled");
    check(
        503,
        "ServiceUnavailableException",
        "Slow down.",
        "Throttled",
    );
    check(400, "ExpiredTokenException", "", "Credentials");
    check(403, "UnrecognizedClientException", "", "Credentials");
    check(
        403,
        "SignatureDoesNotMatch",
        "calculated does not match",
        "Credentials",
    );
    check(
        400,
        "ResourceNotFoundException",
        "no stream x",
        "Configuration",
    );
    check(
        400,
        "AccessDeniedException",
        "not authorized",
        "Configuration",
    );
    check(400, "InvalidSourceException", "", "Configuration");
    check(400, "SomethingNewException", "", "Configuration");
    check(500, "SomethingNewException", "", "Transient");
    check(
        400,
        "InvalidArgumentException",
        "exceeds 4 MB",
        "too large InvalidArgumentException",
    );
    check(
        400,
        "com.amazon.coral.service#SerializationException",
        "",
        "too large SerializationException",
    );
    check(
        400,
        "ValidationException:http://internal/",
        "",
        "too large ValidationException",
    );
    check(
        400,
        "ValidationException",
        "Value '!' at 'deliveryStreamName' failed to satisfy constraint",
        "Configuration",
    );
    check(
        400,
        "InvalidArgumentException",
        "This operation is not permitted on KinesisStreamAsSource delivery stream type.",
        "Configuration",
    );
}

#[test]
fn errors_come_in_several_clothes() {
    let json = r#"{"Message":"no","code":"AccessDeniedException"}"#;
    check(1, &response(400, &[], json), "Configuration");
    let header = [("X-Amzn-ErrorType", "ThrottlingException:http://x/")];
    check(1, &response(400, &header, "not JSON"), "Throttled");
    let xml = "<ErrorResponse><Error><Code>InvalidClientTokenId</Code>\
               <Message>The security token is invalid.</Message></Error></ErrorResponse>";
    check(1, &response(403, &[], xml), "Credentials");
    let Verdict::Retry(retry) = verdict(1, &response(403, &[], xml)) else {
        panic!("an unknown key is tried again");
    };
    assert_eq!(
        retry.reason,
        "answered 403, InvalidClientTokenId: The security token is invalid."
    );
    check(
        1,
        &response(413, &[], "<html>too large</html>"),
        "too large 413",
    );
    check(1, &response(429, &[], ""), "Throttled");
    check(1, &response(408, &[], ""), "Transient");
    check(
        1,
        &response(403, &[], "<html>portal</html>"),
        "Configuration",
    );
    check(
        1,
        &response(502, &[], "<html>bad gateway</html>"),
        "Transient",
    );
    check(1, &response(0, &[], ""), "Transient");
    let away = response(302, &[("Location", "http://login/")], "");
    check(1, &away, "Configuration");
}

#[test]
fn pauses_are_heard() {
    let check = |headers: &[(&str, &str)], expected| {
        check(1, &response(503, headers, "{}"), expected);
    };
    check(&[("x-amz-retry-after", "1500")], "Transient 1.5s");
    check(&[("x-amz-retry-after", "0")], "Transient");
    check(&[("Retry-After", "7")], "Transient 7s");
    check(&[("x-amz-retry-after", "soon")], "Transient");
}

#[test]
fn wrong_clocks_are_corrected_once_known() {
    let expired = r#"{"__type":"InvalidSignatureException","message":"Signature expired: 20190609T232013Z is now earlier than 20190609T232031Z (20190609T232531Z - 5 min.)"}"#;
    let early = r#"{"__type":"InvalidSignatureException","message":"Signature not yet current: 20181017T093750Z is still later than 20181017T093639Z (20181017T093139Z + 5 min.)"}"#;
    let key = r#"{"__type":"InvalidSignatureException","message":"The request signature we calculated does not match the signature you provided."}"#;
    let denied = r#"{"__type":"AccessDeniedException","message":"no"}"#;
    let check = |body: &str, date: &str, expected| {
        check(1, &response(400, &[("Date", date)], body), expected);
    };
    // The machine says 2026-11-23T16:40:00Z.
    let (right, hour_later) = (
        "Mon, 23 Nov 2026 16:40:03 GMT",
        "Mon, 23 Nov 2026 17:40:00 GMT",
    );
    check(expired, hour_later, "Clock 0ns");
    check(early, "Mon, 23 Nov 2026 15:40:00 GMT", "Clock 0ns");
    check(key, hour_later, "Clock 0ns");
    check(denied, hour_later, "Clock 0ns");
    check(expired, right, "Clock");
    check(expired, "rubbish", "Clock");
    check(key, right, "Credentials");
    check(denied, right, "Configuration");
}

#[test]
fn clocks_of_strangers_are_not_believed() {
    let expired = r#"{"__type":"RequestTimeTooSkewed"}"#;
    let mut plain = response(403, &[("Date", "Mon, 23 Nov 2026 17:40:00 GMT")], expired);
    plain.tls_verified = false;
    check(1, &plain, "Clock");
}

#[test]
fn silence_is_tried_again() {
    let clocks = Clocks {
        signed_with: ClockSkew::default(),
        learned: ClockSkew::default(),
    };
    let check = |error: TransportError, expected| {
        assert_eq!(
            short(&interpret(1, Err(&error), clocks)),
            expected,
            "{error}"
        );
    };
    check(TransportError::Timeout, "Transient");
    check(TransportError::Resolve("x".to_owned()), "Transient");
    check(TransportError::Closed("x".to_owned()), "Transient");
    check(TransportError::Tls("expired".to_owned()), "Configuration");
}

#[test]
fn damaged_answers_never_deliver_more() {
    let whole = r#"{"FailedPutCount":1,"Encrypted":false,"RequestResponses":[{"RecordId":"a"},{"ErrorCode":"InternalFailure","ErrorMessage":"x"},{"RecordId":"c"}]}"#;
    // A linear congruential generator: the seed is the case.
    for seed in 0..20_000u32 {
        let mut state = seed;
        let mut random = |end: usize| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            usize::try_from(state >> 8).unwrap() % end
        };
        let mut body = whole.as_bytes().to_vec();
        for _ in 0..=random(3) {
            let at = random(body.len());
            match random(3) {
                0 => body[at] = u8::try_from(random(256)).unwrap(),
                1 => body.truncate(at.max(1)),
                _ => drop(body.remove(at)),
            }
            if body.is_empty() {
                break;
            }
        }
        let mut answer = response(200, &[], "");
        answer.body = body;
        let delivered = match verdict(3, &answer) {
            Verdict::Accepted => 3,
            Verdict::Partial { units, .. } => {
                assert_eq!(units.len(), 3, "seed {seed}");
                let accepted = units.iter().filter(|unit| **unit == UnitVerdict::Accepted);
                accepted.count()
            }
            Verdict::Retry(_) => 0,
            Verdict::TooLarge(_) | Verdict::Cut { .. } | Verdict::Rejected(_) => {
                panic!("seed {seed}")
            }
        };
        assert!(delivered <= 2, "seed {seed}");
    }
}

/// The same in the words of Kinesis (`PutRecordsOutput` of the API model).
#[test]
fn kinesis_names_the_fate_of_each_record() {
    let good = r#"{"SequenceNumber":"4955","ShardId":"shardId-000000000000"}"#;
    let slow = r#"{"ErrorCode":"ProvisionedThroughputExceededException",
                   "ErrorMessage":"Rate exceeded for shard shardId-000000000001 in stream s under account 1."}"#;
    let broken = r#"{"ErrorCode":"InternalFailure","ErrorMessage":"Internal Service Failure"}"#;
    let whole = |failed: u32, records: &[&str]| {
        let records = records.join(",");
        let body = format!(
            r#"{{"FailedRecordCount":{failed},"EncryptionType":"KMS","Records":[{records}]}}"#
        );
        response(200, &[], &body)
    };
    check(2, &whole(0, &[good, good]), "accepted");
    check(3, &whole(1, &[good, slow, good]), "ara Throttled");
    check(2, &whole(2, &[broken, slow]), "rr Transient");
    // Fewer or more than were sent, or failures that it does not name, are no answer.
    check(3, &whole(0, &[good, good]), "Transient");
    check(2, &whole(1, &[good, good]), "Transient");
    // A place in a shard is what makes it delivered.
    check(
        1,
        &whole(0, &[r#"{"ShardId":"shardId-000000000000"}"#]),
        "r Transient",
    );
}

#[test]
fn kinesis_errors_have_their_classes() {
    let error = |code: &str, message: &str| {
        let body = format!(r#"{{"__type":"{code}","message":"{message}"}}"#);
        response(400, &[], &body)
    };
    for (code, expected) in [
        ("KMSThrottlingException", "Throttled"),
        ("ProvisionedThroughputExceededException", "Throttled"),
        ("InternalFailureException", "Transient"),
        ("KMSDisabledException", "Configuration"),
        ("KMSInvalidStateException", "Configuration"),
        ("KMSAccessDeniedException", "Configuration"),
        ("KMSNotFoundException", "Configuration"),
        ("KMSOptInRequired", "Configuration"),
        ("ResourceNotFoundException", "Configuration"),
        ("AccessDeniedException", "Configuration"),
    ] {
        check(1, &error(code, "x"), expected);
    }
    let shape = "Records size exceeds 5 MB limit";
    check(
        2,
        &error("InvalidArgumentException", shape),
        "too large InvalidArgumentException",
    );
    let stream = "1 validation error detected: Value 'a b' at 'streamName' failed to satisfy";
    check(1, &error("ValidationException", stream), "Configuration");
}

//! Tables of messages as they were seen, and of what must come of them.

mod senders;

use super::*;
use crate::record::Value;

/// 2026-11-23T16:40:00Z.
const NOW: i64 = 1_795_452_000_000;

fn show(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        Value::Map(fields) => {
            let inner: Vec<String> = fields
                .iter()
                .map(|(name, value)| format!("{name}={}", show(value)))
                .collect();
            format!("{{{}}}", inner.join(" "))
        }
        Value::List(values) => {
            let inner: Vec<String> = values.iter().map(show).collect();
            format!("({})", inner.join(" "))
        }
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Uint(_) | Value::Float(_) => {
            format!("{value:?}")
        }
    }
}

/// `FIELD=VALUE ... @TIME | PAYLOAD ! ERROR`, each part only if it is there.
fn summary(record: &Record) -> String {
    let mut parts: Vec<String> = record
        .fields
        .iter()
        .map(|(name, value)| format!("{name}={}", show(value)))
        .collect();
    parts.extend(record.time.map(|time| format!("@{time}")));
    parts.push(format!("| {}", String::from_utf8_lossy(&record.payload)));
    parts.extend(
        record
            .decode_error
            .as_ref()
            .map(|error| format!("! {error}")),
    );
    parts.join(" ")
}

fn check_in(zone: &str, now: &str, message: &[u8], expected: &str) {
    let zone = SyslogZone::new(Some(zone)).unwrap();
    let now: jiff::Timestamp = now.parse().unwrap();
    let now = WallClock::from_millis(now.as_millisecond());
    let record = decode(now, message, &zone);
    assert_eq!(
        summary(&record),
        expected,
        "{:?}",
        String::from_utf8_lossy(message)
    );
    assert_eq!(record.received_at, now);
}

fn check(message: impl AsRef<[u8]>, expected: &str) {
    check_in("UTC", "2026-11-23T16:40:00Z", message.as_ref(), expected);
}

#[test]
fn programs_of_this_machine_name_no_host() {
    let check = |message: &str, expected: &str| {
        let now = WallClock::from_millis(NOW);
        let record = decode_local(now, message.as_bytes(), &SyslogZone::utc(), "Gw");
        let expected = format!("facility=user severity=notice {expected}");
        assert_eq!(summary(&record), expected, "{message}");
    };
    let time = "@2026-11-23T16:39:58.000Z";
    for (message, fields, text) in [
        ("root: hello", "app=root", "hello"),
        ("cron[12]: hello", "app=cron procid=12", "hello"),
        ("hello out there", "", "hello out there"),
        ("disk failure: bad", "", "disk failure: bad"),
        // `logger --rfc3164 --socket` names it, a relay names another.
        ("gw root: hello", "host=gw app=root", "hello"),
        (
            "ap7 hostapd[3]: hello",
            "host=ap7 app=hostapd procid=3",
            "hello",
        ),
    ] {
        let space = if fields.is_empty() { "" } else { " " };
        let message = format!("<13>Nov 23 16:39:58 {message}");
        check(&message, &format!("{fields}{space}{time} | {text}"));
    }
    check("<13>1 - h a - - - m", "host=h app=a | m");
}

#[test]
fn rfc_5424_examples() {
    // RFC 5424 section 6.5.
    check(
        "<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \
         \u{feff}'su root' failed for lonvick on /dev/pts/8",
        "facility=auth severity=crit host=mymachine.example.com app=su msgid=ID47 \
         @2003-10-11T22:14:15.003Z | 'su root' failed for lonvick on /dev/pts/8",
    );
    check(
        "<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - %% It's time to make \
         the do-nuts.",
        "facility=local4 severity=notice host=192.0.2.1 app=myproc procid=8710 \
         @2003-08-24T12:14:15.000Z | %% It's time to make the do-nuts.",
    );
    check(
        "<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 \
         [exampleSDID@32473 iut=\"3\" eventSource=\"Application\" eventID=\"1011\"] \
         \u{feff}An application event log entry...",
        "facility=local4 severity=notice host=mymachine.example.com app=evntslog msgid=ID47 \
         structured_data={exampleSDID@32473={iut=3 eventSource=Application eventID=1011}} \
         @2003-10-11T22:14:15.003Z | An application event log entry...",
    );
    check(
        "<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 \
         [exampleSDID@32473 iut=\"3\" eventSource=\"Application\" eventID=\"1011\"]\
         [examplePriority@32473 class=\"high\"]",
        "facility=local4 severity=notice host=mymachine.example.com app=evntslog msgid=ID47 \
         structured_data={exampleSDID@32473={iut=3 eventSource=Application eventID=1011} \
         examplePriority@32473={class=high}} @2003-10-11T22:14:15.003Z | ",
    );
}

#[test]
fn rfc_5424_corners() {
    check("<0>1 - - - - - -", "facility=kern severity=emerg | ");
    check("<191>1 - - - - - - a", "facility=local7 severity=debug | a");
    check(
        "<13>1 - - - - - -  two spaces\n",
        "facility=user severity=notice |  two spaces",
    );
    check(
        r#"<13>1 - h a - - [x a="q\"b\\c\]d\n" a="2" b=""][y] m"#,
        r#"facility=user severity=notice host=h app=a structured_data={x={a=(q"b\c]d\n 2) b=} y={}} | m"#,
    );
    check(
        "<13>1 2026-11-23T16:39:59+01:00 fe80::1 a - - - m",
        "facility=user severity=notice host=fe80::1 app=a @2026-11-23T15:39:59.000Z | m",
    );
    let long = "x".repeat(65_000);
    check(
        format!("<13>1 - h a - - - {long}"),
        &format!("facility=user severity=notice host=h app=a | {long}"),
    );
}

#[test]
fn rfc_5424_times() {
    for (sent, expected) in [
        ("2026-11-23T16:39:58Z", "2026-11-23T16:39:58.000Z"),
        ("2026-11-23T16:39:58.1Z", "2026-11-23T16:39:58.100Z"),
        ("2026-11-23T16:39:58.123456789Z", "2026-11-23T16:39:58.123Z"),
        ("2026-11-23T16:39:58.9999+05:30", "2026-11-23T11:09:58.999Z"),
        ("2026-11-23T16:39:58-00:00", "2026-11-23T16:39:58.000Z"),
        ("2026-11-23t16:39:58z", "2026-11-23T16:39:58.000Z"),
        // A leap second is the one before it.
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59.000Z"),
        ("2017-01-01T00:59:60.5+01:00", "2016-12-31T23:59:59.500Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000Z"),
    ] {
        let message = format!("<13>1 {sent} h a - - - m");
        let expected = format!("facility=user severity=notice host=h app=a @{expected} | m");
        check(message, &expected);
    }
    // No time, or none that RFC 5424 knows: nothing of the message is lost.
    for sent in [
        "2026-11-23T16:39:61Z",
        "2026-11-23T24:00:00Z",
        "2026-02-29T00:00:00Z",
        "2026-11-23T16:39:58",
        "2026-11-23T16:39:58.Z",
        "2026-11-23T16:39:58+25:00",
        "yesterday",
    ] {
        let message = format!("<13>1 {sent} h a - - - m");
        let record = decode(
            WallClock::from_millis(NOW),
            message.as_bytes(),
            &SyslogZone::utc(),
        );
        let text = String::from_utf8_lossy(&record.payload).into_owned();
        assert!(
            message.ends_with(&text) && text.ends_with("h a - - - m"),
            "{sent}: {text}"
        );
    }
}

#[test]
fn malformed_is_kept_whole() {
    for (message, fields, reason) in [
        (
            "<13>1 - h a - - [x a=\"1] m",
            "facility=user severity=notice host=h app=a ",
            "the structured data is malformed",
        ),
        (
            "<13>1 - h a - - [x]m",
            "facility=user severity=notice host=h app=a structured_data={x={}} ",
            "the structured data is malformed",
        ),
        (
            "<13>1 - h a - - no structured data",
            "facility=user severity=notice host=h app=a ",
            "the structured data is malformed",
        ),
        (
            "<13>1 - h a",
            "facility=user severity=notice host=h app=a ",
            "the header ends early",
        ),
        (
            "<192>1 - h a",
            "",
            "the priority is not a number from 0 to 191",
        ),
        ("<>a", "", "the priority is not a number from 0 to 191"),
        ("<13 a", "", "the priority is not a number from 0 to 191"),
        ("<1234>a", "", "the priority is not a number from 0 to 191"),
        (
            "just text: of somebody",
            "",
            "neither a priority nor a time at the beginning",
        ),
    ] {
        check(message, &format!("{fields}| {message} ! syslog: {reason}"));
    }
}

#[test]
fn rfc_3164_corners() {
    let cases = [
        (
            "<34>Oct 11 22:14:15 mymachine su: 'su root' failed for lonvick on /dev/pts/8",
            "facility=auth severity=crit host=mymachine app=su @2026-10-11T22:14:15.000Z | 'su root' failed for lonvick on /dev/pts/8",
        ),
        (
            "<0>Use the BFG!",
            "facility=kern severity=emerg | Use the BFG!",
        ),
        (
            "<13>app[7]: x",
            "facility=user severity=notice app=app procid=7 | x",
        ),
        ("<13>", "facility=user severity=notice | "),
        ("<13>\n", "facility=user severity=notice | "),
        // Without priority.
        (
            "Nov 23 16:39:58 host app: x",
            "host=host app=app @2026-11-23T16:39:58.000Z | x",
        ),
        (
            "2026-11-23 16:39:58,250 host app[1]: x",
            "host=host app=app procid=1 @2026-11-23T16:39:58.250Z | x",
        ),
        // A URL is not an app, a bracket alone no process.
        (
            "<13>Nov 23 16:39:58 host http://x/ is down",
            "facility=user severity=notice host=host @2026-11-23T16:39:58.000Z | http://x/ is down",
        ),
        (
            "<13>Nov 23 16:39:58 host [7] x",
            "facility=user severity=notice host=host @2026-11-23T16:39:58.000Z | [7] x",
        ),
        (
            "<13>Nov 23 16:39:58 2001:db8::5 app: x",
            "facility=user severity=notice host=2001:db8::5 app=app @2026-11-23T16:39:58.000Z | x",
        ),
        (
            "<13>Nov 23 16:39:58 alone",
            "facility=user severity=notice @2026-11-23T16:39:58.000Z | alone",
        ),
        // No such time.
        (
            "<13>Nov 31 16:39:58 host app: x",
            "facility=user severity=notice | Nov 31 16:39:58 host app: x",
        ),
        (
            "<13>Nov 23 25:39:58 host app: x",
            "facility=user severity=notice | Nov 23 25:39:58 host app: x",
        ),
    ];
    for (message, expected) in cases {
        check(message, expected);
    }
    check(
        b"<13>Nov 23 16:39:58 h\xf6st app: \xff\x00\xfe",
        "facility=user severity=notice host=h\u{fffd}st app=app @2026-11-23T16:39:58.000Z | \
         \u{fffd}\0\u{fffd}",
    );
}

/// When a message arrived, the time in it, and the one meant.
const NEAREST_YEARS: [(&str, &str, &str); 13] = [
    (
        "2022-01-01T00:00:01Z",
        "Dec 31 23:59:59",
        "2021-12-31T23:59:59.000Z",
    ),
    (
        "2021-12-31T23:59:58Z",
        "Jan  1 00:00:00",
        "2022-01-01T00:00:00.000Z",
    ),
    (
        "2022-01-01T12:00:00Z",
        "Jan  1 12:00:01",
        "2022-01-01T12:00:01.000Z",
    ),
    (
        "2022-01-01T00:00:00Z",
        "Jul  2 00:00:00",
        "2022-07-02T00:00:00.000Z",
    ),
    (
        "2022-01-01T00:00:00Z",
        "Jul  3 00:00:00",
        "2021-07-03T00:00:00.000Z",
    ),
    (
        "2022-07-03T00:00:00Z",
        "Dec 31 00:00:00",
        "2022-12-31T00:00:00.000Z",
    ),
    (
        "2022-07-01T00:00:00Z",
        "Jan  1 00:00:00",
        "2022-01-01T00:00:00.000Z",
    ),
    (
        "2024-02-29T12:00:00Z",
        "Feb 29 11:59:59",
        "2024-02-29T11:59:59.000Z",
    ),
    (
        "2025-03-01T00:00:00Z",
        "Feb 29 23:59:59",
        "2024-02-29T23:59:59.000Z",
    ),
    (
        "2026-02-28T00:00:00Z",
        "Feb 29 00:00:00",
        "2024-02-29T00:00:00.000Z",
    ),
    (
        "2026-03-02T00:00:00Z",
        "Feb 29 00:00:00",
        "2028-02-29T00:00:00.000Z",
    ),
    (
        "2101-01-01T00:00:00Z",
        "Feb 29 00:00:00",
        "2104-02-29T00:00:00.000Z",
    ),
    (
        "1970-01-01T00:00:10Z",
        "Dec 31 23:59:59",
        "1969-12-31T23:59:59.000Z",
    ),
];

#[test]
fn known_errors_rsyslog_4765_nearest_year() {
    for (now, sent, expected) in NEAREST_YEARS {
        let message = format!("<13>{sent} h a: m");
        let expected = format!("facility=user severity=notice host=h app=a @{expected} | m");
        check_in("UTC", now, message.as_bytes(), &expected);
    }
}

#[test]
fn known_errors_rsyslog_4079_zone() {
    let berlin = "CET-1CEST,M3.5.0,M10.5.0/3";
    for (now, sent, expected) in [
        (
            "2026-11-23T16:40:00Z",
            "Nov 23 17:39:58",
            "2026-11-23T16:39:58.000Z",
        ),
        (
            "2026-07-01T16:40:00Z",
            "Jul  1 18:39:58",
            "2026-07-01T16:39:58.000Z",
        ),
        // The year is that of the zone: it is already 2027 there.
        (
            "2026-12-31T23:30:00Z",
            "Jan  1 00:29:59",
            "2026-12-31T23:29:59.000Z",
        ),
        // Skipped and repeated by the change of clocks.
        (
            "2026-03-29T01:30:00Z",
            "Mar 29 02:30:00",
            "2026-03-29T01:30:00.000Z",
        ),
        (
            "2026-10-25T01:30:00Z",
            "Oct 25 02:30:00",
            "2026-10-25T00:30:00.000Z",
        ),
        // A zone that is sent wins.
        (
            "2026-11-23T16:40:00Z",
            "Nov 23 16:39:58 UTC",
            "2026-11-23T16:39:58.000Z",
        ),
        (
            "2026-11-23T16:40:00Z",
            "2026-11-23T11:39:58-0500",
            "2026-11-23T16:39:58.000Z",
        ),
    ] {
        let message = format!("<13>{sent} h a: m");
        let expected = format!("facility=user severity=notice host=h app=a @{expected} | m");
        check_in(berlin, now, message.as_bytes(), &expected);
    }
    assert!(SyslogZone::new(Some("Mars/Olympus")).is_err());
    assert!(SyslogZone::new(None).is_ok());
}

#[test]
fn any_bytes_are_decoded_and_kept() {
    let templates: [&[u8]; 4] = [
        b"<165>1 2003-10-11T22:14:15.003Z host app 1 ID47 [a@1 b=\"c\\\"\"][d] \xef\xbb\xbftext",
        b"<189>45: edge: *Mar  1 2024 00:00:00.123 UTC: %SYS-5-CONFIG_I: text",
        b"<30>Nov 23 16:39:58 OpenWrt dnsmasq[2100]: text",
        b"<134>1 1563249630.774247772 MX84 events",
    ];
    let alphabet = b"<>[]\"\\=:. -+0123456789ZTazMar\0\n\xff";
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % u64::try_from(below).unwrap()).unwrap()
    };
    for round in 0..20_000 {
        let mut message = templates[round % templates.len()].to_vec();
        for _ in 0..random(6) {
            if message.is_empty() {
                break;
            }
            let at = random(message.len());
            match random(3) {
                0 => message[at] = alphabet[random(alphabet.len())],
                1 => drop(message.remove(at)),
                _ => message.truncate(at.max(1)),
            }
        }
        let zone = SyslogZone::utc();
        let record = decode(WallClock::from_millis(NOW), &message, &zone);
        let kept = if record.decode_error.is_some() {
            record.payload == trim(&message)
        } else {
            message.len() >= record.payload.len() && trim(&message).ends_with(&record.payload)
        };
        assert!(
            kept,
            "round {round}: {:?}",
            String::from_utf8_lossy(&message)
        );
    }
}

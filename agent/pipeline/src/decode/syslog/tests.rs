//! Tables of messages as they were seen, and of what must come of them.

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
fn real_hosts() {
    let cases = [
        // util-linux logger.
        (
            "<13>Nov 23 16:39:58 gateway root: hello",
            "facility=user severity=notice host=gateway app=root @2026-11-23T16:39:58.000Z | hello",
        ),
        (
            "<13>1 2026-11-23T16:39:58.123456+00:00 gateway root - - [timeQuality tzKnown=\"1\" isSynced=\"0\"] hello",
            "facility=user severity=notice host=gateway app=root structured_data={timeQuality={tzKnown=1 isSynced=0}} @2026-11-23T16:39:58.123Z | hello",
        ),
        // rsyslog, RSYSLOG_ForwardFormat.
        (
            "<86>2026-11-23T17:39:58.123456+01:00 pi sshd[812]: Accepted publickey for pi",
            "facility=authpriv severity=info host=pi app=sshd procid=812 @2026-11-23T16:39:58.123Z | Accepted publickey for pi",
        ),
        // To the local socket: no host.
        (
            "<30>Nov  3 06:25:01 dnsmasq-dhcp[455]: DHCPACK(br0) 192.168.1.7 aa:bb:cc:dd:ee:ff",
            "facility=daemon severity=info app=dnsmasq-dhcp procid=455 @2026-11-03T06:25:01.000Z | DHCPACK(br0) 192.168.1.7 aa:bb:cc:dd:ee:ff",
        ),
        // busybox syslogd -R, with and without host.
        (
            "<13>Nov 23 16:39:58 root: from busybox",
            "facility=user severity=notice app=root @2026-11-23T16:39:58.000Z | from busybox",
        ),
        (
            "<46>Nov 23 16:39:58 ap1 syslogd started: BusyBox v1.36.1",
            "facility=syslog severity=info host=ap1 @2026-11-23T16:39:58.000Z | syslogd started: BusyBox v1.36.1",
        ),
        // OpenWrt logread -r, NUL at the end.
        (
            "<30>Nov 23 16:39:58 OpenWrt dnsmasq[2100]: query[A] example.com from 10.0.0.2\0",
            "facility=daemon severity=info host=OpenWrt app=dnsmasq procid=2100 @2026-11-23T16:39:58.000Z | query[A] example.com from 10.0.0.2",
        ),
        (
            "<6>Nov 23 16:39:58 OpenWrt kernel: [   12.345] br-lan: port 1",
            "facility=kern severity=info host=OpenWrt app=kernel @2026-11-23T16:39:58.000Z | [   12.345] br-lan: port 1",
        ),
    ];
    for (message, expected) in cases {
        check(message, expected);
    }
}

#[test]
fn real_network_devices() {
    let cases = [
        // Cisco IOS.
        (
            "<189>45: *Nov 23 16:39:58.123 UTC: %SYS-5-CONFIG_I: Configured from console",
            "facility=local7 severity=notice sequence=45 app=%SYS-5-CONFIG_I @2026-11-23T16:39:58.123Z | Configured from console",
        ),
        (
            "<189>46: edge-1: .Mar  1 2024 00:00:00 CET: %LINK-3-UPDOWN: Interface Gi0/1, changed state to up",
            "facility=local7 severity=notice sequence=46 host=edge-1 app=%LINK-3-UPDOWN @2024-03-01T00:00:00.000Z | Interface Gi0/1, changed state to up",
        ),
        (
            "<187>: 2026 Nov 23 16:39:58 UTC: odd",
            "facility=local7 severity=err | : 2026 Nov 23 16:39:58 UTC: odd",
        ),
        // Cisco ASA.
        (
            "<166>Mar 01 2024 10:10:10 asa : %ASA-6-302013: Built outbound TCP connection 1",
            "facility=local4 severity=info host=asa app=%ASA-6-302013 @2024-03-01T10:10:10.000Z | Built outbound TCP connection 1",
        ),
        (
            "<166>Mar 01 2024 10:10:10: %ASA-6-302013: Built",
            "facility=local4 severity=info app=%ASA-6-302013 @2024-03-01T10:10:10.000Z | Built",
        ),
        // Juniper, both formats.
        (
            "<28>Nov 23 16:39:58 mx80 mgd[4321]: UI_CMDLINE_READ_LINE: User 'x', command 'show'",
            "facility=daemon severity=warning host=mx80 app=mgd procid=4321 @2026-11-23T16:39:58.000Z | UI_CMDLINE_READ_LINE: User 'x', command 'show'",
        ),
        (
            "<165>1 2026-11-23T16:39:58.578Z srx100 RT_FLOW - RT_FLOW_SESSION_CREATE [junos@2636.1.1.1.2.36 source-address=\"10.1.1.2\" policy-name=\"a\\]b\"] session created",
            "facility=local4 severity=notice host=srx100 app=RT_FLOW msgid=RT_FLOW_SESSION_CREATE structured_data={junos@2636.1.1.1.2.36={source-address=10.1.1.2 policy-name=a]b}} @2026-11-23T16:39:58.578Z | session created",
        ),
        (
            "<29>Nov 23 16:39:58 mx80 last message repeated 2 times",
            "facility=daemon severity=notice host=mx80 @2026-11-23T16:39:58.000Z | last message repeated 2 times",
        ),
        // Meraki.
        (
            "<134>1 1563249630.774247772 MX84 events type=vpn",
            "facility=local0 severity=info host=MX84 @2019-07-16T04:00:30.774Z | events type=vpn",
        ),
        // ctime, and RFC 3164 section 5.4 example 3.
        (
            "<30>Mon Nov 23 16:39:58 2026 gw app: x",
            "facility=daemon severity=info host=gw app=app @2026-11-23T16:39:58.000Z | x",
        ),
        (
            "<165>Aug 24 05:34:00 CST 1987 mymachine myproc[10]: %% It's time",
            "facility=local4 severity=notice host=mymachine app=myproc procid=10 @1987-08-24T05:34:00.000Z | %% It's time",
        ),
    ];
    for (message, expected) in cases {
        check(message, expected);
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

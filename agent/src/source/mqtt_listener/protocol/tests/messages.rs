//! The statements of MQTT 3.1.1 about what follows CONNECT, as in [`super::conformance`].

#![expect(
    clippy::too_many_lines,
    reason = "tables with a row for each statement"
)]

use super::conformance::{ID, ends, packet, publish, run, stays, text};
use super::*;

#[test]
fn publishes_are_taken_once() {
    let once = publish(0x34, b"a", &[ID]);
    let again = publish(0x3c, b"a", &[ID]);
    let release = packet(0x62, &[ID]);
    let qos_1 = |id: u8| publish(0x32, b"a", &[&[0, id]]);
    run(&[
        ends(
            "3.3.1-2 DUP with QoS 0",
            (CONNECT, publish(0x38, b"a", &[])),
            b"",
        ),
        ends("3.3.1-4 QoS 3", (CONNECT, publish(0x36, b"a", &[ID])), b""),
        stays(
            "3.3.1 DUP",
            (CONNECT, publish(0x3a, b"a", &[ID])),
            b"\x40\x02\0\x07",
            1,
        ),
        stays("3.3.1 RETAIN", (CONNECT, publish(0x31, b"a", &[])), b"", 1),
        ends("3.3.2-1 no topic", (CONNECT, packet(0x30, &[])), b""),
        ends(
            "3.3.2-2 4.7.1-1 +",
            (CONNECT, publish(0x30, b"a/+", &[])),
            b"",
        ),
        ends(
            "3.3.2-2 4.7.1-1 #",
            (CONNECT, publish(0x30, b"#", &[])),
            b"",
        ),
        ends(
            "4.7.3-1 empty topic",
            (CONNECT, publish(0x30, b"", &[])),
            b"",
        ),
        stays(
            "4.7.2 $ topic",
            (CONNECT, publish(0x30, b"$a", &[])),
            b"",
            1,
        ),
        stays(
            "4.7.3 / and spaces",
            (CONNECT, publish(0x30, b"/a b/", &[])),
            b"",
            1,
        ),
        stays(
            "3.3.3 no payload",
            (CONNECT, publish(0x30, b"a", &[])),
            b"",
            1,
        ),
        stays(
            "3.3.4-1 4.3.1",
            (CONNECT, publish(0x30, b"a", &[b"x"])),
            b"",
            1,
        ),
        stays(
            "4.3.2-2 a number is free after PUBACK",
            (CONNECT, [qos_1(7), qos_1(7)].concat()),
            b"\x40\x02\0\x07\x40\x02\0\x07",
            2,
        ),
        stays(
            "4.6.0-2 PUBACK in order",
            (CONNECT, [qos_1(9), qos_1(1), qos_1(5)].concat()),
            b"\x40\x02\0\x09\x40\x02\0\x01\x40\x02\0\x05",
            3,
        ),
        stays(
            "4.6.0-3 PUBREC in order",
            (
                CONNECT,
                [once.clone(), publish(0x34, b"a", &[&[0, 1]])].concat(),
            ),
            b"\x50\x02\0\x07\x50\x02\0\x01",
            2,
        ),
        stays(
            "4.3.3-2 not twice before PUBREL",
            (CONNECT, [once.clone(), again.clone(), again].concat()),
            b"\x50\x02\0\x07",
            1,
        ),
        stays(
            "4.3.3-2 PUBCOMP",
            (CONNECT, [once, release.clone()].concat()),
            b"\x70\x02\0\x07",
            1,
        ),
        stays(
            "4.3.3-2 PUBREL again",
            (CONNECT, release),
            b"\x70\x02\0\x07",
            0,
        ),
        ends("2.3.1-1 PUBREL 0", (CONNECT, packet(0x62, &[&[0, 0]])), b""),
    ]);
}

#[test]
fn subscriptions_pings_and_goodbyes() {
    let subscribe = |parts: &[&[u8]]| packet(0x82, &[ID, &parts.concat()]);
    let filter = text(b"a/#");
    let each = [&filter[..], &[2]].concat();
    let bad = |filter: &[u8]| (CONNECT, subscribe(&[&text(filter), &[0]]));
    run(&[
        stays(
            "3.8.4-1 3.8.4-2",
            (CONNECT, subscribe(&[&each])),
            b"\x90\x03\0\x07\x80",
            0,
        ),
        stays(
            "3.8.4-4 3.8.4-5 3.9.3-1 3.9.3-2",
            (CONNECT, subscribe(&[&each, &each, &each])),
            b"\x90\x05\0\x07\x80\x80\x80",
            0,
        ),
        ends("3.8.3-1", bad(b"\xff"), b""),
        ends("3.8.3-3 no filter", (CONNECT, subscribe(&[])), b""),
        ends("3.8.3-4 QoS 3", (CONNECT, subscribe(&[&filter, &[3]])), b""),
        ends(
            "3.8.3-4 reserved",
            (CONNECT, subscribe(&[&filter, &[4]])),
            b"",
        ),
        ends("4.7.1-2 # in between", bad(b"a/#/b"), b""),
        ends("4.7.1-2 # in a level", bad(b"a#"), b""),
        ends("4.7.1-3 + in a level", bad(b"a+/b"), b""),
        ends("4.7.3-1 empty filter", bad(b""), b""),
        ends(
            "3.10.3-1",
            (CONNECT, packet(0xa2, &[ID, &text(b"\xff")])),
            b"",
        ),
        ends("3.10.3-2 no filter", (CONNECT, packet(0xa2, &[ID])), b""),
        stays(
            "3.10.4-4 3.10.4-5",
            (CONNECT, packet(0xa2, &[ID, &filter])),
            b"\xb0\x02\0\x07",
            0,
        ),
        stays("3.12.4-1", (CONNECT, packet(0xc0, &[])), b"\xd0\0", 0),
        ends("3.14.4", (CONNECT, packet(0xe0, &[])), b""),
        ends(
            "3.14.4 nothing behind DISCONNECT",
            (
                CONNECT,
                [packet(0xe0, &[]), publish(0x32, b"a", &[ID])].concat(),
            ),
            b"",
        ),
    ]);
}

#[test]
fn sessions_live_as_clean_session_says() {
    const PUBLISH: &[u8] = b"\x34\x06\0\x01a\0\x08x";
    let lives = [
        (
            "3.1.2-4 3.2.2-2",
            CONNECT_KEPT,
            CONNECT_KEPT,
            HELLO_AGAIN,
            1,
        ),
        ("3.1.2-6 3.2.2-1", CONNECT_KEPT, CONNECT, HELLO, 2),
        ("3.1.2-6 3.2.2-3", CONNECT, CONNECT_KEPT, HELLO, 2),
    ];
    for (ids, first, second, hello, stored) in lives {
        check(
            ids,
            &[
                Say(first),
                Hear(HELLO),
                Say(PUBLISH),
                Settle,
                Reconnect,
                Say(second),
                Hear(hello),
                Say(PUBLISH),
                Stored(stored),
            ],
        );
    }
}

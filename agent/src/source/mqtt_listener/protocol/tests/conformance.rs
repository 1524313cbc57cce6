//! The statements of MQTT 3.1.1 that concern a server which receives, one row each.
//!
//! A row is what a device says after which CONNECT, what it is answered once all is durable,
//! whether its connection ends, and how many records are stored. What needs a socket or a clock is
//! in the tests of the listener: 3.1.2-24 (keep-alive), 3.1.4-2 (takeover) and what a device hears
//! before its connection ends. Statements about subscribers and retained messages concern nobody
//! here: nothing is ever sent to a device.

#![expect(
    clippy::too_many_lines,
    reason = "tables with a row for each statement"
)]

use super::*;

/// One statement, or several that are the same to us.
pub(super) struct Row {
    ids: &'static str,
    hello: Vec<u8>,
    say: Vec<u8>,
    answer: Vec<u8>,
    closes: bool,
    stored: usize,
}

/// A row whose connection stays.
pub(super) fn stays(
    ids: &'static str,
    (hello, say): (&[u8], Vec<u8>),
    answer: &[u8],
    stored: usize,
) -> Row {
    Row {
        ids,
        hello: hello.to_vec(),
        say,
        answer: answer.to_vec(),
        closes: false,
        stored,
    }
}

/// A row whose connection ends.
pub(super) fn ends(ids: &'static str, (hello, say): (&[u8], Vec<u8>), answer: &[u8]) -> Row {
    Row {
        closes: true,
        ..stays(ids, (hello, say), answer, 0)
    }
}

impl Row {
    /// Records that are stored before the connection ends.
    pub(super) fn stored(self, stored: usize) -> Self {
        Self { stored, ..self }
    }
}

pub(super) fn run(rows: &[Row]) {
    for (number, row) in rows.iter().enumerate() {
        let mut device = Device::new(LIMITS);
        device.say(&row.hello);
        device.out.clear();
        device.say(&row.say);
        device.settle();
        let told = format!("{} (row {number}): {:02x?}", row.ids, row.say);
        assert_eq!(device.out, &row.answer[..], "{told}");
        assert_eq!(device.closed.is_some(), row.closes, "{told}");
        assert_eq!(device.stored.len(), row.stored, "{told}");
    }
}

/// A packet of these parts.
pub(super) fn packet(first: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let mut packet = vec![first];
    let mut len = body.len();
    while len > 127 {
        packet.push(u8::try_from(len & 127).unwrap() | 128);
        len >>= 7;
    }
    packet.push(u8::try_from(len).unwrap());
    packet.extend(body);
    packet
}

/// Bytes behind their length.
pub(super) fn text(bytes: &[u8]) -> Vec<u8> {
    let len = u16::try_from(bytes.len()).unwrap();
    let mut text = vec![
        u8::try_from(len >> 8).unwrap(),
        u8::try_from(len & 255).unwrap(),
    ];
    text.extend(bytes);
    text
}

pub(super) const NOBODY: &[u8] = b"";
pub(super) const ID: &[u8] = &[0, 7];

fn connect(flags: u8, payload: &[&[u8]]) -> Vec<u8> {
    let payload: Vec<u8> = payload.iter().flat_map(|part| text(part)).collect();
    packet(0x10, &[b"\0\x04MQTT\x04", &[flags], &[0, 10], &payload])
}

pub(super) fn publish(first: u8, topic: &[u8], rest: &[&[u8]]) -> Vec<u8> {
    packet(first, &[&text(topic), &rest.concat()])
}

#[test]
fn text_and_fixed_headers() {
    let filter = text(b"a/#");
    run(&[
        ends(
            "1.5.3-1 not UTF-8",
            (CONNECT, publish(0x30, b"a\xff", &[])),
            b"",
        ),
        ends(
            "1.5.3-1 overlong",
            (CONNECT, publish(0x30, b"\xc0\x80", &[])),
            b"",
        ),
        ends(
            "1.5.3-1 surrogate",
            (CONNECT, publish(0x30, b"\xed\xa0\x80", &[])),
            b"",
        ),
        ends(
            "1.5.3-2 4.7.3-2 NUL",
            (CONNECT, publish(0x30, b"a\0b", &[])),
            b"",
        ),
        stays(
            "1.5.3-3 U+FEFF",
            (CONNECT, publish(0x30, b"\xef\xbb\xbfa", &[])),
            b"",
            1,
        ),
        ends("2.2.2-2 PUBREL 0", (CONNECT, packet(0x60, &[ID])), b""),
        ends("3.6.1-1 PUBREL 3", (CONNECT, packet(0x63, &[ID])), b""),
        ends(
            "3.8.1-1 SUBSCRIBE 0",
            (CONNECT, packet(0x80, &[ID, &filter, &[0]])),
            b"",
        ),
        ends(
            "3.10.1-1 UNSUBSCRIBE 0",
            (CONNECT, packet(0xa0, &[ID, &filter])),
            b"",
        ),
        ends("2.2.2-2 PINGREQ 1", (CONNECT, packet(0xc1, &[])), b""),
        ends("3.14.1-1 DISCONNECT 1", (CONNECT, packet(0xe1, &[])), b""),
        ends("2.2.2-2 CONNECT 1", (NOBODY, packet(0x11, &[])), b""),
        ends("2.2.1 type 0", (CONNECT, packet(0x00, &[])), b""),
        ends("2.2.1 type 15", (CONNECT, packet(0xf0, &[])), b""),
        ends(
            "2.2.3 five bytes",
            (CONNECT, b"\x30\xff\xff\xff\xff\x01".to_vec()),
            b"",
        ),
        ends(
            "2.2.3 what is too large here",
            (CONNECT, b"\x30\xff\xff\xff\x7f".to_vec()),
            b"",
        ),
        ends(
            "2.3.1-1 PUBLISH 0",
            (CONNECT, publish(0x32, b"a", &[&[0, 0]])),
            b"",
        ),
        ends(
            "2.3.1-1 SUBSCRIBE 0",
            (CONNECT, packet(0x82, &[&[0, 0], &filter, &[0]])),
            b"",
        ),
        ends(
            "2.3.1-1 UNSUBSCRIBE 0",
            (CONNECT, packet(0xa2, &[&[0, 0], &filter])),
            b"",
        ),
        stays(
            "2.3.1-6 QoS 1",
            (CONNECT, publish(0x32, b"a", &[ID])),
            b"\x40\x02\0\x07",
            1,
        ),
        stays(
            "2.3.1-6 QoS 2",
            (CONNECT, publish(0x34, b"a", &[ID])),
            b"\x50\x02\0\x07",
            1,
        ),
        stays(
            "2.3.1-6 65535",
            (CONNECT, publish(0x32, b"a", &[b"\xff\xff"])),
            b"\x40\x02\xff\xff",
            1,
        ),
        stays(
            "2.3.1-7",
            (CONNECT, packet(0xa2, &[ID, &filter])),
            b"\xb0\x02\0\x07",
            0,
        ),
        ends(
            "4.8.0-1 bytes are left",
            (CONNECT, packet(0xc0, &[&[0]])),
            b"",
        ),
        ends(
            "4.8.0-1 a field is cut",
            (CONNECT, packet(0x30, &[&[0, 9, b'a']])),
            b"",
        ),
    ]);
}

#[test]
fn connect_is_first_and_only_once() {
    run(&[
        ends("3.1.0-1 PUBLISH", (NOBODY, publish(0x30, b"a", &[])), b""),
        ends("3.1.0-1 PINGREQ", (NOBODY, packet(0xc0, &[])), b""),
        ends("3.1.0-1 DISCONNECT", (NOBODY, packet(0xe0, &[])), b""),
        ends(
            "3.1.0-1 SUBSCRIBE",
            (NOBODY, packet(0x82, &[ID, &text(b"a"), &[0]])),
            b"",
        ),
        ends("3.1.0-2", (CONNECT, CONNECT.to_vec()), b""),
        ends("4.8.0-1 CONNACK", (CONNECT, packet(0x20, &[&[0, 0]])), b""),
        ends("4.8.0-1 SUBACK", (CONNECT, packet(0x90, &[ID, &[0]])), b""),
        ends("4.8.0-1 UNSUBACK", (CONNECT, packet(0xb0, &[ID])), b""),
        ends("4.8.0-1 PINGRESP", (CONNECT, packet(0xd0, &[])), b""),
        ends(
            "4.8.0-1 PUBACK of nothing",
            (CONNECT, packet(0x40, &[ID])),
            b"",
        ),
        ends(
            "4.8.0-1 PUBREC of nothing",
            (CONNECT, packet(0x50, &[ID])),
            b"",
        ),
        ends(
            "4.8.0-1 PUBCOMP of nothing",
            (CONNECT, packet(0x70, &[ID])),
            b"",
        ),
    ]);
}

#[test]
fn what_connect_may_say() {
    let named =
        |name: &[u8], level: u8| packet(0x10, &[&text(name), &[level, 2, 0, 10], &text(b"dev")]);
    let long = vec![b'x'; CLIENT_ID_BYTES_MAX + 1];
    let limits = Limits {
        packet_bytes_max: 1000,
        ..LIMITS
    };
    let mut device = Device::new(limits);
    device.say(&connect(2, &[&long]));
    assert_eq!(
        (&device.out[..], device.closed),
        (&[0x20, 2, 0, 2][..], Some(Close::ClientId))
    );
    run(&[
        ends("3.1.2-1 protocol name", (NOBODY, named(b"hj", 4)), b""),
        ends("3.1.2-1 case", (NOBODY, named(b"mqtt", 4)), b""),
        ends(
            "3.1.2-2 3.2.2-5 level 3",
            (NOBODY, named(b"MQIsdp", 3)),
            b"\x20\x02\0\x01",
        ),
        ends(
            "3.1.2-2 level 0",
            (NOBODY, named(b"MQTT", 0)),
            b"\x20\x02\0\x01",
        ),
        ends(
            "3.1.2-3 reserved flag",
            (NOBODY, connect(3, &[b"dev"])),
            b"",
        ),
        ends(
            "3.1.2-9 will flag, no will",
            (NOBODY, connect(6, &[b"dev"])),
            b"",
        ),
        ends(
            "3.1.2-11 3.1.2-13 will QoS",
            (NOBODY, connect(0x0a, &[b"dev"])),
            b"",
        ),
        ends(
            "3.1.2-15 will retain",
            (NOBODY, connect(0x22, &[b"dev"])),
            b"",
        ),
        ends(
            "3.1.2-14 will QoS 3",
            (NOBODY, connect(0x1e, &[b"dev", b"w", b""])),
            b"",
        ),
        stays(
            "3.1.2-14 will QoS 2",
            (NOBODY, connect(0x16, &[b"dev", b"w", b""])),
            HELLO,
            0,
        ),
        ends(
            "3.1.2-18 a name too much",
            (NOBODY, connect(2, &[b"dev", b"u"])),
            b"",
        ),
        ends("3.1.2-19 no name", (NOBODY, connect(0x82, &[b"dev"])), b""),
        ends(
            "3.1.2-20 a password too much",
            (NOBODY, connect(0x82, &[b"dev", b"u", b"p"])),
            b"",
        ),
        ends(
            "3.1.2-21 no password",
            (NOBODY, connect(0xc2, &[b"dev", b"u"])),
            b"",
        ),
        ends(
            "3.1.2-22 a password alone",
            (NOBODY, connect(0x42, &[b"dev", b"p"])),
            b"",
        ),
        ends("3.1.3-3 no identifier", (NOBODY, connect(2, &[])), b""),
        ends("3.1.3-4", (NOBODY, connect(2, &[b"\xff"])), b""),
        stays(
            "3.1.3-5",
            (NOBODY, connect(2, &[b"abcXYZ01234567890123456"])),
            HELLO,
            0,
        ),
        stays("3.1.3-6 3.1.3-7", (NOBODY, connect(2, &[b""])), HELLO, 0),
        ends(
            "3.1.3-8 3.1.3-9",
            (NOBODY, connect(0, &[b""])),
            b"\x20\x02\0\x02",
        ),
        ends(
            "3.1.3-10 will topic",
            (NOBODY, connect(6, &[b"dev", b"\xff", b""])),
            b"",
        ),
        ends(
            "4.7.1-1 will topic",
            (NOBODY, connect(6, &[b"dev", b"a/#", b""])),
            b"",
        ),
        ends(
            "3.1.3-11 user name",
            (NOBODY, connect(0x82, &[b"dev", b"\xff"])),
            b"",
        ),
        ends(
            "3.1.4-1 bytes are left",
            (NOBODY, connect(2, &[b"dev", b""])),
            b"",
        ),
        stays(
            "3.1.4-4 3.2.0-1 3.2.2-1",
            (NOBODY, CONNECT.to_vec()),
            HELLO,
            0,
        ),
        stays("3.2.2-3", (NOBODY, CONNECT_KEPT.to_vec()), HELLO, 0),
        ends(
            "3.1.4-5 3.2.2-4 nothing behind a refused CONNECT",
            (
                NOBODY,
                [connect(0, &[b""]), publish(0x32, b"a", &[ID])].concat(),
            ),
            b"\x20\x02\0\x02",
        ),
        stays(
            "3.1.4 a device need not wait for CONNACK",
            (NOBODY, [CONNECT, &publish(0x32, b"a", &[ID])].concat()),
            b"\x20\x02\0\0\x40\x02\0\x07",
            1,
        ),
    ]);
}

//! The statements of MQTT 5 that concern a server which receives, one row each, as for 3.1.1.
//!
//! With a socket or a clock are tested 3.1.2-22 (keep-alive), 3.1.4-3 (takeover) and 3.1.3-9 (will
//! delay). One statement is kept only up to a bound, because of the memory of a gateway: 3.3.2-12
//! for topics of more than 1,024 bytes, which get no alias.

#![expect(
    clippy::too_many_lines,
    reason = "tables with a row for each statement"
)]

use super::conformance::{ID, NOBODY, ends, packet, run, stays, text};
use super::*;

/// CONNECT with these flags and properties.
pub(super) fn connect(flags: u8, properties: &[u8], payload: &[&[u8]]) -> Vec<u8> {
    let len = u8::try_from(properties.len()).unwrap();
    let head: &[&[u8]] = &[b"\0\x04MQTT\x05", &[flags, 0, 10, len], properties];
    packet(0x10, &[&head.concat(), &payload.concat()])
}

pub(super) fn publish(first: u8, topic: &[u8], id: &[u8], properties: &[u8]) -> Vec<u8> {
    let len = u8::try_from(properties.len()).unwrap();
    packet(first, &[&text(topic), id, &[len], properties, b"x"])
}

pub(super) const fn bye(reason_code: u8) -> [u8; 3] {
    [0xe0, 1, reason_code]
}

/// CONNACK with these properties instead of those that every device hears.
fn hello(properties: &[u8]) -> Vec<u8> {
    let all: &[&[u8]] = &[b"\x21\0\x03\x27\0\0\0\x64", properties];
    let all = all.concat();
    packet(0x20, &[&[0, 0, u8::try_from(all.len()).unwrap()], &all])
}

#[test]
fn text_headers_and_lengths() {
    run(&[
        ends(
            "1.5.4-1",
            (CONNECT_5, publish(0x30, b"\xed\xa0\x80", b"", b"")),
            &bye(0x81),
        ),
        ends(
            "1.5.4-2",
            (CONNECT_5, publish(0x30, b"a\0", b"", b"")),
            &bye(0x81),
        ),
        stays(
            "1.5.4-3",
            (CONNECT_5, publish(0x30, b"\xef\xbb\xbf", b"", b"")),
            b"",
            1,
        ),
        ends(
            "1.5.5-1 packet",
            (CONNECT_5, b"\x30\x84\0\0\x01a\0".to_vec()),
            &bye(0x81),
        ),
        ends(
            "1.5.5-1 properties",
            (CONNECT_5, packet(0x30, &[b"\0\x01a\x80\0"])),
            &bye(0x81),
        ),
        ends(
            "1.5.7-1",
            (CONNECT_5, publish(0x30, b"a", b"", b"\x26\0\x01\xff\0\0")),
            &bye(0x81),
        ),
        ends("2.1.3-1", (CONNECT_5, packet(0x60, &[ID])), &bye(0x81)),
        ends("2.1.2 type 0", (CONNECT_5, packet(0x00, &[])), &bye(0x81)),
        ends(
            "2.2.1-3 PUBLISH",
            (CONNECT_5, publish(0x32, b"a", b"\0\0", b"")),
            &bye(0x82),
        ),
        ends(
            "2.2.1-3 SUBSCRIBE",
            (CONNECT_5, packet(0x82, &[b"\0\0\0\0\x01a\0"])),
            &bye(0x82),
        ),
        ends(
            "2.2.2-1 no length",
            (CONNECT_5, packet(0x30, &[b"\0\x01a"])),
            &bye(0x81),
        ),
        ends(
            "2.2.2.2 unknown property",
            (CONNECT_5, publish(0x30, b"a", b"", b"\x7f\0")),
            &bye(0x81),
        ),
        ends(
            "2.2.2.2 not of PUBLISH",
            (CONNECT_5, publish(0x30, b"a", b"", b"\x11\0\0\0\0")),
            &bye(0x81),
        ),
        ends(
            "2.2.2.2 twice",
            (CONNECT_5, publish(0x30, b"a", b"", b"\x01\0\x01\0")),
            &bye(0x82),
        ),
        ends("3.14.1-1", (CONNECT_5, packet(0xe1, &[])), &bye(0x81)),
        ends(
            "4.13.1-1 bytes are left",
            (CONNECT_5, packet(0xc0, &[&[0]])),
            &bye(0x81),
        ),
    ]);
}

#[test]
fn connect_says_who_and_how() {
    let dev = text(b"dev");
    let with = |properties: &[u8]| (NOBODY, connect(2, properties, &[&dev]));
    let will = |flags: u8, properties: &[u8], topic: &[u8]| {
        let len = u8::try_from(properties.len()).unwrap();
        let payload: &[&[u8]] = &[&dev, &[len], properties, &text(topic), b"\0\0"];
        (NOBODY, connect(flags, b"", payload))
    };
    let named = |name: &[u8], level: u8| {
        (
            NOBODY,
            packet(0x10, &[&text(name), &[level, 2, 0, 10, 0], &dev]),
        )
    };
    run(&[
        ends("3.1.0-1", (NOBODY, packet(0xc0, &[])), b""),
        ends("3.1.0-2", (CONNECT_5, CONNECT_5.to_vec()), &bye(0x82)),
        ends("3.1.2-1", named(b"hj", 5), b""),
        ends("3.1.2-2", named(b"MQTT", 6), b"\x20\x03\0\x84\0"),
        ends("3.1.2-3", (NOBODY, connect(3, b"", &[&dev])), b""),
        ends("3.1.2-7 no will", (NOBODY, connect(6, b"", &[&dev])), b""),
        ends("3.1.2-11", (NOBODY, connect(0x0a, b"", &[&dev])), b""),
        ends("3.1.2-12", will(0x1e, b"", b"w"), b""),
        ends("3.1.2-13", (NOBODY, connect(0x22, b"", &[&dev])), b""),
        ends(
            "3.1.2-17 no name",
            (NOBODY, connect(0x82, b"", &[&dev])),
            b"",
        ),
        ends(
            "3.1.2-19 no password",
            (NOBODY, connect(0x42, b"", &[&dev])),
            b"",
        ),
        stays(
            "3.1.2.9 a password alone",
            (NOBODY, connect(0x42, b"", &[&dev, b"\0\0"])),
            &hello(b"\x22\0\x10"),
            0,
        ),
        ends("3.1.2.11.3 receive maximum 0", with(b"\x21\0\0"), b""),
        ends(
            "3.1.2.11.4 maximum packet size 0",
            with(b"\x27\0\0\0\0"),
            b"",
        ),
        ends("3.1.2.11.6 request response 2", with(b"\x19\x02"), b""),
        ends("3.1.2.11.7 request problem 2", with(b"\x17\x02"), b""),
        ends("3.1.2.11 twice", with(b"\x11\0\0\0\x01\x11\0\0\0\x01"), b""),
        stays(
            "3.1.2.11.8 user properties",
            with(b"\x26\0\x01a\0\x01b\x26\0\x01a\0\x01c"),
            &hello(b"\x22\0\x10"),
            0,
        ),
        ends("4.12.0-1", with(b"\x15\0\x01x"), b"\x20\x03\0\x8c\0"),
        ends("3.1.2.11.10 data without method", with(b"\x16\0\x01x"), b""),
        stays(
            "3.1.2.11.2 an expiry that is granted",
            with(b"\x11\0\0\0\x3c"),
            &hello(b"\x22\0\x10"),
            0,
        ),
        stays(
            "3.2.2.3.2 an expiry that is not",
            with(b"\x11\xff\xff\xff\xff"),
            &packet(
                0x20,
                &[b"\0\0\x10\x11\0\x01\x51\x80\x21\0\x03\x27\0\0\0\x64\x22\0\x10"],
            ),
            0,
        ),
        ends("3.1.3-3", (NOBODY, connect(2, b"", &[])), b""),
        ends("3.1.3-4", (NOBODY, connect(2, b"", &[b"\0\x01\xff"])), b""),
        stays(
            "3.1.3-6 3.1.3-7 3.2.2-16",
            (NOBODY, connect(2, b"", &[b"\0\0"])),
            &hello(b"\x12\0\x15auto-0000000000000abc\x22\0\x10"),
            0,
        ),
        ends("3.1.3-11 will topic", will(6, b"", b"\xff"), b""),
        ends("4.7.0-1 will topic", will(6, b"", b"a/+"), b""),
        ends(
            "3.1.3.2 will payload format 2",
            will(6, b"\x01\x02", b"w"),
            b"",
        ),
        ends(
            "3.1.3.2 will response topic",
            will(6, b"\x08\0\x01#", b"w"),
            b"",
        ),
        ends("3.1.3.2 not of a will", will(6, b"\x23\0\x01", b"w"), b""),
        stays(
            "3.1.3.2 a will",
            will(6, b"\x18\0\0\0\x05\x01\x01", b"w"),
            &hello(b"\x22\0\x10"),
            0,
        ),
        ends(
            "3.1.3-12 user name",
            (NOBODY, connect(0x82, b"", &[&dev, b"\0\x01\xff"])),
            b"",
        ),
        ends(
            "3.1.4-6 nothing behind a refused CONNECT",
            (
                NOBODY,
                [with(b"\x15\0\x01x").1, publish(0x32, b"a", ID, b"")].concat(),
            ),
            b"\x20\x03\0\x8c\0",
        ),
        ends(
            "3.1.2-24 CONNACK is too large",
            with(b"\x27\0\0\0\x08"),
            b"\x20\x03\0\x95\0",
        ),
        ends(
            "3.1.2-24 any CONNACK is too large",
            with(b"\x27\0\0\0\x04"),
            b"",
        ),
    ]);
}

#[test]
fn keep_alive_is_what_the_listener_bears() {
    let check = |keep_alive: u16, told: &[u8], silence_s: f32| {
        let [high, low] =
            [keep_alive >> 8, keep_alive & 255].map(|byte| u8::try_from(byte).unwrap());
        let mut device = Device::new(LIMITS);
        device.say(&packet(
            0x10,
            &[b"\0\x04MQTT\x05\x02", &[high, low, 0], b"\0\x03dev"],
        ));
        assert_eq!(
            device.out,
            &hello(&[b"\x22\0\x10", told].concat())[..],
            "3.1.2-21 {keep_alive}"
        );
        let silence = device.protocol.silence_max();
        assert_eq!(
            silence,
            Some(Duration::from_secs_f32(silence_s)),
            "3.1.2-22 {keep_alive}"
        );
    };
    check(10, b"", 15.0);
    check(300, b"", 450.0);
    check(301, b"\x13\x01\x2c", 450.0);
    check(0, b"\x13\x01\x2c", 450.0);
}

//! The statements of MQTT 5 about what follows CONNECT, as in [`super::conformance_5`].

#![expect(
    clippy::too_many_lines,
    reason = "tables with a row for each statement"
)]

use super::conformance::{ID, ends, packet, run, stays};
use super::conformance_5::{bye, connect, publish};
use super::*;

#[test]
fn publishes_and_their_properties() {
    let plain = |first, id: &[u8]| (CONNECT_5, publish(first, b"a", id, b""));
    let with = |properties: &[u8]| (CONNECT_5, publish(0x30, b"a", b"", properties));
    let alias = |topic: &[u8], alias: u8| publish(0x30, topic, b"", &[0x23, 0, alias]);
    let release = packet(0x62, &[ID]);
    let twice = |first: u8| {
        [
            publish(first, b"a", ID, b""),
            publish(first | 8, b"a", ID, b""),
        ]
        .concat()
    };
    let qos_1: Vec<u8> = (1..=4)
        .flat_map(|id| publish(0x32, b"a", &[0, id], b""))
        .collect();
    let qos_2: Vec<u8> = (1..=4)
        .flat_map(|id| publish(0x34, b"a", &[0, id], b""))
        .collect();
    run(&[
        ends("3.3.1-2", plain(0x38, b""), &bye(0x81)),
        ends("3.3.1-4", plain(0x36, ID), &bye(0x81)),
        stays("3.3.1.3 RETAIN", plain(0x31, b""), b"", 1),
        ends(
            "3.3.2-2",
            (CONNECT_5, publish(0x30, b"a/#", b"", b"")),
            &bye(0x90),
        ),
        ends(
            "4.7.3-1",
            (CONNECT_5, publish(0x30, b"", b"", b"")),
            &bye(0x90),
        ),
        ends("3.3.2.3.2 payload format 2", with(b"\x01\x02"), &bye(0x82)),
        stays("3.3.2-4 payload format", with(b"\x01\x01"), b"", 1),
        stays("3.3.2-6 message expiry", with(b"\x02\0\0\0\x01"), b"", 1),
        ends("3.3.2-8 alias 0", (CONNECT_5, alias(b"a", 0)), &bye(0x94)),
        ends("3.3.2-9 alias 17", (CONNECT_5, alias(b"a", 17)), &bye(0x94)),
        stays(
            "3.3.2-12 alias 16",
            (CONNECT_5, [alias(b"a", 16), alias(b"", 16)].concat()),
            b"",
            2,
        ),
        ends(
            "3.3.4 unknown alias",
            (CONNECT_5, alias(b"", 1)),
            &bye(0x94),
        ),
        ends("3.3.2-13", with(b"\x08\0\x01\xff"), &bye(0x81)),
        ends("3.3.2-14", with(b"\x08\0\x01+"), &bye(0x90)),
        stays(
            "3.3.2-15 3.3.2-16 request",
            with(b"\x08\0\x01r\x09\0\x03334"),
            b"",
            1,
        ),
        stays(
            "3.3.2-17 3.3.2-18",
            with(b"\x26\0\x01a\0\x01b\x26\0\x01a\0\x01c"),
            b"",
            1,
        ),
        ends("3.3.2-19", with(b"\x03\0\x01\xff"), &bye(0x81)),
        ends(
            "3.3.4-6 subscription identifier",
            with(b"\x0b\x01"),
            &bye(0x81),
        ),
        stays("3.3.4-1 4.3.1", plain(0x30, b""), b"", 1),
        stays("4.3.2-4", plain(0x32, ID), b"\x40\x02\0\x07", 1),
        stays(
            "4.3.2-5",
            (CONNECT_5, twice(0x32)),
            b"\x40\x02\0\x07\x40\x02\0\x07",
            2,
        ),
        stays("4.3.3-8", plain(0x34, ID), b"\x50\x02\0\x07", 1),
        stays("4.3.3-10", (CONNECT_5, twice(0x34)), b"\x50\x02\0\x07", 1),
        stays(
            "4.3.3-11",
            (CONNECT_5, [twice(0x34), release.clone()].concat()),
            b"\x70\x02\0\x07",
            1,
        ),
        stays(
            "3.6.2 not known",
            (CONNECT_5, release),
            b"\x70\x03\0\x07\x92",
            0,
        ),
        stays(
            "3.6.2 with reason and properties",
            (CONNECT_5, packet(0x62, &[ID, b"\x92\x04\x1f\0\x01x"])),
            b"\x70\x03\0\x07\x92",
            0,
        ),
        ends("3.3.4-9 3.3.4-7", (CONNECT_5, qos_1), &bye(0x93)).stored(3),
        ends("3.3.4-9 QoS 2", (CONNECT_5, qos_2), &bye(0x93)).stored(3),
        ends(
            "3.1.2.11.4 too large",
            (CONNECT_5, b"\x30\x80\x01".to_vec()),
            &bye(0x95),
        ),
    ]);
}

#[test]
fn an_alias_ends_with_its_connection() {
    check(
        "3.3.2-7",
        &[
            Say(CONNECT_5_KEPT),
            Say(b"\x30\x07\0\x01a\x03\x23\0\x01\x30\x06\0\0\x03\x23\0\x01"),
            Stored(2),
            Reconnect,
            Say(CONNECT_5_KEPT),
            Say(b"\x30\x06\0\0\x03\x23\0\x01"),
            Stored(2),
            Closed(Close::Malformed(Malformed::TopicAlias)),
        ],
    );
}

#[test]
fn subscriptions_are_refused_with_a_reason() {
    let subscribe = |parts: &[&[u8]]| packet(0x82, &[ID, &[0], &parts.concat()]);
    let why = b"\x39\x1f\0\x36this server only collects: there is nothing to receive";
    let refused = |count: usize| packet(0x90, &[ID, why, &vec![0x80; count]]);
    let silent = connect(2, b"\x17\0", &[b"\0\x03dev"]);
    let small = connect(2, b"\x27\0\0\0\x20", &[b"\0\x03dev"]);
    let one = subscribe(&[b"\0\x01#\x02"]);
    run(&[
        stays(
            "3.8.4-1 3.8.4-6 3.9.3-1",
            (CONNECT_5, subscribe(&[b"\0\x01#\x02\0\x01+\0"])),
            &refused(2),
            0,
        ),
        stays(
            "3.1.2-29 no reasons wanted",
            (&silent, one.clone()),
            b"\x90\x04\0\x07\0\x80",
            0,
        ),
        stays(
            "3.9.2-1 no room for a reason",
            (&small, one),
            b"\x90\x04\0\x07\0\x80",
            0,
        ),
        stays(
            "3.1.2-25 no room for the packet",
            (&small, packet(0xa2, &[ID, &[0], &b"\0\x01a".repeat(30)])),
            b"",
            0,
        ),
        stays(
            "3.8.2.1 with an identifier",
            (CONNECT_5, packet(0x82, &[ID, b"\x02\x0b\x05\0\x01#\x02"])),
            &refused(1),
            0,
        ),
        ends(
            "3.8.2.1.2 identifier 0",
            (CONNECT_5, packet(0x82, &[ID, b"\x02\x0b\0\0\x01#\x02"])),
            &bye(0x82),
        ),
        ends(
            "3.8.3-1",
            (CONNECT_5, subscribe(&[b"\0\x01\xff\0"])),
            &bye(0x81),
        ),
        ends("3.8.3-2", (CONNECT_5, subscribe(&[])), &bye(0x82)),
        ends(
            "3.8.3-4",
            (CONNECT_5, subscribe(&[b"\0\x0a$share/g/a\x04"])),
            &bye(0x82),
        ),
        ends(
            "4.8.2-1 no share name",
            (CONNECT_5, subscribe(&[b"\0\x09$share//a\0"])),
            &bye(0x8f),
        ),
        ends(
            "4.8.2-2 a wildcard in it",
            (CONNECT_5, subscribe(&[b"\0\x0a$share/+/a\0"])),
            &bye(0x8f),
        ),
        stays(
            "3.8.3-4 without",
            (CONNECT_5, subscribe(&[b"\0\x0a$share/g/a\0"])),
            &refused(1),
            0,
        ),
        ends(
            "3.8.3-5",
            (CONNECT_5, subscribe(&[b"\0\x01a\xc0"])),
            &bye(0x82),
        ),
        ends(
            "3.8.3.1 QoS 3",
            (CONNECT_5, subscribe(&[b"\0\x01a\x03"])),
            &bye(0x82),
        ),
        ends(
            "3.8.3.1 retain handling 3",
            (CONNECT_5, subscribe(&[b"\0\x01a\x30"])),
            &bye(0x82),
        ),
        ends(
            "4.7.1-1",
            (CONNECT_5, subscribe(&[b"\0\x05a/#/b\0"])),
            &bye(0x8f),
        ),
        ends(
            "4.7.1-2",
            (CONNECT_5, subscribe(&[b"\0\x02a+\0"])),
            &bye(0x8f),
        ),
        ends(
            "3.10.3-2",
            (CONNECT_5, packet(0xa2, &[ID, &[0]])),
            &bye(0x82),
        ),
        stays(
            "3.10.4-4 3.10.4-5 3.11.3-1",
            (CONNECT_5, packet(0xa2, &[ID, b"\0\0\x01a\0\x01b"])),
            b"\xb0\x05\0\x07\0\x11\x11",
            0,
        ),
        stays("3.12.4-1", (CONNECT_5, packet(0xc0, &[])), b"\xd0\0", 0),
    ]);
}

#[test]
fn goodbyes_and_authentication() {
    let kept = CONNECT_5_KEPT;
    run(&[
        ends("3.14.4-1", (CONNECT_5, packet(0xe0, &[])), b""),
        ends(
            "3.14.2.1 with a will",
            (CONNECT_5, packet(0xe0, &[&[4]])),
            b"",
        ),
        ends(
            "3.14.2.1 not of a client",
            (CONNECT_5, packet(0xe0, &[&[0x8e]])),
            &bye(0x82),
        ),
        ends(
            "3.14.2.1 unknown",
            (CONNECT_5, packet(0xe0, &[&[1]])),
            &bye(0x82),
        ),
        ends(
            "3.14.2.2.2 expiry",
            (kept, packet(0xe0, &[b"\0\x05\x11\0\0\0\x09"])),
            b"",
        ),
        ends(
            "3.14.2.2.2 expiry after none",
            (CONNECT_5, packet(0xe0, &[b"\0\x05\x11\0\0\0\x09"])),
            &bye(0x82),
        ),
        ends(
            "3.14.2.2.3 reason",
            (CONNECT_5, packet(0xe0, &[b"\0\x04\x1f\0\x01x"])),
            b"",
        ),
        ends("3.15.1-1", (CONNECT_5, packet(0xf1, &[])), &bye(0x81)),
        ends("4.12.0-6", (CONNECT_5, packet(0xf0, &[])), &bye(0x82)),
        ends(
            "4.13.1-1 CONNACK",
            (CONNECT_5, packet(0x20, &[&[0, 0, 0]])),
            &bye(0x82),
        ),
        ends(
            "4.13.1-1 PUBACK of nothing",
            (CONNECT_5, packet(0x40, &[ID])),
            &bye(0x82),
        ),
        ends(
            "4.13.1-1 PINGRESP",
            (CONNECT_5, packet(0xd0, &[])),
            &bye(0x82),
        ),
    ]);
}

#[test]
fn sessions_live_as_long_as_granted() {
    const PUBLISH: &[u8] = b"\x34\x07\0\x01a\0\x08\0x";
    // (statement, first CONNECT, how it ends, second CONNECT, session present, records)
    type Life<'a> = (&'a str, &'a [u8], &'a [u8], &'a [u8], u8, usize);
    let lives: [Life<'_>; 5] = [
        ("3.1.2-5 3.2.2-3", CONNECT_5_KEPT, b"", CONNECT_5_KEPT, 1, 1),
        ("3.1.2-4 3.2.2-2", CONNECT_5_KEPT, b"", CONNECT_5, 0, 2),
        ("3.1.2-23", CONNECT_5, b"", CONNECT_5_KEPT, 0, 2),
        (
            "3.1.2-23 ended by DISCONNECT",
            CONNECT_5_KEPT,
            b"\xe0\x07\0\x05\x11\0\0\0\0",
            CONNECT_5_KEPT,
            0,
            2,
        ),
        (
            "3.1.2-23 kept by DISCONNECT",
            CONNECT_5_KEPT,
            b"\xe0\x07\0\x05\x11\0\0\0\x09",
            CONNECT_5_KEPT,
            1,
            1,
        ),
    ];
    for (ids, first, end, second, present, stored) in lives {
        let mut device = Device::new(LIMITS);
        device.say(first);
        device.say(PUBLISH);
        device.settle();
        device.say(end);
        device.reconnect();
        device.say(second);
        assert_eq!(device.out[2], present, "{ids}");
        device.say(PUBLISH);
        assert_eq!(device.stored.len(), stored, "{ids}");
    }
}

#[test]
fn a_qos_2_message_that_was_one_too_many_is_new_when_it_comes_again() {
    check(
        "the fourth of three",
        &[
            Say(CONNECT_5_KEPT),
            Say(b"\x34\x06\0\x01a\0\x01\0\x34\x06\0\x01a\0\x02\0"),
            Say(b"\x34\x06\0\x01a\0\x03\0\x34\x06\0\x01a\0\x04\0"),
            Stored(3),
            Closed(Close::InFlight),
            Settle,
            Reconnect,
            Say(CONNECT_5_KEPT),
            Say(b"\x62\x02\0\x01"),
            Settle,
            Say(b"\x34\x06\0\x01a\0\x04\0"),
            Stored(4),
        ],
    );
}

//! What is read, what is refused and why, and that no bytes at all bring the reader down.

use super::*;
use crate::config::{MqttVersion::*, Qos};
use crate::record::Value;
use crate::time::WallClock;

fn text(text: &str) -> Vec<u8> {
    let len = u16::try_from(text.len()).unwrap();
    let mut bytes = vec![
        u8::try_from(len >> 8).unwrap(),
        u8::try_from(len & 255).unwrap(),
    ];
    bytes.extend(text.as_bytes());
    bytes
}

fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

#[test]
fn headers() {
    let check = |bytes: &[u8], expected: Result<Option<(PacketType, usize)>, Malformed>| {
        let read = Header::read(bytes).map(|header| header.map(|h| (h.kind, h.packet_len())));
        assert_eq!(read, expected, "{bytes:02x?}");
    };
    check(&[], Ok(None));
    check(&[0x30], Ok(None));
    check(&[0x30, 0x80], Ok(None));
    check(&[0x30, 0xff, 0xff, 0xff], Ok(None));
    check(&[0xc0, 0], Ok(Some((PacketType::PingReq, 2))));
    check(&[0x3f, 0x80, 1], Ok(Some((PacketType::Publish, 131))));
    check(
        &[0x30, 0xff, 0xff, 0xff, 0x7f],
        Ok(Some((PacketType::Publish, 268_435_460))),
    );
    check(&[0x30, 0xff, 0xff, 0xff, 0xff], Err(Malformed::Length));
    check(&[0x00, 0], Err(Malformed::PacketType));
    check(&[0x11, 0], Err(Malformed::Flags));
    check(&[0x60, 2], Err(Malformed::Flags));
    check(&[0x80, 2], Err(Malformed::Flags));
    check(&[0xa3, 2], Err(Malformed::Flags));
    check(&[0xc1], Err(Malformed::Flags));
}

type Payload<'a> = Result<&'a [u8], Malformed>;

fn check_publish(
    first: u8,
    body: &[u8],
    version: MqttVersion,
    sender: Sender,
    expected: Payload<'_>,
) {
    let read = Publish::read(first, body, version, sender).map(|publish| publish.payload);
    assert_eq!(read, expected, "{first:02x} {body:02x?}");
}

#[test]
fn publishes() {
    let check = |first, body: &[u8], expected: Payload<'_>| {
        check_publish(first, body, V311, Sender::Client, expected);
    };
    let topic = text("a/b");
    check(0x30, &join(&[&topic, b"x"]), Ok(b"x"));
    check(0x31, &join(&[&topic]), Ok(b""));
    check(0x3b, &join(&[&topic, &[0, 1], b"x"]), Ok(b"x"));
    check(0x36, &join(&[&topic, &[0, 1]]), Err(Malformed::Qos));
    check(0x38, &join(&[&topic]), Err(Malformed::Qos));
    check(0x32, &join(&[&topic, &[0, 0]]), Err(Malformed::PacketId));
    check(0x32, &join(&[&topic, &[0]]), Err(Malformed::Short));
    check(0x30, &text(""), Err(Malformed::Topic));
    check(0x30, &text("a/+"), Err(Malformed::Topic));
    check(0x30, &text("#"), Err(Malformed::Topic));
    check(0x30, &text("a\0"), Err(Malformed::Text));
    check(0x30, &[0, 2, 0xc3, 0x28], Err(Malformed::Text));
    // An encoded surrogate is not UTF-8.
    check(0x30, &[0, 3, 0xed, 0xa0, 0x80], Err(Malformed::Text));
    check(0x30, &[0, 9, b'a'], Err(Malformed::Short));
}

#[test]
fn publishes_with_properties() {
    use Sender::{Client, Server};
    let check = |body: &[u8], sender, expected: Payload<'_>| {
        check_publish(0x30, body, V5, sender, expected);
    };
    let topic = text("a/b");
    let with = |properties: &[u8]| join(&[&topic, properties, b"x"]);
    check(&with(&[0]), Client, Ok(b"x"));
    check(&with(&[2, 1, 1]), Client, Ok(b"x"));
    check(&with(&[2, 1, 2]), Client, Err(Malformed::PropertyValue(1)));
    check(
        &with(&[4, 1, 1, 1, 1]),
        Client,
        Err(Malformed::PropertyTwice(1)),
    );
    check(&with(&[9, 1, 1]), Client, Err(Malformed::Short));
    // The property reaches beyond the end of the properties, not of the packet.
    check(&with(&[2, 2, 0, 0, 0, 1]), Client, Err(Malformed::Short));
    check(&with(&[2, 11, 1]), Client, Err(Malformed::Property(11)));
    check(&with(&[2, 11, 1]), Server, Ok(b"x"));
    check(&with(&[2, 99, 1]), Client, Err(Malformed::Property(99)));
    check(&with(&[3, 35, 0, 0]), Client, Err(Malformed::TopicAlias));
    let alias = join(&[&text(""), &[3, 35, 0, 7], b"x"]);
    check(&alias, Client, Ok(b"x"));
    check(&join(&[&text(""), &[0]]), Client, Err(Malformed::Topic));
}

#[test]
fn a_publish_becomes_a_record() {
    let body = join(&[
        &text("plant/1"),
        &[0, 9],
        &[41],
        &[3],
        &text("text/plain"),
        &[38],
        &text("k"),
        &text("1"),
        &[38],
        &text("k"),
        &text("2"),
        &[2, 0, 0, 0, 60],
        &[8],
        &text("re/ply"),
        b"21.5",
    ]);
    let publish = Publish::read(0x33, &body, V5, Sender::Client).unwrap();
    assert_eq!((publish.qos, publish.packet_id), (Qos::AtLeastOnce, 9));
    let record = publish.record(WallClock::from_millis(5), publish.topic, Some("dev"));
    assert_eq!(record.payload, b"21.5");
    assert_eq!(record.received_at, WallClock::from_millis(5));
    let names: Vec<_> = record.fields.iter().map(|(name, _)| name).collect();
    let expected = [
        "topic",
        "qos",
        "retain",
        "client",
        "content_type",
        "message_expiry_s",
        "response_topic",
        "user_properties",
    ];
    assert_eq!(names, expected);
    assert_eq!(record.fields.get("topic"), Some(&"plant/1".into()));
    assert_eq!(record.fields.get("qos"), Some(&Value::Int(1)));
    let Some(Value::Map(user)) = record.fields.get("user_properties") else {
        panic!("no user properties");
    };
    assert_eq!(
        user.get("k"),
        Some(&Value::List(vec!["1".into(), "2".into()]))
    );
}

fn connect(name: &str, level: u8, flags: u8, rest: &[&[u8]]) -> Vec<u8> {
    join(&[&text(name), &[level, flags, 0, 30], &rest.concat()])
}

#[test]
fn connects() {
    let check = |body: &[u8], expected: Result<(&str, u32), ConnectError>| {
        let read = Connect::read(body).map(|connect| (connect.client_id, connect.session_expiry_s));
        assert_eq!(read, expected, "{body:02x?}");
    };
    let malformed = |malformed| Err(ConnectError::Malformed(malformed));
    let id = text("dev");
    check(&connect("MQTT", 4, 2, &[&id]), Ok(("dev", 0)));
    check(&connect("MQTT", 4, 0, &[&id]), Ok(("dev", u32::MAX)));
    check(&connect("MQTT", 5, 0, &[&[0], &id]), Ok(("dev", 0)));
    check(
        &connect("MQTT", 5, 0, &[&[5, 17, 0, 0, 0, 9], &id]),
        Ok(("dev", 9)),
    );
    check(
        &connect("MQIsdp", 3, 2, &[&id]),
        Err(ConnectError::Version(3)),
    );
    check(
        &connect("MQTT", 6, 2, &[&id]),
        Err(ConnectError::Version(6)),
    );
    check(&connect("HTTP", 4, 2, &[&id]), malformed(Malformed::Text));
    check(
        &connect("MQTT", 4, 3, &[&id]),
        malformed(Malformed::ConnectFlags),
    );
    check(
        &connect("MQTT", 4, 0x0a, &[&id]),
        malformed(Malformed::ConnectFlags),
    );
    check(
        &connect("MQTT", 4, 0x1e, &[&id]),
        malformed(Malformed::ConnectFlags),
    );
    check(
        &connect("MQTT", 4, 0x42, &[&id, &text("p")]),
        malformed(Malformed::ConnectFlags),
    );
    check(
        &connect("MQTT", 5, 0x42, &[&[0], &id, &text("p")]),
        Ok(("dev", 0)),
    );
    check(
        &connect("MQTT", 4, 2, &[&id, b"x"]),
        malformed(Malformed::Trailing),
    );
    check(
        &connect("MQTT", 4, 0x82, &[&id]),
        malformed(Malformed::Short),
    );
    check(
        &connect("MQTT", 5, 0, &[&[3, 33, 0, 0], &id]),
        malformed(Malformed::PropertyValue(33)),
    );
    let will = [&id[..], &text("w"), &[0, 1, 0xff]];
    check(&connect("MQTT", 4, 0x2e, &will), Ok(("dev", 0)));
    let wild = [&id[..], &text("w/#"), &[0, 0]];
    check(
        &connect("MQTT", 4, 0x06, &wild),
        malformed(Malformed::Topic),
    );
}

#[test]
fn acknowledgements_and_subscriptions() {
    assert_eq!(Ack::read(&[0, 5], V311).map(|ack| ack.packet_id), Ok(5));
    assert_eq!(Ack::read(&[0, 5, 0], V311), Err(Malformed::Trailing));
    assert_eq!(Ack::read(&[0, 0], V5), Err(Malformed::PacketId));
    assert_eq!(
        Ack::read(&[0, 5, 0x92, 0], V5).map(|ack| ack.reason_code),
        Ok(0x92)
    );
    assert_eq!(
        Ack::read(&[0, 5, 0, 2, 1, 1], V5),
        Err(Malformed::Property(1))
    );
    let check = |body: &[u8], version, expected: Result<usize, Malformed>| {
        let read = Subscription::read_subscribe(body, version).map(|read| read.filters);
        assert_eq!(read, expected, "{body:02x?}");
    };
    check(
        &join(&[&[0, 1], &text("a"), &[1], &text("#"), &[2]]),
        V311,
        Ok(2),
    );
    check(
        &join(&[&[0, 1], &text("a"), &[3]]),
        V311,
        Err(Malformed::Subscription),
    );
    check(
        &join(&[&[0, 1], &text("a"), &[4]]),
        V311,
        Err(Malformed::Subscription),
    );
    check(&join(&[&[0, 1], &text("a")]), V311, Err(Malformed::Short));
    check(&[0, 1], V311, Err(Malformed::Subscription));
    check(&join(&[&[0, 1, 0], &text("a"), &[0x2d]]), V5, Ok(1));
    check(
        &join(&[&[0, 1, 0], &text("a"), &[0x30]]),
        V5,
        Err(Malformed::Subscription),
    );
    let unsubscribe = join(&[&[0, 1], &text("a"), &text("b")]);
    let filters = Subscription::read_unsubscribe(&unsubscribe, V311).map(|read| read.filters);
    assert_eq!(filters, Ok(2));
    assert_eq!(
        Disconnect::read(&[], V5).map(|read| read.reason_code),
        Ok(0)
    );
    assert_eq!(
        Disconnect::read(&[4], V5).map(|read| read.reason_code),
        Ok(4)
    );
    assert_eq!(Disconnect::read(&[0], V311), Err(Malformed::Trailing));
}

#[test]
fn aliases() {
    let mut aliases = Aliases::new(2);
    let mut check = |topic: &str, alias, expected: Result<&str, Malformed>| {
        assert_eq!(aliases.resolve(topic, alias), expected, "{topic} {alias:?}");
    };
    check("a", None, Ok("a"));
    check("", Some(1), Err(Malformed::TopicAlias));
    check("a", Some(1), Ok("a"));
    check("", Some(1), Ok("a"));
    check("b", Some(1), Ok("b"));
    check("", Some(1), Ok("b"));
    check("c", Some(3), Err(Malformed::TopicAlias));
    check("", Some(2), Err(Malformed::TopicAlias));
}

/// xorshift64*, so that a seed gives the same bytes everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.next() >> 56).unwrap()
    }
}

#[test]
fn random_bytes_never_panic() {
    let seeds = [
        connect(
            "MQTT",
            5,
            0xee,
            &[&[0], &text("dev"), &[0], &text("w"), &text("x"), &text("u")],
        ),
        join(&[&text("a/b"), &[0, 9], &[6, 38, 0, 1, b'k', 0, 0], b"x"]),
        join(&[&[0, 1, 0], &text("a"), &[1]]),
    ];
    for seed in 1..=20_000 {
        let mut random = Random(seed);
        let mut body = seeds[usize::try_from(seed % 3).unwrap()].clone();
        for _ in 0..=random.next() % 4 {
            let at = usize::try_from(random.next()).unwrap() % body.len();
            body[at] = random.byte();
            if random.next().is_multiple_of(4) {
                body.truncate(at.max(1));
            }
        }
        let first = random.byte();
        for version in [V311, V5] {
            if let Ok(publish) = Publish::read(first, &body, version, Sender::Server) {
                let record = publish.record(WallClock::default(), publish.topic, None);
                assert!(record.payload.len() <= body.len(), "seed {seed}");
            }
            read(Ack::read(&body, version));
            read(Subscription::read_subscribe(&body, version));
            read(Subscription::read_unsubscribe(&body, version));
            read(Disconnect::read(&body, version));
            read(ConnAck::read(&body, version).map(|answer| answer.refusal(version)));
            read(SubAck::read(&body, version).map(|answer| answer.granted().count()));
        }
        read(Header::read(&body));
        if let Ok(Connect {
            will: Some(will), ..
        }) = Connect::read(&body)
        {
            read(will.record(WallClock::default(), "dev"));
        }
    }
}

/// The test is that making the argument does not panic.
fn read<T>(_: T) {}

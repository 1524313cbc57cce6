//! Conversations, table by table: what a device says, what it is answered, what is stored.

use super::super::owed::Owed;
use super::super::sessions::Mark;
use super::*;
use crate::source::mqtt::packets::AckKind;

mod admission;
mod conformance;
mod conformance_5;
mod messages;
mod messages_5;

const LIMITS: Limits = Limits {
    packet_bytes_max: 100,
    in_flight_max: 3,
    idle_max: Duration::from_mins(5),
    username: None,
    password: None,
    has_password_file: false,
    rights: None,
};

const CONNECT: &[u8] = b"\x10\x0f\0\x04MQTT\x04\x02\0\x0a\0\x03dev";
const CONNECT_KEPT: &[u8] = b"\x10\x0f\0\x04MQTT\x04\x00\0\x0a\0\x03dev";
const CONNECT_5: &[u8] = b"\x10\x10\0\x04MQTT\x05\x02\0\x0a\0\0\x03dev";
const CONNECT_5_KEPT: &[u8] = b"\x10\x15\0\x04MQTT\x05\x00\0\x0a\x05\x11\0\0\0\x3c\0\x03dev";

/// One conversation of a device that may lose its connection.
struct Device {
    limits: Limits,
    sessions: Sessions,
    protocol: Protocol,
    connections: u32,
    out: BytesMut,
    receipts: std::collections::VecDeque<Receipt>,
    stored: Vec<Record>,
    closed: Option<Close>,
    /// What the ring keeps.
    marks: std::collections::BTreeMap<Vec<u8>, u64>,
    asked: Option<Question>,
    denied: usize,
}

impl Device {
    fn new(limits: Limits) -> Self {
        Self {
            limits,
            sessions: Sessions::new(8),
            protocol: Protocol::new(1, None),
            connections: 1,
            out: BytesMut::new(),
            receipts: std::collections::VecDeque::new(),
            stored: Vec::new(),
            closed: None,
            marks: std::collections::BTreeMap::new(),
            asked: None,
            denied: 0,
        }
    }

    /// The process ends and begins anew: what is not in the ring is gone.
    fn restart(&mut self) {
        self.reconnect();
        self.receipts.clear();
        self.sessions = Sessions::new(8);
        let marks: Vec<_> = self.marks.clone().into_iter().collect();
        self.sessions.restore(&marks);
    }

    fn mark(&mut self, mark: Option<Mark>) {
        let Some(Mark { key, bits }) = mark else {
            return;
        };
        match bits {
            Some(bits) => drop(self.marks.insert(key, bits)),
            None => drop(self.marks.remove(&key)),
        }
    }

    fn reconnect(&mut self) {
        let silent = Close::Silent;
        self.protocol.close(
            Monotonic::default(),
            silent,
            &mut self.sessions,
            &mut self.out,
        );
        self.out.clear();
        self.connections += 1;
        self.protocol = Protocol::new(self.connections, None);
        self.closed = None;
    }

    fn say(&mut self, mut bytes: &[u8]) {
        let moment = Moment {
            random: 0xabc,
            ..Moment::default()
        };
        while self.closed.is_none() {
            let header = match Header::read(bytes) {
                Ok(Some(header)) => header,
                Ok(None) => return,
                Err(malformed) => {
                    let close = Close::Malformed(malformed);
                    let (sessions, out) = (&mut self.sessions, &mut self.out);
                    self.protocol.close(moment.now, close, sessions, out);
                    self.closed = Some(close);
                    return;
                }
            };
            let (packet, rest) = bytes.split_at(header.packet_len().min(bytes.len()));
            bytes = rest;
            let (sessions, out) = (&mut self.sessions, &mut self.out);
            let step = match self.protocol.check_header(header, &self.limits) {
                Ok(()) => {
                    let packet = (header, &packet[header.header_len..]);
                    self.protocol
                        .handle_packet(moment, packet, &self.limits, sessions, out)
                }
                Err(close) => self.protocol.close(moment.now, close, sessions, out),
            };
            // The connection ends it, once what came before was acknowledged.
            let step = if step == Step::Overrun {
                let (sessions, out) = (&mut self.sessions, &mut self.out);
                self.protocol
                    .close(moment.now, Close::InFlight, sessions, out)
            } else {
                step
            };
            match step {
                Step::Done | Step::Overrun | Step::Opened { .. } => {}
                Step::Ask(question) => self.asked = Some(question),
                Step::Store(record, receipt, mark) => {
                    self.stored.push(record);
                    self.receipts.extend(receipt);
                    self.mark(mark);
                }
                Step::Owe(receipt, mark) => {
                    self.receipts.push_back(receipt);
                    self.mark(mark);
                }
                Step::Deny(receipt) => {
                    self.denied += 1;
                    self.receipts.extend(receipt);
                }
                Step::Close(close) => self.closed = Some(close),
            }
        }
    }

    fn settle(&mut self) {
        while let Some(receipt) = self.receipts.pop_front() {
            let sessions = &mut self.sessions;
            let (connection, answer) = match Owed::of(receipt) {
                Owed::PubAck {
                    connection,
                    packet_id,
                } => (Some(connection), (AckKind::Taken, packet_id, 0)),
                Owed::Denial {
                    connection,
                    packet_id,
                } => (Some(connection), (AckKind::Taken, packet_id, 0x87)),
                Owed::PubRec { session, packet_id } => {
                    let connection = sessions.settle(session, packet_id);
                    (connection, (AckKind::Held, packet_id, 0))
                }
                Owed::PubComp { session, packet_id } => {
                    let connection = sessions.released(session, packet_id);
                    (connection, (AckKind::Released, packet_id, 0))
                }
            };
            if connection == Some(self.connections) {
                self.protocol.handle_settled(answer, &mut self.out);
            }
        }
    }
}

enum Line<'a> {
    Say(&'a [u8]),
    Settle,
    Hear(&'a [u8]),
    Reconnect,
    Restart,
    Stored(usize),
    Closed(Close),
}
use Line::{Closed, Hear, Reconnect, Restart, Say, Settle, Stored};

fn check(name: &str, lines: &[Line<'_>]) {
    let mut device = Device::new(LIMITS);
    for (number, line) in lines.iter().enumerate() {
        match *line {
            Say(bytes) => device.say(bytes),
            Settle => device.settle(),
            Reconnect => device.reconnect(),
            Restart => device.restart(),
            Hear(expected) => {
                assert_eq!(device.out.split(), expected, "{name}, line {number}");
            }
            Stored(expected) => {
                assert_eq!(device.stored.len(), expected, "{name}, line {number}");
            }
            Closed(close) => assert_eq!(device.closed, Some(close), "{name}, line {number}"),
        }
    }
}

const HELLO: &[u8] = &[0x20, 2, 0, 0];
const HELLO_AGAIN: &[u8] = &[0x20, 2, 1, 0];

#[test]
fn acknowledgements_wait_for_receipts() {
    check(
        "QoS 0, 1 and 2",
        &[
            Say(CONNECT),
            Hear(HELLO),
            Say(b"\x30\x04\0\x01ax\x32\x06\0\x01a\0\x07x\x34\x06\0\x01a\0\x08x"),
            Stored(3),
            Hear(b""),
            Settle,
            Hear(b"\x40\x02\0\x07\x50\x02\0\x08"),
            Say(b"\x62\x02\0\x08"),
            Hear(b"\x70\x02\0\x08"),
            Say(b"\xc0\0"),
            Hear(b"\xd0\0"),
            Say(b"\xe0\0"),
            Closed(Close::Goodbye),
            Hear(b""),
        ],
    );
    check(
        "a receipt of the last connection",
        &[
            Say(CONNECT),
            Say(b"\x32\x06\0\x01a\0\x07x"),
            Reconnect,
            Say(CONNECT),
            Hear(HELLO),
            Settle,
            Hear(b""),
        ],
    );
}

#[test]
fn qos_2_is_stored_once_over_a_restart() {
    const PUBLISH: &[u8] = b"\x34\x06\0\x01a\0\x08x";
    check(
        "over a restart of the process",
        &[
            Say(CONNECT_KEPT),
            Hear(HELLO),
            Say(PUBLISH),
            Restart,
            Say(CONNECT_KEPT),
            Hear(HELLO_AGAIN),
            Say(PUBLISH),
            Hear(b"\x50\x02\0\x08"),
            Stored(1),
            Say(b"\x62\x02\0\x08\x62\x02\0\x08"),
            Hear(b""),
            // Not durable yet when the power fails: nothing was said, so it comes again.
            Restart,
            Say(CONNECT_KEPT),
            Hear(HELLO),
            Say(b"\x62\x02\0\x08"),
            Hear(b"\x70\x02\0\x08"),
            Say(PUBLISH),
            Stored(2),
        ],
    );
}

#[test]
fn qos_2_is_stored_once() {
    const PUBLISH: &[u8] = b"\x34\x06\0\x01a\0\x08x";
    check(
        "over connections",
        &[
            Say(CONNECT_KEPT),
            Hear(HELLO),
            Say(PUBLISH),
            Say(PUBLISH),
            Reconnect,
            Say(CONNECT_KEPT),
            Hear(HELLO_AGAIN),
            Say(PUBLISH),
            Hear(b""),
            Settle,
            Hear(b"\x50\x02\0\x08"),
            Reconnect,
            Say(CONNECT_KEPT),
            Hear(HELLO_AGAIN),
            Say(PUBLISH),
            Hear(b"\x50\x02\0\x08"),
            Stored(1),
            Say(b"\x62\x02\0\x08"),
            Hear(b""),
            Settle,
            Hear(b"\x70\x02\0\x08"),
            Say(PUBLISH),
            Stored(2),
        ],
    );
    check(
        "a clean session forgets",
        &[
            Say(CONNECT_KEPT),
            Say(PUBLISH),
            Reconnect,
            Say(CONNECT),
            Hear(HELLO),
            Say(PUBLISH),
            Stored(2),
            Settle,
            Hear(b"\x50\x02\0\x08"),
        ],
    );
    check(
        "MQTT 5 says when a number is not known",
        &[
            Say(CONNECT_5_KEPT),
            Say(b"\x34\x07\0\x01a\0\x08\0x"),
            Settle,
            Say(b"\x62\x02\0\x08\x62\x02\0\x09"),
            Stored(1),
        ],
    );
}

#[test]
fn subscriptions_are_refused() {
    check(
        "3.1.1",
        &[
            Say(CONNECT),
            Hear(HELLO),
            Say(b"\x82\x06\0\x01\0\x01#\0\xa2\x05\0\x02\0\x01#"),
            Hear(b"\x90\x03\0\x01\x80\xb0\x02\0\x02"),
        ],
    );
}

#[test]
fn bad_packets_end_the_connection() {
    let check = |bytes: &[u8], close| {
        for hello in [CONNECT, CONNECT_5] {
            check(
                &format!("{bytes:02x?}"),
                &[Say(hello), Say(bytes), Closed(close)],
            );
        }
    };
    check(CONNECT, Close::Unexpected(PacketType::Connect));
    check(b"\x20\x02\0\0", Close::Unexpected(PacketType::ConnAck));
    check(b"\x40\x02\0\x01", Close::Unexpected(PacketType::PubAck));
    check(b"\xd0\0", Close::Unexpected(PacketType::PingResp));
    check(b"\xf0\0", Close::Unexpected(PacketType::Auth));
    check(b"\x36\x06\0\x01a\0\x08x", Close::Malformed(Malformed::Qos));
    check(
        b"\x32\x06\0\x01a\0\0x",
        Close::Malformed(Malformed::PacketId),
    );
    check(b"\x30\x04\0\x01#\0", Close::Malformed(Malformed::Topic));
    check(
        b"\x30\x03\0\x02\xc3\x28",
        Close::Malformed(Malformed::Short),
    );
    check(b"\x62\x02\0\0", Close::Malformed(Malformed::PacketId));
    check(b"\xc0\x01\0", Close::Malformed(Malformed::Trailing));
    check(
        b"\x30\x80\x01",
        Close::TooLarge {
            packet_bytes: 131,
            packet_bytes_max: 100,
        },
    );
}

#[test]
fn mqtt_5_is_told_why() {
    let check = |bytes: &[u8], reason_code: u8| {
        let mut device = Device::new(LIMITS);
        device.say(CONNECT_5);
        device.out.clear();
        device.say(bytes);
        assert_eq!(device.out, &[0xe0, 1, reason_code][..], "{bytes:02x?}");
    };
    check(CONNECT_5, 0x82);
    check(b"\x30\x80\x01", 0x95);
    check(b"\x36\x07\0\x01a\0\x08\0x", 0x81);
    check(b"\x30\x05\0\x01#\0x", 0x90);
    check(b"\x30\x07\0\0\x03\x23\0\x09x", 0x94);
    check(b"\xf0\0", 0x82);
    // Four in flight are one too many.
    let four: Vec<u8> = (1..=4)
        .flat_map(|id| [0x32, 6, 0, 1, b'a', 0, id, 0])
        .collect();
    check(&four, 0x93);
    let four: Vec<u8> = (1..=4)
        .flat_map(|id| [0x34, 6, 0, 1, b'a', 0, id, 0])
        .collect();
    check(&four, 0x93);
    // A session that ends with its connection gets no new life in DISCONNECT.
    check(b"\xe0\x07\0\x05\x11\0\0\0\x09", 0x82);
}

#[test]
fn the_will_of_a_device_that_vanished() {
    const CONNECT_WILL: &[u8] = b"\x10\x15\0\x04MQTT\x04\x06\0\x0a\0\x03dev\0\x01w\0\x01x";
    let check = |end: &[u8], expected: bool| {
        let mut device = Device::new(LIMITS);
        device.say(CONNECT_WILL);
        device.say(end);
        let close = device.closed.unwrap_or(Close::Silent);
        device.protocol.close(
            Monotonic::default(),
            close,
            &mut device.sessions,
            &mut device.out,
        );
        let will = device.protocol.take_will(WallClock::from_millis(9));
        assert_eq!(will.is_some(), expected, "{end:02x?}");
        if let Some(will) = will {
            assert_eq!(
                (will.payload.as_slice(), will.received_at.as_millis()),
                (&b"x"[..], 9)
            );
        }
    };
    check(b"", true);
    check(b"\x20\x02\0\0", true);
    check(b"\xe0\0", false);
}

#[test]
fn random_packets_never_panic_and_are_acknowledged_once() {
    let alphabet: &[&[u8]] = &[
        CONNECT,
        CONNECT_KEPT,
        CONNECT_5_KEPT,
        b"\x30\x05\0\x01a\0x",
        b"\x32\x07\0\x01a\0\x07\0x",
        b"\x34\x07\0\x01a\0\x08\0x",
        b"\x3c\x07\0\x01a\0\x08\0x",
        b"\x62\x02\0\x08",
        b"\xc0\0",
        b"\xe0\0",
    ];
    for seed in 1..=5000_u64 {
        let mut random = seed;
        let mut next = |below: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            usize::try_from(random >> 16).unwrap() % below
        };
        let mut device = Device::new(LIMITS);
        for _ in 0..30 {
            match next(8) {
                0 => device.reconnect(),
                1 => device.settle(),
                _ => {
                    let mut packet = alphabet[next(alphabet.len())].to_vec();
                    if next(4) == 0 {
                        let at = next(packet.len());
                        packet[at] = u8::try_from(next(256)).unwrap();
                    }
                    device.say(&packet);
                }
            }
        }
        let owed = device
            .stored
            .iter()
            .filter(|record| record.fields.get("qos") != Some(&pipeline::record::Value::Int(0)));
        let receipts = std::mem::take(&mut device.receipts).into_iter();
        let acknowledged = receipts
            .map(Owed::of)
            .filter(|owed| !matches!(owed, Owed::PubComp { .. }));
        assert!(owed.count() >= acknowledged.count(), "seed {seed}");
    }
}

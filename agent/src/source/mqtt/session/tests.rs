//! Sessions step by step, and against a broker and a disk that are cut off at any moment.

use super::*;

enum Step {
    Connect(bool),
    /// Publish; the expected number of stored copies of it in all.
    Publish(Qos, u16, bool),
    /// The oldest receipt comes back.
    Settle,
    Release(u16),
    Sent(&'static [u8]),
}
use Qos::{AtLeastOnce, AtMostOnce, ExactlyOnce};
use Step::{Connect, Publish, Release, Sent, Settle};

fn check(name: &str, version: MqttVersion, steps: &[Step]) {
    let mut session = Session::new(version, 1, &[]);
    let mut receipts = std::collections::VecDeque::new();
    let mut connections = 0;
    let mut out = BytesMut::new();
    for (number, step) in steps.iter().enumerate() {
        match *step {
            Connect(present) => {
                out.clear();
                connections += 1;
                session.handle_disconnected();
                if let Some((_, receipt)) = session.handle_connected(connections, present) {
                    receipts.push_back(receipt);
                }
            }
            Publish(qos, packet_id, stored) => {
                let arrival = session.handle_publish(qos, packet_id, &mut out);
                assert_eq!(arrival != Arrival::Known, stored, "{name}, step {number}");
                if let Arrival::Store(Some(receipt)) = arrival {
                    receipts.push_back(receipt);
                }
            }
            Settle => {
                let receipt = receipts.pop_front().unwrap();
                session.handle_settled(Owed::of(receipt), &mut out);
            }
            Release(packet_id) => {
                receipts.extend(session.handle_release(packet_id, &mut out));
            }
            Sent(expected) => {
                assert_eq!(out.split(), expected, "{name}, step {number}");
            }
        }
    }
}

#[test]
fn acknowledges_what_is_durable_on_the_connection_it_came_by() {
    check(
        "QoS 0 and 1",
        MqttVersion::V311,
        &[
            Connect(false),
            Publish(AtMostOnce, 0, true),
            Publish(AtLeastOnce, 1, true),
            Publish(AtLeastOnce, 2, true),
            Sent(&[]),
            Settle,
            Settle,
            Sent(&[0x40, 2, 0, 1, 0x40, 2, 0, 2]),
        ],
    );
    check(
        "an acknowledgement of the last connection",
        MqttVersion::V311,
        &[
            Connect(false),
            Publish(AtLeastOnce, 1, true),
            Connect(true),
            Publish(AtLeastOnce, 1, true),
            Settle,
            Sent(&[]),
            Settle,
            Sent(&[0x40, 2, 0, 1]),
        ],
    );
}

#[test]
fn qos_2_is_stored_once_over_connections() {
    check(
        "plain",
        MqttVersion::V311,
        &[
            Connect(false),
            Publish(ExactlyOnce, 1, true),
            Publish(ExactlyOnce, 1, false),
            Sent(&[]),
            Settle,
            Sent(&[0x50, 2, 0, 1]),
            Release(1),
            Sent(&[]),
            Settle,
            Sent(&[0x70, 2, 0, 1]),
            Publish(ExactlyOnce, 1, true),
        ],
    );
    check(
        "lost before it was durable",
        MqttVersion::V311,
        &[
            Connect(false),
            Publish(ExactlyOnce, 1, true),
            Connect(true),
            Publish(ExactlyOnce, 1, false),
            Sent(&[]),
            Settle,
            Sent(&[0x50, 2, 0, 1]),
        ],
    );
    check(
        "durable while there was no connection",
        MqttVersion::V311,
        &[
            Connect(false),
            Publish(ExactlyOnce, 1, true),
            Connect(true),
            Settle,
            Sent(&[]),
            Publish(ExactlyOnce, 1, false),
            Sent(&[0x50, 2, 0, 1]),
        ],
    );
}

#[test]
fn qos_2_is_stored_once_over_cuts_between_pubrec_and_pubcomp() {
    check(
        "lost between PUBREC and PUBREL",
        MqttVersion::V5,
        &[
            Connect(false),
            Publish(ExactlyOnce, 1, true),
            Settle,
            Connect(true),
            Release(1),
            Connect(true),
            Release(1),
            Sent(&[]),
            Settle,
            Sent(&[0x70, 2, 0, 1]),
            Release(1),
            Sent(&[0x70, 3, 0, 1, 0x92]),
        ],
    );
    check(
        "the broker forgot the session",
        MqttVersion::V5,
        &[
            Connect(false),
            Publish(ExactlyOnce, 1, true),
            Connect(false),
            Publish(ExactlyOnce, 1, true),
            Settle,
            Sent(&[]),
            // What the old session held is held no more.
            Settle,
            Settle,
            Sent(&[0x50, 2, 0, 1]),
        ],
    );
}

/// The place of the source's checkpoints: what is durable, and what waits for a sync, in order.
#[derive(Default)]
struct Disk {
    durable: (BTreeMap<Vec<u8>, u64>, Vec<u32>),
    waiting: Vec<(Vec<Mark>, Option<u32>, Option<Receipt>)>,
}

impl Disk {
    fn take(&mut self, marks: Vec<Mark>, message: Option<u32>, receipt: Option<Receipt>) {
        self.waiting.push((marks, message, receipt));
    }

    /// Makes the first `count` steps durable and gives their receipts.
    fn sync(&mut self, count: usize) -> Vec<Receipt> {
        let mut receipts = Vec::new();
        for (marks, message, receipt) in self.waiting.drain(..count) {
            for (key, numbers) in marks {
                match numbers {
                    Some(numbers) => drop(self.durable.0.insert(key, numbers)),
                    None => drop(self.durable.0.remove(&key)),
                }
            }
            self.durable.1.extend(message);
            receipts.extend(receipt);
        }
        receipts
    }

    fn checkpoints(&self) -> Vec<(Vec<u8>, u64)> {
        self.durable.0.clone().into_iter().collect()
    }
}

/// A broker that does what MQTT asks of it and nothing more: it does not even set DUP.
#[derive(Default)]
struct Sender {
    next: u32,
    last_id: u16,
    /// By packet identifier: the message, or `None` once PUBREC came.
    in_flight: BTreeMap<u16, Option<u32>>,
    /// Messages of sessions that it has lost; they may be stored or not.
    lost: Vec<u32>,
    /// Whether the session has its subscription.
    is_subscribed: bool,
}

impl Sender {
    const WINDOW: usize = 5;

    /// Packets that it sends: an identifier with a message, or without one for PUBREL.
    fn again(&self) -> Vec<(u16, Option<u32>)> {
        self.in_flight
            .iter()
            .map(|(id, message)| (*id, *message))
            .collect()
    }

    /// A new message with an identifier that is free. Few are used, so that they come again soon.
    fn fresh(&mut self) -> Option<(u16, Option<u32>)> {
        if self.in_flight.len() == Self::WINDOW {
            return None;
        }
        while self.last_id == 0 || self.in_flight.contains_key(&self.last_id) {
            self.last_id = self.last_id % 70 + 1;
        }
        let message = self.next;
        self.next += 1;
        self.in_flight.insert(self.last_id, Some(message));
        Some((self.last_id, Some(message)))
    }

    /// Reads PUBREC and PUBCOMP; gives the PUBRELs that they lead to.
    fn hear(&mut self, out: &mut BytesMut) -> Vec<(u16, Option<u32>)> {
        let mut releases = Vec::new();
        while out.len() >= 4 {
            let packet = out.split_to(if out[1] == 2 { 4 } else { 5 });
            let id = u16::from(packet[2]) << 8 | u16::from(packet[3]);
            match packet[0] {
                0x50 => {
                    if let Some(message) = self.in_flight.get_mut(&id) {
                        *message = None;
                        releases.push((id, None));
                    }
                }
                0x70 => drop(self.in_flight.remove(&id)),
                other => panic!("{other:#x}"),
            }
        }
        releases
    }
}

fn deliver(
    session: &mut Session,
    disk: &mut Disk,
    packets: &[(u16, Option<u32>)],
    out: &mut BytesMut,
) {
    for (id, message) in packets {
        match message {
            Some(message) => {
                if let Arrival::Store(receipt) = session.handle_publish(ExactlyOnce, *id, out) {
                    disk.take(vec![session.mark(*id)], Some(*message), receipt);
                }
            }
            None => {
                if let Some(receipt) = session.handle_release(*id, out) {
                    disk.take(vec![session.mark(*id)], None, Some(receipt));
                }
            }
        }
    }
}

/// A session with its broker and its disk.
struct History {
    session: Session,
    disk: Disk,
    broker: Sender,
    out: BytesMut,
    /// Connections of this run.
    connections: u32,
    /// Whether the broker has the session.
    is_known: bool,
}

impl History {
    fn new() -> Self {
        Self {
            session: Session::new(MqttVersion::V311, 7, &[]),
            disk: Disk::default(),
            broker: Sender::default(),
            out: BytesMut::new(),
            connections: 0,
            is_known: false,
        }
    }

    fn deliver(&mut self, packets: &[(u16, Option<u32>)]) {
        deliver(&mut self.session, &mut self.disk, packets, &mut self.out);
    }

    fn forget(&mut self, forgotten: Option<(Vec<Mark>, Receipt)>) {
        if let Some((marks, receipt)) = forgotten {
            self.disk.take(marks, None, Some(receipt));
        }
    }

    /// The process is cut off; of what waits for the disk the first `count` steps are durable.
    fn restart(&mut self, count: usize) {
        drop(self.disk.sync(count));
        self.disk.waiting.clear();
        self.session = Session::new(MqttVersion::V311, 7, &self.disk.checkpoints());
        self.connections = 0;
    }

    fn lose_session(&mut self) {
        self.is_known = false;
        let lost = std::mem::take(&mut self.broker.in_flight);
        self.broker.lost.extend(lost.into_values().flatten());
        self.broker.is_subscribed = false;
    }

    fn connect(&mut self) {
        self.out.clear();
        self.connections += 1;
        let forgotten = self
            .session
            .handle_connected(self.connections, self.is_known);
        self.forget(forgotten);
        self.is_known = true;
        let again = self.broker.again();
        self.deliver(&again);
    }

    fn publish(&mut self) {
        self.broker.is_subscribed |= self.session.is_ready();
        if self.broker.is_subscribed
            && let Some(fresh) = self.broker.fresh()
        {
            self.deliver(&[fresh]);
        }
    }

    fn sync(&mut self) {
        let count = self.disk.waiting.len();
        for receipt in self.disk.sync(count) {
            let owed = Owed::of(receipt);
            self.session.handle_settled(owed, &mut self.out);
        }
    }

    /// The broker reads what was said, and answers a ping.
    fn hear(&mut self) {
        let releases = self.broker.hear(&mut self.out);
        self.deliver(&releases);
        let forgotten = self.session.handle_pong();
        self.forget(forgotten);
    }

    /// Every message of a session that lives is stored once, of a lost one at most once.
    fn check(&self, seed: u64) {
        let mut times: BTreeMap<u32, u32> = BTreeMap::new();
        for message in &self.disk.durable.1 {
            *times.entry(*message).or_default() += 1;
        }
        for message in 0..self.broker.next {
            let times = times.get(&message).copied().unwrap_or(0);
            let may_lack = self.broker.lost.contains(&message);
            assert!(
                times == 1 || (may_lack && times == 0),
                "seed {seed}: message {message} is stored {times} times"
            );
        }
    }
}

/// Connections and the process are cut off at any moment, and the broker forgets now and then.
#[test]
fn qos_2_is_stored_once_over_cuts_at_any_moment() {
    let (mut restarts, mut stored) = (0, 0);
    for seed in 1..=3_000_u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut random = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state >> 32).unwrap() % below
        };
        let mut history = History::new();
        history.connect();
        for _ in 0..200 {
            match random(12) {
                event @ 0..=1 => {
                    history.session.handle_disconnected();
                    if event == 1 {
                        history.restart(random(history.disk.waiting.len() + 1));
                        restarts += 1;
                    }
                    if random(10) == 0 {
                        history.lose_session();
                    }
                    history.connect();
                }
                2..=6 => history.publish(),
                7..=8 => history.sync(),
                _ => history.hear(),
            }
        }
        for _ in 0..4 {
            history.hear();
            history.sync();
        }
        history.check(seed);
        stored += history.disk.durable.1.len();
    }
    assert!(
        restarts > 10_000 && stored > 50_000,
        "{restarts} restarts, {stored} stored"
    );
}

#[test]
fn checkpoints_of_others_are_left_alone() {
    let other = Session::new(MqttVersion::V311, 2, &[]);
    let (key, _) = other.mark(70);
    let session = Session::new(MqttVersion::V311, 1, &[(key.clone(), 1 << 6)]);
    assert!(session.held.is_empty() && !session.owns(&key) && is_mark(&key));
    let restored = Session::new(MqttVersion::V311, 2, &[(key.clone(), 1 << 6)]);
    assert_eq!(restored.held.keys().collect::<Vec<_>>(), [&70]);
    assert!(!is_mark(b"q") && !is_mark(b"fingerprint"));
    assert_ne!(owner(["a", "b"]), owner(["ab", ""]));
}

//! What a session with a broker owes and remembers, over connections.
//!
//! Decides whether a publish is stored, what is acknowledged when its receipt comes back, and
//! what a PUBREL means. A QoS 1 message is acknowledged only on the connection it came by: after
//! another one is made, the broker sends it again. A QoS 2 message is stored once as long as the
//! broker keeps the session, however many connections that takes.

use std::collections::BTreeMap;

use bytes::BytesMut;
use pipeline::config::{MqttVersion, Qos};
use pipeline::receipt::Receipt;

use super::owed::Owed;
use super::packets::{AckKind, PACKET_ID_NOT_FOUND, write_ack};

/// The session of one source.
#[derive(Debug)]
pub(super) struct Session {
    version: MqttVersion,
    /// Counts connections.
    connection: u32,
    /// Counts sessions: raised whenever the broker has forgotten the last one.
    era: u32,
    /// QoS 2 messages between PUBLISH and PUBREL.
    held: BTreeMap<u16, Held>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    /// Not durable yet; PUBREC goes out on this connection, if it still stands then.
    Storing { connection: u32 },
    /// Durable.
    Stored,
}

/// What to do with a publish.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// Store it; the receipt is owed.
    Store(Option<Receipt>),
    /// It is stored or being stored already.
    Known,
}

impl Session {
    /// Before the first connection.
    pub(super) fn new(version: MqttVersion) -> Self {
        Self {
            version,
            connection: 0,
            era: 0,
            held: BTreeMap::new(),
        }
    }

    /// A connection was made.
    pub(super) fn handle_connected(&mut self, session_present: bool) {
        self.connection = self.connection.wrapping_add(1);
        if !session_present {
            self.era = self.era.wrapping_add(1);
            self.held.clear();
        }
    }

    /// A publish came in.
    pub(super) fn handle_publish(
        &mut self,
        qos: Qos,
        packet_id: u16,
        out: &mut BytesMut,
    ) -> Arrival {
        match qos {
            Qos::AtMostOnce => Arrival::Store(None),
            Qos::AtLeastOnce => {
                let connection = self.connection;
                let owed = Owed::PubAck {
                    connection,
                    packet_id,
                };
                Arrival::Store(Some(owed.receipt()))
            }
            Qos::ExactlyOnce => {
                let connection = self.connection;
                match self.held.get_mut(&packet_id) {
                    Some(Held::Stored) => {
                        write_ack(out, AckKind::Held, packet_id, 0);
                        Arrival::Known
                    }
                    Some(storing @ Held::Storing { .. }) => {
                        *storing = Held::Storing { connection };
                        Arrival::Known
                    }
                    None => {
                        self.held.insert(packet_id, Held::Storing { connection });
                        let session = self.era;
                        Arrival::Store(Some(Owed::PubRec { session, packet_id }.receipt()))
                    }
                }
            }
        }
    }

    /// A receipt came back: its record is durable. Says whether it belonged to this connection.
    pub(super) fn handle_settled(&mut self, receipt: Receipt, out: &mut BytesMut) -> bool {
        match Owed::of(receipt) {
            Owed::PubAck {
                connection,
                packet_id,
            } => {
                let current = connection == self.connection;
                if current {
                    write_ack(out, AckKind::Taken, packet_id, 0);
                }
                current
            }
            Owed::PubRec { session, packet_id } => {
                let Some(held) = self.held.get_mut(&packet_id) else {
                    return false;
                };
                let Held::Storing { connection } = *held else {
                    return false;
                };
                if session != self.era {
                    return false;
                }
                *held = Held::Stored;
                let current = connection == self.connection;
                if current {
                    write_ack(out, AckKind::Held, packet_id, 0);
                }
                current
            }
        }
    }

    /// The broker lets go of a QoS 2 message.
    pub(super) fn handle_release(&mut self, packet_id: u16, out: &mut BytesMut) {
        let known = self.held.remove(&packet_id).is_some();
        let reason_code = match (known, self.version) {
            (false, MqttVersion::V5) => PACKET_ID_NOT_FOUND,
            _ => 0,
        };
        write_ack(out, AckKind::Released, packet_id, reason_code);
    }
}

#[cfg(test)]
mod tests {
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
        let mut session = Session::new(version);
        let mut receipts = std::collections::VecDeque::new();
        let mut out = BytesMut::new();
        for (number, step) in steps.iter().enumerate() {
            match *step {
                Connect(present) => {
                    out.clear();
                    session.handle_connected(present);
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
                    session.handle_settled(receipt, &mut out);
                }
                Release(packet_id) => session.handle_release(packet_id, &mut out),
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
        check(
            "lost between PUBREC and PUBREL",
            MqttVersion::V5,
            &[
                Connect(false),
                Publish(ExactlyOnce, 1, true),
                Settle,
                Connect(true),
                Release(1),
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
                Settle,
                Sent(&[0x50, 2, 0, 1]),
            ],
        );
    }
}

//! What a session with a broker owes and remembers, over connections and restarts.
//!
//! Decides whether a publish is stored, what is acknowledged when its receipt comes back, and
//! what a PUBREL means. A QoS 1 message is acknowledged only on the connection it came by: after
//! another one is made, the broker sends it again. A QoS 2 message is stored once as long as the
//! broker keeps the session, however many connections and restarts that takes: which numbers are
//! held is a checkpoint of the source, durable together with the records.
//!
//! Invariant: a number that is held on disk belongs to a message that the broker has in flight, or
//! nothing is subscribed to. So PUBCOMP goes out only when it is durable that the number is held no
//! more, and nothing is subscribed to before it is durable that what a lost session held is held no
//! more. Otherwise the broker could give a number to another message, which after a crash would
//! pass for the old one. After a restart a session that is there may be younger than what is held:
//! the broker sends again what it has in flight before it answers anything, so that what has not
//! come when it answers a ping is held no more.

use std::collections::BTreeMap;

use bytes::BytesMut;
use pipeline::config::{MqttVersion, Qos};
use pipeline::receipt::Receipt;

use super::owed::Owed;
use super::packets::{AckKind, PACKET_ID_NOT_FOUND, write_ack};

/// What the keys of checkpoints begin with.
const KEY_PREFIX: u8 = b'q';

/// Size of a key: the prefix, who the session belongs to, and which numbers.
const KEY_BYTES: usize = 11;

/// So many numbers share a checkpoint, each with a bit.
const BLOCK: u16 = 64;

/// The session of one source with one broker.
#[derive(Debug)]
pub(super) struct Session {
    version: MqttVersion,
    /// Tells the sessions of several brokers and client identifiers apart, also on disk.
    owner: [u8; 8],
    /// The connection; 0 while there is none.
    connection: u32,
    /// The connection that the session began with, or when it was found: raised whenever the
    /// broker has forgotten the last one.
    era: u32,
    /// QoS 2 messages between PUBLISH and PUBCOMP.
    held: BTreeMap<u16, Held>,
    /// Whether the broker has not sent again yet what it has in flight, as far as that is needed.
    is_asking: bool,
    /// The connection on which it was found that numbers are held no more, while that is not
    /// durable yet.
    forgetting: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    /// Not durable yet; PUBREC goes out on this connection, if it still stands then.
    Storing { connection: u32 },
    /// Durable.
    Stored,
    /// Durable in an earlier run; the broker has not said that it has it in flight.
    Restored,
    /// Let go by the broker, which is not durable yet; PUBCOMP goes out on this connection, if it
    /// still stands then.
    Releasing { connection: u32 },
}

/// What to do with a publish.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// Store it; the receipt is owed.
    Store(Option<Receipt>),
    /// It is stored or being stored already.
    Known,
}

/// A checkpoint: its key, and the numbers of a block or nothing when none is held.
pub(super) type Mark = (Vec<u8>, Option<u64>);

impl Session {
    /// Before the first connection. `owner` is the hash of the broker and the client identifier;
    /// `checkpoints` are those of the source.
    pub(super) fn new(version: MqttVersion, owner: u64, checkpoints: &[(Vec<u8>, u64)]) -> Self {
        let mut session = Self {
            version,
            owner: owner.to_le_bytes(),
            connection: 0,
            era: 0,
            held: BTreeMap::new(),
            is_asking: false,
            forgetting: None,
        };
        for (key, numbers) in checkpoints {
            let Some(first) = session.first_of(key) else {
                continue;
            };
            let held = (0..BLOCK).filter(|bit| numbers & (1 << bit) != 0);
            let held = held.filter_map(|bit| first.checked_add(bit));
            session
                .held
                .extend(held.map(|number| (number, Held::Restored)));
        }
        session
    }

    /// Whether a checkpoint of the source belongs to this session.
    pub(super) fn owns(&self, key: &[u8]) -> bool {
        self.first_of(key).is_some()
    }

    /// A connection was made; `number` counts those of the source, with whichever broker. Gives
    /// the checkpoints to be forgotten with the receipt that is then owed.
    pub(super) fn handle_connected(
        &mut self,
        number: u32,
        session_present: bool,
    ) -> Option<(Vec<Mark>, Receipt)> {
        self.connection = number;
        if self.era == 0 || !session_present {
            self.era = number;
        }
        self.is_asking = session_present && self.held.values().any(|held| *held == Held::Restored);
        if session_present {
            return None;
        }
        self.forget(|_| true)
    }

    /// Whether the broker is to be pinged at once.
    pub(super) fn is_asking(&self) -> bool {
        self.is_asking
    }

    /// The broker answered a ping; as [`Self::handle_connected`] gives what is to be forgotten.
    pub(super) fn handle_pong(&mut self) -> Option<(Vec<Mark>, Receipt)> {
        if !std::mem::replace(&mut self.is_asking, false) {
            return None;
        }
        self.forget(|held| held == Held::Restored)
    }

    fn forget(&mut self, which: impl Fn(Held) -> bool) -> Option<(Vec<Mark>, Receipt)> {
        let gone = self.held.iter().filter(|(_, held)| which(**held));
        let mut gone: Vec<u16> = gone.map(|(number, _)| *number).collect();
        self.held.retain(|_, held| !which(*held));
        gone.dedup_by_key(|number| *number / BLOCK);
        if gone.is_empty() {
            return None;
        }
        self.forgetting = Some(self.connection);
        let marks = gone.iter().map(|number| self.mark(*number)).collect();
        let owed = Owed::PubComp {
            session: self.connection,
            packet_id: 0,
        };
        Some((marks, owed.receipt()))
    }

    /// The connection is lost.
    pub(super) fn handle_disconnected(&mut self) {
        self.connection = 0;
    }

    /// Whether new messages may be asked for: not while a crash could bring numbers back that
    /// an earlier session held.
    pub(super) fn is_ready(&self) -> bool {
        self.forgetting.is_none() && !self.is_asking
    }

    /// The checkpoint that holds `packet_id`, as it is to be once what was handled is durable.
    pub(super) fn mark(&self, packet_id: u16) -> Mark {
        let block = packet_id / BLOCK;
        let numbers = self.held.range(block * BLOCK..=block * BLOCK + (BLOCK - 1));
        let bits = numbers
            .filter(|(_, held)| !matches!(held, Held::Releasing { .. }))
            .fold(0, |bits, (number, _)| bits | (1 << (number % BLOCK)));
        (self.key(block), (bits != 0).then_some(bits))
    }

    /// A publish came in.
    pub(super) fn handle_publish(
        &mut self,
        qos: Qos,
        packet_id: u16,
        out: &mut BytesMut,
    ) -> Arrival {
        let connection = self.connection;
        match qos {
            Qos::AtMostOnce => Arrival::Store(None),
            Qos::AtLeastOnce => {
                let owed = Owed::PubAck {
                    connection,
                    packet_id,
                };
                Arrival::Store(Some(owed.receipt()))
            }
            Qos::ExactlyOnce => match self.held.get_mut(&packet_id) {
                Some(held @ (Held::Stored | Held::Restored)) => {
                    *held = Held::Stored;
                    write_ack(out, AckKind::Held, packet_id, 0);
                    Arrival::Known
                }
                Some(storing @ Held::Storing { .. }) => {
                    *storing = Held::Storing { connection };
                    Arrival::Known
                }
                // A broker that lets a number go may not use it before PUBCOMP; if it does, twice
                // is better than never.
                Some(Held::Releasing { .. }) | None => {
                    self.held.insert(packet_id, Held::Storing { connection });
                    let session = self.era;
                    Arrival::Store(Some(Owed::PubRec { session, packet_id }.receipt()))
                }
            },
        }
    }

    /// What a receipt stands for is durable. Says whether it belonged to this connection.
    pub(super) fn handle_settled(&mut self, owed: Owed, out: &mut BytesMut) -> bool {
        match owed {
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
            Owed::PubComp {
                session,
                packet_id: 0,
            } => {
                self.forgetting = self.forgetting.filter(|connection| *connection != session);
                false
            }
            Owed::PubComp { session, .. } if session != self.era => false,
            Owed::PubComp { packet_id, .. } => {
                let Some(&Held::Releasing { connection }) = self.held.get(&packet_id) else {
                    return false;
                };
                self.held.remove(&packet_id);
                let current = connection == self.connection;
                if current {
                    write_ack(out, AckKind::Released, packet_id, 0);
                }
                current
            }
        }
    }

    /// The broker lets go of a QoS 2 message. Gives the receipt that is owed once [`Self::mark`]
    /// of its number is durable; without one it is answered.
    pub(super) fn handle_release(&mut self, packet_id: u16, out: &mut BytesMut) -> Option<Receipt> {
        let connection = self.connection;
        match self.held.insert(packet_id, Held::Releasing { connection }) {
            Some(Held::Storing { .. } | Held::Stored | Held::Restored) => {
                let session = self.era;
                Some(Owed::PubComp { session, packet_id }.receipt())
            }
            Some(Held::Releasing { .. }) => None,
            None => {
                self.held.remove(&packet_id);
                let reason_code = match self.version {
                    MqttVersion::V5 => PACKET_ID_NOT_FOUND,
                    MqttVersion::V311 => 0,
                };
                write_ack(out, AckKind::Released, packet_id, reason_code);
                None
            }
        }
    }

    fn key(&self, block: u16) -> Vec<u8> {
        let mut key = vec![KEY_PREFIX];
        key.extend(self.owner);
        key.extend(block.to_le_bytes());
        key
    }

    /// The first number of the block that a checkpoint of this session stands for.
    fn first_of(&self, key: &[u8]) -> Option<u16> {
        let block = key
            .strip_prefix(&[KEY_PREFIX])?
            .strip_prefix(self.owner.as_slice())?;
        let block = u16::from_le_bytes(block.try_into().ok()?);
        block.checked_mul(BLOCK)
    }
}

/// Whether a checkpoint is one of a session, whosever.
pub(super) fn is_mark(key: &[u8]) -> bool {
    key.len() == KEY_BYTES && key.first() == Some(&KEY_PREFIX)
}

/// A hash of what a session belongs to, the same in every version of the program: FNV-1a.
pub(super) fn owner<'a>(parts: impl IntoIterator<Item = &'a str>) -> u64 {
    let bytes = parts.into_iter().flat_map(|part| part.bytes().chain([0]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests;

//! What a device says on one connection, and what it is answered.
//!
//! A state machine without a socket or a clock: packets in, answers and records out. It decides
//! who is taken in, what is stored, and when the connection must end; it gives an acknowledgement
//! only for a message whose receipt came back.

mod close;

pub(super) use close::Close;

use std::time::Duration;

use bytes::BytesMut;
use pipeline::config::{MqttVersion, Qos, Secret};
use pipeline::decode::mqtt::{
    Ack, Aliases, Connect, ConnectError, Disconnect, Header, Malformed, PacketType, Publish,
    Sender, Subscription,
};
use pipeline::receipt::Receipt;
use pipeline::record::Record;
use pipeline::time::{Monotonic, WallClock};

use super::answers::{self, Refusal, Terms};
use super::sessions::{EXPIRY_MAX, Hold, Opened, Sessions};
use crate::source::mqtt::owed::Owed;
use crate::source::mqtt::packets::{AckKind, PACKET_ID_NOT_FOUND, write_ack};

/// A longer client identifier is refused: it is kept, and part of every record.
pub(super) const CLIENT_ID_BYTES_MAX: usize = 512;

/// How many topic aliases a device may use.
const ALIASES_MAX: u16 = 16;

/// What holds for every connection.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    /// The largest packet taken.
    pub(super) packet_bytes_max: usize,
    /// How many messages of one device may be unacknowledged.
    pub(super) in_flight_max: u16,
    /// A device without keep-alive may be silent for so long.
    pub(super) idle_max: Duration,
    /// User name every device must give.
    pub(super) username: Option<String>,
    /// Password every device must give.
    pub(super) password: Option<Secret>,
}

/// When and by what chance something happens.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moment {
    /// Passed time.
    pub(super) now: Monotonic,
    /// The calendar.
    pub(super) received_at: WallClock,
    /// For an identifier, should one have to be made up.
    pub(super) random: u64,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Protocol {
    connection: u32,
    state: State,
    /// Who was connected, once it is over.
    gone: Option<Box<str>>,
    will: Option<Record>,
}

#[derive(Debug)]
enum State {
    /// CONNECT is awaited.
    Fresh,
    /// A device is connected.
    Open(Box<Open>),
    /// It is over.
    Closed,
}

#[derive(Debug)]
struct Open {
    version: MqttVersion,
    client: Box<str>,
    session: u32,
    session_expiry: Duration,
    /// How long it may be silent.
    silence_max: Duration,
    aliases: Aliases,
    will: Option<Record>,
    /// QoS 1 messages that wait for their receipts.
    unacknowledged: usize,
}

/// What a packet leads to, besides what is written.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    /// Nothing.
    Done,
    /// A device was taken in; another connection had its session.
    Opened {
        /// That connection, which must end.
        taken_from: Option<u32>,
    },
    /// A record is to be stored, and its receipt owed.
    Store(Record, Option<Receipt>),
    /// The connection must end, after what is written went out.
    Close(Close),
}

impl Protocol {
    /// A connection that has just been accepted.
    pub(super) const fn new(connection: u32) -> Self {
        Self {
            connection,
            state: State::Fresh,
            gone: None,
            will: None,
        }
    }

    /// Who is connected, or was.
    pub(super) fn client(&self) -> Option<&str> {
        match &self.state {
            State::Open(open) => Some(&open.client),
            State::Fresh | State::Closed => self.gone.as_deref(),
        }
    }

    /// How long the device may be silent, once it is connected.
    pub(super) fn silence_max(&self) -> Option<Duration> {
        match &self.state {
            State::Open(open) => Some(open.silence_max),
            State::Fresh | State::Closed => None,
        }
    }

    /// A header came; its packet may be refused before it is read.
    pub(super) fn check_header(&self, header: Header, limits: &Limits) -> Result<(), Close> {
        if matches!(self.state, State::Fresh) && header.kind != PacketType::Connect {
            return Err(Close::NotConnect);
        }
        if header.packet_len() > limits.packet_bytes_max {
            return Err(Close::TooLarge {
                packet_bytes: header.packet_len(),
                packet_bytes_max: limits.packet_bytes_max,
            });
        }
        Ok(())
    }

    /// A whole packet came: `body` is what follows its header.
    pub(super) fn handle_packet(
        &mut self,
        moment: Moment,
        (header, body): (Header, &[u8]),
        limits: &Limits,
        sessions: &mut Sessions,
        out: &mut BytesMut,
    ) -> Step {
        let connection = self.connection;
        match &mut self.state {
            State::Closed => Step::Done,
            State::Fresh if header.kind == PacketType::Connect => {
                match connect(moment, connection, body, limits, sessions, out) {
                    Ok((open, taken_from)) => {
                        self.state = State::Open(Box::new(open));
                        Step::Opened { taken_from }
                    }
                    Err(close) => {
                        self.state = State::Closed;
                        Step::Close(close)
                    }
                }
            }
            State::Fresh => self.close(moment.now, Close::NotConnect, sessions, out),
            State::Open(open) => {
                let handled = if header.kind == PacketType::Publish {
                    open.publish(moment, connection, (header, body), limits, sessions, out)
                } else {
                    open.control(header.kind, body, sessions, out)
                };
                match handled {
                    Ok(step) => step,
                    Err(close) => self.close(moment.now, close, sessions, out),
                }
            }
        }
    }

    /// A message is durable: its acknowledgement goes out.
    pub(super) fn handle_settled(&mut self, kind: AckKind, packet_id: u16, out: &mut BytesMut) {
        let State::Open(open) = &mut self.state else {
            return;
        };
        if kind == AckKind::Taken {
            open.unacknowledged = open.unacknowledged.saturating_sub(1);
        }
        write_ack(out, kind, packet_id, 0);
    }

    /// Ends the connection, for whatever reason; says so where the protocol has words for it.
    pub(super) fn close(
        &mut self,
        now: Monotonic,
        close: Close,
        sessions: &mut Sessions,
        out: &mut BytesMut,
    ) -> Step {
        if let State::Open(open) = &mut self.state {
            self.will = open.will.take();
            self.gone = Some(std::mem::take(&mut open.client));
            sessions.close(now, open.session, self.connection, open.session_expiry);
            if open.version == MqttVersion::V5 && close != Close::Goodbye {
                answers::write_disconnect(out, close.reason_code());
            }
        }
        self.state = State::Closed;
        Step::Close(close)
    }

    /// The record that the device left behind, unless it said goodbye.
    pub(super) fn take_will(&mut self, received_at: WallClock) -> Option<Record> {
        let mut will = self.will.take()?;
        will.received_at = received_at;
        Some(will)
    }
}

impl Open {
    fn publish(
        &mut self,
        moment: Moment,
        connection: u32,
        (header, body): (Header, &[u8]),
        limits: &Limits,
        sessions: &mut Sessions,
        out: &mut BytesMut,
    ) -> Result<Step, Close> {
        let publish = Publish::read(header.first, body, self.version, Sender::Client)
            .map_err(Close::Malformed)?;
        let topic = self
            .aliases
            .resolve(publish.topic, publish.topic_alias)
            .map_err(Close::Malformed)?;
        let record = publish.record(moment.received_at, topic, Some(&self.client));
        let packet_id = publish.packet_id;
        let owed = match publish.qos {
            Qos::AtMostOnce => None,
            Qos::AtLeastOnce => {
                self.unacknowledged += 1;
                self.check_in_flight(limits, sessions)?;
                Some(Owed::PubAck {
                    connection,
                    packet_id,
                })
            }
            Qos::ExactlyOnce => {
                let session = self.session;
                match sessions.hold(session, packet_id, connection) {
                    Hold::New => {
                        if let Err(close) = self.check_in_flight(limits, sessions) {
                            // It is not stored, so it must be new when it comes again.
                            sessions.release(session, packet_id);
                            return Err(close);
                        }
                        Some(Owed::PubRec { session, packet_id })
                    }
                    Hold::Storing => return Ok(Step::Done),
                    Hold::Stored => {
                        write_ack(out, AckKind::Held, packet_id, 0);
                        return Ok(Step::Done);
                    }
                }
            }
        };
        Ok(Step::Store(record, owed.map(Owed::receipt)))
    }

    fn control(
        &mut self,
        kind: PacketType,
        body: &[u8],
        sessions: &mut Sessions,
        out: &mut BytesMut,
    ) -> Result<Step, Close> {
        let version = self.version;
        match kind {
            PacketType::PubRel => {
                let release = Ack::read(body, version).map_err(Close::Malformed)?;
                let known = sessions.release(self.session, release.packet_id);
                let reason_code = if known || version == MqttVersion::V311 {
                    0
                } else {
                    PACKET_ID_NOT_FOUND
                };
                write_ack(out, AckKind::Released, release.packet_id, reason_code);
            }
            PacketType::Subscribe => {
                let asked =
                    Subscription::read_subscribe(body, version).map_err(Close::Malformed)?;
                answers::write_suback(out, version, asked);
            }
            PacketType::Unsubscribe => {
                let asked =
                    Subscription::read_unsubscribe(body, version).map_err(Close::Malformed)?;
                answers::write_unsuback(out, version, asked);
            }
            PacketType::PingReq if body.is_empty() => answers::write_ping_response(out),
            PacketType::PingReq => return Err(Close::Malformed(Malformed::Trailing)),
            PacketType::Disconnect => return Err(self.goodbye(body)),
            PacketType::Connect
            | PacketType::ConnAck
            | PacketType::Publish
            | PacketType::PubAck
            | PacketType::PubRec
            | PacketType::PubComp
            | PacketType::SubAck
            | PacketType::UnsubAck
            | PacketType::PingResp
            | PacketType::Auth => return Err(Close::Unexpected(kind)),
        }
        Ok(Step::Done)
    }

    fn goodbye(&mut self, body: &[u8]) -> Close {
        let disconnect = match Disconnect::read(body, self.version) {
            Ok(disconnect) => disconnect,
            Err(malformed) => return Close::Malformed(malformed),
        };
        match disconnect.session_expiry {
            // A session that was to end with its connection cannot be given a life any more.
            Some(expiry) if expiry > 0 && self.session_expiry.is_zero() => {
                return Close::Malformed(Malformed::PropertyValue(17));
            }
            Some(expiry) => self.session_expiry = Duration::from_secs(u64::from(expiry)),
            None => {}
        }
        if disconnect.reason_code == 0 {
            self.will = None;
        }
        Close::Goodbye
    }

    /// MQTT 5 lets a device have so many messages in flight and no more. Before it nothing is
    /// said, and a device is held back by not being read; only what is kept for QoS 2 is bounded.
    fn check_in_flight(&self, limits: &Limits, sessions: &Sessions) -> Result<(), Close> {
        let held = sessions.held(self.session);
        let in_flight_max = usize::from(limits.in_flight_max);
        let over = match self.version {
            MqttVersion::V311 => held > in_flight_max.saturating_mul(4),
            MqttVersion::V5 => held + self.unacknowledged > in_flight_max,
        };
        if over { Err(Close::InFlight) } else { Ok(()) }
    }
}

/// Takes a device in, or says why not.
fn connect(
    moment: Moment,
    connection: u32,
    body: &[u8],
    limits: &Limits,
    sessions: &mut Sessions,
    out: &mut BytesMut,
) -> Result<(Open, Option<u32>), Close> {
    let connect = match Connect::read(body) {
        Ok(connect) => connect,
        Err(ConnectError::Malformed(malformed)) => return Err(Close::Malformed(malformed)),
        Err(error @ ConnectError::Version(level)) => {
            answers::write_version_refused(out, level);
            return Err(Close::Version(error));
        }
    };
    let version = connect.version;
    if let Err((refusal, close)) = admit(&connect, limits) {
        answers::write_refused(out, version, refusal);
        return Err(close);
    }
    let assigned = connect
        .client_id
        .is_empty()
        .then(|| format!("auto-{:016x}", moment.random));
    let client: Box<str> = assigned.as_deref().unwrap_or(connect.client_id).into();
    let Opened {
        session,
        present,
        taken_from,
    } = sessions.open(moment.now, &client, connect.clean_start, connection);
    let session_expiry = Duration::from_secs(u64::from(connect.session_expiry_s)).min(EXPIRY_MAX);
    let granted_s = u32::try_from(session_expiry.as_secs()).unwrap_or(u32::MAX);
    let silence_max = match connect.keep_alive_s {
        0 => limits.idle_max,
        seconds => Duration::from_millis(u64::from(seconds) * 1500),
    };
    let idle_s = u16::try_from(limits.idle_max.as_secs()).unwrap_or(u16::MAX);
    answers::write_accepted(
        out,
        version,
        Terms {
            session_present: present,
            assigned_client_id: assigned,
            session_expiry_s: (granted_s != connect.session_expiry_s).then_some(granted_s),
            keep_alive_s: (connect.keep_alive_s == 0).then_some(idle_s),
            receive_maximum: limits.in_flight_max,
            packet_bytes_max: u32::try_from(limits.packet_bytes_max).unwrap_or(u32::MAX),
            aliases_max: ALIASES_MAX,
        },
    );
    let will = connect
        .will
        .map(|will| will.record(moment.received_at, &client));
    let open = Open {
        version,
        client,
        session,
        session_expiry,
        silence_max,
        aliases: Aliases::new(ALIASES_MAX),
        will,
        unacknowledged: 0,
    };
    Ok((open, taken_from))
}

fn admit(connect: &Connect<'_>, limits: &Limits) -> Result<(), (Refusal, Close)> {
    if connect.enhanced_authentication {
        return Err((Refusal::AuthenticationMethod, Close::AuthenticationMethod));
    }
    let nameless = connect.client_id.is_empty()
        && connect.version == MqttVersion::V311
        && !connect.clean_start;
    if nameless || connect.client_id.len() > CLIENT_ID_BYTES_MAX {
        return Err((Refusal::ClientId, Close::ClientId));
    }
    let username = limits.username.as_deref().map(str::as_bytes);
    let password = limits
        .password
        .as_ref()
        .map(|password| password.expose().as_bytes());
    let given = connect.username.map(str::as_bytes);
    if !is_same(username, given) || !is_same(password, connect.password) {
        return Err((Refusal::Credentials, Close::Credentials));
    }
    Ok(())
}

/// Whether what was `given` is what is `wanted`, in a time that does not tell where they differ.
fn is_same(wanted: Option<&[u8]>, given: Option<&[u8]>) -> bool {
    let Some(wanted) = wanted else { return true };
    let given = given.unwrap_or_default();
    let differences = wanted
        .iter()
        .zip(given)
        .fold(0, |differences, (a, b)| differences | (a ^ b));
    wanted.len() == given.len() && differences == 0
}

#[cfg(test)]
mod tests;

//! What a device says on one connection, and what it is answered.
//!
//! A state machine without a socket or a clock: packets in, answers and records out. It decides
//! who is taken in, what is stored, and when the connection must end; it gives an acknowledgement
//! only for a message whose receipt came back.

mod close;
mod connect;
mod open;

pub(super) use close::Close;

use std::fmt;
use std::time::Duration;

use bytes::BytesMut;
use pipeline::config::{MqttVersion, Secret};
use pipeline::decode::mqtt::{Header, Malformed, PacketType, Rights};
use pipeline::receipt::Receipt;
use pipeline::record::Record;
use pipeline::time::{Monotonic, WallClock};

use super::answers;
use super::sessions::{Mark, Sessions};
use crate::source::mqtt::packets::{AckKind, write_ack};
use connect::{Connected, Greeting};
use open::Open;

/// A longer client identifier is refused: it is kept, and part of every record.
pub(super) const CLIENT_ID_BYTES_MAX: usize = 512;

/// How many topic aliases a device may use.
const ALIASES_MAX: u16 = 16;

/// MQTT 5: who may not publish there is told so.
pub(super) const NOT_AUTHORIZED: u8 = 0x87;

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
    /// Whether each device has a password of its own, which is checked elsewhere.
    pub(super) has_password_file: bool,
    /// Who may publish where; `None` is everybody everywhere.
    pub(super) rights: Option<Rights>,
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
    /// The name in the device's certificate.
    certified: Option<String>,
    /// What the password file says of it, once it was asked.
    verdict: Option<bool>,
    state: State,
    /// Who was connected, once it is over.
    gone: Option<Box<str>>,
    /// Its session.
    session: Option<u32>,
    /// Where it was not let publish last.
    denied: Option<Box<str>>,
    will: Option<Record>,
}

/// A user name and a password that are to be looked up.
#[derive(PartialEq, Eq)]
pub(super) struct Question {
    /// Who it says it is.
    pub(super) username: Box<str>,
    /// Its password.
    pub(super) password: Box<[u8]>,
}

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
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
    /// CONNECT is to be handled again once this is answered.
    Ask(Question),
    /// A record is to be stored, and its receipt owed; the mark goes with it.
    Store(Record, Option<Receipt>, Option<Mark>),
    /// A receipt is owed once the mark is durable.
    Owe(Receipt, Option<Mark>),
    /// A message is not stored: its device may not publish there. The receipt is owed in its turn.
    Deny(Option<Receipt>),
    /// The device has sent more than it may: the connection must end, after what came before was
    /// acknowledged, or the next one would be no better.
    Overrun,
    /// The connection must end, after what is written went out.
    Close(Close),
}

impl Protocol {
    /// A connection that has just been accepted from one whose certificate names `certified`.
    pub(super) const fn new(connection: u32, certified: Option<String>) -> Self {
        Self {
            connection,
            certified,
            verdict: None,
            state: State::Fresh,
            gone: None,
            session: None,
            denied: None,
            will: None,
        }
    }

    /// Where the device was not let publish last.
    pub(super) fn denied(&self) -> Option<&str> {
        match &self.state {
            State::Open(open) => open.denied.as_deref(),
            State::Fresh | State::Closed => self.denied.as_deref(),
        }
    }

    /// The session of the device, once it is or was connected.
    pub(super) const fn session(&self) -> Option<u32> {
        self.session
    }

    /// What the password file says of the device that is to be taken in.
    pub(super) fn handle_verdict(&mut self, is_right: bool) {
        self.verdict = Some(is_right);
    }

    /// Who is connected, or was.
    pub(super) fn client(&self) -> Option<&str> {
        match &self.state {
            State::Open(open) => Some(&open.client),
            State::Fresh | State::Closed => self.gone.as_deref().or(self.certified.as_deref()),
        }
    }

    /// Whether the device is held to how many messages it may send at a time.
    pub(super) fn is_strict(&self) -> bool {
        matches!(&self.state, State::Open(open) if open.is_strict)
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
        if let State::Open(open) = &self.state
            && open.version == MqttVersion::V5
            && !header.is_minimal()
        {
            return Err(Close::Malformed(Malformed::Length));
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
                let greeting = Greeting {
                    moment,
                    connection,
                    certified: self.certified.as_deref(),
                    verdict: self.verdict,
                    limits,
                };
                match greeting.connect(body, sessions, out) {
                    Ok(Connected::Ask(question)) => Step::Ask(question),
                    Ok(Connected::Open(open, taken_from)) => {
                        self.session = Some(open.session);
                        self.state = State::Open(open);
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
                    Err(Close::InFlight) => Step::Overrun,
                    Err(close) => self.close(moment.now, close, sessions, out),
                }
            }
        }
    }

    /// A message is durable: its acknowledgement goes out.
    pub(super) fn handle_settled(
        &mut self,
        (kind, packet_id, reason_code): (AckKind, u16, u8),
        out: &mut BytesMut,
    ) {
        let State::Open(open) = &mut self.state else {
            return;
        };
        if kind == AckKind::Taken {
            open.unacknowledged = open.unacknowledged.saturating_sub(1);
        }
        write_ack(out, kind, packet_id, reason_code);
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
            let session = open.session;
            self.gone = Some(std::mem::take(&mut open.client));
            self.denied = open.denied.take();
            let ended = sessions.close(now, session, self.connection, open.session_expiry);
            // The agent's end says nothing of the device.
            let will = open.will.take().filter(|_| close != Close::Shutdown);
            self.will = will
                .and_then(|(delay, will)| sessions.keep_will(now, (session, ended), delay, will));
            if open.version == MqttVersion::V5 && close != Close::Goodbye {
                answers::write_disconnect(out, close.reason_code());
            }
        }
        self.state = State::Closed;
        Step::Close(close)
    }

    /// The record that the device left behind, unless it said goodbye or may come back.
    pub(super) fn take_will(&mut self, received_at: WallClock) -> Option<Record> {
        let mut will = self.will.take()?;
        will.received_at = received_at;
        Some(will)
    }
}

#[cfg(test)]
mod tests;

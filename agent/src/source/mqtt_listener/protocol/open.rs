//! What a device that is connected says.

use std::time::Duration;

use bytes::BytesMut;
use pipeline::config::{MqttVersion, Qos};
use pipeline::decode::mqtt::{
    Ack, Aliases, Disconnect, Header, Malformed, PacketType, Publish, Sender, Subscription,
};
use pipeline::record::Record;

use super::super::answers;
use super::super::owed::Owed;
use super::super::sessions::{Hold, Release, Sessions};
use super::{Close, Limits, Moment, NOT_AUTHORIZED, Step};
use crate::source::mqtt::packets::{AckKind, PACKET_ID_NOT_FOUND, write_ack};

/// A device that is connected.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) version: MqttVersion,
    pub(super) client: Box<str>,
    /// Who it is for sure: by its password, or else by its certificate.
    pub(super) user: Option<Box<str>>,
    pub(super) session: u32,
    /// Whether it is held to how many messages it was told that it may send at a time. Who goes on
    /// with a session may send what was in flight before on top of that.
    pub(super) is_strict: bool,
    pub(super) session_expiry: Duration,
    /// How long it may be silent.
    pub(super) silence_max: Duration,
    pub(super) aliases: Aliases,
    /// Its last will, and how long after the end of the connection it is said.
    pub(super) will: Option<(Duration, Record)>,
    /// QoS 1 messages that wait for their receipts.
    pub(super) unacknowledged: usize,
    /// The largest packet it takes.
    pub(super) packet_bytes_max: usize,
    /// Whether it wants to be told reasons in words.
    pub(super) wants_reasons: bool,
    /// Where it was not let publish last.
    pub(super) denied: Option<Box<str>>,
}

impl Open {
    pub(super) fn publish(
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
        if let Some(rights) = &limits.rights
            && !rights.allow(self.user.as_deref(), &self.client, topic)
        {
            self.denied = Some(topic.into());
            return self.deny(connection, &publish, limits, sessions, out);
        }
        let record = publish.record(moment.received_at, topic, Some(&self.client));
        let packet_id = publish.packet_id;
        match publish.qos {
            Qos::AtMostOnce => Ok(Step::Store(record, None, None)),
            Qos::AtLeastOnce => {
                self.unacknowledged += 1;
                self.check_in_flight(limits, sessions)?;
                let owed = Owed::PubAck {
                    connection,
                    packet_id,
                };
                Ok(Step::Store(record, Some(owed.receipt()), None))
            }
            Qos::ExactlyOnce => {
                let session = self.session;
                match sessions.hold(session, packet_id, connection) {
                    Hold::New => {
                        if let Err(close) = self.check_in_flight(limits, sessions) {
                            // It is not stored, so it must be new when it comes again.
                            sessions.let_go(session, packet_id);
                            return Err(close);
                        }
                        let mark = sessions.mark(session, packet_id);
                        let owed = Owed::PubRec { session, packet_id };
                        Ok(Step::Store(record, Some(owed.receipt()), mark))
                    }
                    Hold::Storing => Ok(Step::Done),
                    Hold::Stored => {
                        write_ack(out, AckKind::Held, packet_id, 0);
                        Ok(Step::Done)
                    }
                }
            }
        }
    }

    /// The device may not publish there. MQTT 5 has words for that; before it the connection ends,
    /// because an acknowledgement would say that the message is safe.
    fn deny(
        &mut self,
        connection: u32,
        publish: &Publish<'_>,
        limits: &Limits,
        sessions: &Sessions,
        out: &mut BytesMut,
    ) -> Result<Step, Close> {
        if self.version == MqttVersion::V311 {
            return Err(Close::Denied);
        }
        let packet_id = publish.packet_id;
        Ok(Step::Deny(match publish.qos {
            Qos::AtMostOnce => None,
            Qos::AtLeastOnce => {
                self.unacknowledged += 1;
                self.check_in_flight(limits, sessions)?;
                let owed = Owed::Denial {
                    connection,
                    packet_id,
                };
                Some(owed.receipt())
            }
            Qos::ExactlyOnce => {
                write_ack(out, AckKind::Held, packet_id, NOT_AUTHORIZED);
                None
            }
        }))
    }

    pub(super) fn control(
        &mut self,
        kind: PacketType,
        body: &[u8],
        sessions: &mut Sessions,
        out: &mut BytesMut,
    ) -> Result<Step, Close> {
        let version = self.version;
        match kind {
            PacketType::PubRel => return self.release(body, sessions, out),
            PacketType::Subscribe => {
                let asked =
                    Subscription::read_subscribe(body, version).map_err(Close::Malformed)?;
                self.answer(out, |out, reason| {
                    answers::write_suback(out, version, asked, reason);
                });
            }
            PacketType::Unsubscribe => {
                let asked =
                    Subscription::read_unsubscribe(body, version).map_err(Close::Malformed)?;
                self.answer(out, |out, _| answers::write_unsuback(out, version, asked));
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

    fn release(
        &self,
        body: &[u8],
        sessions: &mut Sessions,
        out: &mut BytesMut,
    ) -> Result<Step, Close> {
        let Ack { packet_id, .. } = Ack::read(body, self.version).map_err(Close::Malformed)?;
        let session = self.session;
        let reason_code = match sessions.release(session, packet_id) {
            Release::Owed => {
                let owed = Owed::PubComp { session, packet_id };
                let mark = sessions.mark(session, packet_id);
                return Ok(Step::Owe(owed.receipt(), mark));
            }
            Release::Waiting => return Ok(Step::Done),
            Release::Unknown if self.version == MqttVersion::V5 => PACKET_ID_NOT_FOUND,
            Release::Unknown | Release::Done => 0,
        };
        write_ack(out, AckKind::Released, packet_id, reason_code);
        Ok(Step::Done)
    }

    /// Writes an answer, with its reason in words if the device wants them and takes so much.
    fn answer(&self, out: &mut BytesMut, write: impl Fn(&mut BytesMut, bool)) {
        let start = out.len();
        for with_reason in [true, false] {
            if with_reason && !self.wants_reasons {
                continue;
            }
            write(out, with_reason);
            if out.len() - start <= self.packet_bytes_max {
                return;
            }
            // What is too large for the device is not sent at all.
            out.truncate(start);
        }
    }

    fn goodbye(&mut self, body: &[u8]) -> Close {
        let disconnect = match Disconnect::read(body, self.version) {
            Ok(disconnect) => disconnect,
            Err(malformed) => return Close::Malformed(malformed),
        };
        if !disconnect.is_of_client() {
            return Close::Malformed(Malformed::ReasonCode);
        }
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

    /// MQTT 5 lets a device have so many messages in flight and no more. Where nothing was said a
    /// device is held back by not being read; only what is kept for QoS 2 is bounded.
    fn check_in_flight(&self, limits: &Limits, sessions: &Sessions) -> Result<(), Close> {
        let held = sessions.held(self.session);
        let in_flight_max = usize::from(limits.in_flight_max);
        let over = if self.is_strict {
            held + self.unacknowledged > in_flight_max
        } else {
            held > in_flight_max.saturating_mul(4)
        };
        if over { Err(Close::InFlight) } else { Ok(()) }
    }
}

//! What only a server answers: CONNACK, SUBACK and UNSUBACK.

use crate::config::{MqttVersion, Qos};

use super::Malformed;
use super::properties::{Properties, id};
use super::reader::Reader;

/// CONNACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnAck<'a> {
    /// Whether the server still had the session.
    pub session_present: bool,
    /// 0, or why the client is not wanted: a return code of 3.1.1 or a reason code of 5.
    pub code: u8,
    /// Why in words (MQTT 5).
    pub reason: Option<&'a str>,
    /// The keep-alive that the server wants instead, in seconds (MQTT 5).
    pub keep_alive_s: Option<u16>,
    /// How long the server keeps the session, where that is not what was asked for (MQTT 5).
    pub session_expiry_s: Option<u32>,
    /// Where else the client should go (MQTT 5).
    pub server_reference: Option<&'a str>,
    /// Whether topic filters may have wildcards (MQTT 5).
    pub wildcards: bool,
    /// Whether subscriptions may be shared (MQTT 5).
    pub shared: bool,
}

impl<'a> ConnAck<'a> {
    /// Reads what follows the header.
    pub fn read(body: &'a [u8], version: MqttVersion) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let flags = reader.byte()?;
        let code = reader.byte()?;
        if flags > 1 || (flags == 1 && code != 0) {
            return Err(Malformed::ConnectFlags);
        }
        let mut properties = Properties::default();
        // A server that does not speak MQTT 5 answers as one of 3.1.1.
        if version == MqttVersion::V5 && !reader.is_empty() {
            properties = Properties::read(&mut reader, CONNACK_PROPERTIES)?;
        }
        reader.end()?;
        let flag = |id| properties.number(id) != Some(0);
        Ok(Self {
            session_present: flags == 1,
            code,
            reason: properties.text(id::REASON_STRING),
            keep_alive_s: properties
                .number(id::SERVER_KEEP_ALIVE)
                .and_then(|seconds| u16::try_from(seconds).ok()),
            session_expiry_s: properties.number(id::SESSION_EXPIRY),
            server_reference: properties.text(id::SERVER_REFERENCE),
            wildcards: flag(id::WILDCARDS_AVAILABLE),
            shared: flag(id::SHARED_AVAILABLE),
        })
    }

    /// Why the client is not wanted, in words; `None` when it is.
    pub fn refusal(&self, version: MqttVersion) -> Option<String> {
        let words = match (version, self.code) {
            (_, 0) => return None,
            (_, 1 | 0x84) => "it does not speak this version of MQTT; write another version",
            (MqttVersion::V311, 2) | (_, 0x85) => "it does not like the client_id",
            (MqttVersion::V311, 3) => "it is not available",
            (MqttVersion::V311, 4) | (_, 0x86) => "bad user name or password",
            (MqttVersion::V311, 5) | (_, 0x87) => "not authorized",
            (_, code) => reason_words(code),
        };
        let mut told = format!("{words} (code {:#04x})", self.code);
        if let Some(reason) = self.reason {
            told = format!("{told}: {reason}");
        }
        if let Some(server) = self.server_reference {
            told = format!("{told}; it names {server} instead");
        }
        Some(told)
    }
}

/// SUBACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubAck<'a> {
    /// Of the SUBSCRIBE.
    pub packet_id: u16,
    codes: &'a [u8],
}

/// The answer for one topic filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Granted {
    /// It is sent with this quality of service at most.
    With(Qos),
    /// It is not sent: the code says why.
    Not(u8),
}

impl<'a> SubAck<'a> {
    /// Reads what follows the header.
    pub fn read(body: &'a [u8], version: MqttVersion) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let packet_id = reader.packet_id()?;
        if version == MqttVersion::V5 {
            Properties::read(&mut reader, &[id::REASON_STRING, id::USER_PROPERTY])?;
        }
        let codes = reader.rest();
        let known = |code: &u8| *code <= 2 || *code >= 0x80;
        if codes.is_empty() || !codes.iter().all(known) {
            return Err(Malformed::Subscription);
        }
        Ok(Self { packet_id, codes })
    }

    /// The answers in the order of the filters.
    pub fn granted(&self) -> impl Iterator<Item = Granted> {
        self.codes.iter().map(|code| match code {
            0 => Granted::With(Qos::AtMostOnce),
            1 => Granted::With(Qos::AtLeastOnce),
            2 => Granted::With(Qos::ExactlyOnce),
            code => Granted::Not(*code),
        })
    }
}

/// UNSUBACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnsubAck {
    /// Of the UNSUBSCRIBE.
    pub packet_id: u16,
    /// The first reason code that says no (MQTT 5).
    pub refusal: Option<u8>,
}

impl UnsubAck {
    /// Reads what follows the header.
    pub fn read(body: &[u8], version: MqttVersion) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let packet_id = reader.packet_id()?;
        if version == MqttVersion::V311 {
            reader.end()?;
            return Ok(Self {
                packet_id,
                refusal: None,
            });
        }
        Properties::read(&mut reader, &[id::REASON_STRING, id::USER_PROPERTY])?;
        let codes = reader.rest();
        if codes.is_empty() {
            return Err(Malformed::Subscription);
        }
        Ok(Self {
            packet_id,
            refusal: codes.iter().copied().find(|code| *code >= 0x80),
        })
    }
}

/// What a reason code of MQTT 5 means.
pub const fn reason_words(code: u8) -> &'static str {
    match code {
        0x00 => "normal",
        0x04 => "with will",
        0x81 => "malformed packet",
        0x82 => "protocol error",
        0x83 => "it cannot do that",
        0x84 => "version not supported",
        0x85 => "client_id not valid",
        0x86 => "bad user name or password",
        0x87 => "not authorized",
        0x88 => "server unavailable",
        0x89 => "server busy",
        0x8a => "banned",
        0x8b => "server shutting down",
        0x8c => "bad authentication method",
        0x8d => "keep-alive time-out",
        0x8e => "another client uses this client_id",
        0x8f => "topic filter not valid",
        0x90 => "topic name not valid",
        0x91 => "packet identifier in use",
        0x92 => "packet identifier not found",
        0x93 => "more messages in flight than allowed",
        0x94 => "topic alias not valid",
        0x95 => "packet too large",
        0x96 => "message rate too high",
        0x97 => "quota exceeded",
        0x98 => "administrative action",
        0x99 => "payload format not valid",
        0x9a => "retained messages not supported",
        0x9b => "quality of service not supported",
        0x9c => "use another server",
        0x9d => "server moved",
        0x9e => "shared subscriptions not supported",
        0x9f => "connection rate exceeded",
        0xa0 => "maximum connect time",
        0xa1 => "subscription identifiers not supported",
        0xa2 => "wildcards not supported",
        _ => "it does not say why",
    }
}

const CONNACK_PROPERTIES: &[u8] = &[
    id::SESSION_EXPIRY,
    id::ASSIGNED_CLIENT_ID,
    id::SERVER_KEEP_ALIVE,
    id::AUTHENTICATION_METHOD,
    id::AUTHENTICATION_DATA,
    id::RESPONSE_INFORMATION,
    id::SERVER_REFERENCE,
    id::REASON_STRING,
    id::RECEIVE_MAXIMUM,
    id::TOPIC_ALIAS_MAXIMUM,
    id::MAXIMUM_QOS,
    id::RETAIN_AVAILABLE,
    id::USER_PROPERTY,
    id::MAXIMUM_PACKET_SIZE,
    id::WILDCARDS_AVAILABLE,
    id::IDENTIFIERS_AVAILABLE,
    id::SHARED_AVAILABLE,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MqttVersion::{V5, V311};

    #[test]
    fn connacks() {
        let check = |body: &[u8], version, expected: Result<(bool, Option<&str>), Malformed>| {
            let read = ConnAck::read(body, version);
            let shown = read.map(|answer| (answer.session_present, answer.refusal(version)));
            let shown = shown
                .as_ref()
                .map(|(present, told)| (*present, told.as_deref()));
            assert_eq!(
                shown,
                expected.as_ref().map(|expected| *expected),
                "{body:02x?}"
            );
        };
        check(&[0, 0], V311, Ok((false, None)));
        check(&[1, 0], V311, Ok((true, None)));
        check(
            &[0, 5],
            V311,
            Ok((false, Some("not authorized (code 0x05)"))),
        );
        check(
            &[0, 99],
            V311,
            Ok((false, Some("it does not say why (code 0x63)"))),
        );
        check(&[1, 5], V311, Err(Malformed::ConnectFlags));
        check(&[2, 0], V311, Err(Malformed::ConnectFlags));
        check(&[0, 0, 0], V311, Err(Malformed::Trailing));
        check(&[0], V311, Err(Malformed::Short));
        check(&[1, 0, 0], V5, Ok((true, None)));
        // An old broker that is asked for MQTT 5.
        check(
            &[0, 1],
            V5,
            Ok((
                false,
                Some("it does not speak this version of MQTT; write another version (code 0x01)"),
            )),
        );
        check(
            &[
                0, 0x9d, 12, 28, 0, 2, b'b', b'2', 31, 0, 4, b'm', b'o', b'v', b'e',
            ],
            V5,
            Ok((
                false,
                Some("server moved (code 0x9d): move; it names b2 instead"),
            )),
        );
        check(&[0, 0, 3, 19, 0], V5, Err(Malformed::Short));
        // A topic alias has no place here.
        check(&[0, 0, 3, 35, 0, 1], V5, Err(Malformed::Property(35)));
        let body = [0, 0, 12, 19, 0, 9, 17, 0, 0, 0, 60, 40, 0, 42, 0];
        let answer = ConnAck::read(&body, V5).unwrap();
        assert_eq!(
            (answer.keep_alive_s, answer.session_expiry_s),
            (Some(9), Some(60))
        );
        assert!(!answer.wildcards && !answer.shared);
    }

    #[test]
    fn subacks() {
        let check = |body: &[u8], version, expected: Result<Vec<Granted>, Malformed>| {
            let read = SubAck::read(body, version).map(|answer| answer.granted().collect());
            assert_eq!(read, expected, "{body:02x?}");
        };
        let granted = vec![
            Granted::With(Qos::AtLeastOnce),
            Granted::Not(0x80),
            Granted::With(Qos::ExactlyOnce),
        ];
        check(&[0, 7, 1, 0x80, 2], V311, Ok(granted));
        check(&[0, 7, 0, 0x87], V5, Ok(vec![Granted::Not(0x87)]));
        check(&[0, 7, 0], V5, Err(Malformed::Subscription));
        check(&[0, 7, 3], V311, Err(Malformed::Subscription));
        check(&[0, 0, 1], V311, Err(Malformed::PacketId));
        check(&[0, 7, 9, 1], V5, Err(Malformed::Short));
    }
}

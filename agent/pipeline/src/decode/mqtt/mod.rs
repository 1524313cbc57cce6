//! MQTT 3.1.1 and 5 as one who receives publishes must read it.
//!
//! Decides what a packet says and whether it may be said at all: framing, reserved bits, text,
//! properties, CONNECT, PUBLISH, acknowledgements and subscriptions. It borrows from the bytes it
//! is given, never panics, never loops beyond them, and keeps nothing. What a session makes of a
//! packet is decided elsewhere.

mod aliases;
mod answers;
mod connect;
mod filter;
mod properties;
mod publish;
mod reader;
mod rights;
mod template;

use std::fmt;

use crate::config::MqttVersion;

pub use aliases::Aliases;
pub use answers::{ConnAck, Granted, SubAck, UnsubAck, reason_words};
pub use connect::{Connect, ConnectError, Will};
pub use filter::{FilterError, check_filter, filters_overlap, share_group, unshared};
pub use properties::{Properties, Property};
pub use publish::{Publish, Sender};
pub use rights::{EVERYBODY, Rights};
pub use template::{TemplateError, TopicTemplate, TopicTemplates};

use properties::id;
use reader::Reader;

/// The longest fixed header: packet type, and a length of four bytes.
pub const HEADER_BYTES_MAX: usize = 5;

/// What kind of packet it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketType {
    /// A client opens its session.
    Connect,
    /// The server's answer to it.
    ConnAck,
    /// A message.
    Publish,
    /// A QoS 1 message is taken.
    PubAck,
    /// A QoS 2 message is taken.
    PubRec,
    /// Its number may be forgotten.
    PubRel,
    /// Its number is forgotten.
    PubComp,
    /// A client wants messages.
    Subscribe,
    /// The server's answer to it.
    SubAck,
    /// A client wants them no more.
    Unsubscribe,
    /// The server's answer to it.
    UnsubAck,
    /// Are you there?
    PingReq,
    /// Yes.
    PingResp,
    /// The end, said aloud.
    Disconnect,
    /// Enhanced authentication (MQTT 5).
    Auth,
}

/// The first bytes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The first byte: type and flags.
    pub first: u8,
    /// What kind of packet it is.
    pub kind: PacketType,
    /// How many bytes the header takes.
    pub header_len: usize,
    /// How many bytes follow it.
    pub body_len: usize,
}

/// Why bytes are not MQTT, or not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// No such packet type.
    PacketType,
    /// Reserved bits of the first byte.
    Flags,
    /// The remaining length, or another variable length, takes more than four bytes.
    Length,
    /// A field reaches beyond the packet or its properties.
    Short,
    /// Bytes are left after the last field.
    Trailing,
    /// Text is not UTF-8 or has a NUL.
    Text,
    /// A packet identifier is zero.
    PacketId,
    /// QoS 3, or DUP with QoS 0.
    Qos,
    /// The topic is empty or has wildcards.
    Topic,
    /// A topic alias is zero, unknown or above the maximum.
    TopicAlias,
    /// Flags of CONNECT that contradict each other or are reserved.
    ConnectFlags,
    /// A property that does not exist or does not belong here.
    Property(u8),
    /// A property given twice.
    PropertyTwice(u8),
    /// A property whose value is forbidden.
    PropertyValue(u8),
    /// SUBSCRIBE or UNSUBSCRIBE without a filter, or with reserved bits.
    Subscription,
    /// A topic filter is empty or has wildcards where none may be.
    TopicFilter,
    /// A reason code that does not exist or does not belong here.
    ReasonCode,
}

impl Malformed {
    /// The reason code with which MQTT 5 says so.
    pub const fn reason_code(self) -> u8 {
        match self {
            Self::PacketType
            | Self::Flags
            | Self::Length
            | Self::Short
            | Self::Trailing
            | Self::Text
            | Self::ConnectFlags
            | Self::Property(_)
            | Self::Qos => 0x81,
            Self::PacketId
            | Self::PropertyTwice(_)
            | Self::PropertyValue(_)
            | Self::Subscription
            | Self::ReasonCode => 0x82,
            Self::TopicFilter => 0x8f,
            Self::Topic => 0x90,
            Self::TopicAlias => 0x94,
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PacketType => f.write_str("packet type does not exist"),
            Self::Flags => f.write_str("reserved bits of the first byte are wrong"),
            Self::Length => f.write_str("length takes more bytes than it may"),
            Self::Short => f.write_str("field reaches beyond the end of its packet"),
            Self::Trailing => f.write_str("bytes are left after the last field"),
            Self::Text => f.write_str("text is not UTF-8 or has a NUL"),
            Self::PacketId => f.write_str("packet identifier is 0"),
            Self::Qos => f.write_str("QoS is 3, or DUP is set with QoS 0"),
            Self::Topic => f.write_str("topic is empty or has wildcards"),
            Self::TopicAlias => f.write_str("topic alias is 0, unknown or above the maximum"),
            Self::ConnectFlags => f.write_str("flags of CONNECT are reserved or contradictory"),
            Self::Property(id) => write!(f, "property {id} does not belong here"),
            Self::PropertyTwice(id) => write!(f, "property {id} occurs twice"),
            Self::PropertyValue(id) => write!(f, "property {id} has a forbidden value"),
            Self::Subscription => {
                f.write_str("subscription has no topic filter or reserved options")
            }
            Self::TopicFilter => f.write_str("topic filter is empty or has misplaced wildcards"),
            Self::ReasonCode => f.write_str("reason code does not belong here"),
        }
    }
}

impl std::error::Error for Malformed {}

impl Header {
    /// Reads a header; `None` when `bytes` do not hold it whole yet.
    pub fn read(bytes: &[u8]) -> Result<Option<Self>, Malformed> {
        let Some((&first, rest)) = bytes.split_first() else {
            return Ok(None);
        };
        let kind = packet_type(first)?;
        let mut body_len = 0;
        for (count, &byte) in rest.iter().take(4).enumerate() {
            body_len |= usize::from(byte & 0x7f) << (7 * count);
            if byte & 0x80 == 0 {
                return Ok(Some(Self {
                    first,
                    kind,
                    header_len: count + 2,
                    body_len,
                }));
            }
        }
        if rest.len() < 4 {
            return Ok(None);
        }
        Err(Malformed::Length)
    }

    /// Whether the length is written in as few bytes as it takes, which MQTT 5 demands.
    pub const fn is_minimal(&self) -> bool {
        match self.header_len {
            2 => true,
            len => self.body_len >> (7 * (len - 2)) != 0,
        }
    }

    /// Size of the whole packet.
    pub const fn packet_len(&self) -> usize {
        self.header_len + self.body_len
    }
}

/// An acknowledgement: PUBACK, PUBREC, PUBREL or PUBCOMP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// What it acknowledges.
    pub packet_id: u16,
    /// Its reason code; 0 before MQTT 5.
    pub reason_code: u8,
}

impl Ack {
    /// Reads what follows the header.
    pub fn read(body: &[u8], version: MqttVersion) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let packet_id = reader.packet_id()?;
        let mut reason_code = 0;
        if version == MqttVersion::V5 && !reader.is_empty() {
            reason_code = reader.byte()?;
            if !reader.is_empty() {
                Properties::read(&mut reader, &[id::REASON_STRING, id::USER_PROPERTY])?;
            }
        }
        reader.end()?;
        Ok(Self {
            packet_id,
            reason_code,
        })
    }
}

/// SUBSCRIBE or UNSUBSCRIBE, as far as one who refuses needs to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// What the answer must carry.
    pub packet_id: u16,
    /// How many topic filters, each of which wants its answer.
    pub filters: usize,
}

impl Subscription {
    /// Reads what follows the header of a SUBSCRIBE.
    pub fn read_subscribe(body: &[u8], version: MqttVersion) -> Result<Self, Malformed> {
        const NO_LOCAL: u8 = 4;
        const ALLOWED: &[u8] = &[id::SUBSCRIPTION_IDENTIFIER, id::USER_PROPERTY];
        // QoS 3 and reserved bits; MQTT 5 has retain handling (not 3) and two flags beside QoS.
        let valid = |options: u8| match version {
            MqttVersion::V311 => options <= 2,
            MqttVersion::V5 => options & 3 != 3 && options & 0x30 != 0x30 && options & 0xc0 == 0,
        };
        Self::read(body, version, ALLOWED, |reader| {
            let filter = reader.text()?;
            check_filter(filter).map_err(|_| Malformed::TopicFilter)?;
            let options = reader.byte()?;
            // Who shares a subscription cannot ask not to hear itself.
            let no_local = version == MqttVersion::V5 && options & NO_LOCAL != 0;
            if valid(options) && !(no_local && filter.starts_with("$share/")) {
                Ok(())
            } else {
                Err(Malformed::Subscription)
            }
        })
    }

    /// Reads what follows the header of an UNSUBSCRIBE.
    pub fn read_unsubscribe(body: &[u8], version: MqttVersion) -> Result<Self, Malformed> {
        Self::read(body, version, &[id::USER_PROPERTY], |reader| {
            check_filter(reader.text()?).map_err(|_| Malformed::TopicFilter)
        })
    }

    fn read(
        body: &[u8],
        version: MqttVersion,
        properties: &[u8],
        filter: impl Fn(&mut Reader<'_>) -> Result<(), Malformed>,
    ) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let packet_id = reader.packet_id()?;
        if version == MqttVersion::V5 {
            Properties::read(&mut reader, properties)?;
        }
        let mut filters = 0;
        while !reader.is_empty() {
            filter(&mut reader)?;
            filters += 1;
        }
        if filters == 0 {
            return Err(Malformed::Subscription);
        }
        Ok(Self { packet_id, filters })
    }
}

/// DISCONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disconnect<'a> {
    /// Why; 0 before MQTT 5.
    pub reason_code: u8,
    /// Why in words.
    pub reason: Option<&'a str>,
    /// The session's new life in seconds.
    pub session_expiry: Option<u32>,
}

impl<'a> Disconnect<'a> {
    /// Whether a client may give this reason.
    pub const fn is_of_client(&self) -> bool {
        matches!(
            self.reason_code,
            0x00 | 0x04 | 0x80..=0x83 | 0x90 | 0x93..=0x99
        )
    }

    /// Reads what follows the header.
    pub fn read(body: &'a [u8], version: MqttVersion) -> Result<Self, Malformed> {
        const ALLOWED: &[u8] = &[
            id::SESSION_EXPIRY,
            id::REASON_STRING,
            id::USER_PROPERTY,
            id::SERVER_REFERENCE,
        ];
        let mut reader = Reader::new(body);
        let mut disconnect = Self {
            reason_code: 0,
            reason: None,
            session_expiry: None,
        };
        if version == MqttVersion::V5 && !reader.is_empty() {
            disconnect.reason_code = reader.byte()?;
            if !reader.is_empty() {
                let properties = Properties::read(&mut reader, ALLOWED)?;
                disconnect.reason = properties.text(id::REASON_STRING);
                disconnect.session_expiry = properties.number(id::SESSION_EXPIRY);
            }
        }
        reader.end()?;
        Ok(disconnect)
    }
}

/// Checks the packet type and its reserved flags; those of PUBLISH mean something.
fn packet_type(first: u8) -> Result<PacketType, Malformed> {
    let (kind, flags) = match first >> 4 {
        1 => (PacketType::Connect, 0),
        2 => (PacketType::ConnAck, 0),
        3 => return Ok(PacketType::Publish),
        4 => (PacketType::PubAck, 0),
        5 => (PacketType::PubRec, 0),
        6 => (PacketType::PubRel, 2),
        7 => (PacketType::PubComp, 0),
        8 => (PacketType::Subscribe, 2),
        9 => (PacketType::SubAck, 0),
        10 => (PacketType::Unsubscribe, 2),
        11 => (PacketType::UnsubAck, 0),
        12 => (PacketType::PingReq, 0),
        13 => (PacketType::PingResp, 0),
        14 => (PacketType::Disconnect, 0),
        15 => (PacketType::Auth, 0),
        _ => return Err(Malformed::PacketType),
    };
    if first & 0x0f == flags {
        Ok(kind)
    } else {
        Err(Malformed::Flags)
    }
}

#[cfg(test)]
mod tests;

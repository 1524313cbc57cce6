//! CONNECT: which version, who, and on what terms.

use std::fmt;

use crate::config::{MqttVersion, Qos};
use crate::record::{Record, Value};
use crate::time::WallClock;

use super::Malformed;
use super::properties::{Properties, id};
use super::publish::insert_properties;
use super::reader::Reader;

/// CONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connect<'a> {
    /// The version spoken from here on.
    pub version: MqttVersion,
    /// Whether an earlier session is to be forgotten.
    pub clean_start: bool,
    /// Seconds within which the client sends something; 0 is never.
    pub keep_alive_s: u16,
    /// Who it is; may be empty.
    pub client_id: &'a str,
    /// User name.
    pub username: Option<&'a str>,
    /// Password: any bytes.
    pub password: Option<&'a [u8]>,
    /// What to publish if the client vanishes.
    pub will: Option<Will<'a>>,
    /// How long the session outlives the connection, in seconds. 3.1.1 knows for ever and not
    /// at all.
    pub session_expiry_s: u32,
    /// Whether it wants enhanced authentication.
    pub enhanced_authentication: bool,
    /// The largest packet it takes, in bytes.
    pub packet_bytes_max: Option<u32>,
    /// Whether it wants to be told reasons in words.
    pub wants_reasons: bool,
}

/// The last will of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Will<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The message.
    pub payload: &'a [u8],
    /// How it would be delivered.
    pub qos: Qos,
    /// Whether it would be kept for later subscribers.
    pub retain: bool,
    /// How long after the end of the connection, in seconds.
    pub delay_s: u32,
    /// More about it.
    pub properties: Properties<'a>,
}

/// Why a CONNECT is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectError {
    /// It asks for a version that is not spoken here.
    Version(u8),
    /// It is not MQTT.
    Malformed(Malformed),
}

impl From<Malformed> for ConnectError {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(3) => f.write_str(
                "it speaks MQTT 3.1, which is not supported: set the client to version 3.1.1 or 5",
            ),
            Self::Version(level) => {
                write!(
                    f,
                    "MQTT protocol level {level} is not supported: use 4 or 5"
                )
            }
            Self::Malformed(malformed) => malformed.fmt(f),
        }
    }
}

impl std::error::Error for ConnectError {}

impl<'a> Connect<'a> {
    /// Reads what follows the header.
    pub fn read(body: &'a [u8]) -> Result<Self, ConnectError> {
        let mut reader = Reader::new(body);
        let version = version(&mut reader)?;
        let flags = reader.byte()?;
        check_flags(flags, version)?;
        let keep_alive_s = reader.u16()?;
        let properties = match version {
            MqttVersion::V311 => Properties::default(),
            MqttVersion::V5 => Properties::read(&mut reader, CONNECT_PROPERTIES)?,
        };
        if properties.has(id::AUTHENTICATION_DATA) && !properties.has(id::AUTHENTICATION_METHOD) {
            return Err(Malformed::PropertyValue(id::AUTHENTICATION_DATA).into());
        }
        let client_id = reader.text()?;
        let will = if flags & WILL != 0 {
            Some(Will::read(&mut reader, flags, version)?)
        } else {
            None
        };
        let username = if flags & USERNAME != 0 {
            Some(reader.text()?)
        } else {
            None
        };
        let password = if flags & PASSWORD != 0 {
            Some(reader.bytes()?)
        } else {
            None
        };
        reader.end()?;
        let clean_start = flags & CLEAN_START != 0;
        let session_expiry_s = match version {
            MqttVersion::V311 if clean_start => 0,
            MqttVersion::V311 => u32::MAX,
            MqttVersion::V5 => properties.number(id::SESSION_EXPIRY).unwrap_or(0),
        };
        Ok(Self {
            version,
            clean_start,
            keep_alive_s,
            client_id,
            username,
            password,
            will,
            session_expiry_s,
            enhanced_authentication: properties.text(id::AUTHENTICATION_METHOD).is_some(),
            packet_bytes_max: properties.number(id::MAXIMUM_PACKET_SIZE),
            wants_reasons: properties.number(id::REQUEST_PROBLEM) != Some(0),
        })
    }
}

impl<'a> Will<'a> {
    fn read(reader: &mut Reader<'a>, flags: u8, version: MqttVersion) -> Result<Self, Malformed> {
        let properties = match version {
            MqttVersion::V311 => Properties::default(),
            MqttVersion::V5 => Properties::read(reader, WILL_PROPERTIES)?,
        };
        let topic = reader.text()?;
        check_topic(topic)?;
        if let Some(response_topic) = properties.text(id::RESPONSE_TOPIC) {
            check_topic(response_topic)?;
        }
        Ok(Self {
            topic,
            payload: reader.bytes()?,
            qos: match (flags >> 3) & 3 {
                0 => Qos::AtMostOnce,
                1 => Qos::AtLeastOnce,
                2 => Qos::ExactlyOnce,
                _ => return Err(Malformed::ConnectFlags),
            },
            retain: flags & WILL_RETAIN != 0,
            delay_s: properties.number(id::WILL_DELAY).unwrap_or(0),
            properties,
        })
    }

    /// The record that `client` leaves behind.
    pub fn record(&self, received_at: WallClock, client: &str) -> Record {
        let mut record = Record::new(received_at, self.payload.to_vec());
        record.fields.insert("topic", self.topic);
        record
            .fields
            .insert("qos", Value::Int(self.qos.level().into()));
        if self.retain {
            record.fields.insert("retain", Value::Bool(true));
        }
        record.fields.insert("client", client);
        record.fields.insert("will", Value::Bool(true));
        insert_properties(&mut record.fields, self.properties);
        record
    }
}

/// A topic name that one may publish to.
pub(super) fn check_topic(topic: &str) -> Result<(), Malformed> {
    if topic.is_empty() || topic.contains(['+', '#']) {
        Err(Malformed::Topic)
    } else {
        Ok(())
    }
}

fn version(reader: &mut Reader<'_>) -> Result<MqttVersion, ConnectError> {
    let name = reader.text()?;
    let level = reader.byte()?;
    match (name, level) {
        ("MQTT", 4) => Ok(MqttVersion::V311),
        ("MQTT", 5) => Ok(MqttVersion::V5),
        ("MQTT" | "MQIsdp", level) => Err(ConnectError::Version(level)),
        _ => Err(ConnectError::Malformed(Malformed::Text)),
    }
}

fn check_flags(flags: u8, version: MqttVersion) -> Result<(), Malformed> {
    let will_details = flags & (WILL_RETAIN | WILL_QOS) != 0;
    let password_alone = flags & (USERNAME | PASSWORD) == PASSWORD;
    let wrong = flags & 1 != 0
        || (flags & WILL == 0 && will_details)
        || flags & WILL_QOS == WILL_QOS
        || (password_alone && version == MqttVersion::V311);
    if wrong {
        Err(Malformed::ConnectFlags)
    } else {
        Ok(())
    }
}

const CLEAN_START: u8 = 0x02;
const WILL: u8 = 0x04;
const WILL_QOS: u8 = 0x18;
const WILL_RETAIN: u8 = 0x20;
const PASSWORD: u8 = 0x40;
const USERNAME: u8 = 0x80;

const CONNECT_PROPERTIES: &[u8] = &[
    id::SESSION_EXPIRY,
    id::RECEIVE_MAXIMUM,
    id::MAXIMUM_PACKET_SIZE,
    id::TOPIC_ALIAS_MAXIMUM,
    id::REQUEST_RESPONSE,
    id::REQUEST_PROBLEM,
    id::USER_PROPERTY,
    id::AUTHENTICATION_METHOD,
    id::AUTHENTICATION_DATA,
];

const WILL_PROPERTIES: &[u8] = &[
    id::WILL_DELAY,
    id::PAYLOAD_FORMAT,
    id::MESSAGE_EXPIRY,
    id::CONTENT_TYPE,
    id::RESPONSE_TOPIC,
    id::CORRELATION_DATA,
    id::USER_PROPERTY,
];

//! MQTT 5 properties: checked as a whole once, then looked up.
//!
//! Invariant: the bytes of a [`Properties`] are well formed, so that walking them again never
//! stops early.

use super::Malformed;
use super::reader::Reader;

/// The numbers of the properties.
pub(super) mod id {
    pub(in super::super) const PAYLOAD_FORMAT: u8 = 1;
    pub(in super::super) const MESSAGE_EXPIRY: u8 = 2;
    pub(in super::super) const CONTENT_TYPE: u8 = 3;
    pub(in super::super) const RESPONSE_TOPIC: u8 = 8;
    pub(in super::super) const CORRELATION_DATA: u8 = 9;
    pub(in super::super) const SUBSCRIPTION_IDENTIFIER: u8 = 11;
    pub(in super::super) const SESSION_EXPIRY: u8 = 17;
    pub(in super::super) const ASSIGNED_CLIENT_ID: u8 = 18;
    pub(in super::super) const SERVER_KEEP_ALIVE: u8 = 19;
    pub(in super::super) const AUTHENTICATION_METHOD: u8 = 21;
    pub(in super::super) const AUTHENTICATION_DATA: u8 = 22;
    pub(in super::super) const REQUEST_PROBLEM: u8 = 23;
    pub(in super::super) const WILL_DELAY: u8 = 24;
    pub(in super::super) const REQUEST_RESPONSE: u8 = 25;
    pub(in super::super) const RESPONSE_INFORMATION: u8 = 26;
    pub(in super::super) const SERVER_REFERENCE: u8 = 28;
    pub(in super::super) const REASON_STRING: u8 = 31;
    pub(in super::super) const RECEIVE_MAXIMUM: u8 = 33;
    pub(in super::super) const TOPIC_ALIAS_MAXIMUM: u8 = 34;
    pub(in super::super) const TOPIC_ALIAS: u8 = 35;
    pub(in super::super) const MAXIMUM_QOS: u8 = 36;
    pub(in super::super) const RETAIN_AVAILABLE: u8 = 37;
    pub(in super::super) const USER_PROPERTY: u8 = 38;
    pub(in super::super) const MAXIMUM_PACKET_SIZE: u8 = 39;
    pub(in super::super) const WILDCARDS_AVAILABLE: u8 = 40;
    pub(in super::super) const IDENTIFIERS_AVAILABLE: u8 = 41;
    pub(in super::super) const SHARED_AVAILABLE: u8 = 42;
}

/// The value of a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Property<'a> {
    /// A number of any width.
    Number(u32),
    /// Text.
    Text(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
    /// A name and a value.
    Pair(&'a str, &'a str),
}

/// The properties of one packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Properties<'a>(&'a [u8]);

impl<'a> Properties<'a> {
    /// Reads properties of which only `allowed` may occur, each once except user properties and
    /// subscription identifiers.
    pub(super) fn read(reader: &mut Reader<'a>, allowed: &[u8]) -> Result<Self, Malformed> {
        let len = usize::try_from(reader.variable()?).map_err(|_| Malformed::Length)?;
        let bytes = reader.take(len)?;
        let mut rest = Reader::new(bytes);
        let mut seen = 0_u64;
        while !rest.is_empty() {
            let (id, value) = read_one(&mut rest)?;
            if !allowed.contains(&id) {
                return Err(Malformed::Property(id));
            }
            let bit = 1_u64 << (id & 63);
            let repeats = matches!(id, id::USER_PROPERTY | id::SUBSCRIPTION_IDENTIFIER);
            if seen & bit != 0 && !repeats {
                return Err(Malformed::PropertyTwice(id));
            }
            seen |= bit;
            check_value(id, value)?;
        }
        Ok(Self(bytes))
    }

    /// Numbers and values in order.
    pub fn iter(self) -> impl Iterator<Item = (u8, Property<'a>)> {
        let mut rest = Reader::new(self.0);
        std::iter::from_fn(move || read_one(&mut rest).ok())
    }

    /// The number that property `id` has.
    pub fn number(self, id: u8) -> Option<u32> {
        self.iter().find_map(|(found, value)| match value {
            Property::Number(number) if found == id => Some(number),
            Property::Number(_) | Property::Text(_) | Property::Bytes(_) | Property::Pair(..) => {
                None
            }
        })
    }

    /// The text that property `id` has.
    pub fn text(self, id: u8) -> Option<&'a str> {
        self.iter().find_map(|(found, value)| match value {
            Property::Text(text) if found == id => Some(text),
            Property::Number(_) | Property::Text(_) | Property::Bytes(_) | Property::Pair(..) => {
                None
            }
        })
    }

    /// Whether property `id` is among them.
    pub fn has(self, id: u8) -> bool {
        self.iter().any(|(found, _)| found == id)
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}

fn read_one<'a>(reader: &mut Reader<'a>) -> Result<(u8, Property<'a>), Malformed> {
    let id = reader.byte()?;
    let value = match id {
        id::PAYLOAD_FORMAT
        | id::REQUEST_PROBLEM
        | id::REQUEST_RESPONSE
        | id::MAXIMUM_QOS
        | id::RETAIN_AVAILABLE
        | id::WILDCARDS_AVAILABLE
        | id::IDENTIFIERS_AVAILABLE
        | id::SHARED_AVAILABLE => Property::Number(u32::from(reader.byte()?)),
        id::SERVER_KEEP_ALIVE | id::RECEIVE_MAXIMUM | id::TOPIC_ALIAS_MAXIMUM | id::TOPIC_ALIAS => {
            Property::Number(u32::from(reader.u16()?))
        }
        id::MESSAGE_EXPIRY | id::SESSION_EXPIRY | id::WILL_DELAY | id::MAXIMUM_PACKET_SIZE => {
            Property::Number(reader.u32()?)
        }
        id::SUBSCRIPTION_IDENTIFIER => Property::Number(reader.variable()?),
        id::CONTENT_TYPE
        | id::RESPONSE_TOPIC
        | id::ASSIGNED_CLIENT_ID
        | id::AUTHENTICATION_METHOD
        | id::RESPONSE_INFORMATION
        | id::SERVER_REFERENCE
        | id::REASON_STRING => Property::Text(reader.text()?),
        id::CORRELATION_DATA | id::AUTHENTICATION_DATA => Property::Bytes(reader.bytes()?),
        id::USER_PROPERTY => Property::Pair(reader.text()?, reader.text()?),
        unknown => return Err(Malformed::Property(unknown)),
    };
    Ok((id, value))
}

/// Values that MQTT 5 forbids wherever the property occurs.
fn check_value(id: u8, value: Property<'_>) -> Result<(), Malformed> {
    let forbidden = match (id, value) {
        (
            id::RECEIVE_MAXIMUM | id::MAXIMUM_PACKET_SIZE | id::SUBSCRIPTION_IDENTIFIER,
            Property::Number(number),
        ) => number == 0,
        (
            id::PAYLOAD_FORMAT
            | id::REQUEST_PROBLEM
            | id::REQUEST_RESPONSE
            | id::MAXIMUM_QOS
            | id::RETAIN_AVAILABLE
            | id::WILDCARDS_AVAILABLE
            | id::IDENTIFIERS_AVAILABLE
            | id::SHARED_AVAILABLE,
            Property::Number(number),
        ) => number > 1,
        (id::TOPIC_ALIAS, Property::Number(0)) => return Err(Malformed::TopicAlias),
        _ => false,
    };
    if forbidden {
        Err(Malformed::PropertyValue(id))
    } else {
        Ok(())
    }
}

//! PUBLISH, and the record it becomes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::config::{MqttVersion, Qos};
use crate::record::{Fields, Record, Value};
use crate::time::WallClock;

use super::properties::{Properties, Property, id};
use super::reader::Reader;
use super::{Malformed, connect::check_topic};

/// Who sent the packet: a server may say things that a client may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// A client.
    Client,
    /// A server.
    Server,
}

/// PUBLISH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish<'a> {
    /// It may have been sent before.
    pub dup: bool,
    /// How it is to be acknowledged.
    pub qos: Qos,
    /// It is, or is to be, kept for later subscribers.
    pub retain: bool,
    /// What an acknowledgement must carry; 0 with QoS 0.
    pub packet_id: u16,
    /// The topic; empty when only an alias is given.
    pub topic: &'a str,
    /// Short form of the topic (MQTT 5).
    pub topic_alias: Option<u16>,
    /// More about it (MQTT 5).
    pub properties: Properties<'a>,
    /// The message.
    pub payload: &'a [u8],
}

impl<'a> Publish<'a> {
    /// Reads a packet whose first byte is `first`; `body` is what follows the header. A body cut
    /// short within its payload reads as a shorter payload.
    pub fn read(
        first: u8,
        body: &'a [u8],
        version: MqttVersion,
        sender: Sender,
    ) -> Result<Self, Malformed> {
        let dup = first & 8 != 0;
        let qos = match (first >> 1) & 3 {
            0 if !dup => Qos::AtMostOnce,
            1 => Qos::AtLeastOnce,
            2 => Qos::ExactlyOnce,
            _ => return Err(Malformed::Qos),
        };
        let mut reader = Reader::new(body);
        let topic = reader.text()?;
        let packet_id = match qos {
            Qos::AtMostOnce => 0,
            Qos::AtLeastOnce | Qos::ExactlyOnce => reader.packet_id()?,
        };
        let mut properties = Properties::default();
        let mut topic_alias = None;
        if version == MqttVersion::V5 {
            properties = Properties::read(&mut reader, allowed(sender))?;
            topic_alias = properties
                .number(id::TOPIC_ALIAS)
                .and_then(|alias| u16::try_from(alias).ok());
            if let Some(response_topic) = properties.text(id::RESPONSE_TOPIC) {
                check_topic(response_topic)?;
            }
        }
        if topic_alias.is_none() || !topic.is_empty() {
            check_topic(topic)?;
        }
        Ok(Self {
            dup,
            qos,
            retain: first & 1 != 0,
            packet_id,
            topic,
            topic_alias,
            properties,
            payload: reader.rest(),
        })
    }

    /// The record of this message. `topic` is given again because an alias may stand for it;
    /// `client` is who published, where that is known.
    pub fn record(&self, received_at: WallClock, topic: &str, client: Option<&str>) -> Record {
        let mut record = Record::new(received_at, self.payload.to_vec());
        record.fields.insert("topic", topic);
        record
            .fields
            .insert("qos", Value::Int(self.qos.level().into()));
        if self.retain {
            record.fields.insert("retain", Value::Bool(true));
        }
        if let Some(client) = client {
            record.fields.insert("client", client);
        }
        insert_properties(&mut record.fields, self.properties);
        record
    }
}

/// What MQTT 5 lets a publisher say about its message.
pub(super) fn insert_properties(fields: &mut Fields, properties: Properties<'_>) {
    let mut user_properties = Fields::new();
    for (id, value) in properties.iter() {
        match (id, value) {
            (id::CONTENT_TYPE, Property::Text(text)) => fields.insert("content_type", text),
            (id::RESPONSE_TOPIC, Property::Text(text)) => fields.insert("response_topic", text),
            (id::MESSAGE_EXPIRY, Property::Number(seconds)) => {
                fields.insert("message_expiry_s", Value::Int(i64::from(seconds)));
            }
            (id::PAYLOAD_FORMAT, Property::Number(1)) => fields.insert("payload_format", "utf-8"),
            (id::CORRELATION_DATA, Property::Bytes(bytes)) => match str::from_utf8(bytes) {
                Ok(text) => fields.insert("correlation_data", text),
                Err(_) => fields.insert("correlation_data_base64", STANDARD.encode(bytes)),
            },
            (id::USER_PROPERTY, Property::Pair(name, value)) => {
                insert_repeated(&mut user_properties, name, value);
            }
            _ => {}
        }
    }
    if !user_properties.is_empty() {
        fields.insert("user_properties", Value::Map(user_properties));
    }
}

/// A name that occurs again becomes a list, because MQTT 5 keeps every pair and their order.
fn insert_repeated(fields: &mut Fields, name: &str, value: &str) {
    match fields.get_mut(name) {
        None => fields.insert(name, value),
        Some(Value::List(values)) => values.push(value.into()),
        Some(first) => {
            let first_value = std::mem::replace(first, Value::Null);
            *first = Value::List(vec![first_value, value.into()]);
        }
    }
}

const fn allowed(sender: Sender) -> &'static [u8] {
    const SERVER: [u8; 8] = [
        id::PAYLOAD_FORMAT,
        id::MESSAGE_EXPIRY,
        id::TOPIC_ALIAS,
        id::RESPONSE_TOPIC,
        id::CORRELATION_DATA,
        id::USER_PROPERTY,
        id::CONTENT_TYPE,
        id::SUBSCRIPTION_IDENTIFIER,
    ];
    const CLIENT: [u8; 7] = [
        id::PAYLOAD_FORMAT,
        id::MESSAGE_EXPIRY,
        id::TOPIC_ALIAS,
        id::RESPONSE_TOPIC,
        id::CORRELATION_DATA,
        id::USER_PROPERTY,
        id::CONTENT_TYPE,
    ];
    match sender {
        Sender::Client => &CLIENT,
        Sender::Server => &SERVER,
    }
}

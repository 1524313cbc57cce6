//! One unit of data on its way from a source to its destinations.
//!
//! A [`Record`] holds the payload as it was received and what is known about it as fields.
//! Whoever changes fields that were parsed out of the payload calls [`Record::fields_changed`]:
//! from then on the payload no longer says what the record says, and is gone.

use serde::{Deserialize, Serialize};

use crate::time::WallClock;

/// A field's value; what JSON can say, with whole numbers kept exact.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Value {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number that fits 64 bits with a sign.
    Int(i64),
    /// A whole number above `i64::MAX`.
    Uint(u64),
    /// Any other number; always finite.
    Float(f64),
    /// Text.
    Text(String),
    /// Several values in order.
    List(Vec<Value>),
    /// Named values.
    Map(Fields),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

/// Named values in the order they were added; a name occurs once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Fields(Vec<(String, Value)>);

impl Fields {
    /// No fields.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// How many fields.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of `name`, taken literally (no path).
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value)
    }

    /// The value of `name`, to be changed.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Value> {
        self.0
            .iter_mut()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value)
    }

    /// Sets `name`, in its old place when it exists.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<Value>) {
        let (name, value) = (name.into(), value.into());
        match self.get_mut(&name) {
            Some(place) => *place = value,
            None => self.0.push((name, value)),
        }
    }

    /// Takes `name` out.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        let index = self.0.iter().position(|(key, _)| key == name)?;
        Some(self.0.remove(index).1)
    }

    /// Keeps the fields that `keep` says yes to.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &mut Value) -> bool) {
        self.0.retain_mut(|(name, value)| keep(name, value));
    }

    /// Names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }
}

/// What the payload still means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PayloadState {
    /// Nobody has looked inside: the payload is the data.
    #[default]
    Opaque,
    /// Its content is in the fields as well, unchanged.
    Parsed,
    /// The fields say something else by now; the payload is empty.
    Replaced,
}

/// One unit of data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// When the source took it, by the machine's clock.
    pub received_at: WallClock,
    /// When it happened, if its content or protocol says so.
    pub time: Option<WallClock>,
    /// The bytes as received; empty when `payload_state` is `Replaced`.
    pub payload: Vec<u8>,
    /// What the payload still means.
    pub payload_state: PayloadState,
    /// What is known: of its transport (topic, path, host) and, once parsed, of its content.
    pub fields: Fields,
    /// Why the content could not be understood; the payload is then as received.
    pub decode_error: Option<String>,
}

impl Record {
    /// A record of `payload` that nobody has looked into.
    pub fn new(received_at: WallClock, payload: Vec<u8>) -> Self {
        Self {
            received_at,
            payload,
            ..Self::default()
        }
    }

    /// To be called by whoever changed, added or removed a field after parsing.
    pub fn fields_changed(&mut self) {
        if self.payload_state == PayloadState::Parsed {
            self.payload_state = PayloadState::Replaced;
            self.payload = Vec::new();
        }
    }

    /// Marks the record as not understood; the first reason stays.
    pub fn mark(&mut self, reason: impl Into<String>) {
        if self.decode_error.is_none() {
            self.decode_error = Some(reason.into());
        }
    }
}

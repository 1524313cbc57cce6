//! One unit of data on its way from a source to its destinations.
//!
//! A [`Record`] holds the payload as it was received and what is known about it as fields.
//! Whoever changes fields that were parsed out of the payload calls [`Record::fields_changed`]:
//! from then on the payload no longer says what the record says, and is gone.

mod json;
mod path;

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::clock::Taken;
use crate::time::WallClock;

pub use path::{Path, PathError, SetError};

/// How deep lists and maps may lie in each other, counted over a record's fields.
///
/// What is read from outside and what a path may add are each bounded by less, so that every walk
/// over a value may recurse.
pub const DEPTH_MAX: usize = 128;

/// Up to so many fields a name is found by looking at each.
const SCAN_COUNT_MAX: usize = 16;

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

impl Value {
    /// How many levels of lists and maps this value has; 0 for anything else.
    pub fn depth(&self) -> usize {
        match self {
            Self::List(items) => deepest(items.iter()),
            Self::Map(fields) => deepest(fields.iter().map(|(_, value)| value)),
            Self::Null
            | Self::Bool(_)
            | Self::Int(_)
            | Self::Uint(_)
            | Self::Float(_)
            | Self::Text(_) => 0,
        }
    }
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

    /// The fields in `pairs`; a name that occurs again replaces the value, in the first place.
    pub fn from_pairs(pairs: Vec<(String, Value)>) -> Self {
        let mut fields = Self::new();
        fields.merge(pairs);
        fields
    }

    /// Sets each of `pairs`, as [`Fields::insert`] does, in a time that does not explode with
    /// their number.
    pub fn merge(&mut self, pairs: Vec<(String, Value)>) {
        if self.0.len().saturating_add(pairs.len()) <= SCAN_COUNT_MAX {
            for (name, value) in pairs {
                self.insert(name, value);
            }
            return;
        }
        let mut places: HashMap<String, usize> = self
            .0
            .iter()
            .enumerate()
            .map(|(place, (name, _))| (name.clone(), place))
            .collect();
        for (name, value) in pairs {
            let known = places.get(&name).and_then(|place| self.0.get_mut(*place));
            if let Some((_, old)) = known {
                *old = value;
            } else {
                places.insert(name.clone(), self.0.len());
                self.0.push((name, value));
            }
        }
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

    /// Names and values in order, given up.
    pub fn into_pairs(self) -> Vec<(String, Value)> {
        self.0
    }

    /// Values in order, to be changed.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut Value> {
        self.0.iter_mut().map(|(_, value)| value)
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
    /// The same moment as the machine itself counts; known from the ring on.
    pub taken: Taken,
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

fn deepest<'a>(values: impl Iterator<Item = &'a Value>) -> usize {
    values
        .map(Value::depth)
        .max()
        .unwrap_or(0)
        .saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_occurs_once_however_many_there_are() {
        for count in [3, 100] {
            let mut pairs: Vec<(String, Value)> = (0..count)
                .map(|number| (format!("n{number}"), Value::Int(number)))
                .collect();
            pairs.push(("n1".to_owned(), Value::from("again")));
            let fields = Fields::from_pairs(pairs);
            assert_eq!(fields.len(), usize::try_from(count).unwrap());
            assert_eq!(
                fields.iter().nth(1),
                Some(("n1", &Value::from("again"))),
                "{count}"
            );
        }
    }

    #[test]
    fn depth_counts_levels() {
        let nested = Value::List(vec![Value::Map(Fields::from_pairs(vec![(
            "a".to_owned(),
            Value::Int(1),
        )]))]);
        assert_eq!(nested.depth(), 2);
        assert_eq!(Value::Null.depth(), 0);
    }
}

//! A record as bytes in the ring: a version byte, then postcard.
//!
//! Behind the version come a head with the payload and then the fields, name and value in turn,
//! until the end. Lists and maps are stored as their length and their content, so that a reader
//! may walk over a record without taking anything out of it: [`StoredRef`] borrows everything and
//! allocates nothing. Bytes that are no record are an error; they never cost more memory than
//! they are long, and never more stack than [`DEPTH_MAX`] levels.

use std::fmt;

use postcard::ser_flavors::Flavor;
use serde::{Deserialize, Serialize, Serializer};

use crate::clock::{BootId, BootTag, Boottime, Taken};
use crate::record::{DEPTH_MAX, Fields, PayloadState, Record, Value};
use crate::time::WallClock;

/// The version that [`encode`] writes.
const VERSION: u8 = 1;

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoredError {
    /// There are no bytes.
    Empty,
    /// Written by a version of Hydrant that this one does not know.
    UnknownVersion {
        /// The version byte.
        version: u8,
    },
    /// The bytes are damaged.
    Malformed,
    /// Lists and maps lie deeper in each other than [`DEPTH_MAX`].
    TooDeep,
}

/// How far the time of a stored record can be believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClockMark {
    /// The time was known.
    #[default]
    Synced,
    /// Nobody knows the time of its boot.
    Unsynced {
        /// Which boot it was, if the ring remembers.
        boot: Option<BootId>,
    },
    /// It was not known and is put right.
    Corrected {
        /// What was added to the time that is stored.
        offset_ms: i64,
    },
}

/// A stored record, borrowed from its bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StoredRef<'a> {
    /// When the source took it.
    pub received_at: WallClock,
    /// The same moment as the machine itself counts.
    pub taken: Taken,
    /// How far `received_at` can be believed.
    pub clock: ClockMark,
    /// When it happened.
    pub time: Option<WallClock>,
    /// The bytes as received; empty when `payload_state` is `Replaced`.
    pub payload: &'a [u8],
    /// What the payload still means.
    pub payload_state: PayloadState,
    /// What is known.
    pub fields: FieldsRef<'a>,
    /// Why the content could not be understood.
    pub decode_error: Option<&'a str>,
}

/// Stored fields, in order; known to be well-formed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FieldsRef<'a>(&'a [u8]);

/// A stored list, in order; known to be well-formed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListRef<'a>(&'a [u8]);

/// A stored value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ValueRef<'a> {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number with a sign.
    Int(i64),
    /// A whole number above `i64::MAX`.
    Uint(u64),
    /// Any other number.
    Float(f64),
    /// Text.
    Text(&'a str),
    /// Several values in order.
    List(ListRef<'a>),
    /// Named values.
    Map(FieldsRef<'a>),
}

/// Everything but the fields. The order of its parts is the format.
#[derive(Serialize, Deserialize)]
struct Head<'a> {
    received_at: WallClock,
    taken: Stamp,
    boottime: Boottime,
    time: Option<WallClock>,
    payload_state: PayloadState,
    #[serde(borrow)]
    decode_error: Option<&'a str>,
    #[serde(borrow)]
    payload: Bytes<'a>,
}

/// A boot's tag, and in the lowest bit whether the time was not known.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Stamp(u32);

/// A value as it is written. The order of the variants is the format.
#[derive(Serialize, Deserialize)]
enum Written<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    Text(&'a str),
    #[serde(borrow)]
    List(Bytes<'a>),
    #[serde(borrow)]
    Map(Bytes<'a>),
}

/// Bytes written in one piece instead of one by one.
#[derive(Deserialize)]
struct Bytes<'a>(&'a [u8]);

/// Appends to bytes that are already there.
struct Append<'a>(&'a mut Vec<u8>);

/// Appends `record` to `out`.
pub fn encode(record: &Record, out: &mut Vec<u8>) {
    let head = Head {
        received_at: record.received_at,
        taken: Stamp::of(record.taken),
        boottime: record.taken.boottime,
        time: record.time,
        payload_state: record.payload_state,
        decode_error: record.decode_error.as_deref(),
        payload: Bytes(&record.payload),
    };
    write_record(&head, &record.fields, out);
}

/// Appends a record that nobody has looked into, as [`encode`] does, from its parts.
pub fn encode_parts(
    (received_at, taken): (WallClock, Taken),
    fields: &Fields,
    payload: &[u8],
    out: &mut Vec<u8>,
) {
    let head = Head {
        received_at,
        taken: Stamp::of(taken),
        boottime: taken.boottime,
        time: None,
        payload_state: PayloadState::Opaque,
        decode_error: None,
        payload: Bytes(payload),
    };
    write_record(&head, fields, out);
}

/// Takes a record out of its bytes.
pub fn decode(bytes: &[u8]) -> Result<Record, StoredError> {
    Ok(StoredRef::decode(bytes)?.to_record())
}

impl<'a> StoredRef<'a> {
    /// Looks at a record in its bytes; all of them are checked.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, StoredError> {
        let (version, rest) = bytes.split_first().ok_or(StoredError::Empty)?;
        if *version != VERSION {
            return Err(StoredError::UnknownVersion { version: *version });
        }
        let (head, fields): (Head<'a>, _) =
            postcard::take_from_bytes(rest).map_err(|_| StoredError::Malformed)?;
        check_fields(fields, DEPTH_MAX)?;
        let taken = head.taken.at(head.boottime);
        Ok(Self {
            received_at: head.received_at,
            taken,
            clock: if taken.is_unsynced {
                ClockMark::Unsynced { boot: None }
            } else {
                ClockMark::Synced
            },
            time: head.time,
            payload: head.payload.0,
            payload_state: head.payload_state,
            fields: FieldsRef(fields),
            decode_error: head.decode_error,
        })
    }

    /// A copy that can be changed.
    pub fn to_record(&self) -> Record {
        Record {
            received_at: self.received_at,
            taken: self.taken,
            time: self.time,
            payload: self.payload.to_vec(),
            payload_state: self.payload_state,
            fields: self.fields.to_fields(),
            decode_error: self.decode_error.map(str::to_owned),
        }
    }
}

impl Stamp {
    fn of(taken: Taken) -> Self {
        Self(taken.boot.get() << 1 | u32::from(taken.is_unsynced))
    }

    const fn at(self, boottime: Boottime) -> Taken {
        Taken {
            boot: BootTag::new(self.0 >> 1),
            boottime,
            is_unsynced: self.0 & 1 == 1,
        }
    }
}

impl<'a> FieldsRef<'a> {
    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// Names and values in order.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, ValueRef<'a>)> {
        let mut rest = self.0;
        std::iter::from_fn(move || take_field(&mut rest))
    }

    /// The value of `name`, taken literally.
    pub fn get(self, name: &str) -> Option<ValueRef<'a>> {
        self.iter()
            .find(|(found, _)| *found == name)
            .map(|(_, value)| value)
    }

    fn to_fields(self) -> Fields {
        Fields::from_pairs(
            self.iter()
                .map(|(name, value)| (name.to_owned(), value.to_value()))
                .collect(),
        )
    }
}

impl<'a> ListRef<'a> {
    /// The values in order.
    pub fn iter(self) -> impl Iterator<Item = ValueRef<'a>> {
        let mut rest = self.0;
        std::iter::from_fn(move || take_value(&mut rest))
    }
}

impl ValueRef<'_> {
    fn to_value(self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(value),
            Self::Int(number) => Value::Int(number),
            Self::Uint(number) => Value::Uint(number),
            Self::Float(number) => Value::Float(number),
            Self::Text(text) => Value::from(text),
            Self::List(items) => Value::List(items.iter().map(ValueRef::to_value).collect()),
            Self::Map(fields) => Value::Map(fields.to_fields()),
        }
    }
}

impl fmt::Display for StoredError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a stored record has no bytes"),
            Self::UnknownVersion { version } => write!(
                f,
                "a stored record has version {version}, known is {VERSION}; run a newer Hydrant"
            ),
            Self::Malformed => f.write_str("a stored record is damaged"),
            Self::TooDeep => write!(f, "a stored record nests deeper than {DEPTH_MAX} levels"),
        }
    }
}

impl std::error::Error for StoredError {}

impl<'a> From<Written<'a>> for ValueRef<'a> {
    fn from(written: Written<'a>) -> Self {
        match written {
            Written::Null => Self::Null,
            Written::Bool(value) => Self::Bool(value),
            Written::Int(number) => Self::Int(number),
            Written::Uint(number) => Self::Uint(number),
            Written::Float(number) => Self::Float(number),
            Written::Text(text) => Self::Text(text),
            Written::List(items) => Self::List(ListRef(items.0)),
            Written::Map(fields) => Self::Map(FieldsRef(fields.0)),
        }
    }
}

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl Flavor for Append<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

fn write<T: Serialize>(value: &T, out: &mut Vec<u8>) {
    let written = postcard::serialize_with_flavor(value, Append(out));
    // Only sequences of unknown length and full buffers fail, and neither is in use.
    debug_assert_eq!(written, Ok(()));
}

fn write_record(head: &Head<'_>, fields: &Fields, out: &mut Vec<u8>) {
    out.push(VERSION);
    write(head, out);
    write_fields(fields, out);
}

fn write_fields(fields: &Fields, out: &mut Vec<u8>) {
    for (name, value) in fields.iter() {
        write(&name, out);
        write_value(value, out);
    }
}

fn write_value(value: &Value, out: &mut Vec<u8>) {
    let mut inner = Vec::new();
    let written = match value {
        Value::Null => Written::Null,
        Value::Bool(value) => Written::Bool(*value),
        Value::Int(number) => Written::Int(*number),
        Value::Uint(number) => Written::Uint(*number),
        Value::Float(number) => Written::Float(*number),
        Value::Text(text) => Written::Text(text),
        Value::List(items) => {
            for item in items {
                write_value(item, &mut inner);
            }
            Written::List(Bytes(&inner))
        }
        Value::Map(fields) => {
            write_fields(fields, &mut inner);
            Written::Map(Bytes(&inner))
        }
    };
    write(&written, out);
}

fn take<'a, T: Deserialize<'a>>(rest: &mut &'a [u8]) -> Option<T> {
    let (value, after) = postcard::take_from_bytes(rest).ok()?;
    *rest = after;
    Some(value)
}

fn take_value<'a>(rest: &mut &'a [u8]) -> Option<ValueRef<'a>> {
    take::<Written<'a>>(rest).map(ValueRef::from)
}

fn take_field<'a>(rest: &mut &'a [u8]) -> Option<(&'a str, ValueRef<'a>)> {
    let name = take(rest)?;
    Some((name, take_value(rest)?))
}

fn check_fields(mut rest: &[u8], levels: usize) -> Result<(), StoredError> {
    while !rest.is_empty() {
        let (_, value) = take_field(&mut rest).ok_or(StoredError::Malformed)?;
        check_value(value, levels)?;
    }
    Ok(())
}

fn check_value(value: ValueRef<'_>, levels: usize) -> Result<(), StoredError> {
    let inner = levels.checked_sub(1).ok_or(StoredError::TooDeep);
    match value {
        ValueRef::List(ListRef(mut rest)) => {
            let inner = inner?;
            while !rest.is_empty() {
                let item = take_value(&mut rest).ok_or(StoredError::Malformed)?;
                check_value(item, inner)?;
            }
            Ok(())
        }
        ValueRef::Map(FieldsRef(rest)) => check_fields(rest, inner?),
        ValueRef::Null
        | ValueRef::Bool(_)
        | ValueRef::Int(_)
        | ValueRef::Uint(_)
        | ValueRef::Float(_)
        | ValueRef::Text(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests;

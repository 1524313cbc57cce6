//! The keys by which Kinesis spreads records over its shards, written as templates.
//!
//! `{id}` is the record's id, `{source}` its source, `{agent}` the gateway, and `{.a.b}` a field;
//! everything else is text. A field that is missing, or is no text, number or truth, adds nothing.

use std::fmt;

use crate::encode::{EntryMeta, Origin};
use crate::record::{Path, PathError};
use crate::stored::{FieldsRef, StoredRef, ValueRef};

/// Characters that Kinesis takes as a partition key.
const PARTITION_KEY_CHARS_MAX: usize = 256;

/// A text with holes for what a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyTemplate {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Id,
    Source,
    Agent,
    Field(Path),
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyTemplateError {
    /// A brace has no other half.
    Unclosed,
    /// Nothing is called so.
    Unknown(String),
    /// The path of a field is none.
    Path(PathError),
}

/// How records get their keys.
#[derive(Clone, Debug)]
pub(in super::super) struct RecordKeys {
    partition: KeyTemplate,
    hash: Option<KeyTemplate>,
    origin: Origin,
}

/// The keys of one record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct RecordKey {
    /// Empty where records have none.
    pub(in super::super) partition: String,
    /// A number below 2^128.
    pub(in super::super) hash: Option<String>,
}

impl KeyTemplate {
    /// Reads a template.
    pub fn parse(text: &str) -> Result<Self, KeyTemplateError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, hole)) = rest.split_once('{') {
            let (name, after) = hole.split_once('}').ok_or(KeyTemplateError::Unclosed)?;
            if before.contains('}') {
                return Err(KeyTemplateError::Unclosed);
            }
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(match name {
                "id" => Part::Id,
                "source" => Part::Source,
                "agent" => Part::Agent,
                _ if name.starts_with('.') => {
                    Part::Field(Path::parse(name).map_err(KeyTemplateError::Path)?)
                }
                _ => return Err(KeyTemplateError::Unknown(name.to_owned())),
            });
            rest = after;
        }
        if rest.contains('}') {
            return Err(KeyTemplateError::Unclosed);
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self { parts })
    }

    fn write(&self, origin: &Origin, entry: EntryMeta<'_>, record: &StoredRef<'_>) -> String {
        use fmt::Write as _;
        let mut text = String::new();
        for part in &self.parts {
            // Writing into a text does not fail.
            let written = match part {
                Part::Text(part) => text.write_str(part),
                Part::Id => write!(text, "{}", origin.record_id(entry.seq)),
                Part::Source => text.write_str(entry.source),
                Part::Agent => text.write_str(&origin.agent),
                Part::Field(path) => match field(record.fields, path) {
                    Some(ValueRef::Text(value)) => text.write_str(value),
                    Some(ValueRef::Bool(value)) => write!(text, "{value}"),
                    Some(ValueRef::Int(value)) => write!(text, "{value}"),
                    Some(ValueRef::Uint(value)) => write!(text, "{value}"),
                    Some(ValueRef::Float(value)) => write!(text, "{value}"),
                    Some(ValueRef::Null | ValueRef::List(_) | ValueRef::Map(_)) | None => Ok(()),
                },
            };
            debug_assert!(written.is_ok(), "a text takes everything");
        }
        text
    }
}

impl fmt::Display for KeyTemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unclosed => f.write_str("a brace has no other half"),
            Self::Unknown(name) => write!(f, "nothing is called {{{name}}}"),
            Self::Path(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for KeyTemplateError {}

impl RecordKeys {
    pub(in super::super) const fn new(
        partition: KeyTemplate,
        hash: Option<KeyTemplate>,
        origin: Origin,
    ) -> Self {
        Self {
            partition,
            hash,
            origin,
        }
    }

    /// The keys of a record. One without a partition key gets its id, and a hash key that is no
    /// number below 2^128 is left out.
    pub(in super::super) fn of(&self, entry: EntryMeta<'_>, record: &StoredRef<'_>) -> RecordKey {
        let mut partition = self.partition.write(&self.origin, entry, record);
        if let Some((end, _)) = partition.char_indices().nth(PARTITION_KEY_CHARS_MAX) {
            partition.truncate(end);
        }
        if partition.is_empty() {
            partition = self.origin.record_id(entry.seq).to_string();
        }
        let hash = self.hash.as_ref().and_then(|template| {
            let text = template.write(&self.origin, entry, record);
            let number: u128 = text.parse().ok()?;
            Some(number.to_string())
        });
        RecordKey { partition, hash }
    }

    /// Whether records of one key belong together, which is not so where every record has its own.
    pub(in super::super) fn keeps_together(&self) -> bool {
        self.hash.is_some() || !self.partition.parts.contains(&Part::Id)
    }
}

impl RecordKey {
    /// What it counts towards the limits of a record.
    pub(in super::super) const fn len(&self) -> usize {
        self.partition.len()
    }

    /// Writes it behind the data of a record.
    pub(in super::super) fn write(&self, out: &mut Vec<u8>) {
        if !self.partition.is_empty() {
            let partition = serde_json::Value::from(self.partition.as_str());
            out.extend_from_slice(format!(",\"PartitionKey\":{partition}").as_bytes());
        }
        if let Some(hash) = &self.hash {
            out.extend_from_slice(format!(",\"ExplicitHashKey\":\"{hash}\"").as_bytes());
        }
    }
}

fn field<'a>(fields: FieldsRef<'a>, path: &Path) -> Option<ValueRef<'a>> {
    let mut names = path.names();
    let mut value = fields.get(names.next()?)?;
    for name in names {
        let ValueRef::Map(inner) = value else {
            return None;
        };
        value = inner.get(name)?;
    }
    Some(value)
}

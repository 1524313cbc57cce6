//! Looking into a payload or a text field.

use regex::Regex;

use super::{compile_path, compile_regex, key_value};
use crate::config::ParseFormat;
use crate::record::{Fields, Path, PayloadState, Record, Value};

/// The field that takes JSON which is no object.
const VALUE: &str = "value";

/// A `parse` transform.
#[derive(Clone, Debug)]
pub(super) struct Parse {
    reader: Reader,
    field: Option<Path>,
    into: Option<Path>,
}

#[derive(Clone, Debug)]
enum Reader {
    Json,
    KeyValue,
    Regex(Regex),
}

impl Parse {
    pub(super) fn compile(
        format: &ParseFormat,
        field: Option<&str>,
        into: Option<&str>,
    ) -> Result<Self, String> {
        Ok(Self {
            reader: Reader::compile(format)?,
            field: field.map(compile_path).transpose()?,
            into: into.map(compile_path).transpose()?,
        })
    }

    /// Adds what is found to the record, or marks it.
    pub(super) fn apply(&self, record: &mut Record) {
        let found = match &self.field {
            None => self.read_payload(record).map(Some),
            Some(path) => self.read_field(path, &record.fields),
        };
        match found.and_then(|found| self.put(found, &mut record.fields)) {
            Ok(false) => {}
            Ok(true) if self.field.is_none() => record.payload_state = PayloadState::Parsed,
            Ok(true) => record.fields_changed(),
            Err(reason) => record.mark(reason),
        }
    }

    fn read_payload(&self, record: &Record) -> Result<Value, String> {
        if record.payload_state == PayloadState::Replaced {
            return Err("parse: the payload is gone; parse before fields are changed".to_owned());
        }
        self.reader
            .read(&record.payload)
            .map_err(|reason| format!("the payload {reason}"))
    }

    /// What is in a field; a missing one holds nothing, and that is fine.
    fn read_field(&self, path: &Path, fields: &Fields) -> Result<Option<Value>, String> {
        match fields.get_path(path) {
            None => Ok(None),
            Some(Value::Text(text)) => self
                .reader
                .read(text.as_bytes())
                .map(Some)
                .map_err(|reason| format!("field {path} {reason}")),
            Some(
                Value::Null
                | Value::Bool(_)
                | Value::Int(_)
                | Value::Uint(_)
                | Value::Float(_)
                | Value::List(_)
                | Value::Map(_),
            ) => Err(format!("field {path} is not text")),
        }
    }

    /// Whether there was anything to put.
    fn put(&self, found: Option<Value>, fields: &mut Fields) -> Result<bool, String> {
        match (&self.into, found) {
            (_, None) => return Ok(false),
            (Some(path), Some(value)) => fields
                .set_path(path, value)
                .map_err(|error| error.to_string())?,
            (None, Some(Value::Map(found))) => fields.merge(found.into_pairs()),
            (None, Some(value)) => fields.insert(VALUE, value),
        }
        Ok(true)
    }
}

impl Reader {
    fn compile(format: &ParseFormat) -> Result<Self, String> {
        match format {
            ParseFormat::Json => Ok(Self::Json),
            ParseFormat::KeyValue => Ok(Self::KeyValue),
            ParseFormat::Regex { pattern } => {
                let regex = compile_regex(pattern)?;
                if regex.capture_names().flatten().next().is_none() {
                    return Err("the pattern has no named group; write (?<name>...)".to_owned());
                }
                Ok(Self::Regex(regex))
            }
        }
    }

    /// What the bytes say; the error goes on "the payload" and quotes nothing of it.
    fn read(&self, bytes: &[u8]) -> Result<Value, String> {
        match self {
            Self::Json => Value::from_json(bytes).map_err(|error| format!("is not JSON: {error}")),
            Self::KeyValue => key_value::read(text(bytes)?)
                .map(Value::Map)
                .map_err(|error| format!("is not key=value: {error}")),
            Self::Regex(regex) => {
                let text = text(bytes)?;
                let groups = regex
                    .captures(text)
                    .ok_or_else(|| "does not match the pattern".to_owned())?;
                let pairs = regex.capture_names().flatten().filter_map(|name| {
                    let group = groups.name(name)?;
                    Some((name.to_owned(), Value::from(group.as_str())))
                });
                Ok(Value::Map(Fields::from_pairs(pairs.collect())))
            }
        }
    }
}

fn text(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes)
        .map_err(|error| format!("is not UTF-8 at byte {}", error.valid_up_to()))
}

//! Prefixes of object keys with expressions, as Firehose has them: `!{timestamp:yyyy/MM/dd}`.
//!
//! `!{firehose:random-string}` is no random here: it is made from what the object holds, so that a
//! repeat has the same key.

use std::fmt;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use ring::digest;

use super::date::DatePattern;
use crate::record::Path;
use crate::stored::{StoredRef, ValueRef};
use crate::time::WallClock;

/// How long a prefix may be as it is written.
const TEMPLATE_BYTES_MAX: usize = 1024;

/// So much of a field's value becomes part of a key.
const VALUE_BYTES_MAX: usize = 128;

/// In place of a value that a record does not have; Hive, Spark and Athena read it as none.
pub(super) const MISSING: &str = "__HIVE_DEFAULT_PARTITION__";

/// Appended to a prefix without expressions.
const HOURLY: &str = "!{timestamp:yyyy/MM/dd/HH/}";

const RANDOM_LEN: usize = 11;
const RANDOM_CHARS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// A prefix that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPrefix {
    parts: Vec<Part>,
    zone: Zone,
}

/// Why a text is no prefix; [`fmt::Display`] says what, [`KeyError::hint`] what to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyError {
    message: String,
    hint: &'static str,
}

/// What tells the objects of one batch apart: the prefix with the values of a record in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Group(pub(super) Vec<String>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Time(DatePattern),
    Random,
    ErrorType,
    Field(Path),
    Source,
    Agent,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Zone(TimeZone);

/// Where a prefix stands, which decides what it may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPlace {
    /// `prefix`.
    Records,
    /// `error_prefix`.
    Errors,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for KeyError {}

impl KeyError {
    fn new(message: impl Into<String>, hint: &'static str) -> Self {
        Self {
            message: message.into(),
            hint,
        }
    }

    /// What to write instead.
    pub const fn hint(&self) -> &'static str {
        self.hint
    }
}

impl KeyPrefix {
    /// Reads a prefix; times in it are of `zone`, a name such as `Europe/Madrid`.
    pub fn parse(text: &str, place: KeyPlace, zone: Option<&str>) -> Result<Self, KeyError> {
        if text.len() > TEMPLATE_BYTES_MAX {
            let message = format!("is longer than {TEMPLATE_BYTES_MAX} bytes");
            return Err(KeyError::new(message, "shorten it"));
        }
        let zone = Zone(zone.map_or(Ok(TimeZone::UTC), parse_zone)?);
        let mut parts = parse_parts(text)?;
        if text.starts_with('/') {
            let message = "begins with \"/\", which makes a folder without a name";
            return Err(KeyError::new(message, "leave the first \"/\" out"));
        }
        let is_plain = parts.iter().all(|part| matches!(part, Part::Text(_)));
        if is_plain {
            parts.extend(parse_parts(HOURLY)?);
        }
        let has_type = parts.contains(&Part::ErrorType);
        let has_values = parts.iter().any(Part::is_value);
        match place {
            KeyPlace::Records if has_type => Err(KeyError::new(
                "!{firehose:error-output-type} is for error_prefix only",
                "leave it out here",
            )),
            KeyPlace::Errors if has_values => Err(KeyError::new(
                "values of records cannot be used in error_prefix",
                "leave them out here",
            )),
            KeyPlace::Errors if !is_plain && !has_type => Err(KeyError::new(
                "has expressions, but not !{firehose:error-output-type}",
                "write \"errors/!{firehose:error-output-type}/!{timestamp:yyyy/MM/dd/HH/}\"",
            )),
            KeyPlace::Records | KeyPlace::Errors => Ok(Self { parts, zone }),
        }
    }

    /// Whether records of one batch may go to different objects.
    pub fn is_partitioned(&self) -> bool {
        self.parts.iter().any(Part::is_value)
    }

    /// The group of a record of `source`; `None` when it has not all fields.
    pub fn group(&self, source: &str, record: &StoredRef<'_>) -> Option<Group> {
        let mut values = Vec::new();
        for part in &self.parts {
            match part {
                Part::Source => values.push(clean(source)),
                Part::Field(path) => values.push(field(record, path)?),
                Part::Text(_) | Part::Time(_) | Part::Random | Part::ErrorType | Part::Agent => {}
            }
        }
        Some(Group(values))
    }

    /// The group of a record that has not all fields, when nothing else is to become of it.
    pub fn group_with_missing(&self, source: &str, record: &StoredRef<'_>) -> Group {
        let mut values = Vec::new();
        for part in &self.parts {
            match part {
                Part::Source => values.push(clean(source)),
                Part::Field(path) => {
                    values.push(field(record, path).unwrap_or_else(|| MISSING.to_owned()));
                }
                Part::Text(_) | Part::Time(_) | Part::Random | Part::ErrorType | Part::Agent => {}
            }
        }
        Group(values)
    }

    /// The prefix of the object of `group` whose oldest record came at `oldest`.
    ///
    /// What `seed` says of the object makes its random strings.
    pub(super) fn write(
        &self,
        group: &Group,
        oldest: WallClock,
        agent: &str,
        seed: &str,
    ) -> String {
        let time = Timestamp::from_millisecond(oldest.as_millis()).unwrap_or_default();
        let time = time.to_zoned_datetime(self.zone.0.clone());
        let mut values = group.0.iter();
        let mut out = String::new();
        let mut randoms = 0_u32;
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Time(pattern) => pattern.write(&time, &mut out),
                Part::Random => {
                    randoms += 1;
                    out.push_str(&random(seed, randoms));
                }
                Part::ErrorType => out.push_str("processing-failed"),
                Part::Field(_) | Part::Source => {
                    out.push_str(values.next().map_or(MISSING, String::as_str));
                }
                Part::Agent => out.push_str(&clean(agent)),
            }
        }
        out
    }
}

impl Part {
    const fn is_value(&self) -> bool {
        matches!(self, Self::Field(_) | Self::Source)
    }
}

fn parse_zone(name: &str) -> Result<TimeZone, KeyError> {
    TimeZone::get(name).map_err(|_| {
        KeyError::new(
            format!("{name:?} is no time zone that this machine knows"),
            "write one like \"Europe/Madrid\", and install tzdata",
        )
    })
}

fn parse_parts(text: &str) -> Result<Vec<Part>, KeyError> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("!{") {
        plain(before, &mut parts)?;
        // A closing brace in quotes is part of a pattern.
        let end = end_of(after).ok_or_else(|| {
            KeyError::new(format!("\"!{{{after}\" has no end"), "close it with \"}\"")
        })?;
        let (inside, behind) = after.split_at(end);
        parts.push(expression(inside)?);
        rest = behind.strip_prefix('}').unwrap_or_default();
    }
    plain(rest, &mut parts)?;
    Ok(parts)
}

fn end_of(text: &str) -> Option<usize> {
    let mut is_quoted = false;
    text.char_indices().find_map(|(at, c)| {
        is_quoted ^= c == '\'';
        (c == '}' && !is_quoted).then_some(at)
    })
}

fn plain(text: &str, parts: &mut Vec<Part>) -> Result<(), KeyError> {
    if let Some(c) = text.chars().find(|c| c.is_control()) {
        let message = format!("{c:?} cannot be part of a key");
        return Err(KeyError::new(message, "leave it out"));
    }
    if text.contains("//") || text.split('/').any(|part| matches!(part, "." | "..")) {
        return Err(KeyError::new(
            "has a folder that is empty, \".\" or \"..\"",
            "give each folder a name",
        ));
    }
    if !text.is_empty() {
        parts.push(Part::Text(text.to_owned()));
    }
    Ok(())
}

fn expression(inside: &str) -> Result<Part, KeyError> {
    const NAMESPACES: &str = "write !{timestamp:yyyy/MM/dd}, !{firehose:random-string}, \
                              !{partition:FIELD}, !{hydrant:agent} or !{hydrant:source}";
    let shown = || format!("!{{{inside}}}");
    let Some((namespace, value)) = inside.split_once(':') else {
        let message = format!("{} has no namespace", shown());
        return Err(KeyError::new(message, NAMESPACES));
    };
    match (namespace, value) {
        ("timestamp", pattern) => DatePattern::parse(pattern)
            .map(Part::Time)
            .map_err(|error| {
                let message = format!("{} is no time: {error}", shown());
                KeyError::new(message, "write a pattern like yyyy/MM/dd/HH")
            }),
        ("firehose", "random-string") => Ok(Part::Random),
        ("firehose", "error-output-type") => Ok(Part::ErrorType),
        ("hydrant", "agent") => Ok(Part::Agent),
        ("hydrant", "source") => Ok(Part::Source),
        ("partition", path) => Path::parse(path).map(Part::Field).map_err(|error| {
            let message = format!("{} names no field: {error}", shown());
            KeyError::new(message, "write a field like !{partition:site}")
        }),
        ("partitionKeyFromQuery" | "partitionKeyFromLambda", _) => Err(KeyError::new(
            format!("{} is evaluated by Firehose only", shown()),
            "write !{partition:FIELD} with the name of a field",
        )),
        _ => Err(KeyError::new(
            format!("{} is not known", shown()),
            NAMESPACES,
        )),
    }
}

fn field(record: &StoredRef<'_>, path: &Path) -> Option<String> {
    let mut names = path.names();
    let mut value = record.fields.get(names.next()?)?;
    for name in names {
        let ValueRef::Map(fields) = value else {
            return None;
        };
        value = fields.get(name)?;
    }
    let text = match value {
        ValueRef::Text(text) => clean(text),
        ValueRef::Int(number) => number.to_string(),
        ValueRef::Uint(number) => number.to_string(),
        ValueRef::Bool(truth) => truth.to_string(),
        ValueRef::Float(number) => clean(&number.to_string()),
        ValueRef::Null | ValueRef::List(_) | ValueRef::Map(_) => return None,
    };
    (!text.is_empty()).then_some(text)
}

/// `value` as part of a key: what would make a folder, or has to be escaped, is replaced.
fn clean(value: &str) -> String {
    let mut text = String::new();
    for c in value.chars() {
        let c = if c.is_alphanumeric() || "-_.=+@:, ".contains(c) {
            c
        } else {
            '_'
        };
        if text.len() + c.len_utf8() > VALUE_BYTES_MAX {
            break;
        }
        text.push(c);
    }
    if text.chars().all(|c| c == '.') {
        text = "_".repeat(text.len());
    }
    text
}

fn random(seed: &str, number: u32) -> String {
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(seed.as_bytes());
    hash.update(&number.to_le_bytes());
    let digest = hash.finish();
    let characters = digest.as_ref().iter().take(RANDOM_LEN).filter_map(|byte| {
        let at = usize::from(*byte) % RANDOM_CHARS.len();
        RANDOM_CHARS.get(at).map(|byte| char::from(*byte))
    });
    characters.collect()
}

#[cfg(test)]
mod tests;

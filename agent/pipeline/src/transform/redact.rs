//! Hiding what must not leave the gateway.
//!
//! A pattern is looked for in the payload and in every text, number and name of the fields. Once
//! something was hidden in a record whose payload is in its fields as well, the payload is gone:
//! no format may show in one what was hidden in the other. A pattern for a name together with its
//! value (`password=\S+`) finds nothing in fields; it belongs before the payload is parsed.

use std::fmt;

use regex::bytes::Regex;
use ring::hmac;

use super::{compile_path, compile_regex, explain_regex};
use crate::config::RedactWith;
use crate::record::{Fields, Path, PayloadState, Record, Value};

/// Of a hash so many bytes are shown, as hex digits.
const HASH_BYTES: usize = 8;

/// A `redact` transform.
#[derive(Debug)]
pub(super) struct Redact {
    fields: Vec<Path>,
    patterns: Vec<Regex>,
    with: With,
}

enum With {
    Mask(String),
    Hash(hmac::Key),
}

impl Redact {
    pub(super) fn compile(
        fields: &[String],
        patterns: &[String],
        with: &RedactWith,
    ) -> Result<Self, String> {
        Ok(Self {
            fields: fields
                .iter()
                .map(|field| compile_path(field))
                .collect::<Result<_, _>>()?,
            patterns: patterns
                .iter()
                .map(|pattern| compile_bytes_regex(pattern))
                .collect::<Result<_, _>>()?,
            with: match with {
                RedactWith::Mask(mask) => With::Mask(mask.clone()),
                RedactWith::Hash(key) => {
                    With::Hash(hmac::Key::new(hmac::HMAC_SHA256, key.expose().as_bytes()))
                }
            },
        })
    }

    pub(super) fn apply(&self, record: &mut Record) {
        let mut hidden = false;
        for path in &self.fields {
            if let Some(value) = record.fields.get_path_mut(path) {
                let shown = shown(value);
                *value = Value::Text(self.with.of(shown.as_bytes()));
                hidden = true;
            }
        }
        if !self.patterns.is_empty() {
            hidden |= self.redact_fields(&mut record.fields);
            if let Some(payload) = self.hide(&record.payload) {
                record.payload = payload;
                hidden = true;
            }
            if let Some(text) = record.decode_error.as_mut() {
                self.redact_text(text);
            }
        }
        if hidden {
            record.fields_changed();
        }
        debug_assert!(
            record.payload_state != PayloadState::Replaced || record.payload.is_empty(),
            "a replaced payload is empty"
        );
    }

    fn redact_fields(&self, fields: &mut Fields) -> bool {
        let mut hidden = false;
        for value in fields.values_mut() {
            hidden |= self.redact_value(value);
        }
        if fields.iter().any(|(name, _)| self.finds(name.as_bytes())) {
            let mut renamed = Fields::new();
            for (mut name, value) in std::mem::take(fields).into_pairs() {
                self.redact_text(&mut name);
                while renamed.get(&name).is_some() {
                    name.push('_');
                }
                renamed.insert(name, value);
            }
            *fields = renamed;
            hidden = true;
        }
        hidden
    }

    fn redact_value(&self, value: &mut Value) -> bool {
        match value {
            Value::Text(text) => self.redact_text(text),
            Value::Int(_) | Value::Uint(_) | Value::Float(_) => {
                let mut text = shown(value);
                let hidden = self.redact_text(&mut text);
                if hidden {
                    *value = Value::Text(text);
                }
                hidden
            }
            Value::List(items) => items
                .iter_mut()
                .fold(false, |hidden, item| self.redact_value(item) | hidden),
            Value::Map(fields) => self.redact_fields(fields),
            Value::Null | Value::Bool(_) => false,
        }
    }

    fn redact_text(&self, text: &mut String) -> bool {
        let Some(bytes) = self.hide(text.as_bytes()) else {
            return false;
        };
        *text = String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        true
    }

    fn finds(&self, bytes: &[u8]) -> bool {
        self.patterns.iter().any(|pattern| pattern.is_match(bytes))
    }

    /// `bytes` without what the patterns find; `None` when they find nothing.
    fn hide(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut changed = None;
        for pattern in &self.patterns {
            let before: &[u8] = changed.as_deref().unwrap_or(bytes);
            let mut after = Vec::new();
            let mut done = 0;
            for found in pattern.find_iter(before).filter(|found| !found.is_empty()) {
                after.extend_from_slice(before.get(done..found.start()).unwrap_or_default());
                after.extend_from_slice(self.with.of(found.as_bytes()).as_bytes());
                done = found.end();
            }
            if done > 0 {
                after.extend_from_slice(before.get(done..).unwrap_or_default());
                changed = Some(after);
            }
        }
        changed
    }
}

impl With {
    /// What stands for `hidden`.
    fn of(&self, hidden: &[u8]) -> String {
        match self {
            Self::Mask(mask) => mask.clone(),
            Self::Hash(key) => {
                let tag = hmac::sign(key, hidden);
                let mut digits = String::with_capacity(2 * HASH_BYTES);
                for byte in tag.as_ref().iter().take(HASH_BYTES) {
                    for nibble in [byte >> 4, byte & 15] {
                        digits.extend(char::from_digit(u32::from(nibble), 16));
                    }
                }
                digits
            }
        }
    }
}

impl fmt::Debug for With {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mask(mask) => write!(f, "Mask({mask:?})"),
            Self::Hash(_) => f.write_str("Hash([secret])"),
        }
    }
}

/// A value as text: text as it is, anything else as JSON.
fn shown(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        Value::Null
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Uint(_)
        | Value::Float(_)
        | Value::List(_)
        | Value::Map(_) => serde_json::Value::from(value).to_string(),
    }
}

/// Payloads are bytes; that the pattern is one for text keeps text text.
pub(crate) fn compile_bytes_regex(pattern: &str) -> Result<Regex, String> {
    compile_regex(pattern)?;
    regex::bytes::RegexBuilder::new(pattern)
        .size_limit(super::REGEX_BYTES_MAX)
        .dfa_size_limit(super::REGEX_CACHE_BYTES_MAX)
        .build()
        .map_err(|error| explain_regex(&error))
}

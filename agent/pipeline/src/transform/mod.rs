//! What is done to records between a source and a destination.
//!
//! Transforms run in the order in which they are named. They decide on the record alone, so that
//! the same record ends the same way every time. A missing field is never an error; what does not
//! fit (text where a map is needed, a payload that is not what it was said to be) marks the
//! record, which goes on as it was.

pub mod expression;
mod key_value;
mod parse;
mod redact;

use std::num::NonZeroU64;

use regex::Regex;

use crate::config::{TransformConfig, TransformKind};
use crate::record::{Fields, Path, PayloadState, Record, Value};
use crate::stored;

use expression::Expression;
use parse::Parse;
use redact::Redact;

pub(crate) use redact::compile_bytes_regex;

/// A regular expression may not take more memory than this.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// What it learns about its input may take this much more; beyond, it is matched slowly.
const REGEX_CACHE_BYTES_MAX: usize = 512 << 10;

/// Transforms, ready to be applied one after the other.
#[derive(Debug, Default)]
pub struct Transforms(Vec<Transform>);

/// What became of a record.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It goes on.
    Keep(Record),
    /// It ends here, to be counted.
    Filtered,
}

#[derive(Debug)]
enum Transform {
    Parse(Parse),
    Filter(Expression),
    Set(Vec<(Path, Value)>),
    Remove(Vec<Path>),
    Rename(Vec<(Path, Path)>),
    KeepOnly(Vec<Path>),
    Sample { one_in: NonZeroU64, salt: u64 },
    Redact(Redact),
}

impl Transforms {
    /// Makes `configs` ready; the errors are a transform's name and what is wrong with it.
    pub fn compile(configs: &[TransformConfig]) -> Result<Self, Vec<(String, String)>> {
        let mut transforms = Vec::new();
        let mut errors = Vec::new();
        for config in configs {
            match Transform::compile(config) {
                Ok(transform) => transforms.push(transform),
                Err(error) => errors.push((config.name.clone(), error)),
            }
        }
        if errors.is_empty() {
            Ok(Self(transforms))
        } else {
            Err(errors)
        }
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Applies all of them. `seed` tells apart records that look the same, for sampling; a
    /// destination gives the seq, so that a repeat decides the same.
    pub fn apply(&self, mut record: Record, seed: u64) -> Outcome {
        for transform in &self.0 {
            if !transform.apply(&mut record, seed) {
                return Outcome::Filtered;
            }
        }
        Outcome::Keep(record)
    }
}

impl Transform {
    fn compile(config: &TransformConfig) -> Result<Self, String> {
        match &config.kind {
            TransformKind::Parse {
                format,
                field,
                into,
            } => Parse::compile(format, field.as_deref(), into.as_deref()).map(Self::Parse),
            TransformKind::Filter { keep } => Expression::parse(keep)
                .map(Self::Filter)
                .map_err(|error| format!("keep: {error}")),
            TransformKind::Set { fields } => fields
                .iter()
                .map(|(path, value)| Ok((compile_path(path)?, Value::from(value.clone()))))
                .collect::<Result<_, _>>()
                .map(Self::Set),
            TransformKind::Remove { fields } => compile_paths(fields).map(Self::Remove),
            TransformKind::Rename { fields } => fields
                .iter()
                .map(|(old, new)| Ok((compile_path(old)?, compile_path(new)?)))
                .collect::<Result<_, _>>()
                .map(Self::Rename),
            TransformKind::KeepOnly { fields } => compile_paths(fields).map(Self::KeepOnly),
            TransformKind::Sample { one_in } => NonZeroU64::new(u64::from(*one_in))
                .map(|one_in| Self::Sample {
                    one_in,
                    salt: hash(0, config.name.as_bytes()),
                })
                .ok_or_else(|| "one_in must be at least 1".to_owned()),
            TransformKind::Redact {
                fields,
                patterns,
                with,
            } => Redact::compile(fields, patterns, with).map(Self::Redact),
        }
    }

    /// Whether the record goes on.
    fn apply(&self, record: &mut Record, seed: u64) -> bool {
        match self {
            Self::Parse(parse) => parse.apply(record),
            Self::Filter(keep) => return keep.is_true(record),
            Self::Set(fields) => set(record, fields),
            Self::Remove(paths) => remove(record, paths),
            Self::Rename(paths) => rename(record, paths),
            Self::KeepOnly(paths) => {
                if keep_only(&mut record.fields, &names_of(paths)) {
                    record.fields_changed();
                }
            }
            Self::Sample { one_in, salt } => {
                return sample(record, salt ^ seed).is_multiple_of(one_in.get());
            }
            Self::Redact(redact) => redact.apply(record),
        }
        true
    }
}

fn set(record: &mut Record, fields: &[(Path, Value)]) {
    for (path, value) in fields {
        match record.fields.set_path(path, value.clone()) {
            Ok(()) => record.fields_changed(),
            Err(error) => record.mark(format!("set {path}: {error}")),
        }
    }
}

fn remove(record: &mut Record, paths: &[Path]) {
    for path in paths {
        if record.fields.remove_path(path).is_some() {
            record.fields_changed();
        }
    }
}

/// All old names are taken before the first new one is given, so that names may be exchanged.
fn rename(record: &mut Record, paths: &[(Path, Path)]) {
    let mut taken = Vec::new();
    for (old, new) in paths {
        if let Some(value) = record.fields.remove_path(old) {
            taken.push((old, new, value));
        }
    }
    for (old, new, value) in taken {
        let renamed = record.fields.set_path(new, value.clone());
        if let Err(error) = renamed {
            record.mark(format!("rename {old} to {new}: {error}"));
            let restored = record.fields.set_path(old, value);
            debug_assert_eq!(restored, Ok(()), "it was there before");
        }
        record.fields_changed();
    }
}

fn names_of(paths: &[Path]) -> Vec<Vec<&str>> {
    paths.iter().map(|path| path.names().collect()).collect()
}

/// Keeps what `paths` lead to, each a list of names from here on; whether anything went.
fn keep_only(fields: &mut Fields, paths: &[Vec<&str>]) -> bool {
    let mut went = false;
    fields.retain(|name, value| {
        let below: Vec<Vec<&str>> = paths
            .iter()
            .filter_map(|path| match path.split_first() {
                Some((first, rest)) if *first == name => Some(rest.to_vec()),
                Some(_) | None => None,
            })
            .collect();
        let kept = match value {
            _ if below.iter().any(Vec::is_empty) => true,
            Value::Map(inner) if !below.is_empty() => {
                went |= keep_only(inner, &below);
                !inner.is_empty()
            }
            Value::Null
            | Value::Bool(_)
            | Value::Int(_)
            | Value::Uint(_)
            | Value::Float(_)
            | Value::Text(_)
            | Value::List(_)
            | Value::Map(_) => false,
        };
        went |= !kept;
        kept
    });
    went
}

/// A number that depends on all of the record and looks random.
fn sample(record: &Record, seed: u64) -> u64 {
    let mut hashed = hash(seed, &record.received_at.as_millis().to_le_bytes());
    if record.payload_state == PayloadState::Replaced {
        let mut bytes = Vec::new();
        stored::encode(record, &mut bytes);
        hashed = hash(hashed, &bytes);
    } else {
        hashed = hash(hashed, &record.payload);
    }
    // The finalizer of SplitMix64: FNV alone leaves the low bits poor.
    hashed = (hashed ^ (hashed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hashed = (hashed ^ (hashed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hashed ^ (hashed >> 31)
}

/// FNV-1a: the same in every version of Hydrant.
fn hash(seed: u64, bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        })
}

fn compile_path(text: &str) -> Result<Path, String> {
    Path::parse(text).map_err(|error| format!("field {text:?}: {error}"))
}

fn compile_paths(texts: &[String]) -> Result<Vec<Path>, String> {
    texts.iter().map(|text| compile_path(text)).collect()
}

fn compile_regex(pattern: &str) -> Result<Regex, String> {
    regex::RegexBuilder::new(pattern)
        .size_limit(REGEX_BYTES_MAX)
        .dfa_size_limit(REGEX_CACHE_BYTES_MAX)
        .build()
        .map_err(|error| explain_regex(&error))
}

/// The reason in one line; the crate draws several with an arrow.
fn explain_regex(error: &regex::Error) -> String {
    if let regex::Error::CompiledTooBig(limit) = error {
        return format!("the regular expression needs more than {limit} bytes; make it smaller");
    }
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    let reason = last.strip_prefix("error: ").unwrap_or(last);
    format!("the regular expression is not valid: {reason}")
}

#[cfg(test)]
mod tests;

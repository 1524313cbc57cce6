//! Every key that may be written: one table, from which everything else about keys follows.
//!
//! The check of a configuration ([`super::check`]), the JSON Schema ([`super::schema`]) and the
//! tables of docs/configuration.md ([`super::reference`]) are made from it. A key that is added
//! here is known to all three; [`super::extract`] gives it its meaning.

mod agent;
mod credentials;
mod destination;
mod file;
mod kinesis;
mod quota;
mod redshift;
mod s3;
mod source;
mod tls;
mod transform;

use super::units::ByteSize;

pub(super) use agent::{AGENT, BUFFER};
pub(super) use destination::DESTINATIONS;
pub(super) use source::SOURCES;
pub(super) use transform::TRANSFORMS;

/// A table of keys.
#[derive(Debug)]
pub(super) struct Section {
    /// What it is for, in one or two sentences.
    pub(super) doc: &'static str,
    /// Its keys, in groups so that sections can share some.
    pub(super) groups: &'static [&'static [Key]],
}

impl Section {
    /// Its keys in the order of the documentation.
    pub(super) fn keys(&self) -> impl Iterator<Item = &'static Key> {
        self.groups.iter().copied().flatten()
    }

    /// The key of this name.
    pub(super) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys().find(|key| key.name == name)
    }
}

/// Components that a user names, each of a type.
#[derive(Debug)]
pub(super) struct Family {
    /// The table that holds them.
    pub(super) name: &'static str,
    /// One of them, in a sentence.
    pub(super) singular: &'static str,
    /// What they are for.
    pub(super) doc: &'static str,
    /// What may be written as `type`.
    pub(super) types: &'static [(&'static str, &'static Section)],
}

/// A key and all that is known of it.
#[derive(Debug)]
pub(super) struct Key {
    /// As it is written.
    pub(super) name: &'static str,
    /// What it takes.
    pub(super) kind: Kind,
    /// What it is when nothing is written.
    pub(super) default: Default,
    /// What it means, in one or two sentences.
    pub(super) doc: &'static str,
}

/// What a key takes.
#[derive(Debug)]
pub(super) enum Kind {
    /// Text.
    Text(TextRule),
    /// Text that is never shown.
    Secret,
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Integer(Range),
    /// A size in bytes.
    Size(Range),
    /// A size in bytes for each day.
    SizePerDay(Range),
    /// A duration; the range is in milliseconds.
    Duration(Range),
    /// One of these words.
    Words(&'static [&'static str]),
    /// An absolute path.
    Path,
    /// `IP:PORT`.
    Address,
    /// `IP:PORT`, or `systemd:NAME` for what a socket unit passes.
    AddressOrPassed,
    /// A place to listen with one of these schemes, each followed by its [`ListenForm`].
    Listen(&'static [&'static str]),
    /// `SCHEME://HOST...` with one of these schemes.
    Url(UrlRule),
    /// A list with at least one of these.
    List(&'static Kind),
    /// One of these, or a list with at least one.
    OneOrMore(&'static Kind),
    /// A table of the user's own keys, each with one of these.
    Map(&'static Kind),
    /// Anything that JSON can say.
    Json,
    /// A table of keys.
    Table(&'static Section),
}

/// What follows the scheme of a place to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ListenForm {
    /// `SCHEME://IP:PORT`.
    Address,
    /// `SCHEME:///PATH`.
    Path,
    /// `SCHEME:NAME`.
    Name,
}

impl ListenForm {
    /// That of `scheme`.
    pub(super) fn of(scheme: &str) -> Self {
        match scheme {
            "unix" | "unixgram" => Self::Path,
            "systemd" => Self::Name,
            _ => Self::Address,
        }
    }
}

/// What a text must be like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TextRule {
    /// Anything but nothing.
    Any,
    /// Anything, even nothing.
    Empty,
    /// Letters, digits, `.`, `_` and `-`, at most 64 of them.
    Name,
    /// Lower-case letters, digits and `-`.
    Region,
    /// Letters, digits and `_=,@-`, at most 128 of them.
    RoleAlias,
    /// The hash of a public key.
    KeyPin,
    /// A topic filter of MQTT.
    TopicFilter,
    /// A topic whose levels have names.
    TopicTemplate,
    /// A text with holes for what a record says.
    KeyTemplate,
    /// An absolute path with wildcards.
    Glob,
    /// Permissions in octal digits.
    FileMode,
}

/// What a URL may have.
#[derive(Clone, Copy, Debug)]
pub(super) struct UrlRule {
    /// Schemes.
    pub(super) schemes: &'static [&'static str],
    /// Whether something may come after the host and port.
    pub(super) path: bool,
}

/// The least and the most, both taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    pub(super) min: u64,
    pub(super) max: u64,
    /// Who cannot take more, as in "Firehose takes in one call"; empty when nobody in particular.
    pub(super) why: &'static str,
}

/// What a key is when nothing is written.
#[derive(Clone, Copy, Debug)]
pub(super) enum Default {
    /// It must be written.
    Required,
    /// It has no value; the words say what that means.
    Absent(&'static str),
    /// This text.
    Text(&'static str),
    /// This number.
    Integer(u64),
    /// This truth.
    Bool(bool),
}

pub(super) const KIB: u64 = 1 << 10;
pub(super) const MIB: u64 = 1 << 20;
pub(super) const GIB: u64 = 1 << 30;
pub(super) const SECOND: u64 = 1_000;
pub(super) const MINUTE: u64 = 60 * SECOND;
pub(super) const HOUR: u64 = 60 * MINUTE;
pub(super) const DAY: u64 = 24 * HOUR;

/// Names of sources, transforms and destinations, which are also names of folders.
pub(super) const NAME_LEN_MAX: usize = 64;

impl Kind {
    /// What it takes, in the words of the documentation.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Text(TextRule::TopicFilter) => "topic filter".to_owned(),
            Self::Text(TextRule::TopicTemplate) => "topic with `{name}` levels".to_owned(),
            Self::Text(TextRule::KeyTemplate) => "text with `{id}`, `{.field}`".to_owned(),
            Self::Text(TextRule::Glob) => "path with wildcards".to_owned(),
            Self::Text(TextRule::FileMode) => "octal digits".to_owned(),
            Self::Text(_) => "text".to_owned(),
            Self::Secret => "secret text".to_owned(),
            Self::Bool => "`true` or `false`".to_owned(),
            Self::Integer(range) => format!("{} to {}", range.min, range.max),
            Self::Size(range) => {
                let size = ByteSize::bytes;
                format!("size, {} to {}", size(range.min), size(range.max))
            }
            Self::SizePerDay(range) => {
                let size = ByteSize::bytes;
                format!(
                    "size per day, {}/day to {}/day",
                    size(range.min),
                    size(range.max)
                )
            }
            Self::Duration(range) => {
                let text = super::value::duration_text;
                format!("duration, {} to {}", text(range.min), text(range.max))
            }
            Self::Words(words) => {
                let words: Vec<String> = words.iter().map(|word| format!("`\"{word}\"`")).collect();
                words.join(", ")
            }
            Self::Path => "absolute path".to_owned(),
            Self::Address => "`IP:PORT`".to_owned(),
            Self::AddressOrPassed => "`IP:PORT` or `systemd:NAME`".to_owned(),
            Self::Listen(schemes) => {
                let forms: Vec<String> = schemes
                    .iter()
                    .map(|scheme| match ListenForm::of(scheme) {
                        ListenForm::Address => format!("`{scheme}://IP:PORT`"),
                        ListenForm::Path => format!("`{scheme}:///PATH`"),
                        ListenForm::Name => format!("`{scheme}:NAME`"),
                    })
                    .collect();
                forms.join(" or ")
            }
            Self::Url(rule) => {
                let forms: Vec<String> = rule
                    .schemes
                    .iter()
                    .map(|scheme| format!("`{scheme}://`"))
                    .collect();
                format!("{} URL", forms.join(" or "))
            }
            Self::List(kind) => format!("list: {}", kind.describe()),
            Self::OneOrMore(kind) => format!("{}, or a list of them", kind.describe()),
            Self::Map(kind) => format!("table of names: {}", kind.describe()),
            Self::Json => "any value".to_owned(),
            Self::Table(_) => "table".to_owned(),
        }
    }
}

impl Default {
    /// As the documentation shows it.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Required => "required".to_owned(),
            Self::Absent(words) => (*words).to_owned(),
            Self::Text(text) => format!("`\"{text}\"`"),
            Self::Integer(number) => format!("`{number}`"),
            Self::Bool(value) => format!("`{value}`"),
        }
    }
}

/// A range without a particular reason.
const fn range(min: u64, max: u64) -> Range {
    Range { min, max, why: "" }
}

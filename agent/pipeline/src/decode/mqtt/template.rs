//! Fields that are read out of a topic: `plant/{site}/{device}/telemetry`.
//!
//! A template is read like a topic filter whose wildcards have names. `{name}` is one level and
//! `{name...}` all that are left, at least one; `+` and `#` are the same without a name. Of several
//! templates the first that fits a topic counts; a topic that none fits has no such fields.

use std::fmt;

use crate::record::{Fields, Record, Value};

/// The longest name of a field.
const NAME_BYTES_MAX: usize = 64;

/// How many levels a template may have, so that a topic is read in bounded time.
const LEVELS_MAX: usize = 64;

/// Fields that a message has in any case.
const TAKEN: &[&str] = &[
    "client",
    "content_type",
    "correlation_data",
    "correlation_data_base64",
    "message_expiry_s",
    "payload_format",
    "qos",
    "response_topic",
    "retain",
    "topic",
    "user_properties",
    "will",
];

/// One template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicTemplate {
    levels: Vec<Level>,
    tail: Tail,
}

/// Several templates, in the order in which they are tried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicTemplates(Vec<TopicTemplate>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Level {
    /// This very text.
    Literal(Box<str>),
    /// Anything, kept under this name.
    Named(Box<str>),
    /// Anything.
    Any,
}

/// What may follow the levels.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Tail {
    /// Nothing.
    None,
    /// Any number of levels, also none.
    Any,
    /// At least one level, all of them kept under this name.
    Named(Box<str>),
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplateError {
    /// A level has a wildcard or a brace and something else beside it.
    Mixed(String),
    /// A name is empty, too long, or has other characters than letters, digits and `_`.
    Name(String),
    /// A name occurs twice.
    Twice(String),
    /// A field of this name says something else about every message.
    Taken(String),
    /// What takes all that is left is not the last level.
    NotLast(String),
    /// Nothing has a name.
    Nameless,
    /// More levels than are read.
    TooManyLevels,
}

impl TemplateError {
    /// What to write instead.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Mixed(_) => "let {name}, {name...}, \"+\" or \"#\" fill its whole level",
            Self::Name(_) => "write letters, digits and \"_\" between the braces, at most 64",
            Self::Twice(_) => "give each level a name of its own",
            Self::Taken(_) => "give the level another name",
            Self::NotLast(_) => "put it at the end",
            Self::Nameless => "name a level, as in \"plant/{site}/{device}/telemetry\"",
            Self::TooManyLevels => "end it with \"#\"",
        }
    }
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mixed(level) => write!(f, "the level {level:?} is half a wildcard"),
            Self::Name(name) => write!(f, "{name:?} is not the name of a field"),
            Self::Twice(name) => write!(f, "{{{name}}} occurs twice"),
            Self::Taken(name) => write!(f, "every message has a field {name} of its own"),
            Self::NotLast(level) => write!(f, "{level} takes all levels that are left"),
            Self::Nameless => f.write_str("it names no field"),
            Self::TooManyLevels => write!(f, "it has more than {LEVELS_MAX} levels"),
        }
    }
}

impl std::error::Error for TemplateError {}

impl TopicTemplate {
    /// Reads a template.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut template = Self {
            levels: Vec::new(),
            tail: Tail::None,
        };
        let mut names = Vec::new();
        let mut levels = text.split('/').peekable();
        while let Some(text) = levels.next() {
            if template.levels.len() == LEVELS_MAX {
                return Err(TemplateError::TooManyLevels);
            }
            let (level, tail) = read_level(text)?;
            let name = match (&level, &tail) {
                (Some(Level::Named(name)), _) | (_, Tail::Named(name)) => Some(name.clone()),
                (Some(Level::Literal(_) | Level::Any) | None, Tail::None | Tail::Any) => None,
            };
            if let Some(name) = name {
                if names.contains(&name) {
                    return Err(TemplateError::Twice(name.into()));
                }
                names.push(name);
            }
            if tail != Tail::None && levels.peek().is_some() {
                return Err(TemplateError::NotLast(text.to_owned()));
            }
            template.levels.extend(level);
            template.tail = tail;
        }
        if names.is_empty() {
            return Err(TemplateError::Nameless);
        }
        Ok(template)
    }

    /// The fields of `topic`, or `None` when the template does not fit it.
    fn read<'a>(&'a self, topic: &'a str) -> Option<Vec<(&'a str, &'a str)>> {
        let mut found = Vec::new();
        // `None` once all of the topic is taken.
        let mut rest = Some(topic);
        for level in &self.levels {
            let (text, behind) = split_level(rest?);
            rest = behind;
            match level {
                Level::Literal(literal) if **literal == *text => {}
                Level::Literal(_) => return None,
                Level::Named(name) => found.push((name.as_ref(), text)),
                Level::Any => {}
            }
        }
        match (&self.tail, rest) {
            (Tail::None, Some(_)) | (Tail::Named(_), None) => return None,
            (Tail::None, None) | (Tail::Any, _) => {}
            (Tail::Named(name), Some(rest)) => found.push((name.as_ref(), rest)),
        }
        Some(found)
    }

    /// Whether a topic exists that both the template and the topic filter fit.
    pub fn may_fit(&self, filter: &str) -> bool {
        let pattern = self.levels.iter().map(|level| match level {
            Level::Literal(text) => Part::Text(text),
            Level::Named(_) | Level::Any => Part::One,
        });
        let tail = match self.tail {
            Tail::None => None,
            Tail::Any => Some(Part::Rest),
            // At least one level; so an overlap needs one that is left.
            Tail::Named(_) => Some(Part::One),
        };
        let named_tail = matches!(self.tail, Tail::Named(_)).then_some(Part::Rest);
        let mine: Vec<Part<'_>> = pattern.chain(tail).chain(named_tail).collect();
        overlap(&mine, &parts(super::filter::unshared(filter)))
    }
}

impl TopicTemplates {
    /// Templates in the order in which they are tried.
    pub const fn new(templates: Vec<TopicTemplate>) -> Self {
        Self(templates)
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds what the first template that fits reads out of the record's topic.
    pub fn add_fields(&self, record: &mut Record) {
        if self.0.is_empty() {
            return;
        }
        let Some(Value::Text(topic)) = record.fields.get("topic") else {
            return;
        };
        let mut read = Fields::new();
        let fitting = self.0.iter().find_map(|template| template.read(topic));
        for (name, text) in fitting.into_iter().flatten() {
            read.insert(name, text);
        }
        record.fields.merge(read.into_pairs());
    }
}

/// A level of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part<'a> {
    /// This text.
    Text(&'a str),
    /// Any one level.
    One,
    /// All that is left.
    Rest,
}

/// The levels of a topic filter.
pub(super) fn parts(filter: &str) -> Vec<Part<'_>> {
    let part = |level| match level {
        "+" => Part::One,
        "#" => Part::Rest,
        text => Part::Text(text),
    };
    filter.split('/').map(part).collect()
}

/// Whether a topic exists that fits both. `Rest` is the last part where it occurs.
pub(super) fn overlap(one: &[Part<'_>], other: &[Part<'_>]) -> bool {
    let (mut one, mut other) = (one.iter(), other.iter());
    loop {
        match (one.next(), other.next()) {
            (None, None) | (Some(Part::Rest), _) | (_, Some(Part::Rest)) => return true,
            (None, Some(_)) | (Some(_), None) => return false,
            (Some(Part::Text(a)), Some(Part::Text(b))) if a != b => return false,
            (Some(_), Some(_)) => {}
        }
    }
}

fn split_level(topic: &str) -> (&str, Option<&str>) {
    match topic.split_once('/') {
        Some((level, rest)) => (level, Some(rest)),
        None => (topic, None),
    }
}

/// Reads one level: what it takes, or else the tail that it is.
fn read_level(text: &str) -> Result<(Option<Level>, Tail), TemplateError> {
    match text {
        "+" => return Ok((Some(Level::Any), Tail::None)),
        "#" => return Ok((None, Tail::Any)),
        _ if !text.contains(['{', '}', '+', '#']) => {
            return Ok((Some(Level::Literal(text.into())), Tail::None));
        }
        _ => {}
    }
    let inner = text
        .strip_prefix('{')
        .and_then(|text| text.strip_suffix('}'));
    let Some(inner) = inner.filter(|inner| !inner.contains(['{', '}'])) else {
        return Err(TemplateError::Mixed(text.to_owned()));
    };
    let (name, takes_rest) = match inner.strip_suffix("...") {
        Some(name) => (name, true),
        None => (inner, false),
    };
    let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(good) {
        return Err(TemplateError::Name(name.to_owned()));
    }
    if TAKEN.contains(&name) {
        return Err(TemplateError::Taken(name.to_owned()));
    }
    if takes_rest {
        Ok((None, Tail::Named(name.into())))
    } else {
        Ok((Some(Level::Named(name.into())), Tail::None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::WallClock;

    fn check(templates: &[&str], topic: &str, expected: &[(&str, &str)]) {
        let parsed = templates
            .iter()
            .map(|text| TopicTemplate::parse(text).unwrap())
            .collect();
        let mut record = Record::new(WallClock::default(), Vec::new());
        record.fields.insert("topic", topic);
        TopicTemplates::new(parsed).add_fields(&mut record);
        let mut wanted = Fields::new();
        wanted.insert("topic", topic);
        for (name, value) in expected {
            wanted.insert(*name, *value);
        }
        assert_eq!(record.fields, wanted, "{templates:?} {topic:?}");
    }

    #[test]
    fn fields_of_a_topic() {
        let telemetry = "plant/{site}/{device}/telemetry";
        let both = [("site", "7"), ("device", "pump")];
        check(&[telemetry], "plant/7/pump/telemetry", &both);
        check(&[telemetry], "plant/7/pump/alarm", &[]);
        check(&[telemetry], "plant/7/pump", &[]);
        check(&[telemetry], "plant/7/pump/telemetry/", &[]);
        // A level may be empty.
        check(
            &[telemetry],
            "plant//pump/telemetry",
            &[("site", ""), ("device", "pump")],
        );
        check(&["{a}/+/{b}"], "x/y/z", &[("a", "x"), ("b", "z")]);
        check(&["{a}/#"], "x", &[("a", "x")]);
        check(&["{a}/#"], "x/y/z", &[("a", "x")]);
        check(&["{a}/{rest...}"], "x/y/z", &[("a", "x"), ("rest", "y/z")]);
        check(&["{a}/{rest...}"], "x/", &[("a", "x"), ("rest", "")]);
        check(&["{a}/{rest...}"], "x", &[]);
        check(&["{all...}"], "x/y", &[("all", "x/y")]);
    }

    #[test]
    fn the_first_that_fits_counts() {
        let templates = ["plant/{site}/alarm", "plant/{where}/+", "{kind}/#"];
        check(&templates, "plant/7/alarm", &[("site", "7")]);
        check(&templates, "plant/7/data", &[("where", "7")]);
        check(&templates, "other/x", &[("kind", "other")]);
        check(&[], "plant/7/alarm", &[]);
    }

    #[test]
    fn what_is_no_template_is_told() {
        let check = |text: &str, expected: &str| {
            let error = TopicTemplate::parse(text).unwrap_err();
            assert!(error.to_string().contains(expected), "{text}: {error}");
            assert!(!error.hint().is_empty());
        };
        check("a/b", "names no field");
        check("a/{x", "half a wildcard");
        check("a/x{y}", "half a wildcard");
        check("a/{{y}}", "half a wildcard");
        check("{a}/b+", "half a wildcard");
        check("{}", "\"\" is not the name");
        check("{a b}", "\"a b\" is not the name");
        check(&format!("{{{}}}", "x".repeat(65)), "is not the name");
        check("{a}/{a}", "{a} occurs twice");
        check("{a}/{a...}", "{a} occurs twice");
        check("{topic}/x", "field topic of its own");
        check("{a...}/x", "{a...} takes all");
        check("{a}/#/x", "# takes all");
        check(&format!("{{a}}{}", "/x".repeat(64)), "more than 64 levels");
    }

    #[test]
    fn a_template_may_fit_a_filter() {
        let check = |template: &str, filter: &str, expected: bool| {
            let template = TopicTemplate::parse(template).unwrap();
            assert_eq!(template.may_fit(filter), expected, "{template:?} {filter}");
        };
        check("plant/{site}/data", "plant/+/data", true);
        check("plant/{site}/data", "plant/#", true);
        check("plant/{site}/data", "#", true);
        check("plant/{site}/data", "$share/g/plant/#", true);
        check("plant/{site}/data", "plant/+/alarm", false);
        check("plant/{site}/data", "plant/+", false);
        check("plant/{site}/data", "$share/g/works/#", false);
        check("{a}/#", "x", true);
        check("{a}/{b...}", "x", false);
        check("{a}/{b...}", "x/+/z", true);
    }
}

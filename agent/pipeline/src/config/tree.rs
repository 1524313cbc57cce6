//! What is written: TOML as a tree in which every key and value knows its file and line.
//!
//! Files are parsed one by one and merged by key: tables merge deep, everything else is replaced
//! by the later file. Expansions are made after the merge, so that a value that was replaced need
//! not resolve. Nothing here knows which keys exist.

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

use super::SourceText;
use super::expand::{self, Environment};
use super::problem::{Place, Problems};

/// A value and where it is written.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Where its key is.
    pub(super) key_at: Place,
    /// Where the value itself is.
    pub(super) at: Place,
    /// The value.
    pub(super) value: Tree,
}

/// A value of TOML.
#[derive(Clone, Debug)]
pub(super) enum Tree {
    /// A string.
    Text {
        /// With references expanded.
        text: String,
        /// Whether there were any: such a text may be a secret and is never shown.
        expanded: bool,
    },
    /// A whole number; one beyond 128 bits is saturated.
    Integer(i128),
    /// A number with a fraction.
    Float(f64),
    /// `true` or `false`.
    Bool(bool),
    /// A date or time.
    Datetime(String),
    /// A string whose references could not be expanded, which was reported.
    Unresolved,
    /// `[...]`.
    Array(Vec<Node>),
    /// `{...}` or `[name]`.
    Table(Table),
}

/// Keys and what they hold.
pub(super) type Table = BTreeMap<String, Node>;

impl Tree {
    /// What it is, for a message.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Text { expanded: true, .. } => "the expanded text".to_owned(),
            Self::Text { text, .. } => quoted(text),
            Self::Integer(number) => number.to_string(),
            Self::Float(number) => number.to_string(),
            Self::Bool(value) => value.to_string(),
            Self::Datetime(_) => "a date".to_owned(),
            Self::Unresolved => "a text that is not known".to_owned(),
            Self::Array(_) => "a list".to_owned(),
            Self::Table(_) => "a table".to_owned(),
        }
    }
}

/// `text` as a message shows it: quoted, escaped, and cut when it is long.
pub(super) fn quoted(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{:?}...", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}

/// Parses every file, merges them and expands references. `None` when a file is not TOML, so that
/// what it was meant to hold is not reported as missing.
pub(super) fn parse(
    files: &[SourceText],
    environment: &Environment<'_>,
    problems: &mut Problems,
) -> Option<Table> {
    let mut merged = Table::new();
    let mut whole = true;
    for (index, file) in files.iter().enumerate() {
        let reader = Reader {
            file: index,
            lines: Lines::new(&file.text),
        };
        let (document, errors) = DeTable::parse_recoverable(&file.text);
        whole &= reader.report(&file.text, errors, problems);
        merge(&mut merged, reader.table(document.get_ref()));
    }
    if !whole {
        return None;
    }
    expand_table(&mut merged, "", environment, problems);
    Some(merged)
}

/// The path of `key` below `path`.
pub(super) fn join(path: &str, key: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    let key = if !key.is_empty() && key.bytes().all(bare) {
        key.to_owned()
    } else {
        quoted(key)
    };
    if path.is_empty() {
        key
    } else {
        format!("{path}.{key}")
    }
}

/// Makes a tree of one file.
struct Reader {
    file: usize,
    lines: Lines,
}

impl Reader {
    /// Reports what is not TOML, one error a line; true when the rest is still as it was meant.
    fn report(&self, text: &str, errors: Vec<toml::de::Error>, problems: &mut Problems) -> bool {
        const ERRORS_MAX: usize = 10;
        let mut found: Vec<(Place, String, bool)> = errors
            .into_iter()
            .map(|error| {
                let span = error.span().unwrap_or_default();
                // A duplicate key takes nothing else with it.
                let duplicate = error.message() == "duplicate key";
                let message = match text.get(span.clone()).filter(|_| duplicate) {
                    Some(key) => format!("{key} is written twice"),
                    None => error.message().to_owned(),
                };
                (self.place(span.start), message, duplicate)
            })
            .collect();
        found.sort_by_key(|(at, ..)| *at);
        found.dedup_by_key(|(at, ..)| at.line);
        let whole = found.iter().all(|(.., duplicate)| *duplicate);
        for (at, message, _) in found.into_iter().take(ERRORS_MAX) {
            problems.error(at, "", message, None);
        }
        whole
    }

    fn table(&self, table: &DeTable<'_>) -> Table {
        let entries = table.iter().map(|(key, value)| {
            let key_at = self.place(key.span().start);
            let node = Node {
                key_at,
                at: self.place(value.span().start),
                value: self.tree(value),
            };
            (key.get_ref().to_string(), node)
        });
        entries.collect()
    }

    fn tree(&self, value: &toml::Spanned<DeValue<'_>>) -> Tree {
        match value.get_ref() {
            DeValue::String(text) => Tree::Text {
                text: text.to_string(),
                expanded: false,
            },
            DeValue::Integer(number) => {
                let parsed = i128::from_str_radix(number.as_str(), number.radix());
                Tree::Integer(parsed.unwrap_or(i128::MAX))
            }
            DeValue::Float(number) => Tree::Float(number.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(value) => Tree::Bool(*value),
            DeValue::Datetime(time) => Tree::Datetime(time.to_string()),
            DeValue::Array(values) => {
                let nodes = values.iter().map(|value| {
                    let at = self.place(value.span().start);
                    Node {
                        key_at: at,
                        at,
                        value: self.tree(value),
                    }
                });
                Tree::Array(nodes.collect())
            }
            DeValue::Table(table) => Tree::Table(self.table(table)),
        }
    }

    fn place(&self, offset: usize) -> Place {
        let (line, column) = self.lines.of(offset);
        Place {
            file: self.file,
            line,
            column,
        }
    }
}

/// Where the lines of a text begin.
struct Lines {
    starts: Vec<usize>,
    /// Offsets of bytes that only continue a character: they count for no column.
    continuations: Vec<usize>,
}

impl Lines {
    fn new(text: &str) -> Self {
        let after_newline = memchr::memchr_iter(b'\n', text.as_bytes()).map(|at| at + 1);
        let continues = |(at, byte): (usize, u8)| (byte & 0xC0 == 0x80).then_some(at);
        Self {
            starts: std::iter::once(0).chain(after_newline).collect(),
            continuations: text.bytes().enumerate().filter_map(continues).collect(),
        }
    }

    /// Line and column of `offset`, both from 1.
    fn of(&self, offset: usize) -> (u32, u32) {
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = self
            .starts
            .get(line.saturating_sub(1))
            .copied()
            .unwrap_or_default();
        let before = |offset: usize| self.continuations.partition_point(|at| *at < offset);
        let column = offset - start - (before(offset) - before(start)) + 1;
        (
            u32::try_from(line).unwrap_or(u32::MAX),
            u32::try_from(column).unwrap_or(u32::MAX),
        )
    }
}

fn merge(into: &mut Table, from: Table) {
    for (key, node) in from {
        match (into.get_mut(&key), node) {
            (
                Some(Node {
                    value: Tree::Table(older),
                    ..
                }),
                Node {
                    value: Tree::Table(newer),
                    ..
                },
            ) => merge(older, newer),
            (_, node) => {
                into.insert(key, node);
            }
        }
    }
}

fn expand_table(
    table: &mut Table,
    path: &str,
    environment: &Environment<'_>,
    problems: &mut Problems,
) {
    for (key, node) in table {
        expand_node(node, &join(path, key), environment, problems);
    }
}

fn expand_node(
    node: &mut Node,
    path: &str,
    environment: &Environment<'_>,
    problems: &mut Problems,
) {
    match &mut node.value {
        Tree::Text { text, expanded } => match expand::expand(text, environment) {
            Ok(Some(new)) => {
                *text = new;
                *expanded = true;
            }
            Ok(None) => {}
            Err(error) => {
                problems.error(node.at, path, error.message, error.suggestion);
                node.value = Tree::Unresolved;
            }
        },
        Tree::Array(nodes) => {
            for node in nodes {
                expand_node(node, path, environment, problems);
            }
        }
        Tree::Table(table) => expand_table(table, path, environment, problems),
        Tree::Integer(_)
        | Tree::Float(_)
        | Tree::Bool(_)
        | Tree::Datetime(_)
        | Tree::Unresolved => {}
    }
}

//! Checks what is written against the table of keys, and fills in what is not.

use std::collections::BTreeMap;

use super::expand::{self, Environment};
use super::keys::{Default, Family, Key, Kind, NAME_LEN_MAX, Section};
use super::model::{BUFFERS_MAX, DEFAULT_BUFFER};
use super::problem::{Place, Problems, nearest};
use super::settings::{Component, Setting, Settings, Value};
use super::tree::{Node, Table, Tree, join, quoted};
use super::value;

/// The table of the buffers that have names.
const BUFFERS: &str = "buffers";

/// Walks over what is written, beside the table of keys.
#[derive(Debug)]
pub(super) struct Checker<'a> {
    /// For defaults that refer to something.
    pub(super) environment: &'a Environment<'a>,
    /// What was found.
    pub(super) problems: &'a mut Problems,
}

impl Checker<'_> {
    /// Reports tables that are neither a section nor a family.
    pub(super) fn top_level(&mut self, root: &Table, known: &[&str]) {
        for (name, node) in root {
            if known.contains(&name.as_str()) {
                continue;
            }
            let suggestion = match nearest(name, known.iter().copied()) {
                Some(near) => format!("did you mean [{near}]?"),
                None => format!("the tables are {}", listed(known.iter().copied())),
            };
            self.problems.error(
                node.key_at,
                &join("", name),
                "unknown table",
                Some(suggestion),
            );
        }
    }

    /// Checks the section `name` below `root`, which need not be written.
    pub(super) fn top_section(
        &mut self,
        section: &'static Section,
        name: &str,
        root: &Table,
    ) -> Settings {
        let empty = Table::new();
        let (table, at) = match root.get(name) {
            None => (&empty, Place::default()),
            Some(Node {
                key_at,
                value: Tree::Table(table),
                ..
            }) => (table, *key_at),
            Some(node) => {
                let message = format!("is {}, not a table", node.value.describe());
                self.problems
                    .error(node.at, name, message, Some(format!("write [{name}]")));
                (&empty, node.at)
            }
        };
        self.section(section, name, at, table)
    }

    /// Checks the components of `family` below `root`.
    pub(super) fn family(
        &mut self,
        family: &'static Family,
        root: &Table,
    ) -> BTreeMap<String, Component> {
        let mut components = BTreeMap::new();
        for (name, node) in self.members(family.name, root).into_iter().flatten() {
            let path = join(family.name, name);
            self.name(name, node, &path);
            if let Some(component) = self.component(family, &path, node) {
                components.insert(name.clone(), component);
            }
        }
        components
    }

    /// Checks the buffers that have names, each with the keys of `section`, below `root`.
    pub(super) fn buffers(
        &mut self,
        section: &'static Section,
        root: &Table,
    ) -> BTreeMap<String, Settings> {
        let mut buffers = BTreeMap::new();
        for (name, node) in self.members(BUFFERS, root).into_iter().flatten() {
            let path = join(BUFFERS, name);
            self.name(name, node, &path);
            let Tree::Table(table) = &node.value else {
                let message = format!("is {}, not a buffer", node.value.describe());
                let suggestion = match section.key(name) {
                    Some(_) => format!("write it below [buffer] or [{BUFFERS}.NAME]"),
                    None => format!("write [{path}]"),
                };
                self.problems
                    .error(node.at, &path, message, Some(suggestion));
                continue;
            };
            if name == DEFAULT_BUFFER {
                let message = "is the buffer that [buffer] configures";
                let suggestion = "write [buffer] instead".to_owned();
                self.problems
                    .error(node.key_at, &path, message, Some(suggestion));
                continue;
            }
            let settings = self.section(section, &path, node.key_at, table);
            buffers.insert(name.clone(), settings);
        }
        self.count_buffers(buffers.len() + 1, root);
        buffers
    }

    fn count_buffers(&mut self, count: usize, root: &Table) {
        if let Some(node) = root.get(BUFFERS).filter(|_| count > BUFFERS_MAX) {
            let message = format!(
                "are {count} with the one of [buffer], and the memory of a gateway bears \
                 {BUFFERS_MAX}"
            );
            let suggestion = "let sources share one".to_owned();
            self.problems
                .error(node.key_at, BUFFERS, message, Some(suggestion));
        }
    }

    /// What is below the table `family`, which need not be written.
    fn members<'r>(&mut self, family: &str, root: &'r Table) -> Option<&'r Table> {
        let node = root.get(family)?;
        let Tree::Table(table) = &node.value else {
            let message = format!("is {}, not a table", node.value.describe());
            let suggestion = format!("write [{family}.NAME]");
            self.problems
                .error(node.at, family, message, Some(suggestion));
            return None;
        };
        Some(table)
    }

    fn name(&mut self, name: &str, node: &Node, path: &str) {
        if !value::is_name(name) {
            let message = format!(
                "a name has letters, digits, \".\", \"_\" and \"-\", \
                 and at most {NAME_LEN_MAX} of them"
            );
            self.problems.error(node.key_at, path, message, None);
        }
    }

    fn component(&mut self, family: &'static Family, path: &str, node: &Node) -> Option<Component> {
        let words = || family.types.iter().map(|(word, _)| *word);
        let Tree::Table(table) = &node.value else {
            let message = format!("is {}, not a {}", node.value.describe(), family.singular);
            self.problems
                .error(node.at, path, message, Some(format!("write [{path}]")));
            return None;
        };
        let type_path = join(path, "type");
        let Some(kind) = table.get("type") else {
            let suggestion = format!("write one of {}", listed(words()));
            self.problems
                .error(node.key_at, &type_path, "is missing", Some(suggestion));
            return None;
        };
        if matches!(kind.value, Tree::Unresolved) {
            return None;
        }
        let written = if let Tree::Text { text, .. } = &kind.value {
            text.as_str()
        } else {
            ""
        };
        let Some((word, section)) = family.types.iter().find(|(word, _)| *word == written) else {
            let message = format!(
                "{} is no type of {}",
                kind.value.describe(),
                family.singular
            );
            let suggestion = instead(written, words());
            self.problems
                .error(kind.at, &type_path, message, Some(suggestion));
            return None;
        };
        let mut keys = table.clone();
        keys.remove("type");
        let settings = self.section(section, path, node.key_at, &keys);
        Some(Component {
            kind: word,
            settings,
        })
    }

    /// Checks `table`, the keys of `section`, at `path`.
    fn section(
        &mut self,
        section: &'static Section,
        path: &str,
        at: Place,
        table: &Table,
    ) -> Settings {
        for (name, node) in table {
            if section.key(name).is_none() {
                let suggestion = Some(near_key(section, name));
                self.problems
                    .error(node.key_at, &join(path, name), "unknown key", suggestion);
            }
        }
        let mut values = BTreeMap::new();
        for key in section.keys() {
            let setting = match table.get(key.name) {
                Some(node) => Some(self.written(&key.kind, &join(path, key.name), node)),
                None => self.unwritten(key, &join(path, key.name), at),
            };
            if let Some(setting) = setting {
                values.insert(key.name, setting);
            }
        }
        Settings::new(path.to_owned(), at, values)
    }

    /// The value of a key that is written.
    fn written(&mut self, kind: &'static Kind, path: &str, node: &Node) -> Setting {
        let value = match (kind, &node.value) {
            (_, Tree::Unresolved) => Value::Unusable,
            (Kind::Table(section), Tree::Table(table)) => {
                Value::Table(self.section(section, path, node.key_at, table))
            }
            (Kind::List(_) | Kind::OneOrMore(_), Tree::Array(nodes)) if nodes.is_empty() => {
                let suggestion = "leave it out, or write at least one".to_owned();
                self.problems
                    .error(node.at, path, "is an empty list", Some(suggestion));
                Value::Unusable
            }
            (Kind::List(kind) | Kind::OneOrMore(kind), Tree::Array(nodes)) => Value::List(
                nodes
                    .iter()
                    .map(|node| self.written(kind, path, node))
                    .collect(),
            ),
            (Kind::OneOrMore(kind), _) => Value::List(vec![self.written(kind, path, node)]),
            (Kind::Map(kind), Tree::Table(table)) => {
                let settings = table.iter().map(|(name, node)| {
                    (name.clone(), self.written(kind, &join(path, name), node))
                });
                Value::Map(settings.collect())
            }
            (kind, tree) => value::scalar(kind, tree).unwrap_or_else(|wrong| {
                self.problems
                    .error(node.at, path, wrong.message, wrong.suggestion);
                Value::Unusable
            }),
        };
        Setting {
            at: node.at,
            written: true,
            value,
        }
    }

    /// The value of a key that is not written.
    fn unwritten(&mut self, key: &'static Key, path: &str, at: Place) -> Option<Setting> {
        if let Kind::Table(section) = &key.kind {
            let table = self.section(section, path, at, &Table::new());
            return Some(Setting {
                at,
                written: false,
                value: Value::Table(table),
            });
        }
        let tree = match key.default {
            Default::Required => {
                let suggestion = format!("write {} = ...", key.name);
                self.problems
                    .error(at, path, "is missing", Some(suggestion));
                return None;
            }
            Default::Absent(_) => return None,
            Default::Text(text) => self.default_text(text, path, at)?,
            Default::Integer(number) => Tree::Integer(i128::from(number)),
            Default::Bool(value) => Tree::Bool(value),
        };
        match value::scalar(&key.kind, &tree) {
            Ok(value) => Some(Setting {
                at,
                written: false,
                value,
            }),
            Err(wrong) => {
                let message = format!("is not written, and its default {}", wrong.message);
                let suggestion = wrong.suggestion.or_else(|| Some(format!("write {path}")));
                self.problems.error(at, path, message, suggestion);
                None
            }
        }
    }

    fn default_text(&mut self, text: &str, path: &str, at: Place) -> Option<Tree> {
        match expand::expand(text, self.environment) {
            Ok(Some(text)) => Some(Tree::Text {
                text,
                expanded: false,
            }),
            Ok(None) => Some(Tree::Text {
                text: text.to_owned(),
                expanded: false,
            }),
            Err(error) => {
                let message = format!("is not written, and {}", error.message);
                self.problems
                    .error(at, path, message, Some(format!("write {path}")));
                None
            }
        }
    }
}

/// What the user may have meant by an unknown key: one with a similar name, or one of this very
/// name in a table below.
fn near_key(section: &'static Section, wrong: &str) -> String {
    let below = section.keys().find_map(|key| {
        let Kind::Table(table) = &key.kind else {
            return None;
        };
        table.key(wrong).map(|inner| join(key.name, inner.name))
    });
    let near = below.or_else(|| nearest(wrong, section.keys().map(|key| key.name)));
    match near {
        Some(near) => format!("did you mean {near}?"),
        None => format!(
            "the keys here are {}",
            listed(section.keys().map(|key| key.name))
        ),
    }
}

/// "did you mean" or a list of what may be written.
pub(super) fn instead<'a>(wrong: &str, words: impl Iterator<Item = &'a str> + Clone) -> String {
    match nearest(wrong, words.clone()) {
        Some(near) => format!("did you mean {}?", quoted(&near)),
        None => format!("write one of {}", listed(words)),
    }
}

/// `a, b, c`.
fn listed<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let words: Vec<&str> = words.collect();
    words.join(", ")
}

//! What the user wrote, checked, and what it means.
//!
//! [`load`] is the only way from text to a [`Config`]: it parses and merges the files (`tree`),
//! expands references (`expand`), checks every key against one table (`keys`, `check`, `value`),
//! checks what no key can tell alone (`rules`), and makes the configuration as it is meant
//! (`extract`, `model`). It reports every problem it finds, not only the first. Nothing is read
//! here: texts and the environment are arguments.

mod check;
mod expand;
mod extract;
mod keys;
mod model;
mod problem;
mod reference;
mod rules;
mod schema;
mod settings;
mod tree;
mod units;
mod value;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use check::Checker;
use problem::{Place, Problems};
use settings::{Component, Settings};
use tree::{Table, Tree};

pub use expand::{Environment, Reference};
pub use model::*;
pub use problem::{Problem, Severity};
pub use reference::with_reference;
pub use schema::schema;
pub use units::{ByteSize, DurationText, Secret, UnitError};

/// One file of the configuration.
#[derive(Clone, Debug)]
pub struct SourceText {
    /// Its name, as problems show it.
    pub name: String,
    /// What is in it.
    pub text: String,
}

impl SourceText {
    /// A file of this name.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            text: text.into(),
        }
    }
}

/// Where an agent listens for questions unless its configuration says otherwise.
pub const CONTROL_SOCKET_DEFAULT: &str = "/run/hydrant/control.sock";

/// The control socket that `file` names, if only that can be read of it.
pub fn control_socket(file: &SourceText) -> Option<PathBuf> {
    let (document, _) = toml::de::DeTable::parse_recoverable(&file.text);
    let agent = document.get_ref().get("agent")?.get_ref();
    let socket = agent.get("control_socket")?.get_ref().as_str()?;
    Some(PathBuf::from(socket))
}

/// The configuration that `files` mean, with warnings; or every problem, sorted by file and line.
///
/// The first file is the main one; each later one is merged over it by key.
pub fn load(
    files: &[SourceText],
    environment: &Environment<'_>,
) -> Result<(Config, Vec<Problem>), Vec<Problem>> {
    let mut problems = Problems::default();
    let config = tree::parse(files, environment, &mut problems)
        .and_then(|root| meaning(&root, environment, &mut problems));
    if config.is_none() && !problems.has_errors() {
        let message = "this configuration cannot be understood, which is a fault of Hydrant";
        problems.error(Place::default(), "", message, None);
    }
    let refused = problems.has_errors();
    let names: Vec<String> = files.iter().map(|file| file.name.clone()).collect();
    let found = problems.finish(&names);
    match config {
        Some(config) if !refused => Ok((config, found)),
        _ => Err(found),
    }
}

/// What `[agent]` and a buffer's table mean, whatever the rest says: who looks at a ring need not know the
/// secrets of the service. Where that cannot be told, the problems that are in the way.
pub fn load_ring(
    files: &[SourceText],
    environment: &Environment<'_>,
    buffer: &str,
) -> Result<(AgentConfig, BufferConfig), Vec<Problem>> {
    let mut problems = Problems::default();
    let ring = tree::parse(files, environment, &mut problems).and_then(|root| {
        let mut checker = Checker {
            environment,
            problems: &mut problems,
        };
        let agent = checker.top_section(&keys::AGENT, "agent", &root);
        if buffer == DEFAULT_BUFFER {
            let settings = checker.top_section(&keys::BUFFER, "buffer", &root);
            return extract::ring(&agent, &settings);
        }
        let mut named = checker.buffers(&keys::BUFFER, &root);
        let Some(settings) = named.remove(buffer) else {
            let message = format!("there is no buffer {}", tree::quoted(buffer));
            let known = named.keys().map(String::as_str).chain([DEFAULT_BUFFER]);
            let suggestion = check::instead(buffer, known);
            checker
                .problems
                .error(Place::default(), "buffers", message, Some(suggestion));
            return None;
        };
        extract::ring(&agent, &settings)
    });
    ring.ok_or_else(|| {
        let names: Vec<String> = files.iter().map(|file| file.name.clone()).collect();
        let mut found = problems.finish(&names);
        let elsewhere = ["sources.", "transforms.", "destinations."];
        found.retain(|problem| {
            !elsewhere
                .iter()
                .any(|table| problem.path.starts_with(table))
        });
        found
    })
}

/// Everything that could be read.
struct Parts {
    agent: Settings,
    buffer: Settings,
    buffers: BTreeMap<String, Settings>,
    sources: BTreeMap<String, Component>,
    transforms: BTreeMap<String, Component>,
    destinations: BTreeMap<String, Component>,
    names: Names,
}

/// Every name that is written, also of components that could not be read.
struct Names {
    buffers: BTreeSet<String>,
    sources: BTreeSet<String>,
    transforms: BTreeSet<String>,
    destinations: BTreeSet<String>,
}

fn meaning(root: &Table, environment: &Environment<'_>, problems: &mut Problems) -> Option<Config> {
    let known = [
        "agent",
        "buffer",
        "buffers",
        "sources",
        "transforms",
        "destinations",
    ];
    let mut checker = Checker {
        environment,
        problems,
    };
    checker.top_level(root, &known);
    let parts = Parts {
        agent: checker.top_section(&keys::AGENT, "agent", root),
        buffer: checker.top_section(&keys::BUFFER, "buffer", root),
        buffers: checker.buffers(&keys::BUFFER, root),
        sources: checker.family(&keys::SOURCES, root),
        transforms: checker.family(&keys::TRANSFORMS, root),
        destinations: checker.family(&keys::DESTINATIONS, root),
        names: Names {
            buffers: buffer_names(root),
            sources: names(root, "sources"),
            transforms: names(root, "transforms"),
            destinations: names(root, "destinations"),
        },
    };
    rules::check(&parts, problems);
    extract::config(&parts)
}

fn buffer_names(root: &Table) -> BTreeSet<String> {
    let mut names = names(root, "buffers");
    names.insert(DEFAULT_BUFFER.to_owned());
    names
}

fn names(root: &Table, family: &str) -> BTreeSet<String> {
    let Some(Tree::Table(table)) = root.get(family).map(|node| &node.value) else {
        return BTreeSet::new();
    };
    table.keys().cloned().collect()
}

#[cfg(test)]
mod tests;

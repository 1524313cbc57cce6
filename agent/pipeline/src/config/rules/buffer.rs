//! Rules of buffers: who stores into which, and who takes from it.

use std::collections::BTreeSet;
use std::iter::once;

use super::super::Parts;
use super::super::keys::MIB;
use super::super::model::DEFAULT_BUFFER;
use super::super::problem::{Place, Problems, nearest};
use super::super::settings::Settings;
use super::super::tree::quoted;

/// Reports what is wrong with buffers and with the names of them.
pub(super) fn check(parts: &Parts, problems: &mut Problems) {
    for settings in once(&parts.buffer).chain(parts.buffers.values()) {
        if let Some(settings) = settings.table("encryption") {
            encryption(settings, problems);
        }
        compression_level(settings, problems);
    }
    for component in parts.sources.values() {
        let settings = &component.settings;
        if let Some(name) = settings.text("buffer") {
            let (at, path) = (settings.place_of("buffer"), settings.path_of("buffer"));
            known(parts, name, at, &path, problems);
        }
    }
    for component in parts.destinations.values() {
        let settings = &component.settings;
        let path = settings.path_of("buffers");
        let mut seen = BTreeSet::new();
        for setting in settings.list("buffers") {
            let Some(name) = setting.text() else { continue };
            if known(parts, name, setting.at, &path, problems) && !seen.insert(name) {
                let message = format!("{} is named twice", quoted(name));
                problems.error(setting.at, &path, message, None);
            }
        }
        out_of_reach(parts, settings, problems);
    }
}

/// Warns of buffers that nobody stores into, and of sources whose buffer nobody takes from.
pub(super) fn unused(parts: &Parts, problems: &mut Problems) {
    let stores_into = |buffer: &str| {
        let sources = parts.sources.values();
        let mut buffers = sources.filter_map(|source| source.settings.text("buffer"));
        buffers.any(|name| name == buffer)
    };
    for (name, settings) in &parts.buffers {
        if !stores_into(name) {
            let message = "no source stores into it";
            let suggestion = format!(
                "write buffer = {} in a source, or leave it out once nothing waits in it",
                quoted(name)
            );
            problems.warning(settings.at, &settings.path, message, Some(suggestion));
        }
    }
    // The smallest ring is no waste that is worth a word.
    let size = parts.buffer.size("size").filter(|size| size.as_u64() > MIB);
    if let Some(size) = size.filter(|_| !stores_into(DEFAULT_BUFFER)) {
        let message = format!("no source stores into it, and its ring takes {size} all the same");
        let suggestion = "write size = \"1MiB\"".to_owned();
        problems.warning(parts.buffer.at, "buffer", message, Some(suggestion));
    }
    for (name, component) in &parts.sources {
        not_taken(parts, name, &component.settings, problems);
    }
}

/// There is one key, and older ones only beside it.
fn compression_level(settings: &Settings, problems: &mut Problems) {
    let word = settings.text("compression").unwrap_or("none");
    if settings.written("compression_level").is_some() && word != "zstd" {
        let message = format!("has no effect with compression = \"{word}\"");
        let at = settings.place_of("compression_level");
        let suggestion = Some("write compression = \"zstd\"".to_owned());
        problems.warning(
            at,
            &settings.path_of("compression_level"),
            message,
            suggestion,
        );
    }
}

fn encryption(settings: &Settings, problems: &mut Problems) {
    let has = |key| settings.written(key).is_some();
    let (key, message, suggestion) = match (has("key_file"), has("credential")) {
        (true, true) => (
            "credential",
            "names a second key beside key_file",
            "write one of the two",
        ),
        (false, false) if has("old_key_files") => (
            "old_key_files",
            "is written and no key for new records",
            "write key_file or credential",
        ),
        _ => return,
    };
    let (at, path) = (settings.place_of(key), settings.path_of(key));
    problems.error(at, &path, message, Some(suggestion.to_owned()));
}

/// Whether there is a buffer of this name; reports it if not.
fn known(parts: &Parts, name: &str, at: Place, path: &str, problems: &mut Problems) -> bool {
    let buffers = &parts.names.buffers;
    if buffers.contains(name) {
        return true;
    }
    let message = format!("there is no buffer {}", quoted(name));
    let suggestion = match nearest(name, buffers.iter().map(String::as_str)) {
        Some(near) => format!("did you mean {}?", quoted(&near)),
        None => "add it as [buffers.NAME]".to_owned(),
    };
    problems.error(at, path, message, Some(suggestion));
    false
}

/// A destination that names a source must take from its buffer, or it would get nothing of it.
fn out_of_reach(parts: &Parts, destination: &Settings, problems: &mut Problems) {
    for setting in destination.list("from") {
        let source = setting.text().and_then(|name| parts.sources.get(name));
        let Some((source, buffer)) =
            source.and_then(|source| Some((source, source.settings.text("buffer")?)))
        else {
            continue;
        };
        if parts.names.buffers.contains(buffer) && !takes_from(destination, buffer) {
            let message = format!(
                "{} stores into buffer {}, from which this destination does not take",
                source.settings.path,
                quoted(buffer)
            );
            let suggestion = format!("add {} to its buffers", quoted(buffer));
            let path = destination.path_of("from");
            problems.error(setting.at, &path, message, Some(suggestion));
        }
    }
}

/// Every source that a destination would take must have a buffer that it takes from.
fn not_taken(parts: &Parts, name: &str, source: &Settings, problems: &mut Problems) {
    let Some(buffer) = source.text("buffer") else {
        return;
    };
    let destinations = || parts.destinations.values().map(|to| &to.settings);
    let mut takers = destinations()
        .filter(|to| to.get("from").is_none() || to.texts("from").iter().any(|from| from == name))
        .peekable();
    // A source that nobody names is told elsewhere.
    if takers.peek().is_some() && !takers.any(|to| takes_from(to, buffer)) {
        let message = format!("no destination takes from buffer {}", quoted(buffer));
        let suggestion = format!("add {} to the buffers of one", quoted(buffer));
        let (at, path) = (source.place_of("buffer"), source.path_of("buffer"));
        problems.warning(at, &path, message, Some(suggestion));
    }
}

/// Whether a destination takes from a buffer; without a list it takes from all.
fn takes_from(destination: &Settings, buffer: &str) -> bool {
    destination.get("buffers").is_none()
        || destination
            .texts("buffers")
            .iter()
            .any(|name| name == buffer)
}

//! Rules of sources that follow files.

use crate::transform::compile_bytes_regex;

use super::super::super::problem::Problems;
use super::super::super::settings::Settings;

/// What says which lines belong together.
const MODES: [&str; 3] = ["start", "continuation", "indentation"];

/// Reports what is wrong between the keys of a source.
pub(super) fn check(settings: &Settings, problems: &mut Problems) {
    if settings.written("multiline").is_some()
        && let Some(table) = settings.table("multiline")
    {
        multiline(table, problems);
    }
}

fn multiline(table: &Settings, problems: &mut Problems) {
    let is_on = |key: &&str| match table.bool(key) {
        Some(on) => on,
        None => table.written(key).is_some(),
    };
    let mut modes = MODES.iter().filter(|key| is_on(key));
    match (modes.next(), modes.next()) {
        (None, _) => {
            let message = "does not say which lines belong together";
            let suggestion = "write start = '^...', continuation = '^...' or indentation = true";
            problems.error(table.at, &table.path, message, Some(suggestion.to_owned()));
        }
        (Some(first), Some(second)) => {
            let message = format!("cannot be used together with {first}");
            let suggestion = "leave one of them out".to_owned();
            let at = table.place_of(second);
            problems.error(at, &table.path_of(second), message, Some(suggestion));
        }
        (Some(_), None) => {}
    }
    for key in ["start", "continuation"] {
        let problem = table.text(key).map(compile_bytes_regex);
        if let Some(Err(problem)) = problem {
            problems.error(table.place_of(key), &table.path_of(key), problem, None);
        }
    }
}

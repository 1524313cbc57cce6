//! Rules of transforms, among them that expressions and patterns compile.

use crate::transform::Transforms;

use super::super::Parts;
use super::super::extract;
use super::super::model::TransformConfig;
use super::super::problem::Problems;
use super::{excludes, of_kind};

/// Reports what is wrong between the keys of a transform.
pub(super) fn check(parts: &Parts, problems: &mut Problems) {
    for (_, settings) in of_kind(&parts.transforms, "parse") {
        let regex = settings.text("format") == Some("regex");
        if regex && settings.get("pattern").is_none() {
            let message = "\"regex\" needs a pattern as well";
            let suggestion = "write pattern = '(?<name>...)'".to_owned();
            let at = settings.place_of("format");
            problems.error(at, &settings.path_of("format"), message, Some(suggestion));
        }
        if !regex && settings.get("format").is_some() && settings.written("pattern").is_some() {
            let message = "is only for format = \"regex\"";
            let at = settings.place_of("pattern");
            problems.error(at, &settings.path_of("pattern"), message, None);
        }
    }
    for (_, settings) in of_kind(&parts.transforms, "redact") {
        excludes(settings, "hash_key", "mask", problems);
        if settings.get("fields").is_none() && settings.get("patterns").is_none() {
            let message = "hides nothing";
            let suggestion = "write fields = [...] or patterns = [...]".to_owned();
            problems.error(settings.at, &settings.path, message, Some(suggestion));
        }
    }
    for (name, component) in &parts.transforms {
        let Some(config) = extract::transform(name, component) else {
            continue;
        };
        let settings = &component.settings;
        let key = ["keep", "pattern", "patterns", "fields", "field", "into"]
            .into_iter()
            .find(|key| settings.get(key).is_some());
        let (at, path) = match key {
            Some(key) => (settings.place_of(key), settings.path_of(key)),
            None => (settings.at, settings.path.clone()),
        };
        for problem in compile(config) {
            problems.error(at, &path, problem, None);
        }
    }
}

/// Why the transform cannot run, in plain words.
fn compile(config: TransformConfig) -> Vec<String> {
    match Transforms::compile(&[config]) {
        Ok(_) => Vec::new(),
        Err(problems) => {
            let problems = problems.into_iter().map(|(_, problem)| problem);
            problems
                .map(|text| text.strip_prefix("keep: ").unwrap_or(&text).to_owned())
                .collect()
        }
    }
}

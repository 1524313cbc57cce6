//! Rules of `credentials`.

use super::super::problem::Problems;
use super::super::settings::Settings;
use super::{excludes, needs};

/// What each names is where all keys come from.
const WAYS: [&str; 4] = ["access_key_id", "process", "instance_metadata", "profile"];

/// Reports what is wrong between the keys.
pub(super) fn check(settings: &Settings, problems: &mut Problems) {
    needs(settings, "access_key_id", "secret_access_key", problems);
    needs(settings, "secret_access_key", "access_key_id", problems);
    needs(settings, "session_token", "access_key_id", problems);
    let mut named = WAYS.iter().filter(|way| settings.written(way).is_some());
    if let Some(first) = named.next() {
        for other in named {
            excludes(settings, other, first, problems);
        }
        if *first != "profile" {
            excludes(settings, "file", first, problems);
        }
    }
    if let Some(program) = settings.texts("process").first()
        && !program.starts_with('/')
    {
        let at = settings.place_of("process");
        let message = "begins with no absolute path";
        let suggestion = "write where the program is, such as \"/usr/bin/keys\"".to_owned();
        problems.error(at, &settings.path_of("process"), message, Some(suggestion));
    }
}

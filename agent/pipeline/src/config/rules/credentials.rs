//! Rules of `credentials`.

use super::super::problem::Problems;
use super::super::settings::Settings;
use super::{excludes, needs};

/// What each names is where all keys come from.
const WAYS: [&str; 7] = [
    "access_key_id",
    "process",
    "instance_metadata",
    "web_identity_token_file",
    "iot_core",
    "roles_anywhere",
    "profile",
];

/// What cannot be left out of a table that is written.
const IOT_CORE: [&str; 4] = ["endpoint", "role_alias", "certificate_file", "key_file"];

const ROLES_ANYWHERE: [&str; 5] = [
    "trust_anchor_arn",
    "profile_arn",
    "role_arn",
    "certificate_file",
    "key_file",
];

/// Reports what is wrong between the keys.
pub(super) fn check(settings: &Settings, problems: &mut Problems) {
    needs(settings, "access_key_id", "secret_access_key", problems);
    needs(settings, "secret_access_key", "access_key_id", problems);
    needs(settings, "session_token", "access_key_id", problems);
    for key in [
        "role_session_name",
        "role_external_id",
        "role_duration",
        "sts_endpoint",
        "ca_file",
        "web_identity_token_file",
    ] {
        needs(settings, key, "role_arn", problems);
    }
    complete(settings, "iot_core", &IOT_CORE, problems);
    complete(settings, "roles_anywhere", &ROLES_ANYWHERE, problems);
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

/// A table that is written must have these keys.
fn complete(settings: &Settings, table: &str, keys: &[&str], problems: &mut Problems) {
    if settings.written(table).is_none() {
        return;
    }
    let Some(inner) = settings.table(table) else {
        return;
    };
    for key in keys.iter().filter(|key| inner.get(key).is_none()) {
        let suggestion = format!("write {key} = ...");
        let at = settings.place_of(table);
        problems.error(at, &inner.path_of(key), "is missing", Some(suggestion));
    }
}

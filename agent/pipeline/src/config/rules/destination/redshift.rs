//! Rules of `type = "redshift"`.

use super::super::super::problem::Problems;
use super::super::super::settings::Settings;
use super::super::excludes;
use super::{in_the_clear, s3};
use crate::destination::redshift::{CopyOptions, TableName, check_name};
use crate::destination::s3::{KeyPlace, KeyPrefix};

/// Reports what is wrong between the keys of a `redshift` destination.
pub(super) fn redshift(settings: &Settings, problems: &mut Problems) {
    warehouse(settings, problems);
    excludes(settings, "db_user", "secret_arn", problems);
    excludes(settings, "db_user", "workgroup", problems);
    names(settings, problems);
    role(settings, problems);
    s3::bucket(settings, problems);
    s3::encryption(settings, problems);
    s3::prefixes(settings, problems);
    prefix(settings, problems);
    in_the_clear(settings, "bucket_endpoint", problems);
}

fn error(settings: &Settings, key: &str, message: &str, hint: &str, problems: &mut Problems) {
    let (at, path) = (settings.place_of(key), settings.path_of(key));
    problems.error(at, &path, message.to_owned(), Some(hint.to_owned()));
}

/// Names as the Data API takes them.
fn warehouse(settings: &Settings, problems: &mut Problems) {
    excludes(settings, "cluster", "workgroup", problems);
    let (cluster, workgroup) = (settings.text("cluster"), settings.text("workgroup"));
    if settings.get("cluster").is_none() && settings.get("workgroup").is_none() {
        let hint =
            "write cluster = \"IDENTIFIER\", or workgroup = \"NAME\" for Redshift Serverless";
        let message = "does not say which warehouse";
        problems.error(settings.at, &settings.path, message, Some(hint.to_owned()));
    }
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if let Some(name) = cluster
        && (name.len() > 63
            || !name.bytes().all(plain)
            || !name.starts_with(|c: char| c.is_ascii_lowercase())
            || name.ends_with('-')
            || name.contains("--"))
    {
        let message = format!("{name:?} is no identifier of a cluster");
        let hint = "write it alone, as in \"plant-warehouse\", without the name of its host";
        error(settings, "cluster", &message, hint, problems);
    }
    if let Some(name) = workgroup
        && !name.starts_with("arn:")
        && (!(3..=64).contains(&name.len()) || !name.bytes().all(plain))
    {
        let message = format!("{name:?} is no name of a workgroup");
        let hint = "write its name or its ARN, without the name of its host";
        error(settings, "workgroup", &message, hint, problems);
    }
}

fn names(settings: &Settings, problems: &mut Problems) {
    if let Some(text) = settings.text("table")
        && let Err(wrong) = TableName::parse(text)
    {
        let hint = "write \"TABLE\" or \"SCHEMA.TABLE\", without quotes around the names";
        error(settings, "table", &wrong, hint, problems);
    }
    for column in settings.list("columns") {
        if let Some(Err(wrong)) = column.text().map(check_name) {
            let path = settings.path_of("columns");
            let hint = "write the names of columns alone".to_owned();
            problems.error(column.at, &path, wrong, Some(hint));
        }
    }
    if let Some(text) = settings.text("copy_options")
        && let Err(wrong) = CopyOptions::parse(text)
    {
        error(
            settings,
            "copy_options",
            wrong.message(),
            wrong.hint(),
            problems,
        );
    }
}

fn role(settings: &Settings, problems: &mut Problems) {
    let Some(text) = settings.text("iam_role") else {
        return;
    };
    let is_arn = |role: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b":/+=.@_-".contains(&byte);
        role.starts_with("arn:") && role.contains(":role/") && role.bytes().all(plain)
    };
    if text != "default" && !text.split(',').all(is_arn) {
        let message = format!("{text:?} is no ARN of a role");
        let hint = "write one like \"arn:aws:iam::123456789012:role/load\", or \"default\"";
        error(settings, "iam_role", &message, hint, problems);
    }
}

/// All records of a batch go into one object.
fn prefix(settings: &Settings, problems: &mut Problems) {
    let Some(text) = settings.text("prefix") else {
        return;
    };
    let parsed = KeyPrefix::parse(text, KeyPlace::Records, None);
    if parsed.is_ok_and(|prefix| prefix.is_partitioned()) {
        let message = "values of records cannot be used here: a batch is one object";
        error(settings, "prefix", message, "leave them out", problems);
    }
}

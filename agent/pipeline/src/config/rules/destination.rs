//! Rules of destinations.

mod fallback;
mod redshift;
mod s3;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::super::Parts;
use super::super::extract::dead_letter_path;
use super::super::problem::{Place, Problems};
use super::super::settings::Settings;
use super::super::units::DurationText;
use super::{excludes, is_loopback, needs, of_kind, tls};

pub(super) use fallback::unused;

/// Reports what is wrong between the keys of a destination.
pub(super) fn check(parts: &Parts, problems: &mut Problems) {
    for component in parts.destinations.values() {
        retry(&component.settings, problems);
        compression_level(&component.settings, problems);
    }
    for (_, settings) in of_kind(&parts.destinations, "firehose") {
        firehose(settings, problems);
        aws(settings, problems);
    }
    for (_, settings) in of_kind(&parts.destinations, "kinesis") {
        kinesis(settings, problems);
        aws(settings, problems);
    }
    for (_, settings) in of_kind(&parts.destinations, "http") {
        http(settings, problems);
    }
    for (_, settings) in of_kind(&parts.destinations, "s3") {
        s3::s3(settings, problems);
    }
    for (_, settings) in of_kind(&parts.destinations, "redshift") {
        redshift::redshift(settings, problems);
        aws(settings, problems);
    }
    folders(parts, problems);
    fallback::check(parts, problems);
}

fn retry(settings: &Settings, problems: &mut Problems) {
    let Some(retry) = settings.table("retry") else {
        return;
    };
    if let (Some(initial), Some(max)) = (retry.duration("initial"), retry.duration("max"))
        && initial > max
    {
        let key = if retry.written("initial").is_some() {
            "initial"
        } else {
            "max"
        };
        let (initial, max) = (DurationText(initial), DurationText(max));
        let message = format!("the first wait ({initial}) is longer than the longest ({max})");
        problems.error(retry.place_of(key), &retry.path_of(key), message, None);
    }
}

fn compression_level(settings: &Settings, problems: &mut Problems) {
    let word = settings.text("compression").unwrap_or("none");
    if settings.written("compression_level").is_some() && !matches!(word, "gzip" | "zip" | "zstd") {
        let message = format!("has no effect with compression = \"{word}\"");
        let at = settings.place_of("compression_level");
        let suggestion = "write compression = \"zstd\" or \"gzip\"".to_owned();
        problems.warning(
            at,
            &settings.path_of("compression_level"),
            message,
            Some(suggestion),
        );
    }
}

fn firehose(settings: &Settings, problems: &mut Problems) {
    if settings.text("packing") == Some("none") && settings.written("packing_hint").is_some() {
        let message = "has no effect with packing = \"none\"";
        let at = settings.place_of("packing_hint");
        problems.warning(at, &settings.path_of("packing_hint"), message, None);
    }
    if settings.text("packing") == Some("none") && settings.text("compression") == Some("gzip") {
        let message = "with packing = \"none\" each small record is compressed alone, \
                       which saves little";
        let suggestion = "write packing = \"lines\" or compression = \"none\"".to_owned();
        let at = settings.place_of("compression");
        problems.warning(
            at,
            &settings.path_of("compression"),
            message,
            Some(suggestion),
        );
    }
}

/// A stream of Kinesis takes larger calls once it takes larger records.
fn kinesis(settings: &Settings, problems: &mut Problems) {
    const CLASSIC_RECORD_BYTES: u64 = 1 << 20;
    const CLASSIC_CALL_BYTES: u64 = 5 << 20;
    let aggregation = settings.text("aggregation");
    if aggregation == Some("none") && settings.written("aggregation_hint").is_some() {
        let message = "has no effect with aggregation = \"none\"";
        let at = settings.place_of("aggregation_hint");
        problems.warning(at, &settings.path_of("aggregation_hint"), message, None);
    }
    if aggregation == Some("kpl") && settings.text("compression") == Some("gzip") {
        let message =
            "cannot be used with aggregation = \"kpl\", which readers would not find in it";
        let suggestion = Some("write aggregation = \"lines\" or compression = \"none\"".to_owned());
        let at = settings.place_of("compression");
        problems.error(at, &settings.path_of("compression"), message, suggestion);
    }
    let record = settings.size("record_bytes_max");
    let batch = settings.table("batch");
    if let (Some(record), Some(batch)) = (record, batch)
        && let Some(call) = batch.size("bytes_max")
        && record.as_u64() <= CLASSIC_RECORD_BYTES
        && call.as_u64() > CLASSIC_CALL_BYTES
    {
        let message = format!("{call} exceeds the 5MiB that such a stream takes in one call");
        let suggestion = "write at most 5MiB, or set record_bytes_max above 1MiB if the stream's \
                          MaxRecordSizeInKiB is";
        problems.error(
            batch.place_of("bytes_max"),
            &batch.path_of("bytes_max"),
            message,
            Some(suggestion.to_owned()),
        );
    }
}

fn aws(settings: &Settings, problems: &mut Problems) {
    for key in ["fips", "dual_stack"] {
        if settings.url("endpoint").is_some() && settings.bool(key) == Some(true) {
            let message = "has no effect with an endpoint of your own";
            problems.warning(
                settings.place_of(key),
                &settings.path_of(key),
                message,
                None,
            );
        }
    }
    if let Some(credentials) = settings.table("credentials") {
        super::credentials::check(credentials, problems);
    }
    let secure = settings
        .url("endpoint")
        .is_none_or(|url| url.scheme == "https");
    tls(settings, secure, "https://", problems);
    in_the_clear(settings, "endpoint", problems);
}

fn credentials(settings: &Settings, problems: &mut Problems) {
    if let Some(credentials) = settings.table("credentials") {
        super::credentials::check(credentials, problems);
    }
}

fn http(settings: &Settings, problems: &mut Problems) {
    needs(settings, "username", "password", problems);
    needs(settings, "password", "username", problems);
    excludes(settings, "bearer", "username", problems);
    if let Some(url) = settings.url("url") {
        tls(settings, url.scheme == "https", "https://", problems);
    }
    in_the_clear(settings, "url", problems);
    headers(settings, problems);
    if let Some(word @ ("zip" | "snappy" | "hadoop_snappy")) = settings.text("compression") {
        let message = format!("few HTTP receivers read \"{word}\"");
        let suggestion = "write \"gzip\" unless this one does".to_owned();
        let at = settings.place_of("compression");
        problems.warning(
            at,
            &settings.path_of("compression"),
            message,
            Some(suggestion),
        );
    }
}

fn in_the_clear(settings: &Settings, key: &str, problems: &mut Problems) {
    let Some(url) = settings.url(key) else { return };
    if url.scheme == "http" && !is_loopback(url) {
        let message = "sends records over the network in the clear";
        let suggestion = "write https:// if the receiver takes TLS".to_owned();
        problems.warning(
            settings.place_of(key),
            &settings.path_of(key),
            message,
            Some(suggestion),
        );
    }
}

/// Header names are tokens (RFC 9110, section 5.6.2), and some headers are not the user's.
fn headers(settings: &Settings, problems: &mut Problems) {
    const RESERVED: [&str; 8] = [
        "connection",
        "content-encoding",
        "content-length",
        "expect",
        "host",
        "idempotency-key",
        "te",
        "transfer-encoding",
    ];
    let path = settings.path_of("headers");
    for (name, setting) in settings.map("headers").into_iter().flatten() {
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let lower = name.to_ascii_lowercase();
        if name.is_empty() || !name.bytes().all(token) {
            let message = format!("{name:?} is no name of a header");
            problems.error(setting.at, &path, message, None);
        } else if RESERVED.contains(&lower.as_str()) {
            let message = format!("{name} is written by Hydrant itself");
            problems.error(setting.at, &path, message, Some("leave it out".to_owned()));
        } else if lower == "authorization"
            && (settings.get("bearer").is_some() || settings.get("username").is_some())
        {
            let message = format!("{name} cannot be used together with bearer or username");
            problems.error(
                setting.at,
                &path,
                message,
                Some("leave one of them out".to_owned()),
            );
        }
    }
}

/// A folder that is kept small by removing its oldest files can have one owner only.
fn folders(parts: &Parts, problems: &mut Problems) {
    let mut owners: BTreeMap<PathBuf, String> = BTreeMap::new();
    let mut own = |folder: PathBuf, at: Place, path: String| {
        if let Some(owner) = owners.get(&folder) {
            let message = format!("{} is already the folder of {owner}", folder.display());
            problems.error(at, &path, message, Some("write another folder".to_owned()));
        } else {
            owners.insert(folder, path);
        }
    };
    let state_dir = parts.agent.text("state_dir").map(PathBuf::from);
    if let Some(state_dir) = &state_dir {
        own(
            state_dir.clone(),
            parts.agent.place_of("state_dir"),
            parts.agent.path_of("state_dir"),
        );
    }
    for (name, component) in &parts.destinations {
        let settings = &component.settings;
        if let Some(folder) = settings.text("path") {
            own(
                PathBuf::from(folder),
                settings.place_of("path"),
                settings.path_of("path"),
            );
        }
        let Some(dead_letter) = settings.table("dead_letter") else {
            continue;
        };
        let default = || {
            state_dir
                .as_deref()
                .map(|dir: &Path| dead_letter_path(dir, name))
        };
        if let Some(folder) = dead_letter.text("path").map(PathBuf::from).or_else(default) {
            own(
                folder,
                dead_letter.place_of("path"),
                dead_letter.path_of("path"),
            );
        }
    }
}

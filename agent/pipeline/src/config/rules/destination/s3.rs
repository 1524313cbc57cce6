//! Rules of `type = "s3"`.

use super::super::super::problem::Problems;
use super::super::super::settings::Settings;
use super::super::tls;
use super::{credentials, in_the_clear};
use crate::destination::s3::{KeyPlace, KeyPrefix};

/// What S3 takes.
const TAGS_MAX: usize = 10;

/// Reports what is wrong between the keys of an `s3` destination.
pub(super) fn s3(settings: &Settings, problems: &mut Problems) {
    credentials(settings, problems);
    let secure = settings
        .url("endpoint")
        .is_none_or(|url| url.scheme == "https");
    tls(settings, secure, "https://", problems);
    in_the_clear(settings, "endpoint", problems);
    bucket(settings, problems);
    prefixes(settings, problems);
    extension(settings, problems);
    encryption(settings, problems);
    if settings
        .map("tags")
        .is_some_and(|tags| tags.len() > TAGS_MAX)
    {
        let message = format!("an object has at most {TAGS_MAX} tags");
        problems.error(
            settings.place_of("tags"),
            &settings.path_of("tags"),
            message,
            None,
        );
    }
}

/// What is said of a key of KMS is for encryption with one.
pub(super) fn encryption(settings: &Settings, problems: &mut Problems) {
    for key in ["kms_key_id", "bucket_key"] {
        if settings.written(key).is_some() && settings.text("encryption") != Some("kms") {
            let message = "needs encryption = \"kms\"";
            problems.error(
                settings.place_of(key),
                &settings.path_of(key),
                message,
                None,
            );
        }
    }
}

pub(super) fn bucket(settings: &Settings, problems: &mut Problems) {
    let Some(bucket) = settings.text("bucket") else {
        return;
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if !(3..=255).contains(&bucket.len()) || !bucket.bytes().all(plain) {
        let message = format!("{bucket:?} is no name of a bucket");
        let suggestion = "write its name alone, without s3:// and without a folder".to_owned();
        problems.error(
            settings.place_of("bucket"),
            &settings.path_of("bucket"),
            message,
            Some(suggestion),
        );
    }
}

pub(super) fn prefixes(settings: &Settings, problems: &mut Problems) {
    let zone = settings.text("time_zone");
    if let Some(zone) = zone
        && let Err(error) = KeyPrefix::parse("", KeyPlace::Records, Some(zone))
    {
        let at = settings.place_of("time_zone");
        let path = settings.path_of("time_zone");
        problems.error(at, &path, error.to_string(), Some(error.hint().to_owned()));
        return;
    }
    for (key, place) in [
        ("prefix", KeyPlace::Records),
        ("error_prefix", KeyPlace::Errors),
    ] {
        if let Some(text) = settings.text(key)
            && let Err(error) = KeyPrefix::parse(text, place, zone)
        {
            let (at, path) = (settings.place_of(key), settings.path_of(key));
            problems.error(at, &path, error.to_string(), Some(error.hint().to_owned()));
        }
    }
}

fn extension(settings: &Settings, problems: &mut Problems) {
    let Some(text) = settings.text("file_extension") else {
        return;
    };
    let plain = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!-_.*'()".contains(&byte)
    };
    if !text.starts_with('.') || text.len() > 128 || text.len() < 2 || !text.bytes().all(plain) {
        let message = format!("{text:?} is no extension");
        let suggestion = "write one like \".json.gz\", in lower case".to_owned();
        problems.error(
            settings.place_of("file_extension"),
            &settings.path_of("file_extension"),
            message,
            Some(suggestion),
        );
    }
}

//! `type = "s3"`.

use super::super::model::{S3Addressing, S3Config, S3Encryption};
use super::super::settings::{Settings, Value};
use super::{credentials, owned, tls};
use crate::destination::s3::{KeyPlace, KeyPrefix};

/// The prefixes were checked before.
pub(super) fn s3(settings: &Settings) -> Option<S3Config> {
    let zone = settings.text("time_zone");
    let prefix = |key: &str, place| {
        let text = settings.text(key)?;
        KeyPrefix::parse(text, place, zone).ok()
    };
    let tags = settings.map("tags").into_iter().flatten();
    let tags = tags.filter_map(|(name, setting)| {
        let Value::Text(text) = &setting.value else {
            return None;
        };
        Some((name.clone(), text.clone()))
    });
    Some(S3Config {
        bucket: owned(settings, "bucket")?,
        region: owned(settings, "region")?,
        endpoint: settings.url("endpoint").map(|url| url.text.clone()),
        addressing: match settings.text("addressing")? {
            "auto" => S3Addressing::Auto,
            "virtual" => S3Addressing::Virtual,
            "path" => S3Addressing::Path,
            _ => return None,
        },
        prefix: prefix("prefix", KeyPlace::Records)?,
        error_prefix: prefix("error_prefix", KeyPlace::Errors),
        partitions_max: settings.integer("partitions_max")?,
        file_extension: owned(settings, "file_extension"),
        if_none_match: settings.bool("if_none_match")?,
        checksum: settings.text("checksum")? == "crc32c",
        encryption: match settings.text("encryption")? {
            "bucket" => S3Encryption::Bucket,
            "s3" => S3Encryption::S3,
            "kms" => S3Encryption::Kms {
                key_id: owned(settings, "kms_key_id"),
                bucket_key: settings.bool("bucket_key")?,
            },
            _ => return None,
        },
        storage_class: owned(settings, "storage_class"),
        tags: tags.collect(),
        bucket_owner: owned(settings, "bucket_owner"),
        credentials: credentials::config(settings.table("credentials")?)?,
        tls: tls(settings)?,
    })
}

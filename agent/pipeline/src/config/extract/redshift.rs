//! `type = "redshift"`.

use std::collections::BTreeMap;

use super::super::model::{
    RedshiftConfig, RedshiftLogin, S3Addressing, S3Config, S3Encryption, Warehouse,
};
use super::super::settings::Settings;
use super::{aws, compression, credentials, owned, tls};
use crate::destination::redshift::{CopyOptions, TableName, check_name};
use crate::destination::s3::{KeyPlace, KeyPrefix};

/// Prefix, names and options were checked before.
pub(super) fn redshift(settings: &Settings) -> Option<RedshiftConfig> {
    let warehouse = match (owned(settings, "cluster"), owned(settings, "workgroup")) {
        (Some(cluster), _) => Warehouse::Cluster(cluster),
        (None, workgroup) => Warehouse::Workgroup(workgroup?),
    };
    let login = match (owned(settings, "db_user"), owned(settings, "secret_arn")) {
        (_, Some(secret)) => RedshiftLogin::Secret(secret),
        (Some(user), None) => RedshiftLogin::User(user),
        (None, None) => RedshiftLogin::Iam,
    };
    let columns = settings.texts("columns");
    Some(RedshiftConfig {
        store: store(settings)?,
        region: owned(settings, "region")?,
        endpoint: aws::endpoint(settings)?,
        warehouse,
        database: owned(settings, "database")?,
        login,
        table: TableName::parse(settings.text("table")?).ok()?,
        columns: columns
            .into_iter()
            .filter(|name| check_name(name).is_ok())
            .collect(),
        copy_options: match settings.text("copy_options") {
            Some(text) => CopyOptions::parse(text).ok()?,
            None => CopyOptions::default(),
        },
        iam_role: owned(settings, "iam_role").filter(|role| role != "default"),
        compression: compression(settings)?,
        has_lines: settings.text("format")? == "ndjson",
    })
}

fn store(settings: &Settings) -> Option<S3Config> {
    let zone = settings.text("time_zone");
    Some(S3Config {
        bucket: owned(settings, "bucket")?,
        region: owned(settings, "bucket_region").or_else(|| owned(settings, "region"))?,
        endpoint: settings.url("bucket_endpoint").map(|url| url.text.clone()),
        addressing: S3Addressing::Auto,
        prefix: KeyPrefix::parse(settings.text("prefix")?, KeyPlace::Records, zone).ok()?,
        error_prefix: None,
        partitions_max: 1,
        file_extension: None,
        if_none_match: true,
        checksum: true,
        encryption: match settings.text("encryption")? {
            "bucket" => S3Encryption::Bucket,
            "s3" => S3Encryption::S3,
            "kms" => S3Encryption::Kms {
                key_id: owned(settings, "kms_key_id"),
                bucket_key: settings.bool("bucket_key")?,
            },
            _ => return None,
        },
        storage_class: None,
        tags: BTreeMap::new(),
        bucket_owner: owned(settings, "bucket_owner"),
        credentials: credentials::config(settings.table("credentials")?)?,
        tls: tls(settings)?,
    })
}

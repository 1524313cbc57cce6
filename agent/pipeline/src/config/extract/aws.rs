//! Destinations of AWS.

use super::super::model::{AwsEndpoint, FirehoseConfig, KinesisConfig, Packing};
use super::super::settings::Settings;
use super::{credentials, owned, tls};
use crate::destination::KeyTemplate;

pub(super) fn firehose(settings: &Settings) -> Option<FirehoseConfig> {
    Some(FirehoseConfig {
        stream: owned(settings, "stream")?,
        region: owned(settings, "region")?,
        endpoint: endpoint(settings)?,
        packing: packing(settings, "packing", "packing_hint")?,
        credentials: credentials::config(settings.table("credentials")?)?,
        tls: tls(settings)?,
    })
}

pub(super) fn kinesis(settings: &Settings) -> Option<KinesisConfig> {
    let template = |key| KeyTemplate::parse(settings.text(key)?).ok();
    Some(KinesisConfig {
        stream: owned(settings, "stream")?,
        region: owned(settings, "region")?,
        endpoint: endpoint(settings)?,
        partition_key: template("partition_key")?,
        explicit_hash_key: template("explicit_hash_key"),
        aggregation: packing(settings, "aggregation", "aggregation_hint")?,
        record_bytes_max: settings.size("record_bytes_max")?,
        credentials: credentials::config(settings.table("credentials")?)?,
        tls: tls(settings)?,
    })
}

fn endpoint(settings: &Settings) -> Option<AwsEndpoint> {
    Some(AwsEndpoint {
        url: settings.url("endpoint").map(|url| url.text.clone()),
        fips: settings.bool("fips")?,
        dual_stack: settings.bool("dual_stack")?,
    })
}

fn packing(settings: &Settings, key: &str, hint_key: &str) -> Option<Packing> {
    let hint = settings.size(hint_key)?;
    Some(match settings.text(key)? {
        "lines" => Packing::Lines { hint },
        "kpl" => Packing::Kpl { hint },
        "none" => Packing::None,
        _ => return None,
    })
}

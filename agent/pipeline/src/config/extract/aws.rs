//! Destinations of AWS.

use super::super::model::{AwsEndpoint, FirehoseConfig, KinesisConfig, Packing};
use super::super::settings::Settings;
use super::{credentials, owned, tls};
use crate::config::units::ByteSize;
use crate::destination::KeyTemplate;
use crate::pace::Quota;

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

/// What the service takes in a second; the destinations that have none are not bounded.
pub(super) fn quota(settings: &Settings) -> Quota {
    let Some(quota) = settings.table("quota") else {
        return Quota::default();
    };
    let preset = match (quota.text("preset"), settings.text("region")) {
        (Some("region"), Some(region)) => Quota::of_firehose(region),
        _ => Quota::default(),
    };
    let bytes = quota.size("bytes_per_second");
    Quota {
        records: quota.integer("records_per_second").or(preset.records),
        requests: quota.integer("requests_per_second").or(preset.requests),
        bytes: bytes.map(ByteSize::as_u64).or(preset.bytes),
    }
}

pub(super) fn endpoint(settings: &Settings) -> Option<AwsEndpoint> {
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

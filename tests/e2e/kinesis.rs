//! Amazon Kinesis Data Streams: moto with its signature check on, and the reader of aggregated
//! records that AWS has on `PyPI`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::harness::{Agent, Certificates, Folder, Moto, append};

/// An agent that follows a file of JSON lines into moto's stream, with these keys.
///
/// One call at a time: moto gives records of concurrent calls the same sequence number, and keeps
/// one of them.
fn start(folder: &Folder, moto: &Moto, certificates: &Certificates, keys: &str) -> Agent {
    let config = format!(
        "[sources.app]\ntype = \"file\"\npaths = [\"{}\"]\ntransforms = [\"parse\"]\n\
         [transforms.parse]\ntype = \"parse\"\nformat = \"json\"\n\
         [destinations.stream]\ntype = \"kinesis\"\nstream = \"{}\"\nregion = \"{}\"\n\
         endpoint = \"{}\"\nbatch = {{ age_max = \"100ms\" }}\nconcurrency_max = 1\n\
         credentials = {{ access_key_id = \"{}\", secret_access_key = \"{}\" }}\n{}{keys}",
        folder.text("input.log"),
        Moto::STREAM,
        Moto::REGION,
        moto.url(),
        moto.access_key,
        moto.secret_key,
        certificates.anonymous_table(),
    );
    let mut agent = Agent::new(folder.path(), &config);
    agent.start();
    agent
}

fn lines(count: usize) -> Vec<String> {
    let line = |number| {
        format!(
            "{{\"number\":{number},\"device\":\"pump-{}\"}}",
            number / 100
        )
    };
    (0..count).map(line).collect()
}

/// Delivers 1,000 lines of ten devices with these keys and returns the records of the stream.
fn delivered(keys: &str) -> Vec<Value> {
    let folder = Folder::new();
    let certificates = Certificates::make(&folder);
    let moto = Moto::start(&folder, &certificates);
    let agent = start(&folder, &moto, &certificates, keys);
    append(&folder.join("input.log"), lines(1_000).join("\n") + "\n");
    agent.wait_for_count("destinations", "stream", "delivered", 1_000);
    let records = moto.kinesis_records();
    let numbers: BTreeSet<u64> = records.iter().map(number).collect();
    assert_eq!(numbers, (0..1_000).collect());
    assert_eq!(records.len(), 1_000, "every record once");
    records
}

fn body(record: &Value) -> Value {
    serde_json::from_str(record["data"].as_str().unwrap()).unwrap()
}

fn number(record: &Value) -> u64 {
    body(record)["number"].as_u64().unwrap()
}

/// How many records there are in the stream itself.
fn stream_records(records: &[Value]) -> usize {
    let places: BTreeSet<(&str, &str)> = records
        .iter()
        .map(|record| {
            let shard = record["shard"].as_str().unwrap();
            (shard, record["sequence"].as_str().unwrap())
        })
        .collect();
    places.len()
}

#[test]
fn moto_accepts_the_signature_and_spreads_ids_over_the_shards() {
    let records = delivered("");
    let mut shards: BTreeMap<&str, u32> = BTreeMap::new();
    for record in &records {
        let shard = record["shard"].as_str().unwrap();
        *shards.entry(shard).or_default() += 1;
        assert_eq!(record["key"], body(record)["hydrant"]["id"]);
        assert_eq!(record["aggregated"], false);
    }
    assert_eq!(shards.len(), 4, "{shards:?}");
    assert!(shards.values().all(|count| *count > 100), "{shards:?}");
}

/// The official reader finds every record of an aggregate, with its own keys.
#[test]
fn aggregates_are_read_by_the_official_library() {
    let records = delivered("aggregation = \"kpl\"\naggregation_hint = \"8KiB\"\n");
    assert!(records.iter().all(|record| record["aggregated"] == true));
    for record in &records {
        assert_eq!(record["key"], body(record)["hydrant"]["id"]);
    }
    let count = stream_records(&records);
    assert!((10..60).contains(&count), "{count} records in the stream");
}

/// What has one key is in one shard, in order, also when it is aggregated.
#[test]
fn records_of_a_device_stay_together() {
    let records = delivered(
        "partition_key = \"{.device}\"\nexplicit_hash_key = \"{.number}\"\n\
         aggregation = \"none\"\n",
    );
    // Small numbers are all in the first shard, whatever their partition key.
    let shards: BTreeSet<&str> = records
        .iter()
        .map(|record| record["shard"].as_str().unwrap())
        .collect();
    assert_eq!(shards.len(), 1, "{shards:?}");
    assert!(records.iter().all(|it| it["key"] == body(it)["device"]));

    let records = delivered("partition_key = \"{.device}\"\naggregation = \"kpl\"\n");
    let mut shards: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    let mut last: BTreeMap<String, u64> = BTreeMap::new();
    for record in &records {
        let device = body(record)["device"].as_str().unwrap().to_owned();
        assert_eq!(record["key"], device.as_str());
        let shard = record["shard"].as_str().unwrap();
        shards.entry(device.clone()).or_default().insert(shard);
        let number = number(record);
        let before = last.insert(device, number);
        assert!(before.is_none_or(|before| before < number), "order");
    }
    assert!(
        shards.values().all(|shards| shards.len() == 1),
        "{shards:?}"
    );
}

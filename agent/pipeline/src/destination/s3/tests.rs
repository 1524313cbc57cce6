use super::*;
use crate::config::{Compression, Format};
use crate::config::{CredentialsConfig, Secret, TlsConfig};
use crate::encode::EntryMeta;
use crate::record::Record;
use crate::stored::{self, StoredRef};
use diskring::Seq;
use std::collections::BTreeMap;

use S3Addressing::{Auto, Path, Virtual};

const NOW: WallClock = WallClock::from_millis(1_795_452_001_123);

fn config(prefix: &str) -> S3Config {
    S3Config {
        bucket: "lake".to_owned(),
        region: "eu-west-1".to_owned(),
        endpoint: None,
        addressing: Auto,
        prefix: KeyPrefix::parse(prefix, KeyPlace::Records, None).unwrap(),
        error_prefix: None,
        partitions_max: 50,
        file_extension: None,
        if_none_match: true,
        checksum: true,
        encryption: S3Encryption::Bucket,
        storage_class: None,
        tags: BTreeMap::new(),
        bucket_owner: None,
        credentials: CredentialsConfig::Default {
            profile: None,
            file: None,
        },
        tls: TlsConfig::default(),
    }
}

fn s3(config: &S3Config) -> S3 {
    let sender = Sender {
        ring: 0xab,
        agent: "gw1".to_owned(),
        destination: "lake".to_owned(),
        replay: None,
    };
    S3::new(config, &sender, Duration::from_secs(30))
}

fn credentials() -> Credentials {
    Credentials {
        access_key_id: "AKIDEXAMPLE".to_owned(),
        secret_access_key: Secret::new("secret"),
        session_token: None,
    }
}

/// The only object of one record.
fn object(s3: &S3) -> (ObjectGroup, EncodedObject) {
    let encoding = Encoding {
        format: Format::Raw,
        compression: Compression::None,
        level: None,
        metadata: false,
    };
    let mut writer = s3.plan(encoding, &Origin::default());
    let mut bytes = Vec::new();
    stored::encode(&Record::new(NOW, b"hello".to_vec()), &mut bytes);
    let entry = EntryMeta {
        seq: Seq::new(3),
        source: "app",
    };
    writer.push(entry, &StoredRef::decode(&bytes).unwrap());
    let batch = S3::batch(writer, Unit::empty(Seq::new(3)), Arc::default());
    let planned = batch.objects.into_iter().next().unwrap();
    let encoded = planned.encoded.unwrap_or_else(|| {
        let mut writer = s3.object(encoding, &Origin::default(), planned.group.clone());
        writer.push(entry, &StoredRef::decode(&bytes).unwrap());
        writer.finish_object().unwrap().0
    });
    (planned.group, encoded)
}

fn request(config: &S3Config) -> HttpRequest {
    let s3 = s3(config);
    let (group, object) = object(&s3);
    let range = SeqRange::new(Seq::new(3), Seq::new(9));
    s3.prepare(range, &group, &object, NOW, Some(&credentials()))
        .unwrap()
}

fn header<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    let mut headers = request.headers.iter();
    headers
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.as_str())
}

#[test]
fn keys_say_where_the_records_are() {
    let base = "https://lake.s3.eu-west-1.amazonaws.com/a/2026/11/23/16/";
    let name = "gw1-lake-00000000000000ab-000000000003-000000000009";
    let mut config = config("a/");
    assert_eq!(request(&config).url, format!("{base}{name}.log"));
    config.file_extension = Some(".json.gz".to_owned());
    assert_eq!(request(&config).url, format!("{base}{name}.json.gz"));
    config.prefix = KeyPrefix::parse("!{hydrant:source} +/", KeyPlace::Records, None).unwrap();
    let url = request(&config).url;
    let (path, mark) = url.split_once(name).unwrap();
    assert_eq!(path, "https://lake.s3.eu-west-1.amazonaws.com/app%20%2B/");
    assert_eq!(mark.len(), ".01234567.json.gz".len(), "{mark}");
}

#[test]
fn buckets_stand_in_the_host_or_in_the_path() {
    let check = |bucket: &str, endpoint: Option<&str>, addressing, expected: &str| {
        let mut config = config("");
        config.bucket = bucket.to_owned();
        config.endpoint = endpoint.map(str::to_owned);
        config.addressing = addressing;
        let place = Place::new(&config);
        assert_eq!(
            format!("{}{} {}", place.origin, place.path, place.host),
            expected
        );
    };
    let amazon = "s3.eu-west-1.amazonaws.com";
    check(
        "lake",
        None,
        Auto,
        &format!("https://lake.{amazon}/ lake.{amazon}"),
    );
    check(
        "a.b",
        None,
        Auto,
        &format!("https://{amazon}/a.b/ {amazon}"),
    );
    check(
        "lake",
        None,
        Path,
        &format!("https://{amazon}/lake/ {amazon}"),
    );
    check(
        "lake",
        Some("http://minio:9000"),
        Auto,
        "http://minio:9000/lake/ minio:9000",
    );
    check(
        "lake",
        Some("https://Ceph:443/s3/"),
        Auto,
        "https://ceph:443/s3/lake/ ceph",
    );
    check(
        "lake",
        Some("http://x:80"),
        Virtual,
        "http://lake.x:80/ lake.x",
    );
}

#[test]
fn headers_say_how_it_is_kept() {
    let plain = request(&config(""));
    assert_eq!(header(&plain, "if-none-match"), Some("*"));
    assert!(header(&plain, "x-amz-checksum-crc32c").is_some_and(|sum| sum.len() == 8));
    assert_eq!(
        header(&plain, "x-amz-content-sha256"),
        Some("5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03")
    );
    assert_eq!(header(&plain, "x-amz-server-side-encryption"), None);
    assert_eq!(header(&plain, "host"), None, "the transport writes it");

    let mut config = config("");
    config.if_none_match = false;
    config.checksum = false;
    config.encryption = S3Encryption::Kms {
        key_id: Some("arn:key".to_owned()),
        bucket_key: true,
    };
    config.storage_class = Some("STANDARD_IA".to_owned());
    config.tags.insert("a b".to_owned(), "c&d".to_owned());
    config.bucket_owner = Some("123456789012".to_owned());
    let request = request(&config);
    for (name, expected) in [
        ("if-none-match", None),
        ("x-amz-checksum-crc32c", None),
        ("x-amz-server-side-encryption", Some("aws:kms")),
        (
            "x-amz-server-side-encryption-aws-kms-key-id",
            Some("arn:key"),
        ),
        (
            "x-amz-server-side-encryption-bucket-key-enabled",
            Some("true"),
        ),
        ("x-amz-storage-class", Some("STANDARD_IA")),
        ("x-amz-tagging", Some("a%20b=c%26d")),
        ("x-amz-expected-bucket-owner", Some("123456789012")),
    ] {
        assert_eq!(header(&request, name), expected, "{name}");
    }
    let signed = header(&request, "authorization").unwrap();
    assert!(
        signed.contains("/20261123/eu-west-1/s3/aws4_request"),
        "{signed}"
    );
    for (name, _) in &request.headers {
        let unsigned = ["authorization", "user-agent"].contains(&name.as_str());
        assert_eq!(signed.contains(name.as_str()), !unsigned, "{name}");
    }
}

#[test]
fn without_keys_nothing_is_sent() {
    let s3 = s3(&config(""));
    let (group, object) = object(&s3);
    let range = SeqRange::new(Seq::new(3), Seq::new(9));
    let verdict = s3.prepare(range, &group, &object, NOW, None).unwrap_err();
    let Verdict::Retry(retry) = verdict else {
        panic!("to be tried again");
    };
    assert_eq!(retry.class, RetryClass::Credentials);
}

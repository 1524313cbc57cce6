use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};

use super::super::aws::{KeyTemplate, KeyTemplateError, Push};
use super::super::{SeqRange, UnitFate};
use super::*;
use crate::config::{AwsEndpoint, ByteSize, CredentialsConfig, Packing, Secret, TlsConfig};
use crate::encode::EntryMeta;
use crate::record::{Fields, Record, Value};
use crate::stored::{self, StoredRef};

const HINT: ByteSize = ByteSize::bytes(50 << 10);

fn template(text: &str) -> KeyTemplate {
    KeyTemplate::parse(text).unwrap()
}

fn config(partition_key: &str, aggregation: Packing) -> KinesisConfig {
    KinesisConfig {
        stream: "plant-telemetry".to_owned(),
        region: "eu-west-1".to_owned(),
        endpoint: AwsEndpoint::default(),
        partition_key: template(partition_key),
        explicit_hash_key: None,
        aggregation,
        record_bytes_max: ByteSize::bytes(1 << 20),
        credentials: CredentialsConfig::Default {
            profile: None,
            file: None,
        },
        tls: TlsConfig::default(),
    }
}

fn packer(config: &KinesisConfig, count_max: u32) -> Packer {
    let origin = Origin {
        agent: "gateway".to_owned(),
        ring_id: 0xab,
        is_replay: false,
    };
    let kinesis = Kinesis::new(config, Duration::from_secs(30));
    kinesis.packer(&origin, Compression::None, count_max, Seq::ZERO)
}

/// Pushes a line whose record has these fields.
fn push(packer: &mut Packer, seq: u64, line: &[u8], fields: &[(&str, Value)]) -> Push {
    let mut record = Record::new(WallClock::default(), line.to_vec());
    let mut of_record = Fields::new();
    for (name, value) in fields {
        of_record.insert(*name, value.clone());
    }
    record.fields = of_record;
    let mut bytes = Vec::new();
    stored::encode(&record, &mut bytes);
    let entry = EntryMeta {
        seq: Seq::new(seq),
        source: "sensors",
    };
    packer.push_record(entry, &StoredRef::decode(&bytes).unwrap(), line)
}

/// The records of the call, which must be that of the API model.
fn records(packed: &PackedUnits) -> Vec<Json> {
    let all: Vec<usize> = (0..packed.units().len()).collect();
    let call: Json = serde_json::from_slice(&packed.body(&all).0).unwrap();
    assert_eq!(call["StreamName"], "plant-telemetry");
    assert_eq!(call.as_object().unwrap().len(), 2);
    call["Records"].as_array().unwrap().clone()
}

fn data(record: &Json) -> Vec<u8> {
    STANDARD.decode(record["Data"].as_str().unwrap()).unwrap()
}

#[test]
fn records_have_the_keys_of_their_templates() {
    let check = |partition: &str, hash: Option<&str>, expected: Json| {
        let mut config = config(partition, Packing::None);
        config.explicit_hash_key = hash.map(template);
        let mut packer = packer(&config, 500);
        let mut inner = Fields::new();
        inner.insert("b.c", Value::Uint(7));
        let fields = [
            ("device", Value::Text("pump \"1\"".to_owned())),
            ("a", Value::Map(inner)),
            ("list", Value::List(vec![Value::Null])),
        ];
        assert_eq!(push(&mut packer, 5, b"{}\n", &fields), Push::Taken);
        let records = records(&packer.finish(Seq::new(6)));
        let mut wanted = json!({"Data": "e30="});
        for (name, value) in expected.as_object().unwrap() {
            wanted[name] = value.clone();
        }
        assert_eq!(records, [wanted], "{partition}");
    };
    check("{id}", None, json!({"PartitionKey": "00000000000000ab-5"}));
    check("{.device}", None, json!({"PartitionKey": "pump \"1\""}));
    let text = "{agent}/{source}/{.a.\"b.c\"}!";
    check(text, None, json!({"PartitionKey": "gateway/sensors/7!"}));
    // What says nothing becomes the id: an empty key would be refused.
    check(
        "{.none}{.list}",
        None,
        json!({"PartitionKey": "00000000000000ab-5"}),
    );
    let long = "\u{e4}".repeat(300);
    check(&long, None, json!({"PartitionKey": "\u{e4}".repeat(256)}));
    let hashed = |number: &str| json!({"PartitionKey": "x", "ExplicitHashKey": number});
    check("x", Some("00{.a.\"b.c\"}"), hashed("7"));
    let max = "340282366920938463463374607431768211455";
    check("x", Some(max), hashed(max));
    let too_large = "340282366920938463463374607431768211456";
    check("x", Some(too_large), json!({"PartitionKey": "x"}));
    check("x", Some("{.device}"), json!({"PartitionKey": "x"}));
}

#[test]
fn wrong_templates_are_told() {
    let check = |text: &str, expected: KeyTemplateError| {
        assert_eq!(KeyTemplate::parse(text), Err(expected), "{text}");
    };
    check("{id", KeyTemplateError::Unclosed);
    check("id}", KeyTemplateError::Unclosed);
    check("a}{id}", KeyTemplateError::Unclosed);
    check("{device}", KeyTemplateError::Unknown("device".to_owned()));
    check("{}", KeyTemplateError::Unknown(String::new()));
    assert!(matches!(
        KeyTemplate::parse("{.}"),
        Err(KeyTemplateError::Path(_))
    ));
}

/// Keys count towards the limits of a record and of a call.
#[test]
fn limits_of_the_service_hold() {
    let check = |record_bytes_max: u64, line: usize, expected: usize| {
        let mut config = config("0123456789", Packing::None);
        config.record_bytes_max = ByteSize::bytes(record_bytes_max);
        let mut packer = packer(&config, u32::MAX);
        let line = vec![b'x'; line];
        let mut seq = 0;
        while push(&mut packer, seq, &line, &[]) == Push::Taken {
            seq += 1;
        }
        let packed = packer.finish(Seq::new(seq));
        assert_eq!(packed.units().len(), expected);
        let records = records(&packed);
        let bytes: usize = records.iter().map(|record| data(record).len() + 10).sum();
        let call_max = if record_bytes_max > 1 << 20 { 10 } else { 5 } << 20;
        assert!(bytes <= call_max, "{bytes}");
    };
    check(1 << 20, 10, KINESIS_CALL_UNITS_MAX);
    check(1 << 20, (1 << 20) - 10, 5);
    check(10 << 20, (10 << 20) - 10, 1);
    check(2 << 20, (2 << 20) - 10, 5);

    let mut packer = packer(&config("0123456789", Packing::None), 500);
    let line = vec![b'x'; (1 << 20) - 9];
    assert_eq!(push(&mut packer, 0, &line, &[]), Push::Taken);
    let packed = packer.finish(Seq::new(1));
    let fate = UnitFate::TooLarge {
        bytes: (1 << 20) + 1,
        bytes_max: 1 << 20,
    };
    assert_eq!(packed.units().first().unwrap().fate, fate);
    assert_eq!(records(&packed), Vec::<Json>::new());
}

/// `aws_kinesis_agg` 1.2.3 of `PyPI` made these bytes of the same records.
#[test]
fn aggregates_are_those_of_the_producer_library() {
    let mut config = config("{.device}{id}", Packing::Kpl { hint: HINT });
    config.explicit_hash_key = Some(template("7"));
    let mut packer = packer(&config, 500);
    let device = |name: &str| [("device", Value::Text(name.to_owned()))];
    assert_eq!(push(&mut packer, 0, b"one\n", &device("a")), Push::Taken);
    assert_eq!(push(&mut packer, 1, b"two\n", &device("b")), Push::Taken);
    let packed = packer.finish(Seq::new(2));
    assert_eq!(packed.units().len(), 2, "keys of a shard are not mixed");

    config.explicit_hash_key = None;
    let mut packer = self::packer(&config, 500);
    assert_eq!(push(&mut packer, 0, b"one\n", &device("a")), Push::Taken);
    assert_eq!(push(&mut packer, 1, b"two\n", &device("b")), Push::Taken);
    let packed = packer.finish(Seq::new(2));
    let expected = SeqRange::new(Seq::ZERO, Seq::new(2));
    assert_eq!(packed.units().first().unwrap().range, expected);
    let records = records(&packed);
    assert_eq!(records.len(), 1);
    assert_eq!(records[0]["PartitionKey"], "a00000000000000ab-0");
    assert_eq!(STANDARD.encode(data(&records[0])), AGGREGATE);
}

const AGGREGATE: &str = "84mawgoTYTAwMDAwMDAwMDAwMDAwYWItMAoTYjAwMDAwMDAwMDAwMDAwYWItMRoHCAAaA29uZRoHCAEaA3R3b8NvbtWszTYuAkmf31Kar+E=";

/// Records of one key share an aggregate, which is closed where another key comes.
#[test]
fn aggregates_keep_to_the_shard_of_their_key() {
    for (aggregation, many) in [
        (Packing::Kpl { hint: HINT }, 3),
        (Packing::Lines { hint: HINT }, 3),
        (Packing::None, 5),
    ] {
        let mut packer = packer(&config("{.device}", aggregation), 500);
        for (seq, device) in ["a", "a", "b", "b", "a"].into_iter().enumerate() {
            let fields = [("device", Value::Text(device.to_owned()))];
            let seq = u64::try_from(seq).unwrap();
            assert_eq!(push(&mut packer, seq, b"x", &fields), Push::Taken);
        }
        let packed = packer.finish(Seq::new(5));
        assert_eq!(packed.units().len(), many, "{aggregation:?}");
    }
}

/// An aggregate is closed before it passes the hint, and never passes what a record may have.
#[test]
fn aggregates_stay_within_their_hint() {
    let hint = ByteSize::bytes(4096);
    let mut packer = packer(&config("{id}", Packing::Kpl { hint }), 500);
    for seq in 0..300 {
        assert_eq!(push(&mut packer, seq, &[b'x'; 100], &[]), Push::Taken);
    }
    let packed = packer.finish(Seq::new(300));
    let sizes: Vec<usize> = records(&packed).iter().map(|it| data(it).len()).collect();
    assert!(sizes.iter().all(|size| *size <= 4096), "{sizes:?}");
    let full = &sizes[..sizes.len() - 1];
    assert!(full.iter().all(|size| *size > 3_700), "{sizes:?}");
    let count: u32 = packed.units().iter().map(|unit| unit.count).sum();
    assert_eq!(count, 300);
}

#[test]
fn call_is_signed_for_kinesis() {
    let config = config("{id}", Packing::None);
    let kinesis = Kinesis::new(&config, Duration::from_secs(30));
    let mut packer = packer(&config, 500);
    assert_eq!(push(&mut packer, 0, b"x", &[]), Push::Taken);
    let packed = packer.finish(Seq::new(1));
    let keys = Credentials {
        access_key_id: "AK".to_owned(),
        secret_access_key: Secret::new("secret"),
        session_token: None,
    };
    let now = WallClock::from_millis(1_795_384_084_000);
    let request = kinesis.prepare(&packed, &[0], now, Some(&keys)).unwrap();
    assert_eq!(request.url, "https://kinesis.eu-west-1.amazonaws.com/");
    let header = |name: &str| {
        let mut headers = request.headers.iter();
        headers.find(|(key, _)| key == name).unwrap().1.as_str()
    };
    assert_eq!(header("x-amz-target"), "Kinesis_20131202.PutRecords");
    let scope = "Credential=AK/20261122/eu-west-1/kinesis/aws4_request";
    assert!(header("authorization").contains(scope));
}

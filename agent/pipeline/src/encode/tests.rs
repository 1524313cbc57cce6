//! Batches in every format and compression, through one table function each.

use super::*;
use crate::boots::Boots;
use crate::clock::{BootId, Boottime, Learned, Teacher};
use crate::record::{Fields, Record, Value};
use crate::stored;
use crate::time::WallClock;

const COMPRESSIONS: [Compression; 6] = [
    Compression::None,
    Compression::Gzip,
    Compression::Zip,
    Compression::Snappy,
    Compression::HadoopSnappy,
    Compression::Zstd,
];

fn origin() -> Origin {
    Origin {
        agent: "gw1".to_owned(),
        ring_id: 0xabc,
        is_replay: false,
    }
}

fn encoded(encoding: Encoding, records: &[Record]) -> Encoded {
    let mut encoder = BatchEncoder::new(encoding, &origin());
    for (number, record) in (7..).zip(records) {
        let mut bytes = Vec::new();
        stored::encode(record, &mut bytes);
        let entry = EntryMeta {
            seq: Seq::new(number),
            source: "sensors",
        };
        encoder.push(entry, &StoredRef::decode(&bytes).unwrap());
    }
    encoder.finish()
}

fn check(format: Format, metadata: bool, records: &[Record], expected: &str) {
    let encoding = Encoding {
        format,
        compression: Compression::None,
        level: None,
        metadata,
    };
    let batch = encoded(encoding, records);
    assert_eq!(String::from_utf8_lossy(&batch.body), expected);
    assert_eq!(batch.raw_bytes, expected.len());
}

fn record(payload: &[u8]) -> Record {
    Record::new(WallClock::from_millis(1_795_452_001_123), payload.to_vec())
}

fn with(payload: &[u8], state: PayloadState, fields: &[(&str, Value)]) -> Record {
    let mut record = record(payload);
    record.payload_state = state;
    record.fields = Fields::from_pairs(
        fields
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect(),
    );
    record
}

#[test]
fn raw_writes_lines() {
    check(
        Format::Raw,
        true,
        &[
            record(b"one"),
            record(b"two\n"),
            record(b"three\nfour"),
            record(b""),
            with(b"{ }", PayloadState::Parsed, &[("a", Value::Int(1))]),
            with(b"", PayloadState::Replaced, &[("a", Value::Int(1))]),
            with(b"", PayloadState::Replaced, &[]),
        ],
        "one\ntwo\nthree\nfour\n\n{ }\n{\"a\":1}\n{}\n",
    );
}

#[test]
fn metadata_says_how_far_the_time_can_be_believed() {
    let mut early = record(b"x");
    early.received_at = WallClock::from_millis(1_000);
    early.taken.is_unsynced = true;
    early.taken.boottime = Boottime::from_millis(900);
    let id = BootId::parse("d4bda4dd-e241-4f32-9067-52a94bbe50ab").unwrap();
    early.taken.boot = id.tag();
    let mut bytes = Vec::new();
    stored::encode(&early, &mut bytes);
    let mut boots = Boots::default();
    let line = |boots: &Boots| {
        let mut record = StoredRef::decode(&bytes).unwrap();
        boots.correct(&mut record);
        let entry = EntryMeta {
            seq: Seq::new(7),
            source: "s",
        };
        let mut out = Vec::new();
        RecordWriter::new(Format::Ndjson, true, &origin()).write(entry, &record, &mut out);
        let line = String::from_utf8(out).unwrap();
        let start = line.find("\"received_at\"").unwrap();
        line[start..].to_owned()
    };
    let unsynced = "\"received_at\":\"1970-01-01T00:00:01.000Z\",\"clock\":\"unsynced\"";
    assert_eq!(
        line(&boots),
        format!("{unsynced},\"boot\":\"d4bda4\",\"monotonic_ms\":900}},\"message\":\"x\"}}\n")
    );
    boots.begin(id, Seq::ZERO);
    assert_eq!(
        line(&boots),
        format!(
            "{unsynced},\"boot\":\"d4bda4dde2414f32906752a94bbe50ab\",\"monotonic_ms\":900}},\
             \"message\":\"x\"}}\n"
        )
    );
    let learned = Learned {
        offset_ms: 1_795_452_000_223,
        by: Teacher::Date,
    };
    boots.learn(id, learned);
    assert_eq!(
        line(&boots),
        "\"received_at\":\"2026-11-23T16:40:01.123Z\",\"clock\":\"corrected\",\
         \"clock_offset_ms\":1795452000123},\"message\":\"x\"}\n"
    );
}

#[test]
fn ndjson_without_metadata_writes_fields_and_message() {
    let mut failed = record(b"x");
    failed.mark("not \"JSON\"");
    check(
        Format::Ndjson,
        false,
        &[
            with(
                b"21.5",
                PayloadState::Opaque,
                &[("topic", Value::from("a/b"))],
            ),
            with(b"{}", PayloadState::Parsed, &[("a", Value::Float(1.0))]),
            with(b"", PayloadState::Replaced, &[]),
            record(b"a\"\\\n\x01\xc3\xa9"),
            record(b"\xff\xfe"),
            failed,
        ],
        concat!(
            r#"{"topic":"a/b","message":"21.5"}"#,
            "\n",
            r#"{"a":1.0}"#,
            "\n{}\n",
            r#"{"message":"a\"\\\n\u0001"#,
            "\u{e9}\"}\n",
            r#"{"message_base64":"//4="}"#,
            "\n",
            r#"{"decode_error":"not \"JSON\"","message":"x"}"#,
            "\n",
        ),
    );
}

#[test]
fn metadata_says_where_from_and_when() {
    let mut full = with(b"hi", PayloadState::Opaque, &[("n", Value::Null)]);
    full.time = Some(WallClock::from_millis(0));
    full.mark("why");
    let head = r#"{"hydrant":{"id":"0000000000000abc-7","source":"sensors","agent":"gw1","received_at":"2026-11-23T16:40:01.123Z""#;
    check(
        Format::Ndjson,
        true,
        &[full],
        &format!(
            "{head},{}\n",
            r#""time":"1970-01-01T00:00:00.000Z","decode_error":"why"},"n":null,"message":"hi"}"#
        ),
    );
    check(
        Format::JsonArray,
        true,
        &[record(b"hi")],
        &format!("[{head}}},\"message\":\"hi\"}}]"),
    );
    assert_eq!(
        origin().record_id(Seq::new(7)).to_string(),
        "0000000000000abc-7"
    );
}

#[test]
fn json_arrays_have_commas_between_records() {
    check(Format::JsonArray, false, &[], "[]");
    check(
        Format::JsonArray,
        false,
        &[record(b"a"), record(b"b")],
        r#"[{"message":"a"},{"message":"b"}]"#,
    );
}

#[test]
fn a_field_that_has_a_name_of_ours_keeps_its_value_under_another() {
    let fields = [
        ("hydrant", Value::Int(1)),
        ("hydrant_", Value::Int(2)),
        ("message", Value::Int(3)),
        ("message_base64", Value::Int(4)),
        ("decode_error", Value::Int(5)),
    ];
    let mut failed = with(b"x", PayloadState::Opaque, &fields);
    failed.mark("why");
    check(
        Format::Ndjson,
        false,
        &[failed.clone(), with(b"x", PayloadState::Parsed, &fields)],
        concat!(
            r#"{"decode_error":"why","hydrant":1,"hydrant_":2,"message_":3,"message_base64":4,"decode_error_":5,"message":"x"}"#,
            "\n",
            r#"{"hydrant":1,"hydrant_":2,"message":3,"message_base64":4,"decode_error":5}"#,
            "\n",
        ),
    );
    let encoding = Encoding {
        format: Format::Ndjson,
        compression: Compression::None,
        level: None,
        metadata: true,
    };
    let batch = encoded(encoding, &[failed]);
    let text = String::from_utf8(batch.body).unwrap();
    let rest = r#","hydrant__":1,"hydrant_":2,"message_":3,"message_base64":4,"decode_error":5,"message":"x"}"#;
    assert!(text.trim_end().ends_with(rest), "{text}");
}

#[test]
fn every_encoding_is_the_same_twice() {
    let records: Vec<Record> = (0..3000_u32)
        .map(|number| record(format!("{{\"n\":{number},\"s\":{}}}", number % 7).as_bytes()))
        .collect();
    for compression in COMPRESSIONS {
        for format in [Format::Ndjson, Format::JsonArray, Format::Raw] {
            let encoding = Encoding {
                format,
                compression,
                level: None,
                metadata: true,
            };
            let batch = encoded(encoding, &records);
            assert_eq!(batch, encoded(encoding, &records), "{encoding:?}");
            assert_eq!(batch.count, 3000, "{encoding:?}");
            let smaller = batch.body.len() < batch.raw_bytes;
            assert_eq!(smaller, compression != Compression::None, "{encoding:?}");
        }
    }
}

#[test]
fn sizes_are_known_while_a_batch_grows() {
    let encoding = Encoding {
        format: Format::Raw,
        compression: Compression::Gzip,
        level: None,
        metadata: false,
    };
    let mut bytes = Vec::new();
    stored::encode(&record(&[b'x'; 999]), &mut bytes);
    let stored = StoredRef::decode(&bytes).unwrap();
    let mut encoder = BatchEncoder::new(encoding, &origin());
    for count in 1..=100_usize {
        let entry = EntryMeta {
            seq: Seq::ZERO,
            source: "s",
        };
        encoder.push(entry, &stored);
        assert_eq!(encoder.raw_bytes(), count * 1000);
    }
    let batch = encoder.finish();
    assert_eq!(batch.raw_bytes, 100_000);
    assert_eq!(
        miniz_oxide::inflate::decompress_to_vec(&batch.body[10..batch.body.len() - 8])
            .unwrap()
            .len(),
        100_000
    );
}

#[test]
fn file_names_in_archives_follow_from_the_batch() {
    let name = entry_name(1, Some(Seq::new(2)), Some(Seq::new(3)));
    assert_eq!(name, entry_name(1, Some(Seq::new(2)), Some(Seq::new(3))));
    assert_ne!(name, entry_name(1, Some(Seq::new(2)), Some(Seq::new(4))));
    assert_ne!(name, entry_name(2, Some(Seq::new(2)), Some(Seq::new(3))));
    let shape: String = name
        .chars()
        .map(|c| if c.is_ascii_hexdigit() { 'h' } else { c })
        .collect();
    assert_eq!(shape, "hhhhhhhh-hhhh-hhhh-hhhh-hhhhhhhhhhhh");
    assert_eq!(name.chars().nth(14), Some('8'), "{name}");
    assert!(matches!(name.chars().nth(19), Some('8'..='b')), "{name}");
}

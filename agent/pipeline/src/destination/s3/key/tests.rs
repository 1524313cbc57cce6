use super::*;
use crate::record::{Fields, Record, Value};
use crate::stored;

fn parse(text: &str) -> Result<KeyPrefix, String> {
    KeyPrefix::parse(text, KeyPlace::Records, None)
        .map_err(|error| format!("{error}; {}", error.hint()))
}

fn record(fields: &[(&str, Value)]) -> Vec<u8> {
    let mut record = Record::new(WallClock::from_millis(1_795_452_001_123), b"x".to_vec());
    let pairs = fields.iter();
    let pairs = pairs.map(|(name, value)| ((*name).to_owned(), value.clone()));
    record.fields = Fields::from_pairs(pairs.collect());
    let mut bytes = Vec::new();
    stored::encode(&record, &mut bytes);
    bytes
}

fn written(text: &str, fields: &[(&str, Value)]) -> String {
    let prefix = parse(text).unwrap();
    let bytes = record(fields);
    let record = StoredRef::decode(&bytes).unwrap();
    let group = prefix
        .group("app", &record)
        .unwrap_or_else(|| prefix.group_with_missing("app", &record));
    prefix.write(&group, record.received_at, "gw/1", "seed")
}

#[test]
fn expressions_are_those_of_firehose() {
    let text = |text: &str| Value::Text(text.to_owned());
    for (prefix, expected) in [
        ("", "2026/11/23/16/"),
        ("legacy", "legacy2026/11/23/16/"),
        ("a/!{timestamp:yyyy-MM-dd}/", "a/2026-11-23/"),
        ("!{timestamp:'}'yyyy}/", "}2026/"),
        (
            "d=!{timestamp:'day 'D}/!{hydrant:agent}/",
            "d=day 327/gw_1/",
        ),
        ("!{hydrant:source}/!{partition:site}/", "app/north hall/"),
        ("!{partition:a.b}", "7"),
        ("!{partition:path}/", "_etc_.._passwd/"),
        ("!{partition:dots}/", "__/"),
        ("!{partition:none}/", "__HIVE_DEFAULT_PARTITION__/"),
        ("!{partition:empty}/", "__HIVE_DEFAULT_PARTITION__/"),
    ] {
        let nested = Value::Map(Fields::from_pairs(vec![("b".to_owned(), Value::Int(7))]));
        let fields = [
            ("site", text("north hall")),
            ("a", nested),
            ("path", text("/etc/../passwd")),
            ("dots", text("..")),
            ("empty", text("")),
        ];
        assert_eq!(written(prefix, &fields), expected, "{prefix}");
    }
}

/// Each stands for another text, and a repeat has the same.
#[test]
fn random_strings_are_made_from_what_the_object_is() {
    let both = written("!{firehose:random-string}/!{firehose:random-string}", &[]);
    let (one, other) = both.split_once('/').unwrap();
    assert!(
        one != other && one.len() == 11 && other.len() == 11,
        "{both}"
    );
    assert!(both.chars().all(|c| c.is_ascii_alphanumeric() || c == '/'));
    assert_eq!(
        both,
        written("!{firehose:random-string}/!{firehose:random-string}", &[])
    );
}

#[test]
fn times_are_of_the_zone() {
    let zone = Some("Asia/Kolkata");
    let prefix = KeyPrefix::parse("!{timestamp:dd HH:mm}", KeyPlace::Records, zone).unwrap();
    let group = Group(Vec::new());
    let at = WallClock::from_millis(1_795_452_001_123);
    assert_eq!(prefix.write(&group, at, "a", "s"), "23 22:10");
    let error = KeyPrefix::parse("", KeyPlace::Records, Some("Mars/Olympus")).unwrap_err();
    assert!(error.to_string().contains("Mars/Olympus"), "{error}");
}

#[test]
fn wrong_expressions_say_what_to_write() {
    for (text, expected) in [
        (
            "a/!{timestamp:yyyy",
            "\"!{timestamp:yyyy\" has no end; close it with \"}\"",
        ),
        ("!{timestamp:YYYY}", "did you mean \"y\"?; write a pattern"),
        (
            "!{firehose:random}",
            "!{firehose:random} is not known; write !{timestamp",
        ),
        ("!{date}", "!{date} has no namespace"),
        ("!{partitionKeyFromQuery:a}", "write !{partition:FIELD}"),
        ("!{partition:}", "!{partition:} names no field"),
        ("!{firehose:error-output-type}", "is for error_prefix only"),
        ("/a", "begins with \"/\""),
        ("a//b", "a folder that is empty"),
        ("a/../b", "\"..\""),
        ("a\n", "cannot be part of a key"),
    ] {
        let error = parse(text).unwrap_err();
        assert!(error.contains(expected), "{text}: {error}");
    }
    assert!(parse(&"x".repeat(1025)).is_err());
    let errors = |text: &str| KeyPrefix::parse(text, KeyPlace::Errors, None);
    assert!(errors("bad/").is_ok());
    assert!(errors("bad/!{firehose:error-output-type}/!{timestamp:yyyy}/").is_ok());
    assert!(
        errors("bad/!{timestamp:yyyy}/")
            .unwrap_err()
            .hint()
            .contains("errors/!{firehose")
    );
    assert!(errors("!{firehose:error-output-type}/!{partition:a}/").is_err());
}

//! Tables of transforms: a record before, the same record after.

mod redact;

use std::collections::BTreeMap;

use super::*;
use crate::config::ParseFormat;
use crate::time::WallClock;

/// A record in short: payload, state, fields as JSON, mark.
type Short<'a> = (&'a str, PayloadState, &'a str, Option<&'a str>);

use PayloadState::{Opaque, Parsed, Replaced};

fn config(kind: TransformKind) -> TransformConfig {
    TransformConfig {
        name: "t".to_owned(),
        kind,
    }
}

fn record((payload, state, fields, mark): Short<'_>) -> Record {
    let Ok(Value::Map(fields)) = Value::from_json(fields.as_bytes()) else {
        panic!("not an object: {fields}");
    };
    Record {
        received_at: WallClock::from_millis(1_795_452_001_123),
        payload: payload.as_bytes().to_vec(),
        payload_state: state,
        fields,
        decode_error: mark.map(str::to_owned),
        ..Record::default()
    }
}

fn check(kinds: &[TransformKind], before: Short<'_>, after: Option<Short<'_>>) {
    let configs: Vec<_> = kinds.iter().cloned().map(config).collect();
    let transforms = Transforms::compile(&configs).unwrap();
    let expected = after.map_or(Outcome::Filtered, |after| Outcome::Keep(record(after)));
    assert_eq!(
        transforms.apply(record(before), 0),
        expected,
        "{kinds:?} of {before:?}"
    );
}

fn check_error(kind: TransformKind, expected: &str) {
    let error = Transforms::compile(&[config(kind)]).unwrap_err();
    assert_eq!(error, [("t".to_owned(), expected.to_owned())]);
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn parse(format: ParseFormat, field: Option<&str>, into: Option<&str>) -> TransformKind {
    TransformKind::Parse {
        format,
        field: field.map(str::to_owned),
        into: into.map(str::to_owned),
    }
}

fn json() -> TransformKind {
    parse(ParseFormat::Json, None, None)
}

fn regex(pattern: &str) -> ParseFormat {
    ParseFormat::Regex {
        pattern: pattern.to_owned(),
    }
}

fn filter(keep: &str) -> TransformKind {
    TransformKind::Filter {
        keep: keep.to_owned(),
    }
}

fn set(path: &str, value: serde_json::Value) -> TransformKind {
    TransformKind::Set {
        fields: BTreeMap::from([(path.to_owned(), value)]),
    }
}

fn rename(names: &[(&str, &str)]) -> TransformKind {
    TransformKind::Rename {
        fields: names
            .iter()
            .map(|(old, new)| ((*old).to_owned(), (*new).to_owned()))
            .collect(),
    }
}

#[test]
fn nothing_to_do_changes_nothing() {
    assert!(Transforms::default().is_empty());
    let before = ("x", Opaque, r#"{"a":1}"#, None);
    check(&[], before, Some(before));
}

#[test]
fn json_payloads_become_fields() {
    let object = r#"{"b":{"c":[1,2]},"topic":"mine"}"#;
    check(
        &[json()],
        (object, Opaque, r#"{"topic":"t","q":1}"#, None),
        Some((
            object,
            Parsed,
            r#"{"topic":"mine","q":1,"b":{"c":[1,2]}}"#,
            None,
        )),
    );
    check(
        &[parse(ParseFormat::Json, None, Some("a.data"))],
        (object, Opaque, r#"{"topic":"t"}"#, None),
        Some((
            object,
            Parsed,
            r#"{"topic":"t","a":{"data":{"b":{"c":[1,2]},"topic":"mine"}}}"#,
            None,
        )),
    );
    check(
        &[json()],
        ("21.5", Opaque, "{}", None),
        Some(("21.5", Parsed, r#"{"value":21.5}"#, None)),
    );
    check(
        &[json()],
        ("nope", Opaque, "{}", None),
        Some((
            "nope",
            Opaque,
            "{}",
            Some("the payload is not JSON: expected ident at line 1 column 2"),
        )),
    );
    check(
        &[json()],
        ("", Replaced, "{}", None),
        Some((
            "",
            Replaced,
            "{}",
            Some("parse: the payload is gone; parse before fields are changed"),
        )),
    );
    check(
        &[parse(ParseFormat::Json, None, Some("a.b"))],
        ("{}", Opaque, r#"{"a":1}"#, None),
        Some(("{}", Opaque, r#"{"a":1}"#, Some("field \"a\" is not a map"))),
    );
}

#[test]
fn text_fields_become_fields() {
    let inner = parse(ParseFormat::Json, Some("log"), Some("log"));
    let log = r#"{"log":"{\"a\":1}"}"#;
    check(
        std::slice::from_ref(&inner),
        ("x", Opaque, log, None),
        Some(("x", Opaque, r#"{"log":{"a":1}}"#, None)),
    );
    check(
        std::slice::from_ref(&inner),
        (log, Parsed, log, None),
        Some(("", Replaced, r#"{"log":{"a":1}}"#, None)),
    );
    check(
        std::slice::from_ref(&inner),
        ("x", Parsed, "{}", None),
        Some(("x", Parsed, "{}", None)),
    );
    check(
        &[inner],
        ("x", Opaque, r#"{"log":1}"#, None),
        Some(("x", Opaque, r#"{"log":1}"#, Some("field log is not text"))),
    );
}

#[test]
fn lines_become_fields() {
    check(
        &[parse(ParseFormat::KeyValue, None, None)],
        ("a=1 b=\"x y\"", Opaque, "{}", None),
        Some(("a=1 b=\"x y\"", Parsed, r#"{"a":"1","b":"x y"}"#, None)),
    );
    check(
        &[parse(ParseFormat::KeyValue, None, None)],
        ("just words", Opaque, "{}", None),
        Some((
            "just words",
            Opaque,
            "{}",
            Some("the payload is not key=value: there is no `=`"),
        )),
    );
    let line = regex(r"^(?<level>[A-Z]+)(?: \[(?<thread>\w+)\])? (?P<text>.*)$");
    check(
        &[parse(line.clone(), None, None)],
        ("WARN disk full", Opaque, "{}", None),
        Some((
            "WARN disk full",
            Parsed,
            r#"{"level":"WARN","text":"disk full"}"#,
            None,
        )),
    );
    check(
        &[parse(line, Some("m"), None)],
        ("p", Opaque, r#"{"m":"warn"}"#, None),
        Some((
            "p",
            Opaque,
            r#"{"m":"warn"}"#,
            Some("field m does not match the pattern"),
        )),
    );
}

#[test]
fn payloads_that_are_no_text_are_marked() {
    for format in [ParseFormat::KeyValue, regex("(?<a>.)")] {
        let configs = [config(parse(format, None, None))];
        let transforms = Transforms::compile(&configs).unwrap();
        let mut before = record(("", Opaque, "{}", None));
        before.payload = b"a=\xff".to_vec();
        let mut after = before.clone();
        after.mark("the payload is not UTF-8 at byte 2");
        assert_eq!(transforms.apply(before, 0), Outcome::Keep(after));
    }
}

#[test]
fn filters_decide() {
    let before = (r#"{"level":"debug"}"#, Opaque, "{}", None);
    check(&[json(), filter("level != 'debug'")], before, None);
    check(&[filter("level != 'debug'")], before, Some(before));
    check(
        &[filter("message =~ 'debug'"), filter("false")],
        before,
        None,
    );
}

#[test]
fn fields_are_set_and_removed() {
    let object = r#"{"a":1}"#;
    check(
        &[set("b.c", serde_json::json!({"d": [true]}))],
        ("x", Opaque, object, None),
        Some(("x", Opaque, r#"{"a":1,"b":{"c":{"d":[true]}}}"#, None)),
    );
    check(
        &[json(), set("b", serde_json::json!(2))],
        (object, Opaque, "{}", None),
        Some(("", Replaced, r#"{"a":1,"b":2}"#, None)),
    );
    check(
        &[set("a.b", serde_json::json!(2))],
        ("x", Parsed, object, None),
        Some((
            "x",
            Parsed,
            object,
            Some("set a.b: field \"a\" is not a map"),
        )),
    );
    let remove = TransformKind::Remove {
        fields: strings(&["a.b", "gone", "a.c.d"]),
    };
    check(
        std::slice::from_ref(&remove),
        ("x", Parsed, r#"{"a":{"b":1,"c":2}}"#, None),
        Some(("", Replaced, r#"{"a":{"c":2}}"#, None)),
    );
    check(
        &[remove],
        ("x", Parsed, object, None),
        Some(("x", Parsed, object, None)),
    );
}

#[test]
fn fields_are_renamed() {
    check(
        &[rename(&[("a", "b"), ("b", "a"), ("gone", "here")])],
        ("x", Parsed, r#"{"a":1,"b":2,"c":3}"#, None),
        Some(("", Replaced, r#"{"c":3,"b":1,"a":2}"#, None)),
    );
    check(
        &[rename(&[("a.b", "x.y")])],
        ("x", Opaque, r#"{"a":{"b":1}}"#, None),
        Some(("x", Opaque, r#"{"a":{},"x":{"y":1}}"#, None)),
    );
    check(
        &[rename(&[("a", "n.a")])],
        ("x", Opaque, r#"{"a":1,"n":2}"#, None),
        Some((
            "x",
            Opaque,
            r#"{"n":2,"a":1}"#,
            Some("rename a to n.a: field \"n\" is not a map"),
        )),
    );
}

#[test]
fn only_some_fields_are_kept() {
    let keep = TransformKind::KeepOnly {
        fields: strings(&["c", "a.b", "a.x.y", "d.e"]),
    };
    check(
        std::slice::from_ref(&keep),
        (
            "x",
            Parsed,
            r#"{"a":{"b":{"q":1},"z":2,"x":{"y":3,"w":4}},"b":5,"c":{"k":6},"d":{"f":7}}"#,
            None,
        ),
        Some((
            "",
            Replaced,
            r#"{"a":{"b":{"q":1},"x":{"y":3}},"c":{"k":6}}"#,
            None,
        )),
    );
    check(
        &[keep],
        ("x", Parsed, r#"{"c":1}"#, None),
        Some(("x", Parsed, r#"{"c":1}"#, None)),
    );
}

#[test]
fn sampling_keeps_its_share_and_its_mind() {
    let configs = [config(TransformKind::Sample { one_in: 10 })];
    let transforms = Transforms::compile(&configs).unwrap();
    for state in [Opaque, Replaced] {
        let kept = |seed: u64| -> Vec<bool> {
            (0..10_000)
                .map(|number| {
                    let mut record = record(("", state, "{}", None));
                    if state == Replaced {
                        record.fields.insert("n", Value::Int(number));
                    } else {
                        record.payload = format!("reading {number}").into_bytes();
                    }
                    transforms.apply(record, seed) != Outcome::Filtered
                })
                .collect()
        };
        let first = kept(0);
        let count = first.iter().filter(|kept| **kept).count();
        assert!((850..1150).contains(&count), "{count} of 10000");
        assert_eq!(first, kept(0));
        assert_ne!(first, kept(1));
    }
    let mut other = configs[0].clone();
    other.name = "other".to_owned();
    let both = Transforms::compile(&[configs[0].clone(), other]).unwrap();
    let count = (0..10_000)
        .map(|number| format!("reading {number}"))
        .filter(|text| both.apply(record((text, Opaque, "{}", None)), 0) != Outcome::Filtered)
        .count();
    assert!((60..150).contains(&count), "{count} of 10000 pass two");
    check(
        &[TransformKind::Sample { one_in: 1 }],
        ("x", Opaque, "{}", None),
        Some(("x", Opaque, "{}", None)),
    );
}

#[test]
fn what_cannot_work_is_said_before_it_starts() {
    check_error(
        filter("a ="),
        "keep: column 3: expected `==`, `!=`, `=~`, found `=`",
    );
    check_error(
        parse(regex("("), None, None),
        "the regular expression is not valid: unclosed group",
    );
    check_error(
        parse(regex("a"), None, None),
        "the pattern has no named group; write (?<name>...)",
    );
    check_error(
        parse(ParseFormat::Json, Some("a."), None),
        "field \"a.\": a field name is missing at column 3",
    );
    check_error(
        TransformKind::Sample { one_in: 0 },
        "one_in must be at least 1",
    );
    check_error(
        redact::redact(&[], &["(?-u)\\xff"]),
        "the regular expression is not valid: pattern can match invalid UTF-8",
    );
    let huge = regex("(?<a>\\w{1000})");
    check_error(
        parse(huge.clone(), None, None),
        "the regular expression needs more than 1048576 bytes; make it smaller",
    );
    let configs = [config(parse(huge, None, None)), config(filter(""))];
    assert_eq!(Transforms::compile(&configs).unwrap_err().len(), 2);
}

//! Tables of what redaction hides, and where.

use super::*;
use crate::config::{RedactWith, Secret};

pub(super) fn redact(fields: &[&str], patterns: &[&str]) -> TransformKind {
    TransformKind::Redact {
        fields: strings(fields),
        patterns: strings(patterns),
        with: RedactWith::Mask("***".to_owned()),
    }
}

#[test]
fn redacted_text_is_in_no_part_of_the_record() {
    let card = r"\b\d{4}-?\d{4}\b";
    check(
        &[redact(&[], &[card, "(?i)secret"])],
        (
            "card 1234-5678, 87654321 SECRET",
            Opaque,
            r#"{"a":["x 1234-5678",{"k 12345678":12345678}],"n":1.5,"t":true}"#,
            Some("odd 12345678"),
        ),
        Some((
            "card ***, *** ***",
            Opaque,
            r#"{"a":["x ***",{"k ***":"***"}],"n":1.5,"t":true}"#,
            Some("odd ***"),
        )),
    );
    check(
        &[json(), redact(&[], &[card])],
        (r#"{"a":"1234\u002d5678"}"#, Opaque, "{}", None),
        Some(("", Replaced, r#"{"a":"***"}"#, None)),
    );
    check(
        &[json(), redact(&[], &[card])],
        (r#"{"a":1}"#, Opaque, "{}", None),
        Some((r#"{"a":1}"#, Parsed, r#"{"a":1}"#, None)),
    );
    check(
        &[redact(&[], &["[0-9]+"])],
        ("", Opaque, r#"{"k1":1,"k2":2}"#, None),
        Some(("", Opaque, r#"{"k***":"***","k***_":"***"}"#, None)),
    );
    check(
        &[redact(&[], &["x*"])],
        ("\u{e9}x\u{e9}", Opaque, "{}", None),
        Some(("\u{e9}***\u{e9}", Opaque, "{}", None)),
    );
}

#[test]
fn redacted_fields_are_hidden_whole() {
    check(
        &[json(), redact(&["user.name", "gone", "list"], &[])],
        (
            r#"{"user":{"name":"ann","id":1},"list":[1]}"#,
            Opaque,
            "{}",
            None,
        ),
        Some((
            "",
            Replaced,
            r#"{"user":{"name":"***","id":1},"list":"***"}"#,
            None,
        )),
    );
}

#[test]
fn hashes_are_hmac_sha_256_in_16_digits() {
    // Test case 2 of RFC 4231.
    check(
        &[TransformKind::Redact {
            fields: strings(&["a"]),
            patterns: strings(&["what do ya want for nothing\\?"]),
            with: RedactWith::Hash(Secret::new("Jefe")),
        }],
        (
            ">what do ya want for nothing?<",
            Opaque,
            r#"{"a":"what do ya want for nothing?"}"#,
            None,
        ),
        Some((
            ">5bdcc146bf60754e<",
            Opaque,
            r#"{"a":"5bdcc146bf60754e"}"#,
            None,
        )),
    );
}

#[test]
fn bytes_that_are_no_text_are_redacted_too() {
    let transforms = Transforms::compile(&[config(redact(&[], &["key=\\w+"]))]).unwrap();
    let mut before = record(("", Opaque, "{}", None));
    before.payload = b"\xff key=abc \xfe".to_vec();
    let mut after = before.clone();
    after.payload = b"\xff *** \xfe".to_vec();
    assert_eq!(transforms.apply(before, 0), Outcome::Keep(after));
}

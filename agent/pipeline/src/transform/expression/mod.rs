//! The conditions of `filter`: a small language over a record's fields.
//!
//! ```text
//! expression = all { "or" all }
//! all        = term { "and" term }
//! term       = "not" term | "(" expression ")" | "exists" field | test
//! test       = operand ( "==" | "!=" | "<" | "<=" | ">" | ">=" ) operand
//!            | field "=~" string                      regular expression, found anywhere
//!            | field "in" "[" [ literal { "," literal } ] "]"
//!            | field | "true" | "false"               a field alone: whether it is true
//! operand    = field | literal
//! field      = name { "." name } | "." quoted { "." name }
//! name       = letter, "_", "@" or "$", then those, digits and "-"; or, after a dot, quoted
//! quoted     = '"' text '"'                           \" \\ \n \r \t are escapes, others stay
//! string     = quoted | "'" text "'"                  between ' nothing is an escape
//! literal    = string | number | "true" | "false" | "null"
//! ```
//!
//! `message` is the payload as text, and `decode_error` the reason why it was not understood,
//! unless the record has a field of that name. Of a missing
//! field every test is false, except `!=`, which is true; `not` turns either. Numbers compare as
//! numbers, texts by their bytes; text beside a number counts as a number if it reads as one.
//! Values of different kinds are not equal and in no order. Nothing here is an error once the
//! expression is read: deciding always ends in yes or no.

mod lexer;
mod parser;

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use regex::Regex;

use crate::record::{Path, PayloadState, Record, Value};

/// The name of the payload as text.
const MESSAGE: &str = "message";

/// The name of the reason why a record was not understood.
const DECODE_ERROR: &str = "decode_error";

/// A condition that was read.
#[derive(Clone, Debug)]
pub struct Expression(Node);

/// Why a text is no expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpressionError {
    /// Where, in characters from 1.
    pub column: usize,
    /// What is wrong, and what was expected.
    pub reason: String,
}

#[derive(Clone, Debug)]
enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    Compare(Operand, Comparison, Operand),
    Matches(Path, Regex),
    In(Path, Vec<Value>),
    Exists(Path),
    IsTrue(Operand),
}

#[derive(Clone, Debug)]
enum Operand {
    Field(Path),
    Literal(Value),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A value as it is compared.
#[derive(Clone, Debug, PartialEq)]
enum Seen<'a> {
    Null,
    Bool(bool),
    Whole(i128),
    Float(f64),
    Text(Cow<'a, str>),
    Other(&'a Value),
}

impl Expression {
    /// Reads an expression.
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        parser::parse(text).map(Self)
    }

    /// Whether it is true of `record`.
    pub fn is_true(&self, record: &Record) -> bool {
        self.0.is_true(record)
    }
}

impl fmt::Display for ExpressionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}: {}", self.column, self.reason)
    }
}

impl std::error::Error for ExpressionError {}

impl Node {
    fn is_true(&self, record: &Record) -> bool {
        match self {
            Self::All(nodes) => nodes.iter().all(|node| node.is_true(record)),
            Self::Any(nodes) => nodes.iter().any(|node| node.is_true(record)),
            Self::Not(node) => !node.is_true(record),
            Self::Compare(left, comparison, right) => match (left.see(record), right.see(record)) {
                (Some(left), Some(right)) => comparison.holds(order(&left, &right)),
                (None, _) | (_, None) => *comparison == Comparison::NotEqual,
            },
            Self::Matches(path, regex) => {
                matches!(see(path, record), Some(Seen::Text(text)) if regex.is_match(&text))
            }
            Self::In(path, list) => see(path, record).is_some_and(|seen| {
                list.iter()
                    .any(|value| order(&seen, &Seen::from(value)) == Some(Ordering::Equal))
            }),
            Self::Exists(path) => see(path, record).is_some(),
            Self::IsTrue(operand) => operand.see(record) == Some(Seen::Bool(true)),
        }
    }
}

impl Operand {
    fn see<'a>(&'a self, record: &'a Record) -> Option<Seen<'a>> {
        match self {
            Self::Field(path) => see(path, record),
            Self::Literal(value) => Some(Seen::from(value)),
        }
    }
}

impl Comparison {
    fn holds(self, order: Option<Ordering>) -> bool {
        match self {
            Self::Equal => order == Some(Ordering::Equal),
            Self::NotEqual => order != Some(Ordering::Equal),
            Self::Less => order == Some(Ordering::Less),
            Self::LessOrEqual => order.is_some_and(Ordering::is_le),
            Self::Greater => order == Some(Ordering::Greater),
            Self::GreaterOrEqual => order.is_some_and(Ordering::is_ge),
        }
    }
}

impl<'a> From<&'a Value> for Seen<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Int(number) => Self::Whole(i128::from(*number)),
            Value::Uint(number) => Self::Whole(i128::from(*number)),
            Value::Float(number) => Self::Float(*number),
            Value::Text(text) => Self::Text(Cow::Borrowed(text)),
            Value::List(_) | Value::Map(_) => Self::Other(value),
        }
    }
}

/// For the fuzzer: an expression and, behind the first newline, a payload that may be JSON.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    let at = memchr::memchr(b'\n', data).unwrap_or(data.len());
    let (text, payload) = data.split_at(at);
    let mut record = Record {
        payload: payload.to_vec(),
        ..Record::default()
    };
    if let Ok(Value::Map(fields)) = Value::from_json(payload) {
        record.fields = fields;
    }
    if let Ok(expression) = Expression::parse(&String::from_utf8_lossy(text)) {
        let negated = Node::Not(Box::new(expression.0.clone()));
        assert_ne!(
            expression.is_true(&record),
            negated.is_true(&record),
            "{data:?}"
        );
    }
}

fn see<'a>(path: &Path, record: &'a Record) -> Option<Seen<'a>> {
    if let Some(value) = record.fields.get_path(path) {
        return Some(Seen::from(value));
    }
    match path.single()? {
        MESSAGE if record.payload_state != PayloadState::Replaced => {
            Some(Seen::Text(String::from_utf8_lossy(&record.payload)))
        }
        DECODE_ERROR => record
            .decode_error
            .as_deref()
            .map(|text| Seen::Text(text.into())),
        _ => None,
    }
}

/// How two values stand to each other; `None` when they are neither equal nor in any order.
fn order(left: &Seen<'_>, right: &Seen<'_>) -> Option<Ordering> {
    match (left, right) {
        (Seen::Text(left), Seen::Text(right)) => Some(left.as_bytes().cmp(right.as_bytes())),
        (Seen::Whole(left), Seen::Whole(right)) => Some(left.cmp(right)),
        (Seen::Float(left), Seen::Float(right)) => left.partial_cmp(right),
        (Seen::Whole(left), Seen::Float(right)) => nearest(*left).partial_cmp(right),
        (Seen::Float(left), Seen::Whole(right)) => left.partial_cmp(&nearest(*right)),
        (Seen::Text(left), Seen::Whole(_) | Seen::Float(_)) => order(&number(left)?, right),
        (Seen::Whole(_) | Seen::Float(_), Seen::Text(right)) => order(left, &number(right)?),
        (Seen::Null | Seen::Bool(_) | Seen::Other(_), _)
        | (_, Seen::Null | Seen::Bool(_) | Seen::Other(_)) => {
            (left == right).then_some(Ordering::Equal)
        }
    }
}

fn number(text: &str) -> Option<Seen<'static>> {
    if let Ok(number) = text.parse::<i64>() {
        return Some(Seen::Whole(i128::from(number)));
    }
    let number = text.parse::<f64>().ok()?;
    number.is_finite().then_some(Seen::Float(number))
}

#[expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "the nearest number is meant"
)]
const fn nearest(number: i128) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let mut record = Record {
            payload: b"ERROR disk \xff full".to_vec(),
            ..Record::default()
        };
        let json = br#"{
            "level":"warn","n":21,"t":-1.5,"big":18446744073709551615,"on":true,"off":false,
            "nothing":null,"text":"42","half":"0.5","a":{"b":{"c d":1}},"list":[1,2],"in":3,
            "@type":"x","limit":20,"d-e":7
        }"#;
        let Ok(Value::Map(fields)) = Value::from_json(json) else {
            panic!("the sample is a JSON object");
        };
        record.fields = fields;
        record
    }

    fn check(text: &str, expected: bool) {
        let expression = Expression::parse(text).map_err(|error| error.to_string());
        assert_eq!(
            expression.map(|expression| expression.is_true(&record())),
            Ok(expected),
            "{text}"
        );
    }

    fn check_error(text: &str, column: usize, reason: &str) {
        let error = Expression::parse(text).map(|_| ()).unwrap_err();
        assert_eq!(
            (error.column, error.reason.as_str()),
            (column, reason),
            "{text}"
        );
    }

    #[test]
    fn comparisons() {
        for (text, expected) in [
            (r#"level == "warn""#, true),
            ("level == 'warn'", true),
            (r#"level != "warn""#, false),
            (r#""warn" == level"#, true),
            (r#"level < "x" and level >= "warn""#, true),
            ("n == 21", true),
            ("n == 21.0", true),
            ("n > 20.5", true),
            ("n <= 20", false),
            ("n > limit", true),
            ("t < -1 and t > -2e0", true),
            ("big == 18446744073709551615", true),
            ("big > 9223372036854775807", true),
            ("on == true and off == false and nothing == null", true),
            ("on != off", true),
            ("on < off", false),
            ("@type == 'x' and d-e == 7", true),
            ("list == list", true),
            ("list == a", false),
        ] {
            check(text, expected);
        }
    }

    #[test]
    fn kinds_do_not_mix_except_text_that_reads_as_a_number() {
        for (text, expected) in [
            ("text == 42", true),
            ("text > 41.5", true),
            ("42 == text", true),
            ("half < n", true),
            ("text == '42.0'", false),
            ("level > 1", false),
            ("level != 1", true),
            ("on == 1", false),
            ("nothing == 0", false),
            ("nothing <= 0", false),
            ("list != 1", true),
        ] {
            check(text, expected);
        }
    }

    #[test]
    fn missing_fields() {
        for (text, expected) in [
            ("gone == 1", false),
            ("gone == null", false),
            ("gone != 1", true),
            ("gone < 1", false),
            ("gone != gone", true),
            ("gone in [1, null]", false),
            ("gone =~ ''", false),
            ("gone", false),
            ("not gone", true),
            ("not gone == 1", true),
            ("exists gone", false),
            ("exists nothing", true),
            ("exists level.deeper", false),
            (r#"a.b."c d" == 1 and exists a.b"#, true),
            (r#"."in" == 3"#, true),
        ] {
            check(text, expected);
        }
    }

    #[test]
    fn membership_patterns_and_truth() {
        for (text, expected) in [
            ("level in ['info', \"warn\"]", true),
            ("n in [1, 21]", true),
            ("text in [42]", true),
            ("level in []", false),
            (r#"level =~ "^w.*n$""#, true),
            (r#"level =~ "^W""#, false),
            (r"level =~ '(?i)^W'", true),
            (r#"text =~ "^\d+$""#, true),
            ("n =~ '2'", false),
            (r#"message =~ "disk .* full""#, true),
            ("message =~ '^INFO'", false),
            ("exists message", true),
            ("on", true),
            ("off or on", true),
            ("n", false),
            ("true and not false", true),
        ] {
            check(text, expected);
        }
    }

    #[test]
    fn and_binds_before_or_and_not_before_both() {
        for (text, expected) in [
            ("on or on and off", true),
            ("(on or on) and off", false),
            ("not off and off", false),
            ("not (off and off)", true),
            ("not not on", true),
        ] {
            check(text, expected);
        }
    }

    #[test]
    fn what_was_not_understood_can_be_let_go() {
        let expression = Expression::parse("not exists decode_error").unwrap();
        let mut record = Record::default();
        assert!(expression.is_true(&record));
        record.mark("not JSON");
        assert!(!expression.is_true(&record));
    }

    #[test]
    fn a_field_called_message_hides_the_payload() {
        let mut record = record();
        let expression = Expression::parse("message == 'mine'").unwrap();
        assert!(!expression.is_true(&record));
        record.fields.insert("message", "mine");
        assert!(expression.is_true(&record));
        record.fields.remove("message");
        record.payload_state = PayloadState::Replaced;
        let exists = Expression::parse("exists message").unwrap();
        assert!(!exists.is_true(&record));
    }

    #[test]
    fn errors_say_where_and_what() {
        check_error("", 1, "expected a condition, found the end");
        check_error("a ==", 5, "expected a field or a value, found the end");
        check_error("a = 1", 3, "expected `==`, `!=`, `=~`, found `=`");
        check_error("a && b", 3, "unknown sign `&`; write `and`");
        check_error("a || b", 3, "unknown sign `|`; write `or`");
        check_error("!a", 1, "unknown sign `!`; write `not`");
        check_error("a b", 3, "expected `and`, `or` or the end, found `b`");
        check_error("(a or b", 8, "expected `)`, found the end");
        check_error("a)", 2, "expected `and`, `or` or the end, found `)`");
        check_error("and", 1, "expected a condition, found `and`");
        check_error("1", 2, "expected a comparison after a value, found the end");
        check_error(
            "'x' =~ 'y'",
            5,
            "expected a comparison after a value, found `=~`",
        );
        check_error(
            "a =~ 1",
            6,
            "expected a quoted regular expression, found `1`",
        );
        check_error(
            "\u{e9} =~ '('",
            6,
            "the regular expression is not valid: unclosed group",
        );
        check_error("a in 1", 6, "expected `[`, found `1`");
        check_error("a in [1 2]", 9, "expected `,` or `]`, found `2`");
        check_error("a in [b]", 7, "expected a value, found `b`");
        check_error("a.", 3, "expected a name after the dot, found the end");
        check_error("a == 'x", 6, "the quote is not closed");
        check_error("a == 1x", 6, "`1x` is not a number");
        check_error("a == 1e999", 6, "`1e999` is not a number");
        check_error("exists 1", 8, "expected a field, found `1`");
        check_error("a < b < c", 7, "expected `and`, `or` or the end, found `<`");
    }

    #[test]
    fn length_and_depth_are_bounded() {
        let deep = format!("{}a{}", "(".repeat(33), ")".repeat(33));
        check_error(&deep, 33, "nested deeper than 32 levels");
        check_error(&"not ".repeat(40), 129, "nested deeper than 32 levels");
        check_error(
            &"a or ".repeat(1000),
            1,
            "an expression of 5000 bytes exceeds 4096",
        );
        let flat = format!("{}a", "a or ".repeat(800));
        assert!(Expression::parse(&flat).is_ok());
    }

    #[test]
    fn no_input_makes_it_panic() {
        let words = [
            "a", "and", "or", "not", "in", "exists", "(", ")", "[", "]", ",", ".", "==", "!=",
            "<=", "=~", "'x'", "\"", "\\", "1", "-2.5e3", "true", "null", "message", "\u{e9}", "&",
            "\n",
        ];
        let mut seed = 20_261_123_u32;
        for _ in 0..20_000 {
            let mut text = String::new();
            for _ in 0..seed % 12 {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                text.push_str(words[usize::try_from(seed >> 10).unwrap() % words.len()]);
                if seed & 0x40 == 0 {
                    text.push(' ');
                }
            }
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            text.push_str("\n{\"a\":1,\"x\":true}");
            fuzz(text.as_bytes());
        }
    }
}

//! `key=value key="quoted value"`, as logfmt has it.
//!
//! A value ends at white space, or at its closing quote; in quotes `\"`, `\\`, `\n`, `\r` and `\t`
//! are escapes. Values are text. A word without `=` is a field that is true, but a text without a
//! single `=` is no such text at all.

use std::fmt;

use crate::record::{Fields, Value};

/// Why a text is not `key=value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyValueError {
    /// No word has a `=`.
    NoPair,
    /// Nothing stands before a `=`.
    NoKey { column: usize },
    /// A quote has no end.
    Unclosed { column: usize },
    /// Something follows a closing quote.
    AfterQuote { column: usize },
}

/// The fields that `text` names.
pub(super) fn read(text: &str) -> Result<Fields, KeyValueError> {
    let mut pairs = Vec::new();
    let mut has_pair = false;
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let column = text.len().saturating_sub(rest.len()).saturating_add(1);
        let end = rest
            .find(|c: char| c == '=' || c.is_whitespace())
            .unwrap_or(rest.len());
        let (key, after) = rest.split_at(end);
        if let Some(value) = after.strip_prefix('=') {
            if key.is_empty() {
                return Err(KeyValueError::NoKey { column });
            }
            has_pair = true;
            let start = text.len().saturating_sub(value.len()).saturating_add(1);
            let (value, after) = read_value(value, start)?;
            pairs.push((key.to_owned(), Value::Text(value)));
            rest = after.trim_start();
        } else {
            pairs.push((key.to_owned(), Value::Bool(true)));
            rest = after.trim_start();
        }
    }
    if !has_pair {
        return Err(KeyValueError::NoPair);
    }
    Ok(Fields::from_pairs(pairs))
}

impl fmt::Display for KeyValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPair => f.write_str("there is no `=`"),
            Self::NoKey { column } => write!(f, "no name before the `=` at byte {column}"),
            Self::Unclosed { column } => write!(f, "the quote at byte {column} is not closed"),
            Self::AfterQuote { column } => {
                write!(f, "expected a space after the quote at byte {column}")
            }
        }
    }
}

impl std::error::Error for KeyValueError {}

/// The value at the start of `text`, which begins at `column`, and what follows it.
fn read_value(text: &str, column: usize) -> Result<(String, &str), KeyValueError> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        let (value, after) = text.split_at(end);
        return Ok((value.to_owned(), after));
    };
    let unclosed = KeyValueError::Unclosed { column };
    let mut value = String::new();
    let mut chars = quoted.chars();
    loop {
        match chars.next().ok_or(unclosed)? {
            '"' => break,
            '\\' => match chars.next().ok_or(unclosed)? {
                'n' => value.push('\n'),
                'r' => value.push('\r'),
                't' => value.push('\t'),
                escaped @ ('"' | '\\') => value.push(escaped),
                other => value.extend(['\\', other]),
            },
            other => value.push(other),
        }
    }
    let after = chars.as_str();
    if after.starts_with(|c: char| !c.is_whitespace()) {
        let column = column.saturating_add(text.len().saturating_sub(after.len()));
        return Err(KeyValueError::AfterQuote { column });
    }
    Ok((value, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&[(&str, Value)], KeyValueError>) {
        let expected = expected.map(|pairs| {
            pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect()
        });
        assert_eq!(read(text).map(Fields::into_pairs), expected, "{text}");
    }

    fn text(text: &str) -> Value {
        Value::from(text)
    }

    #[test]
    fn pairs_are_read() {
        check("a=1 b=x=y", Ok(&[("a", text("1")), ("b", text("x=y"))]));
        check(
            "  a=\t\"\" b= \n",
            Ok(&[
                ("a", text("")),
                ("\"\"", Value::Bool(true)),
                ("b", text("")),
            ]),
        );
        check(
            r#"msg="say \"hi\"\n\\ \d" n=2"#,
            Ok(&[("msg", text("say \"hi\"\n\\ \\d")), ("n", text("2"))]),
        );
        check("a=1 a=2", Ok(&[("a", text("2"))]));
        check(
            "GET a=\u{e9}",
            Ok(&[("GET", Value::Bool(true)), ("a", text("\u{e9}"))]),
        );
    }

    #[test]
    fn other_texts_are_refused() {
        check("", Err(KeyValueError::NoPair));
        check("just a sentence", Err(KeyValueError::NoPair));
        check("a=1 =2", Err(KeyValueError::NoKey { column: 5 }));
        check("a=\"x", Err(KeyValueError::Unclosed { column: 3 }));
        check("a=\"x\\", Err(KeyValueError::Unclosed { column: 3 }));
        check("a=\"x\"y", Err(KeyValueError::AfterQuote { column: 6 }));
    }
}

//! From the text of an expression to its words.

use std::fmt;

use super::ExpressionError;
use crate::record::Value;

/// A longer expression is not read.
const BYTES_MAX: usize = 4096;

/// A word and where it begins.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Word {
    pub(super) token: Token,
    /// In characters, from 1.
    pub(super) column: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A name or a keyword.
    Name(String),
    /// Text between `"`.
    Quoted(String),
    /// Text between `'`.
    Verbatim(String),
    /// A number, and how it was written.
    Number(Value, String),
    /// A sign.
    Sign(&'static str),
    /// Nothing is left.
    End,
}

/// Longest first, so that `<=` is not read as `<`.
const SIGNS: [&str; 14] = [
    "==", "!=", "=~", "<=", ">=", "<", ">", "=", "(", ")", "[", "]", ",", ".",
];

struct Lexer<'a> {
    rest: &'a str,
    column: usize,
}

/// All words of `text`, the last one being [`Token::End`].
pub(super) fn words(text: &str) -> Result<Vec<Word>, ExpressionError> {
    if text.len() > BYTES_MAX {
        return Err(ExpressionError {
            column: 1,
            reason: format!("an expression of {} bytes exceeds {BYTES_MAX}", text.len()),
        });
    }
    let mut lexer = Lexer {
        rest: text,
        column: 1,
    };
    let mut words = Vec::new();
    loop {
        lexer.take_while(char::is_whitespace);
        let column = lexer.column;
        let token = lexer.token()?;
        let ended = token == Token::End;
        words.push(Word { token, column });
        if ended {
            return Ok(words);
        }
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(text) | Self::Number(_, text) => write!(f, "`{text}`"),
            Self::Quoted(text) => write!(f, "`\"{text}\"`"),
            Self::Verbatim(text) => write!(f, "`'{text}'`"),
            Self::Sign(sign) => write!(f, "`{sign}`"),
            Self::End => f.write_str("the end"),
        }
    }
}

impl<'a> Lexer<'a> {
    fn token(&mut self) -> Result<Token, ExpressionError> {
        let Some(first) = self.rest.chars().next() else {
            return Ok(Token::End);
        };
        if first == '"' || first == '\'' {
            return self.quoted(first);
        }
        if starts_name(first) {
            return Ok(Token::Name(self.take_while(continues_name).to_owned()));
        }
        if first.is_ascii_digit() || first == '-' {
            return self.number();
        }
        for sign in SIGNS {
            if self.rest.starts_with(sign) {
                self.skip(sign.len());
                return Ok(Token::Sign(sign));
            }
        }
        let hint = match first {
            '&' => "; write `and`",
            '|' => "; write `or`",
            '!' => "; write `not`",
            _ => "",
        };
        Err(self.error(format!("unknown sign `{first}`{hint}")))
    }

    fn number(&mut self) -> Result<Token, ExpressionError> {
        let start = self.column;
        let text = self.take_while(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '+'));
        let value = text
            .parse()
            .map(Value::Int)
            .or_else(|_| text.parse().map(Value::Uint))
            .ok()
            .or_else(|| {
                let number = text.parse::<f64>().ok()?;
                number.is_finite().then_some(Value::Float(number))
            });
        value
            .map(|value| Token::Number(value, text.to_owned()))
            .ok_or_else(|| ExpressionError {
                column: start,
                reason: format!("`{text}` is not a number"),
            })
    }

    fn quoted(&mut self, quote: char) -> Result<Token, ExpressionError> {
        let unclosed = self.error("the quote is not closed".to_owned());
        let mut text = String::new();
        let mut chars = self.rest.chars();
        chars.next();
        loop {
            let next = chars.next().ok_or_else(|| unclosed.clone())?;
            match next {
                _ if next == quote => break,
                '\\' if quote == '"' => match chars.next().ok_or_else(|| unclosed.clone())? {
                    'n' => text.push('\n'),
                    'r' => text.push('\r'),
                    't' => text.push('\t'),
                    escaped @ ('"' | '\\') => text.push(escaped),
                    // Regular expressions have escapes of their own.
                    other => text.extend(['\\', other]),
                },
                _ => text.push(next),
            }
        }
        let left = chars.as_str().len();
        self.skip(self.rest.len().saturating_sub(left));
        Ok(if quote == '"' {
            Token::Quoted(text)
        } else {
            Token::Verbatim(text)
        })
    }

    fn take_while(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !belongs(c)).unwrap_or(self.rest.len());
        self.skip(end)
    }

    fn skip(&mut self, len: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(len);
        self.column = self.column.saturating_add(taken.chars().count());
        self.rest = rest;
        taken
    }

    fn error(&self, reason: String) -> ExpressionError {
        ExpressionError {
            column: self.column,
            reason,
        }
    }
}

fn starts_name(c: char) -> bool {
    c.is_alphabetic() || matches!(c, '_' | '@' | '$')
}

fn continues_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '@' | '$' | '-')
}

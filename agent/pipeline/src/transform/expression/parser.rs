//! From words to the tree of an expression, by recursive descent.

use super::lexer::{Token, Word, words};
use super::{Comparison, ExpressionError, Node, Operand};
use crate::record::{Path, Value};
use crate::transform::compile_regex;

/// How deep parentheses and `not` may lie in each other.
const DEPTH_MAX: usize = 32;

const KEYWORDS: [&str; 8] = ["and", "or", "not", "in", "exists", "true", "false", "null"];

struct Parser {
    words: std::iter::Peekable<std::vec::IntoIter<Word>>,
}

type Parsed<T> = Result<T, ExpressionError>;

pub(super) fn parse(text: &str) -> Parsed<Node> {
    let mut parser = Parser {
        words: words(text)?.into_iter().peekable(),
    };
    let node = parser.any(DEPTH_MAX)?;
    match parser.next() {
        Word {
            token: Token::End, ..
        } => Ok(node),
        other => Err(expected("`and`, `or` or the end", &other)),
    }
}

impl Parser {
    fn any(&mut self, levels: usize) -> Parsed<Node> {
        let mut nodes = vec![self.all(levels)?];
        while self.take_keyword("or") {
            nodes.push(self.all(levels)?);
        }
        Ok(one_or(nodes, Node::Any))
    }

    fn all(&mut self, levels: usize) -> Parsed<Node> {
        let mut nodes = vec![self.term(levels)?];
        while self.take_keyword("and") {
            nodes.push(self.term(levels)?);
        }
        Ok(one_or(nodes, Node::All))
    }

    fn term(&mut self, levels: usize) -> Parsed<Node> {
        let word = self.peek();
        let inner = levels.checked_sub(1).ok_or_else(|| ExpressionError {
            column: word.column,
            reason: format!("nested deeper than {DEPTH_MAX} levels"),
        });
        if self.take_keyword("not") {
            return Ok(Node::Not(Box::new(self.term(inner?)?)));
        }
        if self.take_sign("(") {
            let node = self.any(inner?)?;
            self.need_sign(")", "`)`")?;
            return Ok(node);
        }
        if self.take_keyword("exists") {
            return self.field().map(Node::Exists);
        }
        self.test()
    }

    fn test(&mut self) -> Parsed<Node> {
        let left = self.operand("a condition")?;
        if let Some(comparison) = self.comparison()? {
            let right = self.operand("a field or a value")?;
            return Ok(Node::Compare(left, comparison, right));
        }
        match left {
            Operand::Field(path) => {
                if self.take_sign("=~") {
                    return self.pattern(path);
                }
                if self.take_keyword("in") {
                    return Ok(Node::In(path, self.list()?));
                }
                Ok(Node::IsTrue(Operand::Field(path)))
            }
            Operand::Literal(Value::Bool(_)) => Ok(Node::IsTrue(left)),
            Operand::Literal(_) => Err(expected("a comparison after a value", &self.peek())),
        }
    }

    fn comparison(&mut self) -> Parsed<Option<Comparison>> {
        let word = self.peek();
        let Token::Sign(sign) = word.token else {
            return Ok(None);
        };
        let comparison = match sign {
            "==" => Comparison::Equal,
            "!=" => Comparison::NotEqual,
            "<" => Comparison::Less,
            "<=" => Comparison::LessOrEqual,
            ">" => Comparison::Greater,
            ">=" => Comparison::GreaterOrEqual,
            "=" => return Err(expected("`==`, `!=`, `=~`", &word)),
            _ => return Ok(None),
        };
        self.next();
        Ok(Some(comparison))
    }

    fn pattern(&mut self, path: Path) -> Parsed<Node> {
        let word = self.next();
        let (Token::Quoted(pattern) | Token::Verbatim(pattern)) = &word.token else {
            return Err(expected("a quoted regular expression", &word));
        };
        let regex = compile_regex(pattern).map_err(|reason| ExpressionError {
            column: word.column,
            reason,
        })?;
        Ok(Node::Matches(path, regex))
    }

    fn list(&mut self) -> Parsed<Vec<Value>> {
        self.need_sign("[", "`[`")?;
        let mut values = Vec::new();
        if self.take_sign("]") {
            return Ok(values);
        }
        loop {
            let word = self.next();
            values.push(literal(&word.token).ok_or_else(|| expected("a value", &word))?);
            if self.take_sign("]") {
                return Ok(values);
            }
            self.need_sign(",", "`,` or `]`")?;
        }
    }

    fn operand(&mut self, wanted: &str) -> Parsed<Operand> {
        let word = self.peek();
        if let Some(value) = literal(&word.token) {
            self.next();
            return Ok(Operand::Literal(value));
        }
        if !starts_field(&word.token) {
            return Err(expected(wanted, &word));
        }
        self.field().map(Operand::Field)
    }

    fn field(&mut self) -> Parsed<Path> {
        let first = self.peek();
        if !starts_field(&first.token) {
            return Err(expected("a field", &first));
        }
        let mut names = Vec::new();
        if let Token::Name(name) = &first.token {
            names.push(name.clone());
            self.next();
        }
        while self.take_sign(".") {
            let word = self.next();
            match word.token {
                Token::Name(name) | Token::Quoted(name) if !name.is_empty() => names.push(name),
                Token::Name(_)
                | Token::Quoted(_)
                | Token::Verbatim(_)
                | Token::Number(..)
                | Token::Sign(_)
                | Token::End => return Err(expected("a name after the dot", &word)),
            }
        }
        Path::from_names(names).map_err(|error| ExpressionError {
            column: first.column,
            reason: error.to_string(),
        })
    }

    fn need_sign(&mut self, sign: &'static str, wanted: &str) -> Parsed<()> {
        if self.take_sign(sign) {
            return Ok(());
        }
        Err(expected(wanted, &self.peek()))
    }

    fn take_sign(&mut self, sign: &'static str) -> bool {
        self.words
            .next_if(|word| word.token == Token::Sign(sign))
            .is_some()
    }

    fn take_keyword(&mut self, keyword: &str) -> bool {
        self.words
            .next_if(|word| matches!(&word.token, Token::Name(name) if name == keyword))
            .is_some()
    }

    fn peek(&mut self) -> Word {
        self.words.peek().cloned().unwrap_or(END)
    }

    fn next(&mut self) -> Word {
        self.words.next().unwrap_or(END)
    }
}

/// What follows the end; its column is never shown because the end itself stops every rule.
const END: Word = Word {
    token: Token::End,
    column: 0,
};

fn one_or(mut nodes: Vec<Node>, many: impl Fn(Vec<Node>) -> Node) -> Node {
    if nodes.len() > 1 {
        return many(nodes);
    }
    nodes.pop().unwrap_or_else(|| many(Vec::new()))
}

fn literal(token: &Token) -> Option<Value> {
    match token {
        Token::Quoted(text) | Token::Verbatim(text) => Some(Value::from(text.as_str())),
        Token::Number(value, _) => Some(value.clone()),
        Token::Name(name) => match name.as_str() {
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            "null" => Some(Value::Null),
            _ => None,
        },
        Token::Sign(_) | Token::End => None,
    }
}

fn starts_field(token: &Token) -> bool {
    match token {
        Token::Name(name) => !KEYWORDS.contains(&name.as_str()),
        Token::Sign(sign) => *sign == ".",
        Token::Quoted(_) | Token::Verbatim(_) | Token::Number(..) | Token::End => false,
    }
}

fn expected(wanted: &str, found: &Word) -> ExpressionError {
    ExpressionError {
        column: found.column,
        reason: format!("expected {wanted}, found {}", found.token),
    }
}

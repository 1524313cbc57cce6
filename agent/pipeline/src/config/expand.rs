//! `${VAR}`, `${VAR:-default}`, `${file:/path}` and `${credential:NAME}` inside string values.
//!
//! `$${` stands for `${` itself. Any other `$` is only a dollar sign, so that regular expressions
//! can be written as they are. What a reference stands for is never expanded again.

use std::fmt;

/// Where the values of references come from; the agent gives it, nothing is read here.
pub struct Environment<'a> {
    resolve: &'a dyn Fn(Reference<'_>) -> Result<String, String>,
}

/// What a configuration may refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reference<'a> {
    /// An environment variable.
    Variable(&'a str),
    /// The text of a file.
    File(&'a str),
    /// A systemd credential.
    Credential(&'a str),
}

impl<'a> Environment<'a> {
    /// `resolve` gives the text, or says in plain words why there is none.
    pub fn new(resolve: &'a dyn Fn(Reference<'_>) -> Result<String, String>) -> Self {
        Self { resolve }
    }

    /// One in which nothing can be referred to.
    pub fn empty() -> Environment<'static> {
        Environment {
            resolve: &|_| Err("nothing can be referred to here".to_owned()),
        }
    }

    fn get(&self, reference: Reference<'_>) -> Result<String, String> {
        (self.resolve)(reference)
    }
}

impl fmt::Debug for Environment<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Environment")
    }
}

/// Why a text cannot be expanded.
#[derive(Debug)]
pub(super) struct ExpandError {
    pub(super) message: String,
    pub(super) suggestion: Option<String>,
}

/// `text` with its references and escapes replaced; `None` when it has none.
pub(super) fn expand(
    text: &str,
    environment: &Environment<'_>,
) -> Result<Option<String>, ExpandError> {
    if !text.contains("${") {
        return Ok(None);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = after;
            continue;
        }
        let Some((inside, after)) = after.split_once('}') else {
            return Err(ExpandError {
                message: "${ without a closing }".to_owned(),
                suggestion: Some("write $${ for the characters themselves".to_owned()),
            });
        };
        out.push_str(before);
        out.push_str(&value(inside, environment)?);
        rest = after;
    }
    out.push_str(rest);
    Ok(Some(out))
}

fn value(inside: &str, environment: &Environment<'_>) -> Result<String, ExpandError> {
    if let Some(path) = inside.strip_prefix("file:") {
        return found(
            environment.get(Reference::File(path)).map(without_newline),
            None,
        );
    }
    if let Some(name) = inside.strip_prefix("credential:") {
        return found(
            environment
                .get(Reference::Credential(name))
                .map(without_newline),
            None,
        );
    }
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let starts_well = name
        .bytes()
        .next()
        .is_some_and(|first| !first.is_ascii_digit());
    if !starts_well
        || !name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    {
        return Err(ExpandError {
            message: format!("${{{inside}}} is no reference"),
            suggestion: Some(
                "write ${VAR}, ${VAR:-default}, ${file:/path} or ${credential:NAME}, \
                 or $${ for the characters themselves"
                    .to_owned(),
            ),
        });
    }
    let value = environment.get(Reference::Variable(name));
    match default {
        // As in a shell, an empty variable is a missing one when there is a default.
        Some(default) => Ok(value
            .ok()
            .filter(|text| !text.is_empty())
            .unwrap_or_else(|| default.to_owned())),
        None => found(
            value,
            Some(format!("set it, or write ${{{name}:-default}}")),
        ),
    }
}

fn found(value: Result<String, String>, suggestion: Option<String>) -> Result<String, ExpandError> {
    value.map_err(|message| ExpandError {
        message,
        suggestion,
    })
}

fn without_newline(mut text: String) -> String {
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(reference: Reference<'_>) -> Result<String, String> {
        match reference {
            Reference::Variable("A") => Ok("1".to_owned()),
            Reference::Variable("EMPTY") => Ok(String::new()),
            Reference::Variable("NESTED") => Ok("${A}".to_owned()),
            Reference::File("/key") => Ok("secret\r\n".to_owned()),
            Reference::Credential("token") => Ok("t\n\n".to_owned()),
            Reference::Variable(name) => Err(format!("environment variable {name} is not set")),
            Reference::File(path) => Err(format!("{path}: not found")),
            Reference::Credential(name) => Err(format!("no credential {name}")),
        }
    }

    fn check(text: &str, expected: Result<Option<&str>, &str>) {
        let got = expand(text, &Environment::new(&resolve));
        match expected {
            Ok(expected) => assert_eq!(got.unwrap().as_deref(), expected, "{text}"),
            Err(part) => {
                let error = got.unwrap_err();
                let text_of = format!("{} {:?}", error.message, error.suggestion);
                assert!(text_of.contains(part), "{text}: {text_of}");
            }
        }
    }

    #[test]
    fn references() {
        check("plain $5 and {x}", Ok(None));
        check("${A}", Ok(Some("1")));
        check("x${A}y${A}z", Ok(Some("x1y1z")));
        check("${NESTED}", Ok(Some("${A}")));
        check("${B:-b}", Ok(Some("b")));
        check("${B:-}", Ok(Some("")));
        check("${EMPTY:-e}", Ok(Some("e")));
        check("${EMPTY}", Ok(Some("")));
        check("${A:-b}", Ok(Some("1")));
        check("${file:/key}", Ok(Some("secret")));
        check("${credential:token}", Ok(Some("t\n")));
        check("$${A}", Ok(Some("${A}")));
        check("$${A} ${A}", Ok(Some("${A} 1")));
        check("$$$${", Ok(Some("$$${")));
        check("\\d+$", Ok(None));
    }

    #[test]
    fn mistakes() {
        check("${B}", Err("variable B is not set"));
        check("${B}", Err("${B:-default}"));
        check("${A", Err("without a closing"));
        check("${}", Err("is no reference"));
        check("${1}", Err("is no reference"));
        check("${vault:x}", Err("is no reference"));
        check("${file:/none}", Err("/none: not found"));
        check("${credential:none}", Err("no credential none"));
    }
}

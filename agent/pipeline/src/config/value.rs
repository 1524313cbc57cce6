//! One value: from what is written to what it means, or to what is wrong with it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::certificate::KeyPin;
use crate::decode::mqtt::{TemplateError, TopicTemplate, check_filter};
use crate::destination::KeyTemplate;

use super::check::instead;
use super::keys::{Kind, ListenForm, NAME_LEN_MAX, Range, TextRule, UrlRule};
use super::settings::{Url, Value};
use super::tree::{Table, Tree};
use super::units::{ByteSize, DurationText, Secret, UnitError};

/// IoT Core takes no longer name of a role alias.
const ROLE_ALIAS_LEN_MAX: usize = 128;

/// What is wrong with a value.
#[derive(Debug)]
pub(super) struct Wrong {
    /// What is wrong.
    pub(super) message: String,
    /// What to write instead.
    pub(super) suggestion: Option<String>,
}

/// A value of `kind` that is no table, list or map.
pub(super) fn scalar(kind: &'static Kind, tree: &Tree) -> Result<Value, Wrong> {
    match kind {
        Kind::Text(rule) => text(*rule, tree),
        Kind::Secret => secret(tree),
        Kind::Bool => {
            let Tree::Bool(value) = tree else {
                return Err(not(tree, "true or false", "write it without quotes"));
            };
            Ok(Value::Bool(*value))
        }
        Kind::Integer(range) => integer(range, tree),
        Kind::Size(range) => size(range, tree),
        Kind::SizePerDay(range) => size_per_day(range, tree),
        Kind::Duration(range) => duration(range, tree),
        Kind::Words(words) => word(words, tree),
        Kind::Path => path(tree),
        Kind::Address => {
            let written = string(tree, "an address", "write one like \"127.0.0.1:1883\"")?;
            address(written, tree).map(Value::Address)
        }
        Kind::AddressOrPassed => {
            let written = string(tree, "an address", "write one like \"127.0.0.1:1883\"")?;
            match written.strip_prefix("systemd:") {
                Some(name) => {
                    socket_name(name, tree).map(|name| Value::ListenLocal("systemd", name))
                }
                None => address(written, tree).map(Value::Address),
            }
        }
        Kind::Listen(schemes) => listen(schemes, tree),
        Kind::Url(rule) => url(*rule, tree).map(Value::Url),
        Kind::Json => json(tree).map(Value::Json),
        Kind::List(_) | Kind::OneOrMore(_) => {
            Err(not(tree, "a list", "write it in brackets: [...]"))
        }
        Kind::Map(_) | Kind::Table(_) => Err(not(tree, "a table", "write { name = ... }")),
    }
}

/// Whether `text` can be the name of a component.
pub(super) fn is_name(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=NAME_LEN_MAX).contains(&text.len()) && text.bytes().all(good) && !text.starts_with('.')
}

fn wrong(message: impl Into<String>, suggestion: &str) -> Wrong {
    Wrong {
        message: message.into(),
        suggestion: (!suggestion.is_empty()).then(|| suggestion.to_owned()),
    }
}

fn not(tree: &Tree, expected: &str, suggestion: &str) -> Wrong {
    wrong(format!("{} is not {expected}", tree.describe()), suggestion)
}

fn string<'a>(tree: &'a Tree, expected: &str, suggestion: &str) -> Result<&'a str, Wrong> {
    let Tree::Text { text, .. } = tree else {
        return Err(not(tree, expected, suggestion));
    };
    Ok(text)
}

fn text(rule: TextRule, tree: &Tree) -> Result<Value, Wrong> {
    let text = string(tree, "text", "write it in quotes")?;
    if text.is_empty() && rule != TextRule::Empty {
        return Err(wrong("is empty", ""));
    }
    match rule {
        TextRule::Any | TextRule::Empty => {}
        TextRule::Name if is_name(text) => {}
        TextRule::Name => {
            let expected = format!(
                "a name of letters, digits, \".\", \"_\" and \"-\", at most {NAME_LEN_MAX} of them"
            );
            return Err(not(tree, &expected, ""));
        }
        TextRule::KeyPin => {
            if text.parse::<KeyPin>().is_err() {
                let suggestion = "write \"sha256//\" and the 32 bytes in base64";
                return Err(not(tree, "the hash of a public key", suggestion));
            }
        }
        TextRule::RoleAlias => {
            let good = |byte: u8| byte.is_ascii_alphanumeric() || b"_=,@-".contains(&byte);
            if text.len() > ROLE_ALIAS_LEN_MAX || !text.bytes().all(good) {
                let suggestion = "write its name, not its ARN";
                return Err(not(tree, "the name of a role alias", suggestion));
            }
        }
        TextRule::Region => {
            let good =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            if !text.bytes().all(good) {
                return Err(not(tree, "a region", "write one like \"eu-west-1\""));
            }
        }
        TextRule::TopicFilter => {
            check_filter(text).map_err(|error| not(tree, "a topic filter", error.hint()))?;
        }
        TextRule::TopicTemplate => {
            let error = |error: TemplateError| {
                let message = format!("{} is not a topic template: {error}", tree.describe());
                wrong(message, error.hint())
            };
            TopicTemplate::parse(text).map_err(error)?;
        }
        TextRule::KeyTemplate => {
            KeyTemplate::parse(text).map_err(|error| {
                let message = format!("{} is not a template of a key: {error}", tree.describe());
                let hint = "write text with {id}, {source}, {agent} or a field as in {.device}";
                wrong(message, hint)
            })?;
        }
        TextRule::Glob if text.starts_with('/') => {}
        TextRule::Glob => {
            return Err(not(tree, "an absolute path", "begin it with \"/\""));
        }
        TextRule::FileMode => {
            let is_octal = text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
            if !is_octal
                || !matches!(text.len(), 3 | 4)
                || (text.len() == 4 && !text.starts_with('0'))
            {
                return Err(not(tree, "a file mode", "write one like \"0660\""));
            }
        }
    }
    Ok(Value::Text(text.to_owned()))
}

fn secret(tree: &Tree) -> Result<Value, Wrong> {
    // A secret is never shown, not even when it is wrong.
    let Tree::Text { text, .. } = tree else {
        return Err(wrong("is not text", "write it in quotes"));
    };
    if text.is_empty() {
        return Err(wrong("is empty", ""));
    }
    if text.chars().any(char::is_control) {
        return Err(wrong("has a control character, such as a line break", ""));
    }
    Ok(Value::Secret(Secret::new(text.as_str())))
}

fn integer(range: &Range, tree: &Tree) -> Result<Value, Wrong> {
    let Tree::Integer(number) = tree else {
        return Err(not(tree, "a whole number", "write it without quotes"));
    };
    let value = u64::try_from(*number).unwrap_or(if *number < 0 { 0 } else { u64::MAX });
    if *number < 0 || value < range.min || value > range.max {
        return Err(outside(
            range,
            *number < i128::from(range.min),
            &number.to_string(),
            |bound| bound.to_string(),
        ));
    }
    Ok(Value::Integer(value))
}

fn size(range: &Range, tree: &Tree) -> Result<Value, Wrong> {
    const EXAMPLE: &str = "write one like \"64MiB\"";
    let size = if let Tree::Integer(number) = tree {
        let bytes = u64::try_from(*number).map_err(|_| not(tree, "a size", EXAMPLE))?;
        ByteSize::bytes(bytes)
    } else {
        let text = string(tree, "a size", EXAMPLE)?;
        text.parse().map_err(|error| unit(tree, &error))?
    };
    let bytes = size.as_u64();
    if bytes < range.min || bytes > range.max {
        let low = bytes < range.min;
        return Err(outside(range, low, &size.to_string(), |bound| {
            format!("\"{}\"", compact(bound))
        }));
    }
    Ok(Value::Size(size))
}

fn size_per_day(range: &Range, tree: &Tree) -> Result<Value, Wrong> {
    const EXAMPLE: &str = "write one like \"2GiB/day\"";
    let text = string(tree, "a size per day", EXAMPLE)?;
    let Some((size, "day")) = text.split_once('/').map(|(size, per)| (size, per.trim())) else {
        return Err(not(tree, "a size per day", EXAMPLE));
    };
    let size: ByteSize = size.parse().map_err(|error| unit(tree, &error))?;
    let bytes = size.as_u64();
    if bytes < range.min || bytes > range.max {
        let written = format!("{size}/day");
        return Err(outside(range, bytes < range.min, &written, |bound| {
            format!("\"{}/day\"", compact(bound))
        }));
    }
    Ok(Value::Size(size))
}

fn duration(range: &Range, tree: &Tree) -> Result<Value, Wrong> {
    let parsed = if let Tree::Integer(number) = tree {
        number.to_string().parse()
    } else {
        string(tree, "a duration", "write one like \"5s\"")?.parse()
    };
    let DurationText(duration) = parsed.map_err(|error| unit(tree, &error))?;
    let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if ms < range.min || ms > range.max {
        let written = DurationText(duration).to_string();
        return Err(outside(range, ms < range.min, &written, |bound| {
            format!("\"{}\"", duration_text(bound))
        }));
    }
    Ok(Value::Duration(duration))
}

/// `error` in the shape of a problem: what is wrong, and behind the semicolon what to write.
fn unit(tree: &Tree, error: &UnitError) -> Wrong {
    let error = error.to_string();
    let (what, suggestion) = error.split_once("; ").unwrap_or((&error, ""));
    wrong(format!("{}: {what}", tree.describe()), suggestion)
}

/// `number` is below or above `range`, whose bounds `show` writes as the user would.
fn outside(range: &Range, low: bool, number: &str, show: impl Fn(u64) -> String) -> Wrong {
    if low {
        let least = show(range.min);
        return wrong(
            format!("{number} is too little"),
            &format!("write {least} or more"),
        );
    }
    let most = show(range.max);
    let message = match range.why {
        "" => format!("{number} is too much"),
        why => format!("{number} is more than {why}"),
    };
    wrong(message, &format!("write {most} or less"))
}

/// A size as one writes it, `4MB`.
fn compact(bytes: u64) -> String {
    ByteSize::bytes(bytes).to_string().replace(' ', "")
}

/// A duration as one writes it, `1m30s`.
pub(super) fn duration_text(ms: u64) -> String {
    DurationText(Duration::from_millis(ms)).to_string()
}

fn word(words: &'static [&'static str], tree: &Tree) -> Result<Value, Wrong> {
    if let Tree::Integer(number) = tree
        && let Some(word) = words.iter().find(|word| **word == number.to_string())
    {
        return Err(not(tree, "text", &format!("write \"{word}\"")));
    }
    let written = if let Tree::Text { text, .. } = tree {
        text.as_str()
    } else {
        ""
    };
    if !words.contains(&written) {
        let suggestion = instead(written, words.iter().copied());
        return Err(wrong(
            format!("{} is not known here", tree.describe()),
            &suggestion,
        ));
    }
    Ok(Value::Text(written.to_owned()))
}

fn path(tree: &Tree) -> Result<Value, Wrong> {
    let text = string(tree, "a path", "write it in quotes")?;
    if !text.starts_with('/') || text.contains('\0') {
        return Err(not(tree, "an absolute path", "begin it with \"/\""));
    }
    Ok(Value::Text(text.to_owned()))
}

fn address(written: &str, tree: &Tree) -> Result<SocketAddr, Wrong> {
    written.parse().map_err(|_| {
        let suggestion = match written.rsplit_once(':') {
            Some(("", port)) => format!("write \"0.0.0.0:{port}\" or \"127.0.0.1:{port}\""),
            Some(("localhost", port)) => format!("write \"127.0.0.1:{port}\""),
            _ if written.parse::<IpAddr>().is_ok() => {
                "add a port, as in \"0.0.0.0:514\"".to_owned()
            }
            _ => "write one like \"0.0.0.0:514\" or \"[::]:514\"".to_owned(),
        };
        not(tree, "an address with a port", &suggestion)
    })
}

fn listen(schemes: &'static [&'static str], tree: &Tree) -> Result<Value, Wrong> {
    let form = "write one like \"udp://0.0.0.0:514\" or \"tcp://0.0.0.0:601\"";
    let written = string(tree, "a place to listen", form)?;
    let Some((scheme, rest)) = written.split_once(':') else {
        return Err(not(tree, "a place to listen", form));
    };
    let Some(scheme) = schemes.iter().find(|known| **known == scheme) else {
        return Err(not(tree, "a place to listen that is known", form));
    };
    if ListenForm::of(scheme) == ListenForm::Name {
        return socket_name(rest, tree).map(|name| Value::ListenLocal(scheme, name));
    }
    let Some(rest) = rest.strip_prefix("//") else {
        return Err(not(tree, "a place to listen", form));
    };
    if ListenForm::of(scheme) == ListenForm::Path {
        return socket_path(scheme, rest, tree).map(|path| Value::ListenLocal(scheme, path));
    }
    Ok(Value::Listen(scheme, address(rest, tree)?))
}

/// What `FileDescriptorName=` of a socket unit takes.
fn socket_name(name: &str, tree: &Tree) -> Result<String, Wrong> {
    let good = |byte: u8| byte.is_ascii_graphic() && byte != b':';
    if name.starts_with('/') || name.is_empty() || name.len() > 255 || !name.bytes().all(good) {
        let form = "write one like \"systemd:syslog\", with the FileDescriptorName= of its unit";
        return Err(not(tree, "the name of a socket", form));
    }
    Ok(name.to_owned())
}

/// A path that fits a socket's address, with some room.
fn socket_path(scheme: &str, path: &str, tree: &Tree) -> Result<String, Wrong> {
    if !path.starts_with('/') || path.ends_with('/') || path.contains('\0') {
        let form = format!("write one like \"{scheme}:///run/hydrant/log\", with three slashes");
        return Err(not(tree, "an absolute path of a socket", &form));
    }
    if path.len() > SOCKET_PATH_LEN_MAX {
        let most = format!("write {SOCKET_PATH_LEN_MAX} bytes or less");
        return Err(wrong("is too long for the path of a socket", &most));
    }
    Ok(path.to_owned())
}

/// The kernel takes 107 bytes; a socket is made beside its place and renamed.
const SOCKET_PATH_LEN_MAX: usize = 100;

fn url(rule: UrlRule, tree: &Tree) -> Result<Url, Wrong> {
    let example = format!(
        "write one like \"{}://host\"",
        rule.schemes.first().unwrap_or(&"")
    );
    let written = string(tree, "a URL", &example)?;
    // The text of a URL may hold a password, so that messages speak of it without showing it.
    let broken = |what: &str| wrong(format!("is not a URL: {what}"), &example);
    let Some((scheme, rest)) = written.split_once("://") else {
        return Err(broken("it has no \"://\""));
    };
    let Some(scheme) = rule
        .schemes
        .iter()
        .find(|known| known.eq_ignore_ascii_case(scheme))
    else {
        let schemes = rule.schemes.join(":// or ");
        return Err(wrong(
            "is a URL of another kind",
            &format!("begin it with {schemes}://"),
        ));
    };
    if written.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(broken("it has a space or a control character"));
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    if authority.contains('@') {
        let keys = "write user name and password under their own keys";
        return Err(wrong("has a user name in it", keys));
    }
    if !rule.path && !matches!(tail, "" | "/") {
        return Err(wrong("has something after the host", &example));
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => rest
            .split_once(']')
            .ok_or_else(|| broken("a \"[\" is not closed"))?,
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    if host.is_empty() {
        return Err(broken("it has no host"));
    }
    let port = if port.is_empty() {
        None
    } else {
        let number = port
            .strip_prefix(':')
            .and_then(|number| number.parse().ok());
        let number = number.filter(|port| *port > 0);
        Some(number.ok_or_else(|| broken("the port is no number"))?)
    };
    Ok(Url {
        text: written.to_owned(),
        scheme,
        host: host.to_owned(),
        port,
        tail: tail.to_owned(),
    })
}

fn json(tree: &Tree) -> Result<serde_json::Value, Wrong> {
    Ok(match tree {
        Tree::Unresolved => serde_json::Value::Null,
        Tree::Text { text, .. } | Tree::Datetime(text) => text.as_str().into(),
        Tree::Bool(value) => (*value).into(),
        Tree::Integer(number) => match (i64::try_from(*number), u64::try_from(*number)) {
            (Ok(number), _) => number.into(),
            (_, Ok(number)) => number.into(),
            _ => return Err(not(tree, "a number of 64 bits", "")),
        },
        Tree::Float(number) => match serde_json::Number::from_f64(*number) {
            Some(number) => number.into(),
            None => return Err(not(tree, "a number that JSON can say", "")),
        },
        Tree::Array(nodes) => {
            let values: Result<Vec<_>, Wrong> =
                nodes.iter().map(|node| json(&node.value)).collect();
            values?.into()
        }
        Tree::Table(table) => json_table(table)?.into(),
    })
}

fn json_table(table: &Table) -> Result<serde_json::Map<String, serde_json::Value>, Wrong> {
    table
        .iter()
        .map(|(name, node)| Ok((name.clone(), json(&node.value)?)))
        .collect()
}

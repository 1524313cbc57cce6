//! RFC 5424: `<PRI>1 TIMESTAMP HOST APP PROCID MSGID STRUCTURED-DATA [MSG]`.

use super::cut::Cut;
use super::insert_text;
use super::time::iso_time;
use crate::record::{Fields, Record, Value};

pub(super) enum Outcome<'a> {
    /// The message text.
    Decoded(&'a [u8]),
    /// It is RFC 5424, but not all of it.
    Malformed(&'static str),
    /// It is not RFC 5424.
    Other,
}

pub(super) fn decode<'a>(record: &mut Record, mut rest: Cut<'a>) -> Outcome<'a> {
    let is_version = rest.number(1, 2).is_some_and(|version| version > 0) && rest.byte(b' ');
    let Some(time) = rest.word().filter(|_| is_version) else {
        return Outcome::Other;
    };
    if time != b"-" {
        // The older format may begin with a number as well.
        let mut time = Cut::new(time);
        match iso_time(&mut time, None) {
            Some(parsed) if time.is_empty() => record.time = Some(parsed),
            _ => return Outcome::Other,
        }
    }
    for name in ["host", "app", "procid", "msgid"] {
        rest.byte(b' ');
        match rest.word() {
            Some(b"-") => {}
            Some(value) => insert_text(record, name, value),
            None => return Outcome::Malformed("the header ends early"),
        }
    }
    if !rest.byte(b' ') {
        return Outcome::Malformed("the header ends early");
    }
    if !rest.byte(b'-') {
        match structured_data(&mut rest) {
            Some(data) => record.fields.insert("structured_data", Value::Map(data)),
            None => return Outcome::Malformed("the structured data is malformed"),
        }
    }
    if !rest.is_empty() && !rest.byte(b' ') {
        return Outcome::Malformed("the structured data is malformed");
    }
    let text = rest.rest();
    Outcome::Decoded(text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text))
}

/// One or more of `[ID NAME="VALUE" ...]`, without anything between them.
fn structured_data(rest: &mut Cut<'_>) -> Option<Fields> {
    let mut data = Fields::new();
    while rest.byte(b'[') {
        let id = name(rest)?;
        let mut element = match data.remove(&id) {
            Some(Value::Map(element)) => element,
            _ => Fields::new(),
        };
        while rest.spaces() {
            if rest.first() == Some(b']') {
                break;
            }
            let name = name(rest)?;
            if !rest.byte(b'=') || !rest.byte(b'"') {
                return None;
            }
            let value = quoted(rest)?;
            match element.get_mut(&name) {
                // A name may occur several times (section 6.3.3).
                Some(Value::List(values)) => values.push(value.into()),
                Some(first) => {
                    let first_value = std::mem::replace(first, Value::Null);
                    *first = Value::List(vec![first_value, value.into()]);
                }
                None => element.insert(name, value),
            }
        }
        if !rest.byte(b']') {
            return None;
        }
        data.insert(id, Value::Map(element));
    }
    (!data.is_empty()).then_some(data)
}

fn name(rest: &mut Cut<'_>) -> Option<String> {
    let name = rest.run(|byte| byte.is_ascii_graphic() && !matches!(byte, b'=' | b']' | b'"'));
    (!name.is_empty()).then(|| String::from_utf8_lossy(name).into_owned())
}

/// A value up to its closing quote. Only `"`, `\` and `]` are escaped; a backslash before
/// anything else stands for itself.
fn quoted(rest: &mut Cut<'_>) -> Option<String> {
    let mut value = Vec::new();
    loop {
        value.extend_from_slice(rest.run(|byte| !matches!(byte, b'"' | b'\\')));
        if rest.byte(b'"') {
            return Some(String::from_utf8_lossy(&value).into_owned());
        }
        if !rest.byte(b'\\') {
            return None;
        }
        match rest.any(|byte| matches!(byte, b'"' | b'\\' | b']')) {
            Some(escaped) => value.push(escaped),
            None => value.push(b'\\'),
        }
    }
}

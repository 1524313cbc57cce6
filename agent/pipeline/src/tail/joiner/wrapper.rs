//! Lines that container runtimes wrap around those of a program.
//!
//! Both cut long lines of the program into parts. A line that is none of theirs is given back: it
//! is kept as it is.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;

use super::Stream;
use crate::time::WallClock;

/// What a wrapper says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unwrapped<'a> {
    /// The program's line, or a part of it.
    pub(super) text: Cow<'a, [u8]>,
    pub(super) stream: Stream,
    pub(super) time: WallClock,
    /// Whether more of the same line is to come.
    pub(super) is_partial: bool,
    /// What the logging driver was told to add.
    pub(super) attrs: Option<BTreeMap<String, String>>,
}

/// `TIME STREAM TAGS TEXT`, as the container runtime interface of Kubernetes has it; the first tag
/// is `P` for a part and `F` for the rest or the whole.
pub(super) fn cri(line: &[u8]) -> Option<Unwrapped<'_>> {
    let (time, rest) = split(line)?;
    let (stream, rest) = split(rest)?;
    let (tags, text) = split(rest).unwrap_or((rest, b""));
    let is_partial = match tags.split(|byte| *byte == b':').next()? {
        b"P" => true,
        b"F" => false,
        _ => return None,
    };
    Some(Unwrapped {
        text: Cow::Borrowed(text),
        stream: stream_of(stream)?,
        time: time_of(std::str::from_utf8(time).ok()?)?,
        is_partial,
        attrs: None,
    })
}

/// `{"log":"TEXT\n","stream":"STREAM","time":"TIME"}`, as Docker's driver `json-file` writes it;
/// without the newline it is a part.
pub(super) fn docker_json(line: &[u8]) -> Option<Unwrapped<'_>> {
    let DockerLine {
        log,
        stream,
        time,
        attrs,
    } = serde_json::from_slice(line).ok()?;
    let stream = stream_of(stream.as_bytes())?;
    let time = time_of(&time)?;
    let (text, is_partial) = match log {
        Cow::Borrowed(text) => (Cow::Borrowed(text.as_bytes()), true),
        Cow::Owned(mut text) => {
            let is_partial = !text.ends_with('\n');
            if !is_partial {
                text.pop();
                if text.ends_with('\r') {
                    text.pop();
                }
            }
            (Cow::Owned(text.into_bytes()), is_partial)
        }
    };
    Some(Unwrapped {
        text,
        stream,
        time,
        is_partial,
        attrs,
    })
}

#[derive(Deserialize)]
struct DockerLine<'a> {
    /// Borrowed only when nothing in it is escaped, and so without a newline.
    #[serde(borrow)]
    log: Cow<'a, str>,
    #[serde(borrow)]
    stream: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
    attrs: Option<BTreeMap<String, String>>,
}

/// What stands before the first space, and behind it.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let place = memchr::memchr(b' ', bytes)?;
    Some((bytes.get(..place)?, bytes.get(place + 1..)?))
}

fn stream_of(name: &[u8]) -> Option<Stream> {
    match name {
        b"stdout" => Some(Stream::Stdout),
        b"stderr" => Some(Stream::Stderr),
        _ => None,
    }
}

/// RFC 3339 in full; a part of a time is none.
fn time_of(text: &str) -> Option<WallClock> {
    let timestamp = text.parse::<jiff::Timestamp>().ok()?;
    Some(WallClock::from_millis(timestamp.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: i64 = 1_475_713_029_669;

    fn check(found: Option<Unwrapped<'_>>, expected: Option<(&str, Stream, bool)>) {
        let found = found.map(|found| {
            assert_eq!(found.time, WallClock::from_millis(TIME));
            let text = String::from_utf8(found.text.into_owned()).unwrap();
            (text, found.stream, found.is_partial)
        });
        let expected = expected.map(|(text, stream, part)| (text.to_owned(), stream, part));
        assert_eq!(found, expected);
    }

    #[test]
    fn lines_of_cri() {
        let time = "2016-10-06T00:17:09.669794202Z";
        for (line, expected) in [
            ("stdout F a line", Some(("a line", Stream::Stdout, false))),
            ("stderr P a pa ", Some(("a pa ", Stream::Stderr, true))),
            (
                "stdout F  indented",
                Some((" indented", Stream::Stdout, false)),
            ),
            ("stdout F ", Some(("", Stream::Stdout, false))),
            ("stdout F", Some(("", Stream::Stdout, false))),
            ("stdout P:more:tags x", Some(("x", Stream::Stdout, true))),
            ("stdin F x", None),
            ("stdout X x", None),
            ("stdout", None),
            ("", None),
        ] {
            check(cri(format!("{time} {line}").as_bytes()), expected);
        }
        check(
            cri(b"2016-10-06T02:17:09.669794202+02:00 stdout F x"),
            Some(("x", Stream::Stdout, false)),
        );
        for line in [
            &b"2016-10-06 stdout F x"[..],
            b"now stdout F x",
            b"\xff stdout F x",
            b"",
        ] {
            check(cri(line), None);
        }
    }

    #[test]
    fn lines_of_docker() {
        let time = "2016-10-06T00:17:09.669794202Z";
        for (log, expected) in [
            (r"a line\n", Some(("a line", false))),
            (r"a line\r\n", Some(("a line", false))),
            (r"a part", Some(("a part", true))),
            (r#"\u00fc \"quoted\"\n"#, Some(("\u{fc} \"quoted\"", false))),
            (r"\n", Some(("", false))),
            ("", Some(("", true))),
            (r"\ud800\n", None),
        ] {
            let line = format!(r#"{{"log":"{log}","stream":"stderr","time":"{time}"}}"#);
            let expected = expected.map(|(text, part)| (text, Stream::Stderr, part));
            check(docker_json(line.as_bytes()), expected);
        }
        for line in [
            r#"{"log":"x\n","stream":"stderr"}"#,
            r#"{"log":"x\n","stream":"console","time":"2016-10-06T00:17:09Z"}"#,
            r#"{"log":"x\n","stream":"stderr","time":"yesterday"}"#,
            r#"{"log":"x\n","stream":"std"#,
            "plain",
            "",
        ] {
            check(docker_json(line.as_bytes()), None);
        }
    }

    #[test]
    fn attributes_of_docker_are_kept() {
        let line = br#"{"log":"x\n","stream":"stdout","attrs":{"app":"web"},"time":"2016-10-06T00:17:09.669794202Z"}"#;
        let attrs = docker_json(line).unwrap().attrs.unwrap();
        assert_eq!(attrs.get("app").map(String::as_str), Some("web"));
    }
}

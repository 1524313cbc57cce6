//! How lines become records: which lines belong together, and when nothing more is to come.
//!
//! The invariant: records leave in the order of their first lines, so that everything in front of
//! [`Joiner::checkpoint`] has left and nothing behind it has. A start from there makes the same
//! records again. What waits is bounded by [`RecordRules`], and no record is open for longer than
//! its file is silent.

mod rules;
mod wrapper;

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};

use super::charset::Charset;
use crate::time::{Monotonic, WallClock};

pub use rules::RecordRules;

/// What a waiting record takes besides its payload.
const PART_BYTES: usize = 128;

/// A line as it was read.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// Where it begins in its file.
    pub start: u64,
    /// Its bytes without its end, as many as are allowed.
    pub bytes: &'a [u8],
    /// Whether it had more of them.
    pub is_cut: bool,
    /// Whether characters of it were replaced.
    pub replaced: bool,
}

/// Which of its program's outputs a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A record that is complete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Joined {
    /// Its lines with a newline between them.
    pub payload: Vec<u8>,
    /// When its first line was written, if a wrapper says so.
    pub time: Option<WallClock>,
    /// Where it came from, if a wrapper says so.
    pub stream: Option<Stream>,
    /// Whether bytes are missing because a line was too long.
    pub truncated: bool,
    /// Whether it goes on with what the record before it had no room for.
    pub continued: bool,
    /// What a wrapper adds.
    pub attrs: Option<BTreeMap<String, String>>,
    /// Why its content could not be understood.
    pub decode_error: Option<&'static str>,
}

/// Lines of one file on their way to become records.
#[derive(Debug, Default)]
pub struct Joiner {
    /// In the order of their first lines.
    parts: VecDeque<Part>,
    bytes: usize,
}

/// A record that is not complete, or waits for one in front of it.
#[derive(Debug)]
struct Part {
    start: u64,
    joined: Joined,
    lines: usize,
    is_open: bool,
    /// Of its last line only a part has come, which is so long.
    in_line: Option<usize>,
    closes_at: Monotonic,
}

/// A line, or a part of one, taken out of its wrapper.
#[derive(Debug)]
struct Text<'a> {
    start: u64,
    bytes: Cow<'a, [u8]>,
    stream: Option<Stream>,
    time: Option<WallClock>,
    /// Whether bytes of it are missing.
    is_cut: bool,
    /// Whether more of the same line is to come.
    is_partial: bool,
    attrs: Option<BTreeMap<String, String>>,
    decode_error: Option<&'static str>,
}

/// What is said of a record in which characters were replaced.
pub const REPLACED: &str = "what is no character in the encoding of the file was replaced";

impl Stream {
    /// As wrappers write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

impl Joiner {
    /// Takes the next line of the file.
    pub fn handle_line(&mut self, rules: &RecordRules, now: Monotonic, line: Line<'_>) {
        let plain = Text {
            start: line.start,
            bytes: Cow::Borrowed(line.bytes),
            stream: None,
            time: None,
            is_cut: line.is_cut,
            is_partial: false,
            attrs: None,
            decode_error: line.replaced.then_some(REPLACED),
        };
        match rules.unwrap(line.bytes) {
            None => self.handle_text(rules, now, plain),
            Some(Ok(unwrapped)) => {
                let text = Text {
                    bytes: unwrapped.text,
                    stream: Some(unwrapped.stream),
                    time: Some(unwrapped.time),
                    is_partial: unwrapped.is_partial,
                    attrs: unwrapped.attrs,
                    ..plain
                };
                self.handle_text(rules, now, text);
            }
            Some(Err(reason)) => {
                let text = Text {
                    decode_error: Some(reason),
                    ..plain
                };
                self.push(now, text, false, false);
            }
        }
        if self.bytes > rules.waiting_bytes_max() {
            self.close_first();
        }
    }

    /// Ends the records whose lines have been silent for long enough.
    pub fn handle_timeout(&mut self, now: Monotonic) {
        for part in self.parts.iter_mut().filter(|part| now >= part.closes_at) {
            part.is_open = false;
        }
    }

    /// Ends all records: nothing more will come.
    pub fn handle_end(&mut self) {
        for part in &mut self.parts {
            part.is_open = false;
        }
    }

    /// The next record that is complete.
    pub fn poll_record(&mut self) -> Option<Joined> {
        if self.parts.front()?.is_open {
            return None;
        }
        let part = self.parts.pop_front()?;
        self.bytes = self.bytes.saturating_sub(part.size());
        Some(part.joined)
    }

    /// When [`Joiner::handle_timeout`] has something to end.
    pub fn poll_timeout(&self) -> Option<Monotonic> {
        let open = self.parts.iter().filter(|part| part.is_open);
        open.map(|part| part.closes_at).min()
    }

    /// Where the first line begins whose record has not left; `None` when all have.
    pub fn checkpoint(&self) -> Option<u64> {
        self.parts.front().map(|part| part.start)
    }

    /// What it holds.
    pub const fn len_bytes(&self) -> usize {
        self.bytes
    }

    /// Lets go of what has not left: it will be read again.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    fn handle_text(&mut self, rules: &RecordRules, now: Monotonic, text: Text<'_>) {
        let closes_at = now.after(rules.timeout());
        let stays_open = rules.joins_lines() || text.is_partial;
        let is_own = |part: &&mut Part| part.is_open && part.joined.stream == text.stream;
        let open = self.parts.iter_mut().rev().find(is_own);
        let mut continued = false;
        if let Some(part) = open {
            let before = part.size();
            let belongs = part.in_line.is_some() || rules.is_continuation(&text.bytes);
            if part.in_line.is_some() || (belongs && part.has_room(rules, &text.bytes)) {
                part.extend(rules, &text);
                part.is_open = stays_open;
                part.closes_at = closes_at;
                self.bytes = (self.bytes + part.size()).saturating_sub(before);
                return;
            }
            part.is_open = false;
            continued = belongs;
        }
        self.push(closes_at, text, stays_open, continued);
    }

    /// Begins a record.
    fn push(&mut self, closes_at: Monotonic, text: Text<'_>, is_open: bool, continued: bool) {
        let part = Part {
            start: text.start,
            lines: 1,
            is_open,
            in_line: text.is_partial.then_some(text.bytes.len()),
            closes_at,
            joined: Joined {
                payload: text.bytes.into_owned(),
                time: text.time,
                stream: text.stream,
                truncated: text.is_cut,
                continued,
                attrs: text.attrs,
                decode_error: text.decode_error,
            },
        };
        self.bytes += part.size();
        self.parts.push_back(part);
    }

    /// Ends the first record that is not complete: others wait behind it.
    fn close_first(&mut self) {
        if let Some(part) = self.parts.iter_mut().find(|part| part.is_open) {
            part.is_open = false;
        }
    }
}

impl Part {
    fn size(&self) -> usize {
        self.joined.payload.len().saturating_add(PART_BYTES)
    }

    fn has_room(&self, rules: &RecordRules, line: &[u8]) -> bool {
        let bytes = self.joined.payload.len().saturating_add(line.len());
        self.lines < rules.lines_max() && bytes < rules.bytes_max()
    }

    /// Takes another line, or more of its last one, which is cut where a line would be.
    fn extend(&mut self, rules: &RecordRules, text: &Text<'_>) {
        let payload = &mut self.joined.payload;
        let taken = if let Some(had) = self.in_line {
            let of_line = rules.line_bytes_max().saturating_sub(had);
            let record_bytes_max = rules.bytes_max().max(rules.line_bytes_max());
            let of_record = record_bytes_max.saturating_sub(payload.len());
            Charset::Utf8.cut(&text.bytes, of_line.min(of_record))
        } else {
            payload.push(b'\n');
            self.lines += 1;
            &text.bytes
        };
        payload.extend_from_slice(taken);
        self.joined.truncated |= text.is_cut || taken.len() < text.bytes.len();
        if self.joined.decode_error.is_none() {
            self.joined.decode_error = text.decode_error;
        }
        let had = self.in_line.unwrap_or(0);
        self.in_line = text.is_partial.then_some(had.saturating_add(taken.len()));
    }
}

#[cfg(test)]
mod tests;

//! A record as a JSON object, straight into the batch.
//!
//! Hydrant's own names (`hydrant`, `message`, `message_base64`, `decode_error`) are used only
//! where they are needed. A field that has one of them keeps its value under its name with `_`
//! appended, as often as it takes to be free: nothing is lost and no sender can forge metadata.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::{EntryMeta, Origin};
use crate::clock::Taken;
use crate::record::PayloadState;
use crate::stored::{ClockMark, FieldsRef, StoredRef, ValueRef};
use crate::time::WallClock;

const MESSAGE: &str = "message";
const MESSAGE_BASE64: &str = "message_base64";
const DECODE_ERROR: &str = "decode_error";
const HYDRANT: &str = "hydrant";

/// What is the same in the metadata of every record, written once.
#[derive(Clone, Debug)]
pub(super) struct Metadata {
    /// `{"hydrant":{"id":"0123456789abcdef-`
    up_to_seq: Vec<u8>,
    /// `,"agent":"gw1","received_at":"`
    up_to_received_at: Vec<u8>,
}

/// The payload as JSON can say it.
enum Message<'a> {
    None,
    Text(&'a str),
    Bytes(&'a [u8]),
}

impl Metadata {
    pub(super) fn new(origin: &Origin) -> Self {
        let mut up_to_received_at = br#","agent":"#.to_vec();
        write_text(&mut up_to_received_at, &origin.agent);
        if origin.is_replay {
            up_to_received_at.extend_from_slice(br#","replayed":true"#);
        }
        up_to_received_at.extend_from_slice(br#","received_at":""#);
        Self {
            up_to_seq: format!("{{\"{HYDRANT}\":{{\"id\":\"{:016x}-", origin.ring_id).into_bytes(),
            up_to_received_at,
        }
    }

    fn write(&self, out: &mut Vec<u8>, entry: EntryMeta<'_>, record: &StoredRef<'_>) {
        out.extend_from_slice(&self.up_to_seq);
        write_number(out, entry.seq.get());
        out.extend_from_slice(br#"","source":"#);
        write_text(out, entry.source);
        out.extend_from_slice(&self.up_to_received_at);
        write_time(out, record.received_at);
        out.push(b'"');
        if let Some(time) = record.time {
            out.extend_from_slice(br#","time":""#);
            write_time(out, time);
            out.push(b'"');
        }
        write_clock(out, record.clock, record.taken);
        if let Some(reason) = record.decode_error {
            write_name(out, DECODE_ERROR);
            write_text(out, reason);
        }
        out.push(b'}');
    }
}

/// How far the time can be believed, where it could not be at once.
fn write_clock(out: &mut Vec<u8>, clock: ClockMark, taken: Taken) {
    match clock {
        ClockMark::Synced => {}
        ClockMark::Unsynced { boot } => {
            out.extend_from_slice(br#","clock":"unsynced","boot":""#);
            let written = match boot {
                Some(id) => write!(out, "{id}"),
                // The first digits of its name are all that a record keeps of it.
                None => write!(out, "{:06x}", taken.boot.get() >> 3),
            };
            debug_assert!(written.is_ok(), "a Vec takes everything");
            out.extend_from_slice(br#"","monotonic_ms":"#);
            write_number(out, taken.boottime.as_millis());
        }
        ClockMark::Corrected { offset_ms } => {
            out.extend_from_slice(br#","clock":"corrected","clock_offset_ms":"#);
            write_number(out, offset_ms);
        }
    }
}

/// Appends `record` as one JSON object.
pub(super) fn write_record(
    out: &mut Vec<u8>,
    metadata: Option<&Metadata>,
    entry: EntryMeta<'_>,
    record: &StoredRef<'_>,
) {
    let start = out.len();
    match (metadata, record.decode_error) {
        (Some(metadata), _) => metadata.write(out, entry, record),
        (None, Some(reason)) => {
            write_name(out, DECODE_ERROR);
            write_text(out, reason);
        }
        (None, None) => {}
    }
    let message = Message::of(record);
    let is_taken = |name: &str| match name {
        HYDRANT => metadata.is_some(),
        DECODE_ERROR => metadata.is_none() && record.decode_error.is_some(),
        MESSAGE => matches!(message, Message::Text(_)),
        MESSAGE_BASE64 => matches!(message, Message::Bytes(_)),
        _ => false,
    };
    for (name, value) in record.fields.iter() {
        if is_taken(name) {
            write_name(out, &free_name(record.fields, name));
        } else {
            write_name(out, name);
        }
        write_value(out, value);
    }
    message.write(out);
    close(out, start);
}

/// Appends `fields` as one JSON object.
pub(super) fn write_object(out: &mut Vec<u8>, fields: FieldsRef<'_>) {
    let start = out.len();
    for (name, value) in fields.iter() {
        write_name(out, name);
        write_value(out, value);
    }
    close(out, start);
}

impl<'a> Message<'a> {
    fn of(record: &StoredRef<'a>) -> Self {
        match record.payload_state {
            PayloadState::Opaque => {
                std::str::from_utf8(record.payload).map_or(Self::Bytes(record.payload), Self::Text)
            }
            // The fields say it.
            PayloadState::Parsed | PayloadState::Replaced => Self::None,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::None => {}
            Self::Text(text) => {
                write_name(out, MESSAGE);
                write_text(out, text);
            }
            Self::Bytes(bytes) => {
                write_name(out, MESSAGE_BASE64);
                out.push(b'"');
                out.extend_from_slice(BASE64.encode(bytes).as_bytes());
                out.push(b'"');
            }
        }
    }
}

/// `name` with as many `_` as it takes to be no field's name.
fn free_name(fields: FieldsRef<'_>, name: &str) -> String {
    let mut free = format!("{name}_");
    while fields.get(&free).is_some() {
        free.push('_');
    }
    free
}

/// Every member begins with a comma; the first one's becomes the brace. The metadata, which
/// brings its own brace, comes first if at all.
fn close(out: &mut Vec<u8>, start: usize) {
    match out.get_mut(start) {
        Some(first) => *first = b'{',
        None => out.push(b'{'),
    }
    out.push(b'}');
}

pub(super) fn write_name(out: &mut Vec<u8>, name: &str) {
    out.push(b',');
    write_text(out, name);
    out.push(b':');
}

fn write_value(out: &mut Vec<u8>, value: ValueRef<'_>) {
    match value {
        ValueRef::Null => out.extend_from_slice(b"null"),
        ValueRef::Bool(true) => out.extend_from_slice(b"true"),
        ValueRef::Bool(false) => out.extend_from_slice(b"false"),
        ValueRef::Int(number) => write_number(out, number),
        ValueRef::Uint(number) => write_number(out, number),
        ValueRef::Float(number) => write_number(out, number),
        ValueRef::Text(text) => write_text(out, text),
        ValueRef::List(items) => {
            let start = out.len();
            for item in items.iter() {
                out.push(b',');
                write_value(out, item);
            }
            match out.get_mut(start) {
                Some(first) => *first = b'[',
                None => out.push(b'['),
            }
            out.push(b']');
        }
        ValueRef::Map(fields) => write_object(out, fields),
    }
}

pub(super) fn write_number<T: serde::Serialize>(out: &mut Vec<u8>, number: T) {
    let written = serde_json::to_writer(out, &number);
    debug_assert!(written.is_ok(), "a Vec takes everything");
}

pub(super) fn write_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| needs_escape(*byte)) {
        let (clean, tail) = rest.split_at(at);
        out.extend_from_slice(clean);
        let Some((byte, after)) = tail.split_first() else {
            break;
        };
        write_escaped(out, *byte);
        rest = after;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

const fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

fn write_escaped(out: &mut Vec<u8>, byte: u8) {
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        _ => {
            let written = write!(out, "\\u{byte:04x}");
            debug_assert!(written.is_ok(), "a Vec takes everything");
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// RFC 3339 with milliseconds, as `WallClock` prints it.
pub(super) fn write_time(out: &mut Vec<u8>, time: WallClock) {
    const DAY_MS: i64 = 86_400_000;
    let millis = time.as_millis();
    // The four-digit years.
    if !(-62_167_219_200_000..253_402_300_800_000).contains(&millis) {
        out.extend_from_slice(time.to_string().as_bytes());
        return;
    }
    let (year, month, day) = civil(millis.div_euclid(DAY_MS));
    let ms = millis.rem_euclid(DAY_MS);
    let mut text = *b"0000-00-00T00:00:00.000Z";
    let [
        y1,
        y2,
        y3,
        y4,
        _,
        mo1,
        mo2,
        _,
        d1,
        d2,
        _,
        h1,
        h2,
        _,
        mi1,
        mi2,
        _,
        s1,
        s2,
        _,
        f1,
        f2,
        f3,
        _,
    ] = &mut text;
    put(year, [y1, y2, y3, y4]);
    put(month, [mo1, mo2]);
    put(day, [d1, d2]);
    put(ms / 3_600_000, [h1, h2]);
    put(ms / 60_000 % 60, [mi1, mi2]);
    put(ms / 1000 % 60, [s1, s2]);
    put(ms % 1000, [f1, f2, f3]);
    out.extend_from_slice(&text);
}

fn put<const N: usize>(mut number: i64, digits: [&mut u8; N]) {
    for digit in digits.into_iter().rev() {
        *digit = b'0'.saturating_add(u8::try_from(number % 10).unwrap_or(0));
        number /= 10;
    }
}

/// Year, month and day of the day that is so many days after 1970-01-01, in the Gregorian
/// calendar. Years begin in March here, so that the leap day is the last.
const fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_they_print() {
        let mut millis = -70_000_000_000_000_i64;
        while millis < 260_000_000_000_000 {
            let time = WallClock::from_millis(millis);
            let mut out = Vec::new();
            write_time(&mut out, time);
            assert_eq!(String::from_utf8(out).unwrap(), time.to_string());
            millis += 9_876_543_211;
        }
        for millis in [i64::MIN, i64::MAX, 951_782_400_000, 4_107_542_399_999] {
            let time = WallClock::from_millis(millis);
            let mut out = Vec::new();
            write_time(&mut out, time);
            assert_eq!(String::from_utf8(out).unwrap(), time.to_string());
        }
    }

    #[test]
    fn texts_read_back_as_they_were() {
        for text in [
            "",
            "a",
            "\"",
            "a\\\"\u{0}\u{1f}\u{7f}\u{2028}\n\r\t\u{1f600}b",
        ] {
            let mut out = Vec::new();
            write_text(&mut out, text);
            assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }
}

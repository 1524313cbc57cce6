//! An entry of the ring as a line of JSON from which it can be made again, byte for byte.
//!
//! Keys: `seq`, `id`, `source`, `received_at`, `boot`, `monotonic_ms`; where they are not the
//! usual, `clock` and `corrected_at`, `time`,
//! `payload_state`, `decode_error` and `fields`; `payload` or, when it is not UTF-8,
//! `payload_base64`. What JSON cannot say exactly, or is no record that this version knows, has its
//! stored bytes as `stored_base64`, which then count.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::json::{write_name, write_number, write_object, write_text, write_time};
use super::{EntryMeta, Origin};
use crate::boots::Boots;
use crate::record::{Fields, PayloadState, Value};
use crate::stored::{self, ClockMark, StoredError, StoredRef};

/// Readers of JSON often take no more than 128 levels; a line has two around its values.
const DEPTH_MAX: usize = 100;

/// Writes entries of one ring.
#[derive(Debug)]
pub struct Exporter {
    origin: Origin,
    boots: Arc<Boots>,
    again: Vec<u8>,
}

impl Exporter {
    /// For entries of the ring with this id, which knows these boots.
    pub const fn new(ring_id: u64, boots: Arc<Boots>) -> Self {
        Self {
            origin: Origin {
                agent: String::new(),
                ring_id,
                is_replay: false,
            },
            boots,
            again: Vec::new(),
        }
    }

    /// Appends a line to `out`: the entry whose stored bytes are `bytes`, and what `decoded` says
    /// of them.
    pub fn write(
        &mut self,
        entry: EntryMeta<'_>,
        bytes: &[u8],
        decoded: &Result<StoredRef<'_>, StoredError>,
        out: &mut Vec<u8>,
    ) {
        out.extend_from_slice(b"{\"seq\":");
        write_number(out, entry.seq.get());
        write_name(out, "id");
        write_text(out, &self.origin.record_id(entry.seq).to_string());
        write_name(out, "source");
        write_text(out, entry.source);
        let is_exact = match decoded {
            Ok(record) => {
                write_record(record, out);
                self.write_correction(*record, out);
                self.is_exact(record, bytes)
            }
            Err(error) => {
                write_name(out, "not_decoded");
                write_text(out, &error.to_string());
                false
            }
        };
        if !is_exact {
            write_name(out, "stored_base64");
            write_base64(out, bytes);
        }
        out.extend_from_slice(b"}\n");
    }

    /// What is known by now of a time that was not.
    fn write_correction(&self, mut record: StoredRef<'_>, out: &mut Vec<u8>) {
        self.boots.correct(&mut record);
        if matches!(record.clock, ClockMark::Corrected { .. }) {
            write_name(out, "corrected_at");
            out.push(b'"');
            write_time(out, record.received_at);
            out.push(b'"');
        }
    }

    /// Whether the line alone gives the same bytes again.
    fn is_exact(&mut self, stored: &StoredRef<'_>, bytes: &[u8]) -> bool {
        let record = stored.to_record();
        self.again.clear();
        stored::encode(&record, &mut self.again);
        self.again == bytes && is_json(&record.fields, DEPTH_MAX)
    }
}

fn write_record(record: &StoredRef<'_>, out: &mut Vec<u8>) {
    write_name(out, "received_at");
    out.push(b'"');
    write_time(out, record.received_at);
    out.push(b'"');
    write_name(out, "boot");
    write_number(out, record.taken.boot.get());
    write_name(out, "monotonic_ms");
    write_number(out, record.taken.boottime.as_millis());
    if record.taken.is_unsynced {
        write_name(out, "clock");
        write_text(out, "unsynced");
    }
    if let Some(time) = record.time {
        write_name(out, "time");
        out.push(b'"');
        write_time(out, time);
        out.push(b'"');
    }
    let state = match record.payload_state {
        PayloadState::Opaque => None,
        PayloadState::Parsed => Some("parsed"),
        PayloadState::Replaced => Some("replaced"),
    };
    if let Some(state) = state {
        write_name(out, "payload_state");
        write_text(out, state);
    }
    if let Some(error) = record.decode_error {
        write_name(out, "decode_error");
        write_text(out, error);
    }
    if !record.fields.is_empty() {
        write_name(out, "fields");
        write_object(out, record.fields);
    }
    match str::from_utf8(record.payload) {
        // Its fields are all there is.
        Ok("") if record.payload_state == PayloadState::Replaced => {}
        Ok(text) => {
            write_name(out, "payload");
            write_text(out, text);
        }
        Err(_) => {
            write_name(out, "payload_base64");
            write_base64(out, record.payload);
        }
    }
}

fn write_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    out.extend_from_slice(BASE64.encode(bytes).as_bytes());
    out.push(b'"');
}

/// Whether JSON says the same as these fields: numbers keep their kind, and readers their stack.
fn is_json(fields: &Fields, levels: usize) -> bool {
    fields.iter().all(|(_, value)| is_json_value(value, levels))
}

fn is_json_value(value: &Value, levels: usize) -> bool {
    let inner = levels.checked_sub(1);
    match value {
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Text(_) => true,
        Value::Uint(number) => i64::try_from(*number).is_err(),
        Value::Float(number) => number.is_finite(),
        Value::List(items) => {
            inner.is_some_and(|inner| items.iter().all(|value| is_json_value(value, inner)))
        }
        Value::Map(fields) => inner.is_some_and(|inner| is_json(fields, inner)),
    }
}

#[cfg(test)]
mod tests;

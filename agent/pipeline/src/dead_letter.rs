//! A refused record as a line of JSON that loses nothing.
//!
//! The payload is text when it is UTF-8 and base64 when it is not; fields keep their order, whole
//! numbers their digits. Files are those of a [`Folder`]: one for each refused range, so that a
//! repeat after a crash replaces its own, and the oldest make room.

mod kept;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use diskring::Seq;
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::config::LetterShape;
use crate::destination::{Folder, Refusal};
use crate::record::{Fields, PayloadState, Record, Value};
use crate::time::WallClock;

pub use kept::Kept;

/// A larger file of dead letters is not sent again as it is: it is held in memory.
pub const FILE_BYTES_MAX: u64 = 16 << 20;

/// Ending of a file of dead letters.
pub const EXTENSION: &str = "ndjson";

/// The folder of a destination's dead letters with records of `ring`.
pub fn folder(destination: &str, ring: u64) -> Folder {
    Folder::new(destination, ring)
}

/// Who sends the dead letters of `destination` to another one: what ids, keys and names of files
/// begin with, which must not be those of the records themselves.
pub fn sender(destination: &str) -> String {
    format!("{destination}-dead-letter")
}

/// A refused record and its story.
#[derive(Clone, Copy, Debug)]
pub struct Letter<'a> {
    /// Id of the ring that the record is from.
    pub ring: u64,
    /// Where it was in the log.
    pub seq: Seq,
    /// The source it came from.
    pub source: &'a str,
    /// The destination that did not take it.
    pub destination: &'a str,
    /// The record as it was stored.
    pub record: &'a Record,
    /// When it was given up.
    pub failed_at: WallClock,
    /// How often it was sent.
    pub attempts: u32,
    /// Why it was refused.
    pub refusal: &'a Refusal,
}

impl Letter<'_> {
    /// Appends the letter to `out`, as a line of this shape.
    pub fn write_line(&self, shape: LetterShape, out: &mut Vec<u8>) {
        // Neither a vector nor these types can fail to be written.
        let written = match shape {
            LetterShape::Record => serde_json::to_writer(&mut *out, self),
            LetterShape::Firehose => serde_json::to_writer(&mut *out, &OfFirehose(self)),
        };
        debug_assert!(written.is_ok(), "a letter is always JSON");
        out.push(b'\n');
    }
}

impl Serialize for Letter<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let record = self.record;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", &format_args!("{:016x}-{}", self.ring, self.seq))?;
        map.serialize_entry("source", self.source)?;
        map.serialize_entry("destination", self.destination)?;
        map.serialize_entry("received_at", &format_args!("{}", record.received_at))?;
        if record.taken.is_unsynced {
            map.serialize_entry("clock", "unsynced")?;
            map.serialize_entry("monotonic_ms", &record.taken.boottime.as_millis())?;
        }
        map.serialize_entry("failed_at", &format_args!("{}", self.failed_at))?;
        map.serialize_entry("attempts", &self.attempts)?;
        map.serialize_entry("error_code", &self.refusal.code)?;
        map.serialize_entry("reason", &self.refusal.reason)?;
        if let Some(time) = record.time {
            map.serialize_entry("time", &format_args!("{time}"))?;
        }
        if let Some(error) = &record.decode_error {
            map.serialize_entry("decode_error", error)?;
        }
        if !record.fields.is_empty() {
            map.serialize_entry("fields", &JsonFields(&record.fields))?;
        }
        if record.payload_state == PayloadState::Parsed {
            map.serialize_entry("parsed", &true)?;
        }
        match str::from_utf8(&record.payload) {
            // Its fields are all there is.
            _ if record.payload_state == PayloadState::Replaced => {}
            Ok(text) => map.serialize_entry("payload", text)?,
            Err(_) => map.serialize_entry("payload_base64", &STANDARD.encode(&record.payload))?,
        }
        map.end()
    }
}

/// A letter as Firehose writes one for an HTTP endpoint; times are in milliseconds.
struct OfFirehose<'a>(&'a Letter<'a>);

impl Serialize for OfFirehose<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Letter {
            record, refusal, ..
        } = self.0;
        let raw = match record.payload_state {
            // Its fields are all there is.
            PayloadState::Replaced => {
                let fields = serde_json::to_vec(&JsonFields(&record.fields));
                STANDARD.encode(fields.unwrap_or_default())
            }
            PayloadState::Opaque | PayloadState::Parsed => STANDARD.encode(&record.payload),
        };
        let id = format!("{:016x}-{}", self.0.ring, self.0.seq);
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("attemptsMade", &self.0.attempts)?;
        map.serialize_entry("arrivalTimestamp", &record.received_at.as_millis())?;
        map.serialize_entry("errorCode", &refusal.code)?;
        map.serialize_entry("errorMessage", &refusal.reason)?;
        map.serialize_entry("attemptEndingTimestamp", &self.0.failed_at.as_millis())?;
        map.serialize_entry("rawData", &raw)?;
        map.serialize_entry("dataId", &id)?;
        map.end()
    }
}

struct JsonFields<'a>(&'a Fields);

impl Serialize for JsonFields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, Json(value))))
    }
}

struct Json<'a>(&'a Value);

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Int(value) => serializer.serialize_i64(*value),
            Value::Uint(value) => serializer.serialize_u64(*value),
            Value::Float(value) => serializer.serialize_f64(*value),
            Value::Text(value) => serializer.serialize_str(value),
            Value::List(values) => serializer.collect_seq(values.iter().map(Json)),
            Value::Map(fields) => JsonFields(fields).serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(record: &Record, expected: &str) {
        let refusal = Refusal {
            code: "413".to_owned(),
            reason: "answered 413: \"too\nlarge\"".to_owned(),
        };
        let letter = Letter {
            ring: 0xab,
            seq: Seq::new(7),
            source: "sensors",
            destination: "lake",
            record,
            failed_at: WallClock::from_millis(2),
            attempts: 3,
            refusal: &refusal,
        };
        let mut line = b"x\n".to_vec();
        letter.write_line(LetterShape::Record, &mut line);
        let head = "x\n{\"id\":\"00000000000000ab-7\",\"source\":\"sensors\",\
                    \"destination\":\"lake\",\"received_at\":\"1970-01-01T00:00:00.001Z\",\
                    \"failed_at\":\"1970-01-01T00:00:00.002Z\",\"attempts\":3,\
                    \"error_code\":\"413\",\"reason\":\"answered 413: \\\"too\\nlarge\\\"\",";
        let line = String::from_utf8(line).unwrap();
        assert_eq!(line.strip_prefix(head), Some(expected), "{line}");
    }

    fn record(payload: &[u8]) -> Record {
        Record::new(WallClock::from_millis(1), payload.to_vec())
    }

    #[test]
    fn payload_is_text_or_base64() {
        check(&record(b"a\nb"), "\"payload\":\"a\\nb\"}\n");
        check(&record(b""), "\"payload\":\"\"}\n");
        check(&record(b"\xff\x00"), "\"payload_base64\":\"/wA=\"}\n");
    }

    #[test]
    fn everything_known_is_kept() {
        let mut record = record(b"");
        record.time = Some(WallClock::from_millis(0));
        record.mark("cut");
        record.payload_state = PayloadState::Replaced;
        let mut inner = Fields::new();
        inner.insert("b", Value::Uint(u64::MAX));
        inner.insert("a", Value::List(vec![Value::Null, Value::Float(0.1)]));
        record.fields.insert("m", Value::Map(inner));
        record.fields.insert("i", Value::Int(i64::MIN));
        record.fields.insert("t", "x\u{1}");
        record.fields.insert("f", Value::Bool(false));
        check(
            &record,
            "\"time\":\"1970-01-01T00:00:00.000Z\",\"decode_error\":\"cut\",\"fields\":{\
             \"m\":{\"b\":18446744073709551615,\"a\":[null,0.1]},\
             \"i\":-9223372036854775808,\"t\":\"x\\u0001\",\"f\":false}}\n",
        );
    }

    #[test]
    fn firehose_reads_its_own_shape() {
        let mut record = record(b"a\xff");
        let line = |record: &Record| {
            let refusal = Refusal {
                code: "413".to_owned(),
                reason: "too large".to_owned(),
            };
            let letter = Letter {
                ring: 0xab,
                seq: Seq::new(7),
                source: "sensors",
                destination: "lake",
                record,
                failed_at: WallClock::from_millis(2),
                attempts: 3,
                refusal: &refusal,
            };
            let mut line = Vec::new();
            letter.write_line(LetterShape::Firehose, &mut line);
            String::from_utf8(line).unwrap()
        };
        assert_eq!(
            line(&record),
            "{\"attemptsMade\":3,\"arrivalTimestamp\":1,\"errorCode\":\"413\",\
             \"errorMessage\":\"too large\",\"attemptEndingTimestamp\":2,\
             \"rawData\":\"Yf8=\",\"dataId\":\"00000000000000ab-7\"}\n"
        );
        record.payload_state = PayloadState::Replaced;
        record.fields.insert("a", Value::Int(1));
        let encoded = STANDARD.encode("{\"a\":1}");
        assert!(line(&record).contains(&format!("\"rawData\":\"{encoded}\"")));
    }

    #[test]
    fn letters_of_a_range_have_one_file() {
        let range = crate::destination::SeqRange::new(Seq::new(5), Seq::new(6));
        assert_eq!(
            folder("lake", 0xab).file_name(range, EXTENSION),
            "lake-00000000000000ab-000000000005-000000000006.ndjson"
        );
    }
}

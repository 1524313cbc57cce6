//! A letter read back, so that its record can be sent again when the ring has it no more.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use diskring::Seq;

use crate::clock::{Boottime, Taken};
use crate::record::{Fields, PayloadState, Record, Value};
use crate::time::WallClock;

/// The record of a letter.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// Id of the ring that it was in.
    pub ring: u64,
    /// Where it was in the log.
    pub seq: Seq,
    /// The source it came from; `unknown` in the shape of Firehose, which does not say.
    pub source: String,
    /// The record, as far as the letter tells: all of it, but in the shape of Firehose only the
    /// payload and when it was received.
    pub record: Record,
}

impl Kept {
    /// Reads a line of either shape; the error says what is wrong with it.
    pub fn read(line: &[u8]) -> Result<Self, String> {
        let value = Value::from_json(line).map_err(|error| format!("no JSON: {error}"))?;
        let Value::Map(letter) = value else {
            return Err("no JSON object".to_owned());
        };
        if letter.get("rawData").is_some() {
            of_firehose(&letter)
        } else {
            of_record(&letter)
        }
    }
}

fn of_record(letter: &Fields) -> Result<Kept, String> {
    let (ring, seq) = id(text(letter, "id")?)?;
    let received_at = time(text(letter, "received_at")?)?;
    let fields = match letter.get("fields") {
        Some(Value::Map(fields)) => fields.clone(),
        Some(_) => return Err("fields are no JSON object".to_owned()),
        None => Fields::new(),
    };
    let is_parsed = letter.get("parsed") == Some(&Value::Bool(true));
    let (payload, payload_state) = match (letter.get("payload"), letter.get("payload_base64")) {
        (Some(Value::Text(payload)), None) => (payload.clone().into_bytes(), PayloadState::Opaque),
        (None, Some(Value::Text(encoded))) => (bytes(encoded)?, PayloadState::Opaque),
        (None, None) => (Vec::new(), PayloadState::Replaced),
        _ => return Err("the payload is no text".to_owned()),
    };
    let mut record = Record::new(received_at, payload);
    record.payload_state = payload_state;
    if is_parsed && payload_state == PayloadState::Opaque {
        record.payload_state = PayloadState::Parsed;
    }
    record.fields = fields;
    if letter.get("time").is_some() {
        record.time = Some(time(text(letter, "time")?)?);
    }
    if letter.get("decode_error").is_some() {
        record.decode_error = Some(text(letter, "decode_error")?.to_owned());
    }
    if letter.get("clock").is_some() {
        record.taken = Taken {
            boottime: Boottime::from_millis(millis(letter, "monotonic_ms")?),
            is_unsynced: true,
            ..Taken::default()
        };
    }
    Ok(Kept {
        ring,
        seq,
        source: text(letter, "source")?.to_owned(),
        record,
    })
}

fn of_firehose(letter: &Fields) -> Result<Kept, String> {
    let (ring, seq) = id(text(letter, "dataId")?)?;
    let received_at = millis(letter, "arrivalTimestamp")?;
    let received_at = i64::try_from(received_at).unwrap_or(i64::MAX);
    let payload = bytes(text(letter, "rawData")?)?;
    Ok(Kept {
        ring,
        seq,
        source: "unknown".to_owned(),
        record: Record::new(WallClock::from_millis(received_at), payload),
    })
}

fn text<'a>(letter: &'a Fields, name: &str) -> Result<&'a str, String> {
    match letter.get(name) {
        Some(Value::Text(text)) => Ok(text),
        _ => Err(format!("no text \"{name}\"")),
    }
}

fn millis(letter: &Fields, name: &str) -> Result<u64, String> {
    match letter.get(name) {
        Some(Value::Int(millis)) => u64::try_from(*millis).map_err(|error| error.to_string()),
        Some(Value::Uint(millis)) => Ok(*millis),
        _ => Err(format!("no number \"{name}\"")),
    }
}

fn time(text: &str) -> Result<WallClock, String> {
    text.parse().map_err(|_| format!("{text:?} is no time"))
}

fn bytes(encoded: &str) -> Result<Vec<u8>, String> {
    let decoded = STANDARD.decode(encoded);
    decoded.map_err(|error| format!("the payload is no base64: {error}"))
}

fn id(text: &str) -> Result<(u64, Seq), String> {
    let bad = || format!("{text:?} is no id of a record");
    let (ring, seq) = text.split_once('-').ok_or_else(bad)?;
    let ring = u64::from_str_radix(ring, 16).map_err(|_| bad())?;
    Ok((ring, Seq::new(seq.parse().map_err(|_| bad())?)))
}

#[cfg(test)]
mod tests {
    use super::super::Letter;
    use super::*;
    use crate::config::LetterShape;
    use crate::destination::Refusal;

    fn written(record: &Record, shape: LetterShape) -> Vec<u8> {
        let refusal = Refusal {
            code: "422".to_owned(),
            reason: "no".to_owned(),
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
        letter.write_line(shape, &mut line);
        line
    }

    fn check(record: &Record) {
        let kept = Kept::read(&written(record, LetterShape::Record)).unwrap();
        assert_eq!((kept.ring, kept.seq.get()), (0xab, 7));
        assert_eq!(kept.source, "sensors");
        assert_eq!(kept.record, *record);
    }

    #[test]
    fn a_letter_loses_nothing() {
        let mut record = Record::new(WallClock::from_millis(1_795_000_000_001), b"a\xff".to_vec());
        check(&record);
        record.payload = b"{\"a\":1}".to_vec();
        record.fields.insert("a", Value::Int(1));
        record
            .fields
            .insert("b", Value::List(vec![Value::Null, Value::Float(0.1)]));
        check(&record);
        record.payload_state = PayloadState::Parsed;
        record.time = Some(WallClock::from_millis(-5));
        record.mark("cut");
        check(&record);
        record.payload = Vec::new();
        record.payload_state = PayloadState::Replaced;
        record.taken.is_unsynced = true;
        record.taken.boottime = Boottime::from_millis(77);
        check(&record);
    }

    #[test]
    fn firehose_knows_the_payload() {
        let record = Record::new(WallClock::from_millis(9), b"x".to_vec());
        let kept = Kept::read(&written(&record, LetterShape::Firehose)).unwrap();
        assert_eq!((kept.ring, kept.seq.get()), (0xab, 7));
        assert_eq!((kept.source.as_str(), &kept.record), ("unknown", &record));
    }

    #[test]
    fn what_is_no_letter_is_refused() {
        let check = |line: &str, part: &str| {
            let error = Kept::read(line.as_bytes()).unwrap_err();
            assert!(error.contains(part), "{line}: {error}");
        };
        check("", "no JSON");
        check("[]", "no JSON object");
        check("{}", "\"id\"");
        check("{\"id\":\"x\"}", "no id of a record");
        check("{\"id\":\"ab-7\",\"received_at\":\"soon\"}", "no time");
        check(
            "{\"rawData\":\"!\",\"dataId\":\"ab-7\",\"arrivalTimestamp\":1}",
            "base64",
        );
    }
}

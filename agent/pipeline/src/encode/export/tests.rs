use std::sync::Arc;

use diskring::Seq;

use super::*;
use crate::clock::{BootTag, Boottime, Taken};
use crate::record::{DEPTH_MAX as STORED_DEPTH_MAX, Record};
use crate::time::WallClock;

fn line(bytes: &[u8]) -> String {
    let entry = EntryMeta {
        seq: Seq::new(7),
        source: "sensors",
    };
    let mut out = Vec::new();
    Exporter::new(0xab, Arc::default()).write(entry, bytes, &StoredRef::decode(bytes), &mut out);
    String::from_utf8(out).unwrap()
}

fn bytes_of(record: &Record) -> Vec<u8> {
    let mut bytes = Vec::new();
    stored::encode(record, &mut bytes);
    bytes
}

/// What a reader of a line makes of it.
fn restored(line: &str) -> Vec<u8> {
    assert_eq!(line.find('\n'), Some(line.len() - 1), "one line");
    let mut rest = line;
    let Value::Map(keys) = read(&mut rest) else {
        panic!("not an object: {line}")
    };
    assert_eq!(rest, "\n");
    let text = |key: &str| match keys.get(key) {
        Some(Value::Text(text)) => Some(text.as_str()),
        None => None,
        Some(other) => panic!("{key} is {other:?}"),
    };
    let number = |key: &str| match keys.get(key) {
        Some(Value::Int(number)) => u64::try_from(*number).unwrap(),
        Some(Value::Uint(number)) => *number,
        other => panic!("{key} is {other:?}"),
    };
    if let Some(stored) = text("stored_base64") {
        return BASE64.decode(stored).unwrap();
    }
    let payload = match (text("payload"), text("payload_base64")) {
        (Some(text), None) => text.as_bytes().to_vec(),
        (None, Some(text)) => BASE64.decode(text).unwrap(),
        (None, None) => Vec::new(),
        both @ (Some(_), Some(_)) => panic!("{both:?}"),
    };
    let fields = match keys.get("fields") {
        Some(Value::Map(fields)) => fields.clone(),
        None => Fields::new(),
        Some(other) => panic!("{other:?}"),
    };
    bytes_of(&Record {
        received_at: time(text("received_at").unwrap()),
        taken: Taken {
            boot: BootTag::new(u32::try_from(number("boot")).unwrap()),
            boottime: Boottime::from_millis(number("monotonic_ms")),
            is_unsynced: text("clock") == Some("unsynced"),
        },
        time: text("time").map(time),
        payload,
        payload_state: match text("payload_state") {
            None => PayloadState::Opaque,
            Some("parsed") => PayloadState::Parsed,
            Some("replaced") => PayloadState::Replaced,
            Some(other) => panic!("{other}"),
        },
        fields,
        decode_error: text("decode_error").map(str::to_owned),
    })
}

/// A reader of JSON that is exact about numbers, which that of `serde_json` is not.
fn read(rest: &mut &str) -> Value {
    let first = rest.chars().next().unwrap();
    if "{[".contains(first) {
        return read_inside(rest, first);
    }
    if first == '"' {
        return Value::Text(read_text(rest));
    }
    let end = rest.find([',', ']', '}']).unwrap();
    let word = rest[..end].to_owned();
    *rest = &rest[end..];
    match word.as_str() {
        "null" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        number if number.contains(['.', 'e']) => Value::Float(number.parse().unwrap()),
        number => match number.parse() {
            Ok(number) => Value::Int(number),
            Err(_) => Value::Uint(number.parse().unwrap()),
        },
    }
}

fn read_inside(rest: &mut &str, open: char) -> Value {
    let (mut items, mut pairs) = (Vec::new(), Vec::new());
    while !rest[1..].starts_with([']', '}']) {
        *rest = &rest[1..];
        if open == '[' {
            items.push(read(rest));
        } else {
            let name = read_text(rest);
            *rest = rest.strip_prefix(':').unwrap();
            pairs.push((name, read(rest)));
        }
        if !rest.starts_with(',') {
            break;
        }
    }
    let close = rest.find([']', '}']).unwrap();
    *rest = &rest[close + 1..];
    if open == '[' {
        Value::List(items)
    } else {
        Value::Map(Fields::from_pairs(pairs))
    }
}

fn read_text(rest: &mut &str) -> String {
    let mut text = String::new();
    let mut chars = rest.strip_prefix('"').unwrap().chars();
    loop {
        match chars.next().unwrap() {
            '"' => break,
            '\\' => text.push(match chars.next().unwrap() {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'u' => {
                    let digits: String = chars.by_ref().take(4).collect();
                    char::from_u32(u32::from_str_radix(&digits, 16).unwrap()).unwrap()
                }
                other => other,
            }),
            other => text.push(other),
        }
    }
    *rest = chars.as_str();
    text
}

fn time(text: &str) -> WallClock {
    let millis = match text.strip_suffix("ms") {
        Some(millis) => millis.parse().unwrap(),
        None => text.parse::<jiff::Timestamp>().unwrap().as_millisecond(),
    };
    WallClock::from_millis(millis)
}

fn check(record: &Record, expected: &str) {
    let bytes = bytes_of(record);
    let line = line(&bytes);
    let head = "{\"seq\":7,\"id\":\"00000000000000ab-7\",\"source\":\"sensors\",\"received_at\":";
    assert_eq!(line.strip_prefix(head), Some(expected), "{line}");
    assert_eq!(restored(&line), bytes);
}

#[test]
fn a_line_says_what_is_known() {
    let mut record = Record::new(WallClock::from_millis(1), b"a\n\"b\"".to_vec());
    check(
        &record,
        "\"1970-01-01T00:00:00.001Z\",\"boot\":0,\"monotonic_ms\":0,\"payload\":\"a\\n\\\"b\\\"\"}\n",
    );
    record.payload = b"\xff\x00".to_vec();
    record.time = Some(WallClock::from_millis(-1));
    record.mark("not \"UTF-8\"");
    check(
        &record,
        "\"1970-01-01T00:00:00.001Z\",\"boot\":0,\"monotonic_ms\":0,\"time\":\"1969-12-31T23:59:59.999Z\",\
         \"decode_error\":\"not \\\"UTF-8\\\"\",\"payload_base64\":\"/wA=\"}\n",
    );
    let mut record = Record::new(WallClock::from_millis(1), b"x".to_vec());
    record.taken = Taken {
        boot: BootTag::new(9),
        boottime: Boottime::from_millis(1_234),
        is_unsynced: true,
    };
    check(
        &record,
        "\"1970-01-01T00:00:00.001Z\",\"boot\":9,\"monotonic_ms\":1234,\"clock\":\"unsynced\",\
         \"payload\":\"x\"}\n",
    );
    let mut record = Record::new(WallClock::from_millis(1), Vec::new());
    record.payload_state = PayloadState::Replaced;
    record.fields.insert("z", Value::Uint(u64::MAX));
    record.fields.insert("a", Value::Float(1.0));
    check(
        &record,
        "\"1970-01-01T00:00:00.001Z\",\"boot\":0,\"monotonic_ms\":0,\
         \"payload_state\":\"replaced\",\
         \"fields\":{\"z\":18446744073709551615,\"a\":1.0}}\n",
    );
}

/// Records that JSON alone would change.
#[test]
fn what_json_cannot_say_is_kept_as_it_is_stored() {
    let nested = |levels: usize| (0..levels).fold(Value::Null, |inner, _| Value::List(vec![inner]));
    for value in [
        Value::Uint(5),
        Value::Float(f64::NAN),
        Value::Float(f64::INFINITY),
        Value::List(vec![Value::Uint(0)]),
        nested(STORED_DEPTH_MAX),
    ] {
        let mut record = Record::new(WallClock::from_millis(1), b"x".to_vec());
        record.fields.insert("v", value);
        let bytes = bytes_of(&record);
        let line = line(&bytes);
        assert!(
            line.contains("\"payload\":\"x\",\"stored_base64\""),
            "{line}"
        );
        let stored = line.split("\"stored_base64\":\"").nth(1).unwrap();
        assert_eq!(BASE64.decode(&stored[..stored.len() - 3]).unwrap(), bytes);
    }
    // The same name twice, which no version writes.
    let mut bytes = bytes_of(&Record::default());
    bytes.extend_from_slice(b"\x01a\x00\x01a\x00");
    assert!(StoredRef::decode(&bytes).is_ok());
    assert_eq!(restored(&line(&bytes)), bytes);
}

#[test]
fn what_is_no_record_is_kept_as_it_is_stored() {
    for bytes in [&b""[..], b"\x02from the future", b"\x01\xff", b"\x01"] {
        let line = line(bytes);
        assert!(line.contains("\"not_decoded\":\"a stored record"), "{line}");
        assert_eq!(restored(&line), bytes, "{line}");
    }
}

struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Numbers of every size.
    fn number(&mut self) -> u64 {
        let bits = self.below(64);
        self.next() >> bits
    }

    fn signed(&mut self) -> i64 {
        self.number().cast_signed()
    }

    fn bytes(&mut self) -> Vec<u8> {
        let len = self.below(40);
        (0..len).map(|_| self.next().to_le_bytes()[0]).collect()
    }

    fn text(&mut self) -> String {
        let len = self.below(12);
        let mut pick = || char::from_u32(u32::try_from(self.number() % 0x11_0000).unwrap());
        (0..len).map(|_| pick().unwrap_or('"')).collect()
    }

    fn value(&mut self, levels: u64) -> Value {
        match self.below(if levels == 0 { 6 } else { 8 }) {
            0 => Value::Null,
            1 => Value::Bool(self.below(2) == 0),
            2 => Value::Int(self.signed()),
            3 => Value::Uint(self.number()),
            4 => Value::Float(f64::from_bits(self.next())),
            5 => Value::Text(self.text()),
            6 => Value::List((0..self.below(4)).map(|_| self.value(levels - 1)).collect()),
            _ => Value::Map(self.fields(levels - 1)),
        }
    }

    fn fields(&mut self, levels: u64) -> Fields {
        let count = self.below(4);
        Fields::from_pairs(
            (0..count)
                .map(|_| (self.text(), self.value(levels)))
                .collect(),
        )
    }

    fn record(&mut self) -> Record {
        Record {
            received_at: WallClock::from_millis(self.signed()),
            taken: Taken {
                boot: BootTag::new(u32::try_from(self.below(1 << 31)).unwrap()),
                boottime: Boottime::from_millis(self.signed().unsigned_abs()),
                is_unsynced: self.below(2) == 0,
            },
            time: (self.below(2) == 0).then(|| WallClock::from_millis(self.signed())),
            payload: if self.below(2) == 0 {
                self.bytes()
            } else {
                self.text().into_bytes()
            },
            payload_state: match self.below(3) {
                0 => PayloadState::Opaque,
                1 => PayloadState::Parsed,
                _ => PayloadState::Replaced,
            },
            fields: self.fields(3),
            decode_error: (self.below(3) == 0).then(|| self.text()),
        }
    }
}

#[test]
fn every_record_can_be_made_again_from_its_line() {
    let (mut plain, mut as_stored) = (0, 0);
    for seed in 0..20_000 {
        let bytes = bytes_of(&Rng(seed).record());
        let line = line(&bytes);
        assert_eq!(restored(&line), bytes, "seed {seed}: {line}");
        if line.contains("\"stored_base64\"") {
            as_stored += 1;
        } else {
            plain += 1;
        }
    }
    assert!(plain > 5_000 && as_stored > 500, "{plain} and {as_stored}");
}

//! Records there and back, and bytes that are none.

use super::*;

fn sample() -> Record {
    let mut record = Record::new(
        WallClock::from_millis(1_795_452_001_123),
        b"21.5\xff".to_vec(),
    );
    record.time = Some(WallClock::from_millis(-1));
    record.taken = Taken {
        boot: BootTag::new(u32::MAX),
        boottime: Boottime::from_millis(u64::MAX),
        is_unsynced: true,
    };
    record.payload_state = PayloadState::Parsed;
    record.mark("odd");
    record.fields.insert("topic", "a/b");
    record.fields.insert("n", Value::Null);
    record.fields.insert(
        "list",
        Value::List(vec![
            Value::Bool(true),
            Value::Int(-3),
            Value::Uint(u64::MAX),
            Value::Float(0.5),
            Value::Map(Fields::from_pairs(vec![("x".to_owned(), Value::from("y"))])),
        ]),
    );
    record
}

fn bytes_of(record: &Record) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(record, &mut bytes);
    bytes
}

#[test]
fn a_record_comes_back_as_it_was() {
    for record in [sample(), Record::default()] {
        assert_eq!(decode(&bytes_of(&record)), Ok(record));
    }
}

#[test]
fn parts_are_stored_as_their_record() {
    let mut record = Record::new(WallClock::from_millis(1), b"x".to_vec());
    record.fields.insert("path", "/a");
    let mut bytes = Vec::new();
    encode_parts(
        (record.received_at, record.taken),
        &record.fields,
        &record.payload,
        &mut bytes,
    );
    assert_eq!(bytes, bytes_of(&record));
}

#[test]
fn the_format_of_version_1_stays() {
    let mut record = Record::new(WallClock::from_millis(300), b"hi".to_vec());
    assert_eq!(
        bytes_of(&record),
        [1, 0xd8, 0x04, 0, 0, 0, 0, 0, 2, b'h', b'i'],
        "version, time as zigzag varint, boot, time since it, no time, opaque, no error, \
         length, payload"
    );
    record.taken = Taken {
        boot: BootTag::new(1),
        boottime: Boottime::from_millis(128),
        is_unsynced: true,
    };
    record.payload_state = PayloadState::Replaced;
    record.payload.clear();
    record.fields.insert("a", Value::Int(-1));
    record
        .fields
        .insert("b", Value::List(vec![Value::from("c")]));
    assert_eq!(
        bytes_of(&record),
        [
            1, 0xd8, 0x04, 3, 0x80, 1, 0, 2, 0, 0, 1, b'a', 2, 1, 1, b'b', 6, 3, 5, 1, b'c'
        ]
    );
}

#[test]
fn fields_are_seen_without_a_copy() {
    let bytes = bytes_of(&sample());
    let stored = StoredRef::decode(&bytes).unwrap();
    assert_eq!(stored.fields.get("topic"), Some(ValueRef::Text("a/b")));
    assert_eq!(stored.fields.get("missing"), None);
    assert_eq!(stored.fields.iter().count(), 3);
    assert!(bytes.as_ptr_range().contains(&stored.payload.as_ptr()));
}

#[test]
fn damaged_bytes_are_errors() {
    assert_eq!(decode(b""), Err(StoredError::Empty));
    assert_eq!(
        decode(b"\x02"),
        Err(StoredError::UnknownVersion { version: 2 })
    );
    let bytes = bytes_of(&sample());
    let whole = decode(&bytes);
    for end in 1..bytes.len() {
        assert_ne!(decode(&bytes[..end]), whole, "cut at {end}");
    }
    let mut seed = 7_u32;
    for _ in 0..20_000 {
        let mut broken = bytes.clone();
        for _ in 0..2 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let place = usize::try_from(seed >> 8).unwrap() % broken.len();
            broken[place] = seed.to_le_bytes()[3];
        }
        if let Ok(record) = decode(&broken) {
            assert_eq!(record.payload.len().min(bytes.len()), record.payload.len());
        }
    }
}

#[test]
fn nesting_in_damaged_bytes_is_bounded() {
    let mut value = Vec::new();
    for _ in 0..=DEPTH_MAX {
        let mut outer = Vec::new();
        write(&Written::List(Bytes(&value)), &mut outer);
        value = outer;
    }
    let mut bytes = bytes_of(&Record::default());
    write(&"a", &mut bytes);
    bytes.extend_from_slice(&value);
    assert_eq!(decode(&bytes), Err(StoredError::TooDeep));
}

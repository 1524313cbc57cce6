use super::super::key::KeyPlace;
use super::*;
use crate::config::{Compression, Format};
use crate::record::{Fields, Record, Value};
use crate::stored;
use diskring::Seq;

const COMPRESSIONS: [Compression; 5] = [
    Compression::None,
    Compression::Gzip,
    Compression::Snappy,
    Compression::HadoopSnappy,
    Compression::Zstd,
];

fn layout(prefix: &str, compression: Compression, has_error_prefix: bool) -> Arc<Layout> {
    Arc::new(Layout {
        prefix: KeyPrefix::parse(prefix, KeyPlace::Records, None).unwrap(),
        has_error_prefix,
        partitions_max: 3,
        encoding: Encoding {
            format: Format::JsonArray,
            compression,
            level: None,
            metadata: true,
        },
        origin: Origin::default(),
    })
}

/// Pushes records with a field `n` of `number % of`, and bytes that hardly compress.
fn push_all(writer: &mut ObjectWriter, count: u64, of: u64) -> Vec<Wrote> {
    let mut noise = 1_u32;
    let numbers = 0..count;
    numbers
        .map(|number| {
            let mut payload = Vec::new();
            for _ in 0..200 {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                payload.push(b' ' + u8::try_from(noise >> 26).unwrap());
            }
            let received_at = WallClock::from_millis(i64::try_from(number).unwrap());
            let mut record = Record::new(received_at, payload);
            if of > 0 {
                let value = Value::Uint(number % of);
                record.fields = Fields::from_pairs(vec![("n".to_owned(), value)]);
            }
            let mut bytes = Vec::new();
            stored::encode(&record, &mut bytes);
            let entry = EntryMeta {
                seq: Seq::new(number),
                source: "app",
            };
            writer.push(entry, &StoredRef::decode(&bytes).unwrap())
        })
        .collect()
}

fn sum(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// What is streamed is what was planned, whether it was kept or not.
#[test]
fn the_second_pass_makes_the_same_bytes() {
    for compression in COMPRESSIONS {
        for count in [1, 30, 20_000] {
            let layout = layout("x/", compression, false);
            let mut plan = ObjectWriter::plan(Arc::clone(&layout));
            push_all(&mut plan, count, 0);
            let objects = plan.finish_plan();
            let [object] = objects.as_slice() else {
                panic!("one object");
            };
            let planned = object.encoded.clone().unwrap();
            assert_eq!(u64::from(planned.count), count);
            assert_eq!(planned.body.is_some(), count < 20_000, "{compression:?}");

            let mut writer = ObjectWriter::stream(layout, object.group.clone());
            push_all(&mut writer, count, 0);
            let mut bytes = writer.drain();
            let (again, rest) = writer.finish_object().unwrap();
            bytes.extend(rest);
            assert!(again.is_same(&planned), "{compression:?} {count}");
            assert_eq!(u64::try_from(bytes.len()).unwrap(), planned.len);
            assert_eq!(sum(&bytes), planned.sha256);
            assert_eq!(crc32c::crc32c(&bytes), planned.crc32c);
            if let Some(body) = &planned.body {
                assert_eq!(**body, bytes);
            }
        }
    }
}

#[test]
fn records_are_parted_by_their_fields() {
    let layout = layout("!{partition:n}/", Compression::None, false);
    let mut plan = ObjectWriter::plan(Arc::clone(&layout));
    let wrote = push_all(&mut plan, 7, 3);
    assert!(
        wrote
            .iter()
            .all(|wrote| matches!(wrote, Wrote::Taken(200..)))
    );
    let objects = plan.finish_plan();
    assert_eq!(objects.len(), 3);
    let mut counts = Vec::new();
    for object in objects {
        assert_eq!(object.encoded, None, "partitions are encoded one by one");
        let mut writer = ObjectWriter::object(Arc::clone(&layout), object.group);
        let others = push_all(&mut writer, 7, 3)
            .into_iter()
            .filter(|wrote| *wrote == Wrote::Other)
            .count();
        let (object, _) = writer.finish_object().unwrap();
        assert_eq!(usize::try_from(object.count).unwrap() + others, 7);
        counts.push((object.oldest.as_millis(), object.count));
    }
    assert_eq!(counts, [(0, 3), (1, 2), (2, 2)]);
}

/// The batch ends in front of the record that would need one object too many.
#[test]
fn a_batch_has_a_bound_on_its_objects() {
    let mut plan = ObjectWriter::plan(layout("!{partition:n}/", Compression::None, false));
    let wrote = push_all(&mut plan, 5, 5);
    let full: Vec<bool> = wrote.iter().map(|wrote| *wrote == Wrote::Full).collect();
    assert_eq!(full, [false, false, false, true, true]);
    assert_eq!(plan.finish_plan().len(), 3);
}

#[test]
fn records_without_the_field_have_an_object_of_their_own() {
    for has_error_prefix in [false, true] {
        let layout = layout("!{partition:n}/", Compression::None, has_error_prefix);
        let mut plan = ObjectWriter::plan(layout);
        push_all(&mut plan, 3, 0);
        let objects = plan.finish_plan();
        assert_eq!(objects.len(), 1);
        assert_eq!(objects[0].group.is_failed, has_error_prefix);
    }
}

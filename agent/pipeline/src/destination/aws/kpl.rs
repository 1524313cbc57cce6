//! Many records in one of Kinesis, in the format of the Kinesis Producer Library.
//!
//! Four magic bytes, an `AggregatedRecord` of protocol buffers, and its MD5. Keys are in tables
//! that the records point into, so that a key which repeats is written once.

use std::collections::BTreeMap;

use super::keys::RecordKey;

const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];
const DIGEST_LEN: usize = 16;

/// A field's tag and two lengths take at most this, for fields of less than 2^28 bytes.
const FIELD_OVERHEAD_MAX: usize = 5;
/// Tags, lengths and the two indexes of a record.
const RECORD_OVERHEAD_MAX: usize = 3 * FIELD_OVERHEAD_MAX + 6;

/// Field 1 of `AggregatedRecord`.
const PARTITION_KEYS: u8 = 1;
const EXPLICIT_HASH_KEYS: u8 = 2;
const RECORDS: u8 = 3;

/// Field 1 of `Record`.
const PARTITION_KEY_INDEX: u8 = 1;
const EXPLICIT_HASH_KEY_INDEX: u8 = 2;
const DATA: u8 = 3;

const VARINT: u8 = 0;
const BYTES: u8 = 2;

/// An aggregate that grows.
#[derive(Clone, Debug, Default)]
pub(super) struct Aggregate {
    partition_keys: Table,
    hash_keys: Table,
    /// The records as they will be written.
    records: Vec<u8>,
}

/// Texts with their numbers, in the order in which they came.
#[derive(Clone, Debug, Default)]
struct Table {
    numbers: BTreeMap<String, u64>,
    written: Vec<u8>,
}

impl Aggregate {
    /// What a record of `data` bytes adds at most.
    pub(super) fn cost(&self, data: usize, key: &RecordKey) -> usize {
        let hash = key
            .hash
            .as_ref()
            .map_or(0, |hash| self.hash_keys.cost(hash));
        data.saturating_add(RECORD_OVERHEAD_MAX)
            .saturating_add(self.partition_keys.cost(&key.partition))
            .saturating_add(hash)
    }

    /// Adds a record.
    pub(super) fn push(&mut self, data: &[u8], key: RecordKey) {
        let mut record = Vec::with_capacity(data.len().saturating_add(RECORD_OVERHEAD_MAX));
        let number = self.partition_keys.number(PARTITION_KEYS, key.partition);
        tag(&mut record, PARTITION_KEY_INDEX, VARINT);
        varint(&mut record, number);
        if let Some(hash) = key.hash {
            let number = self.hash_keys.number(EXPLICIT_HASH_KEYS, hash);
            tag(&mut record, EXPLICIT_HASH_KEY_INDEX, VARINT);
            varint(&mut record, number);
        }
        field(&mut record, DATA, data);
        field(&mut self.records, RECORDS, &record);
    }

    /// How large it is, finished.
    pub(super) const fn len(&self) -> usize {
        self.partition_keys
            .written
            .len()
            .saturating_add(self.hash_keys.written.len())
            .saturating_add(self.records.len())
            .saturating_add(MAGIC.len())
            .saturating_add(DIGEST_LEN)
    }

    /// The bytes of one Kinesis record.
    pub(super) fn finish(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&self.partition_keys.written);
        bytes.extend_from_slice(&self.hash_keys.written);
        bytes.extend_from_slice(&self.records);
        let digest = md5::compute(bytes.get(MAGIC.len()..).unwrap_or_default());
        bytes.extend_from_slice(&digest.0);
        bytes
    }
}

impl Table {
    fn cost(&self, text: &str) -> usize {
        if self.numbers.contains_key(text) {
            0
        } else {
            text.len().saturating_add(FIELD_OVERHEAD_MAX)
        }
    }

    /// The number of `text`, which is written as this field if it is new.
    fn number(&mut self, number: u8, text: String) -> u64 {
        if let Some(known) = self.numbers.get(&text) {
            return *known;
        }
        let next = u64::try_from(self.numbers.len()).unwrap_or(u64::MAX);
        field(&mut self.written, number, text.as_bytes());
        self.numbers.insert(text, next);
        next
    }
}

fn tag(out: &mut Vec<u8>, number: u8, kind: u8) {
    out.push(number << 3 | kind);
}

fn field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    tag(out, number, BYTES);
    varint(out, u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    out.extend_from_slice(bytes);
}

/// Seven bits a byte, the lowest first.
fn varint(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            out.push(low & 0x7f);
            return;
        }
        out.push(low | 0x80);
    }
}

//! Many small records in few records of the service, called units here, which are billed in steps.
//!
//! Lines go into the open unit until the next would pass the hint; a closed one is written as
//! base64 into the request's body at once, so that a call is held once in memory. What was taken
//! never passes a limit of the service.

use std::ops::Range;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use diskring::Seq;

use super::super::sigv4::sha256_hex;
use super::super::{Unit, UnitFate};
use super::keys::{RecordKey, RecordKeys};
use super::kpl::Aggregate;
use crate::config::{Compression, Packing};
use crate::encode::{EntryMeta, gzip_member_at};
use crate::pace::Cost;
use crate::stored::StoredRef;

/// Compression of what does not compress adds less than this to a unit.
const COMPRESSION_OVERHEAD_MAX: usize = 4096;

/// What a service takes in one call, and how the call begins.
#[derive(Clone, Debug)]
pub(in super::super) struct CallShape {
    /// The key of the stream's name in the call.
    pub(in super::super) stream_key: &'static str,
    /// The stream's name.
    pub(in super::super) stream: String,
    /// Units in one call.
    pub(in super::super) units_max: usize,
    /// Data and keys in one call, before base64.
    pub(in super::super) bytes_max: usize,
    /// Data and keys in one unit, before base64.
    pub(in super::super) unit_bytes_max: usize,
    /// What each unit is billed in steps of; 1 where that is not so.
    pub(in super::super) billed_step: usize,
}

/// Packs the records of one call.
#[derive(Debug)]
pub struct Packer {
    shape: CallShape,
    packing: Packing,
    compression: Compression,
    level: Option<u8>,
    /// What gives each record its key, if it needs one.
    keys: Option<RecordKeys>,
    /// The call so far: complete but for its end.
    body: Vec<u8>,
    head_len: usize,
    units: Vec<Packed>,
    /// Data and keys in the closed units.
    data_bytes: usize,
    /// Data of the open unit, unless it is an aggregate.
    lines: Vec<u8>,
    aggregate: Aggregate,
    /// Of the first record of the open unit.
    key: RecordKey,
    open: Unit,
    /// The first record that was not taken.
    full_at: Option<Seq>,
}

/// Whether a record was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Push {
    /// It was.
    Taken,
    /// The call is full: finish it before this record.
    Full,
}

/// The units of one call, ready to be sent whole or in part.
#[derive(Clone, Debug)]
pub struct PackedUnits {
    units: Vec<Unit>,
    /// Where each unit's object is in the body; empty for one that is not sent.
    spans: Vec<Range<usize>>,
    /// What each unit is billed as, in bytes.
    billed: Vec<usize>,
    head_len: usize,
    body: Arc<Vec<u8>>,
    body_sha256: String,
}

#[derive(Debug)]
struct Packed {
    unit: Unit,
    span: Range<usize>,
    billed: usize,
}

impl Packer {
    /// An empty call of this shape, for the entries from `first` on.
    pub(in super::super) fn new(
        shape: CallShape,
        packing: Packing,
        compression: Compression,
        keys: Option<RecordKeys>,
        first: Seq,
    ) -> Self {
        // A stream's name needs no escapes; a text that does is refused by the service.
        let stream = serde_json::Value::from(shape.stream.as_str());
        let body = format!("{{\"{}\":{stream},\"Records\":[", shape.stream_key).into_bytes();
        Self {
            shape,
            packing,
            compression,
            level: None,
            keys,
            head_len: body.len(),
            body,
            units: Vec::new(),
            data_bytes: 0,
            lines: Vec::new(),
            aggregate: Aggregate::default(),
            key: RecordKey::default(),
            open: Unit::empty(first),
            full_at: None,
        }
    }

    /// With this level of gzip, 1 to 9, instead of the usual one.
    #[must_use]
    pub const fn at_level(mut self, level: Option<u8>) -> Self {
        self.level = level;
        self
    }

    /// Takes `record`, written as `line`, with the key that it is to have.
    pub fn push_record(
        &mut self,
        entry: EntryMeta<'_>,
        record: &StoredRef<'_>,
        line: &[u8],
    ) -> Push {
        let key = match &self.keys {
            Some(keys) => keys.of(entry, record),
            None => RecordKey::default(),
        };
        self.push(entry.seq, line, key)
    }

    /// Takes the record at `seq`, written as `line`, unless the call is full. From then on it
    /// takes none.
    pub(in super::super) fn push(&mut self, seq: Seq, line: &[u8], key: RecordKey) -> Push {
        if self.full_at.is_some() {
            return Push::Full;
        }
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let end: &[u8] = match self.packing {
            Packing::None | Packing::Kpl { .. } => b"",
            Packing::Lines { .. } => b"\n",
        };
        let bytes = match self.packing {
            Packing::Kpl { .. } => self.aggregate.cost(line.len(), &key),
            Packing::None | Packing::Lines { .. } => line.len().saturating_add(end.len()),
        };
        let grown = self.open_bytes().saturating_add(bytes);
        if self.open.count > 0 && (grown > self.hint() || self.parts_from(&key)) {
            self.close(seq);
        }
        let mut data_bytes = self
            .data_bytes()
            .saturating_add(bytes)
            .saturating_add(self.overhead());
        if self.open.count == 0 {
            data_bytes = data_bytes.saturating_add(key.len());
        }
        let some = !self.units.is_empty() || self.open.count > 0;
        if self.units.len() >= self.shape.units_max || (some && data_bytes > self.shape.bytes_max) {
            self.full_at = Some(seq);
            return Push::Full;
        }
        if self.open.count == 0 {
            self.key = key.clone();
        }
        if let Packing::Kpl { .. } = self.packing {
            self.aggregate.push(line, key);
        } else {
            self.lines.extend_from_slice(line);
            self.lines.extend_from_slice(end);
        }
        self.open.count = self.open.count.saturating_add(1);
        Push::Taken
    }

    /// A transform filtered the record that would have come next.
    pub const fn handle_filtered(&mut self) {
        if self.full_at.is_none() {
            self.open.filtered = self.open.filtered.saturating_add(1);
        }
    }

    /// Data and keys so far, the open unit before its compression.
    pub fn data_bytes(&self) -> usize {
        let key = if self.open.count > 0 {
            self.key.len()
        } else {
            0
        };
        self.data_bytes
            .saturating_add(self.open_bytes())
            .saturating_add(key)
    }

    fn open_bytes(&self) -> usize {
        match self.packing {
            Packing::Kpl { .. } => self.aggregate.len(),
            Packing::None | Packing::Lines { .. } => self.lines.len(),
        }
    }

    /// Whether a record with this key may not join the open unit: it would go to a shard that is
    /// not that of its key.
    fn parts_from(&self, key: &RecordKey) -> bool {
        self.keys.as_ref().is_some_and(RecordKeys::keeps_together) && *key != self.key
    }

    /// Ends the call in front of `end`, or of the record that it had no room for.
    pub fn finish(mut self, end: Seq) -> PackedUnits {
        let end = self.full_at.unwrap_or(end);
        if self.open.count > 0 || self.units.is_empty() {
            self.close(end);
        }
        self.body.extend_from_slice(TAIL);
        let body_sha256 = sha256_hex(&self.body);
        let (mut units, mut spans, mut billed) = (Vec::new(), Vec::new(), Vec::new());
        for packed in self.units {
            if !packed.unit.range.is_empty() {
                units.push(packed.unit);
                spans.push(packed.span);
                billed.push(packed.billed);
            }
        }
        PackedUnits {
            units,
            spans,
            billed,
            head_len: self.head_len,
            body: Arc::new(self.body),
            body_sha256,
        }
    }

    /// The open unit is not to grow beyond this.
    fn hint(&self) -> usize {
        let (Packing::Lines { hint } | Packing::Kpl { hint }) = self.packing else {
            return 0;
        };
        let room = self
            .shape
            .unit_bytes_max
            .saturating_sub(self.overhead())
            .saturating_sub(self.key.len());
        let hint = hint.as_usize().min(room);
        // What is billed in steps is filled up to one, but for the line that does not fit.
        let step = self.shape.billed_step;
        match hint.checked_rem(step) {
            Some(over) if hint > step => hint.saturating_sub(over),
            Some(_) | None => hint,
        }
    }

    const fn overhead(&self) -> usize {
        match self.compression {
            Compression::Gzip => COMPRESSION_OVERHEAD_MAX,
            Compression::None
            | Compression::Zip
            | Compression::Snappy
            | Compression::HadoopSnappy
            | Compression::Zstd => 0,
        }
    }

    /// Closes the open unit; the next begins at `end`.
    fn close(&mut self, end: Seq) {
        let mut unit = std::mem::replace(&mut self.open, Unit::empty(end));
        unit.range.end = end;
        let key = std::mem::take(&mut self.key);
        if let Packing::Kpl { .. } = self.packing {
            self.lines = std::mem::take(&mut self.aggregate).finish();
        }
        let lines = std::mem::take(&mut self.lines);
        let data = match self.compression {
            Compression::Gzip => &gzip_member_at(&lines, self.level),
            Compression::None
            | Compression::Zip
            | Compression::Snappy
            | Compression::HadoopSnappy
            | Compression::Zstd => &lines,
        };
        let bytes = data.len().saturating_add(key.len());
        let span = if unit.count == 0 {
            0..0
        } else if bytes > self.shape.unit_bytes_max {
            unit.fate = UnitFate::TooLarge {
                bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
                bytes_max: u64::try_from(self.shape.unit_bytes_max).unwrap_or(u64::MAX),
            };
            0..0
        } else {
            self.data_bytes = self.data_bytes.saturating_add(bytes);
            self.write(data, &key)
        };
        let billed = data.len().next_multiple_of(self.shape.billed_step.max(1));
        self.units.push(Packed { unit, span, billed });
        self.lines = lines;
        self.lines.clear();
    }

    /// Writes the object of a unit and says where.
    fn write(&mut self, data: &[u8], key: &RecordKey) -> Range<usize> {
        if self.body.len() > self.head_len {
            self.body.push(b',');
        }
        let start = self.body.len();
        self.body.extend_from_slice(b"{\"Data\":\"");
        let at = self.body.len();
        let len = data.len().div_ceil(3).saturating_mul(4);
        self.body.resize(at.saturating_add(len), 0);
        let place = self.body.get_mut(at..).unwrap_or_default();
        let written = STANDARD.encode_slice(data, place);
        debug_assert_eq!(written.ok(), Some(len), "padded base64 has four for three");
        self.body.push(b'"');
        key.write(&mut self.body);
        self.body.push(b'}');
        start..self.body.len()
    }
}

const TAIL: &[u8] = b"]}";

impl PackedUnits {
    /// The units in the order of the log.
    pub fn units(&self) -> &[Unit] {
        &self.units
    }

    /// What the units numbered in `numbers` are billed as together, in bytes.
    pub fn billed_bytes(&self, numbers: &[usize]) -> u64 {
        let billed = numbers.iter().filter_map(|number| self.billed.get(*number));
        billed.fold(0, |sum, bytes| {
            sum.saturating_add(u64::try_from(*bytes).unwrap_or(u64::MAX))
        })
    }

    /// What a call with the units numbered in `numbers` takes of a quota.
    pub fn cost(&self, numbers: &[usize]) -> Cost {
        let spans = numbers.iter().filter_map(|number| self.spans.get(*number));
        let encoded: usize = spans.map(Range::len).sum();
        Cost {
            records: u64::try_from(numbers.len()).unwrap_or(u64::MAX),
            // What is counted is what base64 makes longer by a third.
            bytes: u64::try_from(encoded / 4 * 3).unwrap_or(u64::MAX),
        }
    }

    /// The body of the call with the units numbered in `numbers`, and its hash.
    pub(in super::super) fn body(&self, numbers: &[usize]) -> (Arc<Vec<u8>>, String) {
        let spans: Vec<&Range<usize>> = numbers
            .iter()
            .filter_map(|number| self.spans.get(*number))
            .filter(|span| !span.is_empty())
            .collect();
        let all = self.spans.iter().filter(|span| !span.is_empty()).count();
        if spans.len() == all {
            return (Arc::clone(&self.body), self.body_sha256.clone());
        }
        let part = |range: &Range<usize>| self.body.get(range.clone()).unwrap_or_default();
        let mut body = part(&(0..self.head_len)).to_vec();
        for span in spans {
            if body.len() > self.head_len {
                body.push(b',');
            }
            body.extend_from_slice(part(span));
        }
        body.extend_from_slice(TAIL);
        let hash = sha256_hex(&body);
        (Arc::new(body), hash)
    }
}

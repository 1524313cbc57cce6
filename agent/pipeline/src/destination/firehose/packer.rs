//! Many small records in few Firehose records, which are billed in steps of 5 KiB.
//!
//! Lines go into the open Firehose record until the next would pass the hint; a closed one is
//! written as base64 into the request's body at once, so that a call is held once in memory.
//! What was taken never passes a limit of the service.

use std::ops::Range;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use diskring::Seq;

use super::super::sigv4::sha256_hex;
use super::super::{Unit, UnitFate};
use super::{CALL_BYTES_MAX, CALL_UNITS_MAX, RECORD_BYTES_MAX};
use crate::config::{Compression, Packing};
use crate::encode::gzip_member_at;

/// Compression of what does not compress adds less than this to a Firehose record.
const COMPRESSION_OVERHEAD_MAX: usize = 4096;

/// Packs the records of one call.
#[derive(Debug)]
pub struct Packer {
    packing: Packing,
    compression: Compression,
    level: Option<u8>,
    count_max: usize,
    /// The call so far: complete but for its end.
    body: Vec<u8>,
    head_len: usize,
    units: Vec<Packed>,
    /// Data in the closed Firehose records.
    data_bytes: usize,
    /// Data of the open Firehose record.
    lines: Vec<u8>,
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

/// The Firehose records of one call, ready to be sent whole or in part.
#[derive(Clone, Debug)]
pub struct PackedUnits {
    units: Vec<Unit>,
    /// Where each unit's object is in the body; empty for one that is not sent.
    spans: Vec<Range<usize>>,
    head_len: usize,
    body: Arc<Vec<u8>>,
    body_sha256: String,
}

#[derive(Debug)]
struct Packed {
    unit: Unit,
    span: Range<usize>,
}

impl Packer {
    /// An empty call to `stream` of at most `count_max` Firehose records, for the entries from
    /// `first` on.
    pub(super) fn new(
        stream: &str,
        packing: Packing,
        compression: Compression,
        count_max: usize,
        first: Seq,
    ) -> Self {
        let mut body = b"{\"DeliveryStreamName\":".to_vec();
        // A stream's name needs no escapes; a text that does is refused by the service.
        body.extend_from_slice(serde_json::Value::from(stream).to_string().as_bytes());
        body.extend_from_slice(b",\"Records\":[");
        Self {
            packing,
            compression,
            level: None,
            count_max: count_max.clamp(1, CALL_UNITS_MAX),
            head_len: body.len(),
            body,
            units: Vec::new(),
            data_bytes: 0,
            lines: Vec::new(),
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

    /// Takes the record at `seq`, written as `line`, unless the call is full. From then on it
    /// takes none.
    pub fn push(&mut self, seq: Seq, line: &[u8]) -> Push {
        if self.full_at.is_some() {
            return Push::Full;
        }
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let end: &[u8] = match self.packing {
            Packing::None => b"",
            Packing::Lines { .. } => b"\n",
        };
        let bytes = line.len().saturating_add(end.len());
        if self.open.count > 0 && self.lines.len().saturating_add(bytes) > self.hint() {
            self.close(seq);
        }
        let data_bytes = self
            .data_bytes()
            .saturating_add(bytes)
            .saturating_add(self.overhead());
        let some = !self.units.is_empty() || self.open.count > 0;
        if self.units.len() >= self.count_max || (some && data_bytes > CALL_BYTES_MAX) {
            self.full_at = Some(seq);
            return Push::Full;
        }
        self.lines.extend_from_slice(line);
        self.lines.extend_from_slice(end);
        self.open.count = self.open.count.saturating_add(1);
        Push::Taken
    }

    /// A transform filtered the record that would have come next.
    pub const fn handle_filtered(&mut self) {
        if self.full_at.is_none() {
            self.open.filtered = self.open.filtered.saturating_add(1);
        }
    }

    /// Data so far, the open Firehose record before its compression.
    pub const fn data_bytes(&self) -> usize {
        self.data_bytes.saturating_add(self.lines.len())
    }

    /// Ends the call in front of `end`, or of the record that it had no room for.
    pub fn finish(mut self, end: Seq) -> PackedUnits {
        let end = self.full_at.unwrap_or(end);
        if self.open.count > 0 || self.units.is_empty() {
            self.close(end);
        }
        self.body.extend_from_slice(TAIL);
        let body_sha256 = sha256_hex(&self.body);
        let (units, spans) = self
            .units
            .into_iter()
            .filter(|packed| !packed.unit.range.is_empty())
            .map(|packed| (packed.unit, packed.span))
            .unzip();
        PackedUnits {
            units,
            spans,
            head_len: self.head_len,
            body: Arc::new(self.body),
            body_sha256,
        }
    }

    /// The open Firehose record is not to grow beyond this.
    fn hint(&self) -> usize {
        match self.packing {
            Packing::None => 0,
            Packing::Lines { hint } => hint
                .as_usize()
                .min(RECORD_BYTES_MAX.saturating_sub(self.overhead())),
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

    /// Closes the open Firehose record; the next begins at `end`.
    fn close(&mut self, end: Seq) {
        let mut unit = std::mem::replace(&mut self.open, Unit::empty(end));
        unit.range.end = end;
        let lines = std::mem::take(&mut self.lines);
        let data = match self.compression {
            Compression::Gzip => &gzip_member_at(&lines, self.level),
            Compression::None
            | Compression::Zip
            | Compression::Snappy
            | Compression::HadoopSnappy
            | Compression::Zstd => &lines,
        };
        let span = if unit.count == 0 {
            0..0
        } else if data.len() > RECORD_BYTES_MAX {
            unit.fate = UnitFate::TooLarge {
                bytes: u64::try_from(data.len()).unwrap_or(u64::MAX),
                bytes_max: u64::try_from(RECORD_BYTES_MAX).unwrap_or(u64::MAX),
            };
            0..0
        } else {
            self.data_bytes = self.data_bytes.saturating_add(data.len());
            self.write(data)
        };
        self.units.push(Packed { unit, span });
        self.lines = lines;
        self.lines.clear();
    }

    /// Writes the object of a Firehose record and says where.
    fn write(&mut self, data: &[u8]) -> Range<usize> {
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
        self.body.extend_from_slice(b"\"}");
        start..self.body.len()
    }
}

const TAIL: &[u8] = b"]}";

impl PackedUnits {
    /// The units in the order of the log.
    pub fn units(&self) -> &[Unit] {
        &self.units
    }

    /// The body of the call with the units numbered in `numbers`, and its hash.
    pub(super) fn body(&self, numbers: &[usize]) -> (Arc<Vec<u8>>, String) {
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

//! The objects of a batch: which records go into which, their bytes, lengths and checksums.
//!
//! An object may be larger than memory. It is encoded once to learn its length and checksums, which
//! go in front of it, and, where it was too large to be kept, a second time while it is sent: the
//! ring is its spool. The same records make the same bytes, and [`ObjectWriter`] says so if not.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use diskring::Seq;
use ring::digest;

use super::super::Unit;
use super::super::sigv4::hex;
use super::key::{Group, KeyPrefix};
use crate::boots::Boots;
use crate::encode::{BatchEncoder, Encoding, EntryMeta, Origin, RecordWriter};
use crate::stored::StoredRef;
use crate::time::WallClock;

/// Objects up to this size are kept until they are sent.
pub const KEPT_BYTES_MAX: usize = 1 << 20;

/// So much is encoded before it is hashed, kept or sent.
const PIECE_BYTES: usize = 32 << 10;

/// Which records of a batch go into one object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectGroup {
    /// Whether a field of the prefix is missing in them, so that they go to the error prefix.
    pub(super) is_failed: bool,
    pub(super) values: Group,
}

/// What decides which records go together, and how they are written.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) prefix: KeyPrefix,
    pub(super) has_error_prefix: bool,
    pub(super) partitions_max: usize,
    pub(super) encoding: Encoding,
    pub(super) origin: Origin,
}

impl Layout {
    fn group(&self, source: &str, record: &StoredRef<'_>) -> ObjectGroup {
        match self.prefix.group(source, record) {
            Some(values) => ObjectGroup {
                is_failed: false,
                values,
            },
            None if self.has_error_prefix => ObjectGroup {
                is_failed: true,
                values: Group(Vec::new()),
            },
            None => ObjectGroup {
                is_failed: false,
                values: self.prefix.group_with_missing(source, record),
            },
        }
    }
}

/// An object whose bytes are known, and kept if they are few.
#[derive(Clone, PartialEq, Eq)]
pub struct EncodedObject {
    /// Its length.
    pub len: u64,
    /// Records in it.
    pub count: u32,
    /// Its bytes, unless they are more than [`KEPT_BYTES_MAX`].
    pub body: Option<Arc<Vec<u8>>>,
    pub(super) sha256: String,
    pub(super) crc32c: u32,
    pub(super) oldest: WallClock,
    pub(super) content_encoding: Option<&'static str>,
    pub(super) extension: &'static str,
}

impl fmt::Debug for EncodedObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncodedObject")
            .field("len", &self.len)
            .field("count", &self.count)
            .field("is_kept", &self.body.is_some())
            .field("sha256", &self.sha256)
            .finish_non_exhaustive()
    }
}

/// An object of a batch.
#[derive(Clone, Debug)]
pub struct PlannedObject {
    /// Its records.
    pub group: ObjectGroup,
    /// Its bytes, once they are known.
    pub encoded: Option<EncodedObject>,
}

/// The objects of a batch.
#[derive(Clone, Debug)]
pub struct ObjectBatch {
    /// What they cover together.
    pub unit: Unit,
    /// In a fixed order.
    pub objects: Vec<PlannedObject>,
    /// What was known of times when they were planned: encoded with anything else, they would be
    /// other bytes.
    pub boots: Arc<Boots>,
}

/// Finds the objects of a batch, or writes one of them.
#[derive(Debug)]
pub struct ObjectWriter {
    layout: Arc<Layout>,
    /// The object that is written; all are found when there is none.
    wanted: Option<ObjectGroup>,
    groups: BTreeMap<ObjectGroup, u32>,
    encoder: Option<ObjectEncoder>,
    /// What is only looked for.
    search: Option<Search>,
    /// Measures what is only looked at.
    writer: RecordWriter,
    line: Vec<u8>,
}

/// Finds the records that stand on certain lines.
#[derive(Debug)]
struct Search {
    lines: BTreeSet<u64>,
    line: u64,
    found: Vec<Seq>,
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrote {
    /// It takes so many bytes before compression.
    Taken(usize),
    /// It belongs to another object.
    Other,
    /// There are as many objects as one batch may have: it ends before this record.
    Full,
}

impl ObjectWriter {
    /// Finds the objects; the only one there can be without partitions is written at once.
    pub(super) fn plan(layout: Arc<Layout>) -> Self {
        let encoder = (!layout.prefix.is_partitioned())
            .then(|| ObjectEncoder::new(&layout, Bytes::Kept(Vec::new())));
        Self::new(layout, None, encoder)
    }

    /// Writes the object of `group`.
    pub(super) fn object(layout: Arc<Layout>, group: ObjectGroup) -> Self {
        let encoder = ObjectEncoder::new(&layout, Bytes::Kept(Vec::new()));
        Self::new(layout, Some(group), Some(encoder))
    }

    /// Writes the object of `group`; its bytes are fetched with [`ObjectWriter::drain`].
    pub(super) fn stream(layout: Arc<Layout>, group: ObjectGroup) -> Self {
        let encoder = ObjectEncoder::new(&layout, Bytes::Streamed(Vec::new()));
        Self::new(layout, Some(group), Some(encoder))
    }

    /// Finds the records on these lines of the object of `group`.
    pub(super) fn find(layout: Arc<Layout>, group: ObjectGroup, lines: &[u64]) -> Self {
        let mut writer = Self::new(layout, Some(group), None);
        writer.search = Some(Search {
            lines: lines.iter().copied().collect(),
            line: 0,
            found: Vec::new(),
        });
        writer
    }

    fn new(
        layout: Arc<Layout>,
        wanted: Option<ObjectGroup>,
        encoder: Option<ObjectEncoder>,
    ) -> Self {
        let encoding = layout.encoding;
        Self {
            search: None,
            writer: RecordWriter::new(encoding.format, encoding.metadata, &layout.origin),
            layout,
            wanted,
            groups: BTreeMap::new(),
            encoder,
            line: Vec::new(),
        }
    }

    /// Takes a record, if it is for it.
    pub fn push(&mut self, entry: EntryMeta<'_>, record: &StoredRef<'_>) -> Wrote {
        let group = self.layout.group(entry.source, record);
        if self.wanted.as_ref().is_some_and(|wanted| *wanted != group) {
            return Wrote::Other;
        }
        if let Some(search) = &mut self.search {
            search.line = search.line.saturating_add(1);
            if search.lines.contains(&search.line) {
                search.found.push(entry.seq);
            }
            return Wrote::Other;
        }
        let places = self.layout.partitions_max;
        if self.groups.len() >= places && !self.groups.contains_key(&group) {
            return Wrote::Full;
        }
        let bytes = if let Some(encoder) = &mut self.encoder {
            encoder.push(entry, record)
        } else {
            self.line.clear();
            self.writer.write(entry, record, &mut self.line);
            self.line.len()
        };
        let count = self.groups.entry(group).or_default();
        *count = count.saturating_add(1);
        Wrote::Taken(bytes)
    }

    /// What was written since the last call, when it is to be sent.
    pub fn drain(&mut self) -> Vec<u8> {
        match self.encoder.as_mut().map(|encoder| &mut encoder.bytes) {
            Some(Bytes::Streamed(bytes)) => std::mem::take(bytes),
            Some(Bytes::Kept(_) | Bytes::Dropped) | None => Vec::new(),
        }
    }

    /// The objects that were found.
    pub(super) fn finish_plan(self) -> Vec<PlannedObject> {
        let mut encoded = self.encoder.map(|encoder| encoder.finish().0);
        let groups = self.groups.into_keys();
        groups
            .map(|group| PlannedObject {
                group,
                encoded: encoded.take(),
            })
            .collect()
    }

    /// The records that were looked for, in the order of the log.
    pub fn into_found(self) -> Vec<Seq> {
        self.search.map(|search| search.found).unwrap_or_default()
    }

    /// The object that was written, and the rest of its bytes if they are to be sent.
    pub fn finish_object(self) -> Option<(EncodedObject, Vec<u8>)> {
        Some(self.encoder?.finish())
    }
}

/// Bytes on their way out.
enum Bytes {
    Kept(Vec<u8>),
    Dropped,
    Streamed(Vec<u8>),
}

struct ObjectEncoder {
    encoder: BatchEncoder,
    encoding: Encoding,
    bytes: Bytes,
    sha256: digest::Context,
    crc32c: u32,
    len: u64,
    oldest: Option<WallClock>,
}

impl ObjectEncoder {
    fn new(layout: &Layout, bytes: Bytes) -> Self {
        Self {
            encoder: BatchEncoder::new(layout.encoding, &layout.origin),
            encoding: layout.encoding,
            bytes,
            sha256: digest::Context::new(&digest::SHA256),
            crc32c: 0,
            len: 0,
            oldest: None,
        }
    }

    fn push(&mut self, entry: EntryMeta<'_>, record: &StoredRef<'_>) -> usize {
        let before = self.encoder.raw_bytes();
        self.encoder.push(entry, record);
        self.oldest = self.oldest.or(Some(record.received_at));
        if self.encoder.packed_bytes() >= PIECE_BYTES {
            let piece = self.encoder.drain();
            self.absorb(&piece);
        }
        self.encoder.raw_bytes().saturating_sub(before)
    }

    fn absorb(&mut self, piece: &[u8]) {
        self.sha256.update(piece);
        self.crc32c = crc32c::crc32c_append(self.crc32c, piece);
        self.len = self
            .len
            .saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        match &mut self.bytes {
            Bytes::Kept(kept) if kept.len().saturating_add(piece.len()) > KEPT_BYTES_MAX => {
                self.bytes = Bytes::Dropped;
            }
            Bytes::Kept(bytes) | Bytes::Streamed(bytes) => bytes.extend_from_slice(piece),
            Bytes::Dropped => {}
        }
    }

    fn finish(mut self) -> (EncodedObject, Vec<u8>) {
        let encoder = std::mem::replace(
            &mut self.encoder,
            BatchEncoder::new(Encoding::PLAIN, &Origin::default()),
        );
        let last = encoder.finish();
        self.absorb(&last.body);
        let (body, rest) = match self.bytes {
            Bytes::Kept(kept) => (Some(Arc::new(kept)), Vec::new()),
            Bytes::Dropped => (None, Vec::new()),
            Bytes::Streamed(rest) => (None, rest),
        };
        let object = EncodedObject {
            len: self.len,
            count: last.count,
            body,
            sha256: hex(self.sha256.finish().as_ref()),
            crc32c: self.crc32c,
            oldest: self.oldest.unwrap_or_default(),
            content_encoding: self.encoding.content_encoding(),
            extension: self.encoding.extension(),
        };
        (object, rest)
    }
}

impl EncodedObject {
    /// What belongs to this object, as an object of its own.
    #[must_use]
    pub(in super::super) fn beside(&self, bytes: Vec<u8>) -> Self {
        Self {
            len: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            count: 0,
            sha256: hex(digest::digest(&digest::SHA256, &bytes).as_ref()),
            crc32c: crc32c::crc32c(&bytes),
            oldest: self.oldest,
            content_encoding: None,
            extension: self.extension,
            body: Some(Arc::new(bytes)),
        }
    }

    /// Whether `other` is the same, byte for byte.
    pub fn is_same(&self, other: &Self) -> bool {
        self.len == other.len && self.sha256 == other.sha256
    }
}

impl fmt::Debug for ObjectEncoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectEncoder")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

//! From records to the bytes of a batch: format, then compression, as the records come.
//!
//! [`BatchEncoder`] holds only what is compressed already and at most one block that is not. The
//! same records under the same [`Encoding`] and [`Origin`] give the same bytes, so that a repeat
//! after a crash is the same object to whoever receives it.
//!
//! When a batch is full is decided elsewhere, from [`BatchEncoder::raw_bytes`] and
//! [`BatchEncoder::count`].

mod deflate;
mod export;
mod json;
mod snappy;
mod zstd;

use std::fmt;

use diskring::Seq;

use crate::config::{Compression, Format};
use crate::record::PayloadState;
use crate::stored::StoredRef;

pub use deflate::{gzip_member, gzip_member_at};
pub use export::Exporter;

use deflate::{Gzip, Zip};
use json::Metadata;
use snappy::{Framing, Snappy};
use zstd::Zstd;

/// So many bytes are collected before they are compressed.
const BLOCK_BYTES: usize = 32 << 10;

/// How a batch is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoding {
    /// How records are written one after the other.
    pub format: Format,
    /// How the whole is compressed.
    pub compression: Compression,
    /// How hard gzip, zip and zstd try, 1 to 9; `None` is what each does best for its cost.
    pub level: Option<u8>,
    /// Whether JSON records carry id, source, agent and times.
    pub metadata: bool,
}

/// Where records come from: makes their ids unique in the world.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Name of the gateway.
    pub agent: String,
    /// The ring's own number, drawn when it was made.
    pub ring_id: u64,
    /// Whether they were delivered before and are sent once more because somebody asked for it.
    pub is_replay: bool,
}

/// The id of a record: 16 hex digits of its ring, a dash, its number in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordId {
    ring_id: u64,
    seq: Seq,
}

/// What the ring knows of a record that the record itself does not say.
#[derive(Clone, Copy, Debug)]
pub struct EntryMeta<'a> {
    /// Its number in the log.
    pub seq: Seq,
    /// The name of its source.
    pub source: &'a str,
}

/// Writes single records in a format.
#[derive(Clone, Debug)]
pub struct RecordWriter {
    format: Format,
    metadata: Option<Metadata>,
}

/// Writes a batch, record by record.
#[derive(Debug)]
pub struct BatchEncoder {
    encoding: Encoding,
    ring_id: u64,
    writer: RecordWriter,
    stream: Stream,
    /// Written, not yet compressed.
    block: Vec<u8>,
    flushed_bytes: usize,
    count: u32,
    first: Option<Seq>,
    last: Option<Seq>,
}

/// A batch as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The bytes.
    pub body: Vec<u8>,
    /// How many bytes they were before compression.
    pub raw_bytes: usize,
    /// How many records they hold.
    pub count: u32,
    /// What the bytes are, once `content_encoding` is undone.
    pub content_type: &'static str,
    /// How they are compressed, as Firehose names it in `Content-Encoding`.
    pub content_encoding: Option<&'static str>,
    /// How the name of such a file ends, without the first dot.
    pub extension: &'static str,
}

#[derive(Debug)]
enum Stream {
    Plain(Vec<u8>),
    Gzip(Gzip),
    Zip(Zip),
    Snappy(Snappy),
    Zstd(Zstd),
}

impl Encoding {
    /// What is left of an encoder that was taken apart.
    pub(crate) const PLAIN: Self = Self {
        format: Format::Raw,
        compression: Compression::None,
        level: None,
        metadata: false,
    };

    /// What the bytes are; a `zip` archive hides what is in it.
    pub const fn content_type(self) -> &'static str {
        match (self.compression, self.format) {
            (Compression::Zip, _) => "application/zip",
            (_, Format::Ndjson | Format::Letters) => "application/x-ndjson",
            (_, Format::JsonArray) => "application/json",
            (_, Format::Raw) => "text/plain",
        }
    }

    /// The value of `Content-Encoding`, as Firehose sets it on its objects.
    pub const fn content_encoding(self) -> Option<&'static str> {
        match self.compression {
            Compression::None | Compression::Zip => None,
            Compression::Gzip => Some("gzip"),
            Compression::Snappy => Some("snappy-java"),
            Compression::HadoopSnappy => Some("hadoop-snappy"),
            Compression::Zstd => Some("zstd"),
        }
    }

    /// How the name of such a file ends, without the first dot.
    pub const fn extension(self) -> &'static str {
        match (self.format, self.compression) {
            (Format::Ndjson | Format::Letters, Compression::None) => "ndjson",
            (Format::Ndjson | Format::Letters, Compression::Gzip) => "ndjson.gz",
            (Format::Ndjson | Format::Letters, Compression::Zip) => "ndjson.zip",
            (Format::Ndjson | Format::Letters, Compression::Snappy | Compression::HadoopSnappy) => {
                "ndjson.snappy"
            }
            (Format::Ndjson | Format::Letters, Compression::Zstd) => "ndjson.zst",
            (Format::JsonArray, Compression::None) => "json",
            (Format::JsonArray, Compression::Gzip) => "json.gz",
            (Format::JsonArray, Compression::Zip) => "json.zip",
            (Format::JsonArray, Compression::Snappy | Compression::HadoopSnappy) => "json.snappy",
            (Format::JsonArray, Compression::Zstd) => "json.zst",
            (Format::Raw, Compression::None) => "log",
            (Format::Raw, Compression::Gzip) => "log.gz",
            (Format::Raw, Compression::Zip) => "log.zip",
            (Format::Raw, Compression::Snappy | Compression::HadoopSnappy) => "log.snappy",
            (Format::Raw, Compression::Zstd) => "log.zst",
        }
    }
}

impl Origin {
    /// The id of the record with this number.
    pub const fn record_id(&self, seq: Seq) -> RecordId {
        RecordId {
            ring_id: self.ring_id,
            seq,
        }
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.ring_id, self.seq.get())
    }
}

impl RecordWriter {
    /// A writer of records from `origin`; `metadata` as in [`Encoding`].
    pub fn new(format: Format, metadata: bool, origin: &Origin) -> Self {
        Self {
            format,
            metadata: metadata.then(|| Metadata::new(origin)),
        }
    }

    /// Appends one record: a line that ends with a newline, or for `json_array` an object.
    pub fn write(&self, entry: EntryMeta<'_>, record: &StoredRef<'_>, out: &mut Vec<u8>) {
        match self.format {
            Format::Ndjson => {
                json::write_record(out, self.metadata.as_ref(), entry, record);
                out.push(b'\n');
            }
            Format::JsonArray => json::write_record(out, self.metadata.as_ref(), entry, record),
            Format::Raw | Format::Letters => write_raw(record, out),
        }
    }
}

impl BatchEncoder {
    /// An empty batch of records from `origin`.
    pub fn new(encoding: Encoding, origin: &Origin) -> Self {
        Self {
            encoding,
            ring_id: origin.ring_id,
            writer: RecordWriter::new(encoding.format, encoding.metadata, origin),
            stream: Stream::new(encoding.compression, encoding.level),
            block: Vec::with_capacity(BLOCK_BYTES),
            flushed_bytes: 0,
            count: 0,
            first: None,
            last: None,
        }
    }

    /// Takes the room for so many bytes before compression at once: what grows bit by bit, or on
    /// many threads, leaves holes in the heap.
    pub fn reserve(&mut self, raw_bytes: usize) {
        match &mut self.stream {
            Stream::Plain(body) => body.reserve_exact(raw_bytes),
            Stream::Gzip(gzip) => gzip.reserve(raw_bytes),
            Stream::Zip(zip) => zip.reserve(raw_bytes),
            Stream::Snappy(snappy) => snappy.reserve(raw_bytes),
            Stream::Zstd(zstd) => zstd.reserve(raw_bytes),
        }
    }

    /// Adds a record.
    pub fn push(&mut self, entry: EntryMeta<'_>, record: &StoredRef<'_>) {
        if self.encoding.format == Format::JsonArray {
            self.block.push(if self.count == 0 { b'[' } else { b',' });
        }
        self.writer.write(entry, record, &mut self.block);
        self.count = self.count.saturating_add(1);
        self.first = self.first.or(Some(entry.seq));
        self.last = Some(entry.seq);
        if self.block.len() >= BLOCK_BYTES {
            self.flush();
        }
    }

    /// How many bytes were written before compression.
    pub fn raw_bytes(&self) -> usize {
        self.flushed_bytes.saturating_add(self.block.len())
    }

    /// How many records.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// How many bytes are compressed and were not taken by [`BatchEncoder::drain`].
    pub const fn packed_bytes(&self) -> usize {
        match &self.stream {
            Stream::Plain(body) => body.len(),
            Stream::Gzip(gzip) => gzip.packed_bytes(),
            Stream::Snappy(snappy) => snappy.packed_bytes(),
            Stream::Zstd(zstd) => zstd.packed_bytes(),
            Stream::Zip(_) => 0,
        }
    }

    /// Takes what is compressed so far; the whole is what was taken, and the body of
    /// [`BatchEncoder::finish`] behind it. An archive comes as a whole only.
    pub fn drain(&mut self) -> Vec<u8> {
        match &mut self.stream {
            Stream::Plain(body) => std::mem::take(body),
            Stream::Gzip(gzip) => gzip.drain(),
            Stream::Snappy(snappy) => snappy.drain(),
            Stream::Zstd(zstd) => zstd.drain(),
            Stream::Zip(_) => Vec::new(),
        }
    }

    /// Completes the batch.
    pub fn finish(mut self) -> Encoded {
        if self.encoding.format == Format::JsonArray {
            let end: &[u8] = if self.count == 0 { b"[]" } else { b"]" };
            self.block.extend_from_slice(end);
        }
        self.flush();
        Encoded {
            body: self.stream.finish(self.ring_id, self.first, self.last),
            raw_bytes: self.flushed_bytes,
            count: self.count,
            content_type: self.encoding.content_type(),
            content_encoding: self.encoding.content_encoding(),
            extension: self.encoding.extension(),
        }
    }

    fn flush(&mut self) {
        self.stream.write(&self.block);
        self.flushed_bytes = self.flushed_bytes.saturating_add(self.block.len());
        self.block.clear();
        // One large record does not hold its space for the rest of the batch.
        self.block.shrink_to(2 * BLOCK_BYTES);
    }
}

impl Stream {
    fn new(compression: Compression, level: Option<u8>) -> Self {
        match compression {
            Compression::None => Self::Plain(Vec::new()),
            Compression::Gzip => Self::Gzip(Gzip::new(level)),
            Compression::Zip => Self::Zip(Zip::new(level)),
            Compression::Snappy => Self::Snappy(Snappy::new(Framing::Xerial)),
            Compression::HadoopSnappy => Self::Snappy(Snappy::new(Framing::Hadoop)),
            Compression::Zstd => Self::Zstd(Zstd::new(level)),
        }
    }

    fn write(&mut self, data: &[u8]) {
        match self {
            Self::Plain(body) => body.extend_from_slice(data),
            Self::Gzip(gzip) => gzip.write(data),
            Self::Zip(zip) => zip.write(data),
            Self::Snappy(snappy) => snappy.write(data),
            Self::Zstd(zstd) => zstd.write(data),
        }
    }

    fn finish(self, ring_id: u64, first: Option<Seq>, last: Option<Seq>) -> Vec<u8> {
        match self {
            Self::Plain(body) => body,
            Self::Gzip(gzip) => gzip.finish(),
            Self::Zip(zip) => zip.finish(&entry_name(ring_id, first, last)),
            Self::Snappy(snappy) => snappy.finish(),
            Self::Zstd(zstd) => zstd.finish(),
        }
    }
}

/// A payload's own newline at its end is enough; those inside of it are its own business.
fn write_raw(record: &StoredRef<'_>, out: &mut Vec<u8>) {
    match record.payload_state {
        PayloadState::Opaque | PayloadState::Parsed => out.extend_from_slice(record.payload),
        PayloadState::Replaced => json::write_object(out, record.fields),
    }
    if record.payload_state == PayloadState::Replaced || !record.payload.ends_with(b"\n") {
        out.push(b'\n');
    }
}

/// The name of the file in an archive: a UUID of version 8 (RFC 9562), made from what is in it.
fn entry_name(ring_id: u64, first: Option<Seq>, last: Option<Seq>) -> String {
    let mut hash = ring::digest::Context::new(&ring::digest::SHA256);
    hash.update(b"hydrant batch");
    for number in [Some(ring_id), first.map(Seq::get), last.map(Seq::get)] {
        hash.update(&number.unwrap_or(u64::MAX).to_le_bytes());
    }
    let digest = hash.finish();
    let mut bytes = [0; 16];
    for (place, byte) in bytes.iter_mut().zip(digest.as_ref()) {
        *place = *byte;
    }
    let number = u128::from_le_bytes(bytes);
    let number = number & !(0xf << 76) | (0x8 << 76);
    let number = number & !(0x3 << 62) | (0x2 << 62);
    let digits = format!("{number:032x}");
    let mut name = String::with_capacity(36);
    for (place, digit) in digits.chars().enumerate() {
        if matches!(place, 8 | 12 | 16 | 20) {
            name.push('-');
        }
        name.push(digit);
    }
    name
}

#[cfg(test)]
mod tests;

//! Reading durable frames back, and going on behind what rotted.

use crate::bytes::{to_u32, to_usize};
use crate::frame::{Frame, FrameHeader, Kind, checksum, low_u32, unpack};
use crate::geometry::Format;
use crate::layout::{FRAME_HEADER_LEN, PAGE, PROBE_LEN, page_ceil, page_floor};
use crate::mutant::Mutant;
use crate::{Seq, Storage, StorageError};

/// How much is read at once.
const CHUNK: u32 = 64 << 10;

/// A reader's place in the log, with what it has read ahead.
#[derive(Clone, Debug)]
pub struct Cursor {
    pub(crate) seq: Seq,
    pub(crate) place: Option<Place>,
    pub(crate) buffer: Buffer,
}

impl Cursor {
    pub(crate) const fn new(seq: Seq) -> Self {
        Self {
            seq,
            place: None,
            buffer: Buffer::new(),
        }
    }

    /// The entry that will be read next.
    pub const fn seq(&self) -> Seq {
        self.seq
    }
}

/// What came next in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// Entries.
    Frame(Frame),
    /// These entries were durable and cannot be read any more; reading goes on behind them.
    Lost {
        /// The first lost entry.
        first: Seq,
        /// The entry after the last lost one.
        end: Seq,
    },
    /// These entries were evicted before the cursor came to them.
    Evicted {
        /// The first evicted entry.
        first: Seq,
        /// The oldest entry that is left.
        end: Seq,
    },
    /// Nothing durable is left to read at present.
    End,
}

/// Where a cursor stands: the frame at `offset` begins with the entry `seq`, or should.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) number: u64,
    pub(crate) offset: u32,
    pub(crate) seq: Seq,
}

/// Bytes of one segment that were read ahead.
#[derive(Clone, Debug)]
pub(crate) struct Buffer {
    number: u64,
    start: u32,
    bytes: Vec<u8>,
}

impl Buffer {
    pub(crate) const fn new() -> Self {
        Self {
            number: 0,
            start: 0,
            bytes: Vec::new(),
        }
    }

    /// The bytes to be read anew: `len` of them from `start`.
    fn refill(&mut self, number: u64, start: u32, len: u32) -> &mut [u8] {
        self.number = number;
        self.start = start;
        self.bytes.resize(to_usize(len), 0);
        &mut self.bytes
    }

    fn get(&self, offset: u32, len: u32) -> Option<&[u8]> {
        let from = to_usize(offset.checked_sub(self.start)?);
        self.bytes.get(from..from + to_usize(len))
    }
}

/// The part of a segment that may be read: its frames up to `limit`.
#[derive(Debug)]
pub(crate) struct Span<'a, S> {
    pub(crate) storage: &'a S,
    pub(crate) format: &'a Format,
    pub(crate) number: u64,
    pub(crate) limit: u32,
    /// From `tail_offset` on the bytes are those of `tail`, not those at home.
    pub(crate) tail_offset: u32,
    pub(crate) tail: &'a [u8],
    /// No entry of the segment has this seq or a later one.
    pub(crate) end_seq: Seq,
}

/// What lies at an offset.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// A frame whose first entry is `seq`, and where the next one begins.
    Frame {
        header: FrameHeader,
        seq: Seq,
        next: u32,
    },
    /// Zeros up to a page boundary, too few for a frame.
    Pad { next: u32 },
    /// Nothing that was ever written here.
    Bad,
    /// The limit.
    End,
}

impl<S: Storage> Span<'_, S> {
    /// Looks at `offset`, where the entry `expected` should be next.
    pub(crate) fn step(
        &self,
        buffer: &mut Buffer,
        offset: u32,
        expected: Seq,
    ) -> Result<Step, StorageError> {
        if offset >= self.limit {
            return Ok(Step::End);
        }
        if let Some((header, seq)) = self.frame_at(buffer, offset, expected)? {
            let next = offset + header.frame_len();
            return Ok(Step::Frame { header, seq, next });
        }
        let next = page_ceil(offset).min(self.limit);
        if next == offset || next - offset >= FRAME_HEADER_LEN {
            return Ok(Step::Bad);
        }
        let pad = self.bytes(buffer, offset, next - offset)?;
        if pad.is_some_and(|pad| pad.iter().all(|byte| *byte == 0)) {
            return Ok(Step::Pad { next });
        }
        Ok(Step::Bad)
    }

    /// The next offset behind `offset` with a frame, and that frame's first entry.
    pub(crate) fn resync(
        &self,
        buffer: &mut Buffer,
        offset: u32,
        expected: Seq,
    ) -> Result<Option<(u32, Seq)>, StorageError> {
        if self.format.mutant.is(Mutant::NoResync) {
            return Ok(None);
        }
        for candidate in offset + 1..self.limit {
            if let Some((_, seq)) = self.frame_at(buffer, candidate, expected)? {
                return Ok(Some((candidate, seq)));
            }
        }
        Ok(None)
    }

    /// The entries of the frame at `offset`, if its body is what its header says.
    pub(crate) fn unpack(
        &self,
        buffer: &mut Buffer,
        offset: u32,
        header: &FrameHeader,
    ) -> Result<Option<Vec<u8>>, StorageError> {
        let body = self.bytes(buffer, offset + FRAME_HEADER_LEN, header.body_len)?;
        let Some(body) = body else {
            return Ok(None);
        };
        if !header.sealed {
            return Ok(unpack(header, body));
        }
        let keys = &self.format.keys;
        let sealed = header.authenticated();
        let opened = keys.open(self.format.id, self.number, offset, &sealed, body);
        Ok(opened.and_then(|body| unpack(header, &body)))
    }

    fn frame_at(
        &self,
        buffer: &mut Buffer,
        offset: u32,
        expected: Seq,
    ) -> Result<Option<(FrameHeader, Seq)>, StorageError> {
        let Some(head) = self.bytes(buffer, offset, FRAME_HEADER_LEN)? else {
            return Ok(None);
        };
        let Some((header, crc)) = FrameHeader::decode(head) else {
            return Ok(None);
        };
        let ahead = header.seq_low.wrapping_sub(low_u32(expected.get()));
        let seq = expected.advance(u64::from(ahead));
        let is_empty = header.kind == Kind::Entries && header.count == 0;
        if seq.advance(header.entries()) > self.end_seq
            || is_empty
            || header.frame_len() > self.limit - offset
        {
            return Ok(None);
        }
        let covered = self.bytes(buffer, offset + 4, header.frame_len() - 4)?;
        let sound = covered.is_some_and(|covered| {
            checksum(self.format.seed(self.number), offset, covered) == crc
                || self.format.mutant.is(Mutant::NoCrc)
        });
        Ok(sound.then_some((header, seq)))
    }

    /// The bytes at `offset`, read ahead; `None` when they reach behind the limit.
    fn bytes<'b>(
        &self,
        buffer: &'b mut Buffer,
        offset: u32,
        len: u32,
    ) -> Result<Option<&'b [u8]>, StorageError> {
        let end = offset.checked_add(len).filter(|end| *end <= self.limit);
        if end.is_none() {
            return Ok(None);
        }
        if buffer.number != self.number || buffer.get(offset, len).is_none() {
            self.fill(buffer, offset, len)?;
        }
        Ok(buffer.get(offset, len))
    }

    fn fill(&self, buffer: &mut Buffer, offset: u32, len: u32) -> Result<(), StorageError> {
        let start = page_floor(offset);
        let end = (offset + len)
            .max(start.saturating_add(CHUNK))
            .min(self.limit);
        let home_end = end.min(self.tail_offset.max(start));
        let bytes = buffer.refill(self.number, start, home_end - start);
        if !bytes.is_empty() {
            let at = self.format.geometry.base(self.number) + u64::from(start);
            let read = read_or_rot(self.storage, self.format, at, bytes);
            if read.is_err() {
                buffer.bytes.clear();
            }
            read?;
        }
        let from = to_usize(home_end.saturating_sub(self.tail_offset));
        let to = to_usize(end.saturating_sub(self.tail_offset));
        if let Some(tail) = self.tail.get(from..to) {
            buffer.bytes.extend_from_slice(tail);
        }
        debug_assert_eq!(start + to_u32(buffer.bytes.len()), end);
        Ok(())
    }
}

/// Reads what can be read, and zeros where the disk has bad sectors: they have rotted.
///
/// A disk that does not even give a superblock has failed as a whole, which is an error.
pub(crate) fn read_or_rot<S: Storage>(
    storage: &S,
    format: &Format,
    at: u64,
    bytes: &mut [u8],
) -> Result<(), StorageError> {
    let Err(error) = storage.read_at(at, bytes) else {
        return Ok(());
    };
    let mut probe = [0; PROBE_LEN];
    let copy = format.geometry.copy_offset();
    if storage.read_at(0, &mut probe).is_err() && storage.read_at(copy, &mut probe).is_err() {
        return Err(error);
    }
    let mut at = at;
    for sector in bytes.chunks_mut(PROBE_LEN) {
        if storage.read_at(at, sector).is_err() {
            sector.fill(0);
        }
        at += u64::from(to_u32(sector.len()));
    }
    Ok(())
}

/// The page in which `offset` lies, as written at home.
pub(crate) fn home_page<S: Storage>(
    storage: &S,
    format: &Format,
    number: u64,
    offset: u32,
) -> Result<Vec<u8>, StorageError> {
    let mut page = vec![0; to_usize(PAGE)];
    let at = format.geometry.base(number) + u64::from(page_floor(offset));
    read_or_rot(storage, format, at, &mut page)?;
    Ok(page)
}

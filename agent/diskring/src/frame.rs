//! Frames: entries or states written as one, with a checksum that holds at one place only.
//!
//! The checksum begins with the ring's id, the segment's number and the frame's offset, so that
//! neither a frame of an earlier lap nor a copy of a ring inside a payload can pass for a frame.

use std::fmt;

use crate::Seq;
use crate::bytes::{Bytes, push_varint, to_u32, to_usize};
use crate::compress::{Compressor, Packing, decompress, make_room};
use crate::geometry::{Compression, FRAME_RAW_MAX};
use crate::layout::FRAME_HEADER_LEN;
use crate::seal::{SEAL_BYTES, SegmentKey};

const LEN_MASK: u32 = 0x00ff_ffff;
const SNAPPY: u32 = 1 << 28;
/// Set on frames whose body is sealed.
const SEALED: u32 = 1 << 29;
const ZSTD: u32 = 1 << 30;
const PACKED: u32 = SNAPPY | ZSTD;
const KIND_SHIFT: u32 = 24;
const KNOWN: u32 = LEN_MASK | 0x0f << KIND_SHIFT | PACKED | SEALED;

/// Entries that were written as one.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    first: Seq,
    end: Seq,
    start: Seq,
    body: Vec<u8>,
}

impl Frame {
    pub(crate) const fn new(start: Seq, first: Seq, end: Seq, body: Vec<u8>) -> Self {
        Self {
            first,
            end,
            start,
            body,
        }
    }

    /// The first entry given out.
    pub const fn first(&self) -> Seq {
        self.first
    }

    /// The entry after the last.
    pub const fn end(&self) -> Seq {
        self.end
    }

    /// Bytes of its entries, with their lengths and tags.
    pub const fn len_bytes(&self) -> usize {
        self.body.len()
    }

    /// The entries in the order of the log.
    pub fn entries(&self) -> Entries<'_> {
        Entries {
            first: self.first,
            next: self.start,
            end: self.end,
            bytes: Bytes::new(&self.body),
        }
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame")
            .field("first", &self.first)
            .field("end", &self.end)
            .field("body_len", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// One record in the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its number.
    pub seq: Seq,
    /// What the caller appended it with: its source.
    pub tag: u16,
    /// Its bytes.
    pub payload: &'a [u8],
}

/// Gives out the entries of a frame.
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    first: Seq,
    next: Seq,
    end: Seq,
    bytes: Bytes<'a>,
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        while self.next < self.end {
            let seq = self.next;
            let tag = u16::try_from(self.bytes.varint()?).ok()?;
            let len = self.bytes.varint()?;
            let payload = self.bytes.slice(to_usize(len))?;
            self.next = seq.advance(1);
            if seq >= self.first {
                return Some(Entry { seq, tag, payload });
            }
        }
        None
    }
}

/// Appends one entry to a frame's body.
#[inline]
pub(crate) fn push_entry(body: &mut Vec<u8>, tag: u16, payload: &[u8]) {
    body.reserve(entry_len_max(payload.len()));
    push_varint(body, u32::from(tag));
    push_varint(body, to_u32(payload.len()));
    body.extend_from_slice(payload);
}

/// The tag of the only entry in a body, and how many bytes stand before its payload.
pub(crate) fn single_entry(body: &[u8]) -> Option<(u16, usize)> {
    let mut bytes = Bytes::new(body);
    let tag = u16::try_from(bytes.varint()?).ok()?;
    let len = bytes.varint()?;
    let payload = bytes.slice(to_usize(len))?;
    bytes
        .is_empty()
        .then_some((tag, body.len() - payload.len()))
}

/// What [`push_entry`] adds at most.
pub(crate) const fn entry_len_max(payload_len: usize) -> usize {
    3 + 5 + payload_len
}

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Entries,
    /// One entry, its tag in the place of the count, so that a quiet stream wastes little.
    Single,
    State,
    Snapshot,
    /// Nothing, up to the end of the page.
    Pad,
}

impl Kind {
    const fn code(self) -> u32 {
        match self {
            Self::Entries => 1,
            Self::State => 2,
            Self::Snapshot => 3,
            Self::Pad => 4,
            Self::Single => 5,
        }
    }

    const fn from_code(code: u32) -> Option<Self> {
        match code {
            1 => Some(Self::Entries),
            2 => Some(Self::State),
            3 => Some(Self::Snapshot),
            4 => Some(Self::Pad),
            5 => Some(Self::Single),
            _ => None,
        }
    }
}

/// A frame's header, checksum apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) kind: Kind,
    pub(crate) packing: Packing,
    pub(crate) sealed: bool,
    pub(crate) body_len: u32,
    pub(crate) seq_low: u32,
    pub(crate) generation_low: u16,
    /// How many entries there are; of a single one, its tag.
    pub(crate) count: u16,
}

impl FrameHeader {
    /// The header and the checksum beside it; `None` when no frame has such a header.
    pub(crate) fn decode(data: &[u8]) -> Option<(Self, u32)> {
        let mut bytes = Bytes::new(data);
        let crc = bytes.u32()?;
        let word = bytes.u32()?;
        if word & !KNOWN != 0 {
            return None;
        }
        let header = Self {
            kind: Kind::from_code(word >> KIND_SHIFT & 0x0f)?,
            packing: match word & PACKED {
                0 => Packing::None,
                SNAPPY => Packing::Snappy,
                ZSTD => Packing::Zstd,
                _ => return None,
            },
            sealed: word & SEALED != 0,
            body_len: word & LEN_MASK,
            seq_low: bytes.u32()?,
            generation_low: bytes.u16()?,
            count: bytes.u16()?,
        };
        Some((header, crc))
    }

    /// How many entries the frame has.
    pub(crate) fn entries(&self) -> u64 {
        match self.kind {
            Kind::Entries => u64::from(self.count),
            Kind::Single => 1,
            Kind::State | Kind::Snapshot | Kind::Pad => 0,
        }
    }

    /// Header and body together.
    pub(crate) const fn frame_len(&self) -> u32 {
        FRAME_HEADER_LEN + self.body_len
    }

    /// What is sealed along with the body.
    pub(crate) fn authenticated(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(to_usize(FRAME_HEADER_LEN));
        let packed = match self.packing {
            Packing::None => 0,
            Packing::Snappy => SNAPPY,
            Packing::Zstd => ZSTD,
        };
        let sealed = if self.sealed { SEALED } else { 0 };
        let word = self.body_len | self.kind.code() << KIND_SHIFT | packed | sealed;
        out.extend_from_slice(&word.to_le_bytes());
        out.extend_from_slice(&self.seq_low.to_le_bytes());
        out.extend_from_slice(&self.generation_low.to_le_bytes());
        out.extend_from_slice(&self.count.to_le_bytes());
        out
    }
}

/// The checksum of a frame: `covered` is its bytes behind the checksum itself.
pub(crate) fn checksum(seed: u32, offset: u32, covered: &[u8]) -> u32 {
    let seed = crc32c::crc32c_append(seed, &offset.to_le_bytes());
    crc32c::crc32c_append(seed, covered)
}

/// Where a frame goes and what it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameMeta {
    pub(crate) kind: Kind,
    pub(crate) seq: Seq,
    pub(crate) count: u16,
    pub(crate) generation: u64,
    pub(crate) seed: u32,
    pub(crate) offset: u32,
}

/// Makes frames, with its buffers kept for the next.
#[derive(Debug)]
pub(crate) struct Encoder {
    compressor: Compressor,
    scratch: Vec<u8>,
}

impl Encoder {
    pub(crate) fn new(compression: Compression) -> Self {
        Self {
            compressor: Compressor::new(compression),
            scratch: Vec::new(),
        }
    }

    /// Appends the frame to `out`, its body compressed where that saves.
    pub(crate) fn encode(
        &mut self,
        meta: &FrameMeta,
        key: Option<&SegmentKey>,
        raw: &[u8],
        out: &mut Vec<u8>,
    ) {
        let start = out.len();
        out.resize(start + to_usize(FRAME_HEADER_LEN), 0);
        out.extend_from_slice(raw);
        self.encode_in_place(meta, key, start, out);
    }

    /// Makes a frame of what stands in `out` behind `start` and the room for a frame's header: a
    /// body that is neither compressed nor sealed is not moved any more.
    pub(crate) fn encode_in_place(
        &mut self,
        meta: &FrameMeta,
        key: Option<&SegmentKey>,
        start: usize,
        out: &mut Vec<u8>,
    ) {
        let body_start = start + to_usize(FRAME_HEADER_LEN);
        let raw = out.get(body_start..).unwrap_or_default();
        debug_assert!(raw.len() <= FRAME_RAW_MAX);
        let packed = match meta.kind {
            Kind::Entries | Kind::Single | Kind::State | Kind::Snapshot => {
                self.compressor.compress(raw, &mut self.scratch)
            }
            Kind::Pad => None,
        };
        let packed_len = packed.map(|(_, len)| len);
        let key = key.filter(|_| meta.kind != Kind::Pad);
        let sealing = key.map_or(0, |_| SEAL_BYTES);
        let header = FrameHeader {
            kind: meta.kind,
            packing: packed.map_or(Packing::None, |(packing, _)| packing),
            sealed: key.is_some(),
            body_len: to_u32(packed_len.unwrap_or(raw.len()) + sealing),
            seq_low: low_u32(meta.seq.get()),
            generation_low: low_u16(meta.generation),
            count: meta.count,
        };
        let described = header.authenticated();
        let moved_len = packed_len.or_else(|| key.map(|_| self.copy(raw)));
        if let Some(body) = moved_len.and_then(|len| self.scratch.get(..len)) {
            out.truncate(body_start);
            match key {
                Some(key) => key.seal(meta.offset, &described, body, out),
                None => out.extend_from_slice(body),
            }
        }
        if let Some((crc, covered)) = out.get_mut(start..).and_then(<[u8]>::split_first_chunk_mut) {
            for (to, from) in covered.iter_mut().zip(&described) {
                *to = *from;
            }
            *crc = checksum(meta.seed, meta.offset, covered).to_le_bytes();
        }
    }

    /// Puts the body into the scratch as it is.
    fn copy(&mut self, raw: &[u8]) -> usize {
        make_room(&mut self.scratch, raw.len());
        if let Some(scratch) = self.scratch.get_mut(..raw.len()) {
            scratch.copy_from_slice(raw);
        }
        raw.len()
    }
}

/// The entries or states that went into a frame; `None` when they cannot be had.
pub(crate) fn unpack(header: &FrameHeader, body: &[u8]) -> Option<Vec<u8>> {
    if header.kind == Kind::Single {
        let raw = decompress(header.packing, body)?;
        let mut out = Vec::with_capacity(entry_len_max(raw.len()));
        push_entry(&mut out, header.count, &raw);
        return Some(out);
    }
    decompress(header.packing, body)
}

pub(crate) fn low_u32(value: u64) -> u32 {
    let [a, b, c, d, ..] = value.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

pub(crate) fn low_u16(value: u64) -> u16 {
    let [a, b, ..] = value.to_le_bytes();
    u16::from_le_bytes([a, b])
}

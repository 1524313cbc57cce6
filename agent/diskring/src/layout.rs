//! The fixed structures on disk, byte by byte; docs/ring-format.md shows them as tables.
//!
//! Every number is little-endian. Each structure ends with a CRC32C over what stands before it, in
//! which the ring's id is contained. Nothing here decides which of several copies counts.

use crate::bytes::{Bytes, to_u32, to_usize};
use crate::geometry::Geometry;
use crate::{OpenError, RingId, Seq};

/// The unit of writing: no page with durable frames is written again before its segment is reused.
pub(crate) const PAGE: u32 = 4096;
/// Where a segment's header stands, behind two of its slots.
pub(crate) const HEADER_OFFSET: u32 = 2 * PAGE;
/// Room for a segment's header, which the snapshot follows.
pub(crate) const HEADER_ROOM: u32 = 128;
/// Room for a slot's header, which the image of the partial page follows.
pub(crate) const SLOT_ROOM: u32 = 136;
/// Bytes of a segment's header.
const HEADER_LEN: usize = 80;
/// Bytes of a frame's header.
pub(crate) const FRAME_HEADER_LEN: u32 = 16;
/// What opening reads of each segment.
pub(crate) const PROBE_LEN: usize = 512;

/// The version of everything on disk; a ring of another version is refused.
pub const FORMAT_VERSION: u16 = 1;

/// In place of the time of an entry, when it is not known; [`crate::Ring::seek_time`] skips what
/// begins with it.
pub const TIME_UNKNOWN: i64 = i64::MIN;
const RING_MAGIC: [u8; 8] = *b"hydrring";
const HEADER_MAGIC: [u8; 4] = *b"hseg";
const SLOT_MAGIC: [u8; 4] = *b"htai";

/// The superblock, written at creation and never again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Superblock {
    pub(crate) id: RingId,
    pub(crate) geometry: Geometry,
}

impl Superblock {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(to_usize(PAGE));
        out.extend_from_slice(&RING_MAGIC);
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&0_u16.to_le_bytes());
        out.extend_from_slice(&PAGE.to_le_bytes());
        out.extend_from_slice(&self.id.0.to_le_bytes());
        out.extend_from_slice(&self.geometry.capacity.to_le_bytes());
        out.extend_from_slice(&self.geometry.segment_bytes.to_le_bytes());
        out.extend_from_slice(&self.geometry.segments.to_le_bytes());
        push_crc(&mut out);
        out.resize(to_usize(PAGE), 0);
        out
    }

    /// `None` when these bytes are no superblock at all.
    pub(crate) fn decode(page: &[u8]) -> Option<Result<Self, OpenError>> {
        let mut bytes = Bytes::new(page);
        let body = Bytes::new(page).slice(40)?;
        if bytes.array::<8>()? != RING_MAGIC {
            return None;
        }
        let version = bytes.u16()?;
        let _flags = bytes.u16()?;
        let page_bytes = bytes.u32()?;
        let id = RingId(bytes.u64()?);
        let (capacity, segment_bytes, segments) = (bytes.u64()?, bytes.u32()?, bytes.u32()?);
        if bytes.u32()? != crc32c::crc32c(body) {
            return None;
        }
        if version != FORMAT_VERSION || page_bytes != PAGE {
            return Some(Err(OpenError::Version {
                found: version,
                known: FORMAT_VERSION,
            }));
        }
        let geometry = Geometry::checked(capacity, segment_bytes, segments)?;
        Some(Ok(Self { id, geometry }))
    }
}

/// Where the log begins: everything in earlier segments is evicted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogStart {
    pub(crate) number: u64,
    pub(crate) first: Seq,
}

impl LogStart {
    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&self.first.get().to_le_bytes());
    }

    pub(crate) fn decode(bytes: &mut Bytes<'_>) -> Option<Self> {
        Some(Self {
            number: bytes.u64()?,
            first: Seq::new(bytes.u64()?),
        })
    }
}

/// What a segment says of itself; once at home, and again in each of its slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) generation: u64,
    pub(crate) number: u64,
    pub(crate) first: Seq,
    pub(crate) first_ms: i64,
    /// The log start when the segment was begun.
    pub(crate) log_start: LogStart,
    /// Where the frames of the segment before end; 0 when there was none.
    pub(crate) previous_end: u32,
    /// Where this segment's entries and state frames begin, behind the snapshot.
    pub(crate) data_start: u32,
    /// The id of the key that its frames are sealed with; 0 when they are not.
    pub(crate) key_id: u64,
}

impl SegmentHeader {
    pub(crate) fn encode(&self, id: RingId, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&HEADER_MAGIC);
        out.extend_from_slice(&id.0.to_le_bytes());
        out.extend_from_slice(&self.generation.to_le_bytes());
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&self.first.get().to_le_bytes());
        out.extend_from_slice(&self.first_ms.to_le_bytes());
        self.log_start.encode(out);
        out.extend_from_slice(&self.previous_end.to_le_bytes());
        out.extend_from_slice(&self.data_start.to_le_bytes());
        out.extend_from_slice(&self.key_id.to_le_bytes());
        let crc = crc32c::crc32c(out.get(start..).unwrap_or_default());
        out.extend_from_slice(&crc.to_le_bytes());
    }

    pub(crate) fn decode(id: RingId, geometry: &Geometry, data: &[u8]) -> Option<Self> {
        let mut bytes = Bytes::new(data);
        let body = Bytes::new(data).slice(HEADER_LEN - 4)?;
        let sound = bytes.array::<4>()? == HEADER_MAGIC && bytes.u64()? == id.0;
        let header = Self {
            generation: bytes.u64()?,
            number: bytes.u64()?,
            first: Seq::new(bytes.u64()?),
            first_ms: bytes.i64()?,
            log_start: LogStart::decode(&mut bytes)?,
            previous_end: bytes.u32()?,
            data_start: bytes.u32()?,
            key_id: bytes.u64()?,
        };
        let stream = HEADER_OFFSET..=geometry.stream_end();
        let sound = sound
            && bytes.u32()? == crc32c::crc32c(body)
            && header.data_start.is_multiple_of(PAGE)
            && stream.contains(&header.data_start)
            && (header.previous_end == 0 || stream.contains(&header.previous_end))
            && header.log_start.number <= header.number
            && header.log_start.first <= header.first
            && header.number < u64::MAX / 2
            && header.first.get() < u64::MAX / 2;
        sound.then_some(header)
    }
}

/// The end of the log as of one sync, with the image of the page in which it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tail {
    pub(crate) header: SegmentHeader,
    pub(crate) generation: u64,
    /// Grows by one with each slot written.
    pub(crate) version: u64,
    /// Where the group begins that this slot made durable; 0 for the first of its segment.
    pub(crate) group_start: u32,
    /// The first seq of that group.
    pub(crate) group_first: Seq,
    /// The seq after the last durable entry.
    pub(crate) next: Seq,
    /// Where the page begins that the image shows.
    pub(crate) image_offset: u32,
    /// How much of that page is used; the log ends behind it.
    pub(crate) image_len: u32,
}

impl Tail {
    /// Where the log ends within the segment.
    pub(crate) const fn end(&self) -> u32 {
        self.image_offset + self.image_len
    }

    /// The whole page of the slot.
    pub(crate) fn encode(&self, id: RingId, image: &[u8], out: &mut Vec<u8>) {
        debug_assert_eq!(to_u32(image.len()), self.image_len);
        out.clear();
        self.header.encode(id, out);
        out.extend_from_slice(&SLOT_MAGIC);
        out.extend_from_slice(&self.generation.to_le_bytes());
        out.extend_from_slice(&self.version.to_le_bytes());
        out.extend_from_slice(&self.group_start.to_le_bytes());
        out.extend_from_slice(&self.group_first.get().to_le_bytes());
        out.extend_from_slice(&self.next.get().to_le_bytes());
        out.extend_from_slice(&self.image_offset.to_le_bytes());
        out.extend_from_slice(&self.image_len.to_le_bytes());
        out.extend_from_slice(&crc32c::crc32c(image).to_le_bytes());
        push_crc(out);
        out.resize(to_usize(SLOT_ROOM), 0);
        out.extend_from_slice(image);
        out.resize(to_usize(PAGE), 0);
    }

    /// The slot's header without its image, of which only the checksum is returned.
    pub(crate) fn decode(id: RingId, geometry: &Geometry, data: &[u8]) -> Option<(Self, u32)> {
        let header = SegmentHeader::decode(id, geometry, data)?;
        let body = Bytes::new(data).slice(HEADER_LEN + 52)?;
        let mut bytes = Bytes::new(data);
        bytes.slice(HEADER_LEN)?;
        let magic = bytes.array::<4>()?;
        let tail = Self {
            header,
            generation: bytes.u64()?,
            version: bytes.u64()?,
            group_start: bytes.u32()?,
            group_first: Seq::new(bytes.u64()?),
            next: Seq::new(bytes.u64()?),
            image_offset: bytes.u32()?,
            image_len: bytes.u32()?,
        };
        let image_crc = bytes.u32()?;
        let crc = bytes.u32()?;
        let sound = magic == SLOT_MAGIC
            && crc == crc32c::crc32c(body)
            && tail.image_len <= PAGE - SLOT_ROOM
            && tail.image_offset.is_multiple_of(PAGE)
            && (header.data_start..=geometry.stream_end()).contains(&tail.image_offset)
            && tail.end() <= geometry.stream_end()
            && (tail.group_start == 0
                || (header.data_start..=tail.end()).contains(&tail.group_start))
            && header.first <= tail.group_first
            && tail.group_first <= tail.next
            && tail.next.get() < u64::MAX / 2
            && tail.generation >= header.generation;
        sound.then_some((tail, image_crc))
    }

    /// The image in a slot's page, if it is the one that the header was written with.
    pub(crate) fn image<'a>(&self, page: &'a [u8], crc: u32) -> Option<&'a [u8]> {
        let start = to_usize(SLOT_ROOM);
        let image = page.get(start..start + to_usize(self.image_len))?;
        (crc32c::crc32c(image) == crc).then_some(image)
    }
}

/// The start of the page that contains `offset`.
pub(crate) const fn page_floor(offset: u32) -> u32 {
    offset - offset % PAGE
}

/// The start of the first page at or behind `offset`.
pub(crate) const fn page_ceil(offset: u32) -> u32 {
    offset.next_multiple_of(PAGE)
}

fn push_crc(out: &mut Vec<u8>) {
    let crc = crc32c::crc32c(out);
    out.extend_from_slice(&crc.to_le_bytes());
}

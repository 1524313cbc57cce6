//! Sizes: how a file of a given capacity is divided, and what fits where.
//!
//! ```text
//! superblock | segment 0 | segment 1 | ... | segment N-1 | (rest) | superblock copy
//! segment: two slots | header and snapshot, padded to a page | frames ... | two slots
//! ```
//!
//! Segment number `n`, which only grows, lies at place `n % N`. The slots are the first two and the
//! last two pages of their segment, written by turns at either end: a slot being written is far
//! from the one that counts, because a flash translation layer loses whole blocks, and the end
//! that counts is overwritten only three syncs later, because some disks report a sync as done
//! that was not.

use crate::OpenError;
use crate::bytes::to_usize;
use crate::layout::{FRAME_HEADER_LEN, HEADER_OFFSET, HEADER_ROOM, PAGE, SLOT_ROOM};
use crate::mutant::Mutant;
use crate::seal::{Keys, SEAL_BYTES, Sealing};
use crate::state::{COUNTS_BYTES_MAX, WEAR_BYTES};

/// The smallest ring that is worth having; a smaller one must name its segment size.
pub const RING_BYTES_MIN: u64 = 1 << 20;

/// An entry is never larger, whatever the segment size: a reader holds one in memory.
const ENTRY_BYTES_LIMIT: usize = 1 << 20;
/// A frame decompresses to at most this: the largest entry or snapshot with its own overhead.
pub(crate) const FRAME_RAW_MAX: usize = ENTRY_BYTES_LIMIT + (1 << 17);
/// A ring divides into at least this many segments unless told otherwise.
const SEGMENTS_DERIVED_MIN: u64 = 8;
const SEGMENTS_MIN: u64 = 4;
const SEGMENTS_MAX: u64 = 4096;
/// Small rings get this many segments rather than larger ones.
const SEGMENTS_SMALL: u64 = 16;
const SEGMENT_PAGES_MIN: u64 = 8;
/// In small rings a segment has at least this many pages, unless that made too few of them. Five
/// pages of each are overhead and half a segment is always being made room in: around this size
/// both together take least of rings of 4 MiB, about a tenth.
const SEGMENT_PAGES_SMALL: u64 = 85;
const SEGMENT_PAGES: u64 = 256;
const SEGMENT_PAGES_MAX: u64 = 1 << 16;
const STATE_BYTES_MAX: u32 = 1 << 16;
/// Room kept at the end of a segment so that new states find a place beside the old ones.
const SLACK: usize = 1400;
/// A state frame's header with the log start and the wear in it, and the page end lost to a slot's
/// header.
const CLOSING: usize = 64 + WEAR_BYTES + SEAL_BYTES + to_usize_const(SLOT_ROOM);

/// The identity of a ring, chosen at random by its creator, so that no other ring's frames pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RingId(pub u64);

/// How frames lie on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// As they are.
    None,
    /// Snappy, where that saves.
    #[default]
    Snappy,
    /// Zstandard, where that saves.
    Zstd {
        /// How hard it tries, 1 to 9.
        level: u8,
    },
}

/// What may be chosen about a ring.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Bytes of a segment, only asked for at creation; `None` derives it from the capacity.
    pub segment_bytes: Option<u32>,
    /// How frames written from here on lie on disk.
    pub compression: Compression,
    /// Whether and how segments begun from here on are sealed, and what opens the older ones.
    pub sealing: Option<Sealing>,
    /// The safeguard that a test switches off.
    #[cfg(feature = "sim")]
    pub mutant: Mutant,
}

impl Options {
    #[cfg(feature = "sim")]
    pub(crate) const fn mutant(&self) -> Mutant {
        self.mutant
    }

    #[cfg(not(feature = "sim"))]
    #[expect(clippy::unused_self, reason = "the same call in both builds")]
    pub(crate) const fn mutant(&self) -> Mutant {
        Mutant::None
    }
}

/// A ring's division, as its superblock records it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(crate) capacity: u64,
    pub(crate) segment_bytes: u32,
    pub(crate) segments: u32,
}

impl Geometry {
    /// The division of a new ring.
    pub(crate) fn new(capacity: u64, segment_bytes: Option<u32>) -> Result<Self, OpenError> {
        let refused = OpenError::Geometry {
            capacity,
            needed: RING_BYTES_MIN,
        };
        let page = u64::from(PAGE);
        let chosen = segment_bytes.is_some();
        let pages = capacity / page;
        let usable = pages.saturating_sub(2);
        let small = (usable / SEGMENT_PAGES_SMALL).min(SEGMENTS_SMALL);
        let wanted = (usable / SEGMENT_PAGES).max(small);
        let derived = usable / wanted.clamp(SEGMENTS_DERIVED_MIN, SEGMENTS_MAX);
        let pages_each = segment_bytes.map_or(derived, |bytes| u64::from(bytes / PAGE));
        let segments = usable
            .checked_div(pages_each)
            .unwrap_or(0)
            .min(SEGMENTS_MAX);
        let (Ok(segment_bytes), Ok(segments)) =
            (u32::try_from(pages_each * page), u32::try_from(segments))
        else {
            return Err(refused);
        };
        Self::checked(pages * page, segment_bytes, segments)
            .filter(|_| capacity >= RING_BYTES_MIN || chosen)
            .ok_or(refused)
    }

    /// The division that a superblock claims, if it is one.
    pub(crate) fn checked(capacity: u64, segment_bytes: u32, segments: u32) -> Option<Self> {
        let page = u64::from(PAGE);
        let taken = u64::from(segment_bytes)
            .checked_mul(u64::from(segments))?
            .checked_add(2 * page)?;
        let sound = capacity.is_multiple_of(page)
            && segment_bytes.is_multiple_of(PAGE)
            && (SEGMENT_PAGES_MIN..=SEGMENT_PAGES_MAX).contains(&u64::from(segment_bytes / PAGE))
            && (SEGMENTS_MIN..=SEGMENTS_MAX).contains(&u64::from(segments))
            && taken <= capacity;
        sound.then_some(Self {
            capacity,
            segment_bytes,
            segments,
        })
    }

    /// Where segment `number` begins in the file.
    pub(crate) fn base(&self, number: u64) -> u64 {
        let place = number % u64::from(self.segments);
        u64::from(PAGE) + place * u64::from(self.segment_bytes)
    }

    /// Where the superblock's copy lies.
    pub(crate) fn copy_offset(&self) -> u64 {
        self.capacity - u64::from(PAGE)
    }

    /// The end of the frames within a segment.
    pub(crate) const fn stream_end(&self) -> u32 {
        self.segment_bytes - 2 * PAGE
    }

    /// Where a slot lies within a segment.
    pub(crate) const fn slot_offset(&self, slot: Slot) -> u32 {
        match slot {
            Slot::Front => 0,
            Slot::Back => self.segment_bytes - PAGE,
            Slot::SecondFront => PAGE,
            Slot::SecondBack => self.segment_bytes - 2 * PAGE,
        }
    }

    /// What all states of the ring together may occupy.
    pub(crate) fn state_bytes_max(&self) -> usize {
        to_usize((self.segment_bytes / 16).min(STATE_BYTES_MAX))
    }

    /// The largest entry: it fits a fresh segment beside the largest snapshot.
    pub(crate) fn entry_bytes_max(&self) -> usize {
        let states = self.state_bytes_max();
        let opening = to_usize(HEADER_ROOM + FRAME_HEADER_LEN + PAGE) + states + COUNTS_BYTES_MAX;
        let around = to_usize(HEADER_OFFSET + 2 * PAGE + FRAME_HEADER_LEN)
            + opening
            + reserve(states)
            + 8
            + 2 * SEAL_BYTES;
        to_usize(self.segment_bytes)
            .saturating_sub(around)
            .min(ENTRY_BYTES_LIMIT)
    }
}

/// Which of a segment's four tail slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    Front,
    Back,
    SecondFront,
    SecondBack,
}

impl Slot {
    /// In the order in which they are written, again and again.
    pub(crate) const ALL: [Self; 4] =
        [Self::Front, Self::Back, Self::SecondFront, Self::SecondBack];

    /// The slot that is written after this one.
    pub(crate) const fn next(self) -> Self {
        match self {
            Self::Front => Self::Back,
            Self::Back => Self::SecondFront,
            Self::SecondFront => Self::SecondBack,
            Self::SecondBack => Self::Front,
        }
    }
}

/// What every part that touches the disk has to know.
#[derive(Clone, Debug)]
pub(crate) struct Format {
    pub(crate) id: RingId,
    pub(crate) geometry: Geometry,
    pub(crate) mutant: Mutant,
    pub(crate) keys: Keys,
}

impl Format {
    pub(crate) fn new(id: RingId, geometry: Geometry, options: &Options) -> Self {
        Self {
            id,
            geometry,
            mutant: options.mutant(),
            keys: Keys::new(options.sealing.as_ref()),
        }
    }

    /// What the checksums of a segment's frames begin with.
    pub(crate) fn seed(&self, number: u64) -> u32 {
        if self.mutant.is(Mutant::NoSeed) {
            return 0;
        }
        let seed = crc32c::crc32c(&self.id.0.to_le_bytes());
        crc32c::crc32c_append(seed, &number.to_le_bytes())
    }
}

/// What an eviction writes at most when all states, of `states` bytes, go with it.
pub(crate) const fn evict_reserve(states: usize) -> usize {
    to_usize_const(FRAME_HEADER_LEN) + states + CLOSING
}

/// What must stay free behind entries: their group's states, and an eviction after it.
pub(crate) const fn reserve(states: usize) -> usize {
    2 * evict_reserve(states) + SLACK
}

/// As [`reserve`], without what is kept for states that are still to come.
pub(crate) const fn put_reserve(states: usize) -> usize {
    2 * evict_reserve(states)
}

#[expect(
    clippy::as_conversions,
    reason = "`From` is not const; every target has 32 bits"
)]
const fn to_usize_const(value: u32) -> usize {
    value as usize
}

#[cfg(test)]
mod tests {
    use super::{Geometry, RING_BYTES_MIN};

    #[test]
    fn capacities_divide_well() {
        // capacity, segment bytes, segments
        let table = [
            (RING_BYTES_MIN, 31 * 4096, 8),
            (2 << 20, 63 * 4096, 8),
            (4 << 20, 85 * 4096, 12),
            (8 << 20, 127 * 4096, 16),
            (16 << 20, 255 * 4096, 16),
            (512 << 20, 256 * 4096, 511),
            (64 << 30, 4095 * 4096, 4096),
        ];
        for (capacity, segment_bytes, segments) in table {
            let geometry = Geometry::new(capacity, None).unwrap();
            assert_eq!(
                (geometry.segment_bytes, geometry.segments),
                (segment_bytes, segments),
                "capacity {capacity}"
            );
            assert!(
                geometry.entry_bytes_max() >= 32 << 10,
                "capacity {capacity}"
            );
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for (capacity, segment_bytes) in [
            (0, None),
            (RING_BYTES_MIN - 1, None),
            (RING_BYTES_MIN, Some(0)),
            (RING_BYTES_MIN, Some(4096)),
            (RING_BYTES_MIN, Some(1 << 20)),
            (100 << 10, Some(64 << 10)),
            (1 << 40, Some(u32::MAX)),
        ] {
            assert!(
                Geometry::new(capacity, segment_bytes).is_err(),
                "{capacity}"
            );
        }
    }
}

//! The ring: append, put, sync, read, evict.
//!
//! The order that matters: a group (entries, then the states put beside them) lies in one segment
//! and counts as a whole; a segment is begun only when everything before it is durable; the space
//! of an evicted segment is free only when the eviction is durable. To keep the last possible,
//! entries always leave room in their segment for their group's states and one eviction.

mod counts;
mod inspect;
mod reading;
mod stats;

pub use inspect::{Damage, DamagedPart, Inspection, SegmentInfo, Sight};
pub(crate) use reading::read_snapshot;
pub use stats::Stats;

use std::collections::{BTreeMap, VecDeque};

use crate::frame::entry_len_max;
use crate::geometry::{Format, Geometry, evict_reserve, put_reserve, reserve};
use crate::layout::{LogStart, PAGE, SegmentHeader, Superblock, TIME_UNKNOWN};
use crate::mutant::Mutant;
use crate::read::Cursor;
use crate::seal::SEAL_BYTES;
use crate::state::{KEY_BYTES_MAX, States, VALUE_BYTES_MAX, counts_between};
use crate::writer::Writer;
use crate::{
    AppendError, Durable, OpenError, Options, PutError, RingId, Seq, Storage, StorageError,
};

/// An open ring.
#[derive(Debug)]
pub struct Ring<S> {
    storage: S,
    format: Format,
    /// From the oldest to the one being written, their numbers without a gap; never empty.
    segments: VecDeque<Segment>,
    writer: Writer,
    states: States,
    /// The entries of each tag appended before the segment being written.
    opening_counts: BTreeMap<u16, u64>,
    last_ms: i64,
    poisoned: Option<StorageError>,
}

/// The segment that an eviction would free.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oldest {
    /// Its first entry.
    pub first: Seq,
    /// The entry after its last.
    pub end: Seq,
    /// How many of these entries each tag has; they sum to less where a count could not be read.
    pub counts: Vec<(u16, u64)>,
}

/// What is kept in memory of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) first: Seq,
    pub(crate) first_ms: i64,
    pub(crate) data_start: u32,
    /// Where its frames end; for the segment being written the writer knows better.
    pub(crate) end: u32,
    /// Whether its header or a copy of it could be read.
    pub(crate) is_readable: bool,
}

impl Segment {
    /// A segment as its header tells, ending at `end`.
    pub(crate) const fn new(header: &SegmentHeader, end: u32) -> Self {
        Self {
            number: header.number,
            first: header.first,
            first_ms: header.first_ms,
            data_start: header.data_start,
            end,
            is_readable: true,
        }
    }
}

/// What recovery hands over.
#[derive(Debug)]
pub(crate) struct Parts<S> {
    pub(crate) storage: S,
    pub(crate) format: Format,
    pub(crate) segments: VecDeque<Segment>,
    pub(crate) writer: Writer,
    pub(crate) states: States,
    pub(crate) opening_counts: BTreeMap<u16, u64>,
}

impl<S: Storage> Ring<S> {
    /// Formats the storage, whatever it held, and opens an empty ring on it.
    ///
    /// A cut before this returns leaves either no ring or an empty one.
    pub fn create(mut storage: S, id: RingId, options: &Options) -> Result<Self, OpenError> {
        let geometry = Geometry::new(storage.capacity(), options.segment_bytes)?;
        let format = Format::new(id, geometry, options);
        let superblock = Superblock { id, geometry }.encode();
        let zeros = vec![0; superblock.len()];
        storage.write_at(0, &zeros)?;
        storage.write_at(geometry.copy_offset(), &zeros)?;
        let encoder = crate::frame::Encoder::new(options.compression);
        let mut states = States::default();
        let mut writer = Writer::create(format.clone(), encoder, &mut states);
        // Twice, or a single flipped bit could cost the only segment.
        writer.commit(&mut storage, false)?;
        writer.commit(&mut storage, false)?;
        // The first superblock is written last, and stays zero until the copy is durable: a ring
        // exists from the moment its copy does, and an unfinished one is not taken for a damaged.
        storage.write_at(geometry.copy_offset(), &superblock)?;
        storage.sync()?;
        storage.write_at(0, &superblock)?;
        storage.sync()?;
        let header = writer.header();
        let segment = Segment::new(header, header.data_start);
        Ok(Self::from_parts(Parts {
            storage,
            format,
            segments: VecDeque::from([segment]),
            writer,
            states,
            opening_counts: BTreeMap::new(),
        }))
    }

    pub(crate) fn from_parts(parts: Parts<S>) -> Self {
        Self {
            storage: parts.storage,
            format: parts.format,
            segments: parts.segments,
            writer: parts.writer,
            states: parts.states,
            opening_counts: parts.opening_counts,
            // When the newest entry came, only its own content says.
            last_ms: TIME_UNKNOWN,
            poisoned: None,
        }
    }

    /// Gives up the oldest segment where nothing else can make room: the eviction that filled the
    /// newest one has rotted.
    pub(crate) fn keep_room(&mut self) {
        let len = self.states.len_max();
        if self.has_free_segment() || self.writer.fits(0, evict_reserve(len)) {
            return;
        }
        self.segments.pop_front();
        if let Some(first) = self.segments.front() {
            self.states.set_log_start(LogStart {
                number: first.number,
                first: first.first,
            });
        }
    }

    /// The ring's identity.
    pub const fn id(&self) -> RingId {
        self.format.id
    }

    /// The oldest entry that was not evicted.
    pub fn first(&self) -> Seq {
        self.segments
            .front()
            .map_or(self.writer.next(), |segment| segment.first)
    }

    /// The seq that the next entry will have.
    pub const fn next(&self) -> Seq {
        self.writer.next()
    }

    /// The first entry that is not durable.
    pub const fn durable(&self) -> Seq {
        self.writer.durable_next()
    }

    /// The largest entry that fits.
    pub fn entry_bytes_max(&self) -> usize {
        self.format.geometry.entry_bytes_max()
    }

    /// Bytes that wait for a sync.
    pub fn pending_bytes(&self) -> usize {
        self.writer.pending_bytes()
    }

    /// Whether anything waits for a sync: entries, states, or a segment just begun.
    pub fn is_pending(&self) -> bool {
        self.writer.is_unsynced() || self.states.is_dirty()
    }

    /// Takes an entry; it is durable after the next [`Ring::sync`].
    ///
    /// `tag` is counted apart for evictions, `at_ms` lets [`Ring::seek_time`] find the segment.
    pub fn append(&mut self, tag: u16, at_ms: i64, payload: &[u8]) -> Result<Seq, AppendError> {
        self.check_poison()?;
        let max = self.entry_bytes_max();
        if payload.len() > max {
            return Err(AppendError::TooLarge {
                len: payload.len(),
                max,
            });
        }
        if !self.writer.frame_takes(payload.len()) {
            self.close_frame()?;
        }
        self.make_room(entry_len_max(payload.len()), at_ms)?;
        self.last_ms = at_ms;
        self.states.count(tag, 1);
        Ok(self.writer.push(tag, payload))
    }

    /// Makes sure that `bytes` of entries and states, in `entries` entries, become one group.
    ///
    /// Without it a group may be closed between two entries, when a segment ends there. `Full`
    /// when that needs an eviction first; `TooLarge` when no segment could ever hold as much.
    pub fn reserve(&mut self, entries: usize, bytes: usize, at_ms: i64) -> Result<(), AppendError> {
        self.check_poison()?;
        let max = self.entry_bytes_max();
        // A frame is at least half full when it is closed for want of room, or holds one entry.
        let len = bytes + entries * entry_len_max(16 + SEAL_BYTES) + 64;
        if len > max {
            return Err(AppendError::TooLarge { len, max });
        }
        self.make_room(len, at_ms)
    }

    /// Takes a state, which becomes durable together with the entries appended before it.
    ///
    /// It is in memory only until the next [`Ring::sync`] or [`Ring::evict_oldest`]. When a state
    /// grows by more than the room that entries leave, this may close and sync the group before.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), PutError> {
        self.check_poison()?;
        if !(1..=KEY_BYTES_MAX).contains(&key.len()) {
            return Err(PutError::Key {
                len: key.len(),
                max: KEY_BYTES_MAX,
            });
        }
        if value.len() > VALUE_BYTES_MAX {
            return Err(PutError::Value {
                len: value.len(),
                max: VALUE_BYTES_MAX,
            });
        }
        let len = self.states.len_with(key, value) + self.states.removed_bytes();
        let max = self.format.geometry.state_bytes_max();
        if len > max {
            return Err(PutError::StateFull { len, max });
        }
        if len > self.states.len_max() && !self.writer.fits(0, put_reserve(len)) {
            self.roll(self.last_ms)?;
        }
        self.states.put(key, value);
        Ok(())
    }

    /// Takes a state away, durably so with the next sync; nothing when there is none.
    pub fn remove(&mut self, key: &[u8]) -> Result<(), PutError> {
        self.check_poison()?;
        self.states.remove(key);
        Ok(())
    }

    /// The state last put, durable or not.
    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.states.get(key)
    }

    /// All states in the order of their keys.
    pub fn states(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.states.iter()
    }

    /// Makes everything appended and put so far durable, with one sync; none when nothing waits.
    ///
    /// Entries always become durable. States that were put when the ring was full, and for which
    /// no room is left, wait in memory for the eviction that makes it.
    pub fn sync(&mut self) -> Result<Durable, StorageError> {
        self.check_poison()?;
        let result = self.sync_group();
        self.poison(result)?;
        Ok(self.proof())
    }

    /// The segment that an eviction would free; `None` when it is the only one.
    pub fn oldest(&self) -> Option<Oldest> {
        let (oldest, second) = (self.segments.front()?, self.segments.get(1)?);
        let counts = self
            .counts_before(oldest)
            .zip(self.counts_before(second))
            .map_or_else(Vec::new, |(earlier, later)| {
                counts_between(&earlier, &later)
            });
        Some(Oldest {
            first: oldest.first,
            end: second.first,
            counts,
        })
    }

    /// Frees the oldest segment, durably, together with all that is pending.
    ///
    /// What it costs must have been put before, so that the loss and its count are durable at
    /// once. Nothing happens when there is only one segment.
    pub fn evict_oldest(&mut self) -> Result<Durable, AppendError> {
        if self.segments.len() < 2 {
            return Ok(self.sync()?);
        }
        self.check_poison()?;
        self.close_frame()?;
        let len = self.states.len_max();
        if !self.writer.fits(0, evict_reserve(len)) {
            self.roll(self.last_ms)?;
        }
        let Some(second) = self.segments.get(1).copied() else {
            return Ok(self.sync()?);
        };
        self.states.set_log_start(LogStart {
            number: second.number,
            first: second.first,
        });
        if !self.format.mutant.is(Mutant::ReuseBeforeDurable) {
            self.writer.push_states(&mut self.states);
            // What evicts is about to begin a segment: padded, the page needs no sync of its own.
            self.commit(true)?;
        }
        self.segments.pop_front();
        self.check();
        Ok(self.proof())
    }

    /// Makes everything durable and writes the end of the log a second time, so that no single
    /// flipped bit can cost it; gives the storage back.
    pub fn close(mut self) -> Result<S, StorageError> {
        self.sync()?;
        self.commit(false)?;
        Ok(self.storage)
    }

    /// A reader that begins with `seq`.
    pub const fn cursor(&self, seq: Seq) -> Cursor {
        Cursor::new(seq)
    }

    fn make_room(&mut self, len: usize, at_ms: i64) -> Result<(), AppendError> {
        let reserve = if self.format.mutant.is(Mutant::NoReserve) {
            0
        } else {
            reserve(self.states.len_max())
        };
        if self.writer.fits(len, reserve) {
            return Ok(());
        }
        // Closed, the frame may be smaller than it was taken for.
        self.close_frame()?;
        if self.writer.fits(len, reserve) {
            return Ok(());
        }
        self.roll(at_ms)
    }

    fn sync_group(&mut self) -> Result<(), StorageError> {
        self.writer.close_frame(&mut self.storage)?;
        if self.states.is_dirty() {
            let dirty = evict_reserve(self.states.dirty_len());
            let fits = self
                .writer
                .fits(0, dirty + evict_reserve(self.states.len_max()));
            if self.writer.has_entries() || fits {
                if self.format.mutant.is(Mutant::StateApart) && self.writer.is_unsynced() {
                    self.writer.commit(&mut self.storage, false)?;
                }
                self.writer.push_states(&mut self.states);
            } else if self.has_free_segment() {
                self.begin_segment(self.last_ms)?;
            }
        }
        if self.writer.is_unsynced() {
            self.writer.commit(&mut self.storage, false)?;
        }
        self.check();
        Ok(())
    }

    /// Ends this segment and begins the next.
    fn roll(&mut self, at_ms: i64) -> Result<(), AppendError> {
        if !self.has_free_segment() {
            return Err(AppendError::Full);
        }
        let result = self.begin_segment(at_ms);
        Ok(self.poison(result)?)
    }

    fn begin_segment(&mut self, at_ms: i64) -> Result<(), StorageError> {
        debug_assert!(self.has_free_segment());
        self.writer.close_frame(&mut self.storage)?;
        // Without entries before them, states belong to nothing here and go into the snapshot.
        if self.writer.has_entries() && self.states.is_dirty() {
            self.writer.push_states(&mut self.states);
        }
        if self.writer.is_unsynced() || !self.writer.end().is_multiple_of(PAGE) {
            self.writer.commit(&mut self.storage, true)?;
        }
        if let Some(segment) = self.segments.back_mut() {
            segment.end = self.writer.durable_end();
        }
        self.opening_counts.clone_from(self.states.counts());
        self.writer.begin(at_ms, &mut self.states);
        let header = self.writer.header();
        self.segments
            .push_back(Segment::new(header, header.data_start));
        self.check();
        Ok(())
    }

    fn has_free_segment(&self) -> bool {
        let segments = u32::try_from(self.segments.len()).unwrap_or(u32::MAX);
        segments < self.format.geometry.segments
    }

    fn close_frame(&mut self) -> Result<(), StorageError> {
        let result = self.writer.close_frame(&mut self.storage);
        self.poison(result)
    }

    fn commit(&mut self, pad: bool) -> Result<(), StorageError> {
        let result = self.writer.commit(&mut self.storage, pad);
        self.poison(result)
    }

    fn proof(&self) -> Durable {
        Durable {
            end: self.writer.durable_next(),
        }
    }

    fn check_poison(&self) -> Result<(), StorageError> {
        match &self.poisoned {
            None => Ok(()),
            Some(error) => Err(error.clone()),
        }
    }

    /// After a failed write or sync nobody knows what is on disk: only recovery can tell.
    fn poison(&mut self, result: Result<(), StorageError>) -> Result<(), StorageError> {
        if let Err(error) = &result {
            self.poisoned = Some(error.clone());
        }
        result
    }

    fn check(&self) {
        debug_assert!(!self.segments.is_empty());
        debug_assert!(self.first() <= self.durable());
        debug_assert!(self.durable() <= self.next());
        debug_assert!(self.states.len_max() <= self.format.geometry.state_bytes_max());
        // Whatever comes, the oldest segment can be evicted.
        debug_assert!(
            self.has_free_segment() || self.writer.fits(0, evict_reserve(self.states.len_max()))
        );
    }
}

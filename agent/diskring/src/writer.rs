//! Writing into the newest segment: which bytes go to which page, and when they count.
//!
//! Frames follow each other over home pages. A page that is full is written at home, once. The
//! page that is not full yet exists only as an image in one of the four tail slots, and each sync
//! writes the slot that was written longest ago. So a torn sync leaves that end, the
//! image of its page, and every page before it untouched.

use crate::bytes::{to_u32, to_usize};
use crate::frame::{Encoder, FrameMeta, Kind, entry_len_max, push_entry, single_entry};
use crate::geometry::{Format, Slot};
use crate::layout::{
    FRAME_HEADER_LEN, HEADER_OFFSET, HEADER_ROOM, PAGE, SLOT_ROOM, SegmentHeader, Tail, page_ceil,
};
use crate::mutant::Mutant;
use crate::seal::{SEAL_BYTES, SegmentKey};
use crate::state::{States, Wear};
use crate::{Seq, Storage, StorageError};

/// A frame takes no further entry beyond this; a larger entry has a frame of its own.
const FRAME_RAW_TARGET: usize = 32 << 10;
/// Full pages are written when this much has gathered, or by a sync.
const FLUSH_BYTES: usize = 64 << 10;

#[derive(Debug)]
pub(crate) struct Writer {
    format: Format,
    encoder: Encoder,
    generation: u64,
    /// Of the slot written last.
    version: u64,
    header: SegmentHeader,
    seed: u32,
    key: Option<SegmentKey>,
    /// Which slot holds the durable end; `None` while the segment has none.
    slot: Option<Slot>,
    /// What is durable: where it ends (0 while nothing is), which seq is next, its last page.
    durable_end: u32,
    durable_next: Seq,
    image: Vec<u8>,
    image_offset: u32,
    /// Home pages before this have been written; `buffer` holds what comes after, up to `end`,
    /// and behind it room for a header and the body of the frame that still takes entries.
    flushed: u32,
    buffer: Vec<u8>,
    end: u32,
    /// Entries of that frame; none while there is no such frame.
    frame_count: u16,
    frame_first: Seq,
    next: Seq,
    scratch: Vec<u8>,
    /// What the ring had cost when it was opened, and what it has cost since.
    worn_before: Wear,
    written_bytes: u64,
    syncs: u64,
}

/// Where a writer goes on, as recovery found it.
#[derive(Debug)]
pub(crate) struct Resume {
    pub(crate) tail: Tail,
    pub(crate) image: Vec<u8>,
    pub(crate) slot: Slot,
    pub(crate) generation: u64,
    pub(crate) version: u64,
    pub(crate) worn: Wear,
}

impl Writer {
    /// Goes on behind a tail; [`Writer::commit`] then raises the generation durably.
    pub(crate) fn resume(format: Format, encoder: Encoder, resume: Resume) -> Self {
        let tail = resume.tail;
        let (id, number) = (format.id, tail.header.number);
        Self {
            key: format.keys.segment(tail.header.key_id, id, number),
            seed: format.seed(number),
            format,
            encoder,
            generation: resume.generation,
            version: resume.version,
            header: tail.header,
            slot: Some(resume.slot),
            durable_end: tail.end(),
            durable_next: tail.next,
            image_offset: tail.image_offset,
            flushed: tail.image_offset,
            buffer: resume.image.clone(),
            image: resume.image,
            end: tail.end(),
            frame_count: 0,
            frame_first: tail.next,
            next: tail.next,
            scratch: Vec::new(),
            worn_before: resume.worn,
            written_bytes: 0,
            syncs: 0,
        }
    }

    /// The first segment of a new ring, nothing of which is written yet.
    pub(crate) fn create(format: Format, encoder: Encoder, states: &mut States) -> Self {
        let header = SegmentHeader {
            generation: 1,
            number: 0,
            first: Seq::ZERO,
            first_ms: 0,
            log_start: states.log_start(),
            previous_end: 0,
            data_start: HEADER_OFFSET + PAGE,
            key_id: format.keys.id(),
        };
        let tail = Tail {
            header,
            generation: 1,
            version: 0,
            group_start: 0,
            group_first: Seq::ZERO,
            next: Seq::ZERO,
            image_offset: HEADER_OFFSET,
            image_len: 0,
        };
        let resume = Resume {
            tail,
            image: Vec::new(),
            slot: Slot::SecondBack,
            generation: 1,
            version: 0,
            worn: Wear::default(),
        };
        let mut writer = Self::resume(format, encoder, resume);
        writer.open_segment(header, states);
        writer
    }

    /// Begins the next segment behind this one, which [`Writer::commit`] has padded and synced.
    pub(crate) fn begin(&mut self, first_ms: i64, states: &mut States) {
        debug_assert!(!self.is_unsynced() && self.end.is_multiple_of(PAGE));
        let header = SegmentHeader {
            generation: self.generation,
            number: self.header.number + 1,
            first: self.next,
            first_ms,
            log_start: states.log_start(),
            previous_end: self.durable_end,
            data_start: 0,
            key_id: self.format.keys.id(),
        };
        self.open_segment(header, states);
    }

    fn open_segment(&mut self, header: SegmentHeader, states: &mut States) {
        self.seed = self.format.seed(header.number);
        let keys = &self.format.keys;
        self.key = keys.segment(header.key_id, self.format.id, header.number);
        self.slot = None;
        self.durable_end = 0;
        self.image.clear();
        self.flushed = HEADER_OFFSET;
        self.buffer.clear();
        states.set_wear(self.wear_with_buffer());
        self.buffer.resize(to_usize(HEADER_ROOM), 0);
        self.end = HEADER_OFFSET + HEADER_ROOM;
        states.take_snapshot(&mut self.scratch);
        self.push_frame(Kind::Snapshot);
        self.pad();
        self.header = SegmentHeader {
            data_start: self.end,
            ..header
        };
        self.image_offset = self.end;
        self.scratch.clear();
        self.header.encode(self.format.id, &mut self.scratch);
        debug_assert!(self.scratch.len() <= to_usize(HEADER_ROOM));
        for (to, from) in self.buffer.iter_mut().zip(&self.scratch) {
            *to = *from;
        }
    }

    pub(crate) const fn header(&self) -> &SegmentHeader {
        &self.header
    }

    pub(crate) const fn generation(&self) -> u64 {
        self.generation
    }

    pub(crate) const fn next(&self) -> Seq {
        self.next
    }

    pub(crate) const fn durable_next(&self) -> Seq {
        self.durable_next
    }

    /// Where what is durable of this segment ends; its data start while nothing is.
    pub(crate) fn durable_end(&self) -> u32 {
        self.durable_end.max(self.header.data_start)
    }

    /// The durable part of the last page and where it belongs.
    pub(crate) fn image(&self) -> (u32, &[u8]) {
        (self.image_offset, &self.image)
    }

    pub(crate) const fn end(&self) -> u32 {
        self.end
    }

    pub(crate) const fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    pub(crate) const fn syncs(&self) -> u64 {
        self.syncs
    }

    /// What the ring has cost the disk in all its life.
    pub(crate) const fn wear(&self) -> Wear {
        Wear {
            written_bytes: self
                .worn_before
                .written_bytes
                .saturating_add(self.written_bytes),
            syncs: self.worn_before.syncs.saturating_add(self.syncs),
        }
    }

    /// As [`Writer::wear`] once everything up to the end of the log is at home: what is written
    /// behind it can then be told from its length.
    fn wear_with_buffer(&self) -> Wear {
        let wear = self.wear();
        let waiting = u64::try_from(self.buffer.len()).unwrap_or(0);
        Wear {
            written_bytes: wear.written_bytes.saturating_add(waiting),
            ..wear
        }
    }

    /// Whether entries were appended since the last sync.
    pub(crate) fn has_entries(&self) -> bool {
        self.next != self.durable_next
    }

    /// Whether something was written or gathered since the last sync.
    pub(crate) fn is_unsynced(&self) -> bool {
        self.frame_count > 0 || self.end != self.durable_end
    }

    /// Bytes that wait for a sync.
    pub(crate) fn pending_bytes(&self) -> usize {
        let from = self.durable_end.max(HEADER_OFFSET);
        to_usize(self.end.saturating_sub(from)) + self.frame_len()
    }

    /// Where the open frame begins in the buffer.
    fn frame_start(&self) -> usize {
        to_usize(self.end - self.flushed)
    }

    /// Bytes of the open frame's body.
    fn frame_len(&self) -> usize {
        match self.frame_count {
            0 => 0,
            _ => self.buffer.len() - self.frame_start() - to_usize(FRAME_HEADER_LEN),
        }
    }

    /// Whether an entry may join the open frame.
    pub(crate) fn frame_takes(&self, payload_len: usize) -> bool {
        self.frame_count == 0
            || (self.frame_len() + entry_len_max(payload_len) <= FRAME_RAW_TARGET
                && self.frame_count < u16::MAX)
    }

    /// Whether `len` more bytes of the open frame leave `reserve` bytes of the segment free.
    pub(crate) fn fits(&self, len: usize, reserve: usize) -> bool {
        let frame = match self.frame_len() + len {
            0 => 0,
            body => body + to_usize(FRAME_HEADER_LEN) + SEAL_BYTES,
        };
        let room = self.format.geometry.stream_end() - self.end;
        frame + reserve <= to_usize(room)
    }

    pub(crate) fn push(&mut self, tag: u16, payload: &[u8]) -> Seq {
        debug_assert!(self.frame_takes(payload.len()));
        let seq = self.next;
        if self.frame_count == 0 {
            self.frame_first = seq;
            let body = self.buffer.len() + to_usize(FRAME_HEADER_LEN);
            self.buffer.resize(body, 0);
        }
        push_entry(&mut self.buffer, tag, payload);
        self.frame_count += 1;
        self.next = seq.advance(1);
        seq
    }

    /// Closes the open frame, if there is one.
    pub(crate) fn close_frame<S: Storage>(&mut self, storage: &mut S) -> Result<(), StorageError> {
        if self.frame_count == 0 {
            return Ok(());
        }
        self.end_frame();
        if self.buffer.len() >= FLUSH_BYTES {
            self.flush(storage)?;
        }
        Ok(())
    }

    /// Writes the changed states behind the entries of their group.
    pub(crate) fn push_states(&mut self, states: &mut States) {
        debug_assert!(self.frame_count == 0);
        states.set_wear(self.wear_with_buffer());
        states.take_dirty(&mut self.scratch);
        self.push_frame(Kind::State);
    }

    /// Ends the group and makes it durable; `pad` also ends the last page, as before a new segment.
    pub(crate) fn commit<S: Storage>(
        &mut self,
        storage: &mut S,
        pad: bool,
    ) -> Result<(), StorageError> {
        debug_assert!(self.frame_count == 0);
        if pad || self.end % PAGE > PAGE - SLOT_ROOM {
            self.pad();
        }
        self.flush(storage)?;
        let slot = match self.slot {
            Some(Slot::Back) if self.format.mutant.is(Mutant::TwoSlots) => Slot::Front,
            Some(slot) if !self.format.mutant.is(Mutant::SingleSlot) => slot.next(),
            Some(_) | None => Slot::Front,
        };
        let tail = Tail {
            header: self.header,
            generation: self.generation,
            version: self.version + 1,
            group_start: self.durable_end,
            group_first: self.durable_next,
            next: self.next,
            image_offset: self.flushed,
            image_len: to_u32(self.buffer.len()),
        };
        debug_assert_eq!(tail.end(), self.end);
        tail.encode(self.format.id, &self.buffer, &mut self.scratch);
        let base = self.format.geometry.base(self.header.number);
        let offset = base + u64::from(self.format.geometry.slot_offset(slot));
        storage.write_at(offset, &self.scratch)?;
        self.written_bytes += u64::from(PAGE);
        if self.format.mutant.is(Mutant::RewriteInPlace) && !self.buffer.is_empty() {
            storage.write_at(base + u64::from(self.flushed), &self.buffer)?;
        }
        if !self.format.mutant.is(Mutant::AckBeforeSync) {
            storage.sync()?;
        }
        self.syncs += 1;
        self.version = tail.version;
        self.slot = Some(slot);
        self.durable_end = self.end;
        self.durable_next = self.next;
        self.image.clone_from(&self.buffer);
        self.image_offset = self.flushed;
        Ok(())
    }

    /// Makes a frame of the entries that stand in the buffer.
    fn end_frame(&mut self) {
        let start = self.frame_start();
        let body_start = start + to_usize(FRAME_HEADER_LEN);
        let body = self.buffer.get(body_start..).unwrap_or_default();
        let single = single_entry(body).filter(|_| self.frame_count == 1);
        let (kind, count) = match single {
            Some((tag, prefix_len)) => {
                self.buffer.drain(body_start..body_start + prefix_len);
                (Kind::Single, tag)
            }
            None => (Kind::Entries, self.frame_count),
        };
        let meta = self.meta(kind, self.frame_first, count);
        let key = self.key.as_ref();
        self.encoder
            .encode_in_place(&meta, key, start, &mut self.buffer);
        self.frame_count = 0;
        self.move_end();
    }

    /// Makes a frame without entries of `scratch`.
    fn push_frame(&mut self, kind: Kind) {
        let meta = self.meta(kind, self.next, 0);
        let key = self.key.as_ref();
        self.encoder
            .encode(&meta, key, &self.scratch, &mut self.buffer);
        self.move_end();
    }

    const fn meta(&self, kind: Kind, seq: Seq, count: u16) -> FrameMeta {
        FrameMeta {
            kind,
            seq,
            count,
            generation: self.generation,
            seed: self.seed,
            offset: self.end,
        }
    }

    fn move_end(&mut self) {
        self.end = self.flushed + to_u32(self.buffer.len());
        debug_assert!(self.end <= self.format.geometry.stream_end());
    }

    /// Fills the page, with a frame where one fits: torn pages hold zeros too, so zeros alone
    /// may stand only where no frame could have been.
    fn pad(&mut self) {
        let end = page_ceil(self.end);
        if let Some(len) = (end - self.end).checked_sub(FRAME_HEADER_LEN) {
            self.scratch.clear();
            self.scratch.resize(to_usize(len), 0);
            self.push_frame(Kind::Pad);
        }
        self.buffer.resize(to_usize(end - self.flushed), 0);
        self.end = end;
    }

    /// Writes the full pages of the buffer at home.
    fn flush<S: Storage>(&mut self, storage: &mut S) -> Result<(), StorageError> {
        let full = self.buffer.len() - self.buffer.len() % to_usize(PAGE);
        let (pages, _) = self.buffer.split_at(full);
        if pages.is_empty() {
            return Ok(());
        }
        let base = self.format.geometry.base(self.header.number);
        storage.write_at(base + u64::from(self.flushed), pages)?;
        let len = to_u32(full);
        self.written_bytes += u64::from(len);
        self.flushed += len;
        self.buffer.drain(..full);
        Ok(())
    }
}

//! Which segments there are, and where the log ends.

use std::collections::VecDeque;

use crate::bytes::to_usize;
use crate::frame::{Kind, low_u16};
use crate::geometry::{Format, Slot};
use crate::layout::{HEADER_OFFSET, HEADER_ROOM, LogStart, PAGE, PROBE_LEN, SegmentHeader, Tail};
use crate::mutant::Mutant;
use crate::read::{Buffer, Span, Step, home_page, read_or_rot};
use crate::ring::Segment;
use crate::{Seq, Storage, StorageError};

/// The segments as their headers tell.
pub(super) struct Survey<'a, S> {
    storage: &'a S,
    format: &'a Format,
    /// By place.
    headers: Vec<Option<SegmentHeader>>,
}

/// A slot that could be read, with its image.
#[derive(Debug)]
pub(super) struct End {
    pub(super) tail: Tail,
    pub(super) image: Vec<u8>,
    pub(super) slot: Slot,
}

/// The end of the log.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) end: End,
    /// The highest of the segment's slots, believed or not.
    pub(super) generation: u64,
    pub(super) version: u64,
    pub(super) truncated: u64,
    /// Slots behind this end which the next sync does not overwrite.
    pub(super) stale: Vec<Slot>,
}

/// A page to be written as it was.
#[derive(Debug)]
pub(super) struct Repair {
    pub(super) at: u64,
    pub(super) page: Vec<u8>,
}

/// What a segment says of itself, and whether it says so at home and not only in its slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sign {
    pub(crate) header: SegmentHeader,
    pub(crate) is_at_home: bool,
}

/// What the segment at `place` says of itself.
pub(crate) fn sign<S: Storage>(
    storage: &S,
    format: &Format,
    place: u64,
) -> Result<Option<Sign>, StorageError> {
    Survey::empty(storage, format).sign(place)
}

impl<'a, S: Storage> Survey<'a, S> {
    pub(super) fn new(storage: &'a S, format: &'a Format) -> Result<Self, StorageError> {
        let mut survey = Self::empty(storage, format);
        for place in 0..u64::from(format.geometry.segments) {
            let header = survey.sign(place)?.map(|sign| sign.header);
            survey.headers.push(header);
        }
        Ok(survey)
    }

    const fn empty(storage: &'a S, format: &'a Format) -> Self {
        Self {
            storage,
            format,
            headers: Vec::new(),
        }
    }

    fn sign(&self, place: u64) -> Result<Option<Sign>, StorageError> {
        let home = self.home_header(place)?;
        let header = match home {
            Some(header) => Some(header),
            None => self.slot_header(place)?,
        };
        Ok(header.map(|header| Sign {
            header,
            is_at_home: home.is_some(),
        }))
    }

    pub(super) fn generation(&self) -> u64 {
        let headers = self.headers.iter().flatten();
        headers.map(|header| header.generation).max().unwrap_or(0)
    }

    fn header(&self, number: u64) -> Option<&SegmentHeader> {
        let place = number % u64::from(self.format.geometry.segments);
        let header = self.headers.get(usize::try_from(place).ok()?)?.as_ref()?;
        (header.number == number).then_some(header)
    }

    fn home_header(&self, place: u64) -> Result<Option<SegmentHeader>, StorageError> {
        let data = self.probe(place, HEADER_OFFSET)?;
        Ok(self.belongs(
            place,
            SegmentHeader::decode(self.format.id, &self.format.geometry, &data),
        ))
    }

    /// The header as the slots repeat it.
    fn slot_header(&self, place: u64) -> Result<Option<SegmentHeader>, StorageError> {
        let mut newest: Option<SegmentHeader> = None;
        for slot in Slot::ALL {
            let data = self.probe(place, self.format.geometry.slot_offset(slot))?;
            let tail = Tail::decode(self.format.id, &self.format.geometry, &data);
            let header = self.belongs(place, tail.map(|(tail, _)| tail.header));
            if header.map(|header| header.number) > newest.map(|header| header.number) {
                newest = header;
            }
        }
        Ok(newest)
    }

    fn belongs(&self, place: u64, header: Option<SegmentHeader>) -> Option<SegmentHeader> {
        header.filter(|header| header.number % u64::from(self.format.geometry.segments) == place)
    }

    fn probe(&self, place: u64, offset: u32) -> Result<[u8; PROBE_LEN], StorageError> {
        let mut data = [0; PROBE_LEN];
        let at = self.format.geometry.base(place) + u64::from(offset);
        read_or_rot(self.storage, self.format, at, &mut data)?;
        Ok(data)
    }

    /// The end of the newest segment that exists.
    pub(super) fn newest(&self) -> Result<Option<Found>, StorageError> {
        let mut numbers: Vec<u64> = self
            .headers
            .iter()
            .flatten()
            .map(|header| header.number)
            .collect();
        numbers.sort_unstable();
        // A header that lags behind its segment hides it: the slots of the next place tell.
        if let Some(last) = numbers.last().copied() {
            numbers.push(last + 1);
        }
        for number in numbers.into_iter().rev() {
            if let Some(found) = self.examine(number)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Where segment `number` ends, if it exists.
    fn examine(&self, number: u64) -> Result<Option<Found>, StorageError> {
        let mut ends = self.ends(number)?;
        let generation = ends.iter().map(|end| end.tail.generation).max();
        ends.sort_by_key(|end| end.tail.version);
        let Some(newer) = ends.pop() else {
            return Ok(None);
        };
        let version = newer.tail.version;
        let older = before(&ends, &Bound::start_of(&newer.tail));
        let joined = older.filter(|end| end.tail.end() == newer.tail.group_start);
        let is_whole = self.is_whole(&newer, joined)?;
        let older = older.map(|end| end.tail.version);
        let older = ends.iter().position(|end| Some(end.tail.version) == older);
        let opens = newer.tail.group_start == 0;
        let next = newer.tail.next;
        let end = match older {
            _ if is_whole => newer,
            Some(index) => {
                let older = ends.swap_remove(index);
                ends.push(newer);
                older
            }
            None if opens => return Ok(None),
            // The other slots rotted: this one was durable before.
            None => newer,
        };
        ends.retain(|other| other.tail.version > end.tail.version && other.slot != end.slot.next());
        Ok(Some(Found {
            truncated: next.since(end.tail.next),
            stale: ends.iter().map(|other| other.slot).collect(),
            end,
            generation: generation.unwrap_or(0),
            version,
        }))
    }

    /// The slots of segment `number` that are whole in themselves.
    fn ends(&self, number: u64) -> Result<Vec<End>, StorageError> {
        let mut ends = Vec::with_capacity(Slot::ALL.len());
        for slot in Slot::ALL {
            let offset = self.format.geometry.slot_offset(slot);
            let page = home_page(self.storage, self.format, number, offset)?;
            let Some((tail, crc)) = Tail::decode(self.format.id, &self.format.geometry, &page)
            else {
                continue;
            };
            if tail.header.number != number {
                continue;
            }
            if let Some(image) = tail.image(&page, crc) {
                ends.push(End {
                    tail,
                    image: image.to_vec(),
                    slot,
                });
            }
        }
        Ok(ends)
    }

    /// Whether everything that was synced with this slot is there.
    fn is_whole(&self, newer: &End, older: Option<&End>) -> Result<bool, StorageError> {
        if self.format.mutant.is(Mutant::NoGroupCheck) {
            return Ok(true);
        }
        let tail = &newer.tail;
        let opens = tail.group_start == 0;
        if opens && !self.opens_next(tail)? {
            return Ok(false);
        }
        if let Some(older) = older
            && !self.starts_as(&older.tail, &older.image, tail.image_offset)?
        {
            return Ok(false);
        }
        let span = self.span(tail, &newer.image);
        let mut buffer = Buffer::new();
        let mut expected = tail.group_first;
        let mut offset = if opens {
            HEADER_OFFSET + HEADER_ROOM
        } else {
            tail.group_start
        };
        let mut opening = opens;
        loop {
            match span.step(&mut buffer, offset, expected)? {
                Step::Frame { header, seq, next } => {
                    let same = header.generation_low == low_u16(tail.generation)
                        || self.format.mutant.is(Mutant::NoGeneration);
                    if seq != expected || !same || opening != (header.kind == Kind::Snapshot) {
                        return Ok(false);
                    }
                    expected = seq.advance(header.entries());
                    offset = next;
                    opening = false;
                }
                Step::Pad { next } => offset = next,
                Step::Bad => return Ok(false),
                Step::End => return Ok(expected == tail.next),
            }
        }
    }

    /// Whether the first group of a segment has its header, and was begun after everything that
    /// the segment before knows of.
    fn opens_next(&self, tail: &Tail) -> Result<bool, StorageError> {
        let number = tail.header.number;
        if self.header(number) != Some(&tail.header) || tail.group_first != tail.header.first {
            return Ok(false);
        }
        let Some(previous) = number.checked_sub(1) else {
            return Ok(true);
        };
        let before = self.ends(previous)?;
        let generation = before.iter().map(|end| end.tail.generation).max();
        Ok(
            generation.is_none_or(|generation| generation <= tail.generation)
                || self.format.mutant.is(Mutant::NoGeneration),
        )
    }

    /// Whether the page that this slot has an image of starts like it; `home_end` is where pages
    /// end that were written at home since.
    fn starts_as(&self, tail: &Tail, image: &[u8], home_end: u32) -> Result<bool, StorageError> {
        let offset = tail.image_offset;
        if offset >= home_end || image.is_empty() {
            return Ok(true);
        }
        let page = home_page(self.storage, self.format, tail.header.number, offset)?;
        Ok(page.starts_with(image) || self.format.mutant.is(Mutant::NoPrefixCheck))
    }

    /// Pages at home that lack what a slot before the end has an image of, made good from it, and
    /// slots behind the end, so that they are never taken for the history of a later one.
    ///
    /// A sync that was reported as done and was not leaves such pages, and rot does.
    pub(super) fn repairs(&self, found: &Found) -> Result<Vec<Repair>, StorageError> {
        let tail = &found.end.tail;
        let base = self.format.geometry.base(tail.header.number);
        let stale = found.stale.iter().map(|slot| Repair {
            at: base + u64::from(self.format.geometry.slot_offset(*slot)),
            page: vec![0; to_usize(PAGE)],
        });
        let mut repairs: Vec<_> = stale.collect();
        let number = tail.header.number;
        let mut page = home_page(self.storage, self.format, number, HEADER_OFFSET)?;
        let header = SegmentHeader::decode(self.format.id, &self.format.geometry, &page);
        if header != Some(tail.header) {
            let mut header = Vec::new();
            tail.header.encode(self.format.id, &mut header);
            for (to, from) in page.iter_mut().zip(&header) {
                *to = *from;
            }
            let at = base + u64::from(HEADER_OFFSET);
            repairs.push(Repair { at, page });
        }
        let ends = self.ends(tail.header.number)?;
        self.repair(
            &ends,
            Bound::start_of(tail),
            tail.image_offset,
            &mut repairs,
        )?;
        if let Some(previous) = tail.header.number.checked_sub(1) {
            let bound = Bound::end_before(&tail.header);
            self.repair(&self.ends(previous)?, bound, bound.end, &mut repairs)?;
        }
        Ok(repairs)
    }

    /// Makes good the pages before `home_end` from the slots that were synced before `bound`.
    fn repair(
        &self,
        ends: &[End],
        bound: Bound,
        home_end: u32,
        repairs: &mut Vec<Repair>,
    ) -> Result<(), StorageError> {
        let mut bound = bound;
        while let Some(end) = before(ends, &bound) {
            bound = Bound::start_of(&end.tail);
            if self.starts_as(&end.tail, &end.image, home_end)? {
                continue;
            }
            let (number, offset) = (end.tail.header.number, end.tail.image_offset);
            let mut page = home_page(self.storage, self.format, number, offset)?;
            for (to, from) in page.iter_mut().zip(&end.image) {
                *to = *from;
            }
            let at = self.format.geometry.base(number) + u64::from(offset);
            // An earlier slot has less of the same page.
            if repairs.iter().all(|repair| repair.at != at) {
                repairs.push(Repair { at, page });
            }
        }
        Ok(())
    }

    pub(super) fn span<'b>(&'b self, tail: &Tail, image: &'b [u8]) -> Span<'b, S> {
        Span {
            storage: self.storage,
            format: self.format,
            number: tail.header.number,
            limit: tail.end(),
            tail_offset: tail.image_offset,
            tail: image,
            end_seq: tail.next,
        }
    }

    /// The first segment whose key is not known.
    pub(super) fn sealed_otherwise(&self, found: &Found) -> Option<u64> {
        let newest = &found.end.tail.header;
        let kept = newest.log_start.number..=newest.number;
        let known = self.headers.iter().flatten().chain([newest]);
        known
            .filter(|header| kept.contains(&header.number))
            .find(|header| !self.format.keys.know(header.key_id))
            .map(|header| header.number)
    }

    /// The segments from the log start to the newest.
    pub(super) fn chain(&self, found: &Found, log_start: LogStart) -> VecDeque<Segment> {
        let newest = &found.end.tail.header;
        let segments = u64::from(self.format.geometry.segments);
        let oldest = (newest.number + 1).saturating_sub(segments);
        let oldest = log_start.number.clamp(oldest, newest.number);
        let mut next = *newest;
        let mut chain = VecDeque::from([Segment::new(newest, found.end.tail.end())]);
        let stream_end = self.format.geometry.stream_end();
        for number in (oldest..newest.number).rev() {
            let header = self
                .header(number)
                .filter(|header| header.first <= next.first);
            let end = match next.previous_end {
                0 => stream_end,
                end => end,
            };
            let missing = SegmentHeader {
                number,
                data_start: stream_end,
                previous_end: 0,
                ..next
            };
            let is_readable = header.is_some();
            next = header.copied().unwrap_or(missing);
            chain.push_front(Segment {
                is_readable,
                ..Segment::new(&next, end.max(next.data_start))
            });
        }
        while chain.front().is_some_and(|segment| !segment.is_readable) && chain.len() > 1 {
            chain.pop_front();
        }
        chain
    }
}

/// A point of the log, as what was written behind it tells.
#[derive(Clone, Copy, Debug)]
struct Bound {
    end: u32,
    next: Seq,
    generation: u64,
    version: u64,
}

impl Bound {
    /// The point before the group of this slot.
    const fn start_of(tail: &Tail) -> Self {
        Self {
            end: tail.group_start,
            next: tail.group_first,
            generation: tail.generation,
            version: tail.version,
        }
    }

    /// The end of the segment before this one.
    const fn end_before(header: &SegmentHeader) -> Self {
        Self {
            end: header.previous_end,
            next: header.first,
            generation: header.generation,
            version: u64::MAX,
        }
    }
}

/// The last slot that was synced before this point. Normally it ends there; where that one is
/// missing, an earlier one is of the same generation, or a recovery may have refused it.
fn before<'a>(ends: &'a [End], bound: &Bound) -> Option<&'a End> {
    ends.iter()
        .filter(|end| {
            let tail = &end.tail;
            let joins = tail.end() == bound.end
                && tail.next == bound.next
                && tail.generation <= bound.generation;
            let is_earlier = tail.end() <= bound.end
                && tail.next <= bound.next
                && tail.generation == bound.generation;
            (joins || is_earlier) && tail.version < bound.version
        })
        .max_by_key(|end| end.tail.version)
}

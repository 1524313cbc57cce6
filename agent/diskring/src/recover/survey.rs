//! Which segments there are, and where the log ends.

use std::collections::VecDeque;

use crate::frame::{Kind, low_u16};
use crate::geometry::{Format, Slot};
use crate::layout::{HEADER_ROOM, LogStart, PAGE, PROBE_LEN, SegmentHeader, Tail};
use crate::mutant::Mutant;
use crate::read::{Buffer, Span, Step, home_page, read_or_rot};
use crate::ring::Segment;
use crate::{Storage, StorageError};

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
}

impl<'a, S: Storage> Survey<'a, S> {
    pub(super) fn new(storage: &'a S, format: &'a Format) -> Result<Self, StorageError> {
        let mut survey = Self {
            storage,
            format,
            headers: Vec::new(),
        };
        for place in 0..u64::from(format.geometry.segments) {
            let header = match survey.home_header(place)? {
                Some(header) => Some(header),
                None => survey.slot_header(place)?,
            };
            survey.headers.push(header);
        }
        Ok(survey)
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
        let data = self.probe(place, PAGE)?;
        Ok(self.belongs(
            place,
            SegmentHeader::decode(self.format.id, &self.format.geometry, &data),
        ))
    }

    /// The header as the slots repeat it.
    fn slot_header(&self, place: u64) -> Result<Option<SegmentHeader>, StorageError> {
        let mut newest: Option<SegmentHeader> = None;
        for slot in Slot::BOTH {
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
        let generation = ends
            .iter()
            .map(|end| end.tail.generation)
            .max()
            .unwrap_or(0);
        let version = ends.iter().map(|end| end.tail.version).max().unwrap_or(0);
        ends.sort_by_key(|end| end.tail.version);
        let (newer, older) = (ends.pop(), ends.pop());
        let Some(newer) = newer else {
            return Ok(None);
        };
        let taken = if self.is_whole(&newer, older.as_ref())? {
            (newer, 0)
        } else if let Some(older) = older {
            let truncated = newer.tail.next.since(older.tail.next);
            (older, truncated)
        } else if newer.tail.group_start == 0 {
            return Ok(None);
        } else {
            // The other slot was being written, or rotted: this one was durable before.
            (newer, 0)
        };
        Ok(Some(Found {
            end: taken.0,
            generation,
            version,
            truncated: taken.1,
        }))
    }

    /// The slots of segment `number` that are whole in themselves.
    fn ends(&self, number: u64) -> Result<Vec<End>, StorageError> {
        let mut ends = Vec::with_capacity(2);
        for slot in Slot::BOTH {
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
            && !self.continues(newer, older)?
        {
            return Ok(false);
        }
        let span = self.span(tail, &newer.image);
        let mut buffer = Buffer::new();
        let mut expected = tail.group_first;
        let mut offset = if opens {
            PAGE + HEADER_ROOM
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

    /// Whether the newer slot begins where the older ends, on a page that starts as the older saw.
    fn continues(&self, newer: &End, older: &End) -> Result<bool, StorageError> {
        let joined = older.tail.end() == newer.tail.group_start
            && older.tail.next == newer.tail.group_first
            && older.tail.generation <= newer.tail.generation;
        let in_image = older.tail.image_offset == newer.tail.image_offset;
        if !joined || in_image || older.image.is_empty() {
            return Ok(joined);
        }
        let offset = older.tail.image_offset;
        let page = home_page(self.storage, self.format, newer.tail.header.number, offset)?;
        Ok(page.starts_with(&older.image) || self.format.mutant.is(Mutant::NoPrefixCheck))
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

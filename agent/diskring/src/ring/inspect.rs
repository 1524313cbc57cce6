//! Looking at every frame of a segment, also at those without entries, and telling damage from
//! what the owner of the ring has overwritten meanwhile.
//!
//! A reader beside the owner opens the ring on an [`crate::Overlay`], and knows the segments as
//! they were then. Before it believes that something is damaged it asks whether that is still so:
//! whoever begins a segment writes its header first.

use super::{Ring, Segment};
use crate::frame::{Frame, Kind};
use crate::layout::{HEADER_OFFSET, HEADER_ROOM};
use crate::read::{Buffer, Span, Step};
use crate::recover::{Sign, sign};
use crate::{Seq, Storage, StorageError};

/// Where the frames of a segment begin: first its snapshot.
const FRAMES_OFFSET: u32 = HEADER_OFFSET + HEADER_ROOM;

/// A segment of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Its number, which is never used twice.
    pub number: u64,
    /// Its first entry; where no header is readable, that of the next segment.
    pub first: Seq,
    /// The time of its first entry, milliseconds since 1970; 0 in a ring's very first segment,
    /// [`crate::TIME_UNKNOWN`] where it was not known.
    pub first_ms: i64,
    /// Whether its header or a copy of it is readable.
    pub is_readable: bool,
}

/// What an inspection comes upon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight {
    /// Entries as they were appended.
    Frame(Frame),
    /// Bytes that are not what was written.
    Damage(Damage),
}

/// Bytes that are not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The number of the segment.
    pub segment: u64,
    /// What of it.
    pub part: DamagedPart,
    /// Where the bytes lie in the storage.
    pub offset: u64,
    /// How many they are.
    pub len_bytes: u64,
    /// The first entry that is lost with them.
    pub first: Seq,
    /// The entry after the last that is lost; the same when none is.
    pub end: Seq,
}

/// What of a segment is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DamagedPart {
    /// Its header, of which a copy is readable.
    Header,
    /// Its header and every copy, and so all of it.
    EveryHeader,
    /// Frames: entries, states or padding.
    Frames,
}

/// A place on the way over all segments, from the oldest to the one that was the newest when it was
/// begun.
#[derive(Clone, Debug)]
pub struct Inspection {
    number: u64,
    last: u64,
    /// Within the segment, once its header was looked at.
    place: Option<(u32, Seq)>,
    buffer: Buffer,
}

impl Inspection {
    /// Where it stands, to come back to.
    pub(crate) const fn mark(&self) -> (u64, Option<(u32, Seq)>) {
        (self.number, self.place)
    }

    /// Goes back, and forgets what was read ahead.
    pub(crate) fn go_back(&mut self, mark: (u64, Option<(u32, Seq)>)) {
        (self.number, self.place) = mark;
        self.buffer = Buffer::new();
    }
}

/// Walks over the frames of one segment.
struct Walk<'a, S> {
    span: Span<'a, S>,
    buffer: &'a mut Buffer,
    offset: u32,
    seq: Seq,
    /// False before a segment without a header, which would tell.
    is_end_known: bool,
}

impl<S: Storage> Ring<S> {
    /// The segments of the log from the oldest to the newest.
    pub fn segments(&self) -> impl Iterator<Item = SegmentInfo> {
        self.segments.iter().map(|segment| SegmentInfo {
            number: segment.number,
            first: segment.first,
            first_ms: segment.first_ms,
            is_readable: segment.is_readable,
        })
    }

    /// Whether what the ring knows of the segment `number`, or of those without a readable header
    /// right behind it, is overtaken: its owner has begun another one there. What cannot be read
    /// of it is no damage then, and the ring must be opened anew.
    pub fn is_outdated(&self, number: u64) -> Result<bool, StorageError> {
        let known = self.segments.iter().find(|it| it.number == number);
        if self.is_overtaken(number, known.is_some_and(|it| it.is_readable))? {
            return Ok(true);
        }
        let behind = self.segments.iter().skip_while(|it| it.number <= number);
        for segment in behind.take_while(|it| !it.is_readable) {
            if self.is_overtaken(segment.number, false)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A look at every frame of the log as it is now, from the beginning.
    pub fn inspection(&self) -> Inspection {
        Inspection {
            number: self.segments.front().map_or(0, |oldest| oldest.number),
            last: self.segments.back().map_or(0, |newest| newest.number),
            place: None,
            buffer: Buffer::new(),
        }
    }

    /// What comes next; `None` when everything was seen. Segments that were evicted since it was
    /// begun are passed over.
    pub fn inspect(&self, inspection: &mut Inspection) -> Result<Option<Sight>, StorageError> {
        self.check_poison()?;
        let oldest = self.segments.front().map_or(0, |oldest| oldest.number);
        if inspection.number < oldest {
            inspection.go_back((oldest, None));
        }
        while inspection.number <= inspection.last {
            let index = usize::try_from(inspection.number.saturating_sub(oldest));
            let segment = index.ok().and_then(|at| Some((at, self.segments.get(at)?)));
            let Some((index, segment)) = segment else {
                return Ok(None);
            };
            let place = inspection.place;
            if place.is_none()
                && let Some(damage) = self.look_at_header(index, segment)?
            {
                inspection.place = Some((FRAMES_OFFSET, segment.first));
                return Ok(Some(Sight::Damage(damage)));
            }
            let buffer = &mut inspection.buffer;
            if let Some(mut walk) = self.walk(index, segment, buffer, place)
                && let Some(sight) = walk.next()?
            {
                inspection.place = Some((walk.offset, walk.seq));
                return Ok(Some(sight));
            }
            inspection.number += 1;
            inspection.place = None;
        }
        Ok(None)
    }

    fn look_at_header(
        &self,
        index: usize,
        segment: &Segment,
    ) -> Result<Option<Damage>, StorageError> {
        let geometry = &self.format.geometry;
        let damage = Damage {
            segment: segment.number,
            part: DamagedPart::Header,
            offset: geometry.base(segment.number) + u64::from(HEADER_OFFSET),
            len_bytes: u64::from(HEADER_ROOM),
            first: segment.first,
            end: segment.first,
        };
        if segment.is_readable {
            let place = segment.number % u64::from(geometry.segments);
            let sign = sign(&self.storage, &self.format, place)?;
            let is_whole = |it: Sign| it.is_at_home && it.header.number == segment.number;
            return Ok((!sign.is_some_and(is_whole)).then_some(damage));
        }
        // Its entries are those between the segments around it.
        let mut buffer = Buffer::new();
        let before = index.checked_sub(1);
        let before = before.and_then(|at| Some((at, self.segments.get(at)?)));
        let mut first = segment.first;
        if let Some((at, before)) = before
            && let Some(mut walk) = self.walk(at, before, &mut buffer, None)
        {
            while walk.next()?.is_some() {}
            first = walk.seq.min(segment.first);
        }
        Ok(Some(Damage {
            part: DamagedPart::EveryHeader,
            offset: geometry.base(segment.number),
            len_bytes: u64::from(geometry.segment_bytes),
            first,
            ..damage
        }))
    }

    /// Walks from `place` on, or from the beginning; not over a segment without a header.
    fn walk<'a>(
        &'a self,
        index: usize,
        segment: &Segment,
        buffer: &'a mut Buffer,
        place: Option<(u32, Seq)>,
    ) -> Option<Walk<'a, S>> {
        let next = self.segments.get(index + 1);
        let (offset, seq) = place.unwrap_or((FRAMES_OFFSET, segment.first));
        let span = self.span(index).filter(|_| segment.is_readable)?;
        Some(Walk {
            span,
            buffer,
            offset,
            seq,
            is_end_known: next.is_none_or(|next| next.is_readable),
        })
    }

    /// Whether the place of segment `number` holds a newer one, or against what was known itself.
    fn is_overtaken(&self, number: u64, was_readable: bool) -> Result<bool, StorageError> {
        let place = number % u64::from(self.format.geometry.segments);
        let sign = sign(&self.storage, &self.format, place)?;
        Ok(sign.is_some_and(|it| {
            it.header.number > number || (it.header.number == number && !was_readable)
        }))
    }
}

impl<S: Storage> Walk<'_, S> {
    fn next(&mut self) -> Result<Option<Sight>, StorageError> {
        loop {
            let start = self.offset;
            match self.span.step(self.buffer, start, self.seq)? {
                Step::Pad { next } => self.offset = next,
                Step::Frame { seq, .. } if seq > self.seq => {
                    return Ok(Some(self.lose(start, start, seq)));
                }
                Step::Frame { header, seq, next } => {
                    let end = seq.advance(header.entries());
                    let body = self.span.unpack(self.buffer, start, &header)?;
                    let Some(body) = body else {
                        return Ok(Some(self.lose(start, next, end)));
                    };
                    self.offset = next;
                    self.seq = end;
                    if let Kind::Entries | Kind::Single = header.kind {
                        return Ok(Some(Sight::Frame(Frame::new(seq, seq, end, body))));
                    }
                }
                Step::Bad => {
                    let found = self.span.resync(self.buffer, start, self.seq)?;
                    match found {
                        Some((next, seq)) => return Ok(Some(self.lose(start, next, seq))),
                        None if self.is_end_known => {
                            let (limit, end) = (self.span.limit, self.span.end_seq);
                            return Ok(Some(self.lose(start, limit, end)));
                        }
                        None => return Ok(None),
                    }
                }
                Step::End if self.seq < self.span.end_seq && self.is_end_known => {
                    return Ok(Some(self.lose(start, start, self.span.end_seq)));
                }
                Step::End => return Ok(None),
            }
        }
    }

    /// Goes on at `offset` with the entry `seq`.
    fn lose(&mut self, start: u32, offset: u32, seq: Seq) -> Sight {
        let first = self.seq;
        self.offset = offset;
        self.seq = seq;
        let base = self.span.format.geometry.base(self.span.number);
        Sight::Damage(Damage {
            segment: self.span.number,
            part: DamagedPart::Frames,
            offset: base + u64::from(start),
            len_bytes: u64::from(offset - start),
            first,
            end: seq,
        })
    }
}

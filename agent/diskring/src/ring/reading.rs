//! The reading half of the ring: finding a place by seq or time, and walking on from it.

use std::collections::BTreeMap;

use super::{Ring, Segment};
use crate::frame::{Frame, Kind};
use crate::layout::{HEADER_OFFSET, HEADER_ROOM, TIME_UNKNOWN};
use crate::read::{Buffer, Cursor, Place, Read, Span, Step};
use crate::state::States;
use crate::{Seq, Storage, StorageError};

impl<S: Storage> Ring<S> {
    /// The first entry of the newest segment that has all entries since `at_ms` in or behind it.
    pub fn seek_time(&self, at_ms: i64) -> Seq {
        let mut seq = self.first();
        let dated = |segment: &&Segment| segment.first_ms != TIME_UNKNOWN;
        for segment in self.segments.iter().filter(dated) {
            if segment.first_ms > at_ms {
                break;
            }
            seq = segment.first;
        }
        seq.min(self.durable())
    }

    /// What comes next for this cursor, of what is durable.
    pub fn read(&self, cursor: &mut Cursor) -> Result<Read, StorageError> {
        self.check_poison()?;
        let first = self.first();
        if cursor.seq < first {
            let evicted = Read::Evicted {
                first: cursor.seq,
                end: first,
            };
            cursor.seq = first;
            return Ok(evicted);
        }
        while cursor.seq < self.durable() {
            let Some(found) = self.read_segment(cursor)? else {
                continue;
            };
            cursor.seq = match &found {
                Read::Frame(frame) => frame.end(),
                Read::Lost { end, .. } | Read::Evicted { end, .. } => *end,
                Read::End => cursor.seq,
            };
            return Ok(found);
        }
        Ok(Read::End)
    }

    /// Walks within one segment; `None` when the cursor was set at the next one.
    fn read_segment(&self, cursor: &mut Cursor) -> Result<Option<Read>, StorageError> {
        let Some((mut place, index)) = self.place(cursor) else {
            return Ok(Some(Read::End));
        };
        let Some(span) = self.span(index) else {
            return Ok(Some(Read::End));
        };
        loop {
            cursor.place = Some(place);
            let step = span.step(&mut cursor.buffer, place.offset, place.seq)?;
            let reached = match step {
                Step::Pad { next } => {
                    place.offset = next;
                    continue;
                }
                Step::Frame { header, seq, next } if seq == place.seq => {
                    let end = seq.advance(header.entries());
                    let offset = place.offset;
                    if end <= cursor.seq {
                        place.offset = next;
                        place.seq = end;
                        continue;
                    }
                    let Some(body) = span.unpack(&mut cursor.buffer, offset, &header)? else {
                        place.offset = next;
                        place.seq = end;
                        cursor.place = Some(place);
                        return Ok(Some(lost(cursor, end)));
                    };
                    place.offset = next;
                    place.seq = end;
                    cursor.place = Some(place);
                    let first = cursor.seq.max(seq);
                    return Ok(Some(Read::Frame(Frame::new(seq, first, end, body))));
                }
                Step::Frame { seq, .. } => seq,
                Step::Bad => {
                    let found = span.resync(&mut cursor.buffer, place.offset, place.seq)?;
                    let (offset, seq) = found.unwrap_or((span.limit, span.end_seq));
                    place.offset = offset;
                    seq
                }
                Step::End => span.end_seq,
            };
            place.seq = reached;
            cursor.place = Some(place);
            if matches!(step, Step::End) {
                cursor.place = self.next_place(index);
            }
            if reached > cursor.seq {
                return Ok(Some(lost(cursor, reached)));
            }
            if matches!(step, Step::End) {
                return Ok(None);
            }
        }
    }

    /// Where the cursor stands, or the start of the segment with its entry.
    fn place(&self, cursor: &Cursor) -> Option<(Place, usize)> {
        let oldest = self.segments.front()?;
        let known = cursor.place.and_then(|place| {
            let index = usize::try_from(place.number.checked_sub(oldest.number)?).ok()?;
            let sound = index < self.segments.len() && place.seq <= cursor.seq;
            sound.then_some((place, index))
        });
        if known.is_some() {
            return known;
        }
        let after = self
            .segments
            .partition_point(|segment| segment.first <= cursor.seq);
        let index = after.checked_sub(1)?;
        let segment = self.segments.get(index)?;
        Some((start_of(segment), index))
    }

    fn next_place(&self, index: usize) -> Option<Place> {
        self.segments.get(index + 1).map(start_of)
    }

    pub(super) fn span(&self, index: usize) -> Option<Span<'_, S>> {
        let segment = self.segments.get(index)?;
        let next = self.segments.get(index + 1);
        let (image_offset, image) = self.writer.image();
        let span = Span {
            storage: &self.storage,
            format: &self.format,
            number: segment.number,
            limit: segment.end,
            tail_offset: segment.end,
            tail: &[],
            end_seq: next.map_or(self.durable(), |next| next.first),
        };
        if next.is_some() {
            return Some(span);
        }
        Some(Span {
            limit: self.writer.durable_end(),
            tail_offset: image_offset,
            tail: image,
            ..span
        })
    }

    /// The entries of each tag before this segment; `None` when its snapshot cannot be read.
    pub(super) fn counts_before(&self, segment: &Segment) -> Option<BTreeMap<u16, u64>> {
        if segment.number == self.writer.header().number {
            return Some(self.opening_counts.clone());
        }
        let span = Span {
            storage: &self.storage,
            format: &self.format,
            number: segment.number,
            limit: segment.data_start,
            tail_offset: segment.data_start,
            tail: &[],
            end_seq: segment.first,
        };
        let states = read_snapshot(&span, segment.first).ok()??;
        Some(states.counts().clone())
    }
}

/// The states with which a segment opens; `None` when they cannot be read.
pub(crate) fn read_snapshot<S: Storage>(
    span: &Span<'_, S>,
    first: Seq,
) -> Result<Option<States>, StorageError> {
    let mut buffer = Buffer::new();
    let offset = HEADER_OFFSET + HEADER_ROOM;
    let step = span.step(&mut buffer, offset, first)?;
    let Step::Frame { header, seq, .. } = step else {
        return Ok(None);
    };
    if header.kind != Kind::Snapshot || seq != first {
        return Ok(None);
    }
    let body = span.unpack(&mut buffer, offset, &header)?;
    let mut states = States::default();
    Ok(body.and_then(|body| states.replay(&body)).map(|()| states))
}

fn start_of(segment: &Segment) -> Place {
    Place {
        number: segment.number,
        offset: segment.data_start,
        seq: segment.first,
    }
}

const fn lost(cursor: &Cursor, end: Seq) -> Read {
    Read::Lost {
        first: cursor.seq,
        end,
    }
}

//! The states at the end of the log, from the newest snapshot that can be read.

use std::collections::BTreeMap;

use super::survey::{Found, Survey};
use crate::frame::{Frame, Kind};
use crate::layout::{HEADER_OFFSET, PAGE};
use crate::mutant::Mutant;
use crate::read::{Buffer, Span, Step};
use crate::ring::{Segment, read_snapshot};
use crate::state::{States, Wear};
use crate::{Storage, StorageError};

/// What the log says beside its entries.
#[derive(Debug)]
pub(super) struct Replayed {
    pub(super) states: States,
    /// The entries of each tag before the newest segment.
    pub(super) opening_counts: BTreeMap<u16, u64>,
    pub(super) frames_lost: u32,
    /// Bytes of the log behind the place that the wear in the states is of.
    behind_wear: u64,
}

impl<S: Storage> Survey<'_, S> {
    /// The states at the end of the log: the last snapshot that can be read and what came after.
    pub(super) fn replay(&self, found: &Found) -> Result<Replayed, StorageError> {
        let newest = &found.end.tail;
        let chain = self.chain(found, newest.header.log_start);
        let mut start = chain.len().saturating_sub(1);
        let mut states = None;
        for (index, segment) in chain.iter().enumerate().rev() {
            start = index;
            let span = Span {
                limit: segment.data_start,
                tail_offset: segment.data_start,
                tail: &[],
                number: segment.number,
                end_seq: segment.first,
                ..self.span(newest, &found.end.image)
            };
            states = read_snapshot(&span, segment.first)?;
            if states.is_some() {
                break;
            }
        }
        let mut replayed = Replayed {
            states: states.unwrap_or_default(),
            opening_counts: BTreeMap::new(),
            frames_lost: 0,
            behind_wear: 0,
        };
        for (index, segment) in chain.iter().enumerate().skip(start) {
            replayed.opening_counts.clone_from(replayed.states.counts());
            let end = self.span(newest, &found.end.image);
            let span = match chain.get(index + 1) {
                None => end,
                Some(next) => Span {
                    number: segment.number,
                    limit: segment.end,
                    tail_offset: segment.end,
                    tail: &[],
                    end_seq: next.first,
                    ..end
                },
            };
            replayed.behind_wear += u64::from(segment.data_start.saturating_sub(HEADER_OFFSET));
            replayed.segment(&span, segment)?;
        }
        if replayed.states.log_start().number < newest.header.log_start.number {
            replayed.states.set_log_start(newest.header.log_start);
        }
        Ok(replayed)
    }
}

impl Replayed {
    /// What the ring has cost its disk up to the end of the log, and now for `repairs`.
    ///
    /// Each sync writes a slot, and its version counts the syncs. Home pages are those of the log;
    /// what the last slot has of them is yet to be written there.
    pub(super) fn worn(&self, found: &Found, repairs: usize) -> Wear {
        let wear = self.states.wear();
        let syncs = wear.syncs.max(found.version);
        let slots = syncs - wear.syncs;
        let repairs = u64::try_from(repairs).unwrap_or(0);
        let image = u64::try_from(found.end.image.len()).unwrap_or(0);
        let home = self.behind_wear.saturating_add(wear.written_bytes);
        let pages = slots
            .saturating_add(repairs)
            .saturating_mul(u64::from(PAGE));
        Wear {
            written_bytes: home.saturating_sub(image).saturating_add(pages),
            syncs,
        }
    }

    /// Repeats what a segment's frames did to the states.
    fn segment<S: Storage>(
        &mut self,
        span: &Span<'_, S>,
        segment: &Segment,
    ) -> Result<(), StorageError> {
        let mut buffer = Buffer::new();
        let (mut offset, mut expected) = (segment.data_start, segment.first);
        loop {
            match span.step(&mut buffer, offset, expected)? {
                Step::Frame { header, seq, next } => {
                    let end = seq.advance(header.entries());
                    let body = span.unpack(&mut buffer, offset, &header)?;
                    let known = match (header.kind, body) {
                        (Kind::Entries | Kind::Single, _)
                            if span.format.mutant.is(Mutant::NoCounts) =>
                        {
                            Some(())
                        }
                        (Kind::Entries | Kind::Single, Some(body)) => {
                            self.states.replay_entries(&Frame::new(seq, seq, end, body));
                            Some(())
                        }
                        (Kind::State, Some(body)) => {
                            self.behind_wear = 0;
                            self.states.replay(&body)
                        }
                        (Kind::Pad, Some(_)) => Some(()),
                        (Kind::Snapshot, _) | (_, None) => None,
                    };
                    self.frames_lost += u32::from(known.is_none());
                    self.behind_wear += u64::from(next.saturating_sub(offset));
                    offset = next;
                    expected = end;
                }
                Step::Pad { next } => {
                    self.behind_wear += u64::from(next.saturating_sub(offset));
                    offset = next;
                }
                Step::Bad => {
                    self.frames_lost += 1;
                    let Some((next, seq)) = span.resync(&mut buffer, offset, expected)? else {
                        return Ok(());
                    };
                    self.behind_wear += u64::from(next.saturating_sub(offset));
                    offset = next;
                    expected = seq;
                }
                Step::End => return Ok(()),
            }
        }
    }
}

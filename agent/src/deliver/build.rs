//! Grows a batch out of frames; runs on a worker thread.
//!
//! A batch is cut where its limits say, or at an exact entry when a range of an earlier plan is
//! encoded again.

mod kept;
mod letter;
mod object;
mod recipe;

use std::collections::BTreeSet;
use std::sync::Arc;

use diskring::{Frame, Seq};
use pipeline::batch::{Batcher, Complete};
use pipeline::boots::{BOOTS_MAX, Boots};
use pipeline::clock::{BootTag, Moment, Taken};
use pipeline::destination::s3::{ObjectWriter, S3, Wrote};
use pipeline::destination::{
    Destination, EncodedBatch, EncodedBody, Packer, Push, SeqRange, Unit, UnitFate,
};
use pipeline::encode::{BatchEncoder, EntryMeta};
use pipeline::record::PayloadState;
use pipeline::stored::{self, ClockMark, FieldsRef, StoredRef};
use pipeline::time::{Monotonic, WallClock};
use pipeline::transform::Outcome;

pub(super) use kept::KeptEntry;
pub(super) use letter::LetterHead;
pub(super) use recipe::{Recipe, Sources};

/// A batch that may become larger than this grows into it.
const RESERVE_MAX: usize = 1 << 20;

/// A batch passes its limit by one record's metadata and what ends it.
const RESERVE_MORE: usize = 4096;

/// A finished batch.
#[derive(Debug)]
pub(super) struct Built {
    /// The entries it covers.
    pub(super) range: SeqRange,
    /// Its bytes.
    pub(super) encoded: EncodedBatch,
    /// Records in it.
    pub(super) count: u64,
    /// Records that a transform let go.
    pub(super) filtered: u64,
    /// Bytes before compression.
    pub(super) raw_bytes: u64,
    /// When the oldest record in it was received.
    pub(super) oldest: Option<Moment>,
    /// Records whose time was put right.
    pub(super) corrected: u64,
    /// Boots of its records whose time is not known.
    pub(super) unknown: BTreeSet<BootTag>,
    /// Whether it ends because no more would fit.
    pub(super) is_full: bool,
}

/// A batch that grows.
#[derive(Debug)]
pub(super) struct Builder {
    recipe: Arc<Recipe>,
    sources: Sources,
    boots: Arc<Boots>,
    batcher: Batcher,
    first: Seq,
    end: Seq,
    limit: Option<Seq>,
    exact: bool,
    body: Body,
    count: u64,
    filtered: u64,
    raw_bytes: u64,
    oldest: Option<Moment>,
    corrected: u64,
    unknown: BTreeSet<BootTag>,
    full: bool,
    line: Vec<u8>,
    bytes: Vec<u8>,
}

#[derive(Debug)]
enum Body {
    Whole(Box<BatchEncoder>),
    Packed(Box<Packer>),
    Objects(Box<ObjectWriter>),
}

impl Builder {
    /// An empty batch that begins with `first`, and that ends at `limit` at the latest; exactly
    /// there, whatever becomes of its size, when `is_exact` says so.
    pub(super) fn new(
        recipe: &Arc<Recipe>,
        destination: &Destination,
        (sources, boots): (Sources, Arc<Boots>),
        batcher: Batcher,
        first: Seq,
        limit: Option<Seq>,
        is_exact: bool,
    ) -> Self {
        let body = match destination {
            Destination::Firehose(firehose) => {
                let config = &recipe.config;
                let packer = firehose.packer(config.compression, config.batch.count_max, first);
                Body::Packed(Box::new(packer.at_level(config.compression_level)))
            }
            Destination::Kinesis(kinesis) => {
                let config = &recipe.config;
                let (compression, count_max) = (config.compression, config.batch.count_max);
                let packer = kinesis.packer(&recipe.origin, compression, count_max, first);
                Body::Packed(Box::new(packer.at_level(config.compression_level)))
            }
            Destination::S3(s3) => recipe.plan(s3),
            Destination::Redshift(redshift) => recipe.plan(redshift.store()),
            Destination::Http(_) | Destination::Directory(_) => {
                let mut encoder = BatchEncoder::new(recipe.encoding(), &recipe.origin);
                let bytes = usize::try_from(batcher.bytes_max()).unwrap_or(usize::MAX);
                encoder.reserve(bytes.min(RESERVE_MAX).saturating_add(RESERVE_MORE));
                Body::Whole(Box::new(encoder))
            }
        };
        let mut builder = Self::with_body(recipe, (sources, boots), batcher, first, limit, body);
        builder.exact = is_exact;
        builder
    }

    /// A batch of exactly what is in front of `limit`.
    fn with_body(
        recipe: &Arc<Recipe>,
        (sources, boots): (Sources, Arc<Boots>),
        batcher: Batcher,
        first: Seq,
        limit: Option<Seq>,
        body: Body,
    ) -> Self {
        Self {
            recipe: Arc::clone(recipe),
            sources,
            boots,
            batcher,
            first,
            end: first,
            limit,
            exact: true,
            body,
            count: 0,
            filtered: 0,
            raw_bytes: 0,
            oldest: None,
            corrected: 0,
            unknown: BTreeSet::new(),
            full: false,
            line: Vec::new(),
            bytes: Vec::new(),
        }
    }

    /// Takes what it can of `frames`; false once it wants no more.
    pub(super) fn take(&mut self, frames: &[Frame], now: Monotonic) -> bool {
        for frame in frames {
            // What is missing before the limit is gone; nothing behind it belongs here.
            self.stop_at_limit(frame.first());
            if self.full {
                break;
            }
            self.take_frame(frame, now);
        }
        self.stop_at_limit(self.end);
        !self.full
    }

    /// Takes notice of sources that were opened since it was begun.
    pub(super) fn set_sources(&mut self, sources: Sources) {
        self.sources = sources;
    }

    /// The first entry that it has not taken.
    pub(super) const fn end(&self) -> Seq {
        self.end
    }

    /// Whether it holds no record.
    pub(super) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// When the oldest record in it was received.
    pub(super) const fn oldest(&self) -> Option<Moment> {
        self.oldest
    }

    /// Boots of its records whose time is not known.
    pub(super) const fn unknown(&self) -> &BTreeSet<BootTag> {
        &self.unknown
    }

    /// Whether it wants no more, at `now`.
    pub(super) fn is_complete(&self, now: Monotonic) -> bool {
        self.full || (!self.exact && self.batcher.poll_complete(now).is_some())
    }

    /// When it is complete by age.
    pub(super) fn poll_timeout(&self) -> Option<Monotonic> {
        self.batcher.poll_timeout()
    }

    /// Completes it; `end` is where the entries that were looked at end.
    pub(super) fn finish(self, end: Seq) -> Built {
        let range = SeqRange::new(self.first, end.max(self.end));
        let encoded = match self.body {
            Body::Whole(encoder) => {
                let filtered = u32::try_from(self.filtered).unwrap_or(u32::MAX);
                let body = EncodedBody::new(encoder.finish(), range, filtered);
                EncodedBatch::Body(body)
            }
            Body::Packed(packer) => EncodedBatch::Units(packer.finish(range.end)),
            Body::Objects(writer) => {
                let unit = Unit {
                    range,
                    count: u32::try_from(self.count).unwrap_or(u32::MAX),
                    filtered: u32::try_from(self.filtered).unwrap_or(u32::MAX),
                    fate: UnitFate::Sendable,
                };
                EncodedBatch::Objects(S3::batch(*writer, unit, Arc::clone(&self.boots)))
            }
        };
        let Self {
            count,
            filtered,
            raw_bytes,
            oldest,
            corrected,
            unknown,
            full: is_full,
            ..
        } = self;
        Built {
            range,
            encoded,
            count,
            filtered,
            raw_bytes,
            oldest,
            corrected,
            unknown,
            is_full,
        }
    }

    fn stop_at_limit(&mut self, next: Seq) {
        if let Some(limit) = self.limit.filter(|limit| *limit <= next) {
            self.end = limit;
            self.full = true;
        }
    }

    fn take_frame(&mut self, frame: &Frame, now: Monotonic) {
        let (recipe, sources) = (Arc::clone(&self.recipe), self.sources.clone());
        for entry in frame.entries() {
            if entry.seq < self.end {
                continue;
            }
            self.stop_at_limit(entry.seq);
            if self.full {
                return;
            }
            if sources.takes(entry.tag) {
                let meta = EntryMeta {
                    seq: entry.seq,
                    source: sources.name(entry.tag),
                };
                if !self.take_entry(&recipe, meta, entry.payload, now) {
                    self.full = true;
                    return;
                }
            }
            self.end = entry.seq.advance(1);
            if !self.exact
                && self
                    .batcher
                    .poll_complete(now)
                    .is_some_and(|why| why != Complete::Age)
            {
                self.full = true;
                return;
            }
        }
        self.end = self.end.max(frame.end());
    }

    /// Adds one entry; false when the batch has no room for it.
    fn take_entry(
        &mut self,
        recipe: &Recipe,
        meta: EntryMeta<'_>,
        payload: &[u8],
        now: Monotonic,
    ) -> bool {
        let Ok(mut record) = StoredRef::decode(payload) else {
            // Only another version can have written it; its bytes still go out.
            let kept = StoredRef {
                payload,
                ..unreadable()
            };
            return self.push(meta, &kept, now);
        };
        self.boots.correct(&mut record);
        if recipe.transforms.is_empty() {
            return self.push(meta, &record, now);
        }
        match recipe.transforms.apply(record.to_record(), meta.seq.get()) {
            Outcome::Keep(changed) => {
                let mut bytes = std::mem::take(&mut self.bytes);
                bytes.clear();
                stored::encode(&changed, &mut bytes);
                let taken = match StoredRef::decode(&bytes) {
                    Ok(mut changed) => {
                        changed.clock = record.clock;
                        self.push(meta, &changed, now)
                    }
                    Err(_) => true,
                };
                self.bytes = bytes;
                taken
            }
            Outcome::Filtered => {
                self.filtered += 1;
                if let Body::Packed(packer) = &mut self.body {
                    packer.handle_filtered();
                }
                true
            }
        }
    }

    fn push(&mut self, meta: EntryMeta<'_>, record: &StoredRef<'_>, now: Monotonic) -> bool {
        let recipe = Arc::clone(&self.recipe);
        let Some(head) = &recipe.letters else {
            return self.push_encoded(meta, record, now);
        };
        let mut line = Vec::new();
        head.write(meta, record, &mut line);
        let letter = StoredRef {
            payload: &line,
            payload_state: PayloadState::Opaque,
            ..*record
        };
        self.push_encoded(meta, &letter, now)
    }

    fn push_encoded(
        &mut self,
        meta: EntryMeta<'_>,
        record: &StoredRef<'_>,
        now: Monotonic,
    ) -> bool {
        let added = match &mut self.body {
            Body::Whole(encoder) => {
                // A record is counted by its payload before it is written: the limit is on the
                // batch, which is allowed to pass it by one record's metadata.
                let guess = u64::try_from(record.payload.len()).unwrap_or(u64::MAX);
                if !self.exact && !self.batcher.fits(guess) {
                    return false;
                }
                let before = encoder.raw_bytes();
                encoder.push(meta, record);
                encoder.raw_bytes().saturating_sub(before)
            }
            Body::Packed(packer) => {
                self.line.clear();
                self.recipe.writer.write(meta, record, &mut self.line);
                let len = u64::try_from(self.line.len()).unwrap_or(u64::MAX);
                if (!self.exact && !self.batcher.fits(len))
                    || packer.push_record(meta, record, &self.line) == Push::Full
                {
                    return false;
                }
                self.line.len()
            }
            Body::Objects(writer) => {
                let guess = u64::try_from(record.payload.len()).unwrap_or(u64::MAX);
                if !self.exact && !self.batcher.fits(guess) {
                    return false;
                }
                match writer.push(meta, record) {
                    Wrote::Taken(bytes) => bytes,
                    Wrote::Other => return true,
                    Wrote::Full => return false,
                }
            }
        };
        let added = u64::try_from(added).unwrap_or(u64::MAX);
        self.raw_bytes += added;
        self.batcher.handle_record(now, added);
        self.count += 1;
        self.note_time(record);
        true
    }

    /// Remembers what a record that was added says of time.
    fn note_time(&mut self, record: &StoredRef<'_>) {
        let is_unsynced = matches!(record.clock, ClockMark::Unsynced { .. });
        self.oldest = self.oldest.or(Some(Moment {
            time: record.received_at,
            taken: Taken {
                is_unsynced,
                ..record.taken
            },
        }));
        self.corrected += u64::from(matches!(record.clock, ClockMark::Corrected { .. }));
        if is_unsynced && self.unknown.len() <= BOOTS_MAX {
            self.unknown.insert(record.taken.boot);
        }
    }
}

fn unreadable() -> StoredRef<'static> {
    StoredRef {
        received_at: WallClock::default(),
        taken: Taken::default(),
        clock: ClockMark::Synced,
        time: None,
        payload: &[],
        payload_state: PayloadState::Opaque,
        fields: FieldsRef::default(),
        decode_error: Some("stored by another version of hydrant; kept as its stored bytes"),
    }
}

//! Records of one source on their way to the store, as bytes, in the order they came.

use std::sync::Arc;

use pipeline::books::Counts;
use pipeline::clock::Moment;
use pipeline::receipt::Receipt;
use pipeline::record::{Fields, Record};
use pipeline::stored;
use pipeline::time::WallClock;
use pipeline::transform::{Outcome, Transforms};
use tokio::sync::OwnedSemaphorePermit;

use super::{Intake, Settled, SourceTag, WAITING_KIB_MAX};
use crate::telemetry::{SourceCount, SourceCounters};

/// Room in an entry for what is not payload; a record that needs more is cut.
pub(crate) const FIELD_BYTES_MAX: usize = 4096;

/// What a stored line takes, by and large.
const RECORD_BYTES: usize = 256;

/// What a checkpoint takes in the ring besides its key: the offset, lengths, the source's number.
const CHECKPOINT_BYTES: usize = 32;

/// Records of one source as bytes, with what is owed for them and where they came from.
#[derive(Debug)]
pub(crate) struct IntakeBatch {
    tag: SourceTag,
    begun: Moment,
    transforms: Arc<Transforms>,
    counters: Arc<SourceCounters>,
    settled: Arc<Settled>,
    record_bytes_max: usize,
    bytes: Vec<u8>,
    ends: Vec<usize>,
    receipts: Vec<(usize, Receipt)>,
    checkpoint_receipts: Vec<Receipt>,
    checkpoint_keys: Vec<Vec<u8>>,
    checkpoints: Vec<CheckpointMark>,
    counts: Counts,
    /// Its share of the queue's bound, held until it is appended.
    pub(super) room: Option<OwnedSemaphorePermit>,
}

/// A checkpoint that holds once the first `entries` entries of the batch are appended.
#[derive(Clone, Copy, Debug)]
struct CheckpointMark {
    entries: usize,
    key: usize,
    offset: Option<u64>,
}

/// One step of a batch, in order.
#[derive(Debug)]
pub(crate) enum Step<'a> {
    /// Append this.
    Entry(&'a [u8]),
    /// Remember (or with `None` forget) this place.
    Checkpoint(&'a [u8], Option<u64>),
}

impl IntakeBatch {
    /// An empty batch of the source behind `intake`.
    pub(super) fn new(intake: &Intake) -> Self {
        Self {
            tag: intake.tag,
            begun: intake.clock.moment(),
            transforms: Arc::clone(&intake.transforms),
            counters: Arc::clone(&intake.counters),
            settled: Arc::clone(&intake.settled),
            record_bytes_max: intake.record_bytes_max,
            bytes: Vec::new(),
            ends: Vec::new(),
            receipts: Vec::new(),
            checkpoint_receipts: Vec::new(),
            checkpoint_keys: Vec::new(),
            checkpoints: Vec::new(),
            counts: Counts::default(),
            room: None,
        }
    }

    /// Takes the room for so many bytes at once: what grows bit by bit, or on many threads, leaves
    /// holes in the heap.
    pub(crate) fn reserve(&mut self, bytes: usize) {
        self.bytes.reserve_exact(bytes);
        let records = bytes / RECORD_BYTES;
        self.ends.reserve_exact(records);
        self.checkpoints.reserve_exact(records);
    }

    /// Adds a record. It runs through the source's transforms; a filtered one is counted and its
    /// receipt settles with its neighbours.
    pub(crate) fn push(&mut self, mut record: Record, receipt: Option<Receipt>) {
        (record.received_at, record.taken) = self.begun.place(record.received_at);
        self.counters.add(SourceCount::Received, 1);
        self.counters
            .add(SourceCount::ReceivedBytes, size(record.payload.len()));
        if self.transforms.is_empty() {
            self.store(&record);
        } else {
            let seed = self.counters.get(SourceCount::Received);
            match self.transforms.apply(record, seed) {
                Outcome::Keep(record) => self.store(&record),
                Outcome::Filtered => {
                    self.counters.add(SourceCount::Filtered, 1);
                    self.counts.filtered += 1;
                }
            }
        }
        if let Some(receipt) = receipt {
            self.receipts.push((self.ends.len(), receipt));
        }
    }

    /// Adds a payload with fields that many records share; the short way of [`Self::push`] when
    /// there are no transforms.
    pub(crate) fn push_line(&mut self, received_at: WallClock, fields: &Fields, payload: &[u8]) {
        if self.transforms.is_empty() && payload.len() <= self.record_bytes_max {
            let start = self.bytes.len();
            let placed = self.begun.place(received_at);
            stored::encode_parts(placed, fields, payload, &mut self.bytes);
            if self.fits(start) {
                self.counters.add(SourceCount::Received, 1);
                self.counters
                    .add(SourceCount::ReceivedBytes, size(payload.len()));
                self.ends.push(self.bytes.len());
                return;
            }
            self.bytes.truncate(start);
        }
        let mut record = Record::new(received_at, payload.to_vec());
        record.fields = fields.clone();
        self.push(record, None);
    }

    /// Counts a record that its source has cut because it was too long.
    pub(crate) fn count_cut(&mut self) {
        self.counters.add(SourceCount::Cut, 1);
        self.counts.cut += 1;
    }

    /// Remembers a place in the source's input, durable together with the records pushed before.
    pub(crate) fn set_checkpoint(&mut self, key: &[u8], offset: u64) {
        self.mark_checkpoint(key, Some(offset));
    }

    /// Forgets a place.
    pub(crate) fn forget_checkpoint(&mut self, key: &[u8]) {
        self.mark_checkpoint(key, None);
    }

    /// Owes a receipt once all that was pushed and remembered before is durable, checkpoints among
    /// it that a full ring has no place for yet.
    pub(crate) fn owe(&mut self, receipt: Receipt) {
        self.checkpoint_receipts.push(receipt);
    }

    /// Whether something is owed for what was remembered or forgotten.
    pub(crate) fn owes_states(&self) -> bool {
        !self.checkpoint_receipts.is_empty()
    }

    /// Size of the records.
    pub(crate) fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Number of records.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no record.
    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The source's number in the ring.
    pub(crate) fn tag(&self) -> SourceTag {
        self.tag
    }

    /// When the batch was begun.
    pub(crate) fn received_at(&self) -> WallClock {
        self.begun.time
    }

    /// The same moment, as far as it is known.
    pub(crate) fn begun(&self) -> Moment {
        self.begun
    }

    /// Where its receipts go back to.
    pub(crate) fn settled(&self) -> &Arc<Settled> {
        &self.settled
    }

    /// What was counted while it was filled; given once.
    pub(crate) fn take_counts(&mut self) -> Counts {
        std::mem::take(&mut self.counts)
    }

    /// Bytes that one of its checkpoints takes as a state of the ring, at most.
    pub(crate) fn checkpoint_bytes_max(&self) -> usize {
        self.checkpoint_keys
            .iter()
            .map(Vec::len)
            .max()
            .map_or(0, |len| len + CHECKPOINT_BYTES)
    }

    /// The receipts, each with the number of entries it covers.
    pub(crate) fn take_receipts(&mut self) -> Vec<(usize, Receipt)> {
        std::mem::take(&mut self.receipts)
    }

    /// The receipts of the checkpoints.
    pub(crate) fn take_checkpoint_receipts(&mut self) -> Vec<Receipt> {
        std::mem::take(&mut self.checkpoint_receipts)
    }

    /// What to do from entry `from` on, in order.
    pub(crate) fn steps(&self, from: usize) -> impl Iterator<Item = Step<'_>> {
        let mut entry = from;
        // Marks that hold before entry `from` were applied when the batch was left there.
        let mut mark = match from {
            0 => 0,
            _ => self
                .checkpoints
                .partition_point(|mark| mark.entries <= from),
        };
        std::iter::from_fn(move || {
            if let Some(next) = self.checkpoints.get(mark)
                && next.entries <= entry
            {
                mark += 1;
                let key = self.checkpoint_keys.get(next.key)?;
                return Some(Step::Checkpoint(key, next.offset));
            }
            let end = *self.ends.get(entry)?;
            let start = entry
                .checked_sub(1)
                .and_then(|last| self.ends.get(last))
                .copied();
            entry += 1;
            self.bytes.get(start.unwrap_or(0)..end).map(Step::Entry)
        })
    }

    /// Whether there is nothing to hand over at all.
    pub(super) fn has_nothing(&self) -> bool {
        self.ends.is_empty()
            && self.receipts.is_empty()
            && self.checkpoint_receipts.is_empty()
            && self.checkpoints.is_empty()
            && self.counts == Counts::default()
    }

    fn store(&mut self, record: &Record) {
        if record.decode_error.is_some() {
            self.counters.add(SourceCount::DecodeErrors, 1);
            self.counts.decode_errors += 1;
        }
        let start = self.bytes.len();
        stored::encode(record, &mut self.bytes);
        if !self.fits(start) {
            self.bytes.truncate(start);
            self.count_cut();
            stored::encode(&cut(record, self.record_bytes_max), &mut self.bytes);
        }
        self.ends.push(self.bytes.len());
    }

    /// Whether an entry of the ring holds the bytes from `start` on.
    fn fits(&self, start: usize) -> bool {
        self.bytes.len() - start <= self.record_bytes_max + FIELD_BYTES_MAX
    }

    /// What it holds, for the queue's bound: at least one and at most all of it.
    pub(super) fn held_kib(&self) -> u32 {
        u32::try_from(self.bytes.capacity() / 1024)
            .unwrap_or(u32::MAX)
            .clamp(1, WAITING_KIB_MAX)
    }

    fn mark_checkpoint(&mut self, key: &[u8], offset: Option<u64>) {
        let known = self.checkpoint_keys.iter().rposition(|known| known == key);
        let key = known.unwrap_or_else(|| {
            self.checkpoint_keys.push(key.to_vec());
            self.checkpoint_keys.len() - 1
        });
        let mark = CheckpointMark {
            entries: self.ends.len(),
            key,
            offset,
        };
        match self.checkpoints.last_mut() {
            Some(last) if last.key == key && last.entries == mark.entries => *last = mark,
            _ => self.checkpoints.push(mark),
        }
    }
}

/// What is left of a record that no ring entry can hold: the head of its payload, marked.
fn cut(record: &Record, payload_bytes_max: usize) -> Record {
    let len = record.payload.len().min(payload_bytes_max);
    let payload = record.payload.get(..len).unwrap_or_default().to_vec();
    let mut cut = Record::new(record.received_at, payload);
    cut.taken = record.taken;
    cut.time = record.time;
    cut.mark("record is larger than an entry of the ring: cut, and its fields left out");
    cut
}

fn size(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

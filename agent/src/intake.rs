//! The way from a source to the store thread.
//!
//! Records become bytes here, on the source's side, so that the store thread only copies.
//! A source has one [`Intake`]; what it is owed comes back through [`Intake::settled`], and only
//! after the records are durable.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use pipeline::receipt::Receipt;
use pipeline::record::{Fields, Record};
use pipeline::stored;
use pipeline::time::WallClock;
use pipeline::transform::{Outcome, Transforms};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc};

use crate::clock::Clock;
use crate::telemetry::{SourceCount, SourceCounters};

/// How many batches may wait for the store thread, all sources together.
pub(crate) const WAITING_BATCHES_MAX: usize = 32;

/// Room in an entry for what is not payload; a record that needs more is cut.
pub(crate) const FIELD_BYTES_MAX: usize = 4096;

/// What a checkpoint takes in the ring besides its key: the offset, lengths, the source's number.
const CHECKPOINT_BYTES: usize = 32;

/// Becomes true once, when everything is to end.
pub(crate) type Shutdown = tokio::sync::watch::Receiver<bool>;

/// Number of a source in the ring, kept by name over restarts.
pub(crate) type SourceTag = u16;

/// A key that a source made up, and an offset in what the key stands for.
pub(crate) type Checkpoint = (Vec<u8>, u64);

/// What goes to the store thread.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// Records with what is owed for them.
    Batch(IntakeBatch),
    /// A source waits for its receipts and can do nothing else.
    Stalled,
}

/// One source's door to the store.
#[derive(Clone, Debug)]
pub(crate) struct Intake {
    name: Arc<str>,
    tag: SourceTag,
    transforms: Arc<Transforms>,
    checkpoints: Arc<Vec<Checkpoint>>,
    record_bytes_max: usize,
    clock: Clock,
    counters: Arc<SourceCounters>,
    settled: Arc<Settled>,
    store: mpsc::Sender<Incoming>,
}

/// What an [`Intake`] is made of.
#[derive(Debug)]
pub(crate) struct IntakeParts {
    /// The source's name.
    pub(crate) name: String,
    /// Its number in the ring.
    pub(crate) tag: SourceTag,
    /// What is done to its records before the ring.
    pub(crate) transforms: Transforms,
    /// Its places in its input at the last durable moment.
    pub(crate) checkpoints: Vec<Checkpoint>,
    /// The largest payload the ring takes.
    pub(crate) record_bytes_max: usize,
    /// The process's clock.
    pub(crate) clock: Clock,
    /// Its counters.
    pub(crate) counters: Arc<SourceCounters>,
    /// Where receipts come back.
    pub(crate) settled: Arc<Settled>,
    /// The store's queue.
    pub(crate) store: mpsc::Sender<Incoming>,
}

/// The store has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closed;

/// The store has no room at this moment; the batch comes back.
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) IntakeBatch);

impl Intake {
    /// Puts an intake together.
    pub(crate) fn new(parts: IntakeParts) -> Self {
        Self {
            name: parts.name.into(),
            tag: parts.tag,
            transforms: Arc::new(parts.transforms),
            checkpoints: Arc::new(parts.checkpoints),
            record_bytes_max: parts.record_bytes_max,
            clock: parts.clock,
            counters: parts.counters,
            settled: parts.settled,
            store: parts.store,
        }
    }

    /// An empty batch of this source.
    pub(crate) fn batch(&self) -> IntakeBatch {
        IntakeBatch {
            tag: self.tag,
            received_at: self.clock.wall(),
            transforms: Arc::clone(&self.transforms),
            counters: Arc::clone(&self.counters),
            settled: Arc::clone(&self.settled),
            record_bytes_max: self.record_bytes_max,
            bytes: Vec::new(),
            ends: Vec::new(),
            receipts: Vec::new(),
            checkpoint_keys: Vec::new(),
            checkpoints: Vec::new(),
        }
    }

    /// Hands a batch over; waits while the store is busy or full.
    pub(crate) async fn send(&self, batch: IntakeBatch) -> Result<(), Closed> {
        if batch.has_nothing() {
            return Ok(());
        }
        self.store
            .send(Incoming::Batch(batch))
            .await
            .map_err(|_| Closed)
    }

    /// Hands a batch over if the store can take it at once.
    #[expect(
        clippy::result_large_err,
        reason = "the batch is what the caller gets back"
    )]
    pub(crate) fn try_send(&self, batch: IntakeBatch) -> Result<(), Refused> {
        if batch.has_nothing() {
            return Ok(());
        }
        let Err(error) = self.store.try_send(Incoming::Batch(batch)) else {
            return Ok(());
        };
        let (TrySendError::Full(message) | TrySendError::Closed(message)) = error;
        match message {
            Incoming::Batch(batch) => Err(Refused(batch)),
            Incoming::Stalled => Ok(()),
        }
    }

    /// Says that this source is stalled on its receipts.
    pub(crate) fn sync_now(&self) {
        // A full queue is drained and synced anyway.
        drop(self.store.try_send(Incoming::Stalled));
    }

    /// Waits for receipts; they come in the order of the log. May be cancelled without loss.
    pub(crate) async fn settled(&self) -> Vec<Receipt> {
        loop {
            let notified = self.settled.notify.notified();
            let receipts = self.settled.take();
            if !receipts.is_empty() {
                return receipts;
            }
            notified.await;
        }
    }

    /// Keys and offsets that were durable when the agent started.
    pub(crate) fn checkpoints(&self) -> Vec<Checkpoint> {
        self.checkpoints.as_ref().clone()
    }

    /// This source's counters.
    pub(crate) fn counters(&self) -> &SourceCounters {
        &self.counters
    }

    /// The process's clock.
    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// This source's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The largest payload the ring takes, with some room for fields.
    pub(crate) fn record_bytes_max(&self) -> usize {
        self.record_bytes_max
    }
}

/// Receipts on their way back to a source.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    receipts: Mutex<VecDeque<Receipt>>,
    notify: Notify,
}

impl Settled {
    /// Gives a receipt back; [`Settled::wake`] follows after the last one.
    pub(crate) fn give(&self, receipt: Receipt) {
        self.receipts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_back(receipt);
    }

    /// Wakes the source; a second wake before it has looked costs nothing.
    pub(crate) fn wake(&self) {
        self.notify.notify_one();
    }

    fn take(&self) -> Vec<Receipt> {
        self.receipts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .drain(..)
            .collect()
    }
}

/// Records of one source as bytes, with what is owed for them and where they came from.
#[derive(Debug)]
pub(crate) struct IntakeBatch {
    tag: SourceTag,
    received_at: WallClock,
    transforms: Arc<Transforms>,
    counters: Arc<SourceCounters>,
    settled: Arc<Settled>,
    record_bytes_max: usize,
    bytes: Vec<u8>,
    ends: Vec<usize>,
    receipts: Vec<(usize, Receipt)>,
    checkpoint_keys: Vec<Vec<u8>>,
    checkpoints: Vec<CheckpointMark>,
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
    /// Adds a record. It runs through the source's transforms; a filtered one is counted and its
    /// receipt settles with its neighbours.
    pub(crate) fn push(&mut self, record: Record, receipt: Option<Receipt>) {
        self.counters.add(SourceCount::Received, 1);
        self.counters
            .add(SourceCount::ReceivedBytes, size(record.payload.len()));
        if self.transforms.is_empty() {
            self.store(&record);
        } else {
            let seed = self.counters.get(SourceCount::Received);
            match self.transforms.apply(record, seed) {
                Outcome::Keep(record) => self.store(&record),
                Outcome::Filtered => self.counters.add(SourceCount::Filtered, 1),
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
            self.counters.add(SourceCount::Received, 1);
            self.counters
                .add(SourceCount::ReceivedBytes, size(payload.len()));
            stored::encode_parts(received_at, fields, payload, &mut self.bytes);
            self.ends.push(self.bytes.len());
        } else {
            let mut record = Record::new(received_at, payload.to_vec());
            record.fields = fields.clone();
            self.push(record, None);
        }
    }

    /// Remembers a place in the source's input, durable together with the records pushed before.
    pub(crate) fn set_checkpoint(&mut self, key: &[u8], offset: u64) {
        self.mark_checkpoint(key, Some(offset));
    }

    /// Forgets a place.
    pub(crate) fn forget_checkpoint(&mut self, key: &[u8]) {
        self.mark_checkpoint(key, None);
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
        self.received_at
    }

    /// Where its receipts go back to.
    pub(crate) fn settled(&self) -> &Arc<Settled> {
        &self.settled
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

    fn has_nothing(&self) -> bool {
        self.ends.is_empty() && self.receipts.is_empty() && self.checkpoints.is_empty()
    }

    fn store(&mut self, record: &Record) {
        if record.decode_error.is_some() {
            self.counters.add(SourceCount::DecodeErrors, 1);
        }
        let start = self.bytes.len();
        stored::encode(record, &mut self.bytes);
        if self.bytes.len() - start > self.record_bytes_max + FIELD_BYTES_MAX {
            self.bytes.truncate(start);
            self.counters.add(SourceCount::Cut, 1);
            stored::encode(&cut(record, self.record_bytes_max), &mut self.bytes);
        }
        self.ends.push(self.bytes.len());
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
    cut.time = record.time;
    cut.mark("record is larger than an entry of the ring: cut, and its fields left out");
    cut
}

fn size(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

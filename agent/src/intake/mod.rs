//! The way from a source to the store thread.
//!
//! Records become bytes here, on the source's side, so that the store thread only copies.
//! A source has one [`Intake`]; what it is owed comes back through [`Intake::settled`], and only
//! after the records are durable.

mod batch;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use pipeline::receipt::Receipt;
use pipeline::transform::Transforms;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, Semaphore, mpsc};

use crate::clock::Clock;
use crate::telemetry::SourceCounters;

pub(crate) use batch::{FIELD_BYTES_MAX, IntakeBatch, Step};

/// How many batches may wait for the store thread, all sources together.
pub(crate) const WAITING_BATCHES_MAX: usize = 64;

/// How many KiB they may hold; a larger batch waits until it is alone.
pub(crate) const WAITING_KIB_MAX: u32 = 1024;

/// Becomes true once, when everything is to end.
pub(crate) type Shutdown = tokio::sync::watch::Receiver<bool>;

/// Number of a source in the ring, kept by name over restarts.
pub(crate) type SourceTag = u16;

/// A key that a source made up, and an offset in what the key stands for.
pub(crate) type Checkpoint = (Vec<u8>, u64);

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
    store: StoreQueue,
}

/// The way into the store thread, shared by all sources.
#[derive(Clone, Debug)]
pub(crate) struct StoreQueue {
    batches: mpsc::Sender<IntakeBatch>,
    /// Permits of a KiB each; a batch holds its own until the store has appended it.
    room: Arc<Semaphore>,
    stalled: Arc<Stalled>,
}

/// Set by a source that can do nothing until its receipts come.
#[derive(Debug, Default)]
pub(crate) struct Stalled {
    flag: AtomicBool,
    notify: Notify,
}

impl Stalled {
    fn set(&self) {
        self.flag.store(true, Ordering::Release);
        self.notify.notify_one();
    }

    /// Waits until a source is stalled. May be cancelled without loss.
    pub(crate) async fn wait(&self) {
        while !self.flag.load(Ordering::Acquire) {
            self.notify.notified().await;
        }
    }

    /// Whether a source was stalled since the last call.
    pub(crate) fn take(&self) -> bool {
        self.flag.swap(false, Ordering::AcqRel)
    }
}

/// Makes the way into the store thread, and its far end.
pub(crate) fn store_queue() -> (StoreQueue, mpsc::Receiver<IntakeBatch>, Arc<Stalled>) {
    let (sender, receiver) = mpsc::channel(WAITING_BATCHES_MAX);
    let stalled = Arc::new(Stalled::default());
    let room = usize::try_from(WAITING_KIB_MAX).unwrap_or(usize::MAX);
    let queue = StoreQueue {
        batches: sender,
        room: Arc::new(Semaphore::new(room)),
        stalled: Arc::clone(&stalled),
    };
    (queue, receiver, stalled)
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
    pub(crate) store: StoreQueue,
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
        IntakeBatch::new(self)
    }

    /// Hands a batch over; waits while the store is busy or full.
    pub(crate) async fn send(&self, mut batch: IntakeBatch) -> Result<(), Closed> {
        if batch.has_nothing() {
            return Ok(());
        }
        let room = Arc::clone(&self.store.room);
        let permit = room.acquire_many_owned(batch.held_kib()).await;
        batch.room = Some(permit.map_err(|_| Closed)?);
        self.store.batches.send(batch).await.map_err(|_| Closed)
    }

    /// Hands a batch over if the store can take it at once.
    #[expect(
        clippy::result_large_err,
        reason = "the batch is what the caller gets back"
    )]
    pub(crate) fn try_send(&self, mut batch: IntakeBatch) -> Result<(), Refused> {
        if batch.has_nothing() {
            return Ok(());
        }
        let room = Arc::clone(&self.store.room);
        let Ok(permit) = room.try_acquire_many_owned(batch.held_kib()) else {
            return Err(Refused(batch));
        };
        batch.room = Some(permit);
        let Err(error) = self.store.batches.try_send(batch) else {
            return Ok(());
        };
        let (TrySendError::Full(mut batch) | TrySendError::Closed(mut batch)) = error;
        batch.room = None;
        Err(Refused(batch))
    }

    /// Says that this source is stalled on its receipts.
    pub(crate) fn sync_now(&self) {
        self.store.stalled.set();
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

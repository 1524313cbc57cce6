//! The thread that owns the ring.
//!
//! Everything that touches the disk happens here, so that a sync that takes seconds stops neither
//! keep-alives nor timers. Sources hand in batches, destinations ask for frames, plan and commit;
//! what is owed to sources goes back after each sync. A failed write or sync ends the thread: the
//! ring must be recovered anew.

mod thread;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use diskring::{Frame, Seq, StorageError};
use pipeline::config::WhenFull;
use pipeline::tally::{BatchOutcome, DestinationTally};
use tokio::sync::{mpsc, oneshot, watch};

use crate::intake::{Checkpoint, SourceTag, StoreQueue};
use crate::telemetry::{BufferStatus, SourceCounters};

pub(crate) use thread::spawn;

/// How many requests of destinations and the reactor may wait.
const WAITING_REQUESTS_MAX: usize = 64;

/// A destination is given frames of about so many bytes at a time.
const READ_BYTES_MAX: usize = 256 * 1024;

/// How the store works.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoreOptions {
    /// What happens when no space is left.
    pub(crate) when_full: WhenFull,
    /// The longest a record waits for its sync.
    pub(crate) sync_delay_max: Duration,
    /// So many waiting bytes cause a sync at once.
    pub(crate) sync_bytes: usize,
}

/// Names of sources by their number in the ring.
pub(crate) type SourceNames = Arc<BTreeMap<SourceTag, Arc<str>>>;

/// Number of a destination while the agent runs.
pub(crate) type DestinationIndex = usize;

/// What a source is told when it is opened.
#[derive(Debug)]
pub(crate) struct SourceOpening {
    /// Its number in the ring.
    pub(crate) tag: SourceTag,
    /// Its checkpoints.
    pub(crate) checkpoints: Vec<Checkpoint>,
}

/// What a destination is told when it is opened.
#[derive(Debug)]
pub(crate) struct DestinationOpening {
    /// Its number while the agent runs.
    pub(crate) index: DestinationIndex,
    /// Where it stands.
    pub(crate) tally: DestinationTally,
}

/// What a destination reads.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    /// Durable frames, in order.
    pub(crate) frames: Vec<Frame>,
    /// Where to read on.
    pub(crate) end: Seq,
    /// How many entries before `end` the disk could not give back.
    pub(crate) lost: u64,
}

/// What the store is asked.
#[derive(Debug)]
pub(crate) enum Request {
    /// A source begins.
    OpenSource {
        /// Its name.
        name: String,
        /// Where its counts of earlier runs go.
        counters: Arc<SourceCounters>,
        /// The answer; `Err` says in words why not, and may pass.
        reply: oneshot::Sender<Result<SourceOpening, String>>,
    },
    /// A destination begins.
    OpenDestination {
        /// Its name.
        name: String,
        /// The sources it takes; `None` is every source.
        from: Option<Vec<String>>,
        /// The answer.
        reply: oneshot::Sender<DestinationOpening>,
    },
    /// A destination ends; its place is kept.
    CloseDestination(DestinationIndex),
    /// Forgets the places of destinations that are not open.
    ForgetClosedDestinations,
    /// Forgets what is kept of sources that are not among these.
    ForgetSourcesExcept(BTreeSet<String>),
    /// A destination wants entries from `from` on.
    Read {
        /// Which.
        index: DestinationIndex,
        /// From where.
        from: Seq,
        /// The answer; at once, and empty when nothing durable is there.
        reply: oneshot::Sender<Chunk>,
    },
    /// A destination is about to send everything up to `end`.
    Plan {
        /// Which.
        index: DestinationIndex,
        /// Up to where.
        end: Seq,
        /// The answer, once it is durable.
        reply: oneshot::Sender<()>,
    },
    /// Everything before `end` has a final verdict.
    Commit {
        /// Which.
        index: DestinationIndex,
        /// Up to where.
        end: Seq,
        /// What became of it.
        outcome: BatchOutcome,
    },
    /// How things stand.
    Status(oneshot::Sender<StoreStatus>),
    /// Syncs what is there and ends.
    Stop,
}

/// How things stand in the ring.
#[derive(Clone, Debug, Default)]
pub(crate) struct StoreStatus {
    /// The ring.
    pub(crate) buffer: BufferStatus,
    /// Open destinations by name.
    pub(crate) destinations: BTreeMap<String, DestinationTally>,
}

/// The store has ended; the reason is with the thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoreEnded;

/// Why the store thread ended.
#[derive(Debug)]
pub(crate) enum StoreError {
    /// The disk failed; the ring must be recovered.
    Storage(StorageError),
    /// The thread could not be started.
    Start(std::io::Error),
}

impl std::fmt::Display for StoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Storage(_) => f.write_str("the disk under the ring failed"),
            Self::Start(_) => f.write_str("the store thread could not be started"),
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Storage(error) => Some(error),
            Self::Start(error) => Some(error),
        }
    }
}

impl From<StorageError> for StoreError {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

/// The way to the store, for everybody.
#[derive(Clone, Debug)]
pub(crate) struct StoreHandle {
    queue: StoreQueue,
    requests: mpsc::Sender<Request>,
    durable: watch::Receiver<Seq>,
    source_names: watch::Receiver<SourceNames>,
    blocked: watch::Receiver<bool>,
    ring_id: u64,
    entry_bytes_max: usize,
}

impl StoreHandle {
    /// The queue for sources.
    pub(crate) fn queue(&self) -> StoreQueue {
        self.queue.clone()
    }

    /// Tells whether sources are made to wait for room.
    pub(crate) fn blocked(&self) -> watch::Receiver<bool> {
        self.blocked.clone()
    }

    /// Tells how far the log is durable.
    pub(crate) fn durable(&self) -> watch::Receiver<Seq> {
        self.durable.clone()
    }

    /// Names of every source that has records in the ring, those that are gone included.
    pub(crate) fn source_names(&self) -> SourceNames {
        Arc::clone(&self.source_names.borrow())
    }

    /// The ring's id.
    pub(crate) const fn ring_id(&self) -> u64 {
        self.ring_id
    }

    /// The largest entry the ring takes.
    pub(crate) const fn entry_bytes_max(&self) -> usize {
        self.entry_bytes_max
    }

    /// Opens a source.
    pub(crate) async fn open_source(
        &self,
        name: String,
        counters: Arc<SourceCounters>,
    ) -> Result<Result<SourceOpening, String>, StoreEnded> {
        self.ask(|reply| Request::OpenSource {
            name,
            counters,
            reply,
        })
        .await
    }

    /// Opens a destination.
    pub(crate) async fn open_destination(
        &self,
        name: String,
        from: Option<Vec<String>>,
    ) -> Result<DestinationOpening, StoreEnded> {
        self.ask(|reply| Request::OpenDestination { name, from, reply })
            .await
    }

    /// Reads for a destination.
    pub(crate) async fn read(
        &self,
        index: DestinationIndex,
        from: Seq,
    ) -> Result<Chunk, StoreEnded> {
        self.ask(|reply| Request::Read { index, from, reply }).await
    }

    /// Makes the plan of a batch durable.
    pub(crate) async fn plan(&self, index: DestinationIndex, end: Seq) -> Result<(), StoreEnded> {
        self.ask(|reply| Request::Plan { index, end, reply }).await
    }

    /// Moves a destination's position on.
    pub(crate) async fn commit(
        &self,
        index: DestinationIndex,
        end: Seq,
        outcome: BatchOutcome,
    ) -> Result<(), StoreEnded> {
        self.tell(Request::Commit {
            index,
            end,
            outcome,
        })
        .await
    }

    /// How things stand.
    pub(crate) async fn status(&self) -> Result<StoreStatus, StoreEnded> {
        self.ask(Request::Status).await
    }

    /// Sends what needs no answer.
    pub(crate) async fn tell(&self, request: Request) -> Result<(), StoreEnded> {
        self.requests.send(request).await.map_err(|_| StoreEnded)
    }

    /// Tells the thread to sync and end; for use where no runtime turns.
    pub(crate) fn stop_blocking(&self) {
        // A thread that has ended already has said why.
        drop(self.requests.blocking_send(Request::Stop));
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Result<T, StoreEnded> {
        let (reply, answer) = oneshot::channel();
        self.tell(request(reply)).await?;
        answer.await.map_err(|_| StoreEnded)
    }
}

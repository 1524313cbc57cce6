//! The thread that owns the ring.
//!
//! Everything that touches the disk happens here, so that a sync that takes seconds stops neither
//! keep-alives nor timers. Sources hand in batches, destinations ask for frames, plan and commit;
//! what is owed to sources goes back after each sync. A failed write or sync ends the thread: the
//! ring must be recovered anew.

mod stores;
mod thread;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use diskring::{Frame, Seq, StorageError};
use pipeline::boots::Boots;
use pipeline::clock::Learned;
use pipeline::config::{ByteSize, WhenFull};
use pipeline::moves::Kept;
use pipeline::replay::{ReplayRange, ReplayWish};
use pipeline::tally::{BatchOutcome, DestinationTally, Stretch, StretchId, StretchKind};
use tokio::sync::{mpsc, oneshot, watch};

use crate::clock::Clock;
use crate::intake::{Checkpoint, SourceTag, StoreQueue};
use crate::telemetry::{BufferStatus, SourceCounters};

pub(crate) use stores::Stores;
pub(crate) use thread::spawn;

/// How many requests of destinations and the reactor may wait.
const WAITING_REQUESTS_MAX: usize = 64;

/// A destination is given frames of about so many bytes at a time.
const READ_BYTES_MAX: usize = 256 * 1024;

/// How the store works.
#[derive(Clone, Debug)]
pub(crate) struct StoreOptions {
    /// The name of its buffer, for what it tells.
    pub(crate) buffer: String,
    /// What happens when no space is left.
    pub(crate) when_full: WhenFull,
    /// The longest a record waits for its sync.
    pub(crate) sync_delay_max: Duration,
    /// So many waiting bytes cause a sync at once.
    pub(crate) sync_bytes: usize,
    /// What may be written in a day.
    pub(crate) write_budget: Option<ByteSize>,
    /// Where checkpoints go for which the ring has no room.
    pub(crate) archive: Option<PathBuf>,
    /// The process's clock.
    pub(crate) clock: Clock,
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
    /// What the ring has of it.
    pub(crate) kept: Kept,
}

/// What the store is asked about sources.
#[derive(Debug)]
pub(crate) enum SourceRequest {
    /// A source begins.
    Open {
        /// Its name.
        name: String,
        /// Where what is turned away is counted.
        counters: Arc<SourceCounters>,
        /// The answer; `Err` says in words why not, and may pass.
        reply: oneshot::Sender<Result<SourceOpening, String>>,
    },
    /// What is here of a source that begins in another buffer?
    Ask {
        /// Its name.
        name: String,
        /// The answer.
        reply: oneshot::Sender<Kept>,
    },
    /// A source that has begun takes its checkpoints along from another buffer.
    TakeOver {
        /// Its number.
        tag: SourceTag,
        /// All that it has.
        checkpoints: Vec<Checkpoint>,
        /// Whether they are durable now; `Err` says in words why they are not here, and may pass.
        reply: oneshot::Sender<Result<bool, String>>,
    },
    /// A source has its checkpoints durably in another buffer.
    Leave(String),
    /// Forgets what is kept of sources that are not among these.
    ForgetExcept(BTreeSet<String>),
}

/// A stretch of the log of one destination.
pub(crate) type StretchKey = (DestinationIndex, StretchId);

/// A stretch that is to be delivered, and where it stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StretchOpening {
    /// Its number.
    pub(crate) id: StretchId,
    /// Where it stands.
    pub(crate) stretch: Stretch,
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
    /// About a source.
    Source(SourceRequest),
    /// A destination begins.
    OpenDestination {
        /// Its name.
        name: String,
        /// The sources it takes; `None` is every source.
        from: Option<Vec<String>>,
        /// The answer: its number while the agent runs.
        reply: oneshot::Sender<DestinationIndex>,
    },
    /// A driver begins anew, with nothing in hand of any stretch of this kind.
    OpenStretch {
        /// Whose.
        index: DestinationIndex,
        /// Which kind.
        kind: StretchKind,
        /// The answer; `None` when there is none of this kind.
        reply: oneshot::Sender<Option<StretchOpening>>,
    },
    /// Everything durable that waits in the live stretch is to become a backlog.
    Split {
        /// Whose.
        index: DestinationIndex,
        /// The answer: where the live stretch begins now; `None` when it stays as it is.
        reply: oneshot::Sender<Option<Seq>>,
    },
    /// Somebody wants to have delivered records delivered once more.
    Replay {
        /// To which destination.
        destination: String,
        /// Which records.
        wish: ReplayWish,
        /// What tells this replay from every other one.
        mark: u64,
        /// The answer; `Err` says in words why not; `None` when it is not known here.
        reply: oneshot::Sender<Option<Result<Replayed, String>>>,
    },
    /// Replays of a destination are not wanted any more.
    StopReplays {
        /// Whose.
        destination: String,
        /// The answer: how many there were; `None` when it is not known here.
        reply: oneshot::Sender<Option<usize>>,
    },
    /// A destination ends; its place is kept.
    CloseDestination(DestinationIndex),
    /// Forgets the places of destinations that are not open.
    ForgetClosedDestinations,
    /// A destination wants entries from `from` on.
    Read {
        /// For which of its stretches.
        key: StretchKey,
        /// From where.
        from: Seq,
        /// The answer; at once, and empty when nothing durable is there. `None` when the stretch
        /// is no more.
        reply: oneshot::Sender<Option<Chunk>>,
    },
    /// A destination is about to send everything of a stretch up to `end`.
    Plan {
        /// Which.
        key: StretchKey,
        /// Up to where.
        end: Seq,
        /// The answer, once it is durable.
        reply: oneshot::Sender<()>,
    },
    /// Everything of a stretch before `end` has a final verdict.
    Commit {
        /// Which.
        key: StretchKey,
        /// Up to where.
        end: Seq,
        /// What became of it.
        outcome: BatchOutcome,
    },
    /// The time of this boot is known.
    Learned(Learned),
    /// How things stand.
    Status(oneshot::Sender<StoreStatus>),
    /// Syncs what is there and ends.
    Stop,
}

/// What a replay will deliver once more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Replayed {
    /// Where it is.
    pub(crate) range: ReplayRange,
    /// How many records of it are for the destination.
    pub(crate) records: u64,
}

/// How things stand in the ring.
#[derive(Clone, Debug, Default)]
pub(crate) struct StoreStatus {
    /// The ring.
    pub(crate) buffer: BufferStatus,
    /// Records of each source that this ring has stored, ever.
    pub(crate) stored: BTreeMap<Arc<str>, u64>,
    /// Destinations that are known here, by name.
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
    stretches: watch::Receiver<u64>,
    source_names: watch::Receiver<SourceNames>,
    boots: watch::Receiver<Arc<Boots>>,
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

    /// Tells that some destination has a stretch more, or a replay less.
    pub(crate) fn stretches(&self) -> watch::Receiver<u64> {
        self.stretches.clone()
    }

    /// Names of every source that has records in the ring, those that are gone included.
    pub(crate) fn source_names(&self) -> SourceNames {
        Arc::clone(&self.source_names.borrow())
    }

    /// What is known of the boots that records were taken in.
    pub(crate) fn boots(&self) -> Arc<Boots> {
        Arc::clone(&self.boots.borrow())
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
        self.ask(|reply| {
            Request::Source(SourceRequest::Open {
                name,
                counters,
                reply,
            })
        })
        .await
    }

    /// What is here of a source that begins in another buffer.
    pub(crate) async fn ask_source(&self, name: String) -> Result<Kept, StoreEnded> {
        self.ask(|reply| Request::Source(SourceRequest::Ask { name, reply }))
            .await
    }

    /// Puts a source's checkpoints of another buffer in the place of those it has here.
    pub(crate) async fn take_over(
        &self,
        tag: SourceTag,
        checkpoints: Vec<Checkpoint>,
    ) -> Result<Result<bool, String>, StoreEnded> {
        self.ask(|reply| {
            Request::Source(SourceRequest::TakeOver {
                tag,
                checkpoints,
                reply,
            })
        })
        .await
    }

    /// Opens a destination.
    pub(crate) async fn open_destination(
        &self,
        name: String,
        from: Option<Vec<String>>,
    ) -> Result<DestinationIndex, StoreEnded> {
        self.ask(|reply| Request::OpenDestination { name, from, reply })
            .await
    }

    /// Begins a driver: the next stretch of this kind, if there is one.
    pub(crate) async fn open_stretch(
        &self,
        index: DestinationIndex,
        kind: StretchKind,
    ) -> Result<Option<StretchOpening>, StoreEnded> {
        self.ask(|reply| Request::OpenStretch { index, kind, reply })
            .await
    }

    /// Makes a backlog of what waits: where the live stretch begins now, if it could be.
    pub(crate) async fn split(&self, index: DestinationIndex) -> Result<Option<Seq>, StoreEnded> {
        self.ask(|reply| Request::Split { index, reply }).await
    }

    /// Delivers records once more; `Err` says in words why not; `None` when the destination is not
    /// known here.
    pub(crate) async fn replay(
        &self,
        destination: String,
        wish: ReplayWish,
        mark: u64,
    ) -> Result<Option<Result<Replayed, String>>, StoreEnded> {
        self.ask(|reply| Request::Replay {
            destination,
            wish,
            mark,
            reply,
        })
        .await
    }

    /// Ends the replays of a destination: how many there were, if it is known.
    pub(crate) async fn stop_replays(
        &self,
        destination: String,
    ) -> Result<Option<usize>, StoreEnded> {
        self.ask(|reply| Request::StopReplays { destination, reply })
            .await
    }

    /// Reads for a destination; `None` when the stretch is no more.
    pub(crate) async fn read(
        &self,
        key: StretchKey,
        from: Seq,
    ) -> Result<Option<Chunk>, StoreEnded> {
        self.ask(|reply| Request::Read { key, from, reply }).await
    }

    /// Makes the plan of a batch durable.
    pub(crate) async fn plan(&self, key: StretchKey, end: Seq) -> Result<(), StoreEnded> {
        self.ask(|reply| Request::Plan { key, end, reply }).await
    }

    /// Moves a position on.
    pub(crate) async fn commit(
        &self,
        key: StretchKey,
        end: Seq,
        outcome: BatchOutcome,
    ) -> Result<(), StoreEnded> {
        self.tell(Request::Commit { key, end, outcome }).await
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
        let answer = self.begin_ask(request).await?;
        answer.await.map_err(|_| StoreEnded)
    }

    /// Asks; the answer comes while others are asked.
    async fn begin_ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Result<oneshot::Receiver<T>, StoreEnded> {
        let (reply, answer) = oneshot::channel();
        self.tell(request(reply)).await?;
        Ok(answer)
    }
}

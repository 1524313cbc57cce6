//! The loop of the store thread.

mod archive;
mod moments;
mod pacing;
mod sources;
mod status;
mod stretches;

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use diskring::{AppendError, Cursor, Durable, PutError, Ring, Seq, Storage, TIME_UNKNOWN};
use pipeline::books::Books;
use pipeline::boots::Boots;
use pipeline::config::WhenFull;
use pipeline::receipt::{Receipt, Unsettled};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::{
    Request, SourceNames, StoreError, StoreHandle, StoreOptions, StretchKey, WAITING_REQUESTS_MAX,
};
use crate::intake::{IntakeBatch, Settled, SourceTag, Stalled, Step, store_queue};
use crate::store::thread::archive::ArchiveFile;
use crate::store::thread::pacing::Pacing;
use crate::telemetry::{SourceCount, SourceCounters};

/// Evictions are told so often at most.
const EVICTION_TOLD_EVERY: Duration = Duration::from_mins(1);

/// Starts the thread on a recovered ring.
pub(crate) fn spawn<S: Storage + Send + 'static>(
    ring: Ring<S>,
    options: StoreOptions,
) -> Result<(StoreHandle, JoinHandle<Result<(), StoreError>>), StoreError> {
    let (queue, incoming, stalled) = store_queue();
    let (blocked_sender, blocked) = watch::channel(false);
    let (request_sender, requests) = mpsc::channel(WAITING_REQUESTS_MAX);
    let (durable_sender, durable) = watch::channel(ring.durable());
    let (stretches_sender, stretches) = watch::channel(0);
    let (names_sender, source_names) = watch::channel(SourceNames::default());
    let (boots_sender, boots) = watch::channel(Arc::default());
    let handle = StoreHandle {
        queue,
        blocked,
        requests: request_sender,
        durable,
        stretches,
        source_names,
        boots,
        ring_id: ring.id().0,
        entry_bytes_max: ring.entry_bytes_max(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(StoreError::Start)?;
    let thread = Builder::new()
        .name("store".to_owned())
        .spawn(move || {
            let _buffer = tracing::error_span!("buffer", name = options.buffer).entered();
            let mut books = Books::open(&ring)?;
            let archive = options.archive.clone();
            let archive = archive.map(|path| ArchiveFile::open(path, &mut books, &ring));
            names_sender.send_replace(Arc::new(books.source_names()));
            let written = ring.stats().written_bytes;
            let pacing = Pacing::new(written, options.write_budget);
            let mut store = Store {
                ring,
                options,
                books,
                counters: BTreeMap::new(),
                cursors: BTreeMap::new(),
                unsettled: Unsettled::new(),
                owed_for_states: Vec::new(),
                is_forgetting: false,
                plans: Vec::new(),
                blocked: None,
                unsynced_since: None,
                sync_wanted: false,
                durable: durable_sender,
                stretches: stretches_sender,
                source_names: names_sender,
                boots: boots_sender,
                blocked_shown: blocked_sender,
                incoming,
                stalled,
                pacing,
                archive,
                put_failed: false,
                eviction_told: None,
            };
            store.begin_boot();
            runtime.block_on(store.run(requests))
        })
        .map_err(StoreError::Start)?;
    Ok((handle, thread))
}

/// A batch that waits for room, and how much of it is appended.
struct Blocked {
    batch: IntakeBatch,
    appended: usize,
}

struct Store<S: Storage> {
    ring: Ring<S>,
    options: StoreOptions,
    books: Books,
    /// Mirrors of what the books say, and what they do not know yet.
    counters: BTreeMap<SourceTag, Arc<SourceCounters>>,
    cursors: BTreeMap<StretchKey, (Seq, Cursor)>,
    unsettled: Unsettled<Arc<Settled>>,
    /// Receipts of checkpoints, which are owed once every state that was put is durable.
    owed_for_states: Vec<(Arc<Settled>, Receipt)>,
    /// Whether some of them are owed for a checkpoint that is forgotten here and not in the archive.
    is_forgetting: bool,
    plans: Vec<tokio::sync::oneshot::Sender<()>>,
    blocked: Option<Blocked>,
    unsynced_since: Option<Instant>,
    sync_wanted: bool,
    pacing: Pacing,
    archive: Option<ArchiveFile>,
    durable: watch::Sender<Seq>,
    /// Counts the changes of stretches that drivers do not make themselves.
    stretches: watch::Sender<u64>,
    source_names: watch::Sender<SourceNames>,
    boots: watch::Sender<Arc<Boots>>,
    blocked_shown: watch::Sender<bool>,
    incoming: mpsc::Receiver<IntakeBatch>,
    stalled: Arc<Stalled>,
    /// Whether the last state had no place, which is told once.
    put_failed: bool,
    eviction_told: Option<Instant>,
}

/// Whether to go on.
#[derive(PartialEq, Eq)]
enum Flow {
    Continue,
    Stop,
}

impl<S: Storage> Store<S> {
    async fn run(mut self, mut requests: mpsc::Receiver<Request>) -> Result<(), StoreError> {
        let stalled = Arc::clone(&self.stalled);
        loop {
            let deadline = self.sync_at();
            let timer = async {
                match deadline {
                    Some(deadline) => sleep_until(deadline).await,
                    None => pending().await,
                }
            };
            let flows = self.blocked.is_none();
            tokio::select! {
                biased;
                () = timer => self.sync()?,
                request = requests.recv() => {
                    let Some(request) = request else { return self.stop() };
                    if self.handle_request(request)? == Flow::Stop {
                        return self.stop();
                    }
                }
                Some(batch) = self.incoming.recv(), if flows => self.handle_batch(batch, 0)?,
                () = stalled.wait(), if flows => {}
            }
            // What is waiting already joins the same sync.
            while self.ring.pending_bytes() < self.options.sync_bytes && self.take_in()? {}
            if stalled.take() {
                self.sync_wanted |= !self.unsettled.is_empty() || !self.owed_for_states.is_empty();
            }
            if self.is_sync_due() {
                self.sync()?;
            }
        }
    }

    /// Ends with everything durable that there is room for.
    fn stop(mut self) -> Result<(), StoreError> {
        while self.take_in()? {}
        self.write_books();
        self.sync()?;
        self.archive(true);
        let Self { ring, .. } = self;
        ring.close()?;
        Ok(())
    }

    /// Takes a batch that waits; false when there is none or no room.
    fn take_in(&mut self) -> Result<bool, StoreError> {
        if self.blocked.is_some() {
            return Ok(false);
        }
        let Ok(batch) = self.incoming.try_recv() else {
            return Ok(false);
        };
        self.handle_batch(batch, 0)?;
        Ok(true)
    }

    /// Appends a batch from its entry `from` on.
    fn handle_batch(&mut self, mut batch: IntakeBatch, from: usize) -> Result<(), StoreError> {
        let mut appended = from;
        let start = self.ring.next();
        let tag = batch.tag();
        let begun = batch.begun();
        let at_ms = if begun.taken.is_unsynced {
            TIME_UNKNOWN
        } else {
            begun.time.as_millis()
        };
        let states = batch.checkpoint_bytes_max();
        let forgotten = self.books.forgotten_archived();
        let mut full = false;
        for step in batch.steps(from) {
            match step {
                Step::Checkpoint(key, Some(offset)) => {
                    let put = self.books.set_checkpoint(&mut self.ring, tag, key, offset);
                    report_put(&mut self.put_failed, put, "checkpoint");
                }
                Step::Checkpoint(key, None) => {
                    let removed = self.books.forget_checkpoint(&mut self.ring, tag, key);
                    report_put(&mut self.put_failed, removed, "checkpoint");
                }
                Step::Entry(payload) => {
                    if !self.append((tag, at_ms), payload, states)? {
                        full = true;
                        break;
                    }
                    appended += 1;
                }
            }
        }
        self.is_forgetting |= batch.owes_states() && self.books.forgotten_archived() != forgotten;
        self.unsynced_since.get_or_insert_with(Instant::now);
        if full {
            // What is appended is synced, so that what could make room is not held up.
            self.sync_wanted = true;
            self.blocked = Some(Blocked { batch, appended });
            self.blocked_shown.send_replace(true);
            return Ok(());
        }
        self.blocked_shown
            .send_if_modified(|shown| std::mem::replace(shown, false));
        self.books.took(&mut self.ring, tag, batch.take_counts());
        let settled = Arc::clone(batch.settled());
        let of_states = batch.take_checkpoint_receipts().into_iter();
        self.owed_for_states
            .extend(of_states.map(|receipt| (Arc::clone(&settled), receipt)));
        for (entries, receipt) in batch.take_receipts() {
            let before = u64::try_from(entries.saturating_sub(from)).unwrap_or(u64::MAX);
            self.unsettled
                .push(start.advance(before), Arc::clone(&settled), receipt);
        }
        Ok(())
    }

    /// Appends one entry; false when there is no room and the sources must wait.
    ///
    /// An entry and the checkpoint behind it become durable together: the room for both is taken
    /// first, so that no segment ends between them; `states` is what a checkpoint takes.
    fn append(
        &mut self,
        (tag, at_ms): (SourceTag, i64),
        payload: &[u8],
        states: usize,
    ) -> Result<bool, StoreError> {
        loop {
            let reserved = match states {
                0 => Ok(()),
                states => self.ring.reserve(1, payload.len() + states, at_ms),
            };
            let appended = match reserved {
                // An entry as large as a segment has no room beside it.
                Ok(()) | Err(AppendError::TooLarge { .. }) => self.ring.append(tag, at_ms, payload),
                Err(error) => Err(error),
            };
            match appended {
                Ok(_) => return Ok(true),
                Err(AppendError::Full) => {
                    if !self.make_room()? {
                        return Ok(false);
                    }
                }
                Err(AppendError::TooLarge { len, max }) => {
                    // The intake cuts before this; an entry that slips through is told.
                    tracing::error!(len, max, "an entry is larger than the ring takes");
                    return Ok(true);
                }
                Err(AppendError::Storage(error)) => return Err(error.into()),
                Err(error) => {
                    tracing::error!(%error, "an entry cannot be appended");
                    return Ok(true);
                }
            }
        }
    }

    /// Evicts the oldest segment; false when that would lose records and the policy is to wait.
    fn make_room(&mut self) -> Result<bool, StoreError> {
        if self.options.when_full == WhenFull::Block && self.oldest_is_awaited() {
            return Ok(false);
        }
        if self.oldest_is_awaited() {
            self.tell_eviction();
        }
        self.books.evict(&mut self.ring)?;
        self.write_books();
        match self.ring.evict_oldest() {
            Ok(durable) => {
                self.settle(&durable);
                Ok(true)
            }
            Err(AppendError::Storage(error)) => Err(error.into()),
            Err(error) => {
                tracing::error!(%error, "the oldest segment cannot be evicted");
                Ok(false)
            }
        }
    }

    /// Says now and then that records are lost to the bound of the ring.
    fn tell_eviction(&mut self) {
        let now = Instant::now();
        if self
            .eviction_told
            .is_none_or(|told| now - told >= EVICTION_TOLD_EVERY)
        {
            tracing::warn!(
                "the ring is full: the oldest records make room before they are delivered, and \
                 are counted as evicted; make its size larger, or set when_full = \"block\""
            );
            self.eviction_told = Some(now);
        }
    }

    /// Whether a destination still waits for something in the oldest segment, or there is none
    /// that could go.
    fn oldest_is_awaited(&self) -> bool {
        self.ring
            .oldest()
            .is_none_or(|oldest| self.books.would_lose(oldest.end))
    }

    fn handle_request(&mut self, request: Request) -> Result<Flow, StoreError> {
        match request {
            Request::Source(request) => self.handle_source_request(request)?,
            Request::OpenDestination { name, from, reply } => {
                let index = self.books.open_destination(&mut self.ring, &name, from)?;
                reply.send(index).ok();
            }
            Request::CloseDestination(index) => {
                self.cursors.retain(|(of, _), _| *of != index);
                self.books.close_destination(&mut self.ring, index)?;
            }
            Request::ForgetClosedDestinations => {
                for (name, waiting) in self.books.closed_destinations(&self.ring) {
                    tracing::warn!(
                        destination = name,
                        waiting,
                        "destination removed; what waited for it is not delivered to it any more"
                    );
                }
                let put = self.books.forget_closed_destinations(&mut self.ring);
                report_put(&mut self.put_failed, put, "position");
            }
            Request::OpenStretch { index, kind, reply } => {
                reply.send(self.open_stretch(index, kind)?).ok();
            }
            Request::Split { index, reply } => drop(reply.send(self.split(index)?)),
            Request::Replay {
                destination,
                wish,
                mark,
                reply,
            } => drop(reply.send(self.replay(&destination, &wish, mark)?)),
            Request::StopReplays { destination, reply } => {
                reply.send(self.stop_replays(&destination)).ok();
            }
            Request::Read { key, from, reply } => drop(reply.send(self.read(key, from)?)),
            Request::Plan { key, end, reply } => {
                self.books.plan(&mut self.ring, key, end);
                self.plans.push(reply);
                self.sync_wanted = true;
            }
            Request::Commit { key, end, outcome } => {
                self.books.commit(&mut self.ring, key, end, outcome)?;
                self.forget_cursor(key);
                self.unsynced_since.get_or_insert_with(Instant::now);
            }
            Request::Learned(learned) => self.learn_boot(learned),
            Request::Status(reply) => drop(reply.send(self.status())),
            Request::Stop => return Ok(Flow::Stop),
        }
        // Whatever a destination did may have made room.
        if let Some(Blocked { batch, appended }) = self.blocked.take() {
            self.handle_batch(batch, appended)?;
        }
        Ok(Flow::Continue)
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.write_books();
        self.sync_wanted = false;
        self.unsynced_since = None;
        let mut durable = self.ring.sync()?;
        // In a full ring states wait for the eviction that makes room for them.
        while self.ring.is_pending() && !self.oldest_is_awaited() && self.make_room()? {
            durable = self.ring.sync()?;
        }
        self.pacing.handle_sync(self.ring.stats().written_bytes);
        self.settle(&durable);
        self.archive(false);
        // In a full ring states may have no place yet.
        if !self.ring.is_pending() && !self.is_forgetting {
            for (settled, receipt) in self.owed_for_states.drain(..) {
                settled.give(receipt);
                settled.wake();
            }
        }
        Ok(())
    }

    /// Pays what is owed for everything that is durable by now.
    fn settle(&mut self, durable: &Durable) {
        let mut paid: Vec<Arc<Settled>> = Vec::new();
        for (settled, receipt) in self.unsettled.settle(durable) {
            settled.give(receipt);
            if !paid.iter().any(|known| Arc::ptr_eq(known, &settled)) {
                paid.push(settled);
            }
        }
        for settled in paid {
            settled.wake();
        }
        if self.ring.is_pending() && !self.plans.is_empty() && self.blocked.is_none() {
            // Without room for the plan its batch goes out all the same: only that makes room.
            tracing::warn!("the ring is full: a batch is sent whose bounds are not kept");
        }
        for plan in self.plans.drain(..) {
            plan.send(()).ok();
        }
        self.durable
            .send_if_modified(|end| std::mem::replace(end, durable.end()) != durable.end());
    }

    /// Writes into the ring's states what changed and is not there.
    fn write_books(&mut self) {
        for (tag, counters) in &self.counters {
            self.books
                .set_refused(*tag, counters.get(SourceCount::Refused));
        }
        let put = self.books.write(&mut self.ring);
        report_put(&mut self.put_failed, put, "count");
    }
}

/// Tells once that states have no place, and once that they have it again.
fn report_put(failed: &mut bool, put: Result<(), PutError>, what: &str) {
    match put {
        Ok(()) => *failed = false,
        Err(error) if !std::mem::replace(failed, true) => {
            tracing::error!(
                "a {what} could not be kept in the ring: {error}; after a crash records may be \
                 delivered or read twice, and a destination added now may begin later than it \
                 should; make its size larger, or name fewer sources and destinations"
            );
        }
        Err(_) => {}
    }
}

//! The driver of one destination for one of its buffers: reads, encodes, sends and commits what
//! `pipeline::delivery` says.
//!
//! Decisions are all there; here are the deeds. A driver that cannot be set up (certificates,
//! credentials) is set up again until it can.

mod build;
mod calls;
mod credentials;
mod driver;
mod exchange;
mod folder;
mod letter_files;
mod pace;
mod turns;
mod ways;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use pipeline::clock::Moment;
use pipeline::config::{Config, DestinationConfig};
use pipeline::pace::Quota;
use pipeline::tally::StretchKind;
use pipeline::time::WallClock;
use pipeline::transform::Transforms;
use pipeline::turns::Rank;
use tokio::time::sleep;

use crate::clock::Clock;
use crate::intake::Shutdown;
use crate::store::{self, DestinationIndex, StoreEnded, StoreHandle, Stores};
use crate::telemetry::{DestinationCounters, DestinationStatus};
use crate::tls::Ends;

pub(crate) use letter_files::{LetterFile, send_letter_file};

use driver::Driver;
use letter_files::LetterQueue;
use pace::SharedPace;
use turns::SharedTurns;
use ways::SharedWays;

/// What cannot be set up (certificates, folders) is tried again after so long.
const SETUP_PAUSE: Duration = Duration::from_secs(5);

/// What a driver shows of itself.
#[derive(Debug, Default)]
pub(crate) struct DestinationGauges {
    counters: DestinationCounters,
    /// When the oldest record was received that a driver has still to deliver.
    oldest: Mutex<BTreeMap<Rank, Moment>>,
    /// When certificates end.
    ends: OnceLock<Arc<Ends>>,
    /// Where its dead letters are.
    dead_letters: PathBuf,
    /// Files of them that are to be sent.
    letter_files: LetterQueue,
}

impl DestinationGauges {
    /// Adds what the drivers know to a status.
    pub(crate) fn fill(&self, status: &mut DestinationStatus, now: Moment) {
        let counters = &self.counters;
        let oldest = self.oldest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(age) = oldest.values().map(|oldest| now.since(oldest)).max() {
            let age = age.as_millis();
            status.oldest_waiting_ms = Some(u64::try_from(age).unwrap_or(u64::MAX));
        }
        status.requests = counters.requests.load(Ordering::Relaxed);
        status.failures = counters.failures.load(Ordering::Relaxed);
        status.raw_bytes = counters.raw_bytes.load(Ordering::Relaxed);
        status.sent_bytes = counters.sent_bytes.load(Ordering::Relaxed);
        status.billed_bytes = counters.billed_bytes.load(Ordering::Relaxed);
        status.concurrency = counters.concurrency.load(Ordering::Relaxed);
        status.corrected = counters.corrected.load(Ordering::Relaxed);
        status.dead_letters_removed = counters.dead_letters_removed.load(Ordering::Relaxed);
        status.dead_letters_sent = counters.dead_letters_sent.load(Ordering::Relaxed);
        status.paced_ms = counters.paced_ms.load(Ordering::Relaxed);
        status.is_on_fallback = counters.is_on_fallback.load(Ordering::Relaxed);
        status.error = counters.error();
        if let Some(ends) = self.ends.get() {
            let seconds = |end: WallClock| u64::try_from(end.as_millis() / 1000).unwrap_or(0);
            status.peer_certificate_expires_s = ends.peer().map(seconds);
            status.own_certificate_expires_s = ends.own().map(seconds);
        }
    }

    /// Where its dead letters are, if it has such a place.
    pub(crate) fn dead_letters(&self) -> Option<PathBuf> {
        let path = &self.dead_letters;
        (!path.as_os_str().is_empty()).then(|| path.clone())
    }

    /// Has files of dead letters sent: which of them are, as far as there is room and nobody does so
    /// already.
    pub(crate) fn send_letters(&self, files: Vec<LetterFile>) -> Vec<LetterFile> {
        self.letter_files.add(files)
    }

    /// Where it is told when certificates end.
    fn set_ends(&self, ends: Arc<Ends>) {
        // The same one whoever says so.
        self.ends.set(ends).ok();
    }

    /// What is replayed waits for nobody.
    fn set_oldest(&self, rank: Rank, oldest: Option<Moment>) {
        let mut all = self.oldest.lock().unwrap_or_else(PoisonError::into_inner);
        match oldest.filter(|_| rank.kind != StretchKind::Replay) {
            Some(oldest) => all.insert(rank, oldest),
            None => all.remove(&rank),
        };
    }
}

/// What the drivers of one destination in one buffer are made of.
#[derive(Debug)]
pub(crate) struct DestinationParts {
    /// The destination's name.
    pub(crate) name: String,
    /// The agent's id.
    pub(crate) agent: String,
    /// Its configuration.
    pub(crate) config: DestinationConfig,
    /// What is done to its records on the way out.
    pub(crate) transforms: Arc<Transforms>,
    /// Its number in the store.
    pub(crate) index: DestinationIndex,
    /// Whose turn it is.
    pub(crate) turns: Rc<SharedTurns>,
    /// How fast calls follow each other, on its own way and on that of its fallback.
    pub(crate) paces: [Rc<SharedPace>; 2],
    /// Which way batches go.
    pub(crate) ways: Rc<SharedWays>,
    /// What it shows of itself.
    pub(crate) gauges: Arc<DestinationGauges>,
    /// The process's clock.
    pub(crate) clock: Clock,
    /// The way to the store of its buffer.
    pub(crate) store: StoreHandle,
    /// Its place among the drivers of this destination; 0 goes before all others.
    pub(crate) lane: usize,
    /// Ids of the rings that these drivers take from, for the folders that they share.
    pub(crate) rings: Arc<[u64]>,
}

/// Why a driver stops.
#[derive(Debug)]
enum Stop {
    /// The store has ended.
    StoreEnded,
    /// It cannot be set up; the reason in words.
    Setup(String),
    /// A worker thread panicked, which is a bug.
    Worker,
    /// It was told to.
    Told,
    /// Its stretch is delivered, or another one goes first.
    Stretch,
}

impl From<StoreEnded> for Stop {
    fn from(_: StoreEnded) -> Self {
        Self::StoreEnded
    }
}

/// What the drivers of a destination are made of, a part for each of its buffers in their order.
pub(crate) async fn lanes(
    name: &str,
    config: &Config,
    clock: Clock,
    stores: &Stores,
) -> Result<Vec<DestinationParts>, StoreEnded> {
    let Some(wanted) = config.destinations.get(name) else {
        return Ok(Vec::new());
    };
    if wanted.is_standby {
        return Ok(Vec::new());
    }
    let of_buffers: Vec<&StoreHandle> = wanted
        .buffers
        .iter()
        .map(|buffer| stores.get(buffer))
        .collect::<Result<_, _>>()?;
    let rings: Arc<[u64]> = of_buffers.iter().map(|store| store.ring_id()).collect();
    let transforms = Arc::new(crate::source::compiled(&wanted.transforms));
    let turns = Rc::new(SharedTurns::new(wanted.drain.backlog_share_percent));
    let fallback = wanted.fallback.as_ref();
    let of_fallback = fallback.map_or_else(Quota::default, |fallback| fallback.way.quota);
    let paces = [wanted.quota, of_fallback].map(|quota| Rc::new(SharedPace::new(quota)));
    let ways = Rc::new(SharedWays::new(wanted));
    let gauges = Arc::new(DestinationGauges {
        dead_letters: wanted.dead_letter.path.clone(),
        ..DestinationGauges::default()
    });
    let mut lanes = Vec::new();
    for (lane, store) in of_buffers.into_iter().enumerate() {
        let (name, from) = (name.to_owned(), wanted.from.clone());
        lanes.push(DestinationParts {
            index: store.open_destination(name.clone(), from).await?,
            name,
            agent: config.agent.id.clone(),
            config: wanted.clone(),
            transforms: Arc::clone(&transforms),
            turns: Rc::clone(&turns),
            paces: paces.clone(),
            ways: Rc::clone(&ways),
            gauges: Arc::clone(&gauges),
            clock,
            store: store.clone(),
            lane,
            rings: Arc::clone(&rings),
        });
    }
    Ok(lanes)
}

/// Delivers until it is told to end.
pub(crate) async fn run(parts: DestinationParts, shutdown: Shutdown) {
    tokio::join!(
        run_kind(&parts, StretchKind::Live, shutdown.clone(), true),
        run_kind(&parts, StretchKind::Backlog, shutdown.clone(), true),
        run_kind(&parts, StretchKind::Replay, shutdown.clone(), true),
        letter_files::run(&parts, shutdown),
    );
    let close = store::Request::CloseDestination(parts.index);
    if parts.store.tell(close).await.is_err() {
        tracing::debug!(destination = parts.name, "the store has ended first");
    }
}

/// Delivers the replays that there are, and nothing else.
pub(crate) async fn run_replays(parts: &DestinationParts, shutdown: Shutdown) {
    run_kind(parts, StretchKind::Replay, shutdown, false).await;
}

/// Delivers one stretch of this kind after the other; where there is none it waits for one, or
/// ends.
async fn run_kind(
    parts: &DestinationParts,
    kind: StretchKind,
    mut shutdown: Shutdown,
    waits: bool,
) {
    let mut stretches = parts.store.stretches();
    let rank = Rank {
        lane: parts.lane,
        kind,
    };
    loop {
        stretches.mark_unchanged();
        // Begun anew, what was taken and not delivered is read again, or counted where it is gone.
        let opening = match parts.store.open_stretch(parts.index, kind).await {
            Ok(Some(opening)) => opening,
            Ok(None) if !waits => return,
            Ok(None) => tokio::select! {
                () = told(&mut shutdown) => return,
                changed = stretches.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return,
                },
            },
            Err(StoreEnded) => return,
        };
        let way = parts.ways.poll(parts.clock.monotonic());
        let stop = match Driver::set_up(parts, opening, stretches.clone()) {
            Ok(driver) => driver.drive(&mut shutdown).await,
            Err(stop) => stop,
        };
        match stop {
            Stop::StoreEnded | Stop::Told => return,
            Stop::Stretch => continue,
            Stop::Setup(text) => {
                tracing::error!(destination = parts.name, "{text}");
                parts.gauges.counters.set_error(rank, Some(&text));
                parts
                    .ways
                    .handle_failure(way, parts.clock.monotonic(), &text);
            }
            Stop::Worker => tracing::error!(destination = parts.name, "a worker panicked"),
        }
        tokio::select! {
            () = told(&mut shutdown) => return,
            () = sleep(SETUP_PAUSE) => {}
        }
    }
}

/// Ready once everything is to end.
async fn told(shutdown: &mut Shutdown) {
    // A reactor that is gone tells nothing any more.
    shutdown.wait_for(|end| *end).await.ok();
}

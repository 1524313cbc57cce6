//! The driver of one destination: reads, encodes, sends and commits what `pipeline::delivery` says.
//!
//! Decisions are all there; here are the deeds. A driver that cannot be set up (certificates,
//! credentials) is set up again until it can.

mod build;
mod credentials;
mod driver;
mod exchange;
mod folder;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use pipeline::config::DestinationConfig;
use pipeline::time::WallClock;
use pipeline::transform::Transforms;
use tokio::time::sleep;

use crate::clock::Clock;
use crate::intake::Shutdown;
use crate::store::{self, DestinationOpening, StoreEnded, StoreHandle};
use crate::telemetry::{DestinationCounters, DestinationStatus};

use driver::Driver;

/// What cannot be set up (certificates, folders) is tried again after so long.
const SETUP_PAUSE: Duration = Duration::from_secs(5);

/// What stands for "nothing waits" among times of reception.
const NOTHING: i64 = i64::MIN;

/// What a driver shows of itself.
#[derive(Debug)]
pub(crate) struct DestinationGauges {
    counters: DestinationCounters,
    oldest_ms: AtomicI64,
}

impl Default for DestinationGauges {
    fn default() -> Self {
        Self {
            counters: DestinationCounters::default(),
            oldest_ms: AtomicI64::new(NOTHING),
        }
    }
}

impl DestinationGauges {
    /// Adds what the driver knows to a status.
    pub(crate) fn fill(&self, status: &mut DestinationStatus, now: WallClock) {
        let counters = &self.counters;
        let oldest = self.oldest_ms.load(Ordering::Relaxed);
        if oldest != NOTHING {
            let age = now.since(WallClock::from_millis(oldest)).as_millis();
            status.oldest_waiting_ms = Some(u64::try_from(age).unwrap_or(u64::MAX));
        }
        status.requests = counters.requests.load(Ordering::Relaxed);
        status.failures = counters.failures.load(Ordering::Relaxed);
        status.raw_bytes = counters.raw_bytes.load(Ordering::Relaxed);
        status.sent_bytes = counters.sent_bytes.load(Ordering::Relaxed);
        status.dead_letters_removed = counters.dead_letters_removed.load(Ordering::Relaxed);
        status.error = counters.error();
    }

    fn set_oldest(&self, oldest: Option<WallClock>) {
        self.oldest_ms.store(
            oldest.map_or(NOTHING, WallClock::as_millis),
            Ordering::Relaxed,
        );
    }
}

/// What a driver is made of.
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
    /// Where it stands.
    pub(crate) opening: DestinationOpening,
    /// What it shows of itself.
    pub(crate) gauges: Arc<DestinationGauges>,
    /// The process's clock.
    pub(crate) clock: Clock,
    /// The way to the store.
    pub(crate) store: StoreHandle,
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
}

impl From<StoreEnded> for Stop {
    fn from(_: StoreEnded) -> Self {
        Self::StoreEnded
    }
}

/// Delivers until it is told to end.
pub(crate) async fn run(mut parts: DestinationParts, mut shutdown: Shutdown) {
    loop {
        let stop = match Driver::set_up(&parts, &parts.opening.tally) {
            Ok(driver) => driver.drive(&mut shutdown).await,
            Err(stop) => stop,
        };
        match stop {
            Stop::StoreEnded | Stop::Told => break,
            Stop::Setup(text) => {
                tracing::error!(destination = parts.name, "{text}");
                parts.gauges.counters.set_error(Some(text));
            }
            Stop::Worker => tracing::error!(destination = parts.name, "a worker panicked"),
        }
        tokio::select! {
            () = told(&mut shutdown) => break,
            () = sleep(SETUP_PAUSE) => {}
        }
        // Opened anew, what was taken and not delivered is read again, or counted where it is gone.
        let (name, from) = (parts.name.clone(), parts.config.from.clone());
        match parts.store.open_destination(name, from).await {
            Ok(opening) => parts.opening = opening,
            Err(StoreEnded) => break,
        }
    }
    let close = store::Request::CloseDestination(parts.opening.index);
    if parts.store.tell(close).await.is_err() {
        tracing::debug!(destination = parts.name, "the store has ended first");
    }
}

/// Ready once everything is to end.
async fn told(shutdown: &mut Shutdown) {
    // A reactor that is gone tells nothing any more.
    shutdown.wait_for(|end| *end).await.ok();
}

//! Where records come from: one task a source.

pub(crate) mod file;
pub(crate) mod mqtt;
pub(crate) mod mqtt_listener;
pub(crate) mod syslog;

use std::sync::Arc;
use std::time::Duration;

use pipeline::config::{SourceConfig, SourceKind, TransformConfig};
use pipeline::moves::{self, Kept};
use pipeline::tally::SourceTally;
use pipeline::transform::Transforms;
use tokio::time::sleep;

use crate::clock::Clock;
use crate::intake::{
    Checkpoint, FIELD_BYTES_MAX, Intake, IntakeParts, Settled, Shutdown, SourceTag,
};
use crate::store::{Request, SourceOpening, SourceRequest, StoreEnded, StoreHandle, Stores};
use crate::telemetry::SourceCounters;

/// What cannot be opened is tried again after so long.
pub(crate) const REOPEN_PAUSE: Duration = Duration::from_secs(10);

/// What a source's task begins with.
#[derive(Debug)]
pub(crate) struct SourceTask {
    /// The source's name.
    pub(crate) name: String,
    /// What it is to do.
    pub(crate) config: SourceConfig,
    /// Where it counts.
    pub(crate) counters: Arc<SourceCounters>,
    /// The process's clock.
    pub(crate) clock: Clock,
    /// The ways to the stores.
    pub(crate) stores: Stores,
    /// The buffer that it was stored in until now, if it ran before.
    pub(crate) ran_in: Option<String>,
}

/// Where a source begins.
struct Place<'a> {
    store: &'a StoreHandle,
    tag: SourceTag,
    checkpoints: Vec<Checkpoint>,
}

impl SourceTask {
    /// Opens the source's book in its ring, as often as it takes, and runs it until the end.
    pub(crate) async fn run(self, mut shutdown: Shutdown) {
        self.counters.set_ready(false);
        let place = loop {
            match self.open().await {
                Ok(Ok(place)) => break place,
                Ok(Err(text)) => {
                    tracing::error!(source = self.name, "{text}");
                    self.counters.set_error(text);
                }
                Err(StoreEnded) => return,
            }
            tokio::select! {
                () = sleep(REOPEN_PAUSE) => {}
                _ = shutdown.wait_for(|end| *end) => return,
            }
        };
        self.counters.clear_error();
        let entry_bytes_max = place.store.entry_bytes_max();
        let intake = Intake::new(IntakeParts {
            name: self.name.clone(),
            tag: place.tag,
            transforms: compiled(&self.config.transforms),
            checkpoints: place.checkpoints,
            record_bytes_max: entry_bytes_max.saturating_sub(FIELD_BYTES_MAX),
            clock: self.clock,
            counters: Arc::clone(&self.counters),
            settled: Arc::new(Settled::default()),
            store: place.store.queue(),
        });
        // Listeners say themselves when they listen.
        let waits = matches!(
            self.config.kind,
            SourceKind::MqttListener(_) | SourceKind::Syslog(_)
        );
        self.counters.set_ready(!waits);
        match self.config.kind {
            SourceKind::Mqtt(config) => mqtt::run(config, intake, shutdown).await,
            SourceKind::MqttListener(config) => {
                mqtt_listener::run(config, intake, shutdown).await;
            }
            SourceKind::File(config) => file::run(config, intake, shutdown).await,
            SourceKind::Syslog(config) => syslog::run(config, intake, shutdown).await,
        }
    }

    /// Opens the source's book in its ring. Checkpoints that are in the ring of another buffer are
    /// taken along: once they are durable here they are forgotten there. `Err` says in words why
    /// it cannot begin, and may pass.
    async fn open(&self) -> Result<Result<Place<'_>, String>, StoreEnded> {
        let store = self.stores.get(&self.config.buffer)?;
        let (name, counters) = (self.name.clone(), Arc::clone(&self.counters));
        let SourceOpening { tag, kept } = match store.open_source(name, counters).await? {
            Ok(opening) => opening,
            Err(text) => return Ok(Err(text)),
        };
        let others = self.left_elsewhere().await?;
        let tallies = others.iter().map(|(.., left)| left.tally);
        self.counters
            .restore(&tallies.fold(kept.tally, SourceTally::with));
        let by_name = others.iter().map(|(buffer, _, left)| (*buffer, left));
        let holder = moves::holder(&kept, self.ran_in.as_deref(), by_name);
        let is_needed = holder.is_some() || kept.is_partial;
        let checkpoints = match holder.and_then(|place| others.get(place)) {
            Some((buffer, _, left)) => {
                tracing::info!(
                    source = self.name,
                    from = buffer,
                    to = self.config.buffer,
                    "source moves, and goes on where it stopped"
                );
                left.checkpoints.clone()
            }
            None => kept.checkpoints,
        };
        let place = Place {
            store,
            tag,
            checkpoints: checkpoints.clone(),
        };
        let has_left = |left: &Kept| left.is_partial || !left.checkpoints.is_empty();
        let mut stale = others.iter().filter(|(.., left)| has_left(left)).peekable();
        if !is_needed && stale.peek().is_none() {
            return Ok(Ok(place));
        }
        match store.take_over(tag, checkpoints).await? {
            Ok(true) => {
                for (_, other, _) in stale {
                    let leave = SourceRequest::Leave(self.name.clone());
                    other.tell(Request::Source(leave)).await?;
                }
            }
            // What is not durable here yet stays there until the next start.
            Err(text) if is_needed => return Ok(Err(text)),
            Ok(false) | Err(_) => {}
        }
        Ok(Ok(place))
    }

    /// What the rings of other buffers have of this source.
    async fn left_elsewhere(&self) -> Result<Vec<(&str, &StoreHandle, Kept)>, StoreEnded> {
        let mut left = Vec::new();
        for (buffer, store) in self.stores.iter() {
            if buffer != self.config.buffer {
                let kept = store.ask_source(self.name.clone()).await?;
                left.push((buffer, store, kept));
            }
        }
        Ok(left)
    }
}

/// Transforms of a configuration that was accepted.
pub(crate) fn compiled(transforms: &[TransformConfig]) -> Transforms {
    // The configuration was refused if one of them did not compile.
    Transforms::compile(transforms).unwrap_or_default()
}

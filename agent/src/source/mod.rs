//! Where records come from: one task a source.

pub(crate) mod file;
pub(crate) mod mqtt;
pub(crate) mod mqtt_listener;
pub(crate) mod syslog;

use std::sync::Arc;
use std::time::Duration;

use pipeline::config::{SourceConfig, SourceKind, TransformConfig};
use pipeline::transform::Transforms;
use tokio::time::sleep;

use crate::clock::Clock;
use crate::intake::{FIELD_BYTES_MAX, Intake, IntakeParts, Settled, Shutdown};
use crate::store::{StoreEnded, StoreHandle};
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
    /// The way to the store.
    pub(crate) store: StoreHandle,
}

impl SourceTask {
    /// Opens the source's book in the ring, as often as it takes, and runs it until the end.
    pub(crate) async fn run(self, mut shutdown: Shutdown) {
        let opening = loop {
            let (name, counters) = (self.name.clone(), Arc::clone(&self.counters));
            match self.store.open_source(name, counters).await {
                Ok(Ok(opening)) => break opening,
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
        let entry_bytes_max = self.store.entry_bytes_max();
        let intake = Intake::new(IntakeParts {
            name: self.name,
            tag: opening.tag,
            transforms: compiled(&self.config.transforms),
            checkpoints: opening.checkpoints,
            record_bytes_max: entry_bytes_max.saturating_sub(FIELD_BYTES_MAX),
            clock: self.clock,
            counters: self.counters,
            settled: Arc::new(Settled::default()),
            store: self.store.queue(),
        });
        match self.config.kind {
            SourceKind::Mqtt(config) => mqtt::run(config, intake, shutdown).await,
            SourceKind::MqttListener(config) => {
                mqtt_listener::run(config, intake, shutdown).await;
            }
            SourceKind::File(config) => file::run(config, intake, shutdown).await,
            SourceKind::Syslog(config) => syslog::run(config, intake, shutdown).await,
        }
    }
}

/// Transforms of a configuration that was accepted.
pub(crate) fn compiled(transforms: &[TransformConfig]) -> Transforms {
    // The configuration was refused if one of them did not compile.
    Transforms::compile(transforms).unwrap_or_default()
}

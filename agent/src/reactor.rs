//! What runs on the runtime: sources, destinations, the control socket, signals, the watchdog.
//!
//! Start and reload are the same step: what the configuration names and does not run is started,
//! what runs and is not named any more, or named differently, is stopped first.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use pipeline::config::{Config, DestinationConfig, SourceConfig, buffer_table};
use pipeline::tally::{Stretch, StretchId, StretchKind};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};

use crate::clock::Clock;
use crate::deliver::{self, DestinationGauges, DestinationParts, SharedTurns};
use crate::replay::{ReplayAnswer, ReplayQuestion};
use crate::store::{Request, StoreEnded, StoreHandle};
use crate::telemetry::{DestinationStatus, SourceCounters, SourceStatus, Status, StretchStatus};
use crate::{config_files, control, metrics, source};

/// How long sources may take to hand over what they have and to acknowledge what is durable.
const SOURCES_END_MAX: Duration = Duration::from_secs(2);

/// How long destinations may wait for the answers under way.
const DESTINATIONS_END_MAX: Duration = Duration::from_millis(2300);

/// What the reactor needs.
#[derive(Debug)]
pub(crate) struct ReactorParts {
    /// What to do.
    pub(crate) config: Config,
    /// Where that was read, to read it again on SIGHUP; the demo has none.
    pub(crate) config_path: Option<PathBuf>,
    /// The process's clock.
    pub(crate) clock: Clock,
    /// The way to the store thread.
    pub(crate) store: StoreHandle,
}

/// Everything that runs.
#[derive(Debug)]
pub(crate) struct Reactor {
    config: Config,
    config_path: Option<PathBuf>,
    overview: Rc<Overview>,
    sources: BTreeMap<String, Running<SourceConfig>>,
    destinations: BTreeMap<String, Running<DestinationConfig>>,
}

/// One component that runs.
#[derive(Debug)]
struct Running<C> {
    config: C,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// Why the reactor ended.
#[derive(Debug)]
pub(crate) enum ReactorError {
    /// Signals cannot be received.
    Signals(std::io::Error),
    /// The store has ended; its thread knows why.
    Store(StoreEnded),
}

impl std::fmt::Display for ReactorError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Signals(error) => write!(f, "signals cannot be received: {error}"),
            Self::Store(_) => f.write_str("the store has ended"),
        }
    }
}

impl std::error::Error for ReactorError {}

impl From<StoreEnded> for ReactorError {
    fn from(ended: StoreEnded) -> Self {
        Self::Store(ended)
    }
}

/// What can be told about everything that runs.
#[derive(Debug)]
pub(crate) struct Overview {
    agent: String,
    clock: Clock,
    store: StoreHandle,
    sources: RefCell<BTreeMap<String, Arc<SourceCounters>>>,
    destinations: RefCell<BTreeMap<String, Arc<DestinationGauges>>>,
}

impl Overview {
    /// How everything stands.
    pub(crate) async fn status(&self) -> Result<Status, StoreEnded> {
        let store = self.store.status().await?;
        let now = self.clock.wall();
        let source_names = self.store.source_names();
        let source_name = |tag: &u16| {
            source_names
                .get(tag)
                .map_or_else(|| "unknown".to_owned(), ToString::to_string)
        };
        let sources = self.sources.borrow();
        let gauges = self.destinations.borrow();
        let destinations = store.destinations.iter().map(|(name, tally)| {
            let mut status = DestinationStatus {
                committed: tally.committed().get(),
                waiting: tally.waiting(),
                delivered: tally.delivered(),
                rejected: tally.rejected(),
                filtered: tally.filtered(),
                evicted: tally.evicted().values().sum(),
                evicted_by_source: tally
                    .evicted()
                    .iter()
                    .map(|(tag, count)| (source_name(tag), *count))
                    .collect(),
                truncated: tally.truncated(),
                replayed: tally.replayed(),
                stretches: tally.stretches().filter_map(stretch_status).collect(),
                ..DestinationStatus::default()
            };
            if let Some(gauges) = gauges.get(name) {
                gauges.fill(&mut status, now);
            }
            (name.clone(), status)
        });
        Ok(Status {
            agent: self.agent.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_s: self.clock.monotonic().elapsed().as_secs(),
            buffer: store.buffer.clone(),
            sources: sources
                .iter()
                .map(|(name, counters)| (name.clone(), SourceStatus::of(counters)))
                .collect(),
            destinations: destinations.collect(),
        })
    }
}

impl Overview {
    /// Begins or ends replays.
    pub(crate) async fn replay(&self, question: ReplayQuestion) -> ReplayAnswer {
        let ReplayQuestion { destination, wish } = question;
        let Some(wish) = wish else {
            return match self.store.stop_replays(destination.clone()).await {
                Ok(Some(count)) => ReplayAnswer::Stopped(count),
                Ok(None) => {
                    ReplayAnswer::Error(format!("there is no destination \"{destination}\""))
                }
                Err(StoreEnded) => ReplayAnswer::Error("the store has ended".to_owned()),
            };
        };
        let mark = u64::try_from(self.clock.wall().as_millis()).unwrap_or(0);
        match self.store.replay(destination, wish, mark).await {
            Ok(answer) => answer.into(),
            Err(StoreEnded) => ReplayAnswer::Error("the store has ended".to_owned()),
        }
    }
}

/// What is shown of a stretch; nothing of the live one, which the destination's own numbers show.
pub(crate) fn stretch_status((_, stretch): (StretchId, &Stretch)) -> Option<StretchStatus> {
    let kind = match stretch.kind() {
        StretchKind::Live => return None,
        StretchKind::Backlog => "backlog",
        StretchKind::Replay => "replay",
    };
    Some(StretchStatus {
        kind: kind.to_owned(),
        committed: stretch.committed().get(),
        end: stretch.limit()?.get(),
        waiting: stretch.waiting(),
    })
}

impl Reactor {
    /// Starts everything the configuration names.
    pub(crate) async fn start(parts: ReactorParts) -> Result<Self, ReactorError> {
        let ReactorParts {
            config,
            config_path,
            clock,
            store,
        } = parts;
        let overview = Rc::new(Overview {
            agent: config.agent.id.clone(),
            clock,
            store,
            sources: RefCell::default(),
            destinations: RefCell::default(),
        });
        let socket = config.agent.control_socket.clone();
        tokio::task::spawn_local(serve_control(socket, Rc::clone(&overview)));
        if let Some(address) = config.agent.metrics_listen {
            tokio::task::spawn_local(serve_metrics(address, Rc::clone(&overview)));
        }
        let mut reactor = Self {
            config: config.clone(),
            config_path,
            overview,
            sources: BTreeMap::new(),
            destinations: BTreeMap::new(),
        };
        reactor.adopt(config).await?;
        Ok(reactor)
    }

    /// What can be told about everything that runs.
    pub(crate) fn overview(&self) -> Rc<Overview> {
        Rc::clone(&self.overview)
    }

    /// Runs until `ended` is ready, then ends everything in order; SIGHUP reloads.
    pub(crate) async fn run(
        mut self,
        ended: impl Future<Output = Result<(), ReactorError>>,
    ) -> Result<(), ReactorError> {
        let mut hangup = signal(SignalKind::hangup()).map_err(ReactorError::Signals)?;
        let mut ended = std::pin::pin!(ended);
        notify(&[sd_notify::NotifyState::Ready]);
        let watchdog = tokio::task::spawn_local(feed_watchdog(self.overview.store.clone()));
        loop {
            tokio::select! {
                told = &mut ended => break told?,
                _ = hangup.recv() => self.reload().await?,
            }
        }
        tracing::info!("ending: sources first, then what is under way");
        notify(&[sd_notify::NotifyState::Stopping]);
        watchdog.abort();
        self.end().await;
        Ok(())
    }

    /// Takes the configuration files anew: whole, or not at all.
    async fn reload(&mut self) -> Result<(), ReactorError> {
        let Some(path) = &self.config_path else {
            return Ok(());
        };
        notify(&[sd_notify::NotifyState::Reloading]);
        match config_files::load(path) {
            Ok((config, warnings)) => {
                for warning in warnings {
                    tracing::warn!("{}", warning.to_string().replacen("warning: ", "", 1));
                }
                match fixed_difference(&self.config, &config) {
                    None => {
                        self.adopt(config).await?;
                        tracing::info!("configuration reloaded");
                    }
                    Some(what) => tracing::error!(
                        "configuration not reloaded, the old one stays: {what} cannot change \
                         while hydrant runs; restart it"
                    ),
                }
            }
            Err(problems) => {
                for problem in &problems {
                    tracing::error!("{problem}");
                }
                tracing::error!(
                    "configuration not reloaded, the old one stays: {} problem(s)",
                    problems.len()
                );
            }
        }
        notify(&[sd_notify::NotifyState::Ready]);
        Ok(())
    }

    /// Stops what is not wanted any more, starts what is new, leaves the rest alone.
    async fn adopt(&mut self, config: Config) -> Result<(), StoreEnded> {
        let sources = take_changed(&mut self.sources, &config.sources);
        stop_all(sources, SOURCES_END_MAX).await;
        let named = |name: &String, _: &mut Arc<SourceCounters>| config.sources.contains_key(name);
        self.overview.sources.borrow_mut().retain(named);
        let destinations = take_changed(&mut self.destinations, &config.destinations);
        stop_all(destinations, DESTINATIONS_END_MAX).await;
        // Destinations first: they know all sources that come after them.
        for (name, wanted) in &config.destinations {
            if !self.destinations.contains_key(name) {
                let running = self.start_destination(name, wanted, &config).await?;
                self.destinations.insert(name.clone(), running);
            }
        }
        self.overview
            .store
            .tell(Request::ForgetClosedDestinations)
            .await?;
        let named = config.sources.keys().cloned().collect();
        self.overview
            .store
            .tell(Request::ForgetSourcesExcept(named))
            .await?;
        for (name, wanted) in &config.sources {
            if !self.sources.contains_key(name) {
                let running = self.start_source(name, wanted);
                self.sources.insert(name.clone(), running);
            }
        }
        self.config = config;
        Ok(())
    }

    /// Starts a source's task; it opens its book in the ring by itself, as often as it takes.
    fn start_source(&self, name: &str, config: &SourceConfig) -> Running<SourceConfig> {
        let overview = &self.overview;
        let counters = Arc::clone(
            overview
                .sources
                .borrow_mut()
                .entry(name.to_owned())
                .or_default(),
        );
        let (stop, shutdown) = watch::channel(false);
        let task = source::SourceTask {
            name: name.to_owned(),
            config: config.clone(),
            counters,
            clock: overview.clock,
            store: overview.store.clone(),
        };
        tracing::info!(source = name, "source started");
        Running {
            config: config.clone(),
            stop,
            task: tokio::task::spawn_local(task.run(shutdown)),
        }
    }

    async fn start_destination(
        &self,
        name: &str,
        wanted: &DestinationConfig,
        config: &Config,
    ) -> Result<Running<DestinationConfig>, StoreEnded> {
        let overview = &self.overview;
        let gauges = Arc::new(DestinationGauges::default());
        let index = overview
            .store
            .open_destination(name.to_owned(), wanted.from.clone())
            .await?;
        overview
            .destinations
            .borrow_mut()
            .insert(name.to_owned(), Arc::clone(&gauges));
        let (stop, shutdown) = watch::channel(false);
        let parts = DestinationParts {
            name: name.to_owned(),
            agent: config.agent.id.clone(),
            config: wanted.clone(),
            transforms: Arc::new(source::compiled(&wanted.transforms)),
            index,
            lane: 0,
            turns: Rc::new(SharedTurns::new(wanted.drain.backlog_share_percent)),
            gauges,
            clock: overview.clock,
            store: overview.store.clone(),
        };
        let task = tokio::task::spawn_local(deliver::run(parts, shutdown));
        tracing::info!(destination = name, "destination started");
        Ok(Running {
            config: wanted.clone(),
            stop,
            task,
        })
    }

    /// Ends sources, then destinations; what was taken in is with the store by then.
    async fn end(self) {
        stop_all(self.sources.into_iter().collect(), SOURCES_END_MAX).await;
        let destinations = self.destinations.into_iter().collect();
        stop_all(destinations, DESTINATIONS_END_MAX).await;
        drop(std::fs::remove_file(&self.config.agent.control_socket));
    }
}

/// Serves the control socket; an agent that cannot be asked collects and delivers all the same.
async fn serve_control(path: PathBuf, overview: Rc<Overview>) {
    let mut failure = None;
    loop {
        match control::bind(&path) {
            Ok(listener) => return control::serve(listener, overview).await,
            Err(error) => tell_once(&mut failure, || {
                format!(
                    "the control socket {} cannot be made, so \"hydrant status\" gets no answer: \
                     {error}; set agent.control_socket to a path that this user may write",
                    path.display()
                )
            }),
        }
        sleep(source::REOPEN_PAUSE).await;
    }
}

/// Serves the metrics page, once its address is free.
async fn serve_metrics(address: SocketAddr, overview: Rc<Overview>) {
    let mut failure = None;
    loop {
        match tokio::net::TcpListener::bind(address).await {
            Ok(listener) => return metrics::serve(listener, overview).await,
            Err(error) => tell_once(&mut failure, || {
                format!(
                    "agent.metrics_listen {address} cannot be used: {error}; free it or name \
                     another"
                )
            }),
        }
        sleep(source::REOPEN_PAUSE).await;
    }
}

/// Warns of a failure that is tried to be overcome, unless it was the last one told.
fn tell_once(last: &mut Option<String>, text: impl FnOnce() -> String) {
    let text = Some(text());
    if *last != text {
        tracing::warn!("{}", text.as_deref().unwrap_or_default());
        *last = text;
    }
}

/// Ready when SIGTERM or SIGINT came.
pub(crate) async fn told_to_end() -> Result<(), ReactorError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(ReactorError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ReactorError::Signals)?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}

/// What of the agent and its buffers differs, which only a restart can change.
fn fixed_difference(running: &Config, wanted: &Config) -> Option<String> {
    let (old, new) = (&running.buffers, &wanted.buffers);
    let buffers = old
        .keys()
        .chain(new.keys().filter(|name| !old.contains_key(*name)));
    let buffers = buffers
        .filter(|name| old.get(*name) != new.get(*name))
        .map(|name| format!("[{}]", buffer_table(name)));
    let agent = (running.agent != wanted.agent).then(|| "[agent]".to_owned());
    let differ: Vec<String> = agent.into_iter().chain(buffers).collect();
    (!differ.is_empty()).then(|| differ.join(", "))
}

fn take_changed<C: PartialEq>(
    running: &mut BTreeMap<String, Running<C>>,
    wanted: &BTreeMap<String, C>,
) -> Vec<(String, Running<C>)> {
    running
        .extract_if(.., |name, running| {
            wanted.get(name) != Some(&running.config)
        })
        .collect()
}

/// Stops components side by side; those that do not end in time are cut off.
async fn stop_all<C>(running: Vec<(String, Running<C>)>, end_max: Duration) {
    for (_, component) in &running {
        component.stop.send_replace(true);
    }
    let deadline = Instant::now() + end_max;
    for (name, mut component) in running {
        if timeout_at(deadline, &mut component.task).await.is_err() {
            tracing::warn!("{name} did not end in time");
            component.task.abort();
        }
    }
}

/// Tells systemd that all is well, as long as the store answers and this runtime turns.
async fn feed_watchdog(store: StoreHandle) {
    let Some(period) = sd_notify::watchdog_enabled() else {
        return;
    };
    let mut ticks = tokio::time::interval(period / 3);
    loop {
        ticks.tick().await;
        if store.status().await.is_err() {
            return;
        }
        notify(&[sd_notify::NotifyState::Watchdog]);
    }
}

fn notify(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd cannot be told");
    }
}

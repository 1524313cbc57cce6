//! What runs on the runtime: sources, destinations, the control socket, signals, the watchdog.
//!
//! Start and reload are the same step: what the configuration names and does not run is started,
//! what runs and is not named any more, or named differently, is stopped first.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use pipeline::config::{Config, DestinationConfig, SourceConfig, buffer_table};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout_at};

use crate::clock::Clock;
use crate::confine::Confinement;
use crate::deliver::{self, DestinationParts};
use crate::intake::Shutdown;
use crate::overview::Overview;
use crate::store::{Request, SourceRequest, StoreEnded, Stores};
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
    /// What this process can write to, if that is confined.
    pub(crate) confinement: Option<Confinement>,
    /// The process's clock.
    pub(crate) clock: Clock,
    /// The ways to the store threads.
    pub(crate) stores: Stores,
}

/// Everything that runs.
#[derive(Debug)]
pub(crate) struct Reactor {
    config: Config,
    config_path: Option<PathBuf>,
    confinement: Option<Confinement>,
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

impl Reactor {
    /// Starts everything the configuration names.
    pub(crate) async fn start(parts: ReactorParts) -> Result<Self, ReactorError> {
        let ReactorParts {
            config,
            config_path,
            confinement,
            clock,
            stores,
        } = parts;
        let agent = config.agent.id.clone();
        let overview = Rc::new(Overview::new(agent, clock, stores));
        let socket = config.agent.control_socket.clone();
        tokio::task::spawn_local(serve_control(socket, Rc::clone(&overview)));
        tokio::task::spawn_local(async move { clock.watch().await });
        tokio::task::spawn_local(tell_time(clock, overview.stores().clone()));
        if let Some(address) = config.agent.metrics_listen {
            tokio::task::spawn_local(serve_metrics(address, Rc::clone(&overview)));
        }
        let mut reactor = Self {
            config: config.clone(),
            config_path,
            confinement,
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
        let watchdog = tokio::task::spawn_local(feed_watchdog(self.overview.stores().clone()));
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
                match self.obstacle(&config) {
                    None => {
                        self.adopt(config).await?;
                        tracing::info!("configuration reloaded");
                    }
                    Some(why) => tracing::error!(
                        "configuration not reloaded, the old one stays: {why} while hydrant runs; \
                         restart it"
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

    /// Why only a restart can take up this configuration.
    fn obstacle(&self, config: &Config) -> Option<String> {
        if let Some(what) = fixed_difference(&self.config, config) {
            return Some(format!("{what} cannot change"));
        }
        let path = self.confinement.as_ref()?.excluded(config)?;
        let path = path.display();
        Some(format!("no other folder such as {path} can be written to"))
    }

    /// Stops what is not wanted any more, starts what is new, leaves the rest alone.
    async fn adopt(&mut self, config: Config) -> Result<(), StoreEnded> {
        let sources = take_changed(&mut self.sources, &config.sources);
        let ran_in: BTreeMap<String, String> = sources
            .iter()
            .map(|(name, running)| (name.clone(), running.config.buffer.clone()))
            .collect();
        stop_all(sources, SOURCES_END_MAX).await;
        self.overview.retain_sources(&config.sources);
        let destinations = take_changed(&mut self.destinations, &config.destinations);
        stop_all(destinations, DESTINATIONS_END_MAX).await;
        // Destinations first: they know all sources that come after them.
        for (name, wanted) in &config.destinations {
            if !self.destinations.contains_key(name) {
                let running = self.start_destination(name, wanted, &config).await?;
                self.destinations.insert(name.clone(), running);
            }
        }
        let stores = self.overview.stores();
        stores
            .tell_all(|| Request::ForgetClosedDestinations)
            .await?;
        // A source that is stored elsewhere now takes its checkpoints along when it is opened.
        let named: BTreeSet<String> = config.sources.keys().cloned().collect();
        stores
            .tell_all(|| Request::Source(SourceRequest::ForgetExcept(named.clone())))
            .await?;
        for (name, wanted) in &config.sources {
            if !self.sources.contains_key(name) {
                let running = self.start_source(name, wanted, ran_in.get(name).cloned());
                self.sources.insert(name.clone(), running);
            }
        }
        self.config = config;
        Ok(())
    }

    /// Starts a source's task; it opens its book in the ring by itself, as often as it takes.
    fn start_source(
        &self,
        name: &str,
        config: &SourceConfig,
        ran_in: Option<String>,
    ) -> Running<SourceConfig> {
        let overview = &self.overview;
        let (stop, shutdown) = watch::channel(false);
        let task = source::SourceTask {
            name: name.to_owned(),
            config: config.clone(),
            counters: overview.add_source(name, config),
            clock: overview.clock(),
            stores: overview.stores().clone(),
            ran_in,
        };
        tracing::info!(source = name, "source started");
        Running {
            config: config.clone(),
            stop,
            task: tokio::task::spawn_local(task.run(shutdown)),
        }
    }

    /// Starts a destination's task, with a driver for each buffer that it takes from.
    async fn start_destination(
        &self,
        name: &str,
        wanted: &DestinationConfig,
        config: &Config,
    ) -> Result<Running<DestinationConfig>, StoreEnded> {
        let overview = &self.overview;
        let lanes = deliver::lanes(name, config, overview.clock(), overview.stores()).await?;
        let gauges = lanes.first().map(|parts| Arc::clone(&parts.gauges));
        let gauges = gauges.unwrap_or_default();
        overview.add_destination(name, gauges);
        let (stop, shutdown) = watch::channel(false);
        let task = tokio::task::spawn_local(run_lanes(lanes, shutdown));
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

/// Runs the drivers of one destination until they are told to end; all are cut off with it.
async fn run_lanes(lanes: Vec<DestinationParts>, shutdown: Shutdown) {
    let mut drivers = JoinSet::new();
    for parts in lanes {
        drivers.spawn_local(deliver::run(parts, shutdown.clone()));
    }
    while drivers.join_next().await.is_some() {}
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

/// Tells every store once the time of this boot is known.
async fn tell_time(clock: Clock, stores: Stores) {
    let mut changes = clock.changes();
    loop {
        changes.mark_unchanged();
        if let Some(learned) = clock.correction()
            && stores.tell_all(|| Request::Learned(learned)).await.is_err()
        {
            return;
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// Tells systemd that all is well, as long as every store answers and this runtime turns.
async fn feed_watchdog(stores: Stores) {
    let Some(period) = sd_notify::watchdog_enabled() else {
        return;
    };
    let mut ticks = tokio::time::interval(period / 3);
    loop {
        ticks.tick().await;
        if stores.status().await.is_err() {
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

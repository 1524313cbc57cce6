//! `hydrant run` and `hydrant status`: from a configuration to a running agent and its end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread::JoinHandle;

use pipeline::config::{BufferConfig, Config, LogLevel};
use tokio::runtime::Runtime;
use tokio::task::LocalSet;
use tracing_subscriber::filter::LevelFilter;

use crate::cli::StatusArgs;
use crate::clock::Clock;
use crate::confine::confine;
use crate::reactor::{Reactor, ReactorParts, told_to_end};
use crate::store::{StoreError, StoreOptions, Stores};
use crate::{
    EXIT_STORAGE, EXIT_USAGE, activation, check, config_files, control, fail, print, ring_file,
    show, store,
};

/// Threads for what may block: encoding, name look-ups, files. They are started when needed; a
/// name server that does not answer holds one of them for half a minute.
const BLOCKING_THREADS_MAX: usize = 16;

/// Stack of such a thread; the deepest call is a look-up by the C library.
const BLOCKING_STACK_BYTES: usize = 256 * 1024;

/// Runs an agent until it is told to end.
pub(crate) fn run(path: &Path) -> ExitCode {
    // Before anything else has a descriptor.
    let unusable = activation::take();
    let (config, warnings) = match config_files::load(path) {
        Ok(loaded) => loaded,
        Err(problems) => return fail(&check::report(&problems), EXIT_USAGE),
    };
    start_log(config.agent.log_level);
    for warning in &warnings {
        tracing::warn!("{}", warning.to_string().replacen("warning: ", "", 1));
    }
    for problem in unusable {
        tracing::warn!("{problem}");
    }
    // Before there is another thread.
    let confinement = confine(&config);
    let clock = clock(&config);
    let stores = match open_stores(&config, clock) {
        Ok(opened) => opened,
        Err(text) => return fail(&format!("hydrant: {text}"), EXIT_STORAGE),
    };
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("hydrant: no runtime: {error}"), 1),
    };
    let parts = ReactorParts {
        config,
        config_path: Some(path.to_owned()),
        confinement,
        clock,
        stores: stores.handles(),
    };
    let handles = stores.handles();
    let outcome = LocalSet::new().block_on(&runtime, async {
        let reactor = Reactor::start(parts).await?;
        let ended = async {
            tokio::select! {
                () = handles.ended() => Ok(()),
                told = told_to_end() => told,
            }
        };
        reactor.run(ended).await
    });
    // Threads that wait for a name server must not hold up the end.
    runtime.shutdown_background();
    stores.end(outcome.err().map(|error| error.to_string()))
}

/// The clock, as far as it is believed.
pub(crate) fn clock(config: &Config) -> Clock {
    let clock = Clock::start();
    if config.agent.is_clock_trusted {
        clock.trust();
    }
    clock
}

/// The stores of all buffers, with their threads.
#[derive(Debug)]
pub(crate) struct OpenStores {
    handles: Stores,
    threads: Vec<(PathBuf, JoinHandle<Result<(), StoreError>>)>,
}

/// Recovers every ring and only then starts the threads that own them.
pub(crate) fn open_stores(config: &Config, clock: Clock) -> Result<OpenStores, String> {
    let state_dir = &config.agent.state_dir;
    let mut rings = Vec::new();
    for (name, buffer) in &config.buffers {
        let ring = ring_file::open(state_dir, name, buffer).map_err(|error| error.to_string())?;
        rings.push((name, ring, store_options(state_dir, name, buffer, clock)));
    }
    for path in ring_file::unnamed(state_dir, &config.buffers) {
        tracing::warn!(
            "{0} belongs to no buffer of this configuration: what waits in it is not delivered; \
             name its buffer again and start hydrant, look into it with \"hydrant ring info {0}\", \
             or remove it",
            path.display()
        );
    }
    let (mut by_buffer, mut threads) = (BTreeMap::new(), Vec::new());
    for (name, ring, options) in rings {
        let (handle, thread) = store::spawn(ring, options).map_err(|error| with_sources(&error))?;
        by_buffer.insert(name.clone(), handle);
        threads.push((state_dir.join(ring_file::file_name(name)), thread));
    }
    Ok(OpenStores {
        handles: Stores::new(by_buffer),
        threads,
    })
}

impl OpenStores {
    /// The ways to them.
    pub(crate) fn handles(&self) -> Stores {
        self.handles.clone()
    }

    /// Syncs what is there, ends the threads, and says how it all went.
    pub(crate) fn end(self, reactor_error: Option<String>) -> ExitCode {
        self.handles.stop_blocking();
        let mut failure = None;
        for (path, thread) in self.threads {
            match thread.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    let (text, path) = (with_sources(&error), path.display());
                    let text = format!(
                        "hydrant: {path}: {text}; look at the disk (dmesg); the ring is recovered \
                         at the next start"
                    );
                    failure = Some(fail(&text, EXIT_STORAGE));
                }
                Err(_) => {
                    let panicked = fail("hydrant: the store thread panicked", 1);
                    failure = failure.or(Some(panicked));
                }
            }
        }
        match (failure, reactor_error) {
            (Some(code), _) => code,
            (None, None) => ExitCode::SUCCESS,
            (None, Some(text)) => fail(&format!("hydrant: {text}"), 1),
        }
    }
}

/// The runtime of the agent.
pub(crate) fn runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_stack_size(BLOCKING_STACK_BYTES)
        .build()
}

/// Asks a running agent how it stands.
pub(crate) fn status(arguments: &StatusArgs) -> ExitCode {
    let socket = match &arguments.socket {
        Some(socket) => socket.clone(),
        None => config_files::control_socket(&arguments.config),
    };
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("hydrant: no runtime: {error}"), 1),
    };
    match runtime.block_on(control::ask_status(&socket)) {
        Ok(status) if arguments.json => match serde_json::to_string_pretty(&status) {
            Ok(text) => print(&format!("{text}\n")),
            Err(error) => fail(&format!("hydrant: {error}"), 1),
        },
        Ok(status) => print(&show::status(&status)),
        Err(error) => fail(&format!("hydrant: {error}"), 1),
    }
}

/// Logs to standard error; under systemd without times, which the journal adds.
pub(crate) fn start_log(level: LogLevel) {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let log = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false);
    // A second start in one process (a test) keeps the first log.
    drop(match std::env::var_os("JOURNAL_STREAM") {
        Some(_) => log.without_time().try_init(),
        None => log.try_init(),
    });
}

fn store_options(
    state_dir: &Path,
    name: &str,
    buffer: &BufferConfig,
    clock: Clock,
) -> StoreOptions {
    StoreOptions {
        buffer: name.to_owned(),
        when_full: buffer.when_full,
        sync_delay_max: buffer.sync_delay_max,
        sync_bytes: buffer.sync_bytes.as_usize(),
        write_budget: buffer.write_budget,
        archive: Some(ring_file::archive(state_dir, name)),
        clock,
    }
}

/// An error with its reasons, outermost first.
pub(crate) fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

//! `hydrant demo`: the main job on one machine, with a receiver of its own.
//!
//! It is the same agent that `run` starts, on a configuration written here: listeners on loopback,
//! a ring in a temporary folder, an HTTPS receiver inside the process.

mod feed;
mod receiver;
mod screen;

use std::io::{self, IsTerminal};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use pipeline::config::{Config, Environment, LogLevel, SourceText};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::task::LocalSet;
use tokio::time::{sleep, timeout};

use crate::cli::DemoArgs;
use crate::overview::Overview;
use crate::reactor::{Reactor, ReactorParts, told_to_end};
use crate::{app, check, fail, print};

use receiver::{Received, Receiver};

/// Ports that are taken when they are free, so that the commands read well.
const MQTT_PORT: u16 = 18_830;
const SYSLOG_PORT: u16 = 15_140;

/// How long the last records may take to arrive.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// Where the demo listens and keeps things.
#[derive(Debug)]
struct Place {
    folder: PathBuf,
    mqtt: u16,
    syslog: u16,
}

impl Place {
    fn find() -> io::Result<Self> {
        let mut random = [0; 6];
        SystemRandom::new()
            .fill(&mut random)
            .map_err(|_| io::Error::other("no randomness"))?;
        let name = random
            .iter()
            .fold(0_u64, |name, byte| name << 8 | u64::from(*byte));
        let folder = std::env::temp_dir().join(format!("hydrant-demo-{name:012x}"));
        std::fs::create_dir(&folder)?;
        Ok(Self {
            folder,
            mqtt: free_port(MQTT_PORT)?,
            syslog: free_port(SYSLOG_PORT)?,
        })
    }

    fn log_file(&self) -> PathBuf {
        self.folder.join("app.log")
    }

    fn ca_file(&self) -> PathBuf {
        self.folder.join("receiver-ca.pem")
    }

    fn config_text(&self, receiver_port: u16) -> String {
        let folder = self.folder.display();
        let Self { mqtt, syslog, .. } = self;
        format!(
            r#"
[agent]
id = "demo"
state_dir = "{folder}/state"
control_socket = "{folder}/control.sock"
clock = "trusted"
log_level = "warn"

[buffer]
size = "16MiB"

[sources.mqtt]
type = "mqtt_listener"
listen = "127.0.0.1:{mqtt}"

[sources.syslog]
type = "syslog"
listen = ["udp://127.0.0.1:{syslog}", "tcp://127.0.0.1:{syslog}"]

[sources.file]
type = "file"
paths = ["{folder}/*.log"]

[destinations.receiver]
type = "http"
url = "https://127.0.0.1:{receiver_port}/ingest"
compression = "gzip"
batch = {{ age_max = "1s" }}
tls = {{ ca_file = "{folder}/receiver-ca.pem" }}
"#
        )
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What cannot be removed is in a temporary folder all the same.
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// Runs the demo until Ctrl-C or for the time asked for.
pub(crate) fn run(arguments: &DemoArgs) -> ExitCode {
    app::start_log(LogLevel::Warn);
    match try_run(arguments) {
        Ok(code) => code,
        Err(error) => fail(&format!("hydrant demo: {error}"), 1),
    }
}

fn try_run(arguments: &DemoArgs) -> io::Result<ExitCode> {
    let place = Place::find()?;
    touch(&place.log_file())?;
    let runtime = app::runtime()?;
    let local = LocalSet::new();
    let receiver = local.block_on(&runtime, Receiver::start(&place.ca_file()))?;
    let config = config(&place, receiver.port())?;
    let clock = app::clock(&config);
    let stores = app::open_stores(&config, clock).map_err(io::Error::other)?;
    let parts = ReactorParts {
        config,
        config_path: None,
        confinement: None,
        clock,
        stores: stores.handles(),
    };
    let outcome = local.block_on(&runtime, async {
        let reactor = Reactor::start(parts).await.map_err(io::Error::other)?;
        let overview = reactor.overview();
        let received = receiver.received();
        let screen = tokio::task::spawn_local(screen::show(
            screen::commands(&place),
            Rc::clone(&overview),
            Rc::clone(&received),
            io::stdout().is_terminal(),
        ));
        let feeder = arguments
            .feed
            .then(|| tokio::task::spawn_local(feed::feed(&place)));
        let ended = async {
            match arguments.seconds {
                Some(seconds) => {
                    drop(timeout(Duration::from_secs(seconds), told_to_end()).await);
                }
                None => told_to_end().await?,
            }
            if let Some(feeder) = feeder {
                feeder.abort();
            }
            drop(timeout(DRAIN_MAX, drained(&overview)).await);
            screen.abort();
            if let Ok(status) = overview.status().await {
                print(&screen::summary(&status, &received));
            }
            Ok(())
        };
        reactor.run(ended).await.map_err(io::Error::other)
    });
    runtime.shutdown_background();
    Ok(stores.end(outcome.err().map(|error| error.to_string())))
}

/// Waits until nothing waits any more.
async fn drained(overview: &Overview) {
    let mut received_before = None;
    loop {
        let Ok(status) = overview.status().await else {
            return;
        };
        let received: u64 = status.sources.values().map(|source| source.received).sum();
        let waiting: u64 = status.destinations.values().map(|to| to.waiting).sum();
        if waiting == 0 && received_before == Some(received) {
            return;
        }
        received_before = Some(received);
        sleep(Duration::from_millis(200)).await;
    }
}

fn config(place: &Place, receiver_port: u16) -> io::Result<Config> {
    let text = SourceText::new("demo.toml", place.config_text(receiver_port));
    match pipeline::config::load(&[text], &Environment::empty()) {
        Ok((config, _)) => Ok(config),
        Err(problems) => Err(io::Error::other(check::report(&problems))),
    }
}

fn touch(path: &Path) -> io::Result<()> {
    std::fs::File::create(path).map(drop)
}

/// `wanted` if it is free on loopback, else one that is.
fn free_port(wanted: u16) -> io::Result<u16> {
    let free = |port| {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        let port = tcp.local_addr()?.port();
        UdpSocket::bind((Ipv4Addr::LOCALHOST, port))?;
        Ok(port)
    };
    free(wanted).or_else(|_: io::Error| free(0))
}

/// What the receiver counts, for the screen.
type SharedReceived = Rc<Received>;

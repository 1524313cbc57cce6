//! Takes what devices publish, without a broker.
//!
//! One task accepts connections and passes receipts on; each connection has a task of its own.
//! What devices say is decided in [`protocol`], what is remembered of them in [`sessions`].

mod answers;
mod connection;
mod protocol;
mod sessions;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pipeline::config::MqttListenerConfig;
use pipeline::decode::mqtt::TopicTemplates;
use pipeline::receipt::Receipt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::intake::{Intake, Shutdown};
use crate::source::mqtt::owed::Owed;
use crate::source::mqtt::packets::AckKind;
use crate::source::mqtt::{Io, ended};
use crate::telemetry::SourceCount;
use crate::tls::server::{HandshakeError, TlsServer, client_name};
use connection::Connection;
use protocol::Limits;
use sessions::Sessions;

/// How many messages of one device may be unacknowledged.
const IN_FLIGHT_MAX: u16 = 1000;

/// How much one connection can be told before it listens: all it can be owed, also for what an
/// earlier connection of its session sent.
const TELLS_MAX: usize = 8192;

/// Sessions kept beyond those that are connected.
const OFFLINE_SESSIONS_MAX: usize = 4096;

/// How often a listener that cannot be opened is tried again.
const OPEN_RETRY: Duration = Duration::from_secs(5);

/// What accepting waits after an error, such as no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// How long connections may take to end.
const END_MAX: Duration = Duration::from_millis(2500);

/// What all connections share.
#[derive(Debug)]
struct Shared {
    intake: Intake,
    limits: Limits,
    topic_templates: TopicTemplates,
    tls: Option<TlsServer>,
    hub: Mutex<Hub>,
}

/// Sessions, and the way to each connection.
#[derive(Debug)]
struct Hub {
    sessions: Sessions,
    connections: HashMap<u32, mpsc::Sender<Tell>>,
}

/// What a connection is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tell {
    /// A message is durable: acknowledge it.
    Settled(AckKind, u16),
    /// Another connection has the session: end.
    TakenOver,
}

impl Shared {
    /// Never held over an await, and by one thread only: it never waits.
    fn hub(&self) -> MutexGuard<'_, Hub> {
        self.hub.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hub {
    /// Tells a connection; one that has too much to hear is cut off, which it notices.
    fn tell(&mut self, connection: u32, tell: Tell) {
        if let Some(sender) = self.connections.get(&connection)
            && sender.try_send(tell).is_err()
        {
            self.connections.remove(&connection);
        }
    }

    fn settle(&mut self, receipt: Receipt) {
        match Owed::of(receipt) {
            Owed::PubAck {
                connection,
                packet_id,
            } => self.tell(connection, Tell::Settled(AckKind::Taken, packet_id)),
            Owed::PubRec { session, packet_id } => {
                if let Some(connection) = self.sessions.settle(session, packet_id) {
                    self.tell(connection, Tell::Settled(AckKind::Held, packet_id));
                }
            }
        }
    }
}

/// Runs the source until `shutdown`.
pub(crate) async fn run(config: MqttListenerConfig, intake: Intake, mut shutdown: Shutdown) {
    let limits = Limits {
        packet_bytes_max: config
            .packet_bytes_max
            .as_usize()
            .min(intake.record_bytes_max()),
        in_flight_max: IN_FLIGHT_MAX,
        idle_max: config.idle_max,
        username: config.username.clone(),
        password: config.password.clone(),
    };
    let hub = Hub {
        sessions: Sessions::new(config.connections_max.saturating_add(OFFLINE_SESSIONS_MAX)),
        connections: HashMap::new(),
    };
    let Some((listener, tls)) = open(&config, &intake, &mut shutdown).await else {
        return;
    };
    let shared = Arc::new(Shared {
        intake,
        limits,
        topic_templates: config.topic_templates.clone(),
        tls,
        hub: Mutex::new(hub),
    });
    let mut connections = JoinSet::new();
    let mut last = 0_u32;
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(_) if connections.len() >= config.connections_max => {
                    refuse(&shared.intake, config.connections_max);
                }
                Ok(accepted) => {
                    last = last.wrapping_add(1);
                    connections.spawn(serve(
                        Arc::clone(&shared),
                        last,
                        accepted,
                        shutdown.clone(),
                    ));
                }
                Err(error) => pause(&shared.intake, &error).await,
            },
            receipts = shared.intake.settled() => settle(&shared, receipts),
            Some(_) = connections.join_next() => {}
            () = ended(&mut shutdown) => break,
        }
    }
    drop(listener);
    let end = async {
        while !connections.is_empty() {
            tokio::select! {
                receipts = shared.intake.settled() => settle(&shared, receipts),
                _ = connections.join_next() => {}
            }
        }
    };
    // A connection that takes longer loses nothing but its last words.
    drop(tokio::time::timeout(END_MAX, end).await);
}

/// Opens the listener, however often that takes; `None` at the end of the agent.
async fn open(
    config: &MqttListenerConfig,
    intake: &Intake,
    shutdown: &mut Shutdown,
) -> Option<(TcpListener, Option<TlsServer>)> {
    let mut last = String::new();
    loop {
        let told = match try_open(config, intake).await {
            Ok(opened) => {
                intake.counters().clear_error();
                intake.counters().set_ready(true);
                tracing::info!(source = intake.name(), listen = %config.listen, "listening");
                return Some(opened);
            }
            Err(told) => told,
        };
        if told != last {
            tracing::warn!(source = intake.name(), "{told}");
            last.clone_from(&told);
        }
        intake.counters().set_error(told);
        tokio::select! {
            () = tokio::time::sleep(OPEN_RETRY) => {}
            () = ended(shutdown) => return None,
        }
    }
}

async fn try_open(
    config: &MqttListenerConfig,
    intake: &Intake,
) -> Result<(TcpListener, Option<TlsServer>), String> {
    let tls = config.tls.as_ref();
    let tls = tls.map(|tls| TlsServer::new(intake.name(), tls, *intake.clock()));
    let tls = tls.transpose().map_err(|error| format!("tls: {error}"))?;
    match TcpListener::bind(config.listen).await {
        Ok(listener) => Ok((listener, tls)),
        Err(error) => Err(format!("cannot listen on {}: {error}", config.listen)),
    }
}

/// A connection from its entry in the hub to its removal.
async fn serve(
    shared: Arc<Shared>,
    number: u32,
    (stream, peer): (TcpStream, SocketAddr),
    mut shutdown: Shutdown,
) {
    // Without it an acknowledgement may wait for the next one.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let (stream, certified): (Box<dyn Io>, _) = match &shared.tls {
        None => (Box::new(stream), None),
        Some(tls) => {
            let accepted = tokio::select! {
                accepted = tls.accept(stream) => accepted,
                () = ended(&mut shutdown) => return,
            };
            match accepted {
                Ok(stream) => {
                    let certified = client_name(&stream);
                    (Box::new(stream), certified)
                }
                Err(error) => return turned_away(&shared.intake, peer, &error),
            }
        }
    };
    let (sender, tells) = mpsc::channel(TELLS_MAX);
    shared.hub().connections.insert(number, sender);
    shared.intake.counters().add(SourceCount::Connections, 1);
    Connection::new(Arc::clone(&shared), number, certified)
        .run(stream, peer, tells, shutdown)
        .await;
    shared.hub().connections.remove(&number);
    shared
        .intake
        .counters()
        .subtract(SourceCount::Connections, 1);
}

fn turned_away(intake: &Intake, peer: SocketAddr, error: &HandshakeError) {
    let told = format!("device at {peer}: {error}");
    // Not louder: whoever can connect could fill the log.
    tracing::debug!(source = intake.name(), "{told}");
    intake.counters().add(SourceCount::Refused, 1);
    intake.counters().set_error(told);
}

fn settle(shared: &Shared, receipts: Vec<Receipt>) {
    let mut hub = shared.hub();
    for receipt in receipts {
        hub.settle(receipt);
    }
}

fn refuse(intake: &Intake, connections_max: usize) {
    intake.counters().add(SourceCount::Refused, 1);
    intake.counters().set_error(format!(
        "{connections_max} devices are connected and one more was turned away: raise connections_max"
    ));
}

async fn pause(intake: &Intake, error: &io::Error) {
    intake
        .counters()
        .set_error(format!("cannot accept a connection: {error}"));
    tracing::warn!(
        source = intake.name(),
        "cannot accept a connection: {error}"
    );
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

#[cfg(test)]
mod tests;

//! Takes what devices publish, without a broker.
//!
//! One task accepts connections and passes receipts on; each connection has a task of its own.
//! What devices say is decided in [`protocol`], what is remembered of them in [`sessions`].

mod accounts;
mod answers;
mod connection;
mod owed;
mod protocol;
mod reading;
mod sessions;

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pipeline::config::{MqttListen, MqttListenerConfig};
use pipeline::decode::mqtt::{Rights, TopicTemplates};
use pipeline::receipt::Receipt;
use pipeline::record::Record;
use pipeline::time::Monotonic;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use crate::activation;
use crate::intake::{Closed, Intake, Shutdown};
use crate::source::mqtt::packets::AckKind;
use crate::source::mqtt::{Io, ended, sleep_until};
use crate::telemetry::SourceCount;
use crate::tls::server::{HandshakeError, TlsServer, client_name};
use accounts::Accounts;
use connection::Connection;
use owed::Owed;
use protocol::{Limits, NOT_AUTHORIZED};
use sessions::Sessions;

pub(crate) use accounts::read as read_passwords;

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

/// How often the log is told of a device that somebody has to look after.
const HINT_EVERY: Duration = Duration::from_mins(1);

/// How long connections may take to end.
const END_MAX: Duration = Duration::from_millis(2500);

/// What all connections share.
#[derive(Debug)]
struct Shared {
    intake: Intake,
    limits: Limits,
    topic_templates: TopicTemplates,
    tls: Option<TlsServer>,
    accounts: Option<Accounts>,
    hub: Mutex<Hub>,
    /// The last wills that wait have changed.
    wills: Notify,
}

/// Sessions, and the way to each connection.
#[derive(Debug)]
struct Hub {
    sessions: Sessions,
    connections: HashMap<u32, mpsc::Sender<Tell>>,
    /// Connections that have not said who they are, the oldest first.
    fresh: BTreeSet<u32>,
    /// When the log was last told of each kind of device that somebody has to look after.
    hints: [Option<Monotonic>; 2],
}

/// What the log is told about a device, now and then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hint {
    /// It publishes where it may not.
    Denied,
    /// It speaks a version that is not spoken here.
    Version,
}

/// What a connection is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tell {
    /// A message is durable: acknowledge it, with this reason code.
    Settled(AckKind, u16, u8),
    /// Another connection has the session: end.
    TakenOver,
    /// All places are taken and nothing was said here: end.
    MakeRoom,
}

impl Shared {
    /// Never held over an await, and by one thread only: it never waits.
    fn hub(&self) -> MutexGuard<'_, Hub> {
        self.hub.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is time to tell the log again.
    fn may_tell(&self, hint: Hint) -> bool {
        let now = self.intake.clock().monotonic();
        let mut hub = self.hub();
        let [denied, version] = &mut hub.hints;
        let last = match hint {
            Hint::Denied => denied,
            Hint::Version => version,
        };
        let may = last.is_none_or(|told| now.since(told) >= HINT_EVERY);
        if may {
            *last = Some(now);
        }
        may
    }
}

impl Hub {
    fn new(sessions: Sessions) -> Self {
        Self {
            sessions,
            connections: HashMap::new(),
            fresh: BTreeSet::new(),
            hints: [None; 2],
        }
    }

    /// A connection was accepted.
    fn handle_accepted(&mut self, connection: u32) -> mpsc::Receiver<Tell> {
        let (sender, tells) = mpsc::channel(TELLS_MAX);
        self.connections.insert(connection, sender);
        self.fresh.insert(connection);
        tells
    }

    /// A connection has said who it is.
    fn handle_opened(&mut self, connection: u32) {
        self.fresh.remove(&connection);
    }

    /// A connection has ended.
    fn handle_ended(&mut self, connection: u32) {
        self.fresh.remove(&connection);
        self.connections.remove(&connection);
    }

    /// Ends the oldest connection that has not said who it is; false if there is none. So those
    /// that only take places keep nobody out.
    fn make_room(&mut self) -> bool {
        let oldest = self.fresh.pop_first();
        if let Some(connection) = oldest {
            self.tell(connection, Tell::MakeRoom);
        }
        oldest.is_some()
    }

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
            } => self.tell(connection, Tell::Settled(AckKind::Taken, packet_id, 0)),
            Owed::Denial {
                connection,
                packet_id,
            } => {
                let denied = Tell::Settled(AckKind::Taken, packet_id, NOT_AUTHORIZED);
                self.tell(connection, denied);
            }
            Owed::PubRec { session, packet_id } => {
                if let Some(connection) = self.sessions.settle(session, packet_id) {
                    self.tell(connection, Tell::Settled(AckKind::Held, packet_id, 0));
                }
            }
            Owed::PubComp { session, packet_id } => {
                if let Some(connection) = self.sessions.released(session, packet_id) {
                    self.tell(connection, Tell::Settled(AckKind::Released, packet_id, 0));
                }
            }
        }
    }
}

/// Runs the source until `shutdown`.
pub(crate) async fn run(config: MqttListenerConfig, intake: Intake, mut shutdown: Shutdown) {
    let Some((listener, shared)) = open(&config, &intake, &mut shutdown).await else {
        return;
    };
    let mut connections = JoinSet::new();
    let mut last = 0_u32;
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(_) if connections.len() >= config.connections_max
                    && !shared.hub().make_room() =>
                {
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
            () = will_due(&shared) => publish_wills(&shared, &mut connections),
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
        // Their devices were gone before, and the next process does not know of them.
        let wills = shared.hub().sessions.take_wills();
        store_wills(&shared, wills).await;
    };
    // A connection that takes longer loses nothing but its last words.
    drop(tokio::time::timeout(END_MAX, end).await);
}

/// What connections share, as far as files can be read; what is wrong is told in words.
fn shared(config: &MqttListenerConfig, intake: &Intake) -> Result<Shared, String> {
    let (name, clock) = (intake.name(), *intake.clock());
    let tls = config.tls.as_ref();
    let tls = tls.map(|tls| TlsServer::new(name, tls, clock)).transpose();
    let accounts = config.password_file.as_deref();
    let accounts = accounts.map(|path| Accounts::new(name, path)).transpose();
    let (tls, accounts) = match (tls, accounts) {
        (Ok(tls), Ok(accounts)) => (tls, accounts),
        (Err(error), _) => return Err(format!("tls: {error}")),
        (_, Err(error)) => return Err(format!("password_file: {error}")),
    };
    let packet_bytes_max = config.packet_bytes_max.as_usize();
    let limits = Limits {
        packet_bytes_max: packet_bytes_max.min(intake.record_bytes_max()),
        in_flight_max: IN_FLIGHT_MAX,
        idle_max: config.idle_max,
        username: config.username.clone(),
        password: config.password.clone(),
        has_password_file: accounts.is_some(),
        rights: config.rights.clone().map(Rights::new),
    };
    let mut sessions = Sessions::new(config.connections_max.saturating_add(OFFLINE_SESSIONS_MAX));
    sessions.restore(&intake.checkpoints());
    Ok(Shared {
        intake: intake.clone(),
        limits,
        topic_templates: config.topic_templates.clone(),
        tls,
        accounts,
        hub: Mutex::new(Hub::new(sessions)),
        wills: Notify::new(),
    })
}

/// Waits until a last will is to be published. May be cancelled without loss.
async fn will_due(shared: &Shared) {
    loop {
        let wake = shared.hub().sessions.will_timeout();
        tokio::select! {
            () = sleep_until(shared.intake.clock(), wake) => return,
            () = shared.wills.notified() => {}
        }
    }
}

/// Stores the last wills whose time has come, in a task of its own: the store may be full.
fn publish_wills(shared: &Arc<Shared>, connections: &mut JoinSet<()>) {
    let now = shared.intake.clock().monotonic();
    let wills = shared.hub().sessions.poll_wills(now);
    if !wills.is_empty() {
        let shared = Arc::clone(shared);
        connections.spawn(async move { store_wills(&shared, wills).await });
    }
}

async fn store_wills(shared: &Shared, wills: Vec<Record>) {
    let mut batch = shared.intake.batch();
    for mut will in wills {
        will.received_at = batch.received_at();
        shared.topic_templates.add_fields(&mut will);
        batch.push(will, None);
    }
    if shared.intake.send(batch).await == Err(Closed) {
        tracing::debug!(
            source = shared.intake.name(),
            "the store ended before a will"
        );
    }
}

/// Reads the files and opens the listener, however often that takes; `None` at the end of the
/// agent.
async fn open(
    config: &MqttListenerConfig,
    intake: &Intake,
    shutdown: &mut Shutdown,
) -> Option<(TcpListener, Arc<Shared>)> {
    let mut last = String::new();
    loop {
        let told = match shared(config, intake) {
            Ok(shared) => match bind(&config.listen).await {
                Ok(listener) => {
                    intake.counters().clear_error();
                    intake.counters().set_ready(true);
                    tracing::info!(source = intake.name(), listen = %config.listen, "listening");
                    return Some((listener, Arc::new(shared)));
                }
                Err(error) => format!("cannot listen on {}: {error}", config.listen),
            },
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

/// Opens the port, or takes a copy of the one that systemd keeps open.
async fn bind(listen: &MqttListen) -> io::Result<TcpListener> {
    match listen {
        MqttListen::Address(address) => TcpListener::bind(address).await,
        MqttListen::Systemd(name) => TcpListener::from_std(activation::tcp_listener(name)?),
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
    let mut tells = shared.hub().handle_accepted(number);
    let met = meet(&shared, stream, &mut tells, &mut shutdown).await;
    match met {
        Some(Ok((stream, certified))) => {
            let counters = shared.intake.counters();
            counters.add(SourceCount::Connections, 1);
            // A future that owned it would hold it several times over.
            let mut connection = Box::new(Connection::new(shared.clone(), number, certified));
            connection.run(stream, peer, tells, shutdown).await;
            counters.subtract(SourceCount::Connections, 1);
        }
        Some(Err(error)) => turned_away(&shared.intake, peer, &error),
        None => {}
    }
    shared.hub().handle_ended(number);
}

/// Speaks TLS where that is wanted, and says whom the device's certificate names; `None` when the
/// connection is to end.
async fn meet(
    shared: &Shared,
    stream: TcpStream,
    tells: &mut mpsc::Receiver<Tell>,
    shutdown: &mut Shutdown,
) -> Option<Result<(Box<dyn Io>, Option<String>), HandshakeError>> {
    let Some(tls) = &shared.tls else {
        return Some(Ok((Box::new(stream), None)));
    };
    // On the heap for as long as it takes: a connection that stands does not need its room.
    let handshake = Box::pin(tls.accept(stream));
    tokio::select! {
        accepted = handshake => Some(accepted.map(|stream| {
            let certified = client_name(&stream);
            let stream: Box<dyn Io> = Box::new(stream);
            (stream, certified)
        })),
        // Nothing is told before CONNECT but that there is no room.
        _ = tells.recv() => None,
        () = ended(shutdown) => None,
    }
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

//! Syslog senders: listeners on ports and on sockets of this machine, each a task of its own.
//!
//! A listener that cannot be opened says why and tries again; the others do not notice. What a
//! message means is decided by `pipeline::decode::syslog`.

mod datagram;
mod limits;
mod local;
mod open;
mod places;
mod stream;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pipeline::clock::EARLIEST;
use pipeline::config::{SyslogConfig, SyslogListen};
use pipeline::decode::syslog::{self, SyslogZone};
use pipeline::record::{Fields, Value};
use pipeline::time::WallClock;
use tokio::task::JoinSet;

use crate::intake::{Intake, IntakeBatch, Shutdown};
use crate::telemetry::Refusal;
use limits::Limits;
use open::Kind;
use places::Places;

/// A batch is handed over when it is this large, or when nothing more is waiting.
const BATCH_BYTES: usize = 64 * 1024;

/// How long a stopping listener waits for a store that has no room.
const STOP_WAIT_MAX: Duration = Duration::from_secs(1);

/// How long a stopping listener waits to hear of what has arrived.
const LAST_LOOK: Duration = Duration::from_millis(10);

const BIND_RETRY_MIN: Duration = Duration::from_secs(1);
const BIND_RETRY_MAX: Duration = Duration::from_mins(1);

/// What all listeners of a source share.
#[derive(Debug)]
struct Shared {
    config: SyslogConfig,
    intake: Intake,
    zone: SyslogZone,
    limits: Option<Limits>,
    /// How many listeners do not listen yet.
    unready: AtomicUsize,
    /// What this machine calls itself.
    host: String,
    places: Arc<Places>,
}

/// Listens until shutdown.
pub(crate) async fn run(config: SyslogConfig, intake: Intake, shutdown: Shutdown) {
    let zone = SyslogZone::new(config.timezone.as_deref()).unwrap_or_else(|error| {
        tracing::error!(source = intake.name(), "{error}; using the machine's own");
        intake.counters().set_error(error.to_string());
        SyslogZone::new(None).unwrap_or(SyslogZone::utc())
    });
    let shared = Arc::new(Shared {
        places: Arc::new(Places::new(config.connections_max)),
        limits: config.rate_limit.map(Limits::new),
        unready: AtomicUsize::new(config.listen.len()),
        config,
        intake,
        zone,
        host: host_name(),
    });
    let mut listeners = JoinSet::new();
    for listen in &shared.config.listen {
        listeners.spawn(listen_on(
            listen.clone(),
            Arc::clone(&shared),
            shutdown.clone(),
        ));
    }
    while listeners.join_next().await.is_some() {}
}

fn host_name() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

async fn listen_on(listen: SyslogListen, shared: Arc<Shared>, mut shutdown: Shutdown) {
    let mut wait = BIND_RETRY_MIN;
    let mut failed = false;
    let sockets = loop {
        match open::open(&listen, &shared.config, &shared.intake) {
            Ok(sockets) => break sockets,
            Err(error) => {
                let text = open::explain(&listen, &error);
                if !failed {
                    tracing::error!(source = shared.intake.name(), "{text}");
                }
                shared.intake.counters().set_error(text);
                failed = true;
            }
        }
        tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(wait) => wait = (wait * 2).min(BIND_RETRY_MAX),
        }
    };
    if failed {
        shared.intake.counters().clear_error();
    }
    tracing::info!(source = shared.intake.name(), "listening on {listen}");
    if shared.unready.fetch_sub(1, Ordering::Relaxed) == 1 {
        shared.intake.counters().set_ready(true);
    }
    let mut tasks = JoinSet::new();
    for socket in sockets {
        let (shared, shutdown) = (Arc::clone(&shared), shutdown.clone());
        tasks.spawn(async move {
            match socket.kind {
                Kind::Datagram => datagram::receive(socket, &shared, shutdown).await,
                Kind::Stream | Kind::Secure => stream::accept(socket, &shared, shutdown).await,
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        if let Ok(Err(error)) = ended {
            let text = format!("{listen} failed: {error}");
            tracing::error!(source = shared.intake.name(), "{text}");
            shared.intake.counters().set_error(text);
        }
    }
}

impl Shared {
    /// Whether a datagram of `sender` is taken.
    fn takes(&self, sender: Sender) -> bool {
        let limits = self.limits.as_ref();
        limits.is_none_or(|limits| limits.takes(&self.intake, sender))
    }

    /// Lets a connection wait while its sender is over its limit, but not once everything is to
    /// end. What came before goes on in the meantime.
    async fn wait_for_limit(
        &self,
        sender: Sender,
        batch: &mut IntakeBatch,
        shutdown: &mut Shutdown,
    ) {
        let Some(limits) = &self.limits else { return };
        loop {
            let is_ending = *shutdown.borrow();
            let pause = limits.pause(&self.intake, sender);
            let Some(pause) = pause.filter(|_| !is_ending) else {
                return;
            };
            let before = std::mem::replace(batch, self.intake.batch());
            self.send(before, shutdown).await;
            tokio::select! {
                _ = shutdown.wait_for(|stop| *stop) => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Adds one message to `batch`; a blank one is nothing.
    fn push(&self, batch: &mut IntakeBatch, at: WallClock, message: &[u8], cut: bool, peer: &Peer) {
        let bytes_max = self.config.message_bytes_max.as_usize();
        let kept = message.get(..bytes_max).unwrap_or(message);
        let cut = cut || kept.len() < message.len();
        if cut {
            batch.count_cut();
        }
        if syslog::trim(kept).is_empty() {
            return;
        }
        // A year is guessed near it, and not near what a clock says that nobody has set.
        let near = at.max(EARLIEST);
        let mut record = match peer.sender {
            Sender::Address(_) => syslog::decode(near, kept, &self.zone),
            Sender::Process { .. } | Sender::Unknown => {
                syslog::decode_local(near, kept, &self.zone, &self.host)
            }
        };
        peer.sender.tell(&mut record.fields);
        if let Some(name) = &peer.certified {
            record.fields.insert("tls_peer", name.as_str());
        }
        if cut {
            record.fields.insert("truncated", Value::Bool(true));
        }
        batch.push(record, None);
    }

    /// Hands `batch` over and waits for room, but not for ever once everything is to end.
    async fn send(&self, batch: IntakeBatch, shutdown: &mut Shutdown) {
        let count = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        let too_late = async {
            // An error says that nobody can ask for a shutdown any more.
            drop(shutdown.wait_for(|stop| *stop).await);
            tokio::time::sleep(STOP_WAIT_MAX).await;
        };
        let sent = tokio::select! {
            biased;
            sent = self.intake.send(batch) => sent.is_ok(),
            () = too_late => false,
        };
        if !sent {
            self.intake.counters().refuse(Refusal::Store, count);
        }
    }
}

/// Who is at the other end.
#[derive(Debug)]
struct Peer {
    sender: Sender,
    /// The name in its certificate.
    certified: Option<String>,
}

impl From<Sender> for Peer {
    fn from(sender: Sender) -> Self {
        Self {
            sender,
            certified: None,
        }
    }
}

/// Who sent a message, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Sender {
    /// Somebody on the network.
    Address(IpAddr),
    /// A process of this machine, as the kernel says. One of another PID namespace has no number.
    Process { pid: Option<i32>, uid: u32 },
    /// A process of this machine.
    Unknown,
}

impl Sender {
    /// The one at `peer`; an IPv4 sender on an IPv6 listener is an IPv4 address.
    fn at(peer: SocketAddr) -> Self {
        Self::Address(peer.ip().to_canonical())
    }

    /// The one that a limit is about: a program that starts anew for each message is one sender.
    fn without_process(self) -> Self {
        match self {
            Self::Process { uid, .. } => Self::Process { pid: None, uid },
            Self::Address(_) | Self::Unknown => self,
        }
    }

    /// Adds what is known to the fields of a message.
    fn tell(&self, fields: &mut Fields) {
        match self {
            Self::Address(address) => fields.insert("peer", address.to_string()),
            Self::Process { pid, uid } => {
                if let Some(pid) = pid {
                    fields.insert("peer_pid", Value::Int((*pid).into()));
                }
                fields.insert("peer_uid", Value::Int((*uid).into()));
            }
            Self::Unknown => {}
        }
    }
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Process { uid, .. } => write!(f, "user {uid}"),
            Self::Unknown => write!(f, "this machine"),
        }
    }
}

#[cfg(test)]
mod tests;

//! Syslog senders: UDP and TCP listeners, each a task of its own.
//!
//! A listener that cannot be opened says why and tries again; the others do not notice. What a
//! message means is decided by `pipeline::decode::syslog`.

mod tcp;
mod udp;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use pipeline::config::{SyslogConfig, SyslogListen};
use pipeline::decode::syslog::{self, SyslogZone};
use pipeline::time::WallClock;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::intake::{Intake, IntakeBatch, Shutdown};
use crate::telemetry::SourceCount;

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
    connections: Arc<Semaphore>,
}

/// Listens until shutdown.
pub(crate) async fn run(config: SyslogConfig, intake: Intake, shutdown: Shutdown) {
    let zone = SyslogZone::new(config.timezone.as_deref()).unwrap_or_else(|error| {
        tracing::error!(source = intake.name(), "{error}; using the machine's own");
        intake.counters().set_error(error.to_string());
        SyslogZone::new(None).unwrap_or(SyslogZone::utc())
    });
    let shared = Arc::new(Shared {
        connections: Arc::new(Semaphore::new(
            config.connections_max.min(Semaphore::MAX_PERMITS),
        )),
        config,
        intake,
        zone,
    });
    let mut listeners = JoinSet::new();
    for listen in &shared.config.listen {
        listeners.spawn(listen_on(*listen, Arc::clone(&shared), shutdown.clone()));
    }
    while listeners.join_next().await.is_some() {}
}

async fn listen_on(listen: SyslogListen, shared: Arc<Shared>, mut shutdown: Shutdown) {
    let mut wait = BIND_RETRY_MIN;
    let mut failed = false;
    let socket = loop {
        match bind(listen, &shared.config) {
            Ok(socket) => break socket,
            Err(error) => {
                let text = explain(listen, &error);
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
    tracing::info!(
        source = shared.intake.name(),
        "listening on {}",
        Url(listen)
    );
    let ended = match listen {
        SyslogListen::Udp(_) => udp::receive(socket, &shared, shutdown).await,
        SyslogListen::Tcp(_) => tcp::accept(socket, &shared, shutdown).await,
    };
    if let Err(error) = ended {
        let text = format!("{} failed: {error}", Url(listen));
        tracing::error!(source = shared.intake.name(), "{text}");
        shared.intake.counters().set_error(text);
    }
}

fn bind(listen: SyslogListen, config: &SyslogConfig) -> io::Result<Socket> {
    let (address, kind, protocol) = match listen {
        SyslogListen::Udp(address) => (address, Type::DGRAM, Protocol::UDP),
        SyslogListen::Tcp(address) => (address, Type::STREAM, Protocol::TCP),
    };
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        // `[::]` takes IPv4 as well, unless a listener of its own was asked for.
        let has_ipv4 = config.listen.iter().any(|other| match (listen, other) {
            (SyslogListen::Udp(_), SyslogListen::Udp(other))
            | (SyslogListen::Tcp(_), SyslogListen::Tcp(other)) => {
                other.is_ipv4() && other.port() == address.port()
            }
            (SyslogListen::Udp(_), SyslogListen::Tcp(_))
            | (SyslogListen::Tcp(_), SyslogListen::Udp(_)) => false,
        });
        socket.set_only_v6(has_ipv4)?;
    }
    socket.set_nonblocking(true)?;
    match listen {
        SyslogListen::Udp(_) => {
            udp::set_receive_buffer(&socket, config.receive_buffer.as_usize());
            socket.bind(&address.into())?;
        }
        SyslogListen::Tcp(_) => {
            socket.set_reuse_address(true)?;
            socket.bind(&address.into())?;
            socket.listen(TCP_BACKLOG)?;
        }
    }
    Ok(socket)
}

const TCP_BACKLOG: i32 = 128;

/// Why it does not listen, and what to do about it.
fn explain(listen: SyslogListen, error: &io::Error) -> String {
    let kind = error.kind();
    let advice = if kind == io::ErrorKind::PermissionDenied {
        ": ports below 1024 need a right; give it with AmbientCapabilities=CAP_NET_BIND_SERVICE \
         in the unit or `setcap cap_net_bind_service=+ep` on the binary, or take another port"
    } else if kind == io::ErrorKind::AddrInUse {
        ": another program has this port; `ss -lnptu` shows which, often it is rsyslogd"
    } else if kind == io::ErrorKind::AddrNotAvailable {
        ": no interface of this machine has that address yet"
    } else {
        ""
    };
    format!(
        "cannot listen on {}: {error}{advice}; trying again",
        Url(listen)
    )
}

/// A listener as it is written in the configuration.
struct Url(SyslogListen);

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            SyslogListen::Udp(address) => write!(f, "udp://{address}"),
            SyslogListen::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

impl Shared {
    /// Adds one message to `batch`; a blank one is nothing.
    fn push(&self, batch: &mut IntakeBatch, at: WallClock, message: &[u8], cut: bool, peer: &str) {
        let bytes_max = self.config.message_bytes_max.as_usize();
        let kept = message.get(..bytes_max).unwrap_or(message);
        if cut || kept.len() < message.len() {
            batch.count_cut();
        }
        if syslog::trim(kept).is_empty() {
            return;
        }
        let mut record = syslog::decode(at, kept, &self.zone);
        record.fields.insert("peer", peer);
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
            self.intake.counters().add(SourceCount::Refused, count);
        }
    }
}

/// A sender's address as it is written; an IPv4 sender on an IPv6 listener is an IPv4 address.
fn peer_text(peer: SocketAddr) -> String {
    let address: IpAddr = peer.ip().to_canonical();
    address.to_string()
}

#[cfg(test)]
mod tests;

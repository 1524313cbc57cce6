//! Connections, each a task of its own. A store that is busy stops the reading, and the kernel stops
//! the sender. What a connection holds is bounded by one message and one read.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use pipeline::decode::syslog::Framer;
use socket2::{SockRef, Socket, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::JoinSet;

use super::limits::Seldom;
use super::open::Open;
use super::{BATCH_BYTES, LAST_LOOK, Sender, Shared};
use crate::intake::Shutdown;
use crate::telemetry::{Refusal, SourceCount};

/// One read; lives only while a connection has something to say.
const READ_BYTES: usize = 32 * 1024;

/// So many reads at the end of the agent before a sender that never pauses is left.
const LAST_READS_MAX: usize = 64;

/// A sender that vanished without a word is noticed after about two minutes.
const KEEP_ALIVE_TIME: Duration = Duration::from_mins(1);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);

/// How long to wait when the system has no descriptors or memory for a connection.
const ACCEPT_RETRY: Duration = Duration::from_secs(1);

/// A socket that connections come from.
enum Listener {
    Network(TcpListener),
    Local(UnixListener),
}

impl Listener {
    fn new(socket: Socket, is_local: bool) -> io::Result<Self> {
        if is_local {
            UnixListener::from_std(socket.into()).map(Self::Local)
        } else {
            TcpListener::from_std(socket.into()).map(Self::Network)
        }
    }

    async fn accept(&self) -> io::Result<(Stream, Sender)> {
        match self {
            Self::Network(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok((Stream::Tcp(stream), Sender::at(peer)))
            }
            Self::Local(listener) => {
                let (stream, _) = listener.accept().await?;
                let sender = stream.peer_cred().map_or(Sender::Unknown, |of| {
                    let (pid, uid) = (of.pid(), of.uid());
                    Sender::Process { pid, uid }
                });
                Ok((Stream::Unix(stream), sender))
            }
        }
    }
}

/// A connection.
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    fn keep_alive(&self) -> io::Result<()> {
        let Self::Tcp(stream) = self else {
            return Ok(());
        };
        let keep_alive = TcpKeepalive::new()
            .with_time(KEEP_ALIVE_TIME)
            .with_interval(KEEP_ALIVE_INTERVAL);
        SockRef::from(stream).set_tcp_keepalive(&keep_alive)
    }

    async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.readable().await,
            Self::Unix(stream) => stream.readable().await,
        }
    }

    fn try_read(&self, chunk: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_read(chunk),
            Self::Unix(stream) => stream.try_read(chunk),
        }
    }
}

pub(super) async fn accept(
    open: Open,
    shared: &Arc<Shared>,
    mut shutdown: Shutdown,
) -> io::Result<()> {
    let Open {
        socket, is_local, ..
    } = open;
    let listener = Listener::new(socket, is_local)?;
    let mut connections = JoinSet::new();
    let mut told = Seldom::default();
    loop {
        let accepted = tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let (stream, sender) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(source = shared.intake.name(), "cannot accept: {error}");
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&shared.connections).try_acquire_owned() else {
            shared.intake.counters().refuse(Refusal::Connections, 1);
            if told.may_tell(shared.intake.clock().monotonic()) {
                tracing::warn!(
                    source = shared.intake.name(),
                    "turned {sender} away: connections_max is {}",
                    shared.config.connections_max
                );
            }
            continue;
        };
        let shared = Arc::clone(shared);
        let shutdown = shutdown.clone();
        connections.spawn(async move {
            let counters = shared.intake.counters();
            counters.add(SourceCount::Connections, 1);
            if let Err(error) = receive(&stream, &sender, &shared, shutdown).await {
                tracing::debug!(source = shared.intake.name(), "{sender}: {error}");
            }
            counters.subtract(SourceCount::Connections, 1);
            drop(permit);
        });
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
    Ok(())
}

async fn receive(
    stream: &Stream,
    sender: &Sender,
    shared: &Shared,
    mut shutdown: Shutdown,
) -> io::Result<()> {
    stream.keep_alive()?;
    let mut framer = Framer::new(shared.config.message_bytes_max.as_usize());
    let ended = loop {
        let ready = tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => break Ok(()),
            ready = tokio::time::timeout(shared.config.idle_max, stream.readable()) => ready,
        };
        let read = match ready {
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
            Ok(Err(error)) => Err(error),
            Ok(Ok(())) => read_once(stream, sender, shared, &mut framer, &mut shutdown).await,
        };
        match read {
            Ok(0) => break Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => break Err(error),
        }
    };
    if *shutdown.borrow() {
        // The sender believes that what the kernel holds has arrived.
        drop(tokio::time::timeout(LAST_LOOK, stream.readable()).await);
        for _ in 0..LAST_READS_MAX {
            match read_once(stream, sender, shared, &mut framer, &mut shutdown).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
    }
    let mut batch = shared.intake.batch();
    if let Some(message) = framer.handle_end() {
        let at = shared.intake.clock().wall();
        shared.push(&mut batch, at, message.bytes, message.cut, sender);
    }
    shared.send(batch, &mut shutdown).await;
    ended
}

/// Reads once and hands over what became complete; 0 is the end of the stream.
async fn read_once(
    stream: &Stream,
    sender: &Sender,
    shared: &Shared,
    framer: &mut Framer,
    shutdown: &mut Shutdown,
) -> io::Result<usize> {
    let mut chunk = vec![0; READ_BYTES];
    let len = stream.try_read(&mut chunk)?;
    framer.handle_bytes(chunk.get(..len).unwrap_or_default());
    drop(chunk);
    let at = shared.intake.clock().wall();
    let mut batch = shared.intake.batch();
    while let Some(message) = framer.poll_message() {
        shared.wait_for_limit(*sender, &mut batch, shutdown).await;
        shared.push(&mut batch, at, message.bytes, message.cut, sender);
        if batch.len_bytes() >= BATCH_BYTES {
            shared.send(batch, shutdown).await;
            batch = shared.intake.batch();
        }
    }
    framer.release();
    if !batch.is_empty() {
        shared.send(batch, shutdown).await;
    }
    Ok(len)
}

//! Connections, each a task of its own. A store that is busy stops the reading, and the kernel stops
//! the sender. What a connection holds is bounded by one message and one read.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use pipeline::decode::syslog::Framer;
use rustix::net::sockopt;
use socket2::{SockRef, Socket, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio_rustls::server::TlsStream;

use super::limits::Seldom;
use super::open::Open;
use super::places::{Entered, Place};
use super::{BATCH_BYTES, LAST_LOOK, Peer, Sender, Shared};
use crate::intake::Shutdown;
use crate::telemetry::{Refusal, SourceCount};
use crate::tls::server::{HandshakeError, TlsServer, client_name};

/// One read; lives only while a connection has something to say.
const READ_BYTES: usize = 32 * 1024;

/// So many reads at the end of the agent before a sender that never pauses is left.
const LAST_READS_MAX: usize = 64;

/// A sender that vanished without a word is noticed after about two minutes.
const KEEP_ALIVE_TIME: Duration = Duration::from_mins(1);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEP_ALIVE_PROBES: u32 = 3;

/// How long the end of a connection may take to be said.
const FAREWELL_MAX: Duration = Duration::from_millis(100);

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
                    let (pid, uid) = (of.pid().filter(|pid| *pid > 0), of.uid());
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
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    fn keep_alive(&self) -> io::Result<()> {
        let stream = match self {
            Self::Tcp(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
            Self::Unix(_) => return Ok(()),
        };
        let keep_alive = TcpKeepalive::new()
            .with_time(KEEP_ALIVE_TIME)
            .with_interval(KEEP_ALIVE_INTERVAL);
        SockRef::from(stream).set_tcp_keepalive(&keep_alive)?;
        sockopt::set_tcp_keepcnt(stream, KEEP_ALIVE_PROBES)?;
        Ok(())
    }

    async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.readable().await,
            Self::Unix(stream) => stream.readable().await,
            Self::Tls(stream) => stream.get_ref().0.readable().await,
        }
    }

    /// Reads what is there. TLS may hold more than the socket shows: only after it had nothing is
    /// there a reason to wait.
    async fn try_read(&mut self, chunk: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_read(chunk),
            Self::Unix(stream) => stream.try_read(chunk),
            Self::Tls(stream) => {
                poll_fn(|context| {
                    let mut buffer = ReadBuf::new(chunk);
                    let polled = Pin::new(stream.as_mut()).poll_read(context, &mut buffer);
                    Poll::Ready(match polled {
                        Poll::Ready(read) => read.map(|()| buffer.filled().len()),
                        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
                    })
                })
                .await
            }
        }
    }

    /// Says goodbye where the protocol has a word for it.
    async fn close(&mut self) {
        if let Self::Tls(stream) = self {
            // A sender that does not listen needs no farewell.
            drop(tokio::time::timeout(FAREWELL_MAX, stream.shutdown()).await);
        }
    }
}

pub(super) async fn accept(
    open: Open,
    shared: &Arc<Shared>,
    mut shutdown: Shutdown,
) -> io::Result<()> {
    let Open {
        socket,
        is_local,
        tls,
        ..
    } = open;
    let listener = Listener::new(socket, is_local)?;
    let tls = tls.map(Arc::new);
    let doors = Arc::new(Mutex::new(Seldom::default()));
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
        let entered = shared.places.enter();
        if entered.as_ref().is_none_or(|entered| entered.made_room) {
            shared.intake.counters().refuse(Refusal::Connections, 1);
            if told.may_tell(shared.intake.clock().monotonic()) {
                let what = match entered {
                    Some(_) => format!("one that had sent nothing made room for {sender}"),
                    None => format!("turned {sender} away"),
                };
                let limit = shared.config.connections_max;
                tracing::warn!(
                    source = shared.intake.name(),
                    "{what}: connections_max is {limit}"
                );
            }
        }
        let Some(Entered { place, lost, .. }) = entered else {
            continue;
        };
        let shared = Arc::clone(shared);
        let shutdown = shutdown.clone();
        let (tls, doors) = (tls.clone(), Arc::clone(&doors));
        connections.spawn(async move {
            let counters = shared.intake.counters();
            counters.add(SourceCount::Connections, 1);
            tokio::select! {
                () = serve((stream, sender), tls.as_deref(), &doors, &shared, place, shutdown) => {}
                // Nothing of it is on its way: it has sent nothing, and keeps its place if it does.
                _ = lost => {}
            }
            counters.subtract(SourceCount::Connections, 1);
        });
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
    Ok(())
}

/// Serves a connection to its end.
async fn serve(
    (stream, sender): (Stream, Sender),
    tls: Option<&TlsServer>,
    doors: &Mutex<Seldom>,
    shared: &Shared,
    mut place: Place,
    shutdown: Shutdown,
) {
    match enter(stream, sender, tls, shutdown.clone()).await {
        Some(Ok((stream, peer))) => {
            if let Err(error) = receive(stream, &peer, shared, &mut place, shutdown).await {
                tracing::debug!(source = shared.intake.name(), "{sender}: {error}");
            }
        }
        Some(Err(error)) => {
            shared.intake.counters().refuse(Refusal::Tls, 1);
            let mut told = doors.lock().unwrap_or_else(PoisonError::into_inner);
            if told.may_tell(shared.intake.clock().monotonic()) {
                tracing::warn!(source = shared.intake.name(), "{sender}: {error}");
            }
        }
        None => {}
    }
}

/// Makes the handshake where there is TLS; `None` when everything ends meanwhile.
async fn enter(
    stream: Stream,
    sender: Sender,
    tls: Option<&TlsServer>,
    mut shutdown: Shutdown,
) -> Option<Result<(Stream, Peer), HandshakeError>> {
    let (tls, stream) = match (tls, stream) {
        (Some(tls), Stream::Tcp(stream)) => (tls, stream),
        (_, stream) => return Some(Ok((stream, sender.into()))),
    };
    let accepted = tokio::select! {
        accepted = tls.accept(stream) => accepted,
        _ = shutdown.wait_for(|stop| *stop) => return None,
    };
    Some(accepted.map(|stream| {
        let certified = client_name(&stream);
        (Stream::Tls(Box::new(stream)), Peer { sender, certified })
    }))
}

async fn receive(
    mut stream: Stream,
    peer: &Peer,
    shared: &Shared,
    place: &mut Place,
    mut shutdown: Shutdown,
) -> io::Result<()> {
    stream.keep_alive()?;
    let mut framer = Framer::new(shared.config.message_bytes_max.as_usize());
    // What came in one packet with the end of the handshake is in the session already.
    let mut has_more = matches!(stream, Stream::Tls(_));
    let ended = loop {
        let ready = tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => break Ok(()),
            () = tokio::task::yield_now(), if has_more => Ok(Ok(())),
            ready = tokio::time::timeout(shared.config.idle_max, stream.readable()) => ready,
        };
        let read = match ready {
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
            Ok(Err(error)) => Err(error),
            Ok(Ok(())) => {
                let mut means = (&mut framer, &mut *place, &mut shutdown);
                read_once(&mut stream, peer, shared, &mut means).await
            }
        };
        match read {
            Ok(0) => break Ok(()),
            Ok(_) => has_more = matches!(stream, Stream::Tls(_)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => has_more = false,
            Err(error) => break Err(error),
        }
    };
    if *shutdown.borrow() {
        // The sender believes that what the kernel holds has arrived.
        drop(tokio::time::timeout(LAST_LOOK, stream.readable()).await);
        for _ in 0..LAST_READS_MAX {
            let mut means = (&mut framer, &mut *place, &mut shutdown);
            match read_once(&mut stream, peer, shared, &mut means).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
    }
    let mut batch = shared.intake.batch();
    if let Some(message) = framer.handle_end() {
        let at = shared.intake.clock().wall();
        shared.push(&mut batch, at, message.bytes, message.cut, peer);
    }
    shared.send(batch, &mut shutdown).await;
    stream.close().await;
    ended
}

/// Reads once and hands over what became complete; 0 is the end of the stream.
async fn read_once(
    stream: &mut Stream,
    peer: &Peer,
    shared: &Shared,
    (framer, place, shutdown): &mut (&mut Framer, &mut Place, &mut Shutdown),
) -> io::Result<usize> {
    let mut chunk = vec![0; READ_BYTES];
    let len = stream.try_read(&mut chunk).await?;
    if len > 0 && !place.keep() {
        return Err(io::ErrorKind::ConnectionAborted.into());
    }
    framer.handle_bytes(chunk.get(..len).unwrap_or_default());
    drop(chunk);
    let at = shared.intake.clock().wall();
    let mut batch = shared.intake.batch();
    while let Some(message) = framer.poll_message() {
        shared
            .wait_for_limit(peer.sender, &mut batch, shutdown)
            .await;
        shared.push(&mut batch, at, message.bytes, message.cut, peer);
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

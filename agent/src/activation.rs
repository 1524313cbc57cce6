//! Sockets that the service manager opened for this process, as `sd_listen_fds(3)` describes.
//!
//! They are taken over once, before anything else is opened, and stay open until the end: a source
//! that uses one gets a copy, so that it can be restarted while senders notice nothing.

use std::env;
use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;

use listenfd::ListenFd;
use rustix::net::sockopt;
use socket2::{Domain, Socket, Type};

/// What was passed, with the names given by `FileDescriptorName=`.
static PASSED: OnceLock<Vec<(String, Socket)>> = OnceLock::new();

/// A socket without a name of its own.
const UNNAMED: &str = "unknown";

/// Takes over what was passed, and says in words what could not be used. To be called while the
/// process has one thread.
pub(crate) fn take() -> Vec<String> {
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut fds = ListenFd::from_env();
    let (mut passed, mut problems) = (Vec::new(), Vec::new());
    for index in 0..fds.len() {
        let name = names.next().filter(|name| !name.is_empty());
        let name = name.unwrap_or(UNNAMED).to_owned();
        match take_one(&mut fds, index) {
            Ok(socket) => passed.push((name, socket)),
            Err(error) => problems.push(format!(
                "socket {} ({name}) that the service manager passed cannot be used: {error}",
                index + 1
            )),
        }
    }
    if PASSED.set(passed).is_err() {
        problems.push("passed sockets were taken over already".to_owned());
    }
    problems
}

/// Names of what was passed.
fn names() -> impl Iterator<Item = &'static str> {
    PASSED
        .get()
        .into_iter()
        .flatten()
        .map(|(name, _)| name.as_str())
}

/// Copies of all sockets that were passed under `name`; an error that says what to do if there is
/// none.
pub(crate) fn named(name: &str) -> io::Result<Vec<Socket>> {
    let passed = PASSED.get().into_iter().flatten();
    let sockets: Vec<Socket> = passed
        .filter(|(known, _)| known == name)
        .map(|(_, socket)| socket.try_clone())
        .collect::<io::Result<_>>()?;
    if !sockets.is_empty() {
        return Ok(sockets);
    }
    let names: Vec<&str> = names().collect();
    let what = if names.is_empty() {
        "the service manager passed no socket: enable the socket unit that has FileDescriptorName= \
         and Service=hydrant.service, and restart hydrant"
            .to_owned()
    } else {
        format!(
            "the service manager passed no socket of this name, but {}",
            names.join(", ")
        )
    };
    Err(io::Error::new(io::ErrorKind::NotFound, what))
}

/// The one socket that was passed under `name`, which listens on a port.
pub(crate) fn tcp_listener(name: &str) -> io::Result<TcpListener> {
    let mut sockets = named(name)?;
    let wrong = |what: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    let (Some(socket), true) = (sockets.pop(), sockets.is_empty()) else {
        return wrong("several sockets have this name; write one ListenStream= in its unit");
    };
    if socket.r#type()? != Type::STREAM || socket.local_addr()?.domain() == Domain::UNIX {
        return wrong("it is no port of TCP; write ListenStream=1883 in its unit");
    }
    Ok(OwnedFd::from(socket).into())
}

fn take_one(fds: &mut ListenFd, index: usize) -> io::Result<Socket> {
    // Each call looks at the socket and leaves one of another kind in its place.
    let taken: Option<OwnedFd> = if let Ok(socket) = fds.take_udp_socket(index) {
        socket.map(Into::into)
    } else if let Ok(socket) = fds.take_unix_datagram(index) {
        socket.map(Into::into)
    } else if let Ok(socket) = fds.take_tcp_listener(index) {
        socket.map(Into::into)
    } else if let Ok(socket) = fds.take_unix_listener(index) {
        socket.map(Into::into)
    } else {
        let what = "it is neither a stream nor a datagram socket; write ListenStream= or \
                    ListenDatagram=";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    };
    let socket = Socket::from(taken.ok_or(io::ErrorKind::NotFound)?);
    if socket.r#type()? == Type::STREAM && !sockopt::socket_acceptconn(&socket)? {
        let what = "it is a connection; write Accept=no in its unit";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

//! From a place to listen to sockets, and why that failed.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::Path;

use pipeline::config::{SyslogConfig, SyslogListen};
use rustix::net::sockopt;
use socket2::{Domain, Protocol, Socket, Type};

use super::local::{self, Place};
use crate::activation;
use crate::intake::Intake;
use crate::tls::server::TlsServer;

/// How many senders may wait for a connection; the kernel takes no more than `somaxconn`.
const BACKLOG: i32 = 1024;

/// A socket that listens.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) socket: Socket,
    pub(super) kind: Kind,
    /// Whether its senders are processes of this machine.
    pub(super) is_local: bool,
    /// What a secure one shows.
    pub(super) tls: Option<TlsServer>,
    /// Removes its path at the end.
    pub(super) _place: Option<Place>,
}

/// How messages arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Datagram,
    Stream,
    /// On connections with TLS.
    Secure,
}

impl Open {
    fn network(socket: Socket, kind: Kind) -> Self {
        Self {
            socket,
            kind,
            is_local: false,
            tls: None,
            _place: None,
        }
    }

    fn local(path: &Path, kind: Kind, config: &SyslogConfig) -> io::Result<Self> {
        let socket_type = match kind {
            Kind::Datagram => Type::DGRAM,
            Kind::Stream | Kind::Secure => Type::STREAM,
        };
        let (socket, place) = local::bind(path, socket_type, config)?;
        Ok(Self {
            socket,
            kind,
            is_local: true,
            tls: None,
            _place: Some(place),
        })
    }
}

/// The sockets of `listen`: one, or as many as the service manager passed.
pub(super) fn open(
    listen: &SyslogListen,
    config: &SyslogConfig,
    intake: &Intake,
) -> io::Result<Vec<Open>> {
    let open = match listen {
        SyslogListen::Udp(address) => {
            let socket = bind(*address, Type::DGRAM, Protocol::UDP, config)?;
            Open::network(socket, Kind::Datagram)
        }
        SyslogListen::Tcp(address) => {
            let socket = bind(*address, Type::STREAM, Protocol::TCP, config)?;
            Open::network(socket, Kind::Stream)
        }
        SyslogListen::Tls(address) => {
            let tls = config.tls.as_ref().map(|tls| {
                TlsServer::new(intake.name(), tls, *intake.clock())
                    .map_err(|error| io::Error::other(format!("tls: {error}")))
            });
            let socket = bind(*address, Type::STREAM, Protocol::TCP, config)?;
            Open {
                tls: tls.transpose()?,
                ..Open::network(socket, Kind::Secure)
            }
        }
        SyslogListen::Unix(path) => Open::local(path, Kind::Stream, config)?,
        SyslogListen::UnixDatagram(path) => Open::local(path, Kind::Datagram, config)?,
        SyslogListen::Systemd(name) => return passed(name, config),
    };
    Ok(vec![open])
}

fn passed(name: &str, config: &SyslogConfig) -> io::Result<Vec<Open>> {
    let sockets = activation::named(name)?;
    let open = sockets.into_iter().map(|socket| {
        let is_local = socket.local_addr()?.domain() == Domain::UNIX;
        let kind = match socket.r#type()? {
            Type::DGRAM => Kind::Datagram,
            _ => Kind::Stream,
        };
        match (kind, is_local) {
            (Kind::Datagram, true) => local::ask_for_credentials(&socket),
            (Kind::Datagram, false) => {
                set_receive_buffer(&socket, config.receive_buffer.as_usize());
            }
            (Kind::Stream | Kind::Secure, _) => {}
        }
        Ok(Open {
            kind,
            is_local,
            socket,
            tls: None,
            _place: None,
        })
    });
    open.collect()
}

fn bind(
    address: SocketAddr,
    kind: Type,
    protocol: Protocol,
    config: &SyslogConfig,
) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        // `[::]` takes IPv4 as well, unless a listener of its own was asked for.
        let has_ipv4 = config.listen.iter().any(|other| {
            let other = match other {
                SyslogListen::Udp(other) if kind == Type::DGRAM => other,
                SyslogListen::Tcp(other) | SyslogListen::Tls(other) if kind == Type::STREAM => {
                    other
                }
                SyslogListen::Udp(_)
                | SyslogListen::Tcp(_)
                | SyslogListen::Tls(_)
                | SyslogListen::Unix(_)
                | SyslogListen::UnixDatagram(_)
                | SyslogListen::Systemd(_) => return false,
            };
            other.is_ipv4() && other.port() == address.port()
        });
        socket.set_only_v6(has_ipv4)?;
    }
    socket.set_nonblocking(true)?;
    if kind == Type::STREAM {
        socket.set_reuse_address(true)?;
    } else {
        // Before anything can arrive.
        set_receive_buffer(&socket, config.receive_buffer.as_usize());
    }
    socket.bind(&address.into())?;
    if kind == Type::STREAM {
        socket.listen(BACKLOG)?;
    }
    Ok(socket)
}

/// Asks for a buffer beyond the limit of the system, and takes what is given.
fn set_receive_buffer(socket: &Socket, bytes: usize) {
    if sockopt::set_socket_recv_buffer_size_force(socket.as_fd(), bytes).is_ok() {
        return;
    }
    // The kernel reports twice what it was asked for; room for its own bookkeeping. A socket unit
    // may have been given more.
    if socket.recv_buffer_size().unwrap_or(0) / 2 >= bytes {
        return;
    }
    drop(socket.set_recv_buffer_size(bytes));
    let given = socket.recv_buffer_size().unwrap_or(0) / 2;
    if given < bytes {
        tracing::warn!(
            "the kernel gives {given} of {bytes} bytes for the receive buffer: raise \
             net.core.rmem_max (`sysctl -w net.core.rmem_max={bytes}`) or grant CAP_NET_ADMIN"
        );
    }
}

/// Why it does not listen, and what to do about it.
pub(super) fn explain(listen: &SyslogListen, error: &io::Error) -> String {
    let is_local = matches!(
        listen,
        SyslogListen::Unix(_) | SyslogListen::UnixDatagram(_)
    );
    let advice = match (error.kind(), is_local) {
        (io::ErrorKind::PermissionDenied, true) => {
            ": the agent may not write in that folder, or give the socket away; choose one below \
             /run/hydrant, or let a socket unit make it"
        }
        (io::ErrorKind::PermissionDenied, false) => {
            ": ports below 1024 need a right; give it with \
             AmbientCapabilities=CAP_NET_BIND_SERVICE in the unit or `setcap \
             cap_net_bind_service=+ep` on the binary, or take another port"
        }
        (io::ErrorKind::AddrInUse, true) => {
            ": another program listens there; `ss -lxp` shows which, often it is \
             systemd-journald or rsyslogd"
        }
        (io::ErrorKind::AddrInUse, false) => {
            ": another program has this port; `ss -lnptu` shows which, often it is rsyslogd"
        }
        (io::ErrorKind::AddrNotAvailable, _) => {
            ": no interface of this machine has that address yet"
        }
        _ => "",
    };
    format!("cannot listen on {listen}: {error}{advice}; trying again")
}

//! Datagrams. The kernel's socket buffer is the queue in front of a store that is busy; what the
//! kernel throws away is read from its own statistics and counted.
//!
//! On a socket of this machine the kernel throws nothing away: it makes the senders wait, and every
//! program that logs is one. So the store is given only a moment there; then what came is refused
//! and counted, and the machine goes on.

use std::hint::black_box;
use std::io;
use std::mem::MaybeUninit;
use std::time::Duration;

use pipeline::time::Monotonic;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use socket2::Socket;
use tokio::io::Interest;
use tokio::net::{UdpSocket, UnixDatagram};

use super::limits::Seldom;
use super::open::Open;
use super::{BATCH_BYTES, LAST_LOOK, Sender, Shared};
use crate::intake::{IntakeBatch, Shutdown};
use crate::telemetry::Refusal;

/// Who sent what was in the socket before credentials were asked for.
const NOBODY: u32 = 65_534;

/// So many datagrams are taken before other tasks have their turn.
const DATAGRAMS_PER_TURN: usize = 512;

/// How often the kernel's statistics are read while datagrams come.
const DROPS_INTERVAL: Duration = Duration::from_secs(5);

/// How long a store without room holds up the programs of this machine, for each turn.
const LOCAL_WAIT_MAX: Duration = Duration::from_secs(1);

pub(super) async fn receive(open: Open, shared: &Shared, mut shutdown: Shutdown) -> io::Result<()> {
    let config = &shared.config;
    let socket = Datagrams::new(open.socket, open.is_local)?;
    let mut drops = Drops::of(&socket);
    let mut told = Seldom::default();
    // One byte more than is taken tells that there was more.
    let mut buffer = vec![0; config.message_bytes_max.as_usize().saturating_add(1)];
    loop {
        let stopping = tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => true,
            ready = socket.readable() => {
                ready?;
                false
            }
            () = tokio::time::sleep(DROPS_INTERVAL), if drops.is_due => false,
        };
        if stopping {
            // What the kernel holds at the end is taken as well, once it is known of.
            drop(tokio::time::timeout(LAST_LOOK, socket.readable()).await);
        }
        loop {
            let (turn, batch) = take_turn(&socket, shared, &mut buffer);
            match &socket {
                Datagrams::Network(_) => shared.send(batch, &mut shutdown).await,
                Datagrams::Local(_) => send_soon(shared, batch, &mut shutdown, &mut told).await,
            }
            if turn == Turn::Empty {
                break;
            }
            tokio::task::yield_now().await;
        }
        drops.look(shared, stopping);
        if stopping {
            return Ok(());
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    More,
    Empty,
}

/// Takes what waits, but not for ever.
fn take_turn(socket: &Datagrams, shared: &Shared, buffer: &mut [u8]) -> (Turn, IntakeBatch) {
    let at = shared.intake.clock().wall();
    let mut batch = shared.intake.batch();
    let mut turn = Turn::More;
    for _ in 0..DATAGRAMS_PER_TURN {
        match socket.try_receive(buffer) {
            Ok((_, sender)) if !shared.takes(sender) => {}
            Ok((len, sender)) => {
                let datagram = buffer.get(..len).unwrap_or_default();
                shared.push(&mut batch, at, datagram, false, &sender.into());
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                turn = Turn::Empty;
                break;
            }
            // An ICMP answer to somebody else's datagram: the socket is as good as before.
            Err(error) => tracing::debug!(source = shared.intake.name(), "{error}"),
        }
        if batch.len_bytes() >= BATCH_BYTES {
            break;
        }
    }
    if let Some(limits) = &shared.limits {
        limits.settle(&shared.intake);
    }
    (turn, batch)
}

/// Hands `batch` over, or refuses it when the store has no room for a while.
async fn send_soon(
    shared: &Shared,
    batch: IntakeBatch,
    shutdown: &mut Shutdown,
    told: &mut Seldom,
) {
    let count = u64::try_from(batch.len()).unwrap_or(u64::MAX);
    let sent = tokio::time::timeout(LOCAL_WAIT_MAX, shared.send(batch, shutdown)).await;
    if sent.is_ok() {
        return;
    }
    shared.intake.counters().refuse(Refusal::Store, count);
    if told.may_tell(shared.intake.clock().monotonic()) {
        tracing::warn!(
            source = shared.intake.name(),
            "messages of this machine are refused, {count} at first: the store has no room, and \
             programs that log must not wait for it"
        );
    }
}

/// A socket that datagrams come from.
enum Datagrams {
    Network(UdpSocket),
    Local(UnixDatagram),
}

impl Datagrams {
    fn new(socket: Socket, is_local: bool) -> io::Result<Self> {
        if !is_local {
            return UdpSocket::from_std(socket.into()).map(Self::Network);
        }
        UnixDatagram::from_std(socket.into()).map(Self::Local)
    }

    async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Network(socket) => socket.readable().await,
            Self::Local(socket) => socket.readable().await,
        }
    }

    /// The length of the next datagram, as far as it fits, and its sender.
    fn try_receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Sender)> {
        match self {
            Self::Network(socket) => {
                let (len, peer) = socket.try_recv_from(buffer)?;
                Ok((len, Sender::at(peer)))
            }
            Self::Local(socket) => {
                socket.try_io(Interest::READABLE, || receive_local(socket, buffer))
            }
        }
    }
}

fn receive_local(socket: &UnixDatagram, buffer: &mut [u8]) -> io::Result<(usize, Sender)> {
    // There is no room for descriptors: the kernel closes those that somebody sends along.
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut buffers = [io::IoSliceMut::new(buffer)];
    let got = recvmsg(socket, &mut buffers, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let sender = control.drain().find_map(|message| {
        let RecvAncillaryMessage::ScmCredentials(of) = message else {
            return None;
        };
        // The kernel says 0 of a process that it cannot name here, which the type of the crate does
        // not know: nothing may be concluded from it before it is a plain number.
        let pid = Some(black_box(of.pid.as_raw_pid())).filter(|pid| *pid > 0);
        let uid = of.uid.as_raw();
        let is_known = pid.is_some() || uid != NOBODY;
        is_known.then_some(Sender::Process { pid, uid })
    });
    Ok((got.bytes, sender.unwrap_or(Sender::Unknown)))
}

/// What the kernel has thrown away for want of room in the socket's buffer.
struct Drops {
    inode: Option<u64>,
    table: &'static str,
    counted: u64,
    looked_at: Monotonic,
    /// Whether something came since the last look.
    is_due: bool,
}

impl Drops {
    fn of(socket: &Datagrams) -> Self {
        let (is_ipv6, inode) = match socket {
            Datagrams::Network(socket) => (
                socket.local_addr().is_ok_and(|address| address.is_ipv6()),
                rustix::fs::fstat(socket).ok().map(|stat| stat.st_ino),
            ),
            Datagrams::Local(_) => (false, None),
        };
        // Not /proc/net, which the service cannot see (`ProcSubset=pid`).
        let table = if is_ipv6 {
            "/proc/self/net/udp6"
        } else {
            "/proc/self/net/udp"
        };
        Self {
            inode,
            table,
            // A socket that was passed may have been there for long.
            counted: inode.and_then(|inode| drops_of(table, inode)).unwrap_or(0),
            looked_at: Monotonic::default(),
            is_due: false,
        }
    }

    fn look(&mut self, shared: &Shared, stopping: bool) {
        let now = shared.intake.clock().monotonic();
        let Some(inode) = self.inode else { return };
        self.is_due = now.since(self.looked_at) < DROPS_INTERVAL && !stopping;
        if self.is_due {
            return;
        }
        self.looked_at = now;
        let Some(total) = drops_of(self.table, inode) else {
            return;
        };
        let lost = total.saturating_sub(self.counted);
        self.counted = total;
        if lost > 0 {
            shared.intake.counters().refuse(Refusal::Kernel, lost);
            tracing::warn!(
                source = shared.intake.name(),
                "the kernel threw away {lost} datagrams: senders are faster than the disk, or \
                 receive_buffer is too small for their bursts"
            );
        }
    }
}

fn drops_of(table: &str, inode: u64) -> Option<u64> {
    drops_in(&std::fs::read_to_string(table).ok()?, inode)
}

/// The last column of the socket's line; its inode is the tenth.
fn drops_in(table: &str, inode: u64) -> Option<u64> {
    table.lines().skip(1).find_map(|line| {
        let mut columns = line.split_ascii_whitespace();
        let is_ours = columns.nth(9)?.parse() == Ok(inode);
        is_ours.then(|| columns.next_back()?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_are_found_by_inode() {
        let table = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when \
            retrnsmt   uid  timeout inode ref pointer drops             \n \
            345: 00000000:0202 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        \
            0 24217 2 0000000000000000 12         \n \
            346: 00000000:0203 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        \
            0 24218 2 0000000000000000 0         \n";
        assert_eq!(drops_in(table, 24_217), Some(12));
        assert_eq!(drops_in(table, 24_218), Some(0));
        assert_eq!(drops_in(table, 1), None);
        assert_eq!(drops_in("", 1), None);
    }
}

//! Datagrams. The kernel's socket buffer is the queue in front of a store that is busy; what the
//! kernel throws away is read from its own statistics and counted.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use pipeline::time::Monotonic;
use rustix::net::sockopt;
use socket2::Socket;
use tokio::net::UdpSocket;

use super::{BATCH_BYTES, LAST_LOOK, Shared, peer_text};
use crate::intake::Shutdown;
use crate::telemetry::SourceCount;

/// The largest datagram there is.
const DATAGRAM_BYTES_MAX: usize = 65_536;

/// So many datagrams are taken before other tasks have their turn.
const DATAGRAMS_PER_TURN: usize = 512;

/// How often the kernel's statistics are read while datagrams come.
const DROPS_INTERVAL: Duration = Duration::from_secs(5);

/// Asks for a buffer beyond the limit of the system, and takes what is given.
pub(super) fn set_receive_buffer(socket: &Socket, bytes: usize) {
    if sockopt::set_socket_recv_buffer_size_force(socket.as_fd(), bytes).is_ok() {
        return;
    }
    // The kernel reports twice what it was asked for; room for its own bookkeeping.
    drop(socket.set_recv_buffer_size(bytes));
    let given = socket.recv_buffer_size().unwrap_or(0) / 2;
    if given < bytes {
        tracing::warn!(
            "the kernel gives {given} of {bytes} bytes for the receive buffer: raise \
             net.core.rmem_max or grant CAP_NET_ADMIN"
        );
    }
}

pub(super) async fn receive(
    socket: Socket,
    shared: &Shared,
    mut shutdown: Shutdown,
) -> io::Result<()> {
    let socket = UdpSocket::from_std(socket.into())?;
    let mut drops = Drops::of(&socket);
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
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
        while take_turn(&socket, shared, &mut buffer, &mut shutdown).await == Turn::More {
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

async fn take_turn(
    socket: &UdpSocket,
    shared: &Shared,
    buffer: &mut [u8],
    shutdown: &mut Shutdown,
) -> Turn {
    let at = shared.intake.clock().wall();
    let mut batch = shared.intake.batch();
    let mut turn = Turn::More;
    for _ in 0..DATAGRAMS_PER_TURN {
        match socket.try_recv_from(buffer) {
            Ok((len, peer)) => {
                let datagram = buffer.get(..len).unwrap_or_default();
                shared.push(&mut batch, at, datagram, false, &peer_text(peer));
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
    shared.send(batch, shutdown).await;
    turn
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
    fn of(socket: &UdpSocket) -> Self {
        let is_ipv6 = socket.local_addr().is_ok_and(|address| address.is_ipv6());
        Self {
            inode: rustix::fs::fstat(socket).ok().map(|stat| stat.st_ino),
            table: if is_ipv6 {
                "/proc/net/udp6"
            } else {
                "/proc/net/udp"
            },
            counted: 0,
            looked_at: Monotonic::default(),
            is_due: false,
        }
    }

    fn look(&mut self, shared: &Shared, stopping: bool) {
        let now = shared.intake.clock().monotonic();
        self.is_due = now.since(self.looked_at) < DROPS_INTERVAL && !stopping;
        if self.is_due {
            return;
        }
        self.looked_at = now;
        let Some(total) = std::fs::read_to_string(self.table)
            .ok()
            .and_then(|table| drops_in(&table, self.inode?))
        else {
            return;
        };
        let lost = total.saturating_sub(self.counted);
        self.counted = total;
        if lost > 0 {
            shared.intake.counters().add(SourceCount::Refused, lost);
            tracing::warn!(
                source = shared.intake.name(),
                "the kernel threw away {lost} datagrams: senders are faster than the disk, or \
                 receive_buffer is too small for their bursts"
            );
        }
    }
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

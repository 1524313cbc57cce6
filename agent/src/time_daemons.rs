//! Asks the time daemons of this machine, over its loopback address.

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use pipeline::time::WallClock;
use pipeline::time_daemon::{ANSWER_BYTES_MAX, TimeDaemon};
use tokio::net::UdpSocket;
use tokio::time::timeout;

/// A daemon of this machine answers at once, or another program has its port.
const PATIENCE: Duration = Duration::from_millis(500);

/// The latest moment that one of them was in step, by the machine's clock; `None` when none is.
pub(crate) async fn ask() -> Option<WallClock> {
    let mut latest = None;
    for daemon in TimeDaemon::ALL {
        let answer = timeout(PATIENCE, ask_one(daemon)).await;
        // Where none runs, the kernel refuses at once.
        latest = latest.max(answer.ok().and_then(Result::ok).flatten());
    }
    latest
}

async fn ask_one(daemon: TimeDaemon) -> io::Result<Option<WallClock>> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    // Only what comes from there is received, so that the port says who answers.
    socket.connect((Ipv4Addr::LOCALHOST, daemon.port())).await?;
    // An answer to an earlier question would go to another socket.
    let number = u32::from(socket.local_addr()?.port());
    socket.send(&daemon.request(number)).await?;
    let mut answer = [0; ANSWER_BYTES_MAX];
    let len = socket.recv(&mut answer).await?;
    Ok(daemon.confirmed(answer.get(..len).unwrap_or_default(), number))
}

//! Waiting for conditions, and ports nobody else takes.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread::park_timeout;
use std::time::{Duration, Instant};

/// How long anything may take on a loaded machine before a test gives up.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);

const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Looks until there is something to see; gives up after [`DEADLINE`] with the name of it.
pub(crate) fn wait_until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    look_for(DEADLINE, look).unwrap_or_else(|| panic!("waited {DEADLINE:?} in vain for: {what}"))
}

/// Asserts that something does not happen while others have time to do it.
pub(crate) fn never_within(within: Duration, what: &str, mut happened: impl FnMut() -> bool) {
    let seen = look_for(within, || happened().then_some(()));
    assert!(seen.is_none(), "must not happen: {what}");
}

fn look_for<T>(within: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        if let Some(seen) = look() {
            return Some(seen);
        }
        if start.elapsed() > within {
            return None;
        }
        park_timeout(LOOK_EVERY);
    }
}

/// A port on loopback that is free for TCP and UDP.
///
/// Counted up below the ports that the system gives to outgoing connections, so that no test
/// gets a port which another test, or a connection of its own, takes a moment later.
pub(crate) fn free_port() -> u16 {
    const FIRST: u16 = 12_000;
    const LAST: u16 = 32_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 199).unwrap() * 100;
    for _ in FIRST..LAST {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + start.wrapping_add(step) % (LAST - FIRST);
        let address = (Ipv4Addr::LOCALHOST, port);
        if TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok() {
            return port;
        }
    }
    panic!("no port is free between {FIRST} and {LAST}");
}

//! Syslog over UDP: how fast it may come before something is lost.

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::agent::{Agent, folder, free_address};

/// How long each rate is held.
const HELD: Duration = Duration::from_secs(3);

/// Messages a second; the last is as fast as one thread can send.
const RATES: [u32; 6] = [20_000, 50_000, 75_000, 100_000, 150_000, u32::MAX];

const MESSAGE: &[u8] = b"<134>1 2026-11-23T17:00:00.123456Z gw-17 plc-bridge 4211 ID47 \
    [cell@32473 line=\"3\" cell=\"12\"] poll cycle took longer than its period: 412 ms \
    instead of 250 ms, 3 registers were read late";

/// Sends at growing rates.
pub(crate) fn run(binary: &Path) {
    println!(
        "RFC 5424 over UDP, {} bytes each, {} s a rate, into the ring",
        MESSAGE.len(),
        HELD.as_secs()
    );
    for rate in RATES {
        let folder = folder("syslog");
        let address = free_address();
        let config = format!(
            "[sources.network]\ntype = \"syslog\"\nlisten = [\"udp://{address}\"]\n\
             [destinations.out]\ntype = \"http\"\nurl = \"http://127.0.0.1:9/\"\n"
        );
        let agent = Agent::start(binary, &folder, &config);
        while agent.counter("buffer_capacity_bytes") == 0
            || agent.counter("source_starting{source=\"network\"}") == 1
        {
            std::thread::sleep(Duration::from_millis(20));
        }
        let (sent, took) = send(address, rate);
        let stored = settled(&agent);
        let used = agent.used();
        let lost = u64::from(sent).saturating_sub(stored);
        println!(
            "{:>7.0} messages/s: {sent} sent, {stored} stored, {lost} lost, {} counted as refused; \
             {:.2} CPU s per million",
            f64::from(sent) / took.as_secs_f64(),
            refused(&agent, lost),
            (used.user + used.system) * 1e6 / stored.max(1) as f64,
        );
    }
}

/// Sends for a while, in a burst each millisecond.
fn send(to: SocketAddr, rate: u32) -> (u32, Duration) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(to).unwrap();
    let started = Instant::now();
    let mut sent = 0_u32;
    loop {
        let elapsed = started.elapsed();
        if elapsed >= HELD {
            return (sent, elapsed);
        }
        let due = elapsed.as_secs_f64() * f64::from(rate);
        if f64::from(sent) >= due {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        }
        socket.send(MESSAGE).unwrap();
        sent += 1;
    }
}

/// How many the agent says were lost; it asks the kernel every few seconds.
fn refused(agent: &Agent, lost: u64) -> u64 {
    let asked = Instant::now();
    loop {
        let refused = agent.counter("source_refused_total{source=\"network\"}");
        if refused >= lost || asked.elapsed() > Duration::from_secs(7) {
            return refused;
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// How many are stored once no more are coming.
fn settled(agent: &Agent) -> u64 {
    let mut stored = 0;
    loop {
        std::thread::sleep(Duration::from_millis(500));
        let now = agent.counter("source_stored_total{source=\"network\"}");
        if now == stored {
            return stored;
        }
        stored = now;
    }
}

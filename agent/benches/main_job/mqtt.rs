//! MQTT with QoS 1: how many messages a second are acknowledged, and after how long.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::agent::{Agent, folder, free_address};
use crate::broker::Broker;
use crate::lines::Lines;
use crate::mqtt_client::{Subscriber, publish};

const TOPIC: &str = "plant/line-3/telemetry";

/// Windows, and how many messages are worth measuring with each.
const WINDOWS: [(usize, usize); 2] = [(20, 20_000), (1000, 300_000)];

/// What the publisher may have unacknowledged towards the broker.
const PUBLISHER_WINDOW: usize = 1000;

/// How many different payloads there are: more than the ring's compressor sees at once.
const PAYLOADS: usize = 4096;

/// Slower and slower cards, on which the sync is what takes the time, and how many messages.
const SLOW_SYNCS: [(u64, usize); 4] = [(1, 8000), (5, 4000), (10, 4000), (200, 400)];

/// Runs everything, the parts with mosquitto if it is there.
pub(crate) fn run(binary: &Path) {
    let mut lines = Lines::new(7);
    let payloads: Vec<String> = (0..PAYLOADS).map(|_| lines.next_line()).collect();
    println!("QoS 1, JSON payloads of 200 bytes, one connection");
    println!("publishing straight to mqtt_listener, PUBACK once durable:");
    for (window, count) in WINDOWS {
        listener(binary, &payloads, window, count, None);
    }
    let (window, _) = WINDOWS[0];
    for (ms, count) in SLOW_SYNCS {
        listener(binary, &payloads, window, count, Some(ms));
    }
    for (window, count) in WINDOWS {
        if !through_broker(binary, &payloads, window, count) {
            println!("mosquitto is not installed: nothing measured through a broker");
            return;
        }
    }
}

fn listener(binary: &Path, payloads: &[String], window: usize, count: usize, slow: Option<u64>) {
    let folder = folder("listener");
    let address = free_address();
    let config =
        format!("[sources.devices]\ntype = \"mqtt_listener\"\nlisten = \"{address}\"\n{NOWHERE}");
    let agent = match slow {
        None => Some(Agent::start(binary, &folder, &config)),
        Some(ms) => Agent::start_slow(binary, &folder, &config, ms),
    };
    let Some(agent) = agent else {
        println!("  strace is not installed: no slow disk");
        return;
    };
    while std::net::TcpStream::connect(address).is_err() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let syncs = agent.counter("buffer_syncs_total");
    let published = publish(address, TOPIC, payloads, count, window);
    let used = agent.used();
    let syncs = agent.counter("buffer_syncs_total") - syncs;
    let durable = agent.counter("buffer_durable_seq");
    let sync_ms = sync_ms(&folder) + slow.unwrap_or(0) as f64;
    println!(
        "  window {window:>4}: {:>7.0} messages/s, PUBACK after {:.2} ms (p50), {:.2} ms (p99); \
         {syncs} syncs, one alone {sync_ms:.2} ms; {:.2} CPU s per million",
        published.rate(),
        published.latency_ms(500),
        published.latency_ms(990),
        (used.user + used.system) * 1e6 / count as f64,
    );
    if let Some(ms) = slow {
        let bound = window as f64 / sync_ms * 1000.0;
        println!(
            "    on a disk that syncs {ms} ms longer: {:.0} % of one window a sync, \
             goal >= 90 %",
            published.rate() / bound * 100.0
        );
    }
    if durable < count as u64 {
        println!("    ONLY {durable} of {count} messages are durable");
    }
}

/// The same messages through mosquitto to a subscriber that only acknowledges, and to the agent.
fn through_broker(binary: &Path, payloads: &[String], window: usize, count: usize) -> bool {
    let folder = folder("broker");
    let Some(broker) = Broker::start(&folder, window) else {
        return false;
    };
    println!("through mosquitto with max_inflight_messages {window}:");
    let mut subscriber = Subscriber::start(broker.address, TOPIC);
    let started = Instant::now();
    let taking = std::thread::spawn(move || {
        subscriber.take(count);
        Instant::now()
    });
    publish(broker.address, TOPIC, payloads, count, PUBLISHER_WINDOW);
    let elapsed = taking.join().unwrap().duration_since(started);
    let plain = count as f64 / elapsed.as_secs_f64();
    println!("  a subscriber that acknowledges at once: {plain:>6.0} messages/s");

    let config = format!(
        "[sources.sensors]\ntype = \"mqtt\"\nurl = \"mqtt://{}\"\ntopics = [\"{TOPIC}\"]\n\
         in_flight_max = {window}\n{NOWHERE}",
        broker.address,
    );
    let agent = Agent::start(binary, &folder, &config);
    assert!(agent.wait_for("source_connections{source=\"sensors\"}", 1));
    // The subscription follows the connection at once.
    std::thread::sleep(Duration::from_millis(300));
    let started = Instant::now();
    publish(broker.address, TOPIC, payloads, count, PUBLISHER_WINDOW);
    let all = agent.wait_for("buffer_durable_seq", count as u64);
    let elapsed = started.elapsed().as_secs_f64();
    let durable = agent.counter("buffer_durable_seq");
    let rate = durable as f64 / elapsed;
    println!(
        "  hydrant, acknowledging what is durable: {rate:>6.0} messages/s, {:.0} % of that; \
         goal >= 80 % with 1000; {} syncs",
        rate / plain * 100.0,
        agent.counter("buffer_syncs_total"),
    );
    if !all {
        println!("  ONLY {durable} of {count} messages are durable");
    }
    true
}

/// A destination that is down: everything stays in the ring.
const NOWHERE: &str = "[destinations.out]\ntype = \"http\"\nurl = \"http://127.0.0.1:9/\"\n";

/// The median time of writing a page to a preallocated file on this disk and syncing it.
fn sync_ms(folder: &Path) -> f64 {
    let file = File::create(folder.join("sync")).unwrap();
    let page = [7; 4096];
    for offset in 0..200 {
        file.write_all_at(&page, offset * 4096).unwrap();
    }
    file.sync_all().unwrap();
    let mut times: Vec<f64> = (0..200)
        .map(|offset| {
            file.write_all_at(&page, offset * 4096).unwrap();
            let started = Instant::now();
            file.sync_data().unwrap();
            started.elapsed().as_secs_f64() * 1000.0
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

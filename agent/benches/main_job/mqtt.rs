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

/// Runs everything, the parts with mosquitto if it is there.
pub(crate) fn run(binary: &Path) {
    let payload = Lines::new(7).next_line();
    let payload = payload.trim_end().as_bytes();
    println!("QoS 1, payloads of {} bytes, one connection", payload.len());
    listener(binary, payload);
    for (window, count) in WINDOWS {
        if !through_broker(binary, payload, window, count) {
            println!("mosquitto is not installed: nothing measured through a broker");
            return;
        }
    }
}

fn listener(binary: &Path, payload: &[u8]) {
    println!("publishing straight to mqtt_listener, PUBACK once durable:");
    for (window, count) in WINDOWS {
        let folder = folder("listener");
        let address = free_address();
        let config = format!(
            "[sources.devices]\ntype = \"mqtt_listener\"\nlisten = \"{address}\"\n{NOWHERE}"
        );
        let agent = Agent::start(binary, &folder, &config);
        while std::net::TcpStream::connect(address).is_err() {
            std::thread::sleep(Duration::from_millis(20));
        }
        let published = publish(address, TOPIC, payload, count, window);
        let used = agent.used();
        let sync_ms = sync_ms(&folder);
        println!(
            "  window {window:>4}: {:>6.0} messages/s; PUBACK after {:.2} ms (p50), {:.2} ms \
             (p99); {} syncs, one page and fdatasync alone {sync_ms:.2} ms; {:.2} CPU s per million",
            published.rate(),
            published.latency_ms(500),
            published.latency_ms(990),
            agent.counter("buffer_syncs_total"),
            (used.user + used.system) * 1e6 / count as f64,
        );
    }
}

/// The same messages through mosquitto to a subscriber that only acknowledges, and to the agent.
fn through_broker(binary: &Path, payload: &[u8], window: usize, count: usize) -> bool {
    let folder = folder("broker");
    let Some(broker) = Broker::start(&folder, window) else {
        return false;
    };
    println!("through mosquitto with a window of {window}:");
    let mut subscriber = Subscriber::start(broker.address, TOPIC);
    let started = Instant::now();
    let taking = std::thread::spawn(move || {
        subscriber.take(count);
        Instant::now()
    });
    publish(broker.address, TOPIC, payload, count, 1000);
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
    let syncs = agent.counter("buffer_syncs_total");
    let started = Instant::now();
    publish(broker.address, TOPIC, payload, count, 1000);
    let all = agent.wait_for("buffer_durable_seq", count as u64);
    let elapsed = started.elapsed().as_secs_f64();
    let syncs = agent.counter("buffer_syncs_total") - syncs;
    let rate = agent.counter("buffer_durable_seq") as f64 / elapsed;
    let sync_ms = sync_ms(&folder);
    println!(
        "  hydrant, acknowledging what is durable: {rate:>6.0} messages/s, {:.0} % of that; \
         {syncs} syncs, one page and fdatasync alone {sync_ms:.2} ms",
        rate / plain * 100.0,
    );
    if window < 100 {
        let bound = window as f64 / sync_ms * 1000.0;
        println!(
            "  a window in each of those syncs would be {bound:.0} messages/s: {:.0} % of that",
            rate / bound * 100.0
        );
    }
    if !all {
        println!("  NOT ALL {count} messages became durable");
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

//! What an agent costs that has nothing to do, and how large it is on disk.

use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use crate::agent::{Agent, folder, free_address};
use crate::mqtt_client::connect;

const SETTLE: Duration = Duration::from_secs(6);
const WATCHED: Duration = Duration::from_secs(20);

/// Devices that are connected and say nothing.
const DEVICES: usize = 1000;

/// The size of the binary.
pub(crate) fn size(binary: &Path) {
    let bytes = std::fs::metadata(binary).unwrap().len();
    println!(
        "{bytes} bytes, {:.2} MiB; goal <= 4 MiB for the static ARM targets",
        bytes as f64 / f64::from(1 << 20)
    );
}

/// Every kind of source listens, a destination waits, nothing comes.
pub(crate) fn run(binary: &Path) {
    let folder = folder("idle");
    let config = format!(
        "[sources.devices]\ntype = \"mqtt_listener\"\nlisten = \"{}\"\n\
         [sources.app]\ntype = \"file\"\npaths = [\"{}/*.log\"]\n\
         [sources.network]\ntype = \"syslog\"\nlisten = [\"udp://{}\", \"tcp://{}\"]\n\
         [destinations.out]\ntype = \"http\"\nurl = \"http://{}/\"\n",
        free_address(),
        folder.display(),
        free_address(),
        free_address(),
        free_address(),
    );
    let agent = Agent::start(binary, &folder, &config);
    std::thread::sleep(SETTLE);
    let (waits, used) = (agent.waits(), agent.used());
    std::thread::sleep(WATCHED);
    let waits = agent.waits() - waits;
    let after = agent.used();
    println!(
        "mqtt_listener, file, syslog (UDP and TCP) and an HTTP destination; goals <= 6 MiB, at most one wake-up a second"
    );
    println!(
        "resident {:.2} MiB, of which {:.2} anonymous; peak {:.2} MiB; {} threads",
        agent.memory("VmRSS"),
        agent.memory("RssAnon"),
        after.peak,
        agent.threads(),
    );
    println!(
        "{waits} waits in {} s; CPU {:.2} s",
        WATCHED.as_secs(),
        after.user + after.system - used.user - used.system,
    );
}

/// So many devices are connected and say nothing.
pub(crate) fn devices(binary: &Path) {
    let folder = folder("devices");
    let address = free_address();
    let config = format!(
        "[sources.devices]\ntype = \"mqtt_listener\"\nlisten = \"{address}\"\n\
         [destinations.out]\ntype = \"http\"\nurl = \"http://127.0.0.1:9/\"\n"
    );
    let agent = Agent::start(binary, &folder, &config);
    while TcpStream::connect(address).is_err() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let (resident, anonymous) = (agent.memory("VmRSS"), agent.memory("RssAnon"));
    let devices: Vec<TcpStream> = (0..DEVICES)
        .map(|device| connect(address, &format!("device-{device}")))
        .collect();
    println!(
        "{} devices: resident {:.2} MiB (before {resident:.2}), of which {:.2} anonymous \
         (before {anonymous:.2}); goal <= 16 MiB",
        devices.len(),
        agent.memory("VmRSS"),
        agent.memory("RssAnon"),
    );
}

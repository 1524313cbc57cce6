//! What an agent costs that has nothing to do, and how large it is on disk.

use std::path::Path;
use std::time::Duration;

use crate::agent::{Agent, folder, free_address};

const SETTLE: Duration = Duration::from_secs(6);
const WATCHED: Duration = Duration::from_secs(20);

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

//! What systemd is told: readiness, the watchdog, the end. A socket of the test is its ear.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use rustix::process::Signal;

use crate::harness::{Agent, DEADLINE, Folder, Receiver, append};

/// Half of it is the pace of the watchdog's food.
const WATCHDOG: Duration = Duration::from_secs(1);

struct Service {
    agent: Agent,
    ear: UnixDatagram,
    receiver: Receiver,
    folder: Folder,
}

impl Service {
    /// Starts it as systemd would, by way of another program.
    fn start(wrapper: &[&str]) -> Self {
        let folder = Folder::new();
        let receiver = Receiver::start();
        let ear = UnixDatagram::bind(folder.join("notify")).unwrap();
        ear.set_read_timeout(Some(DEADLINE)).unwrap();
        let config = format!(
            "[sources.app]\ntype = \"file\"\npaths = [\"{}\"]\n{}",
            folder.text("input.log"),
            receiver.destination("lake")
        );
        let mut agent = Agent::new(folder.path(), &config);
        let socket = format!("NOTIFY_SOCKET={}", folder.text("notify"));
        let watchdog = format!("WATCHDOG_USEC={}", WATCHDOG.as_micros());
        let started = ["env", &socket, &watchdog, "setpriv", "--pdeathsig", "KILL"];
        agent.launch_under(&[wrapper, &started].concat());
        Service {
            agent,
            ear,
            receiver,
            folder,
        }
    }

    /// The next thing it tells; `None` when it is silent for as long as the ear listens.
    fn hear(&self) -> Option<String> {
        let mut buffer = [0; 1024];
        let bytes = self.ear.recv(&mut buffer).ok()?;
        Some(String::from_utf8(buffer[..bytes].to_vec()).unwrap())
    }

    /// Waits until it tells this.
    fn wait_for(&self, word: &str) {
        while let Some(told) = self.hear() {
            if told.lines().any(|line| line.starts_with(word)) {
                return;
            }
        }
        panic!("never told {word}");
    }
}

#[test]
fn it_tells_that_it_is_ready_alive_and_ending() {
    let mut service = Service::start(&[]);
    service.wait_for("READY=1");
    for _ in 0..3 {
        service.wait_for("WATCHDOG=1");
    }
    append(&service.folder.join("input.log"), "a line\n");
    service.receiver.wait_for_message("a line");
    service.agent.signal(Signal::HUP);
    service.wait_for("RELOADING=1");
    service.wait_for("READY=1");
    service.agent.signal(Signal::TERM);
    service.wait_for("STOPPING=1");
    assert_eq!(service.agent.ended().code(), Some(0));
}

/// A disk that hangs is noticed, although the sockets go on.
#[test]
fn the_watchdog_starves_while_the_disk_hangs() {
    let folder = Folder::new();
    let log = folder.text("strace.log");
    let fault = "inject=fdatasync:delay_enter=20000000:when=6+";
    let strace = [
        "strace",
        "-f",
        "-qq",
        "-o",
        &log,
        "-e",
        "trace=fdatasync",
        "-e",
        fault,
    ];
    let mut service = Service::start(&strace);
    service.wait_for("READY=1");
    service.wait_for("WATCHDOG=1");
    service.ear.set_read_timeout(Some(3 * WATCHDOG)).unwrap();
    for number in 0.. {
        append(
            &service.folder.join("input.log"),
            format!("line {number}\n"),
        );
        if service.hear().is_none() {
            break;
        }
        assert!(number < 30, "the watchdog is fed while the disk hangs");
    }
    service.agent.check();
}

//! SIGKILL at random moments, while every source runs and the destination flaps.
//!
//! Invariant: what was acknowledged is delivered; what is delivered twice has one id; a line of
//! a file and a syslog message that was sent once are stored once. `HYDRANT_TEST_SEED` repeats
//! the moments of a run, as far as threads and the kernel let them be repeated.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, park_timeout, spawn};
use std::time::Duration;

use crate::harness::{
    Agent, Answer, Broker, Chance, Folder, Log, Publisher, Receiver, append, free_port, long, seed,
    wait_until,
};

/// How much the feeders hold back, so that the ring never has to evict.
const BREATH: Duration = Duration::from_millis(3);

fn feed<T: Send + 'static>(
    going: &Arc<AtomicBool>,
    mut state: T,
    mut step: impl FnMut(&mut T) + Send + 'static,
) -> JoinHandle<T> {
    let going = Arc::clone(going);
    spawn(move || {
        while going.load(Ordering::Relaxed) {
            step(&mut state);
            park_timeout(BREATH);
        }
        state
    })
}

/// A program that logs into a file, and what it wrote.
struct Writer {
    path: PathBuf,
    written: Vec<String>,
}

/// A device that sends syslog over TCP, and what it sent.
struct Talker {
    port: u16,
    stream: Option<TcpStream>,
    sent: BTreeSet<String>,
}

impl Talker {
    fn talk(&mut self) {
        if self.stream.is_none() {
            self.stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).ok();
        }
        let Some(stream) = &mut self.stream else {
            return;
        };
        let message = format!("syslog-{}", self.sent.len());
        if writeln!(stream, "<13>1 - h a - - - {message}").is_err() {
            self.stream = None;
        }
        // Counted even if it may not have left: what comes must be among what was sent.
        self.sent.insert(message);
    }
}

/// A destination that takes six requests in ten.
fn flapping(mut chance: Chance) -> Receiver {
    Receiver::scripted(move |_| match chance.below(10) {
        0..6 => Answer::ok(),
        6 => Answer::status(503),
        7 => Answer::Reset,
        8 => Answer::Truncate,
        _ => Answer::Rubbish,
    })
}

/// A program under test with everything that talks to it.
struct Plant {
    agent: Agent,
    receiver: Receiver,
    broker: Broker,
    listener_port: u16,
    syslog_port: u16,
    log: PathBuf,
    _folder: Folder,
}

impl Plant {
    fn start(chance: Chance) -> Self {
        let folder = Folder::new();
        let receiver = flapping(chance);
        let mut broker = Broker::start(&folder);
        let (listener_port, syslog_port) = (free_port(), free_port());
        let log = folder.join("app.log");
        append(&log, "");
        let config = format!(
            "[sources.broker]\ntype = \"mqtt\"\nurl = \"{}\"\ntopics = [\"device/#\"]\n\
             [sources.devices]\ntype = \"mqtt_listener\"\nlisten = \"127.0.0.1:{listener_port}\"\n\
             [sources.app]\ntype = \"file\"\npaths = [\"{}\"]\n\
             [sources.network]\ntype = \"syslog\"\nlisten = [\"tcp://127.0.0.1:{syslog_port}\"]\n{}",
            broker.url(),
            log.to_str().unwrap(),
            receiver.destination("lake")
        );
        let mut agent = Agent::with_ring(folder.path(), "32MiB", &config);
        agent.start();
        broker.wait_for_line("device/#");
        Plant {
            agent,
            receiver,
            broker,
            listener_port,
            syslog_port,
            log,
            _folder: folder,
        }
    }

    /// Kills and starts again, at moments of chance: during the start too.
    fn suffer(&mut self, kills: u64, chance: &mut Chance) {
        for _ in 0..kills {
            let after = if chance.below(5) == 0 {
                chance.below(40)
            } else {
                chance.below(700)
            };
            park_timeout(Duration::from_millis(after));
            self.receiver.set_down(chance.below(3) == 0);
            self.agent.kill();
            self.agent.launch();
        }
        self.receiver.set_down(false);
        self.receiver.set_script(|_| Answer::ok());
        self.agent.ready();
    }
}

/// What the feeders did.
struct Fed {
    written: Vec<String>,
    sent: BTreeSet<String>,
    device: Publisher,
    remote: Publisher,
}

/// Lets every feeder run while the plant suffers.
fn feed_all(plant: &mut Plant, kills: u64, chance: &mut Chance) -> Fed {
    let going = Arc::new(AtomicBool::new(true));
    let writer = Writer {
        path: plant.log.clone(),
        written: Vec::new(),
    };
    let writer = feed(&going, writer, |writer: &mut Writer| {
        let line = format!("file-{}", writer.written.len());
        append(&writer.path, format!("{line}\n"));
        writer.written.push(line);
    });
    let talker = Talker {
        port: plant.syslog_port,
        stream: None,
        sent: BTreeSet::new(),
    };
    let talker = feed(&going, talker, Talker::talk);
    let publish = |publisher: &mut Publisher| {
        publisher.step();
    };
    let device = feed(
        &going,
        Publisher::new(plant.listener_port, "device"),
        publish,
    );
    let remote = feed(&going, Publisher::new(plant.broker.port, "remote"), publish);
    plant.suffer(kills, chance);
    going.store(false, Ordering::Relaxed);
    let mut fed = Fed {
        written: writer.join().unwrap().written,
        sent: talker.join().unwrap().sent,
        device: device.join().unwrap(),
        remote: remote.join().unwrap(),
    };
    wait_until("the last acknowledgements", || {
        (fed.device.finish() && fed.remote.finish()).then_some(())
    });
    fed
}

/// Waits until everything that was acknowledged has come; tells how much that is.
fn wait_for_all(receiver: &Receiver, fed: &Fed) -> usize {
    let mut missing: BTreeSet<&str> = BTreeSet::new();
    for owed in [
        &fed.written,
        &fed.device.acknowledged,
        &fed.remote.acknowledged,
    ] {
        missing.extend(owed.iter().map(String::as_str));
    }
    let owed = missing.len();
    let mut looked_at = 0;
    receiver.look_for(|log| {
        for record in &log.records[looked_at..] {
            missing.remove(record["message"].as_str().unwrap());
        }
        looked_at = log.records.len();
        missing.is_empty().then_some(())
    });
    let some: Vec<&&str> = missing.iter().take(5).collect();
    assert!(
        missing.is_empty(),
        "{} of {owed} are missing: {some:?}",
        missing.len()
    );
    owed
}

/// How often a payload may have been stored.
fn stored_max(message: &str, fed: &Fed) -> usize {
    match message.split('-').next().unwrap() {
        "file" => 1,
        "syslog" => usize::from(fed.sent.contains(message)),
        // A device that missed its PUBACK sends again, and cannot be told from a new message.
        "device" => 1 + fed.device.repeated.get(message).copied().unwrap_or(0),
        "remote" => usize::MAX,
        other => panic!("a record from nowhere: {other}"),
    }
}

#[test]
fn what_was_acknowledged_is_delivered() {
    let kills = if long() { 1_000 } else { 100 };
    let mut chance = Chance(seed());
    let mut plant = Plant::start(Chance(chance.below(u64::MAX)));
    let fed = feed_all(&mut plant, kills, &mut chance);
    let owed = wait_for_all(&plant.receiver, &fed);
    let status = plant.agent.status();
    assert_eq!(
        status["destinations"]["lake"]["evicted"], 0,
        "the ring was too small: {status}"
    );
    assert_eq!(status["destinations"]["lake"]["rejected"], 0, "{status}");
    assert_eq!(plant.agent.stop().code(), Some(0));

    let log = plant.receiver.log();
    let ids = check_ids(&log);
    for (message, ids) in &ids {
        assert!(
            ids.len() <= stored_max(message, &fed),
            "{message} was stored as {ids:?}"
        );
    }
    let accepted = |answer: &Answer| matches!(answer, Answer::Status(200, ..));
    let failed = log
        .requests
        .iter()
        .filter(|(_, answer)| !accepted(answer))
        .count();
    eprintln!(
        "{kills} kills: {owed} acknowledged, {} delivered as {} records, {failed} failed requests",
        ids.len(),
        log.records.len()
    );
    // Or it was green for want of trouble.
    assert!(
        owed > 1_000 && failed > 20,
        "{owed} acknowledged, {failed} failed requests"
    );
}

/// The ids of each payload; a record that came twice under one id came the same.
fn check_ids(log: &Log) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut ids: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for record in log.once() {
        let id = record["hydrant"]["id"].as_str().unwrap();
        ids.entry(record["message"].as_str().unwrap())
            .or_default()
            .insert(id);
    }
    ids
}

/// A clean end between kills changes nothing: SIGTERM in full run loses and doubles no line.
#[test]
fn ends_and_kills_lose_no_line() {
    let folder = Folder::new();
    let receiver = Receiver::start();
    let path = folder.join("app.log");
    append(&path, "");
    let config = format!(
        "[sources.app]\ntype = \"file\"\npaths = [\"{}\"]\n{}",
        path.to_str().unwrap(),
        receiver.destination("lake")
    );
    let mut agent = Agent::new(folder.path(), &config);
    let mut expected = Vec::new();
    for round in 0..12 {
        agent.start();
        expected.extend(append_round(&path, round));
        if round % 3 == 0 {
            agent.kill();
        } else {
            assert_eq!(agent.stop().code(), Some(0), "round {round}");
        }
    }
    agent.start();
    receiver.wait_for_message(expected.last().unwrap());
    let log = receiver.log();
    let ids = check_ids(&log);
    let delivered: BTreeSet<&str> = ids.keys().copied().collect();
    assert_eq!(delivered, expected.iter().map(String::as_str).collect());
    assert!(
        ids.values().all(|ids| ids.len() == 1),
        "a line was stored twice"
    );
}

fn append_round(path: &Path, round: usize) -> Vec<String> {
    let lines: Vec<String> = (0..200)
        .map(|number| format!("round {round} line {number}"))
        .collect();
    append(path, lines.join("\n") + "\n");
    lines
}

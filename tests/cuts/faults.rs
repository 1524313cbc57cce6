//! A disk that refuses to write, sync or read, and one that is too small, under a running agent.
//!
//! The agent ends with status 74 and says which file and what to do; once the disk works again, a
//! start finds everything that was durable, and what was not is taken in again.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use crate::disk::Disk;
use crate::harness::{
    Agent, Answer, Folder, MqttPeer, Receiver, append, free_port, hydrant, wait_until,
};
use crate::machine;

const DISK_BYTES: u64 = 16 << 20;
const LINES: usize = 200;

/// An agent whose state directory is a disk that can fail.
struct Faulty {
    agent: Agent,
    /// Always there but while it is replaced.
    disk: Option<Disk>,
    receiver: Receiver,
    folder: Folder,
}

impl Faulty {
    /// `None` when this machine cannot make disks.
    fn new(ring: &str) -> Option<Self> {
        if !machine::can_make_disks() {
            return None;
        }
        let folder = Folder::new();
        let at = folder.make("run");
        let disk = Disk::failing(&at, DISK_BYTES);
        let receiver = Receiver::start_down();
        let mut faulty = Faulty {
            agent: Agent::with_ring(&at, ring, ""),
            disk: Some(disk),
            receiver,
            folder,
        };
        faulty.configure(ring);
        Some(faulty)
    }

    fn configure(&mut self, ring: &str) {
        let input = self.folder.text("input.log");
        self.configure_source(
            ring,
            "app",
            &format!("type = \"file\"\npaths = [\"{input}\"]"),
        );
    }

    fn configure_source(&mut self, ring: &str, name: &str, source: &str) {
        let destination = self.receiver.destination("lake");
        let rest = format!("[sources.{name}]\n{source}\n{destination}");
        self.agent.configure(ring, &rest);
    }

    fn fail(&mut self, kind: &str) {
        self.disk.as_mut().unwrap().fail(kind);
    }

    fn feed(&self, from: usize, to: usize) {
        let mut text = String::new();
        for number in from..to {
            writeln!(text, "line {number:06}").unwrap();
        }
        append(&self.folder.join("input.log"), text);
    }

    fn wait_for_durable(&self, count: usize) {
        wait_until(&format!("{count} durable lines"), || {
            let durable = self.agent.ask()?["buffers"]["default"]["durable_seq"].clone();
            (durable == count).then_some(())
        });
    }

    /// Waits for the end of the agent, which must say these words.
    fn ends_with(&mut self, words: &[&str]) {
        assert_eq!(self.agent.ended().code(), Some(74), "{}", self.agent.log());
        let log = self.agent.log();
        let last = log.lines().last().unwrap();
        for word in words {
            assert!(last.contains(word), "no {word:?} in {last:?}");
        }
    }

    /// The disk works again: every line arrives, with one id.
    fn recovers(&mut self) {
        self.disk = self.disk.take().map(Disk::replaced);
        self.receiver.set_down(false);
        self.agent.start();
        self.receiver.wait("every line", |log| {
            let distinct: BTreeSet<&str> = log.messages().into_iter().collect();
            (distinct.len() == LINES).then_some(())
        });
        assert_eq!(self.receiver.log().once().len(), LINES);
        assert!(!self.folder.join("run/state/buffer.ring.damaged").exists());
        assert!(self.agent.stop().success());
    }
}

#[test]
fn a_disk_that_refuses_writes_or_syncs_ends_the_agent() {
    for kind in ["write", "flush"] {
        let Some(mut faulty) = Faulty::new("2MiB") else {
            return;
        };
        faulty.agent.start();
        faulty.feed(0, LINES / 2);
        faulty.wait_for_durable(LINES / 2);
        faulty.fail(kind);
        faulty.feed(LINES / 2, LINES);
        faulty.ends_with(&["buffer.ring", "os error 5", "dmesg"]);
        faulty.recovers();
    }
}

#[test]
fn a_disk_that_refuses_reads_is_not_taken_for_an_empty_one() {
    let Some(mut faulty) = Faulty::new("2MiB") else {
        return;
    };
    faulty.agent.start();
    faulty.feed(0, LINES);
    faulty.wait_for_durable(LINES);
    assert!(faulty.agent.stop().success());
    faulty.disk = faulty.disk.take().map(Disk::replaced);
    faulty.fail("read");
    faulty.agent.launch();
    faulty.ends_with(&["buffer.ring", "os error 5"]);
    faulty.recovers();
}

/// A line that hardly compresses.
fn noise(number: usize) -> String {
    let mut line = format!("line {number:06} ");
    let mut seed = u64::try_from(number).unwrap();
    for _ in 0..8 {
        seed = (seed + 1)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29);
        write!(line, "{seed:016x}").unwrap();
    }
    line
}

#[test]
fn a_sector_that_cannot_be_read_costs_its_frames_and_no_more() {
    const COUNT: usize = 6000;
    let Some(mut faulty) = Faulty::new("2MiB") else {
        return;
    };
    let lines: Vec<String> = (0..=COUNT).map(noise).collect();
    faulty.agent.start();
    let input = faulty.folder.join("input.log");
    append(&input, lines[..COUNT].join("\n") + "\n");
    faulty.wait_for_durable(COUNT);
    assert!(faulty.agent.stop().success());
    // Nothing is in the cache, and the sector lies among the frames of the first segment.
    let mut disk = faulty.disk.take().map(Disk::replaced).unwrap();
    disk.fail_sector_of("buffer.ring", 21 * 4096 + 512);
    faulty.disk = Some(disk);
    faulty.receiver.set_down(false);
    faulty.agent.start();
    append(&input, format!("{}\n", lines[COUNT]));
    faulty.receiver.wait_for_message(&lines[COUNT]);
    wait_until("nothing that waits", || {
        let status = faulty.agent.ask()?;
        (status["destinations"]["lake"]["waiting"] == 0).then_some(())
    });
    let count = |counter: &str| {
        let count = faulty.agent.count("destinations", "lake", counter);
        usize::try_from(count).unwrap()
    };
    let (delivered, truncated) = (count("delivered"), count("truncated"));
    assert_eq!(delivered + truncated, COUNT + 1);
    // A page is what the system reads at least; it may have parts of two frames of 32 KiB.
    assert!((1..1000).contains(&truncated), "{truncated} truncated");
    let log = faulty.receiver.log();
    let arrived = log.messages_once();
    let pairs = lines.iter().zip(&arrived);
    let gap = pairs.take_while(|(line, arrived)| line == arrived).count();
    assert!(arrived[..gap] == lines[..gap] && arrived[gap..] == lines[gap + truncated..]);
    drop(log);
    assert!(faulty.agent.stop().success());
    let ring = faulty.folder.text("run/state/buffer.ring");
    let outcome = hydrant(&["ring", "verify", &ring]);
    assert_eq!(outcome.code, 1, "{}", outcome.stderr);
    let told = format!("{truncated} records");
    assert!(
        outcome.stdout.contains(&told),
        "no {told:?} in {}",
        outcome.stdout
    );
}

#[test]
fn a_ring_that_does_not_fit_leaves_nothing_behind() {
    let Some(mut faulty) = Faulty::new("64MiB") else {
        return;
    };
    faulty.agent.launch();
    faulty.ends_with(&["buffer.ring", "free the space, lower buffer.size"]);
    let left: Vec<_> = fs::read_dir(faulty.folder.join("run/state"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| name != "lost+found")
        .collect();
    assert!(left.is_empty(), "{left:?}");
    faulty.configure("2MiB");
    faulty.feed(0, LINES);
    faulty.recovers();
}

/// Publishes a message; true when it is acknowledged, false when the connection ends instead.
fn is_acknowledged(peer: &mut MqttPeer, id: u16) -> bool {
    let published = peer.publish(id, false, "plant/data", &format!("message {id}"));
    let answer = published.and_then(|()| peer.read_packet());
    match answer {
        Ok((first, body)) => {
            let of = u16::from(body[0]) * 256 + u16::from(body[1]);
            assert_eq!((first, of), (0x40, id));
            true
        }
        // Nobody acknowledges later what is not answered by now.
        Err(error) => {
            assert_ne!(
                error.kind(),
                ErrorKind::WouldBlock,
                "neither PUBACK nor end"
            );
            false
        }
    }
}

#[test]
fn nothing_is_acknowledged_after_a_failed_sync() {
    const BEFORE: u16 = 20;
    let Some(mut faulty) = Faulty::new("2MiB") else {
        return;
    };
    let port = free_port();
    let source = format!("type = \"mqtt_listener\"\nlisten = \"127.0.0.1:{port}\"");
    faulty.configure_source("2MiB", "devices", &source);
    faulty.agent.start();
    let mut peer = MqttPeer::connect(port, "boiler").unwrap();
    for id in 1..=BEFORE {
        assert!(is_acknowledged(&mut peer, id), "message {id}");
    }
    faulty.fail("flush");
    assert!(!is_acknowledged(&mut peer, BEFORE + 1));
    faulty.ends_with(&["buffer.ring", "os error 5", "dmesg"]);
    faulty.disk = faulty.disk.take().map(Disk::replaced);
    faulty.receiver.set_down(false);
    faulty.agent.start();
    let last = format!("message {BEFORE}");
    faulty.receiver.wait_for_message(&last);
    let wanted: Vec<String> = (1..=BEFORE).map(|id| format!("message {id}")).collect();
    let log = faulty.receiver.log();
    // What was not acknowledged may be there too.
    assert_eq!(log.messages_once()[..wanted.len()], wanted);
}

/// Takes all the space there is.
fn fill(path: &Path) {
    let mut file = File::create(path).unwrap();
    for piece in [1 << 16, 1 << 9] {
        let error = loop {
            if let Err(error) = file.write_all(&vec![0; piece]) {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::StorageFull);
    }
}

#[test]
fn dead_letters_wait_for_a_disk_that_is_full() {
    let Some(mut faulty) = Faulty::new("2MiB") else {
        return;
    };
    faulty.agent.start();
    let ballast = faulty.folder.join("run/state/ballast");
    fill(&ballast);
    faulty.receiver.set_script(|_| Answer::status(400));
    faulty.receiver.set_down(false);
    faulty.feed(0, LINES);
    faulty.agent.wait_for_error(
        "destinations",
        "lake",
        &["dead-letter/lake", "os error 28", "free"],
    );
    // The ring has its space: it takes in and keeps what cannot be kept elsewhere.
    faulty.wait_for_durable(LINES);
    assert_eq!(faulty.agent.count("destinations", "lake", "rejected"), 0);
    fs::remove_file(&ballast).unwrap();
    let all = u64::try_from(LINES).unwrap();
    faulty
        .agent
        .wait_for_count("destinations", "lake", "rejected", all);
    let log = faulty.agent.log();
    assert_eq!(
        log.matches("dead letters cannot be kept").count(),
        1,
        "{log}"
    );
    let (mut letters, mut files) = (Vec::new(), 0);
    for file in fs::read_dir(faulty.folder.join("run/state/dead-letter/lake")).unwrap() {
        files += 1;
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        letters.extend(text.lines().map(str::to_owned));
    }
    assert_eq!(letters.len(), LINES);
    assert_eq!(log.matches("are kept as dead letters").count(), files);
    for number in 0..LINES {
        let line = format!("line {number:06}");
        assert_eq!(
            letters.iter().filter(|text| text.contains(&line)).count(),
            1
        );
    }
    assert!(faulty.agent.stop().success());
}

//! A disk that refuses to write, sync or read, and one that is too small, under a running agent.
//!
//! The agent ends with status 74 and says which file and what to do; once the disk works again, a
//! start finds everything that was durable, and what was not is taken in again.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;

use crate::disk::Disk;
use crate::harness::{Agent, Folder, Receiver, append, wait_until};
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
        let rest = format!(
            "[sources.app]\ntype = \"file\"\npaths = [\"{}\"]\n{}",
            self.folder.text("input.log"),
            self.receiver.destination("lake"),
        );
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

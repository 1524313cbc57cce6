//! Several buffers: alarms do not queue behind chatter.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;

use rustix::process::Signal;

use crate::harness::{Agent, Folder, Receiver, append, hydrant, run, wait_until, write};

const CHATTER: usize = 20_000;
const ALARMS: usize = 60;
const BATCH: usize = 100;

/// An agent with two followed files, one of which has a buffer of its own.
struct Plant {
    agent: Agent,
    receiver: Receiver,
    folder: Folder,
}

impl Plant {
    fn start(receiver: Receiver, ring: &str, more: &str) -> Self {
        let folder = Folder::new();
        let rest = Self::rest(&folder, &receiver, "alarms", more);
        let mut agent = Agent::with_ring(folder.path(), ring, &rest);
        agent.start();
        Plant {
            agent,
            receiver,
            folder,
        }
    }

    fn rest(folder: &Folder, receiver: &Receiver, buffer: &str, more: &str) -> String {
        format!(
            "[buffers.alarms]\nsize = \"2MiB\"\nsync_delay_max = \"50ms\"\n\
             [sources.alarms]\ntype = \"file\"\npaths = [\"{}\"]\nbuffer = \"{buffer}\"\n\
             [sources.chatter]\ntype = \"file\"\npaths = [\"{}\"]\n\
             [destinations.lake]\ntype = \"http\"\nurl = \"{}\"\n\
             batch = {{ age_max = \"100ms\", count_max = {BATCH} }}\n\
             retry = {{ initial = \"20ms\", max = \"100ms\", timeout = \"2s\" }}\n{more}",
            folder.text("alarms.log"),
            folder.text("chatter.log"),
            receiver.url(),
        )
    }

    fn feed(&self, name: &str, from: usize, count: usize) {
        let mut text = String::new();
        for number in from..from + count {
            writeln!(text, "{name} {number:06}").unwrap();
        }
        append(&self.folder.join(&format!("{name}.log")), text);
    }

    fn wait_for_waiting(&self, buffer: &str, count: usize) {
        wait_until(&format!("{count} waiting in {buffer}"), || {
            let status = self.agent.ask()?;
            (status["destinations"]["lake"]["lanes"][buffer]["waiting"] == count).then_some(())
        });
    }

    /// Waits until each of so many records has come; how many came in all.
    fn wait_for_all(&self, count: usize) -> usize {
        self.receiver.wait("all records", |log| {
            let distinct: BTreeSet<&str> = log.messages().into_iter().collect();
            (distinct.len() == count).then_some(log.records.len())
        })
    }
}

#[test]
fn a_higher_buffer_goes_first() {
    let plant = Plant::start(Receiver::start_down(), "16MiB", "");
    plant.feed("chatter", 0, CHATTER);
    plant.wait_for_waiting("default", CHATTER);
    plant.feed("alarms", 0, ALARMS);
    plant.wait_for_waiting("alarms", ALARMS);
    let error = plant.agent.wait_for_error("destinations", "lake", &[]);
    assert!(!error.is_empty());
    // Until the first alarm was tried and refused, a batch of chatter may be under way.
    wait_until("alarms that are tried", || {
        plant.agent.ask()?["destinations"]["lake"]["oldest_waiting_ms"]
            .as_u64()
            .filter(|age| *age > 500)
    });
    plant.receiver.set_down(false);
    assert_eq!(plant.wait_for_all(CHATTER + ALARMS), CHATTER + ALARMS);
    let log = plant.receiver.log();
    let messages = log.messages();
    let last = messages
        .iter()
        .rposition(|message| message.starts_with("alarms"))
        .unwrap();
    let chatter = last + 1 - ALARMS;
    assert!(chatter <= BATCH, "{chatter} records of chatter went first");
}

#[test]
fn a_full_buffer_does_not_hold_up_another() {
    let folder = Folder::new();
    let (slow, fast) = (Receiver::start_down(), Receiver::start());
    let rest = format!(
        "when_full = \"block\"\n[buffers.alarms]\nsize = \"1MiB\"\nsync_delay_max = \"50ms\"\n\
         [sources.alarms]\ntype = \"file\"\npaths = [\"{}\"]\nbuffer = \"alarms\"\n\
         [sources.chatter]\ntype = \"file\"\npaths = [\"{}\"]\n{}buffers = [\"default\"]\n\
         from = [\"chatter\"]\n{}buffers = [\"alarms\"]\nfrom = [\"alarms\"]\n",
        folder.text("alarms.log"),
        folder.text("chatter.log"),
        slow.destination("slow"),
        fast.destination("fast"),
    );
    let mut agent = Agent::with_ring(folder.path(), "1MiB", &rest);
    agent.start();
    let mut text = String::new();
    for number in 0_u64..60_000 {
        let noise = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        writeln!(text, "{number:06} {noise:016x}").unwrap();
    }
    append(&folder.join("chatter.log"), text);
    wait_until("a full ring", || {
        (agent.ask()?["buffers"]["default"]["blocked"] == true).then_some(())
    });
    append(&folder.join("alarms.log"), "fire\n");
    assert_eq!(fast.wait_for_messages(1), ["fire"]);
    assert_eq!(agent.status()["buffers"]["alarms"]["blocked"], false);
    slow.set_down(false);
    slow.wait_for_messages(60_000);
}

#[test]
fn kills_lose_nothing_in_either_buffer() {
    let mut plant = Plant::start(Receiver::start(), "16MiB", "");
    let (mut chatter, mut alarms) = (0, 0);
    for _ in 0..5 {
        plant.feed("chatter", chatter, 2000);
        plant.feed("alarms", alarms, 50);
        (chatter, alarms) = (chatter + 2000, alarms + 50);
        let seen = plant.receiver.log().records.len();
        plant
            .receiver
            .wait("progress", |log| (log.records.len() > seen).then_some(()));
        plant.agent.kill();
        plant.agent.start();
    }
    plant.wait_for_all(chatter + alarms);
    let log = plant.receiver.log();
    assert_eq!(log.once().len(), chatter + alarms, "one record, two ids");
}

#[test]
fn a_source_that_moves_goes_on_where_it_stopped() {
    let mut plant = Plant::start(Receiver::start(), "16MiB", "");
    plant.feed("alarms", 0, 100);
    plant.wait_for_all(100);
    for (round, buffer) in ["default", "alarms"].into_iter().enumerate() {
        let rest = Plant::rest(&plant.folder, &plant.receiver, buffer, "");
        plant.agent.configure("16MiB", &rest);
        plant.agent.signal(Signal::HUP);
        wait_until("the source in its new buffer", || {
            (plant.agent.ask()?["sources"]["alarms"]["buffer"] == buffer).then_some(())
        });
        plant.feed("alarms", 100 + round * 100, 100);
        assert_eq!(plant.wait_for_all(200 + round * 100), 200 + round * 100);
    }
    let rest = Plant::rest(&plant.folder, &plant.receiver, "default", "");
    assert!(plant.agent.stop().success());
    plant.agent.configure("16MiB", &rest);
    plant.agent.start();
    plant.feed("alarms", 300, 100);
    assert_eq!(plant.wait_for_all(400), 400, "lines came twice");
    assert_eq!(plant.agent.count("sources", "alarms", "stored"), 400);
}

#[test]
fn a_ring_that_nobody_names_is_told() {
    let mut plant = Plant::start(Receiver::start(), "16MiB", "");
    plant.feed("alarms", 0, 10);
    plant.wait_for_all(10);
    assert!(plant.agent.stop().success());
    let receiver = &plant.receiver;
    let rest = format!(
        "[sources.chatter]\ntype = \"file\"\npaths = [\"{}\"]\n{}",
        plant.folder.text("chatter.log"),
        receiver.destination("lake"),
    );
    plant.agent.configure("16MiB", &rest);
    plant.agent.start();
    let log = plant.agent.log();
    let line = log
        .lines()
        .find(|line| line.contains("belongs to no buffer"));
    assert!(line.unwrap().contains("buffer.alarms.ring"), "{log}");
    plant.feed("chatter", 0, 5);
    plant.wait_for_all(15);
}

#[test]
fn a_damaged_ring_costs_only_its_own_records() {
    let mut plant = Plant::start(Receiver::start_down(), "16MiB", "");
    plant.feed("chatter", 0, 50);
    plant.feed("alarms", 0, 5);
    plant.wait_for_waiting("default", 50);
    plant.wait_for_waiting("alarms", 5);
    plant.agent.kill();
    let state = plant.folder.path().join("state");
    write(&state.join("buffer.alarms.ring"), "no ring any more");
    plant.receiver.set_down(false);
    plant.agent.start();
    assert!(state.join("buffer.alarms.ring.damaged").exists());
    assert_eq!(
        fs::metadata(state.join("buffer.alarms.ring"))
            .unwrap()
            .len(),
        2 << 20
    );
    // The places in the followed file were in the lost ring: its lines are read again.
    plant.wait_for_all(55);
}

#[test]
fn a_replay_comes_out_of_every_buffer() {
    let plant = Plant::start(Receiver::start(), "16MiB", "");
    plant.feed("chatter", 0, 30);
    plant.feed("alarms", 0, 10);
    plant.wait_for_all(40);
    plant
        .agent
        .wait_for_count("destinations", "lake", "delivered", 40);
    let socket = plant.folder.text("control.sock");
    let replay = |arguments: &[&str]| {
        let mut all = vec!["replay", "-d", "lake", "--socket", &socket];
        all.extend(arguments);
        hydrant(&all)
    };
    let outcome = replay(&["--from-seq", "3"]);
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.contains("--buffer"), "{}", outcome.stderr);
    let outcome = replay(&["--from-seq", "3", "--buffer", "alarms"]);
    assert!(
        outcome
            .stdout
            .contains("7 records of 3 to 9 in buffer \"alarms\"")
    );
    let outcome = replay(&["--all"]);
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    plant
        .agent
        .wait_for_count("destinations", "lake", "replayed", 47);
}

#[test]
fn a_replay_tells_which_buffer_has_nothing_for_it() {
    let plant = Plant::start(Receiver::start(), "16MiB", "");
    let delivered = |count| {
        plant
            .agent
            .wait_for_count("destinations", "lake", "delivered", count);
    };
    plant.feed("alarms", 0, 10);
    delivered(10);
    let output = run("date", &["-u", "+%FT%T.%3NZ"]);
    let middle = String::from_utf8(output.stdout).unwrap();
    plant.feed("chatter", 0, 30);
    delivered(40);
    let socket = plant.folder.text("control.sock");
    let replay = |more: &[&str]| {
        let mut all = vec!["replay", "-d", "lake", "--socket", &socket];
        all.extend(["--since", middle.trim()]);
        all.extend(more);
        hydrant(&all)
    };
    let outcome = replay(&[]);
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    let text = &outcome.stdout;
    assert!(text.contains("30 records of 0 to 29"), "{text}");
    let refused = "not from buffer \"alarms\": nothing to replay: what is left";
    assert!(text.contains(refused), "{text}");
    let outcome = replay(&["--json"]);
    let answer: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    let partly = &answer["partly"];
    assert_eq!(partly["begun"][0]["buffer"], "default");
    assert_eq!(partly["refused"][0]["buffer"], "alarms");
}

#[test]
fn each_buffer_is_shown() {
    let plant = Plant::start(Receiver::start(), "16MiB", "");
    plant.feed("alarms", 0, 10);
    plant.wait_for_all(10);
    let status = plant.agent.status();
    assert_eq!(status["sources"]["alarms"]["buffer"], "alarms");
    assert_eq!(status["buffers"]["alarms"]["next_seq"], 10);
    assert_eq!(status["buffers"]["default"]["next_seq"], 0);
    let socket = plant.folder.text("control.sock");
    let page = hydrant(&["status", "--socket", &socket]).stdout;
    let rings = page.lines().filter(|line| line.starts_with("ring "));
    assert_eq!(rings.count(), 2, "{page}");
    let config = plant.agent.config();
    let info = hydrant(&["ring", "info", "-c", config, "--buffer", "alarms"]);
    assert!(info.stdout.contains("alarms"), "{}", info.stdout);
    let wrong = hydrant(&["ring", "info", "-c", config, "--buffer", "alarm"]);
    assert_eq!(wrong.code, 64);
    assert!(wrong.stderr.contains("\"alarms\""), "{}", wrong.stderr);
}

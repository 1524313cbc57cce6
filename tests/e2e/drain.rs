//! The order in which waiting records leave.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::harness::{Agent, Folder, Receiver, append, wait_until};

const OLD: usize = 40_000;
const BATCH: usize = 100;

struct Outage {
    agent: Agent,
    receiver: Receiver,
    folder: Folder,
}

impl Outage {
    /// An agent whose destination is away, with records that wait and are no live data any more.
    fn start(drain: &str) -> Self {
        let folder = Folder::new();
        let receiver = Receiver::start_down();
        let config = format!(
            "[sources.app]\ntype = \"file\"\npaths = [\"{}\"]\n\
             [destinations.lake]\ntype = \"http\"\nurl = \"{}\"\n\
             batch = {{ age_max = \"100ms\", count_max = {BATCH} }}\ndrain = {drain}\n\
             retry = {{ initial = \"20ms\", max = \"100ms\", timeout = \"2s\" }}\n",
            folder.text("input.log"),
            receiver.url(),
        );
        let mut agent = Agent::with_ring(folder.path(), "64MiB", &config);
        agent.start();
        let outage = Outage {
            agent,
            receiver,
            folder,
        };
        outage.feed("old", OLD);
        wait_until("old records", || {
            let status = outage.agent.ask()?;
            let lake = &status["destinations"]["lake"];
            let is_old = lake["oldest_waiting_ms"].as_u64()? > 1200;
            let is_whole = lake["waiting"] == OLD;
            (is_old && is_whole).then_some(())
        });
        outage
    }

    fn feed(&self, name: &str, count: usize) {
        let mut text = String::new();
        for number in 0..count {
            writeln!(text, "{name} {number:06}").unwrap();
        }
        append(&self.folder.join("input.log"), text);
    }

    /// How many old records had come before the first of these.
    fn old_before(&self, name: &str) -> usize {
        self.receiver.wait(name, |log| {
            let messages = log.messages();
            messages
                .iter()
                .position(|message| message.starts_with(name))
        })
    }

    /// Waits until each of so many records has come.
    fn wait_for_all(&self, count: usize) -> usize {
        self.receiver.wait("all records", |log| {
            let distinct: BTreeSet<&str> = log.messages().into_iter().collect();
            (distinct.len() == count).then_some(log.records.len())
        })
    }
}

const NEWEST: &str =
    "{ order = \"newest_first\", live_age_max = \"1s\", backlog_share_percent = 20 }";

#[test]
fn after_an_outage_new_records_go_first() {
    let outage = Outage::start(NEWEST);
    outage.receiver.set_down(false);
    wait_until("a backlog", || {
        let status = outage.agent.ask()?;
        let stretches = status["destinations"]["lake"]["stretches"].clone();
        (stretches[0]["kind"] == "backlog").then_some(())
    });
    outage.feed("new", 250);
    let before = outage.old_before("new");
    assert!(before < OLD, "{before} old records came first");
    let received = outage.wait_for_all(OLD + 250);
    assert_eq!(received, OLD + 250, "some came twice");
    wait_until("no backlog", || {
        let status = outage.agent.ask()?;
        let lake = &status["destinations"]["lake"];
        let is_done = lake["stretches"].as_array()?.is_empty() && lake["waiting"] == 0;
        is_done.then(|| assert_eq!(lake["delivered"], OLD + 250))
    });
    // The backlog itself leaves in its own order.
    let log = outage.receiver.log();
    let messages = log.messages();
    let old: Vec<&&str> = messages
        .iter()
        .filter(|text| text.starts_with("old"))
        .collect();
    assert!(old.is_sorted());
}

#[test]
fn the_oldest_go_first_unless_told_otherwise() {
    let outage = Outage::start("{ order = \"oldest_first\" }");
    outage.feed("new", 250);
    outage.receiver.set_down(false);
    assert_eq!(outage.old_before("new"), OLD);
    assert_eq!(outage.wait_for_all(OLD + 250), OLD + 250);
}

#[test]
fn kills_lose_nothing_of_a_backlog() {
    let mut outage = Outage::start(NEWEST);
    outage.receiver.set_down(false);
    let mut total = OLD;
    for round in 0..6 {
        outage.feed(&format!("new{round}"), 300);
        total += 300;
        // Killed while the backlog is under way, and once in a second outage.
        let seen = outage.receiver.log().records.len();
        outage.receiver.wait("progress", |log| {
            (log.records.len() > seen + 500).then_some(())
        });
        outage.receiver.set_down(round == 3);
        outage.agent.kill();
        outage.agent.start();
        outage.receiver.set_down(false);
    }
    outage.wait_for_all(total);
    let log = outage.receiver.log();
    assert_eq!(log.once().len(), total, "a record came under two ids");
}

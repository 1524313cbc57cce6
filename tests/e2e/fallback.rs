//! Another destination takes the records of one that fails.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::harness::{Agent, Answer, Folder, Receiver, append, dead_letters, wait_until};

/// An agent that follows one file, with the destination `cloud` and its fallback `disk`.
struct Pair {
    agent: Agent,
    folder: Folder,
    fed: usize,
}

impl Pair {
    fn start(cloud: &Receiver, disk: &str) -> Self {
        let folder = Folder::new();
        let text = format!(
            "[sources.app]\ntype = \"file\"\npaths = [\"{}\"]\n\
             {}fallback = \"disk\"\nfallback_after = \"1s\"\n{disk}",
            folder.text("input.log"),
            cloud.destination("cloud"),
        );
        let text = text.replace("OUT", &folder.text("out"));
        let mut agent = Agent::new(folder.path(), &text);
        agent.start();
        Pair {
            agent,
            folder,
            fed: 0,
        }
    }

    fn feed(&mut self, count: usize) {
        let lines = (self.fed..self.fed + count).map(|number| format!("line {number}\n"));
        append(&self.folder.join("input.log"), lines.collect::<String>());
        self.fed += count;
    }

    fn count(&self, counter: &str) -> usize {
        let count = self.agent.count("destinations", "cloud", counter);
        usize::try_from(count).unwrap()
    }

    fn wait_for(&self, counter: &str, least: usize) {
        let least = u64::try_from(least).unwrap();
        self.agent
            .wait_for_count("destinations", "cloud", counter, least);
    }

    /// Nothing waits, and every record that was stored is accounted for.
    fn wait_until_settled(&self) {
        wait_until("nothing waits", || {
            let status = self.agent.ask()?;
            let stored = status["sources"]["app"]["stored"].as_u64()?;
            let cloud = &status["destinations"]["cloud"];
            let of = |counter: &str| cloud[counter].as_u64().unwrap();
            let settled = of("delivered") + of("delivered_by_fallback") + of("rejected");
            (stored == u64::try_from(self.fed).unwrap() && of("waiting") == 0 && settled == stored)
                .then_some(())
        });
    }

    /// Payloads of the files in the fallback's folder.
    fn on_disk(&self) -> Vec<String> {
        let mut messages = Vec::new();
        let Ok(files) = fs::read_dir(self.folder.join("out")) else {
            return messages;
        };
        for file in files {
            let text = read(&file.unwrap().path());
            for line in text.lines() {
                let record: Value = serde_json::from_str(line).unwrap();
                messages.push(record["message"].as_str().unwrap().to_owned());
            }
        }
        messages
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

/// Numbers of lines, in order.
fn numbers(messages: impl IntoIterator<Item = String>) -> Vec<usize> {
    let mut numbers: Vec<usize> = messages
        .into_iter()
        .map(|line| line["line ".len()..].parse().unwrap())
        .collect();
    numbers.sort_unstable();
    numbers
}

const DISK: &str = "[destinations.disk]\ntype = \"directory\"\npath = \"OUT\"\nstandby = true\n\
                    compression = \"none\"\nbatch = { count_max = 10, age_max = \"100ms\" }\n";

/// While the one fails the other gets its records, with its own limits; then the one again. Every
/// record is at exactly one of them.
#[test]
fn records_go_to_the_fallback_and_back() {
    let cloud = Receiver::scripted(|_| Answer::status(503));
    let mark = "transforms = [\"mark\"]\n\
                [transforms.mark]\ntype = \"set\"\nfields = { via = \"disk\" }\n";
    let mut pair = Pair::start(&cloud, &(DISK.to_owned() + mark));
    pair.feed(25);
    pair.wait_for("delivered_by_fallback", 25);
    let error = pair
        .agent
        .wait_for_error("destinations", "cloud", &["503", "fallback \"disk\""]);
    assert!(!error.contains("delivers again"), "{error}");
    let status = pair.agent.status();
    assert_eq!(status["destinations"]["cloud"]["on_fallback"], true);
    assert!(status["destinations"]["disk"].is_null(), "reads nothing");
    for file in fs::read_dir(pair.folder.join("out")).unwrap() {
        let text = read(&file.unwrap().path());
        let marked = text
            .lines()
            .filter(|line| line.contains("\"via\":\"disk\""));
        assert!(marked.count() == text.lines().count() && text.lines().count() <= 10);
    }
    cloud.set_script(|_| Answer::ok());
    pair.feed(15);
    wait_until("the way back", || {
        let status = pair.agent.ask()?;
        let cloud = &status["destinations"]["cloud"];
        (cloud["on_fallback"] == false && cloud["error"].is_null()).then_some(())
    });
    pair.feed(10);
    pair.wait_until_settled();
    let taken: Vec<String> = cloud.wait_for_messages(10);
    let has_mark = |record: &Value| !record["via"].is_null();
    assert!(!cloud.log().records.iter().any(has_mark));
    assert_eq!(taken.len(), pair.count("delivered"));
    assert_eq!(
        numbers(taken.into_iter().chain(pair.on_disk())),
        (0..50).collect::<Vec<_>>()
    );
    pair.agent.check();
}

/// Where neither takes anything the records wait, and go to whichever comes back first.
#[test]
fn where_both_fail_nothing_is_lost() {
    let (cloud, disk) = (Receiver::start_down(), Receiver::start_down());
    let standby = disk.destination("disk") + "standby = true\n";
    let mut pair = Pair::start(&cloud, &standby);
    pair.feed(30);
    pair.agent
        .wait_for_error("destinations", "cloud", &["its fallback \"disk\""]);
    assert_eq!(pair.count("waiting"), 30);
    disk.set_down(false);
    pair.wait_for("delivered_by_fallback", 30);
    assert_eq!(pair.count("delivered"), 0);
    disk.set_down(true);
    cloud.set_down(false);
    pair.feed(30);
    pair.wait_until_settled();
    let taken = cloud.wait_for_messages(30);
    let all = disk.wait_for_messages(30).into_iter().chain(taken);
    assert_eq!(numbers(all), (0..60).collect::<Vec<_>>());
}

/// What the fallback refuses for good is a dead letter of the destination, which says so.
#[test]
fn what_the_fallback_refuses_is_a_dead_letter() {
    let cloud = Receiver::start_down();
    let disk = Receiver::scripted(|_| Answer::status(400));
    let mut pair = Pair::start(&cloud, &(disk.destination("disk") + "standby = true\n"));
    pair.feed(5);
    pair.wait_for("rejected", 5);
    pair.wait_until_settled();
    let letters = dead_letters(&pair.folder, "cloud");
    assert_eq!(letters.len(), 5);
    for letter in letters {
        let reason = letter["reason"].as_str().unwrap();
        assert!(reason.starts_with("fallback \"disk\": "), "{reason}");
        assert_eq!(letter["destination"], "cloud");
    }
}

/// After a kill the destination is tried first, and nothing is lost; what comes twice has one id.
#[test]
fn a_kill_on_the_fallback_loses_nothing() {
    let (cloud, disk) = (Receiver::start_down(), Receiver::start());
    let standby = disk.destination("disk") + "standby = true\n";
    let mut pair = Pair::start(&cloud, &standby);
    for _ in 0..3 {
        pair.feed(200);
        disk.wait("something taken", |log| {
            (log.records.len() > 100).then_some(())
        });
        pair.agent.kill();
        pair.agent.start();
    }
    pair.feed(1);
    pair.wait_until_settled();
    assert_eq!(pair.count("delivered"), 0);
    let log = disk.log();
    let once = log.messages_once().into_iter().map(str::to_owned);
    assert_eq!(numbers(once), (0..601).collect::<Vec<_>>());
}

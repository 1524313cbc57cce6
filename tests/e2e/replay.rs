//! What was delivered is delivered once more when somebody asks for it.

use serde_json::Value;

use crate::harness::{
    Agent, Answer, Folder, Log, Outcome, Receiver, append, hydrant, run, wait_until,
};

/// An agent that has delivered lines of a file.
struct Delivered {
    agent: Agent,
    receiver: Receiver,
    folder: Folder,
    lines: usize,
}

impl Delivered {
    fn start(ring: &str) -> Self {
        let folder = Folder::new();
        let receiver = Receiver::start();
        let config = format!(
            "[sources.app]\ntype = \"file\"\npaths = [\"{}\"]\n{}",
            folder.text("input.log"),
            receiver.destination("lake")
        );
        let mut agent = Agent::with_ring(folder.path(), ring, &config);
        agent.start();
        Delivered {
            agent,
            receiver,
            folder,
            lines: 0,
        }
    }

    /// Writes lines and waits until they are delivered and that is in the books.
    fn feed(&mut self, lines: usize) {
        let mut text = String::new();
        for number in self.lines..self.lines + lines {
            text.push_str(&line(number));
            text.push('\n');
        }
        append(&self.folder.join("input.log"), text);
        self.lines += lines;
        let total = u64::try_from(self.lines).unwrap();
        self.agent
            .wait_for_count("destinations", "lake", "delivered", total);
    }

    fn replay(&self, arguments: &[&str]) -> Outcome {
        let socket = self.folder.text("control.sock");
        let mut all = vec!["replay", "--destination", "lake", "--socket", &socket];
        all.extend(arguments);
        hydrant(&all)
    }

    fn offline(&self, arguments: &[&str]) -> Outcome {
        let mut all = vec!["replay", "--destination", "lake", "--offline"];
        all.extend(["--config", self.agent.config()]);
        all.extend(arguments);
        hydrant(&all)
    }

    /// Waits for replayed records and returns their numbers in the ring.
    fn wait_for_replayed(&self, count: usize) -> Vec<u64> {
        self.receiver.wait(&format!("{count} replayed"), |log| {
            let replayed = replayed(log);
            (replayed.len() >= count).then_some(replayed)
        })
    }
}

fn line(number: usize) -> String {
    // Of little repetition, so that compression in the ring does not blur what fits into it.
    let noise = (u64::try_from(number).unwrap() + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("{number:06} {noise:016x}")
}

/// The time as `hydrant replay` takes it.
fn now() -> String {
    let output = run("date", &["-u", "+%FT%T.%3NZ"]);
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn seq(record: &Value) -> u64 {
    let id = record["hydrant"]["id"].as_str().unwrap();
    id.split_once('-').unwrap().1.parse().unwrap()
}

fn replayed(log: &Log) -> Vec<u64> {
    let marked = |record: &&Value| record["hydrant"]["replayed"] == true;
    log.records.iter().filter(marked).map(seq).collect()
}

fn keys(log: &Log) -> Vec<String> {
    let requests = log.requests.iter();
    requests
        .map(|(request, _)| request.header("idempotency-key").to_owned())
        .collect()
}

#[test]
fn a_range_of_records_comes_once_more() {
    let mut delivered = Delivered::start("16MiB");
    delivered.feed(200);
    let outcome = delivered.replay(&["--from-seq", "50", "--to-seq", "60"]);
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert!(
        outcome.stdout.contains("10 records of 50 to 59"),
        "{}",
        outcome.stdout
    );
    let found = delivered.wait_for_replayed(10);
    assert_eq!(found, (50..60).collect::<Vec<u64>>());
    let log = delivered.receiver.log();
    let twice: Vec<&Value> = log
        .records
        .iter()
        .filter(|record| seq(record) == 55)
        .collect();
    assert_eq!(twice.len(), 2);
    assert_eq!(twice[0]["message"], twice[1]["message"]);
    assert_eq!(twice[0]["hydrant"]["id"], twice[1]["hydrant"]["id"]);
    assert!(twice[0]["hydrant"]["replayed"].is_null());
    let (request, _) = log.requests.last().unwrap();
    let mark = request.header("hydrant-replay");
    let key = request.header("idempotency-key");
    assert!(
        key.ends_with(&format!("-lake-50-60-replay-{mark}")),
        "{key}"
    );
    drop(log);
    delivered
        .agent
        .wait_for_count("destinations", "lake", "replayed", 10);
    let status = delivered.agent.status();
    let lake = &status["destinations"]["lake"];
    assert_eq!(
        (&lake["delivered"], &lake["waiting"]),
        (&200.into(), &0.into())
    );
    assert_eq!(lake["stretches"].as_array().unwrap().len(), 0);
}

#[test]
fn times_of_reception_name_records() {
    let mut delivered = Delivered::start("16MiB");
    delivered.feed(30);
    let middle = now();
    delivered.feed(20);
    let after = now();
    let outcome = delivered.replay(&["--since", &middle, "--until", &after]);
    assert!(
        outcome.stdout.contains("20 records of 30 to 49"),
        "{outcome:?}"
    );
    assert_eq!(
        delivered.wait_for_replayed(20),
        (30..50).collect::<Vec<u64>>()
    );
    let outcome = delivered.replay(&["--since", "2001-01-01", "--until", &middle, "--json"]);
    let answer: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(answer["begun"][0]["records"], 30);
    assert_eq!(answer["begun"][0]["range"]["is_cut"], false);
    delivered.wait_for_replayed(50);
    let outcome = delivered.replay(&["--since", "2999-01-01"]);
    assert_eq!(outcome.code, 1);
    assert!(
        outcome.stderr.contains("the records 0 to 49"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn what_is_overwritten_is_told() {
    let mut delivered = Delivered::start("1MiB");
    for _ in 0..10 {
        delivered.feed(5000);
    }
    let outcome = delivered.replay(&["--since", "2001-01-01"]);
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    let text = &outcome.stdout;
    assert!(text.contains("what is older is overwritten"), "{text}");
    let oldest = delivered.agent.status()["buffers"]["default"]["first_seq"]
        .as_u64()
        .unwrap();
    assert!(
        oldest > 0 && text.contains(&format!(" {oldest}, received 20")),
        "{text}"
    );
    let count = usize::try_from(50_000 - oldest).unwrap();
    let found = delivered.wait_for_replayed(count);
    assert_eq!(found, (oldest..50_000).collect::<Vec<u64>>());
    let outcome = delivered.replay(&["--from-seq", "0", "--to-seq", "10"]);
    assert_eq!(outcome.code, 1);
    assert!(
        outcome
            .stderr
            .contains(&format!("the records {oldest} to 49999"))
    );
}

#[test]
fn a_replay_outlives_a_kill() {
    let mut delivered = Delivered::start("16MiB");
    delivered.feed(3000);
    delivered.receiver.set_down(true);
    assert_eq!(delivered.replay(&["--all"]).code, 0);
    wait_until("the replay failing", || {
        let status = delivered.agent.ask()?;
        let lake = &status["destinations"]["lake"];
        (lake["error"].is_string() && lake["stretches"][0]["kind"] == "replay").then_some(())
    });
    delivered.agent.kill();
    delivered.receiver.set_down(false);
    delivered.agent.start();
    let found = delivered.wait_for_replayed(3000);
    assert_eq!(found, (0..3000).collect::<Vec<u64>>());
    let log = delivered.receiver.log();
    let keys = keys(&log);
    let marks: Vec<&str> = keys
        .iter()
        .filter_map(|key| Some(key.split_once("-replay-")?.1))
        .collect();
    assert!(!marks.is_empty() && marks.iter().all(|mark| *mark == marks[0]));
}

#[test]
fn a_replay_can_be_ended() {
    let mut delivered = Delivered::start("16MiB");
    delivered.feed(100);
    delivered.receiver.set_down(true);
    assert_eq!(delivered.replay(&["--all"]).code, 0);
    let outcome = delivered.replay(&["--stop"]);
    assert_eq!(
        (outcome.code, outcome.stdout.contains("1 replays")),
        (0, true)
    );
    delivered.receiver.set_down(false);
    let before = delivered.lines;
    delivered.feed(10);
    let log = delivered.receiver.log();
    assert_eq!((replayed(&log).len(), log.records.len()), (0, before + 10));
}

#[test]
fn without_an_agent_the_command_delivers_itself() {
    let mut delivered = Delivered::start("16MiB");
    delivered.feed(500);
    let outcome = delivered.offline(&["--from-seq", "100"]);
    assert_eq!(outcome.code, 74);
    assert!(
        outcome.stderr.contains("another hydrant"),
        "{}",
        outcome.stderr
    );
    assert!(delivered.agent.stop().success());
    let outcome = delivered.replay(&["--from-seq", "100"]);
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.contains("--offline"), "{}", outcome.stderr);
    append(&delivered.folder.join("input.log"), "not yet\n");
    let outcome = delivered.offline(&["--from-seq", "100"]);
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert!(
        outcome.stdout.contains("done: 400 records"),
        "{}",
        outcome.stdout
    );
    let found = delivered.wait_for_replayed(400);
    assert_eq!(found, (100..500).collect::<Vec<u64>>());
    delivered.agent.start();
    let status = delivered.agent.status();
    assert_eq!(status["destinations"]["lake"]["replayed"], 400);
    delivered.receiver.wait_for_messages(901);
}

#[test]
fn wrong_wishes_are_refused() {
    let mut delivered = Delivered::start("16MiB");
    delivered.feed(1);
    // arguments, status, what is said
    let table: [(&[&str], i32, &str); 5] = [
        (&[], 64, "--since TIME"),
        (&["--since", "yesterday"], 64, "2026-11-20T10:00"),
        (&["--from-seq", "9", "--to-seq", "3"], 64, "--to-seq"),
        (&["--from-seq", "9"], 1, "the records 0 to 0"),
        (
            &["--destination", "sea", "--all"],
            64,
            "cannot be used multiple times",
        ),
    ];
    for (arguments, code, words) in table {
        let outcome = delivered.replay(arguments);
        assert_eq!(outcome.code, code, "{arguments:?}: {}", outcome.stderr);
        assert!(outcome.stderr.contains(words), "{}", outcome.stderr);
    }
    let socket = delivered.folder.text("control.sock");
    let outcome = hydrant(&["replay", "-d", "sea", "--all", "--socket", &socket]);
    assert_eq!(outcome.code, 1);
    assert!(
        outcome.stderr.contains("no destination \"sea\""),
        "{}",
        outcome.stderr
    );
}

/// What was refused while a token was wrong is sent again once it is right: by a running agent, and
/// each letter once.
#[test]
fn dead_letters_are_delivered_once_somebody_asks() {
    let folder = Folder::new();
    let receiver = Receiver::scripted(|_| Answer::status(401));
    let input = folder.text("input.log");
    let source = format!("[sources.app]\ntype = \"file\"\npaths = [\"{input}\"]\n");
    let mut agent = Agent::new(folder.path(), &(source + &receiver.destination("lake")));
    agent.start();
    append(&folder.join("input.log"), "one\ntwo\nthree\n");
    agent.wait_for_count("destinations", "lake", "rejected", 3);
    receiver.set_script(|_| Answer::ok());
    append(&folder.join("input.log"), "four\n");
    agent.wait_for_count("destinations", "lake", "delivered", 1);
    let socket = folder.text("control.sock");
    let ask = || {
        let args = [
            "replay",
            "--destination",
            "lake",
            "--dead-letter",
            "--socket",
            &socket,
        ];
        hydrant(&args)
    };
    let first = ask();
    assert_eq!(first.code, 0, "{first:?}");
    assert!(first.stdout.contains("replaying 3 records"), "{first:?}");
    agent.wait_for_count("destinations", "lake", "replayed", 3);
    let again = ask();
    assert_eq!(again.code, 1, "{again:?}");
    assert!(
        again
            .stderr
            .contains("there are no dead letters of \"lake\""),
        "{again:?}"
    );
    let mut messages = receiver.wait_for_messages(4);
    messages.sort();
    assert_eq!(messages, ["four", "one", "three", "two"]);
    let letters = std::fs::read_dir(folder.join("state/dead-letter/lake")).unwrap();
    for letter in letters {
        let name = letter.unwrap().file_name().into_string().unwrap();
        assert!(name.ends_with(".ndjson.replayed"), "{name}");
    }
    // Books are kept: what was rejected once stays counted so.
    assert_eq!(agent.count("destinations", "lake", "rejected"), 3);
    assert_eq!(agent.count("destinations", "lake", "waiting"), 0);
}

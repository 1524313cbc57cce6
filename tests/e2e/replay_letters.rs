//! Dead letters are sent once more: out of the ring, or out of their files.

use serde_json::Value;

use crate::harness::{Agent, Answer, Folder, Receiver, append, hydrant, wait_until};

/// Where a record was in the log.
fn seq(record: &Value) -> u64 {
    let id = record["hydrant"]["id"].as_str().unwrap();
    id.rsplit('-').next().unwrap().parse().unwrap()
}

/// An agent with three dead letters whose records have left the ring since.
fn overwritten() -> (Agent, Receiver, Folder) {
    let folder = Folder::new();
    let receiver = Receiver::scripted(|_| Answer::status(401));
    let source = format!(
        "[sources.app]\ntype = \"file\"\npaths = [\"{}\"]\n",
        folder.text("input.log")
    );
    let config = source + &receiver.destination("lake");
    let mut agent = Agent::with_ring(folder.path(), "1MiB", &config);
    agent.start();
    append(&folder.join("input.log"), "one\ntwo\nthree\n");
    agent.wait_for_count("destinations", "lake", "rejected", 3);
    receiver.set_script(|_| Answer::ok());
    let mut fed = 0;
    while agent.status()["buffers"]["default"]["first_seq"].as_u64() < Some(3) {
        let noise = noise(fed);
        append(&folder.join("input.log"), noise);
        fed += 1_000;
        agent.wait_for_count("destinations", "lake", "delivered", fed);
    }
    (agent, receiver, folder)
}

/// A thousand lines that no compression makes small.
fn noise(first: u64) -> String {
    let digits = |number: u64| {
        let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let word = |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            format!("{state:016x}")
        };
        (0..20).map(word).collect::<String>()
    };
    let lines = (first..first + 1_000).map(|number| digits(number) + "\n");
    lines.collect()
}

/// The ids that the letters tell are those that come in.
fn check_sent_out_of_files(receiver: &Receiver, folder: &Folder) {
    let found = receiver.wait("the dead letters", |log| {
        let is_letter = |record: &&Value| {
            let message = record["message"].as_str();
            matches!(message, Some("one" | "two" | "three"))
        };
        let found: Vec<Value> = log.records.iter().filter(is_letter).cloned().collect();
        (found.len() >= 3).then_some(found)
    });
    let mut messages: Vec<(u64, &str)> = found
        .iter()
        .map(|record| (seq(record), record["message"].as_str().unwrap()))
        .collect();
    messages.sort_unstable();
    assert_eq!(messages, [(0, "one"), (1, "two"), (2, "three")]);
    for record in &found {
        assert_eq!(record["hydrant"]["source"], "app", "{record}");
    }
    wait_until("the file is set aside", || {
        let letters = std::fs::read_dir(folder.join("state/dead-letter/lake")).unwrap();
        let mut names = letters.map(|letter| letter.unwrap().file_name().into_string().unwrap());
        names
            .all(|name| name.ends_with(".ndjson.replayed"))
            .then_some(())
    });
}

/// What the ring has no more is sent out of the file, by a running agent and once.
#[test]
fn dead_letters_outlast_the_ring() {
    let (agent, receiver, folder) = overwritten();
    let socket = folder.text("control.sock");
    let ask = || {
        hydrant(&[
            "replay",
            "--destination",
            "lake",
            "--dead-letter",
            "--socket",
            &socket,
        ])
    };
    let first = ask();
    assert_eq!(first.code, 0, "{first:?}");
    assert!(first.stdout.contains("sending 3 records"), "{first:?}");
    check_sent_out_of_files(&receiver, &folder);
    agent.wait_for_count("destinations", "lake", "dead_letters_sent", 3);
    let again = ask();
    assert_eq!(again.code, 1, "{again:?}");
    assert!(
        again.stderr.contains("there are no dead letters"),
        "{again:?}"
    );
}

/// The same without an agent; what is refused once more stays.
#[test]
fn without_an_agent_dead_letters_are_sent_from_here() {
    let (mut agent, receiver, folder) = overwritten();
    let offline = |agent: &Agent| {
        hydrant(&[
            "replay",
            "--destination",
            "lake",
            "--dead-letter",
            "--offline",
            "--config",
            agent.config(),
        ])
    };
    assert_eq!(offline(&agent).code, 74, "the agent has the ring");
    assert!(agent.stop().success());
    receiver.set_script(|_| Answer::status(400));
    let refused = offline(&agent);
    assert!(refused.stdout.contains("done: 0 records"), "{refused:?}");
    receiver.set_script(|_| Answer::ok());
    let outcome = offline(&agent);
    assert_eq!(outcome.code, 0, "{outcome:?}");
    assert!(outcome.stdout.contains("done: 3 records"), "{outcome:?}");
    check_sent_out_of_files(&receiver, &folder);
}

/// What the ring still has is sent out of it, without an agent as well.
#[test]
fn without_an_agent_dead_letters_come_out_of_the_ring() {
    let folder = Folder::new();
    let receiver = Receiver::scripted(|_| Answer::status(401));
    let source = format!(
        "[sources.app]\ntype = \"file\"\npaths = [\"{}\"]\n",
        folder.text("input.log")
    );
    let mut agent = Agent::new(folder.path(), &(source + &receiver.destination("lake")));
    agent.start();
    append(&folder.join("input.log"), "one\ntwo\nthree\n");
    agent.wait_for_count("destinations", "lake", "rejected", 3);
    assert!(agent.stop().success());
    receiver.set_script(|_| Answer::ok());
    let config = agent.config().to_owned();
    let outcome = hydrant(&[
        "replay",
        "-d",
        "lake",
        "--dead-letter",
        "--offline",
        "--config",
        &config,
    ]);
    assert_eq!(outcome.code, 0, "{outcome:?}");
    assert!(
        outcome.stdout.contains("replaying 3 records"),
        "{outcome:?}"
    );
    assert!(outcome.stdout.contains("done: 3 records"), "{outcome:?}");
    check_sent_out_of_files(&receiver, &folder);
}

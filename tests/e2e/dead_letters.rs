//! Refused records go out to another destination.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::harness::{Agent, Answer, Folder, Receiver, append, dead_letters};

/// An agent whose destination `lake` refuses everything; its dead letters go to `errors`.
struct Refused {
    agent: Agent,
    folder: Folder,
    _lake: Receiver,
}

impl Refused {
    fn start(errors: &str) -> Self {
        let (folder, lake) = (Folder::new(), Receiver::scripted(|_| Answer::status(422)));
        let text = format!(
            "[sources.app]\ntype = \"file\"\npaths = [\"{}\"]\n\
             {}transforms = [\"mark\"]\ndead_letter = {{ destination = \"errors\" }}\n{errors}\
             standby = true\n[transforms.mark]\ntype = \"set\"\nfields = {{ site = \"a\" }}\n",
            folder.text("input.log"),
            lake.destination("lake"),
        );
        let mut agent = Agent::new(folder.path(), &text);
        agent.start();
        Refused {
            agent,
            folder,
            _lake: lake,
        }
    }

    fn feed(&self, lines: std::ops::Range<usize>) {
        let lines = lines.map(|number| format!("line {number}\n"));
        append(&self.folder.join("input.log"), lines.collect::<String>());
    }

    fn count(&self, counter: &str) -> u64 {
        self.agent.count("destinations", "lake", counter)
    }
}

/// The payload of a letter in the shape of Firehose.
fn raw_data(letter: &Value) -> String {
    let raw = STANDARD
        .decode(letter["rawData"].as_str().unwrap())
        .unwrap();
    String::from_utf8(raw).unwrap()
}

/// While nobody takes the letters nothing is counted as rejected, and nothing is lost.
#[test]
fn letters_wait_until_they_are_taken() {
    let errors = Receiver::start_down();
    let mut refused = Refused::start(&errors.destination("errors"));
    refused.feed(0..20);
    let words = ["dead letters cannot be delivered to \"errors\"", "wait"];
    refused.agent.wait_for_error("destinations", "lake", &words);
    assert_eq!(
        (refused.count("rejected"), refused.count("waiting")),
        (0, 20)
    );
    refused.agent.kill();
    refused.agent.start();
    refused.agent.wait_for_error("destinations", "lake", &words);
    errors.set_down(false);
    refused
        .agent
        .wait_for_count("destinations", "lake", "rejected", 20);
    assert_eq!(refused.count("waiting"), 0);
    let log = errors.log();
    let mut payloads: Vec<String> = log.records.iter().map(raw_data).collect();
    payloads.sort_by_key(|line| line["line ".len()..].parse::<usize>().unwrap());
    let expected: Vec<String> = (0..20).map(|number| format!("line {number}")).collect();
    assert_eq!(payloads, expected);
    for letter in &log.records {
        assert_eq!(letter["errorCode"], "422", "{letter}");
        assert!(letter["attemptsMade"].as_u64().unwrap() >= 1, "{letter}");
        assert!(letter["dataId"].as_str().unwrap().contains('-'), "{letter}");
    }
    let keys: Vec<&str> = log
        .requests
        .iter()
        .map(|(request, _)| request.header("idempotency-key"))
        .collect();
    assert!(
        keys.iter().all(|key| key.contains("lake-dead-letter")),
        "{keys:?}"
    );
    drop(log);
    assert!(dead_letters(&refused.folder, "lake").is_empty());
}

/// What the other destination refuses as well is kept in the folder, with both reasons.
#[test]
fn letters_that_nobody_takes_are_kept() {
    let errors = Receiver::scripted(|_| Answer::status(400));
    let refused = Refused::start(&errors.destination("errors"));
    refused.feed(0..5);
    refused
        .agent
        .wait_for_count("destinations", "lake", "rejected", 5);
    let letters = dead_letters(&refused.folder, "lake");
    assert_eq!(letters.len(), 5);
    for letter in letters {
        let reason = letter["errorMessage"].as_str().unwrap();
        assert!(reason.contains("422") && reason.contains("400"), "{reason}");
    }
}

/// A folder takes them as files of its own kind, within its bound.
#[test]
fn letters_become_files() {
    let out = Folder::new();
    let errors = format!(
        "[destinations.errors]\ntype = \"directory\"\npath = \"{}\"\ncompression = \"none\"\n\
         batch = {{ age_max = \"100ms\" }}\n",
        out.text("letters")
    );
    let refused = Refused::start(&errors);
    refused.feed(0..7);
    refused
        .agent
        .wait_for_count("destinations", "lake", "rejected", 7);
    let mut payloads = Vec::new();
    for file in std::fs::read_dir(out.join("letters")).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with("gateway-lake-dead-letter-"), "{name}");
        assert!(name.ends_with(".ndjson"), "{name}");
        let text = std::fs::read_to_string(&path).unwrap();
        let letters = text.lines().map(|line| serde_json::from_str(line).unwrap());
        payloads.extend(letters.map(|letter: Value| raw_data(&letter)));
    }
    assert_eq!(payloads.len(), 7);
}

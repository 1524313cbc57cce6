//! What a person sees: help, mistakes, the state of a running agent, the demonstration.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{Agent, Folder, Receiver, append, free_port, hydrant, wait_until, write};

fn check_text(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "no {word:?} in:\n{text}");
    }
}

#[test]
fn help_names_every_command() {
    let outcome = hydrant(&["--help"]);
    assert_eq!(outcome.code, 0);
    check_text(
        &outcome.stdout,
        &[
            "run",
            "check",
            "demo",
            "status",
            "ring",
            "schema",
            "--version",
        ],
    );
    for command in ["run", "check", "demo", "status", "ring", "schema"] {
        let outcome = hydrant(&[command, "--help"]);
        assert_eq!(outcome.code, 0, "{command}");
        assert!(outcome.stdout.len() > 100, "{}", outcome.stdout);
    }
}

#[test]
fn wrong_usage_is_64() {
    for args in [
        &["runn"][..],
        &["run", "--nonsense"],
        &["demo", "--seconds", "many"],
    ] {
        let outcome = hydrant(args);
        assert_eq!(outcome.code, 64, "{args:?}");
        assert!(!outcome.stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn a_configuration_that_is_not_there() {
    for command in ["run", "check"] {
        let outcome = hydrant(&[command, "--config", "/nowhere/hydrant.toml"]);
        assert_eq!(outcome.code, 64, "{command}");
        let told = outcome.stdout + &outcome.stderr;
        check_text(&told, &["/nowhere/hydrant.toml"]);
    }
}

/// Six mistakes, each told with its line and key, and the misspelt key with what was meant.
#[test]
fn every_mistake_is_told_at_once() {
    let folder = Folder::new();
    let path = folder.join("hydrant.toml");
    let text = "\
[buffer]
size = \"12 parsecs\"

[sources.devices]
type = \"mqtt_listener\"
listn = \"127.0.0.1:1883\"

[sources.app]
type = \"file\"
paths = \"/var/log/app.log\"
transforms = [\"nobody\"]

[destinations.lake]
type = \"firehose\"
stream = \"s\"
region = \"eu-west-1\"
batch = { bytes_max = \"8MiB\", age_max = \"2h\" }
";
    write(&path, text);
    for command in ["check", "run"] {
        let outcome = hydrant(&[command, "--config", path.to_str().unwrap()]);
        assert_eq!(outcome.code, 64, "{command}");
        let told = outcome.stdout + &outcome.stderr;
        let line_of = |what: &str| text.lines().position(|line| line.contains(what)).unwrap() + 1;
        for (mistake, key) in [
            ("parsecs", "buffer.size"),
            ("listn", "sources.devices.listn"),
            ("paths =", "sources.app.paths"),
            ("nobody", "nobody"),
            ("8MiB", "destinations.lake.batch.bytes_max"),
            ("2h", "destinations.lake.batch.age_max"),
        ] {
            let place = format!("hydrant.toml:{}", line_of(mistake));
            let found = told
                .lines()
                .any(|line| line.contains(&place) && line.contains(key));
            assert!(found, "{command}: no {place} with {key} in:\n{told}");
        }
        assert!(
            told.contains("listen"),
            "no suggestion for listn in:\n{told}"
        );
    }
}

#[test]
fn a_good_configuration_is_told_to_be_good() {
    let folder = Folder::new();
    let receiver = Receiver::start();
    let config = format!(
        "[sources.app]\ntype = \"file\"\npaths = [\"/var/log/*.log\"]\n{}",
        receiver.destination("lake")
    );
    let agent = Agent::new(folder.path(), &config);
    let outcome = hydrant(&["check", "--config", agent.config()]);
    assert_eq!(outcome.code, 0, "{}{}", outcome.stdout, outcome.stderr);
    check_text(&outcome.stdout, &["1 source", "1 destination"]);
    assert!(!folder.join("state").exists(), "check made a ring");
}

#[test]
fn secrets_are_never_printed() {
    let folder = Folder::new();
    let config = "[sources.app]\ntype = \"file\"\npaths = [\"/var/log/*.log\"]\n\
        [destinations.lake]\ntype = \"http\"\nurl = \"http://127.0.0.1:9\"\nbearer = \"hunter2\"\n\
        mistake = 1\n";
    let agent = Agent::new(folder.path(), config);
    let outcome = hydrant(&["check", "--config", agent.config()]);
    assert_eq!(outcome.code, 64);
    assert!(!(outcome.stdout + &outcome.stderr).contains("hunter2"));
}

#[test]
fn schema_is_a_schema() {
    let outcome = hydrant(&["schema"]);
    assert_eq!(outcome.code, 0);
    let schema: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert!(schema["$schema"].is_string());
    for section in ["agent", "buffer", "sources", "transforms", "destinations"] {
        assert!(schema["properties"][section].is_object(), "{section}");
    }
}

#[test]
fn status_without_an_agent_says_so() {
    let folder = Folder::new();
    let receiver = Receiver::start();
    let config = format!(
        "[sources.app]\ntype = \"file\"\npaths = [\"/var/log/*.log\"]\n{}",
        receiver.destination("lake")
    );
    let agent = Agent::new(folder.path(), &config);
    let outcome = hydrant(&["status", "--config", agent.config()]);
    assert_eq!(outcome.code, 1);
    check_text(&outcome.stderr, &["control.sock"]);
}

/// The same numbers for a person, for a machine and for Prometheus.
#[test]
fn status_in_three_ways() {
    let folder = Folder::new();
    let receiver = Receiver::start();
    let port = free_port();
    let input = folder.join("input.log");
    append(&input, "one\ntwo\n");
    let mut agent = Agent::new(folder.path(), "");
    let config = format!(
        "[sources.app]\ntype = \"file\"\npaths = [\"{}\"]\n{}",
        input.to_str().unwrap(),
        receiver.destination("lake")
    );
    let text = std::fs::read_to_string(agent.config()).unwrap();
    let with_metrics = format!("[agent]\nmetrics_listen = \"127.0.0.1:{port}\"");
    write(
        &folder.join("hydrant.toml"),
        text.replacen("[agent]", &with_metrics, 1) + &config,
    );
    agent.start();
    agent.wait_for_count("destinations", "lake", "delivered", 2);
    let status = agent.status();
    assert_eq!(
        status["agent"]["id"].as_str().or(status["agent"].as_str()),
        Some("gateway")
    );
    assert_eq!(status["sources"]["app"]["received"], 2, "{status}");
    assert_eq!(status["destinations"]["lake"]["waiting"], 0, "{status}");
    assert!(
        status["destinations"]["lake"]["oldest_waiting_ms"].is_null(),
        "{status}"
    );
    let outcome = hydrant(&["status", "--config", agent.config()]);
    assert_eq!(outcome.code, 0);
    check_text(&outcome.stdout, &["app", "lake", "2"]);
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut metrics = String::new();
    stream.read_to_string(&mut metrics).unwrap();
    check_text(
        &metrics,
        &[
            "200 OK",
            "# TYPE",
            "hydrant_",
            "source=\"app\"",
            "destination=\"lake\"",
        ],
    );
}

#[test]
fn both_signals_end_it_cleanly() {
    for signal in [Signal::TERM, Signal::INT] {
        let folder = Folder::new();
        let receiver = Receiver::start();
        let config = format!(
            "[sources.app]\ntype = \"file\"\npaths = [\"{}\"]\n{}",
            folder.text("input.log"),
            receiver.destination("lake")
        );
        let mut agent = Agent::new(folder.path(), &config);
        agent.start();
        agent.signal(signal);
        assert_eq!(agent.ended().code(), Some(0), "{signal:?}");
    }
}

/// A control socket and a ring that a killed agent left behind are in nobody's way.
#[test]
fn what_a_killed_agent_left_is_in_nobodys_way() {
    let folder = Folder::new();
    let receiver = Receiver::start();
    let config = format!(
        "[sources.app]\ntype = \"file\"\npaths = [\"{}\"]\n{}",
        folder.text("input.log"),
        receiver.destination("lake")
    );
    let mut agent = Agent::new(folder.path(), &config);
    for _ in 0..3 {
        agent.start();
        agent.kill();
    }
    agent.start();
    wait_until("an answer", || agent.ask());
}

/// The main job on embedded defaults: it feeds itself, delivers, and sums up.
#[test]
fn the_demonstration_delivers() {
    let outcome = hydrant(&["demo", "--feed", "--seconds", "5"]);
    assert_eq!(outcome.code, 0, "{}{}", outcome.stdout, outcome.stderr);
    check_text(
        &outcome.stdout,
        &["logger ", "mosquitto_pub ", "echo ", "delivered"],
    );
}

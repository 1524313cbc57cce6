//! `hydrant ring` beside an agent at full speed and on copies; never is a byte changed.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::Value;

use crate::harness::{Agent, Folder, Outcome, append, hydrant, run, wait_until};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_hydrant");

/// A destination that never answers.
const NOWHERE: &str = "[destinations.lake]\ntype = \"http\"\nurl = \"http://127.0.0.1:9/\"\n";

pub(crate) fn source(folder: &Folder) -> String {
    format!(
        "[sources.app]\ntype = \"file\"\npaths = [\"{}\"]\n{NOWHERE}",
        folder.text("input.log")
    )
}

/// Lines that compression does not make small, so that a ring fills as its size says.
pub(crate) fn line(number: u64) -> String {
    let noise = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let more = noise.rotate_left(23).wrapping_mul(noise | 1);
    format!("{number:08} {noise:016x}{more:016x}")
}

pub(crate) fn check_text(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "no {word:?} in:\n{text}");
    }
}

/// A ring that was written by an agent and left in order, in `buffer.ring` of the state directory.
pub(crate) struct Left {
    pub(crate) folder: Folder,
    pub(crate) agent: Agent,
    pub(crate) ring: String,
}

/// Of so many lines, in a ring of 1 MiB.
pub(crate) fn left(lines: u64, more: &str) -> Left {
    let folder = Folder::new();
    let config = format!("{more}{}", source(&folder));
    let mut agent = Agent::with_ring(folder.path(), "1MiB", &config);
    agent.start();
    // Not all at one moment, or the ring would not know its growth.
    append(&folder.join("input.log"), line(0) + "\n");
    agent.wait_for_count("sources", "app", "stored", 1);
    let text: String = (1..lines).map(|number| line(number) + "\n").collect();
    append(&folder.join("input.log"), text);
    agent.wait_for_count("sources", "app", "stored", lines);
    assert_eq!(agent.stop().code(), Some(0));
    let ring = folder.text("state/buffer.ring");
    Left {
        folder,
        agent,
        ring,
    }
}

/// A call that must leave the file as it is.
pub(crate) fn look(ring: &str, args: &[&str]) -> Outcome {
    let before = (
        fs::read(ring).unwrap(),
        fs::metadata(ring).unwrap().modified().unwrap(),
    );
    let outcome = hydrant(&[&["ring"], args].concat());
    let after = (
        fs::read(ring).unwrap(),
        fs::metadata(ring).unwrap().modified().unwrap(),
    );
    assert!(before == after, "{args:?} changed the ring");
    outcome
}

pub(crate) fn succeeds(outcome: Outcome) -> String {
    assert_eq!(outcome.code, 0, "{}{}", outcome.stdout, outcome.stderr);
    outcome.stdout
}

/// The records of an export, by their numbers.
pub(crate) fn records(export: &str) -> Vec<(u64, Value)> {
    let lines = export.lines().map(|line| {
        let record: Value = serde_json::from_str(line).unwrap();
        (record["seq"].as_u64().unwrap(), record)
    });
    lines.collect()
}

/// Lines of a file that is truncated now and then, as fast as the agent takes them.
fn feed(path: &Path, stop: &AtomicBool) {
    const FILE_BYTES_MAX: u64 = 64 << 20;
    let file = File::options()
        .create(true)
        .append(true)
        .open(path)
        .unwrap();
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let text: String = (number..number + 5_000)
            .map(|number| line(number) + "\n")
            .collect();
        number += 5_000;
        if file.metadata().unwrap().len() > FILE_BYTES_MAX {
            file.set_len(0).unwrap();
        }
        (&file).write_all(text.as_bytes()).unwrap();
    }
}

/// The ring laps many times while it is read; nothing of that is taken for damage.
#[test]
fn beside_an_agent_at_full_speed() {
    let folder = Folder::new();
    let mut agent = Agent::with_ring(folder.path(), "1MiB", &source(&folder));
    agent.start();
    let stop = AtomicBool::new(false);
    let input = folder.join("input.log");
    thread::scope(|scope| {
        scope.spawn(|| feed(&input, &stop));
        // The feeder is stopped also when an assertion fails.
        let stopper = Stopper(&stop);
        wait_until("a ring that laps", || {
            (agent.ask()?["destinations"]["lake"]["evicted"].as_u64()? > 0).then_some(())
        });
        let stored = agent.count("sources", "app", "stored");
        let mut exported = 0;
        for round in 0..30 {
            let told = succeeds(hydrant(&["ring", "verify", "--config", agent.config()]));
            check_text(&told, &["sound: "]);
            let info = succeeds(hydrant(&["ring", "info", "--json", "-c", agent.config()]));
            let info: Value = serde_json::from_str(&info).unwrap();
            assert!(
                info["records"].as_u64().unwrap() > 100,
                "round {round}: {info}"
            );
            assert_eq!(info["damage"]["segments"], 0, "round {round}: {info}");
            assert_eq!(info["destinations"]["lake"]["truncated"], 0, "{info}");
            let export = hydrant(&["ring", "export", "-c", agent.config()]);
            exported += check_export(&succeeds(export));
        }
        agent.check();
        let laps = agent.count("sources", "app", "stored") - stored;
        assert!(laps > 100_000 && exported > 1_000, "{laps} and {exported}");
        drop(stopper);
    });
    assert_eq!(agent.stop().code(), Some(0), "{}", agent.log());
}

struct Stopper<'a>(&'a AtomicBool);

impl Drop for Stopper<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// How many records there are, in order and as they were fed; of those that were there when the
/// export began, the first may have been overwritten.
fn check_export(export: &str) -> u64 {
    let (mut before, mut count) = (None, 0);
    for (seq, record) in records(export) {
        count += 1;
        assert!(before < Some(seq), "{seq} behind {before:?}");
        before = Some(seq);
        let payload = record["payload"].as_str().unwrap();
        let number = payload.get(..8).and_then(|number| number.parse().ok());
        assert_eq!(payload, line(number.unwrap()), "{record}");
    }
    count
}

/// The agent's lock is neither needed nor taken, and nothing is ever written.
#[test]
fn the_file_is_only_read() {
    let left = left(1_000, "");
    let (folder, ring) = (&left.folder, &left.ring);
    let lock = File::open(ring).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    for command in ["info", "verify", "export"] {
        let log = folder.text("strace.log");
        let calls = "trace=open,openat,flock,fcntl,write,pwrite64,writev,ftruncate,fallocate,fadvise64,mmap";
        let args = [
            "-f", "-y", "-o", &log, "-e", calls, BINARY, "ring", command, ring,
        ];
        run("strace", &args);
        let traced = fs::read_to_string(&log).unwrap();
        // The standard library of a debug build asks whether what it closes is open.
        let of_ring: Vec<&str> = traced
            .lines()
            .filter(|line| line.contains("buffer.ring") && !line.contains("F_GETFD"))
            .collect();
        assert_eq!(of_ring.len(), 1, "{command}: {of_ring:?}");
        assert!(of_ring[0].contains("O_RDONLY"), "{of_ring:?}");
    }
}

#[test]
fn a_copy_from_another_machine() {
    let left = left(3_000, "");
    let (folder, agent, ring) = (&left.folder, &left.agent, &left.ring);
    let copy = folder.text("copy.ring");
    fs::copy(ring, &copy).unwrap();
    let told = succeeds(look(&copy, &["verify", &copy]));
    check_text(&told, &["sound: 3,000 records read from "]);
    let page = succeeds(look(&copy, &["info", &copy]));
    check_text(
        &page,
        &[
            "3,000, numbers 0 to 2999",
            "app",
            "lake",
            "growth",
            "full",
            "outage",
        ],
    );
    let info = succeeds(look(&copy, &["info", &copy, "--json"]));
    let info: Value = serde_json::from_str(&info).unwrap();
    assert_eq!(info["sources"]["app"]["records"], 3_000, "{info}");
    assert_eq!(info["destinations"]["lake"]["waiting"], 3_000, "{info}");
    assert_eq!(
        (&info["first_seq"], &info["next_seq"]),
        (&0.into(), &3_000.into())
    );
    let export = succeeds(look(&copy, &["export", &copy]));
    let exported = records(&export);
    assert_eq!(exported.len(), 3_000);
    let id = info["id"].as_str().unwrap();
    for (number, (seq, record)) in (0..).zip(&exported) {
        assert_eq!(*seq, number);
        assert_eq!(record["payload"], line(number));
        assert_eq!(record["id"], format!("{id}-{number}"));
        assert_eq!(record["source"], "app");
        assert_eq!(record["fields"]["path"], folder.text("input.log"));
    }
    // The same through the configuration, and in a new file.
    let out = folder.text("out.ndjson");
    let written = look(ring, &["export", "-c", agent.config(), "-o", &out]);
    check_text(&written.stderr, &["3,000 records written to", "out.ndjson"]);
    assert_eq!(fs::read_to_string(&out).unwrap(), export);
    let again = look(ring, &["export", "-c", agent.config(), "-o", &out]);
    assert_eq!(again.code, 64);
    check_text(&again.stderr, &["out.ndjson exists already"]);
    assert_eq!(fs::read_to_string(&out).unwrap(), export);
}

#[test]
fn a_part_is_exported() {
    let left = left(2_000, "");
    let ring = &left.ring;
    let all = records(&succeeds(look(ring, &["export", ring])));
    let seqs = |args: &[&str]| -> Vec<u64> {
        let export = succeeds(look(ring, &[&["export", ring], args].concat()));
        records(&export).into_iter().map(|(seq, _)| seq).collect()
    };
    assert_eq!(seqs(&["--from-seq", "5", "--to-seq", "8"]), [5, 6, 7]);
    assert_eq!(seqs(&["--from-seq", "1999"]), [1999]);
    assert_eq!(seqs(&["--from-seq", "2000"]), [0; 0]);
    assert_eq!(seqs(&["--to-seq", "1", "--source", "app"]), [0]);
    let (_, middle) = &all[1_000];
    let time = middle["received_at"].as_str().unwrap();
    let is_since = |record: &Value| record["received_at"].as_str().unwrap() >= time;
    let expected: Vec<u64> = all
        .iter()
        .filter(|(_, it)| is_since(it))
        .map(|(seq, _)| *seq)
        .collect();
    assert!(!expected.is_empty());
    assert_eq!(seqs(&["--since", time]), expected);
    assert_eq!(seqs(&["--until", time]).len(), all.len() - expected.len());
    assert_eq!(seqs(&["--since", "2020-01-01T10:00"]).len(), all.len());
    assert_eq!(seqs(&["--until", "2020-01-01"]), [0; 0]);
    let sources = look(ring, &["export", ring, "--source", "nobody"]);
    assert_eq!(sources.code, 64);
    check_text(&sources.stderr, &["no source \"nobody\"", "app"]);
}

/// A reader that has seen enough, as `head` does.
#[test]
fn a_closed_pipe_is_a_quiet_end() {
    let left = left(5_000, "");
    let ring = &left.ring;
    let mut child = Command::new(BINARY)
        .args(["ring", "export", ring])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut first)
        .unwrap();
    assert_eq!(records(&first)[0].0, 0);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[test]
fn wrong_usage_of_the_ring_is_64() {
    let table: [(&[&str], &[&str]); 8] = [
        (&["info", "a", "b"], &["unexpected argument"]),
        (
            &["info", "-c", "/nowhere/h.toml"],
            &["/nowhere/h.toml", "name the file of a ring"],
        ),
        (&["verify", "--json", "x"], &["--json"]),
        (
            &["export", "x", "--since", "soon"],
            &["\"soon\" is no time", "2026-11-20T10:00"],
        ),
        (&["export", "x", "--from-seq", "-1"], &["-1"]),
        (
            &["export", "x", "--from-seq", "2", "--to-seq", "1"],
            &["--from-seq is not before"],
        ),
        (
            &[
                "export",
                "x",
                "--since",
                "2026-01-01",
                "--until",
                "2026-01-01",
            ],
            &["--since"],
        ),
        (&["shrink"], &["shrink"]),
    ];
    for (args, words) in table {
        let outcome = hydrant(&[&["ring"], args].concat());
        assert_eq!(outcome.code, 64, "{args:?}: {}", outcome.stderr);
        check_text(&outcome.stderr, words);
    }
}

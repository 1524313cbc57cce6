//! Followed files: rotation as logrotate does it, restarts, and files that are none.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use crate::harness::{Agent, Folder, Receiver, append, never_within, run, wait_until, write};

struct Files {
    agent: Agent,
    receiver: Receiver,
    folder: Folder,
}

impl Files {
    /// Follows `logs/*.log`; not started.
    fn new(more: &str) -> Self {
        let folder = Folder::new();
        let receiver = Receiver::start();
        folder.make("logs");
        let source = format!(
            "[sources.app]\ntype = \"file\"\npaths = [\"{}/*.log\"]\npoll_interval = \"1s\"\n{more}",
            folder.text("logs")
        );
        let agent = Agent::new(
            folder.path(),
            &format!("{source}{}", receiver.destination("lake")),
        );
        Files {
            agent,
            receiver,
            folder,
        }
    }

    fn started(more: &str) -> Self {
        let mut files = Files::new(more);
        files.agent.start();
        files
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.join("logs").join(name)
    }
}

fn lines(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("line {number}")).collect()
}

fn append_lines(path: &Path, range: std::ops::Range<usize>) {
    for line in lines(range) {
        append(path, line + "\n");
    }
}

#[test]
fn lines_come_in_order_with_their_path() {
    let files = Files::started("");
    let path = files.path("a.log");
    append_lines(&path, 0..20);
    files.receiver.wait_for_messages(20);
    append_lines(&path, 20..40);
    assert_eq!(files.receiver.wait_for_messages(40), lines(0..40));
    let log = files.receiver.log();
    assert_eq!(log.records[0]["path"], path.to_str().unwrap());
    assert_eq!(log.records[0]["hydrant"]["source"], "app");
}

#[test]
fn a_restart_goes_on_where_it_stopped() {
    let mut files = Files::new("");
    let path = files.path("a.log");
    for (round, kill) in [false, true, false, true].into_iter().enumerate() {
        append_lines(&path, round * 10..round * 10 + 5);
        files.agent.start();
        append_lines(&path, round * 10 + 5..round * 10 + 10);
        // A repeat after a kill must not be taken for a line of this round.
        files.receiver.wait("the lines of this round", |log| {
            (log.messages_once().len() >= round * 10 + 10).then_some(())
        });
        if kill {
            files.agent.kill();
        } else {
            assert_eq!(files.agent.stop().code(), Some(0));
        }
    }
    // What was sent again after a kill, if anything, has the same id.
    let log = files.receiver.log();
    let mut messages = log.messages_once();
    messages.sort_by_key(|line| line[5..].parse::<usize>().unwrap());
    assert_eq!(messages, lines(0..40));
}

/// Rotates with logrotate while a program goes on writing, and misses no line.
fn check_rotation(how: &str, reopens: bool) {
    let files = Files::started("");
    let path = files.path("a.log");
    let (config, state) = (
        files.folder.join("logrotate.conf"),
        files.folder.text("rotated"),
    );
    write(
        &config,
        format!(
            "\"{}\" {{\n size 1\n rotate 9\n {how}\n}}\n",
            path.to_str().unwrap()
        ),
    );
    // logrotate wants files that only their owner can write.
    fs::set_permissions(&config, fs::Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(files.folder.join("logs"), fs::Permissions::from_mode(0o755)).unwrap();
    let open = || {
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .unwrap()
    };
    let mut writer = open();
    for round in 0..6 {
        for line in lines(round * 10..round * 10 + 10) {
            writeln!(writer, "{line}").unwrap();
        }
        // copytruncate takes away what was not read yet: that window is logrotate's own.
        files.receiver.wait_for_messages(round * 10 + 10);
        run("logrotate", &["-f", "-s", &state, config.to_str().unwrap()]);
        // A program that keeps its file writes a last line into the rotated one.
        writeln!(writer, "kept {round}").unwrap();
        files.receiver.wait_for_message(&format!("kept {round}"));
        if reopens {
            writer = open();
        }
    }
    let log = files.receiver.log();
    let (kept, numbered): (Vec<&str>, Vec<&str>) = log
        .messages()
        .into_iter()
        .partition(|line| line.starts_with("kept"));
    assert_eq!(kept.len(), 6, "{kept:?}");
    assert_eq!(numbered.len() + kept.len(), 66, "{:?}", log.messages());
}

#[test]
fn logrotate_renames_and_creates() {
    check_rotation("create", true);
}

#[test]
fn logrotate_copies_and_truncates() {
    check_rotation("copytruncate", false);
}

#[test]
fn a_rotation_while_the_agent_is_away_loses_nothing() {
    let mut files = Files::started("");
    let path = files.path("a.log");
    append_lines(&path, 0..10);
    files.receiver.wait_for_messages(10);
    files.agent.stop();
    append_lines(&path, 10..20);
    fs::rename(&path, files.path("a-1.log")).unwrap();
    append_lines(&path, 20..30);
    files.agent.start();
    let mut messages: Vec<String> = files.receiver.wait("30 records", |log| {
        let once = log.messages_once();
        (once.len() >= 30).then(|| once.into_iter().map(str::to_owned).collect())
    });
    messages.sort_by_key(|line| line[5..].parse::<usize>().unwrap());
    assert_eq!(messages, lines(0..30));
}

#[test]
fn a_partial_line_waits_for_its_end() {
    let files = Files::started("");
    let path = files.path("a.log");
    append(&path, "whole\nhal");
    files.receiver.wait_for_message("whole");
    never_within(Duration::from_secs(2), "half a line is delivered", || {
        files.receiver.log().records.len() > 1
    });
    append(&path, "f\n");
    files.receiver.wait_for_message("half");
}

#[test]
fn over_long_lines_are_cut_and_counted() {
    let mut files = Files::started("line_bytes_max = \"64KiB\"\n");
    let path = files.path("a.log");
    append(&path, "before\n");
    append(&path, "x".repeat(10_000_000));
    append(&path, "\nbehind\n");
    let messages = files.receiver.wait_for_messages(3);
    assert_eq!(messages[0], "before");
    assert_eq!(messages[1].len(), 64 * 1024);
    assert_eq!(messages[2], "behind");
    assert_eq!(files.agent.count("sources", "app", "cut"), 1);
    assert_eq!(files.receiver.log().records[1]["truncated"], true);
    assert!(files.receiver.log().records[0].get("truncated").is_none());
    assert!(
        files.agent.memory_peak_kib() < 48 * 1024,
        "{} KiB",
        files.agent.memory_peak_kib()
    );
}

#[test]
fn bytes_that_are_no_text_pass_through() {
    let files = Files::started("");
    append(&files.path("a.log"), b"\xff\xfe\x00bin\x80\ntext\n");
    files.receiver.wait_for_message("text");
    let log = files.receiver.log();
    assert_eq!(log.records.len(), 2, "{:?}", log.records);
    assert_eq!(files.agent.count("sources", "app", "stored"), 2);
}

/// What is no file, or cannot be read, is told and keeps nothing else from being read.
#[test]
fn what_cannot_be_read_stops_nothing() {
    let mut files = Files::new("");
    fs::create_dir(files.path("folder.log")).unwrap();
    run("mkfifo", &[files.path("pipe.log")]);
    std::os::unix::fs::symlink("nowhere", files.path("dangling.log")).unwrap();
    append(&files.path("a.log"), "one\n");
    files.agent.launch();
    files.receiver.wait_for_message("one");
    fs::remove_file(files.path("a.log")).unwrap();
    append(&files.path("b.log"), "two\n");
    files.receiver.wait_for_message("two");
    append(&files.path("a.log"), "three\n");
    files.receiver.wait_for_message("three");
    files.agent.check();
    assert_eq!(files.receiver.log().messages(), ["one", "two", "three"]);
}

#[test]
fn start_at_end_skips_what_was_there() {
    let mut files = Files::new("start_at = \"end\"\n");
    append(&files.path("old.log"), "was there\n");
    files.agent.start();
    // What is added before the first look is skipped as well.
    wait_until("a line that was added", || {
        append(&files.path("old.log"), "was added\n");
        let log = files.receiver.log();
        log.messages().contains(&"was added").then_some(())
    });
    append(&files.path("new.log"), "came later\n");
    files.receiver.wait_for_message("came later");
    assert!(!files.receiver.log().messages().contains(&"was there"));
}

const TRACE: &str = "\
2026-11-25 08:00:00 ERROR order failed
java.lang.IllegalStateException: no stock
\tat com.example.Shop.order(Shop.java:42)
Caused by: java.io.IOException: broken pipe
\t... 2 more";

/// A restart in the middle of a record neither loses nor splits it.
#[test]
fn a_stack_trace_is_one_record_over_a_restart() {
    let mut files =
        Files::started("multiline = { start = '^\\d{4}-\\d\\d-\\d\\d ', timeout = \"10m\" }\n");
    let (path, other) = (files.path("a.log"), files.path("b.log"));
    append(&path, "2026-11-25 07:00:00 INFO begin\n");
    let (begin, end) = TRACE.split_at(100);
    for kill in [false, true] {
        append(&path, begin);
        append(
            &other,
            format!("2026-11-25 08:00:00 b {kill}\n2026-11-25 08:00:01 open\n"),
        );
        files
            .receiver
            .wait_for_message(&format!("2026-11-25 08:00:00 b {kill}"));
        if kill {
            files.agent.kill();
        } else {
            assert_eq!(files.agent.stop().code(), Some(0));
        }
        append(&path, format!("{end}\n2026-11-25 09:00:00 INFO next\n"));
        files.agent.start();
        files.receiver.wait("the whole record", |log| {
            let traces = log
                .messages_once()
                .into_iter()
                .filter(|text| *text == TRACE);
            (traces.count() > usize::from(kill)).then_some(())
        });
    }
    let log = files.receiver.log();
    let of_a = |record: &&serde_json::Value| record["path"] == path.to_str().unwrap();
    let records = log.once().into_iter().filter(of_a);
    let records: Vec<&str> = records
        .map(|record| record["message"].as_str().unwrap())
        .collect();
    let (begin, next) = (
        "2026-11-25 07:00:00 INFO begin",
        "2026-11-25 09:00:00 INFO next",
    );
    assert_eq!(records, [begin, TRACE, next, TRACE]);
}

const CRI: &str = "\
2026-11-25T08:00:00.1Z stderr F Traceback (most recent call last):
2026-11-25T08:00:00.2Z stdout F fine
2026-11-25T08:00:00.3Z stderr P   File \"/app/main.py\", line 12,
2026-11-25T08:00:00.4Z stderr F  in <module>
not of this format
";

#[test]
fn container_logs_are_unwrapped_and_joined() {
    let files = Files::started("format = \"cri\"\nmultiline = { indentation = true }\n");
    append(&files.path("a.log"), CRI);
    files.receiver.wait_for_message("not of this format");
    let log = files.receiver.log();
    let shown: Vec<(&str, &str, &str)> = log
        .records
        .iter()
        .map(|record| {
            let of = |value: &'static str| record[value].as_str().unwrap_or_default();
            let time = record["hydrant"]["time"].as_str().unwrap_or_default();
            (of("message"), of("stream"), time)
        })
        .collect();
    let trace = "Traceback (most recent call last):\n  File \"/app/main.py\", line 12, in <module>";
    assert_eq!(
        shown,
        [
            (trace, "stderr", "2026-11-25T08:00:00.100Z"),
            ("fine", "stdout", "2026-11-25T08:00:00.200Z"),
            ("not of this format", "", ""),
        ]
    );
    assert!(log.records[2]["hydrant"]["decode_error"].is_string());
    drop(log);
    assert_eq!(files.agent.count("sources", "app", "decode_errors"), 1);
}

#[test]
fn other_encodings_become_text() {
    let files = Files::started("encoding = \"utf-16\"\n");
    let text = "\u{feff}Gr\u{fc}\u{df}e \u{a0a}\r\nzwei\r\n";
    let bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    append(&files.path("a.log"), bytes);
    let messages = files.receiver.wait_for_messages(2);
    assert_eq!(messages, ["Gr\u{fc}\u{df}e \u{a0a}", "zwei"]);
}

/// As logrotate packs it, with a restart before that.
#[test]
fn logrotate_packs_what_was_read() {
    let mut files = Files::new("");
    let path = files.path("a.log");
    let config = files.folder.join("logrotate.conf");
    let state = files.folder.text("rotated");
    let (wanted, source) = (path.to_str().unwrap(), files.folder.text("logs"));
    files.agent.configure(
        "16MiB",
        &format!(
            "[sources.app]\ntype = \"file\"\npoll_interval = \"1s\"\n\
             paths = [\"{source}/*.log\", \"{source}/*.gz\"]\n{}",
            files.receiver.destination("lake")
        ),
    );
    write(
        &config,
        format!("\"{wanted}\" {{\n size 1\n rotate 9\n create\n compress\n}}\n"),
    );
    fs::set_permissions(&config, fs::Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(files.folder.join("logs"), fs::Permissions::from_mode(0o755)).unwrap();
    files.agent.start();
    for round in 0..3 {
        // Enough to be recognized by.
        append_lines(&path, round * 100..round * 100 + 50);
        files
            .receiver
            .wait_for_message(&format!("line {}", round * 100 + 49));
        // The rest of the file is read from the packed one.
        files.agent.stop();
        append_lines(&path, round * 100 + 50..round * 100 + 100);
        run("logrotate", &["-f", "-s", &state, config.to_str().unwrap()]);
        files.agent.start();
        files
            .receiver
            .wait_for_message(&format!("line {}", round * 100 + 99));
    }
    // A line behind all of them, and time enough for what would come twice.
    append_lines(&path, 300..301);
    files.receiver.wait_for_message("line 300");
    never_within(Duration::from_secs(4), "lines come twice", || {
        files.receiver.log().once().len() > 301
    });
    let log = files.receiver.log();
    let mut messages = log.messages_once();
    messages.sort_by_key(|line| line[5..].parse::<usize>().unwrap());
    assert_eq!(messages, lines(0..301));
}

/// Descriptors for no more than a few of them.
#[test]
fn thousands_of_files_within_256_descriptors() {
    const COUNT: usize = 5000;
    let write = |files: &Files, round: &str| {
        for n in 0..COUNT {
            append(&files.path(&format!("{n}.log")), format!("{round} {n}\n"));
        }
    };
    let mut files = Files::new("");
    write(&files, "first");
    let limited = ["prlimit", "--nofile=256", "setpriv", "--pdeathsig", "KILL"];
    files.agent.launch_under(&limited);
    files.receiver.wait_for_messages(COUNT);
    write(&files, "second");
    files.receiver.wait_for_messages(2 * COUNT);
    // The ring has room for the places of a fifth of them; the others have it beside the ring.
    assert_eq!(files.agent.stop().code(), Some(0));
    write(&files, "third");
    files.agent.launch_under(&limited);
    files.receiver.wait_for_messages(3 * COUNT);
    let log = files.receiver.log();
    let mut messages = log.messages();
    messages.sort_unstable();
    messages.dedup();
    assert_eq!((messages.len(), log.records.len()), (3 * COUNT, 3 * COUNT));
    drop(log);
    files.agent.check();
}

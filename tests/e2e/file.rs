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

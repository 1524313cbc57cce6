//! The follower against real files: what is done to them is random, time is not real, and what
//! the ring has kept at a crash is a prefix of what came out.

mod names;
mod packed;
mod random;
mod records;

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pipeline::config::{ByteSize, Encoding, FileConfig, LineFormat, StartAt, Watching};
use pipeline::time::{Monotonic, WallClock};

use super::follower::Follower;
use super::{Out, run};
use crate::source::mqtt::harness::Harness;
use crate::telemetry::SourceCount;

/// A folder that is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("hydrant-{}-{name}", std::process::id()));
        drop(fs::remove_dir_all(&path));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn append(&self, name: &str, content: &[u8]) {
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path(name))
            .unwrap();
        file.write_all(content).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Kept {
    Line(Vec<u8>),
    Checkpoint(Vec<u8>, u64),
    Forget(Vec<u8>),
}

/// A follower with a ring that forgets what was not synced.
struct Bed {
    config: FileConfig,
    follower: Follower,
    kept: Vec<Kept>,
    synced: usize,
    cut: usize,
    broken: usize,
    wall: WallClock,
    now: Duration,
}

impl Bed {
    fn new(paths: &[PathBuf], start_at: StartAt) -> Self {
        Self::with(paths, start_at, |_| {})
    }

    fn with(paths: &[PathBuf], start_at: StartAt, change: impl FnOnce(&mut FileConfig)) -> Self {
        let mut config = FileConfig {
            paths: paths
                .iter()
                .map(|path| path.to_str().unwrap().to_owned())
                .collect(),
            exclude: Vec::new(),
            start_at,
            ignore_older: None,
            open_files_max: 256,
            watch: Watching::Auto,
            line_bytes_max: ByteSize::bytes(200_000),
            poll_interval: Duration::from_secs(10),
            encoding: Encoding::Utf8,
            format: LineFormat::Plain,
            multiline: None,
        };
        change(&mut config);
        Self {
            follower: Follower::new(&config, &[], Monotonic::default()),
            config,
            kept: Vec::new(),
            synced: 0,
            cut: 0,
            broken: 0,
            wall: WallClock::default(),
            now: Duration::ZERO,
        }
    }

    /// Works as if everything had been heard of, at most `turns` times; true when all was done.
    fn work(&mut self, turns: usize) -> bool {
        let now = Monotonic::from_start(self.now);
        self.follower.names_changed(now);
        self.step(turns)
    }

    fn step(&mut self, turns: usize) -> bool {
        let now = Monotonic::from_start(self.now);
        self.follower.set_wall(self.wall);
        for _ in 0..turns {
            let (kept, cut, broken) = (&mut self.kept, &mut self.cut, &mut self.broken);
            let more = self.follower.work(now, &mut |out| match out {
                Out::Line { bytes, .. } => kept.push(Kept::Line(bytes.to_vec())),
                Out::Record { record, .. } => {
                    *cut += usize::from(record.truncated);
                    kept.push(Kept::Line(record.payload));
                }
                Out::Broken => *broken += 1,
                Out::Checkpoint(key, offset) => kept.push(Kept::Checkpoint(key.to_vec(), offset)),
                Out::Forget(key) => kept.push(Kept::Forget(key.to_vec())),
            });
            if !more {
                return true;
            }
        }
        false
    }

    /// Lets time pass and works until there is nothing left.
    fn settle(&mut self) {
        for _ in 0..12 {
            self.now += Duration::from_secs(1);
            assert!(self.work(10_000), "there is always more to do");
        }
    }

    fn lines(&self) -> Vec<String> {
        self.kept
            .iter()
            .filter_map(|kept| match kept {
                Kept::Line(line) => Some(String::from_utf8_lossy(line).into_owned()),
                Kept::Checkpoint(..) | Kept::Forget(_) => None,
            })
            .collect()
    }

    fn checkpoints(&self) -> Vec<(Vec<u8>, u64)> {
        let mut states = BTreeMap::new();
        for kept in &self.kept {
            match kept {
                Kept::Line(_) => {}
                Kept::Checkpoint(key, offset) => {
                    states.insert(key.clone(), *offset);
                }
                Kept::Forget(key) => {
                    states.remove(key);
                }
            }
        }
        states.into_iter().collect()
    }

    /// Starts with these checkpoints, which the ring holds from an earlier run.
    fn continue_from(&mut self, places: &[(Vec<u8>, u64)]) {
        let now = Monotonic::from_start(self.now);
        let places = places.iter();
        let kept = places.map(|(key, offset)| Kept::Checkpoint(key.clone(), *offset));
        self.kept.extend(kept);
        self.follower = Follower::new(&self.config, &self.checkpoints(), now);
    }

    /// Dies and starts again; of what was not synced the first `survive` steps survive.
    fn crash(&mut self, survive: usize) {
        let mut end = self.kept.len().min(self.synced.saturating_add(survive));
        // The ring never has a line without the checkpoint after it.
        while matches!(self.kept[..end].last(), Some(Kept::Line(_))) {
            end -= 1;
        }
        self.kept.truncate(end);
        self.synced = end;
        let now = Monotonic::from_start(self.now);
        self.follower = Follower::new(&self.config, &self.checkpoints(), now);
    }
}

fn check(bed: &Bed, expected: &[&str]) {
    assert_eq!(bed.lines(), expected);
}

#[test]
fn lines_come_once_and_unfinished_ones_wait() {
    let folder = Folder::new("lines");
    let mut bed = Bed::new(&[folder.path("*.log")], StartAt::Beginning);
    bed.settle();
    folder.append("a.log", b"one\r\ntwo\n\nthr");
    folder.append("a.txt", b"not asked for\n");
    bed.settle();
    check(&bed, &["one", "two", ""]);
    folder.append("a.log", b"ee\n");
    bed.settle();
    bed.crash(usize::MAX);
    bed.settle();
    check(&bed, &["one", "two", "", "three"]);
}

#[test]
fn start_at_end_is_for_the_first_look_only() {
    let folder = Folder::new("end");
    folder.append("a.log", b"old\nhalf");
    folder.append("empty.log", b"");
    let mut bed = Bed::new(&[folder.path("*.log")], StartAt::End);
    bed.settle();
    check(&bed, &[]);
    bed.crash(usize::MAX);
    folder.append("a.log", b" and half\n");
    folder.append("empty.log", b"first\n");
    folder.append("b.log", b"new\n");
    bed.settle();
    let mut lines = bed.lines();
    lines.sort();
    assert_eq!(lines, ["first", "half and half", "new"]);
}

#[test]
fn long_lines_are_cut_and_counted_without_holding_them() {
    let folder = Folder::new("long");
    let mut bed = Bed::new(&[folder.path("a.log")], StartAt::Beginning);
    for len in [
        65_535, 65_536, 65_537, 199_999, 200_000, 200_001, 10_000_000,
    ] {
        let mut line = vec![b'x'; len];
        line.extend_from_slice(b"\nnext\n");
        folder.append("a.log", &line);
    }
    bed.settle();
    let lens: Vec<usize> = bed.lines().iter().map(String::len).collect();
    let expected = [
        65_535, 4, 65_536, 4, 65_537, 4, 199_999, 4, 200_000, 4, 200_000, 4, 200_000, 4,
    ];
    assert_eq!(lens, expected);
    assert_eq!(bed.cut, 2);
    bed.crash(usize::MAX);
    bed.settle();
    assert_eq!(bed.lines().len(), expected.len());
}

#[test]
fn renamed_file_is_read_to_its_end() {
    let folder = Folder::new("rename");
    let mut bed = Bed::new(&[folder.path("a.log")], StartAt::Beginning);
    folder.append("a.log", b"1\n");
    bed.settle();
    folder.append("a.log", b"2\n");
    fs::rename(folder.path("a.log"), folder.path("a.log.1")).unwrap();
    folder.append("a.log", b"4\n");
    folder.append("a.log.1", b"3\nunfinished");
    bed.settle();
    let mut lines = bed.lines();
    lines.sort();
    assert_eq!(lines, ["1", "2", "3", "4", "unfinished"]);
    // Also when nobody was looking.
    bed.crash(usize::MAX);
    folder.append("a.log", b"5\n");
    fs::rename(folder.path("a.log"), folder.path("a.log.2")).unwrap();
    folder.append("a.log.2", b"6\n");
    bed.settle();
    assert_eq!(bed.lines()[5..], ["5", "6"]);
}

#[test]
fn a_file_that_was_refilled_is_noticed_before_it_is_read_on() {
    let folder = Folder::new("refill");
    let mut bed = Bed::new(&[folder.path("a.log")], StartAt::Beginning);
    folder.append("a.log", b"one\ntwo\n");
    bed.settle();
    fs::File::create(folder.path("a.log")).unwrap();
    folder.append("a.log", b"three\nfour\nfive\n");
    // Only of the writing is heard, as inotify tells it: the folders are not looked at first.
    bed.follower.written(&[folder.path("a.log")].into());
    assert!(bed.step(100));
    check(&bed, &["one", "two"]);
    bed.now += Duration::from_secs(1);
    assert!(bed.step(100));
    check(&bed, &["one", "two", "three", "four", "five"]);
}

#[test]
fn removed_file_is_read_to_its_end() {
    let folder = Folder::new("remove");
    let mut bed = Bed::new(&[folder.path("a.log")], StartAt::Beginning);
    folder.append("a.log", b"1\n");
    bed.settle();
    folder.append("a.log", b"2\n3");
    fs::remove_file(folder.path("a.log")).unwrap();
    bed.settle();
    check(&bed, &["1", "2", "3"]);
    folder.append("a.log", b"1\n");
    bed.settle();
    check(&bed, &["1", "2", "3", "1"]);
}

#[test]
fn what_cannot_be_followed_is_told_and_recovers() {
    let folder = Folder::new("told");
    fs::create_dir(folder.path("folder.log")).unwrap();
    let fifo = folder.path("fifo.log");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).unwrap();
    std::os::unix::fs::symlink("nowhere", folder.path("link.log")).unwrap();
    let mut bed = Bed::new(
        &[
            folder.path("*.log"),
            folder.path("folder.log"),
            folder.path("later/deep/*.log"),
            PathBuf::from("relative/*.log"),
            folder.path("[.log"),
        ],
        StartAt::Beginning,
    );
    bed.settle();
    let told: Vec<&Path> = bed
        .follower
        .problems()
        .keys()
        .map(PathBuf::as_path)
        .collect();
    let expected = [
        folder.path("[.log"),
        fifo.clone(),
        folder.path("folder.log"),
        folder.path("later/deep/*.log"),
        PathBuf::from("relative/*.log"),
    ];
    assert_eq!(told, expected);
    assert!(bed.follower.folders().contains(&folder.0));

    fs::create_dir_all(folder.path("later/deep")).unwrap();
    folder.append("later/deep/a.log", b"late\n");
    fs::remove_file(&fifo).unwrap();
    folder.append("fifo.log", b"a file by now\n");
    folder.append("nowhere", b"by a link\n");
    bed.settle();
    let mut lines = bed.lines();
    lines.sort();
    assert_eq!(lines, ["a file by now", "by a link", "late"]);
    assert_eq!(bed.follower.problems().len(), 3);
}

#[test]
fn more_files_than_descriptors() {
    let folder = Folder::new("many");
    let mut bed = Bed::new(&[folder.path("**/*.log")], StartAt::Beginning);
    fs::create_dir_all(folder.path("x/y")).unwrap();
    for round in 0..3 {
        for n in 0..700 {
            folder.append(&format!("x/y/{n}.log"), format!("{round} {n}\n").as_bytes());
        }
        bed.settle();
    }
    bed.crash(usize::MAX);
    bed.settle();
    let mut lines = bed.lines();
    assert_eq!(lines.len(), 2100);
    lines.sort();
    lines.dedup();
    assert_eq!(lines.len(), 2100);
}

#[test]
fn forgotten_when_gone_for_long() {
    let folder = Folder::new("forget");
    let mut bed = Bed::new(&[folder.path("*.log")], StartAt::Beginning);
    folder.append("a.log", b"1\n");
    bed.settle();
    assert_eq!(bed.checkpoints().len(), 2);
    fs::remove_file(folder.path("a.log")).unwrap();
    bed.settle();
    assert_eq!(bed.checkpoints().len(), 2);
    bed.now += Duration::from_hours(1);
    bed.settle();
    assert_eq!(bed.checkpoints().len(), 1);
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait)
        .await
        .unwrap_or_else(|_| panic!("waited in vain for {what}"));
}

#[tokio::test]
async fn what_is_written_is_heard_of() {
    let folder = Folder::new("heard");
    let harness = Harness::new(1 << 20);
    let config = FileConfig {
        paths: vec![folder.path("*.log").to_str().unwrap().to_owned()],
        exclude: Vec::new(),
        start_at: StartAt::Beginning,
        ignore_older: None,
        open_files_max: 256,
        watch: Watching::Auto,
        line_bytes_max: ByteSize::bytes(10),
        // Only what the kernel tells is in time.
        poll_interval: Duration::from_hours(1),
        encoding: Encoding::Utf8,
        format: LineFormat::Plain,
        multiline: None,
    };
    let task = tokio::spawn(run(config, harness.intake.clone(), harness.shutdown()));
    until("an error", || harness.counters.error().is_some()).await;
    folder.append("a.log", b"one\n");
    until("a line", || harness.records().len() == 1).await;
    assert_eq!(harness.counters.error(), None);
    folder.append("a.log", b"two, cut after it\n");
    until("another line", || harness.records().len() == 2).await;
    fs::rename(folder.path("a.log"), folder.path("a.log.1")).unwrap();
    folder.append("a.log.1", b"three\n");
    folder.append("a.log", b"four\n");
    until("four lines", || harness.records().len() == 4).await;
    harness.end();
    task.await.unwrap();
    let mut payloads = harness.payloads();
    payloads.sort();
    assert_eq!(payloads, ["four", "one", "three", "two, cut a"]);
    assert_eq!(harness.counters.get(SourceCount::Cut), 1);
    for record in harness.records() {
        let path = folder.path("a.log").to_str().unwrap().to_owned();
        assert_eq!(record.fields.get("path"), Some(&path.into()));
    }
}

#[tokio::test]
async fn without_the_kernel_files_are_polled() {
    let folder = Folder::new("polled");
    let harness = Harness::new(1 << 20);
    let mut bed = Bed::new(&[folder.path("later/*.log")], StartAt::Beginning);
    bed.config.watch = Watching::Poll;
    bed.config.poll_interval = Duration::from_millis(100);
    let config = bed.config.clone();
    let task = tokio::spawn(run(config, harness.intake.clone(), harness.shutdown()));
    until("an error", || harness.counters.error().is_some()).await;
    fs::create_dir(folder.path("later")).unwrap();
    for n in 1..4 {
        folder.append("later/a.log", b"line\n");
        until("a line", || harness.records().len() == n).await;
    }
    harness.end();
    task.await.unwrap();
}

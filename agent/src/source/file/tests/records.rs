//! Records of several lines in files that grow, are rotated and emptied, read by a source that is
//! killed at random.

use std::fs::{self, File};
use std::time::Duration;

use pipeline::config::{ByteSize, MultilineConfig, MultilineRule, StartAt};

use super::random::Random;
use super::{Bed, Folder, check};

/// Follows `a.log*`; a record begins with `R`.
fn joining(folder: &Folder, timeout: Duration) -> Bed {
    Bed::with(&[folder.path("*.log*")], StartAt::Beginning, |config| {
        config.multiline = Some(MultilineConfig {
            rule: MultilineRule::Start("^R".to_owned()),
            timeout,
            bytes_max: ByteSize::bytes(300_000),
            lines_max: 1000,
        });
    })
}

#[test]
fn a_record_is_whole_whatever_is_killed_in_the_middle_of_it() {
    let folder = Folder::new("record-kill");
    let mut bed = joining(&folder, Duration::from_secs(1));
    for part in ["R one\n", "  at a\n", "  at", " b\n"] {
        folder.append("a.log", part.as_bytes());
        bed.work(1000);
        bed.crash(usize::MAX);
    }
    folder.append("a.log", b"R two\n");
    bed.work(1000);
    check(&bed, &["R one\n  at a\n  at b"]);
    bed.settle();
    check(&bed, &["R one\n  at a\n  at b", "R two"]);
    bed.crash(usize::MAX);
    folder.append("a.log", b"  late\n");
    bed.settle();
    check(&bed, &["R one\n  at a\n  at b", "R two", "  late"]);
}

#[test]
fn rotation_ends_an_open_record() {
    let folder = Folder::new("record-rotation");
    let mut bed = joining(&folder, Duration::from_mins(10));
    folder.append("a.log", b"R one\n  at a\n");
    bed.work(1000);
    fs::rename(folder.path("a.log"), folder.path("a.log.1")).unwrap();
    folder.append("a.log.1", b"  at b");
    folder.append("a.log", b"  of another\n");
    bed.settle();
    check(&bed, &["R one\n  at a\n  at b"]);
    folder.append("a.log", b"R two\n");
    bed.settle();
    check(&bed, &["R one\n  at a\n  at b", "  of another"]);
}

#[test]
fn what_was_read_of_an_emptied_file_is_not_lost() {
    let folder = Folder::new("record-emptied");
    let mut bed = joining(&folder, Duration::from_mins(10));
    folder.append("a.log", b"R one\n  at a\n");
    bed.work(1000);
    File::create(folder.path("a.log")).unwrap();
    folder.append("a.log", b"R 2\n");
    bed.now += Duration::from_secs(1);
    bed.work(1000);
    check(&bed, &["R one\n  at a"]);
}

#[test]
fn a_copied_file_goes_on_with_its_open_record() {
    let folder = Folder::new("record-copied");
    let mut bed = joining(&folder, Duration::from_mins(10));
    folder.append("a.log", b"R one\n  at a\n");
    bed.work(1000);
    folder.append("a.log", b"  at b\n");
    fs::copy(folder.path("a.log"), folder.path("a.log.1")).unwrap();
    File::create(folder.path("a.log")).unwrap();
    folder.append("a.log", b"R 2\nR 3\n");
    bed.settle();
    let mut records = bed.lines();
    records.sort();
    assert_eq!(records, ["R 2", "R one\n  at a\n  at b"]);
}

#[test]
fn a_record_waits_for_what_is_in_its_file_already() {
    let folder = Folder::new("record-behind");
    let mut bed = joining(&folder, Duration::from_secs(1));
    folder.append("a.log", b"R one\n  at a\n");
    bed.work(1000);
    // Nobody hears of it, and the store has no room for a while.
    folder.append("a.log", b"  at b\nR two\n");
    bed.now += Duration::from_secs(5);
    bed.step(1000);
    check(&bed, &["R one\n  at a\n  at b"]);
}

#[test]
fn what_waits_in_all_files_is_bounded() {
    let folder = Folder::new("record-bounded");
    let mut bed = joining(&folder, Duration::from_mins(10));
    for n in 0..40 {
        let line = format!("R {n} {}\n", "x".repeat(180_000));
        folder.append(&format!("{n}.log"), line.as_bytes());
    }
    assert!(bed.work(1000));
    assert!(
        bed.follower.held_bytes() < 5 << 20,
        "{}",
        bed.follower.held_bytes()
    );
    assert!(bed.lines().len() > 10);
}

/// Each record once and whole, whatever happens while it is written.
fn run_random(seed: u64) {
    let mut random = Random::new(seed);
    let folder = Folder::new(&format!("record-random-{seed}"));
    let mut bed = joining(&folder, Duration::from_hours(1));
    let mut expected = Vec::new();
    let mut rest = String::new();
    let mut rotated = 0;
    for _ in 0..60 {
        match random.below(8) {
            0..4 => {
                if rest.is_empty() {
                    let mut record = vec![format!("R {}", expected.len())];
                    for n in 0..random.below(6) {
                        record.push(format!("  at {n} {}", "x".repeat(random.below(60))));
                    }
                    if random.below(20) == 0 {
                        record.push(format!("  {}", "y".repeat(70_000)));
                    }
                    let record = record.join("\n");
                    rest = record.clone() + "\n";
                    expected.push(record);
                }
                let end = 1 + random.below(rest.len());
                folder.append("a.log", &rest.as_bytes()[..end]);
                rest.drain(..end);
            }
            4 => bed.synced = bed.kept.len(),
            5 => {
                let survive = random.below(20);
                bed.crash(survive);
            }
            6 if rest.is_empty() && folder.path("a.log").exists() => {
                rotated += 1;
                let name = folder.path(&format!("a.log.{rotated}"));
                fs::rename(folder.path("a.log"), name).unwrap();
            }
            _ => {
                bed.now += Duration::from_millis(300);
                let turns = 1 + random.below(6);
                bed.work(turns);
            }
        }
    }
    folder.append("a.log", rest.as_bytes());
    bed.settle();
    for entry in fs::read_dir(&folder.0).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    bed.settle();
    let mut records = bed.lines();
    records.sort();
    expected.sort();
    assert!(
        records == expected,
        "seed {seed}: {records:?}\n{expected:?}"
    );
}

#[test]
fn each_record_once_and_whole_whatever_happens() {
    let seeds = std::env::var("SIM_SEEDS").map_or(60, |seeds| seeds.parse().unwrap());
    for seed in 1..=seeds {
        run_random(seed);
    }
}

//! Programs that write and rotate at random, a source that is killed at random.

use std::fs::{self, File};
use std::time::Duration;

use pipeline::config::StartAt;

use super::{Bed, Folder};

pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit).unwrap()).unwrap()
    }
}

/// What a program and its log rotation do, and what must come of it.
struct Writer {
    folder: Folder,
    /// How many old files there are of each log.
    rotated: [usize; 2],
    /// A line that the program has begun in its current file, and the rest of it.
    begun: [Option<(String, String)>; 2],
    expected: Vec<String>,
    number: usize,
}

impl Writer {
    const NAMES: [&str; 2] = ["a.log", "b.log"];

    fn line(&mut self, random: &mut Random) -> String {
        self.number += 1;
        let len = match random.below(20) {
            0 => random.below(70_000),
            1..4 => 0,
            _ => random.below(120),
        };
        format!("line {} {}", self.number, "x".repeat(len))
    }

    fn append(&mut self, n: usize, random: &mut Random) {
        let mut content = String::new();
        if let Some((start, end)) = self.begun[n].take() {
            content.push_str(&end);
            content.push('\n');
            self.expected.push(start + &end);
        }
        for _ in 0..random.below(8) {
            let line = self.line(random);
            content.push_str(&line);
            content.push('\n');
            self.expected.push(line);
        }
        if random.below(3) == 0 {
            let line = self.line(random);
            let (start, end) = line.split_at(1 + random.below(line.len() - 1));
            content.push_str(start);
            self.begun[n] = Some((start.to_owned(), end.to_owned()));
        }
        self.folder.append(Self::NAMES[n], content.as_bytes());
    }

    /// A line that is begun ends with its file; its rest will be a line of its own.
    fn split_begun(&mut self, n: usize) {
        if let Some((start, _)) = &mut self.begun[n] {
            let start = std::mem::take(start);
            if !start.is_empty() {
                self.expected.push(start);
            }
        }
    }

    /// Ends the line that is begun if it is all there is in its file.
    fn finish_only_line(&mut self, n: usize) {
        let content = fs::read(self.folder.path(Self::NAMES[n])).unwrap_or_default();
        if !content.contains(&b'\n')
            && let Some((start, end)) = self.begun[n].take()
        {
            self.folder
                .append(Self::NAMES[n], (end.clone() + "\n").as_bytes());
            self.expected.push(start + &end);
        }
    }

    /// Makes room for a new `NAME.1`.
    fn shift(&mut self, n: usize) {
        let name = Self::NAMES[n];
        for old in (1..=self.rotated[n]).rev() {
            fs::rename(
                self.folder.path(&format!("{name}.{old}")),
                self.folder.path(&format!("{name}.{}", old + 1)),
            )
            .unwrap();
        }
        self.rotated[n] += 1;
    }

    fn rename(&mut self, n: usize) {
        let name = Self::NAMES[n];
        if self.folder.path(name).exists() {
            self.split_begun(n);
            self.shift(n);
            fs::rename(
                self.folder.path(name),
                self.folder.path(&format!("{name}.1")),
            )
            .unwrap();
            File::create(self.folder.path(name)).unwrap();
        }
    }

    fn copy_and_truncate(&mut self, n: usize, between: impl FnOnce()) {
        let name = Self::NAMES[n];
        if self.folder.path(name).exists() {
            self.split_begun(n);
            self.shift(n);
            fs::copy(
                self.folder.path(name),
                self.folder.path(&format!("{name}.1")),
            )
            .unwrap();
            between();
            File::create(self.folder.path(name)).unwrap();
        }
    }

    fn remove_all(&mut self) {
        for entry in fs::read_dir(&self.folder.0).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
    }
}

/// Each line once, whatever happens. With a pattern that also takes rotated files everything may
/// happen at any time; with one that does not, a file must have been looked at, and that be
/// durable, before it is rotated out of sight.
fn run_random(seed: u64, wide: bool) {
    let mut random = Random::new(seed);
    let folder = Folder::new(&format!("random-{wide}-{seed}"));
    let pattern = folder.path(if wide { "*.log*" } else { "*.log" });
    let mut bed = Bed::new(&[pattern], StartAt::Beginning);
    let mut writer = Writer {
        folder,
        rotated: [0, 0],
        begun: [None, None],
        expected: Vec::new(),
        number: 0,
    };
    bed.work(10_000);
    bed.synced = bed.kept.len();
    for _ in 0..40 {
        let n = random.below(2);
        match random.below(12) {
            0..5 => writer.append(n, &mut random),
            5..8 => {
                let turns = 1 + random.below(6);
                bed.work(turns);
            }
            8 => bed.now += Duration::from_millis(300),
            9 => bed.synced = bed.kept.len(),
            10 => {
                let survive = random.below(20);
                bed.crash(survive);
            }
            _ => {
                if !wide {
                    // What no line was read of cannot be told from its emptied self.
                    writer.finish_only_line(n);
                    bed.now += Duration::from_secs(1);
                    bed.work(10_000);
                    bed.synced = bed.kept.len();
                }
                match random.below(3) {
                    0 => writer.rename(n),
                    1 => writer.copy_and_truncate(n, || {}),
                    _ => {
                        bed.now += Duration::from_millis(300);
                        bed.work(10_000);
                        writer.copy_and_truncate(n, || {
                            bed.now += Duration::from_millis(300);
                            bed.work(10_000);
                        });
                    }
                }
            }
        }
    }
    bed.settle();
    writer.split_begun(0);
    writer.split_begun(1);
    writer.remove_all();
    bed.settle();
    let mut lines = bed.lines();
    lines.sort();
    writer.expected.sort();
    let differs = lines
        .iter()
        .zip(&writer.expected)
        .find(|(got, want)| got != want);
    assert!(
        lines == writer.expected,
        "seed {seed}, wide {wide}: {} lines of {}, first difference {differs:?}",
        lines.len(),
        writer.expected.len(),
    );
}

#[test]
fn each_line_once_whatever_happens() {
    let seeds = std::env::var("SIM_SEEDS").map_or(60, |seeds| seeds.parse().unwrap());
    for seed in 1..=seeds {
        for wide in [true, false] {
            run_random(seed, wide);
        }
    }
}

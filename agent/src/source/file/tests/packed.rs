//! Files that are packed by gzip after they were rotated, or were packed from the beginning.

use std::fs::{self, File};
use std::io::Write;
use std::time::Duration;

use pipeline::config::StartAt;
use pipeline::encode::gzip_member;

use super::{Bed, Folder, check};

fn lines(range: std::ops::Range<usize>) -> String {
    texts(range).join("\n") + "\n"
}

fn texts(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| format!("line {n}")).collect()
}

impl Folder {
    fn write(&self, name: &str, content: &[u8]) {
        let mut file = File::create(self.path(name)).unwrap();
        file.write_all(content).unwrap();
    }

    /// Packs a file as gzip does: beside it, and then it is removed.
    fn pack(&self, name: &str) {
        let content = fs::read(self.path(name)).unwrap();
        self.write(&format!("{name}.gz"), &gzip_member(&content));
        fs::remove_file(self.path(name)).unwrap();
    }
}

fn bed(folder: &Folder) -> Bed {
    let patterns = [folder.path("*.log"), folder.path("*.gz")];
    Bed::new(&patterns, StartAt::Beginning)
}

#[test]
fn vector_5085_a_rotated_file_is_not_read_again_when_it_is_packed() {
    for restart in [false, true] {
        let folder = Folder::new(&format!("packed-{restart}"));
        let mut bed = bed(&folder);
        folder.append("a.log", lines(0..2000).as_bytes());
        bed.settle();
        fs::rename(folder.path("a.log"), folder.path("a.log.1")).unwrap();
        // Its last line is read from the packed file when nobody looks meanwhile.
        folder.append("a.log.1", lines(2000..2001).as_bytes());
        folder.append("a.log", lines(2001..2002).as_bytes());
        if restart {
            bed.crash(usize::MAX);
        } else {
            bed.settle();
        }
        folder.pack("a.log.1");
        bed.settle();
        bed.crash(usize::MAX);
        bed.settle();
        let mut got = bed.lines();
        got.sort();
        let mut expected = texts(0..2002);
        expected.sort();
        assert_eq!(got.len(), 2002, "restart {restart}");
        assert_eq!(got, expected);
        assert_eq!(bed.broken, 0);
    }
}

#[test]
fn a_packed_file_is_read_once_whatever_its_name_and_however_often() {
    let folder = Folder::new("packed-once");
    let mut bed = bed(&folder);
    folder.write("old.gz", &gzip_member(lines(0..50_000).as_bytes()));
    bed.settle();
    assert_eq!(bed.lines(), texts(0..50_000));
    for n in 0..3 {
        bed.crash(usize::MAX);
        let (from, to) = (format!("old.{n}.gz"), format!("old.{}.gz", n + 1));
        let from = if n == 0 { "old.gz" } else { &from };
        fs::rename(folder.path(from), folder.path(&to)).unwrap();
        bed.settle();
    }
    assert_eq!(bed.lines().len(), 50_000);
}

#[test]
fn a_crash_in_the_middle_of_a_packed_file_neither_loses_nor_doubles() {
    let folder = Folder::new("packed-crash");
    let mut bed = bed(&folder);
    let mut content = gzip_member(lines(0..30_000).as_bytes());
    content.extend(gzip_member(lines(30_000..60_000).as_bytes()));
    folder.write("a.gz", &content);
    bed.work(10);
    bed.now += Duration::from_secs(3);
    for _ in 0..30 {
        bed.work(2);
        bed.synced = bed.kept.len();
        bed.work(1);
        bed.crash(1000);
        bed.now += Duration::from_secs(1);
        bed.work(1);
        bed.now += Duration::from_secs(3);
    }
    bed.settle();
    assert_eq!(bed.lines(), texts(0..60_000));
}

#[test]
fn long_lines_in_packed_files_are_cut_like_others() {
    let folder = Folder::new("packed-long");
    let mut bed = bed(&folder);
    let lens = [
        65_535, 65_536, 65_537, 150_000, 199_999, 200_000, 200_001, 3_000_000,
    ];
    let mut content = Vec::new();
    for len in lens {
        content.extend(vec![b'x'; len]);
        content.extend_from_slice(b"\nnext\n");
    }
    content.extend(vec![b'y'; 70_000]);
    folder.write("a.gz", &gzip_member(&content));
    bed.settle();
    let got: Vec<usize> = bed.lines().iter().map(String::len).collect();
    let mut expected: Vec<usize> = lens
        .iter()
        .flat_map(|len| [*len.min(&200_000), 4])
        .collect();
    expected.push(70_000);
    assert_eq!(got, expected);
    assert_eq!(bed.cut, 2);
}

#[test]
fn a_damaged_file_is_told_and_the_others_go_on() {
    let folder = Folder::new("packed-damaged");
    let mut bed = bed(&folder);
    let packed = gzip_member(lines(0..20_000).as_bytes());
    folder.write("cut.gz", &packed[..packed.len() / 2]);
    folder.write("garbage.gz", b"this is no gzip\n");
    folder.write("sound.gz", &gzip_member(b"sound\n"));
    folder.append("a.log", b"plain\n");
    bed.settle();
    assert_eq!(bed.broken, 2);
    let problems: Vec<String> = bed.follower.problems().values().cloned().collect();
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(
        problems[0].contains("cut.gz: ends too early"),
        "{problems:?}"
    );
    assert!(
        problems[1].contains("garbage.gz: is not a gzip"),
        "{problems:?}"
    );
    let got = bed.lines();
    assert!(got.contains(&"sound".to_owned()) && got.contains(&"plain".to_owned()));
    // What is there of it comes, and comes once.
    let whole = got.iter().filter(|line| line.starts_with("line ")).count();
    assert!((5000..15_000).contains(&whole), "{whole}");
    bed.settle();
    bed.crash(usize::MAX);
    bed.settle();
    assert_eq!(bed.lines().len(), got.len());
    // Repaired, its rest is read.
    folder.write("cut.gz", &packed);
    bed.settle();
    let whole = |line: &&String| line.starts_with("line ");
    let lines = bed.lines();
    let mut numbers: Vec<&String> = lines.iter().filter(whole).collect();
    numbers.sort();
    numbers.dedup();
    // The line in which it was cut came in two.
    assert!(numbers.len() >= 19_999, "{}", numbers.len());
}

#[test]
fn start_at_end_leaves_packed_files_unread() {
    let folder = Folder::new("packed-end");
    folder.write("old.gz", &gzip_member(b"old\n"));
    let mut bed = Bed::new(&[folder.path("*.gz")], StartAt::End);
    bed.settle();
    folder.write("new.gz", &gzip_member(b"new\n"));
    bed.settle();
    check(&bed, &["new"]);
    bed.crash(usize::MAX);
    bed.settle();
    check(&bed, &["new"]);
}

#[test]
fn packed_files_that_no_pattern_asks_for_are_left_alone() {
    let folder = Folder::new("packed-unasked");
    let mut bed = Bed::new(&[folder.path("*.log")], StartAt::Beginning);
    folder.append("a.log", b"one\n");
    bed.settle();
    folder.write("a.log.1.gz", &gzip_member(b"two\n"));
    bed.settle();
    check(&bed, &["one"]);
}

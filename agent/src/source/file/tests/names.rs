//! What users of other programs complain about, each as a test with the number of its thread; and
//! links, exclusions and old files.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, symlink};
use std::time::{Duration, SystemTime};

use pipeline::config::StartAt;
use pipeline::tail::{Birth, FileKey};
use pipeline::time::WallClock;

use super::{Bed, Folder, check};

fn sorted(bed: &Bed) -> Vec<String> {
    let mut lines = bed.lines();
    lines.sort();
    lines
}

/// What a program writes between the copy and the emptying is gone before anybody can read it.
#[test]
fn rsyslog_2640_copytruncate_loses_only_what_comes_between() {
    for pattern in ["*.log", "*"] {
        let folder = Folder::new("copytruncate");
        let mut bed = Bed::new(&[folder.path(pattern)], StartAt::Beginning);
        folder.append("a.log", b"read\n");
        bed.settle();
        folder.append("a.log", b"not read yet\n");
        fs::copy(folder.path("a.log"), folder.path("a.log.1")).unwrap();
        folder.append("a.log", b"between\n");
        File::create(folder.path("a.log")).unwrap();
        folder.append("a.log", b"later\n");
        bed.settle();
        assert_eq!(sorted(&bed), ["later", "not read yet", "read"], "{pattern}");
    }
}

/// Also 36541 and 40197.
#[test]
fn beats_1341_an_inode_given_to_another_file_is_read_from_its_beginning() {
    for restart in [false, true] {
        let folder = Folder::new(&format!("inode-{restart}"));
        let mut bed = Bed::new(&[folder.path("*.log")], StartAt::Beginning);
        folder.append("a.log", b"one\ntwo\n");
        bed.settle();
        if restart {
            bed.crash(usize::MAX);
        }
        let inode = fs::metadata(folder.path("a.log")).unwrap().ino();
        fs::remove_file(folder.path("a.log")).unwrap();
        if !restart {
            bed.settle();
        }
        // Where the file system gives the number to nobody else, a file that is written anew in
        // place has it as well.
        let reused = (0..100).any(|n| {
            folder.append(&format!("{n}.log"), b"");
            let is_same = fs::metadata(folder.path(&format!("{n}.log")))
                .unwrap()
                .ino()
                == inode;
            if is_same {
                folder.append(&format!("{n}.log"), b"three\nfour\nfive\n");
            }
            is_same
        });
        if !reused {
            folder.append("0.log", b"three\nfour\nfive\n");
        }
        bed.settle();
        check(&bed, &["one", "two", "three", "four", "five"]);
    }
}

/// The same beginning, and more of it than was read of the other one.
#[test]
fn an_inode_given_to_a_file_with_the_same_beginning_is_read_from_its_beginning() {
    let folder = Folder::new("born");
    let mut bed = Bed::new(&[folder.path("*.log")], StartAt::Beginning);
    let head = "x".repeat(2000) + "\n";
    folder.append("a.log", head.as_bytes());
    bed.settle();
    let places = bed.checkpoints().into_iter();
    let mut places = places.filter_map(|(key, offset)| Some((FileKey::decode(&key)?, offset)));
    let (key, offset) = places.next().unwrap();
    if key.birth.is_unknown() {
        eprintln!("SKIPPED: this file system does not know when a file was made");
        return;
    }
    folder.append("a.log", b"two\n");
    // What the ring says is of an earlier file, of an earlier version, or of this one.
    for (birth, expected) in [
        (Birth::at(1, 0), &[&head[..2000], "two"][..]),
        (Birth::UNKNOWN, &["two"]),
        (key.birth, &["two"]),
    ] {
        let mut later = Bed::new(&[folder.path("*.log")], StartAt::Beginning);
        let place = (FileKey { birth, ..key }.encode(), offset);
        later.continue_from(&[place]);
        later.settle();
        check(&later, expected);
        // From here on it is known when it was made.
        let kept = later.checkpoints();
        let mut keys = kept.iter().filter_map(|(key, _)| FileKey::decode(key));
        assert_eq!(keys.next().map(|kept| kept.birth), Some(key.birth));
    }
}

#[test]
fn vector_643_tiny_files_that_are_identical_are_each_read() {
    let folder = Folder::new("tiny");
    let mut bed = Bed::new(&[folder.path("*.log")], StartAt::Beginning);
    for name in ["a.log", "b.log"] {
        folder.append(name, b"x\n");
        folder.append(&format!("empty-{name}"), b"");
    }
    bed.settle();
    check(&bed, &["x", "x"]);
    bed.crash(usize::MAX);
    folder.append("a.log", b"y\n");
    folder.append("empty-b.log", b"x\n");
    bed.settle();
    assert_eq!(sorted(&bed), ["x", "x", "x", "y"]);
}

#[test]
fn vector_25079_files_with_the_same_first_kilobyte_are_each_read_once() {
    let folder = Folder::new("alike");
    let mut bed = Bed::new(&[folder.path("*.log*")], StartAt::Beginning);
    let head = "the same header for all\n".repeat(100);
    for name in ["a.log", "b.log"] {
        folder.append(name, format!("{head}{name}\n").as_bytes());
    }
    bed.settle();
    folder.append("a.log", b"more of a\n");
    fs::rename(folder.path("a.log"), folder.path("a.log.1")).unwrap();
    folder.append("a.log", format!("{head}new a\n").as_bytes());
    bed.crash(usize::MAX);
    folder.append("b.log", b"more of b\n");
    bed.settle();
    let lines = sorted(&bed);
    let (heads, others): (Vec<_>, Vec<_>) = lines.iter().partition(|line| line.starts_with("the"));
    assert_eq!(heads.len(), 300);
    assert_eq!(
        others,
        ["a.log", "b.log", "more of a", "more of b", "new a"]
    );
}

#[test]
fn a_link_that_leads_to_another_file_leaves_nothing_unread() {
    for restart in [false, true] {
        let folder = Folder::new(&format!("link-{restart}"));
        fs::create_dir(folder.path("files")).unwrap();
        let mut bed = Bed::new(&[folder.path("current")], StartAt::Beginning);
        folder.append("files/one", b"1\n");
        symlink("files/one", folder.path("current")).unwrap();
        bed.settle();
        folder.append("files/one", b"2\n");
        folder.append("files/two", b"3\n");
        fs::remove_file(folder.path("current")).unwrap();
        symlink("files/two", folder.path("current")).unwrap();
        if restart {
            bed.crash(usize::MAX);
        }
        bed.settle();
        assert_eq!(sorted(&bed), ["1", "2", "3"]);
    }
}

/// As Kubernetes has it: the link stays, what it leads to is renamed and made anew.
#[test]
fn fluent_bit_2110_what_is_rotated_behind_a_link_is_read_to_its_end() {
    for restart in [false, true] {
        let folder = Folder::new(&format!("behind-{restart}"));
        fs::create_dir(folder.path("pods")).unwrap();
        fs::create_dir(folder.path("containers")).unwrap();
        let mut bed = Bed::new(&[folder.path("containers/*.log")], StartAt::Beginning);
        folder.append("pods/0.log", b"1\n");
        symlink(folder.path("pods/0.log"), folder.path("containers/x.log")).unwrap();
        bed.settle();
        let folders = bed.follower.folders();
        assert!(folders.contains(&folder.path("pods")), "{folders:?}");
        if restart {
            bed.crash(usize::MAX);
        }
        folder.append("pods/0.log", b"2\n");
        let old = folder.path("pods/0.log.20261125-080000");
        fs::rename(folder.path("pods/0.log"), old).unwrap();
        folder.append("pods/0.log", b"3\n");
        bed.settle();
        assert_eq!(sorted(&bed), ["1", "2", "3"]);
        // Each is read under one name only.
        bed.crash(usize::MAX);
        bed.settle();
        assert_eq!(sorted(&bed), ["1", "2", "3"]);
    }
}

#[test]
fn a_link_in_a_circle_is_told_and_hides_nothing() {
    let folder = Folder::new("circle");
    symlink("b.log", folder.path("a.log")).unwrap();
    symlink("a.log", folder.path("b.log")).unwrap();
    fs::create_dir(folder.path("deep")).unwrap();
    symlink("..", folder.path("deep/up")).unwrap();
    let mut bed = Bed::new(&[folder.path("**/*.log")], StartAt::Beginning);
    folder.append("c.log", b"1\n");
    bed.settle();
    check(&bed, &["1"]);
    assert_eq!(bed.follower.problems().len(), 2);
    // That a file is gone is noticed all the same.
    folder.append("c.log", b"2");
    fs::remove_file(folder.path("c.log")).unwrap();
    bed.settle();
    check(&bed, &["1", "2"]);
}

#[test]
fn excluded_files_are_left_out() {
    let folder = Folder::new("exclude");
    fs::create_dir(folder.path("debug")).unwrap();
    let exclude = vec![
        "*-debug.log".to_owned(),
        folder.path("debug/**").to_str().unwrap().into(),
    ];
    let mut bed = Bed::with(&[folder.path("**/*.log")], StartAt::Beginning, |config| {
        config.exclude.clone_from(&exclude);
    });
    folder.append("a.log", b"a\n");
    folder.append("a-debug.log", b"excluded by name\n");
    folder.append("debug/a.log", b"excluded by path\n");
    bed.settle();
    check(&bed, &["a"]);
    let mut bed = Bed::with(&[folder.path("*.log")], StartAt::Beginning, |config| {
        config.exclude = vec!["[".to_owned(), "a/b".to_owned()];
    });
    bed.settle();
    assert_eq!(bed.follower.problems().len(), 2);
}

#[test]
fn old_files_are_not_begun_but_gone_on_with() {
    let folder = Folder::new("old");
    let age = |name: &str, days: u64| {
        let file = File::options()
            .append(true)
            .open(folder.path(name))
            .unwrap();
        let at = SystemTime::now() - Duration::from_secs(days * 86_400);
        file.set_modified(at).unwrap();
    };
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    let now = WallClock::from_millis(i64::try_from(now.as_millis()).unwrap());
    let mut bed = Bed::with(&[folder.path("*.log")], StartAt::Beginning, |config| {
        config.ignore_older = Some(Duration::from_hours(7 * 24));
    });
    bed.wall = now;
    folder.append("old.log", b"old\n");
    folder.append("young.log", b"young\n");
    age("old.log", 8);
    age("young.log", 6);
    bed.settle();
    check(&bed, &["young"]);
    bed.crash(usize::MAX);
    folder.append("young.log", b"more\n");
    age("young.log", 8);
    bed.settle();
    check(&bed, &["young", "more"]);
    // Somebody writes to it after all.
    folder.append("old.log", b"new\n");
    bed.settle();
    check(&bed, &["young", "more", "old", "new"]);
    // A clock that has not been set yet makes no file old.
    folder.append("other.log", b"other\n");
    age("other.log", 8);
    bed.wall = WallClock::default();
    bed.settle();
    check(&bed, &["young", "more", "old", "new", "other"]);
}

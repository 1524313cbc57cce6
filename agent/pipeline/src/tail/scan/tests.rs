//! Tables of what is known and what is seen, and of what that means.

use super::*;

const FIRST: bool = true;
const LATER: bool = false;

struct File {
    inode: u64,
    name: &'static str,
    content: Vec<u8>,
}

fn file(inode: u64, name: &'static str, content: &[u8]) -> File {
    File {
        inode,
        name,
        content: content.to_vec(),
    }
}

/// What is known of `file` once its first `offset` bytes were read.
fn known(inode: u64, content: &[u8], offset: usize) -> Known {
    Known {
        key: FileKey {
            id: FileId { device: 1, inode },
            fingerprint: Fingerprint::of(&content[..offset]),
            birth: Birth::UNKNOWN,
        },
        offset: u64::try_from(offset).unwrap(),
        name: Vec::new(),
        packed: false,
    }
}

/// Files are on device 1, match the pattern `*.log`, have changed and are not at rest.
fn check(first: bool, known: &[Known], files: &[File], expected: &[Found]) {
    check_with(first, known, files, expected, |_| {});
}

fn check_with(
    first: bool,
    known: &[Known],
    files: &[File],
    expected: &[Found],
    change: impl Fn(&mut Seen),
) {
    let seen: Vec<Seen> = files
        .iter()
        .map(|file| {
            let mut seen = Seen {
                id: FileId {
                    device: 1,
                    inode: file.inode,
                },
                name: file.name.into(),
                size: u64::try_from(file.content.len()).unwrap(),
                matched: std::path::Path::new(file.name)
                    .extension()
                    .is_some_and(|extension| extension == "log"),
                changed: true,
                at_rest: false,
                packed: false,
                birth: Birth::UNKNOWN,
            };
            change(&mut seen);
            seen
        })
        .collect();
    let head = |n: usize| {
        let content = &files[n].content;
        Some(content[..content.len().min(1024)].to_vec())
    };
    assert_eq!(decide(first, known, &seen, head), expected);
}

fn lines(seed: usize, bytes: usize) -> Vec<u8> {
    (0..)
        .flat_map(|n| format!("{seed} line {n}\n").into_bytes())
        .take(bytes)
        .collect()
}

#[test]
fn appended_renamed_and_new() {
    let content = lines(1, 5000);
    let old = [known(10, &content, 3000)];
    check(
        LATER,
        &old,
        &[file(10, "a.log", &content)],
        &[Found::Same(0)],
    );
    check(
        LATER,
        &old,
        &[file(11, "a.log", b"new\n"), file(10, "a.log.1", &content)],
        &[Found::New, Found::Same(0)],
    );
    check(
        LATER,
        &old,
        &[file(12, "b.log", b""), file(13, "b.txt", b"")],
        &[Found::New, Found::Ignored],
    );
    check(
        LATER,
        &[],
        &[file(12, "b.log", b"x"), file(12, "c.log", b"x")],
        &[Found::New, Found::Ignored],
    );
}

#[test]
fn emptied_in_place_or_inode_reused() {
    let content = lines(1, 5000);
    let old = [known(10, &content, 3000)];
    for now in [&b""[..], b"x\n", &content[..2999], &lines(2, 9000)] {
        check(
            LATER,
            &old,
            &[file(10, "a.log", now)],
            &[Found::Replaced(0)],
        );
        check(
            FIRST,
            &old,
            &[file(10, "z.log", now)],
            &[Found::Replaced(0)],
        );
    }
    // Nothing was read of it: nothing says that it is another one.
    let unread = [known(10, b"", 0)];
    check(
        LATER,
        &unread,
        &[file(10, "a.log", b"x\n")],
        &[Found::Same(0)],
    );
}

#[test]
fn known_errors_beats_39731_copytruncate_is_not_read_again() {
    let content = lines(1, 5000);
    let old = [known(10, &content, 3000)];
    for copy in ["a.log.1", "a.log-20261123", "a-20261123.log", "a_1.log"] {
        check(
            LATER,
            &old,
            &[file(11, copy, &content), file(10, "a.log", b"")],
            &[Found::Copied(0), Found::Replaced(0)],
        );
    }
    // Unrelated name, other content, or less than was read: not the copy.
    let other = lines(2, 5000);
    for (name, content) in [
        ("b.log", &content[..]),
        ("aa.log", &content),
        ("a.1.log", &other),
        ("a.1.log", &content[..2000]),
    ] {
        check(
            LATER,
            &old,
            &[file(11, name, content), file(10, "a.log", b"")],
            &[Found::New, Found::Replaced(0)],
        );
    }
    // Two copies: only one continues.
    check(
        LATER,
        &old,
        &[
            file(11, "a.log.1", &content),
            file(12, "a.log.2", &content),
            file(10, "a.log", b""),
        ],
        &[Found::Copied(0), Found::Ignored, Found::Replaced(0)],
    );
}

#[test]
fn a_copy_in_the_making_waits_until_it_rests() {
    let content = lines(1, 5000);
    let old = [known(10, &content, 3000)];
    for part in [0, 100, 1024, 4096, 5000] {
        let files = [
            file(10, "a.log", &content),
            file(11, "a.1.log", &content[..part]),
        ];
        check(LATER, &old, &files, &[Found::Same(0), Found::Wait]);
        check_with(LATER, &old, &files, &[Found::Same(0), Found::New], |seen| {
            seen.at_rest = true;
        });
    }
    let other = lines(2, 2000);
    check(
        LATER,
        &old,
        &[file(10, "a.log", &content), file(11, "a.1.log", &other)],
        &[Found::Same(0), Found::New],
    );
}

#[test]
fn same_first_kilobyte_are_two_files() {
    let content = lines(1, 5000);
    let old = [known(10, &content, 3000), known(11, &content, 4000)];
    check(
        LATER,
        &old,
        &[file(11, "b.log", &content), file(10, "a.log", &content)],
        &[Found::Same(1), Found::Same(0)],
    );
    check(LATER, &old, &[file(12, "c.log", &content)], &[Found::New]);
}

#[test]
fn new_numbers_after_a_reboot() {
    let (one, two) = (lines(1, 5000), lines(2, 5000));
    let old = [known(10, &one, 3000), known(11, &two, 5000)];
    let files = [file(20, "a.log", &one), file(21, "b.log", &two)];
    check(FIRST, &old, &files, &[Found::Moved(0), Found::Moved(1)]);
    check(LATER, &old, &files, &[Found::New, Found::New]);
    // Another device, the same inode: a short file is enough.
    let short = lines(3, 90);
    let files = [file(10, "a.log", &short)];
    check_with(
        FIRST,
        &[known(10, &short, 80)],
        &files,
        &[Found::Moved(0)],
        |seen| seen.id.device = 2,
    );
    // Both were alike: the one that was read least goes first, and each is used once.
    let alike = [known(10, &one, 4000), known(11, &one, 3000)];
    check(
        FIRST,
        &alike,
        &[
            file(20, "a.log", &one),
            file(21, "b.log", &one),
            file(22, "c.log", &one),
        ],
        &[Found::Moved(1), Found::Moved(0), Found::New],
    );
}

#[test]
fn unreadable_or_unchanged_is_not_replaced() {
    let content = lines(1, 5000);
    let old = [known(10, &content, 3000)];
    let seen = |changed| Seen {
        id: old[0].key.id,
        name: b"a.log".to_vec(),
        size: 5000,
        matched: true,
        changed,
        at_rest: false,
        packed: false,
        birth: Birth::UNKNOWN,
    };
    assert_eq!(
        decide(LATER, &old, &[seen(true)], |_| None),
        [Found::Same(0)]
    );
    assert_eq!(
        decide(LATER, &old, &[seen(false)], |_| panic!("must not be read")),
        [Found::Same(0)]
    );
}

/// An inode that was given to another file with the same beginning.
#[test]
fn a_file_that_was_made_at_another_time_is_another_file() {
    let content = lines(1, 5000);
    let (made, later) = (Birth::at(1, 0), Birth::at(2, 0));
    for (old, new, expected) in [
        (made, made, Found::Same(0)),
        (made, later, Found::Replaced(0)),
        (Birth::UNKNOWN, later, Found::Same(0)),
        (made, Birth::UNKNOWN, Found::Same(0)),
    ] {
        let mut known = known(7, &content, 4000);
        known.key.birth = old;
        let files = [file(7, "a.log", &content)];
        check_with(FIRST, &[known], &files, &[expected], |seen| {
            seen.birth = new;
        });
    }
}

//! `hydrant ring` on rings that are damaged, encrypted or none at all.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use crate::harness::{Folder, hydrant, run, write};
use crate::ring_tool::{BINARY, check_text, left, look, records, source, succeeds};

fn flip(ring: &str, offset: u64) {
    let file = File::options().read(true).write(true).open(ring).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], offset).unwrap();
}

/// The numbers in `records 3 to 9 are lost (7)`.
fn lost_range(told: &str) -> (u64, u64) {
    let line = told
        .lines()
        .find(|line| line.contains(" are lost ("))
        .unwrap();
    let words: Vec<&str> = line.split(' ').collect();
    let at = words.iter().position(|word| *word == "records").unwrap();
    (
        words[at + 1].parse().unwrap(),
        words[at + 3].parse().unwrap(),
    )
}

#[test]
fn a_flipped_bit_is_told_and_costs_its_frame() {
    let left = left(3_000, "");
    let ring = &left.ring;
    let all = records(&succeeds(look(ring, &["export", ring])));
    // Within the frames of the first segment, which begin at its fourth page.
    flip(ring, 4096 + 50_000);
    let verified = look(ring, &["verify", ring]);
    assert_eq!(verified.code, 1, "{}", verified.stderr);
    check_text(
        &verified.stdout,
        &["segment 0, offset ", "damaged: 1 place, "],
    );
    let (first, last) = lost_range(&verified.stdout);
    let exported = look(ring, &["export", ring]);
    assert_eq!(exported.code, 1);
    assert_eq!(lost_range(&exported.stderr), (first, last));
    let left: Vec<_> = all
        .into_iter()
        .filter(|(seq, _)| !(first..=last).contains(seq))
        .collect();
    assert!(left.len() < 3_000);
    assert!(
        records(&exported.stdout) == left,
        "another record is missing"
    );
    // What is damaged outside of the part that is wanted does not matter to it.
    let args = ["export", ring, "--from-seq", &(last + 1).to_string()];
    succeeds(look(ring, &args));
    check_text(&succeeds(look(ring, &["info", ring])), &["records   3,000"]);
    // A header and a superblock have copies.
    flip(ring, 4096 + 2 * 4096 + 20);
    flip(ring, 20);
    let verified = look(ring, &["verify", ring]);
    assert_eq!(verified.code, 1);
    let told = [
        "its header cannot be read, a copy of it can",
        "the superblock cannot be read, its copy at the end can",
    ];
    check_text(&verified.stdout, &told);
    assert_eq!(lost_range(&verified.stdout), (first, last));
}

#[test]
fn an_encrypted_ring_needs_its_key() {
    let keys = Folder::new();
    for (name, digit) in [("key", "1"), ("other", "2")] {
        write(&keys.join(name), digit.repeat(64));
    }
    let (key, other) = (keys.text("key"), keys.text("other"));
    let encryption = format!("encryption = {{ key_file = \"{key}\" }}\n");
    let left = left(500, &encryption);
    let (folder, agent, ring) = (&left.folder, &left.agent, &left.ring);
    let told = succeeds(look(ring, &["verify", "-c", agent.config()]));
    check_text(&told, &["sound: 500 records"]);
    let plain = folder.text("plain.toml");
    write(Path::new(&plain), source(folder));
    // arguments, whether it is read, what it says otherwise
    let missing = folder.text("missing");
    let table: [(&[&str], bool, &[&str]); 8] = [
        (&["--key-file", &key], true, &[]),
        (&["--key-file", &other, "--key-file", &key], true, &[]),
        (&["-c", agent.config()], true, &[]),
        (&["-c", &plain, "--key-file", &key], true, &[]),
        (
            &["-c", &plain],
            false,
            &["is encrypted", "plain.toml names no key", "--key-file"],
        ),
        (
            &["-c", "/nowhere/h.toml"],
            false,
            &["is encrypted", "--key-file"],
        ),
        (
            &["--key-file", &other],
            false,
            &["encrypted with another key", "--key-file"],
        ),
        (
            &["--key-file", &missing],
            false,
            &[&missing, "cannot be read"],
        ),
    ];
    for (args, is_read, words) in table {
        for command in ["info", "verify", "export"] {
            let outcome = look(ring, &[&[command, ring], args].concat());
            if is_read {
                assert_eq!(outcome.code, 0, "{args:?}: {}", outcome.stderr);
                continue;
            }
            assert_eq!(outcome.code, 74, "{args:?}: {}", outcome.stdout);
            check_text(&outcome.stderr, words);
            assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
        }
    }
    // The service knows secrets that nobody else does; the ring is found all the same.
    let config = fs::read_to_string(agent.config()).unwrap();
    let secret = folder.text("secret.toml");
    write(
        Path::new(&secret),
        config + "bearer = \"${credential:nobody}\"\n",
    );
    let export = succeeds(look(ring, &["export", "-c", &secret]));
    assert_eq!(records(&export).len(), 500);
}

/// Each is told in one line that says what to do, and stays as it is.
#[test]
fn what_is_no_ring_is_told() {
    let left = left(10, "");
    let (folder, ring) = (&left.folder, &left.ring);
    let image = fs::read(ring).unwrap();
    let mut newer = image.clone();
    for superblock in [0, image.len() - 4096] {
        newer[superblock + 8] = 9;
        let checksum = crc32c(&newer[superblock..superblock + 40]);
        newer[superblock + 40..superblock + 44].copy_from_slice(&checksum.to_le_bytes());
    }
    let (zeros, noise, ones) = (vec![0; 1 << 20], vec![0xab; 50_000], vec![0xff; 2 << 20]);
    let files: [(&str, &[u8], &[&str]); 7] = [
        ("empty", b"", &["holds no ring"]),
        ("zeros", &zeros, &["holds no ring"]),
        ("text", b"[agent]\n", &["is no ring"]),
        ("noise", &noise, &["is no ring"]),
        ("ones", &ones, &["is no ring", "superblock"]),
        (
            "cut",
            &image[..image.len() / 2],
            &["it was cut; copy it again"],
        ),
        (
            "newer",
            &newer,
            &["format version 9", "use a newer hydrant"],
        ),
    ];
    for (name, bytes, _) in files {
        write(&folder.join(name), bytes);
    }
    folder.make("folder");
    run("mkfifo", &[folder.text("fifo")]);
    let others: [(&str, &[&str]); 3] = [
        ("folder", &["is a folder", "buffer.ring"]),
        ("missing", &["does not exist", "--config"]),
        ("fifo", &["is not a file"]),
    ];
    let names = files
        .iter()
        .map(|(name, _, words)| (*name, *words))
        .chain(others);
    for (name, words) in names {
        let path = folder.text(name);
        for command in ["info", "verify", "export"] {
            let outcome = hydrant(&["ring", command, &path]);
            assert_eq!(outcome.code, 74, "{name}: {}", outcome.stderr);
            check_text(&outcome.stderr, words);
            check_text(&outcome.stderr, &[path.as_str()]);
            assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
            assert_eq!(outcome.stdout, "", "{name}");
        }
    }
    for (name, bytes, _) in files {
        assert!(
            fs::read(folder.join(name)).unwrap() == bytes,
            "{name} was changed"
        );
    }
}

/// The checksum of the ring's structures, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
        }
    }
    !crc
}

/// Numbers that follow from a seed.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end).unwrap()).unwrap()
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill_with(|| self.next().to_le_bytes()[0]);
    }
}

/// Rubbish, alone and in the middle of a ring: every call ends, and by itself.
#[test]
fn garbage_neither_stops_nor_holds_up() {
    let left = left(8_000, "");
    let (folder, ring) = (&left.folder, &left.ring);
    let image = fs::read(ring).unwrap();
    let garbage = folder.text("garbage.ring");
    let (mut read, mut refused) = (0, 0);
    for seed in 0..60 {
        let mut rng = Rng(seed);
        let mut bytes = image.clone();
        if seed % 6 == 0 {
            bytes.truncate(rng.below(bytes.len()));
            rng.fill(&mut bytes);
        }
        for _ in 0..rng.below(12) {
            let len = [1, 16, 512, 4096, 150_000][rng.below(5)].min(bytes.len());
            let at = rng.below(bytes.len() - len + 1);
            match rng.below(3) {
                0 => rng.fill(&mut bytes[at..at + len]),
                1 => bytes[at..at + len].fill(0),
                _ => {
                    let from = rng.below(bytes.len() - len + 1);
                    bytes.copy_within(from..from + len, at);
                }
            }
        }
        write(Path::new(&garbage), &bytes);
        for command in ["info", "verify", "export"] {
            let output = Command::new("timeout")
                .args(["60", BINARY, "ring", command, &garbage])
                .output()
                .unwrap();
            match output.status.code() {
                Some(0 | 1) => read += 1,
                Some(74) => refused += 1,
                other => panic!("seed {seed}, {command}: {other:?}"),
            }
        }
        assert!(fs::read(&garbage).unwrap() == bytes, "seed {seed}: changed");
    }
    assert!(read > 60 && refused > 20, "{read} read, {refused} refused");
}

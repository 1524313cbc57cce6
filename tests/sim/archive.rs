//! More checkpoints than the ring has room for, while the power fails at any moment.
//!
//! Each line of a file is an entry, followed by the file's checkpoint. After a cut no checkpoint
//! may be ahead of the lines that were kept, and none behind the last that was promised.

use std::collections::BTreeMap;

use diskring::sim::{Rng, SharedDisk, SimDisk};
use diskring::{Options, Read, Ring, RingId, Unrecovered};
use pipeline::books::Books;

use crate::ring_crash::number;

const SEEDS: u64 = 150;
const RING_BYTES: usize = 1 << 20;
const SOURCE: &str = "app";
/// Twice what the ring has room for.
const FILES: usize = 160;

#[derive(Debug, Default)]
struct Seen {
    archived: usize,
    forgotten: usize,
    cuts: usize,
    cuts_before_the_ring_forgot: usize,
}

/// What is so of one file.
#[derive(Clone, Copy, Debug, Default)]
struct File {
    /// Lines that were appended.
    lines: u64,
    /// Lines whose checkpoint a cut must leave, as long as it is not forgotten.
    promised: u64,
}

struct World {
    rng: Rng,
    disk: SharedDisk,
    ring: Ring<SharedDisk>,
    books: Books,
    tag: u16,
    /// The file beside the ring, as it is durable.
    archive: Option<Vec<u8>>,
    files: BTreeMap<usize, File>,
    seen: Seen,
}

fn key(file: usize) -> Vec<u8> {
    format!("{file:0>40}").into_bytes()
}

impl World {
    fn new(seed: u64) -> Self {
        let disk = SharedDisk::new(SimDisk::new(RING_BYTES, 512));
        let mut ring = Ring::create(disk.clone(), RingId(seed), &Options::default()).unwrap();
        let mut books = Books::open(&ring).unwrap();
        assert!(books.open_archive(&ring, None));
        let tag = books.open_source(&mut ring, SOURCE).unwrap().tag;
        ring.sync().unwrap();
        Self {
            rng: Rng::new(seed),
            disk,
            ring,
            books,
            tag,
            archive: None,
            files: BTreeMap::new(),
            seen: Seen::default(),
        }
    }

    /// Which of the checkpoints the books know, by file.
    fn checkpoints(&self) -> BTreeMap<Vec<u8>, u64> {
        let all = self.books.checkpoints(&self.ring, self.tag);
        let len = all.len();
        let by_key: BTreeMap<_, _> = all.into_iter().collect();
        assert_eq!(by_key.len(), len, "a checkpoint is there twice");
        by_key
    }

    /// How many of them the ring does not have.
    fn archived(&self) -> usize {
        let alone = Books::open(&self.ring).unwrap();
        let in_ring = alone.checkpoints(&self.ring, self.tag).len();
        self.checkpoints().len() - in_ring
    }

    /// A line of a file; some files are busier than others.
    fn read_line(&mut self) {
        let among = if self.rng.one_in(2) {
            FILES
        } else {
            FILES / 10
        };
        let n = self.rng.below(among);
        let file = self.files.entry(n).or_default();
        file.lines += 1;
        let payload = format!("{n} {}", file.lines);
        let put = self.ring.append(self.tag, 0, payload.as_bytes());
        put.unwrap();
        self.books
            .set_checkpoint(&mut self.ring, self.tag, &key(n), file.lines)
            .unwrap();
    }

    fn forget(&mut self) {
        let n = self.rng.below(FILES);
        self.books
            .forget_checkpoint(&mut self.ring, self.tag, &key(n))
            .unwrap();
        self.files.entry(n).or_default().promised = 0;
        self.seen.forgotten += 1;
    }

    /// Makes everything durable but what waits for the archive, and that too if it is written.
    fn sync(&mut self) {
        self.ring.sync().unwrap();
        if !self.books.has_unarchived() {
            self.promise();
        }
        if self.books.is_archive_changed() && self.rng.one_in(2) {
            let before = self.checkpoints();
            self.archive = Some(self.books.encode_archive(&self.ring));
            if self.rng.one_in(5) {
                // The file is there, and the ring did not come to forget anything.
                self.seen.cuts_before_the_ring_forgot += 1;
                self.promise();
                return self.cut();
            }
            self.books.handle_archived(&mut self.ring);
            assert_eq!(
                self.checkpoints(),
                before,
                "an archive changes no checkpoint"
            );
            assert!(!self.books.is_archive_changed());
            self.promise();
        }
    }

    fn promise(&mut self) {
        let known = self.checkpoints();
        for (n, file) in &mut self.files {
            if known.contains_key(&key(*n)) {
                file.promised = file.lines;
            }
        }
    }

    fn cut(&mut self) {
        self.seen.cuts += 1;
        self.disk.disk().cut(&mut self.rng);
        self.open();
        let known = self.checkpoints();
        let kept = self.last_lines();
        for (n, file) in &mut self.files {
            let offset = known.get(&key(*n)).copied().unwrap_or(0);
            let promised = file.promised;
            assert!(promised <= offset, "file {n}: {offset}, not {promised}");
            let kept = kept.get(n).copied().unwrap_or(0);
            assert!(offset <= kept, "file {n}: {offset}, but only {kept} lines");
            // It is read on from its checkpoint.
            *file = File {
                lines: offset,
                promised: offset,
            };
        }
    }

    /// The last line of each file that is in the ring.
    fn last_lines(&self) -> BTreeMap<usize, u64> {
        let mut last = BTreeMap::new();
        let mut cursor = self.ring.cursor(self.ring.first());
        while let Read::Frame(frame) = self.ring.read(&mut cursor).unwrap() {
            for entry in frame.entries() {
                let text = std::str::from_utf8(entry.payload).unwrap();
                let (file, line) = text.split_once(' ').unwrap();
                let last = last.entry(file.parse().unwrap()).or_insert(0);
                *last = line.parse::<u64>().unwrap().max(*last);
            }
        }
        last
    }

    fn open(&mut self) {
        let unrecovered = Unrecovered::open(self.disk.clone()).unwrap();
        (self.ring, _) = unrecovered.recover(&Options::default()).unwrap();
        self.books = Books::open(&self.ring).unwrap();
        let archive = self.archive.as_deref();
        assert!(self.books.open_archive(&self.ring, archive));
    }
}

fn run(seed: u64) -> Seen {
    let mut world = World::new(seed);
    for _ in 0..1_000 {
        match world.rng.below(200) {
            0..16 => world.sync(),
            16..20 => world.forget(),
            20 => world.cut(),
            _ => world.read_line(),
        }
    }
    // An end in order loses nothing.
    world.ring.sync().unwrap();
    if world.books.is_archive_changed() {
        world.archive = Some(world.books.encode_archive(&world.ring));
    }
    let before = world.checkpoints();
    world.seen.archived = world.archived();
    world.open();
    assert_eq!(world.checkpoints(), before);
    world.seen
}

#[test]
fn no_checkpoint_is_lost_or_ahead_with_more_files_than_the_ring_has_room_for() {
    let chosen = number("SIM_SEED");
    let seeds = chosen.map_or(0..number("SIM_SEEDS").unwrap_or(SEEDS), |seed| {
        seed..seed + 1
    });
    let mut all = Seen::default();
    for seed in seeds {
        eprintln!("SIM_SEED={seed}");
        let seen = run(seed);
        all.archived += seen.archived;
        all.forgotten += seen.forgotten;
        all.cuts += seen.cuts;
        all.cuts_before_the_ring_forgot += seen.cuts_before_the_ring_forgot;
    }
    eprintln!("{all:?}");
    for times in [
        all.archived,
        all.forgotten,
        all.cuts,
        all.cuts_before_the_ring_forgot,
    ] {
        assert!(chosen.is_some() || times > 20, "too few of something");
    }
}

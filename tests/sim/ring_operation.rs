//! What can happen to a ring, drawn from a seed, and the tally of what did.

use diskring::sim::{DiskStats, Rng};

/// The names of the states that histories put.
pub(crate) const KEYS: [&[u8]; 8] = [
    b"pos/0", b"pos/1", b"file/a", b"file/b", b"lost/1", b"lost/2", b"x", b"yy",
];

/// What histories went through, so that a green run is not green for want of it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Coverage {
    pub(crate) histories: u64,
    pub(crate) cuts: u64,
    pub(crate) cuts_in_recovery: u64,
    /// On disks with sectors of 512 bytes, and of 4,096.
    pub(crate) disks: [DiskStats; 2],
    pub(crate) newest_taken: u64,
    pub(crate) older_taken: u64,
    pub(crate) partial_prefixes: u64,
    pub(crate) laps: u64,
    pub(crate) evictions: u64,
    pub(crate) full: u64,
    pub(crate) closes: u64,
    pub(crate) reads: u64,
    pub(crate) evicted_reads: u64,
    pub(crate) sync_failures: u64,
}

impl Coverage {
    pub(crate) fn add(&mut self, other: &Self) {
        self.histories += other.histories;
        self.cuts += other.cuts;
        self.cuts_in_recovery += other.cuts_in_recovery;
        for (disk, other) in self.disks.iter_mut().zip(&other.disks) {
            disk.add(other);
        }
        self.newest_taken += other.newest_taken;
        self.older_taken += other.older_taken;
        self.partial_prefixes += other.partial_prefixes;
        self.laps += other.laps;
        self.evictions += other.evictions;
        self.full += other.full;
        self.closes += other.closes;
        self.reads += other.reads;
        self.evicted_reads += other.evicted_reads;
        self.sync_failures += other.sync_failures;
    }
}

/// One thing that happens to a ring.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operation {
    Append {
        tag: u16,
        len: usize,
    },
    AppendCopyOfDisk,
    Put {
        key: usize,
        len: usize,
    },
    Remove {
        key: usize,
    },
    Sync,
    Read {
        reader: usize,
        commit: bool,
    },
    Evict,
    /// The power fails after this many more writes and syncs.
    Cut {
        fuel: u64,
    },
    CloseAndOpen,
    Reserve {
        bytes: usize,
    },
}

/// What a history is like: quiet or busy, on good power or bad.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Temper {
    /// The same few operations again and again, all entries of this size: what a torn group left
    /// behind then fits where the next one is torn.
    stutter: Option<usize>,
    len_max: usize,
    cut_one_in: usize,
    sync_one_in: usize,
}

impl Temper {
    pub(crate) fn random(rng: &mut Rng) -> Self {
        Self {
            stutter: rng.one_in(3).then(|| 3000 + rng.below(4000)),
            len_max: [150, 600, 4000, 12_000][rng.below(4)],
            cut_one_in: [1, 4, 16][rng.below(3)],
            sync_one_in: [1, 1, 3][rng.below(3)],
        }
    }
}

impl Operation {
    pub(crate) fn random(temper: &Temper, rng: &mut Rng) -> Self {
        if let Some(len) = temper.stutter {
            return match rng.below(5) {
                0 => Self::Append { tag: 0, len },
                1 => Self::Put { key: 0, len: 8 },
                2 => Self::Sync,
                3 if rng.one_in(50) => Self::random(
                    &Temper {
                        stutter: None,
                        ..*temper
                    },
                    rng,
                ),
                _ => Self::Cut {
                    fuel: u64::try_from(rng.below(4)).unwrap(),
                },
            };
        }
        match rng.below(100) {
            57..78 if !rng.one_in(temper.sync_one_in) => Self::random(temper, rng),
            90..97 if !rng.one_in(temper.cut_one_in) => Self::random(temper, rng),
            0..40 => Self::Append {
                tag: u16::try_from(rng.below(3)).unwrap(),
                len: match rng.below(8) {
                    0 => rng.below(8),
                    1..6 => rng.below(temper.len_max),
                    _ => rng.below(2 * temper.len_max),
                },
            },
            40..42 => Self::AppendCopyOfDisk,
            42..55 => Self::Put {
                key: rng.below(KEYS.len()),
                len: if rng.one_in(20) {
                    rng.below(400)
                } else {
                    rng.below(24)
                },
            },
            55..57 => Self::Remove {
                key: rng.below(KEYS.len()),
            },
            57..78 => Self::Sync,
            78..88 => Self::Read {
                reader: rng.below(2),
                commit: rng.one_in(2),
            },
            88..90 => Self::Evict,
            90..97 => Self::Cut {
                fuel: u64::try_from(rng.below(12)).unwrap(),
            },
            97..99 => Self::Reserve {
                bytes: rng.below(6000),
            },
            _ => Self::CloseAndOpen,
        }
    }
}

//! Disks that break the fault model: syncs reported as done that were not, rot and unreadable
//! sectors at any time, and erase blocks that fall back.
//!
//! The promise is smaller then, and each kind of disk has its own. What stays of it everywhere:
//! the ring opens, nothing is invented or altered, reading comes to the end, each entry is read,
//! reported as lost or behind the end, and no position is ahead of the log.

use diskring::sim::{DiskStats, SharedDisk, SimDisk};
use diskring::{Mutant, OpenError, Options, Ring, RingId, Unrecovered};

use crate::ring_crash::{in_parallel, number};
use crate::ring_untrue::run;

const PAGE: usize = 4096;

/// How a disk breaks the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Syncs are lost, but never two without a good one between them, and not that of a recovery.
    LostSync,
    /// Bits flip and sectors cannot be read.
    Rot,
    /// At a cut, the erase block around a write falls back.
    Block,
}

/// What happened in histories.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) disk: DiskStats,
    pub(crate) cuts: u64,
    pub(crate) lost: u64,
    pub(crate) cut_off: u64,
    pub(crate) repaired: u64,
    pub(crate) evictions: u64,
    pub(crate) flips: u64,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.disk.add(&other.disk);
        self.cuts += other.cuts;
        self.lost += other.lost;
        self.cut_off += other.cut_off;
        self.repaired += other.repaired;
        self.evictions += other.evictions;
        self.flips += other.flips;
    }
}

fn check(fault: Fault, seeds: u64) -> Tally {
    let seeds = match number("SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SIM_SEEDS").map_or(seeds, |all| seeds.max(all / 10)),
    };
    let mut tally = Tally::default();
    for seen in in_parallel(seeds, |seed| run(seed, fault, Mutant::None)) {
        tally.add(&seen);
    }
    eprintln!("{fault:?}: {tally:?}");
    if number("SIM_SEED").is_none() {
        assert!(tally.cuts > 100 && tally.evictions > 10, "{tally:?}");
    }
    tally
}

#[test]
fn a_lost_sync_costs_only_what_came_after_it() {
    let tally = check(Fault::LostSync, 600);
    if number("SIM_SEED").is_none() {
        assert!(tally.disk.lost_syncs > 100, "{tally:?}");
        assert!(tally.lost > 20 && tally.cut_off > 20, "{tally:?}");
        assert!(tally.repaired > 5, "{tally:?}");
    }
}

#[test]
fn rot_costs_a_frame_each_time() {
    let tally = check(Fault::Rot, 500);
    if number("SIM_SEED").is_none() {
        assert!(
            tally.flips > 100 && tally.disk.failed_reads > 100,
            "{tally:?}"
        );
        assert!(tally.lost > 20, "{tally:?}");
    }
}

#[test]
fn a_block_that_falls_back_costs_what_is_in_it() {
    let tally = check(Fault::Block, 120);
    if number("SIM_SEED").is_none() {
        assert!(tally.disk.rolled_back_blocks > 50, "{tally:?}");
        assert!(tally.lost > 20 && tally.cut_off > 20, "{tally:?}");
    }
}

#[test]
fn a_full_disk_at_creation_leaves_no_ring() {
    for room in 0..8 {
        let mut disk = SimDisk::new(48 * PAGE, 512);
        disk.set_room(Some(room));
        let disk = SharedDisk::new(disk);
        let options = Options {
            segment_bytes: Some(u32::try_from(10 * PAGE).unwrap()),
            ..Options::default()
        };
        match Ring::create(disk.clone(), RingId(1), &options) {
            Ok(_) => {
                assert!(room > 3, "created with {room} writes");
                return;
            }
            Err(OpenError::Storage(error)) => {
                assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
            }
            Err(error) => panic!("{error}"),
        }
        assert!(Unrecovered::open(disk.clone()).is_err() || room > 3);
        disk.disk().set_room(None);
        let mut ring = Ring::create(disk.clone(), RingId(1), &options).unwrap();
        ring.append(1, 0, b"entry").unwrap();
        assert_eq!(ring.sync().unwrap().end().get(), 1);
    }
    panic!("never created");
}

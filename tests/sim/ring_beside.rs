//! Reading beside an owner who goes on appending: whatever he overwrites at whatever moment, nothing
//! is taken for damage, and what is read is what was appended.

use std::cell::RefCell;
use std::rc::Rc;

use diskring::sim::{Rng, SharedDisk, SimDisk};
use diskring::{
    Beside, Compression, Entry, OpenError, Options, Read, Ring, RingId, Sight, Storage,
    StorageError,
};

use crate::ring_crash::{in_parallel, number};
use crate::ring_inspect::small;
use crate::ring_sealed::sealing;

const PAGE: usize = 4096;

/// Somebody who appends whenever the reader reads.
struct Owner {
    ring: Ring<SharedDisk>,
    disk: SharedDisk,
    rng: Rng,
    /// He works at one read in so many, and appends up to so many entries then.
    idleness: usize,
    burst: usize,
}

/// The owner's disk as the reader sees it.
#[derive(Clone)]
struct Shared(Rc<RefCell<Owner>>);

fn payload(seq: u64) -> Vec<u8> {
    let mut rng = Rng::new(seq);
    let mut payload = vec![0; rng.below(800)];
    rng.fill(&mut payload);
    payload
}

impl Owner {
    fn work(&mut self) {
        for _ in 0..=self.rng.below(self.burst) {
            let seq = self.ring.next().get();
            while self.ring.append(1, 0, &payload(seq)).is_err() {
                self.ring.evict_oldest().unwrap();
            }
            if self.rng.one_in(3) {
                self.ring.put(b"position", &seq.to_le_bytes()).unwrap();
                self.ring.sync().unwrap();
            }
        }
    }
}

impl Storage for Shared {
    fn capacity(&self) -> u64 {
        self.0.borrow().disk.capacity()
    }

    /// He may be at work before, or in the middle.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), StorageError> {
        let mut owner = self.0.borrow_mut();
        let split = if owner.rng.one_in(3) {
            owner.rng.below(buf.len())
        } else {
            0
        };
        let (head, tail) = buf.split_at_mut(split);
        owner.disk.read_at(offset, head)?;
        let idleness = owner.idleness;
        if owner.rng.one_in(idleness) {
            owner.work();
        }
        owner
            .disk
            .read_at(offset + u64::try_from(split).unwrap(), tail)
    }

    fn write_at(&mut self, _: u64, _: &[u8]) -> Result<(), StorageError> {
        unreachable!("it is only read")
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        unreachable!("it is only read")
    }
}

/// How many entries were evicted before they were read, and how many were read.
fn read_beside(seed: u64) -> Result<(u64, u64), String> {
    let mut rng = Rng::new(seed);
    let options = Options {
        sealing: rng.one_in(4).then(|| sealing(rng.next_u64())),
        ..small(Compression::Snappy)
    };
    let disk = SharedDisk::new(SimDisk::new((2 + 5 * 10) * PAGE, 512));
    let burst = [10, 60, 300][rng.below(3)];
    let mut owner = Owner {
        burst,
        ring: Ring::create(disk.clone(), RingId(seed | 1), &options).unwrap(),
        disk,
        idleness: burst / 2 + rng.below(60),
        rng: rng.clone(),
    };
    for _ in 0..rng.below(80) {
        owner.work();
    }
    owner.ring.sync().unwrap();
    let shared = Shared(Rc::new(RefCell::new(owner)));
    let fatal = |error: OpenError| error.to_string();
    let mut beside = Beside::open(shared.clone(), options).map_err(fatal)?;
    let end = beside.ring().durable();
    let mut cursor = beside.ring().cursor(beside.ring().first());
    let mut expected = cursor.seq();
    let (mut evicted, mut seen) = (0, 0);
    while cursor.seq() < end {
        match beside.read(&mut cursor).map_err(fatal)? {
            Read::Frame(frame) => {
                for entry in frame.entries() {
                    if entry.seq != expected || entry.payload != payload(entry.seq.get()) {
                        return Err(format!("{} is not as it was appended", entry.seq));
                    }
                    expected = expected.advance(1);
                    seen += 1;
                }
            }
            Read::Evicted { first, end } if first == expected => {
                evicted += end.since(first);
                expected = end;
            }
            other @ (Read::Evicted { .. } | Read::Lost { .. } | Read::End) => {
                return Err(format!("{other:?} at {expected}"));
            }
        }
    }
    let mut inspection = beside.ring().inspection();
    while let Some(sight) = beside.inspect(&mut inspection).map_err(fatal)? {
        match sight {
            Sight::Frame(frame) => {
                let right = |entry: Entry<'_>| entry.payload == payload(entry.seq.get());
                if !frame.entries().all(right) {
                    return Err(format!("{frame:?} is not as it was appended"));
                }
            }
            Sight::Damage(damage) => return Err(format!("{damage:?}")),
        }
    }
    match beside.lost_first() {
        Ok(None) => Ok((evicted, seen)),
        other => Err(format!("{other:?}")),
    }
}

#[test]
fn beside_its_owner_nothing_is_taken_for_damage() {
    let seeds = match number("SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SIM_SEEDS").map_or(1_000, |all| all.max(1_000)),
    };
    let (mut evicted, mut seen) = (0, 0);
    for (more_evicted, more_seen) in in_parallel(seeds, read_beside) {
        evicted += more_evicted;
        seen += more_seen;
    }
    eprintln!("{evicted} evicted, {seen} read");
    if number("SIM_SEED").is_none() {
        assert!(evicted > 1_000 && seen > 1_000, "{evicted} and {seen}");
    }
}

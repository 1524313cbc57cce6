//! A source moves between two rings while the power fails at any write or sync of either disk.

use diskring::sim::{Rng, SharedDisk, SimDisk};
use diskring::{AppendError, Options, PutError, Ring, RingId, Unrecovered};
use pipeline::books::Books;
use pipeline::moves::{self, Checkpoint, Kept};

use crate::ring_crash::number;

const SEEDS: u64 = 150;
const RING_BYTES: usize = 1 << 20;
const SOURCE: &str = "app";
const OLD: &str = "old";

/// How often a cut left each of the possible pictures.
#[derive(Debug, Default)]
struct Seen {
    only_old: u32,
    both: u32,
    only_new: u32,
    partial: u32,
}

/// A ring on a disk that loses power, with its books.
struct Place {
    disk: SharedDisk,
    ring: Ring<SharedDisk>,
    books: Books,
}

impl Place {
    fn new(id: u64) -> Self {
        let disk = SharedDisk::new(SimDisk::new(RING_BYTES, 512));
        let ring = Ring::create(disk.clone(), RingId(id), &Options::default()).unwrap();
        let books = Books::open(&ring).unwrap();
        Self { disk, ring, books }
    }

    fn recover(&mut self, rng: &mut Rng) {
        self.disk.disk().cut(rng);
        let unrecovered = Unrecovered::open(self.disk.clone()).unwrap();
        (self.ring, _) = unrecovered.recover(&Options::default()).unwrap();
        self.books = Books::open(&self.ring).unwrap();
    }

    fn kept(&self) -> Kept {
        Kept::of(&self.books, &self.ring, SOURCE)
    }

    /// Fills the ring with records of another source; the last of them are not synced.
    fn fill(&mut self, rng: &mut Rng) {
        let tag = self.books.open_source(&mut self.ring, "chatter").unwrap();
        let bytes = rng.below(3 * RING_BYTES / 2);
        for _ in 0..bytes / 1000 {
            let mut payload = [0; 1000];
            rng.fill(&mut payload);
            while let Err(error) = self.ring.append(tag.tag, 0, &payload) {
                assert!(matches!(error, AppendError::Full), "{error}");
                self.ring.evict_oldest().unwrap();
            }
            if rng.one_in(200) {
                self.ring.sync().unwrap();
            }
        }
    }
}

/// What an agent does when it opens the source in the new ring; false when the power failed.
fn open(new: &mut Place, old: &mut Place) -> bool {
    let (own, other) = (new.kept(), old.kept());
    let checkpoints = match moves::holder(&own, None, [(OLD, &other)]) {
        Some(_) => other.checkpoints,
        None if own.is_partial => own.checkpoints,
        None => return leave(old),
    };
    loop {
        let tag = match new.books.open_source(&mut new.ring, SOURCE) {
            Ok(opened) => opened.tag,
            Err(_) if new.disk.disk().is_dead() => return false,
            Err(_) if new.ring.evict_oldest().is_ok() => continue,
            Err(error) => panic!("{error}"),
        };
        match moves::take_over(&mut new.books, &mut new.ring, tag, &checkpoints) {
            Ok(()) => break,
            Err(PutError::Full) if new.ring.evict_oldest().is_ok() => {}
            Err(error) => {
                assert!(new.disk.disk().is_dead(), "{error}");
                return false;
            }
        }
    }
    if new.ring.sync().is_err() {
        return false;
    }
    new.ring.is_pending() || leave(old)
}

fn leave(old: &mut Place) -> bool {
    moves::leave(&mut old.books, &mut old.ring, SOURCE).is_ok() && old.ring.sync().is_ok()
}

/// One move that the power interrupts after so many writes and syncs, and the next start; false
/// once the power lasts to the end.
fn interrupted(seed: u64, fuel: u64, seen: &mut Seen) -> bool {
    let mut rng = Rng::new(seed);
    let (mut new, mut old) = (Place::new(1), Place::new(2));
    let checkpoints: Vec<Checkpoint> = (0..=rng.below(40))
        .map(|n| {
            (
                vec![u8::try_from(n).unwrap(); 1 + rng.below(200)],
                rng.next_u64(),
            )
        })
        .collect();
    let opened = old.books.open_source(&mut old.ring, SOURCE).unwrap();
    moves::take_over(&mut old.books, &mut old.ring, opened.tag, &checkpoints).unwrap();
    old.ring.sync().unwrap();
    new.fill(&mut rng);
    let mut expected = old.kept().checkpoints;
    expected.sort();
    assert_eq!(expected.len(), checkpoints.len());

    // The power fails for both; when is told by what is done to one of them.
    let clock = if seed.is_multiple_of(3) { &old } else { &new };
    clock.disk.disk().set_fuel(Some(fuel));
    let lasted = open(&mut new, &mut old);
    new.recover(&mut rng);
    old.recover(&mut rng);
    let (own, other) = (new.kept(), old.kept());
    match (own.is_whole(), other.is_whole()) {
        (true, true) => seen.both += 1,
        (true, false) => seen.only_new += 1,
        (false, _) => seen.only_old += 1,
    }
    seen.partial += u32::from(own.is_partial);
    let held = match moves::holder(&own, None, [(OLD, &other)]) {
        Some(_) => &other,
        None => &own,
    };
    assert!(
        held.checkpoints == expected,
        "SIM_SEED={seed}: checkpoints are lost after {fuel} writes"
    );
    assert!(open(&mut new, &mut old), "the power is on");
    let (own, other) = (new.kept(), old.kept());
    assert!(
        own.checkpoints == expected,
        "SIM_SEED={seed}: checkpoints are not taken along after {fuel} writes"
    );
    assert!(other.checkpoints.is_empty() || new.ring.is_pending());
    !lasted
}

#[test]
fn no_cut_loses_a_checkpoint_of_a_source_that_moves() {
    let chosen = number("SIM_SEED");
    let seeds = chosen.map_or(0..number("SIM_SEEDS").unwrap_or(SEEDS), |seed| {
        seed..seed + 1
    });
    let mut seen = Seen::default();
    for seed in seeds {
        let mut fuel = 0;
        while interrupted(seed, fuel, &mut seen) {
            fuel += 1;
        }
    }
    eprintln!("{seen:?}");
    let Seen {
        only_old,
        both,
        only_new,
        partial,
    } = seen;
    for times in [only_old, both, only_new, partial] {
        assert!(chosen.is_some() || times > 3, "too few of one picture");
    }
}

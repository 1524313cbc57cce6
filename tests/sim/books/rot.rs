//! Books over a ring that rots, with drivers that die with records in hand: no record waits for
//! ever, and the sum stays what it was.

use diskring::sim::{Rng, SharedDisk, SimDisk};
use diskring::{AppendError, Compression, Options, Read, Ring, RingId, Unrecovered};
use pipeline::books::{Books, DestinationIndex};
use pipeline::tally::{BatchOutcome, DestinationTally, StretchId, UNKNOWN_SOURCE};

use super::PAGE;

const SEGMENT_PAGES: usize = 10;
const SEGMENTS: usize = 6;
const SEEDS: u64 = 120;
const SOURCES: usize = 3;

/// A ring with three sources and three destinations, each of which takes one source more.
struct World {
    rng: Rng,
    disk: SharedDisk,
    ring: Ring<SharedDisk>,
    books: Books,
    open: Vec<DestinationIndex>,
    evictions: usize,
    /// Whether drivers die with records in hand.
    dies: bool,
    unknown_evictions: u64,
    /// Entries of each source, ever.
    stored: [u64; SOURCES],
}

#[test]
fn nothing_waits_for_what_has_rotted() {
    let (mut truncated, mut evicted, mut unknown, mut unknown_evictions) = (0, 0, 0, 0);
    for seed in 0..SEEDS {
        let mut world = World::new(seed);
        let tallies = world
            .run()
            .unwrap_or_else(|text| panic!("seed {seed}: {text}"));
        unknown_evictions += world.unknown_evictions;
        for tally in tallies {
            truncated += tally.truncated();
            evicted += evicted_by(&tally);
            unknown += tally.evicted().get(&UNKNOWN_SOURCE).copied().unwrap_or(0);
        }
    }
    eprintln!("{truncated} truncated, {evicted} evicted, {unknown} of them unknown");
    assert!(truncated > 100 && evicted > 100 && unknown > 20 && unknown_evictions > 5);
}

fn evicted_by(tally: &DestinationTally) -> u64 {
    tally.evicted().values().sum()
}

fn options() -> Options {
    Options {
        segment_bytes: Some(u32::try_from(SEGMENT_PAGES * PAGE).unwrap()),
        compression: Compression::None,
        ..Options::default()
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let capacity = (2 + SEGMENTS * SEGMENT_PAGES) * PAGE;
        let disk = SharedDisk::new(SimDisk::new(capacity, 512));
        let mut ring = Ring::create(disk.clone(), RingId(seed | 1), &options()).unwrap();
        let mut books = Books::open(&ring).unwrap();
        for tag in 0..SOURCES {
            books.open_source(&mut ring, &tag.to_string()).unwrap();
        }
        let mut world = Self {
            rng: Rng::new(seed),
            disk,
            ring,
            books,
            open: Vec::new(),
            evictions: 0,
            dies: seed.is_multiple_of(2),
            unknown_evictions: 0,
            stored: [0; SOURCES],
        };
        world.open();
        world
    }

    /// Fills, lets rot, evicts, and reads to the end; the tallies at last.
    fn run(&mut self) -> Result<Vec<DestinationTally>, String> {
        for _ in 0..2 + self.rng.below(3) {
            self.fill();
            self.rot();
            if self.rng.one_in(2) {
                self.recover();
            }
            for sources in 1..=SOURCES {
                match self.rng.below(4) {
                    0 => self.drain(sources),
                    1 if self.dies => self.die(sources),
                    _ => {}
                }
            }
        }
        let mut tallies = Vec::new();
        for sources in 1..=SOURCES {
            self.drain(sources);
            let tally = self.tally(sources);
            let settled = tally.delivered() + tally.truncated() + evicted_by(&tally);
            let stored: u64 = self.stored.iter().take(sources).sum();
            if tally.waiting() != 0 || settled != stored {
                return Err(format!("{sources} sources stored {stored}: {tally:?}"));
            }
            tallies.push(tally);
        }
        Ok(tallies)
    }

    fn open(&mut self) {
        self.open.clear();
        for sources in 1..=SOURCES {
            let from: Vec<String> = (0..sources).map(|tag| tag.to_string()).collect();
            let from = (sources < SOURCES).then_some(from);
            let name = sources.to_string();
            let index = self.books.open_destination(&mut self.ring, &name, from);
            self.open.push(index.unwrap());
        }
    }

    fn tally(&self, sources: usize) -> DestinationTally {
        self.books
            .tally(&self.ring, self.open[sources - 1])
            .unwrap()
    }

    fn fill(&mut self) {
        for _ in 0..self.rng.below(300) {
            let tag = self.rng.below(SOURCES);
            let payload = vec![7; self.rng.below(1500)];
            self.append(u16::try_from(tag).unwrap(), &payload);
            self.stored[tag] += 1;
            if self.rng.one_in(8) {
                self.ring.sync().unwrap();
            }
        }
        self.ring.sync().unwrap();
    }

    fn append(&mut self, tag: u16, payload: &[u8]) {
        loop {
            match self.ring.append(tag, 0, payload) {
                Ok(_) => return,
                Err(AppendError::Full) => self.evict(),
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn evict(&mut self) {
        let oldest = self.ring.oldest().unwrap();
        let counts = self.ring.counts(oldest.first, oldest.end).unwrap();
        let is_known = counts.values().sum::<u64>() == oldest.end.since(oldest.first);
        self.books.evict(&mut self.ring).unwrap();
        self.books.write(&mut self.ring).unwrap();
        self.ring.evict_oldest().unwrap();
        self.evictions += 1;
        if self.dies {
            return;
        }
        // Nothing is in hand: what waits is what is left, and so it is where some was unknown.
        for sources in 1..=SOURCES {
            let tally = self.tally(sources);
            let (start, end) = (tally.committed(), self.ring.next());
            let counts = self.ring.counts(start, end).unwrap();
            let left: u64 = match sources {
                SOURCES => end.since(start),
                _ => counts
                    .iter()
                    .filter(|(tag, _)| usize::from(**tag) < sources)
                    .map(|(_, count)| count)
                    .sum(),
            };
            assert!(tally.waiting() >= left);
            if start == oldest.end && (sources == SOURCES || !is_known) {
                assert_eq!(tally.waiting(), left, "{sources} sources");
                self.unknown_evictions += u64::from(!is_known);
            }
        }
    }

    /// Flips bits in frames and in what segments open with; not in headers, without which a
    /// segment is gone as a whole, and not in the newest segment, which has the states.
    fn rot(&mut self) {
        let used = usize::try_from(self.ring.stats().segments_used).unwrap();
        if used < 2 {
            return;
        }
        for _ in 0..self.rng.below(4) {
            let place = (self.evictions + self.rng.below(used - 1)) % SEGMENTS;
            let (from, span) = if self.rng.one_in(3) {
                (2 * PAGE + 128, 200)
            } else {
                (3 * PAGE, (SEGMENT_PAGES - 5) * PAGE)
            };
            let offset = PAGE + place * SEGMENT_PAGES * PAGE + from + self.rng.below(span);
            self.disk.disk().flip(offset, 1 << self.rng.below(8));
        }
    }

    fn recover(&mut self) {
        let unrecovered = Unrecovered::open(self.disk.clone()).unwrap();
        self.ring = unrecovered.recover(&options()).unwrap().0;
        self.books = Books::open(&self.ring).unwrap();
        self.open();
    }

    /// A driver takes everything in hand, and begins anew without it.
    fn die(&mut self, sources: usize) {
        self.books
            .given(self.open[sources - 1], StretchId::LIVE, self.ring.durable());
    }

    /// Delivers everything to the destination that takes so many sources.
    fn drain(&mut self, sources: usize) {
        let index = self.open[sources - 1];
        let mut cursor = self.ring.cursor(self.tally(sources).committed());
        loop {
            let mut outcome = BatchOutcome::default();
            match self.ring.read(&mut cursor).unwrap() {
                Read::Frame(frame) => {
                    let taken = frame
                        .entries()
                        .filter(|entry| usize::from(entry.tag) < sources);
                    outcome.delivered = u64::try_from(taken.count()).unwrap();
                }
                Read::Lost { first, end } => outcome.truncated = end.since(first),
                Read::Evicted { .. } => {}
                Read::End => return,
            }
            self.books.given(index, StretchId::LIVE, cursor.seq());
            self.books
                .commit(
                    &mut self.ring,
                    (index, StretchId::LIVE),
                    cursor.seq(),
                    outcome,
                )
                .unwrap();
        }
    }
}

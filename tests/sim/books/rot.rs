//! Books over a ring that rots, with backlogs, replays and drivers that die with records in hand:
//! no record waits for ever, every stretch ends, and the sum stays what it was.

use diskring::sim::{Rng, SharedDisk, SimDisk};
use diskring::{AppendError, Compression, Options, Read, Ring, RingId, Seq, Unrecovered};
use pipeline::books::{Books, DestinationIndex};
use pipeline::tally::{
    BatchOutcome, DestinationTally, Stretch, StretchId, StretchKind, UNKNOWN_SOURCE,
};

use super::PAGE;

const SEGMENT_PAGES: usize = 10;
const SEGMENTS: usize = 6;
const SEEDS: u64 = 240;
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
    seen: Seen,
    /// Entries of each source, ever.
    stored: [u64; SOURCES],
}

/// What the histories have seen of stretches that are not live.
#[derive(Debug, Default)]
struct Seen {
    splits: u64,
    replays: u64,
    lost_in_backlogs: u64,
    lost_in_replays: u64,
    deaths_in_backlogs: u64,
    deaths_in_replays: u64,
}

#[test]
fn nothing_waits_for_what_has_rotted() {
    let mut all = Seen::default();
    let (mut truncated, mut evicted, mut unknown, mut unknown_evictions) = (0, 0, 0, 0);
    let only = super::number("SIM_SEED");
    for seed in only.map_or(0..SEEDS, |seed| seed..seed + 1) {
        let mut world = World::new(seed);
        let tallies = world
            .run()
            .unwrap_or_else(|text| panic!("seed {seed}: {text}"));
        unknown_evictions += world.unknown_evictions;
        all.add(&world.seen);
        for tally in tallies {
            truncated += tally.truncated();
            evicted += evicted_by(&tally);
            unknown += tally.evicted().get(&UNKNOWN_SOURCE).copied().unwrap_or(0);
        }
    }
    if only.is_some() {
        return;
    }
    eprintln!("{truncated} truncated, {evicted} evicted, {unknown} of them unknown");
    eprintln!("{unknown_evictions} evictions of who knows whose, {all:?}");
    assert!(truncated > 100 && evicted > 100 && unknown > 20 && unknown_evictions > 5);
    assert!(all.splits > 200 && all.replays > 50);
    assert!(all.lost_in_backlogs > 50 && all.lost_in_replays > 20);
    assert!(all.deaths_in_backlogs > 20 && all.deaths_in_replays > 3);
}

impl Seen {
    fn add(&mut self, other: &Self) {
        self.splits += other.splits;
        self.replays += other.replays;
        self.lost_in_backlogs += other.lost_in_backlogs;
        self.lost_in_replays += other.lost_in_replays;
        self.deaths_in_backlogs += other.deaths_in_backlogs;
        self.deaths_in_replays += other.deaths_in_replays;
    }

    /// So much of a stretch of this kind could not be read.
    fn lose(&mut self, kind: StretchKind, count: u64) {
        match kind {
            StretchKind::Live => {}
            StretchKind::Backlog => self.lost_in_backlogs += count,
            StretchKind::Replay => self.lost_in_replays += count,
        }
    }

    /// The driver of a stretch of this kind dies.
    fn die(&mut self, kind: StretchKind) {
        match kind {
            StretchKind::Live => {}
            StretchKind::Backlog => self.deaths_in_backlogs += 1,
            StretchKind::Replay => self.deaths_in_replays += 1,
        }
    }
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
            seen: Seen::default(),
            stored: [0; SOURCES],
        };
        world.open();
        world
    }

    /// Fills, lets rot, evicts, splits, replays, and reads to the end; the tallies at last.
    fn run(&mut self) -> Result<Vec<DestinationTally>, String> {
        for _ in 0..2 + self.rng.below(3) {
            self.fill();
            self.trace("filled");
            self.rot();
            if self.rng.one_in(2) {
                self.recover();
                self.trace("recovered");
            }
            for sources in 1..=SOURCES {
                for _ in 0..self.rng.below(4) {
                    match self.rng.below(10) {
                        0..2 => self.drain(sources),
                        2..4 => self.split(sources),
                        4..6 => self.replay(sources),
                        6..9 if self.dies => self.die(sources),
                        _ => {}
                    }
                    self.trace("acted");
                }
            }
        }
        let mut tallies = Vec::new();
        for sources in 1..=SOURCES {
            self.drain(sources);
            let tally = self.tally(sources);
            let settled = tally.delivered() + tally.truncated() + evicted_by(&tally);
            let stored: u64 = self.stored.iter().take(sources).sum();
            let is_over = tally.stretches().count() == 1 && tally.live().waiting() == 0;
            if !is_over || settled != stored {
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
        let before: Vec<DestinationTally> = (1..=SOURCES).map(|of| self.tally(of)).collect();
        self.books.evict(&mut self.ring).unwrap();
        self.books.write(&mut self.ring).unwrap();
        self.ring.evict_oldest().unwrap();
        self.evictions += 1;
        self.trace("evicted");
        if self.dies {
            return;
        }
        // Nothing is in hand: what waits is what is left, and so it is where some was unknown.
        for (before, sources) in before.iter().zip(1..=SOURCES) {
            for (id, stretch) in self.tally(sources).stretches() {
                let left = self.left(sources, stretch);
                assert!(stretch.waiting() >= left);
                let is_moved = before.stretch(id).unwrap().committed() < stretch.committed();
                if is_moved && (sources == SOURCES || !is_known) {
                    assert_eq!(stretch.waiting(), left, "{sources} sources: {stretch:?}");
                    self.unknown_evictions += u64::from(!is_known);
                }
            }
        }
    }

    /// How many records of a stretch the ring still has for the destination of so many sources.
    fn left(&self, sources: usize, stretch: &Stretch) -> u64 {
        let start = stretch.committed();
        let end = stretch.limit().unwrap_or(self.ring.next());
        if sources == SOURCES {
            return end.since(start);
        }
        let counts = self.ring.counts(start, end).unwrap();
        let counts = counts.iter();
        let taken = counts.filter(|(tag, _)| usize::from(**tag) < sources);
        taken.map(|(_, count)| count).sum()
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

    /// Everything that waits becomes a backlog, unless there are too many.
    fn split(&mut self, sources: usize) {
        let (index, at) = (self.open[sources - 1], self.ring.durable());
        let is_split = self.books.split(&mut self.ring, index, at).unwrap();
        self.seen.splits += u64::from(is_split);
    }

    /// Some of what was delivered is to come once more.
    fn replay(&mut self, sources: usize) {
        let delivered = self.tally(sources).committed();
        let oldest = self.ring.first();
        let span = usize::try_from(delivered.since(oldest)).unwrap();
        let first = oldest.get() + u64::try_from(self.rng.below(span / 2 + 1)).unwrap();
        let (index, range) = (self.open[sources - 1], (Seq::new(first), delivered));
        let mark = self.rng.next_u64();
        let replayed = self.books.replay(&mut self.ring, index, range, mark);
        self.seen.replays += u64::from(replayed.unwrap().is_some());
    }

    /// How a history goes, for `SIM_SEED=7 SIM_TRACE=1`.
    fn trace(&self, what: &str) {
        if std::env::var("SIM_TRACE").is_err() {
            return;
        }
        let (first, next) = (self.ring.first(), self.ring.next());
        eprintln!("{what}: {first}..{next}, stored {:?}", self.stored);
        for sources in 1..=SOURCES {
            let tally = self.tally(sources);
            let counted = tally.delivered() + tally.truncated() + evicted_by(&tally);
            let waiting = tally.waiting();
            eprintln!("  {sources}: {counted} + {waiting} {tally:?}");
            for (_, stretch) in tally.stretches() {
                eprintln!("    left {}", self.left(sources, stretch));
            }
        }
    }

    fn stretches(&self, sources: usize) -> Vec<(StretchId, Stretch)> {
        let tally = self.tally(sources);
        let stretches = tally.stretches();
        stretches.map(|(id, stretch)| (id, *stretch)).collect()
    }

    /// The driver of a stretch takes everything in hand, and begins anew without it.
    fn die(&mut self, sources: usize) {
        let stretches = self.stretches(sources);
        let (id, stretch) = stretches[self.rng.below(stretches.len())];
        self.seen.die(stretch.kind());
        self.books
            .given(self.open[sources - 1], id, self.ring.durable());
    }

    /// Delivers everything to the destination that takes so many sources.
    fn drain(&mut self, sources: usize) {
        for (id, stretch) in self.stretches(sources) {
            if self.rng.one_in(2) {
                let index = self.open[sources - 1];
                let opened = self
                    .books
                    .open_stretch(&mut self.ring, index, stretch.kind());
                opened.unwrap();
            }
            self.drain_stretch(sources, id);
        }
    }

    fn drain_stretch(&mut self, sources: usize, id: StretchId) {
        let index = self.open[sources - 1];
        let Some(stretch) = self.tally(sources).stretch(id).copied() else {
            return;
        };
        let mut cursor = self.ring.cursor(stretch.committed());
        // A stretch that is over has no limit any more.
        while let Some(limit) = self.books.limit(index, id) {
            let from = cursor.seq();
            let mut outcome = BatchOutcome::default();
            match self.ring.read(&mut cursor).unwrap() {
                Read::Frame(frame) => {
                    let entries = frame.entries();
                    let meant = entries.filter(|entry| from <= entry.seq && entry.seq < limit);
                    let taken = meant.filter(|entry| usize::from(entry.tag) < sources);
                    outcome.delivered = u64::try_from(taken.count()).unwrap();
                }
                Read::Lost { first, end } => {
                    outcome.truncated = end.min(limit).since(first.min(limit));
                    self.seen.lose(stretch.kind(), outcome.truncated);
                }
                Read::Evicted { .. } => {}
                Read::End => return,
            }
            self.books.given(index, id, cursor.seq());
            let committed = self
                .books
                .commit(&mut self.ring, (index, id), cursor.seq(), outcome);
            committed.unwrap();
            self.trace("read");
        }
    }
}

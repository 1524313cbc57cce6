//! A machine whose clock starts anywhere, jumps and is put right, over restarts and reboots, with
//! records on a disk that tears.
//!
//! Each history follows from one seed: `SIM_SEED=7` reruns one, `SIM_SEEDS=100000` runs more. Each
//! record carries the truth in its payload, so that whatever comes out of the ring can be held to
//! it: a time that is given as known or as put right is the true one; one that is not known is said
//! to be so, and only as long as its boot has not durably learned better.

use std::collections::BTreeMap;

use diskring::sim::{Rng, SharedDisk, SimDisk};
use diskring::{AppendError, Cursor, Options, Read, Ring, RingId, Seq, TIME_UNKNOWN, Unrecovered};
use pipeline::books::Books;
use pipeline::clock::{BootClock, BootId, Boottime, EARLIEST, Moment, Reading, Teacher};
use pipeline::record::Record;
use pipeline::replay;
use pipeline::stored::{self, ClockMark, StoredRef};
use pipeline::time::WallClock;

use crate::ring_crash::number;

const SEEDS: u64 = 400;
const STEPS: usize = 160;
const RING_BYTES: usize = 1 << 20;
/// Boots of a history; more would be forgotten.
const BOOTS_MAX: u8 = 12;
/// A `Date` is off by so much at most, and a step that nobody notices by less.
const DATE_OFF_MS: i64 = 1_500;
const TOLERANCE_MS: i64 = 2_100;

/// How often records came out in each way, and what happened to clocks.
#[derive(Debug, Default)]
struct Seen {
    synced: u64,
    corrected: u64,
    corrected_later: u64,
    unsynced: u64,
    jumps: u64,
    dates: u64,
    daemons: u64,
    reboots: u64,
    restarts: u64,
    evictions: u64,
}

struct World {
    rng: Rng,
    disk: SharedDisk,
    ring: Ring<SharedDisk>,
    books: Books,
    tag: u16,
    /// The true time, and what the machine's clock is ahead of it.
    truth_ms: i64,
    error_ms: i64,
    confirmed: Option<WallClock>,
    boot: BootId,
    boots: u8,
    booted_ms: i64,
    clock: BootClock,
    /// What boots have learned durably.
    durable: BTreeMap<[u8; 16], Teacher>,
    seen: Seen,
}

impl World {
    fn new(seed: u64) -> Self {
        let rng = Rng::new(seed);
        let disk = SharedDisk::new(SimDisk::new(RING_BYTES, 512));
        let mut ring = Ring::create(disk.clone(), RingId(seed + 1), &Options::default()).unwrap();
        let mut books = Books::open(&ring).unwrap();
        let tag = books.open_source(&mut ring, "app").unwrap().tag;
        let mut world = Self {
            rng,
            disk,
            ring,
            books,
            tag,
            truth_ms: EARLIEST.as_millis() + 86_400_000,
            error_ms: 0,
            confirmed: None,
            boot: BootId::default(),
            boots: 0,
            booted_ms: 0,
            clock: BootClock::default(),
            durable: BTreeMap::new(),
            seen: Seen::default(),
        };
        world.boot();
        world
    }

    fn below(&mut self, end: i64) -> i64 {
        i64::try_from(self.rng.below(usize::try_from(end).unwrap())).unwrap()
    }

    fn wall(&self) -> WallClock {
        WallClock::from_millis(self.truth_ms + self.error_ms)
    }

    fn boottime(&self) -> Boottime {
        Boottime::from_millis((self.truth_ms - self.booted_ms).try_into().unwrap())
    }

    fn moment(&self) -> Moment {
        self.clock.moment(self.wall(), self.boottime())
    }

    /// The machine starts again, with a clock that says anything.
    fn boot(&mut self) {
        self.boots += 1;
        self.boot = BootId::from_bytes([self.boots.wrapping_mul(37); 16]);
        self.booted_ms = self.truth_ms - 1 - self.below(60_000);
        self.confirmed = None;
        match self.rng.below(3) {
            0 => self.error_ms = -self.truth_ms + self.below(100_000),
            1 => self.error_ms = 0,
            _ => self.jump(),
        }
        self.begin();
    }

    /// The agent starts.
    fn begin(&mut self) {
        self.clock = BootClock::new(self.boot.tag(), false);
        if let Some(learned) = self.books.begin_boot(&mut self.ring, self.boot) {
            self.clock.restore(learned);
        }
        // Who comes just when a clock that was set back passes its last confirmation, and knows
        // nothing, cannot tell.
        let is_set = self.error_ms.abs() > 1_000;
        if is_set && self.clock.learned().is_none() {
            self.confirmed = None;
        }
        self.look();
    }

    /// Somebody sets the clock, by more than two hours and up to thirty years.
    fn jump(&mut self) {
        let far = 1_i64 << (23 + self.rng.below(17));
        let far = 7_200_000 + self.below(far);
        self.error_ms = if self.rng.one_in(2) { far } else { -far };
        self.seen.jumps += 1;
    }

    /// The agent looks at the machine's clock.
    fn look(&mut self) {
        let reading = Reading {
            wall: self.wall(),
            boottime: self.boottime(),
            confirmed: self.confirmed,
        };
        self.clock.handle_reading(reading);
        self.learn();
    }

    fn learn(&mut self) {
        if let Some(learned) = self.clock.correction() {
            self.books.learn_boot(&mut self.ring, self.boot, learned);
        }
    }

    fn step(&mut self) -> Result<(), String> {
        match self.rng.below(40) {
            0 => self.jump(),
            1 => {
                self.error_ms = self.below(100) - 50;
                self.confirmed = Some(self.wall());
                self.seen.daemons += 1;
                self.look();
            }
            2 => {
                let date = self.truth_ms + self.below(2 * DATE_OFF_MS) - DATE_OFF_MS;
                let date = WallClock::from_millis(date);
                self.clock.handle_date(date, self.boottime());
                self.seen.dates += 1;
                self.learn();
            }
            3 => self.restart(),
            4 if self.boots < BOOTS_MAX => {
                self.restart();
                self.boot();
                self.seen.reboots += 1;
            }
            5 => return self.check(),
            6..10 => self.sync(),
            10..14 => self.look(),
            _ => self.store(),
        }
        let longest = 1 << self.rng.below(25);
        self.truth_ms += self.below(longest);
        Ok(())
    }

    /// A source takes some records, and the clock may be put right while it does.
    fn store(&mut self) {
        let received_at = self.moment().time;
        let truth_ms = self.truth_ms;
        if self.rng.one_in(8) {
            self.look();
        }
        let begun = self.moment();
        let at_ms = if begun.taken.is_unsynced {
            TIME_UNKNOWN
        } else {
            begun.time.as_millis()
        };
        for _ in 0..=self.rng.below(6) {
            let mut payload = vec![0; 8 + self.rng.below(6_000)];
            self.rng.fill(&mut payload);
            payload[..8].copy_from_slice(&truth_ms.to_le_bytes());
            let mut record = Record::new(received_at, payload);
            (record.received_at, record.taken) = begun.place(received_at);
            let mut bytes = Vec::new();
            stored::encode(&record, &mut bytes);
            while let Err(error) = self.ring.append(self.tag, at_ms, &bytes) {
                assert!(matches!(error, AppendError::Full), "{error}");
                self.ring.evict_oldest().unwrap();
                self.seen.evictions += 1;
            }
        }
    }

    fn sync(&mut self) {
        let is_written = self.books.write(&mut self.ring).is_ok();
        self.ring.sync().unwrap();
        if is_written
            && !self.ring.is_pending()
            && let Some(learned) = self.clock.correction()
        {
            self.durable.insert(*self.boot.as_bytes(), learned.by);
        }
    }

    /// The agent ends, with or without the power of its disk.
    fn restart(&mut self) {
        if self.rng.one_in(3) {
            self.sync();
        }
        self.disk.disk().cut(&mut self.rng);
        let unrecovered = Unrecovered::open(self.disk.clone()).unwrap();
        (self.ring, _) = unrecovered.recover(&Options::default()).unwrap();
        self.books = Books::open(&self.ring).unwrap();
        self.tag = self.books.open_source(&mut self.ring, "app").unwrap().tag;
        self.seen.restarts += 1;
        self.begin();
    }

    /// Everything that is in the ring comes out as the law says.
    fn check(&mut self) -> Result<(), String> {
        self.sync();
        let boots = self.books.boots();
        let mut known = Vec::new();
        let mut cursor: Cursor = self.ring.cursor(self.ring.first());
        loop {
            match self.ring.read(&mut cursor).unwrap() {
                Read::Frame(frame) => {
                    for entry in frame.entries() {
                        let mut record = StoredRef::decode(entry.payload).unwrap();
                        boots.correct(&mut record);
                        if self.judge(&record)? {
                            known.push((entry.seq, record.received_at.as_millis()));
                        }
                    }
                }
                Read::End => break,
                Read::Lost { .. } | Read::Evicted { .. } => {
                    return Err("records are gone".to_owned());
                }
            }
        }
        self.check_search(&known)
    }

    /// Holds a record to its truth; whether its time is known.
    fn judge(&mut self, record: &StoredRef<'_>) -> Result<bool, String> {
        let truth_ms = i64::from_le_bytes(record.payload[..8].try_into().unwrap());
        let off = record.received_at.as_millis().abs_diff(truth_ms);
        let is_own = record.taken.boot == self.boot.tag();
        match record.clock {
            ClockMark::Synced => self.seen.synced += 1,
            ClockMark::Corrected { .. } => {
                self.seen.corrected += 1;
                self.seen.corrected_later += u64::from(!is_own);
            }
            ClockMark::Unsynced { boot } => {
                self.seen.unsynced += 1;
                let id = boot.ok_or("a boot is forgotten")?;
                if self.durable.contains_key(id.as_bytes()) {
                    return Err(format!("boot {id} has learned the time in vain"));
                }
                if is_own && self.clock.is_synced() {
                    return Err("this boot knows the time in vain".to_owned());
                }
                return Ok(false);
            }
        }
        if off > TOLERANCE_MS.unsigned_abs() {
            return Err(format!("{:?} and {off} ms from the truth", record.clock));
        }
        Ok(true)
    }

    /// A search by time misses nothing that it looks for.
    fn check_search(&mut self, known: &[(Seq, i64)]) -> Result<(), String> {
        let at_ms = match known.len() {
            0 => self.truth_ms,
            count => known[self.rng.below(count)].1,
        };
        let found = replay::first_since(&self.ring, &self.books.boots(), at_ms).unwrap();
        let slack = 2 * TOLERANCE_MS;
        let wanted = known.iter().find(|(_, time)| *time >= at_ms + slack);
        match wanted {
            Some((seq, _)) if *seq < found => Err(format!(
                "the first record since {at_ms} is {seq}, found was {found}"
            )),
            _ => Ok(()),
        }
    }
}

fn run(seed: u64) -> Result<Seen, String> {
    let mut world = World::new(seed);
    for _ in 0..STEPS {
        world.step()?;
    }
    world.check()?;
    Ok(world.seen)
}

#[test]
fn a_time_that_is_told_is_true() {
    let chosen = number("SIM_SEED");
    let seeds = chosen.map_or(0..number("SIM_SEEDS").unwrap_or(SEEDS), |seed| {
        seed..seed + 1
    });
    let mut all = Seen::default();
    for seed in seeds {
        let seen = run(seed).unwrap_or_else(|error| panic!("SIM_SEED={seed}: {error}"));
        for (sum, count) in [
            (&mut all.synced, seen.synced),
            (&mut all.corrected, seen.corrected),
            (&mut all.corrected_later, seen.corrected_later),
            (&mut all.unsynced, seen.unsynced),
            (&mut all.jumps, seen.jumps),
            (&mut all.dates, seen.dates),
            (&mut all.daemons, seen.daemons),
            (&mut all.reboots, seen.reboots),
            (&mut all.restarts, seen.restarts),
            (&mut all.evictions, seen.evictions),
        ] {
            *sum += count;
        }
    }
    eprintln!("{all:?}");
    if chosen.is_none() {
        let least = [
            all.synced,
            all.corrected,
            all.corrected_later,
            all.unsynced,
            all.jumps,
            all.dates,
            all.daemons,
            all.reboots,
            all.restarts,
            all.evictions,
        ];
        assert!(least.iter().all(|count| *count > 100), "{all:?}");
    }
}

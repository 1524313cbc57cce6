//! Histories of the books: sources, drivers of each kind of stretch, evictions in both policies,
//! reloads, cuts.
//!
//! Each history follows from one seed, on a ring whose disk tears: `SIM_SEED=7` reruns one,
//! `SIM_SEEDS=100000` runs more. After every operation, and after every recovery, ring and books say
//! exactly what the [`Truth`] says.

mod coverage;
mod destinations;
mod drivers;
mod mutants;
mod outliving;
mod recovery;
mod rot;
mod state_room;
mod store;
mod stretches;
mod truth;

use std::collections::{BTreeMap, BTreeSet};

use diskring::sim::{Rng, SharedDisk, SimDisk};
use diskring::{AppendError, Compression, Options, Ring, RingId, Seq};
use pipeline::Mutant;
use pipeline::books::{Books, DestinationIndex};
use pipeline::tally::{StretchId, StretchKind};

use coverage::Coverage;
use drivers::{Driver, Hand};
use truth::{Change, Names, Step, Truth};

const SEEDS: u64 = 800;
const PAGE: usize = 4096;
const SOURCES: [&str; 4] = ["boiler", "door", "meter", "pump"];
const DESTINATIONS: [&str; 3] = ["all", "some", "any"];

#[test]
fn the_law_holds_in_every_history() {
    let chosen = number("SIM_SEED");
    let seeds = match chosen {
        Some(seed) => seed..seed + 1,
        None => 0..number("SIM_SEEDS").unwrap_or(SEEDS),
    };
    let mut coverage = Coverage::default();
    for seed in seeds {
        match run(seed, Mutant::None) {
            Ok(seen) => coverage.add(&seen),
            Err(text) => panic!("SIM_SEED={seed}: {text}"),
        }
    }
    eprintln!("{coverage:?}");
    if chosen.is_none() {
        coverage.check();
    }
}

type StretchKey = (DestinationIndex, StretchId);

/// A ring with its books, sources and drivers.
struct World {
    rng: Rng,
    disk: SharedDisk,
    options: Options,
    mutant: Mutant,
    blocks: bool,
    payload_max: usize,
    ring: Ring<SharedDisk>,
    books: Books,
    /// What is durable for certain, and what was done since; `now` is both together.
    durable: Truth,
    steps: Vec<Step>,
    now: Truth,
    /// Destinations that are open.
    open: BTreeMap<String, DestinationIndex>,
    drivers: BTreeMap<(String, StretchKind), Driver>,
    /// How far stretches are in the hands of drivers, those that died included.
    hands: BTreeMap<(String, StretchId), Hand>,
    /// What destinations take by name, also of those that were closed since the start.
    from: BTreeMap<String, Names>,
    /// Stretches that are no more or were closed; nothing that is said of them counts.
    retired: Vec<StretchKey>,
    used_tags: BTreeSet<u16>,
    coverage: Coverage,
}

/// Runs the history of one seed, with a rule broken or none; the text says what went wrong.
fn run(seed: u64, mutant: Mutant) -> Result<Coverage, String> {
    let mut world = World::new(seed, mutant)?;
    let operations = 60 + world.rng.below(200);
    for number in 0..operations {
        world
            .step()
            .map_err(|text| format!("operation {number}: {text}"))?;
    }
    if world.rng.one_in(2) {
        world.drain()?;
    }
    world.recover()?;
    world.coverage.count("histories", 1);
    let tallies = world.books.tallies(&world.ring);
    let truth = &world.now.destinations;
    let is_apart = tallies
        .iter()
        .all(|(name, tally)| *tally.evicted() == truth[name].evicted());
    world.coverage.merged += u64::from(!is_apart);
    Ok(world.coverage)
}

impl World {
    fn new(seed: u64, mutant: Mutant) -> Result<Self, String> {
        let mut rng = Rng::new(seed);
        let is_small = !rng.one_in(8);
        let segment_pages = 11 + rng.below(6);
        let capacity = if is_small {
            (2 + (4 + rng.below(4)) * segment_pages) * PAGE
        } else {
            (1 + rng.below(2)) << 20
        };
        let disk = SharedDisk::new(SimDisk::new(capacity, 512));
        let options = Options {
            segment_bytes: is_small.then(|| u32::try_from(segment_pages * PAGE).unwrap()),
            compression: Compression::None,
            ..Options::default()
        };
        let ring = Ring::create(disk.clone(), RingId(seed | 1), &options)
            .map_err(|error| format!("create: {error}"))?;
        let segment_bytes = usize::try_from(ring.stats().segment_bytes).unwrap();
        let payload_max = ring.entry_bytes_max().min(segment_bytes / 12);
        let mut world = Self {
            blocks: rng.one_in(3),
            rng,
            disk,
            options,
            payload_max,
            books: Books::open_mutant(&ring, mutant).map_err(fatal)?,
            mutant,
            ring,
            durable: Truth::default(),
            steps: Vec::new(),
            now: Truth::default(),
            open: BTreeMap::new(),
            drivers: BTreeMap::new(),
            hands: BTreeMap::new(),
            from: BTreeMap::new(),
            retired: Vec::new(),
            used_tags: BTreeSet::new(),
            coverage: Coverage::default(),
        };
        world.open_some()?;
        Ok(world)
    }

    /// One random operation; the power may fail in it.
    fn step(&mut self) -> Result<(), String> {
        let done = match self.rng.below(52) {
            0..=11 => self.batch(),
            12..=14 => self.sync(),
            15..=21 => self.read(),
            22..=23 => {
                self.plan();
                Ok(())
            }
            24..=30 => self.commit(),
            31 => self.speak_behind(),
            32..=33 => self.reopen(),
            34 => self.forget(),
            35 => self.open_source(),
            36 => {
                self.refuse();
                Ok(())
            }
            37 => self.check_counts(),
            38 => {
                let fuel = u64::try_from(self.rng.below(12)).unwrap();
                self.disk.disk().set_fuel(Some(fuel));
                Ok(())
            }
            39..=41 => self.split_some(),
            42..=44 => self.replay(),
            45..=49 => self.begin_some(),
            50 if self.rng.one_in(2) => self.stop_replays(),
            51 if self.rng.one_in(2) => self.outlive(),
            _ if self.rng.one_in(3) => self.recover(),
            _ => Ok(()),
        };
        if self.disk.disk().is_dead() {
            return self.recover();
        }
        done?;
        self.write()?;
        if self.disk.disk().is_dead() {
            return self.recover();
        }
        if std::env::var("SIM_TRACE").is_ok() {
            eprintln!("{:?}", self.books.tallies(&self.ring));
        }
        self.now.compare(&self.ring, &self.books)
    }

    /// What has its place needs no more room, however full the ring is.
    fn write(&mut self) -> Result<(), String> {
        match self.books.write(&mut self.ring) {
            Err(_) if self.disk.disk().is_dead() => Ok(()),
            written => written.map_err(fatal),
        }
    }

    /// Whether the ring has room for new states as it would have for an entry.
    fn has_room(&mut self, bytes: usize) -> Result<bool, String> {
        match self.ring.reserve(0, bytes, 0) {
            Ok(()) => Ok(true),
            Err(AppendError::Full) => Ok(false),
            Err(error) => Err(error.to_string()),
        }
    }

    fn record(&mut self, step: Step) {
        if std::env::var("SIM_TRACE").is_ok() {
            eprintln!("{step:?}");
        }
        self.now.apply(step.clone());
        self.steps.push(step);
    }

    fn record_change(&mut self, destination: &str, change: Change) {
        let name = destination.to_owned();
        self.record(Step::Destination { name, change });
    }

    fn pick(&mut self, from: Vec<String>) -> Option<String> {
        let nth = self.rng.below(from.len());
        from.into_iter().nth(nth)
    }

    fn pick_source(&mut self) -> Option<String> {
        self.pick(self.now.sources.keys().cloned().collect())
    }

    /// The ring counts any range as the truth does.
    fn check_counts(&mut self) -> Result<(), String> {
        let (first, next) = (self.ring.first().get(), self.ring.next().get());
        let durable = usize::try_from(self.ring.durable().get() - first).unwrap();
        let start = first + u64::try_from(self.rng.below(durable + 1)).unwrap();
        let end = if self.rng.one_in(2) {
            next
        } else {
            first + u64::try_from(self.rng.below(durable + 1)).unwrap()
        };
        let mut expected = BTreeMap::<u16, u64>::new();
        for seq in start..end {
            let tag = self.now.entries[usize::try_from(seq).unwrap()];
            *expected.entry(tag).or_default() += 1;
        }
        let counts = self
            .ring
            .counts(Seq::new(start), Seq::new(end))
            .map_err(fatal)?;
        self.coverage.count("counted ranges", 1);
        if counts == expected {
            Ok(())
        } else {
            Err(format!(
                "{counts:?} in {start}..{end} instead of {expected:?}"
            ))
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "fits map_err")]
fn fatal(error: impl ToString) -> String {
    error.to_string()
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().expect("a number"))
}

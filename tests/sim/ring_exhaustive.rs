//! Every short history, every point at which the power may fail in its last operation, and every
//! set of unsynced sectors that may have arrived: nothing is left to chance here.

use std::sync::OnceLock;

use diskring::sim::{SharedDisk, SimDisk};
use diskring::{AppendError, Compression, Mutant, Options, Read, Ring, RingId, Seq, Unrecovered};

use crate::ring_contents::{Contents, States, Step};

const PAGE: usize = 4096;
const SEGMENT_PAGES: usize = 10;
const SEGMENTS: usize = 4;
/// No operation here leaves more unsynced sectors, so that all of their sets can be tried.
const SECTORS_MAX: usize = 10;

/// How many entries there are two before the first eviction.
static FULL: OnceLock<u64> = OnceLock::new();

#[derive(Clone, Copy, Debug)]
enum Operation {
    Append,
    Put,
    Sync,
}

const OPERATIONS: [Operation; 3] = [Operation::Append, Operation::Put, Operation::Sync];

/// What is on the disk before the history begins.
#[derive(Clone, Copy, Debug)]
enum Prelude {
    Empty,
    /// The next append or two begin a segment.
    AlmostASegment,
    /// The next append or two evict one.
    AlmostFull,
}

struct History {
    disk: SharedDisk,
    ring: Ring<SharedDisk>,
    durable: Contents,
    steps: Vec<Step>,
}

fn options() -> Options {
    Options {
        segment_bytes: Some(u32::try_from(SEGMENT_PAGES * PAGE).unwrap()),
        compression: Compression::None,
        mutant: Mutant::None,
        ..Options::default()
    }
}

impl History {
    fn new(prelude: Prelude) -> Self {
        let disk = SimDisk::new((2 + SEGMENTS * SEGMENT_PAGES) * PAGE, PAGE);
        let disk = SharedDisk::new(disk);
        let ring = Ring::create(disk.clone(), RingId(9), &options()).unwrap();
        let mut history = Self {
            disk,
            ring,
            durable: Contents::default(),
            steps: Vec::new(),
        };
        let entries = match prelude {
            Prelude::Empty => 0,
            Prelude::AlmostASegment => 8,
            Prelude::AlmostFull => *FULL.get_or_init(|| {
                let mut history = Self::new(Prelude::Empty);
                while history.ring.first() == Seq::ZERO {
                    history.operate(Operation::Append).unwrap();
                    history.operate(Operation::Sync).unwrap();
                }
                history.ring.next().get() - 2
            }),
        };
        for _ in 0..entries {
            history.operate(Operation::Append).unwrap();
            history.operate(Operation::Sync).unwrap();
        }
        history
    }

    /// Does an operation; an error when the power failed in it.
    fn operate(&mut self, operation: Operation) -> Result<(), ()> {
        match operation {
            Operation::Append => {
                let seq = self.ring.next().get();
                let mut payload = vec![7; 2000];
                payload[..8].copy_from_slice(&seq.to_le_bytes());
                loop {
                    // Even when the power fails in it, the entry may have come into a group.
                    let taken = self.ring.append(1, 0, &payload);
                    match taken {
                        Ok(_) => break,
                        Err(AppendError::Full) => self.evict()?,
                        Err(_) => return Err(()),
                    }
                }
                self.steps.push(Step::Append { tag: 1, payload });
                self.settle();
            }
            Operation::Put => {
                let value = self.ring.next().get().to_le_bytes().to_vec();
                let key = b"position".to_vec();
                self.ring.put(&key, &value).map_err(|_| ())?;
                self.steps.push(Step::Put { key, value });
                self.settle();
            }
            Operation::Sync => {
                self.ring.sync().map_err(|_| ())?;
                self.settle();
            }
        }
        Ok(())
    }

    fn evict(&mut self) -> Result<(), ()> {
        let first = self.ring.oldest().unwrap().end.get();
        self.steps.push(Step::Evict { first });
        self.ring.evict_oldest().map_err(|_| ())?;
        self.settle();
        Ok(())
    }

    /// What is durable now cannot be lost any more.
    fn settle(&mut self) {
        if !self.ring.is_pending() {
            for step in std::mem::take(&mut self.steps) {
                self.durable.apply(step);
            }
        }
    }

    /// Recovers a copy of the disk, the power failing in it at each write once, and compares.
    fn check(&self, disk: &SimDisk, tally: &mut Tally) -> Result<(), String> {
        for fuel in [None, Some(0), Some(1)] {
            let shared = SharedDisk::new(disk.clone());
            shared.disk().set_fuel(fuel);
            let opened = recover(&shared);
            if fuel.is_none() {
                self.compare(&opened?)?;
                tally.recoveries += 1;
                continue;
            }
            drop(opened);
            let sectors = shared.disk().unsynced().len();
            let torn = shared.disk().clone();
            assert!(sectors <= SECTORS_MAX, "{sectors} sectors");
            for arrived in 0..1_u32 << sectors {
                let mut disk = torn.clone();
                disk.cut_to(|nth| arrived >> nth & 1 == 1);
                self.compare(&recover(&SharedDisk::new(disk))?)?;
                tally.double_cuts += 1;
            }
        }
        Ok(())
    }

    /// The ring must be what it was after some first part of the steps.
    fn compare(&self, ring: &Ring<SharedDisk>) -> Result<(), String> {
        let states: States = ring
            .states()
            .map(|(key, value)| (key.to_vec(), value.to_vec()))
            .collect();
        let mut contents = self.durable.clone();
        let mut steps = self.steps.iter();
        let (first, next) = (ring.first().get(), ring.next().get());
        while (contents.first, contents.next()) != (first, next) || contents.states != states {
            let Some(step) = steps.next() else {
                return Err(format!(
                    "recovered {first}..{next}, durable was {}..{}, then {} steps",
                    self.durable.first,
                    self.durable.next(),
                    self.steps.len()
                ));
            };
            contents.apply(step.clone());
        }
        let mut cursor = ring.cursor(Seq::new(first));
        while let Read::Frame(frame) = ring.read(&mut cursor).map_err(|e| e.to_string())? {
            for entry in frame.entries() {
                let truth = contents.get(entry.seq.get());
                if truth.map(|(_, payload)| payload.as_slice()) != Some(entry.payload) {
                    return Err(format!("entry {} is not what was appended", entry.seq));
                }
            }
        }
        if cursor.seq().get() == next {
            Ok(())
        } else {
            Err(format!("reading ended at {}", cursor.seq()))
        }
    }
}

#[derive(Debug, Default)]
struct Tally {
    histories: u64,
    cuts: u64,
    recoveries: u64,
    double_cuts: u64,
    /// Histories that ended in another segment than they began in, and that evicted one.
    rolls: u64,
    evictions: u64,
}

fn recover(disk: &SharedDisk) -> Result<Ring<SharedDisk>, String> {
    Unrecovered::open(disk.clone())
        .and_then(|unrecovered| unrecovered.recover(&options()))
        .map(|(ring, _)| ring)
        .map_err(|error| error.to_string())
}

/// Every history that ends with `operations`, cut at every write and sync of the last one.
fn check(prelude: Prelude, operations: &[Operation], tally: &mut Tally) {
    let Some((last, earlier)) = operations.split_last() else {
        return;
    };
    tally.histories += 1;
    for fuel in 0.. {
        let mut history = History::new(prelude);
        for operation in earlier {
            history.operate(*operation).unwrap();
        }
        history.disk.disk().set_fuel(Some(fuel));
        let is_done = history.operate(*last).is_ok();
        let torn = history.disk.disk().clone();
        let sectors = torn.unsynced().len();
        tally.cuts += 1;
        assert!(sectors <= SECTORS_MAX, "{sectors} sectors");
        for arrived in 0..1_u32 << sectors {
            let mut disk = torn.clone();
            disk.cut_to(|nth| arrived >> nth & 1 == 1);
            let outcome = history.check(&disk, tally);
            outcome.unwrap_or_else(|text| {
                panic!("{prelude:?} {operations:?}, {fuel} writes, sectors {arrived:b}: {text}")
            });
        }
        if is_done {
            let opening = History::new(prelude).ring;
            let (first, used) = (opening.first(), opening.stats().segments_used);
            tally.rolls += u64::from(history.ring.stats().segments_used > used);
            tally.evictions += u64::from(history.ring.first() > first);
            return;
        }
    }
}

fn every_history(prelude: Prelude, longest: u32) -> Tally {
    let mut tally = Tally::default();
    for length in 1..=longest {
        for number in 0..OPERATIONS.len().pow(length) {
            let mut rest = number;
            let operations: Vec<_> = (0..length)
                .map(|_| {
                    let operation = OPERATIONS[rest % OPERATIONS.len()];
                    rest /= OPERATIONS.len();
                    operation
                })
                .collect();
            check(prelude, &operations, &mut tally);
        }
    }
    eprintln!("{prelude:?}: {tally:?}");
    assert!(tally.cuts > tally.histories && tally.recoveries > tally.cuts);
    tally
}

#[test]
fn every_short_history_of_an_empty_ring() {
    every_history(Prelude::Empty, 6);
}

#[test]
fn every_short_history_at_the_end_of_a_segment() {
    assert!(every_history(Prelude::AlmostASegment, 6).rolls > 20);
}

#[test]
fn every_short_history_of_a_full_ring() {
    assert!(every_history(Prelude::AlmostFull, 6).evictions > 20);
}

//! The truth about a ring, and one history of operations, cuts and recoveries against it.
//!
//! The model keeps what is durable and, in order, what was done since. After a cut the ring must
//! be exactly what it would be after some first part of these steps, never anything else.

use std::collections::BTreeMap;

use diskring::sim::{Rng, SharedDisk, SimDisk};
use diskring::{
    AppendError, Compression, Cursor, Mutant, OpenError, Options, PutError, Read, Ring, RingId,
    Seq, Storage, Unrecovered,
};

use crate::ring_contents::{Contents, States, Step};
use crate::ring_operation::{Coverage, KEYS, Operation, Temper};
use crate::ring_sealed::sealing;

const PAGE: usize = 4096;

/// Each way that frames can lie on disk; the one that takes longest is the rarest.
pub(crate) fn any_compression(rng: &mut Rng) -> Compression {
    match rng.below(8) {
        0..3 => Compression::Snappy,
        3 => Compression::Zstd { level: 1 },
        _ => Compression::None,
    }
}

/// A ring, the truth about it, and two readers.
pub(crate) struct World {
    rng: Rng,
    disk: SharedDisk,
    options: Options,
    ring: Option<Ring<SharedDisk>>,
    durable: Contents,
    steps: Vec<Step>,
    evicted: u64,
    has_large_sectors: bool,
    cursors: [Cursor; 2],
    pub(crate) coverage: Coverage,
}

/// Runs the history of one seed; the text says what went wrong.
pub(crate) fn run(seed: u64, mutant: Mutant) -> Result<Coverage, String> {
    let mut world = World::new(seed, mutant)?;
    let temper = Temper::random(&mut world.rng);
    let operations = 40 + world.rng.below(400);
    for _ in 0..operations {
        let operation = Operation::random(&temper, &mut world.rng);
        if std::env::var("SIM_TRACE").is_ok() {
            let (stats, steps) = (world.ring().stats(), world.steps.len());
            eprintln!("{operation:?} {stats:?} pending {steps}");
        }
        world
            .step(operation)
            .map_err(|text| format!("{operation:?}: {text}"))?;
    }
    world.step(Operation::Cut { fuel: 0 })?;
    world.coverage.histories = 1;
    world.coverage.disks[usize::from(world.has_large_sectors)] = world.disk.disk().stats();
    Ok(world.coverage)
}

impl World {
    pub(crate) fn new(seed: u64, mutant: Mutant) -> Result<Self, String> {
        let mut rng = Rng::new(seed);
        let segment_pages = 10 + rng.below(3);
        let segments = 4 + rng.below(2);
        let sector_bytes = if rng.one_in(2) { 512 } else { PAGE };
        let capacity = (2 + segments * segment_pages) * PAGE;
        let mut disk = SimDisk::new(capacity, sector_bytes);
        let segment_bytes = u32::try_from(segment_pages * PAGE).unwrap();
        disk.watch(segment_bytes);
        let disk = SharedDisk::new(disk);
        let options = Options {
            segment_bytes: Some(segment_bytes),
            compression: any_compression(&mut rng),
            sealing: seed.is_multiple_of(4).then(|| sealing(rng.next_u64())),
            mutant,
        };
        let ring = Ring::create(disk.clone(), RingId(seed | 1), &options)
            .map_err(|error| format!("create: {error}"))?;
        let cursors = [ring.cursor(Seq::ZERO), ring.cursor(Seq::ZERO)];
        Ok(Self {
            rng,
            disk,
            options,
            ring: Some(ring),
            durable: Contents::default(),
            steps: Vec::new(),
            evicted: 0,
            has_large_sectors: sector_bytes == PAGE,
            cursors,
            coverage: Coverage::default(),
        })
    }

    fn ring(&mut self) -> &mut Ring<SharedDisk> {
        self.ring.as_mut().expect("open between operations")
    }

    pub(crate) fn step(&mut self, operation: Operation) -> Result<(), String> {
        match operation {
            Operation::Append { tag, len } => {
                let payload = self.payload(len);
                self.append(tag, payload)?;
            }
            Operation::AppendCopyOfDisk => {
                let payload = self.copy_of_disk();
                self.append(7, payload)?;
            }
            Operation::Put { key, len } => {
                let mut value = vec![0; len];
                self.rng.fill(&mut value);
                self.put(KEYS[key].to_vec(), value)?;
            }
            Operation::Remove { key } => {
                let key = KEYS[key].to_vec();
                if self
                    .settled(|ring| ring.remove(&key).map_err(fatal))?
                    .is_some()
                {
                    self.steps.push(Step::Remove { key });
                }
            }
            Operation::Sync => self.sync()?,
            Operation::Read { reader, commit } => self.read(reader, commit)?,
            Operation::Evict => self.evict()?,
            Operation::Cut { fuel } => self.cut(fuel)?,
            Operation::CloseAndOpen => self.close_and_open()?,
            Operation::Reserve { bytes } => {
                self.settled(|ring| match ring.reserve(4, bytes, 0) {
                    Ok(()) | Err(AppendError::Full | AppendError::TooLarge { .. }) => Ok(()),
                    Err(error) => Err(error.to_string()),
                })?;
            }
        }
        self.check()
    }

    /// Does something to the ring; when the power fails in it, `None` after the recovery.
    fn settled<T>(
        &mut self,
        operate: impl FnOnce(&mut Ring<SharedDisk>) -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        match operate(self.ring()) {
            Ok(value) => Ok(Some(value)),
            Err(_) if self.disk.disk().is_dead() => {
                self.coverage.sync_failures += 1;
                if self.ring().sync().is_ok() {
                    return Err("a poisoned ring went on".to_owned());
                }
                self.recover()?;
                Ok(None)
            }
            Err(text) => Err(text),
        }
    }

    fn payload(&mut self, len: usize) -> Vec<u8> {
        let mut payload = vec![0; len];
        if self.rng.one_in(2) {
            self.rng.fill(&mut payload);
        } else if let Some(head) = payload.get_mut(..len.min(8)) {
            self.rng.fill(head);
        }
        payload
    }

    /// A payload that holds what a ring looks like.
    fn copy_of_disk(&mut self) -> Vec<u8> {
        let disk = self.disk.disk();
        let pages = disk.bytes().len() / PAGE;
        let start = self.rng.below(pages - 2) * PAGE + if self.rng.one_in(2) { 0 } else { 128 };
        disk.bytes()[start..start + PAGE].to_vec()
    }

    fn append(&mut self, tag: u16, payload: Vec<u8>) -> Result<(), String> {
        loop {
            let expected = self.durable.next() + self.pending_entries();
            let at_ms = i64::try_from(expected).unwrap();
            let taken = self.settled(|ring| match ring.append(tag, at_ms, &payload) {
                Ok(seq) if seq.get() == expected => Ok(Some(true)),
                Ok(seq) => Err(format!("appended as {seq} instead of {expected}")),
                Err(AppendError::TooLarge { .. }) => Ok(Some(false)),
                Err(AppendError::Full) => Ok(None),
                Err(error) => Err(error.to_string()),
            })?;
            match taken {
                // The power failed: the entry may or may not have come before the recovery.
                None | Some(Some(false)) => return Ok(()),
                Some(Some(true)) => {
                    self.steps.push(Step::Append { tag, payload });
                    return Ok(());
                }
                Some(None) => {
                    self.coverage.full += 1;
                    self.evict()?;
                }
            }
        }
    }

    fn pending_entries(&self) -> u64 {
        let appends = self
            .steps
            .iter()
            .filter(|step| matches!(step, Step::Append { .. }));
        u64::try_from(appends.count()).unwrap()
    }

    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<(), String> {
        let taken = self.settled(|ring| match ring.put(&key, &value) {
            Ok(()) => Ok(true),
            Err(PutError::StateFull { .. } | PutError::Full) => Ok(false),
            Err(error) => Err(error.to_string()),
        })?;
        if taken == Some(true) {
            self.steps.push(Step::Put { key, value });
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), String> {
        let synced = self.settled(|ring| ring.sync().map_err(fatal))?;
        if let Some(durable) = synced {
            let expected = self.durable.next() + self.pending_entries();
            if durable.end().get() != expected {
                return Err(format!(
                    "durable to {} instead of {expected}",
                    durable.end()
                ));
            }
            // In a full ring states may wait for the next eviction.
            if !self.ring().is_pending() {
                self.settle_steps();
            }
        }
        Ok(())
    }

    fn settle_steps(&mut self) {
        for step in std::mem::take(&mut self.steps) {
            self.durable.apply(step);
        }
    }

    fn evict(&mut self) -> Result<(), String> {
        let Some(oldest) = self.ring().oldest() else {
            return Ok(());
        };
        let mut contents = self.durable.clone();
        for step in self.steps.clone() {
            contents.apply(step);
        }
        let mut counts = BTreeMap::<u16, u64>::new();
        for seq in oldest.first.get()..oldest.end.get() {
            let (tag, _) = contents
                .get(seq)
                .ok_or("the oldest segment has unknown entries")?;
            *counts.entry(*tag).or_default() += 1;
        }
        let counted: BTreeMap<u16, u64> = oldest.counts.iter().copied().collect();
        if counted != counts {
            return Err(format!("counts {counted:?} instead of {counts:?}"));
        }
        let lost = self.rng.next_u64().to_le_bytes().to_vec();
        self.put(b"lost/1".to_vec(), lost)?;
        let first = oldest.end.get();
        self.steps.push(Step::Evict { first });
        let evicted = self.settled(|ring| match ring.evict_oldest() {
            Ok(durable) => Ok(durable.end().get()),
            Err(error) => Err(error.to_string()),
        })?;
        if evicted.is_some() {
            self.coverage.evictions += 1;
            self.evicted += 1;
            let segments = u64::from(self.ring().stats().segments);
            self.coverage.laps += u64::from(self.evicted.is_multiple_of(segments));
            self.settle_steps();
        }
        Ok(())
    }

    fn read(&mut self, reader: usize, commit: bool) -> Result<(), String> {
        let times = 1 + self.rng.below(30);
        let mut cursor = self.cursors[reader].clone();
        for _ in 0..times {
            match self.ring().read(&mut cursor).map_err(fatal)? {
                Read::Frame(frame) => {
                    self.coverage.reads += 1;
                    self.check_frame(&frame)?;
                }
                Read::Evicted { first, end } => {
                    self.coverage.evicted_reads += 1;
                    if end != self.ring().first() || first >= end {
                        return Err(format!("evicted {first}..{end}"));
                    }
                }
                Read::End => {
                    if cursor.seq() != self.ring().durable() {
                        return Err(format!("ends at {}", cursor.seq()));
                    }
                    break;
                }
                other @ Read::Lost { .. } => return Err(format!("read {other:?}")),
            }
        }
        let seq = cursor.seq().get();
        self.cursors[reader] = cursor;
        if commit {
            self.put(KEYS[reader].to_vec(), seq.to_le_bytes().to_vec())?;
        }
        Ok(())
    }

    fn check_frame(&self, frame: &diskring::Frame) -> Result<(), String> {
        let mut expected = frame.first();
        for entry in frame.entries() {
            let seq = entry.seq.get();
            let pending = seq.checked_sub(self.durable.next());
            let truth = match pending {
                None => self
                    .durable
                    .get(seq)
                    .map(|(tag, payload)| (*tag, payload.as_slice())),
                Some(nth) => self
                    .steps
                    .iter()
                    .filter_map(|step| match step {
                        Step::Append { tag, payload } => Some((*tag, payload.as_slice())),
                        Step::Put { .. } | Step::Remove { .. } | Step::Evict { .. } => None,
                    })
                    .nth(usize::try_from(nth).unwrap()),
            };
            if entry.seq != expected || truth != Some((entry.tag, entry.payload)) {
                return Err(format!("entry {seq} is not what was appended"));
            }
            expected = expected.advance(1);
        }
        if expected == frame.end() {
            Ok(())
        } else {
            Err(format!(
                "frame ends at {expected} instead of {}",
                frame.end()
            ))
        }
    }

    fn cut(&mut self, fuel: u64) -> Result<(), String> {
        if fuel > 0 {
            self.disk.disk().set_fuel(Some(fuel));
            return Ok(());
        }
        self.recover()
    }

    fn close_and_open(&mut self) -> Result<(), String> {
        let ring = self.ring.take().expect("open between operations");
        let is_whole = ring.close().is_ok() && !self.disk.disk().is_dead();
        if is_whole {
            self.coverage.closes += 1;
        }
        self.recover()
    }

    /// The power fails and comes back, perhaps several times, until the ring is open again.
    fn recover(&mut self) -> Result<(), String> {
        self.ring = None;
        self.coverage.cuts += 1;
        loop {
            self.disk.disk().cut(&mut self.rng);
            if self.options.sealing.is_some() {
                self.options.sealing = Some(sealing(self.rng.next_u64()));
            }
            if self.rng.one_in(3) {
                let fuel = u64::try_from(self.rng.below(3)).unwrap();
                self.disk.disk().set_fuel(Some(fuel));
            }
            let opened = Unrecovered::open(self.disk.clone())
                .and_then(|unrecovered| unrecovered.recover(&self.options));
            match opened {
                Ok((ring, recovery)) => {
                    self.disk.disk().set_fuel(None);
                    if recovery.truncated > 0 {
                        self.coverage.older_taken += 1;
                    }
                    if recovery.end.get() > self.durable.next() {
                        self.coverage.newest_taken += 1;
                    }
                    self.ring = Some(ring);
                    return self.reconcile();
                }
                Err(OpenError::Storage(_)) if self.disk.disk().is_dead() => {
                    self.coverage.cuts_in_recovery += 1;
                }
                Err(error) => return Err(format!("recovery: {error}")),
            }
        }
    }

    /// Finds out how many of the steps survived, and holds the ring to exactly these.
    fn reconcile(&mut self) -> Result<(), String> {
        let ring = self.ring.as_ref().expect("just recovered");
        let (first, next) = (ring.first().get(), ring.next().get());
        let states: States = ring
            .states()
            .map(|(key, value)| (key.to_vec(), value.to_vec()))
            .collect();
        let mut contents = self.durable.clone();
        let steps = std::mem::take(&mut self.steps);
        let total = steps.len();
        let mut survived = None;
        let is_here = |contents: &Contents| {
            contents.first == first && contents.next() == next && contents.states == states
        };
        if is_here(&contents) {
            survived = Some((0, contents.clone()));
        }
        for (index, step) in steps.into_iter().enumerate() {
            contents.apply(step);
            if is_here(&contents) {
                survived = Some((index + 1, contents.clone()));
            }
        }
        let Some((count, contents)) = survived else {
            return Err(format!(
                "recovered {first}..{next} with {} states, durable was {}..{} with {} states \
                 and {total} steps",
                states.len(),
                self.durable.first,
                self.durable.next(),
                self.durable.states.len()
            ));
        };
        if count > 0 && count < total {
            self.coverage.partial_prefixes += 1;
        }
        self.durable = contents;
        if ring.durable().get() != next {
            return Err("recovered entries are not durable".to_owned());
        }
        self.read_all()?;
        for cursor in &mut self.cursors {
            let seq = cursor.seq().get().min(next);
            *cursor = self.ring.as_ref().expect("recovered").cursor(Seq::new(seq));
        }
        Ok(())
    }

    fn read_all(&mut self) -> Result<(), String> {
        let ring = self.ring.as_ref().expect("open");
        let mut cursor = ring.cursor(ring.first());
        loop {
            match ring.read(&mut cursor).map_err(fatal)? {
                Read::Frame(frame) => self.check_frame(&frame)?,
                Read::End => break,
                other @ (Read::Lost { .. } | Read::Evicted { .. }) => {
                    return Err(format!("read {other:?}"));
                }
            }
        }
        if cursor.seq() == ring.durable() {
            Ok(())
        } else {
            Err(format!("reading ended at {}", cursor.seq()))
        }
    }

    /// What holds after every operation.
    fn check(&mut self) -> Result<(), String> {
        let disk_bytes = self.disk.disk().capacity();
        if let Some(offset) = self.disk.disk().violation() {
            return Err(format!("durable page at {offset} was written in place"));
        }
        let ring = self.ring.as_ref().expect("open");
        let stats = ring.stats();
        if stats.used_bytes > disk_bytes || ring.first() > ring.durable() {
            return Err(format!("{stats:?}"));
        }
        let states = self.durable.states_after(&self.steps);
        let held: States = ring
            .states()
            .map(|(key, value)| (key.to_vec(), value.to_vec()))
            .collect();
        if held == states {
            Ok(())
        } else {
            Err("states differ".to_owned())
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "fits map_err")]
fn fatal(error: impl ToString) -> String {
    error.to_string()
}

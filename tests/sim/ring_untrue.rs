//! One history on a disk that breaks the fault model, and what the ring still owes then.

use std::collections::BTreeSet;
use std::ops::Range;

use diskring::sim::{Rng, SharedDisk, SimDisk};
use diskring::{
    AppendError, Compression, Mutant, Options, PutError, Read, Ring, RingId, Unrecovered,
};

use crate::ring_beyond::{Fault, Tally};

const PAGE: usize = 4096;
/// What an entry begins and ends with, before its seq, so that it is found on the disk.
const MARK: &[u8; 8] = b"<<entry:";
/// A frame is never longer here.
const FRAME_BYTES_MAX: usize = 70 << 10;

struct World {
    rng: Rng,
    fault: Fault,
    disk: SharedDisk,
    options: Options,
    ring: Option<Ring<SharedDisk>>,
    /// Every entry by its seq.
    truth: Vec<Vec<u8>>,
    /// The first entry that was never evicted.
    first: u64,
    /// Where the log ends that was durable last, and the one before.
    durable: u64,
    before: u64,
    /// Where groups ended since the last recovery.
    groups: Vec<u64>,
    /// What a good sync has covered.
    honest: u64,
    /// Good syncs when the last one was lost.
    syncs_at_loss: u64,
    /// Syncs of either kind when something rotted last.
    syncs_at_rot: Option<u64>,
    /// Entries of groups that recovery once refused.
    never_durable: BTreeSet<Vec<u8>>,
    /// Entries that the disk, not the ring, has lost.
    excused: BTreeSet<u64>,
    /// Each hides at most one frame.
    wounds: usize,
    tally: Tally,
}

/// Runs the history of one seed; the text says what went wrong.
pub(crate) fn run(seed: u64, fault: Fault, mutant: Mutant) -> Result<Tally, String> {
    let mut world = World::new(seed, fault, mutant)?;
    let operations = 30
        + world
            .rng
            .below(if fault == Fault::Block { 100 } else { 250 });
    for _ in 0..operations {
        world.step()?;
    }
    world.cut()?;
    world.tally.disk = world.disk.disk().stats();
    Ok(world.tally)
}

impl World {
    fn new(seed: u64, fault: Fault, mutant: Mutant) -> Result<Self, String> {
        let mut rng = Rng::new(seed);
        let segment_pages = if fault == Fault::Block { 40 } else { 12 };
        let segments = 4 + rng.below(3);
        let sector_bytes = if rng.one_in(2) { 512 } else { PAGE };
        let mut disk = SimDisk::new((2 + segments * segment_pages) * PAGE, sector_bytes);
        if fault == Fault::Block {
            disk.remember_blocks();
        }
        let disk = SharedDisk::new(disk);
        let options = Options {
            segment_bytes: Some(u32::try_from(segment_pages * PAGE).unwrap()),
            compression: Compression::None,
            mutant,
            ..Options::default()
        };
        let ring = Ring::create(disk.clone(), RingId(seed | 1), &options);
        Ok(Self {
            rng,
            fault,
            disk,
            options,
            ring: Some(ring.map_err(|error| format!("create: {error}"))?),
            truth: Vec::new(),
            first: 0,
            durable: 0,
            before: 0,
            groups: vec![0],
            honest: 0,
            syncs_at_loss: 0,
            syncs_at_rot: None,
            never_durable: BTreeSet::new(),
            excused: BTreeSet::new(),
            wounds: 0,
            tally: Tally::default(),
        })
    }

    fn step(&mut self) -> Result<(), String> {
        let before = self.disk.disk().stats();
        match self.rng.below(20) {
            0..9 => self.append()?,
            9..15 => self.sync()?,
            15 => self.read_on()?,
            16 => return self.cut(),
            17 if self.rng.one_in(4) => return self.close(),
            _ => self.harm(),
        }
        let stats = self.disk.disk().stats();
        let durable = self.ring().durable().get();
        if stats.syncs > before.syncs {
            // The last sync of an operation is a good one as soon as any is.
            self.honest = self.honest.max(durable);
        }
        if durable > self.durable {
            self.before = self.durable;
            self.durable = durable;
            self.groups.push(durable);
        }
        Ok(())
    }

    fn ring(&mut self) -> &mut Ring<SharedDisk> {
        self.ring.as_mut().expect("open between operations")
    }

    fn append(&mut self) -> Result<(), String> {
        let len_max = match (self.fault, self.rng.below(4)) {
            (Fault::Block, 0) => 6000,
            (Fault::Block, _) => 30_000,
            (_, 0) => 9000,
            _ => 1500,
        };
        let mut payload = vec![0; MARK.len() + 8 + self.rng.below(len_max)];
        self.rng.fill(&mut payload);
        let seq = u64::try_from(self.truth.len()).unwrap();
        let len = payload.len();
        payload[len - 16..len - 8].copy_from_slice(MARK);
        payload[len - 8..].copy_from_slice(&seq.to_le_bytes());
        payload[..8].copy_from_slice(MARK);
        payload[8..16].copy_from_slice(&seq.to_le_bytes());
        loop {
            match self.ring().append(1, 0, &payload) {
                Ok(taken) if taken.get() == seq => break,
                Err(AppendError::Full) => self.evict()?,
                other => return Err(format!("append of {seq}: {other:?}")),
            }
        }
        self.truth.push(payload);
        if self.rng.one_in(3) {
            let position = u64::try_from(self.truth.len()).unwrap().to_le_bytes();
            match self.ring().put(b"position", &position) {
                Ok(()) | Err(PutError::Full) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(())
    }

    fn evict(&mut self) -> Result<(), String> {
        let oldest = self.ring().oldest().ok_or("full with one segment")?;
        self.ring()
            .evict_oldest()
            .map_err(|error| error.to_string())?;
        self.first = self.first.max(oldest.end.get());
        self.tally.evictions += 1;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), String> {
        let durable = self.ring().sync().map_err(|error| error.to_string())?;
        if durable.end().get() == u64::try_from(self.truth.len()).unwrap() {
            Ok(())
        } else {
            Err(format!("durable to {}", durable.end()))
        }
    }

    /// Does to the disk what it does in this history.
    fn harm(&mut self) {
        let stats = self.disk.disk().stats();
        match self.fault {
            Fault::LostSync if stats.syncs > self.syncs_at_loss => {
                self.syncs_at_loss = stats.syncs;
                self.disk.disk().lose_syncs(1);
            }
            // So many groups later no slot is left that saw the damage.
            Fault::Rot if self.syncs_at_rot.is_none_or(|then| stats.syncs > then + 4) => {
                // The superblock's copy stays, so that it never has to do without both.
                let len = self.disk.disk().bytes().len() - PAGE;
                let offset = self.rng.below(len);
                if self.rng.one_in(4) {
                    let start = offset - offset % 512;
                    let end = start + 512 * (1 + self.rng.below(8));
                    self.disk.disk().set_bad(start..end);
                } else {
                    self.disk.disk().flip(offset, 1 << self.rng.below(8));
                    self.tally.flips += 1;
                }
                self.wounds += 1;
                self.syncs_at_rot = Some(stats.syncs);
            }
            Fault::LostSync | Fault::Rot | Fault::Block => {}
        }
    }

    fn close(&mut self) -> Result<(), String> {
        let ring = self.ring.take().expect("open between operations");
        ring.close().map_err(|error| error.to_string())?;
        self.durable = u64::try_from(self.truth.len()).unwrap();
        self.before = self.durable;
        self.cut()
    }

    /// Cuts the power, lets a block fall back, recovers, and holds the ring to what is promised.
    fn cut(&mut self) -> Result<(), String> {
        self.fail_in_a_sync();
        let synced = self.ring.as_ref().map(|ring| ring.durable().get());
        let synced = synced.unwrap_or(self.durable);
        self.ring = None;
        self.tally.cuts += 1;
        let unsynced = self.disk.disk().unsynced();
        self.disk.disk().cut(&mut self.rng);
        if self.fault == Fault::Block && !unsynced.is_empty() && self.rng.one_in(2) {
            let offset = unsynced[self.rng.below(unsynced.len())];
            self.fall_back(offset);
        }
        let (ring, recovery) = Unrecovered::open(self.disk.clone())
            .and_then(|unrecovered| unrecovered.recover(&self.options))
            .map_err(|error| format!("recovery: {error}"))?;
        self.tally.repaired += u64::from(recovery.pages_repaired);
        let end = ring.next().get();
        if std::env::var("SIM_TRACE").is_ok() {
            eprintln!("{recovery:?}, {synced} were synced");
        }
        self.check_end(end, synced)
            .map_err(|text| format!("{text}: {recovery:?}"))?;
        if ring.first().get() > self.first {
            return Err(format!(
                "begins with {} instead of {}",
                ring.first(),
                self.first
            ));
        }
        let position = ring.get(b"position").map_or(0, |position| {
            u64::from_le_bytes(position.try_into().expect("eight bytes"))
        });
        if position > end {
            return Err(format!("the position {position} is ahead of {end}"));
        }
        self.go_on(ring, synced)
    }

    /// Goes on with what the ring has now, which must be the truth.
    fn go_on(&mut self, ring: Ring<SharedDisk>, synced: u64) -> Result<(), String> {
        let end = ring.next().get();
        self.tally.cut_off += synced.saturating_sub(end);
        for (seq, payload) in self.truth.iter().enumerate() {
            if u64::try_from(seq).unwrap() >= synced.min(end) {
                self.never_durable.insert(payload.clone());
            }
        }
        self.truth.truncate(usize::try_from(end).unwrap());
        // What was evicted may come back with its segment's space in use again.
        self.excused.extend(ring.first().get()..self.first);
        self.first = ring.first().get();
        self.excused.retain(|seq| *seq < end);
        self.ring = Some(ring);
        let lost = self.read_all()?;
        self.check_lost(&lost, synced)?;
        self.honest = end;
        self.durable = end;
        self.before = end;
        self.groups.retain(|group| *group < end);
        self.groups.push(end);
        Ok(())
    }

    /// Whether the log ends no earlier than promised; `synced` was claimed to be durable.
    fn check_end(&self, end: u64, synced: u64) -> Result<(), String> {
        let syncs = self.disk.disk().stats().syncs;
        let is_rotten = self.syncs_at_rot.is_some_and(|then| syncs <= then + 1);
        let promised = match self.fault {
            Fault::LostSync => self.honest,
            Fault::Rot if is_rotten => self.before,
            Fault::Rot => synced,
            Fault::Block => self.before,
        };
        if end < promised && !(self.fault == Fault::Block && self.is_excused(end)) {
            return Err(format!(
                "the log ends at {end}, promised was {promised}, durable {synced}"
            ));
        }
        Ok(())
    }

    /// Whether the disk lost this entry, or one that may begin the frame it is in.
    fn shares_a_frame(&self, seq: u64) -> bool {
        let mut len = 0;
        for before in (0..=seq).rev() {
            if self.excused.contains(&before) {
                return true;
            }
            len += self.truth[usize::try_from(before).unwrap()].len();
            if len > FRAME_BYTES_MAX / 2 {
                return false;
            }
        }
        false
    }

    /// Whether each group from `end` on has a part that fell back: groups count as a whole.
    fn is_excused(&self, end: u64) -> bool {
        let groups = self.groups.iter().zip(self.groups.iter().skip(1));
        groups
            .filter(|(_, group_end)| **group_end > end)
            .all(|(first, group_end)| self.excused.range(*first..=*group_end).next().is_some())
    }

    /// Lets the power fail while something is being written.
    fn fail_in_a_sync(&mut self) {
        let Some(ring) = self.ring.as_mut() else {
            return;
        };
        let fuel = u64::try_from(self.rng.below(5)).unwrap();
        self.disk.disk().set_fuel((fuel < 4).then_some(fuel));
        if self.rng.one_in(8) {
            return;
        }
        let before = ring.durable().get();
        if ring.sync().is_ok() && ring.durable().get() > before {
            self.before = before;
        }
    }

    fn fall_back(&mut self, offset: usize) {
        let mut disk = self.disk.disk();
        let held = disk.bytes().to_vec();
        let block = disk.roll_back(offset, &mut self.rng);
        let near = block.start.saturating_sub(FRAME_BYTES_MAX)
            ..(block.end + FRAME_BYTES_MAX).min(held.len());
        let near = &held[near];
        for (at, window) in near.windows(MARK.len() + 8).enumerate() {
            if window.starts_with(MARK) {
                let seq = near[at + MARK.len()..][..8].try_into().unwrap();
                self.excused.insert(u64::from_le_bytes(seq));
            }
        }
    }

    /// Reads everything; what cannot be read is returned.
    fn read_all(&mut self) -> Result<Vec<Range<u64>>, String> {
        let ring = self.ring.as_ref().expect("open");
        let mut cursor = ring.cursor(ring.first());
        let mut expected = ring.first();
        let mut lost = Vec::new();
        loop {
            let read = ring.read(&mut cursor).map_err(|error| error.to_string())?;
            let (first, end) = match &read {
                Read::Frame(frame) => {
                    for entry in frame.entries() {
                        let seq = usize::try_from(entry.seq.get()).unwrap();
                        let truth = self.truth.get_mut(seq);
                        if truth.as_deref().map(Vec::as_slice) == Some(entry.payload) {
                            continue;
                        }
                        // Without the recovery that refused it, a group may come back whole.
                        if self.fault == Fault::Block && self.never_durable.contains(entry.payload)
                        {
                            self.truth.truncate(seq);
                            self.truth.push(entry.payload.to_vec());
                        } else {
                            return Err(format!("entry {seq} is not what was appended"));
                        }
                    }
                    (frame.first(), frame.end())
                }
                Read::Lost { first, end } => {
                    lost.push(first.get()..end.get());
                    (*first, *end)
                }
                Read::Evicted { .. } => return Err(format!("{read:?}")),
                Read::End => break,
            };
            if first != expected || end <= first {
                return Err(format!("{first}..{end} where {expected} should be"));
            }
            expected = end;
        }
        if expected == ring.durable() {
            Ok(lost)
        } else {
            Err(format!("reading ended at {expected}"))
        }
    }

    fn read_on(&mut self) -> Result<(), String> {
        let lost = self.read_all()?;
        if self.fault == Fault::Rot && lost.len() > self.wounds {
            return Err(format!("{} wounds cost {lost:?}", self.wounds));
        }
        // The disk may find its sectors again.
        self.disk.disk().set_bad(0..0);
        Ok(())
    }

    fn check_lost(&mut self, lost: &[Range<u64>], synced: u64) -> Result<(), String> {
        if self.fault == Fault::Rot {
            self.tally.lost += u64::try_from(lost.len()).unwrap();
            return if lost.len() <= self.wounds {
                Ok(())
            } else {
                Err(format!("{} wounds cost {lost:?}", self.wounds))
            };
        }
        for seq in lost.iter().cloned().flatten() {
            self.tally.lost += 1;
            let promised = if self.fault == Fault::LostSync {
                self.honest
            } else {
                synced
            };
            let may = seq >= promised;
            if may {
                self.excused.insert(seq);
            }
            if !may && !self.shares_a_frame(seq) {
                return Err(format!("entry {seq} is lost, {promised} were synced"));
            }
        }
        Ok(())
    }
}

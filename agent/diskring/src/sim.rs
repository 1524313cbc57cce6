//! A disk that forgets, tears and rots, and a small generator of numbers to drive it.
//!
//! The fault model: at a cut, every sector written since the last completed sync independently
//! holds its old bytes, its new bytes, zeros, garbage, or a part of each. The power may also fail
//! at any one write or sync. Everything follows from the seed.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::BTreeSet;
use std::io;
use std::rc::Rc;

use crate::{Storage, StorageError};

const PAGE: usize = 4096;

/// A generator whose whole state is its seed (splitmix64).
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The generator for a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub const fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number less than `end`, or 0 when there is none.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next_u64() % end).unwrap_or(0)
    }

    /// True once in `times`.
    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// Bytes.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let word = self.next_u64().to_le_bytes();
            for (to, from) in chunk.iter_mut().zip(word) {
                *to = from;
            }
        }
    }
}

/// What a disk did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskStats {
    /// Writes.
    pub writes: u64,
    /// Bytes of these writes.
    pub written_bytes: u64,
    /// Completed syncs.
    pub syncs: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Sectors that a cut left as garbage, zeros or shorn.
    pub torn_sectors: u64,
}

/// A disk in memory.
#[derive(Clone, Debug)]
pub struct SimDisk {
    /// What a read sees.
    current: Vec<u8>,
    /// What the last completed sync left.
    stable: Vec<u8>,
    sector_bytes: usize,
    /// Sectors written since the last completed sync.
    dirty: BTreeSet<usize>,
    /// Writes and syncs until the power fails.
    fuel: Option<u64>,
    is_dead: bool,
    stats: DiskStats,
    read_bytes: Cell<u64>,
    rule: Option<PageRule>,
    /// Bytes that cannot be read.
    bad: std::ops::Range<usize>,
}

impl SimDisk {
    /// A disk of zeros.
    pub fn new(capacity: usize, sector_bytes: usize) -> Self {
        Self::from_bytes(vec![0; capacity], sector_bytes)
    }

    /// A disk that holds these bytes.
    pub fn from_bytes(bytes: Vec<u8>, sector_bytes: usize) -> Self {
        Self {
            current: bytes.clone(),
            stable: bytes,
            sector_bytes,
            dirty: BTreeSet::new(),
            fuel: None,
            is_dead: false,
            stats: DiskStats::default(),
            read_bytes: Cell::new(0),
            rule: None,
            bad: 0..0,
        }
    }

    /// What a read sees.
    pub fn bytes(&self) -> &[u8] {
        &self.current
    }

    /// Lets bytes rot at rest.
    pub fn flip(&mut self, offset: usize, mask: u8) {
        for bytes in [&mut self.current, &mut self.stable] {
            if let Some(byte) = bytes.get_mut(offset) {
                *byte ^= mask;
            }
        }
    }

    /// Lets every read of one of these bytes fail.
    pub fn set_bad(&mut self, bad: std::ops::Range<usize>) {
        self.bad = bad;
    }

    /// Lets the power fail at the write or sync after `fuel` more of them.
    pub fn set_fuel(&mut self, fuel: Option<u64>) {
        self.fuel = fuel;
    }

    /// Whether the power has failed.
    pub const fn is_dead(&self) -> bool {
        self.is_dead
    }

    /// Watches from here on that no durable page of a segment of this size is written in place.
    pub fn watch(&mut self, segment_bytes: u32) {
        self.rule = Some(PageRule::new(u64::from(segment_bytes)));
    }

    /// The offset of the first page that was written against the rule.
    pub fn violation(&self) -> Option<u64> {
        self.rule.as_ref().and_then(|rule| rule.violation)
    }

    /// What the disk did so far.
    pub fn stats(&self) -> DiskStats {
        DiskStats {
            read_bytes: self.read_bytes.get(),
            ..self.stats
        }
    }

    /// The power fails and comes back.
    pub fn cut(&mut self, rng: &mut Rng) {
        let kindness = rng.below(4);
        for sector in std::mem::take(&mut self.dirty) {
            let start = sector * self.sector_bytes;
            let end = (start + self.sector_bytes).min(self.current.len());
            let (Some(new), Some(old)) = (
                self.current.get_mut(start..end),
                self.stable.get_mut(start..end),
            ) else {
                continue;
            };
            // A kind cut tears nothing, so that histories also go on from whole and from lost
            // groups; a half-kind one tears little.
            let fate = match kindness {
                0 => rng.below(2),
                1 => rng.below(40),
                _ => rng.below(5),
            };
            match fate {
                0 => new.copy_from_slice(old),
                2 => new.fill(0),
                3 => rng.fill(new),
                4 => {
                    let shorn = rng.below(old.len());
                    for (to, from) in new.iter_mut().zip(old.iter()).skip(shorn) {
                        *to = *from;
                    }
                }
                _ => {}
            }
            self.stats.torn_sectors += u64::from((2..=4).contains(&fate));
            old.copy_from_slice(new);
        }
        self.is_dead = false;
        self.fuel = None;
        if let Some(rule) = &mut self.rule {
            rule.handle_cut();
        }
    }

    fn burn(&mut self) -> Result<(), io::Error> {
        if self.is_dead {
            return Err(io::Error::other("the power is off"));
        }
        match &mut self.fuel {
            None => return Ok(()),
            Some(0) => self.is_dead = true,
            Some(fuel) => {
                *fuel -= 1;
                return Ok(());
            }
        }
        Err(io::Error::other("the power fails"))
    }

    fn range(&self, offset: u64, len: usize) -> Result<std::ops::Range<usize>, io::Error> {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let end = start.saturating_add(len);
        if end > self.current.len() {
            return Err(io::Error::other("outside of the disk"));
        }
        Ok(start..end)
    }
}

impl Storage for SimDisk {
    fn capacity(&self) -> u64 {
        u64::try_from(self.current.len()).unwrap_or(u64::MAX)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), StorageError> {
        let len = buf.len();
        let range = self
            .range(offset, len)
            .map_err(|error| StorageError::read(offset, len, error))?;
        if range.start < self.bad.end && self.bad.start < range.end {
            let error = io::Error::other("a bad sector");
            return Err(StorageError::read(offset, len, error));
        }
        if let Some(bytes) = self.current.get(range) {
            buf.copy_from_slice(bytes);
        }
        let len = u64::try_from(len).unwrap_or(0);
        self.read_bytes.set(self.read_bytes.get() + len);
        Ok(())
    }

    fn write_at(&mut self, offset: u64, data: &[u8]) -> Result<(), StorageError> {
        let failed = |error| StorageError::write(offset, data.len(), error);
        let was_dead = self.is_dead;
        let burnt = self.burn();
        let range = self.range(offset, data.len()).map_err(failed)?;
        if !was_dead {
            // The write at which the power fails may still reach the disk, in parts: its sectors
            // are dirty like any others.
            self.dirty
                .extend(range.start / self.sector_bytes..range.end.div_ceil(self.sector_bytes));
            if let Some(bytes) = self.current.get_mut(range) {
                bytes.copy_from_slice(data);
            }
        }
        burnt.map_err(failed)?;
        self.stats.writes += 1;
        self.stats.written_bytes += u64::try_from(data.len()).unwrap_or(0);
        if let Some(rule) = &mut self.rule {
            rule.handle_write(offset, data.len());
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        self.burn().map_err(StorageError::sync)?;
        for sector in std::mem::take(&mut self.dirty) {
            let start = sector * self.sector_bytes;
            let end = (start + self.sector_bytes).min(self.current.len());
            if let (Some(new), Some(old)) = (
                self.current.get(start..end),
                self.stable.get_mut(start..end),
            ) {
                old.copy_from_slice(new);
            }
        }
        self.stats.syncs += 1;
        if let Some(rule) = &mut self.rule {
            rule.handle_sync();
        }
        Ok(())
    }
}

/// The disk of a ring that the test also holds.
#[derive(Clone, Debug)]
pub struct SharedDisk(Rc<RefCell<SimDisk>>);

impl SharedDisk {
    /// Shares this disk.
    pub fn new(disk: SimDisk) -> Self {
        Self(Rc::new(RefCell::new(disk)))
    }

    /// The disk, while no ring is at work on it.
    pub fn disk(&self) -> RefMut<'_, SimDisk> {
        self.0.borrow_mut()
    }
}

impl Storage for SharedDisk {
    fn capacity(&self) -> u64 {
        self.0.borrow().capacity()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), StorageError> {
        self.0.borrow().read_at(offset, buf)
    }

    fn write_at(&mut self, offset: u64, data: &[u8]) -> Result<(), StorageError> {
        self.0.borrow_mut().write_at(offset, data)
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        self.0.borrow_mut().sync()
    }
}

/// Watches that no page with durable frames is written again before its segment is reused.
#[derive(Clone, Debug)]
struct PageRule {
    segment_bytes: u64,
    durable: BTreeSet<u64>,
    written: BTreeSet<u64>,
    /// The slot that holds the durable end, and the one written since.
    last_slot: Option<u64>,
    new_slot: Option<u64>,
    violation: Option<u64>,
}

impl PageRule {
    const fn new(segment_bytes: u64) -> Self {
        Self {
            segment_bytes,
            durable: BTreeSet::new(),
            written: BTreeSet::new(),
            last_slot: None,
            new_slot: None,
            violation: None,
        }
    }

    fn handle_write(&mut self, offset: u64, len: usize) {
        let page = u64::try_from(PAGE).unwrap_or(u64::MAX);
        let pages = u64::try_from(len.div_ceil(PAGE)).unwrap_or(0);
        for at in (0..pages).map(|index| offset - offset % page + index * page) {
            let within = at.saturating_sub(page) % self.segment_bytes;
            let base = at - within;
            let is_slot = within == 0 || within == self.segment_bytes - page;
            if within == page {
                // The header: the segment is used anew.
                let reused = base..base + self.segment_bytes;
                self.durable.retain(|page| !reused.contains(page));
            }
            if self.durable.contains(&at) || self.last_slot == Some(at) {
                self.violation = self.violation.or(Some(at));
            }
            if is_slot {
                self.new_slot = Some(at);
            } else {
                self.written.insert(at);
            }
        }
    }

    fn handle_sync(&mut self) {
        self.durable.append(&mut self.written);
        self.last_slot = self.new_slot.take().or(self.last_slot);
    }

    /// Forgets what was never synced, and which slot counts: recovery decides anew.
    fn handle_cut(&mut self) {
        self.written.clear();
        self.new_slot = None;
        self.last_slot = None;
    }
}

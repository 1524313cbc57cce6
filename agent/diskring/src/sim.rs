//! A disk that forgets, tears and rots, and a small generator of numbers to drive it.
//!
//! The fault model: at a cut, every sector written since the last completed sync independently
//! holds its old bytes, its new bytes, zeros, garbage, or a part of each. The power may also fail
//! at any one write or sync. Beyond that a sync may be reported as done that was not, bytes may
//! rot or refuse to be read, and a whole erase block may fall back to what it held before.
//! Everything follows from the seed.

mod page_rule;
mod rng;

pub use rng::Rng;

use std::cell::{Cell, RefCell, RefMut};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::rc::Rc;

use crate::{Storage, StorageError};
use page_rule::PageRule;

const PAGE: usize = 4096;
/// What flash erases at once.
pub const BLOCK_BYTES: usize = 128 << 10;
/// How far back a block may fall.
const BLOCK_VERSIONS: usize = 3;

thread_local! {
    static NONCES: RefCell<Vec<(u64, u32, u64)>> = const { RefCell::new(Vec::new()) };
}

/// The segment's number, offset and salt of every frame that this thread sealed since the last
/// call.
pub fn take_nonces() -> Vec<(u64, u32, u64)> {
    NONCES.take()
}

pub(crate) fn note_nonce(number: u64, offset: u32, salt: u64) {
    NONCES.with_borrow_mut(|nonces| nonces.push((number, offset, salt)));
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
    /// Sectors that a cut left as they were before.
    pub old_sectors: u64,
    /// Sectors that a cut left as they were written.
    pub new_sectors: u64,
    /// Sectors that a cut left as zeros.
    pub zeroed_sectors: u64,
    /// Sectors that a cut left as garbage.
    pub garbage_sectors: u64,
    /// Sectors that a cut left half written.
    pub shorn_sectors: u64,
    /// Syncs that were reported as done and were not.
    pub lost_syncs: u64,
    /// Reads that failed.
    pub failed_reads: u64,
    /// Erase blocks that fell back.
    pub rolled_back_blocks: u64,
}

impl DiskStats {
    /// Counts what another disk did as well.
    pub fn add(&mut self, other: &Self) {
        self.writes += other.writes;
        self.written_bytes += other.written_bytes;
        self.syncs += other.syncs;
        self.read_bytes += other.read_bytes;
        self.old_sectors += other.old_sectors;
        self.new_sectors += other.new_sectors;
        self.zeroed_sectors += other.zeroed_sectors;
        self.garbage_sectors += other.garbage_sectors;
        self.shorn_sectors += other.shorn_sectors;
        self.lost_syncs += other.lost_syncs;
        self.failed_reads += other.failed_reads;
        self.rolled_back_blocks += other.rolled_back_blocks;
    }
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
    bad: Range<usize>,
    failed_reads: Cell<u64>,
    /// So many of the next syncs are lost.
    lost_syncs_ahead: u32,
    /// Writes until the file system is full.
    room: Option<u64>,
    /// What each erase block held before the last syncs that changed it, the latest last.
    blocks: Option<BTreeMap<usize, Vec<Vec<u8>>>>,
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
            failed_reads: Cell::new(0),
            lost_syncs_ahead: 0,
            room: None,
            blocks: None,
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

    /// Lets every read of one of these bytes fail, until one of them is written.
    pub fn set_bad(&mut self, bad: Range<usize>) {
        self.bad = bad;
    }

    /// Loses the next `count` syncs: they are reported as done, and what they should have made
    /// durable waits for the sync after them.
    pub fn lose_syncs(&mut self, count: u32) {
        self.lost_syncs_ahead = count;
    }

    /// Lets every write fail for want of space after `writes` more of them.
    pub fn set_room(&mut self, writes: Option<u64>) {
        self.room = writes;
    }

    /// Remembers from here on what each erase block held before.
    pub fn remember_blocks(&mut self) {
        self.blocks = Some(BTreeMap::new());
    }

    /// Lets the erase block around `offset` fall back to what it held some syncs ago, or to nothing;
    /// call it after a cut. Returns where the block lies.
    pub fn roll_back(&mut self, offset: usize, rng: &mut Rng) -> Range<usize> {
        let block = offset / BLOCK_BYTES;
        let range = block * BLOCK_BYTES..((block + 1) * BLOCK_BYTES).min(self.current.len());
        let versions = self.blocks.as_ref().and_then(|blocks| blocks.get(&block));
        let versions = versions.map_or(&[][..], Vec::as_slice);
        let erased = vec![0xff; range.len()];
        let older = versions.get(rng.below(versions.len() + 1));
        let content = older.unwrap_or(&erased).clone();
        for bytes in [&mut self.current, &mut self.stable] {
            if let Some(bytes) = bytes.get_mut(range.clone()) {
                bytes.copy_from_slice(&content);
            }
        }
        self.stats.rolled_back_blocks += 1;
        range
    }

    /// Where the sectors lie that were written since the last completed sync.
    pub fn unsynced(&self) -> Vec<usize> {
        self.dirty
            .iter()
            .map(|sector| sector * self.sector_bytes)
            .collect()
    }

    /// The power fails and comes back; of the unsynced sectors only those chosen have arrived.
    pub fn cut_to(&mut self, arrives: impl Fn(usize) -> bool) {
        for (nth, sector) in std::mem::take(&mut self.dirty).into_iter().enumerate() {
            let range = self.sector(sector);
            if let (Some(new), Some(old)) = (
                self.current.get_mut(range.clone()),
                self.stable.get_mut(range),
            ) {
                if arrives(nth) {
                    old.copy_from_slice(new);
                } else {
                    new.copy_from_slice(old);
                }
            }
        }
        self.handle_power();
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
            failed_reads: self.failed_reads.get(),
            ..self.stats
        }
    }

    /// The power fails and comes back.
    pub fn cut(&mut self, rng: &mut Rng) {
        let kindness = rng.below(4);
        for sector in std::mem::take(&mut self.dirty) {
            let range = self.sector(sector);
            let (Some(new), Some(old)) = (
                self.current.get_mut(range.clone()),
                self.stable.get_mut(range),
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
            *match fate {
                0 => &mut self.stats.old_sectors,
                2 => &mut self.stats.zeroed_sectors,
                3 => &mut self.stats.garbage_sectors,
                4 => &mut self.stats.shorn_sectors,
                _ => &mut self.stats.new_sectors,
            } += 1;
            old.copy_from_slice(new);
        }
        self.handle_power();
    }

    fn handle_power(&mut self) {
        self.is_dead = false;
        self.fuel = None;
        self.lost_syncs_ahead = 0;
        if let Some(rule) = &mut self.rule {
            rule.handle_cut();
        }
    }

    fn sector(&self, sector: usize) -> Range<usize> {
        let start = sector * self.sector_bytes;
        start..(start + self.sector_bytes).min(self.current.len())
    }

    /// Keeps what the blocks held that a sync is about to change.
    fn remember(&mut self) {
        let Some(blocks) = &mut self.blocks else {
            return;
        };
        let touched: BTreeSet<usize> = self
            .dirty
            .iter()
            .map(|sector| sector * self.sector_bytes / BLOCK_BYTES)
            .collect();
        for block in touched {
            let range = block * BLOCK_BYTES..((block + 1) * BLOCK_BYTES).min(self.stable.len());
            let versions = blocks.entry(block).or_default();
            versions.push(self.stable.get(range).unwrap_or_default().to_vec());
            if versions.len() > BLOCK_VERSIONS {
                versions.remove(0);
            }
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

    fn range(&self, offset: u64, len: usize) -> Result<Range<usize>, io::Error> {
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
            self.failed_reads.set(self.failed_reads.get() + 1);
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
        if let Some(room) = &mut self.room {
            let Some(left) = room.checked_sub(1) else {
                return Err(failed(io::ErrorKind::StorageFull.into()));
            };
            *room = left;
        }
        let was_dead = self.is_dead;
        let burnt = self.burn();
        let range = self.range(offset, data.len()).map_err(failed)?;
        if range.start < self.bad.end && self.bad.start < range.end {
            self.bad = 0..0;
        }
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
        if let Some(left) = self.lost_syncs_ahead.checked_sub(1) {
            self.lost_syncs_ahead = left;
            self.stats.lost_syncs += 1;
            return Ok(());
        }
        self.remember();
        for sector in std::mem::take(&mut self.dirty) {
            let range = self.sector(sector);
            if let (Some(new), Some(old)) =
                (self.current.get(range.clone()), self.stable.get_mut(range))
            {
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

//! Checkpoints that the states of a ring have no room for.
//!
//! A source may follow more files than fit there. What changed longest ago then goes into one file
//! beside the ring, which is replaced as a whole. A checkpoint in the ring always counts more than
//! one in the file, so the order is: sync the ring, write the file, and only then let the ring
//! forget. Whatever a cut leaves, no checkpoint is ahead of the entries before it, and one that is
//! behind only has a source read a little again.

use std::collections::{BTreeMap, BTreeSet};

use diskring::{Ring, RingId, Storage};

use super::states::{self, Ledger};

/// So many checkpoints are archived at most: about 2 MiB of memory, and 1 MiB of file.
const ARCHIVED_MAX: usize = 20_000;

/// What the file begins with; the last byte is the version of the rest.
const MAGIC: [u8; 8] = *b"HYDCKPT\x01";

/// The state key of a checkpoint: whose it is, and its own key.
type Key = Vec<u8>;

/// The checkpoints in the file, and those that shall be there.
#[derive(Clone, Debug, Default)]
pub(super) struct Archive {
    /// What the ring does not have.
    kept: BTreeMap<Key, u64>,
    /// Those of `kept` that changed since the file was written: a cut would lose them.
    unwritten: BTreeSet<Key>,
    /// What is in the ring and may also be in the file.
    shadowed: BTreeSet<Key>,
    /// What is to leave the ring once the file is durable.
    leaving: Vec<(Key, u64)>,
    /// Whether the file has what is forgotten.
    is_stale: bool,
    /// How often something was forgotten that the file may have.
    forgotten: u64,
    /// When each checkpoint of the ring was set last, by turns.
    set_at: BTreeMap<Key, u64>,
    turn: u64,
}

impl Archive {
    /// Reads a file that was written for this ring; `None` for anything else.
    pub(super) fn decode<S: Storage>(bytes: &[u8], ring: &Ring<S>) -> Option<Self> {
        let (body, sum) = bytes.split_last_chunk::<4>()?;
        if crc32fast::hash(body) != u32::from_le_bytes(*sum) {
            return None;
        }
        let (id, body) = body.strip_prefix(&MAGIC)?.split_first_chunk::<8>()?;
        if RingId(u64::from_le_bytes(*id)) != ring.id() {
            return None;
        }
        let all: BTreeMap<Key, u64> = postcard::from_bytes(body).ok()?;
        let (shadowed, kept): (BTreeMap<_, _>, BTreeMap<_, _>) = all
            .into_iter()
            .partition(|(key, _)| ring.get(key).is_some());
        Some(Self {
            kept,
            shadowed: shadowed.into_keys().collect(),
            ..Self::default()
        })
    }

    /// A checkpoint is in the ring.
    pub(super) fn handle_put(&mut self, key: &[u8]) {
        self.turn += 1;
        match self.set_at.get_mut(key) {
            Some(at) => *at = self.turn,
            None => drop(self.set_at.insert(key.to_vec(), self.turn)),
        }
        if self.kept.remove(key).is_some() {
            self.unwritten.remove(key);
            self.shadowed.insert(key.to_vec());
        }
    }

    /// A checkpoint is forgotten.
    pub(super) fn forget(&mut self, key: &[u8]) {
        self.set_at.remove(key);
        self.unwritten.remove(key);
        if self.kept.remove(key).is_some() | self.shadowed.remove(key) {
            self.is_stale = true;
            self.forgotten += 1;
        }
    }

    /// How often something was forgotten that a cut before the next file may bring back.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Keeps a checkpoint that the ring has no room for; false when there are too many.
    pub(super) fn keep(&mut self, key: Key, offset: u64) -> bool {
        let is_kept = self.kept.len() < ARCHIVED_MAX || self.kept.contains_key(&key);
        if is_kept && self.kept.insert(key.clone(), offset) != Some(offset) {
            self.unwritten.insert(key);
        }
        is_kept
    }

    /// The archived keys and offsets that begin with `prefix`, without it.
    pub(super) fn checkpoints(&self, prefix: &[u8]) -> impl Iterator<Item = (Vec<u8>, u64)> {
        self.kept.iter().filter_map(move |(key, offset)| {
            let key = key.strip_prefix(prefix)?;
            Some((key.to_vec(), *offset))
        })
    }

    /// Whether there are checkpoints that a cut would lose.
    pub(super) fn has_unwritten(&self) -> bool {
        !self.unwritten.is_empty()
    }

    /// Whether the file is to be written anew, now or later.
    pub(super) fn is_changed(&self) -> bool {
        self.has_unwritten() || self.is_stale
    }

    /// The file as it is to be. What changed longest ago in the ring goes into it too, as much as
    /// waits outside, so that what is busy gets its place in the ring. Everything that was put must
    /// be durable.
    pub(super) fn encode<S: Storage>(&mut self, ring: &Ring<S>) -> Vec<u8> {
        self.leaving = self.quiet(ring, self.unwritten.len());
        let leaving = self.leaving.iter().map(|(key, offset)| (key, offset));
        let all: BTreeMap<&Key, &u64> = self.kept.iter().chain(leaving).collect();
        // Maps of bytes and numbers always serialize.
        let body = postcard::to_allocvec(&all).unwrap_or_default();
        let id = ring.id().0.to_le_bytes();
        let mut bytes = [&MAGIC[..], &id, &body].concat();
        let sum = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// The file is durable: what left for it leaves the ring, and what waited takes the room.
    pub(super) fn handle_written<S: Storage>(&mut self, ring: &mut Ring<S>, ledger: Ledger) {
        for (key, offset) in std::mem::take(&mut self.leaving) {
            if ring.remove(&key).is_ok() {
                self.set_at.remove(&key);
                self.kept.insert(key, offset);
            }
        }
        self.is_stale = false;
        self.shadowed.clear();
        for key in std::mem::take(&mut self.unwritten) {
            let Some(offset) = self.kept.get(&key).copied() else {
                continue;
            };
            if states::put_checkpoint(ring, ledger, &key, offset).is_ok() {
                self.handle_put(&key);
            }
        }
    }

    /// Up to `wanted` checkpoints of the ring, but never more than half of them: those that were
    /// set longest ago.
    fn quiet<S: Storage>(&self, ring: &Ring<S>, wanted: usize) -> Vec<(Key, u64)> {
        let mut all: Vec<(u64, &[u8], u64)> = states::all_checkpoints(ring)
            .map(|(key, offset)| (self.set_at.get(key).copied().unwrap_or(0), key, offset))
            .collect();
        all.sort_unstable();
        let room = ARCHIVED_MAX.saturating_sub(self.kept.len());
        all.truncate(wanted.min(all.len() / 2).min(room));
        all.into_iter()
            .map(|(_, key, offset)| (key.to_vec(), offset))
            .collect()
    }
}

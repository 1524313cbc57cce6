//! Small named states that become durable in the same sync as the entries before them.
//!
//! Checkpoints, positions and loss counters live here, with the log start and the number of
//! entries appended for each tag. All of it is in memory; a segment opens with a snapshot of it,
//! and each sync group ends with what changed. The total is bounded by the caller of [`States`].

use std::collections::{BTreeMap, BTreeSet};

use crate::bytes::{Bytes, to_usize};
use crate::frame::{Frame, low_u16};
use crate::layout::LogStart;

/// The longest key of a state.
pub const KEY_BYTES_MAX: usize = 255;
/// The longest value of a state.
pub const VALUE_BYTES_MAX: usize = 1024;

/// Tags that are counted apart; any further ones are counted under [`OTHER_TAGS`].
const TAGS_MAX: usize = 128;
pub(crate) const OTHER_TAGS: u16 = u16::MAX;
/// What the counts, the log start and the wear add to a snapshot at most.
pub(crate) const COUNTS_BYTES_MAX: usize = 2048;
/// What the log start, and the wear, take wherever they are written.
const LOG_START_BYTES: usize = 17;
pub(crate) const WEAR_BYTES: usize = 17;

const REMOVE: u8 = 0;
const PUT: u8 = 1;
const LOG_START: u8 = 2;
const COUNT: u8 = 3;
const WEAR: u8 = 4;

/// What a ring has cost its disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wear {
    pub(crate) written_bytes: u64,
    pub(crate) syncs: u64,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct States {
    map: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Keys whose value, or absence, is not written yet.
    dirty: BTreeSet<Vec<u8>>,
    /// Those of them that no group has written yet: removed again, they leave nothing behind.
    fresh: BTreeSet<Vec<u8>>,
    /// Encoded bytes of `map`.
    bytes: usize,
    /// Encoded bytes of the removals in `dirty`, or more.
    removed_bytes: usize,
    log_start: LogStart,
    log_start_dirty: bool,
    counts: BTreeMap<u16, u64>,
    /// As of the frame that is written next, or was replayed last; it is never a reason to write.
    wear: Wear,
}

impl States {
    pub(crate) fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.map.get(key).map(Vec::as_slice)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.map.iter().map(|(k, v)| (k.as_slice(), v.as_slice()))
    }

    pub(crate) fn put(&mut self, key: &[u8], value: &[u8]) {
        // A checkpoint moves with every line of a file: what is there already keeps its place.
        if let Some(known) = self.map.get_mut(key) {
            if known == value {
                return;
            }
            self.bytes = self.bytes - known.len() + value.len();
            known.clear();
            known.extend_from_slice(value);
        } else {
            self.bytes += put_len(key, value);
            self.map.insert(key.to_vec(), value.to_vec());
            if !self.dirty.contains(key) {
                self.fresh.insert(key.to_vec());
            }
        }
        if !self.dirty.contains(key) {
            self.dirty.insert(key.to_vec());
        }
    }

    pub(crate) fn remove(&mut self, key: &[u8]) {
        if let Some(value) = self.map.remove(key) {
            self.bytes -= put_len(key, &value);
            if self.fresh.remove(key) {
                self.dirty.remove(key);
                return;
            }
            self.removed_bytes += remove_len(key);
            self.dirty.insert(key.to_vec());
        }
    }

    /// Encoded bytes of all states, were this one put.
    pub(crate) fn len_with(&self, key: &[u8], value: &[u8]) -> usize {
        let before = self.get(key).map_or(0, |old| put_len(key, old));
        self.bytes - before + put_len(key, value)
    }

    /// What writing every state and every removal at once would take at most.
    pub(crate) const fn len_max(&self) -> usize {
        self.bytes + self.removed_bytes
    }

    /// What the removals that are not written yet take at most.
    pub(crate) const fn removed_bytes(&self) -> usize {
        self.removed_bytes
    }

    pub(crate) fn is_dirty(&self) -> bool {
        self.log_start_dirty || !self.dirty.is_empty()
    }

    /// What [`States::take_dirty`] would write, the log start and the wear included.
    pub(crate) fn dirty_len(&self) -> usize {
        let each = self.dirty.iter().map(|key| match self.map.get(key) {
            Some(value) => put_len(key, value),
            None => remove_len(key),
        });
        each.sum::<usize>() + LOG_START_BYTES + WEAR_BYTES
    }

    pub(crate) const fn wear(&self) -> Wear {
        self.wear
    }

    pub(crate) const fn set_wear(&mut self, wear: Wear) {
        self.wear = wear;
    }

    pub(crate) const fn log_start(&self) -> LogStart {
        self.log_start
    }

    pub(crate) fn set_log_start(&mut self, log_start: LogStart) {
        debug_assert!(log_start.number >= self.log_start.number);
        self.log_start = log_start;
        self.log_start_dirty = true;
    }

    pub(crate) fn count(&mut self, tag: u16, entries: u64) {
        if let Some(count) = self.counts.get_mut(&tag) {
            *count += entries;
            return;
        }
        let tag = if self.counts.len() < TAGS_MAX {
            tag
        } else {
            OTHER_TAGS
        };
        *self.counts.entry(tag).or_default() += entries;
    }

    pub(crate) const fn counts(&self) -> &BTreeMap<u16, u64> {
        &self.counts
    }

    /// Writes what changed since the last time.
    pub(crate) fn take_dirty(&mut self, out: &mut Vec<u8>) {
        out.clear();
        self.push_wear(out);
        if self.log_start_dirty {
            out.push(LOG_START);
            self.log_start.encode(out);
        }
        for key in &self.dirty {
            match self.map.get(key) {
                Some(value) => push_put(out, key, value),
                None => push_key(out, REMOVE, key),
            }
        }
        self.settle();
    }

    /// Writes everything.
    pub(crate) fn take_snapshot(&mut self, out: &mut Vec<u8>) {
        out.clear();
        self.push_wear(out);
        out.push(LOG_START);
        self.log_start.encode(out);
        for (tag, count) in &self.counts {
            out.push(COUNT);
            out.extend_from_slice(&tag.to_le_bytes());
            out.extend_from_slice(&count.to_le_bytes());
        }
        for (key, value) in &self.map {
            push_put(out, key, value);
        }
        self.settle();
    }

    /// Repeats what a state frame or a snapshot says; `None` at the first thing not understood.
    pub(crate) fn replay(&mut self, body: &[u8]) -> Option<()> {
        let mut bytes = Bytes::new(body);
        while !bytes.is_empty() {
            match bytes.u8()? {
                REMOVE => {
                    let key = key(&mut bytes)?;
                    self.remove(key);
                }
                PUT => {
                    let key = key(&mut bytes)?;
                    let len = bytes.u16()?;
                    let value = bytes.slice(usize::from(len))?;
                    self.put(key, value);
                }
                LOG_START => self.log_start = LogStart::decode(&mut bytes)?,
                COUNT => {
                    let tag = bytes.u16()?;
                    let count = bytes.u64()?;
                    self.count(tag, count);
                }
                WEAR => {
                    self.wear = Wear {
                        written_bytes: bytes.u64()?,
                        syncs: bytes.u64()?,
                    };
                }
                _ => return None,
            }
        }
        self.settle();
        Some(())
    }

    /// Counts the entries of a frame that was appended before.
    pub(crate) fn replay_entries(&mut self, frame: &Frame) {
        for entry in frame.entries() {
            self.count(entry.tag, 1);
        }
    }

    fn push_wear(&self, out: &mut Vec<u8>) {
        out.push(WEAR);
        out.extend_from_slice(&self.wear.written_bytes.to_le_bytes());
        out.extend_from_slice(&self.wear.syncs.to_le_bytes());
    }

    fn settle(&mut self) {
        self.dirty.clear();
        self.fresh.clear();
        self.removed_bytes = 0;
        self.log_start_dirty = false;
    }
}

/// The entries counted in `later` and not yet in `earlier`.
pub(crate) fn counts_between(
    earlier: &BTreeMap<u16, u64>,
    later: &BTreeMap<u16, u64>,
) -> Vec<(u16, u64)> {
    later
        .iter()
        .map(|(tag, count)| {
            let before = earlier.get(tag).copied().unwrap_or(0);
            (*tag, count.saturating_sub(before))
        })
        .filter(|(_, count)| *count > 0)
        .collect()
}

const fn put_len(key: &[u8], value: &[u8]) -> usize {
    4 + key.len() + value.len()
}

const fn remove_len(key: &[u8]) -> usize {
    2 + key.len()
}

fn push_put(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    push_key(out, PUT, key);
    let len = low_u16(u64::try_from(value.len()).unwrap_or(0));
    debug_assert_eq!(usize::from(len), value.len());
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(value);
}

fn push_key(out: &mut Vec<u8>, operation: u8, key: &[u8]) {
    out.push(operation);
    out.push(u8::try_from(key.len()).unwrap_or(u8::MAX));
    debug_assert!((1..=KEY_BYTES_MAX).contains(&key.len()));
    out.extend_from_slice(key);
}

fn key<'a>(bytes: &mut Bytes<'a>) -> Option<&'a [u8]> {
    let len = bytes.u8()?;
    bytes.slice(to_usize(u32::from(len)))
}

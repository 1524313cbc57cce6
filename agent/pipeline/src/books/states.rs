//! How the books lie among the states of a ring, and whose room is whose.
//!
//! A state is one source, one destination or one checkpoint. Checkpoints may grow in number as
//! files come and go; the tallies must find room all the same.

use std::sync::Arc;

use diskring::{PutError, Ring, Storage};
use serde::{Deserialize, Serialize};

use crate::tally::DestinationTally;

const KEY_SOURCE: u8 = b's';
const KEY_DESTINATION: u8 = b'd';
const KEY_CHECKPOINT: u8 = b'c';

/// What a state takes besides its key and its value.
const STATE_BYTES: usize = 4;

/// What is kept of a source that the ring does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SourceState {
    pub(super) name: Arc<str>,
    /// How many entries the ring had had under its number before it got it.
    pub(super) before: u64,
    pub(super) filtered: u64,
    pub(super) decode_errors: u64,
    pub(super) cut: u64,
    pub(super) refused: u64,
}

impl Default for SourceState {
    fn default() -> Self {
        Self::from(StoredSource::default())
    }
}

impl SourceState {
    pub(super) fn encode(&self) -> Vec<u8> {
        let stored = StoredSource {
            name: &self.name,
            before: self.before,
            filtered: self.filtered,
            decode_errors: self.decode_errors,
            cut: self.cut,
            refused: self.refused,
        };
        // A text and numbers always serialize.
        postcard::to_allocvec(&stored).unwrap_or_default()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        postcard::from_bytes::<StoredSource<'_>>(bytes)
            .ok()
            .map(Self::from)
    }
}

impl From<StoredSource<'_>> for SourceState {
    fn from(stored: StoredSource<'_>) -> Self {
        Self {
            name: stored.name.into(),
            before: stored.before,
            filtered: stored.filtered,
            decode_errors: stored.decode_errors,
            cut: stored.cut,
            refused: stored.refused,
        }
    }
}

/// The room of the tallies.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ledger {
    /// What sources and destinations occupy.
    bytes: usize,
}

impl Ledger {
    pub(super) fn of<S: Storage>(ring: &Ring<S>) -> Self {
        let tallies = ring
            .states()
            .filter(|(key, _)| key.first() != Some(&KEY_CHECKPOINT));
        Self {
            bytes: tallies.map(|(key, value)| len(key, value)).sum(),
        }
    }

    pub(super) fn put<S: Storage>(
        &mut self,
        ring: &mut Ring<S>,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), PutError> {
        let before = ring.get(key).map_or(0, |old| len(key, old));
        ring.put(key, value)?;
        self.bytes = self.bytes - before + len(key, value);
        Ok(())
    }

    pub(super) fn remove<S: Storage>(
        &mut self,
        ring: &mut Ring<S>,
        key: &[u8],
    ) -> Result<(), PutError> {
        let before = ring.get(key).map_or(0, |old| len(key, old));
        ring.remove(key)?;
        self.bytes -= before;
        Ok(())
    }

    /// Whether a checkpoint may be put: a quarter of the room, or twice what the tallies occupy,
    /// is theirs.
    pub(super) fn check_room<S: Storage>(
        self,
        ring: &Ring<S>,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), PutError> {
        if ring.get(key).is_some() {
            return Ok(());
        }
        let stats = ring.stats();
        let all = stats.state_bytes_max;
        let max = all.saturating_sub((all / 4).max(2 * self.bytes));
        let len = stats.state_bytes.saturating_sub(self.bytes) + len(key, value);
        if len > max {
            return Err(PutError::StateFull { len, max });
        }
        Ok(())
    }
}

/// Every source that the ring has a state of.
pub(super) fn sources<S: Storage>(ring: &Ring<S>) -> impl Iterator<Item = (u16, SourceState)> {
    ring.states().filter_map(|(key, value)| match key {
        [KEY_SOURCE, tag @ ..] => {
            let tag = u16::from_le_bytes(tag.try_into().ok()?);
            Some((tag, SourceState::decode(value)?))
        }
        _ => None,
    })
}

/// Every destination that the ring has a state of.
pub(super) fn destinations<S: Storage>(
    ring: &Ring<S>,
) -> impl Iterator<Item = (String, DestinationTally)> {
    ring.states().filter_map(|(key, value)| match key {
        [KEY_DESTINATION, name @ ..] => {
            let name = std::str::from_utf8(name).ok()?;
            Some((name.to_owned(), DestinationTally::decode(value)?))
        }
        _ => None,
    })
}

pub(super) fn source_key(tag: u16) -> [u8; 3] {
    let [low, high] = tag.to_le_bytes();
    [KEY_SOURCE, low, high]
}

pub(super) fn destination_key(name: &str) -> Vec<u8> {
    [&[KEY_DESTINATION], name.as_bytes()].concat()
}

/// What the keys of a source's checkpoints begin with.
pub(super) fn checkpoint_prefix(tag: u16) -> [u8; 3] {
    let [low, high] = tag.to_le_bytes();
    [KEY_CHECKPOINT, low, high]
}

/// The offset of a checkpoint.
pub(super) fn number_of(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

#[derive(Default, Serialize, Deserialize)]
struct StoredSource<'a> {
    name: &'a str,
    before: u64,
    filtered: u64,
    decode_errors: u64,
    cut: u64,
    refused: u64,
}

const fn len(key: &[u8], value: &[u8]) -> usize {
    STATE_BYTES + key.len() + value.len()
}

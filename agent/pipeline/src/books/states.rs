//! How the books lie among the states of a ring, and whose room is whose.
//!
//! A state is one source, one destination or one checkpoint. Checkpoints may grow in number as
//! files come and go; the tallies must find room all the same.

use std::sync::Arc;

use diskring::{PutError, Ring, Storage};

use crate::boots::{Boot, Boots};
use crate::clock::BootTag;
use crate::tally::DestinationTally;

const KEY_SOURCE: u8 = b's';
const KEY_DESTINATION: u8 = b'd';
const KEY_CHECKPOINT: u8 = b'c';
const KEY_BOOT: u8 = b'b';

/// What a state takes besides its key and its value.
const STATE_BYTES: usize = 4;

/// More than the place of a destination takes that has just begun, or than a source and the mention
/// of it by those who take it.
const PLACE_BYTES: usize = 256;

/// What is kept of a source that the ring does not count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SourceState {
    pub(super) name: Arc<str>,
    /// How many entries the ring had had under its number before it got it.
    pub(super) before: u64,
    pub(super) filtered: u64,
    pub(super) decode_errors: u64,
    pub(super) cut: u64,
    pub(super) refused: u64,
}

impl SourceState {
    /// The numbers have fixed places: counting needs no room, however full the ring is.
    pub(super) fn encode(&self) -> Vec<u8> {
        let numbers = [
            self.before,
            self.filtered,
            self.decode_errors,
            self.cut,
            self.refused,
        ];
        let mut bytes: Vec<u8> = numbers.into_iter().flat_map(u64::to_le_bytes).collect();
        bytes.extend_from_slice(self.name.as_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (numbers, name) = bytes.split_first_chunk::<40>()?;
        let (numbers, _) = numbers.as_chunks();
        let [before, filtered, decode_errors, cut, refused] = <[[u8; 8]; 5]>::try_from(numbers)
            .ok()?
            .map(u64::from_le_bytes);
        Some(Self {
            name: std::str::from_utf8(name).ok()?.into(),
            before,
            filtered,
            decode_errors,
            cut,
            refused,
        })
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

    /// Whether a destination may grow by a stretch, which can be refused: the last of the room is
    /// for the place of a destination or a source that is new, without which a crash would cost it
    /// what it is owed.
    pub(super) fn has_room_for_stretch<S: Storage>(
        ring: &Ring<S>,
        key: &[u8],
        value: &[u8],
    ) -> bool {
        let stats = ring.stats();
        let before = ring.get(key).map_or(0, |old| len(key, old));
        let after = stats.state_bytes.saturating_sub(before) + len(key, value);
        after + PLACE_BYTES <= stats.state_bytes_max
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

/// Every boot that the ring has a state of.
pub(super) fn boots<S: Storage>(ring: &Ring<S>) -> Boots {
    let mut boots = Boots::default();
    for (key, value) in ring.states() {
        if key.first() == Some(&KEY_BOOT)
            && let Some(boot) = Boot::decode(value)
        {
            boots.insert(boot);
        }
    }
    boots
}

pub(super) fn boot_key(tag: BootTag) -> [u8; 5] {
    let [a, b, c, d] = tag.get().to_le_bytes();
    [KEY_BOOT, a, b, c, d]
}

pub(super) fn source_key(tag: u16) -> [u8; 3] {
    let [low, high] = tag.to_le_bytes();
    [KEY_SOURCE, low, high]
}

pub(super) fn destination_key(name: &str) -> Vec<u8> {
    [&[KEY_DESTINATION], name.as_bytes()].concat()
}

/// A source's keys and offsets.
pub(super) fn checkpoints<S: Storage>(
    ring: &Ring<S>,
    tag: u16,
) -> impl Iterator<Item = (Vec<u8>, u64)> {
    let prefix = checkpoint_key(tag, &[]);
    all_checkpoints(ring).filter_map(move |(key, offset)| {
        let key = key.strip_prefix(prefix.as_slice())?;
        Some((key.to_vec(), offset))
    })
}

/// The state keys and offsets of the checkpoints of all sources.
pub(super) fn all_checkpoints<S: Storage>(ring: &Ring<S>) -> impl Iterator<Item = (&[u8], u64)> {
    ring.states().filter_map(|(key, value)| {
        let offset = u64::from_le_bytes(value.try_into().ok()?);
        (key.first() == Some(&KEY_CHECKPOINT)).then_some((key, offset))
    })
}

/// Puts a checkpoint into the ring, if it has room for it.
pub(super) fn put_checkpoint<S: Storage>(
    ring: &mut Ring<S>,
    ledger: Ledger,
    key: &[u8],
    offset: u64,
) -> Result<(), PutError> {
    let value = offset.to_le_bytes();
    ledger.check_room(ring, key, &value)?;
    ring.put(key, &value)
}

pub(super) fn checkpoint_key(tag: u16, key: &[u8]) -> Vec<u8> {
    let [low, high] = tag.to_le_bytes();
    [&[KEY_CHECKPOINT, low, high], key].concat()
}

const fn len(key: &[u8], value: &[u8]) -> usize {
    STATE_BYTES + key.len() + value.len()
}

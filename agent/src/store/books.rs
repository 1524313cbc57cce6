//! Who has sent what, who has taken what: the tallies, as states of the ring.
//!
//! The count of stored records is written only now and then; at the start the entries behind the
//! last written count are counted again. Losses are written with the next sync.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use diskring::{PutError, Read, Ring, Seq, Storage, StorageError};
use pipeline::tally::{BatchOutcome, DestinationTally, SourceTally, UNKNOWN_SOURCE};

use super::{DestinationIndex, SourceNames};
use crate::intake::{Checkpoint, SourceTag};
use crate::telemetry::{SourceCount, SourceCounters};

/// After so many appended entries the counts are written anew.
const COUNT_ENTRIES_MAX: u64 = 4096;

const KEY_COUNTED: &[u8] = b"n";
const KEY_NAME: u8 = b's';
const KEY_SOURCE: u8 = b't';
const KEY_DESTINATION: u8 = b'd';
const KEY_CHECKPOINT: u8 = b'c';

/// A source as the ring knows it.
#[derive(Debug)]
pub(super) struct SourceBook {
    pub(super) name: Arc<str>,
    counters: Option<Arc<SourceCounters>>,
    written: SourceTally,
    stored: u64,
}

/// An open destination.
#[derive(Debug)]
pub(super) struct DestinationBook {
    pub(super) name: String,
    pub(super) tally: DestinationTally,
    from: Option<BTreeSet<String>>,
    takes: BTreeSet<SourceTag>,
    /// Everything before was given to the driver, who owes a verdict for it.
    pub(super) taken: Seq,
    /// Everything before was evicted and accounted for, or taken.
    evicted: Seq,
}

impl DestinationBook {
    /// Moves the position on, over what was evicted behind it as well.
    pub(super) fn commit(&mut self, end: Seq, outcome: BatchOutcome) {
        self.tally.commit(end, outcome);
        if self.taken <= self.tally.committed() {
            self.tally.skip_to(self.evicted);
            self.taken = self.tally.committed();
        }
    }
}

/// All tallies.
#[derive(Debug, Default)]
pub(super) struct Books {
    sources: BTreeMap<SourceTag, SourceBook>,
    destinations: Vec<Option<DestinationBook>>,
    counted: Seq,
}

impl Books {
    /// Reads the books out of a ring and counts what was appended after they were written.
    pub(super) fn open<S: Storage>(ring: &Ring<S>) -> Result<Self, StorageError> {
        let mut books = Self::default();
        for (key, value) in ring.states() {
            match key {
                [KEY_NAME, name @ ..] => {
                    let (Some(tag), Ok(name)) = (tag_of(value), std::str::from_utf8(name)) else {
                        continue;
                    };
                    books.source(tag).name = name.into();
                }
                [KEY_SOURCE, tag @ ..] => {
                    let (Some(tag), Some(tally)) = (tag_of(tag), SourceTally::decode(value)) else {
                        continue;
                    };
                    let source = books.source(tag);
                    source.written = tally;
                    source.stored = tally.stored;
                }
                _ => {}
            }
        }
        let counted = ring
            .get(KEY_COUNTED)
            .and_then(number_of)
            .map_or(Seq::ZERO, Seq::new);
        books.counted = counted.max(ring.first());
        for (tag, count) in count_entries(ring, books.counted, ring.next())? {
            books.source(tag).stored += count;
        }
        books.counted = ring.next();
        Ok(books)
    }

    /// Begins a source: its number in the ring and its checkpoints.
    pub(super) fn open_source<S: Storage>(
        &mut self,
        ring: &mut Ring<S>,
        name: &str,
        counters: &Arc<SourceCounters>,
    ) -> Result<(SourceTag, Vec<Checkpoint>), PutError> {
        let known = self
            .sources
            .iter()
            .find(|(_, source)| *source.name == *name);
        let tag = if let Some((tag, _)) = known {
            *tag
        } else {
            let tag = self
                .sources
                .keys()
                .next_back()
                .map_or(0, |last| last.saturating_add(1));
            ring.put(&[&[KEY_NAME], name.as_bytes()].concat(), &tag.to_le_bytes())?;
            self.source(tag).name = name.into();
            tag
        };
        let source = self.source(tag);
        let first_time = source.counters.is_none();
        source.counters = Some(Arc::clone(counters));
        if first_time {
            counters.set(SourceCount::Stored, source.stored);
            counters.set(SourceCount::Filtered, source.written.filtered);
            counters.set(
                SourceCount::Received,
                source.stored + source.written.filtered,
            );
            counters.set(SourceCount::DecodeErrors, source.written.decode_errors);
            counters.set(SourceCount::Cut, source.written.cut);
            counters.set(SourceCount::Refused, source.written.refused);
        }
        for destination in self.destinations.iter_mut().flatten() {
            if destination
                .from
                .as_ref()
                .is_none_or(|from| from.contains(name))
            {
                destination.takes.insert(tag);
            }
        }
        let prefix = checkpoint_key(tag, &[]);
        let checkpoints = ring
            .states()
            .filter_map(|(key, value)| {
                Some((
                    key.strip_prefix(prefix.as_slice())?.to_vec(),
                    number_of(value)?,
                ))
            })
            .collect();
        Ok((tag, checkpoints))
    }

    /// Begins a destination. One that is not known starts where the one that is furthest behind
    /// stands, so that a renamed destination loses nothing.
    pub(super) fn open_destination<S: Storage>(
        &mut self,
        ring: &Ring<S>,
        name: &str,
        from: Option<Vec<String>>,
    ) -> Result<DestinationIndex, StorageError> {
        let known = ring
            .get(&destination_key(name))
            .and_then(DestinationTally::decode);
        let is_new = known.is_none();
        let mut tally = known.unwrap_or_else(|| {
            let positions = stored_tallies(ring).map(|(_, tally)| tally.committed());
            let start = positions
                .min()
                .unwrap_or_else(|| ring.first())
                .max(ring.first());
            DestinationTally::starting_at(start)
        });
        let from: Option<BTreeSet<String>> = from.map(|from| from.into_iter().collect());
        let takes: BTreeSet<SourceTag> = self
            .sources
            .iter()
            .filter(|(_, source)| {
                from.as_ref()
                    .is_none_or(|from| from.contains(&*source.name))
            })
            .map(|(tag, _)| *tag)
            .collect();
        // What was evicted while nobody watched (the agent was killed between taking and
        // delivering, or another version ran) is a loss all the same.
        let gap = ring.first().since(tally.committed());
        if gap > 0 {
            tally.evict([(UNKNOWN_SOURCE, gap.min(tally.waiting()))]);
            tally.skip_to(ring.first());
        }
        if is_new {
            tally.recount();
        }
        let counted = tally.counted().max(ring.first());
        for (tag, count) in count_entries(ring, counted, ring.next())? {
            for _ in 0..count {
                tally.appended(ring.next(), takes.contains(&tag));
            }
        }
        let committed = tally.committed();
        let name = name.to_owned();
        let book = DestinationBook {
            name,
            tally,
            from,
            takes,
            taken: committed,
            evicted: committed,
        };
        let free = self.destinations.iter().position(Option::is_none);
        let index = free.unwrap_or(self.destinations.len());
        match self.destinations.get_mut(index) {
            Some(place) => *place = Some(book),
            None => self.destinations.push(Some(book)),
        }
        Ok(index)
    }

    /// Ends a destination; what it had taken is not delivered.
    pub(super) fn close_destination<S: Storage>(
        &mut self,
        ring: &mut Ring<S>,
        index: DestinationIndex,
    ) -> Result<(), PutError> {
        self.write_destination(ring, index)?;
        if let Some(place) = self.destinations.get_mut(index) {
            *place = None;
        }
        Ok(())
    }

    /// Forgets destinations that are not open.
    pub(super) fn forget_closed<S: Storage>(&self, ring: &mut Ring<S>) -> Result<(), PutError> {
        let open: BTreeSet<Vec<u8>> = self
            .open_destinations()
            .map(|destination| destination_key(&destination.name))
            .collect();
        let closed: Vec<Vec<u8>> = ring
            .states()
            .filter(|(key, _)| key.first() == Some(&KEY_DESTINATION) && !open.contains(*key))
            .map(|(key, _)| key.to_vec())
            .collect();
        closed.iter().try_for_each(|key| ring.remove(key))
    }

    /// An open destination.
    pub(super) fn destination(&mut self, index: DestinationIndex) -> Option<&mut DestinationBook> {
        self.destinations.get_mut(index)?.as_mut()
    }

    /// Every open destination.
    pub(super) fn open_destinations(&self) -> impl Iterator<Item = &DestinationBook> {
        self.destinations.iter().flatten()
    }

    /// Names of sources by number.
    pub(super) fn source_names(&self) -> SourceNames {
        let names = self
            .sources
            .iter()
            .map(|(tag, source)| (*tag, Arc::clone(&source.name)));
        Arc::new(names.collect())
    }

    /// The entry before `next` was appended.
    pub(super) fn appended(&mut self, tag: SourceTag, next: Seq) {
        for destination in self.destinations.iter_mut().flatten() {
            let takes = destination.takes.contains(&tag);
            destination.tally.appended(next, takes);
        }
        let source = self.source(tag);
        source.stored += 1;
        if let Some(counters) = &source.counters {
            counters.add(SourceCount::Stored, 1);
        }
    }

    /// Whether evicting the oldest segment would lose something a destination waits for.
    pub(super) fn would_lose(&self, end: Seq) -> bool {
        self.open_destinations()
            .any(|destination| destination.tally.committed() < end)
    }

    /// Accounts for the oldest segment, which is about to be evicted.
    pub(super) fn evict<S: Storage>(&mut self, ring: &mut Ring<S>) -> Result<(), EvictError> {
        let Some(oldest) = ring.oldest() else {
            return Ok(());
        };
        let (first, end) = (oldest.first, oldest.end);
        let whole: BTreeMap<SourceTag, u64> = oldest.counts.into_iter().collect();
        for destination in self.destinations.iter_mut().flatten() {
            let from = destination
                .taken
                .max(destination.tally.committed())
                .max(first);
            if from < end {
                let counts = match from {
                    from if from == first => whole.clone(),
                    from => count_entries(ring, from, end).map_err(EvictError::Storage)?,
                };
                let takes = &destination.takes;
                destination
                    .tally
                    .evict(counts.into_iter().filter(|(tag, _)| takes.contains(tag)));
                destination.evicted = end;
            }
            if destination.taken <= destination.tally.committed() {
                destination.tally.skip_to(destination.evicted);
                destination.taken = destination.tally.committed();
            }
        }
        for index in 0..self.destinations.len() {
            self.write_destination(ring, index)
                .map_err(EvictError::Put)?;
        }
        Ok(())
    }

    /// Writes what changed into the ring's states, to go with the next sync. `all` writes the
    /// counts that are otherwise written now and then.
    pub(super) fn write<S: Storage>(
        &mut self,
        ring: &mut Ring<S>,
        all: bool,
    ) -> Result<(), PutError> {
        let all = all || ring.next().since(self.counted) >= COUNT_ENTRIES_MAX;
        for (tag, source) in &mut self.sources {
            let Some(counters) = &source.counters else {
                continue;
            };
            let tally = SourceTally {
                stored: source.stored,
                filtered: counters.get(SourceCount::Filtered),
                decode_errors: counters.get(SourceCount::DecodeErrors),
                cut: counters.get(SourceCount::Cut),
                refused: counters.get(SourceCount::Refused),
            };
            if tally.losses_differ(&source.written) || (all && tally != source.written) {
                // The stored count is that of `counted`, or the entries between would be counted
                // twice after a crash.
                let written = SourceTally {
                    stored: if all {
                        tally.stored
                    } else {
                        source.written.stored
                    },
                    ..tally
                };
                ring.put(&source_key(*tag), &written.encode())?;
                source.written = written;
            }
        }
        if all {
            ring.put(KEY_COUNTED, &ring.next().get().to_le_bytes())?;
            self.counted = ring.next();
            for index in 0..self.destinations.len() {
                self.write_destination(ring, index)?;
            }
        }
        Ok(())
    }

    /// Writes one destination's tally into the ring's states.
    pub(super) fn write_destination<S: Storage>(
        &self,
        ring: &mut Ring<S>,
        index: DestinationIndex,
    ) -> Result<(), PutError> {
        match self.destinations.get(index) {
            Some(Some(book)) => ring.put(&destination_key(&book.name), &book.tally.encode()),
            _ => Ok(()),
        }
    }

    fn source(&mut self, tag: SourceTag) -> &mut SourceBook {
        self.sources.entry(tag).or_insert_with(|| SourceBook {
            name: format!("source-{tag}").into(),
            counters: None,
            written: SourceTally::default(),
            stored: 0,
        })
    }
}

/// Why the oldest segment could not be accounted for.
#[derive(Debug)]
pub(super) enum EvictError {
    /// The disk failed.
    Storage(StorageError),
    /// The ring's states have no room.
    Put(PutError),
}

/// The key of a source's checkpoint.
pub(super) fn checkpoint_key(tag: SourceTag, key: &[u8]) -> Vec<u8> {
    let [low, high] = tag.to_le_bytes();
    [&[KEY_CHECKPOINT, low, high], key].concat()
}

fn source_key(tag: SourceTag) -> [u8; 3] {
    let [low, high] = tag.to_le_bytes();
    [KEY_SOURCE, low, high]
}

fn destination_key(name: &str) -> Vec<u8> {
    [&[KEY_DESTINATION], name.as_bytes()].concat()
}

fn stored_tallies<S: Storage>(ring: &Ring<S>) -> impl Iterator<Item = (&[u8], DestinationTally)> {
    ring.states().filter_map(|(key, value)| match key {
        [KEY_DESTINATION, name @ ..] => Some((name, DestinationTally::decode(value)?)),
        _ => None,
    })
}

/// How many readable entries of each source lie in `from..end`.
fn count_entries<S: Storage>(
    ring: &Ring<S>,
    from: Seq,
    end: Seq,
) -> Result<BTreeMap<SourceTag, u64>, StorageError> {
    let mut counts = BTreeMap::new();
    let mut cursor = ring.cursor(from);
    loop {
        match ring.read(&mut cursor)? {
            Read::Frame(frame) if frame.first() < end => {
                for entry in frame.entries().filter(|e| e.seq >= from && e.seq < end) {
                    *counts.entry(entry.tag).or_default() += 1;
                }
            }
            Read::Lost { end: next, .. } | Read::Evicted { end: next, .. } if next < end => {}
            Read::Frame(_) | Read::Lost { .. } | Read::Evicted { .. } | Read::End => {
                return Ok(counts);
            }
        }
    }
}

fn tag_of(bytes: &[u8]) -> Option<SourceTag> {
    Some(SourceTag::from_le_bytes(bytes.try_into().ok()?))
}

fn number_of(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

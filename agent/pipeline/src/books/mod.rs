//! The accounting of the store: who has sent what, who has taken what, as states of the ring.
//!
//! The ring counts its entries by source; what it cannot know is kept here. A destination's waiting
//! records are what the ring has had for it less what became of them, so nothing is written for an
//! entry, and nothing is read at a start but a part of one segment. Every state stands for itself:
//! whichever of them a cut leaves, the law of [`crate::tally`] holds. Only rot can bend it, and a
//! recount then says so.
//!
//! [`Books`] does no I/O of its own. Once a source or a destination has its place, its state never
//! needs more room; the state of one that found none stays here, and [`Books::write`] tries again
//! and says so.

mod archive;
mod boots;
mod checkpoints;
mod destination;
mod states;
mod stretches;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use diskring::{PutError, Ring, Seq, Storage, StorageError};

use crate::boots::Boots;
use crate::mutant::Mutant;
use crate::tally::{DestinationTally, SourceTally};
use archive::Archive;
use destination::DestinationBook;
use states::{Ledger, SourceState, destination_key, source_key};

/// So many sources have numbers at a time; the ring counts the entries of as many apart.
pub const SOURCES_MAX: u16 = 128;

/// Number of a destination while the books are open; no other ever gets it.
pub type DestinationIndex = usize;

/// All tallies.
#[derive(Debug, Default)]
pub struct Books {
    sources: BTreeMap<u16, SourceBook>,
    /// Those that are not open are kept until they are forgotten.
    destinations: BTreeMap<DestinationIndex, DestinationBook>,
    next_index: DestinationIndex,
    boots: Arc<Boots>,
    boots_unwritten: bool,
    ledger: Ledger,
    /// What has no room in the ring, where there is a file for it.
    archive: Option<Archive>,
    mutant: Mutant,
}

/// What a source is told when it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Its number in the ring.
    pub tag: u16,
    /// Its keys and offsets.
    pub checkpoints: Vec<(Vec<u8>, u64)>,
    /// What became of its records so far.
    pub tally: SourceTally,
}

/// What became of records on their way into the ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Let go by a transform.
    pub filtered: u64,
    /// Kept raw because they could not be understood.
    pub decode_errors: u64,
    /// Cut because they were too long.
    pub cut: u64,
}

/// Why a source cannot begin.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenSourceError {
    /// All numbers are in use, until a source is forgotten.
    TooMany {
        /// How many there are.
        max: u16,
    },
    /// Its state was not taken.
    Put(PutError),
}

impl fmt::Display for OpenSourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany { max } => write!(
                f,
                "the ring holds records of {max} sources, more it cannot tell apart"
            ),
            Self::Put(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for OpenSourceError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::TooMany { .. } => None,
            Self::Put(error) => error.source(),
        }
    }
}

impl From<PutError> for OpenSourceError {
    fn from(error: PutError) -> Self {
        Self::Put(error)
    }
}

impl Books {
    /// Reads the books out of a ring, and books what was evicted before it was delivered and
    /// nobody lived to say so.
    pub fn open<S: Storage>(ring: &Ring<S>) -> Result<Self, StorageError> {
        Self::open_as(ring, Mutant::None)
    }

    /// The same with a rule broken.
    #[cfg(feature = "sim")]
    pub fn open_mutant<S: Storage>(ring: &Ring<S>, mutant: Mutant) -> Result<Self, StorageError> {
        Self::open_as(ring, mutant)
    }

    fn open_as<S: Storage>(ring: &Ring<S>, mutant: Mutant) -> Result<Self, StorageError> {
        let mut books = Self {
            ledger: Ledger::of(ring),
            boots: Arc::new(states::boots(ring)),
            mutant,
            ..Self::default()
        };
        for (tag, state) in states::sources(ring) {
            books.sources.insert(tag, SourceBook::new(state));
        }
        for tag in ring.counts(ring.first(), ring.next())?.into_keys() {
            books
                .sources
                .entry(tag)
                .or_insert_with(|| SourceBook::unnamed(tag));
        }
        for (name, mut tally) in states::destinations(ring) {
            tally.mutant = mutant;
            tally.merge_evicted(|tag| books.sources.contains_key(&tag));
            let mut book = DestinationBook::new(name, tally);
            book.settle(ring)?;
            books.add_destination(book);
        }
        Ok(books)
    }

    /// Begins a source: its number in the ring, its checkpoints, and what was counted before.
    pub fn open_source<S: Storage>(
        &mut self,
        ring: &mut Ring<S>,
        name: &str,
    ) -> Result<Opened, OpenSourceError> {
        let known = self
            .sources
            .iter()
            .find(|(_, source)| *source.state.name == *name);
        let tag = match known {
            Some((tag, _)) => *tag,
            None => self.add_source(ring, name)?,
        };
        Ok(Opened {
            tag,
            checkpoints: self.checkpoints(ring, tag),
            tally: self.source_tally(ring, tag).unwrap_or_default(),
        })
    }

    /// Counts what became of a batch besides its entries, durable with what was appended before.
    pub fn took<S: Storage>(&mut self, ring: &mut Ring<S>, tag: u16, counts: Counts) {
        let Some(source) = self.sources.get_mut(&tag) else {
            return;
        };
        if counts != Counts::default() {
            source.state.filtered += counts.filtered;
            source.state.decode_errors += counts.decode_errors;
            source.state.cut += counts.cut;
            source.write(ring, tag, &mut self.ledger).ok();
        }
    }

    /// Counts what a source turned away, ever, for the next [`Books::write`].
    pub fn set_refused(&mut self, tag: u16, total: u64) {
        if let Some(source) = self.sources.get_mut(&tag)
            && source.state.refused < total
        {
            source.state.refused = total;
            source.is_unwritten = true;
        }
    }

    /// What became of a source's records.
    pub fn source_tally<S: Storage>(&self, ring: &Ring<S>, tag: u16) -> Option<SourceTally> {
        let state = &self.sources.get(&tag)?.state;
        Some(SourceTally {
            stored: ring.appended(tag).saturating_sub(state.before),
            filtered: state.filtered,
            decode_errors: state.decode_errors,
            cut: state.cut,
            refused: state.refused,
        })
    }

    /// Names of sources by number, those that are gone included while the ring has their records.
    pub fn source_names(&self) -> BTreeMap<u16, Arc<str>> {
        let names = self.sources.iter();
        names
            .map(|(tag, source)| (*tag, Arc::clone(&source.state.name)))
            .collect()
    }

    /// Forgets the checkpoints of all sources but these, and their names and tallies once neither
    /// the ring nor a driver has any of their records. No batch of theirs may come after it.
    pub fn forget_sources_except<S: Storage>(
        &mut self,
        ring: &mut Ring<S>,
        named: &BTreeSet<String>,
    ) -> Result<(), PutError> {
        let left = ring.counts(ring.first(), ring.next())?;
        let mut books = self.destinations.values();
        let in_hand = books.any(|book| book.is_behind(ring.first()));
        let gone: Vec<u16> = self
            .sources
            .iter()
            .filter(|(_, source)| !named.contains(&*source.state.name))
            .map(|(tag, _)| *tag)
            .collect();
        for tag in gone {
            for (key, _) in self.checkpoints(ring, tag) {
                self.forget_checkpoint(ring, tag, &key)?;
            }
            if !in_hand && !left.contains_key(&tag) {
                for book in self.destinations.values_mut() {
                    book.forget_source(ring, tag);
                    book.write(ring, &mut self.ledger).ok();
                }
                self.ledger.remove(ring, &source_key(tag))?;
                self.sources.remove(&tag);
            }
        }
        Ok(())
    }

    /// Begins a destination with the sources it takes; `None` is every source.
    ///
    /// One that is not known starts where the one that is furthest behind stands, so that a renamed
    /// destination loses nothing. One that is open already is closed first.
    pub fn open_destination<S: Storage>(
        &mut self,
        ring: &mut Ring<S>,
        name: &str,
        from: Option<Vec<String>>,
    ) -> Result<DestinationIndex, StorageError> {
        let known = self.destinations.iter().find(|(_, book)| book.name == name);
        let mut book = if let Some((index, _)) = known {
            let index = *index;
            self.close_destination(ring, index)?;
            self.destinations.remove(&index)
        } else {
            None
        }
        .unwrap_or_else(|| {
            let positions = self.destinations.values();
            let behind = positions.map(|book| book.tally.committed()).min();
            let start = behind.unwrap_or_else(|| ring.first()).max(ring.first());
            DestinationBook::starting_at(name, start, self.mutant)
        });
        let from: Option<BTreeSet<String>> = from.map(|from| from.into_iter().collect());
        let takes = from.as_ref().map(|from| {
            let named = |source: &SourceBook| from.contains(&*source.state.name);
            let sources = self.sources.iter();
            sources
                .filter(|(_, source)| named(source))
                .map(|(tag, _)| *tag)
                .collect()
        });
        book.open(ring, from, takes)?;
        book.write(ring, &mut self.ledger).ok();
        Ok(self.add_destination(book))
    }

    /// Ends a destination, whose place is kept; what it had taken and not committed waits again.
    pub fn close_destination<S: Storage>(
        &mut self,
        ring: &mut Ring<S>,
        index: DestinationIndex,
    ) -> Result<(), StorageError> {
        if let Some(book) = open_book(&mut self.destinations, index) {
            book.settle(ring)?;
            book.is_open = false;
            book.write(ring, &mut self.ledger).ok();
        }
        Ok(())
    }

    /// Forgets destinations that are not open.
    pub fn forget_closed_destinations<S: Storage>(
        &mut self,
        ring: &mut Ring<S>,
    ) -> Result<(), PutError> {
        let closed = self.closed_destinations(ring);
        self.destinations.retain(|_, book| book.is_open);
        closed
            .iter()
            .try_for_each(|(name, _)| self.ledger.remove(ring, &destination_key(name)))
    }

    /// Destinations that the ring knows and nobody has open, and how many records wait for each.
    pub fn closed_destinations<S: Storage>(&self, ring: &Ring<S>) -> Vec<(String, u64)> {
        let closed = self.destinations.values().filter(|book| !book.is_open);
        closed
            .map(|book| (book.name.clone(), book.current(ring).waiting()))
            .collect()
    }

    /// Where an open destination stands.
    pub fn tally<S: Storage>(
        &self,
        ring: &Ring<S>,
        index: DestinationIndex,
    ) -> Option<DestinationTally> {
        let book = self.destinations.get(&index).filter(|book| book.is_open)?;
        Some(book.current(ring))
    }

    /// Every destination that is known, open or not, by name.
    pub fn tallies<S: Storage>(&self, ring: &Ring<S>) -> BTreeMap<String, DestinationTally> {
        let books = self.destinations.values();
        books
            .map(|book| (book.name.clone(), book.current(ring)))
            .collect()
    }

    /// Where the destination that is furthest behind stands.
    pub fn committed_min(&self) -> Option<Seq> {
        let books = self.destinations.values();
        books.map(|book| book.tally.committed()).min()
    }

    /// Whether evicting everything before `end` would lose what a destination waits for.
    pub fn would_lose(&self, end: Seq) -> bool {
        self.committed_min()
            .is_some_and(|committed| committed < end)
    }

    /// Accounts for the oldest segment; [`Ring::evict_oldest`] must follow, in a full ring, where
    /// it makes both durable at once.
    pub fn evict<S: Storage>(&mut self, ring: &mut Ring<S>) -> Result<(), StorageError> {
        let Some(oldest) = ring.oldest() else {
            return Ok(());
        };
        let counts = ring.counts(oldest.first, oldest.end)?;
        for book in self.destinations.values_mut() {
            book.evict(ring, (oldest.first, oldest.end), &counts)?;
            if book.is_unwritten {
                book.write(ring, &mut self.ledger).ok();
            }
        }
        Ok(())
    }

    /// Writes what had no room before into the ring's states, to go with the next sync.
    pub fn write<S: Storage>(&mut self, ring: &mut Ring<S>) -> Result<(), PutError> {
        let mut result = self.write_boots(ring);
        for (tag, source) in &mut self.sources {
            if source.is_unwritten {
                result = result.and(source.write(ring, *tag, &mut self.ledger));
            }
        }
        for book in self.destinations.values_mut() {
            if book.is_unwritten {
                result = result.and(book.write(ring, &mut self.ledger));
            }
        }
        result
    }

    fn add_source<S: Storage>(
        &mut self,
        ring: &mut Ring<S>,
        name: &str,
    ) -> Result<u16, OpenSourceError> {
        let mut free = (0..SOURCES_MAX).filter(|tag| !self.sources.contains_key(tag));
        let Some(tag) = free.next() else {
            return Err(OpenSourceError::TooMany { max: SOURCES_MAX });
        };
        let mut source = SourceBook::new(SourceState {
            name: name.into(),
            before: ring.appended(tag),
            ..SourceState::default()
        });
        source.write(ring, tag, &mut self.ledger)?;
        self.sources.insert(tag, source);
        for book in self.destinations.values_mut() {
            if book.take_source(ring, name, tag) {
                book.write(ring, &mut self.ledger).ok();
            }
        }
        Ok(tag)
    }

    fn add_destination(&mut self, book: DestinationBook) -> DestinationIndex {
        let index = self.next_index;
        self.next_index += 1;
        self.destinations.insert(index, book);
        index
    }
}

/// A source as the ring knows it.
#[derive(Debug)]
struct SourceBook {
    state: SourceState,
    is_unwritten: bool,
}

impl SourceBook {
    const fn new(state: SourceState) -> Self {
        Self {
            state,
            is_unwritten: false,
        }
    }

    /// One whose entries are in the ring and whose state is not, which only rot brings about.
    fn unnamed(tag: u16) -> Self {
        Self::new(SourceState {
            name: format!("source-{tag}").into(),
            ..SourceState::default()
        })
    }

    fn write<S: Storage>(
        &mut self,
        ring: &mut Ring<S>,
        tag: u16,
        ledger: &mut Ledger,
    ) -> Result<(), PutError> {
        self.is_unwritten = true;
        ledger.put(ring, &source_key(tag), &self.state.encode())?;
        self.is_unwritten = false;
        Ok(())
    }
}

fn open_book(
    destinations: &mut BTreeMap<DestinationIndex, DestinationBook>,
    index: DestinationIndex,
) -> Option<&mut DestinationBook> {
    destinations.get_mut(&index).filter(|book| book.is_open)
}

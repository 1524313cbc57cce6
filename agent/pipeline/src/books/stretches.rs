//! What the drivers of a destination's stretches tell and ask.

use diskring::{Ring, Seq, Storage, StorageError};

use super::{Books, DestinationIndex, open_book};
use crate::tally::{BatchOutcome, Stretch, StretchId, StretchKind};

impl Books {
    /// Begins a stretch of a destination's log anew: the one of this kind that is to be delivered
    /// next, or `None`. What a driver had in hand of that kind waits again.
    pub fn open_stretch<S: Storage>(
        &mut self,
        ring: &mut Ring<S>,
        index: DestinationIndex,
        kind: StretchKind,
    ) -> Result<Option<(StretchId, Stretch)>, StorageError> {
        let Some(book) = open_book(&mut self.destinations, index) else {
            return Ok(None);
        };
        let opened = book.open_stretch(ring, kind)?;
        if book.is_unwritten {
            book.write(ring, &mut self.ledger).ok();
        }
        Ok(opened)
    }

    /// Lets a destination begin its live stretch at `at`: what waits before becomes a backlog.
    /// False when there is nothing to split, too many backlogs or no room to remember another.
    ///
    /// What the driver of the live stretch has in hand waits again; where nothing is split, all
    /// stays as it was.
    pub fn split<S: Storage>(
        &mut self,
        ring: &mut Ring<S>,
        index: DestinationIndex,
        at: Seq,
    ) -> Result<bool, StorageError> {
        let Some(book) = open_book(&mut self.destinations, index) else {
            return Ok(false);
        };
        book.split(ring, &mut self.ledger, at)
    }

    /// Begins to deliver `first..end` to an open destination once more, marked with `mark`: how
    /// many records that are; `None` when too many replays wait or there is no room to remember
    /// another.
    pub fn replay<S: Storage>(
        &mut self,
        ring: &mut Ring<S>,
        index: DestinationIndex,
        range: (Seq, Seq),
        mark: u64,
    ) -> Result<Option<u64>, StorageError> {
        let Some(book) = open_book(&mut self.destinations, index) else {
            return Ok(None);
        };
        book.replay(ring, &mut self.ledger, range, mark)
    }

    /// Forgets the replays of a destination; how many there were.
    pub fn forget_replays<S: Storage>(
        &mut self,
        ring: &mut Ring<S>,
        index: DestinationIndex,
    ) -> usize {
        let Some(book) = open_book(&mut self.destinations, index) else {
            return 0;
        };
        let count = book.forget_replays();
        book.write(ring, &mut self.ledger).ok();
        count
    }

    /// The number of an open destination.
    pub fn index_of(&self, name: &str) -> Option<DestinationIndex> {
        let mut open = self.destinations.iter().filter(|(_, book)| book.is_open);
        open.find(|(_, book)| book.name == name)
            .map(|(index, _)| *index)
    }

    /// Where a stretch ends, the greatest seq of all for the live one; `None` when it is no more.
    pub fn limit(&self, index: DestinationIndex, stretch: StretchId) -> Option<Seq> {
        let book = self.destinations.get(&index).filter(|book| book.is_open)?;
        let stretch = book.tally.stretch(stretch)?;
        Some(stretch.limit().unwrap_or(Seq::new(u64::MAX)))
    }

    /// Everything of a stretch before `end` was given to its driver, who owes a verdict for it.
    pub fn given(&mut self, index: DestinationIndex, stretch: StretchId, end: Seq) {
        if let Some(book) = open_book(&mut self.destinations, index) {
            book.given(stretch, end);
        }
    }

    /// A batch of a stretch up to `end` is about to be sent; durable with the next sync.
    pub fn plan<S: Storage>(
        &mut self,
        ring: &mut Ring<S>,
        (index, stretch): (DestinationIndex, StretchId),
        end: Seq,
    ) {
        if let Some(book) = open_book(&mut self.destinations, index) {
            book.plan(stretch, end);
            book.write(ring, &mut self.ledger).ok();
        }
    }

    /// Everything of a stretch before `end` has a final verdict, and `outcome` says what became of
    /// it since the last time; durable with the next sync.
    pub fn commit<S: Storage>(
        &mut self,
        ring: &mut Ring<S>,
        (index, stretch): (DestinationIndex, StretchId),
        end: Seq,
        outcome: BatchOutcome,
    ) -> Result<(), StorageError> {
        if let Some(book) = open_book(&mut self.destinations, index) {
            book.commit(ring, stretch, end, outcome)?;
            book.write(ring, &mut self.ledger).ok();
        }
        Ok(())
    }
}

//! What drivers ask: stretches of the log, and what is in them.

use diskring::{Read, Seq, Storage};
use pipeline::replay::ReplayWish;
use pipeline::tally::StretchKind;
use pipeline::time::WallClock;
use tokio::time::Instant;

use super::Store;
use crate::store::{
    Chunk, DestinationIndex, READ_BYTES_MAX, Replayed, StoreError, StretchKey, StretchOpening,
};

impl<S: Storage> Store<S> {
    /// Begins a driver of this kind anew.
    pub(super) fn open_stretch(
        &mut self,
        index: DestinationIndex,
        kind: StretchKind,
    ) -> Result<Option<StretchOpening>, StoreError> {
        let opened = self.books.open_stretch(&mut self.ring, index, kind)?;
        Ok(opened.map(|(id, stretch)| StretchOpening { id, stretch }))
    }

    /// Lets the live stretch begin behind all that is durable.
    pub(super) fn split(&mut self, index: DestinationIndex) -> Result<Option<Seq>, StoreError> {
        let at = self.ring.durable();
        if !self.books.split(&mut self.ring, index, at)? {
            return Ok(None);
        }
        self.stretches_changed();
        Ok(Some(at))
    }

    /// Begins to deliver records once more; `Err` says in words why not; `None` when the
    /// destination is not open.
    pub(super) fn replay(
        &mut self,
        destination: &str,
        wish: &ReplayWish,
        mark: u64,
    ) -> Result<Option<Result<Replayed, String>>, StoreError> {
        let tally = self
            .books
            .index_of(destination)
            .and_then(|index| Some((index, self.books.tally(&self.ring, index)?)));
        let Some((index, tally)) = tally else {
            return Ok(None);
        };
        let delivered = tally.committed().min(self.ring.durable());
        let range = wish.find(&self.ring, &self.books.boots(), delivered)?;
        if range.is_empty() {
            let left = match range.oldest_ms {
                Some(oldest_ms) if range.oldest < range.delivered => format!(
                    "what is left of what was delivered are the records {} to {}, received from {} on",
                    range.oldest,
                    range.delivered - 1,
                    WallClock::from_millis(oldest_ms),
                ),
                _ => "the ring holds nothing that was delivered".to_owned(),
            };
            return Ok(Some(Err(format!("nothing to replay: {left}"))));
        }
        let bounds = (Seq::new(range.first), Seq::new(range.end));
        let records = self.books.replay(&mut self.ring, index, bounds, mark)?;
        Ok(Some(match records {
            Some(records) => {
                self.stretches_changed();
                Ok(Replayed { range, records })
            }
            None => Err(
                "too many replays are under way, or the ring is too full to remember another: \
                 try again later"
                    .to_owned(),
            ),
        }))
    }

    /// Forgets the replays of a destination; `None` when it is not known.
    pub(super) fn stop_replays(&mut self, destination: &str) -> Option<usize> {
        let index = self.books.index_of(destination)?;
        let count = self.books.forget_replays(&mut self.ring, index);
        if count > 0 {
            self.stretches_changed();
        }
        Some(count)
    }

    /// Frames for a destination; `None` when the stretch is no more.
    pub(super) fn read(&mut self, key: StretchKey, from: Seq) -> Result<Option<Chunk>, StoreError> {
        let (index, stretch) = key;
        let Some(limit) = self.books.limit(index, stretch) else {
            return Ok(None);
        };
        let mut cursor = match self.cursors.remove(&key) {
            Some((at, cursor)) if at == from => cursor,
            _ => self.ring.cursor(from),
        };
        let mut chunk = Chunk {
            end: from,
            ..Chunk::default()
        };
        let mut bytes = 0;
        while bytes < READ_BYTES_MAX && chunk.end < limit {
            match self.ring.read(&mut cursor)? {
                Read::Frame(frame) => {
                    bytes += frame.len_bytes();
                    chunk.end = frame.end();
                    chunk.frames.push(frame);
                }
                Read::Lost { first, end } => {
                    chunk.lost += end.min(limit).since(first.max(from));
                    chunk.end = end;
                }
                Read::Evicted { end, .. } => chunk.end = end,
                Read::End => break,
            }
        }
        self.cursors.insert(key, (chunk.end, cursor));
        chunk.end = chunk.end.min(limit.max(from));
        self.books.given(index, stretch, chunk.end);
        Ok(Some(chunk))
    }

    /// A stretch that is finished is not read any more.
    pub(super) fn forget_cursor(&mut self, key: StretchKey) {
        if self.books.limit(key.0, key.1).is_none() {
            self.cursors.remove(&key);
        }
    }

    fn stretches_changed(&mut self) {
        self.unsynced_since.get_or_insert_with(Instant::now);
        self.stretches
            .send_modify(|changes| *changes = changes.wrapping_add(1));
    }
}

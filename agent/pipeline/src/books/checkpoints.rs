//! The places of sources in their inputs: in the ring, or in the archive beside it.

use diskring::{PutError, Ring, Storage};

use super::Books;
use super::archive::Archive;
use super::states::{self, checkpoint_key};

impl Books {
    /// Begins to keep checkpoints that the ring has no room for in a file beside it; `bytes` is
    /// what that file holds, if there is one. True if it is of use: without it, and when it is
    /// damaged, sources read again what they had read of it.
    pub fn open_archive<S: Storage>(&mut self, ring: &Ring<S>, bytes: Option<&[u8]>) -> bool {
        let archive = bytes.map(|bytes| Archive::decode(bytes, ring));
        let is_good = !matches!(archive, Some(None));
        self.archive = Some(archive.flatten().unwrap_or_default());
        is_good
    }

    /// Whether the archive is to be written anew.
    pub fn is_archive_changed(&self) -> bool {
        self.archive.as_ref().is_some_and(Archive::is_changed)
    }

    /// Whether a cut before the archive is written would lose checkpoints.
    pub fn has_unarchived(&self) -> bool {
        self.archive.as_ref().is_some_and(Archive::has_unwritten)
    }

    /// How often something was forgotten that a cut before the archive is written may bring back.
    pub fn forgotten_archived(&self) -> u64 {
        self.archive.as_ref().map_or(0, Archive::forgotten)
    }

    /// What the archive is to hold from here on; everything that was put must be durable. Once it
    /// is durable too [`Books::handle_archived`] is to follow, at once.
    pub fn encode_archive<S: Storage>(&mut self, ring: &Ring<S>) -> Vec<u8> {
        let archive = self.archive.as_mut();
        archive.map_or_else(Vec::new, |archive| archive.encode(ring))
    }

    /// The archive is durable.
    pub fn handle_archived<S: Storage>(&mut self, ring: &mut Ring<S>) {
        if let Some(archive) = &mut self.archive {
            archive.handle_written(ring, self.ledger);
        }
    }

    /// Remembers a place in a source's input, durable with what was appended before.
    ///
    /// A new one for which the ring has no room beside the tallies goes into the archive, and is
    /// durable with that. Without an archive, or when that is full too, it is refused as
    /// [`PutError::StateFull`]. One that is known only changes its offset and always has its place.
    pub fn set_checkpoint<S: Storage>(
        &mut self,
        ring: &mut Ring<S>,
        tag: u16,
        key: &[u8],
        offset: u64,
    ) -> Result<(), PutError> {
        let key = checkpoint_key(tag, key);
        let put = states::put_checkpoint(ring, self.ledger, &key, offset);
        let Some(archive) = &mut self.archive else {
            return put;
        };
        match put {
            Ok(()) => archive.handle_put(&key),
            Err(PutError::StateFull { .. }) if archive.keep(key, offset) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// A source's keys and offsets, durable or not.
    pub fn checkpoints<S: Storage>(&self, ring: &Ring<S>, tag: u16) -> Vec<(Vec<u8>, u64)> {
        let prefix = checkpoint_key(tag, &[]);
        let archived = self.archive.iter();
        let archived = archived.flat_map(|archive| archive.checkpoints(&prefix));
        states::checkpoints(ring, tag).chain(archived).collect()
    }

    /// Forgets a place.
    pub fn forget_checkpoint<S: Storage>(
        &mut self,
        ring: &mut Ring<S>,
        tag: u16,
        key: &[u8],
    ) -> Result<(), PutError> {
        let key = checkpoint_key(tag, key);
        ring.remove(&key)?;
        if let Some(archive) = &mut self.archive {
            archive.forget(&key);
        }
        Ok(())
    }
}

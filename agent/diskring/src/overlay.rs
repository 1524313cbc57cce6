//! Looking into a ring without changing it: what recovery writes stays in memory.
//!
//! Recovery writes a handful of whole pages and reads them again. With an [`Overlay`] in between it
//! sees exactly what it would see on the storage itself, of which not a byte changes.

use std::collections::BTreeMap;
use std::io;

use crate::bytes::{to_u32, to_usize};
use crate::layout::PAGE;
use crate::{Storage, StorageError};

/// What is held in memory at most; recovery needs less than a third of it.
const PAGES_MAX: usize = 64;

/// A storage that is only read.
///
/// Whole pages can be written; they are held in memory and read from there. A ring that appends
/// soon gets an error, because few of them are held. A sync does nothing.
#[derive(Debug)]
pub struct Overlay<S> {
    below: S,
    /// By their offset.
    pages: BTreeMap<u64, Vec<u8>>,
}

impl<S: Storage> Overlay<S> {
    /// Nothing is written yet.
    pub const fn new(below: S) -> Self {
        Self {
            below,
            pages: BTreeMap::new(),
        }
    }
}

impl<S: Storage> Storage for Overlay<S> {
    fn capacity(&self) -> u64 {
        self.below.capacity()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), StorageError> {
        let page_bytes = u64::from(PAGE);
        let first = offset - offset % page_bytes;
        let end = offset.saturating_add(len_u64(buf));
        let (mut at, mut rest) = (offset, buf);
        for (page, held) in self.pages.range(first..end) {
            // What lies before a held page is read in one piece, and that page never: the disk
            // may not be able to.
            let (before, behind) = rest.split_at_mut(distance(at, *page));
            if !before.is_empty() {
                self.below.read_at(at, before)?;
                at = *page;
            }
            let held = held.get(distance(*page, at)..).unwrap_or_default();
            let (inside, behind) = behind.split_at_mut(held.len().min(behind.len()));
            for (to, from) in inside.iter_mut().zip(held) {
                *to = *from;
            }
            at += len_u64(inside);
            rest = behind;
        }
        if rest.is_empty() {
            return Ok(());
        }
        self.below.read_at(at, rest)
    }

    fn write_at(&mut self, offset: u64, data: &[u8]) -> Result<(), StorageError> {
        let refused = |kind: io::ErrorKind, text: &str| {
            StorageError::write(offset, data.len(), io::Error::new(kind, text))
        };
        let is_inside = offset.saturating_add(len_u64(data)) <= self.capacity();
        let page = to_usize(PAGE);
        let is_whole = offset.is_multiple_of(u64::from(PAGE)) && data.len().is_multiple_of(page);
        if !(is_inside && is_whole) {
            let text = "only whole pages are held";
            return Err(refused(io::ErrorKind::InvalidInput, text));
        }
        let written = (offset..).step_by(page).zip(data.chunks(page));
        let new = written
            .clone()
            .filter(|(page, _)| !self.pages.contains_key(page));
        if self.pages.len() + new.count() > PAGES_MAX {
            let text = "it is only read, and no more of what is written is held in memory";
            return Err(refused(io::ErrorKind::ReadOnlyFilesystem, text));
        }
        self.pages
            .extend(written.map(|(page, data)| (page, data.to_vec())));
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        Ok(())
    }
}

/// How far `to` lies behind `from`; 0 when it does not.
fn distance(from: u64, to: u64) -> usize {
    usize::try_from(to.saturating_sub(from)).unwrap_or(usize::MAX)
}

fn len_u64(bytes: &[u8]) -> u64 {
    u64::from(to_u32(bytes.len()))
}

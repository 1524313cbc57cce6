//! The file beside a ring that has the checkpoints for which the ring has no room.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use diskring::{Ring, Storage};
use pipeline::books::Books;
use tokio::time::Instant;

use super::Store;
use crate::file_storage::{replace_file, sync_folder};

/// It is written so often at most, unless something waits for it: with more busy files than the
/// ring has room for it is about 1 MiB each time.
const ARCHIVE_INTERVAL: Duration = Duration::from_secs(10);

/// More than its checkpoints take, however many there are.
const ARCHIVE_BYTES_MAX: u64 = 4 << 20;

/// Where the archive is, and when it was written last.
pub(super) struct ArchiveFile {
    path: PathBuf,
    written_at: Option<Instant>,
    /// Whether it could not be written last, which is told once.
    failed: bool,
}

impl ArchiveFile {
    /// Reads it into the books. A damaged one is told, and replaced in time.
    pub(super) fn open<S: Storage>(path: PathBuf, books: &mut Books, ring: &Ring<S>) -> Self {
        let bytes = match read(&path) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(%error, "{} cannot be read", path.display());
                Some(Vec::new())
            }
        };
        if !books.open_archive(ring, bytes.as_deref()) {
            tracing::warn!(
                "{} is damaged or belongs to another ring: files whose place it had are read again",
                path.display()
            );
        }
        Self {
            path,
            written_at: None,
            failed: false,
        }
    }
}

impl<S: Storage> Store<S> {
    /// When the archive is due without anything else to sync.
    pub(super) fn archive_at(&self) -> Option<Instant> {
        let is_due = self.books.is_archive_changed() && !self.ring.is_pending();
        let archive = self.archive.as_ref().filter(|_| is_due)?;
        Some(
            archive
                .written_at
                .map_or_else(Instant::now, |at| at + ARCHIVE_INTERVAL),
        )
    }

    /// Writes the archive if it is time, after a sync that left nothing pending.
    pub(super) fn archive(&mut self, is_last: bool) {
        let is_changed = self.books.is_archive_changed();
        let Some(archive) = self.archive.as_mut().filter(|_| is_changed) else {
            return;
        };
        let has_unarchived = self.books.has_unarchived() && !self.owed_for_states.is_empty();
        let is_awaited = has_unarchived || self.is_forgetting;
        let is_early = archive
            .written_at
            .is_some_and(|at| at.elapsed() < ARCHIVE_INTERVAL);
        if self.ring.is_pending() || (is_early && !is_awaited && !is_last) {
            return;
        }
        let bytes = self.books.encode_archive(&self.ring);
        archive.written_at = Some(Instant::now());
        match write(&archive.path, &bytes) {
            Ok(()) => {
                archive.failed = false;
                self.is_forgetting = false;
                self.books.handle_archived(&mut self.ring);
                self.unsynced_since.get_or_insert_with(Instant::now);
            }
            Err(error) if !std::mem::replace(&mut archive.failed, true) => {
                tracing::error!(
                    %error,
                    "{} cannot be written; after a crash some files may be read twice",
                    archive.path.display()
                );
            }
            Err(_) => {}
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(ARCHIVE_BYTES_MAX)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_file(&path.with_extension("new"), path, bytes)?;
    path.parent().map_or(Ok(()), sync_folder)
}

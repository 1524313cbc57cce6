//! A folder of files with a bound on its size; the oldest make room.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use pipeline::destination::{FileError, Folder, FolderFile, SeqRange};
use pipeline::time::WallClock;
use rustix::fs::FlockOperation;
use tokio::task::spawn_blocking;

use crate::file_storage::{replace_file, sync_folder};

/// What a file is called until it is whole.
const UNFINISHED: &str = ".unfinished";

/// A folder that holds at most so many bytes of files of one kind.
#[derive(Clone, Debug)]
pub(super) struct BoundedFolder {
    path: PathBuf,
    folder: Folder,
    bytes_max: u64,
}

impl BoundedFolder {
    /// The folder at `path`; it is made when it is first written to.
    pub(super) fn new(path: &Path, folder: Folder, bytes_max: u64) -> Self {
        Self {
            path: path.to_owned(),
            folder,
            bytes_max,
        }
    }

    /// What the file for `range` is called.
    pub(super) fn file_name(&self, range: SeqRange, extension: &str) -> String {
        self.folder.file_name(range, extension)
    }

    /// Writes a file so that it is there whole or not at all; says how many made room for it.
    pub(super) async fn write(&self, name: String, bytes: Arc<Vec<u8>>) -> Result<u64, FileError> {
        let folder = self.clone();
        let written = spawn_blocking(move || folder.write_blocking(&name, &bytes));
        written
            .await
            .map_err(|error| FileError::Io(error.to_string()))?
    }

    fn write_blocking(&self, name: &str, bytes: &[u8]) -> Result<u64, FileError> {
        let at =
            |path: &Path, error: &io::Error| FileError::Io(format!("{}: {error}", path.display()));
        std::fs::create_dir_all(&self.path).map_err(|error| at(&self.path, &error))?;
        let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        // Held until the end, against another driver that makes room here at the same time.
        let _lock = lock(&self.path).map_err(|error| at(&self.path, &error))?;
        let files = self.files().map_err(|error| at(&self.path, &error))?;
        let room = self
            .folder
            .make_room(&files, name, len, self.bytes_max)
            .ok_or(FileError::TooLarge {
                bytes: len,
                bytes_max: self.bytes_max,
            })?;
        let mut removed = 0;
        for file in room {
            let path = self.path.join(&file.name);
            tracing::warn!(file = %path.display(), "removed to make room");
            match std::fs::remove_file(&path) {
                Ok(()) => removed += 1,
                // Somebody else made the room.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(at(&path, &error)),
            }
        }
        let path = self.path.join(name);
        let unfinished = self.path.join(format!("{name}{UNFINISHED}"));
        replace_file(&unfinished, &path, bytes).map_err(|error| {
            drop(std::fs::remove_file(&unfinished));
            at(&path, &error)
        })?;
        sync_folder(&self.path).map_err(|error| at(&self.path, &error))?;
        Ok(removed)
    }

    fn files(&self) -> io::Result<Vec<FolderFile>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            if !metadata.is_file() {
                continue;
            }
            let modified = metadata
                .modified()?
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default();
            let modified = i64::try_from(modified.as_millis()).unwrap_or(i64::MAX);
            files.push(FolderFile {
                name,
                bytes: metadata.len(),
                modified: WallClock::from_millis(modified),
            });
        }
        Ok(files)
    }
}

/// The folder, locked until it is dropped; a file system that knows no locks has none.
fn lock(path: &Path) -> io::Result<std::fs::File> {
    let folder = std::fs::File::open(path)?;
    let lock = || rustix::fs::flock(&folder, FlockOperation::LockExclusive);
    if let Err(error) = rustix::io::retry_on_intr(lock) {
        tracing::debug!(%error, "{} cannot be locked", path.display());
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use diskring::Seq;

    use super::*;

    const BYTES_MAX: u64 = 5 * 4096;

    /// Two drivers of one destination write dead letters, or batches, of a ring each.
    #[test]
    fn two_writers_keep_to_one_bound() {
        let path = std::env::temp_dir().join(format!("hydrant-folder-{}", std::process::id()));
        let rings = [0xa, 0xb];
        let write = |ring: u64| {
            let folder = Folder::new("gateway-usb", ring).beside(&rings);
            let folder = BoundedFolder::new(&path, folder, BYTES_MAX);
            let mut most = 0;
            for first in 0..150 {
                let range = SeqRange::new(Seq::new(first), Seq::new(first + 1));
                let name = folder.file_name(range, "x");
                folder.write_blocking(&name, b"x").unwrap();
                // Files must not come and go while they are counted.
                let _lock = lock(&path).unwrap();
                let names = std::fs::read_dir(&path).unwrap().flatten();
                let names = names.filter_map(|entry| entry.file_name().into_string().ok());
                most = most.max(names.filter(|name| !name.ends_with(UNFINISHED)).count());
            }
            most
        };
        let most = std::thread::scope(|scope| {
            let other = scope.spawn(|| write(rings[0]));
            write(rings[1]).max(other.join().unwrap())
        });
        std::fs::remove_dir_all(&path).unwrap();
        assert_eq!(most, 5);
    }
}

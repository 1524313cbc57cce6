//! A folder of files with a bound on its size; the oldest make room.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use pipeline::destination::{FileError, Folder, FolderFile, SeqRange};
use pipeline::time::WallClock;
use tokio::task::spawn_blocking;

use crate::file_storage::sync_folder;

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
            std::fs::remove_file(&path).map_err(|error| at(&path, &error))?;
            removed += 1;
        }
        let path = self.path.join(name);
        let unfinished = self.path.join(format!("{name}{UNFINISHED}"));
        replace(&unfinished, &path, bytes).map_err(|error| {
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

fn replace(unfinished: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = std::fs::File::create(unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(unfinished, path)
}

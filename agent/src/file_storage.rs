//! The ring's disk: one file that takes its whole size when it is made.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use diskring::{Storage, StorageError};
use rustix::fs::{Advice, FallocateFlags, FlockOperation};

/// A preallocated file, locked against a second agent.
#[derive(Debug)]
pub(crate) struct FileStorage {
    file: File,
    capacity: u64,
}

impl FileStorage {
    /// Opens a ring file for reading and writing.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let storage = Self::locked(file)?;
        // After a failed sync the page cache may show what never came to the disk. What counts is
        // the disk; where the system cannot forget, recovery sees what a reader would.
        if rustix::fs::fadvise(&storage.file, 0, None, Advice::DontNeed).is_err() {
            tracing::debug!("the page cache of {} stays", path.display());
        }
        Ok(storage)
    }

    /// Makes a file of `capacity` bytes that are really there: a full disk is found at once.
    pub(crate) fn create(path: &Path, capacity: u64) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)?;
        allocate(&file, capacity)?;
        file.sync_all()?;
        Self::locked(file)
    }

    fn locked(file: File) -> io::Result<Self> {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let text = "another hydrant uses it; stop that one first, or give this one an agent.state_dir of its own";
                return Err(io::Error::new(ErrorKind::ResourceBusy, text));
            }
            Err(error) => return Err(error.into()),
        }
        let capacity = file.metadata()?.len();
        Ok(Self { file, capacity })
    }
}

impl Storage for FileStorage {
    fn capacity(&self) -> u64 {
        self.capacity
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), StorageError> {
        self.file
            .read_exact_at(buf, offset)
            .map_err(|error| StorageError::read(offset, buf.len(), error))
    }

    fn write_at(&mut self, offset: u64, data: &[u8]) -> Result<(), StorageError> {
        self.file
            .write_all_at(data, offset)
            .map_err(|error| StorageError::write(offset, data.len(), error))
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        self.file.sync_data().map_err(StorageError::sync)
    }
}

/// Puts a whole file in the place of another; a cut leaves one of them. Its name is durable once
/// its folder is synced.
pub(crate) fn replace_file(unfinished: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(unfinished, path)
}

/// Makes a name durable: a new or renamed file is only there once its folder is synced.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn allocate(file: &File, capacity: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, capacity) {
        Ok(()) => Ok(()),
        // Some file systems cannot reserve; written zeros reserve everywhere.
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => write_zeros(file, capacity),
        Err(error) => Err(error.into()),
    }
}

fn write_zeros(mut file: &File, capacity: u64) -> io::Result<()> {
    let zeros = vec![0; 64 * 1024];
    let mut left = capacity;
    while left > 0 {
        let len = usize::try_from(left).map_or(zeros.len(), |left| left.min(zeros.len()));
        file.write_all(zeros.get(..len).unwrap_or_default())?;
        left = left.saturating_sub(u64::try_from(len).unwrap_or(u64::MAX));
    }
    Ok(())
}

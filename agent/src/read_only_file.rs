//! A ring's file that is only read: no lock is needed and none disturbed, so that the agent whose
//! ring it is may run beside; it may lie on a disk that can only be read.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use diskring::{Storage, StorageError};

/// A file that is open for reading.
#[derive(Clone, Debug)]
pub(crate) struct ReadOnlyFile {
    file: Arc<File>,
    capacity: u64,
}

impl ReadOnlyFile {
    /// Opens a regular file; of anything else the end might never come.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        if metadata.is_dir() {
            return Err(ErrorKind::IsADirectory.into());
        }
        if !metadata.is_file() {
            return Err(io::Error::new(ErrorKind::InvalidInput, "it is not a file"));
        }
        let file = File::open(path)?;
        let capacity = file.metadata()?.len();
        Ok(Self {
            file: Arc::new(file),
            capacity,
        })
    }
}

impl Storage for ReadOnlyFile {
    fn capacity(&self) -> u64 {
        self.capacity
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), StorageError> {
        self.file
            .read_exact_at(buf, offset)
            .map_err(|error| StorageError::read(offset, buf.len(), error))
    }

    fn write_at(&mut self, offset: u64, data: &[u8]) -> Result<(), StorageError> {
        let error = ErrorKind::ReadOnlyFilesystem.into();
        Err(StorageError::write(offset, data.len(), error))
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        Ok(())
    }
}

//! What the ring needs of a disk.

use std::fmt;
use std::io;
use std::sync::Arc;

/// A fixed number of bytes that survive a power loss once synced.
pub trait Storage {
    /// How many bytes there are; never changes while the ring is open.
    fn capacity(&self) -> u64;

    /// Fills all of `buf` from `offset`.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), StorageError>;

    /// Writes all of `data` at `offset`; readable at once, durable only after [`Storage::sync`].
    fn write_at(&mut self, offset: u64, data: &[u8]) -> Result<(), StorageError>;

    /// Returns when everything written before is durable. It is never called again after a failure.
    fn sync(&mut self) -> Result<(), StorageError>;
}

/// A read, write or sync that failed, and where.
#[derive(Clone, Debug)]
pub struct StorageError {
    action: Action,
    source: Arc<io::Error>,
}

impl StorageError {
    /// A read of `len` bytes at `offset` failed.
    pub fn read(offset: u64, len: usize, source: io::Error) -> Self {
        Self::new(Action::Read { offset, len }, source)
    }

    /// A write of `len` bytes at `offset` failed.
    pub fn write(offset: u64, len: usize, source: io::Error) -> Self {
        Self::new(Action::Write { offset, len }, source)
    }

    /// A sync failed.
    pub fn sync(source: io::Error) -> Self {
        Self::new(Action::Sync, source)
    }

    /// What kind of failure the system reported.
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }

    fn new(action: Action, source: io::Error) -> Self {
        Self {
            action,
            source: Arc::new(source),
        }
    }
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.action {
            Action::Read { offset, len } => {
                write!(
                    f,
                    "reading {len} bytes of the ring at offset {offset} failed"
                )
            }
            Action::Write { offset, len } => {
                write!(
                    f,
                    "writing {len} bytes of the ring at offset {offset} failed"
                )
            }
            Action::Sync => f.write_str("syncing the ring to disk failed"),
        }
    }
}

impl std::error::Error for StorageError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}

#[derive(Clone, Copy, Debug)]
enum Action {
    Read { offset: u64, len: usize },
    Write { offset: u64, len: usize },
    Sync,
}

//! Errors, told apart by what the caller does next.

use std::fmt;

use crate::StorageError;

/// Why a ring could not be created or opened.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no ring here and nothing else either: the caller may create one.
    NotARing,
    /// There was a ring, or something else, and no part of it can be believed; nothing was changed.
    Damaged {
        /// What could not be found.
        what: &'static str,
    },
    /// The sizes do not make a ring.
    Geometry {
        /// Bytes of the storage.
        capacity: u64,
        /// Bytes that the ring needs at least.
        needed: u64,
    },
    /// The ring was written in a format that this version does not know.
    Version {
        /// The version found.
        found: u16,
        /// The version known.
        known: u16,
    },
    /// A segment is sealed with a key that was not given; nothing was changed.
    Key {
        /// The segment's number.
        segment: u64,
        /// Whether any key was given.
        is_given: bool,
    },
    /// The disk failed.
    Storage(StorageError),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotARing => f.write_str("the file holds no ring"),
            Self::Damaged { what } => write!(
                f,
                "the ring is damaged beyond recovery: {what}; move the file away to start anew"
            ),
            Self::Geometry { capacity, needed } => {
                write!(
                    f,
                    "the file has {capacity} bytes where the ring needs {needed}"
                )
            }
            Self::Version { found, known } => write!(
                f,
                "the ring has format version {found} and this program knows {known}"
            ),
            Self::Key {
                segment,
                is_given: true,
            } => write!(
                f,
                "segment {segment} of the ring is sealed with another key"
            ),
            Self::Key {
                segment,
                is_given: false,
            } => write!(
                f,
                "segment {segment} of the ring is sealed and no key is given"
            ),
            Self::Storage(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Storage(error) => error.source(),
            Self::NotARing
            | Self::Damaged { .. }
            | Self::Geometry { .. }
            | Self::Version { .. }
            | Self::Key { .. } => None,
        }
    }
}

impl From<StorageError> for OpenError {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

/// Why an entry was not taken; the ring is as it was before.
#[derive(Debug)]
#[non_exhaustive]
pub enum AppendError {
    /// The entry will never fit.
    TooLarge {
        /// Bytes of the entry.
        len: usize,
        /// Bytes that fit.
        max: usize,
    },
    /// There is no room until the oldest segment is evicted.
    Full,
    /// The disk failed; the ring must be recovered anew.
    Storage(StorageError),
}

impl fmt::Display for AppendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { len, max } => write!(f, "entry of {len} bytes exceeds {max}"),
            Self::Full => f.write_str("the ring is full until its oldest segment is evicted"),
            Self::Storage(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for AppendError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Storage(error) => error.source(),
            Self::TooLarge { .. } | Self::Full => None,
        }
    }
}

impl From<StorageError> for AppendError {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

/// Why a state was not taken; the one before it stays.
#[derive(Debug)]
#[non_exhaustive]
pub enum PutError {
    /// The key is empty or too long, now and ever.
    Key {
        /// Bytes of the key.
        len: usize,
        /// Bytes that a key may have.
        max: usize,
    },
    /// The value is too long, now and ever.
    Value {
        /// Bytes of the value.
        len: usize,
        /// Bytes that a value may have.
        max: usize,
    },
    /// All states together would be too large; others must be removed first.
    StateFull {
        /// Bytes of all states with this one.
        len: usize,
        /// Bytes that all states may have.
        max: usize,
    },
    /// There is no room until the oldest segment is evicted.
    Full,
    /// The disk failed; the ring must be recovered anew.
    Storage(StorageError),
}

impl fmt::Display for PutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key { len, max } => write!(f, "state key of {len} bytes is not in 1..={max}"),
            Self::Value { len, max } => write!(f, "state value of {len} bytes exceeds {max}"),
            Self::StateFull { len, max } => {
                write!(
                    f,
                    "all states together would have {len} bytes, which exceeds {max}"
                )
            }
            Self::Full => f.write_str("the ring is full until its oldest segment is evicted"),
            Self::Storage(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for PutError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Storage(error) => error.source(),
            Self::Key { .. } | Self::Value { .. } | Self::StateFull { .. } | Self::Full => None,
        }
    }
}

impl From<StorageError> for PutError {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

impl From<AppendError> for PutError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::TooLarge { len, max } => Self::Value { len, max },
            AppendError::Full => Self::Full,
            AppendError::Storage(error) => Self::Storage(error),
        }
    }
}

//! A bounded ring of records on disk that survives power cuts.
//!
//! The crate decides what is written where and in which order, and what of it counts after a cut.
//! It opens no file, knows no time and starts no thread: a [`Storage`] does the reading, writing
//! and syncing, and the caller says when to sync and what to evict.
//!
//! The invariant: what a returned [`Durable`] covers is read back unaltered until it is evicted,
//! whatever happens to the bytes written since.

mod beside;
mod bytes;
mod compress;
mod error;
mod frame;
mod geometry;
mod layout;
mod mutant;
mod overlay;
mod read;
mod recover;
mod ring;
mod seal;
mod seq;
#[cfg(feature = "sim")]
pub mod sim;
mod state;
mod storage;
mod writer;

pub use beside::Beside;
pub use error::{AppendError, OpenError, PutError};
pub use frame::{Entries, Entry, Frame};
pub use geometry::{Compression, Options, RING_BYTES_MIN, RingId};
pub use layout::{FORMAT_VERSION, TIME_UNKNOWN};
#[cfg(feature = "sim")]
pub use mutant::Mutant;
pub use overlay::Overlay;
pub use read::{Cursor, Read};
pub use recover::{Recovery, Unrecovered};
pub use ring::{Damage, DamagedPart, Inspection, Oldest, Ring, SegmentInfo, Sight, Stats};
pub use seal::{Sealing, SealingKey};
pub use seq::Seq;
pub use state::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
pub use storage::{Storage, StorageError};

/// Proof that everything before [`Durable::end`] is on disk; only a sync makes one.
#[derive(Debug)]
pub struct Durable {
    end: Seq,
}

impl Durable {
    /// The first entry that is not covered.
    pub const fn end(&self) -> Seq {
        self.end
    }
}

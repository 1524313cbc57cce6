//! How files are followed: what a file is recognized by, where its lines end, and what became of
//! it since the last look.
//!
//! Opening, reading and waiting are the agent's. The invariant: a checkpoint says where the first
//! line begins that was not handed on, so that a start from it neither loses nor repeats a line.

mod charset;
mod fingerprint;
mod gunzip;
mod joiner;
mod lines;
mod scan;
mod trial;

pub use charset::{Charset, Decoded};
pub use fingerprint::{Birth, FINGERPRINT_BYTES, FileId, FileKey, Fingerprint};
pub use gunzip::{Gunzip, GunzipError, Unpacked};
pub use joiner::{Joined, Joiner, Line, REPLACED, RecordRules, Stream};
pub use lines::{LineCursor, Lines, Piece};
pub use scan::{Found, Known, Seen, decide, originals};
#[doc(hidden)]
pub use trial::trial;

//! What a batch is called.

use std::fmt;

use diskring::Seq;

use super::folder::safe;

/// Names a batch, the same however often and after whatever crash it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchId {
    /// Id of the ring that the records come from.
    pub ring: u64,
    /// Name of the destination.
    pub destination: String,
    /// The first entry.
    pub first: Seq,
    /// The first entry behind it.
    pub end: Seq,
    /// The mark of the replay that it belongs to.
    pub replay: Option<u64>,
}

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (destination, first, end) = (safe(&self.destination), self.first, self.end);
        write!(f, "{:016x}-{destination}-{first}-{end}", self.ring)?;
        match self.replay {
            Some(mark) => write!(f, "-replay-{mark}"),
            None => Ok(()),
        }
    }
}

//! Records that are not read from the ring.

use diskring::Seq;
use pipeline::encode::EntryMeta;
use pipeline::time::Monotonic;

use super::Builder;

/// A record of a letter, as the ring had it.
#[derive(Clone, Debug)]
pub(in crate::deliver) struct KeptEntry {
    /// Where it was in the log.
    pub(in crate::deliver) seq: Seq,
    /// The source it came from.
    pub(in crate::deliver) source: String,
    /// Its bytes.
    pub(in crate::deliver) stored: Vec<u8>,
}

impl Builder {
    /// Takes what it can of `entries`, which are in the order of the log.
    pub(in crate::deliver) fn take_kept(&mut self, entries: &[KeptEntry], now: Monotonic) {
        let recipe = std::sync::Arc::clone(&self.recipe);
        for entry in entries {
            if entry.seq < self.end {
                continue;
            }
            self.stop_at_limit(entry.seq);
            if self.full {
                return;
            }
            let meta = EntryMeta {
                seq: entry.seq,
                source: &entry.source,
            };
            if !self.take_entry(&recipe, meta, &entry.stored, now) {
                self.full = true;
                return;
            }
            self.end = entry.seq.advance(1);
        }
    }
}

//! How the ring and its destinations stand.

use std::sync::Arc;

use diskring::Storage;

use super::Store;
use crate::store::StoreStatus;
use crate::telemetry::BufferStatus;

impl<S: Storage> Store<S> {
    /// How things stand at this moment.
    pub(super) fn status(&mut self) -> StoreStatus {
        let wear = self.wear();
        let names = Arc::clone(&self.source_names.borrow());
        let stored = names.iter().map(|(tag, name)| {
            let tally = self.books.source_tally(&self.ring, *tag);
            (Arc::clone(name), tally.unwrap_or_default().stored)
        });
        let stats = self.ring.stats();
        let behind = self.books.committed_min();
        let kept = self.ring.next().since(self.ring.first()).max(1);
        let waiting = behind.map_or(0, |behind| self.ring.next().since(behind));
        StoreStatus {
            buffer: BufferStatus {
                id: format!("{:016x}", self.ring.id().0),
                capacity_bytes: stats.capacity_bytes,
                used_bytes: stats.used_bytes,
                waiting_percent: percent(stats.used_bytes, stats.capacity_bytes)
                    * percent(waiting.min(kept), kept)
                    / 100.0,
                first_seq: self.ring.first().get(),
                next_seq: self.ring.next().get(),
                durable_seq: self.ring.durable().get(),
                written_bytes: stats.written_bytes,
                syncs: stats.syncs,
                wear,
                blocked: self.blocked.is_some(),
            },
            stored: stored.collect(),
            destinations: self.books.tallies(&self.ring),
        }
    }
}

fn percent(part: u64, whole: u64) -> f64 {
    let scaled = part.saturating_mul(10_000) / whole.max(1);
    f64::from(u32::try_from(scaled).unwrap_or(u32::MAX)) / 100.0
}

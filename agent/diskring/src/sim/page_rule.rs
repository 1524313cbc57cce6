//! The rule that no durable page is written in place, watched from outside of the ring.

use std::collections::BTreeSet;

use super::PAGE;

/// Watches that no page with durable frames is written again before its segment is reused.
#[derive(Clone, Debug)]
pub(super) struct PageRule {
    segment_bytes: u64,
    durable: BTreeSet<u64>,
    written: BTreeSet<u64>,
    /// The slot that holds the durable end, and the one written since.
    last_slot: Option<u64>,
    new_slot: Option<u64>,
    pub(super) violation: Option<u64>,
}

impl PageRule {
    pub(super) const fn new(segment_bytes: u64) -> Self {
        Self {
            segment_bytes,
            durable: BTreeSet::new(),
            written: BTreeSet::new(),
            last_slot: None,
            new_slot: None,
            violation: None,
        }
    }

    pub(super) fn handle_write(&mut self, offset: u64, len: usize) {
        let page = u64::try_from(PAGE).unwrap_or(u64::MAX);
        let pages = u64::try_from(len.div_ceil(PAGE)).unwrap_or(0);
        for at in (0..pages).map(|index| offset - offset % page + index * page) {
            let within = at.saturating_sub(page) % self.segment_bytes;
            let base = at - within;
            let is_slot = within < 2 * page || within >= self.segment_bytes - 2 * page;
            if within == 2 * page {
                // The header: the segment is used anew.
                let reused = base..base + self.segment_bytes;
                self.durable.retain(|page| !reused.contains(page));
            }
            if self.durable.contains(&at) || self.last_slot == Some(at) {
                self.violation = self.violation.or(Some(at));
            }
            if is_slot {
                self.new_slot = Some(at);
            } else {
                self.written.insert(at);
            }
        }
    }

    pub(super) fn handle_sync(&mut self) {
        self.durable.append(&mut self.written);
        self.last_slot = self.new_slot.take().or(self.last_slot);
    }

    /// Forgets what was never synced, and which slot counts: recovery decides anew.
    pub(super) fn handle_cut(&mut self) {
        self.written.clear();
        self.new_slot = None;
        self.last_slot = None;
    }
}

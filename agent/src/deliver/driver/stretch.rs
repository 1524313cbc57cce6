//! When a driver leaves its stretch to another one.

use std::collections::BTreeSet;

use diskring::Seq;
use pipeline::clock::BootTag;

use super::Driver;
use crate::deliver::build::Built;

impl Driver<'_> {
    /// Whether another stretch of its kind may have come that goes first, or it is not wanted.
    pub(super) fn may_be_overtaken(&self) -> bool {
        self.limit.is_some() && self.stretches.has_changed().unwrap_or(true)
    }

    /// Whether what was built is to become part of a backlog, so that new records go first.
    pub(super) fn is_overdue(&self, built: &Built) -> bool {
        let has_more = built.range.end < *self.parts.store.durable().borrow();
        let config = &self.parts.config;
        let now = self.parts.clock.moment();
        self.limit.is_none()
            && built.is_full
            && has_more
            && built
                .oldest
                .is_some_and(|oldest| config.is_overdue(now.since(&oldest)))
    }

    /// Whether the time of one of these boots is known by now.
    pub(super) fn is_known(&self, unknown: &BTreeSet<BootTag>) -> bool {
        !unknown.is_empty() && {
            let boots = self.boots();
            let mut unknown = unknown.iter();
            unknown.any(|tag| boots.get(*tag).is_some_and(|boot| boot.learned.is_some()))
        }
    }

    /// Whether the plan under way says of records that their time is not known, which it is by now,
    /// and nothing of it was taken yet: it is begun anew, with the same bounds and ids.
    pub(super) fn may_be_put_right(&self) -> bool {
        self.current.is_some() && self.delivery.is_untouched() && self.is_known(&self.unknown)
    }

    /// Remembers what is to be counted of what was built.
    pub(super) fn note(&mut self, built: &Built) {
        self.raw_bytes = built.raw_bytes;
        self.raw_bytes_due = built.raw_bytes;
        self.corrected_due = built.corrected;
        self.unknown.clone_from(&built.unknown);
    }

    /// Leaves what is before `first` to another driver.
    pub(super) fn skip_to(&mut self, first: Seq) {
        tracing::info!(
            destination = self.parts.name,
            "what waits is delivered as a backlog, new records go first"
        );
        self.delivery.handle_skipped(first);
        self.frames.clear();
        self.lost.clear();
        self.read_to = first;
    }
}

//! When a driver leaves its stretch to another one.

use diskring::Seq;

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
        let now = self.parts.clock.wall();
        self.limit.is_none()
            && built.is_full
            && has_more
            && built
                .oldest
                .is_some_and(|oldest| config.is_overdue(now, oldest))
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

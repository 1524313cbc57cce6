//! When a driver leaves its way for another one, and what is told of it.

use std::sync::atomic::Ordering;

use pipeline::delivery::{Action, Way};
use pipeline::destination::Verdict;

use super::Driver;

impl Driver<'_> {
    /// Whether another way is due, and what is in hand may be begun anew on it: nothing of it was
    /// taken, or what was taken is as good as lost as long as the rest is not.
    pub(super) fn may_change_way(&self) -> bool {
        let now = self.now();
        !self.is_for_letters
            && self.parts.ways.poll(now) != self.way
            && !matches!(self.delivery.poll(now), Action::DeadLetter(_))
            && (self.delivery.is_untouched() || self.is_failing())
    }

    /// Takes notice of the verdict on an attempt.
    pub(super) fn note_verdict(&self, verdict: &Verdict) {
        if self.is_for_letters {
            return;
        }
        let ways = &self.parts.ways;
        ways.handle_verdict(self.way, self.now(), verdict);
    }

    /// Shows what stands in the way, once it is known.
    pub(super) fn show_trouble(&self) {
        // Until its letters are kept, what is wrong with the folder is what stands in the way.
        if matches!(self.delivery.poll(self.now()), Action::DeadLetter(_)) {
            return;
        }
        let trouble = self.delivery.trouble();
        let trouble = trouble.map(|trouble| trouble.reason.clone());
        let ways = &self.parts.ways;
        let counters = &self.parts.gauges.counters;
        let is_failed_over = ways.is_failed_over();
        counters
            .is_on_fallback
            .store(is_failed_over, Ordering::Relaxed);
        let text = match &self.parts.config.fallback {
            Some(fallback) if is_failed_over => {
                let (own, name) = (ways.reason(), &fallback.name);
                Some(match trouble.filter(|_| self.way == Way::Fallback) {
                    None => format!("{own}; records go out by way of its fallback \"{name}\""),
                    Some(other) => format!("{own}; its fallback \"{name}\": {other}"),
                })
            }
            _ => trouble,
        };
        if counters.set_error(self.rank, text.as_deref()) {
            if let Some(text) = &text {
                tracing::warn!(destination = self.parts.name, "{text}");
            } else {
                tracing::info!(destination = self.parts.name, "delivers again");
            }
        }
    }

    fn is_failing(&self) -> bool {
        let trouble = self.delivery.trouble();
        trouble.is_some_and(|trouble| trouble.class.is_some())
    }
}

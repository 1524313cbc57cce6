//! Which way the batches of one destination go; `pipeline::delivery::Failover` says it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use pipeline::config::DestinationConfig;
use pipeline::delivery::{Failover, Way};
use pipeline::destination::Verdict;
use pipeline::tally::StretchId;
use pipeline::time::Monotonic;
use pipeline::turns::Rank;
use tokio::sync::Notify;

/// Shared by the drivers of one destination, which all run on one thread.
#[derive(Debug)]
pub(crate) struct SharedWays {
    /// Nothing where there is no fallback.
    failover: Option<RefCell<Failover>>,
    is_failed_over: Cell<bool>,
    /// Why the destination was last tried in vain.
    reason: RefCell<String>,
    /// For which way the plan of a stretch was made.
    plans: RefCell<BTreeMap<Rank, (StretchId, Way)>>,
    changed: Notify,
}

impl SharedWays {
    /// Those of a destination that works, as far as it is known.
    pub(crate) fn new(config: &DestinationConfig) -> Self {
        let failover = config
            .fallback
            .as_ref()
            .map(|fallback| RefCell::new(Failover::new(fallback.after, config.retry.max)));
        Self {
            failover,
            is_failed_over: Cell::new(false),
            reason: RefCell::default(),
            plans: RefCell::default(),
            changed: Notify::new(),
        }
    }

    /// The way to go at `now`.
    pub(super) fn poll(&self, now: Monotonic) -> Way {
        let way = self.failover.as_ref().map(|it| it.borrow_mut().poll(now));
        self.tell_changes();
        way.unwrap_or(Way::Own)
    }

    /// The next moment after `now` when another way may be due.
    pub(super) fn poll_timeout(&self, now: Monotonic) -> Option<Monotonic> {
        let failover = self.failover.as_ref()?.borrow();
        failover.poll_timeout().filter(|at| now < *at)
    }

    /// Ready when the destination is given up for the time being, or works again.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Whether the destination is given up for the time being, be it tried just now.
    pub(super) fn is_failed_over(&self) -> bool {
        self.is_failed_over.get()
    }

    /// The first failure, on whichever way, since something was taken.
    pub(super) fn failing_since(&self) -> Option<Monotonic> {
        self.failover.as_ref()?.borrow().failing_since()
    }

    /// Why the destination was last tried in vain.
    pub(super) fn reason(&self) -> String {
        self.reason.borrow().clone()
    }

    /// Takes the verdict on an attempt on `way`.
    pub(super) fn handle_verdict(&self, way: Way, now: Monotonic, verdict: &Verdict) {
        let Some(failover) = &self.failover else {
            return;
        };
        failover.borrow_mut().handle_verdict(way, now, verdict);
        if let (Way::Own, Verdict::Retry(retry) | Verdict::Partial { retry, .. }) = (way, verdict) {
            self.reason.borrow_mut().clone_from(&retry.reason);
        }
        self.tell_changes();
    }

    /// An attempt on `way` could not even be made, for this reason.
    pub(super) fn handle_failure(&self, way: Way, now: Monotonic, reason: &str) {
        let Some(failover) = &self.failover else {
            return;
        };
        failover.borrow_mut().handle_failure(way, now);
        if way == Way::Own {
            reason.clone_into(&mut self.reason.borrow_mut());
        }
        self.tell_changes();
    }

    /// The plan of a stretch was made for this way.
    pub(super) fn planned(&self, rank: Rank, id: StretchId, way: Way) {
        if self.failover.is_some() {
            self.plans.borrow_mut().insert(rank, (id, way));
        }
    }

    /// Whether the plan of a stretch was made for another way than this one, as far as it is known.
    pub(super) fn is_planned_for_other(&self, rank: Rank, id: StretchId, way: Way) -> bool {
        let plans = self.plans.borrow();
        let plan = plans.get(&rank);
        plan.is_some_and(|(of, planned_for)| *of == id && *planned_for != way)
    }

    fn tell_changes(&self) {
        let Some(failover) = &self.failover else {
            return;
        };
        let is_failed_over = failover.borrow().is_failed_over();
        if self.is_failed_over.replace(is_failed_over) != is_failed_over {
            self.changed.notify_waiters();
        }
    }
}

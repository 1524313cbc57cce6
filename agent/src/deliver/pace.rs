//! Calls of one destination are spaced here; `pipeline::pace` says how.

use std::cell::RefCell;

use pipeline::pace::{Cost, Pace, Quota};
use pipeline::time::Monotonic;

/// Shared by the drivers of one destination, which all run on one thread.
#[derive(Debug)]
pub(crate) struct SharedPace(Option<RefCell<Pace>>);

impl SharedPace {
    /// That of a service with this quota.
    pub(crate) fn new(quota: Quota) -> Self {
        Self((!quota.is_unlimited()).then(|| RefCell::new(Pace::new(quota))))
    }

    /// When a call may be made, if not at once.
    pub(super) fn poll_wait(&self, now: Monotonic, cost: Cost) -> Option<Monotonic> {
        let ready = self.0.as_ref()?.borrow().poll_ready(now, cost);
        (now < ready).then_some(ready)
    }

    /// A call is made.
    pub(super) fn handle_call(&self, now: Monotonic, cost: Cost) {
        if let Some(pace) = &self.0 {
            pace.borrow_mut().handle_call(now, cost);
        }
    }
}

//! When a source that waits for its receipts asks the store for a sync.
//!
//! A sender of MQTT stops when so many messages are unacknowledged: its window, which it tells
//! nobody. Waiting for a pause finds it out, and a pause that ends as soon as the acknowledgements
//! are sent was that window. From then on the sync is asked for the moment it is full, and
//! because many senders stop somewhat earlier, after a shorter pause.
//!
//! Invariant: `covered <= unsettled`.

use std::time::Duration;

use pipeline::time::Monotonic;

/// A sender that is silent for so long may be waiting for us.
const QUIET: Duration = Duration::from_millis(10);

/// The same, when the last pause ended with its acknowledgements.
const QUIET_AGAIN: Duration = Duration::from_millis(2);

/// A sender that goes on so soon after its acknowledgements was waiting for them.
const RESUMED: Duration = Duration::from_millis(5);

/// From this size on half a window is synced while the other half arrives.
const HALVED_FROM: usize = 200;

/// What one sender is owed, in numbers.
#[derive(Clone, Debug)]
pub(in crate::source) struct Window {
    /// The sender's window as far as is known.
    size: usize,
    size_max: usize,
    unsettled: usize,
    /// How many of them a sync was asked for already.
    covered: usize,
    last_arrival: Monotonic,
    /// How long a silence is a pause.
    quiet: Duration,
    /// How many were unsettled when the sender last paused.
    paused_at: Option<usize>,
    last_settled: Option<Monotonic>,
}

impl Window {
    /// A sender that surely stops at `size_max`.
    pub(in crate::source) fn new(size_max: usize) -> Self {
        let size_max = size_max.max(1);
        Self {
            size: size_max,
            size_max,
            unsettled: 0,
            covered: 0,
            last_arrival: Monotonic::default(),
            quiet: QUIET,
            paused_at: None,
            last_settled: None,
        }
    }

    /// How many messages wait for their receipts.
    pub(in crate::source) const fn unsettled(&self) -> usize {
        self.unsettled
    }

    /// Whether the sender has used up what it was granted.
    pub(in crate::source) const fn is_full(&self) -> bool {
        self.unsettled >= self.size_max
    }

    /// `count` messages went to the store.
    pub(in crate::source) fn handle_arrivals(&mut self, now: Monotonic, count: usize) {
        if count == 0 {
            return;
        }
        if let (Some(paused_at), Some(settled)) = (self.paused_at.take(), self.last_settled) {
            self.quiet = QUIET;
            if now.since(settled) <= RESUMED {
                self.size = paused_at;
                self.quiet = QUIET_AGAIN;
            }
        }
        self.unsettled += count;
        if self.unsettled > self.size {
            self.size = self.size_max;
        }
        self.last_arrival = now;
    }

    /// `count` messages are durable and their acknowledgements on the way.
    pub(in crate::source) fn handle_settled(&mut self, now: Monotonic, count: usize) {
        self.unsettled = self.unsettled.saturating_sub(count);
        self.covered = self.covered.saturating_sub(count);
        self.last_settled = Some(now);
    }

    /// Whether to ask for a sync; asks once for the same messages.
    pub(in crate::source) fn poll_sync(&mut self, now: Monotonic) -> bool {
        let fresh = self.unsettled - self.covered;
        if fresh == 0 {
            return false;
        }
        let enough = if self.size >= HALVED_FROM {
            self.size / 2
        } else {
            self.size
        };
        let quiet = now.since(self.last_arrival) >= self.quiet;
        if fresh < enough && self.unsettled < self.size && !quiet {
            return false;
        }
        if quiet {
            self.paused_at = Some(self.unsettled);
        }
        self.covered = self.unsettled;
        true
    }

    /// When [`Self::poll_sync`] may say yes without anything new.
    pub(in crate::source) fn poll_timeout(&self) -> Option<Monotonic> {
        (self.unsettled > self.covered).then(|| self.last_arrival.after(self.quiet))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    enum Step {
        Arrive(usize),
        Settle(usize),
        Sync(bool),
    }
    use Step::{Arrive, Settle, Sync};

    fn check(name: &str, size_max: usize, steps: &[(u64, Step)]) {
        let mut window = Window::new(size_max);
        for (number, (at_ms, step)) in steps.iter().enumerate() {
            let now = Monotonic::from_start(Duration::from_millis(*at_ms));
            match step {
                Arrive(count) => window.handle_arrivals(now, *count),
                Settle(count) => window.handle_settled(now, *count),
                Sync(expected) => {
                    assert_eq!(window.poll_sync(now), *expected, "{name}, step {number}");
                }
            }
            assert!(window.covered <= window.unsettled, "{name}, step {number}");
        }
    }

    #[test]
    fn asks_when_the_sender_pauses() {
        check(
            "a pause",
            1000,
            &[
                (0, Arrive(1)),
                (5, Sync(false)),
                (10, Sync(true)),
                (30, Sync(false)),
            ],
        );
        check(
            "a slow sender teaches nothing",
            1000,
            &[
                (0, Arrive(1)),
                (10, Sync(true)),
                (12, Settle(1)),
                (100, Arrive(1)),
                (100, Sync(false)),
                (110, Sync(true)),
            ],
        );
        check(
            "half of a large window at a time",
            1000,
            &[
                (0, Arrive(499)),
                (0, Sync(false)),
                (1, Arrive(1)),
                (1, Sync(true)),
                (2, Arrive(400)),
                (2, Sync(false)),
                (3, Settle(500)),
                (3, Arrive(100)),
                (3, Sync(true)),
            ],
        );
    }

    #[test]
    fn learns_the_window_of_the_sender() {
        check(
            "learned",
            1000,
            &[
                (0, Arrive(20)),
                (1, Sync(false)),
                (10, Sync(true)),
                (15, Settle(20)),
                (16, Arrive(20)),
                (16, Sync(true)),
                (16, Sync(false)),
                (21, Settle(20)),
                (22, Arrive(19)),
                (22, Sync(false)),
                (22, Arrive(1)),
                (22, Sync(true)),
            ],
        );
        check(
            "a window that was learned too small",
            100,
            &[
                (0, Arrive(2)),
                (10, Sync(true)),
                (11, Settle(2)),
                (12, Arrive(5)),
                (12, Sync(false)),
                (13, Arrive(95)),
                (13, Sync(true)),
            ],
        );
        check(
            "a sender that stops a little short of its window",
            1000,
            &[
                (0, Arrive(20)),
                (10, Sync(true)),
                (15, Settle(20)),
                (16, Arrive(17)),
                (17, Sync(false)),
                (18, Sync(true)),
                (20, Settle(17)),
                (60, Arrive(1)),
                (62, Sync(false)),
                (70, Sync(true)),
            ],
        );
    }
}

//! The drivers of one destination wait here for their turn; `pipeline::turns` says whose it is.

use std::cell::RefCell;

use pipeline::turns::{Rank, Turns};
use tokio::sync::Notify;

/// Shared by the drivers of one destination, which all run on one thread.
#[derive(Debug)]
pub(crate) struct SharedTurns {
    turns: RefCell<Turns>,
    changed: Notify,
}

impl SharedTurns {
    /// Nobody waits; `share_percent` as in [`Turns::new`].
    pub(crate) fn new(share_percent: u8) -> Self {
        Self {
            turns: RefCell::new(Turns::new(share_percent)),
            changed: Notify::new(),
        }
    }

    /// Ready when this rank may send.
    pub(super) async fn turn(&self, rank: Rank) {
        loop {
            // Nothing can come between the look and the waiting: there is one thread.
            let changed = self.changed.notified();
            if self.turns.borrow().may_send(rank) {
                return;
            }
            changed.await;
        }
    }

    /// This rank has a batch to send.
    pub(super) fn wish(&self, rank: Rank) {
        self.turns.borrow_mut().handle_wish(rank);
    }

    /// So many bytes of this rank were accepted.
    pub(super) fn sent(&self, rank: Rank, bytes: u64) {
        self.turns.borrow_mut().handle_sent(rank, bytes);
        self.changed.notify_waiters();
    }

    /// The batch of this rank has ended.
    pub(super) fn end(&self, rank: Rank) {
        self.turns.borrow_mut().handle_end(rank);
        self.changed.notify_waiters();
    }
}

//! Last wills that wait: MQTT 5 lets a device ask for some time in which it may come back.
//!
//! What waits is bounded in bytes; a will that finds no room is published early rather than lost.

use std::collections::BTreeMap;

use pipeline::record::Record;
use pipeline::time::Monotonic;

/// What all wills that wait may take.
const BYTES_MAX: usize = 1024 * 1024;

/// What a will takes besides its payload, by and large.
const WILL_BYTES: usize = 512;

/// Wills that wait for their time, and those whose time has come.
#[derive(Debug, Default)]
pub(super) struct Wills {
    waiting: BTreeMap<(Monotonic, u32), Record>,
    bytes: usize,
    due: Vec<Record>,
}

impl Wills {
    /// Keeps the will of `session` until `at`; it comes back if there is no room.
    pub(super) fn keep(&mut self, at: Monotonic, session: u32, will: Record) -> Option<Record> {
        let bytes = self.bytes + WILL_BYTES + will.payload.len();
        if bytes > BYTES_MAX {
            return Some(will);
        }
        self.bytes = bytes;
        self.waiting.insert((at, session), will);
        None
    }

    /// Takes a will that waits until `at`.
    pub(super) fn take(&mut self, at: Monotonic, session: u32) -> Option<Record> {
        let will = self.waiting.remove(&(at, session))?;
        self.bytes = self.bytes.saturating_sub(WILL_BYTES + will.payload.len());
        Some(will)
    }

    /// The session has ended: its will waits no longer.
    pub(super) fn release(&mut self, at: Monotonic, session: u32) {
        let will = self.take(at, session);
        self.due.extend(will);
    }

    /// When there is something to publish.
    pub(super) fn poll_timeout(&self) -> Option<Monotonic> {
        if self.due.is_empty() {
            self.waiting.keys().next().map(|(at, _)| *at)
        } else {
            Some(Monotonic::default())
        }
    }

    /// What is to be published now.
    pub(super) fn poll(&mut self, now: Monotonic) -> Vec<Record> {
        while let Some((at, session)) = self.waiting.keys().next().copied()
            && at <= now
        {
            self.release(at, session);
        }
        std::mem::take(&mut self.due)
    }

    /// All of them: the agent ends.
    pub(super) fn take_all(&mut self) -> Vec<Record> {
        self.bytes = 0;
        let waiting = std::mem::take(&mut self.waiting);
        self.due.drain(..).chain(waiting.into_values()).collect()
    }
}

//! What is kept of brokers, over their connections.

use super::session::Session;
use super::subscriptions::Subscriptions;

/// What of a broker outlives a connection.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) session: Session,
    pub(super) subscriptions: Subscriptions,
    /// Whether there was a connection before that left a session.
    pub(super) had_session: bool,
}

impl Kept {
    /// Whether a checkpoint of the source belongs to this broker.
    pub(super) fn owns(&self, key: &[u8]) -> bool {
        self.session.owns(key) || self.subscriptions.owns(key)
    }
}

/// How a connection ended that was not lost.
#[derive(Debug)]
pub(super) enum Left<T> {
    /// The agent ends.
    ForGood,
    /// There is something better, this.
    For(T),
}

/// What is kept of the broker that is connected, and of the others: what is owed may belong to a
/// connection with one of them.
#[derive(Debug)]
pub(super) struct Place<'a> {
    pub(super) this: &'a mut Kept,
    pub(super) before: &'a mut [Kept],
    pub(super) after: &'a mut [Kept],
}

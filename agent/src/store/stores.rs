//! The stores of all buffers.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::{Request, StoreEnded, StoreHandle, StoreStatus};

/// The ways to the stores, by the names of their buffers. Every buffer that the configuration names
/// has one.
#[derive(Clone, Debug)]
pub(crate) struct Stores {
    by_buffer: Arc<BTreeMap<String, StoreHandle>>,
}

impl Stores {
    /// These stores.
    pub(crate) fn new(by_buffer: BTreeMap<String, StoreHandle>) -> Self {
        Self {
            by_buffer: Arc::new(by_buffer),
        }
    }

    /// The store of a buffer; one that there is not is as good as one that has ended.
    pub(crate) fn get(&self, buffer: &str) -> Result<&StoreHandle, StoreEnded> {
        self.by_buffer.get(buffer).ok_or(StoreEnded)
    }

    /// All of them, in the order of their names.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &StoreHandle)> {
        let stores = self.by_buffer.iter();
        stores.map(|(buffer, store)| (buffer.as_str(), store))
    }

    /// How things stand, once every store has said so.
    pub(crate) async fn status(&self) -> Result<BTreeMap<String, StoreStatus>, StoreEnded> {
        let mut answers = Vec::new();
        for (buffer, store) in self.iter() {
            answers.push((buffer, store.begin_ask(Request::Status).await?));
        }
        let mut statuses = BTreeMap::new();
        for (buffer, answer) in answers {
            let status = answer.await.map_err(|_| StoreEnded)?;
            statuses.insert(buffer.to_owned(), status);
        }
        Ok(statuses)
    }

    /// Sends to each of them what needs no answer.
    pub(crate) async fn tell_all(&self, request: impl Fn() -> Request) -> Result<(), StoreEnded> {
        for (_, store) in self.iter() {
            store.tell(request()).await?;
        }
        Ok(())
    }

    /// Ready once one of them has ended; its thread knows why.
    pub(crate) async fn ended(&self) {
        let mut ends = JoinSet::new();
        for (_, store) in self.iter() {
            let mut durable = store.durable();
            ends.spawn_local(async move { while durable.changed().await.is_ok() {} });
        }
        ends.join_next().await;
    }

    /// Tells every thread to sync and end; for use where no runtime turns.
    pub(crate) fn stop_blocking(&self) {
        for (_, store) in self.iter() {
            store.stop_blocking();
        }
    }
}

//! What sources ask: their places in the ring, also when they move from one ring to another.

use std::collections::BTreeSet;
use std::sync::Arc;

use diskring::{PutError, Storage};
use pipeline::books::OpenSourceError;
use pipeline::moves::{self, Checkpoint, Kept};
use tokio::time::Instant;

use super::{Store, report_put};
use crate::intake::SourceTag;
use crate::store::{SourceOpening, SourceRequest, StoreError};
use crate::telemetry::SourceCounters;

impl<S: Storage> Store<S> {
    pub(super) fn handle_source_request(
        &mut self,
        request: SourceRequest,
    ) -> Result<(), StoreError> {
        match request {
            SourceRequest::Open {
                name,
                counters,
                reply,
            } => {
                let opened = self.open_source(&name, &counters)?;
                drop(reply.send(opened));
            }
            SourceRequest::Ask { name, reply } => {
                while self.take_in()? {}
                drop(reply.send(Kept::of(&self.books, &self.ring, &name)));
            }
            SourceRequest::TakeOver {
                tag,
                checkpoints,
                reply,
            } => {
                let taken = self.take_over(tag, &checkpoints)?;
                drop(reply.send(taken));
            }
            SourceRequest::Leave(name) => self.leave(&name),
            SourceRequest::ForgetExcept(named) => self.forget_sources_except(&named)?,
        }
        Ok(())
    }

    /// Begins a source, behind everything that an earlier task of that name has handed over.
    fn open_source(
        &mut self,
        name: &str,
        counters: &Arc<SourceCounters>,
    ) -> Result<Result<SourceOpening, String>, StoreError> {
        while self.take_in()? {}
        let mut opened = self.books.open_source(&mut self.ring, name);
        if matches!(opened, Err(OpenSourceError::Put(PutError::Full))) && self.make_room()? {
            opened = self.books.open_source(&mut self.ring, name);
        }
        Ok(match opened {
            Ok(opened) => {
                self.source_names
                    .send_replace(Arc::new(self.books.source_names()));
                self.counters.insert(opened.tag, Arc::clone(counters));
                Ok(SourceOpening {
                    tag: opened.tag,
                    kept: Kept::of(&self.books, &self.ring, name),
                })
            }
            Err(error) => Err(no_place(&error)),
        })
    }

    /// Takes the checkpoints of a source that comes from another ring, and makes them durable if
    /// there is room for that; true then.
    fn take_over(
        &mut self,
        tag: SourceTag,
        checkpoints: &[Checkpoint],
    ) -> Result<Result<bool, String>, StoreError> {
        let taken = loop {
            match moves::take_over(&mut self.books, &mut self.ring, tag, checkpoints) {
                Err(PutError::Full) if self.make_room()? => {}
                taken => break taken,
            }
        };
        match taken {
            // While it waits for room, what it needs stays where it was.
            Err(error @ PutError::Full) => return Ok(Err(no_place(&error))),
            taken => report_put(&mut self.put_failed, taken, "checkpoint"),
        }
        self.sync()?;
        self.archive(true);
        Ok(Ok(!self.ring.is_pending() && !self.books.has_unarchived()))
    }

    /// Forgets the checkpoints of a source that has them in another ring.
    fn leave(&mut self, name: &str) {
        let left = moves::leave(&mut self.books, &mut self.ring, name);
        report_put(&mut self.put_failed, left, "checkpoint");
        if let Some(tag) = moves::tag_of(&self.books, name) {
            self.counters.remove(&tag);
        }
        self.unsynced_since.get_or_insert_with(Instant::now);
    }

    /// Forgets sources that are gone, behind everything that they have handed over.
    fn forget_sources_except(&mut self, named: &BTreeSet<String>) -> Result<(), StoreError> {
        while self.take_in()? {}
        if self.blocked.is_none() {
            let forgotten = self.books.forget_sources_except(&mut self.ring, named);
            report_put(&mut self.put_failed, forgotten, "checkpoint");
            let names = self.books.source_names();
            self.counters.retain(|tag, _| names.contains_key(tag));
            self.source_names.send_replace(Arc::new(names));
        }
        Ok(())
    }
}

fn no_place(error: &dyn std::error::Error) -> String {
    format!("the ring has no place for this source yet: {error}")
}

//! The boots of the machine among the states of the ring.

use std::sync::Arc;

use diskring::{PutError, Ring, Storage};

use super::Books;
use super::states::boot_key;
use crate::boots::Boots;
use crate::clock::{BootId, Learned};

impl Books {
    /// What is known of the boots that the ring has records of.
    pub fn boots(&self) -> Arc<Boots> {
        Arc::clone(&self.boots)
    }

    /// Begins this boot of the machine, or goes on with it, and forgets those that left nothing
    /// behind; what it has learnt about the time earlier, if it goes on.
    pub fn begin_boot<S: Storage>(&mut self, ring: &mut Ring<S>, id: BootId) -> Option<Learned> {
        let boots = Arc::make_mut(&mut self.boots);
        self.boots_unwritten |= boots.begin(id, ring.next());
        for tag in boots.forget(ring.first(), id.tag()) {
            self.ledger.remove(ring, &boot_key(tag)).ok();
        }
        self.write_boots(ring).ok();
        self.boots.get(id.tag())?.learned
    }

    /// Remembers what records of a boot are corrected with, durable with the next sync; true when
    /// that is news.
    pub fn learn_boot<S: Storage>(
        &mut self,
        ring: &mut Ring<S>,
        id: BootId,
        learned: Learned,
    ) -> bool {
        let is_news = Arc::make_mut(&mut self.boots).learn(id, learned);
        self.boots_unwritten |= is_news;
        self.write_boots(ring).ok();
        is_news
    }

    pub(super) fn write_boots<S: Storage>(&mut self, ring: &mut Ring<S>) -> Result<(), PutError> {
        if !self.boots_unwritten {
            return Ok(());
        }
        for (tag, boot) in self.boots.iter() {
            let (key, value) = (boot_key(tag), boot.encode());
            if ring.get(&key) != Some(value.as_slice()) {
                self.ledger.put(ring, &key, &value)?;
            }
        }
        self.boots_unwritten = false;
        Ok(())
    }
}

//! Reading a ring that somebody else writes to at the same time, or nobody any more.
//!
//! The reader opens it as a recovery would, on an [`Overlay`], so that not a byte changes. The owner
//! is not asked and need not wait: he goes on while headers are read, and gives places away that
//! are still to be read. So an opening that shows any damage is tried again while it shows another
//! one each time, and what cannot be read is believed to be damaged only where no newer segment was
//! begun.

use crate::ring::{Inspection, Sight};
use crate::{
    Cursor, OpenError, Options, Overlay, Read, Recovery, Ring, Seq, Storage, StorageError,
    Unrecovered,
};

/// How often an opening is tried, and how often the same thing is read again.
const TRIES: u32 = 20;

/// A ring that is read beside its owner.
#[derive(Debug)]
pub struct Beside<S> {
    storage: S,
    options: Options,
    ring: Ring<Overlay<S>>,
    recovery: Recovery,
    openings: u64,
}

impl<S: Storage + Clone> Beside<S> {
    /// Opens the ring as it is at this moment.
    pub fn open(storage: S, options: Options) -> Result<Self, OpenError> {
        let (ring, recovery) = open(&storage, &options)?;
        Ok(Self {
            storage,
            options,
            ring,
            recovery,
            openings: 1,
        })
    }

    /// Opens the ring again, as it is by now.
    pub fn reopen(&mut self) -> Result<(), OpenError> {
        (self.ring, self.recovery) = open(&self.storage, &self.options)?;
        self.openings += 1;
        Ok(())
    }

    /// The ring as it was when it was opened last.
    pub const fn ring(&self) -> &Ring<Overlay<S>> {
        &self.ring
    }

    /// What the last opening found.
    pub const fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// How often it was opened: what was learned of an earlier opening may not hold any more.
    pub const fn openings(&self) -> u64 {
        self.openings
    }

    /// Whether the owner has begun to overwrite what the ring had when it was opened.
    pub fn is_outdated(&self) -> Result<bool, StorageError> {
        match self.ring.segments().next() {
            Some(oldest) => self.ring.is_outdated(oldest.number),
            None => Ok(false),
        }
    }

    /// As [`Ring::read`]; what is overwritten by the time that it is read is `Evicted`, not `Lost`.
    pub fn read(&mut self, cursor: &mut Cursor) -> Result<Read, OpenError> {
        let mut tries = 0;
        loop {
            let read = self.ring.read(cursor)?;
            let Read::Lost { first, .. } = read else {
                return Ok(read);
            };
            tries += 1;
            if tries == TRIES || !self.ring.is_outdated(self.segment_of(first))? {
                return Ok(read);
            }
            self.reopen()?;
            *cursor = self.ring.cursor(first);
        }
    }

    /// As [`Ring::inspect`]; what is overwritten by the time that it is looked at is passed over.
    pub fn inspect(&mut self, inspection: &mut Inspection) -> Result<Option<Sight>, OpenError> {
        let mut tries = 0;
        loop {
            let mark = inspection.mark();
            let sight = self.ring.inspect(inspection)?;
            let Some(Sight::Damage(damage)) = &sight else {
                return Ok(sight);
            };
            tries += 1;
            if tries == TRIES || !self.ring.is_outdated(damage.segment)? {
                return Ok(sight);
            }
            self.reopen()?;
            inspection.go_back(mark);
        }
    }

    /// The entries that no eviction gave up and that are lost all the same, with the segments they
    /// were in; `None` when there are none.
    pub fn lost_first(&self) -> Result<Option<(Seq, Seq)>, StorageError> {
        let (first, end) = (self.recovery.log_start, self.recovery.first);
        let oldest = self.ring.segments().next();
        let before = oldest.and_then(|oldest| oldest.number.checked_sub(1));
        match before {
            Some(before) if first < end && !self.ring.is_outdated(before)? => {
                Ok(Some((first, end)))
            }
            Some(_) | None => Ok(None),
        }
    }

    fn segment_of(&self, seq: Seq) -> u64 {
        let segments = self.ring.segments();
        let before = segments.take_while(|segment| segment.first <= seq);
        before.last().map_or(0, |segment| segment.number)
    }
}

/// Opens until nothing seems damaged, or the same thing twice, or for long enough.
fn open<S: Storage + Clone>(
    storage: &S,
    options: &Options,
) -> Result<(Ring<Overlay<S>>, Recovery), OpenError> {
    let mut tries = 0;
    let mut before = None;
    loop {
        tries += 1;
        let overlay = Overlay::new(storage.clone());
        let opened = Unrecovered::open(overlay).and_then(|ring| ring.recover(options));
        match opened {
            Ok((ring, recovery)) => {
                let settled = tries == TRIES || before == Some(recovery);
                if settled || (is_sound(&recovery) && !is_overrun(&ring)?) {
                    return Ok((ring, recovery));
                }
                before = Some(recovery);
            }
            // All of it was overwritten between two reads.
            Err(OpenError::Damaged { .. }) if tries < TRIES => {}
            Err(error) => return Err(error),
        }
    }
}

const fn is_sound(recovery: &Recovery) -> bool {
    let Recovery {
        segments_unreadable,
        truncated,
        frames_lost,
        pages_repaired,
        ..
    } = recovery;
    *segments_unreadable == 0
        && *truncated == 0
        && *frames_lost == 0
        && *pages_repaired == 0
        && recovery.log_start.get() == recovery.first.get()
}

/// Whether even the newest segment was overwritten in between.
fn is_overrun<S: Storage>(ring: &Ring<S>) -> Result<bool, StorageError> {
    match ring.segments().last() {
        Some(newest) => ring.is_outdated(newest.number),
        None => Ok(false),
    }
}

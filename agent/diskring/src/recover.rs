//! Finding the end of the log after a cut, a crash or an orderly end: always the same way.
//!
//! The header of every segment is read, and of the newest segment its tail slots and frames. The
//! newest slot counts only when its whole group is there: each frame valid, of the slot's own
//! generation and with the seqs going on. Otherwise the slot before counts, which was durable
//! before the newest was begun. What was taken is then written into the next slot with a raised
//! generation and synced; only after that is the ring open. A cut in there changes nothing.

mod replay;
mod survey;

use survey::{Repair, Survey};
pub(crate) use survey::{Sign, sign};

use crate::bytes::to_usize;
use crate::frame::Encoder;
use crate::geometry::Format;
use crate::layout::{PAGE, Superblock};
use crate::mutant::Mutant;
use crate::ring::Parts;
use crate::writer::{Resume, Writer};
use crate::{OpenError, Options, RING_BYTES_MIN, Ring, RingId, Seq, Storage};

/// A ring that nobody has looked into yet.
#[derive(Debug)]
pub struct Unrecovered<S> {
    storage: S,
    superblock: Superblock,
    /// Whether its place, and that of its copy, have it.
    is_whole: [bool; 2],
}

/// What recovery found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// How many times the ring was recovered, this time included, and once more.
    pub generation: u64,
    /// The oldest entry that was not evicted.
    pub first: Seq,
    /// The seq that the next entry will have.
    pub end: Seq,
    /// How many segments hold the log.
    pub segments: u32,
    /// How many of these have no readable header; their entries are reported as lost when read.
    pub segments_unreadable: u32,
    /// Entries of a group that was being written at the cut; none of them was ever durable.
    pub truncated: u64,
    /// Frames of the newest segment that rotted; states in them are those from before.
    pub frames_lost: u32,
    /// Pages that were made good from their images.
    pub pages_repaired: u32,
    /// Whether the superblock and its copy were valid; those that were not are among these pages.
    pub superblocks: [bool; 2],
    /// The oldest entry that no eviction gave up: entries from here to `first` are lost, because
    /// the segments that had them have no readable header.
    pub log_start: Seq,
}

impl<S: Storage> Unrecovered<S> {
    /// Looks for a ring, without changing anything.
    pub fn open(storage: S) -> Result<Self, OpenError> {
        let capacity = storage.capacity();
        if capacity == 0 {
            return Err(OpenError::NotARing);
        }
        let pages = capacity / u64::from(PAGE);
        if pages < 4 {
            return Err(OpenError::Geometry {
                capacity,
                needed: RING_BYTES_MIN,
            });
        }
        let mut page = vec![0; to_usize(PAGE)];
        let mut is_zero = false;
        let mut failure = None;
        let mut found = [None; 2];
        for (offset, found) in [0, (pages - 1) * u64::from(PAGE)]
            .into_iter()
            .zip(&mut found)
        {
            if let Err(error) = storage.read_at(offset, &mut page) {
                failure = Some(error);
                continue;
            }
            if let Some(superblock) = Superblock::decode(&page) {
                let superblock = superblock?;
                let needed = superblock.geometry.capacity;
                if needed > capacity {
                    return Err(OpenError::Geometry { capacity, needed });
                }
                *found = Some(superblock);
            }
            is_zero |= offset == 0 && page.iter().all(|byte| *byte == 0);
        }
        let [first, copy] = found;
        if let Some(superblock) = first.or(copy) {
            return Ok(Self {
                storage,
                superblock,
                is_whole: found.map(|found| found == Some(superblock)),
            });
        }
        match failure {
            Some(error) => Err(error.into()),
            None if is_zero => Err(OpenError::NotARing),
            None => Err(OpenError::Damaged {
                what: "neither superblock is valid",
            }),
        }
    }

    /// The ring's identity.
    pub const fn id(&self) -> RingId {
        self.superblock.id
    }

    /// Finds the end of the log, makes it durable under a new generation, and opens the ring.
    ///
    /// Without the keys that its segments are sealed with, nothing is changed.
    pub fn recover(mut self, options: &Options) -> Result<(Ring<S>, Recovery), OpenError> {
        let format = Format::new(self.superblock.id, self.superblock.geometry, options);
        let mut survey = Survey::new(&self.storage, &format)?;
        let Some(found) = survey.newest()? else {
            return Err(OpenError::Damaged {
                what: "no segment is valid",
            });
        };
        if let Some(segment) = survey.sealed_otherwise(&found) {
            return Err(OpenError::Key {
                segment,
                is_given: options.sealing.is_some(),
            });
        }
        let mut repairs = survey.repairs(&found)?;
        let places = [0, format.geometry.copy_offset()];
        for (at, is_whole) in places.into_iter().zip(self.is_whole) {
            if !is_whole {
                let page = self.superblock.encode();
                repairs.push(Repair { at, page });
            }
        }
        if !repairs.is_empty() && !format.mutant.is(Mutant::NoRepair) {
            for repair in &repairs {
                self.storage.write_at(repair.at, &repair.page)?;
            }
            survey = Survey::new(&self.storage, &format)?;
        }
        let replayed = survey.replay(&found)?;
        let worn = replayed.worn(&found, repairs.len());
        let log_start = replayed.states.log_start();
        let segments = survey.chain(&found, log_start);
        let unreadable = segments.iter().filter(|segment| !segment.is_readable);
        let unreadable = u32::try_from(unreadable.count()).unwrap_or(u32::MAX);
        let raise = u64::from(!format.mutant.is(Mutant::GenerationKept));
        let generation = found.generation.max(survey.generation()) + raise;
        let resume = Resume {
            tail: found.end.tail,
            image: found.end.image,
            slot: found.end.slot,
            generation,
            version: found.version,
            worn,
        };
        let mut writer = Writer::resume(format.clone(), Encoder::new(options.compression), resume);
        writer.commit(&mut self.storage, false)?;
        let mut ring = Ring::from_parts(Parts {
            storage: self.storage,
            format,
            segments,
            writer,
            states: replayed.states,
            opening_counts: replayed.opening_counts,
        });
        ring.keep_room();
        let recovery = Recovery {
            generation,
            first: ring.first(),
            end: ring.next(),
            segments: ring.stats().segments_used,
            segments_unreadable: unreadable,
            truncated: found.truncated,
            frames_lost: replayed.frames_lost,
            pages_repaired: u32::try_from(repairs.len()).unwrap_or(u32::MAX),
            superblocks: self.is_whole,
            log_start: log_start.first.min(ring.first()),
        };
        Ok((ring, recovery))
    }
}

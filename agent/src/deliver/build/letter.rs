//! Dead letters: what is told of each record of a range that was refused.

use pipeline::boots::Boots;
use pipeline::config::LetterShape;
use pipeline::dead_letter::Letter;
use pipeline::destination::Refusal;
use pipeline::encode::EntryMeta;
use pipeline::record::Record;
use pipeline::stored::{ClockMark, StoredRef};
use pipeline::time::WallClock;

/// What the letters of a refused range have in common.
#[derive(Clone, Debug)]
pub(in crate::deliver) struct LetterHead {
    /// Id of the ring.
    pub(in crate::deliver) ring: u64,
    /// The destination that did not take them.
    pub(in crate::deliver) destination: String,
    /// How often they were sent.
    pub(in crate::deliver) attempts: u32,
    /// Why they were refused.
    pub(in crate::deliver) refusal: Refusal,
    /// When they were given up; however often a letter is written, it says the same.
    pub(in crate::deliver) failed_at: WallClock,
    /// What a line has.
    pub(in crate::deliver) shape: LetterShape,
}

impl LetterHead {
    /// Appends the letter of a record as it is stored, put right by what is known of its boot.
    pub(in crate::deliver) fn write_stored(
        &self,
        meta: EntryMeta<'_>,
        stored: &[u8],
        boots: &Boots,
        out: &mut Vec<u8>,
    ) {
        match StoredRef::decode(stored) {
            Ok(mut record) => {
                boots.correct(&mut record);
                self.write(meta, &record, out);
            }
            Err(error) => {
                let mut kept = Record::new(WallClock::default(), stored.to_vec());
                kept.mark(error.to_string());
                self.write_record(meta, &kept, out);
            }
        }
    }

    /// Appends the letter of a record.
    pub(super) fn write(&self, meta: EntryMeta<'_>, record: &StoredRef<'_>, out: &mut Vec<u8>) {
        let is_unsynced = matches!(record.clock, ClockMark::Unsynced { .. });
        let mut record = record.to_record();
        record.taken.is_unsynced = is_unsynced;
        self.write_record(meta, &record, out);
    }

    fn write_record(&self, meta: EntryMeta<'_>, record: &Record, out: &mut Vec<u8>) {
        let letter = Letter {
            ring: self.ring,
            seq: meta.seq,
            source: meta.source,
            destination: &self.destination,
            record,
            failed_at: self.failed_at,
            attempts: self.attempts,
            refusal: &self.refusal,
        };
        letter.write_line(self.shape, out);
    }
}

//! The boots that a ring has records of, and what was learnt about their time.
//!
//! They are states of the ring, durable with the records: what one boot has learnt corrects its
//! records in the next one as well. A boot that never learns the time keeps its id here, so that
//! its records can be told apart and put right by whoever knows better.

use std::collections::BTreeMap;

use diskring::Seq;

use crate::clock::{BootId, BootTag, Learned, Teacher};
use crate::stored::{ClockMark, StoredRef};
use crate::time::WallClock;

/// So many boots are known at most; the oldest is forgotten first.
pub const BOOTS_MAX: usize = 16;

/// Bytes of a boot as a state.
const BOOT_BYTES: usize = 33;

/// What is known of each boot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Boots {
    by_tag: BTreeMap<BootTag, Boot>,
}

/// A boot of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Boot {
    /// Its full name.
    pub id: BootId,
    /// No record of it is before this one.
    pub first: Seq,
    /// What records that did not know the time are corrected with.
    pub learned: Option<Learned>,
}

impl Boots {
    /// A boot by the tag that its records carry.
    pub fn get(&self, tag: BootTag) -> Option<&Boot> {
        self.by_tag.get(&tag)
    }

    /// All of them, by tag.
    pub fn iter(&self) -> impl Iterator<Item = (BootTag, &Boot)> {
        self.by_tag.iter().map(|(tag, boot)| (*tag, boot))
    }

    /// How many are known.
    pub fn len(&self) -> usize {
        self.by_tag.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.by_tag.is_empty()
    }

    /// The latest moment that is known to have passed: the beginning of a boot that learnt the
    /// time.
    pub fn latest(&self) -> Option<WallClock> {
        let began = self.by_tag.values().filter_map(|boot| boot.learned);
        let latest = began.map(|learned| learned.offset_ms).max()?;
        Some(WallClock::from_millis(latest))
    }

    /// Adds a boot that is known from elsewhere.
    pub fn insert(&mut self, boot: Boot) {
        self.by_tag.insert(boot.id.tag(), boot);
    }

    /// Begins a boot in front of `next`, unless it goes on; true when it is new.
    pub fn begin(&mut self, id: BootId, next: Seq) -> bool {
        if self.get(id.tag()).is_some_and(|boot| boot.id == id) {
            return false;
        }
        self.insert(Boot {
            id,
            first: next,
            learned: None,
        });
        true
    }

    /// Remembers what records of a boot are corrected with; true when that is news.
    pub fn learn(&mut self, id: BootId, learned: Learned) -> bool {
        let Some(boot) = self.by_tag.get_mut(&id.tag()) else {
            return false;
        };
        let is_news = boot.learned != Some(learned);
        boot.learned = Some(learned);
        is_news
    }

    /// Forgets the boots that have no record from `first` on any more, and the oldest ones where
    /// there are too many, but never `current`: which they were.
    pub fn forget(&mut self, first: Seq, current: BootTag) -> Vec<BootTag> {
        let mut gone = Vec::new();
        let is_over = |boot: &Boot| {
            let mut later = self.by_tag.values();
            later.any(|later| boot.first < later.first && later.first <= first)
        };
        for (tag, boot) in &self.by_tag {
            if *tag != current && is_over(boot) {
                gone.push(*tag);
            }
        }
        for tag in &gone {
            self.by_tag.remove(tag);
        }
        while self.by_tag.len() > BOOTS_MAX {
            let others = self.by_tag.iter().filter(|(tag, _)| **tag != current);
            let oldest = others
                .min_by_key(|(_, boot)| boot.first)
                .map(|(tag, _)| *tag);
            let Some(oldest) = oldest else { break };
            self.by_tag.remove(&oldest);
            gone.push(oldest);
        }
        gone
    }

    /// Puts right the time of a record that did not know it, as far as is known.
    ///
    /// What is stored does not change: the same record may be put right again and again, and comes
    /// out with the same time.
    pub fn correct(&self, record: &mut StoredRef<'_>) {
        if !matches!(record.clock, ClockMark::Unsynced { .. }) {
            return;
        }
        let Some(boot) = self.get(record.taken.boot) else {
            return;
        };
        record.clock = match boot.learned {
            None => ClockMark::Unsynced {
                boot: Some(boot.id),
            },
            Some(learned) => {
                let time = learned.time_of(record.taken.boottime);
                let told = std::mem::replace(&mut record.received_at, time);
                ClockMark::Corrected {
                    offset_ms: time.as_millis().saturating_sub(told.as_millis()),
                }
            }
        };
    }
}

impl Boot {
    /// As a state of the ring: everything has its fixed place, so that learning needs no room.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(BOOT_BYTES);
        bytes.extend_from_slice(self.id.as_bytes());
        bytes.extend_from_slice(&self.first.get().to_le_bytes());
        let (by, offset_ms) = match self.learned {
            None => (0, 0),
            Some(Learned { offset_ms, by }) => match by {
                Teacher::Daemon => (1, offset_ms),
                Teacher::Date => (2, offset_ms),
            },
        };
        bytes.push(by);
        bytes.extend_from_slice(&offset_ms.to_le_bytes());
        bytes
    }

    /// Out of a state of the ring.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (id, rest) = bytes.split_first_chunk::<16>()?;
        let (first, rest) = rest.split_first_chunk::<8>()?;
        let (by, offset) = rest.split_first()?;
        let offset_ms = i64::from_le_bytes(offset.try_into().ok()?);
        let by = match by {
            0 => None,
            1 => Some(Teacher::Daemon),
            2 => Some(Teacher::Date),
            _ => return None,
        };
        Some(Self {
            id: BootId::from_bytes(*id),
            first: Seq::new(u64::from_le_bytes(*first)),
            learned: by.map(|by| Learned { offset_ms, by }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Boottime, Taken};
    use crate::record::Record;
    use crate::stored;
    use crate::time::WallClock;

    const NOW: i64 = 1_795_564_800_000;

    fn id(number: u8) -> BootId {
        BootId::from_bytes([number; 16])
    }

    fn learned(offset_ms: i64) -> Learned {
        Learned {
            offset_ms,
            by: Teacher::Date,
        }
    }

    fn bytes_of(boot: BootId, received_at: i64, is_unsynced: bool) -> Vec<u8> {
        let mut record = Record::new(WallClock::from_millis(received_at), b"x".to_vec());
        record.time = Some(WallClock::from_millis(1));
        record.taken = Taken {
            boot: boot.tag(),
            boottime: Boottime::from_millis(2_000),
            is_unsynced,
        };
        let mut bytes = Vec::new();
        stored::encode(&record, &mut bytes);
        bytes
    }

    #[test]
    fn a_record_is_put_right_once_the_boot_knows_and_only_then() {
        let mut boots = Boots::default();
        assert!(boots.begin(id(1), Seq::new(5)));
        assert!(!boots.begin(id(1), Seq::new(9)));
        let seen = |boots: &Boots, bytes: &[u8]| {
            let mut record = StoredRef::decode(bytes).unwrap();
            boots.correct(&mut record);
            let once = record;
            boots.correct(&mut record);
            assert_eq!(record, once, "put right twice");
            assert_eq!(record.time, Some(WallClock::from_millis(1)), "not ours");
            (record.received_at.as_millis(), record.clock)
        };
        let unsynced = bytes_of(id(1), 2_000, true);
        let synced = bytes_of(id(1), NOW, false);
        let other = bytes_of(id(2), 2_000, true);
        let boot = Some(id(1));
        assert_eq!(
            seen(&boots, &unsynced),
            (2_000, ClockMark::Unsynced { boot })
        );
        assert!(boots.learn(id(1), learned(NOW)));
        assert!(!boots.learn(id(1), learned(NOW)));
        let offset_ms = NOW;
        let corrected = ClockMark::Corrected { offset_ms };
        assert_eq!(seen(&boots, &unsynced), (NOW + 2_000, corrected));
        assert_eq!(seen(&boots, &synced), (NOW, ClockMark::Synced));
        let unknown = ClockMark::Unsynced { boot: None };
        assert_eq!(seen(&boots, &other), (2_000, unknown));
        assert!(!boots.learn(id(2), learned(NOW)), "a boot that never began");
    }

    #[test]
    fn a_boot_comes_back_as_it_was() {
        for known in [None, Some(learned(-5)), Some(learned(NOW))] {
            for by in [Teacher::Daemon, Teacher::Date] {
                let boot = Boot {
                    id: id(7),
                    first: Seq::new(77),
                    learned: known.map(|known| Learned { by, ..known }),
                };
                assert_eq!(boot.encode().len(), BOOT_BYTES);
                assert_eq!(Boot::decode(&boot.encode()), Some(boot));
            }
        }
        assert_eq!(Boot::decode(&[0; BOOT_BYTES - 1]), None);
        assert_eq!(Boot::decode(&[3; BOOT_BYTES]), None);
    }

    #[test]
    fn boots_without_records_and_too_many_are_forgotten() {
        let mut boots = Boots::default();
        for (number, first) in [(1, 0), (2, 10), (3, 10), (4, 30)] {
            boots.begin(id(number), Seq::new(first));
        }
        assert!(boots.forget(Seq::new(9), id(4).tag()).is_empty());
        assert_eq!(boots.forget(Seq::new(10), id(4).tag()), [id(1).tag()]);
        // Of two that begin at one record nobody knows whose it is.
        assert!(boots.forget(Seq::new(29), id(4).tag()).is_empty());
        assert_eq!(boots.forget(Seq::new(30), id(4).tag()).len(), 2);
        assert_eq!(boots.len(), 1);
        for number in 0..30 {
            boots.begin(id(100 + number), Seq::new(40 + u64::from(number)));
            boots.forget(Seq::new(35), id(100 + number).tag());
            assert!(boots.len() <= BOOTS_MAX);
        }
        assert!(boots.get(id(129).tag()).is_some());
        assert!(boots.get(id(113).tag()).is_none());
    }
}

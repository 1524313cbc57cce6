//! What of a session is in the ring: which QoS 2 messages stand between PUBLISH and PUBCOMP.
//!
//! A mark is one checkpoint: 64 packet identifiers of one session as bits. It becomes durable
//! with the record that set it, and a PUBCOMP is owed until the mark without the identifier is
//! durable, so that after a crash a message that comes again is known, and an identifier that is
//! used again is not taken for it.

use std::collections::BTreeSet;

/// Room for the marks of one source: the ring has little for states, and others need some.
const BYTES_MAX: usize = 16 * 1024;

/// What a mark takes in the ring besides the client identifier.
const MARK_BYTES: usize = 48;

/// The first byte of each key.
const KIND: u8 = b'2';

/// A checkpoint to be set, or with `None` to be forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Mark {
    /// Its key.
    pub(in super::super) key: Vec<u8>,
    /// The identifiers that are held.
    pub(in super::super) bits: Option<u64>,
}

/// What a key says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key<'a> {
    /// The session, which is never used for another one while marks of it are in the ring.
    pub(super) session: u32,
    /// Which 64 identifiers.
    pub(super) block: u16,
    /// Whose session it is.
    pub(super) client: &'a str,
}

impl<'a> Key<'a> {
    pub(super) fn bytes(self) -> Vec<u8> {
        let mut bytes = vec![KIND];
        bytes.extend(self.session.to_le_bytes());
        bytes.extend(self.block.to_le_bytes());
        bytes.extend(self.client.as_bytes());
        bytes
    }

    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let (&KIND, rest) = bytes.split_first()? else {
            return None;
        };
        let (session, rest) = rest.split_first_chunk()?;
        let (block, client) = rest.split_first_chunk()?;
        Some(Self {
            session: u32::from_le_bytes(*session),
            block: u16::from_le_bytes(*block),
            client: str::from_utf8(client).ok()?,
        })
    }
}

/// The block that an identifier belongs to.
pub(super) const fn block_of(packet_id: u16) -> u16 {
    packet_id / 64
}

/// The bits of the identifiers in `ids` that belong to `block`.
pub(super) fn bits_of(block: u16, ids: impl Iterator<Item = u16>) -> u64 {
    ids.filter(|id| block_of(*id) == block)
        .fold(0, |bits, id| bits | (1 << (id % 64)))
}

/// The identifiers that `bits` of `block` say.
pub(super) fn ids_of(block: u16, bits: u64) -> impl Iterator<Item = u16> {
    (0..64)
        .filter(move |bit| bits & (1 << bit) != 0)
        .map(move |bit| block.wrapping_mul(64).wrapping_add(bit))
}

/// How much room all marks take, and which of one session are there.
#[derive(Debug, Default)]
pub(super) struct Room {
    bytes: usize,
}

impl Room {
    /// Takes room for a mark, unless there is none.
    pub(super) fn take(&mut self, client: &str, block: u16, blocks: &mut BTreeSet<u16>) -> bool {
        if blocks.contains(&block) {
            return true;
        }
        let bytes = self.bytes + MARK_BYTES + client.len();
        if bytes > BYTES_MAX {
            return false;
        }
        self.bytes = bytes;
        blocks.insert(block)
    }

    /// Gives the room of a mark back; says whether there was one.
    pub(super) fn give(&mut self, client: &str, block: u16, blocks: &mut BTreeSet<u16>) -> bool {
        let known = blocks.remove(&block);
        if known {
            self.bytes = self.bytes.saturating_sub(MARK_BYTES + client.len());
        }
        known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_says_what_it_was_made_of() {
        for (session, block, client) in [(0, 0, ""), (u32::MAX, 1023, "Grau-7"), (7, 3, "\u{fc}")] {
            let key = Key {
                session,
                block,
                client,
            };
            assert_eq!(Key::read(&key.bytes()), Some(key));
        }
        for bytes in [
            &b""[..],
            b"2",
            b"2\0\0\0\0\0",
            b"x\0\0\0\0\0\0",
            b"2\0\0\0\0\0\0\xff",
        ] {
            assert_eq!(Key::read(bytes), None);
        }
    }

    #[test]
    fn identifiers_are_bits_and_back() {
        let ids = [1, 63, 64, 65, 127, 128, 65535];
        let of = |block| ids_of(block, bits_of(block, ids.into_iter())).collect::<Vec<_>>();
        assert_eq!(of(0), [1, 63]);
        assert_eq!(of(1), [64, 65, 127]);
        assert_eq!(of(2), [128]);
        assert_eq!(of(1023), [65535]);
        assert!(of(3).is_empty());
    }

    #[test]
    fn the_room_is_bounded_and_comes_back() {
        let (mut room, mut blocks) = (Room::default(), BTreeSet::new());
        let taken = (0..1024).filter(|block| room.take("dev", *block, &mut blocks));
        assert_eq!(taken.count(), BYTES_MAX / (MARK_BYTES + 3));
        assert!(room.take("dev", 0, &mut blocks));
        assert!(room.give("dev", 0, &mut blocks));
        assert!(!room.give("dev", 0, &mut blocks));
        assert!(room.take("dev", 1000, &mut blocks));
    }
}

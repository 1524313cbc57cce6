//! A source that moves from one buffer to another takes its checkpoints along.
//!
//! The power may fail between any two steps. So the checkpoints are put into the new ring and
//! synced there before they are forgotten in the old one, and as long as only some of them may be
//! there a mark among them says so. Whatever a cut leaves, one ring has all of them, and
//! [`holder`] says which: a source reads a little again at worst, and never passes over anything.

use std::collections::BTreeSet;

use diskring::{PutError, Ring, Storage};

use crate::books::Books;
use crate::tally::SourceTally;

/// A key that a source made up, and an offset in what the key stands for.
pub type Checkpoint = (Vec<u8>, u64);

/// Key of the mark; no source has a checkpoint without a key.
const PARTIAL: &[u8] = b"";

/// What a ring has of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Its keys and offsets.
    pub checkpoints: Vec<Checkpoint>,
    /// Whether some of them may be missing: a move has not come to its end.
    pub is_partial: bool,
    /// What became of its records in this ring.
    pub tally: SourceTally,
}

impl Kept {
    /// What `ring` has of the source `name`; nothing when it does not know it.
    pub fn of<S: Storage>(books: &Books, ring: &Ring<S>, name: &str) -> Self {
        let Some(tag) = tag_of(books, name) else {
            return Self::default();
        };
        let mut checkpoints = books.checkpoints(ring, tag);
        let all = checkpoints.len();
        checkpoints.retain(|(key, _)| key != PARTIAL);
        Self {
            is_partial: checkpoints.len() < all,
            checkpoints,
            tally: books.source_tally(ring, tag).unwrap_or_default(),
        }
    }

    /// Whether a source can go on from here.
    pub const fn is_whole(&self) -> bool {
        !self.is_partial && !self.checkpoints.is_empty()
    }
}

/// Whose checkpoints count for a source that is opened: a position in `others`, or `None` for its
/// own. `ran_in` is the buffer in which it ran until now, if that is known: what it left there is
/// newer than anything else.
pub fn holder<'a>(
    own: &Kept,
    ran_in: Option<&str>,
    others: impl IntoIterator<Item = (&'a str, &'a Kept)>,
) -> Option<usize> {
    let others = others.into_iter().enumerate();
    let mut whole = others.filter(|(_, (_, kept))| kept.is_whole()).peekable();
    let first = whole.peek().map(|(place, _)| *place);
    let latest = whole.find(|(_, (name, _))| ran_in == Some(*name));
    latest
        .map(|(place, _)| place)
        .or(first.filter(|_| !own.is_whole()))
}

/// Puts checkpoints of another ring in the place of those that the source has in this one. Durable
/// with the next sync after which nothing is pending; only then may the other ring forget them.
///
/// With [`PutError::StateFull`] some have no place and never will; with [`PutError::Full`] it is to
/// be called again once there is room.
pub fn take_over<S: Storage>(
    books: &mut Books,
    ring: &mut Ring<S>,
    tag: u16,
    checkpoints: &[Checkpoint],
) -> Result<(), PutError> {
    books.set_checkpoint(ring, tag, PARTIAL, 0)?;
    let wanted: BTreeSet<&[u8]> = checkpoints.iter().map(|(key, _)| key.as_slice()).collect();
    for (key, _) in books.checkpoints(ring, tag) {
        if key != PARTIAL && !wanted.contains(key.as_slice()) {
            books.forget_checkpoint(ring, tag, &key)?;
        }
    }
    let mut result = Ok(());
    for (key, offset) in checkpoints {
        match books.set_checkpoint(ring, tag, key, *offset) {
            Ok(()) => {}
            Err(error @ PutError::StateFull { .. }) => result = Err(error),
            Err(error) => return Err(error),
        }
    }
    books.forget_checkpoint(ring, tag, PARTIAL)?;
    result
}

/// Forgets the checkpoints of a source that has them durably in another ring. Its tally stays: it
/// says what became of the records that are here.
pub fn leave<S: Storage>(
    books: &mut Books,
    ring: &mut Ring<S>,
    name: &str,
) -> Result<(), PutError> {
    let Some(tag) = tag_of(books, name) else {
        return Ok(());
    };
    for (key, _) in books.checkpoints(ring, tag) {
        books.forget_checkpoint(ring, tag, &key)?;
    }
    Ok(())
}

/// The number of the source `name` in the ring of these books.
pub fn tag_of(books: &Books, name: &str) -> Option<u16> {
    let mut names = books.source_names().into_iter();
    names
        .find(|(_, known)| **known == *name)
        .map(|(tag, _)| tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(count: u64, is_partial: bool) -> Kept {
        Kept {
            checkpoints: (0..count).map(|key| (vec![b'k'], key)).collect(),
            is_partial,
            ..Kept::default()
        }
    }

    #[test]
    fn the_newest_whole_checkpoints_count() {
        let (none, some, part) = (&kept(0, false), &kept(2, false), &kept(1, true));
        let check = |own, ran_in, others: &[(&str, &Kept)], expected| {
            let got = holder(own, ran_in, others.iter().copied());
            assert_eq!(got, expected, "{own:?} {ran_in:?} {others:?}");
        };
        check(none, None, &[], None);
        check(none, None, &[("a", none), ("b", some)], Some(1));
        check(none, None, &[("a", part), ("b", some)], Some(1));
        check(none, None, &[("a", part)], None);
        check(some, None, &[("a", some)], None);
        check(part, None, &[("a", some)], Some(0));
        check(part, None, &[("a", none)], None);
        check(some, Some("b"), &[("a", some), ("b", some)], Some(1));
        check(some, Some("b"), &[("a", some), ("b", part)], None);
        check(none, Some("b"), &[("a", some), ("b", none)], Some(0));
    }
}

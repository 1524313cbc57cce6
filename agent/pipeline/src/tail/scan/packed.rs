//! Whether what is in a packed file was read before it was packed.
//!
//! logrotate packs a file beside itself and then removes it. What was read is recognized by its
//! first kilobyte, or by less of it if its name, which a restart forgets, fits as well. A file
//! vouches for one packed file only, and where two would do the one that was read least is taken:
//! doubled rather than lost.

use std::collections::{HashMap, HashSet};

use super::{Found, Head, Known, Seen};
use crate::tail::FINGERPRINT_BYTES;

/// So much is enough without a name: lines of different files may be alike, this much hardly is.
const NAMELESS_BYTES_MIN: usize = 256;

/// The files that a packed one may have been made of.
pub(super) struct Originals<'a> {
    known: &'a [Known],
    /// Known files that are there under their numbers, with their sizes.
    alive: HashMap<usize, u64>,
    taken: HashSet<usize>,
}

impl<'a> Originals<'a> {
    pub(super) fn new(known: &'a [Known], seen: &[Seen], found: &[Option<Found>]) -> Self {
        let alive = seen
            .iter()
            .zip(found)
            .filter_map(|(file, found)| match found {
                Some(Found::Same(k)) => Some((*k, file.size)),
                Some(
                    Found::Replaced(_)
                    | Found::Copied(_)
                    | Found::Moved(_)
                    | Found::New
                    | Found::Wait
                    | Found::Ignored,
                )
                | None => None,
            });
        Self {
            known,
            alive: alive.collect(),
            taken: HashSet::new(),
        }
    }

    /// What an unknown packed file is.
    pub(super) fn find<F: FnOnce() -> Option<Vec<u8>>>(
        &mut self,
        file: &Seen,
        head: &mut Head<F>,
    ) -> Found {
        if !file.matched {
            return Found::Ignored;
        }
        if !file.at_rest {
            return Found::Wait;
        }
        let Some(head) = head.get() else {
            return Found::New;
        };
        let family = family(&file.name);
        let candidates = self.known.iter().enumerate().filter(|(k, old)| {
            let fingerprint = old.key.fingerprint;
            let is_whole = head.len() < FINGERPRINT_BYTES && head.len() == fingerprint.len();
            let same_name = !old.name.is_empty() && self::family(&old.name) == family;
            !old.packed
                && !self.taken.contains(k)
                && !fingerprint.is_empty()
                && (fingerprint.len() >= NAMELESS_BYTES_MIN || is_whole || same_name)
                && fingerprint.matches(head)
        });
        let best = candidates.min_by_key(|(k, old)| {
            let same_name = !old.name.is_empty() && self::family(&old.name) == family;
            (!same_name, self.alive.contains_key(k), old.offset)
        });
        let Some((k, old)) = best else {
            return Found::New;
        };
        if self.alive.get(&k).is_some_and(|size| *size > old.offset) {
            // Its rest is read from itself while it is there.
            return Found::Wait;
        }
        self.taken.insert(k);
        Found::Copied(k)
    }
}

/// The name that a rotated file had in the beginning: `app.log` of `app.log.2.gz`, of
/// `app.log-20261123` and of `app-20261123.log`.
fn family(name: &[u8]) -> Vec<u8> {
    let name = name.strip_suffix(b".gz").unwrap_or(name);
    let is_number = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'.' | b'_');
    let stem = |name: &[u8]| {
        let end = name.iter().rposition(|byte| !is_number(*byte));
        end.map_or(0, |end| end + 1)
    };
    let end = stem(name);
    let (kept, number) = name.split_at(end);
    if number.is_empty()
        && let Some(dot) = name.iter().rposition(|byte| *byte == b'.')
    {
        let (before, extension) = name.split_at(dot);
        let (kept, _) = before.split_at(stem(before));
        return [kept, extension].concat();
    }
    kept.to_vec()
}

#[cfg(test)]
mod tests {
    use super::super::{FileId, FileKey, decide};
    use super::*;
    use crate::tail::{Birth, Fingerprint};

    fn lines(seed: usize, bytes: usize) -> Vec<u8> {
        (0..)
            .flat_map(|n| format!("{seed} line {n}\n").into_bytes())
            .take(bytes)
            .collect()
    }

    fn known(inode: u64, name: &str, content: &[u8], offset: usize) -> Known {
        Known {
            key: FileKey {
                id: FileId { device: 1, inode },
                fingerprint: Fingerprint::of(&content[..offset]),
                birth: Birth::UNKNOWN,
            },
            offset: u64::try_from(offset).unwrap(),
            name: name.into(),
            packed: false,
        }
    }

    fn seen(inode: u64, name: &str, size: usize) -> Seen {
        Seen {
            id: FileId { device: 1, inode },
            name: name.into(),
            size: u64::try_from(size).unwrap(),
            matched: true,
            changed: true,
            at_rest: true,
            packed: std::path::Path::new(name)
                .extension()
                .is_some_and(|extension| extension == "gz"),
            birth: Birth::UNKNOWN,
        }
    }

    /// The packed file holds `content`; every other file that is seen is as it was.
    fn check(known: &[Known], seen: &[Seen], content: &[u8], expected: &[Found]) {
        let mut seen = seen.to_vec();
        for file in &mut seen {
            file.changed = file.packed;
        }
        let head = |n: usize| {
            assert!(seen[n].packed);
            Some(content[..content.len().min(FINGERPRINT_BYTES)].to_vec())
        };
        assert_eq!(decide(false, known, &seen, head), expected);
    }

    #[test]
    fn vector_5085_what_was_read_before_it_was_packed_is_not_read_again() {
        let content = lines(1, 5000);
        let old = [known(10, "app.log.1", &content, 5000)];
        let packed = seen(20, "app.log.1.gz", 700);
        check(
            &old,
            std::slice::from_ref(&packed),
            &content,
            &[Found::Copied(0)],
        );
        // Renamed and packed in one go, or known from a checkpoint only.
        let later = seen(20, "app.log.2.gz", 700);
        check(&old, &[later], &content, &[Found::Copied(0)]);
        let nameless = [known(10, "", &content, 4000)];
        check(
            &nameless,
            std::slice::from_ref(&packed),
            &content,
            &[Found::Copied(0)],
        );
        // Another content is another file.
        check(&old, &[packed], &lines(2, 5000), &[Found::New]);
    }

    #[test]
    fn it_waits_while_somebody_writes_to_it_or_its_original_is_read() {
        let content = lines(1, 5000);
        let old = [known(10, "app.log.1", &content, 4000)];
        let mut packed = seen(20, "app.log.1.gz", 700);
        let beside = |size| seen(10, "app.log.1", size);
        check(
            &old,
            &[beside(5000), packed.clone()],
            &content,
            &[Found::Same(0), Found::Wait],
        );
        check(
            &old,
            &[beside(4000), packed.clone()],
            &content,
            &[Found::Same(0), Found::Copied(0)],
        );
        packed.at_rest = false;
        check(
            &old,
            std::slice::from_ref(&packed),
            &content,
            &[Found::Wait],
        );
        packed.matched = false;
        check(&old, &[packed], &content, &[Found::Ignored]);
    }

    #[test]
    fn short_content_needs_the_name_or_to_be_the_same_as_a_whole() {
        let content = b"started\n";
        let longer = b"started\nand more\n";
        let named = [known(10, "app.log.1", content, 8)];
        let other = [known(10, "web.log.1", content, 8)];
        let nameless = [known(10, "", content, 8)];
        let packed = [seen(20, "app.log.2.gz", 30)];
        check(&named, &packed, longer, &[Found::Copied(0)]);
        check(&other, &packed, longer, &[Found::New]);
        check(&nameless, &packed, longer, &[Found::New]);
        check(&nameless, &packed, content, &[Found::Copied(0)]);
        let content = lines(1, 5000);
        for (read, expected) in [(255, Found::New), (256, Found::Copied(0))] {
            check(
                &[known(10, "", &content, read)],
                &packed,
                &content,
                &[expected],
            );
        }
    }

    #[test]
    fn vector_643_tiny_files_that_are_identical_are_each_read() {
        let content = b"started\n";
        let old = [known(10, "", content, 8)];
        let packed = [seen(20, "a.log.1.gz", 30), seen(21, "b.log.1.gz", 30)];
        check(&old, &packed, content, &[Found::Copied(0), Found::New]);
    }

    #[test]
    fn a_packed_file_that_is_known_goes_on() {
        let content = lines(1, 5000);
        let mut old = known(20, "app.log.1.gz", &content, 5000);
        old.packed = true;
        let renamed = seen(20, "app.log.2.gz", 700);
        check(
            std::slice::from_ref(&old),
            &[renamed],
            &content,
            &[Found::Same(0)],
        );
        check(
            &[old],
            &[seen(20, "app.log.1.gz", 700)],
            &lines(2, 5000),
            &[Found::Replaced(0)],
        );
    }

    #[test]
    fn families_are_names_without_numbers() {
        for (name, expected) in [
            ("app.log", "app.log"),
            ("app.log.1", "app.log"),
            ("app.log.12.gz", "app.log"),
            ("app.log-20261123.gz", "app.log"),
            ("app-20261123.log", "app.log"),
            ("app_1.log.gz", "app.log"),
            ("syslog.1", "syslog"),
            ("2026.gz", ""),
        ] {
            assert_eq!(family(name.as_bytes()), expected.as_bytes(), "{name}");
        }
    }
}

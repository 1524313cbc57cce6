//! A bounded folder of batch files: how a file is called, and which files make room.
//!
//! A name says where its records are in the log, so that a repeat after a crash replaces its own
//! file and age does not hang on a clock. Files of other names are never counted or removed.

use std::cmp::Ordering;

use super::SeqRange;
use crate::time::WallClock;
use diskring::Seq;

/// File systems give space in blocks; a file costs at least one.
const BLOCK_BYTES: u64 = 4096;

/// What stands in the names of files with records of a replay.
const REPLAY: &str = "replay";

/// A folder that holds at most so many bytes of one writer's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    stem: String,
    ring: u64,
    replay: Option<u64>,
}

/// A file that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderFile {
    /// Its name.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// When it was last written; orders only files of rings that are no more.
    pub modified: WallClock,
}

/// Where the records of a file are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    ring: u64,
    range: SeqRange,
}

impl Folder {
    /// The files of the writer `stem`, with records of `ring`.
    pub fn new(stem: &str, ring: u64) -> Self {
        Self {
            stem: safe(stem),
            ring,
            replay: None,
        }
    }

    /// The same files, but what is written is that of a replay, if there is one.
    #[must_use]
    pub fn of_replay(mut self, replay: Option<u64>) -> Self {
        self.replay = replay;
        self
    }

    /// The name of the file with the records of `range`.
    pub fn file_name(&self, range: SeqRange, extension: &str) -> String {
        let (first, end) = (range.first.get(), range.end.get());
        let replay = match self.replay {
            Some(mark) => format!("-{REPLAY}-{mark}"),
            None => String::new(),
        };
        format!(
            "{}-{:016x}-{first:012}-{end:012}{replay}.{extension}",
            self.stem, self.ring
        )
    }

    /// Which of `files` must go, oldest first, so that `name` with `bytes` fits into `bytes_max`.
    ///
    /// `None` when it does not even fit alone.
    pub fn make_room<'a>(
        &self,
        files: &'a [FolderFile],
        name: &str,
        bytes: u64,
        bytes_max: u64,
    ) -> Option<Vec<&'a FolderFile>> {
        let mut excess = blocks(bytes);
        if bytes_max < bytes {
            return None;
        }
        let mut own: Vec<(Place, &FolderFile)> = files
            .iter()
            .filter(|file| file.name != name)
            .filter_map(|file| Some((self.place(&file.name)?, file)))
            .collect();
        own.sort_by(|a, b| self.by_age(a, b));
        for (_, file) in &own {
            excess = excess.saturating_add(blocks(file.bytes));
        }
        let mut removed = Vec::new();
        for (_, file) in own {
            if excess <= bytes_max {
                break;
            }
            excess = excess.saturating_sub(blocks(file.bytes));
            removed.push(file);
        }
        Some(removed)
    }

    /// The ring in use is younger than any other; within it, the log orders.
    fn by_age(&self, a: &(Place, &FolderFile), b: &(Place, &FolderFile)) -> Ordering {
        let current = |place: &Place| place.ring == self.ring;
        let old_time = |file: &FolderFile, place: &Place| {
            if current(place) {
                WallClock::default()
            } else {
                file.modified
            }
        };
        current(&a.0)
            .cmp(&current(&b.0))
            .then_with(|| old_time(a.1, &a.0).cmp(&old_time(b.1, &b.0)))
            .then_with(|| a.0.range.first.cmp(&b.0.range.first))
            .then_with(|| a.1.name.cmp(&b.1.name))
    }

    fn place(&self, name: &str) -> Option<Place> {
        let rest = name.strip_prefix(self.stem.as_str())?.strip_prefix('-')?;
        let (numbers, _extension) = rest.split_once('.')?;
        let mut numbers = numbers.split('-');
        let ring = numbers.next().filter(|digits| digits.len() == 16)?;
        let ring = u64::from_str_radix(ring, 16).ok()?;
        let first = numbers.next()?.parse().ok().map(Seq::new)?;
        let end = numbers.next()?.parse().ok().map(Seq::new)?;
        let is_ours = match numbers.next() {
            None => true,
            Some(REPLAY) => numbers
                .next()
                .is_some_and(|mark| mark.parse::<u64>().is_ok()),
            Some(_) => false,
        };
        (is_ours && numbers.next().is_none()).then_some(Place {
            ring,
            range: SeqRange::new(first, end),
        })
    }
}

/// `text` with everything replaced that file names and headers may not have.
pub(super) fn safe(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let text: String = text
        .chars()
        .map(|c| if plain(c) { c } else { '_' })
        .collect();
    // A leading dot would hide the file.
    match text.strip_prefix('.') {
        Some(rest) => format!("_{rest}"),
        None => text,
    }
}

fn blocks(bytes: u64) -> u64 {
    bytes.div_ceil(BLOCK_BYTES).saturating_mul(BLOCK_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RING: u64 = 0xab;

    fn range(first: u64, end: u64) -> SeqRange {
        SeqRange::new(Seq::new(first), Seq::new(end))
    }

    fn folder() -> Folder {
        Folder::new("gw/1-lake", RING)
    }

    fn file(name: &str, bytes: u64, modified_ms: i64) -> FolderFile {
        FolderFile {
            name: name.to_owned(),
            bytes,
            modified: WallClock::from_millis(modified_ms),
        }
    }

    #[test]
    fn names_are_the_same_for_the_same_range() {
        assert_eq!(
            folder().file_name(range(5, 1_000_000_000_017), "ndjson.gz"),
            "gw_1-lake-00000000000000ab-000000000005-1000000000017.ndjson.gz"
        );
        assert_eq!(safe("../\u{e4} x"), "_.___x");
        let replayed = folder().of_replay(Some(7)).file_name(range(5, 9), "x");
        let expected = "gw_1-lake-00000000000000ab-000000000005-000000000009-replay-7.x";
        assert_eq!(replayed, expected);
        assert!(folder().place(&replayed) == folder().place(&folder().file_name(range(5, 9), "x")));
        for foreign in ["-replay", "-replay-x", "-replay-7-8", "-8"] {
            let name = format!("gw_1-lake-00000000000000ab-000000000005-000000000009{foreign}.x");
            assert_eq!(folder().place(&name), None, "{name}");
        }
    }

    #[test]
    fn oldest_files_of_this_writer_make_room() {
        let files = [
            file("gw_1-lake-00000000000000ab-000000000009-10.x", 4096, 1),
            file(
                "gw_1-lake-00000000000000ab-1000000000000-1000000000001.x",
                1,
                0,
            ),
            file(
                "gw_1-lake-00000000000000ab-000000000005-000000000009.x",
                4096,
                9,
            ),
            file(
                "gw_1-lake-00000000000000aa-000000000500-000000000501.x",
                4097,
                8,
            ),
            file(
                "gw_1-lake-00000000000000ac-000000000900-000000000901.x",
                1,
                7,
            ),
            file(
                "gw_1-lake2-00000000000000ab-000000000005-000000000009.x",
                1 << 30,
                0,
            ),
            file("gw_1-lake-00000000000000ab-000000000005.x", 1 << 30, 0),
            file("photo.jpg", 1 << 30, 0),
        ];
        let check = |bytes, bytes_max, expected: Option<&[usize]>| {
            let name = folder().file_name(range(20, 30), "x");
            let removed = folder().make_room(&files, &name, bytes, bytes_max);
            let expected: Option<Vec<&FolderFile>> =
                expected.map(|numbers| numbers.iter().map(|number| &files[*number]).collect());
            assert_eq!(removed, expected, "{bytes} into {bytes_max}");
        };
        // Six blocks are there, and the new file takes one or more.
        check(1, 7 * 4096, Some(&[]));
        check(4097, 7 * 4096, Some(&[4]));
        check(1, 6 * 4096, Some(&[4]));
        check(1, 5 * 4096, Some(&[4, 3]));
        check(1, 3 * 4096, Some(&[4, 3, 2]));
        check(1, 1, Some(&[4, 3, 2, 0, 1]));
        check(2, 1, None);
    }

    #[test]
    fn repeat_replaces_its_own_file() {
        let name = folder().file_name(range(20, 30), "x");
        let files = [file(&name, 4096, 0)];
        assert_eq!(folder().make_room(&files, &name, 4096, 4096), Some(vec![]));
    }
}

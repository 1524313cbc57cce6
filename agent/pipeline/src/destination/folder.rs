//! A bounded folder of batch files: how a file is called, and which files make room.
//!
//! A name says where its records are in the log, so that a repeat after a crash replaces its own
//! file and age does not hang on a clock: only the files of different rings are ordered by it.
//! Files of other names are never counted or removed.

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
    /// Rings in use besides, whose files are not older than those of `ring`.
    beside: Vec<u64>,
    /// What the names of other writers' files begin with.
    others: Vec<String>,
}

/// A file that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderFile {
    /// Its name.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// When it was last written; orders only files of different rings.
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
            beside: Vec::new(),
            others: Vec::new(),
        }
    }

    /// The same files, but what is written is that of a replay, if there is one.
    #[must_use]
    pub fn of_replay(mut self, replay: Option<u64>) -> Self {
        self.replay = replay;
        self
    }

    /// The same folder, into which records of these rings are written as well.
    #[must_use]
    pub fn beside(mut self, rings: &[u64]) -> Self {
        self.beside.extend_from_slice(rings);
        self
    }

    /// The same folder, into which these writers write as well: its bound is that of all files.
    #[must_use]
    pub fn shared_with(mut self, stems: impl IntoIterator<Item = String>) -> Self {
        let stems = stems.into_iter().map(|stem| safe(&stem));
        self.others.extend(stems);
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
        let own: Vec<(Place, &FolderFile)> = files
            .iter()
            .filter(|file| file.name != name)
            .filter_map(|file| Some((self.place_of_any(&file.name)?, file)))
            .collect();
        for (_, file) in &own {
            excess = excess.saturating_add(blocks(file.bytes));
        }
        let mut removed = Vec::new();
        for file in self.oldest_first(own) {
            if excess <= bytes_max {
                break;
            }
            excess = excess.saturating_sub(blocks(file.bytes));
            removed.push(file);
        }
        Some(removed)
    }

    /// The rings in use are younger than any other; within each of them, the log orders: what comes
    /// later there is not older, whatever the clock said when it was written.
    fn oldest_first<'a>(&self, mut own: Vec<(Place, &'a FolderFile)>) -> Vec<&'a FolderFile> {
        own.sort_by_key(|(place, _)| (place.ring, place.range.first));
        let mut last = None;
        let mut aged = Vec::with_capacity(own.len());
        for (place, file) in own {
            let in_use = place.ring == self.ring || self.beside.contains(&place.ring);
            let mut modified = file.modified;
            if let Some((_, newest)) = last.filter(|(ring, _)| in_use && *ring == place.ring) {
                modified = modified.max(newest);
            }
            last = Some((place.ring, modified));
            aged.push((in_use, modified, place.range.first, file));
        }
        aged.sort_by(|a, b| (a.0, a.1, a.2, &a.3.name).cmp(&(b.0, b.1, b.2, &b.3.name)));
        aged.into_iter().map(|(.., file)| file).collect()
    }

    /// The files of `names` with this extension, with their rings and what of the log they hold.
    pub fn files(&self, names: &[String], extension: &str) -> Vec<(u64, SeqRange, String)> {
        let of_kind = |name: &&String| {
            let end = name.split_once('.').map(|(_, end)| end);
            end == Some(extension)
        };
        let mut files: Vec<(u64, SeqRange, String)> = names
            .iter()
            .filter(of_kind)
            .filter_map(|name| {
                let Place { ring, range } = self.place(name)?;
                Some((ring, range, name.clone()))
            })
            .collect();
        files.sort_by_key(|(ring, range, _)| (*ring, range.first, range.end));
        files
    }

    /// What of the log is in files of `names` with this extension and of this ring, with the names
    /// of the files: ranges that touch each other are one.
    pub fn kept(&self, names: &[String], extension: &str) -> Vec<(SeqRange, Vec<String>)> {
        let of_kind = |name: &&String| {
            let end = name.split_once('.').map(|(_, end)| end);
            end == Some(extension)
        };
        let mut places: Vec<(SeqRange, &String)> = names
            .iter()
            .filter(of_kind)
            .filter_map(|name| Some((self.place(name)?, name)))
            .filter(|(place, _)| place.ring == self.ring)
            .map(|(place, name)| (place.range, name))
            .collect();
        places.sort_by_key(|(range, name)| (range.first, range.end, *name));
        let mut kept: Vec<(SeqRange, Vec<String>)> = Vec::new();
        for (range, name) in places {
            match kept.last_mut().filter(|(last, _)| range.first <= last.end) {
                Some((last, names)) => {
                    last.end = last.end.max(range.end);
                    names.push(name.clone());
                }
                None => kept.push((range, vec![name.clone()])),
            }
        }
        kept
    }

    fn place(&self, name: &str) -> Option<Place> {
        place_after(&self.stem, name)
    }

    /// The place of a file, whoever of the folder's writers it is of.
    fn place_of_any(&self, name: &str) -> Option<Place> {
        let others = || self.others.iter().find_map(|stem| place_after(stem, name));
        self.place(name).or_else(others)
    }
}

fn place_after(stem: &str, name: &str) -> Option<Place> {
    let rest = name.strip_prefix(stem)?.strip_prefix('-')?;
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

    /// Two writers share a folder: the older file goes first, whichever of them wrote it, and each
    /// keeps the order of its own log although the clock went back.
    #[test]
    fn rings_in_use_make_room_by_age() {
        const OTHER: u64 = 0xaa;
        const GONE: u64 = 0xac;
        let in_ring = |ring: u64, first: u64, modified_ms: i64| {
            let folder = Folder::new("gw/1-lake", ring);
            file(
                &folder.file_name(range(first, first + 1), "x"),
                1,
                modified_ms,
            )
        };
        let files = [
            in_ring(RING, 1, 10),
            in_ring(RING, 2, 5),
            in_ring(OTHER, 700, 11),
            in_ring(OTHER, 701, 3),
            in_ring(RING, 3, 12),
            in_ring(GONE, 9, 13),
        ];
        let order = |folder: Folder| {
            let name = folder.file_name(range(20, 30), "y");
            let removed = folder.make_room(&files, &name, 1, 1).unwrap();
            let place = |file| files.iter().position(|known| known == file).unwrap();
            removed.into_iter().map(place).collect::<Vec<usize>>()
        };
        let expected = [5, 0, 1, 2, 3, 4];
        assert_eq!(order(folder().beside(&[RING, OTHER])), expected);
        let other = Folder::new("gw/1-lake", OTHER).beside(&[RING, OTHER]);
        assert_eq!(order(other), expected);
        // Alone it takes the other's files for those of a ring that is no more.
        assert_eq!(order(folder()), [3, 2, 5, 0, 1, 4]);
    }

    /// A destination and another's fallback share a folder and one bound.
    #[test]
    fn files_of_other_writers_are_counted_and_make_room() {
        let other = Folder::new("gw/1-cloud", RING);
        let files = [
            file(&other.file_name(range(1, 2), "x"), 4096, 1),
            file(&folder().file_name(range(2, 3), "x"), 4096, 2),
            file(
                "gw_1-else-00000000000000ab-000000000005-000000000009.x",
                4096,
                0,
            ),
        ];
        let name = folder().file_name(range(3, 4), "x");
        let removed = |folder: Folder| -> Vec<String> {
            let removed = folder.make_room(&files, &name, 1, 2 * 4096).unwrap();
            removed.iter().map(|file| file.name.clone()).collect()
        };
        assert!(removed(folder()).is_empty());
        let shared = folder().shared_with(["gw/1-cloud".to_owned()]);
        assert_eq!(removed(shared), [files[0].name.clone()]);
    }

    #[test]
    fn repeat_replaces_its_own_file() {
        let name = folder().file_name(range(20, 30), "x");
        let files = [file(&name, 4096, 0)];
        assert_eq!(folder().make_room(&files, &name, 4096, 4096), Some(vec![]));
    }

    #[test]
    fn what_is_kept_is_told_by_ranges() {
        let folder = Folder::new("lake", 0xab);
        let name = |first, end| {
            let range = SeqRange::new(Seq::new(first), Seq::new(end));
            folder.file_name(range, "ndjson")
        };
        let names = [
            name(10, 20),
            name(0, 5),
            name(5, 8),
            name(15, 30),
            name(40, 50) + ".replayed",
            Folder::new("lake", 1).file_name(SeqRange::new(Seq::new(1), Seq::new(2)), "ndjson"),
            Folder::new("other", 0xab).file_name(SeqRange::new(Seq::new(1), Seq::new(2)), "ndjson"),
            "notes.ndjson".to_owned(),
        ];
        let kept = folder.kept(&names, "ndjson");
        let ranges: Vec<(u64, u64)> = kept
            .iter()
            .map(|(range, _)| (range.first.get(), range.end.get()))
            .collect();
        assert_eq!(ranges, [(0, 8), (10, 30)]);
        assert_eq!(kept[0].1, [name(0, 5), name(5, 8)]);
        assert_eq!(kept[1].1, [name(10, 20), name(15, 30)]);
    }
}

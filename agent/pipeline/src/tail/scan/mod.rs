//! What became of the files since the last look: a decision over two lists.
//!
//! A renamed file keeps its inode and is simply the same file under another name. A file emptied
//! in place keeps its inode and loses its content; if a copy of the content turned up beside it
//! (logrotate's `copytruncate`), the copy is continued where the original was left, so that
//! neither the lines between the last read and the copy are lost nor all others doubled. A packed
//! file is looked at by its content: what was read before it was packed is not read again.

mod packed;

use std::collections::{HashMap, HashSet};

use super::fingerprint::{Birth, FileId, FileKey, Fingerprint};

/// A file that was read before, by this process or an earlier one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// What it is recognized by.
    pub key: FileKey,
    /// Where its next line begins.
    pub offset: u64,
    /// The name that it was seen under last, without folders; empty when it was not seen yet.
    pub name: Vec<u8>,
    /// Whether it is packed: key and place are those of what is in it.
    pub packed: bool,
}

/// A file that is there.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, and all combinations occur"
)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Which file.
    pub id: FileId,
    /// Its name without folders.
    pub name: Vec<u8>,
    /// Its size.
    pub size: u64,
    /// Whether a pattern asks for it; the others are looked at because they may be what became
    /// of one that a pattern asked for.
    pub matched: bool,
    /// Whether size or time of change differ from the last look, or there was none.
    pub changed: bool,
    /// Whether it has not grown for so long that nobody is still copying into it.
    pub at_rest: bool,
    /// Whether it is packed: its size says nothing of what is in it.
    pub packed: bool,
    /// When it was made; only asked for where it is known and has changed.
    pub birth: Birth,
}

impl Seen {
    /// Whether so much may have been read of it.
    const fn has(&self, offset: u64) -> bool {
        self.packed || self.size >= offset
    }
}

/// What a seen file is; the number is a position in the list of known files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A known file, to be continued; its name may be another.
    Same(usize),
    /// A known file with a new content, to be read from its beginning.
    Replaced(usize),
    /// The content of a known file, to be continued here.
    Copied(usize),
    /// A known file with new numbers: a reboot or a restore gives them.
    Moved(usize),
    /// To be read from its beginning.
    New,
    /// Perhaps the copy of a file that is about to be emptied: the next look will tell.
    Wait,
    /// Nobody asked for it.
    Ignored,
}

/// Decides for each seen file what it is. `head` gives the first bytes of a seen file as
/// [`Fingerprint::matches`] wants them, or `None` when they cannot be read. `first` says that
/// nothing was looked at since the start, so that numbers may have changed.
pub fn decide(
    first: bool,
    known: &[Known],
    seen: &[Seen],
    mut head: impl FnMut(usize) -> Option<Vec<u8>>,
) -> Vec<Found> {
    let by_id: HashMap<FileId, usize> = known.iter().map(|file| file.key.id).zip(0..).collect();
    let mut ids = HashSet::new();
    let mut names: HashMap<Vec<u8>, Vec<(usize, Fate)>> = HashMap::new();
    let mut found: Vec<Option<Found>> = Vec::with_capacity(seen.len());
    for (n, file) in seen.iter().enumerate() {
        if !ids.insert(file.id) {
            // The same file under a second name.
            found.push(Some(Found::Ignored));
            continue;
        }
        let old = by_id.get(&file.id).and_then(|k| Some((*k, known.get(*k)?)));
        found.push(old.map(|(k, old)| {
            let same = !file.changed || is_continued(old, file, || head(n));
            let fate = if same { Fate::Lives } else { Fate::Replaced };
            names.entry(file.name.clone()).or_default().push((k, fate));
            if fate == Fate::Replaced {
                // It may have been renamed since.
                for original in originals(&file.name) {
                    names.entry(original).or_default().push((k, fate));
                }
            }
            match fate {
                Fate::Lives => Found::Same(k),
                Fate::Replaced => Found::Replaced(k),
            }
        }));
    }
    let mut orphans = Orphans::new(first, known, &ids);
    let mut originals_of = packed::Originals::new(known, seen, &found);
    let mut taken = HashSet::new();
    seen.iter()
        .zip(found)
        .enumerate()
        .map(|(n, (file, found))| {
            found.unwrap_or_else(|| {
                let mut head = Head::new(|| head(n));
                if file.packed {
                    let moved = orphans.find(known, file, &mut head).map(Found::Moved);
                    return moved.unwrap_or_else(|| originals_of.find(file, &mut head));
                }
                copied(known, &names, &mut taken, file, &mut head)
                    .or_else(|| orphans.find(known, file, &mut head).map(Found::Moved))
                    .unwrap_or(if file.matched {
                        Found::New
                    } else {
                        Found::Ignored
                    })
            })
        })
        .collect()
}

/// What became of a known file that was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Lives,
    Replaced,
}

/// The beginning of one file, read when it is first wanted.
struct Head<F> {
    read: Option<F>,
    bytes: Option<Vec<u8>>,
}

impl<F: FnOnce() -> Option<Vec<u8>>> Head<F> {
    const fn new(read: F) -> Self {
        Self {
            read: Some(read),
            bytes: None,
        }
    }

    fn get(&mut self) -> Option<&[u8]> {
        if let Some(read) = self.read.take() {
            self.bytes = read();
        }
        self.bytes.as_deref()
    }
}

fn is_continued(old: &Known, file: &Seen, head: impl FnOnce() -> Option<Vec<u8>>) -> bool {
    // What cannot be read now is not known to be another file.
    file.has(old.offset)
        && !old.key.birth.differs(file.birth)
        && head().is_none_or(|head| old.key.fingerprint.matches(&head))
}

/// Whether an unknown file is the copy of a replaced one, or may become one.
fn copied<F: FnOnce() -> Option<Vec<u8>>>(
    known: &[Known],
    names: &HashMap<Vec<u8>, Vec<(usize, Fate)>>,
    taken: &mut HashSet<usize>,
    file: &Seen,
    head: &mut Head<F>,
) -> Option<Found> {
    let mut wait = false;
    for original in originals(&file.name) {
        for (k, fate) in names.get(&original).into_iter().flatten() {
            let Some(old) = known.get(*k).filter(|old| !old.key.fingerprint.is_empty()) else {
                continue;
            };
            let fingerprint = old.key.fingerprint;
            match fate {
                Fate::Replaced => {
                    let is_copy = file.has(old.offset)
                        && !taken.contains(k)
                        && head.get().is_some_and(|head| fingerprint.matches(head));
                    if is_copy {
                        taken.insert(*k);
                        return Some(Found::Copied(*k));
                    }
                }
                Fate::Lives => {
                    wait |= file.matched
                        && !file.at_rest
                        && head.get().is_some_and(|head| {
                            head.len() < fingerprint.len() || fingerprint.matches(head)
                        });
                }
            }
        }
    }
    wait.then_some(Found::Wait)
}

/// The names that a rotated file of this name may have had: `app.log` of `app.log.1`,
/// `app.log-20261123` and `app-20261123.log`.
pub fn originals(name: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let extension = name.iter().rposition(|byte| *byte == b'.');
    name.iter()
        .enumerate()
        .skip(1)
        .filter(|(_, byte)| matches!(byte, b'.' | b'-' | b'_'))
        .flat_map(move |(n, _)| {
            let prefix = name.get(..n).unwrap_or_default();
            let with_extension = extension
                .filter(|extension| n < *extension)
                .and_then(|extension| name.get(extension..))
                .map(|extension| [prefix, extension].concat());
            std::iter::once(prefix.to_vec()).chain(with_extension)
        })
}

/// Known files that were not seen under their own numbers.
struct Orphans {
    by_fingerprint: HashMap<Fingerprint, Vec<usize>>,
    by_inode: HashMap<u64, usize>,
}

impl Orphans {
    /// After the first look a file that vanished is gone, and one that appears is new.
    fn new(first: bool, known: &[Known], seen: &HashSet<FileId>) -> Self {
        let mut orphans = Self {
            by_fingerprint: HashMap::new(),
            by_inode: HashMap::new(),
        };
        let missing = known
            .iter()
            .enumerate()
            .filter(|(_, file)| first && !seen.contains(&file.key.id))
            .filter(|(_, file)| !file.key.fingerprint.is_empty());
        for (k, file) in missing {
            orphans.by_inode.insert(file.key.id.inode, k);
            if file.key.fingerprint.is_full() {
                let same = orphans
                    .by_fingerprint
                    .entry(file.key.fingerprint)
                    .or_default();
                same.push(k);
            }
        }
        orphans
    }

    /// The file that `file` was. Of several the one that was read least: doubled rather than lost.
    fn find<F: FnOnce() -> Option<Vec<u8>>>(
        &mut self,
        known: &[Known],
        file: &Seen,
        head: &mut Head<F>,
    ) -> Option<usize> {
        if !file.matched || self.by_inode.is_empty() {
            return None;
        }
        let fits = |k: &usize| {
            let old = known.get(*k)?;
            // What is packed is a file of its own until its content says otherwise.
            (old.packed == file.packed && file.has(old.offset)).then_some(old)
        };
        let head = head.get()?;
        let k = self
            .by_inode
            .get(&file.id.inode)
            .copied()
            .filter(|k| fits(k).is_some_and(|old| old.key.fingerprint.matches(head)))
            .or_else(|| {
                let same = self.by_fingerprint.get(&Fingerprint::of(head))?;
                same.iter()
                    .filter_map(|k| Some((fits(k)?.offset, *k)))
                    .min()
                    .map(|(_, k)| k)
            })?;
        self.by_inode.retain(|_, other| *other != k);
        for same in self.by_fingerprint.values_mut() {
            same.retain(|other| *other != k);
        }
        Some(k)
    }
}

#[cfg(test)]
mod tests;

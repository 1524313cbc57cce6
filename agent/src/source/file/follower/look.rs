//! Looking at the folders: what is there, what it is, and what follows from that.

use std::collections::{HashMap, HashSet};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use pipeline::config::StartAt;
use pipeline::tail::{FileId, FileKey, Fingerprint, Found, LineCursor, Seen, decide};
use pipeline::time::Monotonic;

use super::super::Out;
use super::super::followed::{Followed, State, head_of, last_line_start, open};
use super::super::walk::{Entry, FILES_MAX, Walk, walk};
use super::{COPY_WAIT, Follower};

/// The place in a file that is gone is remembered for so long, should it come back.
const FORGET_AFTER: Duration = Duration::from_hours(1);

/// The checkpoint that says that the source has looked once; not a file's key.
const STARTED_KEY: &[u8] = b"started";

impl Follower {
    pub(super) fn scan(&mut self, now: Monotonic, out: &mut dyn FnMut(Out<'_>)) {
        for key in std::mem::take(&mut self.outdated) {
            out(Out::Forget(&key.encode()));
        }
        let (mut walk, mut found) = self.look(now);
        if found
            .iter()
            .any(|found| matches!(found, Found::Replaced(_)))
        {
            // The copy of an emptied file was there before it was emptied, but perhaps not when
            // its folder was read.
            (walk, found) = self.look(now);
        }
        self.apply(&walk, &found, now, out);
        if !self.is_started && !walk.incomplete {
            out(Out::Checkpoint(STARTED_KEY, 1));
            self.is_started = true;
        }
        self.first_look = None;
        self.forget(now, out);
        self.folders = walk.folders;
        self.problems.clone_from(&self.bad_patterns);
        self.problems.append(&mut walk.problems);
        self.scanned_at = Some(now);
        self.scan_at = now.after(self.poll_interval);
        self.due = (0..)
            .zip(&self.files)
            .filter(|(_, file)| file.state != State::Idle)
            .map(|(n, _)| n)
            .collect();
        self.by_path = (0..)
            .zip(&self.files)
            .filter_map(|(n, file)| Some((file.path.clone()?, n)))
            .collect();
    }

    fn look(&mut self, now: Monotonic) -> (Walk, Vec<Found>) {
        let inodes: HashSet<u64> = self.files.iter().map(|file| file.key.id.inode).collect();
        let walk = walk(&self.patterns, |inode| inodes.contains(&inode));
        let by_id: HashMap<FileId, &Followed> =
            self.files.iter().map(|file| (file.key.id, file)).collect();
        let waiting = &self.waiting;
        let seen: Vec<Seen> = walk
            .entries
            .iter()
            .map(|entry| Seen {
                id: entry.id,
                name: entry
                    .path
                    .file_name()
                    .map_or_else(Vec::new, |name| name.as_bytes().to_vec()),
                size: entry.size,
                matched: entry.matched,
                changed: by_id
                    .get(&entry.id)
                    .is_none_or(|file| file.seen != Some((entry.size, entry.modified))),
                at_rest: waiting.get(&entry.id).is_some_and(|(size, since)| {
                    *size == entry.size && now >= since.after(COPY_WAIT)
                }),
            })
            .collect();
        let known: Vec<_> = self.files.iter().map(Followed::known).collect();
        let head = |n: usize| {
            let entry = walk.entries.get(n)?;
            open(&entry.path).and_then(|file| head_of(&file)).ok()
        };
        let found = decide(self.first_look.is_some(), &known, &seen, head);
        (walk, found)
    }

    fn apply(
        &mut self,
        walk: &Walk,
        found: &[Found],
        now: Monotonic,
        out: &mut dyn FnMut(Out<'_>),
    ) {
        let entries = || walk.entries.iter().zip(found);
        let mut present = HashSet::new();
        // Copies first: they continue what the originals are about to lose.
        for (entry, found) in entries() {
            if let Found::Copied(k) = found
                && let Some(original) = self.files.get(*k)
            {
                let mut key = original.key;
                key.id = entry.id;
                let fields = original.fields.clone();
                let mut file = Followed::new(key, original.cursor, now);
                file.fields = fields;
                file.move_key(key, out);
                file.renamed = true;
                self.add(file, entry, &mut present);
            }
        }
        let mut waiting = HashMap::new();
        for (entry, found) in entries() {
            match *found {
                Found::Same(k) => self.continue_with(k, entry, now, &mut present),
                Found::Moved(k) => {
                    if let Some(file) = self.files.get_mut(k) {
                        let mut key = file.key;
                        key.id = entry.id;
                        file.move_key(key, out);
                    }
                    self.continue_with(k, entry, now, &mut present);
                }
                Found::Replaced(k) => {
                    if let Some(file) = self.files.get_mut(k) {
                        file.cursor = LineCursor::default();
                        let key = FileKey {
                            id: entry.id,
                            fingerprint: Fingerprint::EMPTY,
                        };
                        file.move_key(key, out);
                        file.state = State::Idle;
                    }
                    self.continue_with(k, entry, now, &mut present);
                }
                Found::New => {
                    let file = self.begin(entry, now, out);
                    self.add(file, entry, &mut present);
                }
                Found::Wait => {
                    let since = self.waiting.get(&entry.id);
                    let since = since.filter(|(size, _)| *size == entry.size);
                    let since = since.map_or(now, |(_, since)| *since);
                    waiting.insert(entry.id, (entry.size, since));
                }
                Found::Copied(_) | Found::Ignored => {}
            }
        }
        self.waiting = waiting;
        if !walk.incomplete {
            for (n, file) in self.files.iter_mut().enumerate() {
                if !present.contains(&n) && file.gone_since.is_none() {
                    file.gone_since = Some(now);
                    file.grown_at = now;
                    file.tell_unread();
                    // What was written before it was removed.
                    if file.file.is_some() {
                        file.wake();
                    }
                }
            }
        }
    }

    fn add(&mut self, mut file: Followed, entry: &Entry, present: &mut HashSet<usize>) {
        file.set_path(&entry.path);
        file.seen = Some((entry.size, entry.modified));
        file.matched = entry.matched;
        if entry.size > file.cursor.start() {
            file.wake();
        }
        present.insert(self.files.len());
        self.files.push(file);
    }

    fn continue_with(
        &mut self,
        k: usize,
        entry: &Entry,
        now: Monotonic,
        present: &mut HashSet<usize>,
    ) {
        let Some(file) = self.files.get_mut(k) else {
            return;
        };
        let old_path = file.path.clone();
        file.set_path(&entry.path);
        if old_path != file.path || file.matched != entry.matched {
            file.grown_at = now;
        }
        file.seen = Some((entry.size, entry.modified));
        file.matched = entry.matched;
        file.gone_since = None;
        if entry.size > file.cursor.start() {
            file.wake();
        }
        present.insert(k);
    }

    /// A file that was never read.
    fn begin(&self, entry: &Entry, now: Monotonic, out: &mut dyn FnMut(Out<'_>)) -> Followed {
        let key = FileKey {
            id: entry.id,
            fingerprint: Fingerprint::EMPTY,
        };
        if self.first_look == Some(StartAt::End)
            && let Some((head, start)) = open(&entry.path)
                .and_then(|file| Ok((head_of(&file)?, last_line_start(&file, entry.size)?)))
                .ok()
                .filter(|(_, start)| *start > 0)
        {
            let covered = usize::try_from(start).unwrap_or(usize::MAX).min(head.len());
            let key = FileKey {
                fingerprint: Fingerprint::of(head.get(..covered).unwrap_or_default()),
                ..key
            };
            let mut file = Followed::new(key, LineCursor::new(start), now);
            file.move_key(key, out);
            return file;
        }
        let mut file = Followed::new(key, LineCursor::default(), now);
        file.move_key(key, out);
        file
    }

    /// Forgets files that have been gone for long, and more of them when there are too many.
    fn forget(&mut self, now: Monotonic, out: &mut dyn FnMut(Out<'_>)) {
        let mut gone: Vec<Monotonic> = self
            .files
            .iter()
            .filter(|file| file.file.is_none())
            .filter_map(|file| file.gone_since)
            .collect();
        gone.sort_unstable();
        let excess = self.files.len().saturating_sub(FILES_MAX);
        let oldest = excess.checked_sub(1).and_then(|last| gone.get(last));
        self.files.retain(|file| {
            let over = file.file.is_none()
                && file.gone_since.is_some_and(|since| {
                    now >= since.after(FORGET_AFTER)
                        || oldest.is_some_and(|oldest| since <= *oldest)
                });
            if over {
                out(Out::Forget(&file.key.encode()));
            }
            !over
        });
    }
}

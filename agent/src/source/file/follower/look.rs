//! Looking at the folders: what is there, what it is, and what follows from that.

use std::collections::{HashMap, HashSet};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use pipeline::config::StartAt;
use pipeline::tail::{
    Birth, Charset, FileId, FileKey, Fingerprint, Found, LineCursor, Seen, decide,
};
use pipeline::time::{Monotonic, WallClock};

use super::super::Out;
use super::super::followed::{Followed, State, last_line_start};
use super::super::input::Input;
use super::super::walk::{Entry, FILES_MAX, Walk, birth_of, is_packed, walk};
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
        for file in self.files.iter().filter(|file| file.gone_since.is_none()) {
            if let (Some(path), Some(broken)) = (&file.path, &file.broken) {
                self.problems.insert(path.clone(), broken.clone());
            }
        }
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
        let walk = walk(&self.wanted, |inode| inodes.contains(&inode));
        let by_id: HashMap<FileId, &Followed> =
            self.files.iter().map(|file| (file.key.id, file)).collect();
        let seen: Vec<Seen> = walk
            .entries
            .iter()
            .map(|entry| (entry, by_id.get(&entry.id)))
            .map(|(entry, known)| Seen {
                id: entry.id,
                name: entry
                    .path
                    .file_name()
                    .map_or_else(Vec::new, |name| name.as_bytes().to_vec()),
                size: entry.size,
                matched: entry.matched && (known.is_some() || !self.is_too_old(entry)),
                changed: known.is_none_or(|file| file.seen != Some(entry.version())),
                at_rest: self.is_at_rest(entry, now),
                packed: is_packed(&entry.path),
                birth: known
                    .filter(|file| file.seen != Some(entry.version()))
                    .map_or(Birth::UNKNOWN, |_| birth_of(&entry.path, entry.id)),
            })
            .collect();
        let known: Vec<_> = self.files.iter().map(Followed::known).collect();
        let head = |n: usize| {
            let entry = walk.entries.get(n)?;
            let (input, _) = Input::open(&entry.path, is_packed(&entry.path)).ok()?;
            input.head().ok()
        };
        let found = decide(self.first_look.is_some(), &known, &seen, head);
        (walk, found)
    }

    /// Whether an unknown file is not to be begun. A clock that is behind makes no file old.
    fn is_too_old(&self, entry: &Entry) -> bool {
        self.ignore_older.is_some_and(|age| {
            let (seconds, _) = entry.modified;
            let modified = WallClock::from_millis(seconds.saturating_mul(1000));
            self.wall.since(modified) > age
        })
    }

    /// Since when a file that is waited for has its size.
    fn since(&self, entry: &Entry) -> Option<Monotonic> {
        let waiting = self.waiting.get(&entry.id);
        let waiting = waiting.filter(|(size, _)| *size == entry.size);
        waiting.map(|(_, since)| *since)
    }

    /// Whether nobody is writing to it any more, as far as two looks can tell.
    fn is_at_rest(&self, entry: &Entry, now: Monotonic) -> bool {
        let waiting = self.waiting.get(&entry.id);
        waiting.is_some_and(|(size, since)| *size == entry.size && now >= since.after(COPY_WAIT))
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
        self.begin_copies(entries(), now, &mut present, out);
        let mut waiting = HashMap::new();
        for (entry, found) in entries() {
            match *found {
                Found::Same(k) => {
                    self.learn_birth(k, entry, out);
                    self.continue_with(k, entry, now, &mut present);
                }
                Found::Moved(k) => {
                    if let Some(file) = self.files.get_mut(k) {
                        let mut key = file.key;
                        key.id = entry.id;
                        key.birth = birth_of(&entry.path, entry.id);
                        file.move_key(key, out);
                    }
                    self.continue_with(k, entry, now, &mut present);
                }
                Found::Replaced(k) => {
                    if let Some(file) = self.files.get_mut(k) {
                        file.end_records(out);
                        file.begin_anew();
                        let key = FileKey {
                            id: entry.id,
                            fingerprint: Fingerprint::EMPTY,
                            birth: birth_of(&entry.path, entry.id),
                        };
                        file.move_key(key, out);
                        file.state = State::Idle;
                    }
                    self.continue_with(k, entry, now, &mut present);
                }
                // It was there before us, and will not be read.
                Found::Wait if is_packed(&entry.path) && self.starts_at_end() => {
                    let file = self.begin(entry, now, out);
                    self.add(file, entry, &mut present);
                }
                Found::New => {
                    let file = self.begin(entry, now, out);
                    self.add(file, entry, &mut present);
                }
                Found::Wait => {
                    let since = self.since(entry).unwrap_or(now);
                    waiting.insert(entry.id, (entry.size, since));
                }
                Found::Copied(_) | Found::Ignored => {}
            }
        }
        self.wait_for_packed(entries(), now, &mut waiting);
        self.waiting = waiting;
        if !walk.incomplete {
            self.note_gone(&present, now);
        }
    }

    /// A checkpoint of an earlier version does not say when its file was made.
    fn learn_birth(&mut self, k: usize, entry: &Entry, out: &mut dyn FnMut(Out<'_>)) {
        let Some(file) = self.files.get_mut(k) else {
            return;
        };
        if !file.key.birth.is_unknown() || file.seen.is_some() {
            return;
        }
        let birth = birth_of(&entry.path, entry.id);
        if !birth.is_unknown() {
            let key = FileKey { birth, ..file.key };
            file.move_key(key, out);
        }
    }

    /// Copies first: they continue what the originals are about to lose.
    fn begin_copies<'a>(
        &mut self,
        entries: impl Iterator<Item = (&'a Entry, &'a Found)>,
        now: Monotonic,
        present: &mut HashSet<usize>,
        out: &mut dyn FnMut(Out<'_>),
    ) {
        for (entry, found) in entries {
            if let Found::Copied(k) = found
                && let Some(original) = self.files.get_mut(*k)
            {
                let mut key = original.key;
                key.id = entry.id;
                key.birth = birth_of(&entry.path, entry.id);
                // What waits for more lines is read again, together with them.
                let cursor = LineCursor::new(original.checkpoint());
                original.joiner.clear();
                let mut file = Followed::new(key, cursor, now);
                file.fields = original.fields.clone();
                file.move_key(key, out);
                file.renamed = true;
                self.add(file, entry, present);
            }
        }
    }

    /// Packed files that are known and have something new are read when they rest.
    fn wait_for_packed<'a>(
        &self,
        entries: impl Iterator<Item = (&'a Entry, &'a Found)>,
        now: Monotonic,
        waiting: &mut HashMap<FileId, (u64, Monotonic)>,
    ) {
        for (entry, found) in entries.filter(|(entry, _)| is_packed(&entry.path)) {
            let (Found::Same(k) | Found::Moved(k) | Found::Replaced(k)) = *found else {
                continue;
            };
            let is_waiting = self
                .files
                .get(k)
                .is_some_and(|file| file.state == State::Idle && file.has_more(entry));
            if is_waiting {
                let since = self.since(entry).unwrap_or(now);
                waiting.insert(entry.id, (entry.size, since));
            }
        }
    }

    fn note_gone(&mut self, present: &HashSet<usize>, now: Monotonic) {
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

    fn add(&mut self, mut file: Followed, entry: &Entry, present: &mut HashSet<usize>) {
        file.set_path(&entry.path);
        file.seen = Some(entry.version());
        file.matched = entry.matched;
        // One that is packed has rested before it was taken for anything.
        if file.has_more(entry) {
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
        let rests = self.is_at_rest(entry, now);
        let Some(file) = self.files.get_mut(k) else {
            return;
        };
        let old_path = file.path.clone();
        file.set_path(&entry.path);
        if old_path != file.path || file.matched != entry.matched {
            file.grown_at = now;
        }
        file.seen = Some(entry.version());
        file.matched = entry.matched;
        file.gone_since = None;
        if file.has_more(entry) && (rests || !file.is_packed) {
            file.wake();
        }
        present.insert(k);
    }

    /// Whether files that are found now are begun at their ends.
    fn starts_at_end(&self) -> bool {
        self.first_look == Some(StartAt::End)
    }

    /// A file that was never read.
    fn begin(&self, entry: &Entry, now: Monotonic, out: &mut dyn FnMut(Out<'_>)) -> Followed {
        let key = FileKey {
            id: entry.id,
            fingerprint: Fingerprint::EMPTY,
            birth: birth_of(&entry.path, entry.id),
        };
        if self.starts_at_end()
            && let Some((head, start)) = self.end_of(entry).filter(|(_, start)| *start > 0)
        {
            let covered = usize::try_from(start).unwrap_or(usize::MAX).min(head.len());
            let key = FileKey {
                fingerprint: Fingerprint::of(head.get(..covered).unwrap_or_default()),
                ..key
            };
            let mut file = Followed::new(key, LineCursor::new(start), now);
            if is_packed(&entry.path) {
                file.unpacked = Some(entry.version());
            }
            file.move_key(key, out);
            return file;
        }
        let mut file = Followed::new(key, LineCursor::default(), now);
        file.move_key(key, out);
        file
    }

    /// The beginning of a file and where its last line begins; that of a packed one is beyond
    /// everything.
    fn end_of(&self, entry: &Entry) -> Option<(Vec<u8>, u64)> {
        let packed = is_packed(&entry.path);
        let (input, _) = Input::open(&entry.path, packed).ok()?;
        let head = input.head().ok()?;
        if packed {
            return Some((head, u64::MAX / 2));
        }
        let charset = Charset::of(self.encoding, &head);
        let start = last_line_start(&input, charset, entry.size).ok()?;
        Some((head, start))
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

//! All files of one source: finding them, reading them in turns, letting them go.
//!
//! Everything here blocks on the disk and so runs on a thread for that. What goes out is lines
//! and checkpoints in the order in which they belong into the ring.

mod look;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::time::Duration;

use pipeline::config::{FileConfig, StartAt};
use pipeline::tail::{FileId, FileKey, LineCursor};
use pipeline::time::Monotonic;

use super::Out;
use super::followed::{CHUNK_BYTES, Followed, State, Turn};
use super::walk::Pattern;

/// So many files are open at once; the others are opened when they grow.
const OPEN_FILES_MAX: usize = 256;

/// A file that was renamed or removed is let go when it has not grown for so long.
const ROTATED_WAIT: Duration = Duration::from_secs(5);

/// What may be a copy in the making is taken for a file of its own when it has not grown for so
/// long and its original was not emptied.
const COPY_WAIT: Duration = Duration::from_secs(2);

/// The folders are not read more often than this, however often names change.
const SCAN_INTERVAL_MIN: Duration = Duration::from_millis(200);

/// The files of a source.
#[derive(Debug)]
pub(super) struct Follower {
    patterns: Vec<Pattern>,
    line_bytes_max: usize,
    poll_interval: Duration,
    /// Where files are begun at the first look; `None` afterwards.
    first_look: Option<StartAt>,
    /// Whether the ring knows that there was a first look.
    is_started: bool,
    files: Vec<Followed>,
    /// Checkpoints that a newer one has replaced.
    outdated: Vec<FileKey>,
    /// Positions in `files`, in the order of their turns.
    due: VecDeque<usize>,
    /// What may become a copy: its size and since when it has that.
    waiting: HashMap<FileId, (u64, Monotonic)>,
    folders: BTreeSet<PathBuf>,
    /// Positions in `files`.
    by_path: HashMap<PathBuf, usize>,
    /// Patterns that are none.
    bad_patterns: BTreeMap<PathBuf, String>,
    problems: BTreeMap<PathBuf, String>,
    scan_at: Monotonic,
    scanned_at: Option<Monotonic>,
    buffer: Vec<u8>,
}

impl Follower {
    /// Continues where `checkpoints` say.
    pub(super) fn new(config: &FileConfig, checkpoints: &[(Vec<u8>, u64)], now: Monotonic) -> Self {
        let mut bad_patterns = BTreeMap::new();
        let mut patterns = Vec::new();
        for text in &config.paths {
            match Pattern::new(text) {
                Ok(pattern) => patterns.push(pattern),
                Err(problem) => drop(bad_patterns.insert(PathBuf::from(text), problem)),
            }
        }
        let mut follower = Self {
            patterns,
            line_bytes_max: config.line_bytes_max.as_usize().max(1),
            poll_interval: config.poll_interval.max(SCAN_INTERVAL_MIN),
            first_look: Some(if checkpoints.is_empty() {
                config.start_at
            } else {
                StartAt::Beginning
            }),
            is_started: !checkpoints.is_empty(),
            files: Vec::new(),
            outdated: Vec::new(),
            due: VecDeque::new(),
            waiting: HashMap::new(),
            folders: BTreeSet::new(),
            by_path: HashMap::new(),
            problems: bad_patterns.clone(),
            bad_patterns,
            scan_at: now,
            scanned_at: None,
            buffer: vec![0; CHUNK_BYTES],
        };
        follower.take_checkpoints(checkpoints, now);
        follower
    }

    /// Of several checkpoints of one file, the one that knows more of it is the newer one.
    fn take_checkpoints(&mut self, checkpoints: &[(Vec<u8>, u64)], now: Monotonic) {
        let mut newest: HashMap<FileId, (FileKey, u64)> = HashMap::new();
        for (key, offset) in checkpoints {
            let Some(key) = FileKey::decode(key) else {
                continue;
            };
            match newest.get_mut(&key.id) {
                None => drop(newest.insert(key.id, (key, *offset))),
                Some(known) if known.0.fingerprint.len() < key.fingerprint.len() => {
                    self.outdated.push(known.0);
                    *known = (key, *offset);
                }
                Some(_) => self.outdated.push(key),
            }
        }
        self.files = newest
            .into_values()
            .map(|(key, offset)| {
                let mut file = Followed::new(key, LineCursor::new(offset), now);
                file.gone_since = Some(now);
                file
            })
            .collect();
    }

    /// Looks at the folders soon.
    pub(super) fn names_changed(&mut self, now: Monotonic) {
        let earliest = self
            .scanned_at
            .map_or(now, |at| at.after(SCAN_INTERVAL_MIN).max(now));
        self.scan_at = self.scan_at.min(earliest);
    }

    /// Reads these files soon.
    pub(super) fn written(&mut self, paths: &BTreeSet<PathBuf>) {
        for path in paths {
            let Some(n) = self.by_path.get(path) else {
                continue;
            };
            if let Some(file) = self
                .files
                .get_mut(*n)
                .filter(|file| file.state == State::Idle)
            {
                file.wake();
                self.due.push_back(*n);
            }
        }
    }

    /// When to work again although nothing was heard.
    pub(super) fn poll_timeout(&self) -> Monotonic {
        let rotated = self
            .files
            .iter()
            .filter(|file| file.file.is_some() && file.state == State::Idle && file.is_rotated())
            .map(|file| file.grown_at.after(ROTATED_WAIT));
        let copies = self
            .waiting
            .values()
            .map(|(_, since)| since.after(COPY_WAIT));
        rotated.chain(copies).fold(self.scan_at, Ord::min)
    }

    /// The folders to listen to.
    pub(super) fn folders(&self) -> &BTreeSet<PathBuf> {
        &self.folders
    }

    /// What cannot be followed, in words.
    pub(super) fn problems(&self) -> &BTreeMap<PathBuf, String> {
        &self.problems
    }

    /// Does one piece of work. True when there is more to do at once.
    pub(super) fn work(&mut self, now: Monotonic, out: &mut dyn FnMut(Out<'_>)) -> bool {
        let copies_rest = self
            .waiting
            .values()
            .any(|(_, since)| now >= since.after(COPY_WAIT));
        if now >= self.scan_at || copies_rest {
            self.scan(now, out);
        }
        self.read_next(now, out);
        if self.due.is_empty() {
            self.let_go(now, out);
        }
        !self.due.is_empty() || now >= self.scan_at
    }

    fn read_next(&mut self, now: Monotonic, out: &mut dyn FnMut(Out<'_>)) {
        let Some(n) = self.due.pop_front() else {
            return;
        };
        if self.files.get(n).is_some_and(|file| file.file.is_none()) {
            self.make_room();
        }
        let Some(file) = self.files.get_mut(n) else {
            return;
        };
        let before = file.cursor;
        let turn = file.read(&mut self.buffer, self.line_bytes_max, out);
        if file.cursor != before {
            file.grown_at = now;
        }
        if !matches!(turn, Turn::More) {
            file.state = State::Idle;
        }
        match turn {
            Turn::More => self.due.push_back(n),
            Turn::End => {}
            Turn::Changed if file.gone_since.is_some() => file.file = None,
            Turn::Changed => {
                file.seen = None;
                self.names_changed(now);
            }
            Turn::Failed(error) => {
                file.file = None;
                let path = file.path.clone().unwrap_or_default();
                self.tell(&path, &error.to_string());
            }
        }
    }

    /// Closes a file if as many are open as may be: rather one that is idle, and never one that
    /// cannot be opened again.
    fn make_room(&mut self) {
        let is_open = |file: &&mut Followed| file.file.is_some();
        if self.files.iter_mut().filter(is_open).count() < OPEN_FILES_MAX {
            return;
        }
        let least = self
            .files
            .iter_mut()
            .filter(is_open)
            .filter(|file| file.gone_since.is_none())
            .min_by_key(|file| (file.state != State::Idle, file.grown_at));
        if let Some(file) = least {
            file.file = None;
        }
    }

    /// Finishes files that nobody writes to any more.
    fn let_go(&mut self, now: Monotonic, out: &mut dyn FnMut(Out<'_>)) {
        let mut changed = false;
        for (n, file) in self.files.iter_mut().enumerate() {
            let is_over = file.file.is_some()
                && file.is_rotated()
                && now >= file.grown_at.after(ROTATED_WAIT);
            if !is_over {
                continue;
            }
            match file.finish(&mut self.buffer, self.line_bytes_max, out) {
                Ok(Turn::More) => {
                    file.grown_at = now;
                    file.wake();
                    self.due.push_back(n);
                }
                Ok(Turn::Changed) if file.gone_since.is_none() => {
                    file.grown_at = now;
                    file.seen = None;
                    changed = true;
                }
                Ok(Turn::End | Turn::Changed | Turn::Failed(_)) | Err(_) => {
                    file.file = None;
                    file.renamed = false;
                }
            }
        }
        if changed {
            self.names_changed(now);
        }
    }

    fn tell(&mut self, path: &Path, problem: &str) {
        self.problems
            .insert(path.to_owned(), format!("{}: {problem}", path.display()));
    }
}

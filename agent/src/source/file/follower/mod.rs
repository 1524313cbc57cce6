//! All files of one source: finding them, reading them in turns, letting them go.
//!
//! Everything here blocks on the disk and so runs on a thread for that. What goes out is lines
//! and checkpoints in the order in which they belong into the ring.

mod look;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::time::Duration;

use pipeline::config::{Encoding, FileConfig, StartAt};
use pipeline::tail::{FileId, FileKey, LineCursor, RecordRules};
use pipeline::time::{Monotonic, WallClock};

use super::Out;
use super::followed::{CHUNK_BYTES, Followed, Means, State, Turn};
use super::walk::{Exclude, Pattern, Wanted};

/// A file that was renamed or removed is let go when it has not grown for so long.
const ROTATED_WAIT: Duration = Duration::from_secs(5);

/// What may be a copy in the making is taken for a file of its own when it has not grown for so
/// long and its original was not emptied.
const COPY_WAIT: Duration = Duration::from_secs(2);

/// The folders are not read more often than this, however often names change.
const SCAN_INTERVAL_MIN: Duration = Duration::from_millis(200);

/// While other files have lines, records that wait for some are looked at so often.
const SILENT_INTERVAL: Duration = Duration::from_millis(100);

/// What waits for more lines in all files together; beyond it nothing waits.
const HELD_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The files of a source.
#[derive(Debug)]
pub(super) struct Follower {
    wanted: Wanted,
    ignore_older: Option<Duration>,
    open_files_max: usize,
    /// What the calendar says.
    wall: WallClock,
    rules: RecordRules,
    encoding: Encoding,
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
    /// When records are looked at that wait for more lines, although other files have some.
    silent_at: Monotonic,
    /// What waits for more lines in all files.
    held_bytes: usize,
}

impl Follower {
    /// Continues where `checkpoints` say.
    pub(super) fn new(config: &FileConfig, checkpoints: &[(Vec<u8>, u64)], now: Monotonic) -> Self {
        let mut bad_patterns = BTreeMap::new();
        let mut wanted = Wanted::default();
        for text in &config.paths {
            match Pattern::new(text) {
                Ok(pattern) => wanted.patterns.push(pattern),
                Err(problem) => drop(bad_patterns.insert(PathBuf::from(text), problem)),
            }
        }
        for text in &config.exclude {
            match Exclude::new(text) {
                Ok(exclude) => wanted.excludes.push(exclude),
                Err(problem) => drop(bad_patterns.insert(PathBuf::from(text), problem)),
            }
        }
        // The configuration was refused if an expression is none.
        let rules = RecordRules::compile(config).unwrap_or_else(|problem| {
            let key = PathBuf::from("multiline");
            bad_patterns.insert(key, format!("multiline: {problem}"));
            RecordRules::lines(config.line_bytes_max.as_usize())
        });
        let mut follower = Self {
            wanted,
            ignore_older: config.ignore_older,
            open_files_max: open_files_max(config.open_files_max),
            wall: WallClock::default(),
            rules,
            encoding: config.encoding,
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
            silent_at: now,
            held_bytes: 0,
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
                Some(known) if knowledge(&known.0) < knowledge(&key) => {
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

    /// What the calendar says; only `ignore_older` asks.
    pub(super) fn set_wall(&mut self, wall: WallClock) {
        self.wall = wall;
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
                .filter(|file| file.state == State::Idle && !file.is_packed)
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
        let copies = self.copies_at();
        let silent = self
            .files
            .iter()
            .filter(|file| file.state == State::Idle)
            .filter_map(|file| file.joiner.poll_timeout());
        let due = rotated.chain(copies).chain(silent);
        due.fold(self.scan_at, Ord::min)
    }

    /// When to look whether what may be a copy has rested. One that rests and has to wait all the
    /// same is looked at as seldom.
    fn copies_at(&self) -> Option<Monotonic> {
        let looked = self.scanned_at?;
        let rests = self
            .waiting
            .values()
            .map(|(_, since)| since.after(COPY_WAIT));
        rests
            .map(|at| {
                if at > looked {
                    at
                } else {
                    looked.after(COPY_WAIT)
                }
            })
            .min()
    }

    /// The folders to listen to.
    pub(super) fn folders(&self) -> &BTreeSet<PathBuf> {
        &self.folders
    }

    /// What waits for more lines in all files.
    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        self.files.iter().map(|file| file.joiner.len_bytes()).sum()
    }

    /// What cannot be followed, in words.
    pub(super) fn problems(&self) -> &BTreeMap<PathBuf, String> {
        &self.problems
    }

    /// Does one piece of work. True when there is more to do at once.
    pub(super) fn work(&mut self, now: Monotonic, out: &mut dyn FnMut(Out<'_>)) -> bool {
        if now >= self.scan_at || self.copies_at().is_some_and(|at| now >= at) {
            self.scan(now, out);
        }
        self.read_next(now, out);
        if self.due.is_empty() || now >= self.silent_at {
            self.end_silent(now, out);
        }
        if self.due.is_empty() {
            self.let_go(now, out);
        }
        !self.due.is_empty() || now >= self.scan_at
    }

    fn read_next(&mut self, now: Monotonic, out: &mut dyn FnMut(Out<'_>)) {
        let Some(n) = self.due.pop_front() else {
            return;
        };
        if self.is_held_back(n) {
            self.due.push_back(n);
            return;
        }
        if self.files.get(n).is_some_and(|file| file.file.is_none()) {
            self.make_room();
        }
        let Some(file) = self.files.get_mut(n) else {
            return;
        };
        let before = file.cursor;
        let held = file.joiner.len_bytes();
        let mut means = Means {
            rules: &self.rules,
            encoding: self.encoding,
            buffer: &mut self.buffer,
            now,
        };
        let turn = file.read(&mut means, out);
        self.held_bytes = (self.held_bytes + file.joiner.len_bytes()).saturating_sub(held);
        if self.held_bytes > HELD_BYTES_MAX {
            self.held_bytes = self.held_bytes.saturating_sub(file.joiner.len_bytes());
            file.end_records(out);
        }
        if file.cursor != before {
            file.grown_at = now;
        }
        if !matches!(turn, Turn::More) {
            file.state = State::Idle;
        }
        match turn {
            Turn::More => self.due.push_back(n),
            Turn::End if file.is_packed => {
                file.file = None;
                self.problems.remove(&file.path.clone().unwrap_or_default());
            }
            Turn::End => {}
            Turn::Broken => {
                file.file = None;
                out(Out::Broken);
                let path = file.path.clone().unwrap_or_default();
                let problem = file.broken.clone().unwrap_or_default();
                self.problems.insert(path, problem);
            }
            Turn::Changed if file.gone_since.is_some() => file.file = None,
            Turn::Changed => {
                if file.is_packed {
                    file.file = None;
                }
                file.seen = None;
                self.names_changed(now);
            }
            Turn::Failed(error) if is_out_of_files(&error) && self.open_files_max > 1 => {
                // Others have taken them: we make do with fewer from here on.
                self.open_files_max = self.open_files_max.div_ceil(2);
                while self.make_room() {}
                self.due.push_back(n);
            }
            Turn::Failed(error) => {
                file.file = None;
                let path = file.path.clone().unwrap_or_default();
                self.tell(&path, &error.to_string());
            }
        }
    }

    /// One packed file is unpacked at a time: each takes a window of its own.
    fn is_held_back(&self, n: usize) -> bool {
        let starts = |file: &Followed| file.is_packed && file.file.is_none();
        let is_unpacking = |file: &Followed| file.is_packed && file.file.is_some();
        self.files.get(n).is_some_and(starts) && self.files.iter().any(is_unpacking)
    }

    /// Closes a file if as many are open as may be: rather one that is idle, and never one that
    /// cannot be opened again. True when it did.
    fn make_room(&mut self) -> bool {
        let is_open = |file: &&mut Followed| file.file.is_some();
        if self.files.iter_mut().filter(is_open).count() < self.open_files_max {
            return false;
        }
        let least = self
            .files
            .iter_mut()
            .filter(is_open)
            .filter(|file| file.gone_since.is_none() && !file.is_packed)
            .min_by_key(|file| (file.state != State::Idle, file.grown_at));
        let Some(file) = least else { return false };
        file.file = None;
        true
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
            let mut means = Means {
                rules: &self.rules,
                encoding: self.encoding,
                buffer: &mut self.buffer,
                now,
            };
            match file.finish(&mut means, out) {
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
                Ok(Turn::End | Turn::Changed | Turn::Broken | Turn::Failed(_)) | Err(_) => {
                    file.file = None;
                    file.renamed = false;
                }
            }
        }
        if changed {
            self.names_changed(now);
        }
    }

    /// Ends the records of files that are silent.
    fn end_silent(&mut self, now: Monotonic, out: &mut dyn FnMut(Out<'_>)) {
        self.silent_at = now.after(SILENT_INTERVAL);
        if self.rules.is_plain() {
            return;
        }
        self.held_bytes = 0;
        for (n, file) in self.files.iter_mut().enumerate() {
            if file.handle_timeout(now, out) {
                file.wake();
                self.due.push_back(n);
            }
            self.held_bytes += file.joiner.len_bytes();
        }
    }

    fn tell(&mut self, path: &Path, problem: &str) {
        self.problems
            .insert(path.to_owned(), format!("{}: {problem}", path.display()));
    }
}

/// The checkpoint of one file that has more of this is the newer one.
fn knowledge(key: &FileKey) -> (usize, bool) {
    (key.fingerprint.len(), !key.birth.is_unknown())
}

/// As many as are wished for, but no more than half of what the process may open.
fn open_files_max(wished: usize) -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let half = limit.and_then(|limit| usize::try_from(limit / 2).ok());
    wished.min(half.unwrap_or(wished)).max(1)
}

/// Whether the process or the machine has no descriptors left.
fn is_out_of_files(error: &std::io::Error) -> bool {
    let errno = rustix::io::Errno::from_io_error(error);
    matches!(
        errno,
        Some(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE)
    )
}

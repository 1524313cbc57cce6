//! Which files the patterns mean at this moment.
//!
//! A pattern is walked one component at a time, so that only folders are read in which something
//! can match. Each of the last folders is listed whole, because a file that was renamed out of
//! the pattern may not have been read to its end.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirEntry, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};
use pipeline::tail::{Birth, FileId, originals};
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

use super::followed::Version;

/// How deep `**` goes.
const DEPTH_MAX: usize = 32;

/// How many files are followed at most.
pub(super) const FILES_MAX: usize = 10_000;

/// A glob pattern for absolute paths.
#[derive(Debug)]
pub(super) struct Pattern {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug)]
enum Part {
    /// Exactly this name.
    Name(OsString),
    /// Any name that matches.
    Glob(GlobMatcher),
    /// `**`: any number of folders.
    Deep,
}

impl Pattern {
    /// Reads a pattern: `*`, `?`, `[...]`, `{a,b}` within a name, `**` for any folders.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        let Some(relative) = text.strip_prefix('/') else {
            return Err(format!("\"{text}\" does not begin with /"));
        };
        let parts: Result<Vec<Part>, String> = relative
            .split('/')
            .filter(|part| !part.is_empty() && *part != ".")
            .map(|part| {
                if part == "**" {
                    return Ok(Part::Deep);
                }
                if !part.contains(['*', '?', '[', ']', '{', '}', '\\']) {
                    return Ok(Part::Name(part.into()));
                }
                GlobBuilder::new(part)
                    .literal_separator(true)
                    .backslash_escape(true)
                    .build()
                    .map(|glob| Part::Glob(glob.compile_matcher()))
                    .map_err(|error| format!("\"{text}\" is not a pattern: {error}"))
            })
            .collect();
        let mut parts = parts?;
        if matches!(parts.last(), Some(Part::Deep)) {
            // `a/**` means every file below `a`.
            parts.push(any_name(text)?);
        }
        if parts.is_empty() {
            return Err(format!("\"{text}\" names no file"));
        }
        Ok(Self {
            text: text.to_owned(),
            parts,
        })
    }
}

fn any_name(text: &str) -> Result<Part, String> {
    GlobBuilder::new("*")
        .build()
        .map(|glob| Part::Glob(glob.compile_matcher()))
        .map_err(|error| format!("\"{text}\" is not a pattern: {error}"))
}

impl Part {
    fn matches(&self, name: &OsStr) -> bool {
        match self {
            Self::Name(wanted) => wanted == name,
            Self::Glob(glob) => glob.is_match(Path::new(name)),
            Self::Deep => true,
        }
    }
}

/// What is left out of what patterns ask for.
#[derive(Debug)]
pub(super) struct Exclude {
    glob: GlobMatcher,
    /// Whether it is for names, in whatever folder.
    is_name: bool,
}

impl Exclude {
    /// Reads a pattern for absolute paths or, without a `/`, for names.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        let is_name = !text.contains('/');
        if !is_name && !text.starts_with('/') {
            return Err(format!("\"{text}\" does not begin with /"));
        }
        let glob = GlobBuilder::new(text)
            .literal_separator(true)
            .backslash_escape(true)
            .build();
        glob.map(|glob| Self {
            glob: glob.compile_matcher(),
            is_name,
        })
        .map_err(|error| format!("\"{text}\" is not a pattern: {error}"))
    }

    fn matches(&self, path: &Path) -> bool {
        if self.is_name {
            path.file_name()
                .is_some_and(|name| self.glob.is_match(Path::new(name)))
        } else {
            self.glob.is_match(path)
        }
    }
}

/// Which files are followed.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) patterns: Vec<Pattern>,
    pub(super) excludes: Vec<Exclude>,
}

impl Wanted {
    fn excludes(&self, path: &Path) -> bool {
        self.excludes.iter().any(|exclude| exclude.matches(path))
    }
}

/// A regular file that matches, or may have matched under another name.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) path: PathBuf,
    pub(super) id: FileId,
    pub(super) size: u64,
    /// Seconds and nanoseconds of the last change.
    pub(super) modified: (i64, i64),
    pub(super) matched: bool,
}

impl Entry {
    fn new(path: PathBuf, metadata: &Metadata, matched: bool) -> Self {
        Self {
            path,
            id: id_of(metadata),
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            matched,
        }
    }

    /// What changes when somebody writes to it.
    pub(super) const fn version(&self) -> Version {
        (self.size, self.modified)
    }
}

/// Whether a file of this name is packed by gzip.
pub(super) fn is_packed(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("gz"))
}

/// Which file this is.
pub(super) fn id_of(metadata: &Metadata) -> FileId {
    FileId {
        device: metadata.dev(),
        inode: metadata.ino(),
    }
}

/// When the file at `path` was made, if that is still the file `id`.
pub(super) fn birth_of(path: &Path, id: FileId) -> Birth {
    let wanted = StatxFlags::INO | StatxFlags::BTIME;
    let Ok(found) = statx(CWD, path, AtFlags::empty(), wanted) else {
        return Birth::UNKNOWN;
    };
    let has_birth = found.stx_mask & StatxFlags::BTIME.bits() != 0;
    if has_birth && found.stx_ino == id.inode {
        Birth::at(found.stx_btime.tv_sec, found.stx_btime.tv_nsec)
    } else {
        Birth::UNKNOWN
    }
}

/// What a walk found.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// In order of their paths.
    pub(super) entries: Vec<Entry>,
    /// Folders whose changes can change the answer.
    pub(super) folders: BTreeSet<PathBuf>,
    /// What cannot be followed and why.
    pub(super) problems: BTreeMap<PathBuf, String>,
    /// Something could not be read: a file that is missing here may still be there.
    pub(super) incomplete: bool,
    /// Where links to files lead, by folder.
    targets: BTreeMap<PathBuf, BTreeSet<OsString>>,
}

/// Looks. `is_known` says of an inode number that its file may have been read before.
pub(super) fn walk(wanted: &Wanted, is_known: impl Fn(u64) -> bool) -> Walk {
    let mut walk = Walk::default();
    let patterns = &wanted.patterns;
    let mut lists: BTreeMap<PathBuf, Vec<(&Pattern, &Part)>> = BTreeMap::new();
    for pattern in patterns {
        let mut folders = Vec::new();
        if let Some((last, parts)) = pattern.parts.split_last() {
            walk.expand(PathBuf::from("/"), parts, DEPTH_MAX, &mut folders);
            for folder in folders {
                lists.entry(folder).or_default().push((pattern, last));
            }
        }
    }
    let mut matched = BTreeSet::new();
    for (folder, parts) in lists {
        walk.list(&folder, &parts, wanted, &is_known, &mut matched);
    }
    walk.look_behind_links(&is_known);
    for pattern in patterns
        .iter()
        .filter(|pattern| !matched.contains(&pattern.text))
    {
        let path = PathBuf::from(&pattern.text);
        walk.problems
            .entry(path)
            .or_insert_with(|| format!("nothing matches {} yet", pattern.text));
    }
    walk.entries.sort_by(|a, b| a.path.cmp(&b.path));
    walk
}

impl Walk {
    /// The folders that `parts` lead to from `folder`.
    fn expand(&mut self, folder: PathBuf, parts: &[Part], depth: usize, found: &mut Vec<PathBuf>) {
        let Some((part, rest)) = parts.split_first() else {
            found.push(folder);
            return;
        };
        match part {
            Part::Name(name) => self.expand(folder.join(name), rest, depth, found),
            Part::Glob(_) => {
                for entry in self.read(&folder) {
                    if part.matches(&entry.file_name()) && entry.path().is_dir() {
                        self.expand(entry.path(), rest, depth, found);
                    }
                }
            }
            Part::Deep => {
                if let Some(depth) = depth.checked_sub(1) {
                    for entry in self.read(&folder) {
                        // A link to a folder could lead in a circle.
                        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                            self.expand(entry.path(), parts, depth, found);
                        }
                    }
                }
                self.expand(folder, rest, depth, found);
            }
        }
    }

    fn list<'a>(
        &mut self,
        folder: &Path,
        parts: &[(&'a Pattern, &Part)],
        wanted: &Wanted,
        is_known: &impl Fn(u64) -> bool,
        matched: &mut BTreeSet<&'a String>,
    ) {
        for entry in self.read(folder) {
            let name = entry.file_name();
            let mut is_wanted = false;
            let mut by_name = false;
            for (pattern, part) in parts.iter().filter(|(_, part)| part.matches(&name)) {
                matched.insert(&pattern.text);
                is_wanted = true;
                by_name |= matches!(part, Part::Name(_));
            }
            is_wanted = is_wanted && !wanted.excludes(&entry.path());
            let may_be_rotated = || {
                is_known(entry.ino())
                    || originals(name.as_bytes()).any(|original| {
                        let original = OsStr::from_bytes(&original);
                        parts.iter().any(|(_, part)| part.matches(original))
                    })
            };
            if is_wanted && entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
                self.follow_link(&entry.path());
            }
            if is_wanted || may_be_rotated() {
                self.add(entry.path(), is_wanted, by_name);
            }
        }
    }

    /// Remembers where a link leads.
    fn follow_link(&mut self, link: &Path) {
        let Ok(target) = fs::canonicalize(link) else {
            return;
        };
        if let (Some(folder), Some(name)) = (target.parent(), target.file_name()) {
            let names = self.targets.entry(folder.to_owned()).or_default();
            names.insert(name.to_owned());
        }
    }

    /// What a link led to may be renamed, and nothing in the folder of the link says so.
    fn look_behind_links(&mut self, is_known: &impl Fn(u64) -> bool) {
        for (folder, names) in std::mem::take(&mut self.targets) {
            let inodes: BTreeSet<u64> = self.entries.iter().map(|seen| seen.id.inode).collect();
            for entry in self.read(&folder) {
                let name = entry.file_name();
                let was_target = || {
                    originals(name.as_bytes())
                        .any(|original| names.contains(OsStr::from_bytes(&original)))
                };
                let is_new = !inodes.contains(&entry.ino()) && !names.contains(&name);
                if is_new && (is_known(entry.ino()) || was_target()) {
                    self.add(entry.path(), false, false);
                }
            }
        }
    }

    fn add(&mut self, path: PathBuf, is_wanted: bool, by_name: bool) {
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) => {
                // Vanished since the folder was read, or a link to nowhere or in a circle.
                let is_circle =
                    error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error());
                if is_wanted && is_circle {
                    self.problem(&path, "a link that leads in a circle");
                } else if is_wanted && error.kind() != io::ErrorKind::NotFound {
                    self.incomplete = true;
                    self.problem(&path, &error.to_string());
                }
                return;
            }
        };
        if metadata.is_file() {
            if self.entries.len() < FILES_MAX {
                self.entries.push(Entry::new(path, &metadata, is_wanted));
            } else if is_wanted {
                self.problem(&path, &format!("more than {FILES_MAX} files"));
            }
        } else if metadata.is_dir() {
            // A pattern with a wildcard meets folders all the time.
            if by_name {
                self.problem(&path, "a folder, not a file: add /*");
            }
        } else if is_wanted {
            self.problem(&path, "not a regular file");
        }
    }

    /// The entries of a folder, which is watched from then on; or its nearest parent, if it is
    /// not there.
    fn read(&mut self, folder: &Path) -> Vec<DirEntry> {
        match fs::read_dir(folder) {
            Ok(entries) => {
                self.folders.insert(folder.to_owned());
                entries.filter_map(Result::ok).collect()
            }
            Err(error) => {
                let is_missing = matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                );
                if is_missing {
                    let parent = folder.ancestors().skip(1).find(|parent| parent.is_dir());
                    self.folders.extend(parent.map(Path::to_owned));
                } else {
                    self.incomplete = true;
                    self.problem(folder, &error.to_string());
                }
                Vec::new()
            }
        }
    }

    fn problem(&mut self, path: &Path, what: &str) {
        let text = format!("{}: {what}", path.display());
        self.problems.insert(path.to_owned(), text);
    }
}

//! One file that is followed: its descriptor, its place, and handing its lines on.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use pipeline::config::Encoding;
use pipeline::record::Fields;
use pipeline::tail::{Charset, FileKey, Joiner, Known, LineCursor, RecordRules};
use pipeline::time::Monotonic;

use super::Out;
use super::handed::{Handed, long_bytes_max};
use super::input::{Filled, Input, read_full};
use super::walk::{Entry, id_of, is_packed};

/// One read.
pub(super) const CHUNK_BYTES: usize = 64 * 1024;

/// So many lines are handed on before another file has its turn; short lines cost more than
/// their bytes.
const LINES_PER_TURN: usize = 4096;

/// A file that is followed, or was.
#[derive(Debug)]
pub(super) struct Followed {
    pub(super) key: FileKey,
    pub(super) cursor: LineCursor,
    /// Where it was last seen; unknown for a checkpoint of an earlier run until then.
    pub(super) path: Option<PathBuf>,
    /// What its records carry: the path under which it was found first.
    pub(super) fields: Fields,
    pub(super) file: Option<Input>,
    /// Whether its content is packed.
    pub(super) is_packed: bool,
    /// What it was when everything that is packed in it was read.
    pub(super) unpacked: Option<Version>,
    /// Why not everything could be unpacked.
    pub(super) broken: Option<String>,
    charset: Charset,
    /// Size and time of change when it was last seen.
    pub(super) seen: Option<Version>,
    /// Whether a pattern asks for it under its current name.
    pub(super) matched: bool,
    /// Whether it was renamed since its last line was handed on.
    pub(super) renamed: bool,
    /// Since when it has not been seen.
    pub(super) gone_since: Option<Monotonic>,
    /// When it was last found to have grown, or to have been renamed or removed.
    pub(super) grown_at: Monotonic,
    /// How far it was looked at, unfinished lines included.
    looked_to: u64,
    /// Lines whose records are not complete.
    pub(super) joiner: Joiner,
    pub(super) state: State,
}

/// Size and time of change.
pub(super) type Version = (u64, (i64, i64));

/// What reading takes.
#[derive(Debug)]
pub(super) struct Means<'a> {
    /// How lines become records.
    pub(super) rules: &'a RecordRules,
    pub(super) encoding: Encoding,
    /// Holds a chunk.
    pub(super) buffer: &'a mut [u8],
    pub(super) now: Monotonic,
}

/// Whether there is something to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing is known to be waiting.
    Idle,
    /// It waits to be read.
    Due,
    /// It was found to be the file that it was, and reading has begun.
    Reading,
}

/// What came of a turn.
#[derive(Debug)]
pub(super) enum Turn {
    /// There is more.
    More,
    /// It was read to its end.
    End,
    /// It is not what it was: the folders have to be looked at.
    Changed,
    /// It cannot be read.
    Failed(io::Error),
    /// Not everything could be unpacked.
    Broken,
}

impl Followed {
    /// A file whose next line begins at `cursor`.
    pub(super) fn new(key: FileKey, cursor: LineCursor, now: Monotonic) -> Self {
        Self {
            key,
            cursor,
            path: None,
            fields: Fields::new(),
            file: None,
            is_packed: false,
            unpacked: None,
            broken: None,
            charset: Charset::default(),
            seen: None,
            matched: false,
            renamed: false,
            gone_since: None,
            grown_at: now,
            looked_to: cursor.start(),
            joiner: Joiner::default(),
            state: State::Idle,
        }
    }

    /// Goes back to its beginning: the content is another.
    pub(super) fn begin_anew(&mut self) {
        self.cursor = LineCursor::default();
        self.looked_to = 0;
        self.unpacked = None;
        self.broken = None;
        if self.is_packed {
            self.file = None;
        }
    }

    /// Has it read, unless it is being read.
    pub(super) fn wake(&mut self) {
        if self.state == State::Idle {
            self.state = State::Due;
        }
    }

    /// What [`pipeline::tail::decide`] wants to know.
    pub(super) fn known(&self) -> Known {
        let name = self.path.as_deref().and_then(Path::file_name);
        Known {
            key: self.key,
            offset: self.cursor.start(),
            name: name.map_or_else(Vec::new, |name: &OsStr| name.as_bytes().to_vec()),
            packed: self.is_packed,
        }
    }

    /// Where the first line begins that is in no record that was handed on.
    pub(super) fn checkpoint(&self) -> u64 {
        self.joiner
            .checkpoint()
            .unwrap_or_else(|| self.cursor.start())
    }

    /// Names the file in its records, once.
    pub(super) fn set_path(&mut self, path: &Path) {
        if self.fields.is_empty() {
            self.fields
                .insert("path", path.to_string_lossy().into_owned());
        }
        if self.path.as_deref() != Some(path) {
            self.renamed |= self.path.is_some();
            self.is_packed = is_packed(path);
            self.path = Some(path.to_owned());
        }
    }

    /// Whether there is something in the file, as it is seen, that was not read.
    pub(super) fn has_more(&self, entry: &Entry) -> bool {
        if self.is_packed {
            self.unpacked != Some(entry.version())
        } else {
            entry.size > self.cursor.start()
        }
    }

    /// Whether nobody is expected to write to it any more.
    pub(super) fn is_rotated(&self) -> bool {
        self.renamed || !self.matched || self.gone_since.is_some()
    }

    /// Says what was not read of a file that was removed while it was not open.
    pub(super) fn tell_unread(&self) {
        let size = self.seen.map_or(0, |(size, _)| size);
        let unread = size.saturating_sub(self.cursor.start());
        if let (None, Some(path), 1..) = (&self.file, &self.path, unread) {
            tracing::warn!(
                "{} was removed before its last {unread} bytes were read",
                path.display()
            );
        }
    }

    /// Opens the file at its path, if that is still the same file.
    pub(super) fn open(&mut self) -> io::Result<bool> {
        if self.file.is_none() {
            let path = self.path.as_deref().ok_or(io::ErrorKind::NotFound)?;
            let (file, metadata) = Input::open(path, self.is_packed)?;
            if id_of(&metadata) != self.key.id {
                return Ok(false);
            }
            // What was read of an unfinished line is read again.
            self.cursor = LineCursor::new(self.cursor.start());
            self.state = State::Due;
            self.file = Some(file);
        }
        Ok(true)
    }

    /// Reads one chunk and hands its lines on.
    pub(super) fn read(&mut self, means: &mut Means<'_>, out: &mut dyn FnMut(Out<'_>)) -> Turn {
        match self.try_read(means, out) {
            Ok(turn) => turn,
            Err(error) => Turn::Failed(error),
        }
    }

    fn try_read(
        &mut self,
        means: &mut Means<'_>,
        out: &mut dyn FnMut(Out<'_>),
    ) -> io::Result<Turn> {
        if !self.open()? {
            return Ok(Turn::Changed);
        }
        let Some(mut file) = self.file.take() else {
            return Ok(Turn::End);
        };
        let turn = self.read_chunk(&mut file, means, out);
        self.file = Some(file);
        turn
    }

    fn read_chunk(
        &mut self,
        file: &mut Input,
        means: &mut Means<'_>,
        out: &mut dyn FnMut(Out<'_>),
    ) -> io::Result<Turn> {
        if self.state != State::Reading {
            if !self.is_same(file)? {
                return Ok(Turn::Changed);
            }
            self.charset = Charset::of(means.encoding, &file.head()?);
            self.state = State::Reading;
        }
        let from = self.cursor.read_from();
        let long = long_bytes_max(means.rules, self.charset);
        let Filled { len, more } = file.fill(means.buffer, from, self.cursor.start(), long)?;
        let chunk = means.buffer.get(..len).unwrap_or_default();
        let full = len == means.buffer.len();
        self.looked_to = from.saturating_add(wide(len));
        let charset = self.charset;
        let mut cursor = self.cursor;
        let mut count = 0;
        let mut failed = None;
        let mut handed = self.handed(file, means.rules, means.now, out);
        let lines = cursor.handle_chunk(charset, chunk, full);
        for piece in lines.take(LINES_PER_TURN) {
            if let Err(error) = handed.hand_on(&piece) {
                failed = Some((piece.start(), error));
                break;
            }
            count += 1;
        }
        self.cursor = cursor;
        if let Some((start, error)) = failed {
            // Only a line outside the chunk can fail: the file was emptied meanwhile.
            self.cursor = LineCursor::new(start);
            return Err(error);
        }
        if more || count == LINES_PER_TURN {
            return Ok(Turn::More);
        }
        if self.is_packed {
            return self.finish_packed(file, means, out);
        }
        Ok(Turn::End)
    }

    /// Everything was unpacked: the last line may have no end.
    fn finish_packed(
        &mut self,
        file: &Input,
        means: &Means<'_>,
        out: &mut dyn FnMut(Out<'_>),
    ) -> io::Result<Turn> {
        let mut cursor = self.cursor;
        if let Some(piece) = cursor.handle_end(self.looked_to) {
            let mut handed = self.handed(file, means.rules, means.now, out);
            handed.hand_on(&piece)?;
        }
        self.cursor = cursor;
        self.end_records(out);
        self.unpacked = self.seen;
        let name = self.path.as_deref().unwrap_or(Path::new("")).display();
        self.broken = file.broken().map(|error| format!("{name}: {error}"));
        Ok(if self.broken.is_some() {
            Turn::Broken
        } else {
            Turn::End
        })
    }

    /// Whether an open file is still what was read so far.
    fn is_same(&self, file: &Input) -> io::Result<bool> {
        let is_shorter = !self.is_packed && file.file().metadata()?.len() < self.cursor.start();
        Ok(!is_shorter && self.key.fingerprint.matches(&file.head()?))
    }

    fn handed<'a>(
        &'a mut self,
        input: &'a Input,
        rules: &'a RecordRules,
        now: Monotonic,
        out: &'a mut dyn FnMut(Out<'_>),
    ) -> Handed<'a> {
        Handed {
            encoded: self.key.encode(),
            key: &mut self.key,
            fields: &self.fields,
            joiner: &mut self.joiner,
            charset: self.charset,
            rules,
            now,
            input,
            out,
        }
    }

    /// Hands on the unfinished line of a file that nobody writes to any more, unless it has grown
    /// after all.
    pub(super) fn finish(
        &mut self,
        means: &mut Means<'_>,
        out: &mut dyn FnMut(Out<'_>),
    ) -> io::Result<Turn> {
        let Some(file) = self.file.take().filter(|_| !self.is_packed) else {
            return Ok(Turn::End);
        };
        let turn = self.finish_plain(&file, means, out);
        self.file = Some(file);
        turn
    }

    fn finish_plain(
        &mut self,
        file: &Input,
        means: &mut Means<'_>,
        out: &mut dyn FnMut(Out<'_>),
    ) -> io::Result<Turn> {
        if !self.is_same(file)? {
            return Ok(Turn::Changed);
        }
        let from = self.cursor.read_from();
        let len = read_full(file.file(), means.buffer, from)?;
        let rest = means.buffer.get(..len).unwrap_or_default();
        let is_full = len == means.buffer.len();
        if is_full || self.charset.find_newline(rest, from).is_some() {
            return Ok(Turn::More);
        }
        let mut cursor = self.cursor;
        if let Some(piece) = cursor.handle_end(from.saturating_add(wide(len))) {
            let mut handed = self.handed(file, means.rules, means.now, out);
            handed.hand_on(&piece)?;
        }
        self.cursor = cursor;
        self.end_records(out);
        Ok(Turn::End)
    }

    /// Hands on what waits for lines that will not come.
    pub(super) fn end_records(&mut self, out: &mut dyn FnMut(Out<'_>)) {
        self.joiner.handle_end();
        self.hand_on_records(out);
    }

    /// Hands on what has waited for more lines for long enough. True when there are more after
    /// all, to be read first.
    pub(super) fn handle_timeout(&mut self, now: Monotonic, out: &mut dyn FnMut(Out<'_>)) -> bool {
        let is_due = self.joiner.poll_timeout().is_some_and(|at| now >= at);
        if !is_due || self.state != State::Idle {
            return false;
        }
        if self.has_grown() {
            return true;
        }
        self.joiner.handle_timeout(now);
        self.hand_on_records(out);
        false
    }

    /// Whether there is more in the file than was looked at.
    fn has_grown(&self) -> bool {
        let metadata = match (&self.file, &self.path) {
            (Some(file), _) => file.file().metadata(),
            (None, Some(path)) => fs::metadata(path),
            (None, None) => return false,
        };
        metadata.is_ok_and(|metadata| {
            id_of(&metadata) == self.key.id && metadata.len() > self.looked_to
        })
    }

    fn hand_on_records(&mut self, out: &mut dyn FnMut(Out<'_>)) {
        while let Some(record) = self.joiner.poll_record() {
            let fields = &self.fields;
            out(Out::Record { fields, record });
            out(Out::Checkpoint(&self.key.encode(), self.checkpoint()));
        }
    }

    /// Is known by `key` from here on, also to the ring: even a file of which nothing was read may
    /// be renamed out of sight before the next start.
    pub(super) fn move_key(&mut self, key: FileKey, out: &mut dyn FnMut(Out<'_>)) {
        let old = std::mem::replace(&mut self.key, key);
        out(Out::Checkpoint(&key.encode(), self.checkpoint()));
        if old != key {
            out(Out::Forget(&old.encode()));
        }
    }
}

/// Where the last line of a file begins, for a start at its end.
pub(super) fn last_line_start(input: &Input, charset: Charset, size: u64) -> io::Result<u64> {
    let reach = wide(CHUNK_BYTES);
    let from = size.saturating_sub(reach);
    let mut end = vec![0; usize::try_from(size - from).unwrap_or(CHUNK_BYTES)];
    let len = read_full(input.file(), &mut end, from)?;
    let end = end.get(..len).unwrap_or_default();
    Ok(match charset.last_line_start(end, from) {
        Some(start) => from + wide(start),
        None if from == 0 => 0,
        // An unfinished line longer than the reach: its rest will do.
        None => size - wide(charset.newline().len() - 1) * (size % 2),
    })
}

fn wide(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

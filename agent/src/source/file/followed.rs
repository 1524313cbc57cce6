//! One file that is followed: its descriptor, its place, and handing its lines on.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use pipeline::record::Fields;
use pipeline::tail::{
    FINGERPRINT_BYTES, FileKey, Fingerprint, KEY_BYTES, Known, LineCursor, Piece, trim_line_end,
};
use pipeline::time::Monotonic;

use super::Out;
use super::walk::id_of;

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
    pub(super) file: Option<File>,
    /// Size and time of change when it was last seen.
    pub(super) seen: Option<(u64, (i64, i64))>,
    /// Whether a pattern asks for it under its current name.
    pub(super) matched: bool,
    /// Whether it was renamed since its last line was handed on.
    pub(super) renamed: bool,
    /// Since when it has not been seen.
    pub(super) gone_since: Option<Monotonic>,
    /// When it was last found to have grown, or to have been renamed or removed.
    pub(super) grown_at: Monotonic,
    pub(super) state: State,
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
            seen: None,
            matched: false,
            renamed: false,
            gone_since: None,
            grown_at: now,
            state: State::Idle,
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
        Known {
            key: self.key,
            offset: self.cursor.start(),
        }
    }

    /// Names the file in its records, once.
    pub(super) fn set_path(&mut self, path: &Path) {
        if self.fields.is_empty() {
            self.fields
                .insert("path", path.to_string_lossy().into_owned());
        }
        if self.path.as_deref() != Some(path) {
            self.renamed |= self.path.is_some();
            self.path = Some(path.to_owned());
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
            let file = open(path)?;
            if id_of(&file.metadata()?) != self.key.id {
                return Ok(false);
            }
            self.file = Some(file);
        }
        Ok(true)
    }

    /// Reads one chunk and hands its lines on.
    pub(super) fn read(
        &mut self,
        buffer: &mut [u8],
        line_bytes_max: usize,
        out: &mut dyn FnMut(Out<'_>),
    ) -> Turn {
        match self.try_read(buffer, line_bytes_max, out) {
            Ok(turn) => turn,
            Err(error) => Turn::Failed(error),
        }
    }

    fn try_read(
        &mut self,
        buffer: &mut [u8],
        line_bytes_max: usize,
        out: &mut dyn FnMut(Out<'_>),
    ) -> io::Result<Turn> {
        if !self.open()? {
            return Ok(Turn::Changed);
        }
        let Some(file) = &self.file else {
            return Ok(Turn::End);
        };
        if self.state != State::Reading {
            let size = file.metadata()?.len();
            if size < self.cursor.start() || !self.key.fingerprint.matches(&head_of(file)?) {
                return Ok(Turn::Changed);
            }
            self.state = State::Reading;
        }
        let len = read_full(file, buffer, self.cursor.read_from())?;
        let chunk = buffer.get(..len).unwrap_or_default();
        let full = len == buffer.len();
        let mut handed = Handed {
            encoded: self.key.encode(),
            key: &mut self.key,
            fields: &self.fields,
            file,
            line_bytes_max,
            out,
        };
        let mut count = 0;
        let mut failed = None;
        for piece in self.cursor.handle_chunk(chunk, full).take(LINES_PER_TURN) {
            if let Err(error) = handed.hand_on(&piece) {
                failed = Some((piece.start(), error));
                break;
            }
            count += 1;
        }
        if let Some((start, error)) = failed {
            // Only a line outside the chunk can fail: the file was emptied meanwhile.
            self.cursor = LineCursor::new(start);
            return Err(error);
        }
        let more = full || count == LINES_PER_TURN;
        Ok(if more { Turn::More } else { Turn::End })
    }

    /// Hands on the unfinished line of a file that nobody writes to any more, unless it has grown
    /// after all.
    pub(super) fn finish(
        &mut self,
        buffer: &mut [u8],
        line_bytes_max: usize,
        out: &mut dyn FnMut(Out<'_>),
    ) -> io::Result<Turn> {
        let Some(file) = &self.file else {
            return Ok(Turn::End);
        };
        let size = file.metadata()?.len();
        if size < self.cursor.start() || !self.key.fingerprint.matches(&head_of(file)?) {
            return Ok(Turn::Changed);
        }
        let len = read_full(file, buffer, self.cursor.read_from())?;
        let rest = buffer.get(..len).unwrap_or_default();
        if len == buffer.len() || memchr::memchr(b'\n', rest).is_some() {
            return Ok(Turn::More);
        }
        let len = u64::try_from(len).unwrap_or(u64::MAX);
        let mut cursor = self.cursor;
        if let Some(piece) = cursor.handle_end(cursor.read_from().saturating_add(len)) {
            let mut handed = Handed {
                encoded: self.key.encode(),
                key: &mut self.key,
                fields: &self.fields,
                file,
                line_bytes_max,
                out,
            };
            handed.hand_on(&piece)?;
        }
        self.cursor = cursor;
        Ok(Turn::End)
    }

    /// Is known by `key` from here on, also to the ring: even a file of which nothing was read may
    /// be renamed out of sight before the next start.
    pub(super) fn move_key(&mut self, key: FileKey, out: &mut dyn FnMut(Out<'_>)) {
        let old = std::mem::replace(&mut self.key, key);
        out(Out::Checkpoint(&key.encode(), self.cursor.start()));
        if old != key {
            out(Out::Forget(&old.encode()));
        }
    }
}

/// What is needed to hand a line on while the cursor is in use.
struct Handed<'a> {
    key: &'a mut FileKey,
    /// The key as the ring knows it.
    encoded: [u8; KEY_BYTES],
    fields: &'a Fields,
    file: &'a File,
    line_bytes_max: usize,
    out: &'a mut dyn FnMut(Out<'_>),
}

impl Handed<'_> {
    fn hand_on(&mut self, piece: &Piece<'_>) -> io::Result<()> {
        let mut fingerprint = self.key.fingerprint;
        match *piece {
            Piece::Line { bytes, end } => {
                let line = trim_line_end(bytes);
                self.line(line.get(..self.line_bytes_max), line);
                if !fingerprint.is_full() {
                    let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                    let newline = end.saturating_sub(1);
                    fingerprint.extend(newline.saturating_sub(len), bytes);
                    fingerprint.extend(newline, b"\n");
                }
            }
            Piece::Long { start, len, end } => {
                let max = self.line_bytes_max;
                let len = usize::try_from(len).unwrap_or(usize::MAX);
                // One more, so that a carriage return at the limit is not taken for the line's.
                let mut line = vec![0; len.min(max.saturating_add(1))];
                self.file.read_exact_at(&mut line, start)?;
                let trimmed = if len <= line.len() {
                    trim_line_end(&line)
                } else {
                    &line
                };
                self.line(trimmed.get(..max), trimmed);
                if !fingerprint.is_full() {
                    let mut head = head_of(self.file)?;
                    head.truncate(usize::try_from(end).unwrap_or(usize::MAX));
                    fingerprint = Fingerprint::of(&head);
                }
            }
        }
        self.checkpoint(fingerprint, piece.end());
        Ok(())
    }

    /// `cut` is the allowed part of a line that is longer.
    fn line(&mut self, cut: Option<&[u8]>, line: &[u8]) {
        let kept = cut.unwrap_or(line);
        if kept.len() < line.len() {
            (self.out)(Out::Cut);
        }
        (self.out)(Out::Line {
            fields: self.fields,
            bytes: kept,
        });
    }

    fn checkpoint(&mut self, fingerprint: Fingerprint, offset: u64) {
        if fingerprint == self.key.fingerprint {
            (self.out)(Out::Checkpoint(&self.encoded, offset));
            return;
        }
        self.key.fingerprint = fingerprint;
        let old = std::mem::replace(&mut self.encoded, self.key.encode());
        // The new one first: between the two the ring has both, and the longer one counts.
        (self.out)(Out::Checkpoint(&self.encoded, offset));
        (self.out)(Out::Forget(&old));
    }
}

/// Opens for reading and does not wait for a writer, should it have become a FIFO.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    File::options()
        .read(true)
        .custom_flags(i32::try_from(flags.bits()).unwrap_or(0))
        .open(path)
}

/// The first bytes of a file, as many as a fingerprint covers.
pub(super) fn head_of(file: &File) -> io::Result<Vec<u8>> {
    let mut head = vec![0; FINGERPRINT_BYTES];
    let len = read_full(file, &mut head, 0)?;
    head.truncate(len);
    Ok(head)
}

/// Where the last line of a file begins, for a start at its end.
pub(super) fn last_line_start(file: &File, size: u64) -> io::Result<u64> {
    let reach = u64::try_from(CHUNK_BYTES).unwrap_or(u64::MAX);
    let from = size.saturating_sub(reach);
    let mut end = vec![0; usize::try_from(size - from).unwrap_or(CHUNK_BYTES)];
    let len = read_full(file, &mut end, from)?;
    let newline = memchr::memrchr(b'\n', end.get(..len).unwrap_or_default());
    Ok(
        match newline.and_then(|newline| u64::try_from(newline).ok()) {
            Some(newline) => from + newline + 1,
            None if from == 0 => 0,
            // An unfinished line longer than the reach: its rest will do.
            None => size,
        },
    )
}

/// Reads until the buffer is full or the file ends.
fn read_full(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    loop {
        let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) else {
            return Ok(done);
        };
        let at = offset.saturating_add(u64::try_from(done).unwrap_or(u64::MAX));
        match file.read_at(rest, at) {
            Ok(0) => return Ok(done),
            Ok(len) => done += len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

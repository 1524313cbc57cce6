//! Handing on what was read: lines become records, and each record is followed by the checkpoint
//! that says so.

use std::io;

use pipeline::record::Fields;
use pipeline::tail::{
    Charset, FileKey, Fingerprint, Joined, Joiner, Line, Piece, REPLACED, RecordRules,
};
use pipeline::time::Monotonic;

use super::Out;
use super::input::Input;

/// What is needed to hand a line on while the cursor is in use.
pub(super) struct Handed<'a> {
    pub(super) key: &'a mut FileKey,
    /// The key as the ring knows it.
    pub(super) encoded: Vec<u8>,
    pub(super) fields: &'a Fields,
    pub(super) joiner: &'a mut Joiner,
    pub(super) charset: Charset,
    pub(super) rules: &'a RecordRules,
    pub(super) now: Monotonic,
    pub(super) input: &'a Input,
    pub(super) out: &'a mut dyn FnMut(Out<'_>),
}

impl Handed<'_> {
    /// Hands on what `piece` completes.
    pub(super) fn hand_on(&mut self, piece: &Piece<'_>) -> io::Result<()> {
        let mut fingerprint = self.key.fingerprint;
        match *piece {
            Piece::Line { start, bytes, .. } => {
                self.line(start, bytes, true);
                if !fingerprint.is_full() {
                    let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                    fingerprint.extend(start, bytes);
                    fingerprint.extend(start.saturating_add(len), self.charset.newline());
                }
            }
            Piece::Long { start, len, end } => {
                let len = usize::try_from(len).unwrap_or(usize::MAX);
                let mut line = vec![0; len.min(self.long_bytes_max())];
                self.input.read_long(&mut line, start)?;
                self.line(start, &line, len == line.len());
                if !fingerprint.is_full() {
                    let mut head = self.input.head()?;
                    head.truncate(usize::try_from(end).unwrap_or(usize::MAX));
                    fingerprint = Fingerprint::of(&head);
                }
            }
        }
        self.records(fingerprint, piece.end());
        Ok(())
    }

    /// So much of a long line is read that a carriage return at the limit is not taken for the
    /// line's.
    fn long_bytes_max(&self) -> usize {
        long_bytes_max(self.rules, self.charset)
    }

    /// `line` is the beginning of a line, or all of it.
    fn line(&mut self, start: u64, line: &[u8], is_whole: bool) {
        let line = if is_whole {
            self.charset.trim_line_end(line)
        } else {
            line
        };
        let kept = self.charset.cut(line, self.rules.line_bytes_max());
        let is_cut = kept.len() < line.len();
        let decoded = self.charset.decode(kept, start);
        let (bytes, replaced) = (decoded.bytes, decoded.replaced);
        let fields = self.fields;
        if !self.rules.is_plain() {
            let line = Line {
                start,
                bytes: &bytes,
                is_cut,
                replaced,
            };
            self.joiner.handle_line(self.rules, self.now, line);
        } else if is_cut || replaced {
            let record = Joined {
                payload: bytes.into_owned(),
                truncated: is_cut,
                decode_error: replaced.then_some(REPLACED),
                ..Joined::default()
            };
            (self.out)(Out::Record { fields, record });
        } else {
            let bytes = &bytes;
            (self.out)(Out::Line { fields, bytes });
        }
    }

    /// Hands on the records that are complete, once what ends at `end` was taken in.
    fn records(&mut self, fingerprint: Fingerprint, end: u64) {
        if self.rules.is_plain() {
            self.checkpoint(fingerprint, end);
            return;
        }
        while let Some(record) = self.joiner.poll_record() {
            let fields = self.fields;
            (self.out)(Out::Record { fields, record });
            let next = self.joiner.checkpoint().unwrap_or(end);
            self.checkpoint(fingerprint, next);
        }
        if fingerprint != self.key.fingerprint {
            let next = self.joiner.checkpoint().unwrap_or(end);
            self.checkpoint(fingerprint, next);
        }
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

/// How much of a long line is wanted at most.
pub(super) fn long_bytes_max(rules: &RecordRules, charset: Charset) -> usize {
    rules
        .line_bytes_max()
        .saturating_add(charset.newline().len())
}

//! Where lines begin and end in a file that is read in chunks.
//!
//! Nothing is held back: an unfinished line is read again when more has come, and a line that is
//! larger than a chunk is only measured, then named by its place. So memory does not depend on
//! what is in the file, and every offset between two lines is a place to start from again.

use super::charset::Charset;

/// A place in a file, always the start of a line, and how far that line has been searched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineCursor {
    start: u64,
    searched: u64,
}

/// A line in a chunk, or what is known of one that is not in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A line without its end.
    Line {
        /// Where it begins.
        start: u64,
        /// Its bytes.
        bytes: &'a [u8],
        /// Where the next one begins.
        end: u64,
    },
    /// A line that began before the chunk: to be read from its place, if at all.
    Long {
        /// Where it begins.
        start: u64,
        /// Its length without the newline.
        len: u64,
        /// Where the next one begins.
        end: u64,
    },
}

impl Piece<'_> {
    /// Where it begins.
    pub const fn start(&self) -> u64 {
        match self {
            Self::Line { start, .. } | Self::Long { start, .. } => *start,
        }
    }

    /// Where the next line begins: the checkpoint once this one is handed on.
    pub const fn end(&self) -> u64 {
        match self {
            Self::Line { end, .. } | Self::Long { end, .. } => *end,
        }
    }
}

impl LineCursor {
    /// At `start`, where a line begins.
    pub const fn new(start: u64) -> Self {
        Self {
            start,
            searched: start,
        }
    }

    /// Where the first line begins that is not finished: the checkpoint.
    pub const fn start(&self) -> u64 {
        self.start
    }

    /// Where to read next.
    pub const fn read_from(&self) -> u64 {
        self.searched
    }

    /// The lines of `chunk`, which was read from [`LineCursor::read_from`]; `full` says that it
    /// is as long as a chunk gets. The cursor moves with each line taken; lines that are not
    /// taken stay for the next chunk. A chunk has two bytes at least, unless the file ends there.
    pub fn handle_chunk<'a>(
        &'a mut self,
        charset: Charset,
        chunk: &'a [u8],
        full: bool,
    ) -> Lines<'a> {
        Lines {
            base: self.searched,
            cursor: self,
            charset,
            chunk,
            consumed: 0,
            full,
        }
    }

    /// The unfinished line of a file that ended at `size` for good.
    pub fn handle_end(&mut self, size: u64) -> Option<Piece<'static>> {
        let len = size.checked_sub(self.start).filter(|len| *len > 0)?;
        let start = self.start;
        *self = Self::new(size);
        Some(Piece::Long {
            start,
            len,
            end: size,
        })
    }
}

/// The lines of one chunk.
#[derive(Debug)]
pub struct Lines<'a> {
    cursor: &'a mut LineCursor,
    charset: Charset,
    chunk: &'a [u8],
    /// Where the chunk stands in the file.
    base: u64,
    consumed: usize,
    full: bool,
}

impl<'a> Iterator for Lines<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        let rest = self.chunk.get(self.consumed..).unwrap_or_default();
        let at = self.base.saturating_add(wide(self.consumed));
        let Some(len) = self.charset.find_newline(rest, at) else {
            // A chunk without any end of line is not worth reading again; the rest of one is.
            if self.consumed == 0 && self.full {
                let searched = self.charset.searched(rest.len());
                self.cursor.searched = self.base.saturating_add(wide(searched));
            }
            return None;
        };
        let start = self.cursor.start;
        let newline = at.saturating_add(wide(len));
        let newline_len = self.charset.newline().len();
        let end = newline.saturating_add(wide(newline_len));
        let began_here = start >= self.base;
        *self.cursor = LineCursor::new(end);
        self.consumed += len + newline_len;
        Some(if began_here {
            Piece::Line {
                start,
                bytes: rest.get(..len).unwrap_or_default(),
                end,
            }
        } else {
            Piece::Long {
                start,
                len: newline.saturating_sub(start),
                end,
            }
        })
    }
}

fn wide(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `content` as a file that grows by `step`, in chunks of `chunk_bytes`, and stops
    /// taking lines after `take` of each chunk.
    fn read(
        charset: Charset,
        content: &[u8],
        step: usize,
        chunk_bytes: usize,
        take: usize,
    ) -> Vec<Vec<u8>> {
        let newline = charset.newline();
        let mut cursor = LineCursor::default();
        let mut lines = Vec::new();
        let mut size = 0;
        while size < content.len() {
            size = content.len().min(size + step);
            loop {
                let at = usize::try_from(cursor.read_from()).unwrap();
                let chunk = &content[at..size.min(at + chunk_bytes)];
                let before = cursor;
                for piece in cursor
                    .handle_chunk(charset, chunk, chunk.len() == chunk_bytes)
                    .take(take)
                {
                    lines.push(match piece {
                        Piece::Line { start, bytes, end } => {
                            let end = usize::try_from(end).unwrap();
                            assert!(content[..end].ends_with(newline));
                            assert!(content[usize::try_from(start).unwrap()..].starts_with(bytes));
                            bytes.to_vec()
                        }
                        Piece::Long { start, len, end } => {
                            assert_eq!(start + len + wide(newline.len()), end);
                            let start = usize::try_from(start).unwrap();
                            content[start..start + usize::try_from(len).unwrap()].to_vec()
                        }
                    });
                }
                if cursor == before {
                    break;
                }
            }
        }
        if let Some(Piece::Long { start, len, .. }) = cursor.handle_end(wide(content.len())) {
            let start = usize::try_from(start).unwrap();
            lines.push(content[start..start + usize::try_from(len).unwrap()].to_vec());
        }
        lines
    }

    #[test]
    fn every_way_of_reading_gives_the_same_lines() {
        let content =
            b"one\n\ntwo and more\r\n\0\xff binary\nthe longest line of them all, by far\n\
            x\n\n\nunfinished";
        let expected: Vec<&[u8]> = content.split(|byte| *byte == b'\n').collect();
        check(Charset::Utf8, content, &expected);
        check(Charset::Latin1, content, &expected);
    }

    #[test]
    fn every_way_of_reading_gives_the_same_wide_lines() {
        // U+0A00 and U+0A0A have a byte that looks like an end of line.
        let text =
            "one\n\ntwo \u{a00}\u{a0a}\u{a}the longest line of them all\n\u{a00}\nunfinished";
        for charset in [Charset::Utf16Le, Charset::Utf16Be] {
            let units = |text: &str| -> Vec<u8> {
                text.encode_utf16()
                    .flat_map(|unit| match charset {
                        Charset::Utf16Be => unit.swap_bytes().to_le_bytes(),
                        Charset::Utf8 | Charset::Latin1 | Charset::Utf16Le => unit.to_le_bytes(),
                    })
                    .collect()
            };
            let lines: Vec<Vec<u8>> = text.split('\n').map(units).collect();
            let expected: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
            check(charset, &units(text), &expected);
        }
    }

    fn check(charset: Charset, content: &[u8], expected: &[&[u8]]) {
        for step in [1, 2, 5, 13, 1000] {
            for chunk_bytes in [2, 3, 7, 16, 64, 1000] {
                for take in [1, 2, 1000] {
                    assert_eq!(
                        read(charset, content, step, chunk_bytes, take),
                        expected,
                        "{charset:?}, step {step}, chunk {chunk_bytes}, take {take}"
                    );
                }
            }
        }
    }

    #[test]
    fn unfinished_lines_wait_and_do_not_move_the_checkpoint() {
        let mut cursor = LineCursor::new(100);
        assert_eq!(
            cursor.handle_chunk(Charset::Utf8, b"ab\ncd", false).count(),
            1
        );
        assert_eq!((cursor.start(), cursor.read_from()), (103, 103));
        assert_eq!(
            cursor.handle_chunk(Charset::Utf8, b"cdef", false).count(),
            0
        );
        assert_eq!((cursor.start(), cursor.read_from()), (103, 103));
        assert_eq!(cursor.handle_chunk(Charset::Utf8, b"cdef", true).count(), 0);
        assert_eq!((cursor.start(), cursor.read_from()), (103, 107));
        let pieces: Vec<_> = cursor.handle_chunk(Charset::Utf8, b"g\nh", false).collect();
        assert_eq!(
            pieces,
            [Piece::Long {
                start: 103,
                len: 5,
                end: 109
            }]
        );
        assert_eq!(cursor.handle_end(109), None);
        assert_eq!(
            cursor.handle_end(110),
            Some(Piece::Long {
                start: 109,
                len: 1,
                end: 110
            })
        );
        assert_eq!(cursor.handle_end(110), None);
    }
}

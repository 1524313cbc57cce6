//! Where lines begin and end in a file that is read in chunks.
//!
//! Nothing is held back: an unfinished line is read again when more has come, and a line that is
//! larger than a chunk is only measured, then named by its place. So memory does not depend on
//! what is in the file, and every offset between two lines is a place to start from again.

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
    pub fn start(&self) -> u64 {
        match self {
            Self::Line { bytes, end } => end.saturating_sub(wide(bytes.len())).saturating_sub(1),
            Self::Long { start, .. } => *start,
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
    /// taken stay for the next chunk.
    pub fn handle_chunk<'a>(&'a mut self, chunk: &'a [u8], full: bool) -> Lines<'a> {
        Lines {
            base: self.searched,
            cursor: self,
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
        let Some(len) = memchr::memchr(b'\n', rest) else {
            // A chunk without any end of line is not worth reading again; the rest of one is.
            if self.consumed == 0 && self.full {
                self.cursor.searched = self.base.saturating_add(wide(rest.len()));
            }
            return None;
        };
        let start = self.cursor.start;
        let newline = self.base.saturating_add(wide(self.consumed + len));
        let end = newline.saturating_add(1);
        let began_here = start >= self.base;
        *self.cursor = LineCursor::new(end);
        self.consumed += len + 1;
        Some(if began_here {
            Piece::Line {
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

/// A line without the carriage return that some systems end it with.
pub fn trim_line_end(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn wide(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `content` as a file that grows by `step`, in chunks of `chunk_bytes`, and stops
    /// taking lines after `take` of each chunk.
    fn read(content: &[u8], step: usize, chunk_bytes: usize, take: usize) -> Vec<Vec<u8>> {
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
                    .handle_chunk(chunk, chunk.len() == chunk_bytes)
                    .take(take)
                {
                    lines.push(match piece {
                        Piece::Line { bytes, end } => {
                            assert_eq!(content[usize::try_from(end).unwrap() - 1], b'\n');
                            bytes.to_vec()
                        }
                        Piece::Long { start, len, end } => {
                            assert_eq!(start + len + 1, end);
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
        for step in [1, 2, 5, 13, 1000] {
            for chunk_bytes in [1, 2, 3, 7, 16, 64, 1000] {
                for take in [1, 2, 1000] {
                    assert_eq!(
                        read(content, step, chunk_bytes, take),
                        expected,
                        "step {step}, chunk {chunk_bytes}, take {take}"
                    );
                }
            }
        }
    }

    #[test]
    fn unfinished_lines_wait_and_do_not_move_the_checkpoint() {
        let mut cursor = LineCursor::new(100);
        assert_eq!(cursor.handle_chunk(b"ab\ncd", false).count(), 1);
        assert_eq!((cursor.start(), cursor.read_from()), (103, 103));
        assert_eq!(cursor.handle_chunk(b"cdef", false).count(), 0);
        assert_eq!((cursor.start(), cursor.read_from()), (103, 103));
        assert_eq!(cursor.handle_chunk(b"cdef", true).count(), 0);
        assert_eq!((cursor.start(), cursor.read_from()), (103, 107));
        let pieces: Vec<_> = cursor.handle_chunk(b"g\nh", false).collect();
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

    #[test]
    fn carriage_return_is_trimmed_once() {
        for (line, expected) in [
            (&b"a\r"[..], &b"a"[..]),
            (b"a\r\r", b"a\r"),
            (b"\ra", b"\ra"),
            (b"\r", b""),
            (b"", b""),
        ] {
            assert_eq!(trim_line_end(line), expected);
        }
    }
}

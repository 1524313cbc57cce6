//! What is read: a file as it is, or what is packed in one.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use pipeline::tail::{FINGERPRINT_BYTES, Gunzip, GunzipError};

/// One read of packed bytes.
const PACKED_BYTES: usize = 16 * 1024;

/// So much is unpacked in one go to come to the place where reading goes on.
const SKIP_BYTES: u64 = 4 * 1024 * 1024;

/// An open file.
#[derive(Debug)]
pub(super) enum Input {
    /// As it is.
    Plain(File),
    /// Packed by gzip.
    Packed(Box<Packed>),
}

/// How far a read came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Filled {
    /// Bytes in the buffer.
    pub(super) len: usize,
    /// Whether there may be more behind them.
    pub(super) more: bool,
}

/// What is packed in a file, read from its beginning.
#[derive(Debug)]
pub(super) struct Packed {
    file: File,
    gunzip: Gunzip,
    input: Vec<u8>,
    /// How much of `input` is done with.
    consumed: usize,
    /// Where the next packed bytes are.
    next_offset: u64,
    /// What was unpacked last, to be read again from the unfinished line on.
    window: Vec<u8>,
    /// Where it begins.
    window_offset: u64,
    /// The beginning of a line that is longer than the window, and where it begins.
    long: (u64, Vec<u8>),
    /// Nothing more can be unpacked.
    is_over: bool,
    broken: Option<GunzipError>,
    head: Vec<u8>,
}

impl Input {
    /// Opens a file whose name says whether it is packed.
    pub(super) fn open(path: &Path, is_packed: bool) -> io::Result<(Self, std::fs::Metadata)> {
        let file = open(path)?;
        let metadata = file.metadata()?;
        let input = if is_packed {
            Self::Packed(Box::new(Packed::new(file)?))
        } else {
            Self::Plain(file)
        };
        Ok((input, metadata))
    }

    /// The file itself.
    pub(super) const fn file(&self) -> &File {
        match self {
            Self::Plain(file) => file,
            Self::Packed(packed) => &packed.file,
        }
    }

    /// Why not everything could be unpacked.
    pub(super) fn broken(&self) -> Option<GunzipError> {
        match self {
            Self::Plain(_) => None,
            Self::Packed(packed) => packed.broken,
        }
    }

    /// The first bytes of the content, as many as a fingerprint covers.
    pub(super) fn head(&self) -> io::Result<Vec<u8>> {
        match self {
            Self::Plain(file) => head_of(file),
            Self::Packed(packed) => Ok(packed.head.clone()),
        }
    }

    /// Reads what stands at `from`, which only moves on. The line that is not finished there
    /// began at `line`, of which so many bytes will be wanted.
    pub(super) fn fill(
        &mut self,
        buffer: &mut [u8],
        from: u64,
        line: u64,
        long_bytes_max: usize,
    ) -> io::Result<Filled> {
        match self {
            Self::Plain(file) => {
                let len = read_full(file, buffer, from)?;
                let more = len == buffer.len();
                Ok(Filled { len, more })
            }
            Self::Packed(packed) => {
                packed.keep_long(from, line, long_bytes_max);
                packed.fill(buffer, from)
            }
        }
    }

    /// Reads the beginning of a line that was not in one chunk.
    pub(super) fn read_long(&self, line: &mut [u8], start: u64) -> io::Result<()> {
        match self {
            Self::Plain(file) => file.read_exact_at(line, start),
            Self::Packed(packed) => packed.read_long(line, start),
        }
    }
}

impl Packed {
    fn new(file: File) -> io::Result<Self> {
        let mut packed = Self {
            head: Vec::new(),
            ..Self::begin(file)
        };
        // The head by itself: a file that is damaged behind it is recognized all the same.
        let mut head = vec![0; FINGERPRINT_BYTES];
        let len = packed.unpack(&mut head)?;
        head.truncate(len);
        Ok(Self {
            head,
            ..Self::begin(packed.file)
        })
    }

    fn begin(file: File) -> Self {
        Self {
            file,
            gunzip: Gunzip::default(),
            input: Vec::new(),
            consumed: 0,
            next_offset: 0,
            window: Vec::new(),
            window_offset: 0,
            long: (0, Vec::new()),
            is_over: false,
            broken: None,
            head: Vec::new(),
        }
    }

    /// Keeps the beginning of the line at `line` before it leaves the window.
    fn keep_long(&mut self, from: u64, line: u64, long_bytes_max: usize) {
        if line >= from {
            return;
        }
        if self.long.0 != line {
            self.long = (line, Vec::new());
        }
        let kept = wide(self.long.1.len());
        let begin = usize::try_from((line + kept).saturating_sub(self.window_offset));
        let end = usize::try_from(from.saturating_sub(self.window_offset));
        if let (Ok(begin), Ok(end)) = (begin, end) {
            let room = long_bytes_max.saturating_sub(self.long.1.len());
            let part = self.window.get(begin..end).unwrap_or_default();
            self.long
                .1
                .extend_from_slice(part.get(..room).unwrap_or(part));
        }
    }

    fn read_long(&self, line: &mut [u8], start: u64) -> io::Result<()> {
        let kept: &[u8] = if self.long.0 == start {
            &self.long.1
        } else {
            &[]
        };
        let taken = kept.len().min(line.len());
        let (first, rest) = line.split_at_mut(taken);
        first.copy_from_slice(kept.get(..taken).unwrap_or_default());
        let offset = start.saturating_add(wide(taken));
        let begin =
            usize::try_from(offset.saturating_sub(self.window_offset)).unwrap_or(usize::MAX);
        let part = self.window.get(begin..begin.saturating_add(rest.len()));
        if let Some(part) = part.filter(|_| offset >= self.window_offset) {
            rest.copy_from_slice(part);
        } else if !rest.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    fn fill(&mut self, buffer: &mut [u8], from: u64) -> io::Result<Filled> {
        let mut skipped = 0;
        while self.window_end() < from {
            if skipped >= SKIP_BYTES || self.is_over {
                return Ok(Filled {
                    len: 0,
                    more: !self.is_over,
                });
            }
            let want = usize::try_from(from - self.window_end()).unwrap_or(usize::MAX);
            let mut window = vec![0; want.min(buffer.len())];
            self.window_offset = self.window_end();
            let len = self.unpack(&mut window)?;
            window.truncate(len);
            self.window = window;
            skipped += wide(len);
        }
        let begin = usize::try_from(from.saturating_sub(self.window_offset)).unwrap_or(usize::MAX);
        let rest = self.window.get(begin..).unwrap_or_default();
        let kept = rest.len().min(buffer.len());
        let (first, room) = buffer.split_at_mut(kept);
        first.copy_from_slice(rest.get(..kept).unwrap_or_default());
        let len = kept + self.unpack(room)?;
        let filled = buffer.get(..len).unwrap_or_default();
        self.window.clear();
        self.window.extend_from_slice(filled);
        self.window_offset = from;
        let more = len == buffer.len() || !self.is_over;
        Ok(Filled { len, more })
    }

    fn window_end(&self) -> u64 {
        self.window_offset.saturating_add(wide(self.window.len()))
    }

    /// Unpacks until `output` is full or nothing is left.
    fn unpack(&mut self, output: &mut [u8]) -> io::Result<usize> {
        let mut len = 0;
        while len < output.len() && !self.is_over {
            if self.consumed == self.input.len() {
                self.input.resize(PACKED_BYTES, 0);
                let read = read_full(&self.file, &mut self.input, self.next_offset)?;
                self.input.truncate(read);
                self.consumed = 0;
                self.next_offset += wide(read);
            }
            let input = self.input.get(self.consumed..).unwrap_or_default();
            let ends = input.is_empty();
            let room = output.get_mut(len..).unwrap_or_default();
            let done = self.gunzip.unpack(input, room);
            self.consumed += done.consumed;
            len += done.written;
            self.broken = done.error;
            if ends && done.written == 0 {
                self.broken = self.gunzip.handle_end().err();
                self.is_over = true;
            }
            self.is_over |= self.broken.is_some();
        }
        Ok(len)
    }
}

/// Opens for reading and does not wait for a writer, should it have become a FIFO.
fn open(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    File::options()
        .read(true)
        .custom_flags(i32::try_from(flags.bits()).unwrap_or(0))
        .open(path)
}

/// The first bytes of a file, as many as a fingerprint covers.
fn head_of(file: &File) -> io::Result<Vec<u8>> {
    let mut head = vec![0; FINGERPRINT_BYTES];
    let len = read_full(file, &mut head, 0)?;
    head.truncate(len);
    Ok(head)
}

/// Reads until the buffer is full or the file ends.
pub(super) fn read_full(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    loop {
        let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) else {
            return Ok(done);
        };
        match file.read_at(rest, offset.saturating_add(wide(done))) {
            Ok(0) => return Ok(done),
            Ok(len) => done += len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn wide(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

//! What a disk was told, write by write, and what is on it when the power fails at any moment.
//!
//! The log is in the format of dm-log-writes, as qemu's driver `blklogwrites` writes it: a sector
//! with the superblock, then for each request a sector with its header and the data behind it.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File};
use std::ops::Range;
use std::path::Path;
use std::str::FromStr;

use diskring::sim::Rng;

use crate::disk::BLOCK;

const MAGIC: u64 = 0x006a_7366_7773_6872;
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;
/// What a disk tears a write into.
const SECTOR: usize = 512;

/// How long a log is at this moment.
///
/// The length grows before a request is done: what is known now has nothing to do with requests
/// that are logged from here on.
#[derive(Debug)]
pub(crate) struct LogMeter(File);

impl LogMeter {
    pub(crate) fn new(log: &Path) -> Self {
        LogMeter(File::open(log).unwrap())
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.0.metadata().unwrap().len()
    }
}

/// A request to the disk.
#[derive(Debug)]
struct Entry {
    /// Where it begins in the log.
    start: u64,
    request: Request,
}

#[derive(Debug)]
enum Request {
    /// The content of `data` in the log goes to this byte of the disk.
    Write { at: usize, data: Range<usize> },
    /// What was written before is durable when it has succeeded.
    Flush,
    /// What is there is of no interest any more.
    Discard,
}

/// Everything a disk was told.
pub(crate) struct WriteLog {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

impl WriteLog {
    /// Reads the log of a disk of `capacity` bytes, up to its last flush.
    pub(crate) fn read(path: &Path, capacity: usize) -> Self {
        let bytes = fs::read(path).unwrap();
        assert_eq!(
            number(&bytes, 0),
            MAGIC,
            "a write log begins with its magic"
        );
        let count = number(&bytes, 16);
        let sector = u32::from_le_bytes(bytes[24..28].try_into().unwrap());
        let sector = usize::try_from(sector).unwrap();
        let mut entries = Vec::new();
        let mut start = sector;
        for _ in 0..count {
            let [to, sectors, flags] = [0, 8, 16].map(|field| number(&bytes, start + field));
            let at = usize::try_from(to).unwrap() * sector;
            let len = usize::try_from(sectors).unwrap() * sector;
            // An older qemu mixes requests up when it is told to write zeros.
            assert!(
                flags <= DISCARD && flags & FUA == 0 && at + len <= capacity,
                "the write log makes no sense at {start}: {to} {sectors} {flags}"
            );
            let data = start + sector..start + sector + len;
            let (request, end) = match flags {
                0 => (
                    Request::Write {
                        at,
                        data: data.clone(),
                    },
                    data.end,
                ),
                FLUSH => (Request::Flush, data.end),
                _ => (Request::Discard, data.start),
            };
            let start_of_this = u64::try_from(start).unwrap();
            entries.push(Entry {
                start: start_of_this,
                request,
            });
            start = end;
        }
        WriteLog { bytes, entries }
    }

    /// How many requests there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many requests had begun when the log was so long.
    pub(crate) fn begun(&self, log_bytes: u64) -> usize {
        self.entries
            .partition_point(|entry| entry.start < log_bytes)
    }

    /// The flushes, by number.
    pub(crate) fn flushes(&self) -> Vec<usize> {
        let numbered = self.entries.iter().enumerate();
        numbered
            .filter(|(_, entry)| matches!(entry.request, Request::Flush))
            .map(|(number, _)| number)
            .collect()
    }
}

fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// Which of the writes since the last flush are on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    None,
    All,
    /// Each by chance.
    Some,
    /// Each block of them by chance, and each sector where the ring lies.
    Torn,
}

const KEEPS: [(&str, Keep); 4] = [
    ("none", Keep::None),
    ("all", Keep::All),
    ("some", Keep::Some),
    ("torn", Keep::Torn),
];

/// A moment at which the power fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    /// How many requests have reached the disk.
    pub(crate) stop: usize,
    pub(crate) keep: Keep,
    pub(crate) seed: u64,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = KEEPS.iter().find(|(_, keep)| *keep == self.keep);
        let (name, _) = named.unwrap();
        write!(f, "{}:{name}:{}", self.stop, self.seed)
    }
}

impl FromStr for Cut {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(':');
        let mut next = || {
            parts
                .next()
                .ok_or_else(|| format!("{text:?} is no STOP:KEEP:SEED"))
        };
        let (stop, keep, seed) = (next()?, next()?, next()?);
        let keep = KEEPS.iter().find(|(name, _)| *name == keep);
        Ok(Cut {
            stop: stop.parse().map_err(|e| format!("{stop}: {e}"))?,
            keep: keep
                .ok_or_else(|| format!("nobody keeps like that: {text:?}"))?
                .1,
            seed: seed.parse().map_err(|e| format!("{seed}: {e}"))?,
        })
    }
}

/// The disk at one cut after another.
pub(crate) struct Replay<'a> {
    log: &'a WriteLog,
    /// The blocks where the ring lies.
    ring: &'a BTreeSet<usize>,
    /// What the last flush has made durable.
    durable: Vec<u8>,
    applied: usize,
}

impl<'a> Replay<'a> {
    pub(crate) fn new(log: &'a WriteLog, base: Vec<u8>, ring: &'a BTreeSet<usize>) -> Self {
        Replay {
            log,
            ring,
            durable: base,
            applied: 0,
        }
    }

    /// Puts into `content` what is on the disk, and gives how many bytes that were written are not;
    /// no cut may be earlier than the one before.
    pub(crate) fn cut(&mut self, cut: Cut, content: &mut Vec<u8>) -> usize {
        let log = self.log;
        let before = &log.entries[..cut.stop];
        let is_flush = |entry: &Entry| matches!(entry.request, Request::Flush);
        let flushed = before.iter().rposition(is_flush).map_or(0, |last| last + 1);
        assert!(self.applied <= flushed, "cuts are taken in order");
        for entry in &log.entries[self.applied..flushed] {
            if let Request::Write { at, data } = &entry.request {
                self.durable[*at..*at + data.len()].copy_from_slice(&log.bytes[data.clone()]);
            }
        }
        self.applied = flushed;
        content.clone_from(&self.durable);
        let mut chance = Rng::new(cut.seed);
        // So many of a hundred arrive.
        let share = 5 + chance.below(91);
        let mut lost = 0;
        for entry in &log.entries[flushed..cut.stop] {
            let Request::Write { at, data } = &entry.request else {
                continue;
            };
            let arrives_whole = chance.below(100) < share;
            let mut offset = 0;
            while offset < data.len() {
                let piece = self.piece(cut.keep, at + offset).min(data.len() - offset);
                let arrives = match cut.keep {
                    Keep::None => false,
                    Keep::All => true,
                    Keep::Some => arrives_whole,
                    Keep::Torn => chance.below(100) < share,
                };
                if arrives {
                    let from = data.start + offset;
                    let piece = &log.bytes[from..from + piece];
                    content[at + offset..at + offset + piece.len()].copy_from_slice(piece);
                } else {
                    lost += piece;
                }
                offset += piece;
            }
        }
        lost
    }

    /// How many bytes at this place arrive together.
    fn piece(&self, keep: Keep, at: usize) -> usize {
        match keep {
            Keep::Torn if self.ring.contains(&(at / BLOCK)) => SECTOR - at % SECTOR,
            Keep::Torn => BLOCK - at % BLOCK,
            Keep::None | Keep::All | Keep::Some => usize::MAX,
        }
    }
}

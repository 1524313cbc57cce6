//! What a ring holds after a cut, and whether that keeps every promise of the run before it.
//!
//! Entries of one stream lie in the ring in the order of being sent, so whatever is missing is
//! either in a gap, or behind the last, or has made room: those are counted. What was counted as
//! delivered must have been taken by the destination, and the rest counted as evicted.

use std::collections::BTreeMap;
use std::sync::Arc;

use diskring::sim::SimDisk;
use diskring::{Options, Read, Ring, Unrecovered};
use pipeline::books::Books;
use pipeline::stored::StoredRef;
use pipeline::tail::FileKey;
use pipeline::tally::DestinationTally;

use crate::promises::{Promises, Stream};

/// The one destination.
pub(crate) const DESTINATION: &str = "lake";

/// The source that follows a file.
const FILE: &str = "app";

/// A record in the ring.
pub(crate) struct Stored {
    pub(crate) seq: u64,
    source: String,
    pub(crate) text: String,
}

/// A ring as the agent would find it.
pub(crate) struct View {
    pub(crate) first: u64,
    pub(crate) next: u64,
    pub(crate) entries: Vec<Stored>,
    /// How many entries each source has ever had.
    appended: BTreeMap<String, u64>,
    pub(crate) tally: Option<DestinationTally>,
    /// The places in the followed file.
    checkpoints: Vec<u64>,
    /// Entries of a group that was not whole.
    pub(crate) truncated: u64,
}

impl View {
    /// Recovers the ring in these bytes as the agent does.
    pub(crate) fn recover(bytes: Vec<u8>) -> Result<Self, String> {
        let storage = SimDisk::from_bytes(bytes, 512);
        let (ring, recovery) = Unrecovered::open(storage)
            .and_then(|ring| ring.recover(&Options::default()))
            .map_err(|error| format!("the ring cannot be recovered: {error}"))?;
        // A power cut alone rots nothing and leaves nothing to repair.
        let damage = (
            recovery.frames_lost,
            recovery.segments_unreadable,
            recovery.pages_repaired,
        );
        if damage != (0, 0, 0) {
            return Err(format!("the ring is damaged: {recovery:?}"));
        }
        let books = Books::open(&ring).map_err(|error| error.to_string())?;
        let names = books.source_names();
        let mut appended = BTreeMap::new();
        let mut checkpoints = Vec::new();
        for (tag, name) in &names {
            appended.insert(name.to_string(), ring.appended(*tag));
            if **name == *FILE {
                let places = books.checkpoints(&ring, *tag).into_iter();
                let of_files = places.filter(|(key, _)| FileKey::decode(key).is_some());
                checkpoints.extend(of_files.map(|(_, place)| place));
            }
        }
        Ok(View {
            first: ring.first().get(),
            next: ring.next().get(),
            entries: entries(&ring, &names)?,
            appended,
            tally: books.tallies(&ring).remove(DESTINATION),
            checkpoints,
            truncated: recovery.truncated,
        })
    }

    /// Holds it to what was promised when so many requests had reached the disk.
    pub(crate) fn check(&self, promises: &Promises, stop: usize) -> Result<(), String> {
        let mut there = vec![Vec::new(); promises.streams.len()];
        for entry in &self.entries {
            let origin = promises.origin(&entry.source, &entry.text, stop);
            let (stream, number) = origin.map_err(|text| format!("seq {}: {text}", entry.seq))?;
            there[stream].push(number);
            if promises
                .taken(entry.seq)
                .is_some_and(|taken| taken != entry.text)
            {
                return Err(format!("seq {} was delivered as another record", entry.seq));
            }
        }
        let mut gone: BTreeMap<&str, usize> = BTreeMap::new();
        for (stream, there) in promises.streams.iter().zip(&there) {
            *gone.entry(&stream.source).or_default() += check_stream(stream, there, stop)?;
        }
        for (source, gone) in gone {
            let there = self.entries.iter().filter(|entry| entry.source == source);
            let evicted = self.appended(source) - there.count();
            if gone > evicted {
                return Err(format!(
                    "{gone} records of {source} were acknowledged and are not in the ring, \
                     but only {evicted} have ever left it"
                ));
            }
        }
        self.check_lines(promises)?;
        self.check_tally(promises, stop)
    }

    /// Lines are stored once and without a gap, and the checkpoint stands behind the last.
    fn check_lines(&self, promises: &Promises) -> Result<(), String> {
        let place = self.checkpoints.iter().copied().max().unwrap_or(0);
        let read = promises.lines_before(place)?;
        let lines = self.entries.iter().filter(|entry| entry.source == FILE);
        let numbers = lines.filter_map(|entry| entry.text.split(' ').nth(1)?.parse().ok());
        let numbers: Vec<usize> = numbers.collect();
        let stored = self.lines();
        let expected: Vec<usize> = (stored + 1 - numbers.len()..=stored).collect();
        if read != stored || numbers != expected {
            return Err(format!(
                "{stored} lines were stored, the checkpoint stands behind line {read}, \
                 and the ring has {numbers:?}"
            ));
        }
        Ok(())
    }

    /// Every entry that ever was is delivered, evicted or waiting; delivered is only what the
    /// destination took, and what is gone without that is counted as evicted.
    fn check_tally(&self, promises: &Promises, stop: usize) -> Result<(), String> {
        let Some(tally) = &self.tally else {
            if self.first > 0 {
                return Err(format!("{} entries are gone and not counted", self.first));
            }
            return Ok(());
        };
        let evicted: u64 = tally.evicted().values().sum();
        let other = tally.rejected() + tally.filtered() + tally.truncated();
        if tally.delivered() + evicted + tally.waiting() != self.next || other != 0 {
            return Err(format!("{} entries, but {tally:?}", self.next));
        }
        let committed = tally.committed().get();
        let untaken = (0..committed).filter(|seq| !promises.is_taken(*seq, stop));
        let untaken = u64::try_from(untaken.count()).unwrap();
        if untaken > evicted || committed < self.first {
            return Err(format!(
                "{untaken} records before {committed} were not taken, but {tally:?}"
            ));
        }
        Ok(())
    }

    /// How many lines of the followed file were stored.
    pub(crate) fn lines(&self) -> usize {
        self.appended(FILE)
    }

    /// The records that wait for the destination.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = (u64, &str)> {
        let committed = self
            .tally
            .as_ref()
            .map_or(0, |tally| tally.committed().get());
        let entries = self.entries.iter();
        entries
            .filter(move |entry| entry.seq >= committed)
            .map(|entry| (entry.seq, entry.text.as_str()))
    }

    fn appended(&self, source: &str) -> usize {
        usize::try_from(self.appended.get(source).copied().unwrap_or(0)).unwrap()
    }
}

/// Of the numbers of a stream that are in the ring: they grow, and what was promised is among
/// them or before the first. Gives how many that are.
fn check_stream(stream: &Stream, there: &[usize], stop: usize) -> Result<usize, String> {
    let name = &stream.name;
    let promised = |number: &usize| stream.is_promised(*number, stop);
    let end = stream.len() + 1;
    let first = there.first().copied().unwrap_or(end);
    let mut expected = first;
    for number in there.iter().copied().chain([end]) {
        if number < expected {
            return Err(format!("{name} {number} comes again, or too late"));
        }
        if let Some(lost) = (expected..number).find(promised) {
            return Err(format!("{name} {lost} was acknowledged and is lost"));
        }
        expected = number + 1;
    }
    Ok((1..first).filter(promised).count())
}

fn entries(ring: &Ring<SimDisk>, names: &BTreeMap<u16, Arc<str>>) -> Result<Vec<Stored>, String> {
    let mut entries = Vec::new();
    let mut cursor = ring.cursor(ring.first());
    loop {
        let frame = match ring.read(&mut cursor).map_err(|error| error.to_string())? {
            Read::Frame(frame) => frame,
            Read::End => return Ok(entries),
            other @ (Read::Lost { .. } | Read::Evicted { .. }) => {
                return Err(format!("the ring gives {other:?}"));
            }
        };
        for entry in frame.entries() {
            let stored = StoredRef::decode(entry.payload).map_err(|error| error.to_string())?;
            let source = names.get(&entry.tag).map_or("nobody", |name| name);
            entries.push(Stored {
                seq: entry.seq.get(),
                source: source.to_owned(),
                text: String::from_utf8_lossy(stored.payload).into_owned(),
            });
        }
    }
}

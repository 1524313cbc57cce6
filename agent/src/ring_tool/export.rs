//! `hydrant ring export`: records as lines of JSON, with one frame in memory at a time.

mod wanted;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use diskring::{Entry, OpenError, Read, Seq};
use pipeline::books::Books;
use pipeline::boots::Boots;
use pipeline::encode::{EntryMeta, Exporter};
use pipeline::replay;
use pipeline::stored::StoredRef;

use super::locate::{self, Located};
use super::{ToolError, counted, lost, note};
use crate::cli::RingExportArgs;
use wanted::Wanted;

type Names = BTreeMap<u16, Arc<str>>;

/// What became of the records that were wanted.
#[derive(Debug, Default)]
struct Counts {
    written: u64,
    lost: u64,
    evicted: u64,
    undecoded: u64,
}

/// Why it ended before the end.
enum Halt {
    /// Nobody reads what is written any more.
    Closed,
    /// What is written has no place.
    Output(io::Error),
    /// The ring cannot be read on.
    Ring(ToolError),
}

/// Prints the records that were asked for.
pub(super) fn run(arguments: &RingExportArgs) -> Result<ExitCode, ToolError> {
    let wanted = Wanted::new(arguments)?;
    let mut located = locate::open(&arguments.place)?;
    wanted.check_sources(&books(&located)?.source_names())?;
    let exported = match &arguments.output {
        None => export(
            &mut located,
            &wanted,
            &mut BufWriter::new(io::stdout().lock()),
        ),
        Some(path) => {
            let mut out = BufWriter::new(create(path)?);
            let exported = export(&mut located, &wanted, &mut out);
            exported.and_then(|counts| {
                out.get_ref().sync_all().map_err(Halt::Output)?;
                note(&format!(
                    "{} written to {}",
                    counted(counts.written, "record"),
                    path.display()
                ));
                Ok(counts)
            })
        }
    };
    match exported {
        Ok(counts) => Ok(report(&counts)),
        Err(Halt::Closed) => Ok(ExitCode::SUCCESS),
        Err(Halt::Ring(error)) => Err(error),
        Err(Halt::Output(error)) => Err(ToolError::other(match &arguments.output {
            None => format!("standard output: {error}"),
            Some(path) => format!("{}: {error}; what is in it is not all", path.display()),
        })),
    }
}

/// Says what is missing, and gives the exit status for it.
fn report(counts: &Counts) -> ExitCode {
    if counts.undecoded > 0 {
        note(&format!(
            "{} not known to this version; the stored bytes are in stored_base64",
            counted(counts.undecoded, "record")
        ));
    }
    if counts.evicted > 0 {
        note(&format!(
            "{} not in the ring any more: newer ones took the room",
            counted(counts.evicted, "record")
        ));
    }
    if counts.lost == 0 {
        return ExitCode::SUCCESS;
    }
    note(&format!(
        "{} lost: the ring is damaged there",
        counted(counts.lost, "record")
    ));
    ExitCode::FAILURE
}

/// A file that was not there before.
fn create(path: &Path) -> Result<File, ToolError> {
    let created = OpenOptions::new().write(true).create_new(true).open(path);
    created.map_err(|error| {
        let path = path.display();
        if error.kind() == io::ErrorKind::AlreadyExists {
            let text = format!("{path} exists already and is not overwritten; name a new file");
            return ToolError::usage(text);
        }
        ToolError::other(format!("{path} cannot be made: {error}"))
    })
}

/// What the ring knows of sources and of the boots of its machine.
fn books(located: &Located) -> Result<Books, ToolError> {
    Ok(Books::open(located.beside.ring())?)
}

fn export(
    located: &mut Located,
    wanted: &Wanted,
    out: &mut BufWriter<impl Write>,
) -> Result<Counts, Halt> {
    let ring = located.beside.ring();
    let range = wanted.range(ring);
    let books_now = books(located)?;
    let mut writer = LineWriter {
        exporter: Exporter::new(ring.id().0, books_now.boots()),
        names: books_now.source_names(),
        boots: books_now.boots(),
        line: Vec::new(),
        out,
    };
    let mut openings = located.beside.openings();
    let mut counts = Counts::default();
    let mut cursor = located.beside.ring().cursor(range.first);
    while cursor.seq() < range.end {
        let read = located.beside.read(&mut cursor)?;
        if located.beside.openings() != openings {
            openings = located.beside.openings();
            // A number may belong to another source by now.
            let books_now = books(located)?;
            writer.names = books_now.source_names();
            writer.boots = books_now.boots();
        }
        let within = |first: Seq, end: Seq| end.min(range.end).since(first);
        match read {
            Read::Frame(frame) => {
                let entries = frame.entries().take_while(|entry| entry.seq < range.end);
                for entry in entries {
                    writer.write(&entry, wanted, &mut counts)?;
                }
            }
            Read::Lost { first, end } => {
                counts.lost += within(first, end);
                note(&lost(first, end.min(range.end)));
            }
            Read::Evicted { first, end } => counts.evicted += within(first, end),
            Read::End => break,
        }
    }
    out.flush()?;
    Ok(counts)
}

/// Writes entries as lines.
struct LineWriter<'a, W: Write> {
    exporter: Exporter,
    names: Names,
    boots: Arc<Boots>,
    line: Vec<u8>,
    out: &'a mut BufWriter<W>,
}

impl<W: Write> LineWriter<'_, W> {
    fn write(
        &mut self,
        entry: &Entry<'_>,
        wanted: &Wanted,
        counts: &mut Counts,
    ) -> Result<(), Halt> {
        let source = self.names.get(&entry.tag).map_or("unknown", |name| &**name);
        let decoded = StoredRef::decode(entry.payload);
        let received_at = replay::known_time(&self.boots, entry.payload);
        if !wanted.takes(source, received_at) {
            return Ok(());
        }
        let meta = EntryMeta {
            seq: entry.seq,
            source,
        };
        self.line.clear();
        self.exporter
            .write(meta, entry.payload, &decoded, &mut self.line);
        self.out.write_all(&self.line)?;
        counts.written += 1;
        counts.undecoded += u64::from(decoded.is_err());
        Ok(())
    }
}

impl From<io::Error> for Halt {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::Closed;
        }
        Self::Output(error)
    }
}

impl From<ToolError> for Halt {
    fn from(error: ToolError) -> Self {
        Self::Ring(error)
    }
}

impl From<OpenError> for Halt {
    fn from(error: OpenError) -> Self {
        Self::Ring(error.into())
    }
}

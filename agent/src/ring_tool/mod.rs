//! `hydrant ring`: what is in a ring, read beside its agent or from a copy, and never changed.

mod export;
mod info;
mod locate;
mod verify;

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use diskring::{OpenError, Seq, StorageError};

use crate::app::with_sources;
use crate::cli::RingCommand;
use crate::{EXIT_STORAGE, EXIT_USAGE, fail, show};

/// Why nothing, or not everything, could be said.
#[derive(Debug)]
struct ToolError {
    text: String,
    code: u8,
}

impl ToolError {
    /// What was asked for cannot be meant.
    fn usage(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            code: EXIT_USAGE,
        }
    }

    /// The ring cannot be read.
    fn storage(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            code: EXIT_STORAGE,
        }
    }

    /// The answer cannot be written.
    fn other(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            code: 1,
        }
    }
}

impl fmt::Display for ToolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for ToolError {}

impl From<StorageError> for ToolError {
    fn from(error: StorageError) -> Self {
        Self::storage(format!(
            "{}; look at the disk (dmesg), copy what it still gives (ddrescue) and name the copy",
            with_sources(&error)
        ))
    }
}

impl From<OpenError> for ToolError {
    /// Of an opening that succeeded before.
    fn from(error: OpenError) -> Self {
        if let OpenError::Storage(error) = error {
            return error.into();
        }
        Self::storage(format!("the ring changed while it was read: {error}"))
    }
}

/// Does what was asked for.
pub(crate) fn run(command: &RingCommand) -> ExitCode {
    let done = match command {
        RingCommand::Info(arguments) => info::run(arguments),
        RingCommand::Verify(arguments) => verify::run(arguments),
        RingCommand::Export(arguments) => export::run(arguments),
    };
    done.unwrap_or_else(|error| fail(&format!("hydrant: {error}"), error.code))
}

/// Writes to standard output; when nobody reads it any more, the exit status still counts.
fn tell(text: &str) -> Result<(), ToolError> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(ToolError::other(format!("standard output: {error}")))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Writes a line to standard error, beside what is asked for.
fn note(text: &str) {
    // There is nowhere else to say it.
    drop(writeln!(io::stderr(), "hydrant: {text}"));
}

/// What becomes of the records `first..end`.
fn lost(first: Seq, end: Seq) -> String {
    match end.since(first) {
        0 => "no record is lost".to_owned(),
        1 => format!("record {first} is lost"),
        count => {
            let last = end.get().saturating_sub(1);
            format!(
                "records {first} to {last} are lost ({})",
                show::number(count)
            )
        }
    }
}

/// `1 record`, `2,000 records`.
fn counted(count: u64, singular: &str) -> String {
    match count {
        1 => format!("1 {singular}"),
        _ => format!("{} {singular}s", show::number(count)),
    }
}

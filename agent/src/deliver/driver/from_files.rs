//! Dead letters whose records are not in the ring any more are sent out of their files.
//!
//! A file is a range of the log like any other; what sends it is a driver that reads the letters
//! instead of the ring, and commits nothing: a file that was taken whole is set aside.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::Ordering;

use pipeline::dead_letter::{FILE_BYTES_MAX, Kept};
use pipeline::delivery::Action;
use pipeline::destination::SeqRange;
use pipeline::stored;
use pipeline::tally::{StretchId, StretchKind};
use pipeline::turns::Rank;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::sleep_until;

use super::Driver;
use super::set_up::Errand;
use crate::deliver::build::KeptEntry;
use crate::deliver::{DestinationParts, LetterFile, Stop};

/// What became of the letters of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FileOutcome {
    /// Taken by the destination.
    pub(crate) sent: u64,
    /// Refused once more.
    pub(crate) refused: u64,
}

impl<'a> Driver<'a> {
    /// Sends the records of a file.
    pub(in crate::deliver) async fn send_file(
        parts: &'a DestinationParts,
        file: &LetterFile,
    ) -> Result<FileOutcome, Stop> {
        let entries = match read(file.path.clone()).await {
            Ok(entries) => entries,
            Err(text) => return Err(Stop::Setup(text)),
        };
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else {
            return Ok(FileOutcome::default());
        };
        let range = SeqRange::new(first.seq, last.seq.advance(1));
        let errand = Errand {
            config: &parts.config,
            sender: parts.name.clone(),
            ring: file.ring,
            letters: None,
            mark: Some(file.mark),
            committed: range.first,
        };
        let rank = Rank {
            lane: parts.lane,
            kind: StretchKind::Replay,
        };
        let key = (parts.index, StretchId::LIVE);
        let mut driver = Self::outfit(parts, key, rank, parts.store.stretches(), errand)?;
        driver.is_for_letters = true;
        driver.kept = Some(Rc::new(entries));
        driver.delivery.handle_plan(range);
        driver.send_kept().await
    }

    async fn send_kept(mut self) -> Result<FileOutcome, Stop> {
        // Whoever waits for it cuts it off.
        let (_end, mut never) = watch::channel(false);
        let mut outcome = FileOutcome::default();
        loop {
            match self.delivery.poll(self.now()) {
                Action::Idle => return Ok(outcome),
                Action::Encode(range) => self.encode(range).await?,
                Action::Send(units) => self.send(&units, &mut never).await?,
                Action::DeadLetter(refused) => {
                    tracing::warn!(
                        destination = self.parts.name,
                        reason = refused.refusal.reason,
                        "dead letters were refused once more and stay in their file"
                    );
                    self.delivery.handle_dead_lettered();
                }
                Action::Await => {
                    let (call, answer) = self.calls.next().await;
                    self.handle_answer(&call, &answer);
                }
                Action::Wait(until) => sleep_until(self.parts.clock.instant(until)).await,
            }
            if let Some(commit) = self.delivery.poll_commit() {
                outcome.sent += commit.accepted;
                outcome.refused += commit.rejected;
                let counters = &self.parts.gauges.counters;
                counters
                    .dead_letters_sent
                    .fetch_add(commit.accepted, Ordering::Relaxed);
            }
        }
    }
}

/// The records of the letters in a file, in the order of the log.
async fn read(path: PathBuf) -> Result<Vec<KeptEntry>, String> {
    let read = spawn_blocking(move || read_blocking(&path)).await;
    read.map_err(|error| error.to_string())?
}

fn read_blocking(path: &Path) -> Result<Vec<KeptEntry>, String> {
    let at = |text: String| format!("{}: {text}", path.display());
    let metadata = std::fs::metadata(path).map_err(|error| at(error.to_string()))?;
    if metadata.len() > FILE_BYTES_MAX {
        return Err(at(format!(
            "{} bytes are more than the {FILE_BYTES_MAX} that can be sent out of a file",
            metadata.len()
        )));
    }
    let text = std::fs::read(path).map_err(|error| at(error.to_string()))?;
    let mut entries = Vec::new();
    for (number, line) in text.split(|byte| *byte == b'\n').enumerate() {
        if line.is_empty() {
            continue;
        }
        let kept = Kept::read(line).map_err(|text| at(format!("line {}: {text}", number + 1)))?;
        let mut bytes = Vec::new();
        stored::encode(&kept.record, &mut bytes);
        entries.push(KeptEntry {
            seq: kept.seq,
            source: kept.source,
            stored: bytes,
        });
    }
    entries.sort_by_key(|entry| entry.seq);
    entries.dedup_by_key(|entry| entry.seq);
    Ok(entries)
}

//! Files of dead letters whose records are sent again out of them, one after the other.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;
use tokio::time::sleep;

use super::driver::{Driver, FileOutcome};
use super::{DestinationParts, SETUP_PAUSE, Stop, told};
use crate::intake::Shutdown;
use crate::replay::letters;

/// So many files wait at a time.
const FILES_MAX: usize = 64;

/// A file of dead letters whose records are not in the ring any more.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LetterFile {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// The ring that the records were in.
    pub(crate) ring: u64,
    /// What tells their batches from those that were sent first.
    pub(crate) mark: u64,
}

/// Files that wait, the one under way among them.
#[derive(Debug, Default)]
pub(super) struct LetterQueue {
    waiting: Mutex<BTreeSet<LetterFile>>,
    added: Notify,
}

impl LetterQueue {
    /// Adds files; those that were, which are not more than there is room for.
    pub(super) fn add(&self, files: Vec<LetterFile>) -> Vec<LetterFile> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut added = Vec::new();
        for file in files {
            let is_known = waiting.iter().any(|known| known.path == file.path);
            if !is_known && waiting.len() < FILES_MAX {
                waiting.insert(file.clone());
                added.push(file);
            }
        }
        drop(waiting);
        self.added.notify_one();
        added
    }

    async fn next(&self) -> LetterFile {
        loop {
            let next = {
                let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                waiting.first().cloned()
            };
            match next {
                Some(file) => return file,
                None => self.added.notified().await,
            }
        }
    }

    fn done(&self, file: &LetterFile) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.remove(file);
    }
}

/// Sends what waits, until it is told to end; the first lane does so for all.
pub(super) async fn run(parts: &DestinationParts, mut shutdown: Shutdown) {
    if parts.lane > 0 {
        return;
    }
    let queue = &parts.gauges.letter_files;
    let send = async {
        loop {
            let file = queue.next().await;
            send_letter_file(parts, &file).await;
            queue.done(&file);
        }
    };
    tokio::select! {
        () = told(&mut shutdown) => {}
        () = send => {}
    }
}

/// Sends the records of a file, which is set aside when they were all taken.
pub(crate) async fn send_letter_file(parts: &DestinationParts, file: &LetterFile) -> FileOutcome {
    let destination = &parts.name;
    let path = file.path.display();
    match Driver::send_file(parts, file).await {
        Ok(outcome) if outcome.refused == 0 => {
            tracing::info!(destination, "{} records of {path} were sent", outcome.sent);
            letters::set_aside(&file.path);
            outcome
        }
        Ok(outcome) => {
            let (sent, refused) = (outcome.sent, outcome.refused);
            tracing::warn!(
                destination,
                "{refused} records of {path} were refused once more, {sent} were taken; it stays"
            );
            outcome
        }
        Err(Stop::Setup(text)) => {
            tracing::error!(destination, "dead letters are not sent: {text}");
            // What cannot be set up now is not asked for again at once.
            sleep(SETUP_PAUSE).await;
            FileOutcome::default()
        }
        Err(Stop::StoreEnded | Stop::Worker | Stop::Told | Stop::Stretch) => FileOutcome::default(),
    }
}

//! Refused records become dead letters.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use pipeline::dead_letter;
use pipeline::delivery::{DeadLetter, Way};
use pipeline::destination::FileError;
use tokio::time::sleep;

use super::Driver;
use crate::deliver::build::LetterHead;
use crate::deliver::{SETUP_PAUSE, Stop};

impl Driver<'_> {
    /// Has refused records kept, by another destination or in the folder.
    pub(super) async fn bury(&mut self, dead: &DeadLetter) -> Result<(), Stop> {
        let mut dead = Cow::Borrowed(dead);
        if let (Some(fallback), Way::Fallback) = (&self.parts.config.fallback, self.way) {
            let reason = &mut dead.to_mut().refusal.reason;
            *reason = format!("fallback \"{}\": {reason}", fallback.name);
        }
        let kept = match &self.parts.config.dead_letter.destination {
            None => self.keep_in_folder(&dead).await?,
            Some(other) => {
                let sent = self.send_letters(other, &dead).await;
                let kept = self.unless_set_up_failed(sent).await?;
                if let Some(kept) = kept {
                    tracing::warn!(
                        destination = self.parts.name,
                        reason = dead.refusal.reason,
                        to = other.name,
                        "{kept} records were refused and went out as dead letters"
                    );
                }
                kept
            }
        };
        if let Some(kept) = kept {
            self.delivery.handle_kept(kept);
        }
        Ok(())
    }

    /// Keeps refused records in the dead letter folder; says how many, or nothing when the folder
    /// is to be asked again.
    pub(super) async fn keep_in_folder(&self, dead: &DeadLetter) -> Result<Option<u64>, Stop> {
        let (mut lines, mut count) = (Vec::new(), 0);
        let head = self.letter_head(dead);
        let mut from = dead.range.first;
        while from < dead.range.end {
            let chunk = self.read_from(from).await?;
            if chunk.end <= from {
                break;
            }
            from = chunk.end;
            let boots = self.boots();
            for (meta, stored) in self.sources().records(&chunk.frames, dead.range) {
                head.write_stored(meta, stored, &boots, &mut lines);
                count += 1;
            }
        }
        let name = self
            .dead_letters
            .file_name(dead.range, dead_letter::EXTENSION);
        let counters = &self.parts.gauges.counters;
        let written = self.dead_letters.write(name.clone(), Arc::new(lines));
        match written.await {
            Ok(removed) => {
                tracing::warn!(
                    destination = self.parts.name,
                    reason = dead.refusal.reason,
                    file = name,
                    "records were refused and are kept as dead letters"
                );
                counters
                    .dead_letters_removed
                    .fetch_add(removed, Ordering::Relaxed);
                Ok(Some(count))
            }
            Err(error @ FileError::TooLarge { .. }) => {
                // No waiting makes the folder larger: they are rejected and counted all the same.
                let destination = &self.parts.name;
                tracing::error!(
                    destination,
                    "dead letters are lost: {error}; raise destinations.{destination}.dead_letter.bytes_max"
                );
                Ok(Some(count))
            }
            Err(error @ FileError::Io(_)) => {
                // The records stay in the ring until the folder can take them.
                let destination = &self.parts.name;
                let text = format!(
                    "dead letters cannot be kept: {error}; free or mend that disk, or set destinations.{destination}.dead_letter.path; the records wait"
                );
                if counters.set_error(self.rank, Some(&text)) {
                    tracing::error!(destination, "{text}");
                }
                sleep(SETUP_PAUSE).await;
                Ok(None)
            }
        }
    }

    /// What the letters of refused records have in common.
    pub(super) fn letter_head(&self, dead: &DeadLetter) -> LetterHead {
        LetterHead {
            ring: self.parts.store.ring_id(),
            destination: self.parts.name.clone(),
            attempts: dead.attempts,
            refusal: dead.refusal.clone(),
            failed_at: self.parts.clock.wall(),
            shape: self.parts.config.dead_letter.shape,
        }
    }

    /// What cannot be set up to send letters is tried again: the records wait.
    async fn unless_set_up_failed(&self, sent: Result<u64, Stop>) -> Result<Option<u64>, Stop> {
        let text = match sent {
            Err(Stop::Setup(text)) => format!("dead letters cannot be delivered: {text}"),
            other => return other.map(Some),
        };
        let counters = &self.parts.gauges.counters;
        if counters.set_error(self.rank, Some(&text)) {
            tracing::error!(destination = self.parts.name, "{text}");
        }
        sleep(SETUP_PAUSE).await;
        Ok(None)
    }
}

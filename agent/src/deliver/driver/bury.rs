//! Refused records become dead letters.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use diskring::Frame;
use pipeline::dead_letter::{self, Letter};
use pipeline::delivery::{DeadLetter, Way};
use pipeline::destination::FileError;
use pipeline::record::Record;
use pipeline::stored::{ClockMark, StoredRef};
use pipeline::time::WallClock;
use tokio::time::sleep;

use super::Driver;
use crate::deliver::{SETUP_PAUSE, Stop};

impl Driver<'_> {
    /// Keeps refused records in the dead letter folder.
    pub(super) async fn bury(&mut self, dead: &DeadLetter) -> Result<(), Stop> {
        let refused_by_fallback;
        let dead = match (&self.parts.config.fallback, self.way) {
            (Some(fallback), Way::Fallback) => {
                let mut dead = dead.clone();
                let reason = &dead.refusal.reason;
                dead.refusal.reason = format!("fallback \"{}\": {reason}", fallback.name);
                refused_by_fallback = dead;
                &refused_by_fallback
            }
            (None, _) | (_, Way::Own) => dead,
        };
        let mut lines = Vec::new();
        let mut from = dead.range.first;
        while from < dead.range.end {
            let chunk = self.read_from(from).await?;
            if chunk.end <= from {
                break;
            }
            from = chunk.end;
            self.write_letters(dead, &chunk.frames, &mut lines);
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
                self.delivery.handle_dead_lettered();
            }
            Err(error @ FileError::TooLarge { .. }) => {
                // No waiting makes the folder larger: they are rejected and counted all the same.
                let destination = &self.parts.name;
                tracing::error!(
                    destination,
                    "dead letters are lost: {error}; raise destinations.{destination}.dead_letter.bytes_max"
                );
                self.delivery.handle_dead_lettered();
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
            }
        }
        Ok(())
    }

    fn write_letters(&self, dead: &DeadLetter, frames: &[Frame], lines: &mut Vec<u8>) {
        let boots = self.boots();
        for (meta, payload) in self.sources().records(frames, dead.range) {
            let stored = StoredRef::decode(payload).map(|mut stored| {
                boots.correct(&mut stored);
                let mut record = stored.to_record();
                record.taken.is_unsynced = matches!(stored.clock, ClockMark::Unsynced { .. });
                record
            });
            let record = stored.unwrap_or_else(|error| {
                let mut kept = Record::new(WallClock::default(), payload.to_vec());
                kept.mark(error.to_string());
                kept
            });
            let letter = Letter {
                ring: self.parts.store.ring_id(),
                seq: meta.seq,
                source: meta.source,
                destination: &self.parts.name,
                record: &record,
                failed_at: self.parts.clock.wall(),
                attempts: dead.attempts,
                refusal: &dead.refusal,
            };
            letter.write_line(self.parts.config.dead_letter.shape, lines);
        }
    }
}

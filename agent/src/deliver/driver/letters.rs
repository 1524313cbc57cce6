//! Dead letters go out to another destination, and are only then done with.
//!
//! They are a range of the log like any other, written differently: what sends them is a driver of
//! its own, within the one whose records were refused, that commits nothing.

use pipeline::config::LetterDestinationConfig;
use pipeline::dead_letter;
use pipeline::delivery::{Action, DeadLetter};
use pipeline::destination::Refusal;
use tokio::sync::watch;
use tokio::time::sleep_until;

use super::Driver;
use super::set_up::Errand;
use crate::deliver::Stop;

impl<'a> Driver<'a> {
    /// Sends the letters of a range to another destination; says how many were taken or kept.
    pub(super) async fn send_letters(
        &self,
        other: &'a LetterDestinationConfig,
        dead: &DeadLetter,
    ) -> Result<u64, Stop> {
        let errand = Errand {
            config: &other.way,
            sender: dead_letter::sender(&self.parts.name),
            letters: Some(self.letter_head(dead)),
            ring: self.parts.store.ring_id(),
            mark: self.mark,
            committed: dead.range.first,
        };
        let stretches = self.stretches.clone();
        let mut driver = Self::outfit(self.parts, self.key, self.rank, stretches, errand)?;
        driver.limit = self.limit;
        driver.delivery.handle_plan(dead.range);
        // Cut off with the one that waits for it, it need not be told by itself.
        let (_end, mut never) = watch::channel(false);
        let mut kept = 0;
        loop {
            match driver.delivery.poll(driver.now()) {
                Action::Idle => return Ok(kept),
                Action::Encode(range) => driver.encode(range).await?,
                Action::Send(units) => driver.send(&units, &mut never).await?,
                Action::DeadLetter(refused) => {
                    let both = DeadLetter {
                        range: refused.range,
                        attempts: dead.attempts,
                        refusal: Refusal {
                            code: dead.refusal.code.clone(),
                            reason: format!(
                                "{}; \"{}\" refused the letter: {}",
                                dead.refusal.reason, other.name, refused.refusal.reason
                            ),
                        },
                    };
                    if let Some(count) = self.keep_in_folder(&both).await? {
                        driver.delivery.handle_kept(count);
                    }
                }
                Action::Await => {
                    let (call, answer) = driver.calls.next().await;
                    driver.handle_answer(&call, &answer);
                }
                Action::Wait(until) => {
                    let wake = sleep_until(driver.parts.clock.instant(until));
                    tokio::select! {
                        () = wake => {}
                        _ = driver.stretches.changed(), if driver.limit.is_some() => {
                            return Err(Stop::Stretch);
                        }
                    }
                }
            }
            if let Some(commit) = driver.delivery.poll_commit() {
                kept += commit.accepted + commit.rejected;
            }
            driver.show_letter_trouble(other);
        }
    }

    fn show_letter_trouble(&self, other: &LetterDestinationConfig) {
        let Some(trouble) = self.delivery.trouble().filter(|it| it.class.is_some()) else {
            return;
        };
        let (name, reason) = (&other.name, &trouble.reason);
        let text =
            format!("dead letters cannot be delivered to \"{name}\": {reason}; the records wait");
        let counters = &self.parts.gauges.counters;
        if counters.set_error(self.rank, Some(&text)) {
            tracing::warn!(destination = self.parts.name, "{text}");
        }
    }
}

//! Requests go out, answers come back.

use std::sync::atomic::Ordering;
use std::time::Duration;

use pipeline::delivery::Way;
use pipeline::destination::{Answer, Destination, EncodedBatch, RetryClass, UnitVerdict, Verdict};
use pipeline::pace::Cost;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::{Driver, random};
use crate::deliver::calls::Call;
use crate::deliver::pace::SharedPace;
use crate::deliver::{Stop, told};
use crate::intake::Shutdown;

/// Answers that are on their way when the agent ends are awaited for so long.
pub(super) const LAST_ANSWER_MAX: Duration = Duration::from_secs(2);

impl Driver<'_> {
    /// Makes a call with these units once it is this driver's turn; takes an answer that comes
    /// before it is.
    pub(super) async fn send(
        &mut self,
        units: &[usize],
        shutdown: &mut Shutdown,
    ) -> Result<(), Stop> {
        // What is under way ends first: it may be all that is needed.
        let may_leave = self.may_change_way();
        if may_leave && self.calls.is_empty() {
            return Ok(());
        }
        tokio::select! {
            () = told(shutdown) => return Err(Stop::Told),
            (call, answer) = self.calls.next() => {
                self.handle_answer(&call, &answer);
                return Ok(());
            }
            () = self.parts.ways.changed() => return Ok(()),
            () = self.parts.turns.turn(self.rank), if !may_leave => {}
        }
        if self.is_paced(units, shutdown).await? {
            return Ok(());
        }
        let Some((range, encoded)) = &self.current else {
            return Ok(());
        };
        if let EncodedBatch::Objects(batch) = encoded {
            let (range, batch) = (*range, batch.clone());
            let is_loaded = matches!(self.destination, Destination::Redshift(_));
            let (verdict, sent_bytes) = if is_loaded {
                self.load_objects(range, batch, shutdown).await?
            } else {
                self.store_objects(range, batch, shutdown).await?
            };
            self.count(&verdict, sent_bytes);
            self.note_verdict(&verdict);
            self.delivery.handle_verdict(self.now(), random(), verdict);
            return Ok(());
        }
        let class = self.delivery.trouble().and_then(|trouble| trouble.class);
        let clock = self.parts.clock;
        let keys = tokio::select! {
            () = told(shutdown) => return Err(Stop::Told),
            keys = self.keys.current(class == Some(RetryClass::Credentials)) => keys,
        };
        let prepared = match keys {
            Ok(keys) => {
                let keys = keys.as_ref();
                self.destination.prepare(encoded, units, clock.wall(), keys)
            }
            Err(verdict) => Err(verdict),
        };
        let counters = &self.parts.gauges.counters;
        match prepared {
            Ok(request) => {
                counters.requests.fetch_add(1, Ordering::Relaxed);
                let cost = self.cost(units);
                self.pace().handle_call(self.now(), cost);
                let id = self.delivery.handle_sent();
                let (transport, folder) = (self.transport.clone(), self.folder.clone());
                self.calls.begin(id, units, request, transport, folder);
            }
            Err(verdict) => {
                counters.failures.fetch_add(1, Ordering::Relaxed);
                self.note_verdict(&verdict);
                self.delivery.handle_verdict(self.now(), random(), verdict);
            }
        }
        Ok(())
    }

    /// Waits where these units would be more than the quota has room for: true if so, and then
    /// somebody else may go first by now.
    async fn is_paced(&mut self, units: &[usize], shutdown: &mut Shutdown) -> Result<bool, Stop> {
        if self.is_for_letters && self.kept.is_none() {
            return Ok(false);
        }
        let started = self.now();
        let Some(until) = self.pace().poll_wait(started, self.cost(units)) else {
            return Ok(false);
        };
        tokio::select! {
            () = told(shutdown) => return Err(Stop::Told),
            (call, answer) = self.calls.next() => self.handle_answer(&call, &answer),
            () = self.parts.ways.changed() => {}
            () = sleep_until(self.parts.clock.instant(until)) => {}
        }
        let waited = self.now().since(started).as_millis();
        let waited = u64::try_from(waited).unwrap_or(u64::MAX);
        let counters = &self.parts.gauges.counters;
        counters.paced_ms.fetch_add(waited, Ordering::Relaxed);
        Ok(true)
    }

    fn pace(&self) -> &SharedPace {
        let [own, of_fallback] = &self.parts.paces;
        match self.way {
            Way::Own => own,
            Way::Fallback => of_fallback,
        }
    }

    /// What a call with these units takes of a quota.
    fn cost(&self, units: &[usize]) -> Cost {
        match &self.current {
            Some((_, EncodedBatch::Units(packed))) => packed.cost(units),
            Some((_, EncodedBatch::Body(_) | EncodedBatch::Objects(_))) | None => Cost::default(),
        }
    }

    /// Takes what came back for a call.
    pub(super) fn handle_answer(&mut self, call: &Call, answer: &Answer) {
        let verdict = self.destination.interpret(call.units.len(), answer);
        let counters = &self.parts.gauges.counters;
        let billed = self.billed_bytes(call, &verdict);
        counters.billed_bytes.fetch_add(billed, Ordering::Relaxed);
        self.count(&verdict, call.bytes);
        self.note_verdict(&verdict);
        let now = self.now();
        self.delivery.handle_answer(call.id, now, random(), verdict);
        let calls = u64::from(self.delivery.concurrency());
        let counters = &self.parts.gauges.counters;
        counters.concurrency.store(calls, Ordering::Relaxed);
    }

    /// Counts what became of an attempt.
    fn count(&mut self, verdict: &Verdict, sent_bytes: u64) {
        let counters = &self.parts.gauges.counters;
        if *verdict == Verdict::Accepted {
            counters
                .raw_bytes
                .fetch_add(std::mem::take(&mut self.raw_bytes_due), Ordering::Relaxed);
            let corrected = std::mem::take(&mut self.corrected_due);
            counters.corrected.fetch_add(corrected, Ordering::Relaxed);
            counters.sent_bytes.fetch_add(sent_bytes, Ordering::Relaxed);
            self.parts.turns.sent(self.rank, sent_bytes);
        } else {
            counters.failures.fetch_add(1, Ordering::Relaxed);
        }
        if matches!(verdict, Verdict::TooLarge(_)) {
            self.batcher.handle_too_large(self.raw_bytes);
        }
    }

    /// Answers that are on their way when the agent ends: without them what they are about is sent
    /// a second time after the start.
    pub(super) async fn last_answers(&mut self) {
        let until = Instant::now() + LAST_ANSWER_MAX;
        while !self.calls.is_empty() {
            let Ok((call, answer)) = timeout_at(until, self.calls.next()).await else {
                return;
            };
            self.handle_answer(&call, &answer);
            if self.commit().await.is_err() {
                return;
            }
        }
    }

    /// What the service bills for what it took of a call.
    fn billed_bytes(&self, call: &Call, verdict: &Verdict) -> u64 {
        let Some((_, EncodedBatch::Units(packed))) = &self.current else {
            return 0;
        };
        match verdict {
            Verdict::Accepted => packed.billed_bytes(&call.units),
            Verdict::Partial { units, .. } => {
                let fates = call.units.iter().zip(units);
                let taken = fates.filter(|(_, fate)| **fate == UnitVerdict::Accepted);
                let taken: Vec<usize> = taken.map(|(number, _)| *number).collect();
                packed.billed_bytes(&taken)
            }
            Verdict::TooLarge(_)
            | Verdict::Cut { .. }
            | Verdict::Retry(_)
            | Verdict::Rejected(_) => 0,
        }
    }
}

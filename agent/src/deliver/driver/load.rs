//! A batch on its way into a table, as `pipeline::destination::redshift` says.

use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

use diskring::Seq;
use pipeline::destination::redshift::{Load, Next, Progress, Redshift};
use pipeline::destination::s3::{ObjectBatch, PlannedObject};
use pipeline::destination::{Destination, EncodedBatch, RetryClass, SeqRange, Verdict};
use tokio::time::{sleep, timeout};

use super::Driver;
use super::objects::Wanted;
use super::send::LAST_ANSWER_MAX;
use crate::deliver::{Stop, told};
use crate::intake::Shutdown;

/// How a call is made.
struct Call {
    /// After this.
    pause: Duration,
    /// Whether the keys of the last one were refused.
    refused: bool,
}

impl Driver<'_> {
    /// Goes on with the loading of a batch until there is a verdict; says how many bytes were sent.
    pub(super) async fn load_objects(
        &mut self,
        range: SeqRange,
        mut batch: ObjectBatch,
        shutdown: &mut Shutdown,
    ) -> Result<(Verdict, u64), Stop> {
        let (count, was_planned) = (batch.unit.count, self.was_planned);
        let load = self.load.take().filter(|load| load.range() == range);
        let mut load = load.unwrap_or_else(|| Load::new(range, count, was_planned));
        let class = self.delivery.trouble().and_then(|trouble| trouble.class);
        let mut refused = class == Some(RetryClass::Credentials);
        let mut sent_bytes = 0;
        let verdict = loop {
            // Only what was used before was refused.
            let refused = std::mem::take(&mut refused);
            match load.next() {
                Next::Object => {
                    let verdict = self.store_for_load(&mut batch, &mut load, shutdown).await?;
                    match verdict {
                        Ok(bytes) => sent_bytes += bytes,
                        Err(verdict) => break verdict,
                    }
                }
                Next::Call(pause) => {
                    let call = Call { pause, refused };
                    match self.call_for_load(&mut load, call, shutdown).await? {
                        Progress::On => {}
                        Progress::Done(verdict) => break verdict,
                        Progress::Lines(lines, refusal) => {
                            let at = self.find_in_load(range, &batch, &lines).await?;
                            break Verdict::Cut { at, refusal };
                        }
                    }
                }
            }
        };
        if matches!(verdict, Verdict::Retry(_)) {
            self.load = Some(load);
        }
        if verdict != Verdict::Accepted {
            self.current = Some((range, EncodedBatch::Objects(batch)));
        }
        Ok((verdict, sent_bytes))
    }

    /// Stores the object of a batch; says how large it is, or why it is not stored.
    async fn store_for_load(
        &mut self,
        batch: &mut ObjectBatch,
        load: &mut Load,
        shutdown: &mut Shutdown,
    ) -> Result<Result<u64, Verdict>, Stop> {
        let Some(PlannedObject { group, encoded }) = batch.objects.first_mut() else {
            return Ok(Err(Destination::mismatch()));
        };
        let wanted = Wanted {
            range: load.range(),
            group,
            boots: &batch.boots,
        };
        let object = match encoded.take() {
            Some(object) => object,
            None => self.encode_object(&wanted).await?,
        };
        let verdict = self.store_object(&wanted, &object, shutdown).await?;
        let sent = if verdict == Verdict::Accepted {
            load.handle_stored(self.redshift().ok_or(Stop::Worker)?, wanted.group, &object);
            Ok(object.len)
        } else {
            Err(verdict)
        };
        *encoded = Some(object);
        Ok(sent)
    }

    /// The records on these lines of the object of a batch.
    async fn find_in_load(
        &self,
        range: SeqRange,
        batch: &ObjectBatch,
        lines: &[u64],
    ) -> Result<Vec<Seq>, Stop> {
        let Some(object) = batch.objects.first() else {
            return Ok(Vec::new());
        };
        let wanted = Wanted {
            range,
            group: &object.group,
            boots: &batch.boots,
        };
        self.find_lines(&wanted, lines).await
    }

    /// Makes one call.
    async fn call_for_load(
        &mut self,
        load: &mut Load,
        Call { pause, refused }: Call,
        shutdown: &mut Shutdown,
    ) -> Result<Progress, Stop> {
        let keys = tokio::select! {
            () = told(shutdown) => return Err(Stop::Told),
            keys = async {
                sleep(pause).await;
                self.keys.current(refused).await
            } => keys,
        };
        let now = self.parts.clock.wall();
        let redshift = self.redshift().ok_or(Stop::Worker)?;
        let prepared = keys.and_then(|keys| load.prepare(redshift, now, keys.as_ref()));
        let request = match prepared {
            Ok(request) => request,
            Err(verdict) => return Ok(Progress::Done(verdict)),
        };
        let counters = &self.parts.gauges.counters;
        counters.requests.fetch_add(1, Ordering::Relaxed);
        let transport = self.transport.as_ref().ok_or(Stop::Worker)?;
        let answer = {
            let mut exchange = pin!(transport.send(&request));
            tokio::select! {
                answer = &mut exchange => answer,
                () = told(shutdown) => match timeout(LAST_ANSWER_MAX, exchange).await {
                    Ok(answer) => answer,
                    // It is found out after the start what became of it.
                    Err(_) => return Err(Stop::Told),
                },
            }
        };
        let Destination::Redshift(redshift) = &mut self.destination else {
            return Err(Stop::Worker);
        };
        Ok(load.handle(redshift, answer.as_ref()))
    }

    const fn redshift(&self) -> Option<&Redshift> {
        let Destination::Redshift(redshift) = &self.destination else {
            return None;
        };
        Some(redshift)
    }
}

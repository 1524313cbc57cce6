//! What one driver does, step by step, as `pipeline::delivery` says.
//!
//! It holds one batch at a time, which may be under way in several calls. Encoding runs on a worker
//! thread, requests on the runtime.

mod bury;
mod from_files;
mod letters;
mod load;
mod objects;
mod send;
mod set_up;
mod stretch;
mod way;

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use diskring::{Frame, Seq};
use pipeline::batch::Batcher;
use pipeline::boots::Boots;
use pipeline::clock::BootTag;
use pipeline::clock::Moment;
use pipeline::config::DestinationConfig;
use pipeline::delivery::{Action, Delivery, Way};
use pipeline::destination::redshift::Load;
use pipeline::destination::{Destination, EncodedBatch, SeqRange};
use pipeline::tally::BatchOutcome;
use pipeline::time::Monotonic;
use pipeline::turns::Rank;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::sleep_until;

use super::build::{Builder, Built, KeptEntry, Recipe, Sources};
use super::calls::Calls;
use super::credentials::Keys;
use super::folder::BoundedFolder;
use super::{DestinationParts, Stop, told};
use crate::intake::Shutdown;
use crate::store::{Chunk, StretchKey};
use crate::transport::Transport;

pub(crate) use from_files::FileOutcome;

/// Fewer bytes than this are encoded where they are: handing them over costs more.
const HAND_OVER_BYTES: usize = 8 * 1024;

/// The driver of one destination.
pub(super) struct Driver<'a> {
    parts: &'a DestinationParts,
    key: StretchKey,
    rank: Rank,
    /// The way its batches go, and how.
    way: Way,
    config: &'a DestinationConfig,
    /// Whether what it sends are the dead letters of another driver.
    is_for_letters: bool,
    /// The records to be sent, where they are not read from the ring.
    kept: Option<Rc<Vec<KeptEntry>>>,
    /// What tells a replay from every other one.
    mark: Option<u64>,
    /// Where its stretch ends, if it does.
    limit: Option<Seq>,
    /// Tells that another stretch may go first.
    stretches: watch::Receiver<u64>,
    recipe: Arc<Recipe>,
    destination: Destination,
    delivery: Delivery,
    batcher: Batcher,
    transport: Option<Transport>,
    calls: Calls,
    keys: Keys,
    folder: Option<BoundedFolder>,
    dead_letters: BoundedFolder,
    /// Frames that were read and not wholly encoded yet.
    frames: VecDeque<Frame>,
    read_to: Seq,
    /// The plan that was under way when the agent ended.
    planned: Option<Seq>,
    /// Whether that was meant for another way, whose limits are not those of this one.
    is_planned_for_other: bool,
    /// Whether the plan under way is that one, of which anything may have been done.
    was_planned: bool,
    /// What is being loaded.
    load: Option<Load>,
    /// The range that was encoded last.
    current: Option<(SeqRange, EncodedBatch)>,
    /// What the plan under way must account for.
    owed: u64,
    /// What the disk could not give back, with where it ends.
    lost: Vec<(Seq, u64)>,
    /// Size of the plan before compression, and of its part that is not counted yet.
    raw_bytes: u64,
    raw_bytes_due: u64,
    /// Records of the plan whose time was put right, and that are not counted yet.
    corrected_due: u64,
    /// Boots whose time was not known when the plan was encoded.
    unknown: BTreeSet<BootTag>,
}

impl Driver<'_> {
    /// Delivers until something ends it.
    pub(super) async fn drive(mut self, shutdown: &mut Shutdown) -> Stop {
        loop {
            if let Err(stop) = self.step(shutdown).await {
                if matches!(stop, Stop::Told) {
                    self.last_answers().await;
                }
                return stop;
            }
        }
    }

    /// Does what is to be done next, and commits what it ended.
    ///
    /// Everything may be cut off by the end but a request under way, which is worth a moment: its
    /// batch would be sent a second time after the start.
    async fn step(&mut self, shutdown: &mut Shutdown) -> Result<(), Stop> {
        if *shutdown.borrow() {
            return Err(Stop::Told);
        }
        let is_delivered = self
            .limit
            .is_some_and(|limit| limit <= self.delivery.committed());
        let may_stop = is_delivered
            || self.may_be_overtaken()
            || self.may_be_put_right()
            || self.may_change_way();
        if may_stop && self.calls.is_empty() {
            return Err(Stop::Stretch);
        }
        match self.delivery.poll(self.now()) {
            Action::Send(units) => self.send(&units, shutdown).await?,
            action @ (Action::Idle
            | Action::Encode(_)
            | Action::DeadLetter(_)
            | Action::Await
            | Action::Wait(_)) => tokio::select! {
                () = told(shutdown) => return Err(Stop::Told),
                done = self.act(action) => done?,
            },
        }
        self.show_trouble();
        self.commit().await
    }

    async fn act(&mut self, action: Action) -> Result<(), Stop> {
        match action {
            Action::Idle => self.plan().await,
            Action::Encode(range) => self.encode(range).await,
            Action::DeadLetter(letter) => self.bury(&letter).await,
            Action::Wait(until) => {
                let other_way = self.parts.ways.poll_timeout(self.now());
                let until = other_way.map_or(until, |at| at.min(until));
                let wake = sleep_until(self.parts.clock.instant(until));
                tokio::select! {
                    () = wake => Ok(()),
                    () = self.parts.ways.changed() => Ok(()),
                    _ = self.stretches.changed(), if self.limit.is_some() => Err(Stop::Stretch),
                }
            }
            Action::Await => {
                let (call, answer) = self.calls.next().await;
                self.handle_answer(&call, &answer);
                Ok(())
            }
            Action::Send(_) => Ok(()),
        }
    }

    /// Finds the next batch and makes its bounds durable before anything of it is sent.
    async fn plan(&mut self) -> Result<(), Stop> {
        self.owed = 0;
        self.parts.turns.end(self.rank);
        let limit = self.planned.take();
        self.was_planned = limit.is_some();
        let built = self.build_next(limit).await?;
        if built.count == 0 {
            self.delivery.handle_passed(built.range.end, built.filtered);
            return Ok(());
        }
        if self.is_known(&built.unknown) {
            return Err(Stop::Stretch);
        }
        if self.is_overdue(&built)
            && let Some(first) = self.parts.store.split(self.key.0).await?
        {
            self.skip_to(first);
            return Ok(());
        }
        self.set_oldest(built.oldest);
        self.parts.store.plan(self.key, built.range.end).await?;
        self.parts.ways.planned(self.rank, self.key.1, self.way);
        self.parts.turns.wish(self.rank);
        self.owed = built.count + built.filtered;
        self.note(&built);
        self.delivery.handle_plan(built.range);
        if let Some(since) = self.parts.ways.failing_since() {
            self.delivery.handle_failing_since(Some(since));
        }
        self.current = Some((built.range, built.encoded));
        Ok(())
    }

    /// Reads on until a batch is complete, or until entries passed that are not for it.
    async fn build_next(&mut self, limit: Option<Seq>) -> Result<Built, Stop> {
        let first = self.delivery.committed();
        let mut durable = self.parts.store.durable();
        let mut blocked = self.parts.store.blocked();
        let mut learned = self.parts.clock.changes();
        let is_exact = limit.is_some() && !self.is_planned_for_other;
        let mut builder = self.builder(first, limit.or(self.limit), is_exact);
        loop {
            durable.mark_unchanged();
            if self.frames.is_empty() {
                self.read().await?;
            }
            let caught_up = self.frames.is_empty();
            if !caught_up {
                builder.set_sources(self.sources());
                builder = self.grow(builder).await?;
                self.set_oldest(builder.oldest());
            }
            if builder.is_complete(self.now()) {
                let end = builder.end();
                return self.finish(builder, end).await;
            }
            if !caught_up {
                continue;
            }
            let end = self.read_to.max(builder.end());
            let is_at_limit = self.limit.is_some_and(|limit| limit <= end);
            if is_at_limit || (builder.is_empty() && first < end) {
                return self.finish(builder, end).await;
            }
            self.set_oldest(builder.oldest());
            match builder.poll_timeout() {
                None => durable.changed().await.map_err(|_| Stop::StoreEnded)?,
                Some(deadline) => tokio::select! {
                    changed = durable.changed() => changed.map_err(|_| Stop::StoreEnded)?,
                    () = sleep_until(self.parts.clock.instant(deadline)) => {
                        return self.finish(builder, end).await;
                    }
                    // Encoded anew at once, it goes out no later than it must.
                    _ = learned.changed() => if self.is_known(builder.unknown()) {
                        return Err(Stop::Stretch);
                    },
                    // What is in hand here is what would make room there.
                    blocked = blocked.wait_for(|blocked| *blocked) => {
                        blocked.map_err(|_| Stop::StoreEnded)?;
                        return self.finish(builder, end).await;
                    }
                },
            }
        }
    }

    /// Encodes a range of the plan; the first time it is there already.
    async fn encode(&mut self, range: SeqRange) -> Result<(), Stop> {
        if self
            .current
            .as_ref()
            .is_none_or(|(encoded, _)| *encoded != range)
        {
            self.current = None;
            let mut builder = self.builder(range.first, Some(range.end), true);
            let mut from = range.first;
            if let Some(kept) = &self.kept {
                builder.take_kept(kept, self.now());
                from = range.end;
            }
            while from < range.end {
                let chunk = self.read_from(from).await?;
                if chunk.end <= from {
                    break;
                }
                from = chunk.end;
                let mut frames = VecDeque::from(chunk.frames);
                builder = self.grow_with(builder, &mut frames).await?;
            }
            let built = self.finish(builder, range.end).await?;
            self.note(&built);
            self.current = Some((range, built.encoded));
        }
        if let Some((_, encoded)) = &self.current {
            self.delivery.handle_encoded(encoded.units());
        }
        Ok(())
    }

    /// Tells the store what has ended.
    async fn commit(&mut self) -> Result<(), Stop> {
        let Some(commit) = self.delivery.poll_commit() else {
            return Ok(());
        };
        let mut outcome = BatchOutcome {
            delivered: match self.way {
                Way::Own => commit.accepted,
                Way::Fallback => 0,
            },
            by_fallback: match self.way {
                Way::Own => 0,
                Way::Fallback => commit.accepted,
            },
            rejected: commit.rejected,
            filtered: commit.filtered,
            truncated: self
                .lost
                .extract_if(.., |(end, _)| *end <= commit.committed)
                .map(|(_, count)| count)
                .sum(),
            evicted: 0,
        };
        if self.owed > 0 {
            self.owed = self
                .owed
                .saturating_sub(commit.accepted + outcome.rejected + outcome.filtered);
            if matches!(self.delivery.poll(self.now()), Action::Idle) {
                // The plan has ended: what it held and nobody got was overwritten meanwhile.
                outcome.evicted = std::mem::take(&mut self.owed);
                self.current = None;
                self.set_oldest(None);
                self.parts.turns.end(self.rank);
            }
        }
        self.parts
            .store
            .commit(self.key, commit.committed, outcome)
            .await?;
        Ok(())
    }

    fn sources(&self) -> Sources {
        self.recipe.sources(self.parts.store.source_names())
    }

    /// Reads the next frames of the log.
    async fn read(&mut self) -> Result<(), Stop> {
        let chunk = self.read_from(self.read_to).await?;
        self.read_to = self.read_to.max(chunk.end);
        if chunk.lost > 0 {
            self.lost.push((chunk.end, chunk.lost));
        }
        self.frames.extend(chunk.frames);
        Ok(())
    }

    async fn read_from(&self, from: Seq) -> Result<Chunk, Stop> {
        let chunk = self.parts.store.read(self.key, from).await?;
        chunk.ok_or(Stop::Stretch)
    }

    fn set_oldest(&self, oldest: Option<Moment>) {
        self.parts.gauges.set_oldest(self.rank, oldest);
    }

    fn builder(&self, first: Seq, limit: Option<Seq>, is_exact: bool) -> Builder {
        let sources = self.recipe.sources(self.parts.store.source_names());
        let batcher = self.batcher.clone();
        Builder::new(
            &self.recipe,
            &self.destination,
            (sources, self.boots()),
            batcher,
            first,
            limit,
            is_exact,
        )
    }

    /// What is known of the boots that records were taken in.
    pub(super) fn boots(&self) -> Arc<Boots> {
        let mut boots = self.parts.store.boots();
        self.parts.clock.complete(Arc::make_mut(&mut boots));
        boots
    }

    /// Encodes what was read; keeps the frames that are not used up.
    async fn grow(&mut self, builder: Builder) -> Result<Builder, Stop> {
        let mut frames = std::mem::take(&mut self.frames);
        let builder = self.grow_with(builder, &mut frames).await?;
        frames.retain(|frame| frame.end() > builder.end());
        self.frames = frames;
        Ok(builder)
    }

    async fn grow_with(
        &self,
        mut builder: Builder,
        frames: &mut VecDeque<Frame>,
    ) -> Result<Builder, Stop> {
        let now = self.now();
        let bytes: usize = frames.iter().map(Frame::len_bytes).sum();
        if bytes < HAND_OVER_BYTES {
            builder.take(frames.make_contiguous(), now);
            return Ok(builder);
        }
        let mut handed = std::mem::take(frames);
        let work = move || {
            builder.take(handed.make_contiguous(), now);
            (builder, handed)
        };
        let (builder, back) = spawn_blocking(work).await.map_err(|_| Stop::Worker)?;
        *frames = back;
        Ok(builder)
    }

    async fn finish(&self, builder: Builder, end: Seq) -> Result<Built, Stop> {
        if builder.is_empty() {
            return Ok(builder.finish(end));
        }
        spawn_blocking(move || builder.finish(end))
            .await
            .map_err(|_| Stop::Worker)
    }

    fn now(&self) -> Monotonic {
        self.parts.clock.monotonic()
    }
}

impl Drop for Driver<'_> {
    /// Nobody waits for one that is gone.
    fn drop(&mut self) {
        self.parts.turns.end(self.rank);
    }
}

pub(super) fn random() -> u32 {
    let mut bytes = [0; 4];
    // Without randomness every gateway waits alike, which is bad and not fatal.
    SystemRandom::new().fill(&mut bytes).ok();
    u32::from_le_bytes(bytes)
}

//! One destination's way through the log: what to encode, send, wait for, bury and commit next.
//!
//! A plan is a range of the log that becomes one batch. It is cut into pieces that follow each
//! other without a gap; every piece ends accepted, rejected or empty, and the position moves over
//! the finished ones in front. Nothing is committed that has no final verdict, and nothing is
//! counted that is not committed in the same step, so that a crash counts nothing twice.
//!
//! The driver asks [`Delivery::poll`] what to do, does it, and reports with a `handle_*`. Polling
//! changes nothing: whatever failed on the driver's side is simply asked for again. Where batches
//! have ids the position moves with whole plans only, and a piece splits in halves whatever is in
//! it: after a crash the same plan leads to the same batches with the same ids.
//!
//! Where the order of a batch is not promised its units go out in several calls at a time, as many
//! as `concurrency` tells: a crash then repeats at most what was under way.

mod concurrency;
mod failover;
mod piece;
mod verdict;

use std::collections::VecDeque;
use std::time::Duration;

use diskring::Seq;

use crate::config::RetryConfig;
use crate::destination::{Refusal, RetryClass, SeqRange, Unit, Verdict};
use crate::retry::{Backoff, BackoffError};
use crate::time::Monotonic;

pub use failover::{Failover, Way};

use concurrency::Concurrency;
use piece::{Piece, State};

/// What the driver is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Find the next plan and give it to [`Delivery::handle_plan`].
    Idle,
    /// Encode this range and report its units to [`Delivery::handle_encoded`].
    Encode(SeqRange),
    /// Send these units, numbered as they were encoded, and report to
    /// [`Delivery::handle_verdict`]; or to [`Delivery::handle_sent`] at once, and to
    /// [`Delivery::handle_answer`] once there is one.
    Send(Vec<usize>),
    /// Wait for the answer to a call that is under way.
    Await,
    /// Nothing before this moment.
    Wait(Monotonic),
    /// Keep the records of this range as dead letters and report to
    /// [`Delivery::handle_dead_lettered`].
    DeadLetter(DeadLetter),
}

/// Records to be kept as dead letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Where they are; those among them that are not for the destination are left out.
    pub range: SeqRange,
    /// How often they were sent.
    pub attempts: u32,
    /// Why they were refused.
    pub refusal: Refusal,
}

/// How far a destination is and what has ended since the last commit: to be made durable in one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    /// Everything before this entry is done with.
    pub committed: Seq,
    /// Records the destination took.
    pub accepted: u64,
    /// Records that became dead letters.
    pub rejected: u64,
    /// Records that a transform of the destination filtered.
    pub filtered: u64,
}

/// What stands in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What kind it is; `None` when records were refused for good.
    pub class: Option<RetryClass>,
    /// The reason in words.
    pub reason: String,
    /// Failures in a row.
    pub failures: u32,
}

/// What is sent again after a crash in the middle of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remainder {
    /// The plan, split into the same halves: the destination knows batches by their ids.
    Halves,
    /// Whatever has not ended, as a whole: the destination knows no ids.
    Whole,
}

/// Names a call that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallId(u64);

/// Delivers one plan after the other.
#[derive(Clone, Debug)]
pub struct Delivery {
    backoff: Backoff,
    give_up_after: Option<Duration>,
    remainder: Remainder,
    /// Unfinished and finished pieces from `commit.committed` to the end of the plan.
    pieces: VecDeque<Piece>,
    /// At most so many units at a time, since more were refused.
    group_max: usize,
    concurrency: Concurrency,
    /// Calls under way.
    under_way: u32,
    next_call: CallId,
    /// The first call that was begun after the last failure: what an older one says is no news.
    first_since_failure: CallId,
    wait_until: Option<Monotonic>,
    /// The first failure since the last success or plan.
    failing_since: Option<Monotonic>,
    /// Failures since the last success.
    failures: u32,
    /// Whether the one attempt without a pause was made since the last success.
    hurried: bool,
    trouble: Option<Trouble>,
    commit: Commit,
    commit_due: bool,
}

impl Delivery {
    /// A delivery that goes on at `committed`.
    pub fn new(
        retry: &RetryConfig,
        remainder: Remainder,
        committed: Seq,
    ) -> Result<Self, BackoffError> {
        Ok(Self {
            backoff: Backoff::new(retry.initial, retry.max)?,
            give_up_after: retry.give_up_after,
            remainder,
            pieces: VecDeque::new(),
            group_max: usize::MAX,
            concurrency: Concurrency::new(1),
            under_way: 0,
            next_call: CallId(0),
            first_since_failure: CallId(0),
            wait_until: None,
            failing_since: None,
            failures: 0,
            hurried: false,
            trouble: None,
            commit: Commit {
                committed,
                ..Commit::default()
            },
            commit_due: false,
        })
    }

    /// With up to `max` calls at a time for the units of a batch, where their order is nobody's.
    ///
    /// Where batches have ids there is one unit in each, and so one call.
    #[must_use]
    pub fn with_concurrency(mut self, max: u32) -> Self {
        self.concurrency = Concurrency::new(match self.remainder {
            Remainder::Whole => max,
            Remainder::Halves => 1,
        });
        self
    }

    /// How many calls may be under way at a time, as far as it is known.
    pub const fn concurrency(&self) -> u32 {
        self.concurrency.limit()
    }

    /// Everything before this entry is done with, durable or not.
    pub const fn committed(&self) -> Seq {
        self.commit.committed
    }

    /// What stands in the way; `None` once the destination took something again.
    pub const fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }

    /// Whether nothing of the plan under way has ended, so that it may be begun anew without
    /// repeating what was taken.
    pub fn is_untouched(&self) -> bool {
        let mut pieces = self.pieces.iter();
        pieces.all(|piece| matches!(piece.state, State::Unencoded | State::Encoded(_)))
    }

    /// What to do at `now`.
    pub fn poll(&self, now: Monotonic) -> Action {
        if let Some(dead) = self.refused() {
            return Action::DeadLetter(dead);
        }
        let wait = self.wait_until.filter(|until| now < *until);
        let may_send = wait.is_none() && self.under_way < self.concurrency.limit();
        let group: Vec<usize> = self.group().filter_map(Piece::sendable).collect();
        if may_send && !group.is_empty() {
            return Action::Send(group);
        }
        if self.under_way > 0 {
            return Action::Await;
        }
        if let Some(until) = wait {
            return Action::Wait(until);
        }
        let todo = |piece: &&Piece| matches!(piece.state, State::Unencoded);
        match self.pieces.iter().find(todo) {
            Some(piece) => Action::Encode(piece.range),
            None => Action::Idle,
        }
    }

    /// When [`Delivery::poll`] may say something else without anything having been handled.
    pub const fn poll_timeout(&self) -> Option<Monotonic> {
        self.wait_until
    }

    /// What has ended since the last call; to be made durable in one step.
    pub fn poll_commit(&mut self) -> Option<Commit> {
        if !self.commit_due {
            return None;
        }
        self.commit_due = false;
        let committed = self.commit.committed;
        let next = Commit {
            committed,
            ..Commit::default()
        };
        Some(std::mem::replace(&mut self.commit, next))
    }

    /// Takes the next plan, or the one that was under way before a crash.
    ///
    /// What [`Delivery::poll_commit`] said before is durable before the plan or with it, so that
    /// a plan begins at the position after a crash as well.
    ///
    /// # Panics
    ///
    /// When a plan is under way, or when this one ends before the position.
    pub fn handle_plan(&mut self, plan: SeqRange) {
        assert!(self.pieces.is_empty(), "one plan at a time");
        assert!(self.commit.committed <= plan.end, "a plan is not behind us");
        // What lies between was evicted, and is counted by the ring.
        if self.commit.committed < plan.first {
            self.advance(plan.first);
        }
        let left = SeqRange::new(self.commit.committed, plan.end);
        if !left.is_empty() {
            self.pieces.push_back(Piece::unencoded(left));
        }
        self.failing_since = None;
    }

    /// Nothing of the plan was taken since then, be it on another way.
    pub fn handle_failing_since(&mut self, since: Option<Monotonic>) {
        self.failing_since = since;
    }

    /// Moves over entries of which none is for this destination, `filtered` of them because a
    /// transform said so.
    ///
    /// # Panics
    ///
    /// When a plan is under way.
    pub fn handle_passed(&mut self, end: Seq, filtered: u64) {
        assert!(self.pieces.is_empty(), "one plan at a time");
        if self.commit.committed < end {
            self.commit.filtered = self.commit.filtered.saturating_add(filtered);
            self.advance(end);
        }
    }

    /// Goes on at `first`: what is before it is another's to deliver.
    ///
    /// # Panics
    ///
    /// When a plan is under way.
    pub fn handle_skipped(&mut self, first: Seq) {
        assert!(self.pieces.is_empty(), "one plan at a time");
        self.commit.committed = self.commit.committed.max(first);
    }

    /// Takes the units that the range of the last [`Action::Encode`] was encoded to.
    ///
    /// They may end before the range does, if it did not fit; the rest is asked for later.
    ///
    /// # Panics
    ///
    /// When they do not follow each other from the beginning of the range, or end behind it.
    pub fn handle_encoded(&mut self, units: &[Unit]) {
        let todo = |piece: &Piece| matches!(piece.state, State::Unencoded);
        let Some(at) = self.pieces.iter().position(todo) else {
            return;
        };
        let Some(whole) = self.pieces.remove(at) else {
            return;
        };
        let mut rest = whole.range;
        let mut next = at;
        for (number, unit) in units.iter().enumerate() {
            assert!(unit.range.first == rest.first, "units follow each other");
            assert!(
                !unit.range.is_empty() && unit.range.end <= rest.end,
                "units lie in the range"
            );
            rest.first = unit.range.end;
            self.pieces.insert(next, Piece::encoded(number, unit));
            next = next.saturating_add(1);
        }
        if !rest.is_empty() {
            self.pieces.insert(next, Piece::unencoded(rest));
        }
        self.group_max = usize::MAX;
        self.settle();
    }

    /// Takes the verdict on the units of the last [`Action::Send`], none of which is under way.
    pub fn handle_verdict(&mut self, now: Monotonic, random: u32, verdict: Verdict) {
        let call = self.handle_sent();
        self.handle_answer(call, now, random, verdict);
    }

    /// The units of the last [`Action::Send`] are on their way.
    pub fn handle_sent(&mut self) -> CallId {
        let call = self.next_call;
        self.next_call = CallId(call.0.saturating_add(1));
        for piece in self.group_mut() {
            piece.send(call);
        }
        // Behind it: how many units are in a group depends on how many calls are under way.
        self.under_way = self.under_way.saturating_add(1);
        call
    }

    /// Takes the verdict on the units of a call that was under way.
    pub fn handle_answer(&mut self, call: CallId, now: Monotonic, random: u32, verdict: Verdict) {
        let is_used_up = self.under_way >= self.concurrency.limit();
        self.under_way = self.under_way.saturating_sub(1);
        match verdict {
            Verdict::Accepted => {
                self.of_call(call).for_each(Piece::accept);
                self.concurrency.handle_accepted(is_used_up);
                self.succeeded(call);
            }
            Verdict::Partial { units, retry } => {
                self.handle_partial(call, now, random, &units, retry);
            }
            Verdict::TooLarge(refusal) => self.handle_too_large(call, &refusal),
            Verdict::Cut { at, refusal } => self.handle_cut(call, &at, &refusal),
            Verdict::Retry(retry) => self.retry(call, now, random, retry),
            Verdict::Rejected(refusal) => {
                self.refused_for_good(call, &refusal);
                for piece in self.of_call(call) {
                    piece.reject(refusal.clone());
                }
            }
        }
        // What has no verdict of its own is to be sent again.
        self.of_call(call).for_each(Piece::call_back);
        self.settle();
    }

    /// The records of the last [`Action::DeadLetter`] are kept, or counted as not kept.
    pub fn handle_dead_lettered(&mut self) {
        self.handle_kept(u64::MAX);
    }

    /// So many of the records of the last [`Action::DeadLetter`] are kept; the others were not
    /// there any more, and are nobody's to count here.
    pub fn handle_kept(&mut self, kept: u64) {
        let Some(dead) = self.refused() else {
            return;
        };
        let mut kept = kept;
        for piece in &mut self.pieces {
            if dead.range.contains(piece.range.first) {
                piece.bury(&mut kept);
            }
        }
        self.settle();
    }

    /// Something changed that may help (credentials, configuration, the network): no more waiting.
    pub fn handle_hint(&mut self) {
        self.wait_until = None;
    }

    /// The pieces of the next [`Action::Send`].
    fn group(&self) -> impl Iterator<Item = &Piece> {
        let sendable = |piece: &&Piece| piece.sendable().is_some();
        self.pieces.iter().filter(sendable).take(self.group_len())
    }

    fn group_mut(&mut self) -> impl Iterator<Item = &mut Piece> {
        let len = self.group_len();
        let sendable = |piece: &&mut Piece| piece.sendable().is_some();
        self.pieces.iter_mut().filter(sendable).take(len)
    }

    /// What is to be sent is spread over the calls that may be made.
    fn group_len(&self) -> usize {
        let sendable = self.pieces.iter().filter(|it| it.sendable().is_some());
        let free = self.concurrency.limit().saturating_sub(self.under_way);
        let free = usize::try_from(free.max(1)).unwrap_or(1);
        sendable.count().div_ceil(free).min(self.group_max)
    }

    /// The pieces of a call that is under way and have no verdict yet.
    fn of_call(&mut self, call: CallId) -> impl Iterator<Item = &mut Piece> {
        let is_of_call = move |piece: &&mut Piece| piece.call() == Some(call);
        self.pieces.iter_mut().filter(is_of_call)
    }

    /// The first run of refused pieces that follow each other for the same reason.
    fn refused(&self) -> Option<DeadLetter> {
        let mut refused = self
            .pieces
            .iter()
            .skip_while(|piece| piece.refusal().is_none());
        let first = refused.next()?;
        let refusal = first.refusal()?;
        let mut range = first.range;
        for piece in refused.take_while(|piece| piece.refusal() == Some(refusal)) {
            range.end = piece.range.end;
        }
        Some(DeadLetter {
            range,
            attempts: first.attempts,
            refusal: refusal.clone(),
        })
    }

    /// Moves the position over the finished pieces in front, or over the finished plan.
    fn settle(&mut self) {
        let done = |piece: &Piece| matches!(piece.state, State::Done(_));
        if self.remainder == Remainder::Halves && !self.pieces.iter().all(done) {
            return;
        }
        while let Some(piece) = self.pieces.front()
            && let State::Done(done) = piece.state
        {
            self.commit.accepted = self.commit.accepted.saturating_add(done.accepted);
            self.commit.rejected = self.commit.rejected.saturating_add(done.rejected);
            self.commit.filtered = self.commit.filtered.saturating_add(done.filtered);
            self.advance(piece.range.end);
            self.pieces.pop_front();
        }
        self.check();
    }

    fn advance(&mut self, committed: Seq) {
        debug_assert!(self.commit.committed <= committed, "positions only grow");
        self.commit.committed = committed;
        self.commit_due = true;
    }

    /// The pieces follow each other from the position on.
    fn check(&self) {
        let mut first = self.commit.committed;
        for piece in &self.pieces {
            debug_assert!(piece.range.first == first, "pieces follow each other");
            debug_assert!(!piece.range.is_empty(), "a piece is not empty");
            first = piece.range.end;
        }
    }
}

#[cfg(test)]
mod tests;

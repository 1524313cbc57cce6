//! What each sender of a source may send, and how seldom the log speaks of it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use pipeline::rate_limit::{Admission, RateLimit, SenderLimits};
use pipeline::time::Monotonic;

use super::Sender;
use crate::intake::Intake;
use crate::telemetry::{Refusal, SenderStatus};

/// So many senders are told apart; more of them share what one may send.
const SENDERS_MAX: usize = 4096;

/// So many are shown.
const SHOWN_SENDERS_MAX: usize = 5;

/// A connection that waits does so for at least this long, unless its burst is shorter: waiting
/// for each message alone would cost more than the message.
const PAUSE_MIN: Duration = Duration::from_millis(50);

/// The limits of a source.
#[derive(Debug)]
pub(super) struct Limits {
    limit: RateLimit,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    senders: SenderLimits<Sender>,
    told: Seldom,
    refused: u64,
}

impl Limits {
    pub(super) fn new(limit: RateLimit) -> Self {
        Self {
            limit,
            state: Mutex::new(State {
                senders: SenderLimits::new(limit, SENDERS_MAX),
                told: Seldom::default(),
                refused: 0,
            }),
        }
    }

    /// Whether a datagram is taken; one that is not is counted.
    pub(super) fn takes(&self, intake: &Intake, sender: Sender) -> bool {
        let (now, sender) = (intake.clock().monotonic(), sender.without_process());
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.senders.admit(now, &sender) == Admission::Admitted {
            return true;
        }
        state.senders.refuse(now, &sender);
        state.refused += 1;
        false
    }

    /// How long the next message of a connection has to wait.
    pub(super) fn pause(&self, intake: &Intake, sender: Sender) -> Option<Duration> {
        let now = intake.clock().monotonic();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Admission::Over(wait) = state.senders.admit(now, &sender.without_process()) else {
            return None;
        };
        if state.told.may_tell(now) {
            let source = intake.name();
            tracing::warn!(
                source,
                "{sender} sends more than its rate_limit, and is slowed"
            );
        }
        Some(wait.max(PAUSE_MIN.min(self.limit.tolerance())))
    }

    /// Counts and tells what was refused since the last call.
    pub(super) fn settle(&self, intake: &Intake) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = std::mem::take(&mut state.refused);
        if refused == 0 {
            return;
        }
        intake.counters().refuse(Refusal::RateLimit, refused);
        let senders = state.senders.refused(SHOWN_SENDERS_MAX);
        let senders = senders.into_iter().map(|(sender, refused)| SenderStatus {
            sender: sender.to_string(),
            refused,
        });
        let senders: Vec<SenderStatus> = senders.collect();
        if let Some(first) = senders.first()
            && state.told.may_tell(intake.clock().monotonic())
        {
            tracing::warn!(
                source = intake.name(),
                "messages over rate_limit are refused, most of {}: {} so far",
                first.sender,
                first.refused
            );
        }
        intake.counters().show_senders(senders);
    }
}

/// What may happen a thousand times a second and is told once a minute.
#[derive(Debug, Default)]
pub(super) struct Seldom(Option<Monotonic>);

impl Seldom {
    const INTERVAL: Duration = Duration::from_mins(1);

    pub(super) fn may_tell(&mut self, now: Monotonic) -> bool {
        let is_time = self.0.is_none_or(|last| now.since(last) >= Self::INTERVAL);
        if is_time {
            self.0 = Some(now);
        }
        is_time
    }
}

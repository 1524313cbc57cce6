//! A piece of a plan: what is left, what was decided.

use super::CallId;
use crate::destination::{Refusal, SeqRange, Unit, UnitFate};

/// Entries that end together.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) range: SeqRange,
    pub(super) attempts: u32,
    pub(super) state: State,
    count: u32,
    filtered: u32,
}

/// What a piece is waiting for.
#[derive(Clone, Debug)]
pub(super) enum State {
    /// To be encoded.
    Unencoded,
    /// To be sent, as the unit of this number.
    Encoded(usize),
    /// For the answer to this call, which has the unit of this number.
    Sent(usize, CallId),
    /// To be replaced by its halves.
    Split,
    /// To be kept as dead letters.
    Rejected(Refusal),
    /// For the pieces before it.
    Done(Done),
}

/// How the records of a piece ended.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Done {
    pub(super) accepted: u64,
    pub(super) rejected: u64,
    pub(super) filtered: u64,
}

impl Piece {
    pub(super) const fn unencoded(range: SeqRange) -> Self {
        Self {
            range,
            attempts: 0,
            state: State::Unencoded,
            count: 0,
            filtered: 0,
        }
    }

    pub(super) fn encoded(number: usize, unit: &Unit) -> Self {
        let mut piece = Self {
            range: unit.range,
            attempts: 0,
            state: State::Encoded(number),
            count: unit.count,
            filtered: unit.filtered,
        };
        if unit.count == 0 {
            piece.finish(0, 0);
        } else if let UnitFate::TooLarge { bytes, bytes_max } = unit.fate {
            piece.refuse(&Refusal {
                code: "TooLarge".to_owned(),
                reason: format!("record of {bytes} bytes exceeds {bytes_max}"),
            });
        }
        piece
    }

    /// The number of its unit while it is to be sent.
    pub(super) const fn sendable(&self) -> Option<usize> {
        match self.state {
            State::Encoded(number) => Some(number),
            State::Unencoded
            | State::Sent(..)
            | State::Split
            | State::Rejected(_)
            | State::Done(_) => None,
        }
    }

    /// The call that it is under way in.
    pub(super) const fn call(&self) -> Option<CallId> {
        match self.state {
            State::Sent(_, call) => Some(call),
            State::Unencoded
            | State::Encoded(_)
            | State::Split
            | State::Rejected(_)
            | State::Done(_) => None,
        }
    }

    /// Goes out in this call, if it was to be sent.
    pub(super) fn send(&mut self, call: CallId) {
        if let State::Encoded(number) = self.state {
            self.state = State::Sent(number, call);
            self.attempts = self.attempts.saturating_add(1);
        }
    }

    /// To be sent again.
    pub(super) fn call_back(&mut self) {
        if let State::Sent(number, _) = self.state {
            self.state = State::Encoded(number);
        }
    }

    /// Why its records are to become dead letters.
    pub(super) const fn refusal(&self) -> Option<&Refusal> {
        match &self.state {
            State::Rejected(refusal) => Some(refusal),
            State::Unencoded
            | State::Encoded(_)
            | State::Sent(..)
            | State::Split
            | State::Done(_) => None,
        }
    }

    pub(super) fn accept(&mut self) {
        self.finish(self.count, 0);
    }

    /// Refused for good, if it was to be sent or has just been.
    pub(super) fn reject(&mut self, refusal: Refusal) {
        if self.sendable().is_some() || self.call().is_some() {
            self.state = State::Rejected(refusal);
        }
    }

    /// Refused as it is: parts of it may do, if it has parts.
    pub(super) fn refuse(&mut self, refusal: &Refusal) {
        self.state = if self.count > 1 && self.range.len() > 1 {
            State::Split
        } else {
            State::Rejected(refusal.clone())
        };
    }

    /// Its records are kept, as far as `kept` has so many.
    pub(super) fn bury(&mut self, kept: &mut u64) {
        if self.refusal().is_some() {
            let rejected = u32::try_from(*kept).unwrap_or(u32::MAX).min(self.count);
            *kept -= u64::from(rejected);
            self.finish(0, rejected);
        }
    }

    fn finish(&mut self, accepted: u32, rejected: u32) {
        self.state = State::Done(Done {
            accepted: u64::from(accepted),
            rejected: u64::from(rejected),
            filtered: u64::from(self.filtered),
        });
    }
}

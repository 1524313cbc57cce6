//! What the verdict on a call means for its pieces, and for the calls to come.

use std::time::Duration;

use diskring::Seq;

use super::piece::{Piece, State};
use super::{CallId, Delivery, Trouble};
use crate::destination::{Refusal, Retry, RetryClass, UnitVerdict};
use crate::time::Monotonic;

impl Delivery {
    pub(super) fn handle_partial(
        &mut self,
        call: CallId,
        now: Monotonic,
        random: u32,
        verdicts: &[UnitVerdict],
        retry: Retry,
    ) {
        if verdicts.len() != self.of_call(call).count() {
            self.retry(call, now, random, retry);
            return;
        }
        let mut verdicts = verdicts.iter();
        let mut retries = false;
        let mut accepts = false;
        let mut refusals = None;
        for piece in self.of_call(call) {
            match verdicts.next() {
                Some(UnitVerdict::Accepted) => {
                    piece.accept();
                    accepts = true;
                }
                Some(UnitVerdict::TooLarge(refusal)) => {
                    piece.refuse(refusal);
                    refusals = Some(refusal.clone());
                }
                Some(UnitVerdict::Retry) | None => retries = true,
            }
        }
        self.split_refused();
        if accepts {
            self.succeeded(call);
        }
        if let Some(refusal) = refusals {
            self.refused_for_good(call, &refusal);
        }
        if retries {
            self.retry(call, now, random, retry);
        }
    }

    pub(super) fn handle_too_large(&mut self, call: CallId, refusal: &Refusal) {
        let count = self.of_call(call).count();
        self.refused_for_good(call, refusal);
        if count > 1 {
            self.group_max = self.group_max.min(count.div_ceil(2));
            return;
        }
        for piece in self.of_call(call) {
            piece.refuse(refusal);
        }
        self.split_refused();
    }

    /// Replaces each piece by the records that are named and what is between them, or by its halves.
    pub(super) fn handle_cut(&mut self, call: CallId, at: &[Seq], refusal: &Refusal) {
        self.refused_for_good(call, refusal);
        for piece in self.of_call(call) {
            piece.refuse(refusal);
        }
        let mut number = 0;
        while let Some(piece) = self.pieces.get(number) {
            number = number.saturating_add(1);
            if !matches!(piece.state, State::Split) {
                continue;
            }
            let cut = piece.range.cut(at);
            if cut.len() < 2 {
                continue;
            }
            let place = number.saturating_sub(1);
            self.pieces.remove(place);
            for (more, range) in cut.into_iter().enumerate() {
                let place = place.saturating_add(more);
                self.pieces.insert(place, Piece::unencoded(range));
                number = place.saturating_add(1);
            }
        }
        self.split_refused();
    }

    /// Replaces each piece that was refused as it is by its halves.
    fn split_refused(&mut self) {
        let mut at = 0;
        while let Some(piece) = self.pieces.get_mut(at) {
            at = at.saturating_add(1);
            if !matches!(piece.state, State::Split) {
                continue;
            }
            if let Some((first, second)) = piece.range.halves() {
                *piece = Piece::unencoded(first);
                self.pieces.insert(at, Piece::unencoded(second));
                at = at.saturating_add(1);
            }
        }
    }

    pub(super) fn retry(&mut self, call: CallId, now: Monotonic, random: u32, retry: Retry) {
        if call < self.first_since_failure {
            // It was under way when another failed, which says all of it but the service's pause.
            let until = retry.after.map(|after| now.after(after));
            self.wait_until = self.wait_until.max(until);
            return;
        }
        self.first_since_failure = self.next_call;
        if matches!(retry.class, RetryClass::Throttled | RetryClass::Transient) {
            self.concurrency.handle_trouble();
        }
        self.failures = self.failures.saturating_add(1);
        let since = *self.failing_since.get_or_insert(now);
        if let Some(limit) = self.give_up_after
            && now.since(since) >= limit
        {
            let seconds = limit.as_secs();
            let refusal = Refusal {
                code: "GaveUp".to_owned(),
                reason: format!("gave up after {seconds} s: {}", retry.reason),
            };
            // All that is encoded, not only the group: it has been waiting as long.
            for piece in &mut self.pieces {
                // What is under way in another call may be taken yet.
                if piece.call().is_none_or(|of| of == call) {
                    piece.reject(refusal.clone());
                }
            }
            self.failing_since = None;
            self.wait_until = None;
        } else if retry.after == Some(Duration::ZERO) && !self.hurried {
            self.hurried = true;
            self.wait_until = None;
        } else {
            let delay = self.backoff.delay_after(self.failures, random, retry.after);
            self.wait_until = Some(now.after(delay));
        }
        self.trouble = Some(Trouble {
            class: Some(retry.class),
            reason: retry.reason,
            failures: self.failures,
        });
    }

    pub(super) fn succeeded(&mut self, call: CallId) {
        if call < self.first_since_failure {
            return;
        }
        self.failures = 0;
        self.failing_since = None;
        self.hurried = false;
        self.wait_until = None;
        self.trouble = None;
    }

    pub(super) fn refused_for_good(&mut self, call: CallId, refusal: &Refusal) {
        self.succeeded(call);
        self.trouble = Some(Trouble {
            class: None,
            reason: refusal.reason.clone(),
            failures: 0,
        });
    }
}

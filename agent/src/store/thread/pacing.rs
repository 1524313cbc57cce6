//! When a sync that is wanted may be: the write budget may make it wait.

use std::time::Duration;

use diskring::Storage;
use pipeline::config::ByteSize;
use pipeline::write_budget::WriteBudget;
use tokio::time::Instant;

use super::Store;
use crate::telemetry::WearStatus;

/// Keeps the syncs of a ring apart; without a budget it does nothing.
pub(super) struct Pacing {
    started: Instant,
    last_sync: Instant,
    budget: Option<WriteBudget>,
    per_day: Option<ByteSize>,
    /// What was told last.
    exceeded_told: bool,
}

impl Pacing {
    /// Begins with what the opening of the ring wrote.
    pub(super) fn new(written: u64, per_day: Option<ByteSize>) -> Self {
        let now = Instant::now();
        Self {
            started: now,
            last_sync: now,
            budget: per_day.map(|per_day| WriteBudget::new(per_day, Duration::ZERO, written)),
            per_day,
            exceeded_told: false,
        }
    }

    /// Before this no sync may begin.
    fn next_sync(&self) -> Option<Instant> {
        let budget = self.budget.as_ref()?;
        Some(self.last_sync + budget.pause())
    }

    /// A sync has ended, which has made it so many bytes.
    pub(super) fn handle_sync(&mut self, written: u64) {
        let now = Instant::now();
        self.last_sync = now;
        if let Some(budget) = &mut self.budget {
            budget.handle_sync(now - self.started, written);
        }
        self.tell();
    }

    /// Says once that the budget cannot be kept, and once that it is kept again.
    fn tell(&mut self) {
        let (Some(budget), Some(per_day)) = (&self.budget, self.per_day) else {
            return;
        };
        let is_exceeded = budget.is_exceeded();
        if std::mem::replace(&mut self.exceeded_told, is_exceeded) == is_exceeded {
            return;
        }
        if is_exceeded {
            tracing::warn!(
                "the write budget of {per_day}/day cannot be kept although syncs wait as long as \
                 they may: the records alone are more; filter before the ring, or make \
                 buffer.write_budget larger"
            );
        } else {
            tracing::info!("the write budget of {per_day}/day is kept again");
        }
    }
}

impl<S: Storage> Store<S> {
    /// When the next sync is due.
    pub(super) fn sync_at(&self) -> Option<Instant> {
        let due = [self.ring_sync_at(), self.archive_at()];
        due.into_iter().flatten().min()
    }

    fn ring_sync_at(&self) -> Option<Instant> {
        let wanted = if self.is_sync_wanted() {
            self.pacing.last_sync
        } else {
            self.unsynced_since? + self.options.sync_delay_max
        };
        Some(
            self.pacing
                .next_sync()
                .map_or(wanted, |next| next.max(wanted)),
        )
    }

    /// Whether something wants a sync at once, and may have it.
    pub(super) fn is_sync_due(&self) -> bool {
        let next = self.pacing.next_sync();
        self.is_sync_wanted() && next.is_none_or(|next| next <= Instant::now())
    }

    fn is_sync_wanted(&self) -> bool {
        self.sync_wanted || self.ring.pending_bytes() >= self.options.sync_bytes
    }

    /// What the ring has cost its disk, and what it may.
    pub(super) fn wear(&mut self) -> WearStatus {
        let stats = self.ring.stats();
        let now = Instant::now() - self.pacing.started;
        let pacing = &mut self.pacing;
        if let Some(budget) = &mut pacing.budget {
            budget.look(now, stats.written_bytes);
        }
        pacing.tell();
        let pause = pacing.budget.as_ref().map(WriteBudget::pause);
        let seconds = now.as_secs().max(1);
        let per_day = u128::from(stats.written_bytes) * 86_400 / u128::from(seconds);
        WearStatus {
            written_bytes_ever: stats.written_bytes_ever,
            syncs_ever: stats.syncs_ever,
            written_bytes_per_day: u64::try_from(per_day).unwrap_or(u64::MAX),
            budget_bytes_per_day: pacing.per_day.map(ByteSize::as_u64),
            budget_exceeded: pacing.exceeded_told,
            sync_pause_ms: pause.map(|pause| u64::try_from(pause.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}

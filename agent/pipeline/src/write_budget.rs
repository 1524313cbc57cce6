//! How long syncs wait for each other, so that a day's writes keep within a budget.
//!
//! Each sync costs a page whatever it makes durable, so the fewer syncs, the less wear. The budget
//! is an account: it fills with time and is drawn on by what is written. While it is at least half
//! full nothing waits; below that the pause between syncs grows smoothly, up to
//! [`SYNC_DELAY_MS_MAX`] and never beyond. An account begins empty, so that a program which is
//! started again and again does not get the budget anew each time. Only time that passed is asked
//! for, never the calendar.

use std::time::Duration;

use crate::config::ByteSize;

/// The longest that anything may wait for its sync, in milliseconds, whatever is configured.
pub const SYNC_DELAY_MS_MAX: u64 = 60_000;

const DAY_MS: i128 = 86_400_000;
/// The account fills with so many of [`PARTS`] of the budget a day, and has room for so many.
/// Together with the debt at which syncs wait longest, that is no more than the budget in any day.
const PARTS: i128 = 64;
const RATE_PARTS: i128 = 58;
const ROOM_PARTS: i128 = 4;
const DEBT_PARTS: i128 = 2;
const _: () = assert!(RATE_PARTS + ROOM_PARTS + DEBT_PARTS <= PARTS);
/// What the shares below are parts of.
const WHOLE: i128 = 1 << 16;

/// The account of one disk.
#[derive(Clone, Debug)]
pub struct WriteBudget {
    bytes_per_day: i128,
    /// Bytes times [`SCALE`]; negative is a debt.
    credit: i128,
    /// Until when it has been filled, and which writes were taken from it.
    at: Duration,
    written: u64,
    /// What was written when the last sync ended, and what that sync and the pause before it cost.
    written_at_sync: u64,
    cost: i128,
    is_exceeded: bool,
}

/// Makes what a millisecond is worth a whole number.
const SCALE: i128 = PARTS * DAY_MS;

impl WriteBudget {
    /// An empty account, of which `written` bytes are spent already: those of the start.
    pub fn new(per_day: ByteSize, now: Duration, written: u64) -> Self {
        let mut budget = Self {
            bytes_per_day: i128::from(per_day.as_u64().max(1)),
            credit: 0,
            at: now,
            written: 0,
            written_at_sync: 0,
            cost: 0,
            is_exceeded: false,
        };
        budget.handle_sync(now, written);
        budget
    }

    /// Notes that a sync has ended; `written` counts every byte written so far.
    pub fn handle_sync(&mut self, now: Duration, written: u64) {
        self.look(now, written);
        self.cost = i128::from(written.saturating_sub(self.written_at_sync));
        self.written_at_sync = written;
    }

    /// Brings the account up to date.
    pub fn look(&mut self, now: Duration, written: u64) {
        let passed = i128::try_from(now.saturating_sub(self.at).as_millis()).unwrap_or(DAY_MS);
        let spent = i128::from(written.saturating_sub(self.written));
        self.at = self.at.max(now);
        self.written = self.written.max(written);
        // What is owed for more than a day is forgiven, or a week's overload would cost another.
        let earned = passed.min(2 * DAY_MS) * self.bytes_per_day * RATE_PARTS;
        let full = self.share(ROOM_PARTS);
        self.credit = (self.credit + earned).min(full) - spent * SCALE;
        self.credit = self.credit.max(-self.share(PARTS));
        if self.credit <= -self.share(DEBT_PARTS) {
            self.is_exceeded = true;
        } else if self.credit >= full / 4 {
            self.is_exceeded = false;
        }
    }

    /// How long the next sync has to wait after the last one.
    pub fn pause(&self) -> Duration {
        let longest = i128::from(SYNC_DELAY_MS_MAX);
        let half = self.share(ROOM_PARTS) / 2;
        // The pause in which the account earns what a sync costs, and twice that when it is empty.
        let earning = self.cost * SCALE / (self.bytes_per_day * RATE_PARTS);
        let lacking = ((half - self.credit.max(0)) * WHOLE / half).max(0);
        let paced = (2 * earning * lacking / WHOLE).min(longest);
        let owed = (-self.credit).max(0) * WHOLE / self.share(DEBT_PARTS);
        let pause = paced + (longest - paced) * owed.min(WHOLE) / WHOLE;
        Duration::from_millis(u64::try_from(pause).unwrap_or(SYNC_DELAY_MS_MAX))
    }

    /// Whether the budget cannot be kept although syncs wait as long as they may; over again once
    /// there is something in the account.
    pub const fn is_exceeded(&self) -> bool {
        self.is_exceeded
    }

    /// So many parts of the budget of a day, scaled.
    const fn share(&self, parts: i128) -> i128 {
        self.bytes_per_day * parts * DAY_MS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const PAGE: u64 = 4096;
    const SECOND: Duration = Duration::from_secs(1);
    const DAY: Duration = Duration::from_hours(24);

    fn budget(mib_per_day: u64) -> WriteBudget {
        WriteBudget::new(ByteSize::bytes(mib_per_day * MIB), Duration::ZERO, 0)
    }

    #[test]
    fn the_pause_follows_the_account() {
        // seconds that pass, MiB written in them, bytes of the last sync, least and most pause
        let table = [
            // Full: nothing waits.
            (86_400, 0, PAGE, 0, 0),
            // Empty, as at a start: twice what a page is worth at 928 MiB a day, 11,262 B/s.
            (0, 0, PAGE, 700, 900),
            // A quarter full, which is half of what lets everything go.
            (1_490, 0, PAGE, 350, 450),
            // Half full and more.
            (3_000, 0, PAGE, 0, 0),
            // A debt of half of what may be owed.
            (0, 16, PAGE, 29_000, 32_000),
            // All of that, and more.
            (0, 32, PAGE, 60_000, 60_000),
            (0, 1_000_000, PAGE, 60_000, 60_000),
            // A sync that costs more than a minute is worth.
            (0, 0, MIB, 60_000, 60_000),
        ];
        for (seconds, mib, last, least, most) in table {
            let mut budget = budget(1024);
            let now = Duration::from_secs(seconds);
            budget.handle_sync(now, mib * MIB);
            // The last sync's own cost is small beside the account.
            budget.handle_sync(now, mib * MIB + last);
            let pause = budget.pause().as_millis();
            let case = format!("{seconds} s, {mib} MiB, {last}: {pause} ms");
            assert!((least..=most).contains(&pause), "{case}");
        }
    }

    #[test]
    fn it_is_told_once_and_once_again() {
        let mut budget = budget(1024);
        // at second, written MiB, exceeded
        let table = [
            (0, 31, false),
            (1, 33, true),
            (600, 33, true),
            // The debt is paid, and the account not yet a quarter full.
            (3_500, 33, true),
            (7_000, 33, false),
            (7_001, 50, false),
            (7_002, 200, true),
        ];
        for (at, mib, expected) in table {
            budget.handle_sync(SECOND * at, mib * MIB);
            assert_eq!(budget.is_exceeded(), expected, "second {at}");
        }
    }

    #[test]
    fn nonsense_does_no_harm() {
        let mut budget = WriteBudget::new(ByteSize::bytes(u64::MAX), Duration::MAX, u64::MAX);
        budget.handle_sync(Duration::ZERO, 0);
        assert!(budget.pause() <= Duration::from_millis(SYNC_DELAY_MS_MAX));
        let mut budget = WriteBudget::new(ByteSize::bytes(0), Duration::ZERO, u64::MAX);
        budget.handle_sync(Duration::MAX, u64::MAX);
        assert!(budget.pause() <= Duration::from_millis(SYNC_DELAY_MS_MAX));
    }

    /// Bytes of records that come in a second.
    type Load = fn(u64) -> u64;

    struct Week {
        written: Vec<u64>,
        /// What the records alone would have cost at one sync in the longest pause.
        least: Vec<u64>,
        waited_most: u64,
        waited_sum: u64,
        syncs: u64,
    }

    /// Records that want a sync after a second, second by second; a restart each `restart_s`.
    fn simulate(mib_per_day: u64, load: Load, restart_s: u64) -> Week {
        let mut week = Week {
            written: Vec::new(),
            least: Vec::new(),
            waited_most: 0,
            waited_sum: 0,
            syncs: 0,
        };
        let (mut written, mut pending, mut since) = (0, 0, None);
        let (mut account, mut last_sync) = (budget(mib_per_day), 0);
        for second in 0..7 * DAY.as_secs() {
            if second % DAY.as_secs() == 0 {
                week.written.push(0);
                week.least.push(0);
            }
            let mut now_written = 0;
            if second > 0 && second % restart_s == 0 {
                // A crash: what was not synced comes again; the recovery writes a page.
                now_written += PAGE;
                account = WriteBudget::new(
                    ByteSize::bytes(mib_per_day * MIB),
                    SECOND * u32::try_from(second).unwrap(),
                    PAGE,
                );
                written = PAGE;
                last_sync = second;
                since = since.map(|_| second);
            }
            let records = load(second);
            if records > 0 {
                pending += records;
                since.get_or_insert(second);
            }
            *week.least.last_mut().unwrap() += records + PAGE * u64::from(second % 60 == 0);
            let pause = u64::try_from(account.pause().as_millis()).unwrap();
            let due = last_sync + pause.div_ceil(1000);
            if let Some(from) = since
                && second > from
                && second >= due
            {
                now_written += pending + PAGE;
                written += pending + PAGE;
                account.handle_sync(SECOND * u32::try_from(second).unwrap(), written);
                week.waited_most = week.waited_most.max(second - from);
                week.waited_sum += second - from;
                week.syncs += 1;
                (pending, since, last_sync) = (0, None, second);
            }
            *week.written.last_mut().unwrap() += now_written;
        }
        week
    }

    const QUIET: Load = |second| if second % 10 == 0 { 100 } else { 0 };
    const STEADY: Load = |_| 2_000;
    /// 100 MiB in ten minutes each morning, else steady.
    const BURSTS: Load = |second| match second % 86_400 {
        28_800..29_400 => 175_000,
        _ => 200,
    };
    /// 57 MiB in a minute, each hour and a half.
    const HEAVY: Load = |second| if second % 5400 < 60 { 1_000_000 } else { 100 };

    #[test]
    fn a_week_keeps_the_budget() {
        const NEVER: u64 = u64::MAX;
        // MiB a day, load, seconds between crashes, whether it is enough, most mean wait
        let table: [(u64, Load, u64, bool, u64); 9] = [
            (1024, QUIET, NEVER, true, 1),
            (1024, STEADY, NEVER, true, 1),
            (256, STEADY, NEVER, true, 8),
            (200, STEADY, NEVER, true, 30),
            (64, STEADY, NEVER, false, 60),
            (160, BURSTS, NEVER, true, 40),
            (2048, HEAVY, NEVER, true, 2),
            (256, STEADY, 600, true, 60),
            (256, STEADY, 20, true, 20),
        ];
        for (index, (mib, load, restart_s, is_enough, mean_most)) in table.into_iter().enumerate() {
            let week = simulate(mib, load, restart_s);
            let mean = week.waited_sum / week.syncs.max(1);
            eprintln!(
                "{index}: {:?} MiB a day, waits {} s at most, {mean} s in the mean",
                week.written.iter().map(|day| day / MIB).collect::<Vec<_>>(),
                week.waited_most
            );
            assert!(week.waited_most <= SYNC_DELAY_MS_MAX / 1000 + 1, "{index}");
            assert!(mean <= mean_most, "{index}: {mean} s");
            for (day, least) in week.written.iter().zip(&week.least) {
                let kept = *day <= mib * MIB;
                assert!(kept || !is_enough, "{index}: {day} of {}", mib * MIB);
                // What cannot be kept is exceeded by the records' own bytes alone.
                assert!(
                    kept || *day <= least + 100 * PAGE,
                    "{index}: {day}, {least}"
                );
            }
        }
    }
}

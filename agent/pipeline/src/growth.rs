//! How fast a ring grows, from what it holds.
//!
//! The times are those of the machine's clock, which may have been wrong: a stretch over which it
//! went back, or was set for the first time, says nothing and is left out.

use std::time::Duration;

use diskring::Seq;

use crate::time::WallClock;

/// No gateway with Hydrant had an earlier time and a clock that was set: 2020-01-01.
const CLOCK_SET_SINCE: WallClock = WallClock::from_millis(1_577_836_800_000);

/// A place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Milestone {
    /// When the entry at this place was taken in.
    pub at: WallClock,
    /// The entry.
    pub seq: Seq,
    /// How many bytes of the log lie before it.
    pub bytes: u64,
}

/// How much was stored in how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Growth {
    /// So long.
    pub over: Duration,
    /// Bytes of the ring that were taken.
    pub bytes: u64,
    /// Records that were stored.
    pub records: u64,
}

impl Growth {
    /// What lies between the first and the last of these, which are in the order of the log;
    /// `None` when that takes no time.
    pub fn between(milestones: &[Milestone]) -> Option<Self> {
        let mut growth = Self {
            over: Duration::ZERO,
            bytes: 0,
            records: 0,
        };
        for (from, to) in milestones.iter().zip(milestones.iter().skip(1)) {
            let is_set = from.at >= CLOCK_SET_SINCE || to.at < CLOCK_SET_SINCE;
            if is_set && from.at <= to.at {
                growth.over += to.at.since(from.at);
                growth.bytes += to.bytes.saturating_sub(from.bytes);
                growth.records += to.seq.since(from.seq);
            }
        }
        (growth.over > Duration::ZERO).then_some(growth)
    }

    /// How long it takes to store so many bytes; `None` when nothing grows, or for ages.
    pub fn time_for(&self, bytes: u64) -> Option<Duration> {
        let millis = u128::from(bytes)
            .checked_mul(self.over.as_millis())?
            .checked_div(u128::from(self.bytes))?;
        u64::try_from(millis).ok().map(Duration::from_millis)
    }

    /// Bytes in a second.
    pub fn bytes_per_s(&self) -> u64 {
        self.per(self.bytes, 1000)
    }

    /// Records in a thousand seconds.
    pub fn records_per_1000_s(&self) -> u64 {
        self.per(self.records, 1_000_000)
    }

    fn per(&self, count: u64, millis: u128) -> u64 {
        let scaled = u128::from(count).saturating_mul(millis);
        let rate = scaled.checked_div(self.over.as_millis()).unwrap_or(0);
        u64::try_from(rate).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SET: i64 = 1_795_452_000_000;

    fn check(milestones: &[(i64, u64, u64)], expected: Option<(u64, u64, u64)>) {
        let milestones: Vec<Milestone> = milestones
            .iter()
            .map(|(millis, seq, bytes)| Milestone {
                at: WallClock::from_millis(*millis),
                seq: Seq::new(*seq),
                bytes: *bytes,
            })
            .collect();
        let growth = Growth::between(&milestones);
        let expected = expected.map(|(seconds, bytes, records)| Growth {
            over: Duration::from_secs(seconds),
            bytes,
            records,
        });
        assert_eq!(growth, expected);
    }

    #[test]
    fn stretches_of_a_wrong_clock_are_left_out() {
        check(&[], None);
        check(&[(SET, 0, 0)], None);
        check(&[(SET, 0, 0), (SET, 5, 5)], None);
        check(
            &[(SET, 5, 100), (SET + 10_000, 25, 900)],
            Some((10, 800, 20)),
        );
        // Taken in at once, in the same moment.
        check(
            &[(SET, 0, 0), (SET, 10, 100), (SET + 10_000, 20, 200)],
            Some((10, 200, 20)),
        );
        // The clock went back.
        check(
            &[
                (SET, 0, 0),
                (SET + 10_000, 10, 100),
                (SET, 20, 200),
                (SET + 5_000, 23, 230),
            ],
            Some((15, 130, 13)),
        );
        // The clock was set for the first time; before, it counted from 1970.
        check(
            &[
                (1_000, 0, 0),
                (3_000, 2, 20),
                (SET, 4, 40),
                (SET + 2_000, 6, 60),
            ],
            Some((4, 40, 4)),
        );
    }

    #[test]
    fn rates_and_times_follow() {
        let growth = Growth {
            over: Duration::from_mins(1),
            bytes: 6_000,
            records: 3,
        };
        assert_eq!(growth.bytes_per_s(), 100);
        assert_eq!(growth.records_per_1000_s(), 50);
        assert_eq!(growth.time_for(500), Some(Duration::from_secs(5)));
        let growth = Growth { bytes: 0, ..growth };
        assert_eq!(growth.time_for(500), None);
        let growth = Growth {
            bytes: 1,
            over: Duration::from_secs(u64::MAX / 1000),
            ..growth
        };
        assert_eq!(growth.time_for(u64::MAX), None);
    }
}

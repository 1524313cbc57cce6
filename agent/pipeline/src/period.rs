//! Which part of the log may hold the records of a period, as the starts of its segments tell.
//!
//! Records are nearly in the order of their times: what waits before the ring may be overtaken, and
//! the machine's clock may go back. What is named here is rather too much than too little; whoever
//! reads it looks at the time of each record.

use diskring::Seq;

use crate::time::WallClock;

/// The start of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// Its first entry.
    pub first: Seq,
    /// When that was taken in.
    pub at: WallClock,
}

/// The first entry that may have been received at `since` or later, and the entry after the last
/// that may have been received before `until`; `None` where `starts` set no bound.
///
/// `slack` is how many segments a record may be away from where its time would have it.
pub fn bounds(
    starts: &[Start],
    since: Option<WallClock>,
    until: Option<WallClock>,
    slack: usize,
) -> (Option<Seq>, Option<Seq>) {
    let first = since.and_then(|since| {
        let pairs = starts.iter().zip(starts.iter().skip(1));
        // Everything before the next segment is earlier, as long as the clock goes on.
        let skipped = pairs.take_while(|(this, next)| this.at <= next.at && next.at <= since);
        let from = skipped.count().checked_sub(slack)?;
        starts.get(from).map(|start| start.first)
    });
    let end = until.and_then(|until| {
        let later = starts.iter().rev().take_while(|start| start.at >= until);
        let to = starts.len().saturating_sub(later.count());
        starts
            .get(to.saturating_add(slack))
            .map(|start| start.first)
    });
    (first, end)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Segments of ten entries that begin at these times.
    fn check(
        times: &[i64],
        (since, until): (Option<i64>, Option<i64>),
        slack: usize,
        expected: (Option<u64>, Option<u64>),
    ) {
        let starts: Vec<Start> = times
            .iter()
            .zip((0_u64..).step_by(10))
            .map(|(at, first)| Start {
                first: Seq::new(first),
                at: WallClock::from_millis(*at),
            })
            .collect();
        let time = |millis: Option<i64>| millis.map(WallClock::from_millis);
        let (first, end) = bounds(&starts, time(since), time(until), slack);
        let found = (first.map(Seq::get), end.map(Seq::get));
        assert_eq!(found, expected, "{times:?} {since:?} {until:?}");
    }

    #[test]
    fn a_period_is_found_by_the_starts_of_segments() {
        let times = [0, 100, 200, 300, 400];
        // since, until, slack, first, end
        let table = [
            (None, None, 0, None, None),
            (Some(250), None, 0, Some(20), None),
            (Some(300), None, 0, Some(30), None),
            (Some(250), None, 1, Some(10), None),
            (Some(250), None, 9, None, None),
            (Some(-5), None, 0, Some(0), None),
            (Some(999), None, 0, Some(40), None),
            (None, Some(250), 0, None, Some(30)),
            (None, Some(300), 0, None, Some(30)),
            (None, Some(250), 1, None, Some(40)),
            (None, Some(250), 9, None, None),
            (None, Some(-5), 0, None, Some(0)),
            (None, Some(999), 0, None, None),
            (Some(100), Some(200), 0, Some(10), Some(20)),
        ];
        for (since, until, slack, first, end) in table {
            check(&times, (since, until), slack, (first, end));
        }
        check(&[], (Some(1), Some(2)), 1, (None, None));
    }

    #[test]
    fn a_clock_that_went_back_makes_the_part_larger() {
        let times = [0, 100, 200, 50, 150];
        check(&times, (Some(160), None), 0, (Some(10), None));
        check(&times, (Some(999), None), 0, (Some(20), None));
        check(&times, (None, Some(60)), 0, (None, Some(40)));
        check(&times, (None, Some(40)), 0, (None, Some(10)));
    }
}

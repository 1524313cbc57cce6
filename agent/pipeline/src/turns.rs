//! Whose turn it is among the drivers of one destination.
//!
//! Each driver has a [`Rank`]: first the lane (a buffer, in the order that the destination names
//! them), then the stretch of its log. A higher rank that has a batch to send goes first; a lane
//! yields to a higher one altogether, while a stretch yields within its lane only as far as the
//! share of the lower ones is kept: without it a replay would starve beside a steady stream.
//!
//! Nobody is interrupted: a request under way ends by itself. A rank is in the way from the moment
//! its batch is ready until that has its verdict, failures and waiting included, so that nothing
//! overtakes it when the destination comes back.

use std::collections::{BTreeMap, BTreeSet};

use crate::tally::StretchKind;

/// The place of a driver among those of its destination; the least one goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rank {
    /// Place of its buffer among those of the destination, from 0.
    pub lane: usize,
    /// Its stretch of the log.
    pub kind: StretchKind,
}

/// Who has a batch to send, and how many bytes the lower ranks have to their credit.
#[derive(Clone, Debug)]
pub struct Turns {
    share_percent: u8,
    wishes: BTreeSet<Rank>,
    credit: BTreeMap<usize, i64>,
}

impl Turns {
    /// Nobody has anything to send; of what is sent while a lower rank of the same lane waits, so
    /// many bytes in a hundred are to be that one's (at most 90).
    pub fn new(share_percent: u8) -> Self {
        Self {
            share_percent: share_percent.min(90),
            wishes: BTreeSet::new(),
            credit: BTreeMap::new(),
        }
    }

    /// This rank has a batch to send.
    pub fn handle_wish(&mut self, rank: Rank) {
        self.wishes.insert(rank);
    }

    /// The batch of this rank has ended, or its driver has.
    pub fn handle_end(&mut self, rank: Rank) {
        self.wishes.remove(&rank);
    }

    /// So many bytes of this rank were accepted.
    pub fn handle_sent(&mut self, rank: Rank, bytes: u64) {
        let of_lane = |other: &&Rank| other.lane == rank.lane;
        let is_waited_for = self
            .wishes
            .iter()
            .filter(of_lane)
            .any(|other| *other > rank);
        let is_guest = self
            .wishes
            .iter()
            .filter(of_lane)
            .any(|other| *other < rank);
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        let credit = self.credit.entry(rank.lane).or_default();
        if is_waited_for {
            let share = i64::from(self.share_percent);
            let earned = bytes.saturating_mul(share) / (100 - share);
            // What is not used up does not pile up.
            *credit = (*credit).max(credit.saturating_add(earned).min(earned));
        }
        if is_guest {
            *credit = credit.saturating_sub(bytes);
        }
    }

    /// Whether this rank may send now.
    pub fn may_send(&self, rank: Rank) -> bool {
        match self.wishes.first() {
            Some(first) if *first < rank => {
                let credit = self.credit.get(&rank.lane).copied().unwrap_or(0);
                first.lane == rank.lane && credit > 0
            }
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn rank(lane: usize, kind: StretchKind) -> Rank {
        Rank { lane, kind }
    }

    const LIVE: Rank = rank(1, StretchKind::Live);
    const BACKLOG: Rank = rank(1, StretchKind::Backlog);
    const REPLAY: Rank = rank(1, StretchKind::Replay);
    const ALARMS: Rank = rank(0, StretchKind::Live);
    const ALARMS_BEFORE: Rank = rank(0, StretchKind::Replay);

    #[test]
    fn a_higher_lane_goes_first_whatever_it_sends() {
        let mut turns = Turns::new(20);
        assert!(turns.may_send(LIVE) && turns.may_send(ALARMS));
        turns.handle_wish(LIVE);
        assert!(turns.may_send(ALARMS), "nobody waits for a lower lane");
        turns.handle_wish(ALARMS_BEFORE);
        turns.handle_sent(ALARMS_BEFORE, 1 << 30);
        assert!(!turns.may_send(LIVE) && !turns.may_send(BACKLOG));
        turns.handle_end(ALARMS_BEFORE);
        assert!(turns.may_send(LIVE));
    }

    #[test]
    fn a_lower_stretch_uses_the_gaps() {
        let mut turns = Turns::new(20);
        turns.handle_wish(BACKLOG);
        turns.handle_sent(BACKLOG, 1000);
        assert!(turns.may_send(BACKLOG), "nothing else is to be sent");
        turns.handle_wish(LIVE);
        assert!(!turns.may_send(BACKLOG) && turns.may_send(LIVE));
        turns.handle_end(LIVE);
        assert!(turns.may_send(BACKLOG) && !turns.may_send(REPLAY));
    }

    #[test]
    fn a_lower_stretch_gets_its_share_of_a_steady_stream() {
        for share in [1, 20, 50, 90] {
            let mut turns = Turns::new(share);
            turns.handle_wish(LIVE);
            turns.handle_wish(BACKLOG);
            let (mut live, mut backlog) = (0_u64, 0_u64);
            for _ in 0..20_000 {
                turns.handle_sent(LIVE, 1000);
                live += 1000;
                while turns.may_send(BACKLOG) {
                    turns.handle_sent(BACKLOG, 700);
                    backlog += 700;
                }
            }
            let percent = backlog * 100 / (live + backlog);
            assert!(
                percent.abs_diff(u64::from(share)) <= 1,
                "{share}: {percent}"
            );
        }
    }

    #[test]
    fn credit_does_not_pile_up() {
        let mut turns = Turns::new(50);
        turns.handle_wish(LIVE);
        turns.handle_wish(BACKLOG);
        for _ in 0..100 {
            turns.handle_sent(LIVE, 1000);
        }
        turns.handle_sent(BACKLOG, 1000);
        assert!(!turns.may_send(BACKLOG));
    }
}

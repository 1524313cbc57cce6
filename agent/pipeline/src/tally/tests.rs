//! The law, and what stretches do to it.

use super::*;

const LIVE: StretchId = StretchId::LIVE;

fn delivered(count: u64) -> BatchOutcome {
    BatchOutcome {
        delivered: count,
        ..BatchOutcome::default()
    }
}

#[test]
fn the_law_of_a_destination_holds() {
    let mut tally = DestinationTally::starting_at(Seq::new(10));
    tally.set_takes(None, 10);
    tally.count(20);
    assert_eq!(tally.waiting(), 10);
    tally.plan(LIVE, Seq::new(14));
    assert_eq!(tally.live.planned(), Some(Seq::new(14)));
    let outcome = BatchOutcome {
        delivered: 1,
        rejected: 1,
        ..BatchOutcome::default()
    };
    tally.commit(LIVE, Seq::new(12), outcome);
    let planned = Some(Seq::new(14));
    assert_eq!((tally.waiting(), tally.live.planned()), (8, planned));
    tally.commit(LIVE, Seq::new(14), outcome);
    assert_eq!((tally.waiting(), tally.live.planned()), (6, None));
    tally.evict(LIVE, 7, 2);
    tally.evict(LIVE, 8, 0);
    tally.skip_to(LIVE, Seq::new(16));
    assert_eq!((tally.waiting(), tally.committed()), (4, Seq::new(16)));
    assert_eq!(tally.recount(LIVE, 3), 1);
    tally.lose_truncated(LIVE, 1);
    assert_eq!(tally.evicted(), &BTreeMap::from([(7, 2)]));
    tally.merge_evicted(|source| source == 8);
    assert_eq!(tally.evicted(), &BTreeMap::from([(UNKNOWN_SOURCE, 2)]));
    let settled = tally.delivered() + tally.rejected() + tally.truncated() + 2;
    assert_eq!(settled + tally.waiting(), 10);
    assert_eq!(DestinationTally::decode(&tally.encode()), Some(tally));
}

/// What its fallback took has left as surely as what it took itself.
#[test]
fn what_the_fallback_took_is_counted_apart() {
    let mut tally = DestinationTally::starting_at(Seq::ZERO);
    tally.set_takes(None, 0);
    tally.count(10);
    let outcome = BatchOutcome {
        by_fallback: 3,
        rejected: 1,
        ..BatchOutcome::default()
    };
    let empty = tally.encode().len();
    tally.commit(LIVE, Seq::new(4), outcome);
    assert_eq!((tally.delivered(), tally.by_fallback()), (0, 3));
    assert_eq!((tally.waiting(), tally.committed()), (6, Seq::new(4)));
    let replay = tally.replay(Seq::ZERO, Seq::new(3), 3, 1).unwrap();
    tally.commit(replay, Seq::new(3), outcome);
    assert_eq!((tally.by_fallback(), tally.replayed()), (3, 3));
    tally.finish(replay);
    let state = tally.encode();
    assert_eq!(state.len(), empty, "a commit needs no room");
    assert_eq!(
        DestinationTally::decode(&state).map(|tally| tally.by_fallback()),
        Some(3)
    );
    // A state of a time when there were no fallbacks.
    let old = DestinationTally::decode(&state[..state.len() - 8]).unwrap();
    assert_eq!((old.by_fallback(), old.waiting()), (0, 6));
}

#[test]
fn a_position_never_goes_back() {
    let mut tally = DestinationTally::starting_at(Seq::new(10));
    tally.commit(LIVE, Seq::new(4), BatchOutcome::default());
    let stands = (tally.committed(), tally.live.planned());
    assert_eq!(stands, (Seq::new(10), None));
}

#[test]
fn a_backlog_is_owed_and_ends() {
    let mut tally = DestinationTally::starting_at(Seq::ZERO);
    tally.set_takes(None, 0);
    tally.count(10);
    let first = tally.split(Seq::new(6), 6).unwrap();
    tally.count(12);
    tally.commit(LIVE, Seq::new(8), delivered(2));
    assert_eq!((tally.committed(), tally.waiting()), (Seq::ZERO, 10));
    let second = tally.split(Seq::new(12), 4).unwrap();
    assert_eq!(tally.split(Seq::new(12), 0), None);
    assert_eq!(tally.next_stretch(StretchKind::Backlog), Some(second));
    assert_eq!(
        DestinationTally::decode(&tally.encode()),
        Some(tally.clone())
    );
    tally.commit(second, Seq::new(20), delivered(4));
    tally.finish(second);
    tally.finish(first);
    assert_eq!(tally.next_stretch(StretchKind::Backlog), Some(first));
    tally.commit(first, Seq::new(6), delivered(6));
    tally.finish(first);
    assert_eq!((tally.committed(), tally.waiting()), (Seq::new(12), 0));
    assert_eq!((tally.delivered(), tally.others.len()), (12, 0));
}

#[test]
fn a_replay_is_counted_apart() {
    let mut tally = DestinationTally::starting_at(Seq::ZERO);
    tally.set_takes(None, 0);
    tally.count(10);
    tally.commit(LIVE, Seq::new(10), delivered(10));
    let replay = tally.replay(Seq::new(2), Seq::new(5), 3, 77).unwrap();
    assert_eq!(tally.replay(Seq::new(5), Seq::new(5), 0, 78), None);
    assert_eq!((tally.committed(), tally.waiting()), (Seq::new(10), 0));
    assert_eq!(tally.stretch(replay).and_then(Stretch::mark), Some(77));
    tally.commit(replay, Seq::new(4), delivered(2));
    tally.evict(replay, 1, 1);
    assert_eq!((tally.delivered(), tally.replayed()), (10, 2));
    assert!(tally.evicted().is_empty());
    assert!(!tally.forget_replay(LIVE) && tally.forget_replay(replay));
}

#[test]
fn a_number_is_not_given_again_soon() {
    let mut tally = DestinationTally::starting_at(Seq::ZERO);
    let mut given = BTreeSet::from([LIVE]);
    for mark in 1..=u64::from(u16::MAX) {
        let replay = tally.replay(Seq::ZERO, Seq::new(9), 9, mark).unwrap();
        assert!(given.insert(replay) && tally.forget_replay(replay));
    }
    assert_ne!(tally.replay(Seq::ZERO, Seq::new(9), 9, 0), Some(LIVE));
}

#[test]
fn stretches_have_a_bound() {
    let mut tally = DestinationTally::starting_at(Seq::ZERO);
    for at in 1..20 {
        tally.split(Seq::new(at), 1);
        tally.replay(Seq::ZERO, Seq::new(at), 1, at);
    }
    assert_eq!(tally.others.len(), 2 * STRETCHES_MAX);
    assert!(tally.encode().len() < diskring::VALUE_BYTES_MAX * 3 / 4);
    assert_eq!(DestinationTally::decode(&tally.encode()), Some(tally));
}

#[test]
fn received_is_filtered_and_stored() {
    let tally = SourceTally {
        stored: 3,
        filtered: 4,
        ..SourceTally::default()
    };
    assert_eq!(tally.received(), 7);
    let elsewhere = SourceTally {
        stored: 1,
        refused: 9,
        ..tally
    };
    let both = SourceTally {
        stored: 4,
        filtered: 8,
        refused: 9,
        ..SourceTally::default()
    };
    assert_eq!(tally.with(elsewhere), both);
    assert_eq!(elsewhere.with(tally), both);
}

//! Lives of sessions, and what of them is in the ring.

use pipeline::time::WallClock;

use super::*;

fn at(seconds: u64) -> Monotonic {
    Monotonic::from_start(Duration::from_secs(seconds))
}

const HOUR: Duration = Duration::from_hours(1);

fn open(sessions: &mut Sessions, now: u64, client: &str, clean: bool, connection: u32) -> Opened {
    let claim = Claim {
        client,
        clean,
        outlives: true,
        connection,
    };
    sessions.open(at(now), claim)
}

#[test]
fn a_session_outlives_its_connection_for_as_long_as_it_may() {
    let mut sessions = Sessions::new(10);
    let check = |opened: Opened, session, present, taken_from| {
        let expected = Opened {
            session,
            present,
            taken_from,
        };
        assert_eq!(opened, expected);
    };
    check(open(&mut sessions, 0, "a", false, 1), 1, false, None);
    // Taken over, and the old connection's end changes nothing.
    check(open(&mut sessions, 1, "a", false, 2), 1, true, Some(1));
    assert_eq!(
        sessions.close(at(2), 1, 1, Duration::ZERO),
        Ended::TakenOver
    );
    assert_eq!(sessions.close(at(3), 1, 2, HOUR), Ended::Waits(HOUR));
    check(open(&mut sessions, 3602, "a", false, 3), 1, true, None);
    sessions.close(at(3603), 1, 3, HOUR);
    check(open(&mut sessions, 7203, "a", false, 4), 2, false, None);
    check(open(&mut sessions, 7204, "a", true, 5), 3, false, Some(4));
    assert_eq!(sessions.close(at(7205), 3, 5, Duration::ZERO), Ended::Gone);
    check(open(&mut sessions, 7206, "a", false, 6), 4, false, None);
    // Longer than the longest.
    assert_eq!(
        sessions.close(at(7207), 4, 6, HOUR * 1000),
        Ended::Waits(EXPIRY_MAX)
    );
    let late = 7207 + 24 * 3600;
    check(open(&mut sessions, late, "a", false, 7), 5, false, None);
}

#[test]
fn a_qos_2_message_is_new_once() {
    let mut sessions = Sessions::new(10);
    let session = open(&mut sessions, 0, "a", false, 1).session;
    assert_eq!(sessions.hold(session, 9, 1), Hold::New);
    assert_eq!(sessions.hold(session, 9, 1), Hold::Storing);
    sessions.close(at(1), session, 1, HOUR);
    open(&mut sessions, 2, "a", false, 2);
    assert_eq!(sessions.hold(session, 9, 2), Hold::Storing);
    assert_eq!(sessions.settle(session, 9), Some(2));
    assert_eq!(sessions.settle(session, 9), None);
    assert_eq!(sessions.hold(session, 9, 2), Hold::Stored);
    assert_eq!(sessions.held(session), 1);
    assert_eq!(sessions.release(session, 9), Release::Done);
    assert_eq!(sessions.release(session, 9), Release::Unknown);
    assert_eq!(sessions.hold(session, 9, 2), Hold::New);
    // A clean start forgets, and the old session's receipt finds nothing.
    open(&mut sessions, 3, "a", true, 3);
    assert_eq!(sessions.settle(session, 9), None);
}

#[test]
fn there_are_never_more_than_allowed() {
    let mut sessions = Sessions::new(3);
    for number in 0..100_u32 {
        let client = format!("c{number}");
        let opened = open(&mut sessions, u64::from(number), &client, false, number);
        sessions.close(at(u64::from(number)), opened.session, number, HOUR);
        assert!(sessions.by_number.len() <= 3);
        assert_eq!(sessions.by_client.len(), sessions.by_number.len());
    }
    // The last ones are still known.
    assert!(open(&mut sessions, 100, "c99", false, 100).present);
    assert!(!open(&mut sessions, 100, "c1", false, 101).present);
}

/// The checkpoints of a source, as the ring keeps them.
#[derive(Default)]
struct Ring(BTreeMap<Vec<u8>, u64>);

impl Ring {
    fn put(&mut self, mark: Option<Mark>) {
        let Some(mark) = mark else { return };
        match mark.bits {
            Some(bits) => drop(self.0.insert(mark.key, bits)),
            None => drop(self.0.remove(&mark.key)),
        }
    }

    fn forget(&mut self, sessions: &mut Sessions) {
        for key in sessions.take_forgotten() {
            self.0.remove(&key);
        }
    }

    fn restart(&self) -> Sessions {
        let mut sessions = Sessions::new(10);
        let marks: Vec<_> = self.0.clone().into_iter().collect();
        sessions.restore(&marks);
        sessions
    }
}

#[test]
fn what_is_held_outlives_the_process() {
    let (mut sessions, mut ring) = (Sessions::new(10), Ring::default());
    let session = open(&mut sessions, 0, "a", false, 1).session;
    for id in [9, 10, 700] {
        assert_eq!(sessions.hold(session, id, 1), Hold::New);
        ring.put(sessions.mark(session, id));
    }
    assert_eq!(ring.0.len(), 2);
    let mut sessions = ring.restart();
    let opened = open(&mut sessions, 0, "a", false, 1);
    assert!(opened.present);
    let session = opened.session;
    for id in [9, 10, 700] {
        assert_eq!(sessions.hold(session, id, 1), Hold::Stored);
    }
    assert_eq!(sessions.hold(session, 11, 1), Hold::New);
    sessions.let_go(session, 11);
    // PUBCOMP is owed until the ring has forgotten; a second PUBREL changes nothing.
    assert_eq!(sessions.release(session, 9), Release::Owed);
    ring.put(sessions.mark(session, 9));
    assert_eq!(sessions.release(session, 9), Release::Waiting);
    assert_eq!(ring.restart().by_number[&session].held.len(), 2);
    assert_eq!(sessions.released(session, 9), Some(1));
    assert_eq!(sessions.released(session, 9), None);
    assert_eq!(sessions.hold(session, 9, 1), Hold::New);
    sessions.let_go(session, 9);
    for id in [10, 700] {
        assert_eq!(sessions.release(session, id), Release::Owed);
        ring.put(sessions.mark(session, id));
    }
    assert!(ring.0.is_empty());
    assert!(!open(&mut ring.restart(), 0, "a", false, 1).present);
}

#[test]
fn nothing_is_kept_of_a_session_that_ends_with_its_connection() {
    let mut sessions = Sessions::new(10);
    let claim = Claim {
        client: "a",
        clean: true,
        outlives: false,
        connection: 1,
    };
    let session = sessions.open(at(0), claim).session;
    sessions.hold(session, 9, 1);
    assert_eq!(sessions.mark(session, 9), None);
    sessions.settle(session, 9);
    assert_eq!(sessions.release(session, 9), Release::Done);
}

#[test]
fn marks_of_a_session_that_is_gone_are_forgotten() {
    let (mut sessions, mut ring) = (Sessions::new(10), Ring::default());
    let session = open(&mut sessions, 0, "a", false, 1).session;
    sessions.hold(session, 9, 1);
    ring.put(sessions.mark(session, 9));
    // A clean start: its session has a number of its own, also in the next process.
    let clean = open(&mut sessions, 1, "a", true, 2).session;
    assert_ne!(clean, session);
    sessions.hold(clean, 9, 2);
    ring.put(sessions.mark(clean, 9));
    let late = ring.0.clone();
    ring.forget(&mut sessions);
    assert_eq!(ring.0.len(), 1);
    // Both are there when a batch of the old connection came late and the power failed.
    let mut sessions = Ring(late).restart();
    assert_eq!(sessions.take_forgotten().len(), 1);
    assert_eq!(open(&mut sessions, 0, "a", false, 1).session, clean);
    // Expiry and removal for want of room forget as well.
    sessions.close(at(1), clean, 1, HOUR);
    assert!(!open(&mut sessions, 3602, "a", false, 2).present);
    assert_eq!(sessions.take_forgotten().len(), 1);
}

#[test]
fn what_the_ring_has_no_room_for_is_held_all_the_same() {
    let mut sessions = Sessions::new(10);
    let session = open(&mut sessions, 0, "a", false, 1).session;
    let ids = (1..=u16::MAX).step_by(64);
    let marked = ids.filter(|id| {
        assert_eq!(sessions.hold(session, *id, 1), Hold::New);
        sessions.settle(session, *id);
        sessions.mark(session, *id).is_some()
    });
    let marked = marked.count();
    assert!((100..1024).contains(&marked), "{marked} are marked");
    assert_eq!(sessions.release(session, 65473), Release::Done);
    assert_eq!(sessions.release(session, 1), Release::Owed);
}

#[test]
fn a_will_waits_until_its_delay_or_its_session_is_over() {
    let will = |payload: &str| Record::new(WallClock::default(), payload.as_bytes().to_vec());
    let delay = Duration::from_secs(10);
    let check = |delay: Duration, expiry: Duration, back: Option<(u64, bool)>, expected: &[u64]| {
        let mut sessions = Sessions::new(10);
        let session = open(&mut sessions, 0, "a", false, 1).session;
        let ended = sessions.close(at(0), session, 1, expiry);
        let mut published = Vec::new();
        if sessions
            .keep_will(at(0), (session, ended), delay, will("w"))
            .is_some()
        {
            published.push(0);
        }
        for second in 1..100 {
            if let Some((moment, clean)) = back
                && moment == second
            {
                open(&mut sessions, second, "a", clean, 2);
            }
            let due = sessions.will_timeout().is_some_and(|due| due <= at(second));
            let wills = sessions.poll_wills(at(second));
            assert_eq!(due, !wills.is_empty());
            published.extend(wills.iter().map(|_| second));
        }
        assert_eq!(published, expected, "{delay:?} {expiry:?} {back:?}");
    };
    check(Duration::ZERO, HOUR, None, &[0]);
    check(delay, HOUR, None, &[10]);
    check(delay, Duration::from_secs(5), None, &[5]);
    check(delay, Duration::ZERO, None, &[0]);
    check(delay, HOUR, Some((3, false)), &[]);
    check(delay, HOUR, Some((3, true)), &[3]);
    check(delay, HOUR, Some((20, false)), &[10]);
    // What finds no room is published early.
    let mut sessions = Sessions::new(10);
    let session = open(&mut sessions, 0, "a", false, 1).session;
    let ended = sessions.close(at(0), session, 1, HOUR);
    let large = Record::new(WallClock::default(), vec![0; 2 * 1024 * 1024]);
    assert!(
        sessions
            .keep_will(at(0), (session, ended), delay, large)
            .is_some()
    );
    let kept = sessions.keep_will(at(0), (session, ended), delay, will("w"));
    assert_eq!((kept, sessions.take_wills().len()), (None, 1));
}

#[test]
fn a_session_that_is_taken_over_publishes_its_will_as_mqtt_5_says() {
    let will = || Record::new(WallClock::default(), b"w".to_vec());
    for (clean, delay, expected) in [
        (false, Duration::ZERO, true),
        (false, HOUR, false),
        (true, Duration::ZERO, true),
        (true, HOUR, true),
    ] {
        let mut sessions = Sessions::new(10);
        let session = open(&mut sessions, 0, "a", false, 1).session;
        open(&mut sessions, 1, "a", clean, 2);
        let ended = sessions.close(at(2), session, 1, HOUR);
        let published = sessions.keep_will(at(2), (session, ended), delay, will());
        assert_eq!(published.is_some(), expected, "{clean} {delay:?}");
    }
}

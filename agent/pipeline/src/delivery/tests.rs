//! Scripts for each rule, and a model: random verdicts and crashes against a plain list of fates.

mod model;

use super::*;
use crate::destination::{Retry, UnitFate, UnitVerdict};

fn at(seconds: u64) -> Monotonic {
    Monotonic::from_start(Duration::from_secs(seconds))
}

fn range(first: u64, end: u64) -> SeqRange {
    SeqRange::new(Seq::new(first), Seq::new(end))
}

fn unit(first: u64, end: u64, count: u32) -> Unit {
    Unit {
        range: range(first, end),
        count,
        filtered: 0,
        fate: UnitFate::Sendable,
    }
}

fn refusal(code: &str) -> Refusal {
    Refusal {
        code: code.to_owned(),
        reason: format!("answered {code}"),
    }
}

fn transient() -> Retry {
    Retry::new(RetryClass::Transient, "answered 503")
}

fn retry_config(give_up_after: Option<u64>) -> RetryConfig {
    RetryConfig {
        initial: Duration::from_secs(2),
        max: Duration::from_mins(1),
        give_up_after: give_up_after.map(Duration::from_secs),
        timeout: Duration::from_secs(30),
    }
}

/// A delivery of entries 10..20 that are encoded to `units`.
fn delivery(remainder: Remainder, units: &[Unit]) -> Delivery {
    let mut delivery = Delivery::new(&retry_config(None), remainder, Seq::new(10)).unwrap();
    assert_eq!(delivery.poll(at(0)), Action::Idle);
    delivery.handle_plan(range(10, 20));
    assert_eq!(delivery.poll(at(0)), Action::Encode(range(10, 20)));
    delivery.handle_encoded(units);
    delivery
}

/// Half of the ceiling, whatever it is.
const HALF: u32 = 1 << 31;

#[track_caller]
fn check_commit(delivery: &mut Delivery, expected: Option<(u64, u64, u64, u64)>) {
    let commit = delivery.poll_commit();
    let seen = commit.map(|it| (it.committed.get(), it.accepted, it.rejected, it.filtered));
    assert_eq!(seen, expected);
}

/// Named records go alone and what is between them by itself; the position moves once all ended.
#[test]
fn a_cut_plan_is_sent_in_its_parts() {
    let mut delivery = delivery(Remainder::Halves, &[unit(10, 20, 8)]);
    let cut = |at: &[u64]| Verdict::Cut {
        at: at.iter().map(|seq| Seq::new(*seq)).collect(),
        refusal: refusal("LoadError"),
    };
    // Those outside of it, in no order or twice, cut nothing.
    delivery.handle_verdict(at(1), 0, cut(&[3, 10, 14, 14, 12, 20]));
    let mut parts = Vec::new();
    while let Action::Encode(part) = delivery.poll(at(1)) {
        parts.push((part.first.get(), part.end.get()));
        let count = u32::try_from(part.len()).unwrap() - u32::from(part.len() > 3);
        delivery.handle_encoded(&[Unit {
            range: part,
            count,
            filtered: 0,
            fate: UnitFate::Sendable,
        }]);
        // What was alone and is refused is refused for good.
        let is_alone = part.len() == 1;
        let verdict = if is_alone {
            cut(&[])
        } else {
            Verdict::Accepted
        };
        delivery.handle_verdict(at(1), 0, verdict);
        if let Action::DeadLetter(letter) = delivery.poll(at(1)) {
            assert_eq!(
                (letter.range, letter.refusal.code.as_str()),
                (part, "LoadError")
            );
            check_commit(&mut delivery, None);
            delivery.handle_dead_lettered();
        }
    }
    assert_eq!(parts, [(10, 11), (11, 14), (14, 15), (15, 20)]);
    check_commit(&mut delivery, Some((20, 7, 2, 0)));
}

/// Where no record is named, a batch is cut in halves.
#[test]
fn a_cut_without_places_makes_halves() {
    let mut delivery = delivery(Remainder::Halves, &[unit(10, 20, 8)]);
    let verdict = Verdict::Cut {
        at: Vec::new(),
        refusal: refusal("LoadError"),
    };
    delivery.handle_verdict(at(1), 0, verdict);
    assert_eq!(delivery.poll(at(1)), Action::Encode(range(10, 15)));
    assert_eq!(delivery.trouble().unwrap().reason, "answered LoadError");
}

#[test]
fn accepted_plan_is_committed() {
    let mut unit = unit(10, 20, 7);
    unit.filtered = 2;
    let mut delivery = delivery(Remainder::Halves, &[unit]);
    assert_eq!(delivery.poll(at(0)), Action::Send(vec![0]));
    check_commit(&mut delivery, None);
    delivery.handle_verdict(at(1), 0, Verdict::Accepted);
    check_commit(&mut delivery, Some((20, 7, 0, 2)));
    check_commit(&mut delivery, None);
    assert_eq!(delivery.poll(at(1)), Action::Idle);
}

#[test]
fn retried_plan_waits_and_is_not_committed() {
    let mut delivery = delivery(Remainder::Halves, &[unit(10, 20, 7)]);
    delivery.handle_verdict(at(100), HALF, Verdict::Retry(transient()));
    assert_eq!(delivery.poll(at(100)), Action::Wait(at(101)));
    assert_eq!(delivery.poll_timeout(), Some(at(101)));
    assert_eq!(delivery.poll(at(101)), Action::Send(vec![0]));
    delivery.handle_verdict(at(101), HALF, Verdict::Retry(transient()));
    assert_eq!(delivery.poll(at(102)), Action::Wait(at(103)));
    check_commit(&mut delivery, None);
    let trouble = delivery.trouble().unwrap();
    assert_eq!(
        (trouble.failures, trouble.reason.as_str()),
        (2, "answered 503")
    );
    delivery.handle_hint();
    assert_eq!(delivery.poll(at(102)), Action::Send(vec![0]));
    delivery.handle_verdict(at(102), 0, Verdict::Accepted);
    assert_eq!(delivery.trouble(), None);
    check_commit(&mut delivery, Some((20, 7, 0, 0)));
}

#[test]
fn servers_pause_is_kept() {
    let mut delivery = delivery(Remainder::Halves, &[unit(10, 20, 7)]);
    let mut retry = transient();
    retry.after = Some(Duration::from_mins(5));
    delivery.handle_verdict(at(0), HALF, Verdict::Retry(retry));
    assert_eq!(delivery.poll(at(299)), Action::Wait(at(300)));
}

#[test]
fn corrected_clock_is_tried_at_once_and_once_only() {
    let mut delivery = delivery(Remainder::Whole, &[unit(10, 20, 7)]);
    let mut retry = Retry::new(RetryClass::Clock, "signature expired");
    retry.after = Some(Duration::ZERO);
    delivery.handle_verdict(at(5), u32::MAX, Verdict::Retry(retry.clone()));
    assert_eq!(delivery.poll(at(5)), Action::Send(vec![0]));
    delivery.handle_verdict(at(5), HALF, Verdict::Retry(retry));
    assert_eq!(delivery.poll(at(5)), Action::Wait(at(7)));
}

#[test]
fn only_failed_units_are_sent_again() {
    let units = [unit(10, 12, 2), unit(12, 15, 3), unit(15, 20, 4)];
    let mut delivery = delivery(Remainder::Whole, &units);
    assert_eq!(delivery.poll(at(0)), Action::Send(vec![0, 1, 2]));
    let partial = |units| Verdict::Partial {
        units,
        retry: transient(),
    };
    let verdict = partial(vec![
        UnitVerdict::Accepted,
        UnitVerdict::Retry,
        UnitVerdict::Accepted,
    ]);
    delivery.handle_verdict(at(0), HALF, verdict);
    // The third is accepted, and waits for the second.
    check_commit(&mut delivery, Some((12, 2, 0, 0)));
    assert_eq!(delivery.poll(at(0)), Action::Wait(at(1)));
    assert_eq!(delivery.poll(at(1)), Action::Send(vec![1]));
    delivery.handle_verdict(at(1), HALF, partial(vec![UnitVerdict::Accepted]));
    check_commit(&mut delivery, Some((20, 7, 0, 0)));
    assert_eq!(delivery.poll(at(1)), Action::Idle);
}

#[test]
fn verdicts_on_other_units_than_were_sent_accept_nothing() {
    let mut delivery = delivery(Remainder::Whole, &[unit(10, 12, 2), unit(12, 20, 3)]);
    let verdict = Verdict::Partial {
        units: vec![UnitVerdict::Accepted],
        retry: transient(),
    };
    delivery.handle_verdict(at(0), 0, verdict);
    check_commit(&mut delivery, None);
    assert_eq!(delivery.poll(at(0)), Action::Send(vec![0, 1]));
}

#[test]
fn too_many_units_are_sent_in_halves() {
    let units = [unit(10, 12, 2), unit(12, 15, 3), unit(15, 20, 4)];
    let mut delivery = delivery(Remainder::Whole, &units);
    delivery.handle_verdict(at(0), 0, Verdict::TooLarge(refusal("413")));
    assert_eq!(delivery.poll(at(0)), Action::Send(vec![0, 1]));
    delivery.handle_verdict(at(0), 0, Verdict::Accepted);
    assert_eq!(delivery.poll(at(0)), Action::Send(vec![2]));
    delivery.handle_verdict(at(0), 0, Verdict::Accepted);
    check_commit(&mut delivery, Some((20, 9, 0, 0)));
}

#[test]
fn too_large_range_is_split_down_to_the_record() {
    let mut delivery = delivery(Remainder::Halves, &[unit(10, 20, 2)]);
    delivery.handle_verdict(at(0), 0, Verdict::TooLarge(refusal("413")));
    assert_eq!(delivery.poll(at(0)), Action::Encode(range(10, 15)));
    delivery.handle_encoded(&[unit(10, 15, 1)]);
    delivery.handle_verdict(at(0), 0, Verdict::TooLarge(refusal("413")));
    let dead = DeadLetter {
        range: range(10, 15),
        attempts: 1,
        refusal: refusal("413"),
    };
    assert_eq!(delivery.poll(at(0)), Action::DeadLetter(dead));
    delivery.handle_dead_lettered();
    // Ids of batches repeat only if the position does not move inside of a plan.
    check_commit(&mut delivery, None);
    assert_eq!(delivery.poll(at(0)), Action::Encode(range(15, 20)));
    delivery.handle_encoded(&[unit(15, 20, 1)]);
    assert_eq!(delivery.poll(at(0)), Action::Send(vec![0]));
    delivery.handle_verdict(at(0), 0, Verdict::Accepted);
    check_commit(&mut delivery, Some((20, 1, 1, 0)));
}

#[test]
fn unit_of_the_wrong_shape_is_packed_again_in_halves() {
    let mut delivery = delivery(Remainder::Whole, &[unit(10, 14, 4), unit(14, 20, 6)]);
    let verdict = Verdict::Partial {
        units: vec![
            UnitVerdict::TooLarge(refusal("ValidationException")),
            UnitVerdict::Retry,
        ],
        retry: transient(),
    };
    delivery.handle_verdict(at(0), 0, verdict);
    assert_eq!(delivery.poll(at(0)), Action::Send(vec![1]));
    delivery.handle_verdict(at(0), 0, Verdict::Accepted);
    assert_eq!(delivery.poll(at(0)), Action::Encode(range(10, 12)));
    delivery.handle_encoded(&[unit(10, 12, 2)]);
    delivery.handle_verdict(at(0), 0, Verdict::Accepted);
    check_commit(&mut delivery, Some((12, 2, 0, 0)));
    assert_eq!(delivery.poll(at(0)), Action::Encode(range(12, 14)));
    delivery.handle_encoded(&[unit(12, 14, 2)]);
    delivery.handle_verdict(at(0), 0, Verdict::Accepted);
    check_commit(&mut delivery, Some((20, 8, 0, 0)));
}

#[test]
fn next_encoding_is_sent_together_again() {
    let mut delivery = delivery(Remainder::Whole, &[unit(10, 12, 2), unit(12, 13, 1)]);
    delivery.handle_verdict(at(0), 0, Verdict::TooLarge(refusal("413")));
    assert_eq!(delivery.poll(at(0)), Action::Send(vec![0]));
    delivery.handle_verdict(at(0), 0, Verdict::Accepted);
    delivery.handle_verdict(at(0), 0, Verdict::Accepted);
    assert_eq!(delivery.poll(at(0)), Action::Encode(range(13, 20)));
    delivery.handle_encoded(&[unit(13, 15, 2), unit(15, 20, 2)]);
    assert_eq!(delivery.poll(at(0)), Action::Send(vec![0, 1]));
}

#[test]
fn record_larger_than_any_is_buried_unsent() {
    let mut large = unit(12, 13, 1);
    large.fate = UnitFate::TooLarge {
        bytes: 9,
        bytes_max: 8,
    };
    let mut delivery = delivery(Remainder::Whole, &[unit(10, 12, 2), large, unit(13, 20, 3)]);
    let Action::DeadLetter(dead) = delivery.poll(at(0)) else {
        panic!("nothing is sent before");
    };
    assert_eq!((dead.range, dead.attempts), (range(12, 13), 0));
    assert_eq!(dead.refusal.reason, "record of 9 bytes exceeds 8");
    delivery.handle_dead_lettered();
    assert_eq!(delivery.poll(at(0)), Action::Send(vec![0, 2]));
    delivery.handle_verdict(at(0), 0, Verdict::Accepted);
    check_commit(&mut delivery, Some((20, 5, 1, 0)));
}

#[test]
fn rejected_plan_becomes_dead_letters_together() {
    let mut delivery = delivery(Remainder::Whole, &[unit(10, 12, 2), unit(12, 20, 3)]);
    delivery.handle_verdict(at(0), 0, Verdict::Retry(transient()));
    delivery.handle_verdict(at(0), 0, Verdict::Rejected(refusal("422")));
    let dead = DeadLetter {
        range: range(10, 20),
        attempts: 2,
        refusal: refusal("422"),
    };
    assert_eq!(delivery.poll(at(0)), Action::DeadLetter(dead));
    check_commit(&mut delivery, None);
    assert_eq!(delivery.trouble().unwrap().class, None);
    delivery.handle_dead_lettered();
    check_commit(&mut delivery, Some((20, 0, 5, 0)));
}

/// What made room before its letter was written is not counted as kept.
#[test]
fn only_what_is_kept_is_counted_as_rejected() {
    let mut delivery = delivery(Remainder::Whole, &[unit(10, 12, 2), unit(12, 20, 3)]);
    delivery.handle_verdict(at(0), 0, Verdict::Rejected(refusal("422")));
    delivery.handle_kept(4);
    check_commit(&mut delivery, Some((20, 0, 4, 0)));
}

#[test]
fn gives_up_when_told_to() {
    let mut delivery = delivery(Remainder::Halves, &[unit(10, 20, 7)]);
    delivery.give_up_after = Some(Duration::from_mins(1));
    delivery.handle_verdict(at(100), 0, Verdict::Retry(transient()));
    delivery.handle_verdict(at(159), 0, Verdict::Retry(transient()));
    assert_eq!(delivery.poll(at(159)), Action::Send(vec![0]));
    delivery.handle_verdict(at(160), u32::MAX, Verdict::Retry(transient()));
    let dead = DeadLetter {
        range: range(10, 20),
        attempts: 3,
        refusal: Refusal {
            code: "GaveUp".to_owned(),
            reason: "gave up after 60 s: answered 503".to_owned(),
        },
    };
    assert_eq!(delivery.poll(at(160)), Action::DeadLetter(dead));
    delivery.handle_dead_lettered();
    check_commit(&mut delivery, Some((20, 0, 7, 0)));
}

#[test]
fn never_gives_up_by_itself() {
    let mut delivery = delivery(Remainder::Halves, &[unit(10, 20, 7)]);
    for day in 0..10_000 {
        delivery.handle_verdict(at(day * 86_400), HALF, Verdict::Retry(transient()));
    }
    check_commit(&mut delivery, None);
    assert_eq!(
        delivery.poll(at(9_999 * 86_400 + 30)),
        Action::Send(vec![0])
    );
}

#[test]
fn entries_for_others_are_passed() {
    let mut delivery = Delivery::new(&retry_config(None), Remainder::Whole, Seq::new(10)).unwrap();
    delivery.handle_passed(Seq::new(10), 0);
    check_commit(&mut delivery, None);
    delivery.handle_passed(Seq::new(15), 3);
    check_commit(&mut delivery, Some((15, 0, 0, 3)));
    // Entries before the plan were evicted meanwhile.
    delivery.handle_plan(range(17, 18));
    check_commit(&mut delivery, Some((17, 0, 0, 0)));
    delivery.handle_encoded(&[unit(17, 18, 0)]);
    check_commit(&mut delivery, Some((18, 0, 0, 0)));
    assert_eq!(delivery.poll(at(0)), Action::Idle);
}

#[test]
fn what_does_not_fit_a_call_is_asked_for_again() {
    let mut delivery = delivery(Remainder::Whole, &[unit(10, 13, 3)]);
    delivery.handle_verdict(at(0), 0, Verdict::Accepted);
    check_commit(&mut delivery, Some((13, 3, 0, 0)));
    assert_eq!(delivery.poll(at(0)), Action::Encode(range(13, 20)));
}

#[test]
fn nonsense_is_refused() {
    let mut config = retry_config(None);
    config.initial = Duration::ZERO;
    let error = Delivery::new(&config, Remainder::Whole, Seq::ZERO).unwrap_err();
    assert_eq!(error, BackoffError::InitialZero);
}

/// A delivery with eight units of a record each, of which so many calls were accepted in rounds.
fn eight_units(max: u32) -> Delivery {
    let mut delivery = Delivery::new(&retry_config(None), Remainder::Whole, Seq::new(10))
        .unwrap()
        .with_concurrency(max);
    delivery.handle_plan(range(10, 18));
    let units: Vec<Unit> = (10..18).map(|seq| unit(seq, seq + 1, 1)).collect();
    delivery.handle_encoded(&units);
    delivery
}

/// What is to be sent next, and on its way from now on.
fn send(delivery: &mut Delivery) -> (CallId, Vec<usize>) {
    let Action::Send(units) = delivery.poll(at(0)) else {
        panic!("nothing to send: {:?}", delivery.poll(at(0)));
    };
    (delivery.handle_sent(), units)
}

#[test]
fn calls_go_side_by_side_and_are_committed_in_order() {
    let mut delivery = eight_units(3);
    // Two rounds earn two more calls.
    delivery.concurrency.handle_accepted(true);
    delivery.concurrency.handle_accepted(true);
    delivery.concurrency.handle_accepted(true);
    assert_eq!(delivery.concurrency(), 3);
    let (first, units) = send(&mut delivery);
    assert_eq!(units, [0, 1, 2]);
    let (second, units) = send(&mut delivery);
    assert_eq!(units, [3, 4, 5]);
    let (third, units) = send(&mut delivery);
    assert_eq!(units, [6, 7]);
    assert_eq!(delivery.poll(at(0)), Action::Await);
    assert!(!delivery.is_untouched(), "what is under way may be taken");
    delivery.handle_answer(third, at(0), 0, Verdict::Accepted);
    check_commit(&mut delivery, None);
    delivery.handle_answer(first, at(0), 0, Verdict::Accepted);
    check_commit(&mut delivery, Some((13, 3, 0, 0)));
    assert_eq!(delivery.poll(at(0)), Action::Await);
    delivery.handle_answer(second, at(0), 0, Verdict::Accepted);
    check_commit(&mut delivery, Some((18, 5, 0, 0)));
    assert_eq!(delivery.poll(at(0)), Action::Idle);
}

/// Calls that were made before a failure neither end the wait for it nor make it longer.
#[test]
fn one_throttled_round_is_one_failure() {
    let mut delivery = eight_units(4);
    for _ in 0..6 {
        delivery.concurrency.handle_accepted(true);
    }
    assert_eq!(delivery.concurrency(), 4);
    let calls: Vec<CallId> = (0..4).map(|_| send(&mut delivery).0).collect();
    let slow = || Verdict::Retry(Retry::new(RetryClass::Throttled, "slow down"));
    delivery.handle_answer(calls[1], at(0), HALF, slow());
    delivery.handle_answer(calls[2], at(0), HALF, slow());
    delivery.handle_answer(calls[0], at(0), HALF, Verdict::Accepted);
    assert_eq!(delivery.poll(at(0)), Action::Await, "the last is under way");
    delivery.handle_answer(calls[3], at(0), HALF, slow());
    assert_eq!(delivery.concurrency(), 2);
    assert_eq!(delivery.trouble().unwrap().failures, 1);
    assert_eq!(delivery.poll(at(0)), Action::Wait(at(1)));
    assert_eq!(delivery.poll(at(1)), Action::Send(vec![2, 3, 4]));
    check_commit(&mut delivery, Some((12, 2, 0, 0)));
    delivery.handle_verdict(at(1), HALF, Verdict::Accepted);
    assert_eq!(delivery.trouble(), None);
}

/// Where the destination knows batches by their ids there is one call at a time.
#[test]
fn batches_with_ids_go_one_by_one() {
    let delivery = Delivery::new(&retry_config(None), Remainder::Halves, Seq::ZERO).unwrap();
    let mut delivery = delivery.with_concurrency(8);
    for _ in 0..100 {
        delivery.concurrency.handle_accepted(true);
    }
    assert_eq!(delivery.concurrency(), 1);
}

//! Each rule of the books broken in turn: some history must notice.
//!
//! Two more are not among them, because no history can tell them from the rule: what a driver is
//! given, and what it commits, past the end of its stretch. Both matter only while the stretch is
//! there, and with everything before its end committed it is no more; of an eviction neither leaves
//! anything before the end.

use pipeline::Mutant;

use super::run;
use crate::ring_mutants::killed_by;

fn check(mutant: Mutant) {
    let killed = killed_by(|seed| run(seed, mutant));
    let (seed, text) = killed.expect("a history that notices the broken rule");
    let text = text.chars().take(200).collect::<String>();
    eprintln!("{mutant:?} is killed by seed {seed}: {text}");
}

#[test]
fn an_eviction_past_the_end_of_a_stretch_is_noticed() {
    check(Mutant::LimitIgnored);
}

#[test]
fn replays_that_count_as_delivered_are_noticed() {
    check(Mutant::ReplaysDelivered);
}

#[test]
fn replays_that_are_owed_are_noticed() {
    check(Mutant::ReplaysOwed);
}

#[test]
fn replays_that_count_as_evicted_are_noticed() {
    check(Mutant::ReplaysEvicted);
}

#[test]
fn a_split_that_leaves_what_is_in_hand_is_noticed() {
    check(Mutant::SplitUnsettled);
}

#[test]
fn evictions_of_the_live_stretch_only_are_noticed() {
    check(Mutant::OnlyLiveEvicted);
}

#[test]
fn sources_forgotten_under_a_replay_are_noticed() {
    check(Mutant::ReplaysNotBehind);
}

#[test]
fn an_old_backlog_that_goes_first_is_noticed() {
    check(Mutant::OldestBacklogFirst);
}

#[test]
fn a_late_replay_that_goes_first_is_noticed() {
    check(Mutant::NewestReplayFirst);
}

#[test]
fn stretches_that_stay_are_noticed() {
    check(Mutant::FinishedKept);
}

#[test]
fn records_that_wait_on_both_sides_of_a_split_are_noticed() {
    check(Mutant::WaitingKept);
}

#[test]
fn stretches_without_room_that_stay_are_noticed() {
    check(Mutant::RefusedKept);
}

#[test]
fn a_position_ahead_of_a_backlog_is_noticed() {
    check(Mutant::CommittedMax);
}

#[test]
fn a_driver_begun_anew_without_settling_is_noticed() {
    check(Mutant::BegunUnsettled);
}

//! Each safeguard of the ring switched off in turn: some history must notice.

use std::panic::{AssertUnwindSafe, catch_unwind};

use diskring::Mutant;

use crate::ring_beyond::Fault;
use crate::ring_model::run;
use crate::ring_untrue;

const SEEDS: u64 = 20_000;

/// The first seed whose history the mutant does not survive.
pub(crate) fn killed_by<T>(history: impl Fn(u64) -> Result<T, String>) -> Option<(u64, String)> {
    (0..SEEDS).find_map(|seed| {
        let outcome = catch_unwind(AssertUnwindSafe(|| history(seed)));
        match outcome {
            Ok(Ok(_)) => None,
            Ok(Err(text)) => Some((seed, text)),
            Err(_) => Some((seed, "an assertion of the ring".to_owned())),
        }
    })
}

fn check(mutant: Mutant) {
    report(mutant, killed_by(|seed| run(seed, mutant)));
}

fn check_beyond(mutant: Mutant, fault: Fault) {
    report(
        mutant,
        killed_by(|seed| ring_untrue::run(seed, fault, mutant)),
    );
}

fn report(mutant: Mutant, killed: Option<(u64, String)>) {
    let (seed, text) = killed.expect("a history that notices the missing safeguard");
    eprintln!("{mutant:?} is killed by seed {seed}: {text}");
}

#[test]
fn acknowledging_before_the_sync_is_noticed() {
    check(Mutant::AckBeforeSync);
}

#[test]
fn a_single_slot_is_noticed() {
    check(Mutant::SingleSlot);
}

#[test]
fn unchecked_frames_are_noticed() {
    check(Mutant::NoCrc);
}

#[test]
fn frames_of_another_generation_are_noticed() {
    check(Mutant::NoGeneration);
}

#[test]
fn a_generation_that_is_not_raised_is_noticed() {
    check(Mutant::GenerationKept);
}

#[test]
fn space_reused_before_its_eviction_is_durable_is_noticed() {
    check(Mutant::ReuseBeforeDurable);
}

#[test]
fn an_unchecked_group_is_noticed() {
    check(Mutant::NoGroupCheck);
}

#[test]
fn an_unchecked_start_of_the_page_is_noticed() {
    check(Mutant::NoPrefixCheck);
}

#[test]
fn states_apart_from_their_entries_are_noticed() {
    check(Mutant::StateApart);
}

#[test]
fn durable_pages_written_in_place_are_noticed() {
    check(Mutant::RewriteInPlace);
}

#[test]
fn an_end_overwritten_after_a_lost_sync_is_noticed() {
    check_beyond(Mutant::TwoSlots, Fault::LostSync);
}

#[test]
fn pages_that_are_not_made_good_are_noticed() {
    check_beyond(Mutant::NoRepair, Fault::LostSync);
}

#[test]
fn a_segment_filled_to_the_last_byte_is_noticed() {
    check(Mutant::NoReserve);
}

#[test]
fn entries_not_counted_by_recovery_are_noticed() {
    check(Mutant::NoCounts);
}

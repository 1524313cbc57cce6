//! Many histories, each from one seed: `SIM_SEED=7` reruns one, `SIM_SEEDS=1000000` runs more.

use diskring::Mutant;

use crate::ring_model::run;
use crate::ring_operation::Coverage;

const SEEDS: u64 = 3_000;

#[test]
fn every_history_ends_well() {
    let chosen = number("SIM_SEED");
    let seeds = match chosen {
        Some(seed) => seed..seed + 1,
        None => 0..number("SIM_SEEDS").unwrap_or(SEEDS),
    };
    let mut coverage = Coverage::default();
    for seed in seeds {
        match run(seed, Mutant::None) {
            Ok(seen) => coverage.add(&seen),
            Err(text) => panic!("SIM_SEED={seed}: {text}"),
        }
    }
    eprintln!("{coverage:?}");
    if chosen.is_none() {
        check_coverage(&coverage);
    }
}

fn check_coverage(coverage: &Coverage) {
    let seen = [
        ("cuts", coverage.cuts),
        ("cuts in recovery", coverage.cuts_in_recovery),
        ("torn sectors", coverage.torn_sectors),
        ("newest slots taken", coverage.newest_taken),
        ("older slots taken", coverage.older_taken),
        ("partial prefixes", coverage.partial_prefixes),
        ("laps", coverage.laps),
        ("evictions", coverage.evictions),
        ("full rings", coverage.full),
        ("closes", coverage.closes),
        ("reads", coverage.reads),
        ("reads of evicted entries", coverage.evicted_reads),
        ("failed writes or syncs", coverage.sync_failures),
    ];
    for (what, times) in seen {
        assert!(
            times > 20,
            "only {times} {what} in {} histories",
            coverage.histories
        );
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().expect("a number"))
}

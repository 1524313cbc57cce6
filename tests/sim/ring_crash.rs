//! Many histories, each from one seed: `SIM_SEED=7` reruns one, `SIM_SEEDS=1000000` runs more.

use std::num::NonZero;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use diskring::Mutant;

use crate::ring_model::run;
use crate::ring_operation::Coverage;

const SEEDS: u64 = 20_000;

#[test]
fn every_history_ends_well() {
    let chosen = number("SIM_SEED");
    let seeds = match chosen {
        Some(seed) => seed..seed + 1,
        None => 0..number("SIM_SEEDS").unwrap_or(SEEDS),
    };
    let mut coverage = Coverage::default();
    for seen in in_parallel(seeds, |seed| run(seed, Mutant::None)) {
        coverage.add(&seen);
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
    let sectors = coverage.disks.iter().flat_map(|disk| {
        [
            ("sectors left old", disk.old_sectors),
            ("sectors written", disk.new_sectors),
            ("sectors zeroed", disk.zeroed_sectors),
            ("sectors with garbage", disk.garbage_sectors),
            ("sectors shorn", disk.shorn_sectors),
        ]
    });
    for (what, times) in seen.into_iter().chain(sectors) {
        assert!(
            times > 20,
            "only {times} {what} in {} histories",
            coverage.histories
        );
    }
}

/// Runs a history for each seed on every processor; the first that fails is printed.
pub(crate) fn in_parallel<T: Send>(
    seeds: Range<u64>,
    history: impl Fn(u64) -> Result<T, String> + Sync,
) -> Vec<T> {
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    let next = AtomicU64::new(seeds.start);
    let work = || {
        let mut done = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return done;
            }
            let seen = catch_unwind(AssertUnwindSafe(|| history(seed)));
            match seen.unwrap_or_else(|_| Err("an assertion of the ring".to_owned())) {
                Ok(seen) => done.push(seen),
                Err(text) => panic!("SIM_SEED={seed}: {text}"),
            }
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().expect("every history ends well"))
            .collect()
    })
}

pub(crate) fn number(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().expect("a number"))
}

//! The room among the states of a ring.
//!
//! Checkpoints leave a part of it to the tallies, and backlogs and replays a part of that to new
//! destinations and sources.

use pipeline::Mutant;

use super::{World, run};

/// More than destinations need to take one source more, or one of them to take others.
pub(super) const TAKES_BYTES: usize = 8;

impl World {
    pub(super) fn state_room(&self) -> usize {
        let stats = self.ring.stats();
        stats.state_bytes_max - stats.state_bytes
    }
}

#[test]
fn a_new_source_has_its_place_however_many_stretches_there_are() {
    run(3019, Mutant::None).unwrap_or_else(|text| panic!("SIM_SEED=3019: {text}"));
}

#[test]
fn a_new_destination_has_its_place_however_many_stretches_there_are() {
    run(4332, Mutant::None).unwrap_or_else(|text| panic!("SIM_SEED=4332: {text}"));
}

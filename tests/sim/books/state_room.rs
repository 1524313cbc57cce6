//! States that have no room among the states of a ring, however much room its records have.
//!
//! Checkpoints leave a part of it to the tallies, and backlogs and replays may take all of that.

use diskring::PutError;
use pipeline::Mutant;

use super::{World, run};

/// What a source takes of the room for states besides its name.
const SOURCE_BYTES: usize = 47;

/// More than a new destination takes.
pub(super) const DESTINATION_BYTES: usize = 128;

/// More than destinations need to take one source more, or one of them to take others.
pub(super) const TAKES_BYTES: usize = 8;

pub(super) fn source_bytes(name: &str) -> usize {
    SOURCE_BYTES + name.len()
}

impl World {
    pub(super) fn state_room(&self) -> usize {
        let stats = self.ring.stats();
        stats.state_bytes_max - stats.state_bytes
    }

    /// A destination that has just begun ends at once unless it found its place, with all that are
    /// closed: the ring would go on without it, which no order of steps tells.
    pub(super) fn drop_unplaced(&mut self, name: &str) -> Result<(), String> {
        match self.books.write(&mut self.ring) {
            Ok(()) => return Ok(()),
            Err(_) if self.disk.disk().is_dead() => return Ok(()),
            Err(PutError::StateFull { .. }) => {}
            Err(error) => return Err(error.to_string()),
        }
        self.coverage.count("destinations without room", 1);
        // The books have it all the same.
        self.now.compare(&self.ring, &self.books)?;
        let index = self.open[name];
        self.record_close(name);
        self.books
            .close_destination(&mut self.ring, index)
            .map_err(|error| error.to_string())?;
        self.drop_closed()
    }
}

fn check(seed: u64, what: &str) {
    let seen = run(seed, Mutant::None);
    let seen = seen.unwrap_or_else(|text| panic!("SIM_SEED={seed}: {text}"));
    assert!(seen.times(what) > 0, "SIM_SEED={seed}: no {what}");
}

#[test]
fn a_source_may_find_no_room_among_the_states() {
    check(3019, "sources without room");
}

#[test]
fn a_destination_may_find_no_room_among_the_states() {
    check(4332, "destinations without room");
}

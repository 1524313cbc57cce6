//! Simulations: whole histories on a disk that tears, rots and loses power, each from one seed.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test may fail by panic, and prints its seed"
)]

mod archive;
mod books;
mod clock;
mod moves;
mod ring_beside;
mod ring_beyond;
mod ring_compat;
mod ring_contents;
mod ring_counts;
mod ring_crash;
mod ring_exhaustive;
mod ring_inspect;
mod ring_model;
mod ring_mutants;
mod ring_operation;
mod ring_rot;
mod ring_sealed;
mod ring_space;
mod ring_untrue;
mod ring_wear;

//! Histories of the simulation, chosen by the fuzzer's first eight bytes.
#![no_main]
#![expect(dead_code, reason = "the simulation is built as a whole")]

#[path = "../../../tests/sim/ring_contents.rs"]
mod ring_contents;
#[path = "../../../tests/sim/ring_model.rs"]
mod ring_model;
#[path = "../../../tests/sim/ring_operation.rs"]
mod ring_operation;
#[path = "../../../tests/sim/ring_sealed.rs"]
mod ring_sealed;

use diskring::Mutant;

libfuzzer_sys::fuzz_target!(|seed: u64| {
    if let Err(text) = ring_model::run(seed, Mutant::None) {
        panic!("SIM_SEED={seed}: {text}");
    }
});

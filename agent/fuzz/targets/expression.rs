//! An expression and a record for it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pipeline::transform::expression::fuzz(data));

//! A followed file: its lines, encodings, wrappers, joined records, and gzip.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pipeline::tail::trial(data));

//! Arbitrary bytes as a stored record: refused, or encoded again as one that means the same.
#![no_main]

use pipeline::stored;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(record) = stored::decode(data) {
        let mut again = Vec::new();
        stored::encode(&record, &mut again);
        let mut twice = Vec::new();
        stored::encode(&stored::decode(&again).expect("its own record"), &mut twice);
        assert_eq!(again, twice);
    }
});

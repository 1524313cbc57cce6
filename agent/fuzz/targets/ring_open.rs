//! Arbitrary bytes as a ring file: no panic, no end that never comes. The superblock's checksum
//! hides the rest from a fuzzer that does not start from tests/compat.
#![no_main]

use diskring::sim::SimDisk;
use diskring::{Options, Read, Unrecovered};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let disk = SimDisk::from_bytes(data.to_vec(), 512);
    let opened = Unrecovered::open(disk).and_then(|ring| ring.recover(&Options::default()));
    let Ok((ring, _)) = opened else {
        return;
    };
    let mut cursor = ring.cursor(ring.first());
    for steps in 0.. {
        assert!(steps <= data.len(), "reading ends");
        match ring.read(&mut cursor) {
            Ok(Read::End) => break,
            Err(_) => return,
            Ok(Read::Frame(frame)) => assert!(frame.entries().count() <= 32 * data.len()),
            Ok(Read::Lost { .. } | Read::Evicted { .. }) => {}
        }
    }
    let mut inspection = ring.inspection();
    for steps in 0.. {
        assert!(steps <= data.len(), "an inspection ends");
        if !matches!(ring.inspect(&mut inspection), Ok(Some(_))) {
            return;
        }
    }
});

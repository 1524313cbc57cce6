//! A syslog message: what is not understood is kept whole, of the rest the text is its end.
#![no_main]

use pipeline::decode::syslog::{SyslogZone, decode, decode_local, trim};
use pipeline::time::WallClock;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let zone = SyslogZone::new(Some("CET-1CEST,M3.5.0,M10.5.0/3")).expect("a POSIX rule");
    let now = WallClock::from_millis(1_795_452_000_000);
    let message = trim(data);
    for record in [
        decode(now, data, &zone),
        decode_local(now, data, &zone, "gateway"),
    ] {
        if record.decode_error.is_some() {
            assert_eq!(record.payload, message);
        } else {
            assert!(message.ends_with(&record.payload));
        }
    }
});

//! A syslog message.
#![no_main]

use pipeline::decode::syslog::{SyslogZone, decode, trim};
use pipeline::time::WallClock;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let zone = SyslogZone::new(Some("UTC")).expect("UTC is known");
    drop(decode(WallClock::from_millis(0), trim(data), &zone));
});

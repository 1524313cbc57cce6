//! The header and the body of an MQTT packet.
#![no_main]

use pipeline::config::MqttVersion;
use pipeline::decode::mqtt::{Ack, Header};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(Some(_)) = Header::read(data) {
        for version in [MqttVersion::V311, MqttVersion::V5] {
            std::hint::black_box(Ack::read(data, version).is_ok());
        }
    }
});

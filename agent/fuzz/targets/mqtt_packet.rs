//! What a device says, packet after packet, as a server reads it: the version is that of its
//! CONNECT, or else the one that the first byte chooses.
#![no_main]

use std::hint::black_box;

use pipeline::config::MqttVersion;
use pipeline::decode::mqtt::{
    Ack, Aliases, Connect, Disconnect, Header, PacketType, Publish, Rights, Sender, Subscription,
};
use pipeline::time::WallClock;

fn said(is_ok: bool) {
    black_box(is_ok);
}

fn read(header: Header, body: &[u8], version: &mut MqttVersion, aliases: &mut Aliases) {
    match header.kind {
        PacketType::Connect => {
            if let Ok(connect) = Connect::read(body) {
                *version = connect.version;
                let will = connect
                    .will
                    .map(|will| will.record(WallClock::default(), "c"));
                black_box(will);
            }
        }
        PacketType::Publish => {
            let publish = Publish::read(header.first, body, *version, Sender::Client);
            if let Ok(publish) = publish
                && let Ok(topic) = aliases.resolve(publish.topic, publish.topic_alias)
            {
                let rules = [("*".to_owned(), vec!["a/%u/+/%c/#".to_owned()])];
                black_box(Rights::new(rules.into()).allow(Some("u"), "c", topic));
                black_box(publish.record(WallClock::default(), topic, Some("c")));
            }
        }
        PacketType::Subscribe => said(Subscription::read_subscribe(body, *version).is_ok()),
        PacketType::Unsubscribe => said(Subscription::read_unsubscribe(body, *version).is_ok()),
        PacketType::Disconnect => said(Disconnect::read(body, *version).is_ok()),
        _ => said(Ack::read(body, *version).is_ok()),
    }
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((&choice, mut bytes)) = data.split_first() else {
        return;
    };
    let mut version = match choice & 1 {
        0 => MqttVersion::V311,
        _ => MqttVersion::V5,
    };
    let mut aliases = Aliases::new(16);
    while let Ok(Some(header)) = Header::read(bytes) {
        let Some((packet, rest)) = bytes.split_at_checked(header.packet_len()) else {
            return;
        };
        let body = packet.get(header.header_len..).unwrap_or_default();
        read(header, body, &mut version, &mut aliases);
        bytes = rest;
    }
});

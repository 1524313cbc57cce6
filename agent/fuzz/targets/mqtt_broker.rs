//! What a broker says to a client, topics and templates, and the frames of a WebSocket.
#![no_main]

use pipeline::config::MqttVersion;
use pipeline::decode::mqtt::{
    Ack, Aliases, ConnAck, Disconnect, Header, Publish, Sender, SubAck, TopicTemplate,
    TopicTemplates, check_filter, filters_overlap,
};
use pipeline::time::WallClock;
use pipeline::websocket::{Decoder, check_response};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    std::hint::black_box(Header::read(data).is_ok());
    let Some((&first, body)) = data.split_first() else {
        return;
    };
    for version in [MqttVersion::V311, MqttVersion::V5] {
        std::hint::black_box(Ack::read(body, version).is_ok());
        std::hint::black_box(Disconnect::read(body, version).is_ok());
        if let Ok(answer) = ConnAck::read(body, version) {
            std::hint::black_box(answer.refusal(version));
        }
        if let Ok(answer) = SubAck::read(body, version) {
            std::hint::black_box(answer.granted().count());
        }
        publish(first, body, version);
    }
    if let Ok(text) = std::str::from_utf8(body) {
        topics(text);
    }
    let (mut payload, mut pongs) = (Vec::new(), Vec::new());
    std::hint::black_box(Decoder::default().decode(body, &mut payload, &mut pongs).is_ok());
    assert!(payload.len() <= body.len());
    std::hint::black_box(check_response(body, [7; 16]).is_ok());
});

fn publish(first: u8, body: &[u8], version: MqttVersion) {
    let Ok(publish) = Publish::read(first, body, version, Sender::Server) else {
        return;
    };
    let mut aliases = Aliases::new(4);
    let Ok(topic) = aliases.resolve(publish.topic, publish.topic_alias) else {
        return;
    };
    let mut record = publish.record(WallClock::default(), topic, None);
    assert!(record.payload.len() <= body.len());
    let template = TopicTemplate::parse("{site}/+/{rest...}").expect("it is one");
    TopicTemplates::new(vec![template]).add_fields(&mut record);
}

/// A template and a topic filter, or two filters, on a line each.
fn topics(text: &str) {
    let (one, other) = text.split_once('\n').unwrap_or((text, "plant/+/#"));
    if let Ok(template) = TopicTemplate::parse(one) {
        std::hint::black_box(template.may_fit(other));
    }
    if check_filter(one).is_ok() && check_filter(other).is_ok() {
        assert_eq!(filters_overlap(one, other), filters_overlap(other, one));
    }
}

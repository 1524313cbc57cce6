//! The client against a broker that says exactly what a test wants.

use std::time::Duration;

use pipeline::config::{ByteSize, MqttVersion, Qos, Secret};
use pipeline::decode::mqtt::TopicTemplates;
use tokio::net::TcpListener;

use super::harness::{Harness, Peer};
use super::*;

fn config(port: u16, version: MqttVersion) -> MqttConfig {
    MqttConfig {
        host: "127.0.0.1".to_owned(),
        port,
        tls: None,
        version,
        client_id: "gw".to_owned(),
        topics: vec!["a/#".to_owned()],
        topic_templates: TopicTemplates::default(),
        qos: Qos::AtLeastOnce,
        username: Some("u".to_owned()),
        password: Some(Secret::new("p")),
        keep_alive: Duration::from_mins(1),
        session_expiry: Duration::from_hours(1),
        packet_bytes_max: ByteSize::bytes(32),
        in_flight_max: 1000,
    }
}

const CONNECT: &[u8] = b"\x10\x14\0\x04MQTT\x04\xc0\0\x3c\0\x02gw\0\x01u\0\x01p";

async fn accept(listener: &TcpListener) -> Peer {
    Peer(listener.accept().await.unwrap().0)
}

/// Runs a client against `script` and ends it.
async fn check<F: Future<Output = ()>>(
    version: MqttVersion,
    script: impl FnOnce(TcpListener, std::rc::Rc<Harness>) -> F,
) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let harness = std::rc::Rc::new(Harness::new(1000));
    let config = config(listener.local_addr().unwrap().port(), version);
    let client = tokio::spawn(run(config, harness.intake.clone(), harness.shutdown()));
    let script = script(listener, std::rc::Rc::clone(&harness));
    tokio::time::timeout(Duration::from_secs(30), script)
        .await
        .unwrap();
    harness.end();
    tokio::time::timeout(Duration::from_secs(5), client)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn messages_are_stored_and_acknowledged_over_connections() {
    check(MqttVersion::V311, |listener, harness| async move {
        let mut broker = accept(&listener).await;
        broker.hear(CONNECT).await;
        broker.say(b"\x20\x02\0\0").await;
        broker.hear(b"\x82\x08\0\x01\0\x03a/#\x01").await;
        // A retained message comes before the SUBACK, as brokers may do.
        broker
            .say(b"\x33\x08\0\x03a/b\0\x05x\x90\x03\0\x01\x01")
            .await;
        broker.hear(b"\x40\x02\0\x05").await;
        assert_eq!(harness.payloads(), ["x"]);
        // QoS 2; the connection is lost between PUBREC and PUBREL.
        broker.say(b"\x34\x08\0\x03a/b\0\x06y").await;
        broker.hear(b"\x50\x02\0\x06").await;
        drop(broker);
        let mut broker = accept(&listener).await;
        broker.hear(CONNECT).await;
        broker
            .say(b"\x20\x02\x01\0\x3c\x08\0\x03a/b\0\x06y\x62\x02\0\x06")
            .await;
        // The session is there and its subscription granted: nothing is asked for again.
        broker.hear(b"\x50\x02\0\x06\x70\x02\0\x06").await;
        assert_eq!(harness.payloads(), ["x", "y"]);
        drop(broker);
        // The broker lost the session: the subscription is asked for again.
        let mut broker = accept(&listener).await;
        broker.hear(CONNECT).await;
        broker.say(b"\x20\x02\0\0").await;
        assert_eq!(broker.hear_any().await.0, 0x82);
        harness.end();
        assert_eq!(broker.hear_end().await, b"\xe0\0");
    })
    .await;
}

#[tokio::test]
async fn a_message_that_is_too_large_is_cut_and_passed() {
    check(MqttVersion::V5, |listener, harness| async move {
        let mut broker = accept(&listener).await;
        assert_eq!(broker.hear_any().await.0, 0x10);
        broker.say(b"\x20\x03\0\0\0").await;
        let (first, body) = broker.hear_any().await;
        assert_eq!((first, body.get(..2)), (0x82, Some(&b"\0\x01"[..])));
        broker.say(b"\x90\x04\0\x01\0\x01").await;
        let mut large = b"\x32\x88\x27\0\x03a/b\0\x07\0".to_vec();
        large.resize(5003, b'z');
        broker.say(&large).await;
        broker.say(b"\x32\x09\0\x03a/b\0\x08\0s").await;
        broker.hear(b"\x40\x02\0\x07\x40\x02\0\x08").await;
        let records = harness.records();
        assert_eq!(records.len(), 2);
        assert_eq!(records[0].payload, b"zzzzzzzzzzzzzzzzzzzzzzzz");
        let told = records[0].decode_error.as_deref().unwrap();
        assert!(
            told.contains("4992 bytes") && told.contains("packet_bytes_max"),
            "{told}"
        );
        assert_eq!(records[1].payload, b"s");
        assert_eq!(harness.counters.get(SourceCount::Cut), 1);
    })
    .await;
}

#[tokio::test]
async fn what_goes_wrong_is_told_and_tried_again() {
    check(MqttVersion::V311, |listener, harness| async move {
        let answers: [(&[u8], &str); 3] = [
            (b"\x20\x02\0\x05", "refuses the connection: NotAuthorized"),
            (b"\x00\x02", "not MQTT"),
            (b"", "closed the connection"),
        ];
        let mut broker = accept(&listener).await;
        for (answer, told) in answers {
            broker.hear(CONNECT).await;
            broker.say(answer).await;
            drop(broker);
            broker = accept(&listener).await;
            let error = harness.counters.error().unwrap();
            assert!(error.contains(told), "{error:?} does not say {told:?}");
        }
    })
    .await;
}

#[test]
fn waits_grow_to_a_cap() {
    let check = |attempt, random, expected_ms| {
        let wait = backoff(attempt, random);
        assert_eq!(wait.as_millis(), expected_ms, "attempt {attempt}");
    };
    check(0, 0, 250);
    check(1, 0, 250);
    check(1, u32::MAX, 500);
    check(2, u32::MAX, 1000);
    check(7, u32::MAX, 30_000);
    check(7, 0, 15_000);
    check(u32::MAX, u32::MAX, 30_000);
}

//! The client against a broker that says exactly what a test wants.

use std::time::Duration;

use pipeline::config::{ByteSize, MqttBroker, MqttVersion, Qos, Secret};
use pipeline::decode::mqtt::TopicTemplates;
use tokio::net::TcpListener;

use super::harness::{Harness, Peer};
use super::*;

fn config(port: u16, version: MqttVersion) -> MqttConfig {
    MqttConfig {
        brokers: vec![MqttBroker {
            host: "127.0.0.1".to_owned(),
            port,
            tls: None,
            websocket_path: None,
        }],
        return_interval: Duration::from_secs(1),
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
    check_with(|_| {}, version, script).await;
}

/// The same, with a configuration that is changed first.
async fn check_with<F: Future<Output = ()>>(
    change: impl FnOnce(&mut MqttConfig),
    version: MqttVersion,
    script: impl FnOnce(TcpListener, std::rc::Rc<Harness>) -> F,
) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let harness = std::rc::Rc::new(Harness::new(1000));
    let mut config = config(listener.local_addr().unwrap().port(), version);
    change(&mut config);
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
            (b"\x20\x02\0\x05", "refuses the connection: not authorized"),
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

/// MQTT 5: a broker may give a topic a number, which holds for the connection.
#[tokio::test]
async fn topic_aliases_of_the_broker_hold_for_a_connection() {
    check(MqttVersion::V5, |listener, harness| async move {
        let mut broker = accept(&listener).await;
        let (_, connect) = broker.hear_any().await;
        // Topic Alias Maximum 64, Receive Maximum 1000, Session Expiry 1 h.
        for property in [&b"\x22\0\x40"[..], b"\x21\x03\xe8", b"\x11\0\0\x0e\x10"] {
            assert!(
                connect.windows(property.len()).any(|part| part == property),
                "{connect:02x?}"
            );
        }
        broker.say(b"\x20\x03\0\0\0").await;
        broker.hear_any().await;
        broker.say(b"\x90\x04\0\x01\0\x01").await;
        broker.say(b"\x32\x0c\0\x03a/b\0\x07\x03\x23\0\x01x").await;
        broker.say(b"\x32\x09\0\0\0\x08\x03\x23\0\x01y").await;
        broker.hear(b"\x40\x02\0\x07\x40\x02\0\x08").await;
        let topics = harness
            .records()
            .into_iter()
            .map(|mut record| record.fields.remove("topic"));
        assert_eq!(
            topics.collect::<Vec<_>>(),
            [Some("a/b".into()), Some("a/b".into())]
        );
        drop(broker);
        // The number means nothing on another connection: that is told with its reason code.
        let mut broker = accept(&listener).await;
        broker.hear_any().await;
        broker.say(b"\x20\x03\x01\0\0").await;
        broker.say(b"\x32\x09\0\0\0\x09\x03\x23\0\x01z").await;
        assert_eq!(broker.hear_end().await, b"\xe0\x01\x94");
    })
    .await;
}

/// A filter that the broker refuses is told; the others go on.
#[tokio::test]
async fn a_refused_filter_holds_up_no_other() {
    check(MqttVersion::V5, |listener, harness| async move {
        let mut broker = accept(&listener).await;
        broker.hear_any().await;
        broker.say(b"\x20\x03\0\0\0").await;
        broker.hear_any().await;
        broker
            .say(b"\x90\x04\0\x01\0\x87\x32\x09\0\x03a/b\0\x08\0s")
            .await;
        broker.hear(b"\x40\x02\0\x08").await;
        let error = harness.counters.error().unwrap();
        assert!(
            error.contains("\"a/#\": not authorized (code 0x87)"),
            "{error}"
        );
        // It is asked for again after a while, and then all is well.
        let (first, body) = broker.hear_any().await;
        assert_eq!((first, &body[..2]), (0x82, &b"\0\x02"[..]));
        broker
            .say(b"\x90\x04\0\x02\0\x01\x32\x09\0\x03a/b\0\x09\0t")
            .await;
        broker.hear(b"\x40\x02\0\x09").await;
        assert_eq!(harness.counters.error(), None);
    })
    .await;
}

/// A broker that forgets is subscribed to each time, and stores what it held anew.
#[tokio::test]
async fn a_session_that_is_lost_is_counted() {
    check(MqttVersion::V311, |listener, harness| async move {
        for lost in 0..3 {
            let mut broker = accept(&listener).await;
            broker.hear(CONNECT).await;
            broker.say(b"\x20\x02\0\0").await;
            assert_eq!(broker.hear_any().await.0, 0x82);
            assert_eq!(harness.counters.get(SourceCount::SessionsLost), lost);
            // Held, and lost with the session.
            broker.say(b"\x34\x08\0\x03a/b\0\x06y").await;
            broker.hear(b"\x50\x02\0\x06").await;
        }
    })
    .await;
}

/// MQTT 5: it is told so, after what it might send was stored and acknowledged.
#[tokio::test]
async fn a_broker_that_sends_too_much_at_a_time_is_told() {
    const EXCEEDED: &[u8] = b"\x40\x02\0\x07\x40\x02\0\x08\x40\x02\0\x09\x40\x02\0\x0a\xe0\x01\x93";
    let change = |config: &mut MqttConfig| config.in_flight_max = 2;
    check_with(change, MqttVersion::V5, |listener, harness| async move {
        let mut broker = accept(&listener).await;
        broker.hear_any().await;
        broker.say(b"\x20\x03\0\0\0").await;
        broker.hear_any().await;
        broker.say(b"\x90\x04\0\x01\0\x01").await;
        // Two at a time are well, as often as it likes, and any number at QoS 0.
        for _ in 0..3 {
            let two = b"\x32\x09\0\x03a/b\0\x05\0s\x34\x09\0\x03a/b\0\x06\0s";
            broker.say(two).await;
            broker.hear(b"\x40\x02\0\x05\x50\x02\0\x06").await;
            broker.say(b"\x62\x02\0\x06").await;
            broker.hear(b"\x70\x02\0\x06").await;
            broker.say(&b"\x30\x07\0\x03a/b\0t".repeat(5)).await;
        }
        // So are four, which are held against no broker.
        let five: Vec<u8> = [7, 8, 9, 10, 11]
            .iter()
            .flat_map(|id| [0x32, 9, 0, 3, b'a', b'/', b'b', 0, *id, 0, b'x'])
            .collect();
        broker.say(&five).await;
        assert_eq!(broker.hear_end().await, EXCEEDED);
        // What was in excess comes again.
        let mut broker = accept(&listener).await;
        broker.hear_any().await;
        broker.say(b"\x20\x03\x01\0\0").await;
        broker.say(five.get(44..).unwrap()).await;
        broker.hear(b"\x40\x02\0\x0b").await;
        let stored = harness.payloads();
        assert_eq!(stored.iter().filter(|text| *text == "x").count(), 5);
    })
    .await;
}

/// What comes before a mistake is stored, in QoS 2 as well, whose number is known from then on.
#[tokio::test]
async fn what_comes_before_a_mistake_is_kept() {
    check(MqttVersion::V311, |listener, harness| async move {
        let mut broker = accept(&listener).await;
        broker.hear(CONNECT).await;
        broker.say(b"\x20\x02\0\0").await;
        broker.hear_any().await;
        broker.say(b"\x34\x08\0\x03a/b\0\x06y\x00\x00").await;
        broker.hear_end().await;
        let mut broker = accept(&listener).await;
        broker.hear(CONNECT).await;
        broker.say(b"\x20\x02\x01\0\x3c\x08\0\x03a/b\0\x06y").await;
        // Asked for again, because it had no answer.
        assert_eq!(broker.hear_any().await.0, 0x82);
        broker.hear(b"\x50\x02\0\x06").await;
        assert_eq!(harness.payloads(), ["y"]);
    })
    .await;
}

//! The listener over real sockets: what tables without sockets cannot show.

use std::time::Duration;

use pipeline::config::ByteSize;
use pipeline::decode::mqtt::TopicTemplates;
use tokio::io::AsyncReadExt;

use super::*;
use crate::source::mqtt::harness::{Harness, Peer};

/// Starts a listener and gives the harness and the way to connect.
async fn start(connections_max: usize, idle_max: Duration) -> (Harness, SocketAddr) {
    // A port that was free a moment ago.
    let probe = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listen = probe.local_addr().unwrap();
    drop(probe);
    let harness = Harness::new(10_000);
    let config = MqttListenerConfig {
        listen: MqttListen::Address(listen),
        ..config(connections_max, idle_max)
    };
    tokio::spawn(run(config, harness.intake.clone(), harness.shutdown()));
    (harness, listen)
}

fn config(connections_max: usize, idle_max: Duration) -> MqttListenerConfig {
    MqttListenerConfig {
        listen: MqttListen::Address(SocketAddr::from(([127, 0, 0, 1], 1883))),
        tls: None,
        username: None,
        password: None,
        password_file: None,
        rights: None,
        connections_max,
        packet_bytes_max: ByteSize::bytes(200),
        idle_max,
        topic_templates: TopicTemplates::default(),
    }
}

async fn connect(listen: SocketAddr) -> Peer {
    loop {
        if let Ok(stream) = TcpStream::connect(listen).await {
            return Peer(stream);
        }
        tokio::task::yield_now().await;
    }
}

const MINUTE: Duration = Duration::from_mins(1);

const CONNECT_5: &[u8] = b"\x10\x15\0\x04MQTT\x05\x00\0\x0a\x05\x11\0\0\0\x3c\0\x03dev";

#[tokio::test]
async fn a_device_publishes() {
    let (harness, listen) = start(10, MINUTE).await;
    let mut device = connect(listen).await;
    device
        .say(b"\x10\x0f\0\x04MQTT\x04\x02\0\x0a\0\x03dev")
        .await;
    device.hear(b"\x20\x02\0\0").await;
    device
        .say(b"\x30\x04\0\x01a0\x32\x06\0\x01a\0\x011\x34\x06\0\x01a\0\x022")
        .await;
    device.hear(b"\x40\x02\0\x01\x50\x02\0\x02").await;
    device.say(b"\x62\x02\0\x02\xc0\0").await;
    device.hear(b"\x70\x02\0\x02\xd0\0").await;
    assert_eq!(harness.payloads(), ["0", "1", "2"]);
    // More than the window at once, byte for byte in order.
    let many: Vec<u8> = (1..=2500_u16)
        .flat_map(|id| {
            [
                0x32,
                5,
                0,
                1,
                b'a',
                u8::try_from(id >> 8).unwrap(),
                u8::try_from(id & 255).unwrap(),
            ]
        })
        .collect();
    device.say(&many).await;
    let acknowledged: Vec<u8> = (1..=2500_u16)
        .flat_map(|id| {
            [
                0x40,
                2,
                u8::try_from(id >> 8).unwrap(),
                u8::try_from(id & 255).unwrap(),
            ]
        })
        .collect();
    device.hear(&acknowledged).await;
    assert_eq!(harness.counters.get(SourceCount::Connections), 1);
    // The end of the agent acknowledges what is stored.
    device.say(b"\x32\x06\0\x01a\0\x033").await;
    device.hear(b"\x40\x02\0\x03").await;
    harness.end();
    assert_eq!(device.hear_end().await, b"");
}

/// MQTT 5: it is told so, after what it might send was stored and acknowledged.
#[tokio::test]
async fn a_device_that_sends_too_much_at_a_time_is_told() {
    let (harness, listen) = start(10, MINUTE).await;
    let mut device = connect(listen).await;
    device.say(CONNECT_5).await;
    device.hear_any().await;
    let bytes = |id: u16| [id / 256, id % 256].map(|byte| u8::try_from(byte).unwrap());
    let publish = |id| [&[0x32, 6, 0, 1, b'a'], &bytes(id)[..], &[0]].concat();
    let acknowledge = |id| [&[0x40, 2], &bytes(id)[..]].concat();
    // As much as it may, twice.
    for _ in 0..2 {
        let window: Vec<u8> = (1..=1000).flat_map(publish).collect();
        device.say(&window).await;
        let expected: Vec<u8> = (1..=1000).flat_map(acknowledge).collect();
        device.hear(&expected).await;
    }
    let over: Vec<u8> = (1..=1001).flat_map(publish).collect();
    device.say(&over).await;
    let expected: Vec<u8> = (1..=1000).flat_map(acknowledge).collect();
    device.hear(&expected).await;
    assert_eq!(device.hear_end().await, b"\xe0\x01\x93");
    assert_eq!(harness.payloads().len(), 3000);
    assert_eq!(harness.counters.get(SourceCount::Refused), 1);
}

#[tokio::test]
async fn a_second_connection_takes_the_session_over() {
    let (harness, listen) = start(10, MINUTE).await;
    let mut first = connect(listen).await;
    first.say(CONNECT_5).await;
    assert_eq!(first.hear_any().await.1.first(), Some(&0));
    let mut second = connect(listen).await;
    second.say(CONNECT_5).await;
    assert_eq!(second.hear_any().await.1.first(), Some(&1));
    assert_eq!(first.hear_end().await, b"\xe0\x01\x8e");
    second.say(b"\x32\x07\0\x01a\0\x01\x001").await;
    second.hear(b"\x40\x02\0\x01").await;
    assert_eq!(harness.payloads(), ["1"]);
}

#[tokio::test]
async fn limits_hold_and_nobody_else_notices() {
    let (harness, listen) = start(2, Duration::from_millis(300)).await;
    let mut good = connect(listen).await;
    good.say(b"\x10\x0f\0\x04MQTT\x04\x02\0\x0a\0\x03dev").await;
    good.hear(b"\x20\x02\0\0").await;
    let told = |text: &str| {
        let error = harness.counters.error().unwrap_or_default();
        assert!(error.contains(text), "{error:?} does not say {text:?}");
    };
    // Garbage, and a packet that is too large before it is all there.
    let bad: [(&[u8], &str); 3] = [
        (b"GET / HTTP/1.1\r\n\r\n", "reserved bits"),
        (b"\xff\xff\xff", "not exist"),
        (b"\x10\xff\xff\xff\x7f", "packet_bytes_max of 200"),
    ];
    for (number, (bytes, text)) in (1..).zip(bad) {
        let mut device = connect(listen).await;
        device.say(bytes).await;
        assert_eq!(device.hear_end().await, b"");
        while harness.counters.get(SourceCount::Refused) < number {
            tokio::task::yield_now().await;
        }
        if number != 2 {
            told(text);
        }
    }
    // Silence for longer than is allowed, with a keep-alive of 0.
    let mut silent = connect(listen).await;
    silent.say(b"\x10\x0f\0\x04MQTT\x04\x02\0\0\0\x03two").await;
    silent.hear(b"\x20\x02\0\0").await;
    // One more than may be connected.
    let mut more = connect(listen).await;
    assert_eq!(more.hear_end().await, b"");
    told("connections_max");
    assert_eq!(silent.hear_end().await, b"");
    good.say(b"\x32\x06\0\x01a\0\x011").await;
    good.hear(b"\x40\x02\0\x01").await;
    assert_eq!(harness.payloads(), ["1"]);
}

/// Reads to an end that is no reset: with a reset some systems forget what they have not read.
async fn hear_clean_end(mut device: Peer) -> Vec<u8> {
    let mut bytes = Vec::new();
    device.0.read_to_end(&mut bytes).await.unwrap();
    bytes
}

/// What is said before the end is heard although the device goes on sending.
#[tokio::test]
async fn a_device_hears_why_its_connection_ends() {
    let (harness, listen) = start(10, MINUTE).await;
    let mut device = connect(listen).await;
    device.say(CONNECT_5).await;
    device.hear_any().await;
    let mut large = b"\x30\xff\xff\x03".to_vec();
    large.resize(64 * 1024, 0);
    device.say(&large).await;
    assert_eq!(hear_clean_end(device).await, b"\xe0\x01\x95");
    let mut refused = connect(listen).await;
    let mut more = b"\x10\x0c\0\x04MQTT\x04\x00\0\0\0\0".to_vec();
    more.resize(64 * 1024, 0);
    refused.say(&more).await;
    assert_eq!(hear_clean_end(refused).await, b"\x20\x02\0\x02");
    assert_eq!(harness.counters.get(SourceCount::Refused), 2);
}

/// MQTT 3.1.1, 3.1.2-24 and MQTT 5, 3.1.2-22.
#[tokio::test]
async fn a_silent_device_has_half_as_long_again_as_its_keep_alive() {
    let (_harness, listen) = start(10, MINUTE).await;
    let begun = std::time::Instant::now();
    let mut old = connect(listen).await;
    old.say(b"\x10\x0f\0\x04MQTT\x04\x02\0\x01\0\x03old").await;
    old.hear(b"\x20\x02\0\0").await;
    let mut new = connect(listen).await;
    new.say(b"\x10\x10\0\x04MQTT\x05\x02\0\x01\0\0\x03new")
        .await;
    new.hear_any().await;
    assert_eq!(old.hear_end().await, b"");
    assert_eq!(new.hear_end().await, b"\xe0\x01\x8d");
    assert!(begun.elapsed() >= Duration::from_millis(1500));
}

/// Who only takes a place gives it to who comes next.
#[tokio::test]
async fn silent_connections_keep_nobody_out() {
    let (harness, listen) = start(2, MINUTE).await;
    let mut good = connect(listen).await;
    good.say(b"\x10\x0f\0\x04MQTT\x04\x02\0\x0a\0\x03dev").await;
    good.hear(b"\x20\x02\0\0").await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(connect(listen).await);
    }
    let mut second = connect(listen).await;
    second
        .say(b"\x10\x0f\0\x04MQTT\x04\x02\0\x0a\0\x03two")
        .await;
    second.hear(b"\x20\x02\0\0").await;
    for mut silent in silent {
        assert_eq!(silent.hear_end().await, b"");
    }
    good.say(b"\x32\x06\0\x01a\0\x011").await;
    good.hear(b"\x40\x02\0\x01").await;
    assert_eq!(harness.payloads(), ["1"]);
}

#[tokio::test]
async fn an_idle_connection_is_small() {
    let harness = Harness::new(1000);
    let shared = shared(&config(1, MINUTE), &harness.intake).unwrap();
    let shared = Arc::new(shared);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let device = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let accepted = listener.accept().await.unwrap();
    let task = serve(shared, 1, accepted, harness.shutdown());
    let bytes = size_of_val(&task);
    assert!(
        bytes <= 2048,
        "the task of a connection takes {bytes} bytes"
    );
    drop(device);
}

//! Listeners on loopback, and their words.

use pipeline::config::ByteSize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::source::mqtt::harness::Harness;

#[test]
fn errors_say_what_to_do() {
    let listen = SyslogListen::Udp(SocketAddr::from(([0, 0, 0, 0], 514)));
    for (kind, advice) in [
        (io::ErrorKind::PermissionDenied, "CAP_NET_BIND_SERVICE"),
        (io::ErrorKind::AddrInUse, "ss -lnptu"),
        (io::ErrorKind::AddrNotAvailable, "no interface"),
        (
            io::ErrorKind::OutOfMemory,
            "cannot listen on udp://0.0.0.0:514",
        ),
    ] {
        let text = explain(listen, &kind.into());
        assert!(text.contains(advice), "{text}");
    }
}

#[test]
fn peers_are_written_without_port_and_mapping() {
    for (peer, expected) in [
        ("192.0.2.1:5514", "192.0.2.1"),
        ("[::ffff:192.0.2.1]:5514", "192.0.2.1"),
        ("[2001:db8::1]:1", "2001:db8::1"),
    ] {
        assert_eq!(peer_text(peer.parse().unwrap()), expected);
    }
}

fn config() -> SyslogConfig {
    SyslogConfig {
        listen: Vec::new(),
        timezone: Some("UTC".to_owned()),
        message_bytes_max: ByteSize::bytes(100),
        connections_max: 2,
        idle_max: Duration::from_mins(1),
        receive_buffer: ByteSize::bytes(1 << 20),
    }
}

fn shared(harness: &Harness, config: SyslogConfig) -> Arc<Shared> {
    Arc::new(Shared {
        connections: Arc::new(Semaphore::new(config.connections_max)),
        config,
        intake: harness.intake.clone(),
        zone: SyslogZone::utc(),
    })
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait)
        .await
        .unwrap_or_else(|_| panic!("waited in vain for {what}"));
}

const LOOPBACK: [&str; 2] = ["127.0.0.1:0", "[::1]:0"];

#[tokio::test]
async fn datagrams_are_taken_cut_and_counted() {
    for address in LOOPBACK {
        let harness = Harness::new(1000);
        let shared = shared(&harness, config());
        let listen = SyslogListen::Udp(address.parse().unwrap());
        let socket = bind(listen, &shared.config).unwrap();
        let to = socket.local_addr().unwrap().as_socket().unwrap();
        let sender = std::net::UdpSocket::bind(address).unwrap();
        let long = format!("<13>{}", "x".repeat(200));
        for message in ["<13>app: one\n", "", "\0\n", "garbage", long.as_str()] {
            sender.send_to(message.as_bytes(), to).unwrap();
        }
        let shutdown = harness.shutdown();
        let receiving = tokio::spawn(async move { udp::receive(socket, &shared, shutdown).await });
        until("three records", || harness.records().len() == 3).await;
        // What the kernel holds at the end is not lost.
        sender.send_to(b"<13>app: last", to).unwrap();
        harness.end();
        receiving.await.unwrap().unwrap();
        until("the last record", || harness.records().len() == 4).await;
        let cut = "x".repeat(96);
        assert_eq!(harness.payloads(), ["one", "garbage", &cut, "last"]);
        assert_eq!(harness.counters.get(SourceCount::Cut), 1);
        assert_eq!(harness.counters.get(SourceCount::DecodeErrors), 1);
        let peer = harness.records()[0].fields.get("peer").cloned();
        let expected = sender.local_addr().unwrap().ip().to_string();
        assert_eq!(peer, Some(expected.into()));
    }
}

/// Listens on loopback; the address and the task.
fn listening(
    harness: &Harness,
    config: SyslogConfig,
) -> (SocketAddr, tokio::task::JoinHandle<io::Result<()>>) {
    let shared = shared(harness, config);
    let listen = SyslogListen::Tcp("127.0.0.1:0".parse().unwrap());
    let socket = bind(listen, &shared.config).unwrap();
    let to = socket.local_addr().unwrap().as_socket().unwrap();
    let shutdown = harness.shutdown();
    let task = tokio::spawn(async move { tcp::accept(socket, &shared, shutdown).await });
    (to, task)
}

#[tokio::test]
async fn streams_of_both_framings_and_without_an_end() {
    let harness = Harness::new(1000);
    let (to, task) = listening(&harness, config());
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream
        .write_all(b"<13>a: 1\n9 <13>a: 2\n<13>a")
        .await
        .unwrap();
    stream.write_all(b": 3\n<13>a: 4").await.unwrap();
    drop(stream);
    until("four records", || harness.records().len() == 4).await;
    assert_eq!(harness.payloads(), ["1", "2", "3", "4"]);
    until("the connection's end", || {
        harness.counters.get(SourceCount::Connections) == 0
    })
    .await;
    // Another one is open when everything ends, and has not ended its message.
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(b"<13>a: 5\n<13>a: 6").await.unwrap();
    until("a fifth record", || harness.records().len() == 5).await;
    harness.end();
    task.await.unwrap().unwrap();
    until("the last record", || harness.records().len() == 6).await;
}

#[tokio::test]
async fn silent_and_surplus_senders_are_turned_away() {
    let harness = Harness::new(1000);
    let idle_max = Duration::from_millis(50);
    let (to, _task) = listening(
        &harness,
        SyslogConfig {
            idle_max,
            ..config()
        },
    );
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(TcpStream::connect(to).await.unwrap());
    }
    for stream in &mut streams {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        assert!(bytes.is_empty());
    }
    assert_eq!(harness.counters.get(SourceCount::Refused), 1);
    until("both connections' end", || {
        harness.counters.get(SourceCount::Connections) == 0
    })
    .await;
}

#[tokio::test]
async fn a_port_in_use_is_told_and_the_others_listen() {
    let harness = Harness::new(1000);
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let config = SyslogConfig {
        listen: vec![
            SyslogListen::Udp(address),
            SyslogListen::Tcp("127.0.0.1:0".parse().unwrap()),
        ],
        ..config()
    };
    let task = tokio::spawn(run(config, harness.intake.clone(), harness.shutdown()));
    until("an error", || harness.counters.error().is_some()).await;
    let error = harness.counters.error().unwrap();
    assert!(error.contains("another program has this port"), "{error}");
    harness.end();
    task.await.unwrap();
}

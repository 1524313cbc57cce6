//! Listeners on loopback, and their words.

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};

use pipeline::config::ByteSize;
use pipeline::rate_limit::RateLimit;
use pipeline::record::Record;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::source::mqtt::harness::Harness;
use crate::telemetry::SourceCount;

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
        let text = open::explain(&listen, &kind.into());
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
        assert_eq!(Sender::at(peer.parse().unwrap()).to_string(), expected);
    }
}

fn config() -> SyslogConfig {
    SyslogConfig {
        listen: Vec::new(),
        tls: None,
        socket_mode: 0o600,
        socket_owner: None,
        timezone: Some("UTC".to_owned()),
        message_bytes_max: ByteSize::bytes(100),
        connections_max: 2,
        idle_max: Duration::from_mins(1),
        receive_buffer: ByteSize::bytes(1 << 20),
        rate_limit: None,
    }
}

fn shared(harness: &Harness, config: SyslogConfig) -> Arc<Shared> {
    Arc::new(Shared {
        places: Arc::new(Places::new(config.connections_max)),
        limits: config.rate_limit.map(Limits::new),
        config,
        intake: harness.intake.clone(),
        zone: SyslogZone::utc(),
        unready: AtomicUsize::new(1),
        host: "gw".to_owned(),
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
        let socket = open::open(&listen, &shared.config, &harness.intake)
            .unwrap()
            .remove(0);
        let to = socket.socket.local_addr().unwrap().as_socket().unwrap();
        let sender = std::net::UdpSocket::bind(address).unwrap();
        let long = format!("<13>{}", "x".repeat(200));
        for message in ["<13>app: one\n", "", "\0\n", "garbage", long.as_str()] {
            sender.send_to(message.as_bytes(), to).unwrap();
        }
        let shutdown = harness.shutdown();
        let receiving =
            tokio::spawn(async move { datagram::receive(socket, &shared, shutdown).await });
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
        let truncated = |record: &Record| record.fields.get("truncated").cloned();
        let truncated: Vec<_> = harness.records().iter().map(truncated).collect();
        assert_eq!(truncated, [None, None, Some(Value::Bool(true)), None]);
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
    let socket = open::open(&listen, &shared.config, &harness.intake)
        .unwrap()
        .remove(0);
    let to = socket.socket.local_addr().unwrap().as_socket().unwrap();
    let shutdown = harness.shutdown();
    let task = tokio::spawn(async move { stream::accept(socket, &shared, shutdown).await });
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
async fn silent_senders_are_turned_away() {
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
    until("the connections' end", || {
        harness.counters.get(SourceCount::Connections) == 0
    })
    .await;
}

/// Who says nothing keeps nobody out, and who has said something is kept.
#[tokio::test]
async fn a_silent_sender_makes_room_for_another() {
    let harness = Harness::new(1000);
    let (to, _task) = listening(&harness, config());
    let mut silent = TcpStream::connect(to).await.unwrap();
    let mut first = TcpStream::connect(to).await.unwrap();
    first.write_all(b"<13>a: 1\n").await.unwrap();
    until("the first's message", || harness.records().len() == 1).await;
    let mut second = TcpStream::connect(to).await.unwrap();
    second.write_all(b"<13>a: 2\n").await.unwrap();
    let mut bytes = [0];
    assert_eq!(
        silent.read(&mut bytes).await.unwrap(),
        0,
        "it has made room"
    );
    until("the second's message", || harness.records().len() == 2).await;
    assert_eq!(harness.counters.get(SourceCount::Refused), 1);
    // Both places are of senders that speak: there is no room for a third.
    let mut third = TcpStream::connect(to).await.unwrap();
    assert_eq!(third.read(&mut bytes).await.unwrap(), 0);
    for stream in [&mut first, &mut second] {
        stream.write_all(b"<13>a: 3\n").await.unwrap();
    }
    until("more of both", || harness.records().len() == 4).await;
    assert_eq!(harness.counters.get(SourceCount::Connections), 2);
    assert_eq!(harness.counters.get(SourceCount::Refused), 2);
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

/// A socket below a folder of the test's own.
fn local(harness: &Harness, listen: &SyslogListen) -> tokio::task::JoinHandle<()> {
    let config = SyslogConfig {
        listen: vec![listen.clone()],
        socket_mode: 0o640,
        ..config()
    };
    tokio::spawn(run(config, harness.intake.clone(), harness.shutdown()))
}

fn folder(name: &str) -> std::path::PathBuf {
    let folder = std::env::temp_dir().join(format!("hydrant-{name}-{}", std::process::id()));
    drop(std::fs::remove_dir_all(&folder));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[tokio::test]
async fn programs_of_this_machine_are_told_by_the_kernel() {
    let folder = folder("programs");
    let harness = Harness::new(1000);
    let path = folder.join("deep/log");
    let task = local(&harness, &SyslogListen::UnixDatagram(path.clone()));
    until("the socket", || path.exists()).await;
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    let sender = std::os::unix::net::UnixDatagram::unbound().unwrap();
    let long = format!("<13>Nov 23 16:39:58 {}", "x".repeat(200));
    for message in ["<13>Nov 23 16:39:58 su[3]: one", long.as_str()] {
        sender.send_to(message.as_bytes(), &path).unwrap();
    }
    until("two records", || harness.records().len() == 2).await;
    let record = &harness.records()[0];
    let pid = Value::Int(std::process::id().into());
    assert_eq!(record.fields.get("peer_pid"), Some(&pid));
    let uid = Value::Int(rustix::process::getuid().as_raw().into());
    assert_eq!(record.fields.get("peer_uid"), Some(&uid));
    assert_eq!(record.fields.get("app"), Some(&"su".into()));
    assert_eq!(record.fields.get("host"), None);
    assert_eq!(harness.counters.get(SourceCount::Cut), 1);
    harness.end();
    task.await.unwrap();
    assert!(!path.exists(), "the socket is taken away");
    std::fs::remove_dir_all(folder).unwrap();
}

/// What waits in a socket that was passed came before anybody asked who sends.
#[tokio::test]
async fn a_program_that_the_kernel_does_not_name_has_no_name() {
    let folder = folder("early");
    let path = folder.join("log");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    socket.set_nonblocking(true).unwrap();
    let sender = std::os::unix::net::UnixDatagram::unbound().unwrap();
    sender
        .send_to(b"<13>Nov 23 16:39:58 a: early", &path)
        .unwrap();
    let harness = Harness::new(1000);
    let shared = shared(&harness, config());
    let socket = socket2::Socket::from(std::os::fd::OwnedFd::from(socket));
    local::ask_for_credentials(&socket);
    let open = open::Open {
        socket,
        kind: Kind::Datagram,
        is_local: true,
        tls: None,
        _place: None,
    };
    let shutdown = harness.shutdown();
    tokio::spawn(async move { datagram::receive(open, &shared, shutdown).await });
    until("the early one", || harness.records().len() == 1).await;
    sender
        .send_to(b"<13>Nov 23 16:39:58 a: late", &path)
        .unwrap();
    until("the late one", || harness.records().len() == 2).await;
    let records = harness.records();
    for field in ["peer_pid", "peer_uid"] {
        assert_eq!(records[0].fields.get(field), None);
        assert!(records[1].fields.get(field).is_some());
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn streams_of_this_machine_have_both_framings() {
    let folder = folder("streams");
    let harness = Harness::new(1000);
    let path = folder.join("log");
    let task = local(&harness, &SyslogListen::Unix(path.clone()));
    until("the socket", || path.exists()).await;
    let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
    stream
        .write_all(b"<13>a: 1\0<13>a: 2\n9 <13>a: 3\n<13>a: 4")
        .await
        .unwrap();
    drop(stream);
    until("four records", || harness.records().len() == 4).await;
    assert_eq!(harness.payloads(), ["1", "2", "3", "4"]);
    let pid = Value::Int(std::process::id().into());
    assert_eq!(harness.records()[3].fields.get("peer_pid"), Some(&pid));
    harness.end();
    task.await.unwrap();
    std::fs::remove_dir_all(folder).unwrap();
}

/// Only a socket that nobody has any more is replaced.
#[tokio::test]
async fn what_is_in_the_way_of_a_socket_is_left_alone() {
    let folder = folder("ways");
    let harness = Harness::new(1000);
    let path = folder.join("log");
    let open = |kind: fn(std::path::PathBuf) -> SyslogListen| {
        let listen = kind(path.clone());
        open::open(&listen, &config(), &harness.intake)
            .map_err(|error| open::explain(&listen, &error))
    };
    let check = |kind, expected: &str| {
        let error = open(kind).unwrap_err();
        assert!(error.contains(expected), "{error}");
    };
    for kind in [SyslogListen::Unix, SyslogListen::UnixDatagram] {
        // Held by a listener of either kind.
        let stream = std::os::unix::net::UnixListener::bind(&path).unwrap();
        check(kind, "another program listens there");
        drop(stream);
        // Left behind by a killed one.
        let replaced = open(kind).unwrap();
        assert!(std::fs::metadata(&path).unwrap().file_type().is_socket());
        check(kind, "another program listens there");
        drop(replaced);
        let datagram = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
        check(kind, "another program listens there");
        drop(datagram);
        drop(open(kind).unwrap());
        assert!(!path.exists());
        std::os::unix::fs::symlink("/run/systemd/journal/dev-log", &path).unwrap();
        check(kind, "it is a link to /run/systemd/journal/dev-log");
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        check(kind, "it is in the way and no socket");
        std::fs::remove_dir(&path).unwrap();
    }
    // A socket that took its place in the meantime is not taken away.
    let old = open(SyslogListen::Unix).unwrap();
    std::fs::remove_file(&path).unwrap();
    let new = std::os::unix::net::UnixListener::bind(&path).unwrap();
    drop(old);
    assert!(path.exists());
    drop(new);
    std::fs::remove_dir_all(folder).unwrap();
}

fn limited() -> SyslogConfig {
    let rate_limit = Some(RateLimit {
        messages: 50,
        per: Duration::from_secs(1),
        burst: 10,
    });
    SyslogConfig {
        rate_limit,
        ..config()
    }
}

/// Datagrams over the limit are refused and counted, with their sender; others do not notice.
#[tokio::test]
async fn datagrams_over_the_limit_are_refused() {
    let harness = Harness::new(1000);
    let shared = shared(&harness, limited());
    let listen = SyslogListen::Udp("127.0.0.1:0".parse().unwrap());
    let socket = open::open(&listen, &shared.config, &harness.intake)
        .unwrap()
        .remove(0);
    let to = socket.socket.local_addr().unwrap().as_socket().unwrap();
    let loud = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let quiet = std::net::UdpSocket::bind("127.0.0.2:0").unwrap();
    for number in 0..1000 {
        loud.send_to(format!("<13>a: {number}").as_bytes(), to)
            .unwrap();
    }
    for number in 0..10 {
        quiet
            .send_to(format!("<13>q: {number}").as_bytes(), to)
            .unwrap();
    }
    let shutdown = harness.shutdown();
    tokio::spawn(async move { datagram::receive(socket, &shared, shutdown).await });
    let taken = || u64::try_from(harness.records().len()).unwrap();
    let refused = || harness.counters.get(SourceCount::Refused);
    until("all to be taken or refused", || taken() + refused() == 1010).await;
    let of = |address: &str| {
        let is_from = |record: &&Record| record.fields.get("peer") == Some(&address.into());
        harness.records().iter().filter(is_from).count()
    };
    assert_eq!(of("127.0.0.2"), 10);
    // The burst, and what a slow machine gave it time for.
    assert!((10..500).contains(&of("127.0.0.1")), "{}", of("127.0.0.1"));
    let status = crate::telemetry::SourceStatus::of(&harness.counters, String::new(), 0);
    assert_eq!(
        status.refused_by,
        [("rate_limit".to_owned(), refused())].into()
    );
    assert_eq!(status.refused_senders.len(), 1);
    assert_eq!(status.refused_senders[0].sender, "127.0.0.1");
    assert_eq!(status.refused_senders[0].refused, refused());
}

/// A connection over the limit loses nothing: it is read more slowly.
#[tokio::test]
async fn connections_over_the_limit_are_slowed() {
    let harness = Harness::new(1000);
    let (to, task) = listening(&harness, limited());
    let mut stream = TcpStream::connect(to).await.unwrap();
    let lines: Vec<String> = (0..100)
        .map(|number| format!("<13>a: {number}\n"))
        .collect();
    let lines = lines.concat();
    let began = std::time::Instant::now();
    stream.write_all(lines.as_bytes()).await.unwrap();
    until("the burst", || harness.records().len() >= 10).await;
    until("all of them", || harness.records().len() == 100).await;
    // 10 at once and 90 at 50 a second, as the process's own clock counts.
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(1_700), "{took:?}");
    let expected: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    assert_eq!(harness.payloads(), expected);
    assert_eq!(harness.counters.get(SourceCount::Refused), 0);
    // The end does not wait for a limit.
    stream.write_all(lines.as_bytes()).await.unwrap();
    until("more", || harness.records().len() > 105).await;
    harness.end();
    task.await.unwrap().unwrap();
    until("the rest", || harness.records().len() == 200).await;
}

//! Syslog from logger and rsyslog, and from senders that do it wrong.

mod limits;
mod small;
mod sockets;
mod tls;

use std::io::Write;
use std::net::{Ipv4Addr, TcpStream, UdpSocket};

use serde_json::Value;

use crate::harness::{Agent, Folder, Receiver, Rsyslog, free_port, run, run_with};

struct Syslog {
    agent: Agent,
    receiver: Receiver,
    port: u16,
    folder: Folder,
}

impl Syslog {
    /// Listens for datagrams and connections on one port.
    fn start(more: &str) -> Self {
        let folder = Folder::new();
        let receiver = Receiver::start();
        let port = free_port();
        let source = format!(
            "[sources.network]\ntype = \"syslog\"\n\
             listen = [\"udp://127.0.0.1:{port}\", \"tcp://127.0.0.1:{port}\"]\n{more}"
        );
        let mut agent = Agent::new(
            folder.path(),
            &format!("{source}{}", receiver.destination("lake")),
        );
        agent.start();
        Syslog {
            agent,
            receiver,
            port,
            folder,
        }
    }

    fn send_datagram(&self, bytes: &[u8]) {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket
            .send_to(bytes, (Ipv4Addr::LOCALHOST, self.port))
            .unwrap();
    }

    fn connect(&self) -> TcpStream {
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap()
    }
}

#[test]
fn logger_in_every_way_it_can() {
    let syslog = Syslog::start("");
    let port = syslog.port.to_string();
    let ways: &[&[&str]] = &[
        &["-d", "--rfc3164"],
        &["-d", "--rfc5424"],
        &["-T", "--rfc3164"],
        &["-T", "--rfc5424"],
        &["-T", "--rfc3164", "--octet-count"],
        &["-T", "--rfc5424", "--octet-count"],
    ];
    for (number, way) in ways.iter().enumerate() {
        let message = format!("message {number} with: colons, [brackets] and <angles>");
        let mut args = vec![
            "-n",
            "127.0.0.1",
            "-P",
            &port,
            "-t",
            "welder",
            "-p",
            "local3.warning",
        ];
        args.extend(*way);
        args.push(&message);
        run("logger", &args);
        let record = syslog.receiver.wait_for_message(&message);
        assert_eq!(record["app"], "welder", "{way:?}: {record}");
        assert_eq!(record["severity"], "warning", "{way:?}: {record}");
        assert_eq!(record["facility"], "local3", "{way:?}: {record}");
        assert!(record["host"].is_string(), "{way:?}: {record}");
        assert!(
            record["hydrant"]["decode_error"].is_null(),
            "{way:?}: {record}"
        );
    }
}

#[test]
fn structured_data_of_logger() {
    let syslog = Syslog::start("");
    let port = syslog.port.to_string();
    run(
        "logger",
        &[
            "-n",
            "127.0.0.1",
            "-P",
            &port,
            "-T",
            "--rfc5424",
            "--msgid",
            "START",
            "--sd-id",
            "zone@32473",
            "--sd-param",
            "name=\"north\"",
            "--sd-param",
            "quote=\"a\\\"b\"",
            "it runs",
        ],
    );
    let record = syslog.receiver.wait_for_message("it runs");
    assert_eq!(record["msgid"], "START", "{record}");
    assert_eq!(
        record["structured_data"]["zone@32473"]["name"], "north",
        "{record}"
    );
    assert_eq!(
        record["structured_data"]["zone@32473"]["quote"], "a\"b",
        "{record}"
    );
}

#[test]
fn rsyslog_forwards_over_tcp() {
    let syslog = Syslog::start("");
    let rsyslog = Rsyslog::forwarding_to(&syslog.folder, syslog.port);
    let port = rsyslog.port.to_string();
    for number in 0..50 {
        let message = format!("forwarded {number}");
        run(
            "logger",
            &[
                "-n",
                "127.0.0.1",
                "-P",
                &port,
                "-d",
                "-t",
                "relay",
                &message,
            ],
        );
    }
    let messages = syslog.receiver.wait_for_messages(50);
    let expected: Vec<String> = (0..50)
        .map(|number| format!("forwarded {number}"))
        .collect();
    assert_eq!(messages, expected);
    let log = syslog.receiver.log();
    assert!(
        log.records.iter().all(|record| record["app"] == "relay"),
        "{}",
        log.records[0]
    );
}

/// Its own templates, over each transport and with each framing: the records are the same.
#[test]
fn rsyslog_in_every_template() {
    let syslog = Syslog::start("");
    let to = format!("target=\"127.0.0.1\" port=\"{}\"", syslog.port);
    let ways = [
        "protocol=\"tcp\" template=\"RSYSLOG_TraditionalForwardFormat\"",
        "protocol=\"tcp\" template=\"RSYSLOG_ForwardFormat\"",
        "protocol=\"tcp\" TCP_Framing=\"octet-counted\" template=\"RSYSLOG_ForwardFormat\"",
        "protocol=\"tcp\" template=\"RSYSLOG_SyslogProtocol23Format\"",
        "protocol=\"udp\" template=\"RSYSLOG_TraditionalForwardFormat\"",
        "protocol=\"udp\" template=\"RSYSLOG_SyslogProtocol23Format\"",
    ];
    let actions: Vec<String> = ways.iter().map(|way| format!("{to} {way}")).collect();
    let actions: Vec<&str> = actions.iter().map(String::as_str).collect();
    let rsyslog = Rsyslog::with_actions(&syslog.folder, "", &actions);
    let message = "poll: took 412 ms [late] instead of 250 ms";
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let sent =
        format!("<155>1 2026-11-23T16:39:58.123456+01:00 gw-7 plc-bridge 4211 - - {message}");
    socket
        .send_to(sent.as_bytes(), (Ipv4Addr::LOCALHOST, rsyslog.port))
        .unwrap();
    let messages = syslog.receiver.wait_for_messages(ways.len());
    assert_eq!(messages, [message; 6]);
    let log = syslog.receiver.log();
    for record in &log.records {
        let is_as_sent = record["facility"] == "local3"
            && record["severity"] == "err"
            && record["host"] == "gw-7"
            && record["app"] == "plc-bridge"
            && record["procid"] == "4211"
            && record["hydrant"]["decode_error"].is_null();
        assert!(is_as_sent, "{record}");
        // The oldest template has neither zone nor fraction.
        let time = record["hydrant"]["time"].as_str().unwrap();
        assert!(time.starts_with("2026-11-23T"), "{record}");
    }
}

/// The other options that change what it writes.
#[test]
fn logger_leaves_out_what_it_may() {
    let syslog = Syslog::start("");
    let port = syslog.port.to_string();
    let ways: &[(&[&str], &[&str])] = &[
        (&["--rfc5424=notime"], &["host", "app"]),
        (&["--rfc5424=nohost"], &["app"]),
        (&["--rfc5424=notq,notime,nohost"], &["app"]),
        (&["--id=4711", "--rfc5424"], &["host", "app", "procid"]),
        (&["--id=4711", "--rfc3164"], &["host", "app", "procid"]),
        (
            &["-i", "--rfc3164", "-T", "--octet-count"],
            &["host", "app", "procid"],
        ),
        (&["--rfc5424", "-T", "-S", "8KiB"], &["host", "app"]),
    ];
    for (number, (way, expected)) in ways.iter().enumerate() {
        let message = format!("message {number} \u{fc}ber alles: [a] <b>");
        let mut args = vec!["-n", "127.0.0.1", "-P", &port, "-t", "welder"];
        if !way.contains(&"-T") {
            args.push("-d");
        }
        args.extend(*way);
        args.push(&message);
        run("logger", &args);
        let record = syslog.receiver.wait_for_message(&message);
        assert!(
            record["hydrant"]["decode_error"].is_null(),
            "{way:?}: {record}"
        );
        for field in ["host", "app", "procid"] {
            let is_there = record[field].is_string();
            assert_eq!(
                is_there,
                expected.contains(&field),
                "{way:?}: {field} of {record}"
            );
        }
    }
    let lines = b"<27>one\n<30>two\n";
    let args = [
        "-n",
        "127.0.0.1",
        "-P",
        &port,
        "-T",
        "-t",
        "welder",
        "-p",
        "user.debug",
        "--prio-prefix",
    ];
    run_with("logger", &args, lines);
    for (message, severity) in [("one", "err"), ("two", "info")] {
        let record = syslog.receiver.wait_for_message(message);
        assert_eq!(record["severity"], severity, "{record}");
    }
}

/// Both framings on one connection, cut into pieces anywhere, and a last line without its end.
#[test]
fn framings_may_change_within_a_connection() {
    let syslog = Syslog::start("");
    let mut stream = syslog.connect();
    stream.set_nodelay(true).unwrap();
    let lines = b"<13>1 - h a - - - one\n27 <13>1 - h a - - - two\nlines<13>1 - h a - - - three\n\
        <13>1 - h a - - - four";
    for piece in lines.chunks(7) {
        stream.write_all(piece).unwrap();
    }
    drop(stream);
    let messages = syslog.receiver.wait_for_messages(4);
    assert_eq!(messages, ["one", "two\nlines", "three", "four"]);
}

/// Nothing that came is thrown away: what cannot be read is kept as it came.
#[test]
fn garbage_is_kept_and_marked() {
    let syslog = Syslog::start("");
    let garbage: &[&[u8]] = &[
        b"no priority at all",
        b"<999>1 - - - - - - priority out of range",
        b"<13",
        b"<>",
        b"\x00\x01\x02\xff\xfe",
        b"<13>1 2026-99-99T99:99:99Z h a - - - impossible time",
        b"<13>1 - h a - - [broken structured data",
    ];
    for datagram in garbage {
        syslog.send_datagram(datagram);
    }
    syslog.send_datagram(b"<13>1 - h a - - - good");
    syslog.receiver.wait_for_message("good");
    syslog.receiver.wait_for_messages(garbage.len() + 1);
    let log = syslog.receiver.log();
    let marked = |record: &&Value| record["hydrant"]["decode_error"].is_string();
    assert!(
        log.records.iter().filter(marked).count() >= 4,
        "{:?}",
        log.messages()
    );
    drop(log);
    let told = syslog.agent.status()["sources"]["network"].clone();
    assert!(told["decode_errors"].as_u64().unwrap() >= 4, "{told}");
    assert_eq!(told["stored"], garbage.len() + 1, "{told}");
}

#[test]
fn over_long_messages_are_cut_and_counted() {
    let syslog = Syslog::start("message_bytes_max = \"1KiB\"\n");
    let mut stream = syslog.connect();
    let long = format!("<13>1 - h a - - - {}\n", "x".repeat(10_000_000));
    stream.write_all(long.as_bytes()).unwrap();
    stream.write_all(b"<13>1 - h a - - - behind it\n").unwrap();
    syslog.receiver.wait_for_message("behind it");
    let log = syslog.receiver.log();
    let messages = log.messages();
    assert_eq!(messages.len(), 2);
    assert!(
        messages[0].len() <= 1024 && messages[0].starts_with("xxx"),
        "{}",
        messages[0].len()
    );
    let marks: Vec<&Value> = log
        .records
        .iter()
        .map(|record| &record["truncated"])
        .collect();
    assert_eq!(marks, [&Value::Bool(true), &Value::Null]);
    drop(log);
    assert_eq!(syslog.agent.count("sources", "network", "cut"), 1);
}

/// The longest message that is taken is taken whole, whichever way it comes.
#[test]
fn messages_of_64_kib_come_whole() {
    let syslog = Syslog::start("");
    let head = "<13>1 - h a - - - ";
    let of = |len: usize, byte: &str| format!("{head}{}", byte.repeat(len - head.len()));
    let mut stream = syslog.connect();
    let counted = of(65_536, "c");
    stream
        .write_all(format!("{} {counted}", counted.len()).as_bytes())
        .unwrap();
    stream
        .write_all(format!("{}\n", of(65_536, "l")).as_bytes())
        .unwrap();
    stream
        .write_all(format!("{}\n", of(65_537, "m")).as_bytes())
        .unwrap();
    syslog.receiver.wait_for_messages(3);
    // The largest datagram of IPv4.
    syslog.send_datagram(of(65_507, "d").as_bytes());
    let messages = syslog.receiver.wait_for_messages(4);
    let lens: Vec<usize> = messages
        .iter()
        .map(|message| message.len() + head.len())
        .collect();
    assert_eq!(lens, [65_536, 65_536, 65_536, 65_507]);
    let log = syslog.receiver.log();
    let marked: Vec<bool> = log
        .records
        .iter()
        .map(|record| record["truncated"] == true)
        .collect();
    assert_eq!(marked, [false, false, true, false]);
}

#[test]
fn one_listener_takes_both_versions_of_ip() {
    let folder = Folder::new();
    let receiver = Receiver::start();
    let port = free_port();
    let source = format!(
        "[sources.network]\ntype = \"syslog\"\n\
         listen = [\"udp://[::]:{port}\", \"tcp://[::]:{port}\"]\n"
    );
    let mut agent = Agent::new(
        folder.path(),
        &format!("{source}{}", receiver.destination("lake")),
    );
    agent.start();
    let port = port.to_string();
    for (server, peer) in [("127.0.0.1", "127.0.0.1"), ("::1", "::1")] {
        for way in ["-d", "-T"] {
            let message = format!("to {server} {way}");
            run(
                "logger",
                &["-n", server, "-P", &port, way, "-t", "welder", &message],
            );
            let record = receiver.wait_for_message(&message);
            assert_eq!(record["peer"], peer, "{record}");
        }
    }
}

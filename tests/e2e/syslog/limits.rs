//! Senders that send too much, or connect too often.

use std::io::Write;
use std::net::{Ipv4Addr, TcpStream, UdpSocket};

use rustix::process::Signal;
use serde_json::Value;

use super::Syslog;
use crate::harness::{Agent, Folder, Receiver, append, free_port, wait_until};

/// A device that floods is held to its rate; the others are heard, and status says who it was.
#[test]
fn a_flood_of_one_sender_is_refused_and_told() {
    let syslog = Syslog::start("rate_limit = { messages = 20, per = \"1s\", burst = 100 }\n");
    let to = (Ipv4Addr::LOCALHOST, syslog.port);
    let quiet = UdpSocket::bind(("127.0.0.2", 0)).unwrap();
    let loud = UdpSocket::bind(("127.0.0.3", 0)).unwrap();
    for number in 0..2_000 {
        loud.send_to(format!("<13>loud: {number}").as_bytes(), to)
            .unwrap();
        if number % 40 == 0 {
            quiet
                .send_to(format!("<13>quiet: {number}").as_bytes(), to)
                .unwrap();
        }
    }
    let told = || syslog.agent.status()["sources"]["network"].clone();
    let all = |told: &Value| told["received"].as_u64().unwrap() + told["refused"].as_u64().unwrap();
    let told = wait_until("everything", || {
        Some(told()).filter(|told| all(told) == 2_050)
    });
    assert_eq!(told["refused_by"]["rate_limit"], told["refused"], "{told}");
    assert_eq!(told["refused_senders"][0]["sender"], "127.0.0.3", "{told}");
    assert_eq!(
        told["refused_senders"].as_array().unwrap().len(),
        1,
        "{told}"
    );
    assert!(told["refused"].as_u64().unwrap() > 1_500, "{told}");
    syslog
        .receiver
        .wait_for_messages(usize::try_from(told["received"].as_u64().unwrap()).unwrap());
    let log = syslog.receiver.log();
    let of = |address: &str| {
        log.records
            .iter()
            .filter(|record| record["peer"] == address)
            .count()
    };
    assert_eq!(of("127.0.0.2"), 50);
    assert!(of("127.0.0.3") >= 100, "{}", of("127.0.0.3"));
    drop(log);
    let said = syslog
        .agent
        .log()
        .matches("over rate_limit are refused")
        .count();
    assert_eq!(said, 1, "told once a minute");
}

/// An agent that does not get a turn loses datagrams, and says how many.
#[test]
fn what_the_kernel_threw_away_is_counted() {
    let mut syslog = Syslog::start("receive_buffer = \"64KiB\"\n");
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let message = format!("<13>a: {}", "x".repeat(200));
    syslog.agent.signal(Signal::STOP);
    for _ in 0..5_000 {
        let to = (Ipv4Addr::LOCALHOST, syslog.port);
        socket.send_to(message.as_bytes(), to).unwrap();
    }
    syslog.agent.signal(Signal::CONT);
    let told = wait_until("all to be told", || {
        let told = syslog.agent.status()["sources"]["network"].clone();
        let count = |name: &str| told[name].as_u64().unwrap();
        (count("received") + count("refused") == 5_000).then_some(told.clone())
    });
    assert_eq!(told["refused_by"]["kernel"], told["refused"], "{told}");
    assert!(told["refused"].as_u64().unwrap() > 1_000, "{told}");
}

/// Connections that come and go, come half, or stay silent, are bounded and counted; datagrams of
/// the same source and records of another are taken meanwhile.
#[test]
fn a_storm_of_connections_is_noticed_by_nobody_else() {
    let folder = Folder::new();
    let receiver = Receiver::start();
    let port = free_port();
    let input = folder.text("input.log");
    let config = format!(
        "[sources.network]\ntype = \"syslog\"\nconnections_max = 50\n\
         listen = [\"udp://127.0.0.1:{port}\", \"tcp://127.0.0.1:{port}\"]\n\
         [sources.app]\ntype = \"file\"\npaths = [\"{input}\"]\npoll_interval = \"100ms\"\n{}",
        receiver.destination("lake")
    );
    let mut agent = Agent::new(folder.path(), &config);
    agent.start();
    let to = (Ipv4Addr::LOCALHOST, port);
    // Silent ones take all places; each has begun a message and does not go on.
    let silent: Vec<TcpStream> = (0..50)
        .map(|_| {
            let mut stream = TcpStream::connect(to).unwrap();
            stream.write_all(b"999999 <13>never").unwrap();
            stream
        })
        .collect();
    agent.wait_for_count("sources", "network", "connections", 50);
    let datagrams = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut stormed = 0_u64;
    for round in 0..20 {
        for _ in 0..500 {
            // The backlog may be full: then the kernel makes it wait or turns it away.
            stormed += u64::from(TcpStream::connect(to).is_ok());
        }
        let sent = format!("<13>storm: datagram {round}");
        datagrams.send_to(sent.as_bytes(), to).unwrap();
        append(&folder.join("input.log"), format!("line {round}\n"));
        receiver.wait_for_message(&format!("datagram {round}"));
        receiver.wait_for_message(&format!("line {round}"));
    }
    agent.wait_for_count("sources", "network", "refused", stormed);
    let told = agent.status()["sources"]["network"].clone();
    assert_eq!(told["refused_by"]["connections_max"], stormed, "{told}");
    assert_eq!(told["connections"], 50, "{told}");
    assert!(agent.memory_peak_kib() < 64 * 1024);
    assert!(agent.log().matches("connections_max is 50").count() <= 2);
    // When they go, what they began is kept, marked, and there is room again.
    drop(silent);
    wait_until("room", || {
        (agent.count("sources", "network", "connections") == 0).then_some(())
    });
    let mut stream = TcpStream::connect(to).unwrap();
    stream.write_all(b"<13>after: the storm\n").unwrap();
    receiver.wait_for_message("the storm");
    let log = receiver.log();
    let cut = |record: &&Value| record["message"] == "never" && record["truncated"] == true;
    assert_eq!(log.records.iter().filter(cut).count(), 50);
}

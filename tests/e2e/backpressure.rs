//! A full ring with `when_full = "block"`: each kind of source waits in its own way, and nothing
//! that was acknowledged is lost.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write;
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::harness::{
    Agent, Broker, Folder, MqttPeer, Publisher, Receiver, append, free_port, hydrant, never_within,
    run_with, wait_until,
};

/// More than a ring of 1 MiB holds, and all that may wait in front of it and in sockets.
const COUNT: usize = 60_000;

/// What a debug build holds at most while a ring of 1 MiB is full.
const MEMORY_KIB_MAX: u64 = 48 << 10;

/// An agent whose only destination is down and whose ring holds little.
struct Dam {
    agent: Agent,
    receiver: Receiver,
    folder: Folder,
}

impl Dam {
    fn start(source: impl FnOnce(&Folder) -> String) -> Self {
        let folder = Folder::new();
        let receiver = Receiver::start_down();
        let rest = format!(
            "when_full = \"block\"\n[sources.flood]\n{}{}",
            source(&folder),
            receiver.destination("lake")
        );
        let mut agent = Agent::with_ring(folder.path(), "1MiB", &rest);
        agent.start();
        Dam {
            agent,
            receiver,
            folder,
        }
    }

    /// Waits until the ring is full, and asserts that it says so and stays as it is.
    fn wait_until_full(&mut self) {
        let Dam { agent, folder, .. } = self;
        wait_until("a source that waits for space", || {
            let status = agent.ask()?;
            (status["sources"]["flood"]["waiting_for_space"] == true
                && status["buffers"]["default"]["blocked"] == true)
                .then_some(())
        });
        let socket = folder.text("control.sock");
        let page = hydrant(&["status", "--socket", &socket]).stdout;
        assert!(
            page.contains("source flood: waiting for space"),
            "says so in plain words: {page}"
        );
        let stored = agent.count("sources", "flood", "stored");
        never_within(Duration::from_secs(2), "a full ring takes more", || {
            agent.count("sources", "flood", "stored") > stored
        });
        let peak = agent.memory_peak_kib();
        assert!(peak < MEMORY_KIB_MAX, "held {peak} KiB");
        self.assert_nothing_is_lost();
    }

    fn assert_nothing_is_lost(&self) {
        for counter in ["evicted", "truncated", "rejected"] {
            let count = self.agent.count("destinations", "lake", counter);
            assert_eq!(count, 0, "{counter}");
        }
    }

    /// Lets everything flow, and waits until all of these have come.
    fn open<'a>(&self, wanted: impl Iterator<Item = &'a str>) {
        self.receiver.set_down(false);
        let mut missing: BTreeSet<String> = wanted.map(str::to_owned).collect();
        let mut seen = 0;
        self.receiver
            .wait("everything that was acknowledged", |log| {
                for record in log.records.iter().skip(seen) {
                    missing.remove(record["message"].as_str().unwrap_or_default());
                }
                seen = log.records.len();
                missing.is_empty().then_some(())
            });
        wait_until("a source that waits no more", || {
            let status = self.agent.ask()?;
            (status["sources"]["flood"]["waiting_for_space"] == false).then_some(())
        });
        self.assert_nothing_is_lost();
    }
}

/// A line that does not compress away.
fn line(number: usize) -> String {
    let noise = (u64::try_from(number).unwrap() + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("{number:06} {noise:016x}")
}

fn lines() -> String {
    let mut text = String::new();
    for number in 0..COUNT {
        writeln!(text, "{}", line(number)).unwrap();
    }
    text
}

#[test]
fn a_file_is_not_read_while_the_ring_is_full() {
    let mut dam = Dam::start(|folder| {
        format!(
            "type = \"file\"\npaths = [\"{}\"]\n",
            folder.text("flood.log")
        )
    });
    let text = lines();
    append(&dam.folder.join("flood.log"), &text);
    dam.wait_until_full();
    let read = dam.agent.count("sources", "flood", "received");
    assert!(read < u64::try_from(COUNT).unwrap(), "all was read");
    dam.agent.kill();
    dam.agent.start();
    dam.wait_until_full();
    dam.open(text.lines());
    let log = dam.receiver.log();
    assert_eq!(log.once().len(), COUNT, "a line has two ids");
    assert!(log.messages_once().is_sorted(), "the order of the file");
}

#[test]
fn a_broker_gets_no_acknowledgement_while_the_ring_is_full() {
    let folder = Folder::new();
    let mut broker = Broker::start(&folder);
    let mut dam = Dam::start(|_| {
        format!(
            "type = \"mqtt\"\nurl = \"{}\"\ntopics = [\"flood\"]\nqos = 1\n",
            broker.url()
        )
    });
    broker.wait_for_line("flood");
    let text = lines();
    let port = broker.port.to_string();
    let all: Vec<&str> = text.lines().collect();
    // More at a time its client loses by itself.
    for part in all.chunks(COUNT / 2) {
        let args = ["-p", &port, "-t", "flood", "-q", "1", "-l"];
        run_with("mosquitto_pub", &args, part.join("\n").as_bytes());
    }
    dam.wait_until_full();
    let taken = dam.agent.count("sources", "flood", "received");
    assert!(taken < u64::try_from(COUNT).unwrap(), "all was taken");
    dam.agent.kill();
    dam.agent.start();
    dam.wait_until_full();
    dam.open(all.into_iter());
}

#[test]
fn a_device_gets_no_acknowledgement_while_the_ring_is_full() {
    let port = free_port();
    let mut dam =
        Dam::start(|_| format!("type = \"mqtt_listener\"\nlisten = \"127.0.0.1:{port}\"\n"));
    let stop = Arc::new(AtomicBool::new(false));
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let device = thread::spawn({
        let (stop, acknowledged) = (Arc::clone(&stop), Arc::clone(&acknowledged));
        move || {
            let mut device = Publisher::with_noise(port, "device", 2000);
            while !stop.load(Ordering::Relaxed) {
                device.step();
                acknowledged
                    .lock()
                    .unwrap()
                    .append(&mut device.acknowledged);
            }
            wait_until("the last acknowledgement", || device.finish().then_some(()));
            acknowledged
                .lock()
                .unwrap()
                .append(&mut device.acknowledged);
        }
    });
    dam.wait_until_full();
    let count = acknowledged.lock().unwrap().len();
    assert!(count > 0);
    never_within(Duration::from_secs(1), "an acknowledgement", || {
        acknowledged.lock().unwrap().len() > count
    });
    dam.agent.kill();
    dam.agent.start();
    dam.wait_until_full();
    stop.store(true, Ordering::Relaxed);
    let promised = acknowledged.lock().unwrap().clone();
    dam.open(promised.iter().map(String::as_str));
    device.join().unwrap();
    let promised = acknowledged.lock().unwrap().clone();
    dam.open(promised.iter().map(String::as_str));
}

/// A QoS 2 message whose number may not be forgotten yet: PUBCOMP waits, over a crash as well, and
/// a new message with the number is none that is known.
#[test]
fn a_qos_2_message_is_let_go_only_when_that_is_durable() {
    const RELEASE: &[u8] = b"\x62\x02\0\x07";
    let port = free_port();
    let mut dam =
        Dam::start(|_| format!("type = \"mqtt_listener\"\nlisten = \"127.0.0.1:{port}\"\n"));
    let publish = |device: &mut MqttPeer, payload: &[u8; 5]| {
        device
            .send(&[b"\x34\x0a\0\x01a\0\x07", &payload[..]].concat())
            .unwrap();
        assert_eq!(device.read_packet().unwrap(), (0x50, vec![0, 7]));
    };
    let mut device = MqttPeer::resume(port, "careful").unwrap();
    publish(&mut device, b"first");
    let stop = Arc::new(AtomicBool::new(false));
    let others = thread::spawn({
        let stop = Arc::clone(&stop);
        move || {
            let mut others = Publisher::with_noise(port, "others", 2000);
            while !stop.load(Ordering::Relaxed) {
                others.step();
            }
        }
    });
    dam.wait_until_full();
    device.send(RELEASE).unwrap();
    device.assert_silent(Duration::from_secs(1));
    dam.agent.kill();
    dam.agent.start();
    // It is known still, and taken once.
    let mut device = MqttPeer::resume(port, "careful").unwrap();
    publish(&mut device, b"first");
    device.send(RELEASE).unwrap();
    stop.store(true, Ordering::Relaxed);
    dam.open(["first"].into_iter());
    others.join().unwrap();
    assert_eq!(device.read_packet().unwrap(), (0x70, vec![0, 7]));
    dam.agent.kill();
    dam.agent.start();
    let mut device = MqttPeer::resume(port, "careful").unwrap();
    publish(&mut device, b"other");
    dam.open(["other"].into_iter());
    let log = dam.receiver.log();
    let once = log.messages_once();
    for message in ["first", "other"] {
        let count = once.iter().filter(|known| **known == message).count();
        assert_eq!(count, 1, "{message}");
    }
}

#[test]
fn a_connection_is_not_read_while_the_ring_is_full() {
    let port = free_port();
    let mut dam =
        Dam::start(|_| format!("type = \"syslog\"\nlisten = [\"tcp://127.0.0.1:{port}\"]\n"));
    let listens = format!("listening on tcp://127.0.0.1:{port}");
    wait_until(&listens, || {
        dam.agent.log().contains(&listens).then_some(())
    });
    let sent = Arc::new(AtomicUsize::new(0));
    // Sockets hold some megabytes by themselves.
    let padding = "x".repeat(400);
    let sender = thread::spawn({
        let sent = Arc::clone(&sent);
        move || {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
            for number in 0..COUNT {
                let line = format!("<13>1 - - - - - - {} {padding}\n", line(number));
                stream.write_all(line.as_bytes()).unwrap();
                sent.store(number + 1, Ordering::Relaxed);
            }
        }
    });
    dam.wait_until_full();
    let before = sent.load(Ordering::Relaxed);
    assert!(before < COUNT, "all was read");
    never_within(Duration::from_secs(1), "more is read", || {
        sent.load(Ordering::Relaxed) > before
    });
    dam.receiver.set_down(false);
    sender.join().unwrap();
    dam.receiver.wait("all messages", |log| {
        (log.records.len() >= COUNT).then_some(())
    });
    dam.assert_nothing_is_lost();
    let log = dam.receiver.log();
    assert_eq!(log.once().len(), COUNT);
    assert!(
        log.messages_once().is_sorted(),
        "the order of the connection"
    );
}

#[test]
fn datagrams_are_counted_while_the_ring_is_full() {
    let port = free_port();
    let mut dam =
        Dam::start(|_| format!("type = \"syslog\"\nlisten = [\"udp://127.0.0.1:{port}\"]\n"));
    let listens = format!("listening on udp://127.0.0.1:{port}");
    wait_until(&listens, || {
        dam.agent.log().contains(&listens).then_some(())
    });
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let send = |number| {
        let line = format!("<13>1 - - - - - - {}", line(number));
        socket
            .send_to(line.as_bytes(), (Ipv4Addr::LOCALHOST, port))
            .unwrap();
    };
    // A busy kernel takes as many as it likes.
    let mut sent = 0;
    wait_until("a full ring", || {
        for _ in 0..2_000 {
            send(sent);
            sent += 1;
        }
        let status = dam.agent.ask()?;
        (status["buffers"]["default"]["blocked"] == true).then_some(())
    });
    dam.wait_until_full();
    // Far more than the socket holds as well.
    for _ in 0..COUNT {
        send(sent);
        sent += 1;
    }
    dam.receiver.set_down(false);
    let sent = u64::try_from(sent).unwrap();
    wait_until("every datagram is received or counted", || {
        let status = dam.agent.ask()?;
        let source = &status["sources"]["flood"];
        let known = source["stored"].as_u64()? + source["refused"].as_u64()?;
        assert!(known <= sent, "{source}");
        (known == sent).then_some(())
    });
    assert!(dam.agent.count("sources", "flood", "refused") > 0);
    let stored = dam.agent.count("sources", "flood", "stored");
    dam.agent
        .wait_for_count("destinations", "lake", "delivered", stored);
    dam.assert_nothing_is_lost();
}

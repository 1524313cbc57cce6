//! Devices that publish straight to Hydrant, with mosquitto's clients as the devices.

use std::process::Command;

use crate::harness::{
    Agent, Folder, MqttPeer, Publisher, Receiver, connect_packet, free_port, publish, wait_until,
};

struct Listener {
    // Dropped in this order: the agent before its folder.
    agent: Agent,
    receiver: Receiver,
    port: u16,
    _folder: Folder,
}

impl Listener {
    fn start(more: &str) -> Self {
        let folder = Folder::new();
        let receiver = Receiver::start();
        let port = free_port();
        let source = format!(
            "[sources.devices]\ntype = \"mqtt_listener\"\nlisten = \"127.0.0.1:{port}\"\n{more}"
        );
        let mut agent = Agent::new(
            folder.path(),
            &format!("{source}{}", receiver.destination("lake")),
        );
        agent.start();
        Listener {
            agent,
            receiver,
            port,
            _folder: folder,
        }
    }
}

#[test]
fn every_quality_of_service_and_both_versions() {
    let listener = Listener::start("");
    for version in ["mqttv311", "mqttv5"] {
        for qos in ["0", "1", "2"] {
            let message = format!("{version} {qos}");
            publish(
                listener.port,
                "a/b",
                &message,
                &["-V", version, "-q", qos, "-i", "device-1"],
            );
            let record = listener.receiver.wait_for_message(&message);
            assert_eq!(record["topic"], "a/b", "{record}");
            assert_eq!(record["qos"].to_string(), qos, "{record}");
            assert_eq!(record["client"], "device-1", "{record}");
        }
    }
    assert_eq!(
        listener.receiver.log().records.len(),
        6,
        "each is stored once"
    );
}

#[test]
fn names_and_passwords_are_checked() {
    let listener = Listener::start("username = \"device\"\npassword = \"s3cret\"\n");
    let port = listener.port.to_string();
    for version in ["mqttv311", "mqttv5"] {
        for wrong in [
            &["-u", "device", "-P", "guess"][..],
            &["-u", "who", "-P", "s3cret"],
            &[],
        ] {
            let mut command = Command::new("mosquitto_pub");
            command.args([
                "-h",
                "127.0.0.1",
                "-p",
                &port,
                "-t",
                "a",
                "-m",
                "b",
                "-q",
                "1",
            ]);
            let output = command.args(["-V", version]).args(wrong).output().unwrap();
            assert!(!output.status.success(), "{wrong:?} was let in");
        }
        let right = ["-u", "device", "-P", "s3cret", "-q", "1", "-V", version];
        publish(listener.port, "a", version, &right);
        listener.receiver.wait_for_message(version);
    }
    assert_eq!(listener.receiver.log().records.len(), 2);
}

#[test]
fn subscriptions_are_refused_in_the_protocols_own_way() {
    let listener = Listener::start("");
    let port = listener.port.to_string();
    for version in ["mqttv311", "mqttv5"] {
        let mut command = Command::new("mosquitto_sub");
        command.args([
            "-h",
            "127.0.0.1",
            "-p",
            &port,
            "-t",
            "a/#",
            "-W",
            "20",
            "-V",
            version,
        ]);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).to_lowercase();
        assert!(
            said.contains("denied") || said.contains("not authorized"),
            "{said}"
        );
    }
    publish(listener.port, "a", "still here", &["-q", "1"]);
    listener.receiver.wait_for_message("still here");
}

/// What broken devices send, and why it is wrong.
fn malformed() -> Vec<(&'static str, Vec<u8>)> {
    let after_connect = |first: u8, body: &[u8]| {
        let mut bytes = connect_packet("broken");
        bytes.extend([first, u8::try_from(body.len()).unwrap()]);
        bytes.extend(body);
        bytes
    };
    let too_large = [
        &connect_packet("broken")[..],
        b"\x32\xff\xff\xff\x7f\x00\x01a\x00\x01",
    ];
    vec![
        (
            "not MQTT at all",
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        ),
        (
            "TLS to a plain port",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        ),
        (
            "first packet is no CONNECT",
            b"\x30\x05\x00\x01a\x00\x00".to_vec(),
        ),
        (
            "unknown protocol level",
            b"\x10\x0d\x00\x04MQTT\x09\x02\x00\x3c\x00\x01a".to_vec(),
        ),
        (
            "length that never ends",
            b"\x10\xff\xff\xff\xff\xff\xff".to_vec(),
        ),
        ("packet type 0", after_connect(0x00, b"")),
        ("QoS 3", after_connect(0x36, b"\x00\x01a\x00\x01x")),
        ("packet id 0", after_connect(0x32, b"\x00\x01a\x00\x00x")),
        (
            "topic with a wildcard",
            after_connect(0x32, b"\x00\x03a/#\x00\x01x"),
        ),
        ("empty topic", after_connect(0x32, b"\x00\x00\x00\x01x")),
        (
            "topic longer than the packet",
            after_connect(0x32, b"\x00\xffab"),
        ),
        (
            "topic that is not UTF-8",
            after_connect(0x32, b"\x00\x02\xff\xfe\x00\x01x"),
        ),
        ("second CONNECT", connect_packet("broken").repeat(2)),
        (
            "SUBSCRIBE with wrong flags",
            after_connect(0x80, b"\x00\x01\x00\x01a\x00"),
        ),
        ("packet beyond the limit", too_large.concat()),
    ]
}

/// The connection ends, it is counted, and nobody else notices.
#[test]
fn malformed_packets_end_their_own_connection_only() {
    let listener = Listener::start("");
    let mut good = Publisher::new(listener.port, "good");
    for (what, bytes) in malformed() {
        assert!(good.step(), "before {what}");
        let mut peer = MqttPeer::open(listener.port).unwrap();
        // The other side may have closed before everything was sent.
        drop(peer.send(&bytes));
        peer.wait_for_close()
            .unwrap_or_else(|e| panic!("{what}: not closed: {e}"));
    }
    wait_until("every acknowledgement of the good device", || {
        good.finish().then_some(())
    });
    listener.receiver.wait_for_messages(good.acknowledged.len());
    let mut sent = good.acknowledged.clone();
    sent.sort();
    let log = listener.receiver.log();
    let mut came = log.messages();
    came.sort_unstable();
    assert_eq!(came, sent, "a malformed packet became a record");
    let told = listener.agent.status()["sources"]["devices"].clone();
    let counted = told["refused"].as_u64().unwrap() + told["decode_errors"].as_u64().unwrap();
    assert!(
        counted >= u64::try_from(malformed().len() / 2).unwrap(),
        "{told}"
    );
}

#[test]
fn there_is_a_limit_of_connections() {
    let listener = Listener::start("connections_max = 3\n");
    let mut inside: Vec<MqttPeer> = (0..3)
        .map(|number| MqttPeer::connect(listener.port, &format!("device-{number}")).unwrap())
        .collect();
    assert!(MqttPeer::connect(listener.port, "one too many").is_err());
    inside.pop();
    wait_until("a free place", || {
        MqttPeer::connect(listener.port, "next").ok()
    });
}

/// Opens a port, lets a device publish to it, and only then becomes the agent, as systemd would.
const SERVICE_MANAGER: &str = "import os, socket, subprocess, sys
port = sys.argv[1]
s = socket.socket()
s.bind(('127.0.0.1', int(port)))
s.listen(5)
subprocess.Popen(['mosquitto_pub', '-p', port, '-t', 'a/b', '-q', '1', '-m', 'before the start'])
os.dup2(s.fileno(), 40)
os.dup2(40, 3)
os.closerange(4, 100)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1', LISTEN_FDNAMES='mqtt')
os.execvp(sys.argv[2], sys.argv[2:])
";

#[test]
fn a_port_of_the_service_manager_is_taken_over() {
    let folder = Folder::new();
    let receiver = Receiver::start();
    let port = free_port();
    let listen = |name: &str| {
        format!(
            "[sources.devices]\ntype = \"mqtt_listener\"\nlisten = \"systemd:{name}\"\n{}",
            receiver.destination("lake")
        )
    };
    let mut agent = Agent::new(folder.path(), &listen("mqtt"));
    agent.launch_under(&["python3", "-c", SERVICE_MANAGER, &port.to_string()]);
    agent.ready();
    let record = receiver.wait_for_message("before the start");
    assert_eq!(record["topic"], "a/b", "{record}");
    // The source gives its copy back and takes another: the port stays open.
    agent.configure(
        "16MiB",
        &listen("mqtt").replace("systemd:mqtt\"", "systemd:mqtt\"\nidle_max = \"1m\""),
    );
    agent.signal(rustix::process::Signal::HUP);
    wait_until("the reload", || {
        agent.log().matches("listening").nth(1).map(drop)
    });
    publish(port, "a/b", "after the reload", &["-q", "1"]);
    receiver.wait_for_message("after the reload");
    agent.configure("16MiB", &listen("mqqt"));
    agent.signal(rustix::process::Signal::HUP);
    agent.wait_for_error("sources", "devices", &["systemd:mqqt", "but mqtt"]);
}

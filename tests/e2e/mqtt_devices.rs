//! Devices with certificates, passwords and rights, their last wills, and what outlives a kill;
//! Eclipse Paho's client and mosquitto's are the devices.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::harness::{
    Agent, Certificates, Folder, MqttPeer, Receiver, connect_packet, free_port, publish, python,
    run, wait_until, write,
};
use serde_json::{Value, json};

struct Plant {
    // Dropped in this order: the agent before its folder.
    agent: Agent,
    receiver: Receiver,
    port: u16,
    folder: Folder,
}

impl Plant {
    /// A listener with these keys, which may name files in `folder`.
    fn start(folder: Folder, keys: &str) -> Self {
        let receiver = Receiver::start();
        let port = free_port();
        let source = format!(
            "[sources.devices]\ntype = \"mqtt_listener\"\nlisten = \"127.0.0.1:{port}\"\n{keys}"
        );
        let config = format!("{source}{}", receiver.destination("lake"));
        let mut agent = Agent::new(folder.path(), &config);
        agent.start();
        Plant {
            agent,
            receiver,
            port,
            folder,
        }
    }

    fn device(&self, wanted: &Value) -> Output {
        let mut wanted = wanted.clone();
        wanted["port"] = self.port.into();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/e2e/device.py");
        Command::new(python())
            .arg(script)
            .arg(wanted.to_string())
            .output()
            .unwrap()
    }

    /// A device that is let in and publishes all it wants.
    fn publishes(&self, wanted: &Value) {
        let output = self.device(wanted);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{wanted}: {said}\n{}",
            self.agent.log()
        );
    }

    fn publishes_by_mosquitto(&self, certificates: &Certificates) {
        let (certificate, key) = &certificates.client;
        let tls = [
            "--cafile",
            &certificates.ca,
            "--cert",
            certificate,
            "--key",
            key,
        ];
        let more = [&["-h", "localhost", "-q", "2"], &tls[..]].concat();
        publish(self.port, "plant/client/m", "mosquitto", &more);
    }

    /// A device that is refused, for this reason.
    fn is_refused(&self, wanted: &Value, reason: &str) {
        let output = self.device(wanted);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{wanted} was let in");
        assert!(said.contains(reason), "{wanted}: {said}");
    }
}

fn file(folder: &Folder, name: &str) -> String {
    folder.path().join(name).to_str().unwrap().to_owned()
}

fn tls_keys(certificates: &Certificates) -> String {
    let (certificate, key) = &certificates.server;
    format!(
        "tls = {{ certificate_file = \"{certificate}\", key_file = \"{key}\", client_ca_file = \"{}\" }}\n",
        certificates.ca
    )
}

#[test]
fn devices_with_certificates_publish_in_every_way() {
    let folder = Folder::new();
    let certificates = Certificates::make(&folder);
    let keys = tls_keys(&certificates) + "rights = { client = [\"plant/%u/#\"] }\n";
    let plant = Plant::start(folder, &keys);
    let device = |version: u8, client: &str, qos: Value, topic: &str| {
        json!({
            "version": version, "client": client, "qos": qos, "topic": topic,
            "ca": certificates.ca,
            "certificate": certificates.client.0, "key": certificates.client.1,
        })
    };
    for version in [4, 5] {
        let client = format!("paho-{version}");
        plant.publishes(&device(
            version,
            &client,
            json!([0, 1, 2]),
            "plant/client/t",
        ));
        for qos in 0..3 {
            let record = plant.receiver.wait_for_message(&format!("{client} {qos}"));
            assert_eq!(
                (&record["client"], &record["qos"]),
                (&json!(client), &json!(qos))
            );
            if version == 5 {
                assert_eq!(record["user_properties"], json!({"a": "2", "c": "3"}));
                assert_eq!(record["content_type"], "text/plain");
                assert_eq!(record["payload_format"], "utf-8");
                assert_eq!(record["response_topic"], "plant/answer");
                assert_eq!(record["correlation_data"], "334");
            }
        }
    }
    plant.publishes_by_mosquitto(&certificates);
    plant.receiver.wait_for_message("mosquitto");
    assert_eq!(plant.receiver.log().records.len(), 7, "each is stored once");
    // Where the certificate gives no right, MQTT 5 says so.
    let elsewhere = device(5, "paho-5", json!([1]), "plant/other/t");
    plant.is_refused(&elsewhere, "Not authorized");
    plant
        .agent
        .wait_for_error("sources", "devices", &["plant/other/t", "rights"]);
}

#[test]
fn devices_without_certificates_are_turned_away() {
    let folder = Folder::new();
    let certificates = Certificates::make(&folder);
    let keys = tls_keys(&certificates);
    let plant = Plant::start(folder, &keys);
    let port = plant.port.to_string();
    let mut command = Command::new("mosquitto_pub");
    command.args([
        "-h",
        "localhost",
        "-p",
        &port,
        "-t",
        "a",
        "-m",
        "no",
        "-q",
        "1",
    ]);
    let output = command
        .args(["--cafile", &certificates.ca])
        .output()
        .unwrap();
    assert!(!output.status.success(), "it was let in");
    plant
        .agent
        .wait_for_error("sources", "devices", &["no certificate"]);
    let mut plain = MqttPeer::open(plant.port).unwrap();
    plain.send(&connect_packet("plain")).unwrap();
    plain.wait_for_close().unwrap();
    plant
        .agent
        .wait_for_error("sources", "devices", &["does not speak tls"]);
    plant.publishes_by_mosquitto(&certificates);
    plant.receiver.wait_for_message("mosquitto");
}

#[test]
fn a_certificate_is_renewed_while_devices_are_connected() {
    let folder = Folder::new();
    let certificates = Certificates::make(&folder);
    let elsewhere = Folder::new();
    let renewed = Certificates::make(&elsewhere);
    let keys = tls_keys(&certificates);
    let plant = Plant::start(folder, &keys);
    let shown = || {
        let arguments = ["s_client", "-connect", &format!("127.0.0.1:{}", plant.port)];
        let output = Command::new("openssl").args(arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let certificate = text.split("-----BEGIN").nth(1)?;
        certificate.split("-----END").next().map(str::to_owned)
    };
    let first = wait_until("a certificate", shown);
    for (new, old) in [
        (&renewed.server.0, &certificates.server.0),
        (&renewed.server.1, &certificates.server.1),
    ] {
        fs::copy(new, old).unwrap();
    }
    wait_until("another certificate", || {
        shown().filter(|shown| *shown != first)
    });
    assert!(plant.agent.log().contains("changed and were read again"));
}

#[test]
fn passwords_are_looked_up_in_a_file_that_changes() {
    let folder = Folder::new();
    let passwords = file(&folder, "passwords");
    write(Path::new(&passwords), "");
    let set = |user: &str, password: &str| {
        run("mosquitto_passwd", &["-b", &passwords, user, password]);
    };
    set("press", "secret");
    let keys = format!("password_file = \"{passwords}\"\nrights = {{ \"*\" = [\"plant/%u\"] }}\n");
    let plant = Plant::start(folder, &keys);
    let device = |user: &str, password: &str, version: u8| {
        json!({
            "version": version, "client": format!("{user}-{version}"), "qos": [2],
            "topic": format!("plant/{user}"), "user": user, "password": password,
        })
    };
    for version in [4, 5] {
        plant.publishes(&device("press", "secret", version));
        plant.is_refused(&device("press", "wrong", version), "connect");
        plant.is_refused(&device("paint", "other", version), "connect");
    }
    set("paint", "other");
    wait_until("the new user", || {
        plant
            .device(&device("paint", "other", 4))
            .status
            .success()
            .then_some(())
    });
    plant.publishes(&device("press", "secret", 4));
    // A file that is broken is told with its line, and what was read stays.
    let good = fs::read_to_string(&passwords).unwrap();
    write(Path::new(&passwords), format!("{good}broken\n"));
    wait_until("a word about line 3", || {
        plant.publishes(&device("press", "secret", 5));
        plant
            .agent
            .log()
            .contains("line 3: is not USER:HASH")
            .then_some(())
    });
    drop(plant.folder);
}

#[test]
fn a_last_will_becomes_a_record() {
    let plant = Plant::start(Folder::new(), "");
    let device = json!({
        "version": 5, "client": "gone", "qos": [1], "topic": "plant/gone", "will": "lost power",
    });
    plant.publishes(&device);
    let will = plant.receiver.wait_for_message("lost power");
    assert_eq!(will["topic"], "plant/will");
    assert_eq!(
        (&will["will"], &will["client"]),
        (&json!(true), &json!("gone"))
    );
    // With a delay it is said only when the device does not come back in time.
    let meet = |clean: u8, payload: &[u8]| {
        let head: &[u8] = b"\0\x04MQTT\x05";
        let rest: &[u8] = b"\0\x3c\x05\x11\0\0\0\x3c\0\x03dev\x05\x18\0\0\0\x01\0\x01w\0\x01";
        let body = [head, &[0x04 | clean], rest, payload].concat();
        let mut peer = MqttPeer::open(plant.port).unwrap();
        peer.send(&[0x10, u8::try_from(body.len()).unwrap()])
            .unwrap();
        peer.send(&body).unwrap();
        assert_eq!(peer.read_packet().unwrap().0, 0x20);
        peer
    };
    drop(meet(2, b"1"));
    drop(meet(0, b"2"));
    plant.receiver.wait_for_message("2");
    let log = plant.receiver.log();
    assert!(
        !log.messages().contains(&"1"),
        "the will of a device that came back"
    );
    assert_eq!(log.records.len(), 3, "{:?}", log.records);
}

#[test]
fn a_qos_2_message_is_stored_once_over_kills() {
    let mut plant = Plant::start(Folder::new(), "");
    let publish = |first: u8, id: u8, payload: &str| {
        let len = u8::try_from(payload.len()).unwrap();
        [&[first, len + 5, 0, 1, b'a', 0, id], payload.as_bytes()].concat()
    };
    let answer = |peer: &mut MqttPeer| {
        let (first, body) = peer.read_packet().unwrap();
        (first, body[1])
    };
    let mut peer = MqttPeer::resume(plant.port, "dev").unwrap();
    for id in 1..=3 {
        peer.send(&publish(0x34, id, &format!("m{id}"))).unwrap();
        assert_eq!(answer(&mut peer), (0x50, id));
    }
    // One of them is done with before the power fails.
    peer.send(b"\x62\x02\0\x02").unwrap();
    assert_eq!(answer(&mut peer), (0x70, 2));
    plant.agent.kill();
    plant.agent.start();
    let mut peer = MqttPeer::resume(plant.port, "dev").unwrap();
    peer.send(&publish(0x3c, 1, "m1")).unwrap();
    assert_eq!(answer(&mut peer), (0x50, 1));
    // Its number stands for another message now.
    peer.send(&publish(0x34, 2, "m4")).unwrap();
    assert_eq!(answer(&mut peer), (0x50, 2));
    plant.agent.kill();
    plant.agent.start();
    let mut peer = MqttPeer::resume(plant.port, "dev").unwrap();
    for id in 1..=3 {
        peer.send(&[0x62, 2, 0, id]).unwrap();
        assert_eq!(answer(&mut peer), (0x70, id));
    }
    let mut came = plant.receiver.wait_for_messages(4);
    came.sort();
    assert_eq!(came, ["m1", "m2", "m3", "m4"]);
    peer.send(b"\xe0\0").unwrap();
    peer.wait_for_close().unwrap();
}

#[test]
fn a_thousand_idle_devices_are_small() {
    const DEVICES: usize = 1000;
    let mut plant = Plant::start(Folder::new(), &format!("connections_max = {DEVICES}\n"));
    let before = plant.agent.memory_kib("RssAnon");
    let devices: Vec<MqttPeer> = (0..DEVICES)
        .map(|number| MqttPeer::connect(plant.port, &format!("device-{number}")).unwrap())
        .collect();
    assert_eq!(plant.agent.count("sources", "devices", "connections"), 1000);
    let (after, all) = (
        plant.agent.memory_kib("RssAnon"),
        plant.agent.memory_kib("VmRSS"),
    );
    println!(
        "1,000 idle devices: {before} KiB before, {after} KiB after, {all} KiB with the program"
    );
    let each = after.saturating_sub(before) * 1024 / u64::try_from(DEVICES).unwrap();
    assert!(each <= 5 * 1024, "{each} bytes for each device");
    // One that says nothing takes no place; one that says who it is would be one too many.
    let quiet = MqttPeer::open(plant.port).unwrap();
    assert!(MqttPeer::connect(plant.port, "one too many").is_err());
    drop((devices, quiet));
}

/// The ring has no room for its number beside the places of so many files: it is in the file beside
/// the ring, and must be gone from there as well before PUBCOMP.
#[test]
fn a_qos_2_number_beside_thousands_of_files_is_let_go_for_good() {
    const FILES: u64 = 3000;
    let folder = Folder::new();
    let many = folder.make("many");
    for number in 0..FILES {
        write(&many.join(format!("{number}.log")), "a line\n");
    }
    let source = format!(
        "[sources.many]\ntype = \"file\"\npaths = [\"{}/*.log\"]\n",
        many.display()
    );
    let mut plant = Plant::start(folder, &source);
    plant
        .agent
        .wait_for_count("sources", "many", "stored", FILES);
    // Numbers far from each other, because neighbors share a place.
    let numbers = || (0..150_u16).map(|block| 7 + 64 * block);
    let bytes = |number: u16| [number / 256, number % 256].map(|byte| u8::try_from(byte).unwrap());
    let mut expected = Vec::new();
    for round in 0..3 {
        let mut device = MqttPeer::resume(plant.port, "careful").unwrap();
        for number in numbers() {
            let (payload, number) = (format!("{round} {number:04}"), bytes(number));
            let packet = [b"\x34\x0b\0\x01a", &number[..], payload.as_bytes()].concat();
            device.send(&packet).unwrap();
            assert_eq!(device.read_packet().unwrap(), (0x50, number.to_vec()));
            expected.push(payload);
        }
        for number in numbers().map(bytes) {
            device.send(&[&[0x62, 2], &number[..]].concat()).unwrap();
            assert_eq!(device.read_packet().unwrap(), (0x70, number.to_vec()));
        }
        plant.agent.kill();
        plant.agent.start();
    }
    for message in &expected {
        plant.receiver.wait_for_message(message);
    }
}

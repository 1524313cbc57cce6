//! Brokers that misbehave, and ways to them that change.

use std::fs;

use crate::harness::{
    Agent, Broker, Certificates, Folder, Receiver, WebSocketBridge, free_port, wait_until, write,
};

fn source(url: &str, more: &str) -> String {
    format!("[sources.plant]\ntype = \"mqtt\"\nurl = {url}\ntopics = [\"plant/+/data\"]\n{more}")
}

/// An agent with one source and a destination, ready.
fn start(folder: &Folder, receiver: &Receiver, source: &str) -> Agent {
    let config = format!("{source}{}", receiver.destination("lake"));
    let mut agent = Agent::new(folder.path(), &config);
    agent.start();
    agent
}

/// Publishes until the message has come: nobody else tells when the subscription is there.
fn publish_until_stored(broker: &Broker, receiver: &Receiver, message: &str) {
    wait_until(message, || {
        broker.publish("plant/1/data", message, &["-q", "1"]);
        receiver.log().messages().contains(&message).then_some(())
    });
}

/// influxdata/telegraf 16035, 17555: reconnects, but no data. A broker that forgot its sessions is
/// subscribed to again, which is told once and counted.
#[test]
fn reconnects_and_goes_on_with_data() {
    let folder = Folder::new();
    let mut broker = Broker::start(&folder);
    let receiver = Receiver::start();
    let agent = start(
        &folder,
        &receiver,
        &source(&format!("\"{}\"", broker.url()), ""),
    );
    broker.wait_for_line("plant/+/data");
    for round in 1..=3 {
        broker.restart();
        publish_until_stored(&broker, &receiver, &format!("round {round}"));
        agent.wait_for_count("sources", "plant", "sessions_lost", round);
    }
    let told = agent
        .log()
        .matches("the broker has lost the session")
        .count();
    assert_eq!(told, 1, "{}", agent.log());
    assert_eq!(agent.count("sources", "plant", "connections"), 1);
}

/// influxdata/telegraf 9703: with a session that lasts, topics that are new in the configuration
/// were ignored.
#[test]
fn new_topics_count_although_the_session_is_old() {
    let folder = Folder::new();
    let mut broker = Broker::start(&folder);
    let receiver = Receiver::start();
    let mut agent = start(
        &folder,
        &receiver,
        &source(&format!("\"{}\"", broker.url()), ""),
    );
    broker.wait_for_line("plant/+/data");
    assert_eq!(agent.stop().code(), Some(0));
    let more = source(&format!("\"{}\"", broker.url()), "")
        .replace("topics = [", "topics = [\"works/+/data\", ");
    agent.configure("16MiB", &format!("{more}{}", receiver.destination("lake")));
    agent.start();
    broker.wait_for_line("works/+/data");
    broker.publish("works/1/data", "of the new topic", &["-q", "1"]);
    broker.publish("plant/1/data", "of the old topic", &["-q", "1"]);
    receiver.wait_for_message("of the new topic");
    receiver.wait_for_message("of the old topic");
}

/// A broker that keeps its sessions on disk loses nothing by a restart, and nor do we.
#[test]
fn a_broker_that_keeps_sessions_bounces_without_loss() {
    let folder = Folder::new();
    let place = folder.make("broker");
    let options = format!(
        "allow_anonymous true\npersistence true\npersistence_location {}/\n\
         autosave_interval 1\nautosave_on_changes true\n",
        place.display()
    );
    let mut broker = Broker::with(&folder, free_port(), &options);
    let receiver = Receiver::start();
    let mut agent = start(
        &folder,
        &receiver,
        &source(&format!("\"{}\"", broker.url()), ""),
    );
    broker.wait_for_line("plant/+/data");
    assert_eq!(agent.stop().code(), Some(0));
    let messages: Vec<String> = (0..50).map(|number| format!("message {number}")).collect();
    broker.publish_all(&messages, "1");
    broker.end();
    broker.resume();
    agent.start();
    assert_eq!(receiver.wait_for_messages(50), messages);
    assert_eq!(agent.count("sources", "plant", "sessions_lost"), 0);
}

/// QoS 2 is stored once although the agent is killed again and again while messages flow.
#[test]
fn qos_2_is_stored_once_over_kills() {
    for version in ["3.1.1", "5"] {
        let folder = Folder::new();
        let mut broker = Broker::start(&folder);
        let receiver = Receiver::start();
        let more = format!("qos = 2\nversion = \"{version}\"\n");
        let mut agent = start(
            &folder,
            &receiver,
            &source(&format!("\"{}\"", broker.url()), &more),
        );
        broker.wait_for_line("plant/+/data");
        let mut expected = Vec::new();
        for round in 0..8 {
            let messages: Vec<String> = (0..300).map(|n| format!("{round} {n}")).collect();
            broker.publish_all(&messages, "2");
            expected.extend(messages);
            agent.wait_for_count("sources", "plant", "stored", 300 * round + 20 * (round + 1));
            agent.kill();
            agent.start();
        }
        wait_until("all messages", || {
            (receiver.log().messages_once().len() >= expected.len()).then_some(())
        });
        let log = receiver.log();
        let mut stored = log.messages_once();
        stored.sort_unstable();
        expected.sort_unstable();
        assert!(
            stored == expected,
            "{version}: {} of {}",
            stored.len(),
            expected.len()
        );
    }
}

/// Brokers in order: the next one when one is down, and back when it answers again.
#[test]
fn brokers_are_tried_in_order() {
    let (folder, other) = (Folder::new(), Folder::new());
    let mut first = Broker::start(&folder);
    let mut second = Broker::start(&other);
    first.stop();
    let receiver = Receiver::start();
    let urls = format!("[\"{}\", \"{}\"]", first.url(), second.url());
    let mut agent = start(
        &folder,
        &receiver,
        &source(&urls, "return_interval = \"1s\"\n"),
    );
    second.wait_for_line("plant/+/data");
    second.publish("plant/1/data", "by the second", &["-q", "1"]);
    receiver.wait_for_message("by the second");
    first.resume();
    publish_until_stored(&first, &receiver, "by the first");
    // What comes to the second meanwhile waits in its session.
    second.publish("plant/1/data", "kept by the second", &["-q", "1"]);
    first.stop();
    receiver.wait_for_message("kept by the second");
    agent.check();
}

/// The name of a broker leads to another address: it is looked up for each connection.
#[test]
fn a_broker_that_moves_to_another_address_is_found() {
    let (folder, other) = (Folder::new(), Folder::new());
    let port = free_port();
    let mut broker = Broker::with(&folder, port, "allow_anonymous true\n");
    let hosts = folder.join("hosts");
    write(&hosts, "127.0.0.1 broker.plant\n");
    let receiver = Receiver::start();
    let url = format!("\"mqtt://broker.plant:{port}\"");
    let config = format!("{}{}", source(&url, ""), receiver.destination("lake"));
    let mut agent = Agent::new(folder.path(), &config);
    // A file of names of its own, in a mount namespace of its own.
    let mount = format!("mount --bind {} /etc/hosts && exec \"$@\"", hosts.display());
    agent.launch_under(&[
        "setpriv",
        "--pdeathsig",
        "KILL",
        "unshare",
        "-m",
        "--propagation",
        "private",
        "sh",
        "-c",
        &mount,
        "sh",
    ]);
    agent.ready();
    broker.wait_for_line("plant/+/data");
    publish_until_stored(&broker, &receiver, "at the old address");
    broker.stop();
    agent.wait_for_error("sources", "plant", &["broker.plant"]);
    let moved = Broker::at(&other, "127.0.0.9", port, "allow_anonymous true\n");
    write(&hosts, "127.0.0.9 broker.plant\n");
    publish_until_stored(&moved, &receiver, "at the new address");
}

/// A certificate that is renewed by another authority: told until the file is there, then well.
#[test]
fn a_broker_that_changes_its_certificate_is_trusted_again_once_the_file_is_right() {
    let (folder, other) = (Folder::new(), Folder::new());
    let (old, new) = (Certificates::make(&folder), Certificates::make(&other));
    let mut broker = Broker::with_tls(&folder, &old);
    let receiver = Receiver::start();
    let url = format!("\"mqtts://localhost:{}\"", broker.port);
    let agent = start(&folder, &receiver, &source(&url, &old.client_table()));
    broker.wait_for_line("plant/+/data");
    broker.stop();
    fs::copy(&new.server.0, &old.server.0).unwrap();
    fs::copy(&new.server.1, &old.server.1).unwrap();
    broker.resume();
    agent.wait_for_error("sources", "plant", &["tls handshake", "certificate"]);
    // The broker asks for certificates of the old authority; ours must trust the new one.
    fs::copy(&new.ca, &old.ca).unwrap();
    fs::copy(&new.client.0, &old.client.0).unwrap();
    fs::copy(&new.client.1, &old.client.1).unwrap();
    broker.restart();
    wait_until("a connection", || {
        let status = agent.ask()?;
        (status["sources"]["plant"]["connections"] == 1).then_some(())
    });
    assert!(agent.status()["sources"]["plant"]["error"].is_null());
}

/// A filter that the broker refuses is told, and the others go on.
#[test]
fn a_refused_subscription_is_told_and_the_others_go_on() {
    let plugin = fs::read_dir("/usr/lib")
        .unwrap()
        .map(|entry| entry.unwrap().path().join("mosquitto_dynamic_security.so"))
        .find(|path| path.exists())
        .expect("the plugin that comes with mosquitto");
    for (version, words) in [("3.1.1", "code 0x80"), ("5", "not authorized (code 0x87)")] {
        let folder = Folder::new();
        let rights = folder.join("rights.json");
        let text = r#"{"defaultACLAccess": {"publishClientSend": true,
            "publishClientReceive": true, "subscribe": false, "unsubscribe": true},
            "anonymousGroup": "anyone", "clients": [], "groups": [{"groupname": "anyone",
            "roles": [{"rolename": "reader"}], "clients": []}], "roles": [{"rolename": "reader",
            "acls": [{"acltype": "subscribePattern", "topic": "plant/#", "priority": 0,
            "allow": true}]}]}"#;
        write(&rights, text);
        let options = format!(
            "allow_anonymous true\nplugin {}\nplugin_opt_config_file {}\n",
            plugin.display(),
            rights.display()
        );
        let broker = Broker::with(&folder, free_port(), &options);
        let receiver = Receiver::start();
        let config = format!(
            "[sources.plant]\ntype = \"mqtt\"\nurl = \"{}\"\nversion = \"{version}\"\n\
             topics = [\"secret/#\", \"plant/+/data\"]\n{}",
            broker.url(),
            receiver.destination("lake")
        );
        let mut agent = Agent::new(folder.path(), &config);
        agent.launch();
        agent.wait_for_error("sources", "plant", &["refuses", "\"secret/#\"", words]);
        publish_until_stored(&broker, &receiver, "allowed");
        assert!(agent.status()["sources"]["plant"]["error"].is_string());
    }
}

/// MQTT in WebSocket, with and without TLS, cut into frames and pinged all the time.
#[test]
fn websockets_carry_mqtt() {
    for secure in [false, true] {
        let folder = Folder::new();
        let broker = Broker::start(&folder);
        let certificates = secure.then(|| Certificates::make(&folder));
        let bridge = WebSocketBridge::start(&folder, broker.port, certificates.as_ref());
        let receiver = Receiver::start();
        let (scheme, tls) = match &certificates {
            Some(certificates) => ("wss", certificates.anonymous_table()),
            None => ("ws", String::new()),
        };
        let url = format!("\"{scheme}://localhost:{}\"", bridge.port);
        let mut agent = start(
            &folder,
            &receiver,
            &source(&url, &format!("{tls}qos = 2\n")),
        );
        publish_until_stored(&broker, &receiver, "first");
        let mut messages: Vec<String> = (0..500).map(|n| format!("message {n}")).collect();
        messages.push("x".repeat(100_000));
        broker.publish_all(&messages, "2");
        receiver.wait("the last message", |log| {
            let last = log
                .messages()
                .last()
                .is_some_and(|last| last.len() == 100_000);
            last.then_some(())
        });
        let mut arrived = receiver.log().messages().join("\n");
        // It was published until it came, perhaps more than once.
        while let Some(rest) = arrived.strip_prefix("first\n") {
            arrived = rest.to_owned();
        }
        assert!(arrived == messages.join("\n"));
        assert_eq!(agent.stop().code(), Some(0));
    }
}

/// A path that is no WebSocket, and a server that is none, are told.
#[test]
fn what_is_no_websocket_is_told() {
    let folder = Folder::new();
    let receiver = Receiver::start();
    let url = format!("\"ws://{}\"", receiver.url().trim_start_matches("http://"));
    let config = format!("{}{}", source(&url, ""), receiver.destination("lake"));
    let mut agent = Agent::new(folder.path(), &config);
    agent.launch();
    agent.wait_for_error("sources", "plant", &["websocket failed", "http status"]);
}

/// What MQTT 5 lets a publisher say about its message comes along.
#[test]
fn properties_of_messages_are_fields() {
    let folder = Folder::new();
    let mut broker = Broker::start(&folder);
    let receiver = Receiver::start();
    let source = source(&format!("\"{}\"", broker.url()), "version = \"5\"\n");
    let _agent = start(&folder, &receiver, &source);
    broker.wait_for_line("plant/+/data");
    let property = |words: &[&'static str]| {
        let mut options = vec!["-D", "publish"];
        options.extend(words);
        options
    };
    let options = [
        vec!["-V", "5", "-q", "1"],
        property(&["user-property", "line", "7"]),
        property(&["user-property", "line", "8"]),
        property(&["user-property", "shift", "late"]),
        property(&["content-type", "application/json"]),
        property(&["response-topic", "answers/7"]),
        property(&["correlation-data", "c-1"]),
        property(&["message-expiry-interval", "3600"]),
    ];
    broker.publish("plant/1/data", "{}", &options.concat());
    let record = receiver.wait_for_message("{}");
    assert_eq!(
        record["user_properties"]["line"],
        serde_json::json!(["7", "8"]),
        "{record}"
    );
    assert_eq!(record["user_properties"]["shift"], "late", "{record}");
    assert_eq!(record["content_type"], "application/json", "{record}");
    assert_eq!(record["response_topic"], "answers/7", "{record}");
    assert_eq!(record["correlation_data"], "c-1", "{record}");
    assert!(
        record["message_expiry_s"].as_u64().unwrap() <= 3600,
        "{record}"
    );
}

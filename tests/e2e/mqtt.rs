//! A broker that Hydrant subscribes to: mosquitto.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{
    Agent, Broker, Certificates, Folder, Receiver, never_within, publish, wait_until,
};

/// A source that subscribes to everything below `plant/`.
fn source(url: &str, more: &str) -> String {
    format!(
        "[sources.plant]\ntype = \"mqtt\"\nurl = \"{url}\"\ntopics = [\"plant/+/data\"]\n{more}"
    )
}

/// Publishes to a broker with these options and expects the message at the destination.
fn check(folder: &Folder, broker: &mut Broker, source: &str, options: &[&str]) {
    let receiver = Receiver::start();
    let mut agent = Agent::new(
        folder.path(),
        &format!("{source}{}", receiver.destination("lake")),
    );
    agent.start();
    broker.wait_for_line("plant/+/data");
    broker.publish("plant/7/data", "{\"celsius\": 21.5}", options);
    broker.publish("elsewhere/7/data", "not subscribed", options);
    broker.publish("plant/8/data", "two", options);
    let record = receiver.wait_for_message("{\"celsius\": 21.5}");
    assert_eq!(record["topic"], "plant/7/data", "{record}");
    assert_eq!(record["hydrant"]["source"], "plant", "{record}");
    assert_eq!(record["hydrant"]["agent"], "gateway", "{record}");
    assert!(record["hydrant"]["received_at"].is_string(), "{record}");
    assert!(receiver.wait_for_message("two")["qos"].is_number());
    assert_eq!(receiver.log().messages(), ["{\"celsius\": 21.5}", "two"]);
    wait_until("the counters of two delivered records", || {
        let status = agent.status();
        (status["sources"]["plant"]["stored"] == 2
            && status["destinations"]["lake"]["delivered"] == 2)
            .then_some(())
    });
    assert_eq!(agent.stop().code(), Some(0));
}

#[test]
fn every_quality_of_service_and_both_versions() {
    for (qos, version) in [(0, "3.1.1"), (1, "3.1.1"), (2, "3.1.1"), (1, "5"), (2, "5")] {
        let folder = Folder::new();
        let mut broker = Broker::start(&folder);
        let more = format!("qos = {qos}\nversion = \"{version}\"\n");
        let source = source(&broker.url(), &more);
        check(&folder, &mut broker, &source, &["-q", &qos.to_string()]);
    }
}

#[test]
fn tls_with_client_certificates() {
    let folder = Folder::new();
    let certificates = Certificates::make(&folder);
    let mut broker = Broker::with_tls(&folder, &certificates);
    let url = format!("mqtts://localhost:{}", broker.port);
    let source = source(&url, &certificates.client_table());
    let (certificate, key) = &certificates.client;
    let options = [
        "--cafile",
        &certificates.ca,
        "--cert",
        certificate,
        "--key",
        key,
        "-q",
        "1",
    ];
    check(&folder, &mut broker, &source, &options);
}

#[test]
fn user_and_password() {
    let folder = Folder::new();
    let mut broker = Broker::with_password(&folder, "gateway", "s3cret");
    let source = source(
        &broker.url(),
        "username = \"gateway\"\npassword = \"s3cret\"\n",
    );
    let options = ["-u", "gateway", "-P", "s3cret", "-q", "1"];
    check(&folder, &mut broker, &source, &options);
}

#[test]
fn a_wrong_password_is_told_and_keeps_nothing_else_from_working() {
    let folder = Folder::new();
    let broker = Broker::with_password(&folder, "gateway", "s3cret");
    let receiver = Receiver::start();
    let source = source(
        &broker.url(),
        "username = \"gateway\"\npassword = \"guess\"\n",
    );
    let file = folder.join("app.log");
    crate::harness::write(&file, "a line\n");
    let files = format!(
        "[sources.app]\ntype = \"file\"\npaths = [\"{}\"]\n",
        file.to_str().unwrap()
    );
    let config = format!("{source}{files}{}", receiver.destination("lake"));
    let mut agent = Agent::new(folder.path(), &config);
    agent.launch();
    receiver.wait_for_message("a line");
    let error = agent.wait_for_error("sources", "plant", &[]);
    assert!(!error.contains("guess"), "tells the password: {error}");
}

#[test]
fn messages_beyond_ten_kibibytes_are_taken() {
    let folder = Folder::new();
    let mut broker = Broker::start(&folder);
    let receiver = Receiver::start();
    let config = format!(
        "{}{}",
        source(&broker.url(), ""),
        receiver.destination("lake")
    );
    let mut agent = Agent::new(folder.path(), &config);
    agent.start();
    broker.wait_for_line("plant/+/data");
    let large = "x".repeat(100_000);
    broker.publish("plant/1/data", &large, &["-q", "1"]);
    broker.publish("plant/1/data", "behind it", &["-q", "1"]);
    receiver.wait_for_message("behind it");
    assert_eq!(receiver.log().messages()[0].len(), large.len());
}

#[test]
fn a_message_beyond_the_limit_does_not_stop_the_others() {
    for version in ["3.1.1", "5"] {
        let folder = Folder::new();
        let mut broker = Broker::start(&folder);
        let receiver = Receiver::start();
        let more = format!("packet_bytes_max = \"16KiB\"\nversion = \"{version}\"\n");
        let config = format!(
            "{}{}",
            source(&broker.url(), &more),
            receiver.destination("lake")
        );
        let mut agent = Agent::new(folder.path(), &config);
        agent.start();
        broker.wait_for_line("plant/+/data");
        broker.publish("plant/1/data", "before it", &["-q", "1"]);
        broker.publish("plant/1/data", &"x".repeat(40_000), &["-q", "1"]);
        broker.publish("plant/1/data", "behind it", &["-q", "1"]);
        receiver.wait_for_message("behind it");
    }
}

/// More than fits the window, the queues and a batch: all of it, in order.
#[test]
fn a_burst_arrives_whole_and_in_order() {
    let folder = Folder::new();
    let mut broker = Broker::start(&folder);
    let receiver = Receiver::start();
    let config = format!(
        "{}{}",
        source(&broker.url(), ""),
        receiver.destination("lake")
    );
    let mut agent = Agent::new(folder.path(), &config);
    agent.start();
    broker.wait_for_line("plant/+/data");
    let expected: Vec<String> = (0..20_000).map(|n| format!("message {n}")).collect();
    broker.publish_all(&expected, "1");
    assert!(receiver.wait_for_messages(expected.len()) == expected);
    wait_until("the count of them", || {
        let status = agent.status();
        (status["destinations"]["lake"]["delivered"] == expected.len()).then_some(())
    });
}

/// A broker without persistence forgets its subscribers; nothing may depend on its memory.
#[test]
fn a_broker_that_forgot_the_session_is_subscribed_to_again() {
    let folder = Folder::new();
    let mut broker = Broker::start(&folder);
    let receiver = Receiver::start();
    let config = format!(
        "{}{}",
        source(&broker.url(), ""),
        receiver.destination("lake")
    );
    let mut agent = Agent::new(folder.path(), &config);
    agent.start();
    broker.wait_for_line("plant/+/data");
    for round in 0..3 {
        let message = format!("round {round}");
        // Published again until the subscription is there: the broker tells no one else.
        wait_until(&message, || {
            broker.publish("plant/1/data", &message, &["-q", "1"]);
            receiver
                .log()
                .messages()
                .contains(&message.as_str())
                .then_some(())
        });
        broker.restart();
    }
}

/// What came while the agent was away is kept by the broker, because the session is kept.
#[test]
fn messages_wait_in_the_broker_while_the_agent_is_away() {
    for version in ["3.1.1", "5"] {
        let folder = Folder::new();
        let mut broker = Broker::start(&folder);
        let receiver = Receiver::start();
        let more = format!("version = \"{version}\"\n");
        let config = format!(
            "{}{}",
            source(&broker.url(), &more),
            receiver.destination("lake")
        );
        let mut agent = Agent::new(folder.path(), &config);
        agent.start();
        broker.wait_for_line("plant/+/data");
        broker.publish("plant/1/data", "before", &["-q", "1"]);
        receiver.wait_for_message("before");
        assert_eq!(agent.stop().code(), Some(0));
        for number in 0..30 {
            broker.publish("plant/1/data", &format!("meanwhile {number}"), &["-q", "1"]);
        }
        agent.start();
        receiver.wait_for_message("meanwhile 29");
        let log = receiver.log();
        let expected: Vec<String> = (0..30)
            .map(|number| format!("meanwhile {number}"))
            .collect();
        assert_eq!(log.messages()[1..], expected);
    }
}

/// With the broker down the agent waits, and burns no processor.
#[test]
fn a_broker_that_is_down_costs_nothing() {
    let folder = Folder::new();
    let receiver = Receiver::start();
    let nobody = format!("mqtt://127.0.0.1:{}", crate::harness::free_port());
    let config = format!("{}{}", source(&nobody, ""), receiver.destination("lake"));
    let mut agent = Agent::new(folder.path(), &config);
    agent.launch();
    agent.wait_for_error("sources", "plant", &["refused"]);
    let before = agent.processor_ticks();
    never_within(Duration::from_secs(3), "the end of the agent", || {
        agent.check();
        false
    });
    // A tick is 10 ms.
    let used = agent.processor_ticks() - before;
    assert!(used < 30, "{used} ticks of processor time within 3 s");
}

/// The topic says where a value comes from; a topic that no template fits is kept as it is.
#[test]
fn fields_are_read_out_of_topics() {
    let folder = Folder::new();
    let mut broker = Broker::start(&folder);
    let receiver = Receiver::start();
    let listen = crate::harness::free_port();
    let config = format!(
        "[sources.plant]\ntype = \"mqtt\"\nurl = \"{}\"\ntopics = [\"plant/#\"]\n\
         topic_template = [\"plant/{{site}}/{{device}}/telemetry\", \"plant/{{site}}/{{rest...}}\"]\n\
         [sources.devices]\ntype = \"mqtt_listener\"\nlisten = \"127.0.0.1:{listen}\"\n\
         topic_template = \"{{kind}}/+/{{number}}\"\n{}",
        broker.url(),
        receiver.destination("lake")
    );
    let mut agent = Agent::new(folder.path(), &config);
    agent.start();
    broker.wait_for_line("plant/#");
    broker.publish("plant/7/pump/telemetry", "one", &["-q", "1"]);
    let record = receiver.wait_for_message("one");
    assert_eq!(
        (&record["site"], &record["device"]),
        (&json!("7"), &json!("pump"))
    );
    assert_eq!(record["topic"], "plant/7/pump/telemetry", "{record}");
    broker.publish("plant/8/a/b", "two", &["-q", "1"]);
    let record = receiver.wait_for_message("two");
    assert_eq!(
        (&record["site"], &record["rest"]),
        (&json!("8"), &json!("a/b"))
    );
    broker.publish("plant/9", "three", &["-q", "1"]);
    let record = receiver.wait_for_message("three");
    assert_eq!(
        (&record["site"], &record["topic"]),
        (&Value::Null, &json!("plant/9"))
    );
    publish(listen, "meter/x/4", "four", &["-q", "1"]);
    let record = receiver.wait_for_message("four");
    assert_eq!(
        (&record["kind"], &record["number"]),
        (&json!("meter"), &json!("4"))
    );
}

/// Two agents share a subscription: each message is stored by one of them, also what came while
/// one was away.
#[test]
fn agents_that_share_a_subscription_store_each_message_once() {
    for version in ["3.1.1", "5"] {
        let (folder, other) = (Folder::new(), Folder::new());
        let mut broker = Broker::start(&folder);
        let receiver = Receiver::start();
        let config = |client: &str| {
            format!(
                "[sources.plant]\ntype = \"mqtt\"\nurl = \"{}\"\nversion = \"{version}\"\n\
                 topics = [\"$share/agents/plant/+/data\"]\nclient_id = \"{client}\"\n{}",
                broker.url(),
                receiver.destination("lake")
            )
        };
        let mut agents = [
            Agent::new(folder.path(), &config("one")),
            Agent::new(other.path(), &config("two")),
        ];
        agents.iter_mut().for_each(Agent::start);
        broker.wait_for_line("one 1 $share/agents/plant/+/data");
        broker.wait_for_line("two 1 $share/agents/plant/+/data");
        let mut expected: Vec<String> = (0..200).map(|n| format!("message {n}")).collect();
        broker.publish_all(&expected[..100], "1");
        receiver.wait_for_messages(100);
        for agent in &agents {
            assert!(
                agent.count("sources", "plant", "stored") > 0,
                "{version}: one took all"
            );
        }
        assert_eq!(agents[1].stop().code(), Some(0));
        broker.publish_all(&expected[100..], "1");
        agents[1].start();
        let mut messages = receiver.wait_for_messages(200);
        messages.sort();
        expected.sort();
        assert!(messages == expected, "{version}: {messages:?}");
    }
}

/// Over a reload and over a restart; what came for it while the agent was away is stored.
#[test]
fn a_filter_that_is_configured_no_more_is_given_up() {
    for version in ["3.1.1", "5"] {
        let folder = Folder::new();
        let broker = Broker::start(&folder);
        let receiver = Receiver::start();
        let config = |topics: &[&str]| {
            format!(
                "[sources.plant]\ntype = \"mqtt\"\nurl = \"{}\"\nversion = \"{version}\"\n\
                 topics = {topics:?}\n{}",
                broker.url(),
                receiver.destination("lake")
            )
        };
        let mut agent = Agent::new(folder.path(), &config(&["a/#", "b/#", "c/#"]));
        let wait_for_left = |agent: &Agent, topic: &str| {
            wait_until("an UNSUBSCRIBE that is answered", || {
                let log = agent.log();
                let mut lines = log.lines().filter(|line| line.contains("unsubscribed"));
                lines.any(|line| line.contains(topic)).then_some(())
            });
        };
        let publish = |topic: &str, message: &str| broker.publish(topic, message, &["-q", "1"]);
        agent.start();
        publish("c/1", "zero");
        receiver.wait_for_message("zero");
        agent.configure("16MiB", &config(&["a/#", "b/#"]));
        agent.signal(Signal::HUP);
        wait_for_left(&agent, "c/#");
        publish("c/1", "left");
        publish("a/1", "first");
        receiver.wait_for_message("first");
        agent.stop();
        publish("b/1", "while away");
        agent.configure("16MiB", &config(&["a/#"]));
        agent.start();
        wait_for_left(&agent, "b/#");
        publish("b/1", "left");
        publish("a/1", "second");
        receiver.wait_for_message("second");
        agent.stop();
        // That is all: nothing is given up again.
        agent.start();
        publish("a/1", "third");
        receiver.wait_for_message("third");
        let expected = ["zero", "first", "while away", "second", "third"];
        assert_eq!(receiver.log().messages(), expected, "{version}");
        assert_eq!(agent.log().matches("unsubscribed").count(), 2);
    }
}

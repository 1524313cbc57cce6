//! SIGHUP: taken whole or refused whole, and what did not change is not interrupted.

use std::path::Path;

use rustix::process::Signal;

use crate::harness::{Agent, Folder, MqttPeer, Receiver, append, free_port, wait_until};

fn file_source(name: &str, path: &Path) -> String {
    format!(
        "[sources.{name}]\ntype = \"file\"\npaths = [\"{}\"]\n",
        path.to_str().unwrap()
    )
}

fn listener(port: u16) -> String {
    format!("[sources.devices]\ntype = \"mqtt_listener\"\nlisten = \"127.0.0.1:{port}\"\n")
}

/// Publishes on this very connection and waits for its PUBACK.
fn publish(peer: &mut MqttPeer, id: u16, message: &str) {
    peer.publish(id, false, "a", message).unwrap();
    assert_eq!(peer.read_packet().unwrap().0, 0x40);
}

#[test]
fn a_source_is_added_and_removed_while_the_others_go_on() {
    let folder = Folder::new();
    let receiver = Receiver::start();
    let port = free_port();
    let (one, two) = (folder.join("one.log"), folder.join("two.log"));
    let always = format!("{}{}", listener(port), file_source("one", &one));
    let destination = receiver.destination("lake");
    let mut agent = Agent::new(folder.path(), &format!("{always}{destination}"));
    agent.start();
    let mut peer = MqttPeer::connect(port, "device").unwrap();
    publish(&mut peer, 1, "before");
    append(&one, "first\n");
    receiver.wait_for_message("first");

    let with_two = format!("{always}{}{destination}", file_source("two", &two));
    agent.configure("16MiB", &with_two);
    agent.signal(Signal::HUP);
    wait_until("the source that was added", || {
        agent.ask()?["sources"]["two"].is_object().then_some(())
    });
    append(&two, "second\n");
    receiver.wait_for_message("second");
    publish(&mut peer, 2, "during");

    agent.configure("16MiB", &format!("{always}{destination}"));
    agent.signal(Signal::HUP);
    wait_until("the source is gone", || {
        agent.ask()?["sources"]["two"].is_null().then_some(())
    });
    append(&two, "not followed\n");
    append(&one, "third\n");
    receiver.wait_for_message("third");
    publish(&mut peer, 3, "after");
    receiver.wait_for_message("after");
    let log = receiver.log();
    let mut messages = log.messages();
    messages.sort_unstable();
    assert_eq!(
        messages,
        ["after", "before", "during", "first", "second", "third"]
    );
}

#[test]
fn a_wrong_configuration_is_refused_whole() {
    let folder = Folder::new();
    let receiver = Receiver::start();
    let (one, two) = (folder.join("one.log"), folder.join("two.log"));
    let good = format!(
        "{}{}",
        file_source("one", &one),
        receiver.destination("lake")
    );
    let mut agent = Agent::new(folder.path(), &good);
    agent.start();
    let half_good = format!(
        "{}{good}[sources.three]\ntype = \"flie\"\n",
        file_source("two", &two)
    );
    agent.configure("16MiB", &half_good);
    agent.signal(Signal::HUP);
    wait_until("the refusal in the log", || {
        agent.log().contains("sources.three").then_some(())
    });
    append(&two, "must not be followed\n");
    append(&one, "goes on\n");
    receiver.wait_for_message("goes on");
    assert!(agent.status()["sources"]["two"].is_null());
    assert_eq!(receiver.log().messages(), ["goes on"]);
    agent.configure("16MiB", &good);
    agent.signal(Signal::HUP);
    append(&one, "and on\n");
    receiver.wait_for_message("and on");
    agent.check();
}

/// A destination that moves takes what waits along.
#[test]
fn a_destination_that_moves_loses_nothing() {
    let folder = Folder::new();
    let (old, new) = (Receiver::start_down(), Receiver::start());
    let input = folder.join("input.log");
    let source = file_source("app", &input);
    let mut agent = Agent::new(
        folder.path(),
        &format!("{source}{}", old.destination("lake")),
    );
    agent.start();
    append(&input, "waits\n");
    agent.wait_for_count("destinations", "lake", "waiting", 1);
    agent.configure("16MiB", &format!("{source}{}", new.destination("lake")));
    agent.signal(Signal::HUP);
    append(&input, "follows\n");
    assert_eq!(new.wait_for_messages(2), ["waits", "follows"]);
    assert_eq!(old.log().requests.len(), 0);
}

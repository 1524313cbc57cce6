//! `hydrant doctor` against real brokers, good ones and bad ones.

use serde_json::Value;

use crate::harness::{
    Agent, Broker, Certificates, Folder, Outcome, Receiver, free_port, hydrant, wait_until, write,
};

fn source(url: &str, more: &str) -> String {
    format!("[sources.plant]\ntype = \"mqtt\"\nurl = \"{url}\"\ntopics = [\"plant/#\"]\n{more}")
}

fn doctor(agent: &Agent, more: &[&str]) -> Outcome {
    let mut args = vec!["doctor", "--config", agent.config()];
    args.extend(more);
    hydrant(&args)
}

/// What it finds, as JSON; the exit status follows from it.
fn findings(agent: &Agent, more: &[&str]) -> Vec<(String, String)> {
    let mut args = more.to_vec();
    args.push("--json");
    let outcome = doctor(agent, &args);
    let json: Value = serde_json::from_str(&outcome.stdout).unwrap();
    let problems = json["problems"].as_u64().unwrap();
    assert_eq!(outcome.code, i32::from(problems > 0), "{}", outcome.stdout);
    let all = json["findings"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    all.iter()
        .map(|one| {
            (
                text(&one["level"]),
                format!("{} {}", text(&one["about"]), text(&one["what"])),
            )
        })
        .collect()
}

#[track_caller]
fn expect(findings: &[(String, String)], level: &str, words: &str) {
    let found = findings
        .iter()
        .any(|(of, what)| of == level && what.contains(words));
    assert!(found, "no {level} with {words:?} in {findings:#?}");
}

/// Everything is well, the running agent does not notice, and nothing is left at the broker.
#[test]
fn a_good_broker_is_found_well_beside_the_running_agent() {
    for version in ["3.1.1", "5"] {
        let folder = Folder::new();
        let place = folder.make("broker");
        let options = format!(
            "allow_anonymous true\npersistence true\npersistence_location {}/\n\
             autosave_interval 60\nsys_interval 1\n",
            place.display()
        );
        let mut broker = Broker::with(&folder, free_port(), &options);
        let receiver = Receiver::start();
        let more = format!("version = \"{version}\"\nclient_id = \"gateway\"\n");
        let source = source(&broker.url(), &more).replace("plant/#", "$share/g/plant/#");
        let config = format!("{source}{}", receiver.destination("lake"));
        let mut agent = Agent::new(folder.path(), &config);
        agent.start();
        broker.wait_for_line("gateway 1 $share/g/plant/#");
        let conf = folder.join("mosquitto.conf");
        let found = findings(&agent, &["--mosquitto-conf", conf.to_str().unwrap()]);
        for words in [
            "configuration right",
            "accepts the client",
            "\"$share/g/plant/#\" is granted with QoS 1",
            "keeps a session over connections",
            "sends 20 messages at a time",
            "is mosquitto version 2.",
            "persistence true",
            "can be written to",
        ] {
            expect(&found, "ok", words);
        }
        assert!(
            found.iter().all(|(level, _)| level != "problem"),
            "{found:#?}"
        );
        let shown = doctor(&agent, &[]);
        assert_eq!(shown.code, 0, "{}", shown.stdout);
        assert!(
            shown
                .stdout
                .contains("sources.plant\n  [ok]      127.0.0.1:"),
            "{}",
            shown.stdout
        );
        // The group still has the agent only.
        for number in 0..20 {
            broker.publish("plant/1", &format!("message {number}"), &["-q", "1"]);
        }
        receiver.wait_for_messages(20);
        assert_eq!(agent.count("sources", "plant", "reconnects"), 0);
        wait_until("the end of the scratch session", || {
            let name = "gateway-doctor-";
            let log = std::fs::read_to_string(folder.join("mosquitto.log")).unwrap();
            let last = log.lines().rfind(|line| line.contains(name))?;
            last.contains("disconnected").then_some(())
        });
    }
}

/// Each thing that is wrong is a problem with something to do about it.
#[test]
fn what_is_wrong_is_a_problem_with_a_hint() {
    let folder = Folder::new();
    let broker = Broker::with_password(&folder, "gateway", "s3cret");
    let more = "[destinations.out]\ntype = \"directory\"\npath = \"/tmp\"\n";
    let login = |password: &str| format!("username = \"gateway\"\npassword = \"{password}\"\n");
    let at = |url: &str, options: &str| {
        Agent::new(folder.path(), &format!("{}{more}", source(url, options)))
    };
    let wrong = at(&broker.url(), &login("guess"));
    let outcome = doctor(&wrong, &[]);
    assert_eq!(outcome.code, 1);
    assert!(
        outcome.stdout.contains("-> look at username, password"),
        "{}",
        outcome.stdout
    );
    assert!(!outcome.stdout.contains("guess"), "{}", outcome.stdout);
    let included = folder.make("conf.d");
    write(&included.join("a.conf"), "max_queued_messages 100\n");
    write(&included.join("not-read"), "persistence true\n");
    let conf = folder.join("other.conf");
    let text = format!(
        "per_listener_settings true\ninclude_dir {}\n",
        included.display()
    );
    write(&conf, text);
    let right = at(&broker.url(), &login("s3cret"));
    let found = findings(&right, &["--mosquitto-conf", conf.to_str().unwrap()]);
    expect(&found, "ok", "accepts the client");
    expect(&found, "problem", "persistence is not set (false)");
    expect(&found, "warning", "a.conf:1: max_queued_messages 100");
    let nobody = at(&format!("mqtt://127.0.0.1:{}", free_port()), "");
    expect(&findings(&nobody, &[]), "problem", "cannot be reached");
    let missing = ["--mosquitto-conf", "/no/such/file"];
    expect(&findings(&nobody, &missing), "problem", "/no/such/file");
    let unknown = at("mqtt://no.such.host.invalid", "");
    expect(
        &findings(&unknown, &[]),
        "problem",
        "no.such.host.invalid:1883",
    );
    let broken = at("mqtt://127.0.0.1", "qos = 7\n");
    expect(&findings(&broken, &[]), "problem", "7 is too much");
}

/// A certificate that nobody trusts, and one that ends soon.
#[test]
fn certificates_are_looked_at() {
    let folder = Folder::new();
    let certificates = Certificates::make(&folder);
    let broker = Broker::with_tls(&folder, &certificates);
    let url = format!("mqtts://localhost:{}", broker.port);
    let more = "[destinations.out]\ntype = \"directory\"\npath = \"/tmp\"\n";
    let agent =
        |options: &str| Agent::new(folder.path(), &format!("{}{more}", source(&url, options)));
    let found = findings(&agent(&certificates.client_table()), &[]);
    expect(&found, "ok", "accepts the client");
    // They are made for two days.
    expect(&found, "warning", "client.pem expires in 1 days");
    let found = findings(&agent(&certificates.anonymous_table()), &[]);
    assert!(
        found.iter().any(|(level, _)| level == "problem"),
        "{found:#?}"
    );
    expect(&findings(&agent(""), &[]), "problem", "TLS handshake");
}

/// What the broker sends at a time is measured; the topic for that may be denied.
#[test]
fn the_window_of_a_broker_is_measured() {
    let folder = Folder::new();
    let more = "[destinations.out]\ntype = \"directory\"\npath = \"/tmp\"\n";
    let rights = folder.text("rights");
    write(folder.join("rights").as_path(), "topic read plant/#\n");
    let denying = format!("acl_file {rights}\n");
    let window = |count: u32| format!("max_inflight_messages {count}\n");
    let denied = "could not be measured: the broker does not take hydrant/doctor/";
    // With MQTT 5 mosquitto 2.0 sends as many as it is told to, whatever it is set to.
    for (version, options, level, words) in [
        (
            "3.1.1",
            window(5),
            "warning",
            "sends 5 messages at a time, in_flight_max is 20",
        ),
        ("3.1.1", window(20), "ok", "sends 20 messages at a time"),
        (
            "3.1.1",
            window(300),
            "ok",
            "sends 100 messages or more at a time",
        ),
        ("3.1.1", denying.clone(), "ok", denied),
        ("5", window(20), "ok", "sends 20 messages at a time"),
        ("5", denying, "ok", denied),
    ] {
        let options = format!("allow_anonymous true\n{options}");
        let broker = Broker::with(&folder, free_port(), &options);
        let source = source(&broker.url(), &format!("version = \"{version}\"\n"));
        let agent = Agent::new(folder.path(), &format!("{source}{more}"));
        let found = findings(&agent, &[]);
        expect(&found, level, words);
    }
}

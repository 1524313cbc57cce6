//! Configurations as users write them, right and wrong.

mod buffers;
mod fallback;
mod mistakes;
mod redshift;
mod s3;
mod table;

use std::time::Duration;

use super::*;

const MINIMAL: &str = "
[sources.app]
type = \"file\"
paths = [\"/var/log/app/*.log\"]

[destinations.out]
type = \"http\"
url = \"https://collector.example/ingest\"
";

/// One configuration with everything.
const LARGE: &str = include_str!("testdata/large.toml");

fn resolve(reference: Reference<'_>) -> Result<String, String> {
    match reference {
        Reference::Variable("HOSTNAME") => Ok("gateway-7".to_owned()),
        Reference::Variable("STREAM") => Ok("plant-telemetry".to_owned()),
        Reference::Variable(name) => Err(format!("environment variable {name} is not set")),
        Reference::File("/etc/hydrant/password") => Ok("hunter2\n".to_owned()),
        Reference::File(path) => Err(format!("{path} cannot be read")),
        Reference::Credential("token") => Ok("t0ken\n".to_owned()),
        Reference::Credential(name) => Err(format!("there is no credential {name}")),
    }
}

fn load_files(files: &[(&str, &str)]) -> Result<(Config, Vec<Problem>), Vec<Problem>> {
    let files: Vec<SourceText> = files
        .iter()
        .map(|(name, text)| SourceText::new(*name, *text))
        .collect();
    load(&files, &Environment::new(&resolve))
}

fn good(text: &str) -> Config {
    let result = load_files(&[("h.toml", text)]);
    assert_eq!(shown(&result), [""; 0], "{text}");
    result.unwrap().0
}

fn shown(result: &Result<(Config, Vec<Problem>), Vec<Problem>>) -> Vec<String> {
    let (Ok((_, problems)) | Err(problems)) = result;
    problems.iter().map(Problem::to_string).collect()
}

/// `text` has exactly these problems.
fn check(text: &str, expected: &[&str]) {
    let result = load_files(&[("h.toml", text)]);
    assert_eq!(shown(&result), expected, "{text}");
    let refused = expected
        .iter()
        .any(|problem| !problem.contains(": warning: "));
    assert_eq!(result.is_err(), refused, "{text}");
}

#[test]
fn the_smallest_configuration_has_the_defaults() {
    let config = good(MINIMAL);
    assert_eq!(config.agent.id, "gateway-7");
    assert_eq!(config.agent.state_dir.to_str(), Some("/var/lib/hydrant"));
    assert_eq!(config.agent.metrics_listen, None);
    assert_eq!(config.buffers.len(), 1);
    let buffer = &config.buffers["default"];
    assert_eq!(buffer.size, ByteSize::bytes(512 << 20));
    assert_eq!(buffer.when_full, WhenFull::EvictOldest);
    assert_eq!(buffer.sync_delay_max, Duration::from_secs(1));
    assert_eq!(config.sources["app"].buffer, "default");
    let SourceKind::File(file) = &config.sources["app"].kind else {
        panic!()
    };
    assert_eq!(file.paths, ["/var/log/app/*.log"]);
    assert_eq!(file.start_at, StartAt::Beginning);
    let out = &config.destinations["out"];
    let DestinationKind::Http(http) = &out.kind else {
        panic!()
    };
    assert_eq!(http.url, "https://collector.example/ingest");
    assert_eq!(http.auth, HttpAuth::None);
    assert_eq!(out.from, None);
    assert_eq!(out.buffers, ["default"]);
    assert_eq!(out.batch.age_max, Duration::from_secs(10));
    assert_eq!(out.retry.give_up_after, None);
    assert_eq!(
        out.dead_letter.path.to_str(),
        Some("/var/lib/hydrant/dead-letter/out")
    );
}

#[test]
fn brokers_come_in_order_with_their_ways() {
    let config = good(LARGE);
    let SourceKind::Mqtt(mqtt) = &config.sources["sensors"].kind else {
        panic!()
    };
    let brokers = mqtt.brokers.iter().map(|broker| {
        (
            broker.host.as_str(),
            broker.port,
            broker.websocket_path.as_deref(),
        )
    });
    let expected = [
        ("broker.plant", 8883, None),
        ("cloud.example", 443, Some("/mqtt")),
        ("127.0.0.1", 8080, Some("/broker?x=1")),
    ];
    assert_eq!(brokers.collect::<Vec<_>>(), expected);
    assert!(mqtt.brokers[1].tls.is_some() && mqtt.brokers[2].tls.is_none());
}

#[test]
fn a_large_configuration_means_what_it_says() {
    let config = good(LARGE);
    let SourceKind::Mqtt(mqtt) = &config.sources["sensors"].kind else {
        panic!()
    };
    assert_eq!(mqtt.client_id, "hydrant-plant-7-sensors");
    assert_eq!(mqtt.password, Some(Secret::new("hunter2")));
    assert_eq!(mqtt.version, MqttVersion::V5);
    assert!(mqtt.brokers[0].tls.as_ref().unwrap().key_file.is_some());
    let app = &config.sources["app"];
    let names: Vec<&str> = app.transforms.iter().map(|t| t.name.as_str()).collect();
    assert_eq!(names, ["fields", "trim"]);
    let SourceKind::File(file) = &app.kind else {
        panic!()
    };
    assert_eq!(file.exclude, ["*.tmp"]);
    assert_eq!(file.ignore_older, Some(Duration::from_hours(30 * 24)));
    assert_eq!((file.open_files_max, file.encoding), (64, Encoding::Latin1));
    let multiline = file.multiline.as_ref().unwrap();
    assert_eq!(multiline.rule, MultilineRule::Start(r"^\d{4}-".to_owned()));
    assert_eq!(multiline.timeout, Duration::from_secs(2));
    let SourceKind::File(file) = &config.sources["pods"].kind else {
        panic!()
    };
    assert_eq!((file.format, file.watch), (LineFormat::Cri, Watching::Poll));
    assert_eq!(file.multiline, None);
    let SourceKind::Syslog(syslog) = &config.sources["network"].kind else {
        panic!()
    };
    let listen: Vec<String> = syslog.listen.iter().map(ToString::to_string).collect();
    assert_eq!(
        listen.join(" "),
        "udp://0.0.0.0:514 tcp://[::]:601 tls://0.0.0.0:6514 unix:///run/hydrant/log unixgram:///dev/log \
         systemd:syslog"
    );
    assert_eq!(syslog.socket_mode, 0o660);
    let limit = syslog.rate_limit.unwrap();
    assert_eq!((limit.messages, limit.burst), (1000, 1000));
    let lake = &config.destinations["lake"];
    assert_eq!(
        lake.from.as_deref(),
        Some(&["sensors".to_owned(), "devices".to_owned()][..])
    );
    assert_eq!(lake.compression, Compression::Gzip);
    let DestinationKind::Firehose(firehose) = &lake.kind else {
        panic!()
    };
    assert_eq!(firehose.stream, "plant-telemetry");
    assert_eq!(
        firehose.packing,
        Packing::Lines {
            hint: ByteSize::bytes(512 << 10)
        }
    );
    let DestinationKind::Http(http) = &config.destinations["audit"].kind else {
        panic!()
    };
    assert_eq!(http.auth, HttpAuth::Bearer(Secret::new("t0ken")));
    assert!(!format!("{config:?}").contains("hunter2"));
    assert!(!format!("{config:?}").contains("t0ken"));
}

#[test]
fn six_mistakes_are_reported_at_once() {
    let text = "[buffer]
sise = \"64MiB\"

[sources.app]
type = \"file\"
paths = \"/var/log/app.log\"
transforms = [\"trimm\"]

[transforms.trim]
type = \"filter\"
keep = 'level != \"debug\"'

[destinations.lake]
type = \"firehose\"
stream = \"plant\"
region = \"eu-west-1\"
batch = { bytes_max = \"8MiB\", age_max = \"20m\" }
from = [\"ap\"]
";
    check(
        text,
        &[
            "h.toml:2: buffer.sise: unknown key; did you mean size?",
            "h.toml:6: sources.app.paths: \"/var/log/app.log\" is not a list; \
             write it in brackets: [...]",
            "h.toml:7: sources.app.transforms: there is no transform \"trimm\"; \
             did you mean \"trim\"?",
            "h.toml:17: destinations.lake.batch.bytes_max: 8 MiB is more than Firehose takes in \
             one call; write \"4MB\" or less",
            "h.toml:17: destinations.lake.batch.age_max: 20m is too much; \
             write \"15m\" or less",
            "h.toml:18: destinations.lake.from: there is no source \"ap\"; did you mean \"app\"?",
        ],
    );
}

#[test]
fn what_is_not_toml_is_reported_for_every_file() {
    let result = load_files(&[
        ("a.toml", "[sources.app\ntype = \"file\"\n"),
        ("b.toml", "[agent]\nid = plant\n"),
        ("c.toml", "[agent]\nid = \"a\"\nid = \"b\"\n"),
    ]);
    let lines = shown(&result);
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines[0].starts_with("a.toml:1: "), "{lines:?}");
    assert!(
        lines[1].starts_with("b.toml:2: string values must be quoted"),
        "{lines:?}"
    );
    assert_eq!(lines[2], "c.toml:3: id is written twice");
}

#[test]
fn drop_ins_merge_by_key() {
    let main = "[agent]\nid = \"a\"\n[sources.app]\ntype = \"file\"\npaths = [\"/a\", \"/b\"]\n\
        [destinations.out]\ntype = \"http\"\nurl = \"https://${MISSING}/\"\n\
        batch = { age_max = \"5s\" }\n";
    let drop_in = "[agent]\nid = \"b\"\n[sources.app]\npaths = [\"/c\"]\n\
        [destinations.out]\nurl = \"https://c.example/\"\nbatch.count_max = 7\n";
    let (config, _) = load_files(&[("h.toml", main), ("d/10.toml", drop_in)]).unwrap();
    assert_eq!(config.agent.id, "b");
    let SourceKind::File(file) = &config.sources["app"].kind else {
        panic!()
    };
    assert_eq!(file.paths, ["/c"]);
    let batch = &config.destinations["out"].batch;
    assert_eq!(
        (batch.count_max, batch.age_max),
        (7, Duration::from_secs(5))
    );

    let broken = load_files(&[
        ("h.toml", main),
        ("d/10.toml", "[sources.app]\nstart = 1\n"),
    ]);
    assert_eq!(
        shown(&broken),
        [
            "h.toml:8: destinations.out.url: environment variable MISSING is not set; \
             set it, or write ${MISSING:-default}",
            "d/10.toml:2: sources.app.start: unknown key; did you mean multiline.start?",
        ]
    );
}

/// A reference may be to a secret, wherever it is written.
#[test]
fn what_was_expanded_is_never_shown() {
    for key in [
        "[agent]\nlog_level",
        "[agent]\nmetrics_listen",
        "[agent]\nstate_dir",
        "[buffer]\nsize",
        "[buffer]\nsync_delay_max",
        "[destinations.x]\ntype",
        "[destinations.x]\ntype = \"http\"\nurl",
        "[sources.x]\ntype = \"file\"\npaths",
        "[sources.x]\ntype = \"mqtt\"\ntopics = [\"a\"]\nqos = 1\nurl",
    ] {
        let text = format!("{MINIMAL}{key} = \"${{file:/etc/hydrant/password}}\"\n");
        let lines = shown(&load_files(&[("h.toml", &text)])).concat();
        assert!(
            !lines.is_empty() && !lines.contains("hunter2"),
            "{key}: {lines}"
        );
    }
}

/// Who looks at a ring need know neither the secrets of the service nor a right configuration.
#[test]
fn the_ring_is_found_whatever_the_rest_says() {
    let ring = |text: &str| {
        let files = [SourceText::new("h.toml", text)];
        let found = load_ring(&files, &Environment::new(&resolve), DEFAULT_BUFFER);
        found.map_err(|problems| problems.iter().map(Problem::to_string).collect::<Vec<_>>())
    };
    let text = "[agent]\nstate_dir = \"/data/${HOSTNAME}\"\n[buffer]\nsise = 1\n\
        [buffer.encryption]\nkey_file = \"/k\"\n[sources.a]\ntype = \"nonsense\"\n\
        [destinations.b]\nbearer = \"${credential:other}\"\n";
    let (agent, buffer) = ring(text).unwrap();
    assert_eq!(agent.state_dir, PathBuf::from("/data/gateway-7"));
    let key = buffer.encryption.map(|encryption| encryption.key);
    assert_eq!(key, Some(KeySource::File(PathBuf::from("/k"))));
    let (agent, buffer) = ring("").unwrap();
    assert_eq!(agent.state_dir, PathBuf::from("/var/lib/hydrant"));
    assert_eq!(buffer.encryption, None);
    for (text, expected) in [
        (
            "[agent]\nstate_dir = 7\n[destinations.b]\nx = \"${MISSING}\"\n",
            "h.toml:2:",
        ),
        ("[agent\n", "h.toml:1:"),
    ] {
        let problems = ring(text).unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with(expected), "{problems:?}");
    }
}

#[test]
fn nothing_written_is_told_what_to_write() {
    let result = load_files(&[("h.toml", "")]);
    let lines = shown(&result);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(
        lines[0].starts_with("h.toml: sources: there is no source; add one"),
        "{lines:?}"
    );
    assert!(
        lines[1].starts_with("h.toml: destinations: there is no destination"),
        "{lines:?}"
    );
}

/// The fuzz target's work on a stable compiler: whatever is written, loading answers.
#[test]
fn rubbish_never_panics() {
    const PIECES: [&str; 22] = [
        "[",
        "]",
        "=",
        "\"",
        "'",
        "\n",
        ".",
        "{",
        "}",
        "-1",
        "9999999999999999999999",
        "${",
        "${A}",
        "type",
        "true",
        "1e400",
        "\u{0}",
        "\u{fc}",
        "[[",
        "''",
        "#",
        "1979-05-27",
    ];
    let seed = std::env::var_os("CONFIG_SEED").and_then(|seed| seed.to_str()?.parse().ok());
    let mut state: u64 = seed.unwrap_or(0x5EED);
    println!("CONFIG_SEED={state}");
    let mut random = move |below: usize| {
        const FACTOR: u64 = 6_364_136_223_846_793_005;
        state = state
            .wrapping_mul(FACTOR)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 40).unwrap() % below
    };
    let (mut accepted, mut refused) = (0, 0);
    for round in 0..400 {
        let mut text: Vec<char> = if round % 8 == 0 { "" } else { LARGE }.chars().collect();
        for _ in 0..=random(4) {
            let at = random(text.len() + 1);
            let until = text.len().min(at + random(3));
            let piece = if until == at {
                PIECES[random(PIECES.len())]
            } else {
                ""
            };
            text.splice(at..until, piece.chars());
        }
        let text: String = text.into_iter().collect();
        match load_files(&[("h.toml", MINIMAL), ("d.toml", &text)]) {
            Ok(_) => accepted += 1,
            Err(problems) => {
                assert!(
                    problems.iter().any(|p| p.severity == Severity::Error),
                    "{text}"
                );
                assert!(
                    problems
                        .iter()
                        .all(|p| !p.message.contains("fault of Hydrant")),
                    "{text}"
                );
                refused += 1;
            }
        }
    }
    assert!(accepted > 10 && refused > 100, "{accepted} {refused}");
}

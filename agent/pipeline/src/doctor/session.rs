//! What a broker did when it was asked.

use super::report::Finding;
use crate::config::{MqttConfig, MqttVersion};
use crate::decode::mqtt::{Granted, reason_words};

/// What was learned from a broker with a client identifier of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probe {
    /// How long it took until it had accepted the client, in milliseconds.
    pub connect_ms: u64,
    /// For each filter of the source what it granted; fewer if it did not answer.
    pub granted: Vec<Granted>,
    /// Why there was no answer to the question for topics.
    pub subscribe_error: Option<String>,
    /// Whether it still had the session when the client came back; `None` where that could not be
    /// tried.
    pub session_present: Option<bool>,
    /// How long it keeps a session, where that is not what was asked for, in seconds.
    pub session_expiry_s: Option<u32>,
    /// How many messages it sends before it wants an acknowledgement, where that is known.
    pub window: Option<Window>,
    /// Why that could not be measured.
    pub window_error: Option<String>,
}

/// How many messages a broker sends before it wants an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// So many.
    pub count: u32,
    /// Or more: it was not tried further.
    pub is_least: bool,
}

/// How many messages are enough to measure a window with that matters to a source.
pub fn window_tried(config: &MqttConfig) -> u16 {
    const TRIED_MIN: u16 = 100;
    const TRIED_MAX: u16 = 1000;
    config
        .in_flight_max
        .saturating_add(1)
        .clamp(TRIED_MIN, TRIED_MAX)
}

/// Judges what the broker at `place` did for a source.
pub fn judge(about: &str, place: &str, config: &MqttConfig, probe: &Probe) -> Vec<Finding> {
    let mut found = vec![Finding::ok(
        about,
        format!("{place} accepts the client ({} ms)", probe.connect_ms),
    )];
    if let Some(error) = &probe.subscribe_error {
        let what = format!("{place} does not answer the subscription: {error}");
        found.push(Finding::problem(
            about,
            what,
            "look into the log of the broker",
        ));
    }
    for (topic, granted) in config.topics.iter().zip(&probe.granted) {
        found.push(topic_granted(about, topic, config, *granted));
    }
    found.extend(session(about, place, config, probe));
    found.push(window(about, config, probe));
    found
}

fn topic_granted(about: &str, topic: &str, config: &MqttConfig, granted: Granted) -> Finding {
    match granted {
        Granted::With(qos) if qos.level() < config.qos.level() => Finding::warning(
            about,
            format!(
                "{topic:?} is granted with QoS {} instead of {}",
                qos.level(),
                config.qos.level()
            ),
            "raise max_qos of the broker, or write a lower qos",
        ),
        Granted::With(qos) => Finding::ok(
            about,
            format!("{topic:?} is granted with QoS {}", qos.level()),
        ),
        Granted::Not(code) => {
            let words = match config.version {
                MqttVersion::V311 => "refused",
                MqttVersion::V5 => reason_words(code),
            };
            Finding::problem(
                about,
                format!("{topic:?} is not granted: {words} (code {code:#04x})"),
                "give the user the right to read it at the broker, or write another filter",
            )
        }
    }
}

fn session(about: &str, place: &str, config: &MqttConfig, probe: &Probe) -> Option<Finding> {
    if config.has_short_session() {
        return Some(Finding::warning(
            about,
            "session_expiry is 0: what is published while the agent is not connected is lost",
            "write session_expiry = \"7d\"",
        ));
    }
    if let Some(seconds) = probe.session_expiry_s
        && u64::from(seconds) < config.session_expiry.as_secs()
    {
        return Some(Finding::warning(
            about,
            format!("{place} keeps a session for {seconds} s, not for session_expiry"),
            "raise the limit of the broker",
        ));
    }
    Some(if probe.session_present? {
        Finding::ok(about, format!("{place} keeps a session over connections"))
    } else {
        Finding::problem(
            about,
            format!(
                "{place} does not keep a session over connections: what is published while the \
                 agent is not connected is lost"
            ),
            "let the broker keep persistent sessions",
        )
    })
}

fn window(about: &str, config: &MqttConfig, probe: &Probe) -> Finding {
    let mine = u32::from(config.in_flight_max);
    let Some(Window { count, is_least }) = probe.window else {
        let known = match config.version {
            MqttVersion::V5 => format!("the broker is told to send {mine} messages at a time"),
            MqttVersion::V311 => {
                format!("in_flight_max is {mine}; it should be what the broker is set to")
            }
        };
        return Finding::ok(
            about,
            match &probe.window_error {
                Some(error) => format!("{known}; what it sends could not be measured: {error}"),
                None => known,
            },
        );
    };
    let more = if is_least { " or more" } else { "" };
    let sends = format!("the broker sends {count} messages{more} at a time");
    if count >= mine {
        return Finding::ok(about, format!("{sends}, in_flight_max is {mine}"));
    }
    if is_least {
        return Finding::ok(about, sends);
    }
    let raise = "raise max_inflight_messages of mosquitto: what is sent at a time waits for a sync";
    Finding::warning(
        about,
        format!("{sends}, in_flight_max is {mine}"),
        match config.version {
            MqttVersion::V311 => format!("write in_flight_max = {count}; or {raise}"),
            MqttVersion::V5 => raise.to_owned(),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::super::report::Level;
    use super::*;
    use crate::config::{Config, Environment, Qos, SourceKind, SourceText, load};

    fn config(more: &str) -> MqttConfig {
        let text = format!(
            "[agent]\nid = \"a\"\n[sources.x]\ntype = \"mqtt\"\nurl = \"mqtt://b\"\n\
             topics = [\"a\", \"b/#\"]\n{more}\
             [destinations.o]\ntype = \"directory\"\npath = \"/o\"\n"
        );
        let files = [SourceText::new("h.toml", text)];
        let (config, _): (Config, _) = load(&files, &Environment::empty()).unwrap();
        let Some(SourceKind::Mqtt(mqtt)) = config.sources.get("x").map(|one| one.kind.clone())
        else {
            panic!("not a source of MQTT")
        };
        mqtt
    }

    fn check(more: &str, probe: &Probe, expected: &[(Level, &str)]) {
        let found = judge("sources.x", "b:1883", &config(more), probe);
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (finding, (level, words)) in found.iter().zip(expected) {
            assert_eq!(finding.level, *level, "{finding:?}");
            assert!(finding.what.contains(words), "{finding:?}");
        }
    }

    #[test]
    fn probes() {
        let (ok, warning, problem) = (Level::Ok, Level::Warning, Level::Problem);
        let granted = Granted::With(Qos::AtLeastOnce);
        let good = Probe {
            connect_ms: 3,
            granted: vec![granted, granted],
            session_present: Some(true),
            ..Probe::default()
        };
        check(
            "",
            &good,
            &[
                (ok, "b:1883 accepts the client (3 ms)"),
                (ok, "\"a\" is granted with QoS 1"),
                (ok, "\"b/#\" is granted with QoS 1"),
                (ok, "keeps a session"),
                (ok, "in_flight_max is 20"),
            ],
        );
        let bad = Probe {
            granted: vec![Granted::With(Qos::AtMostOnce), Granted::Not(0x87)],
            session_present: Some(false),
            window: Some(Window {
                count: 10,
                is_least: false,
            }),
            ..good.clone()
        };
        check(
            "",
            &bad,
            &[
                (ok, "accepts"),
                (warning, "QoS 0 instead of 1"),
                (problem, "not granted: refused (code 0x87)"),
                (problem, "does not keep a session"),
                (warning, "10 messages at a time, in_flight_max is 20"),
            ],
        );
        let five = "version = \"5\"\n";
        let short = Probe {
            session_expiry_s: Some(60),
            granted: Vec::new(),
            ..good.clone()
        };
        let told = (warning, "keeps a session for 60 s");
        check(five, &short, &[(ok, ""), told, (ok, "is told to send 20")]);
        let none = format!("{five}session_expiry = \"0s\"\n");
        check(
            &none,
            &short,
            &[(ok, ""), (warning, "session_expiry is 0"), (ok, "")],
        );
        let silent = Probe {
            subscribe_error: Some("closed".to_owned()),
            session_present: None,
            granted: Vec::new(),
            ..good
        };
        check("", &silent, &[(ok, ""), (problem, "closed"), (ok, "")]);
    }

    #[test]
    fn windows() {
        let last = |more: &str, probe: &Probe| {
            let found = judge("sources.x", "b:1883", &config(more), probe);
            let last = found.last().unwrap();
            (last.level, last.what.clone())
        };
        let sends = |count, is_least| Probe {
            window: Some(Window { count, is_least }),
            ..Probe::default()
        };
        let (level, what) = last("", &sends(100, true));
        let told = "the broker sends 100 messages or more at a time, in_flight_max is 20";
        assert_eq!((level, what.as_str()), (Level::Ok, told));
        assert_eq!(
            last("in_flight_max = 200\n", &sends(100, true)).0,
            Level::Ok
        );
        assert_eq!(
            last("version = \"5\"\n", &sends(5, false)).0,
            Level::Warning
        );
        assert_eq!(window_tried(&config("")), 100);
        assert_eq!(window_tried(&config("in_flight_max = 500\n")), 501);
        assert_eq!(window_tried(&config("in_flight_max = 65535\n")), 1000);
        let unknown = Probe {
            window_error: Some("no right".to_owned()),
            ..Probe::default()
        };
        let (level, what) = last("", &unknown);
        assert_eq!(level, Level::Ok);
        assert!(what.ends_with("measured: no right"), "{what}");
    }
}

//! Settings of mosquitto that lose data: mosquitto.conf(5).
//!
//! Sessions that last are worth what the broker does with them. Its defaults keep them in memory,
//! bound what waits for a client, and drop silently what is more.

use std::fmt;

use super::report::Finding;

/// A line of a configuration of mosquitto.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The file.
    pub file: String,
    /// The line, counted from 1.
    pub line: usize,
    /// The option.
    pub name: String,
    /// What it is set to.
    pub value: String,
}

/// The settings in the text of `file`, in order.
pub fn settings(file: &str, text: &str) -> Vec<Setting> {
    let lines = text.lines().zip(1..).filter_map(|(text, line)| {
        let text = text.trim();
        let (name, value) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        (!name.is_empty() && !name.starts_with('#')).then(|| Setting {
            file: file.to_owned(),
            line,
            name: name.to_owned(),
            value: value.trim().to_owned(),
        })
    });
    lines.collect()
}

/// A version of mosquitto.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32, pub u32);

impl Version {
    /// Out of what `$SYS/broker/version` says, such as `mosquitto version 2.0.11`.
    pub fn find(text: &str) -> Option<Self> {
        let version = text.strip_prefix("mosquitto version ")?;
        let mut numbers = version.trim().split('.').map(|number| {
            let digits = number
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(number.len());
            number.get(..digits)?.parse().ok()
        });
        Some(Self(numbers.next()??, numbers.next()??, numbers.next()??))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// What the sources that use the broker want of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Uses {
    /// Some subscribe with QoS 0.
    pub qos0: bool,
    /// Some speak MQTT 3.1.1.
    pub v311: bool,
}

/// The versions in which sessions of `per_listener_settings` are lost.
const BROKEN: (Version, Version) = (Version(2, 0, 12), Version(2, 0, 18));

/// Judges the settings of one broker; the last of a name counts, as it does for mosquitto.
pub fn judge(settings: &[Setting], version: Option<Version>, uses: Uses) -> Vec<Finding> {
    let conf = Conf(settings);
    let mut found = vec![persistence(conf)];
    found.extend(autosave(conf));
    found.push(queue(conf));
    found.push(in_flight(conf));
    found.extend(queue_bytes(conf));
    found.extend(qos0(conf, uses));
    found.extend(expiration(conf, uses));
    found.extend(per_listener(conf, version));
    found
}

const ABOUT: &str = "mosquitto";

#[derive(Clone, Copy)]
struct Conf<'a>(&'a [Setting]);

impl<'a> Conf<'a> {
    fn get(self, name: &str) -> Option<&'a Setting> {
        self.0.iter().rev().find(|setting| setting.name == name)
    }

    fn is_true(self, name: &str) -> bool {
        self.get(name)
            .is_some_and(|setting| setting.value.eq_ignore_ascii_case("true"))
    }

    fn number(self, name: &str, default: u64) -> u64 {
        self.get(name)
            .and_then(|setting| setting.value.parse().ok())
            .unwrap_or(default)
    }

    /// The setting as it is written and where, or that it is not written.
    fn shown(self, name: &str, default: &str) -> String {
        match self.get(name) {
            Some(Setting {
                file, line, value, ..
            }) => format!("{file}:{line}: {name} {value}"),
            None => format!("{name} is not set ({default})"),
        }
    }
}

fn persistence(conf: Conf<'_>) -> Finding {
    let shown = conf.shown("persistence", "false");
    if !conf.is_true("persistence") {
        return Finding::problem(
            ABOUT,
            format!(
                "{shown}: sessions and what waits in them are in memory only; \
                 a restart of the broker loses them"
            ),
            "set persistence true and persistence_location /var/lib/mosquitto/",
        );
    }
    match conf.get("persistence_location") {
        Some(_) => Finding::ok(ABOUT, shown),
        None => Finding::warning(
            ABOUT,
            format!("{shown}, but persistence_location is not set"),
            "set persistence_location to an absolute folder that mosquitto may write to",
        ),
    }
}

/// How much a power cut of the broker costs.
fn autosave(conf: Conf<'_>) -> Option<Finding> {
    /// Longer than this is worth a word.
    const SECONDS_MAX: u64 = 300;
    if !conf.is_true("persistence") {
        return None;
    }
    let interval = conf.number("autosave_interval", 1800);
    let shown = conf.shown("autosave_interval", "1800 s");
    let hint = "set autosave_interval 60; QoS 1 and 2 survive a power cut only as far as it was \
                saved";
    let what = if conf.is_true("autosave_on_changes") {
        match interval {
            0 => "it is saved at the broker's end only",
            1..=1000 => return Some(Finding::ok(ABOUT, format!("{shown}, on changes"))),
            _ => "it is saved after that many changes only; a power cut costs them",
        }
    } else {
        match interval {
            0 => "it is saved at the broker's end only; a power cut costs all since its start",
            1..=SECONDS_MAX => return Some(Finding::ok(ABOUT, shown)),
            _ => "a power cut of the broker costs what came since it was last saved",
        }
    };
    let what = format!("{shown}: {what}");
    Some(match interval {
        0 => Finding::problem(ABOUT, what, hint),
        _ => Finding::warning(ABOUT, what, hint),
    })
}

fn queue(conf: Conf<'_>) -> Finding {
    let shown = conf.shown("max_queued_messages", "1000");
    match conf.number("max_queued_messages", 1000) {
        0 => Finding::ok(ABOUT, format!("{shown}: no bound")),
        count => {
            let minutes = count / 60;
            let lasts = if minutes >= 2 {
                format!("{minutes} minutes")
            } else {
                format!("{count} s")
            };
            Finding::warning(
                ABOUT,
                format!(
                    "{shown}: while a client is away so many messages wait for it and no more; \
                     at one a second that lasts {lasts}, then messages are dropped silently"
                ),
                "set max_queued_messages 0 and a bound by size, such as max_queued_bytes 104857600",
            )
        }
    }
}

fn in_flight(conf: Conf<'_>) -> Finding {
    let shown = conf.shown("max_inflight_messages", "20");
    match conf.number("max_inflight_messages", 20) {
        0 => Finding::ok(ABOUT, format!("{shown}: no bound")),
        count @ 1..20 => Finding::warning(
            ABOUT,
            format!(
                "{shown}: each sync of the disk acknowledges {count} messages at most; \
                 with syncs of 20 ms that is {} messages a second",
                count * 50
            ),
            "set max_inflight_messages 100, and in_flight_max of the source to the same",
        ),
        _ => Finding::ok(ABOUT, shown),
    }
}

fn queue_bytes(conf: Conf<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (name, what) in [
        (
            "max_queued_bytes",
            "more than so many bytes for a client that is away are dropped",
        ),
        (
            "memory_limit",
            "at that size the broker drops what it is given",
        ),
        ("message_size_limit", "larger messages are dropped"),
    ] {
        if conf.number(name, 0) > 0 {
            let shown = conf.shown(name, "no bound");
            found.push(Finding::ok(ABOUT, format!("{shown}: {what}")));
        }
    }
    found
}

fn qos0(conf: Conf<'_>, uses: Uses) -> Option<Finding> {
    if !uses.qos0 {
        return None;
    }
    let shown = conf.shown("queue_qos0_messages", "false");
    Some(if conf.is_true("queue_qos0_messages") {
        Finding::ok(ABOUT, shown)
    } else {
        Finding::warning(
            ABOUT,
            format!(
                "{shown}: a source with qos = 0 misses what is published while it is not connected"
            ),
            "write qos = 1 in the source; or set queue_qos0_messages true",
        )
    })
}

fn expiration(conf: Conf<'_>, uses: Uses) -> Option<Finding> {
    let shown = conf.shown("persistent_client_expiration", "never");
    let Some(setting) = conf.get("persistent_client_expiration") else {
        return uses.v311.then(|| Finding::ok(ABOUT, shown));
    };
    let what = format!("{shown}: a client that is away longer loses its session");
    let is_short = setting.value.ends_with('h') || setting.value == "1d";
    Some(if is_short {
        let hint = "set it longer than the longest outage you want to survive, such as 14d";
        Finding::warning(ABOUT, what, hint)
    } else {
        Finding::ok(ABOUT, what)
    })
}

fn per_listener(conf: Conf<'_>, version: Option<Version>) -> Option<Finding> {
    let shown = conf.shown("per_listener_settings", "false");
    let (first, last) = BROKEN;
    if !conf.is_true("per_listener_settings") {
        return None;
    }
    let hint = format!(
        "leave per_listener_settings out, or install a version before {first} or after {last}"
    );
    Some(match version {
        Some(version) if version < first || version > last => {
            Finding::ok(ABOUT, format!("{shown}, which version {version} can do"))
        }
        Some(version) => Finding::problem(
            ABOUT,
            format!("{shown}: with version {version} sessions do not survive its restart"),
            hint,
        ),
        None => Finding::warning(
            ABOUT,
            format!(
                "{shown}, and the version is not known: with {first} to {last} sessions do not \
                 survive a restart of the broker"
            ),
            hint,
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::super::report::Level;
    use super::*;

    const GOOD: &str = "persistence true\npersistence_location /var/lib/mosquitto/\n\
                        autosave_interval 60\nmax_queued_messages 0\n";

    /// What is not well with `more` behind a good configuration: level and a part of the words.
    fn check(more: &str, version: &str, uses: Uses, expected: &[(Level, &str)]) {
        let all = settings("m.conf", &format!("{GOOD}{more}"));
        let found = judge(&all, Version::find(version), uses);
        let bad: Vec<&Finding> = found.iter().filter(|one| one.level > Level::Ok).collect();
        assert_eq!(bad.len(), expected.len(), "{more}: {bad:?}");
        for (finding, (level, words)) in bad.iter().zip(expected) {
            assert_eq!(finding.level, *level, "{more}: {finding:?}");
            assert!(finding.what.contains(words), "{more}: {finding:?}");
            assert!(finding.hint.is_some(), "{more}: {finding:?}");
        }
    }

    #[test]
    fn lines() {
        let read = settings(
            "f",
            "# a\n\n  persistence   true \nlistener 1883\nlog_type\n",
        );
        let shown: Vec<(usize, &str, &str)> = read
            .iter()
            .map(|one| (one.line, one.name.as_str(), one.value.as_str()))
            .collect();
        let expected = [
            (3, "persistence", "true"),
            (4, "listener", "1883"),
            (5, "log_type", ""),
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn versions() {
        let check = |text: &str, expected| assert_eq!(Version::find(text), expected, "{text}");
        check("mosquitto version 2.0.11", Some(Version(2, 0, 11)));
        check("mosquitto version 2.1.0rc1", Some(Version(2, 1, 0)));
        check("mosquitto version 2", None);
        check("NanoMQ 1.0.0", None);
    }

    #[test]
    fn settings_that_lose_data() {
        let uses = Uses::default();
        let (warning, problem) = (Level::Warning, Level::Problem);
        check("", "", uses, &[]);
        check(
            "persistence false",
            "",
            uses,
            &[(problem, "m.conf:5: persistence false")],
        );
        check(
            "autosave_interval 0",
            "",
            uses,
            &[(problem, "at the broker's end only")],
        );
        check(
            "autosave_interval 1800",
            "",
            uses,
            &[(warning, "since it was last saved")],
        );
        check(
            "autosave_on_changes true\nautosave_interval 1",
            "",
            uses,
            &[],
        );
        let queued = [(warning, "lasts 16 minutes")];
        check("max_queued_messages 1000", "", uses, &queued);
        check(
            "max_queued_messages 100",
            "",
            uses,
            &[(warning, "lasts 100 s")],
        );
        check(
            "max_inflight_messages 1",
            "",
            uses,
            &[(warning, "50 messages a second")],
        );
        let qos0 = Uses {
            qos0: true,
            v311: true,
        };
        check(
            "",
            "",
            qos0,
            &[(warning, "queue_qos0_messages is not set (false)")],
        );
        check("queue_qos0_messages true", "", qos0, &[]);
        check(
            "persistent_client_expiration 2h",
            "",
            uses,
            &[(warning, "loses its session")],
        );
        check("persistent_client_expiration 14d", "", uses, &[]);
    }

    /// thin-edge.io 3083, 3185.
    #[test]
    fn per_listener_settings_lose_sessions_in_some_versions() {
        let uses = Uses::default();
        let check = |version: &str, expected: &[(Level, &str)]| {
            check("per_listener_settings true", version, uses, expected);
        };
        check("mosquitto version 2.0.11", &[]);
        check(
            "mosquitto version 2.0.12",
            &[(Level::Problem, "version 2.0.12")],
        );
        check(
            "mosquitto version 2.0.18",
            &[(Level::Problem, "version 2.0.18")],
        );
        check("mosquitto version 2.0.19", &[]);
        check("", &[(Level::Warning, "the version is not known")]);
    }

    #[test]
    fn the_defaults_are_told() {
        let found = judge(&[], None, Uses::default());
        assert!(found[0].what.starts_with("persistence is not set (false)"));
        assert_eq!(found[0].level, Level::Problem);
    }
}

//! `hydrant check`: what would run, or everything that is wrong.

use std::path::Path;
use std::process::ExitCode;

use pipeline::config::{
    BatchConfig, BufferConfig, ByteSize, Config, DestinationConfig, DestinationKind, DurationText,
    MqttBroker, Problem, ServerTlsConfig, Severity, SourceConfig, SourceKind, TlsConfig, Warehouse,
    WhenFull,
};

use crate::clock::Clock;
use crate::source::mqtt_listener::read_passwords;
use crate::tls::{self, TlsError};
use crate::{EXIT_USAGE, config_files, fail, print};

/// Checks the configuration at `path` with the code of `hydrant run`.
pub(crate) fn run(path: &Path) -> ExitCode {
    match config_files::load(path) {
        Ok((config, warnings)) => print(&(summary(&config, &warnings) + &unreadable_tls(&config))),
        Err(problems) => fail(&report(&problems), EXIT_USAGE),
    }
}

/// Every problem on a line of its own, and how many there are.
pub(crate) fn report(problems: &[Problem]) -> String {
    let errors = problems
        .iter()
        .filter(|problem| problem.severity == Severity::Error)
        .count();
    format!("{}{} found", lines(problems), counted(errors, "error"))
}

/// What would run, after the warnings. Buffers are named once there are several.
fn summary(config: &Config, warnings: &[Problem]) -> String {
    let rings = match config.buffers.values().next() {
        Some(buffer) if config.buffers.len() == 1 => {
            let (size, full) = (buffer.size, when_full(buffer));
            let place = config.agent.state_dir.display();
            vec![format!("; ring {size} in {place} ({full})\n")]
        }
        _ => several_rings(config),
    };
    let total = format!(
        "OK: {}, {}",
        counted(config.sources.len(), "source"),
        counted(config.destinations.len(), "destination"),
    );
    let is_alone = config.buffers.len() == 1;
    let sources = config.sources.iter().map(|(name, source)| {
        let described = describe_source(source);
        let into = match &source.buffer {
            _ if is_alone => String::new(),
            buffer => format!("; into {buffer}"),
        };
        format!("  source {name}: {described}{into}\n")
    });
    let destinations = config.destinations.iter().map(|(name, destination)| {
        let described = describe_destination(destination);
        let first = match &destination.buffers {
            _ if is_alone => String::new(),
            buffers => format!("; first {}", buffers.join(", then ")),
        };
        format!("  destination {name}: {described}{first}\n")
    });
    let components: Vec<String> = sources.chain(destinations).collect();
    lines(warnings) + &total + &rings.concat() + &components.concat()
}

fn several_rings(config: &Config) -> Vec<String> {
    let bytes = config.buffers.values().map(|buffer| buffer.size.as_u64());
    let total = format!(
        "; {} rings, together {}, in {}\n",
        config.buffers.len(),
        ByteSize::bytes(bytes.sum()),
        config.agent.state_dir.display(),
    );
    let rings = config.buffers.iter().map(|(name, buffer)| {
        let (size, full) = (buffer.size, when_full(buffer));
        format!("  buffer {name}: {size}; {full}\n")
    });
    [total].into_iter().chain(rings).collect()
}

fn when_full(buffer: &BufferConfig) -> &'static str {
    match buffer.when_full {
        WhenFull::EvictOldest => "when it is full, the oldest records make room",
        WhenFull::Block => "when it is full, sources wait",
    }
}

/// What is wrong with files that are read when a connection is made. They may still appear, and so
/// are no reason to refuse the configuration.
fn unreadable_tls(config: &Config) -> String {
    client_tls(config)
        .filter_map(|(path, tls)| Some((path, tls::client_config(tls).err()?)))
        .chain(unreadable_server_tls(config))
        .map(|(path, error)| format!("warning: {path}.tls: {error}\n"))
        .chain(unreadable_passwords(config))
        .collect::<Vec<_>>()
        .concat()
}

/// The TLS of everything that connects to somebody, with what it belongs to.
pub(crate) fn client_tls(config: &Config) -> impl Iterator<Item = (String, &TlsConfig)> {
    let sources = config.sources.iter().filter_map(|(name, source)| {
        let tls = match &source.kind {
            SourceKind::Mqtt(mqtt) => mqtt.brokers.iter().find_map(|broker| broker.tls.as_ref()),
            SourceKind::MqttListener(_) | SourceKind::File(_) | SourceKind::Syslog(_) => None,
        };
        Some((format!("sources.{name}"), tls?))
    });
    let destinations = config
        .destinations
        .iter()
        .filter_map(|(name, destination)| {
            let tls = match &destination.kind {
                DestinationKind::Firehose(firehose) => &firehose.tls,
                DestinationKind::Kinesis(kinesis) => &kinesis.tls,
                DestinationKind::Http(http) => &http.tls,
                DestinationKind::S3(s3) => &s3.tls,
                DestinationKind::Redshift(redshift) => &redshift.store.tls,
                DestinationKind::Directory(_) => return None,
            };
            Some((format!("destinations.{name}"), tls))
        });
    sources.chain(destinations)
}

/// The TLS of everything that listens, with what it belongs to.
pub(crate) fn server_tls(config: &Config) -> impl Iterator<Item = (String, &ServerTlsConfig)> {
    config.sources.iter().filter_map(|(name, source)| {
        let tls = match &source.kind {
            SourceKind::MqttListener(listener) => listener.tls.as_ref(),
            SourceKind::Syslog(syslog) => syslog.tls.as_ref(),
            SourceKind::Mqtt(_) | SourceKind::File(_) => None,
        };
        Some((format!("sources.{name}"), tls?))
    })
}

/// What is wrong with password files of listeners.
fn unreadable_passwords(config: &Config) -> impl Iterator<Item = String> {
    config.sources.iter().filter_map(|(name, source)| {
        let path = match &source.kind {
            SourceKind::MqttListener(listener) => listener.password_file.as_deref(),
            SourceKind::Mqtt(_) | SourceKind::File(_) | SourceKind::Syslog(_) => None,
        };
        let error = read_passwords(path?).err()?;
        Some(format!("warning: sources.{name}.password_file: {error}\n"))
    })
}

/// What is wrong with files that a listener shows to its clients.
fn unreadable_server_tls(config: &Config) -> impl Iterator<Item = (String, TlsError)> {
    server_tls(config).filter_map(|(path, tls)| {
        let config = tls::server::server_config(tls, Clock::start());
        Some((path, config.err()?))
    })
}

fn lines(problems: &[Problem]) -> String {
    problems
        .iter()
        .flat_map(|problem| [problem.to_string(), "\n".to_owned()])
        .collect()
}

/// `1 source`, `2 sources`.
fn counted(count: usize, singular: &str) -> String {
    match count {
        1 => format!("1 {singular}"),
        _ => format!("{count} {singular}s"),
    }
}

fn describe_source(source: &SourceConfig) -> String {
    let kind = match &source.kind {
        SourceKind::Mqtt(mqtt) => {
            let topics = mqtt.topics.join(", ");
            let brokers: Vec<String> = mqtt.brokers.iter().map(describe_broker).collect();
            format!("subscribes to {topics} at {}", brokers.join(", else at "))
        }
        SourceKind::MqttListener(listener) => {
            let tls = match &listener.tls {
                None => "",
                Some(tls) if tls.client_ca_file.is_none() => " with TLS",
                Some(_) => " with TLS and client certificates",
            };
            format!("takes MQTT from devices at {}{tls}", listener.listen)
        }
        SourceKind::File(file) => format!("follows {}", file.paths.join(", ")),
        SourceKind::Syslog(syslog) => {
            let places = syslog.listen.iter().map(ToString::to_string);
            let places: Vec<String> = places.collect();
            format!("takes syslog at {}", places.join(", "))
        }
    };
    let transforms = source
        .transforms
        .iter()
        .map(|transform| transform.name.as_str());
    kind + &through(transforms)
}

fn describe_broker(broker: &MqttBroker) -> String {
    let (host, port) = (&broker.host, broker.port);
    let tls = if broker.tls.is_some() {
        " with TLS"
    } else {
        ""
    };
    let websocket = if broker.websocket_path.is_some() {
        " over WebSocket"
    } else {
        ""
    };
    format!("{host}:{port}{tls}{websocket}")
}

fn describe_destination(destination: &DestinationConfig) -> String {
    let kind = match &destination.kind {
        DestinationKind::Firehose(firehose) => {
            format!("Firehose stream {} in {}", firehose.stream, firehose.region)
        }
        DestinationKind::Kinesis(kinesis) => {
            format!("Kinesis stream {} in {}", kinesis.stream, kinesis.region)
        }
        DestinationKind::Http(http) => origin(&http.url).to_owned(),
        DestinationKind::S3(s3) => match &s3.endpoint {
            Some(endpoint) => format!("bucket {} at {}", s3.bucket, origin(endpoint)),
            None => format!("bucket {} in {}", s3.bucket, s3.region),
        },
        DestinationKind::Redshift(redshift) => {
            let (table, region) = (&redshift.table, &redshift.region);
            let bucket = &redshift.store.bucket;
            let warehouse = match &redshift.warehouse {
                Warehouse::Cluster(cluster) => format!("cluster {cluster}"),
                Warehouse::Workgroup(workgroup) => format!("workgroup {workgroup}"),
            };
            format!("table {table} of Redshift {warehouse} in {region}, through bucket {bucket}")
        }
        DestinationKind::Directory(directory) => {
            format!(
                "files in {}, at most {}",
                directory.path.display(),
                directory.bytes_max
            )
        }
    };
    let from = match &destination.from {
        _ if destination.is_standby => "nothing of its own".to_owned(),
        None => "every source".to_owned(),
        Some(names) => names.join(", "),
    };
    let BatchConfig {
        bytes_max,
        count_max,
        age_max,
    } = &destination.batch;
    let age_max = DurationText(*age_max);
    let transforms = destination
        .transforms
        .iter()
        .map(|transform| transform.name.as_str());
    let fallback = destination
        .fallback
        .as_ref()
        .map_or_else(String::new, |to| {
            format!(
                "; to {} when it fails for {}",
                to.name,
                DurationText(to.after)
            )
        });
    format!(
        "{kind}; from {from}{}; a batch is {bytes_max}, {count_max} records or {age_max}{fallback}",
        through(transforms)
    )
}

/// Scheme and host of `url`; what follows them may be a secret.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url.get(host..).and_then(|rest| rest.find(['/', '?', '#']));
    end.and_then(|end| url.get(..host + end)).unwrap_or(url)
}

fn through<'a>(transforms: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = transforms.collect();
    if names.is_empty() {
        String::new()
    } else {
        format!(" through {}", names.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_no_path() {
        for (url, expected) in [
            ("https://c.example/hook/secret?x=1", "https://c.example"),
            ("https://c.example:8443", "https://c.example:8443"),
            ("http://[::1]:80?token=secret", "http://[::1]:80"),
        ] {
            assert_eq!(origin(url), expected);
        }
    }

    #[test]
    fn a_summary_says_what_would_run() {
        let text = pipeline::config::SourceText::new(
            "h.toml",
            "[agent]\nid = \"a\"\n[sources.app]\ntype = \"file\"\npaths = [\"/a\"]\n\
             transforms = [\"few\"]\n[transforms.few]\ntype = \"sample\"\none_in = 2\n\
             [destinations.out]\ntype = \"http\"\nurl = \"https://c.example/secret\"\n",
        );
        let environment = pipeline::config::Environment::empty();
        let (config, warnings) = pipeline::config::load(&[text], &environment).unwrap();
        assert_eq!(
            summary(&config, &warnings),
            "OK: 1 source, 1 destination; ring 512 MiB in /var/lib/hydrant \
             (when it is full, the oldest records make room)\n  \
             source app: follows /a through few\n  \
             destination out: https://c.example; from every source; \
             a batch is 1 MB, 10000 records or 10s\n"
        );
    }

    #[test]
    fn a_summary_names_the_buffers_once_there_are_several() {
        let text = pipeline::config::SourceText::new(
            "h.toml",
            "[agent]\nid = \"a\"\n[buffers.alarms]\nsize = \"16MiB\"\nwhen_full = \"block\"\n\
             [sources.app]\ntype = \"file\"\npaths = [\"/a\"]\n\
             [sources.bell]\ntype = \"file\"\npaths = [\"/b\"]\nbuffer = \"alarms\"\n\
             [destinations.out]\ntype = \"directory\"\npath = \"/out\"\n",
        );
        let environment = pipeline::config::Environment::empty();
        let (config, warnings) = pipeline::config::load(&[text], &environment).unwrap();
        assert_eq!(
            summary(&config, &warnings),
            "OK: 2 sources, 1 destination; 2 rings, together 528 MiB, in /var/lib/hydrant\n  \
             buffer alarms: 16 MiB; when it is full, sources wait\n  \
             buffer default: 512 MiB; when it is full, the oldest records make room\n  \
             source app: follows /a; into default\n  \
             source bell: follows /b; into alarms\n  \
             destination out: files in /out, at most 1 GiB; from every source; \
             a batch is 16 MiB, 1000000 records or 1m; first alarms, then default\n"
        );
    }

    #[test]
    fn a_report_counts_its_errors() {
        let problems = [Problem::of_file("h.toml", "is not UTF-8")];
        let expected = "h.toml: is not UTF-8\n1 error found";
        assert_eq!(report(&problems), expected);
    }
}

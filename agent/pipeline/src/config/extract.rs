//! From checked settings to the configuration as it is meant.
//!
//! `None` means that a key is missing which was reported already; what is here must agree with the
//! table of keys, which a test holds for every key.

mod aws;
mod credentials;
mod fallback;
mod file;
mod listener;
mod redshift;
mod s3;
mod syslog;
mod tls;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::decode::mqtt::{TopicTemplate, TopicTemplates};

use super::Parts;
use super::model::{
    AgentConfig, BatchConfig, BufferConfig, Compression, Config, DEFAULT_BUFFER, DeadLetterConfig,
    DestinationConfig, DestinationKind, DirectoryConfig, DrainConfig, DrainOrder, EncryptionConfig,
    Format, FrameCompression, HttpAuth, HttpConfig, HttpMethod, KeySource, LetterShape, LogLevel,
    MqttBroker, MqttConfig, MqttVersion, ParseFormat, Qos, RedactWith, RetryConfig,
    ServerTlsConfig, SourceConfig, SourceKind, TransformConfig, TransformKind, WhenFull,
};
use super::settings::{Component, Settings, Url, Value};
use tls::tls;

/// The whole configuration.
pub(super) fn config(parts: &Parts) -> Option<Config> {
    let agent = agent(&parts.agent)?;
    let transforms: BTreeMap<&str, TransformConfig> = parts
        .transforms
        .iter()
        .map(|(name, component)| Some((name.as_str(), transform(name, component)?)))
        .collect::<Option<_>>()?;
    let sources = parts.sources.iter().map(|(name, component)| {
        let source = SourceConfig {
            kind: source(&agent, name, component)?,
            buffer: owned(&component.settings, "buffer")?,
            transforms: named(&transforms, &component.settings)?,
        };
        Some((name.clone(), source))
    });
    let sources = sources.collect::<Option<_>>()?;
    let buffers = buffers(parts)?;
    let destinations = parts.destinations.iter().map(|(name, component)| {
        Some((
            name.clone(),
            destination(&agent, name, component, &transforms, &buffers)?,
        ))
    });
    let mut destinations: BTreeMap<String, DestinationConfig> =
        destinations.collect::<Option<_>>()?;
    fallback::attach(parts, &mut destinations)?;
    Some(Config {
        agent,
        buffers,
        sources,
        destinations,
    })
}

/// What concerns the ring.
pub(super) fn ring(
    of_agent: &Settings,
    of_buffer: &Settings,
) -> Option<(AgentConfig, BufferConfig)> {
    Some((agent(of_agent)?, buffer(of_buffer)?))
}

/// What a transform does.
pub(super) fn transform(name: &str, component: &Component) -> Option<TransformConfig> {
    let settings = &component.settings;
    let kind = match component.kind {
        "parse" => TransformKind::Parse {
            format: parse_format(settings)?,
            field: owned(settings, "field"),
            into: owned(settings, "into"),
        },
        "filter" => TransformKind::Filter {
            keep: owned(settings, "keep")?,
        },
        "set" => {
            let fields = settings
                .map("fields")?
                .iter()
                .filter_map(|(name, setting)| {
                    let Value::Json(value) = &setting.value else {
                        return None;
                    };
                    Some((name.clone(), value.clone()))
                });
            TransformKind::Set {
                fields: fields.collect(),
            }
        }
        "remove" => TransformKind::Remove {
            fields: settings.texts("fields"),
        },
        "rename" => {
            let fields = settings
                .map("fields")?
                .iter()
                .filter_map(|(name, setting)| Some((name.clone(), setting.text()?.to_owned())));
            TransformKind::Rename {
                fields: fields.collect(),
            }
        }
        "keep_only" => TransformKind::KeepOnly {
            fields: settings.texts("fields"),
        },
        "sample" => TransformKind::Sample {
            one_in: settings.integer("one_in")?,
        },
        "redact" => TransformKind::Redact {
            fields: settings.texts("fields"),
            patterns: settings.texts("patterns"),
            with: match settings.secret("hash_key") {
                Some(key) => RedactWith::Hash(key.clone()),
                None => RedactWith::Mask(settings.text("mask").unwrap_or("***").to_owned()),
            },
        },
        _ => return None,
    };
    Some(TransformConfig {
        name: name.to_owned(),
        kind,
    })
}

/// Where the dead letters of a destination are kept when nothing else is written.
pub(super) fn dead_letter_path(state_dir: &Path, name: &str) -> PathBuf {
    state_dir.join("dead-letter").join(name)
}

fn owned(settings: &Settings, key: &str) -> Option<String> {
    settings.text(key).map(str::to_owned)
}

fn path(settings: &Settings, key: &str) -> Option<PathBuf> {
    settings.text(key).map(PathBuf::from)
}

fn named(
    transforms: &BTreeMap<&str, TransformConfig>,
    settings: &Settings,
) -> Option<Vec<TransformConfig>> {
    let names = settings.texts("transforms");
    names
        .iter()
        .map(|name| transforms.get(name.as_str()).cloned())
        .collect()
}

fn agent(settings: &Settings) -> Option<AgentConfig> {
    Some(AgentConfig {
        id: owned(settings, "id")?,
        state_dir: path(settings, "state_dir")?,
        control_socket: path(settings, "control_socket")?,
        metrics_listen: settings.address("metrics_listen"),
        is_clock_trusted: settings.text("clock")? == "trusted",
        is_confined: settings.bool("landlock")?,
        log_level: match settings.text("log_level")? {
            "error" => LogLevel::Error,
            "warn" => LogLevel::Warn,
            "info" => LogLevel::Info,
            "debug" => LogLevel::Debug,
            "trace" => LogLevel::Trace,
            _ => return None,
        },
    })
}

/// Every buffer by its name, the one without a name among them.
fn buffers(parts: &Parts) -> Option<BTreeMap<String, BufferConfig>> {
    let default = (DEFAULT_BUFFER.to_owned(), buffer(&parts.buffer)?);
    let named = parts.buffers.iter();
    named
        .map(|(name, settings)| Some((name.clone(), buffer(settings)?)))
        .chain([Some(default)])
        .collect()
}

fn buffer(settings: &Settings) -> Option<BufferConfig> {
    Some(BufferConfig {
        size: settings.size("size")?,
        when_full: match settings.text("when_full")? {
            "evict_oldest" => WhenFull::EvictOldest,
            "block" => WhenFull::Block,
            _ => return None,
        },
        sync_delay_max: settings.duration("sync_delay_max")?,
        sync_bytes: settings.size("sync_bytes")?,
        write_budget: settings.size("write_budget"),
        compression: match settings.text("compression")? {
            "none" => FrameCompression::None,
            "snappy" => FrameCompression::Snappy,
            "zstd" => FrameCompression::Zstd {
                level: settings.integer("compression_level").unwrap_or(1),
            },
            _ => return None,
        },
        encryption: encryption(settings.table("encryption")?),
    })
}

fn encryption(settings: &Settings) -> Option<EncryptionConfig> {
    let key = match path(settings, "key_file") {
        Some(path) => KeySource::File(path),
        None => KeySource::Credential(owned(settings, "credential")?),
    };
    let old_key_files = settings.texts("old_key_files");
    Some(EncryptionConfig {
        key,
        old_key_files: old_key_files.into_iter().map(PathBuf::from).collect(),
    })
}

fn source(agent: &AgentConfig, name: &str, component: &Component) -> Option<SourceKind> {
    let settings = &component.settings;
    Some(match component.kind {
        "mqtt" => SourceKind::Mqtt(mqtt(agent, name, settings)?),
        "mqtt_listener" => SourceKind::MqttListener(listener::config(settings)?),
        "file" => SourceKind::File(file::file(settings)?),
        "syslog" => SourceKind::Syslog(syslog::config(settings)?),
        _ => return None,
    })
}

fn mqtt(agent: &AgentConfig, name: &str, settings: &Settings) -> Option<MqttConfig> {
    let client_id = owned(settings, "client_id");
    let brokers = settings.urls("url");
    Some(MqttConfig {
        brokers: brokers
            .map(|(_, url)| broker(settings, url))
            .collect::<Option<_>>()?,
        return_interval: settings.duration("return_interval")?,
        version: match settings.text("version")? {
            "3.1.1" => MqttVersion::V311,
            "5" => MqttVersion::V5,
            _ => return None,
        },
        client_id: client_id.unwrap_or_else(|| format!("hydrant-{}-{name}", agent.id)),
        topics: settings.texts("topics"),
        topic_templates: topic_templates(settings),
        qos: match settings.integer("qos")? {
            0_u64 => Qos::AtMostOnce,
            1 => Qos::AtLeastOnce,
            2 => Qos::ExactlyOnce,
            _ => return None,
        },
        username: owned(settings, "username"),
        password: settings.secret("password").cloned(),
        keep_alive: settings.duration("keep_alive")?,
        session_expiry: settings.duration("session_expiry")?,
        packet_bytes_max: settings.size("packet_bytes_max")?,
        in_flight_max: settings.integer("in_flight_max")?,
    })
}

fn broker(settings: &Settings, url: &Url) -> Option<MqttBroker> {
    let (port, is_secure, is_websocket) = match url.scheme {
        "mqtt" => (1883, false, false),
        "mqtts" => (8883, true, false),
        "ws" => (80, false, true),
        "wss" => (443, true, true),
        _ => return None,
    };
    let path = match url.tail.as_str() {
        "" | "/" => "/mqtt",
        path => path,
    };
    Some(MqttBroker {
        host: url.host.clone(),
        port: url.port.unwrap_or(port),
        tls: if is_secure {
            Some(tls(settings)?)
        } else {
            None
        },
        websocket_path: is_websocket.then(|| path.to_owned()),
    })
}

fn topic_templates(settings: &Settings) -> TopicTemplates {
    let texts = settings.texts("topic_template");
    // What is no template was reported.
    let templates = texts
        .iter()
        .filter_map(|text| TopicTemplate::parse(text).ok());
    TopicTemplates::new(templates.collect())
}

/// TLS of a listener, when it is asked for.
fn server_tls(settings: &Settings) -> Option<ServerTlsConfig> {
    let tls = settings.table("tls")?;
    Some(ServerTlsConfig {
        certificate_file: path(tls, "certificate_file")?,
        key_file: path(tls, "key_file")?,
        client_ca_file: path(tls, "client_ca_file"),
    })
}

fn parse_format(settings: &Settings) -> Option<ParseFormat> {
    Some(match settings.text("format")? {
        "json" => ParseFormat::Json,
        "key_value" => ParseFormat::KeyValue,
        "regex" => ParseFormat::Regex {
            pattern: owned(settings, "pattern")?,
        },
        _ => return None,
    })
}

fn destination(
    agent: &AgentConfig,
    name: &str,
    component: &Component,
    transforms: &BTreeMap<&str, TransformConfig>,
    buffers: &BTreeMap<String, BufferConfig>,
) -> Option<DestinationConfig> {
    let settings = &component.settings;
    let dead_letter = settings.table("dead_letter")?;
    Some(DestinationConfig {
        kind: match component.kind {
            "firehose" => DestinationKind::Firehose(aws::firehose(settings)?),
            "kinesis" => DestinationKind::Kinesis(aws::kinesis(settings)?),
            "http" => DestinationKind::Http(http(settings)?),
            "directory" => DestinationKind::Directory(DirectoryConfig {
                path: path(settings, "path")?,
                bytes_max: settings.size("bytes_max")?,
                writers: vec![name.to_owned()],
            }),
            "s3" => DestinationKind::S3(Box::new(s3::s3(settings)?)),
            "redshift" => DestinationKind::Redshift(Box::new(redshift::redshift(settings)?)),
            _ => return None,
        },
        from: settings.get("from").map(|_| settings.texts("from")),
        buffers: match settings.get("buffers") {
            Some(_) => settings.texts("buffers"),
            None => every_buffer(buffers),
        },
        transforms: named(transforms, settings)?,
        batch: batch(settings.table("batch")?)?,
        format: match settings.text("format")? {
            "ndjson" => Format::Ndjson,
            "json_array" => Format::JsonArray,
            "raw" => Format::Raw,
            _ => return None,
        },
        metadata: settings.bool("metadata")?,
        compression: compression(settings)?,
        compression_level: settings.integer("compression_level"),
        retry: retry(settings.table("retry")?)?,
        // The others send a batch in one piece, one after the other.
        concurrency_max: settings.integer("concurrency_max").unwrap_or(1),
        quota: aws::quota(settings),
        drain: drain(settings.table("drain")?)?,
        dead_letter: DeadLetterConfig {
            path: path(dead_letter, "path")
                .unwrap_or_else(|| dead_letter_path(&agent.state_dir, name)),
            bytes_max: dead_letter.size("bytes_max")?,
            shape: match (dead_letter.text("shape"), dead_letter.text("destination")) {
                (Some("record"), _) | (None, None) => LetterShape::Record,
                (Some("firehose"), _) | (None, Some(_)) => LetterShape::Firehose,
                (Some(_), _) => return None,
            },
            destination: None,
        },
        is_standby: settings.bool("standby")?,
        fallback: None,
    })
}

/// Names of all buffers: what was given a name of its own is meant to go first.
fn every_buffer(buffers: &BTreeMap<String, BufferConfig>) -> Vec<String> {
    let named = buffers.keys().filter(|name| *name != DEFAULT_BUFFER);
    named.cloned().chain([DEFAULT_BUFFER.to_owned()]).collect()
}

fn batch(settings: &Settings) -> Option<BatchConfig> {
    Some(BatchConfig {
        bytes_max: settings.size("bytes_max")?,
        count_max: settings.integer("count_max")?,
        age_max: settings.duration("age_max")?,
    })
}

fn compression(settings: &Settings) -> Option<Compression> {
    Some(match settings.text("compression")? {
        "none" => Compression::None,
        "gzip" => Compression::Gzip,
        "zip" => Compression::Zip,
        "snappy" => Compression::Snappy,
        "hadoop_snappy" => Compression::HadoopSnappy,
        "zstd" => Compression::Zstd,
        _ => return None,
    })
}

fn retry(settings: &Settings) -> Option<RetryConfig> {
    Some(RetryConfig {
        initial: settings.duration("initial")?,
        max: settings.duration("max")?,
        give_up_after: settings.duration("give_up_after"),
        timeout: settings.duration("timeout")?,
    })
}

fn drain(settings: &Settings) -> Option<DrainConfig> {
    Some(DrainConfig {
        order: match settings.text("order")? {
            "oldest_first" => DrainOrder::OldestFirst,
            "newest_first" => DrainOrder::NewestFirst,
            _ => return None,
        },
        live_age_max: settings.duration("live_age_max")?,
        backlog_share_percent: settings.integer("backlog_share_percent")?,
    })
}

fn http(settings: &Settings) -> Option<HttpConfig> {
    let headers = settings
        .map("headers")
        .into_iter()
        .flatten()
        .filter_map(|(name, setting)| {
            let Value::Secret(secret) = &setting.value else {
                return None;
            };
            Some((name.clone(), secret.clone()))
        });
    Some(HttpConfig {
        url: settings.url("url")?.text.clone(),
        method: match settings.text("method")? {
            "POST" => HttpMethod::Post,
            "PUT" => HttpMethod::Put,
            "PATCH" => HttpMethod::Patch,
            _ => return None,
        },
        headers: headers.collect(),
        auth: match (settings.secret("bearer"), settings.text("username")) {
            (Some(token), _) => HttpAuth::Bearer(token.clone()),
            (None, Some(username)) => HttpAuth::Basic {
                username: username.to_owned(),
                password: settings.secret("password")?.clone(),
            },
            (None, None) => HttpAuth::None,
        },
        tls: tls(settings)?,
    })
}

//! The configuration as it is meant: complete, with defaults filled in, every value in bounds.
//!
//! Only [`crate::config`] makes these values, from text; the rest of the program reads them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::units::{ByteSize, Secret};
use crate::time::WallClock;

/// Name of the buffer that `[buffer]` configures.
pub const DEFAULT_BUFFER: &str = "default";

/// How many buffers there may be: each has a thread, a queue and its own place in memory.
pub const BUFFERS_MAX: usize = 8;

/// Everything an agent was told to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The agent itself.
    pub agent: AgentConfig,
    /// Buffers by name, [`DEFAULT_BUFFER`] always among them and [`BUFFERS_MAX`] at most.
    pub buffers: BTreeMap<String, BufferConfig>,
    /// Sources by name.
    pub sources: BTreeMap<String, SourceConfig>,
    /// Destinations by name.
    pub destinations: BTreeMap<String, DestinationConfig>,
}

/// `[agent]`.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentConfig {
    /// Name of this gateway in records, object keys and client ids.
    pub id: String,
    /// Where the ring and the dead letters live.
    pub state_dir: PathBuf,
    /// The control socket that `hydrant status` asks.
    pub control_socket: PathBuf,
    /// Where the counters are served as Prometheus text.
    pub metrics_listen: Option<SocketAddr>,
    /// The least severe level that is logged.
    pub log_level: LogLevel,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Only what needs a person.
    Error,
    /// What a person should look at.
    Warn,
    /// What happened.
    Info,
    /// How it happened.
    Debug,
    /// Everything.
    Trace,
}

/// The table that configures the buffer `name`, as it is written: `buffer` or `buffers.NAME`.
pub fn buffer_table(name: &str) -> String {
    if name == DEFAULT_BUFFER {
        "buffer".to_owned()
    } else {
        format!("buffers.{name}")
    }
}

/// `[buffer]` or `[buffers.NAME]`.
#[derive(Clone, Debug, PartialEq)]
pub struct BufferConfig {
    /// Size of the ring file; taken whole at the first start.
    pub size: ByteSize,
    /// What happens when no space is left.
    pub when_full: WhenFull,
    /// The longest a record waits for its sync.
    pub sync_delay_max: Duration,
    /// So many waiting bytes cause a sync at once.
    pub sync_bytes: ByteSize,
    /// What may be written to the disk in a day.
    pub write_budget: Option<ByteSize>,
    /// Whether frames are compressed on disk when that saves.
    pub compression: FrameCompression,
    /// Whether and how frames are encrypted on disk.
    pub encryption: Option<EncryptionConfig>,
}

/// `[buffer.encryption]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncryptionConfig {
    /// Where the key is.
    pub key: KeySource,
    /// Files with the keys of older records.
    pub old_key_files: Vec<PathBuf>,
}

/// Where a key comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// This file.
    File(PathBuf),
    /// The systemd credential of this name.
    Credential(String),
}

/// What happens when the ring is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// The oldest records make room and are counted.
    EvictOldest,
    /// Sources that can wait are made to wait.
    Block,
}

/// How frames are compressed in the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameCompression {
    /// Not at all.
    None,
    /// Snappy, when it saves.
    Snappy,
}

/// `[sources.NAME]`.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceConfig {
    /// Where records come from.
    pub kind: SourceKind,
    /// Name of the buffer that they are stored in.
    pub buffer: String,
    /// What is done to them before they are stored.
    pub transforms: Vec<TransformConfig>,
}

/// Where records come from.
#[derive(Clone, Debug, PartialEq)]
pub enum SourceKind {
    /// A broker that Hydrant subscribes to.
    Mqtt(MqttConfig),
    /// Devices that publish straight to Hydrant.
    MqttListener(MqttListenerConfig),
    /// Files that are followed.
    File(FileConfig),
    /// Syslog senders.
    Syslog(SyslogConfig),
}

/// `type = "mqtt"`.
#[derive(Clone, Debug, PartialEq)]
pub struct MqttConfig {
    /// Host name or address of the broker.
    pub host: String,
    /// TCP port; 1883, or 8883 with TLS, when the URL names none.
    pub port: u16,
    /// TLS, for `mqtts://`.
    pub tls: Option<TlsConfig>,
    /// Protocol version.
    pub version: MqttVersion,
    /// Stable over restarts, so that the broker keeps the session.
    pub client_id: String,
    /// Topic filters.
    pub topics: Vec<String>,
    /// The quality of service asked for.
    pub qos: Qos,
    /// User name.
    pub username: Option<String>,
    /// Password.
    pub password: Option<Secret>,
    /// How often the connection is probed.
    pub keep_alive: Duration,
    /// How long the broker keeps the session (MQTT 5).
    pub session_expiry: Duration,
    /// The largest packet taken.
    pub packet_bytes_max: ByteSize,
    /// How many messages may wait for their acknowledgement: the broker's window.
    pub in_flight_max: u16,
}

/// `type = "mqtt_listener"`.
#[derive(Clone, Debug, PartialEq)]
pub struct MqttListenerConfig {
    /// Where to listen.
    pub listen: SocketAddr,
    /// User name every device must give.
    pub username: Option<String>,
    /// Password every device must give.
    pub password: Option<Secret>,
    /// How many devices at once.
    pub connections_max: usize,
    /// The largest packet taken.
    pub packet_bytes_max: ByteSize,
    /// A device without keep-alive that is silent for so long is disconnected.
    pub idle_max: Duration,
}

/// The versions of MQTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MqttVersion {
    /// MQTT 3.1.1.
    V311,
    /// MQTT 5.
    V5,
}

/// MQTT's quality of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qos {
    /// QoS 0.
    AtMostOnce,
    /// QoS 1.
    AtLeastOnce,
    /// QoS 2.
    ExactlyOnce,
}

/// `type = "file"`.
#[derive(Clone, Debug, PartialEq)]
pub struct FileConfig {
    /// Glob patterns, absolute.
    pub paths: Vec<String>,
    /// Where a file that was there at the first start is begun.
    pub start_at: StartAt,
    /// A longer line is cut and counted.
    pub line_bytes_max: ByteSize,
    /// How often to look even if nothing was heard.
    pub poll_interval: Duration,
}

/// Where a file is begun that has no checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartAt {
    /// With its first line.
    Beginning,
    /// With what is written from now on.
    End,
}

/// `type = "syslog"`.
#[derive(Clone, Debug, PartialEq)]
pub struct SyslogConfig {
    /// Where to listen.
    pub listen: Vec<SyslogListen>,
    /// Time zone of RFC 3164 time stamps: an IANA name; `None` is the machine's own.
    pub timezone: Option<String>,
    /// A longer message is cut and counted.
    pub message_bytes_max: ByteSize,
    /// How many TCP senders at once.
    pub connections_max: usize,
    /// A TCP sender that is silent for so long is disconnected.
    pub idle_max: Duration,
    /// Size asked of the kernel for the UDP socket's buffer.
    pub receive_buffer: ByteSize,
}

/// One place to listen for syslog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyslogListen {
    /// `udp://`.
    Udp(SocketAddr),
    /// `tcp://`.
    Tcp(SocketAddr),
}

/// TLS of a client.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TlsConfig {
    /// PEM file of certificate authorities used instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// PEM file of the client certificate and its chain.
    pub certificate_file: Option<PathBuf>,
    /// PEM file of its private key.
    pub key_file: Option<PathBuf>,
}

/// `[transforms.NAME]`, in the order a source or destination names them.
#[derive(Clone, Debug, PartialEq)]
pub struct TransformConfig {
    /// Its name in the configuration.
    pub name: String,
    /// What it does.
    pub kind: TransformKind,
}

/// What a transform does. Field names may be paths (`a.b`).
#[derive(Clone, Debug, PartialEq)]
pub enum TransformKind {
    /// Looks into the payload, or a text field, and adds what it finds as fields.
    Parse {
        /// How it is written.
        format: ParseFormat,
        /// The field to look into; `None` is the payload.
        field: Option<String>,
        /// The field that takes what is found; `None` is the record itself.
        into: Option<String>,
    },
    /// Keeps a record only if the expression is true.
    Filter {
        /// Expression, as docs/configuration.md describes it.
        keep: String,
    },
    /// Gives fields constant values.
    Set {
        /// Names and values.
        fields: BTreeMap<String, serde_json::Value>,
    },
    /// Takes fields away.
    Remove {
        /// Names.
        fields: Vec<String>,
    },
    /// Gives fields other names.
    Rename {
        /// Old name to new name.
        fields: BTreeMap<String, String>,
    },
    /// Takes every other field away.
    KeepOnly {
        /// Names.
        fields: Vec<String>,
    },
    /// Keeps one record in so many, by a hash so that a repeat decides the same.
    Sample {
        /// One in this many; at least 1.
        one_in: u32,
    },
    /// Hides what must not leave the gateway.
    Redact {
        /// Fields hidden whole.
        fields: Vec<String>,
        /// Patterns hidden in the payload and in every text field.
        patterns: Vec<String>,
        /// How.
        with: RedactWith,
    },
}

/// How a payload is written.
#[derive(Clone, Debug, PartialEq)]
pub enum ParseFormat {
    /// A JSON object.
    Json,
    /// `key=value key="quoted value"`.
    KeyValue,
    /// A regular expression with named groups.
    Regex {
        /// The expression.
        pattern: String,
    },
}

/// How a value is hidden.
#[derive(Clone, Debug, PartialEq)]
pub enum RedactWith {
    /// By this text.
    Mask(String),
    /// By the first 16 hex digits of its HMAC-SHA-256 under this key.
    Hash(Secret),
}

/// `[destinations.NAME]`.
#[derive(Clone, Debug, PartialEq)]
pub struct DestinationConfig {
    /// Where records go.
    pub kind: DestinationKind,
    /// Names of the sources it takes; `None` is every source.
    pub from: Option<Vec<String>>,
    /// Names of the buffers it takes from, in the order of their priority; at least one.
    pub buffers: Vec<String>,
    /// What is done to records on the way out.
    pub transforms: Vec<TransformConfig>,
    /// When a batch is complete.
    pub batch: BatchConfig,
    /// How a batch is written.
    pub format: Format,
    /// Whether ndjson and `json_array` records carry id, source, agent and times.
    pub metadata: bool,
    /// How it is compressed.
    pub compression: Compression,
    /// How it is tried again.
    pub retry: RetryConfig,
    /// In which order waiting records leave.
    pub drain: DrainConfig,
    /// Where refused records are kept.
    pub dead_letter: DeadLetterConfig,
}

/// In which order waiting records leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainConfig {
    /// What goes first.
    pub order: DrainOrder,
    /// What was received longer ago is no live data.
    pub live_age_max: Duration,
    /// So many of a hundred bytes are kept for backlogs and replays; 1 to 90.
    pub backlog_share_percent: u8,
}

impl DestinationConfig {
    /// Whether a full batch whose oldest record was `received` so long ago, with more behind it, is
    /// to be left to a backlog.
    pub fn is_overdue(&self, now: WallClock, received: WallClock) -> bool {
        let DrainConfig {
            order,
            live_age_max,
            ..
        } = self.drain;
        // A batch may take its whole age to become full.
        let age_max = live_age_max.saturating_add(self.batch.age_max);
        order == DrainOrder::NewestFirst && now.since(received) > age_max
    }
}

/// What goes first when much waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrainOrder {
    /// The oldest record.
    OldestFirst,
    /// What comes in; the backlog goes in the gaps.
    NewestFirst,
}

/// Where records go.
#[derive(Clone, Debug, PartialEq)]
pub enum DestinationKind {
    /// Amazon Data Firehose.
    Firehose(FirehoseConfig),
    /// Any HTTP endpoint.
    Http(HttpConfig),
    /// Files in a folder.
    Directory(DirectoryConfig),
}

/// When a batch is complete: whichever comes first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchConfig {
    /// So many bytes before compression.
    pub bytes_max: ByteSize,
    /// So many records.
    pub count_max: u32,
    /// So long after its first record was taken; 0 to 900 s, at 0 a record leaves at once.
    pub age_max: Duration,
}

/// How records are written one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A JSON object a line.
    Ndjson,
    /// One JSON array.
    JsonArray,
    /// The payload, a line each.
    Raw,
}

/// How a batch is compressed, as Firehose names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// RFC 1952.
    Gzip,
    /// An archive with one deflated file.
    Zip,
    /// The stream of snappy-java.
    Snappy,
    /// Hadoop's block framing.
    HadoopSnappy,
}

/// How a failed batch is tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryConfig {
    /// The ceiling of the first wait.
    pub initial: Duration,
    /// The ceiling of every wait.
    pub max: Duration,
    /// After so long a batch goes to the dead letter; `None` never gives up.
    pub give_up_after: Option<Duration>,
    /// How long one request may take.
    pub timeout: Duration,
}

/// Where refused records are kept, as NDJSON files.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetterConfig {
    /// The folder; by default `dead-letter/NAME` in the state directory.
    pub path: PathBuf,
    /// The size of the folder; the oldest files make room.
    pub bytes_max: ByteSize,
}

/// `type = "firehose"`.
#[derive(Clone, Debug, PartialEq)]
pub struct FirehoseConfig {
    /// Name of the delivery stream.
    pub stream: String,
    /// AWS region, which also names the endpoint.
    pub region: String,
    /// Another endpoint, for tests and VPC endpoints.
    pub endpoint: Option<String>,
    /// Whether small records share a Firehose record.
    pub packing: Packing,
    /// Where the keys come from.
    pub credentials: CredentialsConfig,
    /// TLS.
    pub tls: TlsConfig,
}

/// Whether small records share a Firehose record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// One record in each.
    None,
    /// Newline-terminated lines up to about `hint` bytes.
    Lines {
        /// A Firehose record is closed before it grows beyond this.
        hint: ByteSize,
    },
}

/// Where AWS keys come from.
#[derive(Clone, Debug, PartialEq)]
pub enum CredentialsConfig {
    /// From the configuration.
    Static {
        /// Access key id.
        access_key_id: String,
        /// Secret access key.
        secret_access_key: Secret,
        /// Token of temporary credentials.
        session_token: Option<Secret>,
    },
    /// `AWS_ACCESS_KEY_ID` and so on, else the shared credentials file.
    Default {
        /// Profile in the shared file.
        profile: Option<String>,
        /// The shared file; `None` is `AWS_SHARED_CREDENTIALS_FILE` or `~/.aws/credentials`.
        file: Option<PathBuf>,
    },
}

/// `type = "http"`.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpConfig {
    /// Where to.
    pub url: String,
    /// POST, PUT or PATCH.
    pub method: HttpMethod,
    /// More headers.
    pub headers: BTreeMap<String, Secret>,
    /// Who asks.
    pub auth: HttpAuth,
    /// TLS.
    pub tls: TlsConfig,
}

/// The methods that carry a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpMethod {
    /// POST.
    Post,
    /// PUT.
    Put,
    /// PATCH.
    Patch,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq)]
pub enum HttpAuth {
    /// Nobody in particular.
    None,
    /// `Authorization: Bearer`.
    Bearer(Secret),
    /// `Authorization: Basic`.
    Basic {
        /// User name.
        username: String,
        /// Password.
        password: Secret,
    },
}

/// `type = "directory"`.
#[derive(Clone, Debug, PartialEq)]
pub struct DirectoryConfig {
    /// The folder.
    pub path: PathBuf,
    /// The size of the folder; the oldest files make room.
    pub bytes_max: ByteSize,
}

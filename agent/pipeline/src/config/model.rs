//! The configuration as it is meant: complete, with defaults filled in, every value in bounds.
//!
//! Only [`crate::config`] makes these values, from text; the rest of the program reads them.

mod credentials;
mod destination;
mod mqtt;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::decode::mqtt::TopicTemplates;

use super::units::{ByteSize, Secret};
use crate::certificate::KeyPin;
use crate::rate_limit::RateLimit;
pub use credentials::*;
pub use destination::*;
pub use mqtt::*;

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
    /// Whether the machine's clock is believed as it is.
    pub is_clock_trusted: bool,
    /// Whether the process confines itself to the folders that it is configured to write to.
    pub is_confined: bool,
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
    /// Zstandard, when it saves.
    Zstd {
        /// How hard it tries, 1 to 9.
        level: u8,
    },
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

/// `type = "mqtt_listener"`.
#[derive(Clone, Debug, PartialEq)]
pub struct MqttListenerConfig {
    /// Where to listen.
    pub listen: MqttListen,
    /// TLS; without it devices speak in the clear.
    pub tls: Option<ServerTlsConfig>,
    /// User name every device must give.
    pub username: Option<String>,
    /// Password every device must give.
    pub password: Option<Secret>,
    /// File with a user name and a password for each device, as `mosquitto_passwd` writes it.
    pub password_file: Option<PathBuf>,
    /// Topic filters by user name; `None` lets everybody publish everywhere.
    pub rights: Option<BTreeMap<String, Vec<String>>>,
    /// How many devices at once.
    pub connections_max: usize,
    /// The largest packet taken.
    pub packet_bytes_max: ByteSize,
    /// Fields that are read out of the topic.
    pub topic_templates: TopicTemplates,
    /// A device without keep-alive that is silent for so long is disconnected.
    pub idle_max: Duration,
}

/// Where devices are listened for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MqttListen {
    /// A port of its own.
    Address(SocketAddr),
    /// `systemd:`: what the service manager passes under this name.
    Systemd(String),
}

impl fmt::Display for MqttListen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Systemd(name) => write!(f, "systemd:{name}"),
        }
    }
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

impl Qos {
    /// 0, 1 or 2.
    pub const fn level(self) -> u8 {
        match self {
            Self::AtMostOnce => 0,
            Self::AtLeastOnce => 1,
            Self::ExactlyOnce => 2,
        }
    }
}

/// `type = "file"`.
#[derive(Clone, Debug, PartialEq)]
pub struct FileConfig {
    /// Glob patterns, absolute.
    pub paths: Vec<String>,
    /// What of it is left out: glob patterns, absolute or of names.
    pub exclude: Vec<String>,
    /// Where a file that was there at the first start is begun.
    pub start_at: StartAt,
    /// A file that was not written to for so long is not begun.
    pub ignore_older: Option<Duration>,
    /// How many files are open at once.
    pub open_files_max: usize,
    /// Whether the kernel is asked to tell of changes.
    pub watch: Watching,
    /// A longer line is cut and counted.
    pub line_bytes_max: ByteSize,
    /// How often to look even if nothing was heard.
    pub poll_interval: Duration,
    /// How its bytes are characters.
    pub encoding: Encoding,
    /// What is wrapped around the lines of programs.
    pub format: LineFormat,
    /// How lines are joined to records; `None` makes each line one.
    pub multiline: Option<MultilineConfig>,
}

/// How changes of files are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watching {
    /// The kernel tells, as far as it can, and a slow poll finds the rest.
    Auto,
    /// Only by looking.
    Poll,
}

/// How the bytes of a file are characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// UTF-8, and whatever else is kept byte by byte.
    Utf8,
    /// UTF-16, the lower byte first.
    Utf16Le,
    /// UTF-16, the higher byte first.
    Utf16Be,
    /// UTF-16 in the order that the file's byte-order mark says.
    Utf16,
    /// ISO 8859-1.
    Latin1,
}

/// What is wrapped around the lines of programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineFormat {
    /// Nothing.
    Plain,
    /// `TIME STREAM P|F TEXT`, as Kubernetes has it.
    Cri,
    /// A JSON object, as Docker writes it.
    DockerJson,
}

/// `[sources.NAME.multiline]`.
#[derive(Clone, Debug, PartialEq)]
pub struct MultilineConfig {
    /// Which lines belong together.
    pub rule: MultilineRule,
    /// A record whose file is silent for so long is complete.
    pub timeout: Duration,
    /// A longer record is ended and continued in another.
    pub bytes_max: ByteSize,
    /// A record of more lines is ended and continued in another.
    pub lines_max: usize,
}

/// Which lines belong to the line before them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MultilineRule {
    /// Those that do not match this expression.
    Start(String),
    /// Those that match this expression.
    Continuation(String),
    /// Those that begin with a space or a tab.
    Indentation,
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
    /// What `tls://` shows and whom it lets in.
    pub tls: Option<ServerTlsConfig>,
    /// Permissions of unix sockets.
    pub socket_mode: u32,
    /// `USER:GROUP` of unix sockets, as it is written.
    pub socket_owner: Option<String>,
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
    /// How much each sender may send.
    pub rate_limit: Option<RateLimit>,
}

/// One place to listen for syslog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyslogListen {
    /// `udp://`.
    Udp(SocketAddr),
    /// `tcp://`.
    Tcp(SocketAddr),
    /// `tls://`.
    Tls(SocketAddr),
    /// `unix://`: streams.
    Unix(PathBuf),
    /// `unixgram://`: datagrams.
    UnixDatagram(PathBuf),
    /// `systemd:`: what the service manager passes under this name.
    Systemd(String),
}

impl fmt::Display for SyslogListen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp(address) => write!(f, "udp://{address}"),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
            Self::Tls(address) => write!(f, "tls://{address}"),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::UnixDatagram(path) => write!(f, "unixgram://{}", path.display()),
            Self::Systemd(name) => write!(f, "systemd:{name}"),
        }
    }
}

/// TLS of a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsConfig {
    /// PEM file of certificate authorities used instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// PEM file of the client certificate and its chain.
    pub certificate_file: Option<PathBuf>,
    /// PEM file of its private key.
    pub key_file: Option<PathBuf>,
    /// The server's key must be one of these; none is any key.
    pub pins: Vec<KeyPin>,
    /// Whether anything older than TLS 1.3 is refused.
    pub is_1_3_only: bool,
    /// Through whom the server is reached; `None` is as the environment says.
    pub proxy: Option<Box<ProxyConfig>>,
}

/// A proxy, which looks up names itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyConfig {
    /// `http://`, `https://` or `socks5://`, host and port.
    pub url: String,
    /// Who asks.
    pub username: Option<String>,
    /// What shows it.
    pub password: Option<Secret>,
}

/// TLS of a listener.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerTlsConfig {
    /// PEM file of the certificate that clients are shown, and its chain.
    pub certificate_file: PathBuf,
    /// PEM file of its private key.
    pub key_file: PathBuf,
    /// PEM file of the certificate authorities whose clients are let in; `None` is every client,
    /// also without a certificate.
    pub client_ca_file: Option<PathBuf>,
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

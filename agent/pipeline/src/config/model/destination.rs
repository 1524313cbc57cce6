//! Where records go, and how.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::{CredentialsConfig, TlsConfig, TransformConfig};
use crate::config::units::{ByteSize, Secret};
use crate::destination::KeyTemplate;
use crate::destination::redshift::{CopyOptions, TableName};
use crate::destination::s3::KeyPrefix;
use crate::pace::Quota;

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
    /// How hard it tries, 1 to 9; `None` is what each does best for its cost.
    pub compression_level: Option<u8>,
    /// How it is tried again.
    pub retry: RetryConfig,
    /// Calls under way at a time, at most.
    pub concurrency_max: u32,
    /// What its service takes in a second.
    pub quota: Quota,
    /// In which order waiting records leave.
    pub drain: DrainConfig,
    /// Where refused records are kept.
    pub dead_letter: DeadLetterConfig,
    /// Whether it takes no records of its own, and is only there for others.
    pub is_standby: bool,
    /// Who takes its records while it fails.
    pub fallback: Option<Box<FallbackConfig>>,
}

/// The destination that takes the records of one that fails.
#[derive(Clone, Debug, PartialEq)]
pub struct FallbackConfig {
    /// Its name.
    pub name: String,
    /// How long the other must have failed without a success.
    pub after: Duration,
    /// How they go out to it.
    pub way: DestinationConfig,
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
    /// How records of this destination go out by the way of `other`: which records, when they are
    /// given up and where they are kept then stays this one's, how they are written and sent is
    /// the other's. What either's transforms take away is not there for the other's eyes.
    #[must_use]
    pub fn by_way_of(&self, other: &Self) -> Self {
        let transforms = [self.transforms.clone(), other.transforms.clone()];
        Self {
            from: self.from.clone(),
            buffers: self.buffers.clone(),
            transforms: transforms.concat(),
            batch: BatchConfig {
                // A plan outlives the way that it was made for, and must fit into memory on both.
                bytes_max: self.batch.bytes_max.min(other.batch.bytes_max),
                ..other.batch.clone()
            },
            retry: RetryConfig {
                give_up_after: self.retry.give_up_after,
                ..other.retry.clone()
            },
            drain: self.drain,
            dead_letter: self.dead_letter.clone(),
            is_standby: false,
            fallback: None,
            ..other.clone()
        }
    }

    /// How dead letters of this destination go out by the way of `other`: they hold what it would
    /// have got, and none is ever given up.
    #[must_use]
    pub fn letters_by_way_of(&self, other: &Self) -> Self {
        let mut way = self.by_way_of(other);
        way.format = Format::Letters;
        way.metadata = false;
        way.transforms.clone_from(&self.transforms);
        way.retry.give_up_after = None;
        way
    }

    /// Whether a full batch whose oldest record is of this `age`, with more behind it, is to be left
    /// to a backlog.
    pub fn is_overdue(&self, age: Duration) -> bool {
        let DrainConfig {
            order,
            live_age_max,
            ..
        } = self.drain;
        // A batch may take its whole age to become full.
        let age_max = live_age_max.saturating_add(self.batch.age_max);
        order == DrainOrder::NewestFirst && age > age_max
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
    /// Amazon Kinesis Data Streams.
    Kinesis(KinesisConfig),
    /// Any HTTP endpoint.
    Http(HttpConfig),
    /// Files in a folder.
    Directory(DirectoryConfig),
    /// Objects in a bucket of S3.
    S3(Box<S3Config>),
    /// A table of Amazon Redshift, by way of a bucket.
    Redshift(Box<RedshiftConfig>),
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
    /// Dead letters, which are lines of JSON already.
    Letters,
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
    /// RFC 8878.
    Zstd,
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
    /// What a line has.
    pub shape: LetterShape,
    /// Who takes them, with what it refuses itself in the folder.
    pub destination: Option<Box<LetterDestinationConfig>>,
}

/// The destination that takes the dead letters of another.
#[derive(Clone, Debug, PartialEq)]
pub struct LetterDestinationConfig {
    /// Its name.
    pub name: String,
    /// How letters go out to it.
    pub way: DestinationConfig,
}

/// What the line of a refused record has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LetterShape {
    /// The record with its fields, and why it was refused.
    Record,
    /// What Firehose writes for records that it could not deliver over HTTP.
    Firehose,
}

/// `type = "firehose"`.
#[derive(Clone, Debug, PartialEq)]
pub struct FirehoseConfig {
    /// Name of the delivery stream.
    pub stream: String,
    /// AWS region, which also names the endpoint.
    pub region: String,
    /// Where calls go.
    pub endpoint: AwsEndpoint,
    /// Whether small records share a Firehose record.
    pub packing: Packing,
    /// Where the keys come from.
    pub credentials: CredentialsConfig,
    /// TLS.
    pub tls: TlsConfig,
}

/// Where calls to a service of AWS go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AwsEndpoint {
    /// Another endpoint than that of the region, for tests and VPC endpoints.
    pub url: Option<String>,
    /// Whether the region's endpoint is the one that conforms to FIPS 140.
    pub fips: bool,
    /// Whether it is the one with IPv6.
    pub dual_stack: bool,
}

/// `type = "kinesis"`.
#[derive(Clone, Debug, PartialEq)]
pub struct KinesisConfig {
    /// Name of the data stream.
    pub stream: String,
    /// AWS region, which also names the endpoint.
    pub region: String,
    /// Where calls go.
    pub endpoint: AwsEndpoint,
    /// What decides on a record's shard.
    pub partition_key: KeyTemplate,
    /// What decides instead, as a number.
    pub explicit_hash_key: Option<KeyTemplate>,
    /// Whether small records share a Kinesis record.
    pub aggregation: Packing,
    /// What the stream takes as one record, its key included.
    pub record_bytes_max: ByteSize,
    /// Where the keys come from.
    pub credentials: CredentialsConfig,
    /// TLS.
    pub tls: TlsConfig,
}

/// Whether small records share one of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// One record in each.
    None,
    /// Newline-terminated lines up to about `hint` bytes.
    Lines {
        /// It is closed before it grows beyond this.
        hint: ByteSize,
    },
    /// The format of the Kinesis Producer Library.
    Kpl {
        /// It is closed before it grows beyond this.
        hint: ByteSize,
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
    /// Names of the destinations whose records are written into it.
    pub writers: Vec<String>,
}

/// `type = "s3"`.
#[derive(Clone, Debug, PartialEq)]
pub struct S3Config {
    /// Name of the bucket.
    pub bucket: String,
    /// Region of the bucket, which also names the endpoint.
    pub region: String,
    /// Another endpoint: a VPC endpoint, or another store than Amazon's.
    pub endpoint: Option<String>,
    /// Where the bucket's name stands.
    pub addressing: S3Addressing,
    /// What keys begin with.
    pub prefix: KeyPrefix,
    /// What keys of records begin with that lack a field of `prefix`.
    pub error_prefix: Option<KeyPrefix>,
    /// Objects of one batch.
    pub partitions_max: u16,
    /// How keys end instead of by format and compression.
    pub file_extension: Option<String>,
    /// Whether an object that is there is left as it is.
    pub if_none_match: bool,
    /// Whether a CRC32C is sent.
    pub checksum: bool,
    /// How the store encrypts.
    pub encryption: S3Encryption,
    /// Storage class, by default the bucket's.
    pub storage_class: Option<String>,
    /// Tags of objects.
    pub tags: BTreeMap<String, String>,
    /// Account that the bucket must belong to.
    pub bucket_owner: Option<String>,
    /// Where the keys come from.
    pub credentials: CredentialsConfig,
    /// TLS.
    pub tls: TlsConfig,
}

/// Where the bucket's name stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum S3Addressing {
    /// In the host at Amazon's, unless it has dots, and in the path elsewhere.
    Auto,
    /// In the host.
    Virtual,
    /// In the path.
    Path,
}

/// How the store encrypts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum S3Encryption {
    /// As the bucket says.
    Bucket,
    /// With keys of S3.
    S3,
    /// With a key of KMS.
    Kms {
        /// Which one; `None` is the account's own for S3.
        key_id: Option<String>,
        /// Whether the bucket's key is used in between.
        bucket_key: bool,
    },
}

/// `type = "redshift"`.
#[derive(Clone, Debug, PartialEq)]
pub struct RedshiftConfig {
    /// The bucket that COPY reads from.
    pub store: S3Config,
    /// Region of the warehouse, which also names the endpoint of its Data API.
    pub region: String,
    /// Where calls of the Data API go.
    pub endpoint: AwsEndpoint,
    /// Which warehouse.
    pub warehouse: Warehouse,
    /// Name of the database.
    pub database: String,
    /// Who loads.
    pub login: RedshiftLogin,
    /// The table, with its schema and database if they are named.
    pub table: TableName,
    /// Columns that are filled; none for all.
    pub columns: Vec<String>,
    /// Further options of COPY.
    pub copy_options: CopyOptions,
    /// Role that COPY reads the bucket with; `None` is the warehouse's default.
    pub iam_role: Option<String>,
    /// How objects are compressed, which COPY is told.
    pub compression: Compression,
    /// Whether each line of an object is a record.
    pub has_lines: bool,
}

/// Which warehouse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warehouse {
    /// A provisioned cluster, by its identifier.
    Cluster(String),
    /// A workgroup of Redshift Serverless, by its name or ARN.
    Workgroup(String),
}

/// Who loads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedshiftLogin {
    /// Whom the AWS keys belong to.
    Iam,
    /// A user of the database.
    User(String),
    /// Whom a secret of Secrets Manager names.
    Secret(String),
}

//! What is spoken to each destination, and what its answers mean.
//!
//! A destination is a pure codec: [`Destination::prepare`] makes a [`Request`] from what was
//! encoded, [`Destination::interpret`] makes a [`Verdict`] from the [`Answer`]. When to try again,
//! what to split and what to give up is decided by [`crate::delivery`]; sockets and files are the
//! agent's. The same range of the log always makes the same [`BatchId`].

mod aws;
mod batch_id;
pub mod credentials;
mod directory;
mod firehose;
mod folder;
mod http;
mod kinesis;
mod range;
pub mod redshift;
pub mod s3;
pub mod sigv4;
mod skew;
mod verdict;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use diskring::Seq;

use crate::config::DestinationKind;
use crate::encode::Encoded;
use crate::time::WallClock;

pub use aws::{KeyTemplate, KeyTemplateError, PackedUnits, Packer, Push};
pub use batch_id::BatchId;
use credentials::Credentials;
pub use directory::Directory;
pub use firehose::{BILLED_STEP_BYTES, CALL_BYTES_MAX, CALL_UNITS_MAX, Firehose, RECORD_BYTES_MAX};
pub use folder::{Folder, FolderFile};
pub use http::Http;
pub use kinesis::{KINESIS_CALL_UNITS_MAX, Kinesis};
pub use range::SeqRange;
pub use redshift::Redshift;
pub use s3::S3;
pub use skew::{ClockSkew, date_at_receipt};
pub use verdict::{Refusal, Retry, RetryClass, UnitVerdict, Verdict};

/// The agent reads at most this much of an answer's body.
pub const RESPONSE_BYTES_MAX: usize = 512 * 1024;

/// Who sends: what every id and file name of one destination begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    /// Id of the ring that the records come from.
    pub ring: u64,
    /// Name of the gateway.
    pub agent: String,
    /// Name of the destination.
    pub destination: String,
    /// What tells a replay from every other one, and from what was sent first.
    pub replay: Option<u64>,
}

/// The part of a range that is sent, answered and counted as one.
///
/// The units of a range follow each other without a gap, from its first entry to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit {
    /// The entries it covers, those included that are not for this destination.
    pub range: SeqRange,
    /// How many records of them are in it; a unit of none is never sent.
    pub count: u32,
    /// How many a transform of the destination filtered.
    pub filtered: u32,
    /// Set when it cannot be sent whatever the destination says.
    pub fate: UnitFate,
}

impl Unit {
    /// A unit that begins at `first` and has nothing yet.
    pub const fn empty(first: Seq) -> Self {
        Self {
            range: SeqRange::new(first, first),
            count: 0,
            filtered: 0,
            fate: UnitFate::Sendable,
        }
    }
}

/// Whether a unit can be sent at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitFate {
    /// It can.
    Sendable,
    /// It is a record of so many bytes, more than the destination takes.
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The largest that is taken.
        bytes_max: u64,
    },
}

/// A range made into bytes for one destination.
#[derive(Clone, Debug)]
pub enum EncodedBatch {
    /// One body.
    Body(EncodedBody),
    /// Records of a service that are answered one by one.
    Units(PackedUnits),
    /// Objects, which may be larger than memory.
    Objects(s3::ObjectBatch),
}

/// A batch as one body.
#[derive(Clone, Debug)]
pub struct EncodedBody {
    /// The bytes; shared, so that an attempt costs no copy.
    pub bytes: Arc<Vec<u8>>,
    /// What they are, once `content_encoding` is undone.
    pub content_type: &'static str,
    /// How they are compressed.
    pub content_encoding: Option<&'static str>,
    /// How the name of such a file ends, without the first dot.
    pub extension: &'static str,
    /// What it covers.
    pub unit: Unit,
}

impl EncodedBody {
    /// `encoded` as the body for the entries of `range`, `filtered` of which a transform filtered.
    pub fn new(encoded: Encoded, range: SeqRange, filtered: u32) -> Self {
        Self {
            bytes: Arc::new(encoded.body),
            content_type: encoded.content_type,
            content_encoding: encoded.content_encoding,
            extension: encoded.extension,
            unit: Unit {
                range,
                count: encoded.count,
                filtered,
                fate: UnitFate::Sendable,
            },
        }
    }
}

impl EncodedBatch {
    /// The units, in the order of the log.
    pub fn units(&self) -> &[Unit] {
        match self {
            Self::Body(body) => std::slice::from_ref(&body.unit),
            Self::Units(packed) => packed.units(),
            Self::Objects(batch) => std::slice::from_ref(&batch.unit),
        }
    }
}

/// What the agent is to do for one attempt.
#[derive(Clone, Debug)]
pub enum Request {
    /// An HTTP exchange.
    Http(HttpRequest),
    /// A file to be written under a temporary name, synced and renamed.
    File(FileRequest),
}

/// An HTTP request.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpRequest {
    /// The method.
    pub method: &'static str,
    /// Where to.
    pub url: String,
    /// Names in lower case; `host` and `content-length` are left to the transport.
    pub headers: Vec<(String, String)>,
    /// The body; shared, so that an attempt costs no copy.
    pub body: Arc<Vec<u8>>,
    /// How long the whole exchange may take.
    pub timeout: Duration,
}

impl fmt::Debug for HttpRequest {
    /// Header values may be secrets: only names are shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("HttpRequest")
            .field("method", &self.method)
            .field("url", &self.url)
            .field("headers", &names)
            .field("body_bytes", &self.body.len())
            .field("timeout", &self.timeout)
            .finish()
    }
}

/// A file to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRequest {
    /// Its name in the destination's folder; a repeat has the same name and replaces it.
    pub name: String,
    /// Its content.
    pub bytes: Arc<Vec<u8>>,
}

/// What came back for one attempt.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Of an HTTP exchange.
    Http(Result<HttpResponse, TransportError>),
    /// Of writing a file.
    File(Result<(), FileError>),
}

/// Why a file was not written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileError {
    /// The folder may not even hold this file alone.
    TooLarge {
        /// Size of the file.
        bytes: u64,
        /// What the folder may hold.
        bytes_max: u64,
    },
    /// The system refused, in its words.
    Io(String),
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { bytes, bytes_max } => {
                write!(f, "file of {bytes} bytes exceeds the folder's {bytes_max}")
            }
            Self::Io(text) => write!(f, "file not written: {text}"),
        }
    }
}

impl std::error::Error for FileError {}

/// An HTTP response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpResponse {
    /// Status code.
    pub status: u16,
    /// Names and values as received.
    pub headers: Vec<(String, String)>,
    /// The body, at most [`RESPONSE_BYTES_MAX`] of it.
    pub body: Vec<u8>,
    /// Whether the body was longer.
    pub body_cut: bool,
    /// From sending the request to the end of the response.
    pub elapsed: Duration,
    /// Whether the peer proved who it is.
    pub tls_verified: bool,
    /// The machine's clock when the response had come.
    pub received_at: WallClock,
}

impl HttpResponse {
    /// The first value of header `name`, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    }
}

/// Why there is no response. Texts say what happened, in words for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransportError {
    /// The name was not resolved.
    Resolve(String),
    /// No connection came about.
    Connect(String),
    /// TLS failed.
    Tls(String),
    /// The exchange took longer than it may.
    Timeout,
    /// The connection ended before the response did.
    Closed(String),
    /// Anything else.
    Other(String),
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolve(text) => write!(f, "name not resolved: {text}"),
            Self::Connect(text) => write!(f, "no connection: {text}"),
            Self::Tls(text) => write!(f, "TLS failed: {text}"),
            Self::Timeout => f.write_str("no answer in time"),
            Self::Closed(text) => write!(f, "connection closed before the answer ended: {text}"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for TransportError {}

/// One destination's protocol.
#[derive(Clone, Debug)]
pub enum Destination {
    /// Amazon Data Firehose.
    Firehose(Firehose),
    /// Amazon Kinesis Data Streams.
    Kinesis(Kinesis),
    /// Any HTTP endpoint.
    Http(Http),
    /// Files in a folder.
    Directory(Directory),
    /// Objects in a bucket.
    S3(Box<S3>),
    /// A table of Amazon Redshift.
    Redshift(Box<Redshift>),
}

impl Sender {
    fn batch_id(&self, range: SeqRange) -> BatchId {
        BatchId {
            ring: self.ring,
            destination: self.destination.clone(),
            first: range.first,
            end: range.end,
            replay: self.replay,
        }
    }
}

impl Destination {
    /// The protocol of `kind`; an exchange may take `timeout`.
    pub fn new(kind: &DestinationKind, sender: Sender, timeout: Duration) -> Self {
        match kind {
            DestinationKind::Firehose(config) => Self::Firehose(Firehose::new(config, timeout)),
            DestinationKind::Kinesis(config) => Self::Kinesis(Kinesis::new(config, timeout)),
            DestinationKind::Http(config) => Self::Http(Http::new(config, sender, timeout)),
            DestinationKind::Directory(config) => {
                Self::Directory(Directory::new(&sender).shared(&config.writers, &sender))
            }
            DestinationKind::S3(config) => Self::S3(Box::new(S3::new(config, &sender, timeout))),
            DestinationKind::Redshift(config) => {
                Self::Redshift(Box::new(Redshift::new(config, &sender, timeout)))
            }
        }
    }

    /// The request that sends the units of `encoded` numbered in `units`.
    ///
    /// `now` is the machine's clock, `credentials` are needed by services of AWS only. What cannot be
    /// sent at all gets its verdict at once. Objects are prepared one by one, by [`S3::prepare`], and
    /// what loads them by [`redshift::Load`].
    pub fn prepare(
        &self,
        encoded: &EncodedBatch,
        units: &[usize],
        now: WallClock,
        credentials: Option<&Credentials>,
    ) -> Result<Request, Verdict> {
        match (self, encoded) {
            (Self::Firehose(firehose), EncodedBatch::Units(packed)) => firehose
                .prepare(packed, units, now, credentials)
                .map(Request::Http),
            (Self::Kinesis(kinesis), EncodedBatch::Units(packed)) => kinesis
                .prepare(packed, units, now, credentials)
                .map(Request::Http),
            (Self::Http(http), EncodedBatch::Body(body)) => Ok(Request::Http(http.prepare(body))),
            (Self::Directory(directory), EncodedBatch::Body(body)) => {
                Ok(Request::File(directory.prepare(body)))
            }
            (
                Self::Firehose(_) | Self::Kinesis(_),
                EncodedBatch::Body(_) | EncodedBatch::Objects(_),
            )
            | (
                Self::Http(_) | Self::Directory(_),
                EncodedBatch::Units(_) | EncodedBatch::Objects(_),
            )
            | (Self::S3(_) | Self::Redshift(_), _) => Err(mismatch()),
        }
    }

    /// What stores its objects, if it has any.
    pub const fn store(&self) -> Option<&S3> {
        match self {
            Self::S3(s3) => Some(s3),
            Self::Redshift(redshift) => Some(redshift.store()),
            Self::Firehose(_) | Self::Kinesis(_) | Self::Http(_) | Self::Directory(_) => None,
        }
    }

    /// The verdict on bytes of another destination's kind.
    pub fn mismatch() -> Verdict {
        mismatch()
    }

    /// What `answer` says about the `count` units that were sent.
    pub fn interpret(&mut self, count: usize, answer: &Answer) -> Verdict {
        match (self, answer) {
            (Self::Firehose(firehose), Answer::Http(result)) => {
                firehose.interpret(count, result.as_ref())
            }
            (Self::Kinesis(kinesis), Answer::Http(result)) => {
                kinesis.interpret(count, result.as_ref())
            }
            (Self::Http(_), Answer::Http(result)) => Http::interpret(result.as_ref()),
            (Self::Directory(_), Answer::File(result)) => Directory::interpret(result.as_ref()),
            (Self::S3(s3), Answer::Http(result)) => s3.interpret(result.as_ref()),
            (Self::Redshift(redshift), Answer::Http(result)) => {
                redshift.interpret_object(result.as_ref())
            }
            (Self::Directory(_), Answer::Http(_))
            | (
                Self::Firehose(_)
                | Self::Kinesis(_)
                | Self::Http(_)
                | Self::S3(_)
                | Self::Redshift(_),
                Answer::File(_),
            ) => mismatch(),
        }
    }
}

/// Bytes or an answer of another destination's kind: a bug, which must not cost a record.
fn mismatch() -> Verdict {
    debug_assert!(false, "bytes or answer of another kind of destination");
    Verdict::Retry(Retry::new(
        RetryClass::Configuration,
        "bytes or answer of another kind of destination: please report this",
    ))
}

//! Amazon S3 and what speaks like it: `PutObject`, signed with the corrected clock.
//!
//! An object's key is made from where its records are in the log, and it is stored only if there
//! is none of this key yet, so that a repeat after a crash or a lost answer stores nothing twice.

mod answer;
mod date;
mod key;
mod object;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::credentials::Credentials;
use super::http::USER_AGENT;
use super::sigv4::{self, PathStyle, Signing, TokenStyle, encode_path, encode_value};
use super::skew::Clocks;
use super::{
    ClockSkew, Folder, HttpRequest, HttpResponse, Retry, RetryClass, Sender, SeqRange,
    TransportError, Unit, Verdict,
};
use crate::boots::Boots;
use crate::config::{S3Addressing, S3Config, S3Encryption};
use crate::encode::{Encoding, Origin};
use crate::time::WallClock;

pub use key::{KeyError, KeyPlace, KeyPrefix};
pub use object::{
    EncodedObject, KEPT_BYTES_MAX, ObjectBatch, ObjectGroup, ObjectWriter, PlannedObject, Wrote,
};

use object::Layout;

/// Slower links than this many bytes a second are given up on.
const RATE_MIN: u64 = 8 << 10;

/// Stores an object, or several, a batch.
#[derive(Clone, Debug)]
pub struct S3 {
    config: S3Config,
    place: Place,
    folder: Folder,
    agent: String,
    skew: ClockSkew,
    timeout: Duration,
}

/// Where objects go.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    /// Scheme and authority.
    origin: String,
    /// Value of the `host` header, as the transport derives it from the URL.
    host: String,
    /// What stands before the key, ends with a slash.
    path: String,
}

impl S3 {
    pub(super) fn new(config: &S3Config, sender: &Sender, timeout: Duration) -> Self {
        let stem = format!("{}-{}", sender.agent, sender.destination);
        Self {
            place: Place::new(config),
            config: config.clone(),
            folder: Folder::new(&stem, sender.ring).of_replay(sender.replay),
            agent: sender.agent.clone(),
            skew: ClockSkew::default(),
            timeout,
        }
    }

    /// Finds the objects of a batch.
    pub fn plan(&self, encoding: Encoding, origin: &Origin) -> ObjectWriter {
        ObjectWriter::plan(self.layout(encoding, origin))
    }

    /// Writes an object, which is kept if it is small.
    pub fn object(&self, encoding: Encoding, origin: &Origin, group: ObjectGroup) -> ObjectWriter {
        ObjectWriter::object(self.layout(encoding, origin), group)
    }

    /// Writes an object while it is sent.
    pub fn stream(&self, encoding: Encoding, origin: &Origin, group: ObjectGroup) -> ObjectWriter {
        ObjectWriter::stream(self.layout(encoding, origin), group)
    }

    /// Finds the records that stand on these lines of an object, the first of which is 1.
    pub fn find(
        &self,
        encoding: Encoding,
        origin: &Origin,
        group: ObjectGroup,
        lines: &[u64],
    ) -> ObjectWriter {
        ObjectWriter::find(self.layout(encoding, origin), group, lines)
    }

    /// The objects that `writer` found for the entries of `unit`.
    pub fn batch(writer: ObjectWriter, unit: Unit, boots: Arc<Boots>) -> ObjectBatch {
        ObjectBatch {
            unit,
            objects: writer.finish_plan(),
            boots,
        }
    }

    fn layout(&self, encoding: Encoding, origin: &Origin) -> Arc<Layout> {
        Arc::new(Layout {
            prefix: self.config.prefix.clone(),
            has_error_prefix: self.config.error_prefix.is_some(),
            partitions_max: usize::from(self.config.partitions_max),
            encoding,
            origin: origin.clone(),
        })
    }

    /// The name of the bucket.
    pub fn bucket(&self) -> &str {
        &self.config.bucket
    }

    /// The key of what belongs to the only object with records of `range`: the same but for its end.
    pub(super) fn key_beside(
        &self,
        range: SeqRange,
        group: &ObjectGroup,
        object: &EncodedObject,
        extension: &str,
    ) -> String {
        let name = self.folder.file_name(range, object.extension);
        let prefix = &self.config.prefix;
        prefix.write(&group.values, object.oldest, &self.agent, &name)
            + &self.folder.file_name(range, extension)
    }

    /// The key of an object with records of `range`.
    pub fn key(&self, range: SeqRange, group: &ObjectGroup, object: &EncodedObject) -> String {
        let extension = match &self.config.file_extension {
            Some(extension) => extension.trim_start_matches('.'),
            None => object.extension,
        };
        // Prefixes of two objects may read alike, whatever their parts are.
        let name = if self.config.prefix.is_partitioned() {
            let mark = sigv4::sha256_hex(format!("{group:?}").as_bytes());
            let mark = mark.get(..8).unwrap_or_default();
            self.folder.file_name(range, &format!("{mark}.{extension}"))
        } else {
            self.folder.file_name(range, extension)
        };
        let prefix = match &self.config.error_prefix {
            Some(prefix) if group.is_failed => prefix,
            _ => &self.config.prefix,
        };
        prefix.write(&group.values, object.oldest, &self.agent, &name) + &name
    }

    /// The request that stores an object. Its body is missing where the object is not kept.
    pub fn prepare(
        &self,
        range: SeqRange,
        group: &ObjectGroup,
        object: &EncodedObject,
        now: WallClock,
        credentials: Option<&Credentials>,
    ) -> Result<HttpRequest, Verdict> {
        self.prepare_as(&self.key(range, group, object), object, now, credentials)
    }

    /// The request that stores an object under this key.
    pub(super) fn prepare_as(
        &self,
        key: &str,
        object: &EncodedObject,
        now: WallClock,
        credentials: Option<&Credentials>,
    ) -> Result<HttpRequest, Verdict> {
        let Some(credentials) = credentials else {
            return Err(Verdict::Retry(Retry::new(
                RetryClass::Credentials,
                "no AWS credentials found in the configuration, environment or shared file",
            )));
        };
        let path = format!("{}{key}", self.place.path);
        let mut headers = self.headers(object);
        let request = sigv4::Request {
            method: "PUT",
            path: &path,
            query: "",
            headers: &headers,
            body_sha256: &object.sha256,
        };
        let signing = Signing {
            credentials,
            region: &self.config.region,
            service: "s3",
            now: self.skew.correct(now),
            path: PathStyle::Verbatim,
            token: TokenStyle::Signed,
        };
        let signed = sigv4::sign(&request, &signing);
        // The transport writes `host` itself, from the URL.
        headers.remove(0);
        headers.extend(signed.headers);
        headers.push(("user-agent".to_owned(), USER_AGENT.to_owned()));
        let slow = Duration::from_secs(object.len / RATE_MIN);
        Ok(HttpRequest {
            method: "PUT",
            url: format!("{}{}", self.place.origin, encode_path(&path)),
            headers,
            body: object.body.clone().unwrap_or_default(),
            timeout: self.timeout.saturating_add(slow),
        })
    }

    /// How long nothing may move.
    pub const fn timeout(&self) -> Duration {
        self.timeout
    }

    #[expect(clippy::big_endian_bytes, reason = "S3 wants checksums so")]
    fn headers(&self, object: &EncodedObject) -> Vec<(String, String)> {
        let config = &self.config;
        let mut headers = vec![("host".to_owned(), self.place.host.clone())];
        let mut set = |name: &str, value: String| headers.push((name.to_owned(), value));
        set("x-amz-content-sha256", object.sha256.clone());
        set("content-type", "application/octet-stream".to_owned());
        if let Some(encoding) = object.content_encoding {
            set("content-encoding", encoding.to_owned());
        }
        if config.if_none_match {
            set("if-none-match", "*".to_owned());
        }
        if config.checksum {
            let sum = STANDARD.encode(object.crc32c.to_be_bytes());
            set("x-amz-checksum-crc32c", sum);
        }
        match &config.encryption {
            S3Encryption::Bucket => {}
            S3Encryption::S3 => set("x-amz-server-side-encryption", "AES256".to_owned()),
            S3Encryption::Kms { key_id, bucket_key } => {
                set("x-amz-server-side-encryption", "aws:kms".to_owned());
                if let Some(key_id) = key_id {
                    set(
                        "x-amz-server-side-encryption-aws-kms-key-id",
                        key_id.clone(),
                    );
                }
                if *bucket_key {
                    let name = "x-amz-server-side-encryption-bucket-key-enabled";
                    set(name, "true".to_owned());
                }
            }
        }
        if let Some(class) = &config.storage_class {
            set("x-amz-storage-class", class.clone());
        }
        if !config.tags.is_empty() {
            let tags = config.tags.iter();
            let pairs: Vec<String> = tags
                .map(|(name, value)| format!("{}={}", encode_value(name), encode_value(value)))
                .collect();
            set("x-amz-tagging", pairs.join("&"));
        }
        if let Some(owner) = &config.bucket_owner {
            set("x-amz-expected-bucket-owner", owner.clone());
        }
        headers
    }

    pub(super) fn interpret(&mut self, result: Result<&HttpResponse, &TransportError>) -> Verdict {
        let clocks = Clocks::learn(&mut self.skew, result);
        answer::interpret(result, clocks)
    }
}

impl Place {
    fn new(config: &S3Config) -> Self {
        let (bucket, region) = (&config.bucket, &config.region);
        let is_virtual = match config.addressing {
            // The certificate of S3 is for one label before its name; clones want paths.
            S3Addressing::Auto => config.endpoint.is_none() && !bucket.contains('.'),
            S3Addressing::Virtual => true,
            S3Addressing::Path => false,
        };
        let url = config.endpoint.clone().unwrap_or_else(|| {
            let domain = if region.starts_with("cn-") {
                "amazonaws.com.cn"
            } else {
                "amazonaws.com"
            };
            format!("https://s3.{region}.{domain}")
        });
        let (scheme, rest) = url.split_once("://").unwrap_or(("https", &url));
        let scheme = scheme.to_ascii_lowercase();
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let mut authority = authority.to_ascii_lowercase();
        let mut path = format!("/{path}");
        if !path.ends_with('/') {
            path.push('/');
        }
        if is_virtual {
            authority = format!("{bucket}.{authority}");
        } else {
            path = format!("{path}{bucket}/");
        }
        let default_port = if scheme == "http" { ":80" } else { ":443" };
        let host = authority.strip_suffix(default_port).unwrap_or(&authority);
        Self {
            origin: format!("{scheme}://{authority}"),
            host: host.to_owned(),
            path,
        }
    }
}

#[cfg(test)]
mod tests;

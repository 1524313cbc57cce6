//! Amazon Data Firehose: `PutRecordBatch`, signed with the corrected clock.

mod answer;
mod packer;

use std::time::Duration;

use diskring::Seq;

use super::credentials::Credentials;
use super::http::USER_AGENT;
use super::sigv4::{self, PathStyle, Signing, TokenStyle};
use super::{ClockSkew, HttpRequest, HttpResponse, Retry, RetryClass, TransportError, Verdict};
use crate::config::{Compression, FirehoseConfig};
use crate::time::WallClock;

pub use packer::{PackedUnits, Packer, Push};

/// Firehose records in one call.
pub const CALL_UNITS_MAX: usize = 500;

/// Data in one call, before base64.
pub const CALL_BYTES_MAX: usize = 4_000_000;

/// Data in one Firehose record, before base64.
pub const RECORD_BYTES_MAX: usize = 1_024_000;

/// Sends a call a batch.
#[derive(Clone, Debug)]
pub struct Firehose {
    config: FirehoseConfig,
    endpoint: Endpoint,
    skew: ClockSkew,
    timeout: Duration,
}

/// Where calls go.
#[derive(Clone, Debug)]
struct Endpoint {
    url: String,
    /// Value of the `host` header, as the transport derives it from the URL.
    host: String,
    path: String,
}

impl Firehose {
    pub(super) fn new(config: &FirehoseConfig, timeout: Duration) -> Self {
        Self {
            endpoint: Endpoint::new(config),
            config: config.clone(),
            skew: ClockSkew::default(),
            timeout,
        }
    }

    /// An empty call of at most `count_max` Firehose records for the entries from `first` on.
    ///
    /// Only gzip is a compression that may be put one behind the other, as Firehose does in its
    /// objects; the configuration takes no other.
    pub fn packer(&self, compression: Compression, count_max: u32, first: Seq) -> Packer {
        let count_max = usize::try_from(count_max).unwrap_or(CALL_UNITS_MAX);
        let packing = self.config.packing;
        Packer::new(&self.config.stream, packing, compression, count_max, first)
    }

    /// What is known of the service's clock.
    pub const fn skew(&self) -> ClockSkew {
        self.skew
    }

    pub(super) fn prepare(
        &self,
        packed: &PackedUnits,
        units: &[usize],
        now: WallClock,
        credentials: Option<&Credentials>,
    ) -> Result<HttpRequest, Verdict> {
        let Some(credentials) = credentials else {
            return Err(Verdict::Retry(Retry::new(
                RetryClass::Credentials,
                "no AWS credentials found in the configuration, environment or shared file",
            )));
        };
        let (body, body_sha256) = packed.body(units);
        let mut headers = vec![
            ("host".to_owned(), self.endpoint.host.clone()),
            (
                "content-type".to_owned(),
                "application/x-amz-json-1.1".to_owned(),
            ),
            (
                "x-amz-target".to_owned(),
                "Firehose_20150804.PutRecordBatch".to_owned(),
            ),
        ];
        let request = sigv4::Request {
            method: "POST",
            path: &self.endpoint.path,
            query: "",
            headers: &headers,
            body_sha256: &body_sha256,
        };
        let signing = Signing {
            credentials,
            region: &self.config.region,
            service: "firehose",
            now: self.skew.correct(now),
            path: PathStyle::Normalized,
            token: TokenStyle::Signed,
        };
        let signed = sigv4::sign(&request, &signing);
        // The transport writes `host` itself, from the URL.
        headers.remove(0);
        headers.extend(signed.headers);
        headers.push(("user-agent".to_owned(), USER_AGENT.to_owned()));
        Ok(HttpRequest {
            method: "POST",
            url: self.endpoint.url.clone(),
            headers,
            body,
            timeout: self.timeout,
        })
    }

    pub(super) fn interpret(
        &mut self,
        count: usize,
        result: Result<&HttpResponse, &TransportError>,
    ) -> Verdict {
        let signed_with = self.skew;
        if let Ok(response) = result {
            self.skew.learn(response);
        }
        let clocks = answer::Clocks {
            signed_with,
            learned: self.skew,
        };
        answer::interpret(count, result, clocks)
    }
}

impl Endpoint {
    fn new(config: &FirehoseConfig) -> Self {
        let url = config.endpoint.clone().unwrap_or_else(|| {
            let region = &config.region;
            let domain = if region.starts_with("cn-") {
                "amazonaws.com.cn"
            } else {
                "amazonaws.com"
            };
            format!("https://firehose.{region}.{domain}")
        });
        let (scheme, rest) = url.split_once("://").unwrap_or(("https", &url));
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        let default_port = if scheme.eq_ignore_ascii_case("http") {
            ":80"
        } else {
            ":443"
        };
        let host = authority.strip_suffix(default_port).unwrap_or(authority);
        let path = path.split(['?', '#']).next().unwrap_or("/");
        Self {
            url: format!("{scheme}://{authority}{path}"),
            host: host.to_ascii_lowercase(),
            path: path.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests;

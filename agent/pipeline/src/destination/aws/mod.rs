//! What the JSON services of AWS have in common: where calls go, how they are signed, how many
//! records are packed into one, and what the answer means.

mod answer;
mod keys;
mod kpl;
mod packer;

use std::sync::Arc;
use std::time::Duration;

use super::credentials::Credentials;
use super::http::USER_AGENT;
use super::sigv4::{self, PathStyle, Signing, TokenStyle};
use super::skew::Clocks;
use super::{ClockSkew, HttpRequest, HttpResponse, Retry, RetryClass, TransportError, Verdict};
use crate::config::AwsEndpoint;
use crate::time::WallClock;

pub(super) use answer::Failure;
#[cfg(test)]
pub(super) use keys::RecordKey;
pub(super) use keys::RecordKeys;
pub use keys::{KeyTemplate, KeyTemplateError};
pub(super) use packer::CallShape;
pub use packer::{PackedUnits, Packer, Push};

/// One operation of a JSON service.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operation {
    /// The name that is signed, which also begins the host.
    pub(super) service: &'static str,
    /// The value of `x-amz-target`.
    pub(super) target: &'static str,
}

/// Makes signed calls and reads their answers.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    operation: Operation,
    region: String,
    endpoint: Endpoint,
    skew: ClockSkew,
    timeout: Duration,
}

/// Where calls go.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    pub(super) url: String,
    /// Value of the `host` header, as the transport derives it from the URL.
    pub(super) host: String,
    pub(super) path: String,
}

impl Caller {
    pub(super) fn new(
        operation: Operation,
        region: &str,
        endpoint: &AwsEndpoint,
        timeout: Duration,
    ) -> Self {
        Self {
            operation,
            region: region.to_owned(),
            endpoint: Endpoint::new(operation.service, region, endpoint),
            skew: ClockSkew::default(),
            timeout,
        }
    }

    /// What is known of the service's clock.
    pub(super) const fn skew(&self) -> ClockSkew {
        self.skew
    }

    /// A call with this body, whose hash is `body_sha256`.
    pub(super) fn prepare(
        &self,
        body: (Arc<Vec<u8>>, String),
        now: WallClock,
        credentials: Option<&Credentials>,
    ) -> Result<HttpRequest, Verdict> {
        self.prepare_as(self.operation.target, body, now, credentials)
    }

    /// The same of another operation of the service.
    pub(super) fn prepare_as(
        &self,
        target: &str,
        (body, body_sha256): (Arc<Vec<u8>>, String),
        now: WallClock,
        credentials: Option<&Credentials>,
    ) -> Result<HttpRequest, Verdict> {
        let Some(credentials) = credentials else {
            return Err(Verdict::Retry(Retry::new(
                RetryClass::Credentials,
                "no AWS credentials found in the configuration, environment or shared file",
            )));
        };
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut headers = vec![
            header("host", &self.endpoint.host),
            header("content-type", "application/x-amz-json-1.1"),
            header("x-amz-target", target),
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
            region: &self.region,
            service: self.operation.service,
            now: self.skew.correct(now),
            path: PathStyle::Normalized,
            token: TokenStyle::Signed,
        };
        let signed = sigv4::sign(&request, &signing);
        // The transport writes `host` itself, from the URL.
        headers.remove(0);
        headers.extend(signed.headers);
        headers.push(header("user-agent", USER_AGENT));
        Ok(HttpRequest {
            method: "POST",
            url: self.endpoint.url.clone(),
            headers,
            body,
            timeout: self.timeout,
        })
    }

    /// What `result` says about the `count` units that were sent; learns the service's clock.
    pub(super) fn interpret(
        &mut self,
        count: usize,
        result: Result<&HttpResponse, &TransportError>,
    ) -> Verdict {
        let clocks = Clocks::learn(&mut self.skew, result);
        answer::interpret(count, result, clocks)
    }

    /// The body of a success, or why there is none; learns the service's clock.
    pub(super) fn read<'a>(
        &mut self,
        result: Result<&'a HttpResponse, &TransportError>,
    ) -> Result<&'a [u8], Failure> {
        let clocks = Clocks::learn(&mut self.skew, result);
        answer::read(result, clocks)
    }
}

impl Endpoint {
    /// That of `service` in `region`, or the one that is configured.
    pub(super) fn new(service: &str, region: &str, config: &AwsEndpoint) -> Self {
        let url = match &config.url {
            Some(url) => url.clone(),
            None => regional(service, region, config),
        };
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

/// The public endpoint, by the rules of AWS's own endpoint tables.
fn regional(service: &str, region: &str, config: &AwsEndpoint) -> String {
    let (plain, dual_stack) = match region {
        _ if region.starts_with("cn-") => ("amazonaws.com.cn", "api.amazonwebservices.com.cn"),
        _ if region.starts_with("eusc-") => ("amazonaws.eu", "api.amazonwebservices.eu"),
        _ if region.starts_with("us-iso-") => ("c2s.ic.gov", "api.aws.ic.gov"),
        _ if region.starts_with("us-isob-") => ("sc2s.sgov.gov", "api.aws.scloud"),
        _ => ("amazonaws.com", "api.aws"),
    };
    let domain = if config.dual_stack { dual_stack } else { plain };
    // What is called so in GovCloud conforms to FIPS anyway.
    let is_fips_anyway = service == "kinesis" && region.starts_with("us-gov-");
    let fips = if config.fips && (config.dual_stack || !is_fips_anyway) {
        "-fips"
    } else {
        ""
    };
    format!("https://{service}{fips}.{region}.{domain}")
}

#[cfg(test)]
mod tests;

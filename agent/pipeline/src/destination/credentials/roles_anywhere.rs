//! IAM Roles Anywhere: a certificate of an authority that AWS was told to trust gives keys of a
//! role. The request is signed with the certificate's key.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::sts::host_and_path;
use super::{Granted, answer};
use crate::certificate::Certificate;
use crate::config::RolesAnywhereConfig;
use crate::destination::sigv4::x509::{self, ToSign};
use crate::destination::sigv4::{self, Request};
use crate::destination::{HttpRequest, HttpResponse, TransportError};
use crate::time::WallClock;

pub use crate::destination::sigv4::x509::KeyKind;

const TIMEOUT: Duration = Duration::from_secs(30);

/// A request that lacks its signature.
#[derive(Debug)]
pub struct Unsigned {
    request: HttpRequest,
    to_sign: ToSign,
}

impl Unsigned {
    /// What the key is to sign, with SHA-256.
    pub fn string_to_sign(&self) -> &str {
        &self.to_sign.string_to_sign
    }

    /// The request with its `signature`.
    pub fn signed(mut self, signature: &[u8]) -> HttpRequest {
        self.request
            .headers
            .push(self.to_sign.authorization(signature));
        self.request
    }
}

/// Asks for keys with the certificates of `chain`, the own one first, in DER.
///
/// The `region` of the trust anchor is asked; `now` is what the service takes for the time.
pub fn ask(
    config: &RolesAnywhereConfig,
    region: &str,
    chain: &[&[u8]],
    key: KeyKind,
    now: WallClock,
) -> Result<Unsigned, String> {
    let (own, others) = chain.split_first().ok_or("there is no certificate")?;
    let certificate = Certificate::read(own).ok_or("the certificate cannot be read")?;
    let region = region_of(&config.trust_anchor_arn).unwrap_or(region);
    let endpoint = match &config.endpoint {
        Some(endpoint) => endpoint.trim_end_matches('/').to_owned(),
        None if region.starts_with("cn-") => {
            format!("https://rolesanywhere.{region}.amazonaws.com.cn")
        }
        None => format!("https://rolesanywhere.{region}.amazonaws.com"),
    };
    let query = [
        ("profileArn", &config.profile_arn),
        ("roleArn", &config.role_arn),
        ("trustAnchorArn", &config.trust_anchor_arn),
    ];
    let query = query.map(|(name, value)| format!("{name}={}", sigv4::percent_encoded(value)));
    let query = query.join("&");
    let body = match config.duration {
        Some(duration) => format!("{{\"durationSeconds\":{}}}", duration.as_secs()),
        None => "{}".to_owned(),
    };
    let url = format!("{endpoint}/sessions");
    let (host, path) = host_and_path(&url);
    let mut headers = vec![
        ("content-type".to_owned(), "application/json".to_owned()),
        ("x-amz-x509".to_owned(), STANDARD.encode(own)),
    ];
    if !others.is_empty() {
        let encoded: Vec<String> = others.iter().map(|der| STANDARD.encode(der)).collect();
        headers.push(("x-amz-x509-chain".to_owned(), encoded.join(",")));
    }
    let mut signed = vec![("host".to_owned(), host)];
    signed.extend(headers.iter().cloned());
    let to_sign = x509::prepare(
        &Request {
            method: "POST",
            path,
            query: &query,
            headers: &signed,
            body_sha256: &sigv4::sha256_hex(body.as_bytes()),
        },
        &decimal(certificate.serial),
        key,
        region,
        now,
    );
    headers.push(to_sign.date());
    Ok(Unsigned {
        request: HttpRequest {
            method: "POST",
            url: format!("{url}?{query}"),
            headers,
            body: Arc::new(body.into_bytes()),
            timeout: TIMEOUT,
        },
        to_sign,
    })
}

/// The keys in an answer.
pub fn read(answer: Result<&HttpResponse, &TransportError>) -> Result<Granted, String> {
    let value = answer::json(answer)?;
    let keys = value.pointer("/credentialSet/0/credentials");
    answer::granted(keys.ok_or("has no credentials")?, &answer::CAMEL)
}

/// The region in `arn:PARTITION:SERVICE:REGION:...`.
fn region_of(arn: &str) -> Option<&str> {
    arn.split(':').nth(3).filter(|region| !region.is_empty())
}

/// A number of many bytes, the most significant first, in decimal digits.
fn decimal(bytes: &[u8]) -> String {
    let mut digits = vec![0_u32];
    for byte in bytes {
        let mut carry = u32::from(*byte);
        for digit in &mut digits {
            carry += *digit * 256;
            *digit = carry % 10;
            carry /= 10;
        }
        while carry > 0 {
            digits.push(carry % 10);
            carry /= 10;
        }
    }
    let digit = |digit: &u32| char::from_digit(*digit, 10).unwrap_or('0');
    digits.iter().rev().map(digit).collect()
}

#[cfg(test)]
mod tests;

//! AWS Signature Version 4, in headers.
//!
//! Values in, header values out; the body takes part through its SHA-256 only, so that a retry
//! does not hash it again. Paths are taken raw and percent-encoded once, queries are decoded,
//! encoded again and sorted, header values are folded and trimmed, duplicates joined.

pub mod x509;

use std::fmt::Write as _;

use ring::{digest, hmac};

use super::credentials::Credentials;
use crate::time::WallClock;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// Headers that are changed on the way, or carry the signature itself.
const UNSIGNED: [&str; 7] = [
    "authorization",
    "connection",
    "expect",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "x-amzn-trace-id",
];

/// What is signed.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a str,
    /// The path, not percent-encoded.
    pub path: &'a str,
    /// The query without its question mark; empty for none.
    pub query: &'a str,
    /// Names in any case; `host` must be among them.
    pub headers: &'a [(String, String)],
    /// [`sha256_hex`] of the body.
    pub body_sha256: &'a str,
}

/// How it is signed.
#[derive(Clone, Copy, Debug)]
pub struct Signing<'a> {
    /// With which key.
    pub credentials: &'a Credentials,
    /// For which region.
    pub region: &'a str,
    /// For which service.
    pub service: &'a str,
    /// At which time, as the service would say it.
    pub now: WallClock,
    /// How the service sees paths.
    pub path: PathStyle,
    /// Whether a session token is signed.
    pub token: TokenStyle,
}

/// How a service sees paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathStyle {
    /// Without dot segments and empty segments: every service but S3.
    Normalized,
    /// As it is: S3.
    Verbatim,
}

/// Whether a session token is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenStyle {
    /// It is: every service but a few.
    Signed,
    /// It is added to what was signed.
    AddedAfter,
}

/// A signature and what it was made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// Headers to be added: `x-amz-date`, `x-amz-security-token` and `authorization`.
    pub headers: Vec<(String, String)>,
    /// What was hashed, for comparison with what a service says it hashed.
    pub canonical_request: String,
    /// What was signed.
    pub string_to_sign: String,
    /// The signature in hex.
    pub signature: String,
}

/// Signs `request`.
pub fn sign(request: &Request<'_>, signing: &Signing<'_>) -> Signed {
    let timestamp = timestamp(signing.now);
    let date = timestamp.get(..8).unwrap_or_default();
    let mut added = Vec::new();
    let has = |name: &str| {
        let mut headers = request.headers.iter();
        headers.any(|(key, _)| key.eq_ignore_ascii_case(name))
    };
    if !has("x-amz-date") {
        added.push(("x-amz-date".to_owned(), timestamp.clone()));
    }
    let token = signing.credentials.session_token.as_ref();
    let token = token
        .filter(|_| !has("x-amz-security-token"))
        .map(|token| ("x-amz-security-token".to_owned(), token.expose().to_owned()));
    if signing.token == TokenStyle::Signed {
        added.extend(token.clone());
    }
    let (names, lines) = canonical_headers(request.headers, &added);
    if signing.token == TokenStyle::AddedAfter {
        added.extend(token);
    }
    let canonical_request = canonical_request(request, signing.path, &names, &lines);
    let (region, service) = (signing.region, signing.service);
    let scope = format!("{date}/{region}/{service}/aws4_request");
    let request_hash = sha256_hex(canonical_request.as_bytes());
    let string_to_sign = format!("{ALGORITHM}\n{timestamp}\n{scope}\n{request_hash}");
    let signature = signature(signing, date, &string_to_sign);
    let id = &signing.credentials.access_key_id;
    added.push((
        "authorization".to_owned(),
        format!(
            "{ALGORITHM} Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}"
        ),
    ));
    Signed {
        headers: added,
        canonical_request,
        string_to_sign,
        signature,
    }
}

/// SHA-256 in hex.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// A request with these signed headers, as everybody writes it.
fn canonical_request(request: &Request<'_>, style: PathStyle, names: &str, lines: &str) -> String {
    let path = match style {
        PathStyle::Normalized => encode(&normalize(request.path), b"/"),
        PathStyle::Verbatim if request.path.is_empty() => "/".to_owned(),
        PathStyle::Verbatim => encode(request.path, b"/"),
    };
    let (query, hash) = (canonical_query(request.query), request.body_sha256);
    let method = request.method;
    format!("{method}\n{path}\n{query}\n{lines}\n{names}\n{hash}")
}

/// Percent-encodes all but the unreserved characters of RFC 3986.
pub fn percent_encoded(text: &str) -> String {
    encode(text, b"")
}

/// `20150830T123600Z`.
fn timestamp(now: WallClock) -> String {
    let at = jiff::Timestamp::from_millisecond(now.as_millis()).unwrap_or_default();
    at.strftime("%Y%m%dT%H%M%SZ").to_string()
}

fn signature(signing: &Signing<'_>, date: &str, string_to_sign: &str) -> String {
    let secret = format!("AWS4{}", signing.credentials.secret_access_key.expose());
    let mut key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    for part in [date, signing.region, signing.service, "aws4_request"] {
        key = hmac::Key::new(
            hmac::HMAC_SHA256,
            hmac::sign(&key, part.as_bytes()).as_ref(),
        );
    }
    hex(hmac::sign(&key, string_to_sign.as_bytes()).as_ref())
}

/// The names of the signed headers, and their lines.
fn canonical_headers(given: &[(String, String)], added: &[(String, String)]) -> (String, String) {
    let mut headers: Vec<(String, String)> = given
        .iter()
        .chain(added)
        .map(|(name, value)| {
            let words: Vec<&str> = value.split_ascii_whitespace().collect();
            (name.trim().to_ascii_lowercase(), words.join(" "))
        })
        .filter(|(name, _)| !UNSIGNED.contains(&name.as_str()))
        .collect();
    // Stable: duplicates stay in the order in which they are sent.
    headers.sort_by(|a, b| a.0.cmp(&b.0));
    let (mut names, mut lines) = (String::new(), String::new());
    for group in headers.chunk_by(|a, b| a.0 == b.0) {
        let Some((name, _)) = group.first() else {
            continue;
        };
        let values: Vec<&str> = group.iter().map(|(_, value)| value.as_str()).collect();
        if !names.is_empty() {
            names.push(';');
        }
        names.push_str(name);
        lines.push_str(name);
        lines.push(':');
        lines.push_str(&values.join(","));
        lines.push('\n');
    }
    (names, lines)
}

fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (recode(name), recode(value))
        })
        .collect();
    pairs.sort();
    let pairs: Vec<String> = pairs
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    pairs.join("&")
}

/// Percent-decoded and encoded again, so that every spelling becomes the same.
fn recode(text: &str) -> String {
    encode_bytes(&decode(text), b"")
}

fn decode(text: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, tail)) = rest.split_first() {
        rest = tail;
        let code = (*byte == b'%')
            .then(|| tail.get(..2))
            .flatten()
            .and_then(hex_pair);
        if let Some(code) = code {
            decoded.push(code);
            rest = tail.get(2..).unwrap_or_default();
        } else {
            decoded.push(*byte);
        }
    }
    decoded
}

fn hex_pair(digits: &[u8]) -> Option<u8> {
    let text = str::from_utf8(digits).ok()?;
    // `from_str_radix` would take a sign.
    let plain = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    plain.then(|| u8::from_str_radix(text, 16).ok()).flatten()
}

/// A path percent-encoded, as it is signed and sent to S3.
pub(super) fn encode_path(path: &str) -> String {
    encode(path, b"/")
}

/// A name or value of a query, percent-encoded.
pub(super) fn encode_value(text: &str) -> String {
    encode(text, b"")
}

fn encode(text: &str, kept: &[u8]) -> String {
    encode_bytes(text.as_bytes(), kept)
}

/// Percent-encodes all but the unreserved characters of RFC 3986 and `kept`.
fn encode_bytes(bytes: &[u8], kept: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) || kept.contains(byte) {
            text.push(char::from(*byte));
        } else {
            push(&mut text, format_args!("%{byte:02X}"));
        }
    }
    text
}

/// The path without `.`, `..` and empty segments.
fn normalize(path: &str) -> String {
    let mut segments = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            _ => segments.push(segment),
        }
    }
    let end = if path.ends_with('/') && !segments.is_empty() {
        "/"
    } else {
        ""
    };
    format!("/{}{end}", segments.join("/"))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().saturating_mul(2));
    for byte in bytes {
        push(&mut text, format_args!("{byte:02x}"));
    }
    text
}

fn push(text: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing to a `String` cannot fail.
    text.write_fmt(what).unwrap_or_default();
}

#[cfg(test)]
mod tests;

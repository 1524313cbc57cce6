//! A bucket as the fault server plays it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest;

use super::service::{Failure, Refusal, Service, failure, with_header};
use crate::harness::{Answer, Request};

/// Stores each key once, as `If-None-Match: *` asks for.
#[derive(Default)]
pub(crate) struct S3Service {
    keys: Mutex<BTreeSet<String>>,
}

const FAILURES: &[Failure<'static>] = &[
    failure(503, "SlowDown", "Please reduce your request rate."),
    failure(503, "ServiceUnavailable", "Reduce your request rate."),
    with_header(failure(503, "SlowDown", "Slow down"), "Retry-After", "1"),
    failure(500, "InternalError", "We encountered an internal error."),
    failure(400, "RequestTimeout", "Your socket connection was idle"),
    failure(400, "BadDigest", "The CRC32C you specified did not match"),
    failure(409, "ConditionalRequestConflict", "Try again"),
    failure(409, "OperationAborted", "A conflicting operation"),
    failure(403, "AccessDenied", "Access Denied"),
    failure(404, "NoSuchBucket", "The specified bucket does not exist"),
    failure(400, "ExpiredToken", "The provided token has expired."),
    failure(301, "PermanentRedirect", "Use another endpoint"),
];

/// The hash of `body` in hex.
pub(crate) fn sha256_hex(body: &[u8]) -> String {
    let mut text = String::new();
    for byte in digest::digest(&digest::SHA256, body).as_ref() {
        write!(text, "{byte:02x}").unwrap();
    }
    text
}

impl S3Service {
    fn knows(&self, request: &Request) -> bool {
        self.keys.lock().unwrap().contains(&request.path)
    }
}

impl Service for S3Service {
    fn records(&self, request: &Request) -> Vec<Vec<u8>> {
        assert_eq!(request.method, "PUT");
        assert_eq!(request.header("if-none-match"), "*");
        let signed = request.header("x-amz-content-sha256");
        assert_eq!(signed, sha256_hex(&request.body));
        let told = STANDARD
            .decode(request.header("x-amz-checksum-crc32c"))
            .unwrap();
        let mut checksum = crc32c(&request.body).to_le_bytes();
        checksum.reverse();
        assert_eq!(told, checksum);
        if self.knows(request) {
            return Vec::new();
        }
        vec![request.body.clone()]
    }

    fn success(&self, request: &Request, _: &[Option<Refusal>]) -> Answer {
        if !self.keys.lock().unwrap().insert(request.path.clone()) {
            return self.failure(&failure(412, "PreconditionFailed", "It is there"));
        }
        let etag = ("ETag", "\"d41d8cd98f00b204e9800998ecf8427e\"".to_owned());
        Answer::Status(200, vec![etag], String::new())
    }

    fn failures(&self) -> &'static [Failure<'static>] {
        FAILURES
    }

    /// An object that was taken once is never too large the next time.
    fn too_large(&self) -> &'static [Failure<'static>] {
        FAILURES
    }

    fn failure(&self, failure: &Failure<'_>) -> Answer {
        let (status, code) = match failure.code {
            "InvalidSignatureException" => (403, "RequestTimeTooSkewed"),
            code => (failure.status, code),
        };
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code>\
             <Message>{}</Message><RequestId>4442587FB7D0A2F9</RequestId></Error>",
            failure.message
        );
        let mut headers = vec![("Content-Type", "application/xml".to_owned())];
        headers.extend(failure.header.map(|(name, value)| (name, value.to_owned())));
        Answer::Status(status, headers, body)
    }
}

/// CRC32C bit by bit: another one than the agent's.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut sum = u32::MAX;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            let out = sum & 1;
            sum = (sum >> 1) ^ (0x82f6_3b78 * out);
        }
    }
    !sum
}

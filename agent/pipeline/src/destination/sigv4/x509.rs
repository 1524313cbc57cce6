//! Signature Version 4 with the key of a certificate, as IAM Roles Anywhere takes it.
//!
//! The request is made canonical as ever; there is no derived key, and the certificate's serial
//! number stands where the id of a key does, but not in what is signed.

use super::{PathStyle, Request, canonical_headers, canonical_request, hex, sha256_hex, timestamp};
use crate::time::WallClock;

const SERVICE: &str = "rolesanywhere";

/// What kind of key a certificate has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// RSA; signatures are those of PKCS #1, version 1.5.
    Rsa,
    /// ECDSA; signatures are in DER.
    Ecdsa,
}

impl KeyKind {
    const fn algorithm(self) -> &'static str {
        match self {
            Self::Rsa => "AWS4-X509-RSA-SHA256",
            Self::Ecdsa => "AWS4-X509-ECDSA-SHA256",
        }
    }
}

/// A request that waits for its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToSign {
    /// What is signed, with SHA-256.
    pub string_to_sign: String,
    /// What was hashed.
    pub canonical_request: String,
    timestamp: String,
    /// All of the `authorization` header but the signature.
    head: String,
}

impl ToSign {
    /// The header with the time of the signature, which is signed.
    pub fn date(&self) -> (String, String) {
        ("x-amz-date".to_owned(), self.timestamp.clone())
    }

    /// The header with the signature.
    pub fn authorization(&self, signature: &[u8]) -> (String, String) {
        let value = format!("{}{}", self.head, hex(signature));
        ("authorization".to_owned(), value)
    }
}

/// Makes `request` ready to be signed by a key of this kind, whose certificate has the `serial`
/// number in decimal digits.
pub fn prepare(
    request: &Request<'_>,
    serial: &str,
    key: KeyKind,
    region: &str,
    now: WallClock,
) -> ToSign {
    let timestamp = timestamp(now);
    let date = timestamp.get(..8).unwrap_or_default();
    let added = [("x-amz-date".to_owned(), timestamp.clone())];
    let (names, lines) = canonical_headers(request.headers, &added);
    let canonical_request = canonical_request(request, PathStyle::Normalized, &names, &lines);
    let scope = format!("{date}/{region}/{SERVICE}/aws4_request");
    let algorithm = key.algorithm();
    let request_hash = sha256_hex(canonical_request.as_bytes());
    let string_to_sign = format!("{algorithm}\n{timestamp}\n{scope}\n{request_hash}");
    let head =
        format!("{algorithm} Credential={serial}/{scope}, SignedHeaders={names}, Signature=");
    ToSign {
        string_to_sign,
        canonical_request,
        timestamp,
        head,
    }
}

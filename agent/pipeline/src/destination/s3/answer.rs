//! What an answer of S3 means. Codes decide where there is one: clones differ in their statuses.
//!
//! Nothing is given up because of an answer that is not understood.

use super::super::http::{describe, excerpt, no_response, retry_after};
use super::super::skew::Clocks;
use super::super::{HttpResponse, Refusal, Retry, RetryClass, TransportError, Verdict};

const THROTTLED: [&str; 6] = [
    "BandwidthLimitExceeded",
    "RequestLimitExceeded",
    "RequestThrottled",
    "SlowDown",
    "Throttling",
    "TooManyRequests",
];

const TRANSIENT: [&str; 11] = [
    "BadDigest",
    "ConditionalRequestConflict",
    "IncompleteBody",
    "InternalError",
    "InvalidDigest",
    "OperationAborted",
    "RequestTimeout",
    "ServiceUnavailable",
    "XAmzContentChecksumMismatch",
    "XAmzContentSHA256Mismatch",
    "InternalServerError",
];

const CREDENTIALS: [&str; 6] = [
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSecurity",
    "InvalidToken",
    "TokenRefreshRequired",
];

const SIGNATURE: [&str; 3] = [
    "RequestExpired",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
];

/// Less at a time may do.
const SIZE: [&str; 2] = ["EntityTooLarge", "MaxMessageLengthExceeded"];

const REGION: [&str; 4] = [
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "PermanentRedirect",
    "TemporaryRedirect",
];

/// What `result` says about an object.
pub(super) fn interpret(result: Result<&HttpResponse, &TransportError>, clocks: Clocks) -> Verdict {
    let response = match result {
        Ok(response) => response,
        Err(error) => return Verdict::Retry(no_response(error)),
    };
    if response.status == 200 {
        // A proxy's page is no S3.
        return if response.header("etag").is_some_and(|etag| !etag.is_empty()) {
            Verdict::Accepted
        } else {
            let reason = format!(
                "{} without an ETag, taken for not stored",
                describe(response)
            );
            Verdict::Retry(Retry::new(RetryClass::Transient, reason))
        };
    }
    let error = ServiceError::of(response);
    if response.status == 412 && matches!(error.code.as_str(), "" | "PreconditionFailed") {
        // It is there: a repeat after a lost answer or a crash.
        return Verdict::Accepted;
    }
    interpret_error(response, &error, clocks)
}

fn interpret_error(response: &HttpResponse, error: &ServiceError, clocks: Clocks) -> Verdict {
    let code = error.code.as_str();
    let reason = error.reason(response);
    let retry = |class, reason: String| {
        Verdict::Retry(Retry {
            class,
            reason,
            after: retry_after(response),
        })
    };
    let refusal = |reason: String| Refusal {
        code: if code.is_empty() {
            response.status.to_string()
        } else {
            code.to_owned()
        },
        reason,
    };
    let told_region = response
        .header("x-amz-bucket-region")
        .or(error.region.as_deref());
    match code {
        _ if THROTTLED.contains(&code) => retry(RetryClass::Throttled, reason),
        _ if TRANSIENT.contains(&code) => retry(RetryClass::Transient, reason),
        _ if CREDENTIALS.contains(&code) => retry(RetryClass::Credentials, reason),
        _ if SIGNATURE.contains(&code) => {
            clocks.signature_refused(code != "SignatureDoesNotMatch", &reason)
        }
        _ if SIZE.contains(&code) => Verdict::TooLarge(refusal(reason)),
        _ if REGION.contains(&code) || (300..400).contains(&response.status) => {
            let advice = match told_region {
                Some(region) => format!(
                    "the bucket is in {}: set region",
                    excerpt(region.as_bytes())
                ),
                None => "set the region and endpoint of the bucket".to_owned(),
            };
            retry(RetryClass::Configuration, format!("{reason}; {advice}"))
        }
        "KeyTooLongError" => Verdict::Rejected(refusal(reason)),
        "AccessDenied" if clocks.were_wrong() => clocks.signature_refused(true, &reason),
        "NotImplemented" => {
            let advice = "this store does not know a header: try if_none_match = false or \
                          checksum = \"none\"";
            retry(RetryClass::Configuration, format!("{reason}; {advice}"))
        }
        _ => match response.status {
            413 => Verdict::TooLarge(refusal(reason)),
            429 | 503 => retry(RetryClass::Throttled, reason),
            408 | 409 | 425 => retry(RetryClass::Transient, reason),
            // A code that is not known asks for a person, not for the records to be given up.
            400..=499 | 501 => retry(RetryClass::Configuration, reason),
            _ => retry(RetryClass::Transient, reason),
        },
    }
}

/// `<Error><Code/><Message/></Error>`, as far as there is one.
#[derive(Debug, Default, PartialEq, Eq)]
struct ServiceError {
    code: String,
    message: String,
    region: Option<String>,
}

impl ServiceError {
    fn of(response: &HttpResponse) -> Self {
        let text = String::from_utf8_lossy(&response.body);
        let Some((_, error)) = text.split_once("<Error") else {
            return Self::default();
        };
        Self {
            code: element(error, "Code").unwrap_or_default(),
            message: element(error, "Message").unwrap_or_default(),
            region: element(error, "Region"),
        }
    }

    fn reason(&self, response: &HttpResponse) -> String {
        if self.code.is_empty() {
            return describe(response);
        }
        let text = format!("{}: {}", self.code, self.message);
        format!("answered {}, {}", response.status, excerpt(text.as_bytes()))
    }
}

/// The text of the first element of this name, with the five entities of XML undone.
fn element(text: &str, name: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (value, _) = rest.split_once(&format!("</{name}>"))?;
    let mut value = value.trim().to_owned();
    for (entity, character) in [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&apos;", "'"),
        ("&#39;", "'"),
        ("&amp;", "&"),
    ] {
        value = value.replace(entity, character);
    }
    Some(value)
}

#[cfg(test)]
mod tests;

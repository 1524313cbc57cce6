//! What an answer of Firehose or Kinesis means. Codes decide, not statuses: those differ from page
//! to page.
//!
//! Nothing counts as delivered without a record id of its own, and nothing is given up because of
//! an answer that is not understood.

use std::time::Duration;

use serde::Deserialize;

use super::super::http::{describe, excerpt, no_response, redirect, retry_after};
use super::super::skew::Clocks;
use super::super::{
    HttpResponse, Refusal, Retry, RetryClass, TransportError, UnitVerdict, Verdict,
};

const THROTTLED: [&str; 17] = [
    "ActiveSessionsExceededException",
    "ActiveStatementsExceededException",
    "ActiveWaitingRequestsExceededException",
    "BandwidthLimitExceeded",
    "KMSThrottlingException",
    "LimitExceededException",
    "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "TransactionInProgressException",
];

const TRANSIENT: [&str; 10] = [
    "InternalFailure",
    "InternalFailureException",
    "InternalServerError",
    "InternalServerException",
    "MalformedHttpRequestException",
    "RequestAbortedException",
    "RequestTimeout",
    "RequestTimeoutException",
    "ServiceUnavailable",
    "ServiceUnavailableException",
];

const CREDENTIALS: [&str; 8] = [
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "IncompleteSignatureException",
    "InvalidClientTokenId",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "UnrecognizedClientException",
];

/// A signature may be wrong for its time, or for its key.
const SIGNATURE: [&str; 5] = [
    "AuthFailure",
    "InvalidSignatureException",
    "RequestExpired",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
];

const SHAPE: [&str; 5] = [
    "InvalidArgumentException",
    "RequestEntityTooLargeException",
    "SerializationException",
    "ValidationError",
    "ValidationException",
];

/// What a code means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Retry(RetryClass),
    Signature,
    Shape,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutAnswer {
    #[serde(alias = "FailedRecordCount")]
    failed_put_count: Option<u64>,
    #[serde(alias = "Records")]
    request_responses: Vec<PutEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutEntry {
    #[serde(alias = "SequenceNumber")]
    record_id: Option<String>,
    error_code: Option<String>,
    error_message: Option<String>,
}

/// The code and text of an error, in whatever clothes they came.
#[derive(Debug, Default, PartialEq, Eq)]
struct ServiceError {
    code: String,
    message: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct JsonError {
    #[serde(rename = "__type")]
    kind: Option<String>,
    #[serde(alias = "Code")]
    code: Option<String>,
    #[serde(alias = "Message", alias = "errorMessage")]
    message: Option<String>,
}

/// An answer that is no success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Failure {
    /// The code of the error; empty where it has none.
    pub(in super::super) code: String,
    /// How to go on: what was asked is no record, which could be given up.
    pub(in super::super) retry: Retry,
}

/// The body of a success.
pub(super) fn read<'a>(
    result: Result<&'a HttpResponse, &TransportError>,
    clocks: Clocks,
) -> Result<&'a [u8], Failure> {
    let (code, verdict) = match result {
        Ok(response) if response.status == 200 => return Ok(&response.body),
        Err(error) => (String::new(), Verdict::Retry(no_response(error))),
        Ok(response) if (300..400).contains(&response.status) => {
            (String::new(), Verdict::Retry(redirect(response)))
        }
        Ok(response) => {
            let code = ServiceError::of(response).code;
            (code, interpret_error(response, clocks))
        }
    };
    let retry = match verdict {
        Verdict::Retry(retry) => retry,
        Verdict::TooLarge(refusal) | Verdict::Rejected(refusal) => {
            Retry::new(RetryClass::Configuration, refusal.reason)
        }
        Verdict::Accepted | Verdict::Partial { .. } | Verdict::Cut { .. } => {
            Retry::new(RetryClass::Transient, "answered with an error")
        }
    };
    Err(Failure { code, retry })
}

/// What `result` says about the `count` units that were sent.
pub(super) fn interpret(
    count: usize,
    result: Result<&HttpResponse, &TransportError>,
    clocks: Clocks,
) -> Verdict {
    match result {
        Err(error) => Verdict::Retry(no_response(error)),
        Ok(response) if response.status == 200 => interpret_success(count, response),
        Ok(response) if (300..400).contains(&response.status) => Verdict::Retry(redirect(response)),
        Ok(response) => interpret_error(response, clocks),
    }
}

fn interpret_success(count: usize, response: &HttpResponse) -> Verdict {
    let rubbish = |what: &str| {
        let text = excerpt(&response.body);
        let reason = format!("answered 200 with {what}, taken for not delivered: {text}");
        Verdict::Retry(Retry::new(RetryClass::Transient, reason))
    };
    if response.body_cut {
        return rubbish("more than such an answer can have");
    }
    let Ok(answer) = serde_json::from_slice::<PutAnswer>(&response.body) else {
        return rubbish("something else than its own JSON");
    };
    if answer.request_responses.len() != count {
        let others = answer.request_responses.len();
        return rubbish(&format!("the fate of {others} records for {count} sent"));
    }
    let units: Vec<UnitVerdict> = answer.request_responses.iter().map(unit_verdict).collect();
    let refused = units
        .iter()
        .filter(|unit| **unit != UnitVerdict::Accepted)
        .count();
    if u64::try_from(refused).is_ok_and(|refused| refused < answer.failed_put_count.unwrap_or(0)) {
        return rubbish("more failures than it names");
    }
    if refused == 0 {
        return Verdict::Accepted;
    }
    Verdict::Partial {
        retry: partial_retry(refused, &answer.request_responses, response),
        units,
    }
}

fn unit_verdict(entry: &PutEntry) -> UnitVerdict {
    let code = entry.error_code.as_deref().unwrap_or_default();
    let id = entry.record_id.as_deref().unwrap_or_default();
    let message = entry.error_message.as_deref().unwrap_or_default();
    if code.is_empty() && !id.is_empty() {
        UnitVerdict::Accepted
    } else if classify(code, message, 400) == Kind::Shape {
        UnitVerdict::TooLarge(refusal(code, message))
    } else {
        UnitVerdict::Retry
    }
}

/// How to go on with those of `entries` that failed, by the first of them.
fn partial_retry(refused: usize, entries: &[PutEntry], response: &HttpResponse) -> Retry {
    let (mut code, mut message) = ("no reason", "");
    for entry in entries {
        if let Some(text) = entry.error_code.as_deref() {
            code = text;
            message = entry.error_message.as_deref().unwrap_or_default();
            break;
        }
    }
    let class = match classify(code, message, 500) {
        Kind::Retry(class) => class,
        Kind::Signature | Kind::Shape => RetryClass::Transient,
    };
    let count = entries.len();
    let reason = format!("{refused} of {count} records not taken: {code}: {message}");
    Retry {
        class,
        reason: excerpt(reason.as_bytes()),
        after: asked_pause(response),
    }
}

fn interpret_error(response: &HttpResponse, clocks: Clocks) -> Verdict {
    let error = ServiceError::of(response);
    let reason = if error.code.is_empty() {
        describe(response)
    } else {
        let text = format!("{}: {}", error.code, error.message);
        format!("answered {}, {}", response.status, excerpt(text.as_bytes()))
    };
    let retry = |class, reason| {
        Verdict::Retry(Retry {
            class,
            reason,
            after: asked_pause(response),
        })
    };
    let denied = error.code.starts_with("AccessDenied");
    match classify(&error.code, &error.message, response.status) {
        Kind::Signature => clocks.signature_refused(error.is_of_time(), &reason),
        Kind::Retry(RetryClass::Configuration) if denied && clocks.were_wrong() => {
            clocks.signature_refused(true, &reason)
        }
        Kind::Retry(class) => retry(class, reason),
        Kind::Shape => Verdict::TooLarge(Refusal {
            code: if error.code.is_empty() {
                response.status.to_string()
            } else {
                error.code
            },
            reason,
        }),
    }
}

fn classify(code: &str, message: &str, status: u16) -> Kind {
    if THROTTLED.contains(&code) || message.contains("Slow down") {
        return Kind::Retry(RetryClass::Throttled);
    }
    if TRANSIENT.contains(&code) {
        return Kind::Retry(RetryClass::Transient);
    }
    if CREDENTIALS.contains(&code) {
        return Kind::Retry(RetryClass::Credentials);
    }
    if SIGNATURE.contains(&code) {
        return Kind::Signature;
    }
    if SHAPE.contains(&code) {
        // The same codes tell of a wrong stream, which is no fault of the records.
        let lower = message.to_ascii_lowercase();
        let stream = lower.contains("streamname") || lower.contains("not permitted");
        return if stream {
            Kind::Retry(RetryClass::Configuration)
        } else {
            Kind::Shape
        };
    }
    match status {
        413 => Kind::Shape,
        429 => Kind::Retry(RetryClass::Throttled),
        // A code that is not known here asks for a person, not for the records to be given up.
        400..=499 if status != 408 => Kind::Retry(RetryClass::Configuration),
        _ => Kind::Retry(RetryClass::Transient),
    }
}

fn refusal(code: &str, message: &str) -> Refusal {
    Refusal {
        code: code.to_owned(),
        reason: excerpt(format!("{code}: {message}").as_bytes()),
    }
}

/// The pause that the service asks for, in its own header or in HTTP's.
fn asked_pause(response: &HttpResponse) -> Option<Duration> {
    let millis = response
        .header("x-amz-retry-after")
        .and_then(|text| text.parse().ok())
        .filter(|millis| *millis > 0)
        .map(Duration::from_millis);
    millis.or_else(|| retry_after(response))
}

impl ServiceError {
    /// Whether a signature was refused for its time.
    fn is_of_time(&self) -> bool {
        matches!(
            self.code.as_str(),
            "RequestExpired" | "RequestTimeTooSkewed"
        ) || self.message.contains("Signature expired")
            || self.message.contains("not yet current")
    }

    /// From the header of REST services, the JSON of this one, or the XML of query services.
    fn of(response: &HttpResponse) -> Self {
        let json: JsonError = serde_json::from_slice(&response.body).unwrap_or_default();
        let text = String::from_utf8_lossy(&response.body);
        let element = |name: &str| {
            let (_, rest) = text.split_once(&format!("<{name}>"))?;
            let (value, _) = rest.split_once(&format!("</{name}>"))?;
            Some(value.trim().to_owned())
        };
        let code = response
            .header("x-amzn-errortype")
            .map(str::to_owned)
            .or(json.kind)
            .or(json.code)
            .or_else(|| element("Code"))
            .unwrap_or_default();
        // `namespace#Code:uri`.
        let code = code.split(':').next().unwrap_or_default();
        let code = code.rsplit('#').next().unwrap_or_default();
        let message = json.message.or_else(|| element("Message"));
        Self {
            code: code.trim().to_owned(),
            message: message.unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests;

//! What the fault server must know of a service.

use serde_json::json;

use crate::harness::{Answer, Request};

/// A service as the fault server sees it: how requests are read and answers are written.
pub(crate) trait Service: Send {
    /// The records of a request in order; fails the test if the request is not as it should be.
    fn records(&self, request: &Request) -> Vec<Vec<u8>>;

    /// The answer to a request of which those records are taken that have no refusal.
    fn success(&self, request: &Request, fates: &[Option<Refusal>]) -> Answer;

    /// Why single records of a request are refused; none where it is taken whole or not at all.
    fn refusals(&self) -> &'static [Refusal] {
        &[]
    }

    /// Errors that take nothing.
    fn failures(&self) -> &'static [Failure<'static>];

    /// Errors that want less at a time.
    fn too_large(&self) -> &'static [Failure<'static>];

    /// The answer that tells of an error; as the JSON services of AWS say it.
    fn failure(&self, failure: &Failure<'_>) -> Answer {
        let kind = format!("com.amazonaws.service#{}", failure.code);
        let body = json!({"__type": kind, "message": failure.message});
        let mut headers = vec![amz_json()];
        headers.extend(failure.header.map(|(name, value)| (name, value.to_owned())));
        Answer::Status(failure.status, headers, body.to_string())
    }

    /// When the request was signed, if the service looks at that.
    fn signed_at<'a>(&self, request: &'a Request) -> Option<&'a str> {
        let signed = request.header("x-amz-date");
        (!signed.is_empty()).then_some(signed)
    }
}

/// Code and text of one refused record.
pub(crate) type Refusal = (&'static str, &'static str);

/// An error of a whole request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failure<'a> {
    pub(crate) status: u16,
    pub(crate) code: &'a str,
    pub(crate) message: &'a str,
    /// A header that comes with it.
    pub(crate) header: Option<(&'static str, &'a str)>,
}

/// An error without a header of its own.
pub(crate) const fn failure(
    status: u16,
    code: &'static str,
    message: &'static str,
) -> Failure<'static> {
    Failure {
        status,
        code,
        message,
        header: None,
    }
}

/// The same, with a header.
pub(crate) const fn with_header(
    mut failure: Failure<'static>,
    name: &'static str,
    value: &'static str,
) -> Failure<'static> {
    failure.header = Some((name, value));
    failure
}

pub(crate) fn amz_json() -> (&'static str, String) {
    ("Content-Type", "application/x-amz-json-1.1".to_owned())
}

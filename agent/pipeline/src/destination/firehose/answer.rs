//! What an answer of Firehose means. Codes decide, not statuses: those differ from page to page.

use super::super::{HttpResponse, Retry, RetryClass, TransportError, Verdict};
use super::ClockSkew;

/// The clocks before and after an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clocks {
    pub(super) signed_with: ClockSkew,
    pub(super) learned: ClockSkew,
}

impl Clocks {
    pub(super) const fn new(signed_with: ClockSkew, learned: ClockSkew) -> Self {
        Self {
            signed_with,
            learned,
        }
    }
}

pub(super) fn interpret(
    _count: usize,
    result: Result<&HttpResponse, &TransportError>,
    _clocks: Clocks,
) -> Verdict {
    match result {
        Ok(_) => Verdict::Retry(Retry::new(RetryClass::Transient, "not understood")),
        Err(error) => Verdict::Retry(super::super::http::no_response(error)),
    }
}

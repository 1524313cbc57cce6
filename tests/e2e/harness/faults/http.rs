//! Any HTTP endpoint as the fault server plays it.

use super::service::{Failure, Refusal, Service, failure, with_header};
use crate::harness::{Answer, Request};

/// A body of lines is taken whole or not at all.
pub(crate) struct HttpService;

const FAILURES: &[Failure<'static>] = &[
    failure(408, "", "timeout"),
    failure(425, "", "too early"),
    failure(429, "", "slow down"),
    with_header(failure(429, "", "slow down"), "Retry-After", "1"),
    failure(500, "", "error"),
    failure(502, "", "bad gateway"),
    failure(503, "", "unavailable"),
    with_header(failure(503, "", "unavailable"), "Retry-After", "1"),
    failure(504, "", "gateway timeout"),
    failure(407, "", "proxy"),
    with_header(failure(302, "", "moved"), "Location", "/login"),
    // For good: these become dead letters.
    failure(400, "", "no such field"),
    failure(422, "", "unprocessable"),
];

const TOO_LARGE: &[Failure<'static>] = &[failure(413, "", "too large")];

impl Service for HttpService {
    fn records(&self, request: &Request) -> Vec<Vec<u8>> {
        assert!(!request.header("idempotency-key").is_empty());
        vec![request.body.clone()]
    }

    fn success(&self, _: &Request, _: &[Option<Refusal>]) -> Answer {
        Answer::status(204)
    }

    fn failures(&self) -> &'static [Failure<'static>] {
        FAILURES
    }

    fn too_large(&self) -> &'static [Failure<'static>] {
        TOO_LARGE
    }

    fn failure(&self, failure: &Failure<'_>) -> Answer {
        let header = failure.header.map(|(name, value)| (name, value.to_owned()));
        let headers = header.into_iter().collect();
        Answer::Status(failure.status, headers, failure.message.to_owned())
    }
}

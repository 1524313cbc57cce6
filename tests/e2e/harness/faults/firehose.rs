//! Amazon Data Firehose as the fault server plays it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::service::{Failure, Refusal, Service, amz_json, failure, with_header};
use crate::harness::{Answer, Request};

/// `PutRecordBatch`, records of lines.
pub(crate) struct FirehoseService {
    pub(crate) stream: &'static str,
}

const REFUSALS: &[Refusal] = &[
    ("ServiceUnavailableException", "Slow down."),
    ("InternalFailure", "Internal Service Failure"),
];

const FAILURES: &[Failure<'static>] = &[
    failure(400, "ThrottlingException", "Rate exceeded"),
    failure(400, "LimitExceededException", "limit"),
    failure(400, "ProvisionedThroughputExceededException", "slow"),
    failure(400, "RequestLimitExceeded", "slow"),
    with_header(
        failure(429, "TooManyRequestsException", "slow"),
        "x-amz-retry-after",
        "30",
    ),
    failure(500, "InternalFailure", "internal"),
    failure(502, "", "bad gateway"),
    failure(503, "ServiceUnavailableException", "Slow down."),
    with_header(failure(503, "ServiceUnavailable", ""), "Retry-After", "1"),
    failure(504, "", "gateway timeout"),
    failure(408, "RequestTimeoutException", "timeout"),
    failure(400, "RequestAbortedException", "aborted"),
    failure(400, "ExpiredTokenException", "token expired"),
    failure(403, "UnrecognizedClientException", "token invalid"),
    failure(400, "ResourceNotFoundException", "no such stream"),
    failure(400, "AccessDeniedException", "not authorized"),
    failure(400, "InvalidKMSResourceException", "KMS key disabled"),
    failure(
        400,
        "InvalidSourceException",
        "Only requests from CloudWatch Logs are supported.",
    ),
    failure(400, "OptInRequired", "no subscription"),
];

const TOO_LARGE: &[Failure<'static>] = &[
    failure(
        400,
        "InvalidArgumentException",
        "Records size exceeds 4 MB limit",
    ),
    failure(413, "RequestEntityTooLargeException", "too large"),
    failure(
        400,
        "ValidationException",
        "Value 'java.nio.HeapByteBuffer[pos=0 lim=1045710 cap=1045710]' at \
         'records.1.member.data' failed to satisfy constraint: Member must have length less than \
         or equal to 1024000",
    ),
];

impl Service for FirehoseService {
    fn records(&self, request: &Request) -> Vec<Vec<u8>> {
        assert_eq!(
            request.header("x-amz-target"),
            "Firehose_20150804.PutRecordBatch"
        );
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        assert_eq!(body["DeliveryStreamName"], self.stream);
        let records = body["Records"].as_array().unwrap();
        assert!((1..=500).contains(&records.len()), "{}", records.len());
        let data = records
            .iter()
            .map(|record| STANDARD.decode(record["Data"].as_str().unwrap()).unwrap());
        let data: Vec<Vec<u8>> = data.collect();
        assert!(data.iter().all(|data| data.len() <= 1_024_000));
        assert!(data.iter().map(Vec::len).sum::<usize>() <= 4 << 20);
        data
    }

    fn success(&self, _: &Request, fates: &[Option<Refusal>]) -> Answer {
        let each: Vec<Value> = fates
            .iter()
            .map(|fate| match fate {
                Some((code, message)) => json!({"ErrorCode": code, "ErrorMessage": message}),
                None => json!({"RecordId": "id"}),
            })
            .collect();
        let failed = fates.iter().flatten().count();
        let body = json!({"FailedPutCount": failed, "Encrypted": false, "RequestResponses": each});
        Answer::Status(200, vec![amz_json()], body.to_string())
    }

    fn refusals(&self) -> &'static [Refusal] {
        REFUSALS
    }

    fn failures(&self) -> &'static [Failure<'static>] {
        FAILURES
    }

    fn too_large(&self) -> &'static [Failure<'static>] {
        TOO_LARGE
    }
}

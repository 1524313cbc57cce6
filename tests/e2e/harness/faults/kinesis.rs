//! Amazon Kinesis Data Streams as the fault server plays it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::service::{Failure, Refusal, Service, amz_json, failure};
use crate::harness::{Answer, Request};

/// `PutRecords`, with the limits of a stream that was not set to larger records.
pub(crate) struct KinesisService {
    pub(crate) stream: &'static str,
}

const REFUSALS: &[Refusal] = &[
    (
        "ProvisionedThroughputExceededException",
        "Rate exceeded for shard shardId-000000000001 in stream s under account 111111111111.",
    ),
    ("InternalFailure", "Internal Service Failure"),
];

const FAILURES: &[Failure<'static>] = &[
    failure(400, "ProvisionedThroughputExceededException", "slow"),
    failure(400, "LimitExceededException", "limit"),
    failure(400, "ThrottlingException", "Rate exceeded"),
    failure(400, "KMSThrottlingException", "KMS"),
    failure(400, "KMSDisabledException", "KMS"),
    failure(400, "KMSInvalidStateException", "KMS"),
    failure(400, "KMSAccessDeniedException", "KMS"),
    failure(400, "KMSNotFoundException", "KMS"),
    failure(400, "KMSOptInRequired", "KMS"),
    failure(400, "ResourceNotFoundException", "no such stream"),
    failure(400, "AccessDeniedException", "not authorized"),
    failure(400, "ExpiredTokenException", "token expired"),
    failure(500, "InternalFailureException", "internal"),
    failure(503, "ServiceUnavailable", ""),
    failure(502, "", "bad gateway"),
];

const TOO_LARGE: &[Failure<'static>] = &[
    failure(
        400,
        "InvalidArgumentException",
        "Records size exceeds 5 MB limit",
    ),
    failure(413, "", "too large"),
    failure(
        400,
        "ValidationException",
        "Value at 'records.1.member.data' failed to satisfy constraint: Member must have length \
         less than or equal to 1048576",
    ),
];

impl Service for KinesisService {
    fn records(&self, request: &Request) -> Vec<Vec<u8>> {
        assert_eq!(
            request.header("x-amz-target"),
            "Kinesis_20131202.PutRecords"
        );
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        assert_eq!(body["StreamName"], self.stream);
        let records = body["Records"].as_array().unwrap();
        assert!((1..=500).contains(&records.len()), "{}", records.len());
        let mut total = 0;
        let mut data = Vec::new();
        for record in records {
            let key = record["PartitionKey"].as_str().unwrap();
            assert!((1..=256).contains(&key.chars().count()), "{key}");
            let bytes = STANDARD.decode(record["Data"].as_str().unwrap()).unwrap();
            assert!(bytes.len() + key.len() <= 1 << 20, "{}", bytes.len());
            total += bytes.len() + key.len();
            data.push(bytes);
        }
        assert!(total <= 5 << 20, "{total}");
        data
    }

    fn success(&self, _: &Request, fates: &[Option<Refusal>]) -> Answer {
        let each: Vec<Value> = fates
            .iter()
            .map(|fate| match fate {
                Some((code, message)) => json!({"ErrorCode": code, "ErrorMessage": message}),
                None => json!({"SequenceNumber": "4955", "ShardId": "shardId-000000000000"}),
            })
            .collect();
        let failed = fates.iter().flatten().count();
        let body = json!({"FailedRecordCount": failed, "EncryptionType": "NONE", "Records": each});
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

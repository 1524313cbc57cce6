//! `[destinations.NAME]` with `type = "kinesis"`.

use super::credentials::CREDENTIALS;
use super::destination::{
    COMMON, COMPRESSION_LEVEL, CONCURRENCY_MAX, DUAL_STACK, FIPS, METADATA, age_max, aws_endpoint,
    aws_region,
};
use super::tls::{PROXY_KEY, tls};
use super::{Default, KIB, Key, Kind, MIB, Range, Section, TextRule};

const CALL_COUNT_MAX: u64 = 500;

pub(super) static KINESIS: Section = Section {
    doc: "Puts records into an Amazon Kinesis data stream (PutRecords).",
    groups: &[KEYS, &[COMPRESSION_LEVEL, METADATA], COMMON],
};

static KEYS: &[Key] = &[
    Key {
        name: "stream",
        kind: Kind::Text(TextRule::Any),
        default: Default::Required,
        doc: "Name of the data stream.",
    },
    aws_region("AWS region, such as `eu-west-1`; it also names the endpoint."),
    aws_endpoint("Another endpoint, for a VPC endpoint or a test."),
    FIPS,
    DUAL_STACK,
    CONCURRENCY_MAX,
    super::quota::KINESIS,
    Key {
        name: "partition_key",
        kind: Kind::Text(TextRule::KeyTemplate),
        default: Default::Text("{id}"),
        doc: "What decides on a record's shard: text in which `{id}` is the record's id, \
              `{source}` its source, `{agent}` this gateway and `{.device}` a field. \
              What is empty becomes the id, and what is longer than 256 characters is cut.",
    },
    Key {
        name: "explicit_hash_key",
        kind: Kind::Text(TextRule::KeyTemplate),
        default: Default::Absent("none"),
        doc: "Decides on the shard instead: a template like the one above that makes a whole \
              number below 2^128; left out of records of which it makes something else.",
    },
    Key {
        name: "aggregation",
        kind: Kind::Words(&["none", "lines", "kpl"]),
        default: Default::Text("none"),
        doc: "`kpl` puts many records into one of Kinesis, in the format of the Kinesis Producer \
              Library; `lines` does so as lines; `none` gives each its own. \
              Records with different keys share one only if the partition key has `{id}` in it.",
    },
    Key {
        name: "aggregation_hint",
        kind: Kind::Size(Range {
            min: KIB,
            max: 10 * MIB,
            why: "Kinesis takes as one record",
        }),
        default: Default::Text("50KiB"),
        doc: "A Kinesis record of many is closed before it grows beyond this.",
    },
    Key {
        name: "record_bytes_max",
        kind: Kind::Size(Range {
            min: KIB,
            max: 10 * MIB,
            why: "Kinesis takes as one record",
        }),
        default: Default::Text("1MiB"),
        doc: "What the stream takes as one record, its key included \
              (`MaxRecordSizeInKiB` of the stream). \
              With more than 1MiB a call may have 10MiB instead of 5MiB.",
    },
    Key {
        name: "credentials",
        kind: Kind::Table(&CREDENTIALS),
        default: Default::Absent("the environment, then the shared file"),
        doc: "Where the AWS keys come from.",
    },
    tls(""),
    PROXY_KEY,
    Key {
        name: "format",
        kind: Kind::Words(&["ndjson", "raw"]),
        default: Default::Text("ndjson"),
        doc: "`ndjson` writes a JSON object, `raw` the payload.",
    },
    Key {
        name: "compression",
        kind: Kind::Words(&["none", "gzip"]),
        default: Default::Text("none"),
        doc: "`gzip` compresses each Kinesis record.",
    },
    Key {
        name: "batch",
        kind: Kind::Table(&BATCH),
        default: Default::Absent("see below"),
        doc: "When a call is made.",
    },
];

static BATCH: Section = Section {
    doc: "When a call is made: whichever comes first.",
    groups: &[&[
        Key {
            name: "bytes_max",
            kind: Kind::Size(Range {
                min: KIB,
                max: 10 * MIB,
                why: "Kinesis takes in one call",
            }),
            default: Default::Text("1MB"),
            doc: "So many bytes before compression.",
        },
        Key {
            name: "count_max",
            kind: Kind::Integer(Range {
                min: 1,
                max: CALL_COUNT_MAX,
                why: "Kinesis takes in one call",
            }),
            default: Default::Integer(CALL_COUNT_MAX),
            doc: "So many Kinesis records, each of which may hold many of ours.",
        },
        age_max("10s"),
    ]],
};

//! `type = "s3"`.

use super::credentials::CREDENTIALS;
use super::destination::{
    COMMON, COMPRESSION_LEVEL, FORMAT, METADATA, age_max, aws_endpoint, aws_region, count_max,
};
use super::tls::{PROXY_KEY, tls};
use super::{Default, KIB, Key, Kind, MIB, Range, Section, TextRule, range};

pub(super) static S3: Section = Section {
    doc: "Stores objects in a bucket of Amazon S3, or of another store that speaks like it. \
          An object is stored once, whatever is repeated.",
    groups: &[
        PLACE,
        KEYS,
        STORE,
        REST,
        &[FORMAT, COMPRESSION, COMPRESSION_LEVEL, METADATA],
        COMMON,
    ],
};

static PLACE: &[Key] = &[
    Key {
        name: "bucket",
        kind: Kind::Text(TextRule::Any),
        default: Default::Required,
        doc: "Name of the bucket.",
    },
    aws_region("Region of the bucket, such as `eu-west-1`; it also names the endpoint."),
    aws_endpoint("Another endpoint: a VPC endpoint, MinIO, Ceph."),
    Key {
        name: "addressing",
        kind: Kind::Words(&["auto", "virtual", "path"]),
        default: Default::Text("auto"),
        doc: "Whether the bucket's name stands in the host (`virtual`) or in the path. \
              `auto` puts it into the host at Amazon's, unless it has dots, and into the path at \
              an `endpoint`.",
    },
];

static KEYS: &[Key] = &[
    Key {
        name: "prefix",
        kind: Kind::Text(TextRule::Empty),
        default: Default::Text(""),
        doc: "What keys begin with, in the expressions of Firehose: \
              `!{timestamp:yyyy/MM/dd}` is when the oldest record of the object was received, \
              `!{partition:FIELD}` a field's value, `!{firehose:random-string}` 11 characters, \
              `!{hydrant:agent}` and `!{hydrant:source}` are names. \
              Without any expression `yyyy/MM/dd/HH/` is appended.",
    },
    Key {
        name: "error_prefix",
        kind: Kind::Text(TextRule::Any),
        default: Default::Absent("`__HIVE_DEFAULT_PARTITION__` in place of the field"),
        doc: "What keys of records begin with that lack a field of `prefix`; \
              its expressions need `!{firehose:error-output-type}` among them.",
    },
    Key {
        name: "time_zone",
        kind: Kind::Text(TextRule::Any),
        default: Default::Absent("UTC"),
        doc: "Time zone of `!{timestamp:...}`, such as `Europe/Madrid`.",
    },
    Key {
        name: "partitions_max",
        kind: Kind::Integer(range(1, 500)),
        default: Default::Integer(50),
        doc: "Objects of one batch: it ends before the record that would begin one more.",
    },
    Key {
        name: "file_extension",
        kind: Kind::Text(TextRule::Any),
        default: Default::Absent("by `format` and `compression`"),
        doc: "How keys end, such as `.json.gz`.",
    },
];

static STORE: &[Key] = &[
    Key {
        name: "if_none_match",
        kind: Kind::Bool,
        default: Default::Bool(true),
        doc: "Leaves an object of the same key as it is. \
              `false` writes it again, for stores that do not know the header.",
    },
    Key {
        name: "checksum",
        kind: Kind::Words(&["crc32c", "none"]),
        default: Default::Text("crc32c"),
        doc: "What the store checks besides the signed SHA-256.",
    },
    Key {
        name: "encryption",
        kind: Kind::Words(&["bucket", "s3", "kms"]),
        default: Default::Text("bucket"),
        doc: "How the store encrypts: as the bucket says, with keys of S3, or with one of KMS.",
    },
    Key {
        name: "kms_key_id",
        kind: Kind::Text(TextRule::Any),
        default: Default::Absent("the account's own for S3"),
        doc: "With `encryption = \"kms\"`: which key.",
    },
    Key {
        name: "bucket_key",
        kind: Kind::Bool,
        default: Default::Bool(false),
        doc: "With `encryption = \"kms\"`: uses the bucket's key, which asks KMS less often.",
    },
    Key {
        name: "storage_class",
        kind: Kind::Words(&[
            "STANDARD",
            "STANDARD_IA",
            "ONEZONE_IA",
            "INTELLIGENT_TIERING",
            "GLACIER_IR",
            "GLACIER",
            "DEEP_ARCHIVE",
            "REDUCED_REDUNDANCY",
            "EXPRESS_ONEZONE",
        ]),
        default: Default::Absent("the bucket's"),
        doc: "Storage class of the objects.",
    },
    Key {
        name: "tags",
        kind: Kind::Map(&Kind::Text(TextRule::Empty)),
        default: Default::Absent("none"),
        doc: "Tags of the objects, at most ten.",
    },
    Key {
        name: "bucket_owner",
        kind: Kind::Text(TextRule::Any),
        default: Default::Absent("anybody"),
        doc: "Account that the bucket must belong to.",
    },
];

static REST: &[Key] = &[
    Key {
        name: "credentials",
        kind: Kind::Table(&CREDENTIALS),
        default: Default::Absent("the environment, then the shared file"),
        doc: "Where the AWS keys come from.",
    },
    tls(""),
    PROXY_KEY,
    Key {
        name: "batch",
        kind: Kind::Table(&BATCH),
        default: Default::Absent("see below"),
        doc: "When a batch is stored.",
    },
];

/// An archive cannot be sent before it is whole.
const COMPRESSION: Key = Key {
    name: "compression",
    kind: Kind::Words(&["none", "gzip", "snappy", "hadoop_snappy", "zstd"]),
    default: Default::Text("gzip"),
    doc: "How an object is compressed, in the words and formats of Firehose, or with `zstd`.",
};

static BATCH: Section = Section {
    doc: "When a batch is stored: whichever comes first.",
    groups: &[&[
        Key {
            name: "bytes_max",
            kind: Kind::Size(Range {
                min: KIB,
                max: 128 * MIB,
                why: "Firehose makes as one object",
            }),
            default: Default::Text("5MiB"),
            doc: "So many bytes before compression. What is larger than 1 MiB after it is not kept \
                  in memory, but encoded again from the ring while it is sent.",
        },
        count_max(1_000_000),
        age_max("5m"),
    ]],
};

//! `type = "redshift"`.

use super::credentials::CREDENTIALS;
use super::destination::{
    COMMON, COMPRESSION_LEVEL, DUAL_STACK, FIPS, METADATA, age_max, aws_endpoint, aws_region,
    count_max,
};
use super::tls::{PROXY_KEY, tls};
use super::{Default, KIB, Key, Kind, MIB, Range, Section, TextRule, UrlRule};

pub(super) static REDSHIFT: Section = Section {
    doc: "Loads records into a table of Amazon Redshift: an object in S3, a manifest that names \
          it, and a `COPY` through the Data API. \
          What `COPY` refuses becomes a dead letter, with the reason that Redshift gives.",
    groups: &[
        WAREHOUSE,
        TABLE,
        BUCKET,
        REST,
        &[FORMAT, COMPRESSION, COMPRESSION_LEVEL, METADATA],
        COMMON,
    ],
};

static WAREHOUSE: &[Key] = &[
    Key {
        name: "cluster",
        kind: Kind::Text(TextRule::Any),
        default: Default::Absent("`workgroup`"),
        doc: "Identifier of a provisioned cluster.",
    },
    Key {
        name: "workgroup",
        kind: Kind::Text(TextRule::Any),
        default: Default::Absent("`cluster`"),
        doc: "Name or ARN of a workgroup of Redshift Serverless.",
    },
    aws_region("Region of the warehouse, such as `eu-west-1`; it also names the endpoint."),
    aws_endpoint("Another endpoint of the Data API, for a VPC endpoint or a test."),
    FIPS,
    DUAL_STACK,
    Key {
        name: "database",
        kind: Kind::Text(TextRule::Any),
        default: Default::Required,
        doc: "Name of the database.",
    },
    Key {
        name: "db_user",
        kind: Kind::Text(TextRule::Any),
        default: Default::Absent("whom the AWS keys belong to"),
        doc: "With `cluster`: user of the database who loads.",
    },
    Key {
        name: "secret_arn",
        kind: Kind::Text(TextRule::Any),
        default: Default::Absent("whom the AWS keys belong to"),
        doc: "Secret of Secrets Manager with the name and password of who loads.",
    },
];

static TABLE: &[Key] = &[
    Key {
        name: "table",
        kind: Kind::Text(TextRule::Any),
        default: Default::Required,
        doc: "The table, such as `readings` or `plant.readings`.",
    },
    Key {
        name: "columns",
        kind: Kind::List(&Kind::Text(TextRule::Any)),
        default: Default::Absent("all"),
        doc: "Columns that are filled; the others get their defaults.",
    },
    Key {
        name: "copy_options",
        kind: Kind::Text(TextRule::Any),
        default: Default::Absent("`FORMAT AS JSON 'auto'`"),
        doc: "Further options of `COPY`, such as `TIMEFORMAT 'auto' TRUNCATECOLUMNS`. \
              Unless they name a format, `FORMAT AS JSON 'auto'` stands before them.",
    },
    Key {
        name: "iam_role",
        kind: Kind::Text(TextRule::Any),
        default: Default::Text("default"),
        doc: "ARN of the role that `COPY` reads the bucket with, or `default` for the warehouse's \
              own; several roles that are taken one after the other stand with commas between \
              them.",
    },
];

static BUCKET: &[Key] = &[
    Key {
        name: "bucket",
        kind: Kind::Text(TextRule::Any),
        default: Default::Required,
        doc: "Name of the bucket for objects and manifests. They are not removed.",
    },
    Key {
        name: "bucket_region",
        kind: Kind::Text(TextRule::Region),
        default: Default::Absent("`region`"),
        doc: "Region of the bucket.",
    },
    Key {
        name: "bucket_endpoint",
        kind: Kind::Url(UrlRule {
            schemes: &["https", "http"],
            path: true,
        }),
        default: Default::Absent("the endpoint of the bucket's region"),
        doc: "Another endpoint of S3, for a VPC endpoint or a test.",
    },
    Key {
        name: "prefix",
        kind: Kind::Text(TextRule::Empty),
        default: Default::Text(""),
        doc: "What keys begin with, as for `s3`, but without values of records. \
              Without any expression `yyyy/MM/dd/HH/` is appended.",
    },
    Key {
        name: "time_zone",
        kind: Kind::Text(TextRule::Any),
        default: Default::Absent("UTC"),
        doc: "Time zone of `!{timestamp:...}`, such as `Europe/Madrid`.",
    },
    Key {
        name: "encryption",
        kind: Kind::Words(&["bucket", "s3", "kms"]),
        default: Default::Text("bucket"),
        doc: "How S3 encrypts: as the bucket says, with its own keys, or with one of KMS.",
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
        default: Default::Absent("what is found, see below"),
        doc: "Where the AWS keys come from.",
    },
    tls(""),
    PROXY_KEY,
    Key {
        name: "batch",
        kind: Kind::Table(&BATCH),
        default: Default::Absent("see below"),
        doc: "When a batch is loaded.",
    },
];

const FORMAT: Key = Key {
    name: "format",
    kind: Kind::Words(&["ndjson", "raw"]),
    default: Default::Text("ndjson"),
    doc: "`ndjson` writes a JSON object a line, `raw` the payload, a line each.",
};

/// What COPY reads of the compressions there are.
const COMPRESSION: Key = Key {
    name: "compression",
    kind: Kind::Words(&["none", "gzip", "zstd"]),
    default: Default::Text("gzip"),
    doc: "How an object is compressed; `COPY` reads no other of the compressions there are.",
};

static BATCH: Section = Section {
    doc: "When a batch is loaded: whichever comes first. Redshift loads few large objects best.",
    groups: &[&[
        Key {
            name: "bytes_max",
            kind: Kind::Size(Range {
                min: KIB,
                max: 128 * MIB,
                why: "Firehose makes as one object",
            }),
            default: Default::Text("16MiB"),
            doc: "So many bytes before compression. What is larger than 1 MiB after it is not kept \
                  in memory, but encoded again from the ring while it is sent.",
        },
        count_max(1_000_000),
        age_max("5m"),
    ]],
};

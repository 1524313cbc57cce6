//! `[destinations.NAME]`.

use super::credentials::CREDENTIALS;
use super::tls::{PROXY_KEY, tls};
use super::{
    DAY, Default, Family, GIB, HOUR, KIB, Key, Kind, MIB, MINUTE, Range, SECOND, Section, TextRule,
    UrlRule, range,
};

/// `[destinations.NAME]`.
pub(in super::super) static DESTINATIONS: Family = Family {
    name: "destinations",
    singular: "destination",
    doc: "Where records go. \
          Each destination has its own place in the ring: one that is down does not slow another.",
    types: &[
        ("firehose", &FIREHOSE),
        ("kinesis", &super::kinesis::KINESIS),
        ("http", &HTTP),
        ("directory", &DIRECTORY),
        ("s3", &super::s3::S3),
        ("redshift", &super::redshift::REDSHIFT),
    ],
};

/// What Firehose takes as one record.
const FIREHOSE_RECORD_BYTES_MAX: u64 = 1_024_000;
/// What Firehose takes in one call, counted before base64.
const FIREHOSE_CALL_BYTES_MAX: u64 = 4_000_000;
/// What Firehose takes in one call.
const FIREHOSE_CALL_COUNT_MAX: u64 = 500;

static FIREHOSE: Section = Section {
    doc: "Puts records into an Amazon Data Firehose stream (PutRecordBatch).",
    groups: &[FIREHOSE_KEYS, &[COMPRESSION_LEVEL, METADATA], COMMON],
};

static FIREHOSE_KEYS: &[Key] = &[
    Key {
        name: "stream",
        kind: Kind::Text(TextRule::Name),
        default: Default::Required,
        doc: "Name of the delivery stream.",
    },
    aws_region("AWS region, such as `eu-west-1`; it also names the endpoint."),
    aws_endpoint("Another endpoint, for a VPC endpoint or a test."),
    FIPS,
    DUAL_STACK,
    CONCURRENCY_MAX,
    super::quota::FIREHOSE,
    Key {
        name: "packing",
        kind: Kind::Words(&["lines", "none"]),
        default: Default::Text("lines"),
        doc: "`lines` puts many records into one Firehose record, a line each; \
              `none` gives each its own, as a stream to OpenSearch needs.",
    },
    Key {
        name: "packing_hint",
        kind: Kind::Size(Range {
            min: KIB,
            max: FIREHOSE_RECORD_BYTES_MAX,
            why: "Firehose takes as one record",
        }),
        default: Default::Text("512KiB"),
        doc: "With `packing = \"lines\"`: a Firehose record is closed before it grows beyond this.",
    },
    Key {
        name: "credentials",
        kind: Kind::Table(&CREDENTIALS),
        default: Default::Absent("what is found, see below"),
        doc: "Where the AWS keys come from.",
    },
    tls(""),
    PROXY_KEY,
    Key {
        name: "format",
        kind: Kind::Words(&["ndjson", "raw"]),
        default: Default::Text("ndjson"),
        doc: "`ndjson` writes a JSON object a line, `raw` the payload.",
    },
    Key {
        name: "compression",
        kind: Kind::Words(&["none", "gzip"]),
        default: Default::Text("none"),
        doc: "`gzip` compresses each Firehose record; it is for streams that deliver to S3 \
              without compression, conversion or partitioning of their own, \
              whose objects are then gzip files.",
    },
    Key {
        name: "batch",
        kind: Kind::Table(&FIREHOSE_BATCH),
        default: Default::Absent("see below"),
        doc: "When a call is made.",
    },
];

/// `region`.
pub(super) const fn aws_region(doc: &'static str) -> Key {
    Key {
        name: "region",
        kind: Kind::Text(TextRule::Region),
        default: Default::Required,
        doc,
    }
}

/// `endpoint`.
pub(super) const fn aws_endpoint(doc: &'static str) -> Key {
    Key {
        name: "endpoint",
        kind: Kind::Url(UrlRule {
            schemes: &["https", "http"],
            path: true,
        }),
        default: Default::Absent("the endpoint of the region"),
        doc,
    }
}

/// `concurrency_max`.
pub(super) const CONCURRENCY_MAX: Key = Key {
    name: "concurrency_max",
    kind: Kind::Integer(range(1, 64)),
    default: Default::Integer(4),
    doc: "So many calls are under way at a time at most: the records of a batch are spread over \
          them. There is one at first; another joins with each round that the service accepts, \
          and half of them stop when it throttles or does not answer.",
};

/// `fips`.
pub(super) const FIPS: Key = Key {
    name: "fips",
    kind: Kind::Bool,
    default: Default::Bool(false),
    doc: "Whether to use the endpoint of the region that conforms to FIPS 140.",
};

/// `dual_stack`.
pub(super) const DUAL_STACK: Key = Key {
    name: "dual_stack",
    kind: Kind::Bool,
    default: Default::Bool(false),
    doc: "Whether to use the endpoint of the region that is reached over IPv6 as well.",
};

static FIREHOSE_BATCH: Section = Section {
    doc: "When a call is made: whichever comes first.",
    groups: &[&[
        Key {
            name: "bytes_max",
            kind: Kind::Size(Range {
                min: KIB,
                max: FIREHOSE_CALL_BYTES_MAX,
                why: "Firehose takes in one call",
            }),
            default: Default::Text("2MB"),
            doc: "So many bytes before compression.",
        },
        Key {
            name: "count_max",
            kind: Kind::Integer(Range {
                min: 1,
                max: FIREHOSE_CALL_COUNT_MAX,
                why: "Firehose takes in one call",
            }),
            default: Default::Integer(FIREHOSE_CALL_COUNT_MAX),
            doc: "So many Firehose records, each of which may hold many lines.",
        },
        age_max("60s"),
    ]],
};

static HTTP: Section = Section {
    doc: "Sends batches to any HTTP endpoint. \
          2xx is success; 408, 425, 429 and 5xx are tried again; 413 splits the batch.",
    groups: &[
        HTTP_KEYS,
        &[FORMAT, compression("none"), COMPRESSION_LEVEL, METADATA],
        COMMON,
    ],
};

static HTTP_KEYS: &[Key] = &[
    Key {
        name: "url",
        kind: Kind::Url(UrlRule {
            schemes: &["https", "http"],
            path: true,
        }),
        default: Default::Required,
        doc: "Where to.",
    },
    Key {
        name: "method",
        kind: Kind::Words(&["POST", "PUT", "PATCH"]),
        default: Default::Text("POST"),
        doc: "The method.",
    },
    Key {
        name: "headers",
        kind: Kind::Map(&Kind::Secret),
        default: Default::Absent("none"),
        doc: "More headers. Their values are taken for secrets.",
    },
    Key {
        name: "bearer",
        kind: Kind::Secret,
        default: Default::Absent("none"),
        doc: "Sends `Authorization: Bearer` with this token.",
    },
    Key {
        name: "username",
        kind: Kind::Text(TextRule::Any),
        default: Default::Absent("none"),
        doc: "Sends `Authorization: Basic` with this user name and `password`.",
    },
    Key {
        name: "password",
        kind: Kind::Secret,
        default: Default::Absent("none"),
        doc: "Password. It needs a `username`.",
    },
    tls(""),
    PROXY_KEY,
    Key {
        name: "batch",
        kind: Kind::Table(&HTTP_BATCH),
        default: Default::Absent("see below"),
        doc: "When a batch is sent.",
    },
];

static HTTP_BATCH: Section = Section {
    doc: "When a batch is sent: whichever comes first.",
    groups: &[&[bytes_max("1MB"), count_max(10_000), age_max("10s")]],
};

static DIRECTORY: Section = Section {
    doc: "Writes batches as files, each of them whole or not at all.",
    groups: &[
        &[
            Key {
                name: "path",
                kind: Kind::Path,
                default: Default::Required,
                doc: "The folder; it is made when it is not there.",
            },
            Key {
                name: "bytes_max",
                kind: Kind::Size(range(4 * KIB, 1024 * GIB)),
                default: Default::Text("1GiB"),
                doc: "Size of the folder. The oldest files make room.",
            },
            Key {
                name: "batch",
                kind: Kind::Table(&DIRECTORY_BATCH),
                default: Default::Absent("see below"),
                doc: "When a file is complete.",
            },
            FORMAT,
            compression("gzip"),
            COMPRESSION_LEVEL,
            METADATA,
        ],
        COMMON,
    ],
};

static DIRECTORY_BATCH: Section = Section {
    doc: "When a file is complete: whichever comes first.",
    groups: &[&[bytes_max("16MiB"), count_max(1_000_000), age_max("60s")]],
};

static RETRY: Section = Section {
    doc: "How a batch is tried again that failed.",
    groups: &[&[
        Key {
            name: "initial",
            kind: Kind::Duration(range(10, HOUR)),
            default: Default::Text("1s"),
            doc: "The first wait is a random time up to this; it doubles from then on.",
        },
        Key {
            name: "max",
            kind: Kind::Duration(range(10, DAY)),
            default: Default::Text("5m"),
            doc: "No wait is longer than this.",
        },
        Key {
            name: "give_up_after",
            kind: Kind::Duration(range(SECOND, 365 * DAY)),
            default: Default::Absent("never"),
            doc: "After so long a batch goes to the dead letter.",
        },
        Key {
            name: "timeout",
            kind: Kind::Duration(range(100, 15 * MINUTE)),
            default: Default::Text("30s"),
            doc: "How long one request may take.",
        },
    ]],
};

static DEAD_LETTER: Section = Section {
    doc: "Where records are kept that the destination refused for good, as NDJSON files.",
    groups: &[&[
        Key {
            name: "path",
            kind: Kind::Path,
            default: Default::Absent("`dead-letter/NAME` in `agent.state_dir`"),
            doc: "The folder.",
        },
        Key {
            name: "bytes_max",
            kind: Kind::Size(range(4 * KIB, 64 * GIB)),
            default: Default::Text("16MiB"),
            doc: "Size of the folder. The oldest files make room.",
        },
        Key {
            name: "shape",
            kind: Kind::Words(&["record", "firehose"]),
            default: Default::Absent("`record`, or `firehose` with `destination`"),
            doc: "`record` writes the record and why it was refused; `firehose` what Firehose \
                  writes into its error folder, with the payload as `rawData`.",
        },
        Key {
            name: "destination",
            kind: Kind::Text(TextRule::Any),
            default: Default::Absent("none: the folder"),
            doc: "Name of another destination, by whose way the letters go out. \
                  The folder is then for what that refuses.",
        },
    ]],
};

static DRAIN: Section = Section {
    doc: "In which order waiting records leave.",
    groups: &[&[
        Key {
            name: "order",
            kind: Kind::Words(&["oldest_first", "newest_first"]),
            default: Default::Text("oldest_first"),
            doc: "With `newest_first` what comes in after an outage need not queue behind it: what \
                  waited becomes a backlog that is delivered in the gaps.",
        },
        Key {
            name: "live_age_max",
            kind: Kind::Duration(range(SECOND, DAY)),
            default: Default::Text("1m"),
            doc: "With `newest_first`: when a full batch begins with a record that is older than \
                  this and `batch.age_max` together, and more is behind it, everything that waits \
                  becomes a backlog.",
        },
        Key {
            name: "backlog_share_percent",
            kind: Kind::Integer(range(1, 90)),
            default: Default::Integer(20),
            doc: "So many of a hundred bytes are kept for a backlog or a replay while new records \
                  leave nothing over.",
        },
    ]],
};

pub(super) static COMMON: &[Key] = &[
    Key {
        name: "from",
        kind: Kind::List(&Kind::Text(TextRule::Any)),
        default: Default::Absent("every source"),
        doc: "Names of the sources whose records it takes.",
    },
    Key {
        name: "buffers",
        kind: Kind::List(&Kind::Text(TextRule::Any)),
        default: Default::Absent("every buffer, `default` last"),
        doc: "Names of the buffers it takes from: \
              a record in an earlier one goes before every record in a later one.",
    },
    Key {
        name: "transforms",
        kind: Kind::List(&Kind::Text(TextRule::Any)),
        default: Default::Absent("none"),
        doc: "Names of transforms that are applied on the way out, in this order.",
    },
    Key {
        name: "retry",
        kind: Kind::Table(&RETRY),
        default: Default::Absent("see below"),
        doc: "How a failed batch is tried again.",
    },
    Key {
        name: "drain",
        kind: Kind::Table(&DRAIN),
        default: Default::Absent("see below"),
        doc: "In which order waiting records leave.",
    },
    Key {
        name: "dead_letter",
        kind: Kind::Table(&DEAD_LETTER),
        default: Default::Absent("see below"),
        doc: "Where refused records are kept.",
    },
    Key {
        name: "fallback",
        kind: Kind::Text(TextRule::Any),
        default: Default::Absent("none"),
        doc: "Name of another destination, by whose way the records go out while this one fails.",
    },
    Key {
        name: "fallback_after",
        kind: Kind::Duration(range(SECOND, 7 * DAY)),
        default: Default::Text("15m"),
        doc: "With `fallback`: so long must it have failed without a success. \
              From then on it is tried again each `retry.max`.",
    },
    Key {
        name: "standby",
        kind: Kind::Bool,
        default: Default::Bool(false),
        doc: "Whether it takes no records of its own, and is only the `fallback` of others, or takes their dead letters.",
    },
];

pub(super) const FORMAT: Key = Key {
    name: "format",
    kind: Kind::Words(&["ndjson", "json_array", "raw"]),
    default: Default::Text("ndjson"),
    doc: "`ndjson` writes a JSON object a line, `json_array` one array, `raw` the payloads, \
          a line each.",
};

pub(super) const METADATA: Key = Key {
    name: "metadata",
    kind: Kind::Bool,
    default: Default::Bool(true),
    doc: "Whether a record carries its id, source, agent and times. `raw` never does.",
};

pub(super) const COMPRESSION_LEVEL: Key = Key {
    name: "compression_level",
    kind: Kind::Integer(range(1, 9)),
    default: Default::Absent("2 for `gzip` and `zip`, 1 for `zstd`"),
    doc: "How hard `gzip`, `zip` or `zstd` tries: more takes longer and saves some.",
};

const fn compression(default: &'static str) -> Key {
    Key {
        name: "compression",
        kind: Kind::Words(&["none", "gzip", "zip", "snappy", "hadoop_snappy", "zstd"]),
        default: Default::Text(default),
        doc: "How a batch is compressed, in the words and formats of Firehose, or with `zstd`, \
              which is faster than gzip and smaller.",
    }
}

const fn bytes_max(default: &'static str) -> Key {
    Key {
        name: "bytes_max",
        kind: Kind::Size(Range {
            min: KIB,
            max: 64 * MIB,
            why: "the memory of a gateway bears",
        }),
        default: Default::Text(default),
        doc: "So many bytes before compression.",
    }
}

pub(super) const fn count_max(default: u64) -> Key {
    Key {
        name: "count_max",
        kind: Kind::Integer(range(1, 1_000_000)),
        default: Default::Integer(default),
        doc: "So many records.",
    }
}

pub(super) const fn age_max(default: &'static str) -> Key {
    Key {
        name: "age_max",
        kind: Kind::Duration(range(0, 900 * SECOND)),
        default: Default::Text(default),
        doc: "So long after its first record was taken; with `0s` a record leaves at once.",
    }
}

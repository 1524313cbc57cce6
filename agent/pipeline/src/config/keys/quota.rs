//! `quota` of a destination: what its service takes in a second.

use super::{Default, GIB, KIB, Key, Kind, Section, range};

static FIREHOSE_QUOTA: Section = Section {
    doc: "What the stream takes in a second: calls are spaced so that no second has more.",
    groups: &[
        &[Key {
            name: "preset",
            kind: Kind::Words(&["none", "region"]),
            default: Default::Text("none"),
            doc: "`region` fills in what is not written below with the default quota of a stream \
                  in its region: 5 MiB, 2,000 calls and 500,000 records in `us-east-1`, \
                  `us-west-2` and `eu-west-1`, elsewhere 1 MiB, 1,000 and 100,000.",
        }],
        PARTS,
    ],
};

static KINESIS_QUOTA: Section = Section {
    doc: "What the stream takes in a second: calls are spaced so that no second has more. \
          A shard takes 1 MiB and 1,000 records.",
    groups: &[PARTS],
};

static PARTS: &[Key] = &[
    Key {
        name: "bytes_per_second",
        kind: Kind::Size(range(KIB, GIB)),
        default: Default::Absent("not bounded"),
        doc: "Bytes of records.",
    },
    Key {
        name: "requests_per_second",
        kind: Kind::Integer(range(1, 1_000_000)),
        default: Default::Absent("not bounded"),
        doc: "Calls.",
    },
    Key {
        name: "records_per_second",
        kind: Kind::Integer(range(1, 100_000_000)),
        default: Default::Absent("not bounded"),
        doc: "Records as the service counts them, each of which may hold many lines.",
    },
];

/// `quota` of a Firehose stream.
pub(super) const FIREHOSE: Key = key(&FIREHOSE_QUOTA);

/// `quota` of a Kinesis stream.
pub(super) const KINESIS: Key = key(&KINESIS_QUOTA);

const fn key(section: &'static Section) -> Key {
    Key {
        name: "quota",
        kind: Kind::Table(section),
        default: Default::Absent("not bounded"),
        doc: "What the service takes in a second from this gateway, so that it need not throttle.",
    }
}

//! `[agent]`, `[buffer]` and `[buffers.NAME]`.

use super::super::CONTROL_SOCKET_DEFAULT;
use super::{Default, GIB, KIB, Key, Kind, MIB, Range, Section, TextRule, range};
use crate::write_budget::SYNC_DELAY_MS_MAX;

/// `[agent]`.
pub(in super::super) static AGENT: Section = Section {
    doc: "The agent itself.",
    groups: &[&[
        Key {
            name: "id",
            kind: Kind::Text(TextRule::Name),
            default: Default::Text("${HOSTNAME}"),
            doc: "Name of this gateway in records, object keys and client ids. \
                  `HOSTNAME` is known even where the environment does not have it.",
        },
        Key {
            name: "state_dir",
            kind: Kind::Path,
            default: Default::Text("/var/lib/hydrant"),
            doc: "The folder of the ring and of the dead letters.",
        },
        Key {
            name: "control_socket",
            kind: Kind::Path,
            default: Default::Text(CONTROL_SOCKET_DEFAULT),
            doc: "The socket that `hydrant status` asks.",
        },
        Key {
            name: "metrics_listen",
            kind: Kind::Address,
            default: Default::Absent("off"),
            doc: "Where the counters are served as Prometheus text. \
                  Only a loopback address is taken, because nobody is asked who they are.",
        },
        Key {
            name: "clock",
            kind: Kind::Words(&["auto", "trusted"]),
            default: Default::Text("auto"),
            doc: "`auto` believes the machine's clock once its time daemon or the `Date` of a \
                  destination over TLS has confirmed it, and marks records until then; \
                  `trusted` believes it as it is, because something else keeps it right.",
        },
        Key {
            name: "landlock",
            kind: Kind::Bool,
            default: Default::Bool(true),
            doc: "Whether the agent, and with it a `credential_process`, can write only to the folders \
                  that the configuration names, where the kernel has Landlock (Linux 5.13).",
        },
        Key {
            name: "log_level",
            kind: Kind::Words(&["error", "warn", "info", "debug", "trace"]),
            default: Default::Text("info"),
            doc: "The least severe level that is logged.",
        },
    ]],
};

/// `[buffer]` and each of `[buffers.NAME]`.
pub(in super::super) static BUFFER: Section = Section {
    doc: "The ring: where every record is kept until each destination is done with it.",
    groups: &[&[
        Key {
            name: "size",
            kind: Kind::Size(range(MIB, 1024 * GIB)),
            default: Default::Text("512MiB"),
            doc: "Size of the ring's file. It is taken whole at the first start and never grows.",
        },
        Key {
            name: "when_full",
            kind: Kind::Words(&["evict_oldest", "block"]),
            default: Default::Text("evict_oldest"),
            doc: "`evict_oldest` makes room and counts what is lost; \
                  `block` makes the sources wait that can (file, MQTT, TCP).",
        },
        Key {
            name: "sync_delay_max",
            kind: Kind::Duration(range(0, SYNC_DELAY_MS_MAX)),
            default: Default::Text("1s"),
            doc: "The longest a record waits before it is made durable. \
                  A source that waits for it is not made to wait so long.",
        },
        Key {
            name: "sync_bytes",
            kind: Kind::Size(Range {
                min: 4 * KIB,
                max: 16 * MIB,
                why: "may wait in memory",
            }),
            default: Default::Text("256KiB"),
            doc: "So many waiting bytes are made durable at once.",
        },
        Key {
            name: "write_budget",
            kind: Kind::SizePerDay(Range {
                min: 16 * MIB,
                max: 1024 * GIB,
                why: "a day's syncs cost 6 MiB at least",
            }),
            default: Default::Absent("no budget"),
            doc: "What may be written to the disk in a day, such as `\"2GiB/day\"`. \
                  When it runs short, whatever waits for a sync waits longer, up to a minute: \
                  acknowledgements, checkpoints and deliveries too.",
        },
        Key {
            name: "compression",
            kind: Kind::Words(&["none", "snappy", "zstd"]),
            default: Default::Text("snappy"),
            doc: "How records are compressed on disk, when that saves. `zstd` keeps more of them and \
                  writes less, for more processor time.",
        },
        Key {
            name: "compression_level",
            kind: Kind::Integer(range(1, 9)),
            default: Default::Absent("1"),
            doc: "How hard `zstd` tries: more takes longer and saves some.",
        },
        Key {
            name: "encryption",
            kind: Kind::Table(&ENCRYPTION),
            default: Default::Absent("off"),
            doc: "The key that records are encrypted with on disk.",
        },
    ]],
};

static ENCRYPTION: Section = Section {
    doc: "The key that records are encrypted with on disk, by ChaCha20-Poly1305. \
          A key has 32 bytes: as they are, as 64 hexadecimal digits, or as base64. \
          It takes effect with the next segment of a ring that is there already.",
    groups: &[&[
        Key {
            name: "key_file",
            kind: Kind::Path,
            default: Default::Absent("off"),
            doc: "File with the key.",
        },
        Key {
            name: "credential",
            kind: Kind::Text(TextRule::Name),
            default: Default::Absent("off"),
            doc: "Name of a systemd credential with the key, instead of `key_file`.",
        },
        Key {
            name: "old_key_files",
            kind: Kind::List(&Kind::Path),
            default: Default::Absent("none"),
            doc: "Files with earlier keys, needed as long as the ring has records from their time.",
        },
    ]],
};

//! `[sources.NAME]`.

use super::super::model::DEFAULT_BUFFER;
use super::{
    DAY, Default, Family, KIB, Key, Kind, MIB, Range, SECOND, Section, TextRule, UrlRule, range,
};

/// `[sources.NAME]`.
pub(in super::super) static SOURCES: Family = Family {
    name: "sources",
    singular: "source",
    doc: "Where records come from.",
    types: &[
        ("mqtt", &MQTT),
        ("mqtt_listener", &MQTT_LISTENER),
        ("file", &super::file::FILE),
        ("syslog", &SYSLOG),
    ],
};

static MQTT: Section = Section {
    doc: "Subscribes to an MQTT broker. \
          A message is acknowledged only after its record is durable.",
    groups: &[MQTT_KEYS, COMMON],
};

static MQTT_KEYS: &[Key] = &[
    Key {
        name: "url",
        kind: Kind::OneOrMore(&Kind::Url(UrlRule {
            schemes: &["mqtt", "mqtts", "ws", "wss"],
            path: true,
        })),
        default: Default::Required,
        doc: "The broker, or several in the order in which they are tried. `ws` and `wss` are \
              WebSocket, with the path `/mqtt` when none is named. The port is 1883, 8883 with \
              `mqtts`, 80 with `ws` and 443 with `wss` when none is named.",
    },
    Key {
        name: "topics",
        kind: Kind::List(&Kind::Text(TextRule::TopicFilter)),
        default: Default::Required,
        doc: "Topic filters, with `+` and `#`. Of agents that subscribe to \
              `$share/GROUP/FILTER` each message goes to one.",
    },
    TOPIC_TEMPLATE,
    Key {
        name: "qos",
        kind: Kind::Integer(range(0, 2)),
        default: Default::Integer(1),
        doc: "The quality of service asked for. With 0 nothing is acknowledged.",
    },
    Key {
        name: "version",
        kind: Kind::Words(&["3.1.1", "5"]),
        default: Default::Text("3.1.1"),
        doc: "Version of the protocol.",
    },
    Key {
        name: "client_id",
        kind: Kind::Text(TextRule::Any),
        default: Default::Absent("`hydrant-`, `agent.id`, `-` and the name of the source"),
        doc: "The name of the session at the broker. \
              It must stay the same over restarts, and no other client may have it.",
    },
    Key {
        name: "username",
        kind: Kind::Text(TextRule::Any),
        default: Default::Absent("none"),
        doc: "User name.",
    },
    Key {
        name: "password",
        kind: Kind::Secret,
        default: Default::Absent("none"),
        doc: "Password. It needs a `username`.",
    },
    Key {
        name: "keep_alive",
        kind: Kind::Duration(Range {
            min: SECOND,
            max: 65_535 * SECOND,
            why: "MQTT can say",
        }),
        default: Default::Text("30s"),
        doc: "How often a silent connection is probed.",
    },
    Key {
        name: "session_expiry",
        kind: Kind::Duration(range(0, 365 * DAY)),
        default: Default::Text("7d"),
        doc: "How long the broker keeps the session while the gateway is away. \
              MQTT 5 only: with 3.1.1 the broker decides.",
    },
    PACKET_BYTES_MAX,
    Key {
        name: "in_flight_max",
        kind: Kind::Integer(range(1, 65_535)),
        default: Default::Integer(20),
        doc: "How many messages may wait for their acknowledgement. \
              MQTT 5 tells the broker; for 3.1.1 write what the broker is set to.",
    },
    Key {
        name: "return_interval",
        kind: Kind::Duration(range(SECOND, DAY)),
        default: Default::Text("1m"),
        doc: "While a later broker of several serves, how often the earlier ones are tried.",
    },
    super::tls::tls("With a `mqtts` or `wss` URL."),
];

static MQTT_LISTENER: Section = Section {
    doc: "Lets devices publish straight to Hydrant, without a broker. \
          A message is acknowledged only after its record is durable.",
    groups: &[
        &[
            Key {
                name: "listen",
                kind: Kind::AddressOrPassed,
                default: Default::Required,
                doc: "Where to listen, such as `127.0.0.1:1883` or `0.0.0.0:1883`, \
                      or what a socket unit passes under this name.",
            },
            server_tls("With it devices must speak TLS; port 8883 is usual."),
            Key {
                name: "username",
                kind: Kind::Text(TextRule::Any),
                default: Default::Absent("anyone"),
                doc: "User name that every device must give.",
            },
            Key {
                name: "password",
                kind: Kind::Secret,
                default: Default::Absent("anyone"),
                doc: "Password that every device must give. It needs a `username`.",
            },
            Key {
                name: "password_file",
                kind: Kind::Path,
                default: Default::Absent("none"),
                doc: "File with a user name and a password for each device, \
                      as `mosquitto_passwd` writes it. It is read again when it has changed.",
            },
            Key {
                name: "rights",
                kind: Kind::Map(&Kind::OneOrMore(&Kind::Text(TextRule::TopicFilter))),
                default: Default::Absent("everybody may publish everywhere"),
                doc: "By user name, the topics to which it may publish; `\"*\"` is everybody. \
                      `%u` stands for the user name and `%c` for the client identifier.",
            },
            Key {
                name: "connections_max",
                kind: Kind::Integer(range(1, 100_000)),
                default: Default::Integer(1000),
                doc: "How many devices at once.",
            },
            PACKET_BYTES_MAX,
            TOPIC_TEMPLATE,
            Key {
                name: "idle_max",
                kind: Kind::Duration(range(SECOND, DAY)),
                default: Default::Text("5m"),
                doc: "A device without keep-alive that is silent for so long is disconnected. \
                      MQTT 5 devices are told to send something as often as that.",
            },
        ],
        COMMON,
    ],
};

/// `tls` of a listener; `doc` says when it may be written.
const fn server_tls(doc: &'static str) -> Key {
    Key {
        name: "tls",
        kind: Kind::Table(&SERVER_TLS),
        default: Default::Absent("see below"),
        doc,
    }
}

static SERVER_TLS: Section = Section {
    doc: "What is shown to clients, and which of them are let in. \
          The files are read again when they have changed.",
    groups: &[&[
        Key {
            name: "certificate_file",
            kind: Kind::Path,
            default: Default::Absent("none"),
            doc: "PEM file of the certificate that is shown, and its chain. It needs `key_file`.",
        },
        Key {
            name: "key_file",
            kind: Kind::Path,
            default: Default::Absent("none"),
            doc: "PEM file of the private key of that certificate.",
        },
        Key {
            name: "client_ca_file",
            kind: Kind::Path,
            default: Default::Absent("none"),
            doc: "PEM file of certificate authorities. \
                  Only clients with a certificate of one of them are let in.",
        },
    ]],
};

static SYSLOG: Section = Section {
    doc: "Listens for syslog, RFC 3164 and RFC 5424, told apart message by message.",
    groups: &[
        &[
            Key {
                name: "listen",
                kind: Kind::List(&Kind::Listen(&[
                    "udp", "tcp", "tls", "unix", "unixgram", "systemd",
                ])),
                default: Default::Required,
                doc: "Where to listen: ports, sockets of this machine (`unix` for streams, \
                      `unixgram` for datagrams such as those to `/dev/log`), or what a socket \
                      unit passes under this name.",
            },
            server_tls("For places with `tls`, RFC 5425; port 6514 is usual."),
            Key {
                name: "socket_mode",
                kind: Kind::Text(TextRule::FileMode),
                default: Default::Text("0666"),
                doc: "Permissions of `unix` and `unixgram` sockets: who may write may log.",
            },
            Key {
                name: "socket_owner",
                kind: Kind::Text(TextRule::Any),
                default: Default::Absent("the user and group of the agent"),
                doc: "Owner of `unix` and `unixgram` sockets: `USER`, `USER:GROUP` or `:GROUP`, \
                      names or numbers. Only root may give a socket to another user.",
            },
            Key {
                name: "timezone",
                kind: Kind::Text(TextRule::Any),
                default: Default::Absent("the zone of the machine"),
                doc: "Time zone of RFC 3164 time stamps, such as `Europe/Berlin`.",
            },
            Key {
                name: "message_bytes_max",
                kind: Kind::Size(range(480, MIB)),
                default: Default::Text("64KiB"),
                doc: "A longer message is cut and counted.",
            },
            Key {
                name: "connections_max",
                kind: Kind::Integer(range(1, 10_000)),
                default: Default::Integer(100),
                doc: "How many connections at once.",
            },
            Key {
                name: "idle_max",
                kind: Kind::Duration(range(SECOND, 7 * DAY)),
                default: Default::Text("10m"),
                doc: "A connection that is silent for so long is closed.",
            },
            Key {
                name: "receive_buffer",
                kind: Kind::Size(range(64 * KIB, 64 * MIB)),
                default: Default::Text("4MiB"),
                doc: "Size asked of the kernel for the buffer of a UDP socket. \
                      It is what bridges the time of a slow disk.",
            },
            Key {
                name: "rate_limit",
                kind: Kind::Table(&RATE_LIMIT),
                default: Default::Absent("see below"),
                doc: "How much each sender may send.",
            },
        ],
        COMMON,
    ],
};

static RATE_LIMIT: Section = Section {
    doc: "How much each sender may send, by its address, or by its user on this machine. \
          More is refused where it comes as datagrams, and waits where it comes on a connection.",
    groups: &[&[
        Key {
            name: "messages",
            kind: Kind::Integer(range(1, 1_000_000)),
            default: Default::Absent("no limit"),
            doc: "Messages that each sender, by address or local user, may send in `per`. \
                  More is refused and counted; on a connection it waits.",
        },
        Key {
            name: "per",
            kind: Kind::Duration(range(100, DAY)),
            default: Default::Text("1s"),
            doc: "The span in which they may come.",
        },
        Key {
            name: "burst",
            kind: Kind::Integer(range(1, 10_000_000)),
            default: Default::Absent("`messages`"),
            doc: "How many may come at once after a rest.",
        },
    ]],
};

const PACKET_BYTES_MAX: Key = Key {
    name: "packet_bytes_max",
    kind: Kind::Size(Range {
        min: KIB,
        max: 4 * MIB,
        why: "the memory of a gateway bears",
    }),
    default: Default::Text("256KiB"),
    doc: "The largest packet that is taken.",
};

const TOPIC_TEMPLATE: Key = Key {
    name: "topic_template",
    kind: Kind::OneOrMore(&Kind::Text(TextRule::TopicTemplate)),
    default: Default::Absent("none"),
    doc: "Fields that are read out of the topic, such as `plant/{site}/{device}/telemetry`. \
          `{name...}` takes all levels that are left, `+` and `#` take theirs without a name; \
          of several the first that fits counts.",
};

pub(super) static COMMON: &[Key] = &[
    Key {
        name: "transforms",
        kind: Kind::List(&Kind::Text(TextRule::Any)),
        default: Default::Absent("none"),
        doc: "Names of transforms that are applied before records are stored, in this order.",
    },
    Key {
        name: "buffer",
        kind: Kind::Text(TextRule::Any),
        default: Default::Text(DEFAULT_BUFFER),
        doc: "Name of the buffer that records are stored in.",
    },
];

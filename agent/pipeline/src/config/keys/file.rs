//! `[sources.NAME]` with `type = "file"`.

use super::source::COMMON;
use super::{DAY, Default, HOUR, KIB, Key, Kind, MIB, MINUTE, SECOND, Section, TextRule, range};

pub(super) static FILE: Section = Section {
    doc: "Follows files and survives their rotation. \
          It goes on where it stopped, also after a power cut.",
    groups: &[
        &[
            Key {
                name: "paths",
                kind: Kind::List(&Kind::Text(TextRule::Glob)),
                default: Default::Required,
                doc: "Absolute paths; `*`, `?`, `[...]`, `{a,b}` and `**` are wildcards.",
            },
            Key {
                name: "exclude",
                kind: Kind::List(&Kind::Text(TextRule::Any)),
                default: Default::Absent("none"),
                doc: "What of it is left out: the same wildcards, \
                      for absolute paths or, without a `/`, for names.",
            },
            Key {
                name: "start_at",
                kind: Kind::Words(&["beginning", "end"]),
                default: Default::Text("beginning"),
                doc: "Where a file is begun that was there at the very first start.",
            },
            Key {
                name: "ignore_older",
                kind: Kind::Duration(range(SECOND, 3650 * DAY)),
                default: Default::Absent("no file is too old"),
                doc: "A file that was not written to for so long is not begun.",
            },
            Key {
                name: "line_bytes_max",
                kind: Kind::Size(range(64, MIB)),
                default: Default::Text("256KiB"),
                doc: "A longer line is cut, counted and marked with the field `truncated`.",
            },
            Key {
                name: "poll_interval",
                kind: Kind::Duration(range(100, HOUR)),
                default: Default::Text("5s"),
                doc: "How often to look even if the kernel told nothing.",
            },
            Key {
                name: "watch",
                kind: Kind::Words(&["auto", "poll"]),
                default: Default::Text("auto"),
                doc: "Whether the kernel is asked to tell of changes. \
                      With `poll` files are only looked at, as often as `poll_interval` says.",
            },
            Key {
                name: "open_files_max",
                kind: Kind::Integer(range(1, 100_000)),
                default: Default::Integer(256),
                doc: "How many files are open at once; others are opened when they have grown. \
                      Never more than half of what the process may open.",
            },
            Key {
                name: "encoding",
                kind: Kind::Words(&["utf-8", "utf-16le", "utf-16be", "utf-16", "latin-1"]),
                default: Default::Text("utf-8"),
                doc: "How the bytes are characters. UTF-8 is kept byte by byte, also where it is \
                      none; of the others, which become UTF-8, what is no character is replaced \
                      and counted. `utf-16` asks the byte-order mark.",
            },
            Key {
                name: "format",
                kind: Kind::Words(&["plain", "cri", "docker_json"]),
                default: Default::Text("plain"),
                doc: "What a container runtime wraps around lines: \
                      `cri` for Kubernetes, `docker_json` for Docker's `json-file`. \
                      Its time and the field `stream` become those of the record.",
            },
            Key {
                name: "multiline",
                kind: Kind::Table(&MULTILINE),
                default: Default::Absent("each line is a record"),
                doc: "Joins lines to records, such as the lines of a stack trace.",
            },
        ],
        COMMON,
    ],
};

static MULTILINE: Section = Section {
    doc: "Which lines belong to one record: one of `start`, `continuation` and `indentation`.",
    groups: &[&[
        Key {
            name: "start",
            kind: Kind::Text(TextRule::Any),
            default: Default::Absent("none"),
            doc: "A regular expression. A line that matches begins a record; \
                  those that do not belong to the line before them.",
        },
        Key {
            name: "continuation",
            kind: Kind::Text(TextRule::Any),
            default: Default::Absent("none"),
            doc: "A regular expression. A line that matches belongs to the line before it.",
        },
        Key {
            name: "indentation",
            kind: Kind::Bool,
            default: Default::Bool(false),
            doc: "Whether a line that begins with a space or a tab belongs to the line before it.",
        },
        Key {
            name: "timeout",
            kind: Kind::Duration(range(10, 10 * MINUTE)),
            default: Default::Text("1s"),
            doc: "A record whose file is silent for so long is complete.",
        },
        Key {
            name: "bytes_max",
            kind: Kind::Size(range(KIB, MIB)),
            default: Default::Text("256KiB"),
            doc: "A longer record is ended; what follows is a record of its own, \
                  with the field `continued`.",
        },
        Key {
            name: "lines_max",
            kind: Kind::Integer(range(2, 100_000)),
            default: Default::Integer(1000),
            doc: "The same for a record of more lines.",
        },
    ]],
};

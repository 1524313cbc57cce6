//! What lines cost that container runtimes have wrapped, or that are joined to records.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use crate::agent::folder;
use crate::file::{Case, heading, measure};
use crate::lines::Lines;

/// Keys of the source and what it makes of a line, for each kind.
type Kind = (&'static str, &'static str, fn(u64, &str) -> String);

const KINDS: [Kind; 4] = [
    ("plain", "", |_, line| line.to_owned()),
    ("cri", "format = \"cri\"\n", |_, line| {
        format!("2026-11-23T16:39:58.123456789+00:00 stdout F {line}")
    }),
    ("docker", "format = \"docker_json\"\n", |_, line| {
        let log = serde_json::to_string(line).unwrap();
        format!(
            "{{\"log\":{log},\"stream\":\"stdout\",\"time\":\"2026-11-23T16:39:58.123456789Z\"}}\n"
        )
    }),
    // Three of four lines belong to the one before, as in a stack trace.
    (
        "joined",
        "multiline = { indentation = true }\n",
        |number, line| {
            let indentation = if number % 4 == 0 { "" } else { "    " };
            format!("{indentation}{line}")
        },
    ),
];

/// Runs all kinds over the same lines.
pub(crate) fn run(binary: &Path, count: u64) {
    println!("{count} lines of each kind, raw and not compressed");
    heading();
    for (label, source, change) in KINDS {
        let input = folder("formats").join("lines.log");
        write_file(&input, count, change);
        let case = Case {
            label,
            source,
            format: "raw",
            compression: "none",
        };
        measure(binary, &input, count, &case);
    }
}

fn write_file(path: &Path, count: u64, change: fn(u64, &str) -> String) {
    let mut lines = Lines::new(7);
    let mut file = BufWriter::new(File::create(path).unwrap());
    for number in 0..count {
        let line = change(number, &lines.next_line());
        file.write_all(line.as_bytes()).unwrap();
    }
    file.into_inner().unwrap().sync_all().unwrap();
}

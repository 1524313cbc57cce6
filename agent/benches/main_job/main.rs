//! The main job as users run it: `cargo bench -p hydrant --bench main_job [-- PARTS]`.
//!
//! Parts are `file`, `formats`, `mqtt`, `syslog`, `idle`, `devices` and `size`; without a name all
//! of them run. Each starts the release binary with a configuration of its own in a folder of its
//! own and measures it from outside. `binary=PATH` measures another binary, to compare two of them,
//! and `lines=N` makes the file another length. The figures belong to the machine and to what else
//! it does; none of them is asserted.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "a benchmark fails loudly and prints"
)]

mod agent;
mod broker;
mod file;
mod formats;
mod idle;
mod lines;
mod mqtt;
mod mqtt_client;
mod receiver;
mod syslog;

use std::path::PathBuf;

const PARTS: [&str; 7] = [
    "size", "idle", "devices", "file", "formats", "mqtt", "syslog",
];

/// What was asked for.
struct Asked {
    binary: PathBuf,
    lines: u64,
    parts: Vec<String>,
}

fn main() {
    let asked = arguments();
    println!("binary {}", asked.binary.display());
    for part in &asked.parts {
        println!("\n== {part}");
        match part.as_str() {
            "size" => idle::size(&asked.binary),
            "idle" => idle::run(&asked.binary),
            "devices" => idle::devices(&asked.binary),
            "file" => file::run(&asked.binary, asked.lines),
            "formats" => formats::run(&asked.binary, asked.lines),
            "mqtt" => mqtt::run(&asked.binary),
            "syslog" => syslog::run(&asked.binary),
            other => println!("there is no part {other}: {}", PARTS.join(", ")),
        }
    }
}

fn arguments() -> Asked {
    let mut asked = Asked {
        binary: PathBuf::from(env!("CARGO_BIN_EXE_hydrant")),
        lines: 1_000_000,
        parts: Vec::new(),
    };
    for argument in std::env::args().skip(1) {
        if let Some(path) = argument.strip_prefix("binary=") {
            asked.binary = PathBuf::from(path);
        } else if let Some(lines) = argument.strip_prefix("lines=") {
            asked.lines = lines.parse().unwrap();
        } else if !argument.starts_with("--") {
            // Cargo adds `--bench`.
            asked.parts.push(argument);
        }
    }
    if asked.parts.is_empty() {
        asked.parts = PARTS.map(str::to_owned).to_vec();
    }
    asked
}

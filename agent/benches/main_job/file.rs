//! File, ring, compression, HTTP on loopback: what a million lines cost.

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use pipeline::encode::gzip_member;
use rustix::time::{ClockId, clock_gettime};

use crate::agent::{Agent, PATIENCE, folder, sum};
use crate::lines::{LINE_BYTES, Lines};
use crate::receiver::Sink;

/// How much is compressed in one go by the compressor alone, as the agent's batches are.
const BATCH_BYTES: usize = 1_000_000;

/// Runs all combinations of format and compression.
pub(crate) fn run(binary: &Path, count: u64) {
    let input = folder("lines").join("lines.json");
    Lines::new(7).write_file(&input, count);
    println!(
        "{count} JSON lines of {LINE_BYTES} bytes, file -> ring -> HTTP on loopback; \
         goals for a million: gzip <= 2.2 CPU s, none <= 0.7 CPU s, peak <= 16 MiB"
    );
    println!(
        "the compressor alone: {:.2} CPU s",
        compressor_alone(&input)
    );
    heading();
    for format in ["raw", "ndjson"] {
        for compression in ["none", "gzip"] {
            let case = Case {
                label: format,
                source: "",
                format,
                compression,
            };
            measure(binary, &input, count, &case);
        }
    }
}

/// What is measured once.
pub(crate) struct Case<'a> {
    /// What it is called.
    pub(crate) label: &'a str,
    /// More keys of the source.
    pub(crate) source: &'a str,
    pub(crate) format: &'a str,
    pub(crate) compression: &'a str,
}

/// Names the columns.
pub(crate) fn heading() {
    println!(
        "{:<8} {:<8} {:>7} {:>7} {:>7} {:>7} {:>9} {:>9} {:>9} {:>7}",
        "format",
        "compr.",
        "CPU s",
        "user s",
        "sys s",
        "wall s",
        "peak MiB",
        "sent MB",
        "ring MB",
        "syncs"
    );
}

/// Has the lines of a file taken, and says what that cost.
pub(crate) fn measure(binary: &Path, input: &Path, count: u64, case: &Case<'_>) {
    let Case {
        label,
        source,
        format,
        compression,
    } = case;
    let sink = Sink::start();
    let folder = folder("file");
    let config = format!(
        "[sources.app]\ntype = \"file\"\npaths = [\"{}\"]\n{source}\
         [destinations.out]\ntype = \"http\"\nurl = \"http://{}/\"\n\
         format = \"{format}\"\ncompression = \"{compression}\"\nbatch.age_max = \"1s\"\n",
        input.display(),
        sink.address,
    );
    let agent = Agent::start(binary, &folder, &config);
    let (taken, last) = sink.take(count, PATIENCE);
    let wall = last.duration_since(agent.started);
    // The last positions are durable a second later.
    std::thread::sleep(Duration::from_millis(1200));
    let used = agent.used();
    let counters = agent.counters();
    let counter = |name: &str| sum(&counters, name);
    println!(
        "{label:<8} {compression:<8} {:>7.2} {:>7.2} {:>7.2} {:>7.2} {:>9.1} {:>9.1} {:>9.1} {:>7}",
        used.user + used.system,
        used.user,
        used.system,
        wall.as_secs_f64(),
        used.peak,
        taken.bytes as f64 / 1e6,
        counter("buffer_written_bytes_total") as f64 / 1e6,
        counter("buffer_syncs_total"),
    );
    if taken.lines != count {
        println!("ONLY {} of {count} lines arrived", taken.lines);
    }
}

/// What gzip costs by itself, with nothing around it.
fn compressor_alone(input: &Path) -> f64 {
    let bytes = std::fs::read(input).unwrap();
    let started = clock_gettime(ClockId::ThreadCPUTime);
    for batch in bytes.chunks(BATCH_BYTES) {
        black_box(gzip_member(batch));
    }
    let taken = clock_gettime(ClockId::ThreadCPUTime) - started;
    Duration::try_from(taken).unwrap().as_secs_f64()
}

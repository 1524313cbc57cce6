//! JSON lines of 200 bytes as a gateway's programs write them, the same in each run.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

/// Length of a line, its newline included.
pub(crate) const LINE_BYTES: usize = 200;

const SERVICES: [&str; 6] = [
    "modbus",
    "opcua",
    "historian",
    "uplink",
    "plc-bridge",
    "edge-ui",
];
const LEVELS: [&str; 8] = [
    "info", "info", "info", "info", "info", "debug", "warn", "error",
];
const MESSAGES: [&str; 10] = [
    "read holding registers",
    "write coil accepted",
    "subscription renewed",
    "value outside of its band, kept",
    "session resumed after timeout",
    "queue drained",
    "poll cycle took too long",
    "heartbeat",
    "setpoint changed by operator",
    "connection closed by peer, will retry",
];

/// A stream of lines.
pub(crate) struct Lines {
    random: u64,
    number: u64,
}

impl Lines {
    /// The same lines for the same `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            random: seed | 1,
            number: 0,
        }
    }

    /// The next line, with its newline.
    pub(crate) fn next_line(&mut self) -> String {
        let number = self.number;
        self.number += 1;
        let ms = number * 7 + self.below(5);
        let (s, ms) = (ms / 1000, ms % 1000);
        let (h, m, s) = (s / 3600 % 24, s / 60 % 60, s % 60);
        let service = self.pick(&SERVICES);
        let level = self.pick(&LEVELS);
        let message = self.pick(&MESSAGES);
        let unit = self.below(40);
        let value = self.below(9000);
        let took = self.below(4000);
        let trace = self.below(1 << 53);
        let line = format!(
            "{{\"ts\":\"2026-11-23T{h:02}:{m:02}:{s:02}.{ms:03}Z\",\"level\":\"{level}\",\
             \"service\":\"{service}\",\"unit\":\"cell-{unit:02}\",\"seq\":{number},\
             \"value\":{}.{:02},\"took_us\":{took},\"trace\":\"{trace:014x}\",\"msg\":\"{message}\"",
            value / 100,
            value % 100,
        );
        // A text of the length that is missing, as a path or a comment would be.
        let rest = LINE_BYTES.saturating_sub(line.len() + ",\"note\":\"\"}\n".len());
        let note = "/opt/plant/line-3/station/recipes/current/batch-0042/parameters.json";
        let note: String = note.chars().cycle().take(rest).collect();
        line + ",\"note\":\"" + &note + "\"}\n"
    }

    /// Writes `count` lines to a file.
    pub(crate) fn write_file(&mut self, path: &Path, count: u64) {
        let mut file = BufWriter::new(File::create(path).unwrap());
        for _ in 0..count {
            file.write_all(self.next_line().as_bytes()).unwrap();
        }
        file.into_inner().unwrap().sync_all().unwrap();
    }

    fn pick(&mut self, from: &[&'static str]) -> &'static str {
        let at = self.below(from.len() as u64);
        from[usize::try_from(at).unwrap()]
    }

    /// A number below `bound`, by xorshift.
    fn below(&mut self, bound: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) % bound
    }
}

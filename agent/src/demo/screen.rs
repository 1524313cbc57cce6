//! What the demo shows while it runs and at its end.

use std::fmt::Write as _;
use std::rc::Rc;
use std::time::Duration;

use pipeline::config::DEFAULT_BUFFER;
use tokio::time::interval;

use super::{Place, SharedReceived};
use crate::overview::Overview;
use crate::print;
use crate::show::{bytes, duration, number};
use crate::telemetry::{BufferStatus, Status};

/// The screen is drawn so often.
const FRAME: Duration = Duration::from_millis(500);

/// Without a terminal one line is printed every so many frames.
const PLAIN_FRAMES: u64 = 4;

const CLEAR: &str = "\x1b[H\x1b[2J";

/// The commands to try.
pub(super) fn commands(place: &Place) -> String {
    let Place { mqtt, syslog, .. } = place;
    let log = place.log_file();
    format!(
        "Try it from another terminal:\n\
         \x20 mosquitto_pub -h 127.0.0.1 -p {mqtt} -q 1 -t plant/a/telemetry -m '{{\"temperature\":21.5}}'\n\
         \x20 logger -n 127.0.0.1 -P {syslog} -d --rfc5424 \"hello from logger\"\n\
         \x20 echo \"hello from a file\" >> {}\n",
        log.display()
    )
}

/// Draws for ever.
pub(super) async fn show(
    commands: String,
    overview: Rc<Overview>,
    received: SharedReceived,
    terminal: bool,
) {
    if !terminal {
        print(&format!("Hydrant demo. Ctrl-C ends it.\n\n{commands}\n"));
    }
    let mut frames = interval(FRAME);
    let mut frame: u64 = 0;
    loop {
        frames.tick().await;
        let Ok(status) = overview.status().await else {
            return;
        };
        if terminal {
            let up = duration(status.uptime_s * 1000);
            let counts = counts(&status, &received);
            print(&format!(
                "{CLEAR}Hydrant demo, up {up}. Ctrl-C ends it.\n\n{commands}\n{counts}"
            ));
        } else if frame.is_multiple_of(PLAIN_FRAMES) {
            print(&line(&status));
        }
        frame += 1;
    }
}

/// The last words.
pub(super) fn summary(status: &Status, received: &SharedReceived) -> String {
    let totals = Totals::of(status);
    let verdict = if totals.waiting == 0 && totals.received == totals.delivered + totals.filtered {
        "Every record that was received was stored and delivered."
    } else {
        "Records that still wait would be delivered after the next start; the demo's ring is removed."
    };
    format!("\nSummary\n{}\n{verdict}\n", counts(status, received))
}

/// Sums over all sources and destinations.
struct Totals {
    received: u64,
    filtered: u64,
    stored: u64,
    waiting: u64,
    delivered: u64,
    raw_bytes: u64,
    sent_bytes: u64,
    oldest_waiting_ms: Option<u64>,
}

impl Totals {
    fn of(status: &Status) -> Self {
        let sources = || status.sources.values();
        let destinations = || status.destinations.values();
        Self {
            received: sources().map(|source| source.received).sum(),
            filtered: sources().map(|source| source.filtered).sum(),
            stored: sources().map(|source| source.stored).sum(),
            waiting: destinations().map(|to| to.waiting).sum(),
            delivered: destinations().map(|to| to.delivered).sum(),
            raw_bytes: destinations().map(|to| to.raw_bytes).sum(),
            sent_bytes: destinations().map(|to| to.sent_bytes).sum(),
            oldest_waiting_ms: destinations().filter_map(|to| to.oldest_waiting_ms).max(),
        }
    }

    /// `7.8 : 1`.
    fn ratio(&self) -> String {
        if self.sent_bytes == 0 {
            return "-".to_owned();
        }
        let tenths = self.raw_bytes.saturating_mul(10) / self.sent_bytes;
        format!("{}.{} : 1", tenths / 10, tenths % 10)
    }
}

fn counts(status: &Status, received: &SharedReceived) -> String {
    let no_buffer = BufferStatus::default();
    let totals = Totals::of(status);
    let by_source: Vec<String> = status
        .sources
        .iter()
        .map(|(name, source)| format!("{name} {}", number(source.received)))
        .collect();
    let oldest = totals.oldest_waiting_ms.map_or_else(String::new, |oldest| {
        format!("oldest since {}", duration(oldest))
    });
    let buffer = status.buffers.get(DEFAULT_BUFFER).unwrap_or(&no_buffer);
    let rows = [
        ("received", number(totals.received), by_source.join(", ")),
        (
            "stored",
            number(totals.stored),
            format!("{} syncs", number(buffer.syncs)),
        ),
        ("waiting", number(totals.waiting), oldest),
        (
            "delivered",
            number(totals.delivered),
            format!("{} HTTPS requests", number(received.requests.get())),
        ),
        (
            "ring fill",
            format!("{:.1} %", buffer.waiting_percent),
            format!("of {} waits", bytes(buffer.capacity_bytes)),
        ),
        (
            "compression",
            totals.ratio(),
            format!(
                "{} into {} bytes",
                number(totals.raw_bytes),
                number(received.bytes.get())
            ),
        ),
    ];
    let mut text = String::new();
    for (name, value, remark) in rows {
        // A String takes whatever it is given.
        writeln!(text, "  {name:<12} {value:>12}   {remark}").ok();
    }
    for (name, destination) in &status.destinations {
        if let Some(error) = &destination.error {
            writeln!(text, "\n  {name}: {error}").ok();
        }
    }
    text
}

fn line(status: &Status) -> String {
    let totals = Totals::of(status);
    format!(
        "received {}  stored {}  waiting {}  delivered {}  compression {}\n",
        number(totals.received),
        number(totals.stored),
        number(totals.waiting),
        number(totals.delivered),
        totals.ratio()
    )
}

//! What `hydrant status` prints for people.

use std::fmt::Write as _;

use pipeline::config::DEFAULT_BUFFER;

use crate::telemetry::{ClockStatus, DestinationStatus, SourceStatus, Status, WearStatus};

/// A page about a running agent.
pub(crate) fn status(status: &Status) -> String {
    let mut page = format!(
        "{}  hydrant {}, up {}\n\n",
        status.agent,
        status.version,
        duration(status.uptime_s * 1000),
    );
    page.push_str(&clock(&status.clock));
    for (name, buffer) in &status.buffers {
        let name = match name.as_str() {
            DEFAULT_BUFFER => String::new(),
            name => format!("{name}  "),
        };
        let line = format_args!(
            "ring {}  {name}{} of {} in use, {:.1} % waiting{}\n",
            buffer.id,
            bytes(buffer.used_bytes),
            bytes(buffer.capacity_bytes),
            buffer.waiting_percent,
            if buffer.blocked {
                ", FULL: sources wait for space"
            } else {
                ""
            },
        );
        push(&mut page, line);
        page.push_str(&wear(&buffer.wear));
    }
    page.push_str(&table(
        "source",
        [
            "received",
            "filtered",
            "stored",
            "not parsed",
            "cut",
            "refused",
        ],
        status
            .sources
            .iter()
            .map(|(name, source)| (name.as_str(), source_row(source))),
    ));
    page.push_str(&table(
        "destination",
        [
            "waiting",
            "oldest",
            "delivered",
            "rejected",
            "filtered",
            "evicted",
        ],
        status
            .destinations
            .iter()
            .map(|(name, to)| (name.as_str(), destination_row(to))),
    ));
    page.push_str(&troubles(status));
    page
}

/// What time it is, and who says so.
fn clock(clock: &ClockStatus) -> String {
    if clock.synced {
        return format!("clock  {} by the {}\n", clock.time, clock.by);
    }
    format!(
        "clock  NOT KNOWN: the machine says {}, and neither its time daemon nor a destination over \
         TLS has told the time since the boot {} ago; records are marked as unsynced\n",
        clock.machine_time,
        duration(clock.monotonic_ms),
    )
}

/// What the ring has cost its disk.
fn wear(wear: &WearStatus) -> String {
    let budget = match (wear.budget_bytes_per_day, wear.budget_exceeded) {
        (None, _) => String::new(),
        (Some(per_day), false) => format!(", budget {} a day", bytes(per_day)),
        (Some(per_day), true) => format!(", budget {} a day CANNOT BE KEPT", bytes(per_day)),
    };
    format!(
        "wear  {} written ever, {} a day at this rate, {} syncs{budget}\n",
        bytes(wear.written_bytes_ever),
        bytes(wear.written_bytes_per_day),
        number(wear.syncs_ever),
    )
}

/// What went wrong last, wherever it did.
fn troubles(status: &Status) -> String {
    let mut page = String::new();
    let errors = status
        .sources
        .iter()
        .filter_map(|(name, source)| Some(("source", name, source.error.as_ref()?)))
        .chain(
            status
                .destinations
                .iter()
                .filter_map(|(name, destination)| {
                    Some(("destination", name, destination.error.as_ref()?))
                }),
        );
    for (index, (kind, name, error)) in errors.enumerate() {
        let gap = if index == 0 { "\n" } else { "" };
        push(&mut page, format_args!("{gap}{kind} {name}: {error}\n"));
    }
    for (name, source) in &status.sources {
        if source.starting && source.error.is_none() {
            push(&mut page, format_args!("source {name}: starting\n"));
        }
        page.push_str(&refusals(name, source));
        if source.waiting_for_space {
            push(
                &mut page,
                format_args!(
                    "source {name}: waiting for space in the ring, which a destination makes by \
                     taking what waits\n"
                ),
            );
        }
    }
    for (name, destination) in &status.destinations {
        page.push_str(&remarks(name, destination));
    }
    page
}

/// What there is to say of a destination besides its row.
fn remarks(name: &str, destination: &DestinationStatus) -> String {
    let mut page = String::new();
    for stretch in &destination.stretches {
        let (kind, waiting) = (&stretch.kind, number(stretch.waiting));
        let (first, last) = (stretch.committed, stretch.end.saturating_sub(1));
        push(
            &mut page,
            format_args!("destination {name}: {kind} of {waiting} records, {first} to {last}\n"),
        );
    }
    if destination.delivered_by_fallback > 0 {
        let count = number(destination.delivered_by_fallback);
        push(
            &mut page,
            format_args!("destination {name}: {count} records were taken by its fallback\n"),
        );
    }
    if destination.paced_ms > 0 {
        let waited = duration(destination.paced_ms);
        push(
            &mut page,
            format_args!("destination {name}: calls waited {waited} to keep within its quota\n"),
        );
    }
    if destination.corrected > 0 {
        let count = number(destination.corrected);
        push(
            &mut page,
            format_args!("destination {name}: the time of {count} records was put right\n"),
        );
    }
    if destination.truncated > 0 {
        let count = destination.truncated;
        push(
            &mut page,
            format_args!("destination {name}: {count} records lost by the disk\n"),
        );
    }
    page
}

/// What a source turned away since the start, why, and of whom.
fn refusals(name: &str, source: &SourceStatus) -> String {
    let mut line = String::new();
    for (index, (reason, count)) in source.refused_by.iter().enumerate() {
        let begin = if index == 0 { "refused " } else { ", " };
        push(
            &mut line,
            format_args!("{begin}{} by {reason}", number(*count)),
        );
    }
    for (index, sender) in source.refused_senders.iter().enumerate() {
        let begin = if index == 0 { "; most of " } else { ", " };
        let (sender, refused) = (&sender.sender, number(sender.refused));
        push(&mut line, format_args!("{begin}{sender} ({refused})"));
    }
    if line.is_empty() {
        return line;
    }
    format!("source {name}: {line}\n")
}

fn source_row(source: &SourceStatus) -> [String; 6] {
    [
        number(source.received),
        number(source.filtered),
        number(source.stored),
        number(source.decode_errors),
        number(source.cut),
        number(source.refused),
    ]
}

fn destination_row(destination: &DestinationStatus) -> [String; 6] {
    [
        number(destination.waiting),
        destination
            .oldest_waiting_ms
            .map_or_else(|| "-".to_owned(), duration),
        number(destination.delivered),
        number(destination.rejected),
        number(destination.filtered),
        number(destination.evicted),
    ]
}

/// A heading and its rows, in columns.
pub(crate) fn table<'a, const N: usize>(
    title: &str,
    columns: [&str; N],
    rows: impl Iterator<Item = (&'a str, [String; N])>,
) -> String {
    let rows: Vec<(&str, [String; N])> = rows.collect();
    let name_width = rows
        .iter()
        .map(|(name, _)| name.len())
        .chain([title.len()])
        .max()
        .unwrap_or(0);
    let widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(index, column)| {
            let cells = rows
                .iter()
                .filter_map(|(_, cells)| cells.get(index))
                .map(String::len);
            cells.chain([column.len()]).max().unwrap_or(0)
        })
        .collect();
    let mut text = format!("\n{title:name_width$}");
    for (column, width) in columns.iter().zip(&widths) {
        push(&mut text, format_args!("  {column:>width$}"));
    }
    text.push('\n');
    for (name, cells) in &rows {
        push(&mut text, format_args!("{name:name_width$}"));
        for (cell, width) in cells.iter().zip(&widths) {
            push(&mut text, format_args!("  {cell:>width$}"));
        }
        text.push('\n');
    }
    text
}

/// `1,234,567`.
pub(crate) fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `512 B`, `15.3 KiB`, `64.0 MiB`.
pub(crate) fn bytes(value: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let (mut whole, mut tenths, mut unit) = (value, 0, "B");
    for next in UNITS {
        if whole < 1024 {
            break;
        }
        (tenths, whole, unit) = (whole % 1024 * 10 / 1024, whole / 1024, next);
    }
    match unit {
        "B" => format!("{whole} B"),
        unit => format!("{whole}.{tenths} {unit}"),
    }
}

/// `350 ms`, `12 s`, `5 min 3 s`, `7 h 2 min`, `3 d 4 h`.
pub(crate) fn duration(millis: u64) -> String {
    let seconds = millis / 1000;
    match seconds {
        0 => format!("{millis} ms"),
        1..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // A String takes whatever it is given.
    text.write_fmt(arguments).ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_with_reason_and_sender() {
        let sender = |sender: &str, refused| crate::telemetry::SenderStatus {
            sender: sender.to_owned(),
            refused,
        };
        let source = SourceStatus {
            refused_by: [("kernel".to_owned(), 12), ("rate_limit".to_owned(), 1_234)].into(),
            refused_senders: vec![sender("192.0.2.1", 1_200), sender("user 0", 34)],
            ..SourceStatus::default()
        };
        assert_eq!(
            refusals("network", &source),
            "source network: refused 12 by kernel, 1,234 by rate_limit; most of 192.0.2.1 (1,200), \
             user 0 (34)\n"
        );
        assert_eq!(refusals("network", &SourceStatus::default()), "");
    }

    #[test]
    fn numbers_and_durations_read_well() {
        let check = |value, expected: &str| assert_eq!(number(value), expected);
        check(0, "0");
        check(999, "999");
        check(1_000, "1,000");
        check(1_234_567, "1,234,567");
        let check = |value, expected: &str| assert_eq!(bytes(value), expected);
        check(512, "512 B");
        check(15_700, "15.3 KiB");
        check(64 << 20, "64.0 MiB");
        let check = |millis, expected: &str| assert_eq!(duration(millis), expected);
        check(350, "350 ms");
        check(61_000, "1 min 1 s");
        check(90_000_000, "1 d 1 h");
    }
}

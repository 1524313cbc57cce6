//! What `hydrant ring info` prints for people.

use super::{DamageInfo, DestinationInfo, Forecast, Info, SourceInfo};
use crate::ring_tool::counted;
use crate::show::{bytes, duration, number, table};

/// A page about a ring.
pub(super) fn page(info: &Info) -> String {
    let facts: Vec<String> = facts(info)
        .into_iter()
        .map(|(name, text)| format!("{name:<8}  {text}\n"))
        .collect();
    let sources = info.sources.iter();
    let sources = sources.map(|(name, source)| (name.as_str(), source_row(source)));
    let destinations = info.destinations.iter();
    let destinations = destinations.map(|(name, to)| (name.as_str(), destination_row(to)));
    format!(
        "ring {}  {}\nformat {}, {} of {}, opened {}\n\n{}{}{}{}{}",
        info.id,
        info.path,
        info.format_version,
        counted(u64::from(info.segments), "segment"),
        bytes(u64::from(info.segment_bytes)),
        counted(info.generation, "time"),
        facts.concat(),
        some_table(
            "source",
            ["in the ring", "received", "filtered", "stored"],
            sources
        ),
        some_table(
            "destination",
            [
                "waiting",
                "position",
                "delivered",
                "rejected",
                "filtered",
                "evicted",
                "unreadable",
            ],
            destinations,
        ),
        stretches(info),
        damage(&info.damage),
    )
}

/// What is delivered beside what comes in, as `hydrant status` shows it.
fn stretches(info: &Info) -> String {
    let mut page = String::new();
    for (name, destination) in &info.destinations {
        for stretch in &destination.stretches {
            let (kind, waiting) = (&stretch.kind, number(stretch.waiting));
            let (first, last) = (stretch.committed, stretch.end.saturating_sub(1));
            let gap = if page.is_empty() { "\n" } else { "" };
            let line = format!(
                "{gap}destination {name}: {kind} of {waiting} records, {first} to {last}\n"
            );
            page.push_str(&line);
        }
    }
    page
}

/// A table that has rows.
fn some_table<'a, const N: usize>(
    title: &str,
    columns: [&str; N],
    rows: impl Iterator<Item = (&'a str, [String; N])>,
) -> String {
    let mut rows = rows.peekable();
    if rows.peek().is_none() {
        return String::new();
    }
    table(title, columns, rows)
}

/// What there is to say, a line each.
fn facts(info: &Info) -> Vec<(&'static str, String)> {
    let mut facts = vec![(
        "in use",
        format!(
            "{} of {} ({:.1} %); {} ({:.1} %) waiting",
            bytes(info.used_bytes),
            bytes(info.capacity_bytes),
            info.used_percent,
            bytes(info.waiting_bytes),
            info.waiting_percent
        ),
    )];
    let records = match info.records {
        0 => "none".to_owned(),
        records => format!(
            "{}, numbers {} to {}; {} waiting",
            number(records),
            info.first_seq,
            info.next_seq.saturating_sub(1),
            number(info.waiting)
        ),
    };
    facts.push(("records", records));
    if let (Some(first), Some(last)) = (&info.first_time, &info.last_time) {
        let span = duration(info.span_ms.unwrap_or(0));
        facts.push(("received", format!("{first} to {last} ({span})")));
    }
    facts.push((
        "wear",
        format!(
            "{} written ever, in {} syncs",
            bytes(info.written_bytes_ever),
            number(info.syncs_ever)
        ),
    ));
    facts.extend(forecast(&info.forecast));
    facts
}

fn forecast(forecast: &Forecast) -> Vec<(&'static str, String)> {
    let (Some(bytes_per_s), Some(records_per_s)) = (forecast.bytes_per_s, forecast.records_per_s)
    else {
        return vec![("growth", "not known yet".to_owned())];
    };
    let kept = forecast.kept_for_ms.map(duration);
    let full = match (forecast.full_in_ms, kept) {
        (Some(0), Some(kept)) => Some(format!("yes; at this rate a record is kept for {kept}")),
        (Some(full_in), Some(kept)) => {
            let full_in = duration(full_in);
            Some(format!(
                "in {full_in} at this rate; then a record is kept for {kept}"
            ))
        }
        (_, None) | (None, _) => None,
    };
    let outage = forecast.loss_in_ms.map(|loss_in| match loss_in {
        0 => "waiting records make room already".to_owned(),
        loss_in => {
            let outage = duration(loss_in);
            format!("may last {outage} from now at this rate; then waiting records make room")
        }
    });
    let lines = [
        Some((
            "growth",
            format!(
                "{}/s, {} records/s",
                bytes(bytes_per_s),
                rate(records_per_s)
            ),
        )),
        full.map(|text| ("full", text)),
        outage.map(|text| ("outage", text)),
    ];
    lines.into_iter().flatten().collect()
}

/// Quiet sources have less than one record a second.
fn rate(per_s: f64) -> String {
    if per_s < 10.0 {
        format!("{per_s:.3}")
    } else {
        format!("{per_s:.0}")
    }
}

fn source_row(source: &SourceInfo) -> [String; 4] {
    [
        number(source.records),
        number(source.received),
        number(source.filtered),
        number(source.stored),
    ]
}

fn destination_row(to: &DestinationInfo) -> [String; 7] {
    [
        number(to.waiting),
        to.committed_seq.to_string(),
        number(to.delivered),
        number(to.rejected),
        number(to.filtered),
        number(to.evicted),
        number(to.truncated),
    ]
}

fn damage(damage: &DamageInfo) -> String {
    let DamageInfo {
        superblocks,
        segments,
        frames,
        pages_repaired,
    } = damage;
    if superblocks + segments + frames + pages_repaired == 0 {
        return String::new();
    }
    "\nsomething is damaged; \"hydrant ring verify\" tells what\n".to_owned()
}

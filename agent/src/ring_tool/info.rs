//! `hydrant ring info`: what a ring holds, for whom, and how long that will do.

mod page;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use diskring::{FORMAT_VERSION, Overlay, Ring, Seq, TIME_UNKNOWN};
use pipeline::books::Books;
use pipeline::growth::{Growth, Milestone};
use pipeline::replay;
use pipeline::time::WallClock;
use serde::Serialize;

use super::ToolError;
use super::locate::{self, Located};
use crate::cli::RingInfoArgs;
use crate::overview::stretch_status;
use crate::print;
use crate::read_only_file::ReadOnlyFile;
use crate::telemetry::StretchStatus;

/// How often everything is counted anew when the agent has overwritten some of it meanwhile.
const TRIES: u32 = 20;

/// What is known of a ring; the keys of the JSON document.
#[derive(Debug, Serialize)]
struct Info {
    path: String,
    id: String,
    format_version: u16,
    /// How many times it was opened for writing, its creation included.
    generation: u64,
    capacity_bytes: u64,
    segments: u32,
    segment_bytes: u32,
    segments_used: u32,
    used_bytes: u64,
    used_percent: f64,
    waiting_bytes: u64,
    waiting_percent: f64,
    first_seq: u64,
    next_seq: u64,
    records: u64,
    waiting: u64,
    /// When its first and last record were received.
    first_time: Option<String>,
    last_time: Option<String>,
    span_ms: Option<u64>,
    /// What it has cost its disk in all its life.
    written_bytes_ever: u64,
    syncs_ever: u64,
    forecast: Forecast,
    sources: BTreeMap<String, SourceInfo>,
    destinations: BTreeMap<String, DestinationInfo>,
    damage: DamageInfo,
}

/// What follows from how fast the ring has grown; `None` while that cannot be told.
#[derive(Debug, Default, Serialize)]
struct Forecast {
    bytes_per_s: Option<u64>,
    records_per_s: Option<f64>,
    /// Until it is full for the first time; 0 when it was already.
    full_in_ms: Option<u64>,
    /// How long a record stays until it is overwritten.
    kept_for_ms: Option<u64>,
    /// Until records that wait are overwritten, if none of them is delivered.
    loss_in_ms: Option<u64>,
}

/// A source, by what the ring has had of it.
#[derive(Debug, Serialize)]
struct SourceInfo {
    /// Records in the ring.
    records: u64,
    received: u64,
    filtered: u64,
    stored: u64,
}

/// Where a destination stands.
#[derive(Debug, Serialize)]
struct DestinationInfo {
    committed_seq: u64,
    waiting: u64,
    delivered: u64,
    delivered_by_fallback: u64,
    rejected: u64,
    filtered: u64,
    evicted: u64,
    truncated: u64,
    replayed: u64,
    /// Backlogs and replays, each with a position of its own.
    stretches: Vec<StretchStatus>,
}

/// What opening noticed; `hydrant ring verify` looks at the rest.
#[derive(Debug, Serialize)]
struct DamageInfo {
    superblocks: u32,
    segments: u32,
    frames: u32,
    /// Pages that the next start makes good from their copies.
    pages_repaired: u32,
}

/// Prints what is known of a ring.
pub(super) fn run(arguments: &RingInfoArgs) -> Result<ExitCode, ToolError> {
    let mut located = locate::open(&arguments.place)?;
    let info = gather(&mut located)?;
    if arguments.json {
        let text = serde_json::to_string_pretty(&info);
        let text = text.map_err(|error| ToolError::other(error.to_string()))?;
        return Ok(print(&format!("{text}\n")));
    }
    Ok(print(&page::page(&info)))
}

/// Counts until nothing was overwritten in between.
fn gather(located: &mut Located) -> Result<Info, ToolError> {
    let mut tries = 0;
    loop {
        tries += 1;
        let info = look(located)?;
        if tries == TRIES || !located.beside.is_outdated()? {
            return Ok(info);
        }
        located.beside.reopen()?;
    }
}

fn look(located: &Located) -> Result<Info, ToolError> {
    let ring = located.beside.ring();
    let recovery = located.beside.recovery();
    let books = Books::open(ring)?;
    let stats = ring.stats();
    let records = ring.next().since(ring.first());
    let behind = books.committed_min().unwrap_or(ring.next());
    let waiting = ring.next().since(behind).min(records);
    let waiting_bytes = share(stats.used_bytes, waiting, records);
    let boots = books.boots();
    let first = replay::first_time(ring, &boots, ring.first())?;
    let last = replay::last_time(ring, &boots)?;
    let growth = Growth::between(&milestones(ring, first, last));
    Ok(Info {
        path: located.path.display().to_string(),
        id: format!("{:016x}", ring.id().0),
        format_version: FORMAT_VERSION,
        // The generation that was raised in memory does not count.
        generation: stats.generation.saturating_sub(1),
        capacity_bytes: stats.capacity_bytes,
        segments: stats.segments,
        segment_bytes: stats.segment_bytes,
        segments_used: stats.segments_used,
        used_bytes: stats.used_bytes,
        used_percent: percent(stats.used_bytes, stats.capacity_bytes),
        waiting_bytes,
        waiting_percent: percent(waiting_bytes, stats.capacity_bytes),
        first_seq: ring.first().get(),
        next_seq: ring.next().get(),
        records,
        waiting,
        first_time: first.map(|time| time.to_string()),
        last_time: last.map(|time| time.to_string()),
        span_ms: first
            .zip(last)
            .map(|(first, last)| millis(last.since(first))),
        // What was written in memory only does not count.
        written_bytes_ever: stats.written_bytes_ever.saturating_sub(stats.written_bytes),
        syncs_ever: stats.syncs_ever.saturating_sub(stats.syncs),
        forecast: growth.map_or_else(Forecast::default, |growth| {
            forecast(ring, &growth, waiting_bytes)
        }),
        sources: sources(ring, &books)?,
        destinations: destinations(ring, &books),
        damage: DamageInfo {
            superblocks: recovery
                .superblocks
                .map(|is_valid| u32::from(!is_valid))
                .iter()
                .sum(),
            segments: recovery.segments_unreadable,
            frames: recovery.frames_lost,
            pages_repaired: recovery.pages_repaired,
        },
    })
}

type Reading = Ring<Overlay<ReadOnlyFile>>;

fn forecast(ring: &Reading, growth: &Growth, waiting_bytes: u64) -> Forecast {
    let stats = ring.stats();
    let bytes = |segments: u32| u64::from(segments) * u64::from(stats.segment_bytes);
    // While one segment is written, all others are whole.
    let kept = bytes(stats.segments.saturating_sub(1));
    let left = bytes(stats.segments).saturating_sub(stats.used_bytes);
    let time_for = |bytes| growth.time_for(bytes).map(millis);
    Forecast {
        bytes_per_s: Some(growth.bytes_per_s()),
        records_per_s: Some(thousandths(growth.records_per_1000_s())),
        full_in_ms: if ring.first() > Seq::ZERO {
            Some(0)
        } else {
            time_for(left)
        },
        kept_for_ms: time_for(kept),
        loss_in_ms: time_for(kept.saturating_sub(waiting_bytes)),
    }
}

fn sources(ring: &Reading, books: &Books) -> Result<BTreeMap<String, SourceInfo>, ToolError> {
    let counts = ring.counts(ring.first(), ring.next())?;
    let names = books.source_names().into_iter();
    let infos = names.map(|(tag, name)| {
        let tally = books.source_tally(ring, tag).unwrap_or_default();
        let info = SourceInfo {
            records: counts.get(&tag).copied().unwrap_or(0),
            received: tally.received(),
            filtered: tally.filtered,
            stored: tally.stored,
        };
        (name.to_string(), info)
    });
    Ok(infos.collect())
}

fn destinations(ring: &Reading, books: &Books) -> BTreeMap<String, DestinationInfo> {
    let tallies = books.tallies(ring).into_iter();
    let infos = tallies.map(|(name, tally)| {
        let info = DestinationInfo {
            committed_seq: tally.committed().get(),
            waiting: tally.waiting(),
            delivered: tally.delivered(),
            delivered_by_fallback: tally.by_fallback(),
            rejected: tally.rejected(),
            filtered: tally.filtered(),
            evicted: tally.evicted().values().sum(),
            truncated: tally.truncated(),
            replayed: tally.replayed(),
            stretches: tally
                .stretches()
                .filter_map(|(_, stretch)| stretch_status("", stretch))
                .collect(),
        };
        (name, info)
    });
    infos.collect()
}

/// Where the log was when: at its first record, at the start of each segment, at its last record.
fn milestones(ring: &Reading, first: Option<WallClock>, last: Option<WallClock>) -> Vec<Milestone> {
    let stats = ring.stats();
    let starts = ring.segments().zip(0_u64..).filter_map(|(segment, index)| {
        // A ring's very first segment was begun without an entry, and so without a time.
        let at = match index {
            0 => first?,
            _ => WallClock::from_millis(segment.first_ms),
        };
        let is_dated = segment.is_readable && segment.first_ms != TIME_UNKNOWN;
        is_dated.then_some(Milestone {
            at,
            seq: segment.first,
            bytes: index * u64::from(stats.segment_bytes),
        })
    });
    let end = last.map(|at| Milestone {
        at,
        seq: ring.next(),
        bytes: stats.used_bytes,
    });
    starts.chain(end).collect()
}

/// `part` of `whole` in `bytes`.
fn share(bytes: u64, part: u64, whole: u64) -> u64 {
    let share = u128::from(bytes) * u128::from(part) / u128::from(whole.max(1));
    u64::try_from(share).unwrap_or(u64::MAX)
}

fn percent(part: u64, whole: u64) -> f64 {
    thousandths(share(100_000, part, whole))
}

fn thousandths(scaled: u64) -> f64 {
    f64::from(u32::try_from(scaled).unwrap_or(u32::MAX)) / 1000.0
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

//! `hydrant ring verify`: every frame read, every record decoded, and what is damaged.

use std::process::ExitCode;

use diskring::{Damage, DamagedPart, Frame, Seq, Sight, Stats};
use pipeline::stored::StoredRef;

use super::locate::{self, Located};
use super::{ToolError, counted, lost, tell};
use crate::cli::RingPlace;
use crate::show::{bytes, number};

/// So many records that cannot be decoded are told one by one.
const TOLD_MAX: u64 = 100;

/// What was found.
#[derive(Debug, Default)]
struct Findings {
    /// Records that are as they were stored.
    records: u64,
    /// Records that are lost.
    lost: u64,
    /// Records that are as they were stored and mean nothing to this version.
    undecoded: u64,
    /// Places that are damaged, with or without records in them.
    damages: u64,
}

/// Prints what is damaged, and whether anything is.
pub(super) fn run(place: &RingPlace) -> Result<ExitCode, ToolError> {
    let mut located = locate::open(place)?;
    let ring = located.beside.ring();
    let stats = ring.stats();
    let head = format!("ring {:016x}  {}\n", ring.id().0, located.path.display());
    tell(&head)?;
    let mut findings = Findings::default();
    look_at_opening(&located, &mut findings)?;
    let mut inspection = located.beside.ring().inspection();
    while let Some(sight) = located.beside.inspect(&mut inspection)? {
        match sight {
            Sight::Frame(frame) => look_at_records(&frame, &mut findings)?,
            Sight::Damage(damage) => {
                findings.count(damage.first, damage.end);
                tell(&describe(&damage))?;
            }
        }
    }
    tell(&findings.summary(&stats))?;
    Ok(if findings.damages + findings.undecoded == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

impl Findings {
    /// A place that is damaged, and the records in it.
    fn count(&mut self, first: Seq, end: Seq) {
        self.damages += 1;
        self.lost += end.since(first);
    }

    /// The last line.
    fn summary(&self, stats: &Stats) -> String {
        let read = format!(
            "{} read from {} ({})",
            counted(self.records + self.undecoded, "record"),
            counted(u64::from(stats.segments_used), "segment"),
            bytes(stats.used_bytes)
        );
        let found = [
            (self.damages, "place", ""),
            (self.lost, "record", " lost"),
            (self.undecoded, "record", " not decoded"),
        ];
        let found: Vec<String> = found
            .into_iter()
            .filter(|(count, ..)| *count > 0)
            .map(|(count, what, how)| counted(count, what) + how)
            .collect();
        if found.is_empty() {
            return format!("sound: {read}\n");
        }
        format!("damaged: {}; {read}\n", found.join(", "))
    }
}

/// Tells what was noticed before the first segment was read.
fn look_at_opening(located: &Located, findings: &mut Findings) -> Result<(), ToolError> {
    let recovery = located.beside.recovery();
    let places = [
        "the superblock cannot be read, its copy at the end can",
        "the copy of the superblock at the end cannot be read",
    ];
    let mut pages = recovery.pages_repaired;
    for (is_valid, text) in recovery.superblocks.into_iter().zip(places) {
        if !is_valid {
            pages = pages.saturating_sub(1);
            findings.damages += 1;
            tell(&format!("{text}; the next start of the agent repairs it\n"))?;
        }
    }
    if pages > 0 {
        findings.damages += 1;
        tell(&format!(
            "{} at the end of the log readable only in a copy; the next start of the agent \
             repairs it\n",
            counted(u64::from(pages), "page")
        ))?;
    }
    if let Some((first, end)) = located.beside.lost_first()? {
        findings.count(first, end);
        tell(&format!(
            "the oldest segments: no copy of their headers can be read; {}\n",
            lost(first, end)
        ))?;
    }
    if recovery.truncated > 0 {
        tell(&format!(
            "no damage: {} was cut off when the power failed, before it was acknowledged\n",
            counted(recovery.truncated, "record")
        ))?;
    }
    Ok(())
}

fn look_at_records(frame: &Frame, findings: &mut Findings) -> Result<(), ToolError> {
    for entry in frame.entries() {
        let Err(error) = StoredRef::decode(entry.payload) else {
            findings.records += 1;
            continue;
        };
        findings.undecoded += 1;
        if findings.undecoded <= TOLD_MAX {
            tell(&format!("record {}: {error}\n", entry.seq))?;
        } else if findings.undecoded == TOLD_MAX + 1 {
            tell("... more records that cannot be decoded are only counted\n")?;
        }
    }
    Ok(())
}

fn describe(damage: &Damage) -> String {
    let what = match damage.part {
        DamagedPart::Header => {
            let text = "its header cannot be read, a copy of it can";
            return format!(
                "segment {}, offset {}: {text}\n",
                damage.segment, damage.offset
            );
        }
        DamagedPart::EveryHeader => "no copy of its header can be read",
        DamagedPart::Frames if damage.len_bytes == 0 => "frames are missing",
        DamagedPart::Frames => "cannot be read",
    };
    format!(
        "segment {}, offset {} ({} bytes): {what}; {}\n",
        damage.segment,
        damage.offset,
        number(damage.len_bytes),
        lost(damage.first, damage.end)
    )
}

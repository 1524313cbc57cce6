//! Which records are exported.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use diskring::{Ring, Seq, Storage, TIME_UNKNOWN};
use pipeline::destination::SeqRange;
use pipeline::period::{self, Start};
use pipeline::time::WallClock;

use super::ToolError;
use crate::cli::RingExportArgs;

/// What waits before the ring holds half of it; no record is further away from where its time would
/// have it.
const SLACK_BYTES: u32 = 2 << 20;

/// Which records are wanted.
pub(super) struct Wanted {
    from: Option<Seq>,
    end: Option<Seq>,
    since: Option<WallClock>,
    until: Option<WallClock>,
    sources: BTreeSet<String>,
}

impl Wanted {
    /// As it was typed; an error when that is nothing for any ring.
    pub(super) fn new(arguments: &RingExportArgs) -> Result<Self, ToolError> {
        let (from, to) = (arguments.from_seq, arguments.to_seq);
        if from.zip(to).is_some_and(|(from, to)| from >= to) {
            return Err(ToolError::usage("--from-seq is not before --to-seq"));
        }
        let (since, until) = (arguments.since, arguments.until);
        if since
            .zip(until)
            .is_some_and(|(since, until)| since >= until)
        {
            return Err(ToolError::usage("--since is not before --until"));
        }
        Ok(Self {
            from: from.map(Seq::new),
            end: to.map(Seq::new),
            since,
            until,
            sources: arguments.sources.iter().cloned().collect(),
        })
    }

    /// A source that the ring does not know is a mistake.
    pub(super) fn check_sources(&self, names: &BTreeMap<u16, Arc<str>>) -> Result<(), ToolError> {
        let known: BTreeSet<&str> = names.values().map(|name| &**name).collect();
        let unknown = self
            .sources
            .iter()
            .find(|name| !known.contains(name.as_str()));
        let Some(unknown) = unknown else {
            return Ok(());
        };
        let known: Vec<&str> = known.into_iter().collect();
        Err(ToolError::usage(format!(
            "the ring has no source {unknown:?}; it has {}",
            if known.is_empty() {
                "none".to_owned()
            } else {
                known.join(", ")
            }
        )))
    }

    /// The part of the log that may hold them.
    pub(super) fn range<S: Storage>(&self, ring: &Ring<S>) -> SeqRange {
        let starts: Vec<Start> = ring
            .segments()
            .filter(|segment| segment.is_readable && segment.first_ms != TIME_UNKNOWN)
            .map(|segment| Start {
                first: segment.first,
                at: WallClock::from_millis(segment.first_ms),
            })
            .collect();
        let slack = SLACK_BYTES / ring.stats().segment_bytes.max(1) + 1;
        let slack = usize::try_from(slack).unwrap_or(usize::MAX);
        let (first, end) = period::bounds(&starts, self.since, self.until, slack);
        let durable = ring.durable();
        SeqRange {
            // Numbers that were named and are not there any more are told.
            first: self.from.max(first).unwrap_or(ring.first()),
            end: self
                .end
                .unwrap_or(durable)
                .min(end.unwrap_or(durable))
                .min(durable),
        }
    }

    /// Whether a record of this source and time is one of them; one whose time nobody knows is.
    pub(super) fn takes(&self, source: &str, received_at: Option<WallClock>) -> bool {
        let is_since = |at| self.since.is_none_or(|since| since <= at);
        let is_until = |at| self.until.is_none_or(|until| at < until);
        (self.sources.is_empty() || self.sources.contains(source))
            && received_at.is_none_or(|at| is_since(at) && is_until(at))
    }
}

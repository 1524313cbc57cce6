//! Counters, and how they are shown: as a status for people and machines, as Prometheus text.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use pipeline::tally::SourceTally;
use pipeline::turns::Rank;
use serde::{Deserialize, Serialize};

/// What a source counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SourceCount {
    /// Records taken in.
    Received,
    /// Their payloads' bytes.
    ReceivedBytes,
    /// Records that a transform let go.
    Filtered,
    /// Records whose content could not be understood; they are kept raw.
    DecodeErrors,
    /// Records that were cut because they were too long.
    Cut,
    /// What was turned away: over a limit, malformed, or no room for a sender that cannot wait.
    Refused,
    /// Connections at this moment.
    Connections,
    /// Times a connection was lost and made again.
    Reconnects,
    /// Times a broker had forgotten the session.
    SessionsLost,
}

/// Why something was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Refusal {
    /// The kernel had no room for a datagram.
    Kernel,
    /// The store had no room, and the sender could not wait.
    Store,
    /// Its sender sends too much.
    RateLimit,
    /// There are connections enough.
    Connections,
    /// It did not show what TLS asks for, or did not speak TLS.
    Tls,
}

impl Refusal {
    const fn word(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Store => "store",
            Self::RateLimit => "rate_limit",
            Self::Connections => "connections_max",
            Self::Tls => "tls",
        }
    }
}

/// What was turned away since the start.
#[derive(Debug, Default)]
struct Refusals {
    by_reason: BTreeMap<Refusal, u64>,
    senders: Vec<SenderStatus>,
}

/// The counters of one source.
#[derive(Debug, Default)]
pub(crate) struct SourceCounters {
    counts: [AtomicU64; 9],
    refusals: Mutex<Refusals>,
    is_ready: AtomicBool,
    is_restored: AtomicBool,
    error: Mutex<Option<String>>,
}

impl SourceCounters {
    /// Adds `n`.
    pub(crate) fn add(&self, kind: SourceCount, n: u64) {
        self.cell(kind).fetch_add(n, Ordering::Relaxed);
    }

    /// Counts what was turned away, and why.
    pub(crate) fn refuse(&self, why: Refusal, n: u64) {
        self.add(SourceCount::Refused, n);
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        *refusals.by_reason.entry(why).or_default() += n;
    }

    /// Shows of whom most was turned away.
    pub(crate) fn show_senders(&self, senders: Vec<SenderStatus>) {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        refusals.senders = senders;
    }

    /// Says whether the source takes what comes.
    pub(crate) fn set_ready(&self, is_ready: bool) {
        self.is_ready.store(is_ready, Ordering::Relaxed);
    }

    /// Takes `n` away, for what is counted at this moment.
    pub(crate) fn subtract(&self, kind: SourceCount, n: u64) {
        self.cell(kind).fetch_sub(n, Ordering::Relaxed);
    }

    /// Sets a count, for what was counted before the start.
    pub(crate) fn set(&self, kind: SourceCount, n: u64) {
        self.cell(kind).store(n, Ordering::Relaxed);
    }

    /// Goes on where a tally stands; once, because from then on the counters are ahead of it.
    pub(crate) fn restore(&self, tally: &SourceTally) {
        if self.is_restored.swap(true, Ordering::Relaxed) {
            return;
        }
        self.set(SourceCount::Received, tally.received());
        self.set(SourceCount::Filtered, tally.filtered);
        self.set(SourceCount::DecodeErrors, tally.decode_errors);
        self.set(SourceCount::Cut, tally.cut);
        self.set(SourceCount::Refused, tally.refused);
    }

    /// The count.
    pub(crate) fn get(&self, kind: SourceCount) -> u64 {
        self.cell(kind).load(Ordering::Relaxed)
    }

    /// What went wrong last, in plain words.
    pub(crate) fn set_error(&self, text: String) {
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
    }

    /// All is well again.
    pub(crate) fn clear_error(&self) {
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// What went wrong last.
    pub(crate) fn error(&self) -> Option<String> {
        self.error
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn cell(&self, kind: SourceCount) -> &AtomicU64 {
        let [
            received,
            received_bytes,
            filtered,
            decode_errors,
            cut,
            refused,
            connections,
            reconnects,
            sessions_lost,
        ] = &self.counts;
        match kind {
            SourceCount::Received => received,
            SourceCount::ReceivedBytes => received_bytes,
            SourceCount::Filtered => filtered,
            SourceCount::DecodeErrors => decode_errors,
            SourceCount::Cut => cut,
            SourceCount::Refused => refused,
            SourceCount::Connections => connections,
            SourceCount::Reconnects => reconnects,
            SourceCount::SessionsLost => sessions_lost,
        }
    }
}

/// What a destination's driver counts that the ring does not.
#[derive(Debug, Default)]
pub(crate) struct DestinationCounters {
    /// Requests made.
    pub(crate) requests: AtomicU64,
    /// Requests that did not end in acceptance.
    pub(crate) failures: AtomicU64,
    /// Bytes of accepted batches before compression.
    pub(crate) raw_bytes: AtomicU64,
    /// Bytes of accepted batches as sent.
    pub(crate) sent_bytes: AtomicU64,
    /// What the service bills for them, where that is known.
    pub(crate) billed_bytes: AtomicU64,
    /// Calls that may be under way at a time.
    pub(crate) concurrency: AtomicU64,
    /// Records of accepted batches whose time was put right.
    pub(crate) corrected: AtomicU64,
    /// Refused records that found no place in the dead letter folder any more.
    pub(crate) dead_letters_removed: AtomicU64,
    /// Records of dead letters that were sent out of their files.
    pub(crate) dead_letters_sent: AtomicU64,
    /// How long calls waited to keep within the quota.
    pub(crate) paced_ms: AtomicU64,
    /// Whether batches go to the fallback.
    pub(crate) is_on_fallback: AtomicBool,
    errors: Mutex<BTreeMap<Rank, String>>,
}

impl DestinationCounters {
    /// What went wrong last at the driver of this rank, in plain words; true when that is news.
    pub(crate) fn set_error(&self, rank: Rank, text: Option<&str>) -> bool {
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        if errors.get(&rank).map(String::as_str) == text {
            return false;
        }
        match text {
            Some(text) => errors.insert(rank, text.to_owned()),
            None => errors.remove(&rank),
        };
        true
    }

    /// What went wrong last, at the driver that goes first.
    pub(crate) fn error(&self) -> Option<String> {
        let errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        errors.values().next().cloned()
    }
}

/// All that `hydrant status --json` prints.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Status {
    /// The agent's id.
    pub(crate) agent: String,
    /// The program's version.
    pub(crate) version: String,
    /// Seconds since the start.
    pub(crate) uptime_s: u64,
    /// What time it is, and who says so.
    pub(crate) clock: ClockStatus,
    /// Buffers by name.
    pub(crate) buffers: BTreeMap<String, BufferStatus>,
    /// Sources by name.
    pub(crate) sources: BTreeMap<String, SourceStatus>,
    /// Destinations by name.
    pub(crate) destinations: BTreeMap<String, DestinationStatus>,
}

/// What is known of the machine's clock.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct ClockStatus {
    /// Whether the time is known.
    pub(crate) synced: bool,
    /// Who told it.
    pub(crate) by: String,
    /// What time it is, as far as that is known.
    pub(crate) time: String,
    /// What the machine's own clock says.
    pub(crate) machine_time: String,
    /// The kernel's name for this boot.
    pub(crate) boot: String,
    /// Milliseconds since it began.
    pub(crate) monotonic_ms: u64,
}

/// A buffer's part of [`Status`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct BufferStatus {
    /// Sixteen hex digits that name the ring.
    pub(crate) id: String,
    /// Size of the file.
    pub(crate) capacity_bytes: u64,
    /// Bytes that hold entries.
    pub(crate) used_bytes: u64,
    /// Bytes of records that a destination still waits for, as a share of the capacity.
    pub(crate) waiting_percent: f64,
    /// The oldest entry.
    pub(crate) first_seq: u64,
    /// The next entry.
    pub(crate) next_seq: u64,
    /// Everything before is on disk.
    pub(crate) durable_seq: u64,
    /// Bytes written to disk since the start.
    pub(crate) written_bytes: u64,
    /// Syncs since the start.
    pub(crate) syncs: u64,
    /// What the ring has cost its disk.
    pub(crate) wear: WearStatus,
    /// Whether sources are being made to wait for room.
    pub(crate) blocked: bool,
}

/// What a ring has cost its disk, and what it may.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct WearStatus {
    /// Bytes written in all the ring's life.
    pub(crate) written_bytes_ever: u64,
    /// Syncs in all the ring's life.
    pub(crate) syncs_ever: u64,
    /// Bytes written in a day at the rate since the start.
    pub(crate) written_bytes_per_day: u64,
    /// What may be written in a day.
    pub(crate) budget_bytes_per_day: Option<u64>,
    /// Whether the budget cannot be kept although syncs wait as long as they may.
    pub(crate) budget_exceeded: bool,
    /// How long the budget makes a sync wait after the one before.
    pub(crate) sync_pause_ms: Option<u64>,
}

/// A backlog or a replay.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct StretchStatus {
    /// `backlog` or `replay`.
    pub(crate) kind: String,
    /// The buffer it is in.
    pub(crate) buffer: String,
    /// Everything of it before has a final verdict.
    pub(crate) committed: u64,
    /// The first entry behind it.
    pub(crate) end: u64,
    /// Records of it that the destination has still to take.
    pub(crate) waiting: u64,
}

/// A sender of whom something was turned away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SenderStatus {
    /// Its address, or the user it runs as.
    pub(crate) sender: String,
    /// How much.
    pub(crate) refused: u64,
}

/// A source's part of [`Status`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct SourceStatus {
    /// The buffer that its records are stored in.
    pub(crate) buffer: String,
    /// Records taken in.
    pub(crate) received: u64,
    /// Their payloads' bytes since the start.
    pub(crate) received_bytes: u64,
    /// Records that a transform let go.
    pub(crate) filtered: u64,
    /// Records stored, ever, in whichever buffer.
    pub(crate) stored: u64,
    /// Records kept raw because they could not be understood.
    pub(crate) decode_errors: u64,
    /// Records that were cut.
    pub(crate) cut: u64,
    /// What was turned away.
    pub(crate) refused: u64,
    /// The same by reason, since the start, where a source tells reasons apart.
    pub(crate) refused_by: BTreeMap<String, u64>,
    /// The senders of whom most was turned away over a rate limit.
    pub(crate) refused_senders: Vec<SenderStatus>,
    /// Whether it does not yet take what comes.
    pub(crate) starting: bool,
    /// Connections at this moment.
    pub(crate) connections: u64,
    /// Connections made again.
    pub(crate) reconnects: u64,
    /// Times a broker had forgotten the session.
    #[serde(default)]
    pub(crate) sessions_lost: u64,
    /// Whether its buffer is full, so that nothing more is taken from it until there is room.
    pub(crate) waiting_for_space: bool,
    /// What went wrong last.
    pub(crate) error: Option<String>,
}

impl SourceStatus {
    /// What `counters` say, and what rings do.
    pub(crate) fn of(counters: &SourceCounters, buffer: String, stored: u64) -> Self {
        let refusals = counters.refusals.lock();
        let refusals = refusals.unwrap_or_else(PoisonError::into_inner);
        let by_reason = refusals.by_reason.iter();
        Self {
            buffer,
            waiting_for_space: false,
            received: counters.get(SourceCount::Received),
            received_bytes: counters.get(SourceCount::ReceivedBytes),
            filtered: counters.get(SourceCount::Filtered),
            stored,
            decode_errors: counters.get(SourceCount::DecodeErrors),
            cut: counters.get(SourceCount::Cut),
            refused: counters.get(SourceCount::Refused),
            refused_by: by_reason
                .map(|(why, count)| (why.word().to_owned(), *count))
                .collect(),
            refused_senders: refusals.senders.clone(),
            starting: !counters.is_ready.load(Ordering::Relaxed),
            connections: counters.get(SourceCount::Connections),
            reconnects: counters.get(SourceCount::Reconnects),
            sessions_lost: counters.get(SourceCount::SessionsLost),
            error: counters.error(),
        }
    }
}

/// A destination's part of [`Status`]: sums over the buffers it takes from.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct DestinationStatus {
    /// How it stands in each of these buffers.
    pub(crate) lanes: BTreeMap<String, LaneStatus>,
    /// Records it has still to take.
    pub(crate) waiting: u64,
    /// Records it accepted.
    pub(crate) delivered: u64,
    /// Records that its fallback accepted in its place.
    #[serde(default)]
    pub(crate) delivered_by_fallback: u64,
    /// Records it refused; they are in the dead letter folder.
    pub(crate) rejected: u64,
    /// Records that a transform let go.
    pub(crate) filtered: u64,
    /// Records that made room for newer ones before it took them.
    pub(crate) evicted: u64,
    /// The same by source.
    pub(crate) evicted_by_source: BTreeMap<String, u64>,
    /// Records that the disk could not give back.
    pub(crate) truncated: u64,
    /// Records delivered once more because somebody asked for it.
    pub(crate) replayed: u64,
    /// Backlogs and replays under way.
    pub(crate) stretches: Vec<StretchStatus>,
    /// Age of the oldest record it has still to take.
    pub(crate) oldest_waiting_ms: Option<u64>,
    /// Requests since the start.
    pub(crate) requests: u64,
    /// Requests that did not end in acceptance.
    pub(crate) failures: u64,
    /// Accepted bytes before compression, since the start.
    pub(crate) raw_bytes: u64,
    /// Accepted bytes as sent, since the start.
    pub(crate) sent_bytes: u64,
    /// What the service bills for what it took, since the start; 0 where that is not known.
    pub(crate) billed_bytes: u64,
    /// How many calls may be under way at a time, as far as the service bears it.
    pub(crate) concurrency: u64,
    /// Records delivered with a time that was put right, since the start.
    pub(crate) corrected: u64,
    /// Refused records whose file made room for newer ones.
    pub(crate) dead_letters_removed: u64,
    /// Records of dead letters that were sent out of their files, since the start.
    #[serde(default)]
    pub(crate) dead_letters_sent: u64,
    /// How long calls waited to keep within the quota, since the start.
    #[serde(default)]
    pub(crate) paced_ms: u64,
    /// Whether batches go to the fallback.
    #[serde(default, rename = "on_fallback")]
    pub(crate) is_on_fallback: bool,
    /// When the server's certificate ends, in seconds since 1970.
    pub(crate) peer_certificate_expires_s: Option<u64>,
    /// When the certificate ends that is shown to it.
    pub(crate) own_certificate_expires_s: Option<u64>,
    /// What went wrong last.
    pub(crate) error: Option<String>,
}

/// How a destination stands in one buffer.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct LaneStatus {
    /// Everything before this seq has a final verdict.
    pub(crate) committed: u64,
    /// Records it has still to take.
    pub(crate) waiting: u64,
}

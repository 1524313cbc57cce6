//! Files that are followed.
//!
//! The kernel tells of changes, or a slow poll finds them; then a thread for blocking work reads,
//! in turns, until there is nothing new, and each batch waits for room in the store. The place in
//! each file goes into the ring together with the lines before it, so that a crash at any moment
//! neither loses a line nor doubles one. Which file is which is decided by `pipeline::tail`.

mod followed;
mod follower;
mod handed;
mod input;
mod walk;
mod watch;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use pipeline::config::FileConfig;
use pipeline::record::{Fields, Record, Value};
use pipeline::tail::Joined;
use pipeline::time::WallClock;

use crate::intake::{Intake, IntakeBatch, Shutdown};
use crate::telemetry::SourceCount;
use followed::CHUNK_BYTES;
use follower::Follower;
use watch::Watch;

/// A batch is handed over when it is this large.
const BATCH_BYTES: usize = 128 * 1024;

/// What such a batch takes: the last chunk may come when it is nearly full, and a line is stored
/// with the name of its file.
const BATCH_ROOM: usize = BATCH_BYTES + CHUNK_BYTES;

/// After something was heard, so long is waited for more of it: a writer of single lines would
/// otherwise wake us for each.
const GATHER: Duration = Duration::from_millis(20);

/// How long a stopping source waits for a store that has no room.
const STOP_WAIT_MAX: Duration = Duration::from_secs(1);

/// What comes out of files, in the order in which it belongs into the ring.
#[derive(Debug)]
enum Out<'a> {
    /// A line that is a record as it is.
    Line {
        /// Of which file.
        fields: &'a Fields,
        bytes: &'a [u8],
    },
    /// Any other record.
    Record {
        /// Of which file.
        fields: &'a Fields,
        record: Joined,
    },
    /// A packed file cannot be unpacked any further.
    Broken,
    /// So far this file was read.
    Checkpoint(&'a [u8], u64),
    /// This checkpoint is needed no more.
    Forget(&'a [u8]),
}

/// Follows files until shutdown.
pub(crate) async fn run(config: FileConfig, intake: Intake, mut shutdown: Shutdown) {
    let now = intake.clock().monotonic();
    let mut follower = Follower::new(&config, &intake.checkpoints(), now);
    let mut watch = Watch::new(config.watch);
    let mut told = BTreeMap::new();
    while !*shutdown.borrow() {
        let Some((back, batch, more)) = work(follower, intake.clone()).await else {
            return;
        };
        follower = back;
        watch.set_folders(follower.folders());
        tell(&intake, follower.problems(), &mut told);
        if !send(&intake, batch, &mut shutdown).await {
            return;
        }
        if !more {
            wait(&follower, &watch, &intake, &mut shutdown).await;
        }
        let heard = watch.take();
        if heard.names {
            follower.names_changed(intake.clock().monotonic());
        }
        if !heard.written.is_empty() {
            follower.written(&heard.written);
        }
    }
}

/// Fills a batch on a thread that may block. `None` when the runtime is ending.
async fn work(mut follower: Follower, intake: Intake) -> Option<(Follower, IntakeBatch, bool)> {
    let mut batch = intake.batch();
    batch.reserve(BATCH_ROOM);
    let filled = tokio::task::spawn_blocking(move || {
        let at = intake.clock().wall();
        follower.set_wall(at);
        let mut more = true;
        while more && batch.len_bytes() < BATCH_BYTES {
            more = follower.work(intake.clock().monotonic(), &mut |out| match out {
                Out::Line { fields, bytes } => batch.push_line(at, fields, bytes),
                Out::Broken => intake.counters().add(SourceCount::Refused, 1),
                Out::Record { fields, record } => push(&mut batch, at, fields, record),
                Out::Checkpoint(key, offset) => batch.set_checkpoint(key, offset),
                Out::Forget(key) => batch.forget_checkpoint(key),
            });
        }
        (follower, batch, more)
    });
    filled.await.ok()
}

/// Adds a record with what its lines say of it.
fn push(batch: &mut IntakeBatch, at: WallClock, fields: &Fields, joined: Joined) {
    let mut record = Record::new(at, joined.payload);
    record.fields = fields.clone();
    record.time = joined.time;
    if let Some(stream) = joined.stream {
        record.fields.insert("stream", stream.name());
    }
    if joined.continued {
        record.fields.insert("continued", Value::Bool(true));
    }
    if joined.truncated {
        record.fields.insert("truncated", Value::Bool(true));
        batch.count_cut();
    }
    if let Some(attrs) = joined.attrs {
        let attrs = attrs.into_iter().map(|(name, text)| (name, text.into()));
        record
            .fields
            .insert("attrs", Value::Map(Fields::from_pairs(attrs.collect())));
    }
    if let Some(reason) = joined.decode_error {
        record.mark(reason);
    }
    batch.push(record, None);
}

/// Waits until something was heard or is due.
async fn wait(follower: &Follower, watch: &Watch, intake: &Intake, shutdown: &mut Shutdown) {
    let due = intake.clock().instant(follower.poll_timeout());
    let heard = async {
        watch.changed().await;
        tokio::time::sleep(GATHER).await;
    };
    tokio::select! {
        _ = shutdown.wait_for(|stop| *stop) => {}
        () = tokio::time::sleep_until(due) => {}
        () = heard => {}
    }
}

/// Hands a batch over. What is not taken is read again after the next start, so nothing is lost
/// if the end comes first; false then.
async fn send(intake: &Intake, batch: IntakeBatch, shutdown: &mut Shutdown) -> bool {
    let too_late = async {
        // An error says that nobody can ask for a shutdown any more.
        drop(shutdown.wait_for(|stop| *stop).await);
        tokio::time::sleep(STOP_WAIT_MAX).await;
    };
    tokio::select! {
        biased;
        sent = intake.send(batch) => sent.is_ok(),
        () = too_late => false,
    }
}

/// Says what is wrong once, and when all is well again.
fn tell(
    intake: &Intake,
    problems: &BTreeMap<PathBuf, String>,
    told: &mut BTreeMap<PathBuf, String>,
) {
    if problems == told {
        return;
    }
    for (path, problem) in problems {
        if told.get(path) != Some(problem) {
            tracing::warn!(source = intake.name(), "{problem}");
        }
    }
    match problems.values().next() {
        Some(first) if problems.len() > 1 => {
            let others = problems.len() - 1;
            intake
                .counters()
                .set_error(format!("{first} (and {others} more)"));
        }
        Some(first) => intake.counters().set_error(first.clone()),
        None => intake.counters().clear_error(),
    }
    told.clone_from(problems);
}

#[cfg(test)]
mod tests;

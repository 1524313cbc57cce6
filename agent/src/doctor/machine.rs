//! Looks at this machine: its clock, the state directory, certificates.

use std::path::Path;

use pipeline::certificate::Certificate;
use pipeline::config::Config;
use pipeline::doctor::{Directory, Finding, judge_clock, judge_directory, judge_expiry};
use rustix::fs::{Access, access, statvfs};

use crate::clock::{self, Clock};
use crate::tls::{self, TlsError};
use crate::{app, check, ring_file, time_daemons};

/// Everything that needs no network.
pub(super) fn examine(config: &Config, clock: &Clock) -> Vec<Finding> {
    let now_ms = clock.wall().as_millis();
    let mut found = vec![judge_clock(now_ms, is_synchronized(config))];
    found.extend(judge_directory(&state_directory(config)));
    found.extend(certificates(config, clock));
    found
}

/// `None` where nobody says.
fn is_synchronized(config: &Config) -> Option<bool> {
    if config.agent.is_clock_trusted {
        return Some(true);
    }
    let asked = app::runtime().map(|runtime| runtime.block_on(time_daemons::ask()));
    if asked.is_ok_and(|told| told.is_some()) {
        return Some(true);
    }
    let confirmed = Path::new(clock::CONFIRMED);
    let has_daemon = confirmed.parent().is_some_and(Path::exists);
    has_daemon.then(|| confirmed.exists())
}

fn state_directory(config: &Config) -> Directory {
    let path = &config.agent.state_dir;
    let exists = path.is_dir();
    // What is not there yet is made below something that is.
    let there = path.ancestors().find(|path| path.exists());
    let free = there.and_then(|path| statvfs(path).ok());
    let missing = config.buffers.iter().filter(|(name, _)| {
        let file = path.join(ring_file::file_name(name));
        !file.exists()
    });
    Directory {
        path: path.display().to_string(),
        exists,
        is_writable: access(path, Access::WRITE_OK | Access::EXEC_OK).is_ok(),
        free_bytes: free.map_or(0, |free| free.f_bavail.saturating_mul(free.f_frsize)),
        needed_bytes: missing.map(|(_, buffer)| buffer.size.as_u64()).sum(),
    }
}

/// Files that are shown to others or believed, and when their certificates end.
fn certificates(config: &Config, clock: &Clock) -> Vec<Finding> {
    let mut found = Vec::new();
    for (about, tls) in check::client_tls(config) {
        match tls::client_config(tls) {
            Ok(_) => {
                let files = tls.certificate_file.iter().chain(&tls.ca_file);
                found.extend(files.filter_map(|file| expiry(&about, file, clock)));
            }
            Err(error) => found.push(unusable(&about, &error)),
        }
    }
    for (about, tls) in check::server_tls(config) {
        match tls::server::server_config(tls, *clock) {
            Ok(_) => {
                let files = [&tls.certificate_file]
                    .into_iter()
                    .chain(&tls.client_ca_file);
                found.extend(files.filter_map(|file| expiry(&about, file, clock)));
            }
            Err(error) => found.push(unusable(&about, &error)),
        }
    }
    found
}

fn unusable(about: &str, error: &TlsError) -> Finding {
    let hint = "look at the files in its tls table";
    Finding::problem(about, error.to_string(), hint)
}

/// Of a file of authorities, the one that ends first; most have one.
fn expiry(about: &str, file: &Path, clock: &Clock) -> Option<Finding> {
    let all = tls::certificates(file).ok()?;
    let read = all.iter().filter_map(|one| Certificate::read(one.as_ref()));
    let end = read.map(|certificate| certificate.not_after).min()?;
    let (end, now) = (end.as_millis(), clock.wall().as_millis());
    Some(judge_expiry(about, &file.display().to_string(), end, now))
}

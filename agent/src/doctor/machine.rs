//! Looks at this machine: its clock, the state directory, certificates.

use std::path::Path;

use pipeline::config::{Config, DestinationKind, SourceKind, TlsConfig};
use pipeline::doctor::{Directory, Finding, expiry_ms, judge_clock, judge_directory, judge_expiry};
use rustix::fs::{Access, access, statvfs};

use crate::clock::Clock;
use crate::{ring_file, tls};

/// Where systemd-timesyncd says that the clock is synchronized.
const TIMESYNC: &str = "/run/systemd/timesync";

/// Everything that needs no network.
pub(super) fn examine(config: &Config, clock: &Clock) -> Vec<Finding> {
    let now_ms = clock.wall().as_millis();
    let mut found = vec![judge_clock(now_ms, is_synchronized(config))];
    found.extend(judge_directory(&state_directory(config)));
    for (about, tls) in tls_tables(config) {
        found.extend(certificates(&about, tls, now_ms));
    }
    found
}

/// `None` where nobody says.
fn is_synchronized(config: &Config) -> Option<bool> {
    if config.agent.is_clock_trusted {
        return Some(true);
    }
    let folder = Path::new(TIMESYNC);
    folder
        .exists()
        .then(|| folder.join("synchronized").exists())
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

/// Every table of TLS with what it belongs to.
fn tls_tables(config: &Config) -> Vec<(String, &TlsConfig)> {
    let sources = config.sources.iter().filter_map(|(name, source)| {
        let SourceKind::Mqtt(mqtt) = &source.kind else {
            return None;
        };
        let tls = mqtt.brokers.iter().find_map(|broker| broker.tls.as_ref())?;
        Some((format!("sources.{name}"), tls))
    });
    let destinations = config
        .destinations
        .iter()
        .filter_map(|(name, destination)| {
            let tls = match &destination.kind {
                DestinationKind::Firehose(firehose) => &firehose.tls,
                DestinationKind::Http(http) => &http.tls,
                DestinationKind::Directory(_) => return None,
            };
            Some((format!("destinations.{name}"), tls))
        });
    sources.chain(destinations).collect()
}

fn certificates(about: &str, tls: &TlsConfig, now_ms: i64) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Err(error) = tls::client_config(tls) {
        found.push(Finding::problem(
            about,
            error.to_string(),
            "look at the files in its tls table",
        ));
        return found;
    }
    for path in tls.certificate_file.iter().chain(&tls.ca_file) {
        let Ok(all) = tls::certificates(path) else {
            continue;
        };
        // Of an authority file the one that ends first; most have one.
        let ends = all.iter().filter_map(|one| expiry_ms(one.as_ref()).ok());
        if let Some(end) = ends.min() {
            found.push(judge_expiry(
                about,
                &path.display().to_string(),
                end,
                now_ms,
            ));
        }
    }
    found
}

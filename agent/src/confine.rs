//! What this process may write to: its own folders and nothing else, by Landlock, where the kernel
//! has it. A parser that is made to run somebody's code cannot then change the machine.
//!
//! Reading is not confined: followed files, certificates and keys lie anywhere, and permissions
//! tell who may read them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, AccessFs, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError,
    RulesetStatus,
};
use pipeline::config::{Config, DestinationKind, SourceKind, SyslogListen};

/// Rights that Linux 6.2 and later know; an older kernel confines as far as it can.
const RIGHTS: ABI = ABI::V3;

/// Programs that find credentials may throw away what they print.
const NOWHERE: &str = "/dev/null";

/// The folders that this process can write to until it ends.
#[derive(Clone, Debug)]
pub(crate) struct Confinement(BTreeSet<PathBuf>);

/// Confines this thread, and every thread and program that it starts from here on, to the folders
/// that the configuration names. `None` where that cannot be had, which is logged.
pub(crate) fn confine(config: &Config) -> Option<Confinement> {
    if !config.agent.is_confined {
        return None;
    }
    let folders: BTreeSet<PathBuf> = written(config).iter().map(|path| existing(path)).collect();
    if folders.contains(Path::new("/")) {
        tracing::info!("not confined by Landlock: a folder to write to is the root folder");
        return None;
    }
    match restrict(&folders) {
        Ok(RulesetStatus::NotEnforced) => {
            tracing::debug!("not confined: this kernel has no Landlock");
            None
        }
        Ok(RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced) => {
            tracing::debug!(?folders, "writes only to these");
            Some(Confinement(folders))
        }
        Err(error) => {
            tracing::info!(%error, "not confined by Landlock");
            None
        }
    }
}

impl Confinement {
    /// A path that the configuration wants to write to and this process no longer can.
    pub(crate) fn excluded(&self, config: &Config) -> Option<PathBuf> {
        written(config)
            .into_iter()
            .find(|path| !self.0.iter().any(|folder| path.starts_with(folder)))
    }
}

/// Every folder in which something is written or a socket is made.
fn written(config: &Config) -> BTreeSet<PathBuf> {
    let mut paths = BTreeSet::from([config.agent.state_dir.clone()]);
    paths.extend(folder_of(&config.agent.control_socket));
    for source in config.sources.values() {
        if let SourceKind::Syslog(syslog) = &source.kind {
            paths.extend(syslog.listen.iter().filter_map(|listen| match listen {
                SyslogListen::Unix(path) | SyslogListen::UnixDatagram(path) => folder_of(path),
                SyslogListen::Udp(_)
                | SyslogListen::Tcp(_)
                | SyslogListen::Tls(_)
                | SyslogListen::Systemd(_) => None,
            }));
        }
    }
    for destination in config.destinations.values() {
        paths.insert(around(&destination.dead_letter.path));
        if let DestinationKind::Directory(directory) = &destination.kind {
            paths.insert(around(&directory.path));
        }
    }
    paths
}

fn folder_of(path: &Path) -> Option<PathBuf> {
    path.parent().map(Path::to_owned)
}

/// The folder above: this one may be a disk that is taken out and put in again, or removed and made
/// anew, and would be another one then.
fn around(path: &Path) -> PathBuf {
    let above = path.parent().filter(|above| *above != Path::new("/"));
    above.unwrap_or(path).to_owned()
}

/// The nearest folder that is there: the path itself may only be made later.
fn existing(path: &Path) -> PathBuf {
    let there = path.ancestors().find(|path| path.is_dir());
    there.unwrap_or(Path::new("/")).to_owned()
}

fn restrict(folders: &BTreeSet<PathBuf>) -> Result<RulesetStatus, RulesetError> {
    let mut ruleset = Ruleset::default()
        .handle_access(AccessFs::from_write(RIGHTS))?
        .create()?;
    for folder in folders {
        if let Ok(folder) = PathFd::new(folder) {
            ruleset = ruleset.add_rule(PathBeneath::new(folder, AccessFs::from_write(RIGHTS)))?;
        }
    }
    if let Ok(nowhere) = PathFd::new(NOWHERE) {
        ruleset = ruleset.add_rule(PathBeneath::new(nowhere, AccessFs::WriteFile))?;
    }
    Ok(ruleset.restrict_self()?.ruleset)
}

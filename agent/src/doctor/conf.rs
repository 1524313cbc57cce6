//! Reads the configuration of a mosquitto on this machine.

use std::path::{Path, PathBuf};

use pipeline::doctor::{Finding, Setting, settings};

use crate::config_files::read_bounded;

/// More files than this are not read.
const FILES_MAX: usize = 100;

/// The settings of a file and of those that it includes, in the order in which they count.
pub(super) fn read(path: &Path) -> Result<Vec<Setting>, Finding> {
    let mut all = settings_of(path)?;
    let folders: Vec<PathBuf> = all
        .iter()
        .filter(|setting| setting.name == "include_dir")
        .map(|setting| PathBuf::from(&setting.value))
        .collect();
    for folder in folders {
        for file in files_of(&folder)? {
            all.extend(settings_of(&file)?);
        }
    }
    Ok(all)
}

/// How many messages the broker sends before it wants an acknowledgement; 0 is no bound.
pub(super) fn window(settings: &[Setting]) -> u32 {
    let last = settings
        .iter()
        .rev()
        .find(|one| one.name == "max_inflight_messages");
    let window = last
        .and_then(|setting| setting.value.parse().ok())
        .unwrap_or(20);
    if window == 0 { u32::MAX } else { window }
}

fn settings_of(path: &Path) -> Result<Vec<Setting>, Finding> {
    let text = read_bounded(path).map_err(|error| unreadable(path, &error))?;
    Ok(settings(&path.display().to_string(), &text))
}

/// The files of a folder that mosquitto reads, in its order.
fn files_of(folder: &Path) -> Result<Vec<PathBuf>, Finding> {
    let entries =
        std::fs::read_dir(folder).map_err(|error| unreadable(folder, &error.to_string()))?;
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "conf")
        })
        .take(FILES_MAX)
        .collect();
    files.sort();
    Ok(files)
}

fn unreadable(path: &Path, error: &str) -> Finding {
    let what = format!("{}: {error}", path.display());
    Finding::problem("mosquitto", what, "name a file that this user may read")
}

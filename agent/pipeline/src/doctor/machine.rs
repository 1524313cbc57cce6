//! The machine that the agent runs on.

use super::report::Finding;
use crate::config::ByteSize;

/// 2025-01-01: no clock that is right shows less.
const PLAUSIBLE_MS: i64 = 1_735_689_600_000;

/// Judges the clock: what it shows, and whether somebody says that it is synchronized.
pub fn judge_clock(now_ms: i64, is_synchronized: Option<bool>) -> Finding {
    const HINT: &str = "run systemd-timesyncd, chrony or ntpd; where a battery clock or the host \
                        keeps the time, write clock = \"trusted\" into [agent]. TLS refuses \
                        certificates and AWS refuses signatures when the clock is wrong";
    if now_ms < PLAUSIBLE_MS {
        return Finding::problem("clock", "the clock is years behind", HINT);
    }
    match is_synchronized {
        Some(true) => Finding::ok("clock", "synchronized"),
        Some(false) => Finding::warning("clock", "not synchronized", HINT),
        None => Finding::warning("clock", "nothing says that it is synchronized", HINT),
    }
}

/// A folder that the agent writes into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// The folder.
    pub path: String,
    /// Whether it is there.
    pub exists: bool,
    /// Whether who asks may write into it.
    pub is_writable: bool,
    /// What is free on its file system.
    pub free_bytes: u64,
    /// What rings that are not made yet will take at the first start.
    pub needed_bytes: u64,
}

/// Judges the state directory.
pub fn judge_directory(directory: &Directory) -> Vec<Finding> {
    let Directory {
        path,
        exists,
        is_writable,
        free_bytes,
        needed_bytes,
    } = directory;
    let about = "state";
    // To the whole MiB, where there is one: that is how it is shown shortest.
    let free = match free_bytes >> 20 {
        0 => *free_bytes,
        mebibytes => mebibytes << 20,
    };
    let (free, needed) = (ByteSize::bytes(free), ByteSize::bytes(*needed_bytes));
    let mut found = Vec::new();
    found.push(match (exists, is_writable) {
        (false, _) => Finding::warning(
            about,
            format!("{path} does not exist"),
            "the service makes it at its first start; as another user, make it and give it to \
             that user",
        ),
        (true, false) => Finding::problem(
            about,
            format!("{path} cannot be written to by the user of this command"),
            "ask as the user of the service (sudo -u hydrant hydrant doctor), or chown it",
        ),
        (true, true) => Finding::ok(about, format!("{path} can be written to")),
    });
    if *needed_bytes == 0 {
        found.push(Finding::ok(
            about,
            format!("rings are made; {free} are free beside them"),
        ));
    } else if free_bytes < needed_bytes {
        found.push(Finding::problem(
            about,
            format!("rings need {needed} at the first start, and {free} are free"),
            "make buffer.size smaller, or room on the disk",
        ));
    } else {
        let what = format!("rings need {needed} at the first start; {free} are free");
        found.push(Finding::ok(about, what));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::report::Level;
    use super::*;

    #[test]
    fn clocks() {
        let check = |now_ms, synchronized, level| {
            assert_eq!(judge_clock(now_ms, synchronized).level, level, "{now_ms}");
        };
        check(0, Some(true), Level::Problem);
        check(PLAUSIBLE_MS, Some(true), Level::Ok);
        check(PLAUSIBLE_MS, Some(false), Level::Warning);
        check(PLAUSIBLE_MS, None, Level::Warning);
    }

    #[test]
    fn directories() {
        let good = Directory {
            path: "/s".to_owned(),
            exists: true,
            is_writable: true,
            free_bytes: 10 << 20,
            needed_bytes: 4 << 20,
        };
        let check = |directory: &Directory, expected: [Level; 2]| {
            let found = judge_directory(directory);
            let levels: Vec<Level> = found.iter().map(|finding| finding.level).collect();
            assert_eq!(levels, expected, "{found:?}");
        };
        check(&good, [Level::Ok; 2]);
        let full = Directory {
            free_bytes: 1,
            ..good.clone()
        };
        check(&full, [Level::Ok, Level::Problem]);
        let made = Directory {
            needed_bytes: 0,
            ..full
        };
        check(&made, [Level::Ok; 2]);
        let closed = Directory {
            is_writable: false,
            ..good.clone()
        };
        check(&closed, [Level::Problem, Level::Ok]);
        let missing = Directory {
            exists: false,
            ..closed
        };
        check(&missing, [Level::Warning, Level::Ok]);
    }
}

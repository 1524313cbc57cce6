//! Hears of changes in folders, if the kernel tells; the poll interval covers what it does not.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use inotify::{EventMask, Inotify, WatchDescriptor, WatchMask};
use pipeline::config::Watching;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The queue is read so often at a time.
const READS_MAX: usize = 64;

/// Holds many events at once; each has a header of 16 bytes and a name.
const EVENTS_BYTES: usize = 8 * 1024;

/// Folders that are listened to.
#[derive(Debug)]
pub(super) struct Watch {
    inotify: Option<AsyncFd<Inotify>>,
    folders: HashMap<PathBuf, WatchDescriptor>,
    paths: HashMap<WatchDescriptor, PathBuf>,
    told: bool,
}

/// What was heard.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Names came, went or changed.
    pub(super) names: bool,
    /// Files that were written to.
    pub(super) written: BTreeSet<PathBuf>,
}

impl Watch {
    /// Without inotify there is only the poll interval.
    pub(super) fn new(watching: Watching) -> Self {
        if watching == Watching::Poll {
            return Self {
                inotify: None,
                folders: HashMap::new(),
                paths: HashMap::new(),
                told: true,
            };
        }
        #[expect(
            deprecated,
            reason = "its successor is unsafe; an Inotify keeps its descriptor for life"
        )]
        let inotify =
            Inotify::init().and_then(|inotify| AsyncFd::with_interest(inotify, Interest::READABLE));
        if let Err(error) = &inotify {
            tracing::warn!("no inotify, files are only polled: {error}");
        }
        Self {
            told: inotify.is_err(),
            inotify: inotify.ok(),
            folders: HashMap::new(),
            paths: HashMap::new(),
        }
    }

    /// Listens to these folders and no others.
    pub(super) fn set_folders(&mut self, folders: &BTreeSet<PathBuf>) {
        let Some(inotify) = &self.inotify else { return };
        let mut watches = inotify.get_ref().watches();
        self.folders.retain(|path, watch| {
            let keep = folders.contains(path);
            if !keep {
                self.paths.remove(watch);
                // It is gone already if the folder is.
                drop(watches.remove(watch.clone()));
            }
            keep
        });
        for path in folders {
            if self.folders.contains_key(path) {
                continue;
            }
            match watches.add(path, mask()) {
                Ok(watch) => {
                    self.folders.insert(path.clone(), watch.clone());
                    self.paths.insert(watch, path.clone());
                }
                Err(error) if !self.told => {
                    self.told = true;
                    tracing::warn!(
                        "cannot watch {}, it is only polled: {error}; \
                         fs.inotify.max_user_watches may be too low",
                        path.display()
                    );
                }
                Err(_) => {}
            }
        }
    }

    /// Waits until something was heard.
    pub(super) async fn changed(&self) {
        match &self.inotify {
            Some(inotify) => drop(inotify.readable().await),
            None => std::future::pending().await,
        }
    }

    /// Takes what was heard so far.
    pub(super) fn take(&mut self) -> Heard {
        let mut heard = Heard::default();
        let Some(inotify) = &mut self.inotify else {
            return heard;
        };
        let mut buffer = [0; EVENTS_BYTES];
        let mut ended = Vec::new();
        // A writer that never rests must not hold this thread: what is left is heard next time.
        for _ in 0..READS_MAX {
            let read = inotify.try_io_mut(Interest::READABLE, |inotify| {
                let events = inotify.read_events(&mut buffer)?;
                for event in events {
                    let folder = self.paths.get(&event.wd);
                    if event.mask.contains(EventMask::IGNORED) {
                        ended.push(event.wd);
                    } else if event.mask == EventMask::MODIFY
                        && let (Some(folder), Some(name)) = (folder, event.name)
                    {
                        heard.written.insert(folder.join(Path::new(name)));
                    } else {
                        // Also when the queue ran over: then everything is looked at.
                        heard.names = true;
                    }
                }
                Ok(())
            });
            if read.is_err() {
                break;
            }
        }
        for watch in ended {
            if let Some(path) = self.paths.remove(&watch) {
                self.folders.remove(&path);
                heard.names = true;
            }
        }
        heard
    }
}

fn mask() -> WatchMask {
    WatchMask::MODIFY
        | WatchMask::ATTRIB
        | WatchMask::CREATE
        | WatchMask::DELETE
        | WatchMask::MOVED_FROM
        | WatchMask::MOVED_TO
        | WatchMask::DELETE_SELF
        | WatchMask::MOVE_SELF
        | WatchMask::ONLYDIR
}

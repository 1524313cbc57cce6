//! Has dead letters delivered once more: the records that their files name, out of the ring.
//!
//! A file whose records are going to be sent is set aside, so that the next wish does not mean it
//! again. It stays where its records are not in the ring any more: then they are only there.

use std::io;
use std::path::{Path, PathBuf};

use pipeline::dead_letter;
use pipeline::replay::ReplayWish;
use pipeline::time::WallClock;
use tokio::task::spawn_blocking;

use super::{Begun, Refused, ReplayAnswer, ReplayQuestion};
use crate::store::{Replayed, StoreEnded, Stores};

/// What is put behind the name of a file whose records are sent again.
const SET_ASIDE: &str = ".replayed";

/// Asks every store for the records of the letters in `folder`.
pub(crate) async fn ask(
    stores: &Stores,
    question: ReplayQuestion,
    folder: PathBuf,
    now: WallClock,
) -> Result<ReplayAnswer, StoreEnded> {
    let ReplayQuestion {
        destination,
        buffer,
        ..
    } = question;
    let names = match listed(&folder).await {
        Ok(names) => names,
        Err(error) => {
            let text = format!("{} cannot be read: {error}", folder.display());
            return Ok(ReplayAnswer::Error(text));
        }
    };
    let mut mark = u64::try_from(now.as_millis()).unwrap_or(0);
    let (mut begun, mut refused) = (Vec::new(), Vec::new());
    for (name, store) in stores.iter() {
        if buffer.as_deref().is_some_and(|buffer| buffer != name) {
            continue;
        }
        let of_ring = dead_letter::folder(&destination, store.ring_id());
        for (range, files) in of_ring.kept(&names, dead_letter::EXTENSION) {
            let wish = ReplayWish {
                from_seq: Some(range.first.get()),
                to_seq: Some(range.end.get()),
                ..ReplayWish::default()
            };
            let about = name.to_owned();
            match store.replay(destination.clone(), wish, mark).await? {
                Some(Ok(Replayed { range, records })) => {
                    if !range.is_cut {
                        set_aside(&folder, &files);
                    }
                    begun.push(Begun {
                        buffer: about,
                        range,
                        records,
                    });
                }
                Some(Err(reason)) => {
                    let first = files.first().map_or("", String::as_str);
                    refused.push(Refused {
                        buffer: about,
                        reason: format!("{first} and {} more: {reason}", files.len() - 1),
                    });
                }
                None => {}
            }
            mark = mark.saturating_add(1);
        }
    }
    Ok(match (begun.is_empty(), refused.first()) {
        (true, None) => ReplayAnswer::Error(format!(
            "there are no dead letters of \"{destination}\" in {} whose records may be in a ring",
            folder.display()
        )),
        (true, Some(first)) => ReplayAnswer::Error(first.reason.clone()),
        (false, None) => ReplayAnswer::Begun(begun),
        (false, Some(_)) => ReplayAnswer::Partly { begun, refused },
    })
}

/// The names of the files in a folder; one that is not there has none.
async fn listed(folder: &Path) -> io::Result<Vec<String>> {
    let folder = folder.to_owned();
    let listed = spawn_blocking(move || {
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let names = entries.map(|entry| entry.map(|entry| entry.file_name().into_string().ok()));
        let names: io::Result<Vec<Option<String>>> = names.collect();
        Ok(names?.into_iter().flatten().collect())
    });
    listed.await.map_err(io::Error::other)?
}

fn set_aside(folder: &Path, files: &[String]) {
    for file in files {
        let path = folder.join(file);
        let aside = folder.join(format!("{file}{SET_ASIDE}"));
        // What is not set aside is only meant once more.
        if let Err(error) = std::fs::rename(&path, &aside) {
            tracing::warn!("{} cannot be renamed: {error}", path.display());
        }
    }
}

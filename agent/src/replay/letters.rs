//! Has dead letters delivered once more: out of the ring, or out of their files where the ring has
//! the records no more.
//!
//! A file whose records are going to be sent out of the ring is set aside, so that the next wish
//! does not mean it again; one that is sent itself only once that is done.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use diskring::Seq;
use pipeline::dead_letter;
use pipeline::destination::SeqRange;
use pipeline::replay::{ReplayRange, ReplayWish};
use pipeline::time::WallClock;
use tokio::task::spawn_blocking;

use super::{Begun, Refused, ReplayAnswer, ReplayQuestion};
use crate::deliver::LetterFile;
use crate::store::{Replayed, StoreEnded, StoreHandle, Stores};

/// What is put behind the name of a file whose records are sent again.
const SET_ASIDE: &str = ".replayed";

/// What of the letters is done how.
#[derive(Debug, Default)]
struct Plan {
    begun: Vec<Begun>,
    refused: Vec<Refused>,
    /// Files whose records are not in a ring any more, with what of the log they hold.
    gone: BTreeMap<String, (u64, SeqRange)>,
}

/// Asks every store for the records of the letters in `folder`; `send` takes the files whose
/// records no ring has, and says which of them it does take.
pub(crate) async fn ask(
    stores: &Stores,
    question: ReplayQuestion,
    folder: PathBuf,
    now: WallClock,
    send: impl FnOnce(Vec<LetterFile>) -> Vec<LetterFile>,
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
    let statuses = stores.status().await?;
    let mut plan = Plan::default();
    let mut rings = Vec::new();
    for (name, store) in stores.iter() {
        rings.push(store.ring_id());
        if buffer.as_deref().is_some_and(|buffer| buffer != name) {
            continue;
        }
        let first = statuses.get(name).map_or(0, |it| it.buffer.first_seq);
        let of_ring = dead_letter::folder(&destination, store.ring_id());
        let files = of_ring.files(&names, dead_letter::EXTENSION);
        let files = files
            .into_iter()
            .filter(|(ring, ..)| *ring == store.ring_id());
        let (there, gone): (Vec<_>, Vec<_>) =
            files.partition(|(_, range, _)| Seq::new(first) <= range.first);
        let gone = gone
            .into_iter()
            .map(|(ring, range, file)| (file, (ring, range)));
        plan.gone.extend(gone);
        let there: Vec<String> = there.into_iter().map(|(.., file)| file).collect();
        let kept = of_ring.kept(&there, dead_letter::EXTENSION);
        out_of_ring(
            &mut plan,
            (name, store),
            &destination,
            (&folder, kept),
            &mut mark,
        )
        .await?;
    }
    if buffer.is_none() {
        let files = dead_letter::folder(&destination, 0).files(&names, dead_letter::EXTENSION);
        let others = files.into_iter().filter(|(ring, ..)| !rings.contains(ring));
        plan.gone
            .extend(others.map(|(ring, range, file)| (file, (ring, range))));
    }
    out_of_files(&mut plan, &folder, mark, send).await;
    Ok(plan.answer(&destination, &folder))
}

/// Has the files sent that hold what no ring does.
async fn out_of_files(
    plan: &mut Plan,
    folder: &Path,
    mark: u64,
    send: impl FnOnce(Vec<LetterFile>) -> Vec<LetterFile>,
) {
    let gone = plan.gone.iter().zip(mark..);
    let files = gone.map(|((file, (ring, _)), mark)| LetterFile {
        path: folder.join(file),
        ring: *ring,
        mark,
    });
    for file in send(files.collect()) {
        let name = file.path.file_name().and_then(|name| name.to_str());
        let Some((name, (_, range))) = name.and_then(|name| plan.gone.get_key_value(name)) else {
            continue;
        };
        plan.begun.push(Begun {
            buffer: super::DEFAULT_BUFFER.to_owned(),
            range: of_file(*range),
            records: count_lines(file.path.clone()).await,
            file: Some(name.clone()),
        });
    }
}

impl Plan {
    /// What is told of it.
    fn answer(self, destination: &str, folder: &Path) -> ReplayAnswer {
        let folder = folder.display();
        match (self.begun.is_empty(), self.refused.first()) {
            (true, None) if self.gone.is_empty() => ReplayAnswer::Error(format!(
                "there are no dead letters of \"{destination}\" in {folder}"
            )),
            (true, None) => ReplayAnswer::Error(format!(
                "the dead letters of \"{destination}\" in {folder} are being sent already"
            )),
            (true, Some(first)) => ReplayAnswer::Error(first.reason.clone()),
            (false, None) => ReplayAnswer::Begun(self.begun),
            (false, Some(_)) => ReplayAnswer::Partly {
                begun: self.begun,
                refused: self.refused,
            },
        }
    }
}

/// Asks one store for the records of letters that it has.
async fn out_of_ring(
    plan: &mut Plan,
    (name, store): (&str, &StoreHandle),
    destination: &str,
    (folder, kept): (&Path, Vec<(SeqRange, Vec<String>)>),
    mark: &mut u64,
) -> Result<(), StoreEnded> {
    for (range, files) in kept {
        let wish = ReplayWish {
            from_seq: Some(range.first.get()),
            to_seq: Some(range.end.get()),
            ..ReplayWish::default()
        };
        let buffer = name.to_owned();
        match store.replay(destination.to_owned(), wish, *mark).await? {
            Some(Ok(Replayed { range, records })) => {
                if !range.is_cut {
                    for file in &files {
                        set_aside(&folder.join(file));
                    }
                }
                plan.begun.push(Begun {
                    buffer,
                    range,
                    records,
                    file: None,
                });
            }
            Some(Err(reason)) => {
                let first = files.first().map_or("", String::as_str);
                plan.refused.push(Refused {
                    buffer,
                    reason: format!("{first} and {} more: {reason}", files.len() - 1),
                });
            }
            None => {}
        }
        *mark = mark.saturating_add(1);
    }
    Ok(())
}

/// What of the log a file holds, as a replay shows it.
const fn of_file(range: SeqRange) -> ReplayRange {
    ReplayRange {
        first: range.first.get(),
        end: range.end.get(),
        oldest: range.first.get(),
        oldest_ms: None,
        delivered: range.end.get(),
        is_cut: false,
    }
}

/// How many letters are in a file; 0 when it cannot be read, which is told when it is sent.
async fn count_lines(path: PathBuf) -> u64 {
    let count = spawn_blocking(move || {
        let file = std::fs::File::open(path)?;
        let lines = io::BufRead::split(io::BufReader::new(file), b'\n');
        Ok::<usize, io::Error>(lines.map_while(Result::ok).count())
    });
    let count = count.await.map_or(0, |counted| counted.unwrap_or(0));
    u64::try_from(count).unwrap_or(u64::MAX)
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

/// Renames a file whose records are sent, so that they are not meant again.
pub(crate) fn set_aside(path: &Path) {
    let mut aside = path.as_os_str().to_owned();
    aside.push(SET_ASIDE);
    // What is not set aside is only meant once more.
    if let Err(error) = std::fs::rename(path, &aside) {
        tracing::warn!("{} cannot be renamed: {error}", path.display());
    }
}

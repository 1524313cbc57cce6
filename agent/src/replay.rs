//! `hydrant replay`: has delivered records delivered once more, by a running agent or without one.

pub(crate) mod letters;

use std::process::ExitCode;

use pipeline::config::{Config, DEFAULT_BUFFER};
use pipeline::replay::{ReplayRange, ReplayWish};
use pipeline::time::WallClock;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::LocalSet;

use crate::cli::ReplayArgs;
use crate::clock::Clock;
use crate::deliver::{self, LetterFile};
use crate::reactor::told_to_end;
use crate::store::{Replayed, StoreEnded, StoreHandle, Stores};
use crate::{EXIT_STORAGE, EXIT_USAGE, app, check, config_files, control, fail, print, show};

/// What a running agent is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReplayQuestion {
    /// The destination.
    pub(crate) destination: String,
    /// Only from this buffer.
    pub(crate) buffer: Option<String>,
    /// Which records; `None` ends the replays under way.
    pub(crate) wish: Option<ReplayWish>,
    /// Those of its dead letters instead.
    #[serde(default)]
    pub(crate) dead_letter: bool,
}

/// What it answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ReplayAnswer {
    /// They are going to be delivered once more.
    Begun(Vec<Begun>),
    /// Those of some buffers are going to be delivered once more, those of others are not.
    Partly {
        /// What begins.
        begun: Vec<Begun>,
        /// What does not.
        refused: Vec<Refused>,
    },
    /// So many replays were ended.
    Stopped(usize),
    /// Nothing was done; why, in words.
    Error(String),
}

/// What is replayed out of one buffer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Begun {
    /// Its name.
    pub(crate) buffer: String,
    /// Where the records are.
    pub(crate) range: ReplayRange,
    /// How many there are.
    pub(crate) records: u64,
    /// The file that they are sent out of, where the ring has them no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<String>,
}

/// A buffer out of which nothing is replayed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refused {
    /// Its name.
    pub(crate) buffer: String,
    /// Why, in words.
    pub(crate) reason: String,
}

/// Asks every store in which the destination is open.
pub(crate) async fn ask(
    stores: &Stores,
    question: ReplayQuestion,
    now: WallClock,
) -> Result<ReplayAnswer, StoreEnded> {
    let ReplayQuestion {
        destination,
        buffer,
        wish,
        dead_letter: _,
    } = question;
    let asked: Vec<(&str, &StoreHandle)> = stores
        .iter()
        .filter(|(name, _)| buffer.as_deref().is_none_or(|buffer| buffer == *name))
        .collect();
    let Some(wish) = wish else {
        let mut count = None;
        for (_, store) in asked {
            if let Some(ended) = store.stop_replays(destination.clone()).await? {
                count = Some(count.unwrap_or(0) + ended);
            }
        }
        return Ok(count.map_or_else(|| unknown(&destination, buffer), ReplayAnswer::Stopped));
    };
    let by_number = wish.from_seq.is_some() || wish.to_seq.is_some();
    if by_number && asked.len() > 1 {
        let text = "each buffer counts its records by itself: say which one with --buffer NAME";
        return Ok(ReplayAnswer::Error(text.to_owned()));
    }
    let mark = u64::try_from(now.as_millis()).unwrap_or(0);
    let (mut begun, mut refused) = (Vec::new(), Vec::new());
    for (name, store) in asked {
        match store.replay(destination.clone(), wish, mark).await? {
            Some(Ok(Replayed { range, records })) => begun.push(Begun {
                buffer: name.to_owned(),
                range,
                records,
                file: None,
            }),
            Some(Err(reason)) => refused.push(Refused {
                buffer: name.to_owned(),
                reason,
            }),
            None => {}
        }
    }
    if begun.is_empty() {
        let reasons = refused.into_iter().map(|refused| refused.reason).next();
        return Ok(reasons.map_or_else(|| unknown(&destination, buffer), ReplayAnswer::Error));
    }
    Ok(if refused.is_empty() {
        ReplayAnswer::Begun(begun)
    } else {
        ReplayAnswer::Partly { begun, refused }
    })
}

fn unknown(destination: &str, buffer: Option<String>) -> ReplayAnswer {
    ReplayAnswer::Error(match buffer {
        Some(buffer) => {
            format!("there is no destination \"{destination}\" that takes from \"{buffer}\"")
        }
        None => format!("there is no destination \"{destination}\""),
    })
}

/// Carries the command out.
pub(crate) fn run(arguments: &ReplayArgs) -> ExitCode {
    let question = match question(arguments) {
        Ok(question) => question,
        Err(text) => return fail(&format!("hydrant: {text}"), EXIT_USAGE),
    };
    if arguments.offline {
        return offline(arguments, &question);
    }
    let socket = match &arguments.socket {
        Some(socket) => socket.clone(),
        None => config_files::control_socket(&arguments.config),
    };
    let runtime = match app::runtime() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("hydrant: no runtime: {error}"), 1),
    };
    match runtime.block_on(control::ask_replay(&socket, &question)) {
        Ok(answer) => tell(arguments, &answer),
        Err(error @ control::AskError::NotRunning(_)) => fail(
            &format!("hydrant: {error}; or add --offline to send the records from here"),
            1,
        ),
        Err(error) => fail(&format!("hydrant: {error}"), 1),
    }
}

/// What was typed, as a question; `Err` says what is wrong with it.
fn question(arguments: &ReplayArgs) -> Result<ReplayQuestion, String> {
    let wish = ReplayWish {
        since_ms: arguments.since.map(WallClock::as_millis),
        until_ms: arguments.until.map(WallClock::as_millis),
        from_seq: arguments.from_seq,
        to_seq: arguments.to_seq,
    };
    if arguments.stop {
        return Ok(ReplayQuestion {
            destination: arguments.destination.clone(),
            buffer: arguments.buffer.clone(),
            wish: None,
            dead_letter: false,
        });
    }
    if wish == ReplayWish::default() && !arguments.all && !arguments.dead_letter {
        return Err(
            "say which records: --since TIME, --until TIME, --from-seq N, --to-seq N, \
             --dead-letter, or --all"
                .to_owned(),
        );
    }
    let is_backwards = |first: Option<i64>, end: Option<i64>| {
        first.zip(end).is_some_and(|(first, end)| first >= end)
    };
    if is_backwards(wish.since_ms, wish.until_ms) {
        return Err("--until is not later than --since".to_owned());
    }
    let seqs = wish.from_seq.zip(wish.to_seq);
    if seqs.is_some_and(|(from, to)| from >= to) {
        return Err("--to-seq is not larger than --from-seq".to_owned());
    }
    Ok(ReplayQuestion {
        destination: arguments.destination.clone(),
        buffer: arguments.buffer.clone(),
        wish: Some(wish),
        dead_letter: arguments.dead_letter,
    })
}

/// Shows an answer.
fn tell(arguments: &ReplayArgs, answer: &ReplayAnswer) -> ExitCode {
    if arguments.json {
        let code = u8::from(matches!(answer, ReplayAnswer::Error(_)));
        return match serde_json::to_string_pretty(answer) {
            Ok(text) if code == 0 => print(&format!("{text}\n")),
            Ok(text) => {
                print(&format!("{text}\n"));
                ExitCode::from(code)
            }
            Err(error) => fail(&format!("hydrant: {error}"), 1),
        };
    }
    let destination = &arguments.destination;
    match answer {
        ReplayAnswer::Begun(begun) => print(&lines(arguments, begun, &[])),
        ReplayAnswer::Partly { begun, refused } => print(&lines(arguments, begun, refused)),
        ReplayAnswer::Stopped(count) => print(&format!(
            "{count} replays to \"{destination}\" ended; what was sent stays sent\n"
        )),
        ReplayAnswer::Error(text) => fail(&format!("hydrant: {text}"), 1),
    }
}

/// What begins and what does not, as lines.
fn lines(arguments: &ReplayArgs, begun: &[Begun], refused: &[Refused]) -> String {
    let destination = &arguments.destination;
    let mut lines: Vec<String> = begun
        .iter()
        .map(|begun| line(begun, destination, begun.buffer != DEFAULT_BUFFER))
        .collect();
    lines.extend(refused.iter().map(|refused| {
        let Refused { buffer, reason } = refused;
        format!("not from buffer \"{buffer}\": {reason}\n")
    }));
    if !arguments.offline {
        lines.push("watch it with \"hydrant status\"\n".to_owned());
    }
    lines.concat()
}

fn line(begun: &Begun, destination: &str, is_named: bool) -> String {
    if let Some(file) = &begun.file {
        let records = show::number(begun.records);
        return format!(
            "sending {records} records to \"{destination}\" out of {file}: the ring has them no \
             more\n"
        );
    }
    let range = &begun.range;
    let buffer = if is_named {
        format!(" in buffer \"{}\"", begun.buffer)
    } else {
        String::new()
    };
    format!(
        "{}replaying {} records of {} to {}{buffer} to \"{destination}\"\n",
        missing(range),
        show::number(begun.records),
        range.first,
        range.end.saturating_sub(1),
    )
}

/// What of a wish is overwritten already, as a line; empty when nothing is.
fn missing(range: &ReplayRange) -> String {
    if !range.is_cut {
        return String::new();
    }
    let since = range.oldest_ms.map_or_else(String::new, |oldest_ms| {
        format!(", received {}", WallClock::from_millis(oldest_ms))
    });
    format!(
        "what is older is overwritten: the oldest record that is left is {}{since}\n",
        range.oldest
    )
}

/// Delivers without an agent: with the same ring, the same destination and nothing else.
fn offline(arguments: &ReplayArgs, question: &ReplayQuestion) -> ExitCode {
    let config = match config_files::load(&arguments.config) {
        Ok((config, _)) => config,
        Err(problems) => return fail(&check::report(&problems), EXIT_USAGE),
    };
    if !config.destinations.contains_key(&question.destination) {
        let text = format!("there is no destination \"{}\"", question.destination);
        return fail(&format!("hydrant: {text}"), EXIT_USAGE);
    }
    app::start_log(config.agent.log_level);
    let clock = app::clock(&config);
    let stores = match app::open_stores(&config, clock) {
        Ok(opened) => opened,
        Err(text) => return fail(&format!("hydrant: {text}"), EXIT_STORAGE),
    };
    let runtime = match app::runtime() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("hydrant: no runtime: {error}"), 1),
    };
    let handles = stores.handles();
    let work = deliver_once(arguments, question, &config, clock, &handles);
    let outcome = LocalSet::new().block_on(&runtime, work);
    runtime.shutdown_background();
    let (text, failure) = match outcome {
        Ok(Ok(text)) => (text, None),
        Ok(Err(text)) => (String::new(), Some(text)),
        Err(StoreEnded) => (String::new(), Some("the store has ended".to_owned())),
    };
    print(&text);
    stores.end(failure)
}

/// Begins the replay, delivers it, and says how it went; `Err` says why there was nothing to do.
async fn deliver_once(
    arguments: &ReplayArgs,
    question: &ReplayQuestion,
    config: &Config,
    clock: Clock,
    stores: &Stores,
) -> Result<Result<String, String>, StoreEnded> {
    let name = &question.destination;
    let lanes = deliver::lanes(name, config, clock, stores).await?;
    let mut letter_files = Vec::new();
    let answer = match config.destinations.get(name) {
        Some(destination) if question.dead_letter => {
            let folder = destination.dead_letter.path.clone();
            let send = |files: Vec<LetterFile>| {
                letter_files.clone_from(&files);
                files
            };
            letters::ask(stores, question.clone(), folder, clock.wall(), send).await?
        }
        _ => ask(stores, question.clone(), clock.wall()).await?,
    };
    match answer {
        ReplayAnswer::Error(text) => return Ok(Err(text)),
        answer @ ReplayAnswer::Stopped(_) => {
            tell(arguments, &answer);
            return Ok(Ok(String::new()));
        }
        answer @ (ReplayAnswer::Begun(_) | ReplayAnswer::Partly { .. }) => tell(arguments, &answer),
    };
    let before = replayed_so_far(stores, name).await?;
    let (stop, shutdown) = watch::channel(false);
    let replays = async {
        for parts in &lanes {
            deliver::run_replays(parts, shutdown.clone()).await;
        }
        let mut sent = 0;
        for (file, parts) in letter_files.iter().zip(std::iter::repeat(lanes.first())) {
            let Some(parts) = parts else { continue };
            let mut shutdown = shutdown.clone();
            tokio::select! {
                outcome = deliver::send_letter_file(parts, file) => sent += outcome.sent,
                // The reactor that tells it lives until the end.
                _ = shutdown.wait_for(|end| *end) => break,
            }
        }
        sent
    };
    let mut replays = std::pin::pin!(replays);
    let (is_whole, sent) = tokio::select! {
        sent = &mut replays => (true, sent),
        _ = told_to_end() => {
            stop.send_replace(true);
            (false, replays.await)
        }
    };
    let count = replayed_so_far(stores, name).await?.saturating_sub(before) + sent;
    let count = show::number(count);
    Ok(Ok(if is_whole {
        format!("done: {count} records were delivered to \"{name}\" once more\n")
    } else {
        format!(
            "ended after {count} records; the rest is delivered when hydrant runs again, or given \
             up with --stop\n"
        )
    }))
}

async fn replayed_so_far(stores: &Stores, destination: &str) -> Result<u64, StoreEnded> {
    let statuses = stores.status().await?;
    let tallies = statuses.values();
    let tallies = tallies.filter_map(|status| status.destinations.get(destination));
    Ok(tallies
        .map(pipeline::tally::DestinationTally::replayed)
        .sum())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn check(typed: &str, expected: Result<ReplayWish, &str>) {
        let words = format!("hydrant replay --destination lake {typed}");
        let cli = Cli::try_parse_from(words.split_whitespace()).unwrap();
        let Command::Replay(arguments) = cli.command else {
            unreachable!("replay was typed");
        };
        match (question(&arguments), expected) {
            (Ok(question), Ok(wish)) => assert_eq!(question.wish, Some(wish), "{typed}"),
            (Err(text), Err(part)) => assert!(text.contains(part), "{text}"),
            (found, expected) => assert_eq!(found.is_ok(), expected.is_ok(), "{typed}: {found:?}"),
        }
    }

    #[test]
    fn a_wish_names_a_range() {
        let wish = ReplayWish::default();
        check("", Err("say which records"));
        check("--all", Ok(wish));
        check(
            "--from-seq 7 --to-seq 9",
            Ok(ReplayWish {
                from_seq: Some(7),
                to_seq: Some(9),
                ..wish
            }),
        );
        check("--from-seq 7 --to-seq 7", Err("--to-seq"));
        check(
            "--since 2026-11-20T10:00 --until 2026-11-20T10:00:01.5Z",
            Ok(ReplayWish {
                since_ms: Some(1_795_168_800_000),
                until_ms: Some(1_795_168_801_500),
                ..wish
            }),
        );
        check(
            "--since 2026-11-20T10:00 --until 2026-11-20T09:00",
            Err("--until"),
        );
    }
}

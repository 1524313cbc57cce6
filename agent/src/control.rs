//! The control socket: a unix socket that answers one line with one document.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::overview::Overview;
use crate::replay::{ReplayAnswer, ReplayQuestion};
use crate::telemetry::Status;

/// How many askers at once.
const ASKERS_MAX: usize = 8;

/// The longest question.
const QUESTION_BYTES_MAX: u64 = 1024;

/// The longest answer a client takes.
const ANSWER_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Begins a question about replays, which is JSON.
const REPLAY: &str = "replay ";

/// How long an asker may take to ask and to read.
const ASK_MAX: Duration = Duration::from_secs(5);

/// Binds the socket; a stale one of a killed agent is replaced.
pub(crate) fn bind(path: &Path) -> io::Result<UnixListener> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    // The ring's lock has shown that no other agent of this state directory runs.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

/// Answers for ever.
pub(crate) async fn serve(listener: UnixListener, overview: Rc<Overview>) {
    let askers = Arc::new(Semaphore::new(ASKERS_MAX));
    loop {
        let Ok(permit) = Arc::clone(&askers).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let overview = Rc::clone(&overview);
                tokio::task::spawn_local(async move {
                    // An asker that went away needs no answer.
                    drop(timeout(ASK_MAX, answer(stream, &overview)).await);
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "control socket");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn answer(mut stream: UnixStream, overview: &Overview) -> io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut question = String::new();
    BufReader::new(reader.take(QUESTION_BYTES_MAX))
        .read_line(&mut question)
        .await?;
    let answer = match question.trim() {
        "status" => match overview.status().await {
            Ok(status) => serde_json::to_vec(&status).map_err(io::Error::other)?,
            Err(_) => br#"{"error":"the store has ended"}"#.to_vec(),
        },
        question => match question.strip_prefix(REPLAY).map(serde_json::from_str) {
            Some(Ok(question)) => {
                let answer = overview.replay(question).await;
                serde_json::to_vec(&answer).map_err(io::Error::other)?
            }
            _ => br#"{"error":"unknown question"}"#.to_vec(),
        },
    };
    writer.write_all(&answer).await?;
    writer.shutdown().await
}

/// Why a running agent could not be asked.
#[derive(Debug)]
pub(crate) enum AskError {
    /// Nobody listens there.
    NotRunning(PathBuf),
    /// The socket may not be opened.
    NotAllowed(PathBuf),
    /// No answer, or not one of ours.
    NoAnswer(String),
}

impl std::fmt::Display for AskError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotRunning(path) => write!(
                f,
                "no agent answers at {}; start one with \"hydrant run\" (or \"systemctl start \
                 hydrant\"), or name its configuration with --config",
                path.display()
            ),
            Self::NotAllowed(path) => write!(
                f,
                "{} may not be opened; ask as root or as a member of its group",
                path.display()
            ),
            Self::NoAnswer(why) => write!(f, "the agent gave no answer: {why}"),
        }
    }
}

impl std::error::Error for AskError {}

/// Asks a running agent how things stand.
pub(crate) async fn ask_status(path: &Path) -> Result<Status, AskError> {
    ask(path, "status").await
}

/// Asks a running agent to deliver records once more, or to end that.
pub(crate) async fn ask_replay(
    path: &Path,
    question: &ReplayQuestion,
) -> Result<ReplayAnswer, AskError> {
    let question = serde_json::to_string(question);
    let question = question.map_err(|error| AskError::NoAnswer(error.to_string()))?;
    ask(path, &format!("{REPLAY}{question}")).await
}

async fn ask<T: DeserializeOwned>(path: &Path, question: &str) -> Result<T, AskError> {
    let ask = async {
        let mut stream = UnixStream::connect(path).await?;
        stream.write_all(format!("{question}\n").as_bytes()).await?;
        let mut answer = Vec::new();
        stream
            .take(ANSWER_BYTES_MAX)
            .read_to_end(&mut answer)
            .await?;
        Ok::<_, io::Error>(answer)
    };
    let answer = match timeout(ASK_MAX, ask).await {
        Err(_) => return Err(AskError::NoAnswer("it took too long".to_owned())),
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => {
            let kind = error.kind();
            let not_running = [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused];
            return Err(if not_running.contains(&kind) {
                AskError::NotRunning(path.to_owned())
            } else if kind == io::ErrorKind::PermissionDenied {
                AskError::NotAllowed(path.to_owned())
            } else {
                AskError::NoAnswer(error.to_string())
            });
        }
    };
    serde_json::from_slice(&answer).map_err(|error| AskError::NoAnswer(error.to_string()))
}

//! Runs the program that prints keys.
//!
//! No shell is asked. What it prints is kept from the log; of what it says when it fails the last
//! line is told.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use pipeline::destination::credentials::{Granted, process};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;
use tokio::time::timeout;

/// How long it may take; a helper with a smart card takes seconds.
const TIME_MAX: Duration = Duration::from_mins(1);

/// No more of what it prints is read.
const BYTES_MAX: u64 = 64 * 1024;

/// A program that does not outlive its use, nor do those that it started.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended is not there any more, which is as well.
        kill_process_group(Pid::from_child(&self.0), Signal::KILL).ok();
        self.0.wait().ok();
    }
}

/// The keys that the program `words` prints; an error says what it did instead.
pub(super) async fn run(words: &[String]) -> Result<Granted, String> {
    let (status, printed, said) = match timeout(TIME_MAX, finish(words)).await {
        Ok(finished) => finished.map_err(|error| format!("cannot be run: {error}"))?,
        Err(_) => return Err(format!("did not end in {} s", TIME_MAX.as_secs())),
    };
    if !status.success() {
        return Err(match process::complaint(&said).as_str() {
            "" => format!("failed ({status})"),
            complaint => format!("failed ({status}): {complaint}"),
        });
    }
    process::read(&printed)
}

async fn finish(words: &[String]) -> io::Result<(ExitStatus, Vec<u8>, Vec<u8>)> {
    let (program, arguments) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let mut running = Running(child);
    let printed = running.0.stdout.take().map(OwnedFd::from);
    let said = running.0.stderr.take().map(OwnedFd::from);
    let (printed, said) = tokio::try_join!(read(printed), read(said))?;
    // Both ends are closed: it has ended, or is about to.
    let status = tokio::task::spawn_blocking(move || running.0.wait()).await;
    Ok((status.map_err(io::Error::other)??, printed, said))
}

async fn read(pipe: Option<OwnedFd>) -> io::Result<Vec<u8>> {
    let pipe = pipe.ok_or(io::ErrorKind::BrokenPipe)?;
    let mut bytes = Vec::new();
    let mut limited = Receiver::from_owned_fd(pipe)?.take(BYTES_MAX);
    limited.read_to_end(&mut bytes).await?;
    Ok(bytes)
}

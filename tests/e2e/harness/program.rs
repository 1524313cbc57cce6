//! Programs that end with the test.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

use super::wait_until;

/// A running program with its output in a file; killed when dropped.
pub(crate) struct Program {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts a program that also dies with the test, however the test ends.
    ///
    /// Must be called on the thread that keeps the program: the kernel ties the two together.
    pub(crate) fn start(folder: &Path, name: &str, command: &Command) -> Self {
        let log = folder.join(format!("{name}.log"));
        let output = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        let mut tied = Command::new("setpriv");
        tied.args(["--pdeathsig", "KILL", "--"])
            .arg(command.get_program());
        tied.args(command.get_args()).env("PATH", search_path());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => tied.env(key, value),
                None => tied.env_remove(key),
            };
        }
        tied.stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output);
        let child = tied
            .spawn()
            .unwrap_or_else(|e| panic!("{name}: {e}; see tests/run"));
        Program {
            name: name.to_owned(),
            child,
            log,
        }
    }

    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap()).into_owned()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Fails, with what the program said, if it has ended.
    pub(crate) fn check(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            panic!("{} ended with {status}:\n{}", self.name, self.log());
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn try_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    pub(crate) fn ended(&mut self) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        wait_until(&what, || self.try_ended())
    }

    /// Waits until the program has said something.
    pub(crate) fn wait_for_line(&mut self, text: &str) {
        let what = format!("{text:?} from {}", self.name);
        wait_until(&what, || {
            self.check();
            self.log().contains(text).then_some(())
        });
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if thread::panicking() {
            let log = self.log();
            let from = log.char_indices().rev().nth(4_000).map_or(0, |(at, _)| at);
            eprintln!("--- {} said:\n{}", self.name, &log[from..]);
        }
    }
}

/// Runs a program to its end, which must be a good one.
pub(crate) fn run<S: AsRef<OsStr>>(program: &str, args: &[S]) -> Output {
    run_with(program, args, b"")
}

/// Runs a program with this input to its end, which must be a good one.
pub(crate) fn run_with<S: AsRef<OsStr>>(program: &str, args: &[S], input: &[u8]) -> Output {
    let mut child = Command::new(program)
        .args(args)
        .env("PATH", search_path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{program}: {e}; see tests/run"));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // A program that does not read its input is not an error.
    let feeder = thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    assert!(
        output.status.success(),
        "{program} ended with {}:\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// The Python that tests/run prepared.
pub(crate) fn python() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let path = std::env::var_os("HYDRANT_TEST_PYTHON")
        .map_or_else(|| root.join("target/venv/bin/python"), PathBuf::from);
    assert!(
        path.exists(),
        "{} is missing: call tests/run once",
        path.display()
    );
    path
}

/// Whether the long runs were asked for.
pub(crate) fn long() -> bool {
    std::env::var_os("HYDRANT_TEST_LONG").is_some()
}

/// Daemons live where the search path of a user does not look.
fn search_path() -> String {
    format!(
        "{}:/usr/local/sbin:/usr/sbin:/sbin",
        std::env::var("PATH").unwrap()
    )
}

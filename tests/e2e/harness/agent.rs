//! The binary under test.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use super::{Program, wait_until, write};

/// The binary of this build, or the one that `HYDRANT_TEST_BINARY` names.
fn binary() -> OsString {
    std::env::var_os("HYDRANT_TEST_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_hydrant").into())
}

/// How a call of the binary ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Calls the binary and waits for its end.
pub(crate) fn hydrant(args: &[&str]) -> Outcome {
    let output = Command::new(binary()).args(args).output().unwrap();
    Outcome {
        code: output.status.code().expect("ended by itself"),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// An agent with its folder, which outlives its restarts.
pub(crate) struct Agent {
    folder: PathBuf,
    config: PathBuf,
    /// Whether its clock is believed: `trusted`, as long as a test is not about that.
    clock: &'static str,
    program: Option<Program>,
}

impl Agent {
    /// An agent with these sources and destinations, and a ring of 16 MiB; not started.
    pub(crate) fn new(folder: &Path, rest: &str) -> Self {
        Agent::with_ring(folder, "16MiB", rest)
    }

    pub(crate) fn with_ring(folder: &Path, size: &str, rest: &str) -> Self {
        let agent = Agent {
            folder: folder.to_path_buf(),
            config: folder.join("hydrant.toml"),
            clock: "trusted",
            program: None,
        };
        agent.configure(size, rest);
        agent
    }

    /// An agent that believes its clock only once somebody confirms it.
    pub(crate) fn with_doubts(folder: &Path, rest: &str) -> Self {
        let mut agent = Agent::new(folder, rest);
        agent.clock = "auto";
        agent.configure("16MiB", rest);
        agent
    }

    /// Writes another configuration, which counts from the next start or reload on.
    pub(crate) fn configure(&self, ring: &str, rest: &str) {
        let folder = self.folder.display();
        write(
            &self.config,
            format!(
                "[agent]\nid = \"gateway\"\nstate_dir = \"{folder}/state\"\n\
                 control_socket = \"{folder}/control.sock\"\nlog_level = \"debug\"\n\
                 clock = \"{}\"\n[buffer]\nsize = \"{ring}\"\nsync_delay_max = \"50ms\"\n{rest}",
                self.clock
            ),
        );
    }

    pub(crate) fn config(&self) -> &str {
        self.config.to_str().unwrap()
    }

    /// Starts it; it need not be ready.
    pub(crate) fn launch(&mut self) {
        self.launch_under(&["setpriv", "--pdeathsig", "KILL"]);
    }

    /// Starts it by another program that sets up what it meets.
    pub(crate) fn launch_under(&mut self, wrapper: &[&str]) {
        let mut command = Command::new(wrapper[0]);
        command
            .args(&wrapper[1..])
            .arg(binary())
            .args(["run", "--config"])
            .arg(&self.config);
        self.program = Some(Program::start(&self.folder, "hydrant", &command));
    }

    /// Starts it and waits until it is ready.
    pub(crate) fn start(&mut self) {
        self.launch();
        self.ready();
    }

    /// Waits until it answers and no source complains; that there is no file yet is well.
    pub(crate) fn ready(&mut self) {
        wait_until("an agent whose sources are ready", || {
            self.program().check();
            let status = self.ask()?;
            let sources = status["sources"].as_object().unwrap();
            let well = |error: &str| error.starts_with("nothing matches");
            let is_ready = |source: &Value| {
                source["error"].as_str().is_none_or(well) && source["starting"] == false
            };
            sources.values().all(is_ready).then_some(())
        });
    }

    /// What `status --json` says; `None` while it cannot be asked.
    pub(crate) fn ask(&self) -> Option<Value> {
        let socket = self.folder.join("control.sock");
        let outcome = hydrant(&["status", "--socket", socket.to_str().unwrap(), "--json"]);
        (outcome.code == 0).then(|| serde_json::from_str(&outcome.stdout).unwrap())
    }

    pub(crate) fn status(&self) -> Value {
        self.ask().expect("the agent answers")
    }

    /// A number of the status, by section, name and counter.
    pub(crate) fn count(&self, section: &str, name: &str, counter: &str) -> u64 {
        let status = self.status();
        status[section][name][counter]
            .as_u64()
            .unwrap_or_else(|| panic!("no {section}.{name}.{counter} in {status}"))
    }

    /// Waits until a source or destination complains about something.
    pub(crate) fn wait_for_error(&self, section: &str, name: &str, words: &[&str]) -> String {
        wait_until(
            &format!("an error of {section}.{name} with {words:?}"),
            || {
                let error = self.ask()?[section][name]["error"].as_str()?.to_lowercase();
                words
                    .iter()
                    .all(|word| error.contains(&word.to_lowercase()))
                    .then_some(error)
            },
        )
    }

    pub(crate) fn wait_for_count(&self, section: &str, name: &str, counter: &str, least: u64) {
        wait_until(&format!("{section}.{name}.{counter} of {least}"), || {
            (self.ask()?[section][name][counter].as_u64()? >= least).then_some(())
        });
    }

    pub(crate) fn signal(&mut self, signal: Signal) {
        self.program().signal(signal);
    }

    /// Asks it to end, as systemd does, and holds it to the promised time.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        let asked = Instant::now();
        self.signal(Signal::TERM);
        let status = self.program().ended();
        assert!(
            asked.elapsed() < Duration::from_secs(6),
            "took {:?} to end",
            asked.elapsed()
        );
        self.program = None;
        status
    }

    /// Ends it as a power cut would, but for the pages the kernel holds.
    pub(crate) fn kill(&mut self) {
        self.program().kill();
        self.program = None;
    }

    pub(crate) fn ended(&mut self) -> ExitStatus {
        let status = self.program().ended();
        self.program = None;
        status
    }

    /// How it ended, if it has.
    pub(crate) fn try_ended(&mut self) -> Option<ExitStatus> {
        self.program().try_ended()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("hydrant.log")).unwrap()
    }

    pub(crate) fn check(&mut self) {
        self.program().check();
    }

    /// The most memory it ever held, in KiB.
    pub(crate) fn memory_peak_kib(&mut self) -> u64 {
        self.memory_kib("VmHWM")
    }

    /// What the kernel says of its memory under this name, in KiB.
    pub(crate) fn memory_kib(&mut self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.program().pid())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// Processor time it used so far, in ticks of 10 ms.
    pub(crate) fn processor_ticks(&mut self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.program().pid())).unwrap();
        let numbers = stat.rsplit(") ").next().unwrap();
        let ticks = numbers
            .split(' ')
            .skip(11)
            .take(2)
            .map(|text| text.parse::<u64>().unwrap());
        ticks.sum()
    }

    fn program(&mut self) -> &mut Program {
        self.program.as_mut().expect("the agent was started")
    }
}

//! A running agent, seen from outside.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Clock ticks in a second, as `/proc` counts them on every Linux.
const TICKS: f64 = 100.0;

/// Whatever takes longer has failed.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);

/// The agent, with a folder and a configuration of its own.
pub(crate) struct Agent {
    child: Child,
    metrics: SocketAddr,
    pub(crate) started: Instant,
}

/// What an agent has used so far.
pub(crate) struct Used {
    /// Seconds of all its threads, in user mode and in the kernel.
    pub(crate) user: f64,
    pub(crate) system: f64,
    /// The most memory that was resident, in MiB.
    pub(crate) peak: f64,
}

/// An empty folder for a part of the benchmark, on the disk on which the build is.
pub(crate) fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("main_job")
        .join(name);
    drop(fs::remove_dir_all(&folder));
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// A loopback address that nobody uses.
pub(crate) fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

impl Agent {
    /// Starts `binary` with its state in `folder`; `config` has the sources and destinations.
    pub(crate) fn start(binary: &Path, folder: &Path, config: &str) -> Self {
        Self::start_by(Command::new(binary), folder, config).unwrap()
    }

    /// The same on a disk that takes so many milliseconds longer to sync; nothing without strace.
    pub(crate) fn start_slow(binary: &Path, folder: &Path, config: &str, ms: u64) -> Option<Self> {
        let mut command = Command::new("strace");
        command
            .args(["-D", "-f", "-qq", "--seccomp-bpf", "-o", "/dev/null"])
            .args(["-e", "trace=fdatasync", "-e"])
            .arg(format!("inject=fdatasync:delay_exit={}", ms * 1000))
            .arg(binary);
        Self::start_by(command, folder, config).ok()
    }

    fn start_by(mut command: Command, folder: &Path, config: &str) -> io::Result<Self> {
        let metrics = free_address();
        let state = folder.display();
        let config = format!(
            "[agent]\nid = \"bench\"\nstate_dir = \"{state}/state\"\n\
             control_socket = \"{state}/control.sock\"\nmetrics_listen = \"{metrics}\"\n\
             log_level = \"warn\"\nclock = \"trusted\"\n{config}"
        );
        fs::create_dir_all(folder.join("state")).unwrap();
        let path = folder.join("hydrant.toml");
        write_file(&path, config.as_bytes());
        let log = File::create(folder.join("log")).unwrap();
        let child = command
            .arg("run")
            .arg("--config")
            .arg(&path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        Ok(Self {
            child,
            metrics,
            started: Instant::now(),
        })
    }

    /// The counters, by name and labels; nothing while the agent is starting.
    pub(crate) fn counters(&self) -> BTreeMap<String, u64> {
        let mut answer = String::new();
        let asked = TcpStream::connect(self.metrics).and_then(|mut stream| {
            stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: bench\r\n\r\n")?;
            stream.read_to_string(&mut answer)
        });
        if asked.is_err() {
            return BTreeMap::new();
        }
        answer
            .lines()
            .filter_map(|line| {
                let (name, value) = line.strip_prefix("hydrant_")?.rsplit_once(' ')?;
                Some((name.to_owned(), value.parse().ok()?))
            })
            .collect()
    }

    /// One counter, summed over its labels unless they are named; 0 while there is none.
    pub(crate) fn counter(&self, name: &str) -> u64 {
        sum(&self.counters(), name)
    }

    /// Waits until a counter has reached `value`; false when that takes too long.
    pub(crate) fn wait_for(&self, name: &str, value: u64) -> bool {
        let since = Instant::now();
        while self.counter(name) < value {
            if since.elapsed() > PATIENCE {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        true
    }

    /// What it has used so far.
    pub(crate) fn used(&self) -> Used {
        let stat = self.proc("stat");
        // The name in brackets may have spaces.
        let (_, numbers) = stat.rsplit_once(") ").unwrap();
        let field = |n: usize| -> f64 { numbers.split(' ').nth(n).unwrap().parse().unwrap() };
        Used {
            user: field(11) / TICKS,
            system: field(12) / TICKS,
            peak: self.memory("VmHWM"),
        }
    }

    /// A kind of memory of `/proc/PID/status`, in MiB.
    pub(crate) fn memory(&self, kind: &str) -> f64 {
        let kib = status_number(&self.proc("status"), kind).unwrap_or(0);
        kib as f64 / 1024.0
    }

    /// How often its threads have waited for something.
    pub(crate) fn waits(&self) -> u64 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        tasks
            .filter_map(|task| fs::read_to_string(task.ok()?.path().join("status")).ok())
            .filter_map(|status| status_number(&status, "voluntary_ctxt_switches"))
            .sum()
    }

    /// How many threads it has.
    pub(crate) fn threads(&self) -> u64 {
        status_number(&self.proc("status"), "Threads").unwrap_or(0)
    }

    fn proc(&self, name: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{name}", self.child.id())).unwrap()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(pid) = Pid::from_raw(self.child.id().cast_signed()) {
            kill_process(pid, Signal::TERM).ok();
        }
        drop(self.child.wait());
    }
}

/// A counter among others, summed over its labels unless they are named.
pub(crate) fn sum(counters: &BTreeMap<String, u64>, name: &str) -> u64 {
    let is_asked = |found: &str| found.split('{').next() == Some(name) || found == name;
    let series = counters.iter().filter(|(found, _)| is_asked(found));
    series.map(|(_, value)| value).sum()
}

/// Writes a file that is only read by what the benchmark starts.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) {
    File::create(path).unwrap().write_all(bytes).unwrap();
}

fn status_number(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find(|line| line.starts_with(name))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

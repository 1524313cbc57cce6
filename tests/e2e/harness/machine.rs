//! A machine whose clock, boot and time daemon a test decides about, around the real binary.
//!
//! libfaketime changes what the C library says of the calendar and nothing else; a time namespace
//! changes how long the machine has been running; mounts of its own show another boot and another
//! time daemon. The binary knows nothing of all this.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Agent, Folder, write};

/// The loader puts in the folder of the libraries of the binary's kind.
const FAKETIME: &str = "/usr/$LIB/faketime/libfaketimeMT.so.1";

/// What the machine says.
pub(crate) struct Machine {
    folder: PathBuf,
    boots: u8,
    /// How long it ran when the host had run so long as now; what a time namespace adds.
    boottime_offset_s: i64,
    wall_offset_s: i64,
    /// Starts what runs beside the agent, in a network of their own.
    beside: String,
}

impl Machine {
    /// A machine that has just booted, with the right time on its clock and no time daemon.
    ///
    /// `None`, with a word about it, where the test cannot make one.
    pub(crate) fn boot(folder: &Folder) -> Option<Self> {
        let namespaces = Command::new("unshare")
            .args(["--mount", "--time", "--boottime", "0", "true"])
            .output();
        let has_namespaces = namespaces.is_ok_and(|output| output.status.success());
        let has_faketime = Command::new("faketime").arg("--version").output().is_ok();
        if !has_namespaces || !has_faketime || std::env::var_os("HYDRANT_TEST_BINARY").is_some() {
            eprintln!("SKIPPED: it needs root, time namespaces, faketime and a dynamic binary");
            return None;
        }
        let mut machine = Machine {
            folder: folder.make("machine"),
            boots: 0,
            boottime_offset_s: 0,
            wall_offset_s: 0,
            beside: String::new(),
        };
        fs::create_dir_all(machine.folder.join("timesync")).unwrap();
        machine.reboot();
        Some(machine)
    }

    /// Another boot, half a minute ago; counts for the agent's next start.
    pub(crate) fn reboot(&mut self) {
        self.boots += 1;
        let id = format!(
            "{0:02x}{0:02x}{0:02x}{0:02x}-0000-4000-8000-000000000000\n",
            self.boots
        );
        write(&self.folder.join("boot_id"), id);
        let uptime = fs::read_to_string("/proc/uptime").unwrap();
        let seconds: i64 = uptime.split('.').next().unwrap().parse().unwrap();
        self.boottime_offset_s = 30 - seconds;
        fs::remove_file(self.folder.join("timesync/synchronized")).ok();
        self.set_wall(self.wall_offset_s);
    }

    /// How the agent shows this boot.
    pub(crate) fn boot_id(&self) -> String {
        format!(
            "{0:02x}{0:02x}{0:02x}{0:02x}000040008000000000000000",
            self.boots
        )
    }

    /// Sets the clock so many seconds before or after the truth, while the agent runs or not.
    pub(crate) fn set_wall(&mut self, offset_s: i64) {
        self.wall_offset_s = offset_s;
        let next = self.folder.join("faketime.next");
        write(&next, format!("{offset_s:+}\n"));
        fs::rename(next, self.folder.join("faketime")).unwrap();
    }

    /// Sets the clock to 1970, a minute after midnight.
    pub(crate) fn set_1970(&mut self) {
        self.set_wall(60 - i64::try_from(now().as_secs()).unwrap());
    }

    /// Its time daemon sets the clock right, and says so.
    pub(crate) fn synchronize(&mut self) {
        self.set_wall(0);
        let file = File::create(self.folder.join("timesync/synchronized")).unwrap();
        file.set_modified(SystemTime::now()).unwrap();
    }

    /// Runs chronyd with each of these configurations beside the agent, from its next start on;
    /// none of them touches a clock. The machine then has a network of its own.
    ///
    /// False, with a word about it, where there is no chronyd.
    pub(crate) fn run_chronyd(&mut self, configurations: &[&str]) -> bool {
        let find = "PATH=$PATH:/usr/sbin:/sbin command -v chronyd";
        let found = Command::new("sh").args(["-c", find]).output().unwrap();
        if !found.status.success() {
            eprintln!("SKIPPED: there is no chronyd");
            return false;
        }
        let chronyd = String::from_utf8(found.stdout).unwrap();
        self.beside = "ip link set lo up && ".to_owned();
        for (number, configuration) in configurations.iter().enumerate() {
            let file = self.folder.join(format!("chrony{number}.conf"));
            let own = format!("bindcmdaddress /\npidfile {}.pid\n", file.display());
            write(&file, format!("{configuration}{own}"));
            // It dies with the agent, which the shell becomes.
            let start = format!(
                "{{ setpriv --pdeathsig KILL {} -x -n -u root -f {} & }} && ",
                chronyd.trim(),
                file.display()
            );
            self.beside.push_str(&start);
        }
        true
    }

    /// Starts an agent on it, and waits until it is ready.
    pub(crate) fn start(&self, agent: &mut Agent) {
        self.launch(agent);
        agent.ready();
    }

    fn launch(&self, agent: &mut Agent) {
        let at = |name: &str| self.folder.join(name).to_str().unwrap().to_owned();
        let script = format!(
            "{}mount --bind {} /proc/sys/kernel/random/boot_id && mount -t tmpfs none /run && \
             mkdir -p /run/systemd/timesync && mount --bind {} /run/systemd/timesync && \
             exec env 'LD_PRELOAD={FAKETIME}' FAKETIME_TIMESTAMP_FILE={} FAKETIME_NO_CACHE=1 \
             FAKETIME_DONT_FAKE_MONOTONIC=1 DONT_FAKE_MONOTONIC=1 NO_FAKE_STAT=1 \"$@\"",
            self.beside,
            at("boot_id"),
            at("timesync"),
            at("faketime"),
        );
        let offset = self.boottime_offset_s.to_string();
        let mut wrapper = vec!["unshare", "--mount", "--time", "--boottime", &offset];
        if !self.beside.is_empty() {
            wrapper.push("--net");
        }
        wrapper.extend(["sh", "-c", &script, "sh"]);
        agent.launch_under(&wrapper);
    }
}

/// What time it really is, since 1970.
pub(crate) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

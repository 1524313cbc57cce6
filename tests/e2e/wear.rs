//! What reaches the device under an ext4 file system, against what the agent counts; and a budget
//! for it.
//!
//! The first needs root and a loop device; a machine that lacks one skips it, and says so.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::{Agent, Folder, Receiver, append, hydrant, never_within, run, wait_until};

const PAGE: u64 = 4096;

/// An ext4 file system of its own device, unmounted and detached at the end.
struct Disk {
    device: String,
    mounted: Option<PathBuf>,
}

impl Disk {
    /// `Err` says why this machine cannot have one.
    fn mount(folder: &Folder) -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("it needs root".to_owned());
        }
        let image = folder.text("disk.img");
        run("truncate", &["-s", "128M", &image]);
        let device = told("losetup", &["--find", "--show", &image])?;
        let mut disk = Self {
            device: device.trim().to_owned(),
            mounted: None,
        };
        let whole = "lazy_itable_init=0,lazy_journal_init=0";
        run(
            "mkfs.ext4",
            &["-q", "-b", "4096", "-E", whole, &disk.device],
        );
        let point = folder.make("state");
        told("mount", &[&disk.device, point.to_str().unwrap()])?;
        disk.mounted = Some(point);
        Ok(disk)
    }

    /// Bytes that were written to the device so far.
    fn written(&self) -> u64 {
        let name = Path::new(&self.device).file_name().unwrap();
        let stat = Path::new("/sys/block").join(name).join("stat");
        let stat = fs::read_to_string(stat).unwrap();
        let sectors = stat.split_whitespace().nth(6).unwrap();
        sectors.parse::<u64>().unwrap() * 512
    }

    /// Writes what the file system holds back.
    fn settle(&self) {
        run(
            "sync",
            &["-f", self.mounted.as_ref().unwrap().to_str().unwrap()],
        );
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Some(point) = &self.mounted
            && told("umount", &[point.to_str().unwrap()]).is_err()
        {
            drop(told("umount", &["--lazy", point.to_str().unwrap()]));
        }
        if let Err(error) = told("losetup", &["--detach", &self.device]) {
            eprintln!("{} stays: {error}", self.device);
        }
    }
}

/// What a program prints; `Err` is what it complains about.
fn told(program: &str, args: &[&str]) -> Result<String, String> {
    let output = Command::new(program)
        .args(args)
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!(
            "{program}: {}",
            String::from_utf8_lossy(&output.stderr)
        ))
    }
}

/// Counters of the agent and of the device at a moment when all is durable.
#[derive(Clone, Copy)]
struct Moment {
    at: Instant,
    device: u64,
    written: u64,
    syncs: u64,
    used: u64,
    ever: u64,
}

struct Worn {
    disk: Disk,
    agent: Agent,
    input: PathBuf,
    lines: u64,
}

impl Worn {
    fn look(&self) -> Moment {
        let status = self.agent.status();
        let buffer = &status["buffers"]["default"];
        let count = |name: &str| buffer[name].as_u64().unwrap();
        Moment {
            at: Instant::now(),
            device: self.disk.written(),
            written: count("written_bytes"),
            syncs: count("syncs"),
            used: count("used_bytes"),
            ever: buffer["wear"]["written_bytes_ever"].as_u64().unwrap(),
        }
    }

    /// Adds lines that hardly compress, `each` at a time, and waits each time until they are
    /// durable; gives what that has cost.
    fn feed(&mut self, times: u64, each: u64) -> (Moment, Moment) {
        self.disk.settle();
        let before = self.look();
        for _ in 0..times {
            let lines: String = (0..each).map(|index| line(self.lines + index)).collect();
            append(&self.input, lines);
            self.lines += each;
            wait_until("every line durable", || {
                let status = self.agent.ask()?;
                let durable = status["buffers"]["default"]["durable_seq"].as_u64()?;
                (durable == self.lines).then_some(())
            });
        }
        (before, self.look())
    }
}

fn line(number: u64) -> String {
    let mut state = number + 1;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        char::from(b'!' + u8::try_from(state % 94).unwrap())
    });
    noise.take(150).chain(['\n']).collect()
}

/// Compares what the device got with what the agent counts and what is promised, `pages_more` for
/// each sync apart.
fn check(what: &str, (before, after): (Moment, Moment), pages_more: u64) {
    let device = after.device - before.device;
    let (written, syncs) = (after.written - before.written, after.syncs - before.syncs);
    let stored = after.used - before.used;
    // The file system commits its journal every 5 s, a few pages each time.
    let took = after.at - before.at;
    let times = (took.as_secs() / 5 + 1) * 6 * PAGE;
    let promised = stored * 11 / 10 + syncs * PAGE;
    eprintln!(
        "{what}: device {device}, agent {written}, promised {promised} for {stored} stored in \
         {syncs} syncs, {took:.1?}"
    );
    // The page that is begun is stored, and written at home later.
    assert!(written <= promised + PAGE, "{what}: the agent writes more");
    assert!(device >= written, "{what}: the agent counts too much");
    assert!(
        device <= promised + PAGE + syncs * pages_more * PAGE + times,
        "{what}: the device gets more"
    );
}

#[test]
fn the_device_gets_what_is_promised() {
    let folder = Folder::new();
    let disk = match Disk::mount(&folder) {
        Ok(disk) => disk,
        Err(why) => {
            eprintln!("SKIPPED the_device_gets_what_is_promised: no file system of its own: {why}");
            return;
        }
    };
    let receiver = Receiver::start_down();
    let input = folder.join("input.log");
    let config = format!(
        "[sources.app]\ntype = \"file\"\npaths = [\"{}\"]\n{}",
        input.display(),
        receiver.destination("lake")
    );
    let agent = Agent::new(folder.path(), &config);
    let mut worn = Worn {
        disk,
        agent,
        input,
        lines: 0,
    };
    worn.disk.settle();
    let before = worn.disk.written();
    worn.agent.start();
    worn.disk.settle();
    let start = worn.disk.written() - before;
    eprintln!("creation: device {start}");
    assert!(start <= 100 * PAGE, "creation: {start} bytes");

    // Where the file was never written, ext4 notes in its journal that it is now.
    let cost = worn.feed(40, 1);
    check("first lap, quiet", cost, 4);
    let cost = worn.feed(4, 4000);
    check("first lap, busy", cost, 8);

    let ever = worn.look().ever;
    assert!(worn.agent.stop().success());
    let ring = folder.join("state/buffer.ring");
    let content = fs::read(&ring).unwrap();
    let file = fs::File::options().write(true).open(&ring).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &content, 0).unwrap();
    drop(file);
    worn.disk.settle();
    let before = worn.disk.written();
    worn.agent.start();
    worn.disk.settle();
    let start = worn.disk.written() - before;
    eprintln!("start: device {start}");
    assert!(start <= 40 * PAGE, "start: {start} bytes");
    let on = worn.look().ever - ever;
    assert!(
        on <= 20 * PAGE,
        "{on} bytes more are counted after a restart"
    );

    let cost = worn.feed(100, 1);
    check("quiet", cost, 0);
    let cost = worn.feed(4, 4000);
    check("busy", cost, 0);
    assert!(worn.agent.stop().success());
}

#[test]
fn a_small_budget_makes_syncs_wait() {
    let folder = Folder::new();
    let receiver = Receiver::start_down();
    let input = folder.join("input.log");
    let config = format!(
        "write_budget = \"16MiB/day\"\n\
         [sources.app]\ntype = \"file\"\npaths = [\"{}\"]\n{}",
        input.display(),
        receiver.destination("lake")
    );
    let mut agent = Agent::with_ring(folder.path(), "4MiB", &config);
    agent.start();
    let taken = |agent: &Agent, lines: u64| {
        wait_until("every line in the ring", || {
            (agent.ask()?["buffers"]["default"]["next_seq"] == lines).then_some(())
        });
    };
    append(&input, line(0));
    taken(&agent, 1);
    never_within(Duration::from_secs(2), "a sync that did not wait", || {
        agent.status()["buffers"]["default"]["durable_seq"] != 0
    });
    let status = agent.status();
    let wear = &status["buffers"]["default"]["wear"];
    assert_eq!(wear["budget_bytes_per_day"], 16 << 20, "{wear}");
    assert_eq!(wear["budget_exceeded"], false, "{wear}");
    assert!(wear["sync_pause_ms"].as_u64().unwrap() > 2000, "{wear}");
    // Making room does not wait, nor does stopping.
    let lines: String = (1..40_000).map(line).collect();
    append(&input, lines);
    taken(&agent, 40_000);
    let status = agent.status();
    let wear = &status["buffers"]["default"]["wear"];
    assert_eq!(wear["budget_exceeded"], true, "{wear}");
    assert_ne!(status["destinations"]["lake"]["evicted"], 0);
    assert!(agent.stop().success());
    assert_eq!(agent.log().matches("cannot be kept").count(), 1);
    let ring = folder.text("state/buffer.ring");
    let info = hydrant(&["ring", "info", "--json", &ring]).stdout;
    assert!(info.contains("\"next_seq\": 40000"), "{info}");
    assert!(info.contains("\"written_bytes_ever\": "), "{info}");
}

//! Whether this machine can make disks for a test, and what a killed run has left on it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Once;

/// The programs that make, connect and repair disks.
const PROGRAMS: &[&str] = &[
    "qemu-storage-daemon",
    "losetup",
    "mkfs.ext4",
    "e2fsck",
    "debugfs",
    "mount",
    "umount",
];

/// Whether leftovers were looked for.
static SWEPT: Once = Once::new();

/// True when disks can be made; otherwise says why this test is skipped.
///
/// The first call takes away what killed runs have left behind.
pub(crate) fn can_make_disks() -> bool {
    if let Some(reason) = obstacle() {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("a test");
        // Not by `eprintln!`, which is shown for failed tests only.
        drop(writeln!(io::stderr(), "cuts: SKIPPED {name}: {reason}"));
        return false;
    }
    SWEPT.call_once(sweep);
    true
}

/// Why no disk can be made here.
fn obstacle() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("mounting needs root".to_owned());
    }
    for device in ["/dev/fuse", "/dev/loop-control"] {
        if let Err(error) = OpenOptions::new().read(true).write(true).open(device) {
            return Some(format!("{device}: {error}"));
        }
    }
    for program in PROGRAMS {
        if !succeeds("sh", &["-c", &format!("command -v {program}")]) {
            return Some(format!("{program} is missing; call tests/run once"));
        }
    }
    // A container's root may not mount.
    (!succeeds("unshare", &["--mount", "true"])).then(|| "root may not mount here".to_owned())
}

/// Whether a program ends well; what it says is dropped.
pub(crate) fn succeeds(program: &str, args: &[&str]) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    let status = Command::new(program)
        .args(args)
        .env("PATH", format!("{path}:/usr/local/sbin:/usr/sbin:/sbin"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

/// Unmounts and detaches what belongs to test processes that are no more.
///
/// Their programs have died with them. The folders stay: a failed test's is there for a look.
fn sweep() {
    let mut points: Vec<PathBuf> = mount_points()
        .into_iter()
        .filter(|at| is_left(at))
        .collect();
    // What lies on another mount goes first.
    points.reverse();
    for point in points {
        drop(writeln!(
            io::stderr(),
            "cuts: left by a killed run: {}",
            point.display()
        ));
        succeeds("umount", &["--lazy", &point.to_string_lossy()]);
    }
    for (device, file) in loop_devices() {
        if is_left(&file) {
            drop(writeln!(
                io::stderr(),
                "cuts: left by a killed run: {device}"
            ));
            succeeds("losetup", &["--detach", &device]);
        }
    }
}

/// Whether a path lies in the folder of a test process that has ended.
///
/// A folder that has the number of this process is that of an earlier one.
fn is_left(path: &Path) -> bool {
    let Ok(below) = path.strip_prefix(env!("CARGO_TARGET_TMPDIR")) else {
        return false;
    };
    let folder = below.iter().next().unwrap_or_default().to_string_lossy();
    let owner: Option<u32> = folder.split('-').next().and_then(|pid| pid.parse().ok());
    owner.is_some_and(|pid| {
        pid == std::process::id() || !Path::new(&format!("/proc/{pid}")).exists()
    })
}

/// Every mount point, in the order of mounting.
fn mount_points() -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = table.lines().filter_map(|line| line.split(' ').nth(4));
    points
        .map(|point| point.replace("\\040", " ").into())
        .collect()
}

/// Every loop device in use, and its file.
fn loop_devices() -> Vec<(String, PathBuf)> {
    let mut devices = Vec::new();
    for entry in fs::read_dir("/sys/block").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let file = fs::read_to_string(entry.path().join("loop/backing_file"));
        if let Ok(file) = file {
            let file = file.trim_end().trim_end_matches(" (deleted)");
            devices.push((format!("/dev/{name}"), file.into()));
        }
    }
    devices
}

/// Makes everything that was written to a file or device durable.
pub(crate) fn sync(file: &File) {
    file.sync_all().unwrap();
}

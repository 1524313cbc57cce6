//! A disk with ext4 on it, of which the test sees every write or which fails as it is told.
//!
//! An image file, qemu-storage-daemon that exports it through FUSE with a driver in between, and a
//! loop device on that export. Everything ends with its value, in this order, also when the test
//! fails; what a killed test leaves is taken away by [`crate::machine::can_make_disks`].

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::OFlags;
use rustix::process::Signal;
use serde_json::json;

use crate::harness::{Program, run, wait_until, write};
use crate::machine::{succeeds, sync};
use crate::qmp::Qmp;

/// What ext4 calls a block, and what a disk never tears outside of the ring.
pub(crate) const BLOCK: usize = 4096;

/// Makes an ext4 in a new image file.
pub(crate) fn make_image(path: &Path, bytes: u64) {
    File::create(path).unwrap().set_len(bytes).unwrap();
    let options = "lazy_itable_init=0,lazy_journal_init=0";
    let args = ["-q", "-F", "-b", "4096", "-E", options, text(path)];
    run("mkfs.ext4", &args);
}

/// A block device made of a file.
pub(crate) struct LoopDevice {
    pub(crate) path: String,
}

impl LoopDevice {
    pub(crate) fn attach(file: &Path) -> Self {
        let output = run("losetup", &["--find", "--show", text(file)]);
        let path = String::from_utf8(output.stdout).unwrap();
        LoopDevice {
            path: path.trim().to_owned(),
        }
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        // One that is still open somewhere is detached as soon as it is closed.
        succeeds("losetup", &["--detach", &self.path]);
    }
}

/// A mounted file system.
pub(crate) struct Mounted {
    device: PathBuf,
    point: PathBuf,
}

impl Mounted {
    /// Mounts as a boot does, which replays the journal if there is something in it.
    pub(crate) fn mount(device: &LoopDevice, point: &Path) -> Result<Self, String> {
        fs::create_dir_all(point).unwrap();
        let args = ["-t", "ext4", "-o", "noatime", &device.path, text(point)];
        let output = Command::new("mount").args(args).output().unwrap();
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        Ok(Mounted {
            device: PathBuf::from(&device.path),
            point: point.to_path_buf(),
        })
    }

    pub(crate) fn unmount(self) {
        // Whoever looks at new mounts may hold it for a moment.
        wait_until("an unmounted disk", || {
            succeeds("umount", &[text(&self.point)]).then_some(())
        });
        // A mount namespace that began meanwhile has a copy of the mount, and with it the file
        // system as it was: the next cut would be judged by that. Nobody else may open it until then.
        let exclusively = i32::try_from(OFlags::EXCL.bits()).unwrap();
        wait_until("a disk that is mounted nowhere", || {
            let mut options = File::options();
            options.read(true).custom_flags(exclusively);
            options.open(&self.device).ok()
        });
        std::mem::forget(self);
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        succeeds("umount", &["--lazy", text(&self.point)]);
    }
}

/// Repairs what can be repaired without a question, as a boot does.
pub(crate) fn repair(device: &LoopDevice) -> Result<(), String> {
    fsck("-p", device)
}

/// Finds fault with nothing, or says with what.
pub(crate) fn inspect(device: &LoopDevice) -> Result<(), String> {
    fsck("-fn", device)
}

fn fsck(how: &str, device: &LoopDevice) -> Result<(), String> {
    let output = Command::new("e2fsck")
        .args([how, &device.path])
        .output()
        .unwrap();
    match output.status.code() {
        Some(0) => Ok(()),
        Some(1) if how == "-p" => Ok(()),
        code => Err(format!(
            "e2fsck {how} ended with {code:?}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )),
    }
}

/// An image as qemu-storage-daemon exports it.
struct Export {
    program: Program,
    point: PathBuf,
    monitor: PathBuf,
}

impl Export {
    /// Exports the node `top` of these nodes.
    fn start(folder: &Path, nodes: &[String], bytes: u64) -> Self {
        let (point, monitor) = (folder.join("export"), folder.join("monitor"));
        write(&point, "");
        let mut command = Command::new("qemu-storage-daemon");
        for node in nodes {
            command.args(["--blockdev", node]);
        }
        let at = text(&point);
        let export = format!("type=fuse,id=e0,node-name=top,mountpoint={at},writable=on");
        let monitor_at = text(&monitor);
        let socket = format!("socket,id=q,path={monitor_at},server=on,wait=off");
        command.args([
            "--export",
            &export,
            "--chardev",
            &socket,
            "--monitor",
            "chardev=q",
        ]);
        let mut program = Program::start(folder, "qemu-storage-daemon", &command);
        wait_until("an exported disk", || {
            program.check();
            (fs::metadata(&point).ok()?.len() == bytes).then_some(())
        });
        Export {
            program,
            point,
            monitor,
        }
    }
}

impl Drop for Export {
    fn drop(&mut self) {
        // Told so, it unmounts; killed by the end of `Program`, it would not.
        self.program.signal(Signal::TERM);
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
        while self.program.try_ended().is_none() && std::time::Instant::now() < deadline {
            std::thread::park_timeout(std::time::Duration::from_millis(5));
        }
        succeeds("umount", &["--lazy", text(&self.point)]);
    }
}

/// A disk with ext4 on it, mounted on `state` in its folder: the state directory of the agent
/// whose folder it is.
pub(crate) struct Disk {
    mounted: Option<Mounted>,
    device: LoopDevice,
    export: Export,
    pub(crate) image: PathBuf,
    point: PathBuf,
}

impl Disk {
    /// A disk whose every write and flush goes into a log; it begins with a copy of `base`.
    pub(crate) fn logged(folder: &Path, base: &Path, log: &Path) -> Self {
        fs::create_dir_all(folder).unwrap();
        let image = folder.join("disk.img");
        fs::copy(base, &image).unwrap();
        write(log, "");
        let nodes = [
            file_node("image", &image),
            file_node("log", log),
            "driver=blklogwrites,node-name=top,file=image,log=log".to_owned(),
        ];
        Disk::export(folder, image, &nodes)
    }

    /// A disk that can be told to fail.
    pub(crate) fn failing(folder: &Path, bytes: u64) -> Self {
        fs::create_dir_all(folder).unwrap();
        let image = folder.join("disk.img");
        make_image(&image, bytes);
        let nodes = [
            file_node("image", &image),
            "driver=raw,node-name=top,file=image".to_owned(),
        ];
        Disk::export(folder, image, &nodes)
    }

    fn export(folder: &Path, image: PathBuf, nodes: &[String]) -> Self {
        let bytes = fs::metadata(&image).unwrap().len();
        let export = Export::start(folder, nodes, bytes);
        let mut disk = Disk {
            mounted: None,
            device: LoopDevice::attach(&export.point),
            export,
            image,
            point: folder.join("state"),
        };
        disk.mount();
        disk
    }

    pub(crate) fn mount(&mut self) {
        self.mounted = Some(Mounted::mount(&self.device, &self.point).unwrap());
    }

    pub(crate) fn unmount(&mut self) {
        if let Some(mounted) = self.mounted.take() {
            mounted.unmount();
        }
    }

    /// From now on requests of this kind fail with EIO: `read`, `write` or `flush`.
    pub(crate) fn fail(&mut self, kind: &str) {
        self.inject(&json!({ "event": "none", "iotype": kind, "errno": 5, "once": false }));
    }

    /// From now on one sector of a file cannot be read, the one that holds this byte of it.
    /// Nothing of the file may wait for being written.
    pub(crate) fn fail_sector_of(&mut self, file: &str, offset: u64) {
        let block = u64::try_from(BLOCK).unwrap();
        let question = format!("bmap /{file} {}", offset / block);
        let output = run("debugfs", &["-R", &question, text(&self.image)]);
        let found = String::from_utf8(output.stdout).unwrap();
        let place: u64 = found.trim().parse().unwrap();
        assert_ne!(place, 0, "{file} has no block there");
        let sector = (place * block + offset % block) / 512;
        self.inject(&json!({
            "event": "none", "iotype": "read", "sector": sector, "errno": 5, "once": false
        }));
    }

    fn inject(&mut self, rule: &serde_json::Value) {
        let node = json!({
            "driver": "blkdebug", "node-name": "faulty", "image": "image", "inject-error": [rule]
        });
        let mut qmp = Qmp::connect(&self.export.monitor);
        qmp.command("blockdev-add", &node);
        qmp.command("blockdev-reopen", &top_on("faulty"));
    }

    /// The same content on a disk that works, as after a boot: nothing of it is in the cache.
    pub(crate) fn replaced(mut self) -> Self {
        self.unmount();
        let (folder, image) = (self.point.with_file_name(""), self.image.clone());
        drop(self);
        repair(&LoopDevice::attach(&image)).unwrap();
        let nodes = [
            file_node("image", &image),
            "driver=raw,node-name=top,file=image".to_owned(),
        ];
        Disk::export(&folder, image, &nodes)
    }
}

fn top_on(node: &str) -> serde_json::Value {
    json!({ "options": [{ "driver": "raw", "node-name": "top", "file": node }] })
}

/// A file as a node of qemu. What it flushes need not reach the test machine's own disk.
fn file_node(name: &str, path: &Path) -> String {
    format!(
        "driver=file,node-name={name},filename={},cache.no-flush=on",
        text(path)
    )
}

/// A disk that is put into any state, mounted and looked at, again and again.
pub(crate) struct Scratch {
    pub(crate) device: LoopDevice,
    image: File,
    have: Vec<u8>,
}

impl Scratch {
    pub(crate) fn new(path: &Path, bytes: usize) -> Self {
        let image = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)
            .unwrap();
        image.set_len(u64::try_from(bytes).unwrap()).unwrap();
        Scratch {
            device: LoopDevice::attach(path),
            image,
            have: vec![0; bytes],
        }
    }

    /// Gives it this content; nobody may have it mounted.
    pub(crate) fn put(&mut self, content: &[u8]) {
        self.image.read_exact_at(&mut self.have, 0).unwrap();
        let device = File::options().write(true).open(&self.device.path).unwrap();
        let blocks = content.chunks(BLOCK).zip(self.have.chunks(BLOCK));
        let mut at = 0;
        for (wanted, have) in blocks {
            if wanted != have {
                device.write_all_at(wanted, at).unwrap();
            }
            at += u64::try_from(wanted.len()).unwrap();
        }
        sync(&device);
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

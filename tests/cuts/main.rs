//! The real ring file on a real file system: ext4 on a disk that loses power, fails or is full.
//!
//! The disk is an image that qemu-storage-daemon exports as a file, with a write log or faults in
//! between; a loop device makes a block device of it. That takes root, FUSE and loop devices:
//! where they are missing, every test says on standard error that it was skipped, and why.

#[cfg(test)]
#[path = "../e2e/harness/mod.rs"]
#[expect(
    dead_code,
    unused_imports,
    reason = "shared with e2e: each uses its part"
)]
mod harness;

#[cfg(test)]
mod disk;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod load;
#[cfg(test)]
mod machine;
#[cfg(test)]
mod power;
#[cfg(test)]
mod promises;
#[cfg(test)]
mod qmp;
#[cfg(test)]
mod ring_view;
#[cfg(test)]
mod write_log;

//! Leaves out of the release binary what nothing reads: the tables for unwinding.
//!
//! A release aborts on a panic, and a backtrace of a stripped binary has no names. The compiler
//! writes the tables all the same, for each function, because the standard library brings debug
//! information into the whole program; so the linker drops them. Other profiles keep theirs: a
//! test unwinds.

use std::env;
use std::io::{self, Write};

/// The architectures whose tables the script names.
const ARCHITECTURES: [&str; 3] = ["aarch64", "arm", "x86_64"];

fn main() -> io::Result<()> {
    let mut cargo = io::stdout();
    writeln!(cargo, "cargo::rerun-if-changed=build.rs")?;
    writeln!(cargo, "cargo::rerun-if-changed=release.ld")?;
    let variable = |name| env::var(name).unwrap_or_default();
    if variable("PROFILE") != "release" {
        return Ok(());
    }
    if ARCHITECTURES.contains(&variable("CARGO_CFG_TARGET_ARCH").as_str()) {
        let script = format!("{}/release.ld", variable("CARGO_MANIFEST_DIR"));
        writeln!(cargo, "cargo::rustc-link-arg-bins=-T{script}")?;
    }
    let is_linked_by_zig = variable("RUSTC_LINKER").contains("zigcc");
    if variable("TARGET") == "x86_64-unknown-linux-musl" && !is_linked_by_zig {
        // A static binary that relocates itself: one bit instead of 24 bytes an address. What
        // glibc relocates does without, because glibc cannot read the bits before 2.36; and Zig
        // does not know the word.
        writeln!(cargo, "cargo::rustc-link-arg-bins=-zpack-relative-relocs")?;
    }
    Ok(())
}

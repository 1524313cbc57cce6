//! The files that belong to the project, found without git so that a tarball is checked too.

use std::fs;
use std::path::{Path, PathBuf};

/// The folders that are built or fetched, not written.
const NOT_OURS: &[&str] = &["target", ".git", "artifacts", "corpus"];

/// A text file of the project.
pub(crate) struct TextFile {
    /// Path from the root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl TextFile {
    pub(crate) fn is_test(&self) -> bool {
        self.path.starts_with("tests/") || self.path.contains("/tests")
    }

    /// The lines with their numbers, and whether each is within a test module.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, bool, &str)> {
        let tests_start = self
            .text
            .lines()
            .position(|line| line.trim() == "#[cfg(test)]");
        let whole = self.is_test();
        self.text.lines().enumerate().map(move |(at, line)| {
            (
                at + 1,
                whole || tests_start.is_some_and(|start| at >= start),
                line,
            )
        })
    }
}

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_path_buf()
}

pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Every text file of the project with one of these endings.
pub(crate) fn files(suffixes: &[&str]) -> Vec<TextFile> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if entry.file_type().unwrap().is_dir() {
                if !NOT_OURS.contains(&name.as_str()) {
                    folders.push(entry.path());
                }
            } else if suffixes.iter().any(|suffix| name.ends_with(suffix)) {
                let path = entry.path();
                let path = path
                    .strip_prefix(root())
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned();
                found.push(TextFile {
                    text: read(&path),
                    path,
                });
            }
        }
    }
    assert!(!found.is_empty(), "no file ends with {suffixes:?}");
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// Fails with every breach on a line of its own.
pub(crate) fn check(rule: &str, breaches: &[String]) {
    assert!(breaches.is_empty(), "{rule}:\n  {}", breaches.join("\n  "));
}

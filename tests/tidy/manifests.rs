//! The arrows between the crates, and the lints that each of them obeys.

use toml::{Table, Value};

use crate::tree::{check, read};

const CRATES: &[&str] = &["agent", "agent/diskring", "agent/pipeline"];

/// Crates whose manifest must not name what does I/O, and what each may name of the workspace.
const PURE: &[(&str, &[&str])] = &[("agent/diskring", &[]), ("agent/pipeline", &["diskring"])];

/// What does I/O, keeps time or starts threads.
const IMPURE: &[&str] = &[
    "async-trait",
    "clap",
    "hyper",
    "hyper-util",
    "inotify",
    "rand",
    "reqwest",
    "rumqttc",
    "rustix",
    "rustls",
    "sd-notify",
    "socket2",
    "tokio",
    "tokio-rustls",
    "tracing",
    "tracing-subscriber",
];

/// What the ring, which is everybody's foundation, does not need besides.
const NOT_IN_THE_RING: &[&str] = &["serde", "serde_json", "postcard", "toml", "regex", "jiff"];

fn table(path: &str) -> Table {
    read(path).parse().unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The names of the dependencies, of every kind but those for tests.
fn dependencies(manifest: &Table) -> Vec<String> {
    let mut names = Vec::new();
    for (key, value) in manifest {
        if key == "dependencies" || key == "build-dependencies" {
            names.extend(value.as_table().unwrap().keys().cloned());
        } else if key == "target" {
            for platform in value.as_table().unwrap().values() {
                names.extend(dependencies(platform.as_table().unwrap()));
            }
        }
    }
    names
}

#[test]
fn pure_crates_name_nothing_that_does_io() {
    let mut breaches = Vec::new();
    for (path, own) in PURE {
        for name in dependencies(&table(&format!("{path}/Cargo.toml"))) {
            let workspace = ["hydrant", "pipeline", "diskring"].contains(&name.as_str());
            let in_ring = *path == "agent/diskring" && NOT_IN_THE_RING.contains(&name.as_str());
            if IMPURE.contains(&name.as_str())
                || in_ring
                || (workspace && !own.contains(&name.as_str()))
            {
                breaches.push(format!("{path}/Cargo.toml names {name}"));
            }
        }
    }
    check(
        "agent -> pipeline -> diskring, and only agent does I/O",
        &breaches,
    );
}

#[test]
fn every_crate_takes_the_workspace_lints() {
    let members = table("Cargo.toml")["workspace"]["members"].clone();
    let expected: Vec<Value> = CRATES.iter().map(|&name| Value::from(name)).collect();
    assert_eq!(
        members,
        Value::Array(expected),
        "tests/tidy knows other members"
    );
    let breaches: Vec<String> = CRATES
        .iter()
        .map(|path| format!("{path}/Cargo.toml"))
        .filter(|path| {
            let manifest = table(path);
            manifest
                .get("lints")
                .and_then(|lints| lints.get("workspace"))
                != Some(&Value::Boolean(true))
        })
        .collect();
    check("[lints] workspace = true", &breaches);
}

/// A nested clippy.toml replaces the one of the root, it is not merged with it.
#[test]
fn nested_clippy_files_contain_the_root_one() {
    let root = table("clippy.toml");
    let mut breaches = Vec::new();
    for (path, _) in PURE {
        let path = format!("{path}/clippy.toml");
        let nested = table(&path);
        for (key, value) in &root {
            let held = match (value, nested.get(key)) {
                (Value::Array(wanted), Some(Value::Array(have))) => wanted.iter().all(|item| {
                    // What only the binary depends on cannot be named below it.
                    let impure = item
                        .get("path")
                        .and_then(Value::as_str)
                        .is_some_and(|path| {
                            path.split("::")
                                .next()
                                .is_some_and(|krate| IMPURE.contains(&krate))
                        });
                    impure || have.contains(item)
                }),
                (wanted, have) => have == Some(wanted),
            };
            if !held {
                breaches.push(format!("{path} lacks {key} of clippy.toml"));
            }
        }
    }
    check("nested clippy.toml files contain the root's", &breaches);
}

#[test]
fn versions_are_written_once() {
    let mut breaches = Vec::new();
    for path in CRATES {
        let path = format!("{path}/Cargo.toml");
        let manifest = table(&path);
        for key in ["dependencies", "dev-dependencies"] {
            for (name, value) in manifest
                .get(key)
                .and_then(Value::as_table)
                .into_iter()
                .flatten()
            {
                if value.get("workspace") != Some(&Value::Boolean(true)) {
                    breaches.push(format!("{path}: {name} is not taken from the workspace"));
                }
            }
        }
    }
    check("versions stand in the root Cargo.toml only", &breaches);
}

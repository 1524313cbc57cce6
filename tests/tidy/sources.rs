//! Rules for the text of sources, scripts and documents.

use crate::tree::{TextFile, check, files};

const CODE: &[&str] = &[".rs", ".py", ".toml", ".service", ".conf", ".sh"];
const TEXT: &[&str] = &[
    ".rs", ".py", ".toml", ".service", ".conf", ".sh", ".md", "run",
];

/// A file is split by idea before it grows beyond this.
const LINES_MAX: usize = 500;

/// Longer files, each with the reason and its own bound.
const LONGER: &[(&str, usize)] = &[
    // One list of what can be configured, read from top to bottom.
    ("agent/pipeline/src/config/model.rs", 600),
];

/// The lines of files that break a rule.
fn lines_that(files: &[TextFile], breaks: impl Fn(bool, &str) -> bool) -> Vec<String> {
    let mut breaches = Vec::new();
    for file in files {
        for (number, in_test, line) in file.lines() {
            if breaks(in_test, line) {
                breaches.push(format!("{}:{number}: {}", file.path, line.trim()));
            }
        }
    }
    breaches
}

#[test]
fn sources_are_ascii() {
    check(
        "ASCII only",
        &lines_that(&files(CODE), |_, line| !line.is_ascii()),
    );
}

#[test]
fn nothing_has_trailing_space_or_tabs() {
    let breaches = lines_that(&files(TEXT), |_, line| {
        line.ends_with([' ', '\t']) || line.trim_start_matches(' ').starts_with('\t')
    });
    check("no trailing space, no tabs", &breaches);
}

/// A test waits for what it needs to see, never for time to pass.
#[test]
fn tests_wait_for_conditions() {
    // In two parts, or this line would be found.
    let word = concat!("sle", "ep(");
    let breaches = lines_that(&files(&[".rs", ".py"]), |in_test, line| {
        in_test && line.contains(word) && !line.trim_start().starts_with("//")
    });
    check("a test waits for a condition", &breaches);
}

#[test]
fn tests_are_neither_ignored_nor_expected_to_panic() {
    let words = [concat!("#[ig", "nore"), concat!("#[should_", "panic")];
    let breaches = lines_that(&files(&[".rs"]), |_, line| {
        words.iter().any(|word| line.contains(word))
    });
    check("every test runs and asserts", &breaches);
}

#[test]
fn open_work_names_its_issue() {
    let words = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
    ];
    let breaches = lines_that(&files(CODE), |_, line| {
        words.iter().any(|word| line.contains(word)) && !line.contains('#')
    });
    check("open work names its issue", &breaches);
}

#[test]
fn no_path_of_one_machine() {
    let everywhere = [
        concat!("/ro", "ot/"),
        concat!("/wo", "rk/"),
        concat!("/ho", "me/user"),
    ];
    let outside_tests = concat!("/t", "mp/");
    let breaches = lines_that(&files(TEXT), |in_test, line| {
        everywhere.iter().any(|path| line.contains(path))
            || (!in_test && line.contains(outside_tests))
    });
    check("no path of one machine", &breaches);
}

#[test]
fn files_stay_readable() {
    let mut breaches = Vec::new();
    for file in files(&[".rs"]) {
        let lines = file.text.lines().count();
        let allowed = LONGER
            .iter()
            .find(|(path, _)| *path == file.path)
            .map_or(LINES_MAX, |x| x.1);
        if lines > allowed {
            breaches.push(format!("{}: {lines} lines, {allowed} allowed", file.path));
        }
    }
    check("a file is split by idea", &breaches);
}

/// A module's own `tests.rs` needs no words of its own.
#[test]
fn every_module_says_what_it_decides() {
    let breaches: Vec<String> = files(&[".rs"])
        .into_iter()
        .filter(|file| file.path.starts_with("agent/") || file.path.starts_with("tests/"))
        .filter(|file| !file.path.ends_with("/tests.rs") && !file.text.starts_with("//!"))
        .map(|file| file.path)
        .collect();
    check("a module opens with //!", &breaches);
}

#[test]
fn lints_are_expected_with_a_reason_and_never_allowed() {
    let words = [concat!("#[all", "ow("), concat!("#![all", "ow(")];
    let breaches = lines_that(&files(&[".rs"]), |_, line| {
        words.iter().any(|word| line.contains(word))
    });
    check("#[expect(..., reason = ...)]", &breaches);
}

//! What is wrong with a configuration, where, and what to write instead.

use std::fmt;

/// One thing to put right, or to think about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Whether the agent starts in spite of it.
    pub severity: Severity,
    /// The file, as it was named to [`crate::config::load`].
    pub file: String,
    /// Line in the file, counted from 1; 0 when the file as a whole is meant.
    pub line: u32,
    /// Column in the line in characters, counted from 1; 0 when the line as a whole is meant.
    pub column: u32,
    /// The key, as in `destinations.lake.batch.bytes_max`; empty when none is meant.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to do, in an imperative.
    pub suggestion: Option<String>,
}

/// Whether a problem stops the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// It runs, but perhaps not as meant.
    Warning,
}

impl Problem {
    /// A problem of a whole file, such as that it cannot be read.
    pub fn of_file(file: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            file: file.into(),
            line: 0,
            column: 0,
            path: String::new(),
            message: message.into(),
            suggestion: None,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        f.write_str(": ")?;
        match self.severity {
            Severity::Error => {}
            Severity::Warning => f.write_str("warning: ")?,
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        match &self.suggestion {
            Some(suggestion) => write!(f, "; {suggestion}"),
            None => Ok(()),
        }
    }
}

/// Where something is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// Which of the files.
    pub(super) file: usize,
    /// From 1; 0 means the file as a whole.
    pub(super) line: u32,
    /// From 1; 0 means the line as a whole.
    pub(super) column: u32,
}

/// Collects problems; at most [`PROBLEMS_MAX`], so that rubbish does not fill the memory.
#[derive(Debug, Default)]
pub(super) struct Problems {
    found: Vec<(Place, Problem)>,
    errors: usize,
}

/// More than a person reads; what is beyond is found in the next run.
const PROBLEMS_MAX: usize = 200;

impl Problems {
    /// Refuses the configuration.
    pub(super) fn error(
        &mut self,
        at: Place,
        path: &str,
        message: impl Into<String>,
        suggestion: Option<String>,
    ) {
        self.errors += 1;
        self.push(Severity::Error, at, path, message.into(), suggestion);
    }

    /// Says what is perhaps not meant.
    pub(super) fn warning(
        &mut self,
        at: Place,
        path: &str,
        message: impl Into<String>,
        suggestion: Option<String>,
    ) {
        self.push(Severity::Warning, at, path, message.into(), suggestion);
    }

    /// Whether the configuration is refused.
    pub(super) fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// Sorted by file and line, with the names of the files filled in.
    pub(super) fn finish(mut self, names: &[String]) -> Vec<Problem> {
        self.found.sort_by_key(|(at, _)| *at);
        let named = self.found.into_iter().map(|(at, mut problem)| {
            problem.file = names.get(at.file).cloned().unwrap_or_default();
            problem
        });
        named.collect()
    }

    fn push(
        &mut self,
        severity: Severity,
        at: Place,
        path: &str,
        message: String,
        suggestion: Option<String>,
    ) {
        // Warnings leave room, so that a refusal always says why.
        let room = match severity {
            Severity::Error => PROBLEMS_MAX,
            Severity::Warning => PROBLEMS_MAX / 2,
        };
        if self.found.len() >= room {
            return;
        }
        let problem = Problem {
            severity,
            file: String::new(),
            line: at.line,
            column: at.column,
            path: path.to_owned(),
            message,
            suggestion,
        };
        self.found.push((at, problem));
    }
}

/// "did you mean ...", when one of the words is near.
pub(super) fn nearest<'a>(wrong: &str, words: impl Iterator<Item = &'a str>) -> Option<String> {
    let near = words
        .map(|word| (strsim::damerau_levenshtein(wrong, word), word))
        .filter(|(distance, word)| *distance <= 1 + word.len() / 4)
        .min();
    near.map(|(_, word)| word.to_owned())
}

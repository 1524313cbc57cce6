//! Which lines belong to the line before them, and how much of them is kept.

use std::time::Duration;

use regex::bytes::Regex;

use super::wrapper::{self, Unwrapped};
use crate::config::{FileConfig, LineFormat, MultilineConfig, MultilineRule};
use crate::transform::compile_bytes_regex;

/// A line that comes in parts is complete when the next part has not come for so long.
const PARTS_WAIT: Duration = Duration::from_secs(5);

/// Room for short records that wait behind one that is open.
const WAITING_SLACK: usize = 4096;

/// How the lines of a source become records.
#[derive(Debug)]
pub struct RecordRules {
    format: LineFormat,
    multiline: Option<Multiline>,
    line_bytes_max: usize,
}

#[derive(Debug)]
struct Multiline {
    rule: Rule,
    timeout: Duration,
    bytes_max: usize,
    lines_max: usize,
}

#[derive(Debug)]
enum Rule {
    /// What matches begins a record.
    Start(Regex),
    /// What matches belongs to the line before.
    Continuation(Regex),
    /// What begins with a space or a tab belongs to the line before.
    Indentation,
}

impl RecordRules {
    /// The rules of a source; the error says in plain words which pattern is none.
    pub fn compile(config: &FileConfig) -> Result<Self, String> {
        let multiline = config.multiline.as_ref().map(Multiline::compile);
        Ok(Self {
            format: config.format,
            multiline: multiline.transpose()?,
            line_bytes_max: config.line_bytes_max.as_usize().max(1),
        })
    }

    /// Each line is a record.
    pub fn lines(line_bytes_max: usize) -> Self {
        Self {
            format: LineFormat::Plain,
            multiline: None,
            line_bytes_max: line_bytes_max.max(1),
        }
    }

    /// Whether each line is a record as it is.
    pub fn is_plain(&self) -> bool {
        self.format == LineFormat::Plain && self.multiline.is_none()
    }

    /// What a wrapper says; `None` without one. The error says that the line does not have it.
    pub(super) fn unwrap<'a>(&self, line: &'a [u8]) -> Option<Result<Unwrapped<'a>, &'static str>> {
        match self.format {
            LineFormat::Plain => None,
            LineFormat::Cri => Some(
                wrapper::cri(line).ok_or("the line is not one of CRI: TIME STREAM P or F TEXT"),
            ),
            LineFormat::DockerJson => {
                Some(wrapper::docker_json(line).ok_or("the line is not one of Docker's json-file"))
            }
        }
    }

    /// A longer line is cut.
    pub const fn line_bytes_max(&self) -> usize {
        self.line_bytes_max
    }

    /// Whether a record may have several lines.
    pub(super) const fn joins_lines(&self) -> bool {
        self.multiline.is_some()
    }

    /// Whether `line` belongs to the line before it.
    pub(super) fn is_continuation(&self, line: &[u8]) -> bool {
        self.multiline
            .as_ref()
            .is_some_and(|multiline| match &multiline.rule {
                Rule::Start(pattern) => !pattern.is_match(line),
                Rule::Continuation(pattern) => pattern.is_match(line),
                Rule::Indentation => matches!(line.first(), Some(b' ' | b'\t')),
            })
    }

    /// How long a record waits for another line.
    pub(super) fn timeout(&self) -> Duration {
        let multiline = self.multiline.as_ref();
        multiline.map_or(PARTS_WAIT, |multiline| multiline.timeout)
    }

    /// A longer record is ended and continued in another; one line is taken whatever its length.
    pub(super) fn bytes_max(&self) -> usize {
        let multiline = self.multiline.as_ref();
        multiline.map_or(self.line_bytes_max, |multiline| multiline.bytes_max)
    }

    /// The same for its lines.
    pub(super) fn lines_max(&self) -> usize {
        self.multiline
            .as_ref()
            .map_or(1, |multiline| multiline.lines_max)
    }

    /// What may wait of one file.
    pub(super) fn waiting_bytes_max(&self) -> usize {
        let record_bytes_max = self.bytes_max().max(self.line_bytes_max);
        record_bytes_max
            .saturating_mul(2)
            .saturating_add(WAITING_SLACK)
    }
}

impl Multiline {
    fn compile(config: &MultilineConfig) -> Result<Self, String> {
        let rule = match &config.rule {
            MultilineRule::Start(pattern) => Rule::Start(compile_bytes_regex(pattern)?),
            MultilineRule::Continuation(pattern) => {
                Rule::Continuation(compile_bytes_regex(pattern)?)
            }
            MultilineRule::Indentation => Rule::Indentation,
        };
        Ok(Self {
            rule,
            timeout: config.timeout,
            bytes_max: config.bytes_max.as_usize(),
            lines_max: config.lines_max.max(1),
        })
    }
}

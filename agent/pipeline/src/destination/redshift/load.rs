//! One batch on its way into a table, call by call.
//!
//! What is remembered of it lies in the ring, as the bounds of the batch, and at AWS, under names
//! that are made from them. A COPY loads all of an object or nothing, so that its end says what
//! became of every record; which of them it does not take is found out by loading them alone.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::aws::Failure;
use super::super::credentials::Credentials;
use super::super::http::excerpt;
use super::super::s3::{EncodedObject, ObjectGroup};
use super::super::{
    HttpRequest, HttpResponse, Refusal, Retry, RetryClass, SeqRange, TransportError, Verdict,
};
use super::answer::{Begun, Described, Found, Listed, LoadError, Rows, text};
use super::{DESCRIBE, EXECUTE, LIST, RESULT, Redshift, sql};
use crate::time::WallClock;

/// Statements are looked after so soon, later and later.
const POLL_FIRST: Duration = Duration::from_millis(100);
const POLL_MAX: Duration = Duration::from_secs(10);

/// After so many looks it is told that a statement is still running: about five minutes.
const POLLS_MAX: u32 = 34;

/// Load errors that are read at a time: each cuts a batch once more.
const ERRORS_MAX: u32 = 100;

/// It is asked so often for load errors that are not there.
const ASKED_MAX: u32 = 5;

/// Pages of statements for one batch that are looked through.
const PAGES_MAX: u32 = 20;

/// A batch on its way into a table.
#[derive(Clone, Debug)]
pub struct Load {
    range: SeqRange,
    count: u32,
    step: Step,
    /// The number of the COPY that is under way or next.
    attempt: u32,
    /// Key and content of the manifest, once the object is stored.
    manifest: Option<(String, EncodedObject)>,
    /// How often a statement was looked after.
    polls: u32,
    /// How often it was asked for load errors in vain.
    asked: u32,
}

#[derive(Clone, Debug)]
enum Step {
    /// Look for a COPY of an earlier life, on this page of that number.
    Find {
        page: Option<String>,
        number: u32,
        found: Option<Found>,
    },
    /// Store the object.
    Object,
    /// Store the manifest.
    Manifest,
    /// Begin the COPY.
    Copy,
    /// Look after the COPY.
    Wait { id: String },
    /// Ask the database.
    Ask { question: Question, step: Asked },
}

#[derive(Clone, Debug)]
enum Question {
    /// Whether a COPY that nobody remembers has loaded the batch.
    History,
    /// Why a COPY failed, in its own words, which Redshift numbers so.
    Errors { error: String, query: Option<u64> },
}

#[derive(Clone, Debug)]
enum Asked {
    Begin,
    Wait { id: String },
    Read { id: String },
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Next {
    /// Store the object and report to [`Load::handle_stored`].
    Object,
    /// Wait so long, make the call of [`Load::prepare`] and give its answer to [`Load::handle`].
    Call(Duration),
}

/// Where an answer leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// To [`Load::next`].
    On,
    /// To the end of the attempt; after a retry it goes on where it is.
    Done(Verdict),
    /// To the records on these lines of the object, which are to be loaded alone.
    Lines(Vec<u64>, Refusal),
}

impl Load {
    /// The batch of `count` records of `range`. It may have been begun in an earlier life if it
    /// `was_planned` then.
    pub fn new(range: SeqRange, count: u32, was_planned: bool) -> Self {
        Self {
            range,
            count,
            step: if was_planned { FIND } else { Step::Object },
            attempt: 1,
            manifest: None,
            polls: 0,
            asked: 0,
        }
    }

    /// What it loads.
    pub const fn range(&self) -> SeqRange {
        self.range
    }

    /// What is to be done next.
    pub fn next(&self) -> Next {
        match &self.step {
            Step::Object => Next::Object,
            Step::Wait { .. }
            | Step::Ask {
                step: Asked::Wait { .. },
                ..
            } => Next::Call(self.pause()),
            Step::Ask {
                step: Asked::Begin, ..
            } if self.asked > 0 => Next::Call(POLL_MAX.min(POLL_FIRST * (1 << self.asked.min(8)))),
            Step::Find { .. } | Step::Manifest | Step::Copy | Step::Ask { .. } => {
                Next::Call(Duration::ZERO)
            }
        }
    }

    fn pause(&self) -> Duration {
        POLL_MAX.min(POLL_FIRST * (1 << self.polls.min(8)))
    }

    /// The object is stored.
    pub fn handle_stored(
        &mut self,
        redshift: &Redshift,
        group: &ObjectGroup,
        object: &EncodedObject,
    ) {
        self.manifest = Some(redshift.manifest(self.range, group, object));
        self.step = Step::Manifest;
    }

    /// The call that is to be made.
    pub fn prepare(
        &self,
        redshift: &Redshift,
        now: WallClock,
        credentials: Option<&Credentials>,
    ) -> Result<HttpRequest, Verdict> {
        let described = |id: &str| json!({"Id": id});
        let (target, body) = match &self.step {
            Step::Find { page, .. } => (LIST, redshift.list(self.range, page.as_deref())),
            Step::Copy => (EXECUTE, self.copy(redshift)?),
            Step::Wait { id } => (DESCRIBE, described(id)),
            Step::Ask { question, step } => match step {
                Asked::Begin => (EXECUTE, self.query(redshift, question)),
                Asked::Wait { id } => (DESCRIBE, described(id)),
                Asked::Read { id } => (RESULT, described(id)),
            },
            Step::Object | Step::Manifest => {
                let (key, manifest) = self.manifest.as_ref().ok_or_else(mismatch)?;
                let store = redshift.store();
                return store.prepare_as(key, manifest, now, credentials);
            }
        };
        redshift.call(target, &body, now, credentials)
    }

    fn copy(&self, redshift: &Redshift) -> Result<Value, Verdict> {
        let (key, _) = self.manifest.as_ref().ok_or_else(mismatch)?;
        let name = format!("{}{}", redshift.stem(self.range), self.attempt);
        Ok(redshift.execute(&redshift.copy(key), Some(&name)))
    }

    fn query(&self, redshift: &Redshift, question: &Question) -> Value {
        let stem = redshift.stem(self.range);
        let sql = match question {
            Question::History => sql::load_history(&stem),
            Question::Errors { query, .. } => sql::load_errors(*query, &stem, ERRORS_MAX),
        };
        redshift.execute(&sql, None)
    }

    /// Takes the answer to the call.
    pub fn handle(
        &mut self,
        redshift: &mut Redshift,
        result: Result<&HttpResponse, &TransportError>,
    ) -> Progress {
        if matches!(self.step, Step::Manifest) {
            let verdict = redshift.interpret_object(result);
            if verdict == Verdict::Accepted {
                return self.go(Step::Copy);
            }
            return Progress::Done(verdict);
        }
        let body = match redshift.caller.read(result) {
            Ok(body) => body,
            Err(failure) => return self.handle_failure(failure),
        };
        // What was done is left behind, unless it is to be done again.
        let step = std::mem::replace(&mut self.step, Step::Object);
        match step {
            Step::Find { number, found, .. } => match read::<Listed>(body) {
                Ok(listed) => {
                    self.handle_listed(&redshift.stem(self.range), number, found, &listed)
                }
                Err(retry) => self.again(FIND, retry),
            },
            Step::Copy => match read::<Begun>(body) {
                Ok(Begun { id }) => {
                    self.polls = 0;
                    self.go(Step::Wait { id })
                }
                Err(retry) => self.again(Step::Copy, retry),
            },
            Step::Wait { id } => match read::<Described>(body) {
                Ok(described) => self.handle_described(&id, &described),
                Err(retry) => self.again(Step::Wait { id }, retry),
            },
            Step::Ask { question, step } => self.handle_asked(redshift, question, step, body),
            step @ (Step::Object | Step::Manifest) => {
                self.step = step;
                Progress::Done(mismatch())
            }
        }
    }

    fn go(&mut self, step: Step) -> Progress {
        self.step = step;
        Progress::On
    }

    fn again(&mut self, step: Step, retry: Retry) -> Progress {
        self.step = step;
        Progress::Done(Verdict::Retry(retry))
    }

    /// A call that was not taken is made again; what it asks for may be forgotten.
    fn handle_failure(&mut self, failure: Failure) -> Progress {
        if failure.code == "ResourceNotFoundException" {
            match &mut self.step {
                // It is 24 hours old, or of another cluster.
                Step::Wait { .. } => self.step = FIND,
                Step::Ask { step, .. } => *step = Asked::Begin,
                Step::Find { .. } | Step::Object | Step::Manifest | Step::Copy => {}
            }
        }
        if let Step::Find { page, number, .. } = &mut self.step {
            // Pages of a list that is begun anew.
            (*page, *number) = (None, 0);
        }
        Progress::Done(Verdict::Retry(failure.retry))
    }

    fn handle_listed(
        &mut self,
        stem: &str,
        number: u32,
        found: Option<Found>,
        listed: &Listed,
    ) -> Progress {
        let statements = listed.statements.iter();
        let more = statements.filter_map(|statement| Found::of(statement, stem));
        let found = found.into_iter().chain(more).reduce(Found::or);
        let number = number.saturating_add(1);
        if let Some(page) = listed.next_page().filter(|_| number < PAGES_MAX) {
            return self.go(Step::Find {
                page: Some(page),
                number,
                found,
            });
        }
        self.polls = 0;
        match found {
            Some(Found { id, attempt, .. }) => {
                self.attempt = attempt;
                self.go(Step::Wait { id })
            }
            None => self.go(Step::Ask {
                question: Question::History,
                step: Asked::Begin,
            }),
        }
    }

    fn handle_described(&mut self, id: &str, described: &Described) -> Progress {
        let error = described.error.as_deref().unwrap_or_default().trim();
        match described.status.as_str() {
            "FINISHED" => Progress::Done(Verdict::Accepted),
            "FAILED" if error.contains("load_error") => {
                self.asked = 0;
                self.go(Step::Ask {
                    question: Question::Errors {
                        error: error.to_owned(),
                        query: described.query(),
                    },
                    step: Asked::Begin,
                })
            }
            "FAILED" => self.anew(&format!("COPY failed: {error}"), class_of(error)),
            "ABORTED" => self.anew("COPY was stopped by somebody", RetryClass::Transient),
            status => self.wait(Step::Wait { id: id.to_owned() }, id, status),
        }
    }

    /// The next COPY is another one.
    fn anew(&mut self, reason: &str, class: RetryClass) -> Progress {
        self.attempt = self.attempt.saturating_add(1);
        // What was stored in an earlier life is stored again, which changes nothing.
        self.step = match self.manifest {
            Some(_) => Step::Copy,
            None => Step::Object,
        };
        Progress::Done(Verdict::Retry(Retry::new(
            class,
            excerpt(reason.as_bytes()),
        )))
    }

    /// Looks again later, and tells when it takes long.
    fn wait(&mut self, step: Step, id: &str, status: &str) -> Progress {
        self.polls = self.polls.saturating_add(1);
        if self.polls < POLLS_MAX {
            return self.go(step);
        }
        // From here on it is looked after as rarely as it is.
        self.polls = 8;
        let reason = format!("statement {id} has not ended yet, it is {status}");
        let retry = Retry::new(RetryClass::Transient, excerpt(reason.as_bytes()));
        self.again(step, retry)
    }

    fn handle_asked(
        &mut self,
        redshift: &Redshift,
        question: Question,
        step: Asked,
        body: &[u8],
    ) -> Progress {
        let step = match step {
            Asked::Begin => match read::<Begun>(body) {
                Ok(Begun { id }) => {
                    self.polls = 0;
                    Asked::Wait { id }
                }
                Err(retry) => return self.again(Step::Ask { question, step }, retry),
            },
            Asked::Wait { id } => match read::<Described>(body) {
                Ok(described) => return self.handle_query(question, id, &described),
                Err(retry) => {
                    let step = Asked::Wait { id };
                    return self.again(Step::Ask { question, step }, retry);
                }
            },
            Asked::Read { id } => match read::<Rows>(body) {
                Ok(rows) => return self.handle_rows(redshift, question, &rows),
                Err(retry) => {
                    let step = Asked::Read { id };
                    return self.again(Step::Ask { question, step }, retry);
                }
            },
        };
        self.go(Step::Ask { question, step })
    }

    fn handle_query(&mut self, question: Question, id: String, described: &Described) -> Progress {
        let error = described.error.as_deref().unwrap_or_default();
        match described.status.as_str() {
            "FINISHED" => {
                let step = Asked::Read { id };
                self.go(Step::Ask { question, step })
            }
            "FAILED" | "ABORTED" => {
                let reason = format!("Redshift could not be asked about a COPY: {error}");
                let retry = Retry::new(class_of(error), excerpt(reason.as_bytes()));
                let step = Asked::Begin;
                self.again(Step::Ask { question, step }, retry)
            }
            status => {
                let step = Asked::Wait { id: id.clone() };
                self.wait(Step::Ask { question, step }, &id, status)
            }
        }
    }

    fn handle_rows(&mut self, redshift: &Redshift, question: Question, rows: &Rows) -> Progress {
        match question {
            Question::History => {
                let mut states = rows.records.iter().map(|row| text(row.first()));
                if states.any(|state| state == "completed") {
                    return Progress::Done(Verdict::Accepted);
                }
                if rows.records.is_empty() {
                    return self.go(Step::Object);
                }
                let reason = "a COPY of these records is still running";
                let retry = Retry::new(RetryClass::Transient, reason);
                let step = Asked::Begin;
                self.again(Step::Ask { question, step }, retry)
            }
            Question::Errors { error, query } => {
                let errors = rows.records.iter().map(|row| LoadError::of(row));
                let errors: Vec<LoadError> = errors.collect();
                if errors.is_empty() && self.asked < ASKED_MAX {
                    self.asked = self.asked.saturating_add(1);
                    return self.go(Step::Ask {
                        question: Question::Errors { error, query },
                        step: Asked::Begin,
                    });
                }
                self.refused(redshift, &error, &errors)
            }
        }
    }

    /// Something in the batch is not taken; alone it is found out what.
    fn refused(&self, redshift: &Redshift, error: &str, errors: &[LoadError]) -> Progress {
        let reason = errors.first().map_or(error, |error| &error.reason);
        let refusal = Refusal {
            code: "LoadError".to_owned(),
            reason: excerpt(reason.as_bytes()),
        };
        let count = u64::from(self.count);
        let lines = errors.iter().filter_map(|error| error.line);
        let mut lines: Vec<u64> = lines.filter(|line| (1..=count).contains(line)).collect();
        lines.dedup();
        if redshift.has_lines() && count > 1 && !lines.is_empty() {
            return Progress::Lines(lines, refusal);
        }
        let at = Vec::new();
        Progress::Done(Verdict::Cut { at, refusal })
    }
}

const FIND: Step = Step::Find {
    page: None,
    number: 0,
    found: None,
};

fn read<'a, T: serde::Deserialize<'a>>(body: &'a [u8]) -> Result<T, Retry> {
    serde_json::from_slice(body).map_err(|_| {
        let text = excerpt(body);
        let reason = format!("answered 200 with something else than its own JSON: {text}");
        Retry::new(RetryClass::Transient, reason)
    })
}

/// What wants a person, and what passes.
fn class_of(error: &str) -> RetryClass {
    const OF_SETTINGS: [&str; 8] = [
        "access denied",
        "accessdenied",
        "does not exist",
        "invalid operation",
        "not authorized",
        "permission denied",
        "syntax error",
        "unauthorized",
    ];
    let error = error.to_ascii_lowercase();
    if OF_SETTINGS.iter().any(|text| error.contains(text)) {
        RetryClass::Configuration
    } else {
        RetryClass::Transient
    }
}

/// A step without what it needs: a bug, which must not cost a record.
fn mismatch() -> Verdict {
    super::super::mismatch()
}

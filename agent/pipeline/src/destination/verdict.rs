//! What a destination decided.

use std::time::Duration;

use diskring::Seq;

/// What a destination decided about the units of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It has them all.
    Accepted,
    /// It decided one by one.
    Partial {
        /// One for each unit that was sent, in order.
        units: Vec<UnitVerdict>,
        /// How to go on with those to be sent again.
        retry: Retry,
    },
    /// Less at a time may do.
    TooLarge(Refusal),
    /// Something in it will never do: these records are to be sent alone, and what is between them
    /// by itself; where none are named, each half.
    Cut {
        /// Where they are, in the order of the log.
        at: Vec<Seq>,
        /// What is said of the first of them.
        refusal: Refusal,
    },
    /// The same again, later.
    Retry(Retry),
    /// Never.
    Rejected(Refusal),
}

/// What a destination decided about one unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnitVerdict {
    /// It has it.
    Accepted,
    /// The same again, later.
    Retry,
    /// Not in this shape; parts of it may do.
    TooLarge(Refusal),
}

/// Why a destination does not want something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Its code for the reason, such as `413` or `ValidationException`.
    pub code: String,
    /// The reason in words.
    pub reason: String,
}

/// Why something is to be sent again, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// What kind of trouble it is.
    pub class: RetryClass,
    /// The reason in words, for `hydrant status`.
    pub reason: String,
    /// Not earlier than this; zero asks for one attempt at once.
    pub after: Option<Duration>,
}

impl Retry {
    /// A retry after the usual backoff.
    pub fn new(class: RetryClass, reason: impl Into<String>) -> Self {
        Self {
            class,
            reason: reason.into(),
            after: None,
        }
    }
}

/// The kinds of trouble that pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryClass {
    /// By itself.
    Transient,
    /// When less is sent.
    Throttled,
    /// When other credentials are used: load them again.
    Credentials,
    /// When the clock is right.
    Clock,
    /// When somebody corrects the configuration here or there.
    Configuration,
}

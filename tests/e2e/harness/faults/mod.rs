//! A service behind HTTPS that fails at random, as the real ones do, and keeps count.
//!
//! [`FaultServer`] decides what becomes of each request: taken, taken in part, refused with one of
//! the errors of its [`Service`], lost before or after it was taken, answered slowly, or refused
//! because of a clock that jumps. [`Law`] checks at the end that no record is missing and that
//! only repeats with the same id came twice. The same seed and the same requests lead to the same
//! faults.

mod firehose;
mod http;
mod kinesis;
mod law;
mod quota;
mod redshift;
mod s3;
mod service;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use quota::Bucket;

use super::program::run;
use super::{Answer, Certificates, Chance, Receiver, Request};

pub(crate) use firehose::FirehoseService;
pub(crate) use http::HttpService;
pub(crate) use kinesis::KinesisService;
pub(crate) use law::{Law, Sum, dead_letters};
pub(crate) use quota::ServiceQuota;
pub(crate) use redshift::{RedshiftService, is_bad};
pub(crate) use s3::{S3Service, sha256_hex};
pub(crate) use service::{Failure, Service};

/// What becomes of a request, with how many in a hundred it becomes of.
const FATES: [(Fate, u64); 10] = [
    (Fate::Taken, 45),
    (Fate::TakenSlowly, 8),
    (Fate::TakenInPart, 15),
    (Fate::Refused, 12),
    (Fate::TooLarge, 2),
    (Fate::LostAfterwards, 6),
    (Fate::Lost, 6),
    (Fate::Hung, 2),
    (Fate::HungAfterwards, 1),
    (Fate::ClockJumped, 3),
];

/// Requests that were signed so far from the service's time are refused, in seconds.
const SKEW_SECONDS_MAX: i64 = 300;

/// The service's clock jumps to so many seconds beside the right time.
const SKEWS: [i64; 4] = [0, 3_600, -7_200, 86_400];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Taken,
    TakenSlowly,
    TakenInPart,
    Refused,
    TooLarge,
    /// Taken, but the connection ends before the answer does.
    LostAfterwards,
    /// The connection ends and nothing was taken.
    Lost,
    Hung,
    HungAfterwards,
    ClockJumped,
}

/// A service that fails at random.
pub(crate) struct FaultServer {
    pub(crate) receiver: Receiver,
    state: Arc<Mutex<State>>,
}

struct State {
    service: Box<dyn Service>,
    chance: Chance,
    /// False once everything is taken.
    fails: bool,
    /// What it takes in a second, if it throttles.
    bucket: Option<Bucket>,
    /// How far its clock is ahead, in seconds.
    skew: i64,
    /// Every record that was taken, as often as it was.
    taken: Vec<Vec<u8>>,
    /// What was answered, by its name, and how often.
    seen: BTreeMap<String, u64>,
}

impl FaultServer {
    /// With the certificate of the server, and faults by this seed.
    pub(crate) fn start(
        certificates: &Certificates,
        service: impl Service + 'static,
        seed: u64,
    ) -> Self {
        let state = Arc::new(Mutex::new(State {
            service: Box::new(service),
            chance: Chance(seed.max(1)),
            fails: true,
            bucket: None,
            skew: 0,
            taken: Vec::new(),
            seen: BTreeMap::new(),
        }));
        let shared = Arc::clone(&state);
        let answer = move |request: &Request| shared.lock().unwrap().answer(request);
        FaultServer {
            receiver: Receiver::with_tls(certificates, answer),
            state,
        }
    }

    /// Takes everything from now on.
    pub(crate) fn recover(&self) {
        self.state().fails = false;
    }

    /// Throttles what is more than this from now on.
    pub(crate) fn set_quota(&self, quota: ServiceQuota) {
        self.state().bucket = Some(Bucket::new(quota));
    }

    /// Every record that was taken, as often as it was, in the order of coming in.
    pub(crate) fn taken(&self) -> Vec<Vec<u8>> {
        self.state().taken.clone()
    }

    /// How often each kind of answer was given: a run without trouble shows nothing.
    pub(crate) fn seen(&self) -> BTreeMap<String, u64> {
        self.state().seen.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl State {
    fn answer(&mut self, request: &Request) -> Answer {
        let records = self.service.records(request);
        let mut answer = self.decide(request, records);
        if let Answer::Status(_, headers, _) | Answer::Slow(_, headers, _) = &mut answer {
            headers.push(("Date", self.time(0, "+%a, %d %b %Y %H:%M:%S GMT")));
        }
        answer
    }

    fn decide(&mut self, request: &Request, records: Vec<Vec<u8>>) -> Answer {
        if let Some(bucket) = &mut self.bucket
            && !bucket.takes(&records)
        {
            self.note("throttled");
            return self.service.failure(&Failure {
                status: 400,
                code: "ThrottlingException",
                message: "Rate exceeded",
                header: None,
            });
        }
        let fate = if self.fails { self.fate() } else { Fate::Taken };
        if fate == Fate::ClockJumped {
            self.skew = *self.chance.one_of(&SKEWS);
        }
        if let Some(text) = self.clock_refusal(request) {
            self.note("clock");
            return self.service.failure(&Failure {
                status: 400,
                code: "InvalidSignatureException",
                message: &text,
                header: None,
            });
        }
        match fate {
            Fate::Taken | Fate::ClockJumped => self.take(request, records),
            Fate::TakenSlowly => {
                self.note("slow");
                self.take(request, records).slowly()
            }
            Fate::TakenInPart if self.service.refusals().is_empty() => self.take(request, records),
            Fate::TakenInPart => self.take_in_part(request, records),
            Fate::Refused => self.refuse(self.service.failures()),
            Fate::TooLarge => self.refuse(self.service.too_large()),
            Fate::LostAfterwards => {
                self.take(request, records);
                self.lose("lost afterwards")
            }
            Fate::Lost => self.lose("lost"),
            Fate::Hung => {
                self.note("hung");
                Answer::Hang
            }
            Fate::HungAfterwards => {
                self.take(request, records);
                self.note("hung afterwards");
                Answer::Hang
            }
        }
    }

    fn fate(&mut self) -> Fate {
        let mut left = self
            .chance
            .below(FATES.iter().map(|(_, share)| share).sum());
        for (fate, share) in FATES {
            if left < share {
                return fate;
            }
            left -= share;
        }
        Fate::Taken
    }

    fn take(&mut self, request: &Request, records: Vec<Vec<u8>>) -> Answer {
        self.note("taken");
        let answer = self.service.success(request, &vec![None; records.len()]);
        self.taken.extend(records);
        answer
    }

    fn take_in_part(&mut self, request: &Request, records: Vec<Vec<u8>>) -> Answer {
        self.note("in part");
        // Few, about half, or all of them.
        let share = *self.chance.one_of(&[5, 50, 100]);
        let refusal = *self.chance.one_of(self.service.refusals());
        let mut fates = Vec::new();
        for record in records {
            if self.chance.percent(share) {
                fates.push(Some(refusal));
            } else {
                fates.push(None);
                self.taken.push(record);
            }
        }
        self.service.success(request, &fates)
    }

    fn refuse(&mut self, failures: &'static [Failure<'static>]) -> Answer {
        let failure = self.chance.one_of(failures);
        self.note(&format!("{} {}", failure.status, failure.code));
        self.service.failure(failure)
    }

    fn lose(&mut self, how: &str) -> Answer {
        self.note(how);
        self.chance
            .one_of(&[Answer::Reset, Answer::Truncate, Answer::Rubbish])
            .clone()
    }

    /// What the service says of a request that was signed by another time than its own.
    fn clock_refusal(&self, request: &Request) -> Option<String> {
        let format = "+%Y%m%dT%H%M%SZ";
        let signed = self.service.signed_at(request)?;
        let now = self.time(0, format);
        // These times are ordered as text.
        let earliest = self.time(-SKEW_SECONDS_MAX, format);
        if signed < earliest.as_str() {
            let text = "is now earlier than";
            return Some(format!(
                "Signature expired: {signed} {text} {earliest} ({now} - 5 min.)"
            ));
        }
        let latest = self.time(SKEW_SECONDS_MAX, format);
        (signed > latest.as_str()).then(|| {
            let text = "is still later than";
            format!("Signature not yet current: {signed} {text} {latest} ({now} + 5 min.)")
        })
    }

    /// The service's time and so many seconds, as the program `date` writes it.
    fn time(&self, seconds: i64, format: &str) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let then = i64::try_from(now.as_secs()).unwrap() + self.skew + seconds;
        let date = run("date", &["-u", "-d", &format!("@{then}"), format]);
        String::from_utf8(date.stdout).unwrap().trim().to_owned()
    }

    fn note(&mut self, what: &str) {
        *self.seen.entry(what.to_owned()).or_default() += 1;
    }
}

//! Which topic filters the broker has granted, and when to ask again.
//!
//! A filter is asked for until the broker has granted it, over as many connections as it takes;
//! when the broker forgets the session, all are asked for again. What an earlier run was granted
//! counts for nothing: the configuration may have changed in between.

use std::time::Duration;

use pipeline::config::{MqttVersion, Qos};
use pipeline::decode::mqtt::{Granted, reason_words};
use pipeline::time::Monotonic;

/// How long the broker may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// When a refused filter is asked for again for the first time; the wait doubles.
const REFUSED_RETRY_INITIAL: Duration = Duration::from_secs(5);

/// The longest wait until a refused filter is asked for again.
const REFUSED_RETRY_MAX: Duration = Duration::from_mins(5);

/// All filters of a source.
#[derive(Debug)]
pub(super) struct Subscriptions {
    filters: Vec<Filter>,
    version: MqttVersion,
    qos: Qos,
    last_packet_id: u16,
    asked: Option<Asked>,
}

#[derive(Debug)]
struct Filter {
    topic: String,
    state: State,
    /// How often it was refused in a row.
    refusals: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// To be asked for at this time.
    Wanted(Monotonic),
    /// In the SUBSCRIBE that waits for its answer.
    Asked,
    /// The broker does not send it; to be asked for again at this time.
    Refused { code: u8, again: Monotonic },
    /// The broker sends it, with this quality of service.
    Granted(Qos),
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    packet_id: u16,
    deadline: Monotonic,
}

/// What the broker's answer means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// All filters are granted.
    Granted,
    /// Some are refused, or granted with less than what was asked for; said in words.
    Lacking(String),
    /// Nobody asked, or the numbers do not match.
    Unexpected,
}

impl Subscriptions {
    /// None is granted yet.
    pub(super) fn new(topics: &[String], version: MqttVersion, qos: Qos) -> Self {
        let filter = |topic: &String| Filter {
            topic: topic.clone(),
            state: State::Wanted(Monotonic::default()),
            refusals: 0,
        };
        Self {
            filters: topics.iter().map(filter).collect(),
            version,
            qos,
            last_packet_id: 0,
            asked: None,
        }
    }

    /// A connection was made; the broker still has the session, or not.
    pub(super) fn handle_connected(&mut self, now: Monotonic, session_present: bool) {
        self.asked = None;
        for filter in &mut self.filters {
            if !session_present || !matches!(filter.state, State::Granted(_)) {
                filter.state = State::Wanted(now);
            }
        }
    }

    /// What to ask for at this moment: the packet identifier and the filters.
    pub(super) fn poll_subscribe(&mut self, now: Monotonic) -> Option<(u16, Vec<&str>)> {
        if self.asked.is_some() || !self.filters.iter().any(|filter| filter.is_due(now)) {
            return None;
        }
        let packet_id = self.last_packet_id % u16::MAX + 1;
        self.last_packet_id = packet_id;
        self.asked = Some(Asked {
            packet_id,
            deadline: now.after(ANSWER_MAX),
        });
        let mut topics = Vec::new();
        for filter in &mut self.filters {
            if filter.is_due(now) {
                filter.state = State::Asked;
                topics.push(filter.topic.as_str());
            }
        }
        Some((packet_id, topics))
    }

    /// The broker answered for each filter of the question.
    pub(super) fn handle_answer(
        &mut self,
        now: Monotonic,
        packet_id: u16,
        answers: &[Granted],
    ) -> Answer {
        let waiting = |filter: &&mut Filter| filter.state == State::Asked;
        let count = self.filters.iter_mut().filter(waiting).count();
        match self.asked.take() {
            Some(asked) if asked.packet_id == packet_id && count == answers.len() => {}
            _ => return Answer::Unexpected,
        }
        for (filter, answer) in self.filters.iter_mut().filter(waiting).zip(answers) {
            filter.handle_answer(now, *answer);
        }
        let told: Vec<String> = self
            .filters
            .iter()
            .filter_map(|one| self.lack(one))
            .collect();
        if told.is_empty() {
            Answer::Granted
        } else {
            Answer::Lacking(told.join("; "))
        }
    }

    /// What a filter lacks, in words.
    fn lack(&self, filter: &Filter) -> Option<String> {
        let topic = &filter.topic;
        match filter.state {
            State::Refused { code, .. } => {
                let words = match self.version {
                    // It says no more than that.
                    MqttVersion::V311 => "this client may not, or the filter is not valid",
                    MqttVersion::V5 => reason_words(code),
                };
                Some(format!(
                    "broker refuses the subscription to {topic:?}: {words} (code {code:#04x}); \
                     it is tried again"
                ))
            }
            State::Granted(qos) if qos.level() < self.qos.level() => {
                let (qos, wanted) = (qos.level(), self.qos.level());
                Some(format!(
                    "broker grants {topic:?} with QoS {qos} instead of {wanted}: what comes that \
                     way is weaker than the configuration wants"
                ))
            }
            State::Granted(_) | State::Wanted(_) | State::Asked => None,
        }
    }

    /// Whether the broker has left a question unanswered for too long.
    pub(super) fn is_overdue(&self, now: Monotonic) -> bool {
        self.asked.is_some_and(|asked| now >= asked.deadline)
    }

    /// When to look again.
    pub(super) fn poll_timeout(&self) -> Option<Monotonic> {
        match self.asked {
            Some(asked) => Some(asked.deadline),
            None => self.filters.iter().filter_map(Filter::wanted_at).min(),
        }
    }
}

impl Filter {
    fn wanted_at(&self) -> Option<Monotonic> {
        match self.state {
            State::Wanted(at) | State::Refused { again: at, .. } => Some(at),
            State::Asked | State::Granted(_) => None,
        }
    }

    fn handle_answer(&mut self, now: Monotonic, answer: Granted) {
        match answer {
            Granted::With(qos) => {
                self.state = State::Granted(qos);
                self.refusals = 0;
            }
            Granted::Not(code) => {
                let wait = REFUSED_RETRY_INITIAL.saturating_mul(1 << self.refusals.min(10));
                let again = now.after(wait.min(REFUSED_RETRY_MAX));
                self.state = State::Refused { code, again };
                self.refusals += 1;
            }
        }
    }

    fn is_due(&self, now: Monotonic) -> bool {
        self.wanted_at().is_some_and(|at| at <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_start(Duration::from_secs(seconds))
    }

    fn check(subscriptions: &mut Subscriptions, seconds: u64, expected: &[&str]) -> u16 {
        if let Some((packet_id, topics)) = subscriptions.poll_subscribe(at(seconds)) {
            assert_eq!(topics, expected, "at {seconds} s");
            packet_id
        } else {
            assert!(expected.is_empty(), "asked for nothing at {seconds} s");
            0
        }
    }

    #[test]
    fn asks_until_granted_and_again_when_the_session_is_lost() {
        let topics = ["a".to_owned(), "b/#".to_owned()];
        let mut all = Subscriptions::new(&topics, MqttVersion::V5, Qos::AtLeastOnce);
        let granted = Granted::With(Qos::AtLeastOnce);
        // An old session says nothing about this configuration.
        all.handle_connected(at(1), true);
        let first = check(&mut all, 1, &["a", "b/#"]);
        check(&mut all, 2, &[]);
        assert!(!all.is_overdue(at(30)));
        assert!(all.is_overdue(at(31)));
        // The connection is lost before the answer.
        all.handle_connected(at(40), true);
        let second = check(&mut all, 40, &["a", "b/#"]);
        assert_ne!(first, second);
        assert_eq!(
            all.handle_answer(at(40), first, &[granted, granted]),
            Answer::Unexpected
        );
        all.handle_connected(at(41), true);
        let third = check(&mut all, 41, &["a", "b/#"]);
        let refused = [granted, Granted::Not(0x87)];
        let Answer::Lacking(text) = all.handle_answer(at(41), third, &refused) else {
            panic!("not refused");
        };
        assert!(
            text.contains("\"b/#\": not authorized (code 0x87)"),
            "{text}"
        );
        // Again and again, after longer and longer waits.
        let mut now = 41;
        for wait in [5, 10, 20, 40, 80, 160, 300, 300] {
            assert_eq!(all.poll_timeout(), Some(at(now + wait)));
            check(&mut all, now + wait - 1, &[]);
            now += wait;
            let again = check(&mut all, now, &["b/#"]);
            let answer = all.handle_answer(at(now), again, &[Granted::Not(0x87)]);
            assert!(matches!(answer, Answer::Lacking(_)), "{answer:?}");
        }
        let last = check(&mut all, 1256, &["b/#"]);
        let weaker = Granted::With(Qos::AtMostOnce);
        let Answer::Lacking(text) = all.handle_answer(at(1256), last, &[weaker]) else {
            panic!("not weaker");
        };
        assert!(text.contains("QoS 0 instead of 1"), "{text}");
        assert_eq!(all.poll_timeout(), None);
        all.handle_connected(at(2000), true);
        check(&mut all, 2000, &[]);
        all.handle_connected(at(3000), false);
        let fresh = check(&mut all, 3000, &["a", "b/#"]);
        let answer = all.handle_answer(at(3000), fresh, &[granted, granted]);
        assert_eq!(answer, Answer::Granted);
    }
}

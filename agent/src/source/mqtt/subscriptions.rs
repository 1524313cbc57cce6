//! Which topic filters the broker has granted, and when to ask again.
//!
//! A filter is asked for until the broker has granted it, over as many connections as it takes;
//! when the broker forgets the session, all are asked for again. What an earlier run was granted
//! counts for nothing: the configuration may have changed in between.
//!
//! A session keeps what was subscribed to, also what the configuration has no more, and a broker
//! cannot be asked for it. So each filter is a checkpoint of the source while it may be
//! subscribed to; one that is configured no more is given up, after those that replace it are
//! granted.

use std::time::Duration;

use pipeline::config::{MqttVersion, Qos};
use pipeline::decode::mqtt::{Granted, reason_words};
use pipeline::time::Monotonic;

/// What the keys of checkpoints begin with.
const KEY_PREFIX: u8 = b't';

/// A longer filter is not remembered: the keys of checkpoints are bounded.
const REMEMBERED_BYTES_MAX: usize = 200;

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
    /// Tells the sessions of several brokers and client identifiers apart.
    owner: u64,
    /// What the session may still have and the configuration has no more.
    stale: Vec<String>,
    /// The UNSUBSCRIBE that waits for its answer.
    leaving: Option<Asked>,
    /// Whether the broker does not let go of them: the next connection tries again.
    is_held: bool,
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

/// What became of an UNSUBSCRIBE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// These filters are subscribed to no more.
    Left(Vec<String>),
    /// The broker does not let go of these.
    Held(Vec<String>),
    /// Nobody asked.
    Unexpected,
}

impl Subscriptions {
    /// None is granted yet. `owner` is the hash of the broker and the client identifier;
    /// `checkpoints` are those of the source.
    pub(super) fn new(
        topics: &[String],
        version: MqttVersion,
        qos: Qos,
        owner: u64,
        checkpoints: &[(Vec<u8>, u64)],
    ) -> Self {
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
            owner,
            stale: checkpoints
                .iter()
                .filter_map(|(key, _)| remembered(owner, key))
                .filter(|known| !topics.iter().any(|topic| topic == known))
                .map(str::to_owned)
                .collect(),
            leaving: None,
            is_held: false,
        }
    }

    /// Whether a checkpoint of the source is one of these subscriptions.
    pub(super) fn owns(&self, key: &[u8]) -> bool {
        remembered(self.owner, key).is_some()
    }

    /// The checkpoints that say what may be subscribed to from here on.
    pub(super) fn keys(&self) -> impl Iterator<Item = Vec<u8>> {
        let topics = self.filters.iter().map(|filter| filter.topic.as_str());
        topics
            .filter(|topic| topic.len() <= REMEMBERED_BYTES_MAX)
            .map(|topic| self.key(topic))
    }

    /// The checkpoint of one filter.
    pub(super) fn key(&self, topic: &str) -> Vec<u8> {
        let mut key = vec![KEY_PREFIX];
        key.extend(self.owner.to_le_bytes());
        key.extend(topic.as_bytes());
        key
    }

    /// A connection was made; the broker still has the session, or not. Gives the filters that
    /// went with the session.
    pub(super) fn handle_connected(
        &mut self,
        now: Monotonic,
        session_present: bool,
    ) -> Vec<String> {
        self.asked = None;
        self.leaving = None;
        self.is_held = false;
        for filter in &mut self.filters {
            if !session_present || !matches!(filter.state, State::Granted(_)) {
                filter.state = State::Wanted(now);
            }
        }
        if session_present {
            Vec::new()
        } else {
            std::mem::take(&mut self.stale)
        }
    }

    /// What to ask for at this moment: the packet identifier and the filters.
    pub(super) fn poll_subscribe(&mut self, now: Monotonic) -> Option<(u16, Vec<&str>)> {
        if self.asked.is_some() || !self.filters.iter().any(|filter| filter.is_due(now)) {
            return None;
        }
        let asked = self.next_question(now);
        let packet_id = asked.packet_id;
        self.asked = Some(asked);
        let mut topics = Vec::new();
        for filter in &mut self.filters {
            if filter.is_due(now) {
                filter.state = State::Asked;
                topics.push(filter.topic.as_str());
            }
        }
        Some((packet_id, topics))
    }

    /// What to give up at this moment: the packet identifier and the filters.
    pub(super) fn poll_unsubscribe(&mut self, now: Monotonic) -> Option<(u16, Vec<&str>)> {
        let is_wanting = |filter: &Filter| matches!(filter.state, State::Wanted(_) | State::Asked);
        let is_busy = self.asked.is_some() || self.leaving.is_some() || self.is_held;
        if is_busy || self.stale.is_empty() || self.filters.iter().any(is_wanting) {
            return None;
        }
        let asked = self.next_question(now);
        self.leaving = Some(asked);
        let topics = self.stale.iter().map(String::as_str).collect();
        Some((asked.packet_id, topics))
    }

    /// The broker answered an UNSUBSCRIBE, with a reason why not or without.
    pub(super) fn handle_left(&mut self, packet_id: u16, refusal: Option<u8>) -> Leave {
        match self.leaving.take() {
            Some(asked) if asked.packet_id == packet_id => {}
            _ => return Leave::Unexpected,
        }
        if refusal.is_some() {
            self.is_held = true;
            return Leave::Held(self.stale.clone());
        }
        Leave::Left(std::mem::take(&mut self.stale))
    }

    fn next_question(&mut self, now: Monotonic) -> Asked {
        self.last_packet_id = self.last_packet_id % u16::MAX + 1;
        Asked {
            packet_id: self.last_packet_id,
            deadline: now.after(ANSWER_MAX),
        }
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
        let mut questions = self.asked.iter().chain(&self.leaving);
        questions.any(|asked| now >= asked.deadline)
    }

    /// When to look again.
    pub(super) fn poll_timeout(&self) -> Option<Monotonic> {
        let asked = match self.asked {
            Some(asked) => Some(asked.deadline),
            None => self.filters.iter().filter_map(Filter::wanted_at).min(),
        };
        let leaving = self.leaving.map(|asked| asked.deadline);
        asked.into_iter().chain(leaving).min()
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

/// Whether a checkpoint is a subscription, of whichever session.
pub(super) fn is_subscription(key: &[u8]) -> bool {
    key.first() == Some(&KEY_PREFIX) && key.len() > KEY_HEAD_BYTES
}

/// The filter that a checkpoint of this session stands for.
fn remembered(owner: u64, key: &[u8]) -> Option<&str> {
    let topic = key
        .strip_prefix(&[KEY_PREFIX])?
        .strip_prefix(owner.to_le_bytes().as_slice())?;
    std::str::from_utf8(topic).ok()
}

/// Prefix and owner.
const KEY_HEAD_BYTES: usize = 9;

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
        let mut all = Subscriptions::new(&topics, MqttVersion::V5, Qos::AtLeastOnce, 7, &[]);
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

    /// An earlier run subscribed to a and b, and now a and c are wanted.
    fn after_a_change() -> Subscriptions {
        let before = ["a".to_owned(), "b/#".to_owned()];
        let before = Subscriptions::new(&before, MqttVersion::V5, Qos::AtLeastOnce, 7, &[]);
        let mut known: Vec<(Vec<u8>, u64)> = before.keys().map(|key| (key, 1)).collect();
        assert!(known.iter().all(|(key, _)| is_subscription(key)));
        // Of another broker.
        known.push((b"t\x08\0\0\0\0\0\0\0x".to_vec(), 1));
        let now = ["a".to_owned(), "c".to_owned()];
        let all = Subscriptions::new(&now, MqttVersion::V5, Qos::AtLeastOnce, 7, &known);
        let owned: Vec<bool> = known.iter().map(|(key, _)| all.owns(key)).collect();
        assert_eq!(owned, [true, true, false]);
        all
    }

    #[test]
    fn what_is_configured_no_more_is_given_up_last() {
        let mut all = after_a_change();
        assert_eq!(all.handle_connected(at(1), true), [""; 0]);
        assert_eq!(all.poll_unsubscribe(at(1)), None);
        let asked = check(&mut all, 1, &["a", "c"]);
        assert_eq!(all.poll_unsubscribe(at(1)), None);
        let granted = Granted::With(Qos::AtLeastOnce);
        all.handle_answer(at(1), asked, &[granted, granted]);
        let (left, topics) = all.poll_unsubscribe(at(2)).unwrap();
        assert_eq!(topics, ["b/#"]);
        assert_ne!(left, asked);
        assert_eq!(all.poll_unsubscribe(at(2)), None);
        assert_eq!(all.poll_timeout(), Some(at(32)));
        assert!(all.is_overdue(at(32)));
        // The answer is lost with the connection; then the broker says no.
        all.handle_connected(at(40), true);
        assert!(!all.is_overdue(at(40)));
        let (left, _) = all.poll_unsubscribe(at(40)).unwrap();
        let held = Leave::Held(vec!["b/#".to_owned()]);
        assert_eq!(all.handle_left(left, Some(0x87)), held);
        assert_eq!(all.poll_unsubscribe(at(41)), None);
        all.handle_connected(at(50), true);
        let (left, _) = all.poll_unsubscribe(at(50)).unwrap();
        assert_eq!(
            all.handle_left(left, None),
            Leave::Left(vec!["b/#".to_owned()])
        );
        assert_eq!(all.handle_left(left, None), Leave::Unexpected);
        assert_eq!(all.poll_unsubscribe(at(51)), None);
    }

    #[test]
    fn what_went_with_its_session_need_not_be_given_up() {
        let mut all = after_a_change();
        assert_eq!(all.handle_connected(at(1), false), ["b/#"]);
        let asked = check(&mut all, 1, &["a", "c"]);
        let granted = Granted::With(Qos::AtLeastOnce);
        all.handle_answer(at(1), asked, &[granted, granted]);
        assert_eq!(all.poll_unsubscribe(at(2)), None);
    }

    #[test]
    fn a_filter_that_is_too_long_for_a_key_is_not_remembered() {
        let topics = ["x".repeat(200), "y".repeat(201)];
        let all = Subscriptions::new(&topics, MqttVersion::V5, Qos::AtLeastOnce, 7, &[]);
        let keys: Vec<usize> = all.keys().map(|key| key.len()).collect();
        assert_eq!(keys, [209]);
    }
}

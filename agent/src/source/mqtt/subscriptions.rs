//! Which topic filters the broker has granted, and when to ask again.
//!
//! A filter is asked for until the broker has granted it, over as many connections as it takes;
//! when the broker forgets the session, all are asked for again. What an earlier run was granted
//! counts for nothing: the configuration may have changed in between.

use std::time::Duration;

use pipeline::time::Monotonic;

/// How long the broker may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// When a refused filter is asked for again.
const REFUSED_RETRY: Duration = Duration::from_mins(1);

/// All filters of a source.
#[derive(Debug)]
pub(super) struct Subscriptions {
    filters: Vec<Filter>,
    last_packet_id: u16,
    asked: Option<Asked>,
}

#[derive(Debug)]
struct Filter {
    topic: String,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// To be asked for at this time.
    Wanted(Monotonic),
    /// In the SUBSCRIBE that waits for its answer.
    Asked,
    /// The broker sends it.
    Granted,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    packet_id: u16,
    deadline: Monotonic,
}

/// What the broker's answer means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// All that was asked for is granted.
    Granted,
    /// Some is not; said in words.
    Refused(String),
    /// Nobody asked, or the numbers do not match.
    Unexpected,
}

impl Subscriptions {
    /// None is granted yet.
    pub(super) fn new(topics: &[String]) -> Self {
        let filter = |topic: &String| Filter {
            topic: topic.clone(),
            state: State::Wanted(Monotonic::default()),
        };
        Self {
            filters: topics.iter().map(filter).collect(),
            last_packet_id: 0,
            asked: None,
        }
    }

    /// A connection was made; the broker still has the session, or not.
    pub(super) fn handle_connected(&mut self, now: Monotonic, session_present: bool) {
        self.asked = None;
        for filter in &mut self.filters {
            if filter.state != State::Granted || !session_present {
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

    /// The broker answered; `refused` says for each filter of the question why not.
    pub(super) fn handle_answer(
        &mut self,
        now: Monotonic,
        packet_id: u16,
        refused: &[Option<String>],
    ) -> Answer {
        let waiting = |filter: &&mut Filter| filter.state == State::Asked;
        let count = self.filters.iter_mut().filter(waiting).count();
        match self.asked.take() {
            Some(asked) if asked.packet_id == packet_id && count == refused.len() => {}
            _ => return Answer::Unexpected,
        }
        let mut told = Vec::new();
        for (filter, refused) in self.filters.iter_mut().filter(waiting).zip(refused) {
            match refused {
                None => filter.state = State::Granted,
                Some(reason) => {
                    filter.state = State::Wanted(now.after(REFUSED_RETRY));
                    told.push(format!("{:?} ({reason})", filter.topic));
                }
            }
        }
        if told.is_empty() {
            Answer::Granted
        } else {
            Answer::Refused(format!(
                "broker refuses the subscription to {}; tried again every {} s",
                told.join(", "),
                REFUSED_RETRY.as_secs()
            ))
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
            State::Wanted(at) => Some(at),
            State::Asked | State::Granted => None,
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
        let mut all = Subscriptions::new(&["a".to_owned(), "b/#".to_owned()]);
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
            all.handle_answer(at(40), first, &[None, None]),
            Answer::Unexpected
        );
        all.handle_connected(at(41), true);
        let third = check(&mut all, 41, &["a", "b/#"]);
        let refused = [None, Some("NotAuthorized".to_owned())];
        let Answer::Refused(text) = all.handle_answer(at(41), third, &refused) else {
            panic!("not refused");
        };
        assert!(text.contains("\"b/#\" (NotAuthorized)"), "{text}");
        assert_eq!(all.poll_timeout(), Some(at(101)));
        check(&mut all, 100, &[]);
        let fourth = check(&mut all, 101, &["b/#"]);
        assert_eq!(all.handle_answer(at(101), fourth, &[None]), Answer::Granted);
        assert_eq!(all.poll_timeout(), None);
        all.handle_connected(at(200), true);
        check(&mut all, 200, &[]);
        all.handle_connected(at(300), false);
        check(&mut all, 300, &["a", "b/#"]);
    }
}

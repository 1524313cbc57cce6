//! What is remembered of the devices' sessions, and where their acknowledgements go.
//!
//! A session is the set of QoS 2 messages between PUBLISH and PUBREL. It outlives its connection
//! for as long as the device asked for, at most [`EXPIRY_MAX`], and the process never: at least
//! once is kept over a restart, exactly once only while the process lives.
//!
//! Invariant: a client identifier has one session, and a session at most one connection.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use pipeline::time::Monotonic;

/// The longest a session is kept without a connection.
pub(super) const EXPIRY_MAX: Duration = Duration::from_hours(24);

/// All sessions.
#[derive(Debug)]
pub(super) struct Sessions {
    count_max: usize,
    last: u32,
    by_client: HashMap<Box<str>, u32>,
    by_number: HashMap<u32, Session>,
}

#[derive(Debug)]
struct Session {
    client: Box<str>,
    connection: Option<u32>,
    /// When it may be forgotten; only while it has no connection.
    expires: Monotonic,
    held: BTreeMap<u16, Held>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    /// Not durable yet; PUBREC is owed to this connection, if it still stands then.
    Storing { connection: u32 },
    /// Durable.
    Stored,
}

/// A session that a connection now has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Opened {
    /// Its number.
    pub(super) session: u32,
    /// Whether it was there before.
    pub(super) present: bool,
    /// The connection that had it, which must end.
    pub(super) taken_from: Option<u32>,
}

/// What is known of a QoS 2 message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// It is new: store it.
    New,
    /// It is being stored.
    Storing,
    /// It is durable.
    Stored,
}

impl Sessions {
    /// Keeps at most `count_max` sessions; there must never be as many connections.
    pub(super) fn new(count_max: usize) -> Self {
        Self {
            count_max,
            last: 0,
            by_client: HashMap::new(),
            by_number: HashMap::new(),
        }
    }

    /// Gives `connection` the session of `client`, a new one if `clean`.
    pub(super) fn open(
        &mut self,
        now: Monotonic,
        client: &str,
        clean: bool,
        connection: u32,
    ) -> Opened {
        let known = self.by_client.get(client).copied();
        let mut taken_from = None;
        if let Some(number) = known
            && let Some(session) = self.by_number.get_mut(&number)
        {
            taken_from = session.connection;
            let expired = session.connection.is_none() && session.expires <= now;
            if !clean && !expired {
                session.connection = Some(connection);
                return Opened {
                    session: number,
                    present: true,
                    taken_from,
                };
            }
            self.remove(number);
        }
        self.make_room(now);
        self.last = self.last.wrapping_add(1);
        self.by_client.insert(client.into(), self.last);
        self.by_number.insert(
            self.last,
            Session {
                client: client.into(),
                connection: Some(connection),
                expires: now,
                held: BTreeMap::new(),
            },
        );
        Opened {
            session: self.last,
            present: false,
            taken_from,
        }
    }

    /// `connection` has ended; its session lives on for `expiry`. One that was taken over is
    /// not touched.
    pub(super) fn close(
        &mut self,
        now: Monotonic,
        session: u32,
        connection: u32,
        expiry: Duration,
    ) {
        let Some(kept) = self.by_number.get_mut(&session) else {
            return;
        };
        if kept.connection != Some(connection) {
            return;
        }
        kept.connection = None;
        kept.expires = now.after(expiry.min(EXPIRY_MAX));
        if expiry.is_zero() {
            self.remove(session);
        }
    }

    /// A QoS 2 message came by `connection`.
    pub(super) fn hold(&mut self, session: u32, packet_id: u16, connection: u32) -> Hold {
        let Some(session) = self.by_number.get_mut(&session) else {
            return Hold::New;
        };
        match session.held.get_mut(&packet_id) {
            Some(Held::Stored) => Hold::Stored,
            Some(storing @ Held::Storing { .. }) => {
                *storing = Held::Storing { connection };
                Hold::Storing
            }
            None => {
                session.held.insert(packet_id, Held::Storing { connection });
                Hold::New
            }
        }
    }

    /// A QoS 2 message is durable; says which connection is owed its PUBREC.
    pub(super) fn settle(&mut self, session: u32, packet_id: u16) -> Option<u32> {
        let held = self.by_number.get_mut(&session)?.held.get_mut(&packet_id)?;
        match std::mem::replace(held, Held::Stored) {
            Held::Storing { connection } => Some(connection),
            Held::Stored => None,
        }
    }

    /// PUBREL: says whether the message was known.
    pub(super) fn release(&mut self, session: u32, packet_id: u16) -> bool {
        self.by_number
            .get_mut(&session)
            .is_some_and(|session| session.held.remove(&packet_id).is_some())
    }

    /// How many QoS 2 messages a session holds.
    pub(super) fn held(&self, session: u32) -> usize {
        self.by_number
            .get(&session)
            .map_or(0, |session| session.held.len())
    }

    fn remove(&mut self, number: u32) {
        if let Some(session) = self.by_number.remove(&number) {
            self.by_client.remove(&session.client);
        }
    }

    /// Forgets what has expired and, if that is not enough, what would expire first.
    fn make_room(&mut self, now: Monotonic) {
        if self.by_number.len() < self.count_max {
            return;
        }
        let offline = |session: &&mut Session| session.connection.is_none();
        let first = self
            .by_number
            .values_mut()
            .filter(offline)
            .map(|session| session.expires)
            .min();
        let limit = first.map_or(now, |first| first.max(now));
        self.by_number
            .retain(|_, session| session.connection.is_some() || session.expires > limit);
        let by_number = &self.by_number;
        self.by_client
            .retain(|_, number| by_number.contains_key(number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_start(Duration::from_secs(seconds))
    }

    const HOUR: Duration = Duration::from_hours(1);

    #[test]
    fn a_session_outlives_its_connection_for_as_long_as_it_may() {
        let mut sessions = Sessions::new(10);
        let check = |opened: Opened, session, present, taken_from| {
            let expected = Opened {
                session,
                present,
                taken_from,
            };
            assert_eq!(opened, expected);
        };
        check(sessions.open(at(0), "a", false, 1), 1, false, None);
        // Taken over, and the old connection's end changes nothing.
        check(sessions.open(at(1), "a", false, 2), 1, true, Some(1));
        sessions.close(at(2), 1, 1, Duration::ZERO);
        sessions.close(at(3), 1, 2, HOUR);
        check(sessions.open(at(3602), "a", false, 3), 1, true, None);
        sessions.close(at(3603), 1, 3, HOUR);
        check(sessions.open(at(7203), "a", false, 4), 2, false, None);
        check(sessions.open(at(7204), "a", true, 5), 3, false, Some(4));
        sessions.close(at(7205), 3, 5, Duration::ZERO);
        check(sessions.open(at(7206), "a", false, 6), 4, false, None);
        // Longer than the longest.
        sessions.close(at(7207), 4, 6, HOUR * 1000);
        check(
            sessions.open(at(7207 + 24 * 3600), "a", false, 7),
            5,
            false,
            None,
        );
    }

    #[test]
    fn a_qos_2_message_is_new_once() {
        let mut sessions = Sessions::new(10);
        let session = sessions.open(at(0), "a", false, 1).session;
        assert_eq!(sessions.hold(session, 9, 1), Hold::New);
        assert_eq!(sessions.hold(session, 9, 1), Hold::Storing);
        sessions.close(at(1), session, 1, HOUR);
        sessions.open(at(2), "a", false, 2);
        assert_eq!(sessions.hold(session, 9, 2), Hold::Storing);
        assert_eq!(sessions.settle(session, 9), Some(2));
        assert_eq!(sessions.settle(session, 9), None);
        assert_eq!(sessions.hold(session, 9, 2), Hold::Stored);
        assert_eq!(sessions.held(session), 1);
        assert!(sessions.release(session, 9));
        assert!(!sessions.release(session, 9));
        assert_eq!(sessions.hold(session, 9, 2), Hold::New);
        // A clean start forgets, and the old session's receipt finds nothing.
        sessions.open(at(3), "a", true, 3);
        assert_eq!(sessions.settle(session, 9), None);
    }

    #[test]
    fn there_are_never_more_than_allowed() {
        let mut sessions = Sessions::new(3);
        for number in 0..100_u32 {
            let client = format!("c{number}");
            let opened = sessions.open(at(u64::from(number)), &client, false, number);
            sessions.close(at(u64::from(number)), opened.session, number, HOUR);
            assert!(sessions.by_number.len() <= 3);
            assert_eq!(sessions.by_client.len(), sessions.by_number.len());
        }
        // The last ones are still known.
        assert!(sessions.open(at(100), "c99", false, 100).present);
        assert!(!sessions.open(at(100), "c1", false, 101).present);
    }
}

//! What is remembered of the devices' sessions, and where their acknowledgements go.
//!
//! A session is the set of QoS 2 messages between PUBLISH and PUBCOMP, and a last will that waits.
//! It outlives its connection for as long as the device asked for, at most [`EXPIRY_MAX`]. What it
//! holds also outlives the process: it is in the ring as [`Mark`]s.
//!
//! Invariant: a client identifier has one session, and a session at most one connection.

mod marks;
mod wills;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use pipeline::record::Record;
use pipeline::time::Monotonic;

pub(super) use marks::Mark;

use marks::{Key, Room, bits_of, block_of, ids_of};
use wills::Wills;

/// The longest a session is kept without a connection.
pub(super) const EXPIRY_MAX: Duration = Duration::from_hours(24);

/// All sessions.
#[derive(Debug)]
pub(super) struct Sessions {
    count_max: usize,
    last: u32,
    by_client: HashMap<Box<str>, u32>,
    by_number: HashMap<u32, Session>,
    room: Room,
    wills: Wills,
    /// Keys of marks that nobody needs any more.
    forgotten: Vec<Vec<u8>>,
}

#[derive(Debug)]
struct Session {
    client: Box<str>,
    connection: Option<u32>,
    /// When it may be forgotten; only while it has no connection.
    expires: Monotonic,
    /// Whether it outlives its connection, and so the process.
    outlives: bool,
    held: BTreeMap<u16, Held>,
    /// Which of its marks are in the ring.
    blocks: BTreeSet<u16>,
    /// Until when its last will waits.
    will_at: Option<Monotonic>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    /// Not durable yet; PUBREC is owed to this connection, if it still stands then.
    Storing { connection: u32 },
    /// Durable.
    Stored,
    /// PUBREL came: PUBCOMP is owed once that is durable.
    Releasing,
}

/// Who wants a session, and what kind of one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim<'a> {
    /// The client identifier.
    pub(super) client: &'a str,
    /// Whether an earlier session is to be forgotten.
    pub(super) clean: bool,
    /// Whether it is to outlive its connection.
    pub(super) outlives: bool,
    /// The connection.
    pub(super) connection: u32,
}

/// What became of a session when one of its connections ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// It waits for its device, for so long.
    Waits(Duration),
    /// It is gone.
    Gone,
    /// Another connection has it.
    TakenOver,
}

/// What PUBREL leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Release {
    /// The message is not known.
    Unknown,
    /// PUBCOMP may go out.
    Done,
    /// PUBCOMP is owed once it is durable that the message is forgotten.
    Owed,
    /// The same, and it is on its way already.
    Waiting,
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
            room: Room::default(),
            wills: Wills::default(),
            forgotten: Vec::new(),
        }
    }

    /// Takes up what was durable when the process before ended.
    pub(super) fn restore(&mut self, marks: &[(Vec<u8>, u64)]) {
        let keys = marks
            .iter()
            .filter_map(|(key, bits)| Some((Key::read(key)?, *bits)));
        for (key, bits) in keys {
            self.last = self.last.max(key.session);
            let known = self.by_client.get(key.client).copied();
            if known.is_some_and(|known| known > key.session) {
                self.forgotten.push(key.bytes());
                continue;
            }
            if known.is_some_and(|known| known < key.session) {
                self.remove(known.unwrap_or_default());
            }
            self.by_client.insert(key.client.into(), key.session);
            let session = self
                .by_number
                .entry(key.session)
                .or_insert_with(|| Session::new(key.client, None, true));
            session.expires = Monotonic::default().after(EXPIRY_MAX);
            if self.room.take(key.client, key.block, &mut session.blocks) {
                let ids = ids_of(key.block, bits);
                session.held.extend(ids.map(|id| (id, Held::Stored)));
            }
        }
    }

    /// Gives a connection the session of its client, a new one if `clean`.
    pub(super) fn open(&mut self, now: Monotonic, claim: Claim<'_>) -> Opened {
        let known = self.by_client.get(claim.client).copied();
        let mut taken_from = None;
        if let Some(number) = known
            && let Some(session) = self.by_number.get_mut(&number)
        {
            taken_from = session.connection;
            let expired = session.connection.is_none() && session.expires <= now;
            if !claim.clean && !expired {
                session.connection = Some(claim.connection);
                session.outlives = claim.outlives || !session.blocks.is_empty();
                // Its device is back before its last will was to be published.
                if let Some(at) = session.will_at.take() {
                    drop(self.wills.take(at, number));
                }
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
        self.by_client.insert(claim.client.into(), self.last);
        let session = Session::new(claim.client, Some(claim.connection), claim.outlives);
        self.by_number.insert(self.last, session);
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
    ) -> Ended {
        let Some(kept) = self.by_number.get_mut(&session) else {
            return Ended::Gone;
        };
        if kept.connection != Some(connection) {
            return Ended::TakenOver;
        }
        let expiry = expiry.min(EXPIRY_MAX);
        kept.connection = None;
        kept.expires = now.after(expiry);
        if expiry.is_zero() {
            self.remove(session);
            return Ended::Gone;
        }
        Ended::Waits(expiry)
    }

    /// Whether there is such a session.
    pub(super) fn knows(&self, session: u32) -> bool {
        self.by_number.contains_key(&session)
    }

    /// The last will of a device whose connection has ended; it comes back if it is to be
    /// published at once.
    pub(super) fn keep_will(
        &mut self,
        now: Monotonic,
        (session, ended): (u32, Ended),
        delay: Duration,
        will: Record,
    ) -> Option<Record> {
        let expiry = match ended {
            Ended::Gone => return Some(will),
            // With a delay the device is back in time.
            Ended::TakenOver => return delay.is_zero().then_some(will),
            Ended::Waits(expiry) => expiry,
        };
        if delay.is_zero() {
            return Some(will);
        }
        let at = now.after(delay.min(expiry));
        if let Some(kept) = self.by_number.get_mut(&session) {
            kept.will_at = Some(at);
        }
        self.wills.keep(at, session, will)
    }

    /// When a last will is to be published.
    pub(super) fn will_timeout(&self) -> Option<Monotonic> {
        self.wills.poll_timeout()
    }

    /// The last wills that are to be published now.
    pub(super) fn poll_wills(&mut self, now: Monotonic) -> Vec<Record> {
        self.wills.poll(now)
    }

    /// All last wills that wait: the agent ends, and their devices are gone.
    pub(super) fn take_wills(&mut self) -> Vec<Record> {
        self.wills.take_all()
    }

    /// The keys of marks that are to be forgotten.
    pub(super) fn take_forgotten(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.forgotten)
    }

    /// What the ring is to know of the messages around `packet_id`; `None` if nothing.
    pub(super) fn mark(&mut self, session: u32, packet_id: u16) -> Option<Mark> {
        let kept = self.by_number.get_mut(&session)?;
        if !kept.outlives {
            return None;
        }
        let block = block_of(packet_id);
        let first = block * 64;
        let ids = kept.held.range(first..=first + 63);
        let bits = bits_of(
            block,
            ids.filter(|(_, held)| **held != Held::Releasing)
                .map(|(id, _)| *id),
        );
        let is_kept = if bits == 0 {
            self.room.give(&kept.client, block, &mut kept.blocks)
        } else {
            self.room.take(&kept.client, block, &mut kept.blocks)
        };
        let key = Key {
            session,
            block,
            client: &kept.client,
        };
        is_kept.then(|| Mark {
            key: key.bytes(),
            bits: (bits != 0).then_some(bits),
        })
    }

    /// A QoS 2 message came by `connection`.
    pub(super) fn hold(&mut self, session: u32, packet_id: u16, connection: u32) -> Hold {
        let Some(session) = self.by_number.get_mut(&session) else {
            return Hold::New;
        };
        match session.held.get_mut(&packet_id) {
            Some(Held::Stored | Held::Releasing) => Hold::Stored,
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
        let Held::Storing { connection } = *held else {
            return None;
        };
        *held = Held::Stored;
        Some(connection)
    }

    /// PUBREL came.
    pub(super) fn release(&mut self, session: u32, packet_id: u16) -> Release {
        let Some(kept) = self.by_number.get_mut(&session) else {
            return Release::Unknown;
        };
        let is_marked = kept.blocks.contains(&block_of(packet_id));
        match kept.held.get_mut(&packet_id) {
            None => Release::Unknown,
            Some(Held::Releasing) => Release::Waiting,
            Some(held) if is_marked => {
                *held = Held::Releasing;
                Release::Owed
            }
            Some(_) => {
                kept.held.remove(&packet_id);
                Release::Done
            }
        }
    }

    /// It is durable that a QoS 2 message is forgotten; says which connection is owed PUBCOMP.
    pub(super) fn released(&mut self, session: u32, packet_id: u16) -> Option<u32> {
        let kept = self.by_number.get_mut(&session)?;
        let is_releasing = kept.held.get(&packet_id) == Some(&Held::Releasing);
        if is_releasing {
            kept.held.remove(&packet_id);
        }
        kept.connection.filter(|_| is_releasing)
    }

    /// A message that was new is not stored after all.
    pub(super) fn let_go(&mut self, session: u32, packet_id: u16) {
        if let Some(kept) = self.by_number.get_mut(&session) {
            kept.held.remove(&packet_id);
        }
    }

    /// How many QoS 2 messages a session holds.
    pub(super) fn held(&self, session: u32) -> usize {
        self.by_number
            .get(&session)
            .map_or(0, |session| session.held.len())
    }

    fn remove(&mut self, number: u32) {
        let Some(mut session) = self.by_number.remove(&number) else {
            return;
        };
        if self.by_client.get(&session.client) == Some(&number) {
            self.by_client.remove(&session.client);
        }
        if let Some(at) = session.will_at {
            self.wills.release(at, number);
        }
        while let Some(block) = session.blocks.first().copied() {
            self.room.give(&session.client, block, &mut session.blocks);
            let key = Key {
                session: number,
                block,
                client: &session.client,
            };
            self.forgotten.push(key.bytes());
        }
    }

    /// Forgets what has expired and, if that is not enough, what would expire first.
    fn make_room(&mut self, now: Monotonic) {
        if self.by_number.len() < self.count_max {
            return;
        }
        let offline = |(_, session): &(&u32, &Session)| session.connection.is_none();
        let first = self.by_number.iter().filter(offline);
        let first = first.map(|(_, session)| session.expires).min();
        let limit = first.map_or(now, |first| first.max(now));
        let expired = self.by_number.iter().filter(offline);
        let expired: Vec<u32> = expired
            .filter(|(_, session)| session.expires <= limit)
            .map(|(number, _)| *number)
            .collect();
        for number in expired {
            self.remove(number);
        }
    }
}

impl Session {
    fn new(client: &str, connection: Option<u32>, outlives: bool) -> Self {
        Self {
            client: client.into(),
            connection,
            expires: Monotonic::default(),
            outlives,
            held: BTreeMap::new(),
            blocks: BTreeSet::new(),
            will_at: None,
        }
    }
}

#[cfg(test)]
mod tests;

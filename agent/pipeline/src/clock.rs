//! What time it is on a machine whose clock may be wrong.
//!
//! A gateway without a battery clock starts in 1970, or where it was when it lost power. What is
//! always right is how long the machine has been running: [`Boottime`]. So a record keeps that and
//! which boot it was, and one difference, learnt at any moment of the boot, tells the time of all
//! records of the boot. Until then the clock is not believed, whatever it says.
//!
//! Two teach the difference: the machine's time daemon, once it says that it is in step, and the
//! `Date` of a destination that proved by its certificate who it is.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::WallClock;

/// No earlier moment can be now, because this code was not written then: 2026-11-01.
pub const EARLIEST: WallClock = WallClock::from_millis(1_793_491_200_000);

/// A time daemon confirms more often than this, or it has lost its servers.
const CONFIRMED_SINCE_MAX: Duration = Duration::from_mins(70);

/// A clock that moves by less is being kept in step; by more, it was set.
const STEP_MS: u64 = 500;

/// A `Date` is right to the second it names, and travels for a while.
const DATE_STEP_MS: u64 = 5_000;

/// A record whose time is further away from that of its batch was timed before the clock was set.
const SAME_TIMELINE_MS: u64 = 60_000;

/// Which boot of the machine it is: a random number that the kernel draws.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct BootId([u8; 16]);

/// What a record keeps of a [`BootId`]: 27 of its bits, enough to tell the few boots apart that a
/// ring has records of.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct BootTag(u32);

/// How long the machine has been running, in milliseconds, its sleep included.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Boottime(u64);

/// When a source took a record, as the machine itself counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// In which boot.
    pub boot: BootTag,
    /// How long after its beginning.
    pub boottime: Boottime,
    /// Whether nobody had told the time yet.
    pub is_unsynced: bool,
}

/// Who taught the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Teacher {
    /// The machine's time daemon (NTP).
    Daemon,
    /// The `Date` of a destination over TLS.
    Date,
}

/// The difference between the calendar and the time since the boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Learned {
    /// The calendar's milliseconds when the boot began.
    pub offset_ms: i64,
    /// Who taught it.
    pub by: Teacher,
}

/// What the machine says at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Its clock.
    pub wall: WallClock,
    /// How long it has been running.
    pub boottime: Boottime,
    /// When its time daemon said last, by that clock, that it is right.
    pub confirmed: Option<WallClock>,
}

/// A moment as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// The best that is known of the calendar.
    pub time: WallClock,
    /// The same moment as the machine counts.
    pub taken: Taken,
}

/// The clock of one boot.
#[derive(Clone, Copy, Debug, Default)]
pub struct BootClock {
    boot: BootTag,
    is_trusted: bool,
    learned: Option<Learned>,
    /// What records of this boot are corrected with: the first that was learnt, which is nearest
    /// to them, or the first of a better teacher.
    correction: Option<Learned>,
    /// The last confirmation that was seen.
    confirmed: Option<WallClock>,
    has_looked: bool,
}

impl BootId {
    /// From its 16 bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// As the kernel writes it: 32 hex digits with dashes between.
    pub fn parse(text: &str) -> Option<Self> {
        let digits: String = text.trim().chars().filter(|c| *c != '-').collect();
        let number = u128::from_str_radix(&digits, 16).ok()?;
        (digits.len() == 32).then(|| {
            let mut bytes = number.to_le_bytes();
            bytes.reverse();
            Self(bytes)
        })
    }

    /// What records keep of it.
    pub const fn tag(&self) -> BootTag {
        let [a, b, c, d, ..] = self.0;
        BootTag(u32::from_le_bytes([d, c, b, a]) >> 5)
    }
}

impl fmt::Display for BootId {
    /// As the journal writes it: 32 hex digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl BootTag {
    /// The tag with this number, of which 27 bits count.
    pub const fn new(number: u32) -> Self {
        Self(number & (u32::MAX >> 5))
    }

    /// Its number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl Boottime {
    /// So many milliseconds after the boot.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds after the boot.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// What has passed since `earlier`; zero when that is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl Learned {
    /// The calendar at a moment of that boot.
    pub fn time_of(&self, boottime: Boottime) -> WallClock {
        WallClock::from_millis(self.offset_ms.saturating_add(signed(boottime.0)))
    }
}

impl Moment {
    /// How long ago another moment was.
    ///
    /// Within one boot that is what has passed, whatever happened to the calendar; what an earlier
    /// boot did is at least as long ago as this one has lasted.
    pub fn since(&self, earlier: &Self) -> Duration {
        if self.taken.boot == earlier.taken.boot {
            return self.taken.boottime.since(earlier.taken.boottime);
        }
        let running = self.taken.boottime.since(Boottime::default());
        if self.taken.is_unsynced || earlier.taken.is_unsynced {
            return running;
        }
        self.time.since(earlier.time).max(running)
    }

    /// When a record of a batch that was begun at this moment was taken, whose source says that it
    /// was at `received_at` of the same clock, and that time.
    ///
    /// Between the two the clock may have been set: then the batch's own time counts.
    pub fn place(&self, received_at: WallClock) -> (WallClock, Taken) {
        let ago = self
            .time
            .as_millis()
            .saturating_sub(received_at.as_millis());
        if ago.unsigned_abs() > SAME_TIMELINE_MS {
            return (self.time, self.taken);
        }
        let boottime = signed(self.taken.boottime.0).saturating_sub(ago);
        let taken = Taken {
            boottime: Boottime(u64::try_from(boottime).unwrap_or(0)),
            ..self.taken
        };
        (received_at, taken)
    }
}

impl BootClock {
    /// A clock in this boot that knows nothing yet; one that `is_trusted` is believed as it is.
    pub const fn new(boot: BootTag, is_trusted: bool) -> Self {
        Self {
            boot,
            is_trusted,
            learned: None,
            correction: None,
            confirmed: None,
            has_looked: false,
        }
    }

    /// Goes on with what was learnt earlier in this boot; true when nothing was known.
    pub fn restore(&mut self, learned: Learned) -> bool {
        self.correction.get_or_insert(learned);
        let is_new = self.learned.is_none();
        self.learned.get_or_insert(learned);
        is_new
    }

    /// What was learnt in this boot.
    pub const fn learned(&self) -> Option<Learned> {
        self.learned
    }

    /// What records of this boot that did not know the time are corrected with.
    pub const fn correction(&self) -> Option<Learned> {
        self.correction
    }

    /// Whether the machine's own clock is believed as it is.
    pub const fn is_trusted(&self) -> bool {
        self.is_trusted
    }

    /// Whether the time is known.
    pub const fn is_synced(&self) -> bool {
        self.is_trusted || self.learned.is_some()
    }

    /// Looks at the machine; true when something was learnt that records are corrected with.
    ///
    /// A clock that jumps without a new confirmation was set by somebody who need not be right. One
    /// case cannot be told: a clock that was set back to shortly after its last confirmation, at
    /// the first look of a boot of which nothing was learnt yet.
    pub fn handle_reading(&mut self, reading: Reading) -> bool {
        // What was there at the first look may be older than a step that nobody saw.
        let is_first_look = !std::mem::replace(&mut self.has_looked, true);
        let Some(confirmed) = reading.confirmed else {
            return false;
        };
        let is_new = self.confirmed.replace(confirmed) != Some(confirmed)
            && (!is_first_look || self.learned.is_none());
        let is_recent = confirmed <= reading.wall.after(Duration::from_secs(1))
            && reading.wall.since(confirmed) <= CONFIRMED_SINCE_MAX;
        if !is_recent || reading.wall < EARLIEST {
            return false;
        }
        let offset_ms = reading
            .wall
            .as_millis()
            .saturating_sub(signed(reading.boottime.0));
        let step = self
            .learned
            .map(|known| known.offset_ms.abs_diff(offset_ms));
        if step.is_some_and(|step| step > STEP_MS) && !is_new {
            return false;
        }
        let is_first = self.learned.is_none_or(|known| known.by != Teacher::Daemon);
        self.learned = Some(Learned {
            offset_ms,
            by: Teacher::Daemon,
        });
        if is_first {
            self.correction = self.learned;
        }
        is_first
    }

    /// Hears that it was `date` at this moment of the boot; true when something was learnt that
    /// records are corrected with.
    ///
    /// A time daemon knows better. Without one the machine drifts away in weeks, and follows.
    pub fn handle_date(&mut self, date: WallClock, boottime: Boottime) -> bool {
        let offset_ms = date.as_millis().saturating_sub(signed(boottime.0));
        let learned = Learned {
            offset_ms,
            by: Teacher::Date,
        };
        match self.learned {
            _ if date < EARLIEST => false,
            None => {
                self.learned = Some(learned);
                self.correction = self.learned;
                true
            }
            Some(known) if known.by == Teacher::Date => {
                if known.offset_ms.abs_diff(offset_ms) > DATE_STEP_MS {
                    self.learned = Some(learned);
                }
                false
            }
            Some(_) => false,
        }
    }

    /// What is known of this moment.
    ///
    /// Once something was learnt the machine's clock may jump as it likes: it is not asked.
    pub fn moment(&self, wall: WallClock, boottime: Boottime) -> Moment {
        let time = match self.learned {
            Some(learned) if !self.is_trusted => learned.time_of(boottime),
            _ => wall,
        };
        Moment {
            time,
            taken: Taken {
                boot: self.boot,
                boottime,
                is_unsynced: !self.is_synced(),
            },
        }
    }
}

fn signed(millis: u64) -> i64 {
    i64::try_from(millis).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;

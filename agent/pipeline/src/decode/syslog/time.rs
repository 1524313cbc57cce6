//! The times that syslog messages begin with.
//!
//! A time without a year is given the one that brings it nearest to the moment of arrival: a
//! message of 23:59:59 on New Year's Eve that arrives after midnight is a second old, not a year
//! early, and one from a clock that runs ahead is a second early, not a year old.

use std::fmt;

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};

use super::cut::Cut;
use crate::time::WallClock;

/// The time zone of times that name none.
#[derive(Clone, Debug, PartialEq)]
pub struct SyslogZone(TimeZone);

impl SyslogZone {
    /// The zone of this IANA name (or POSIX rule), or the machine's own.
    pub fn new(name: Option<&str>) -> Result<Self, UnknownZone> {
        let Some(name) = name else {
            return Ok(Self(TimeZone::try_system().unwrap_or(TimeZone::UTC)));
        };
        if name.eq_ignore_ascii_case("UTC") {
            return Ok(Self(TimeZone::UTC));
        }
        TimeZone::get(name)
            .or_else(|_| TimeZone::posix(name))
            .map(Self)
            .map_err(|_| UnknownZone(name.to_owned()))
    }

    /// Greenwich.
    pub const fn utc() -> Self {
        Self(TimeZone::UTC)
    }
}

/// No such time zone on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownZone(String);

impl fmt::Display for UnknownZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "time zone \"{}\" is not known here: use an IANA name such as \"Europe/Berlin\" and \
             install tzdata, or a POSIX rule such as \"CET-1CEST,M3.5.0,M10.5.0/3\"",
            self.0
        )
    }
}

impl std::error::Error for UnknownZone {}

/// Any of the times that an RFC 3164 message may begin with.
pub(super) fn message_time(
    rest: &mut Cut<'_>,
    now: WallClock,
    zone: &SyslogZone,
) -> Option<WallClock> {
    let mut ahead = *rest;
    // Cisco marks a clock that is not set (*) or has lost its source (.).
    ahead.any(|byte| matches!(byte, b'*' | b'.'));
    let time = iso_time(&mut ahead, Some(zone))
        .or_else(|| bsd_time(&mut ahead, now, zone))
        .or_else(|| unix_time(&mut ahead))?;
    let ends = matches!(ahead.first(), None | Some(b' ' | b':'));
    ends.then(|| {
        *rest = ahead;
        time
    })
}

/// `2003-10-11T22:14:15.003Z`, `2003-10-11 22:14:15,003 +0200`; without a zone only if `zone`
/// is given.
pub(super) fn iso_time(rest: &mut Cut<'_>, zone: Option<&SyslogZone>) -> Option<WallClock> {
    let mut ahead = *rest;
    let year = ahead.number(4, 4)?;
    let month = ahead.byte(b'-').then(|| ahead.number(2, 2))??;
    let day = ahead.byte(b'-').then(|| ahead.number(2, 2))??;
    ahead.any(|byte| matches!(byte, b'T' | b't' | b' '))?;
    let clock = Clock::take(&mut ahead)?;
    let offset = match (offset(&mut ahead), zone) {
        (Some(offset), _) => offset.to_time_zone(),
        (None, Some(zone)) => zone.0.clone(),
        (None, None) => return None,
    };
    let time = resolve(clock.on(year, month, day)?, &offset)?;
    *rest = ahead;
    Some(time)
}

/// `[Mon ]Mar  1 [2024 ]00:00:00[.123][ UTC][ 2024]`, `2024 Mar  1 00:00:00`.
pub(super) fn bsd_time(rest: &mut Cut<'_>, now: WallClock, zone: &SyslogZone) -> Option<WallClock> {
    let mut ahead = *rest;
    // Cisco's NX-OS begins with the year.
    let first = year(&mut ahead).filter(|_| ahead.spaces());
    if first.is_none() {
        ahead = *rest;
    }
    let mut month = month(&mut ahead);
    if month.is_none() && WEEKDAYS.contains(&ahead.take(3)) && ahead.spaces() {
        month = self::month(&mut ahead);
    }
    let month = month.filter(|_| ahead.spaces())?;
    let day = ahead.number(1, 2).filter(|_| ahead.spaces())?;
    let mut year = first.or_else(|| year(&mut ahead).filter(|_| ahead.spaces()));
    let clock = Clock::take(&mut ahead)?;
    let mut offset = None;
    let mut after = ahead;
    if after.spaces() {
        offset = zone_name(&mut after);
        if offset.is_some() {
            ahead = after;
        }
        let mut after = ahead;
        if year.is_none() && after.spaces() {
            year = self::year(&mut after)
                .filter(|_| matches!(after.rest(), [] | [b':'] | [b' ', ..] | [b':', b' ', ..]));
            if year.is_some() {
                ahead = after;
            }
        }
    }
    let zone = match offset.flatten() {
        Some(offset) => offset.to_time_zone(),
        None => zone.0.clone(),
    };
    let time = match year {
        Some(year) => resolve(clock.on(year, month, day)?, &zone)?,
        None => nearest_year(&clock, month, day, now, &zone)?,
    };
    *rest = ahead;
    Some(time)
}

/// `1563249630.774247772`, after a version as Meraki sends it.
fn unix_time(rest: &mut Cut<'_>) -> Option<WallClock> {
    let mut ahead = *rest;
    if ahead.number(1, 1)? != 1 || !ahead.byte(b' ') {
        return None;
    }
    let seconds = ahead.number(9, 10)?;
    let millis = fraction(&mut ahead)?;
    *rest = ahead;
    Some(WallClock::from_millis(
        i64::from(seconds) * 1000 + i64::from(millis),
    ))
}

/// The year in which the date comes nearest to `now`; February 29 only exists in some.
fn nearest_year(
    clock: &Clock,
    month: u32,
    day: u32,
    now: WallClock,
    zone: &TimeZone,
) -> Option<WallClock> {
    let here = zone.to_datetime(jiff::Timestamp::from_millisecond(now.as_millis()).ok()?);
    let year = u32::try_from(here.year()).ok()?;
    // Between 1896 and 1904, and around 2100, leap years are eight years apart.
    let reach = if (month, day) == (2, 29) { 8 } else { 1 };
    (year.saturating_sub(reach)..=year.saturating_add(reach))
        .filter_map(|year| resolve(clock.on(year, month, day)?, zone))
        .min_by_key(|time| now.as_millis().abs_diff(time.as_millis()))
}

/// A time of day.
struct Clock {
    hour: i8,
    minute: i8,
    second: i8,
    millis: u32,
}

impl Clock {
    fn take(rest: &mut Cut<'_>) -> Option<Self> {
        let hour = rest.number(2, 2)?;
        let minute = rest.byte(b':').then(|| rest.number(2, 2))??;
        let second = rest.byte(b':').then(|| rest.number(2, 2))??;
        let millis = fraction(rest).unwrap_or(0);
        Some(Self {
            hour: i8::try_from(hour).ok()?,
            minute: i8::try_from(minute).ok()?,
            // A leap second is taken as the one before it.
            second: i8::try_from(if second == 60 { 59 } else { second }).ok()?,
            millis,
        })
    }

    fn on(&self, year: u32, month: u32, day: u32) -> Option<DateTime> {
        DateTime::new(
            i16::try_from(year).ok()?,
            i8::try_from(month).ok()?,
            i8::try_from(day).ok()?,
            self.hour,
            self.minute,
            self.second,
            i32::try_from(self.millis).ok()?.checked_mul(1_000_000)?,
        )
        .ok()
    }
}

/// A local time that a change of clocks skipped or repeated is taken as RFC 5545 says.
fn resolve(time: DateTime, zone: &TimeZone) -> Option<WallClock> {
    zone.to_timestamp(time)
        .ok()
        .map(|timestamp| WallClock::from_millis(timestamp.as_millisecond()))
}

/// A decimal fraction in milliseconds.
fn fraction(rest: &mut Cut<'_>) -> Option<u32> {
    let mut ahead = *rest;
    ahead.any(|byte| matches!(byte, b'.' | b','))?;
    let digits = ahead.run(|byte| byte.is_ascii_digit());
    if digits.is_empty() {
        return None;
    }
    *rest = ahead;
    Some((0..3).fold(0, |millis, n| {
        let digit = digits.get(n).map_or(0, |digit| u32::from(digit - b'0'));
        millis * 10 + digit
    }))
}

/// `Z`, `+02:00`, `+0200`, each also after a space.
fn offset(rest: &mut Cut<'_>) -> Option<Offset> {
    let mut ahead = *rest;
    ahead.spaces();
    let found = match ahead.any(|byte| matches!(byte, b'Z' | b'z' | b'+' | b'-'))? {
        b'Z' | b'z' => Offset::UTC,
        sign => {
            let (hours, minutes) = match ahead.number(4, 4) {
                Some(both) => (both / 100, both % 100),
                None => (
                    ahead.number(2, 2)?,
                    ahead.byte(b':').then(|| ahead.number(2, 2))??,
                ),
            };
            if hours > 23 || minutes > 59 {
                return None;
            }
            let seconds = i32::try_from(hours * 3600 + minutes * 60).ok()?;
            Offset::from_seconds(if sign == b'-' { -seconds } else { seconds }).ok()?
        }
    };
    matches!(ahead.first(), None | Some(b' ' | b':')).then(|| {
        *rest = ahead;
        found
    })
}

/// A zone by name: `Some(None)` for one that only says what the configuration knows better,
/// because `CST` is a zone in America, China and Cuba.
#[expect(
    clippy::option_option,
    reason = "no zone, a zone without and with a meaning"
)]
fn zone_name(rest: &mut Cut<'_>) -> Option<Option<Offset>> {
    if let Some(offset) = offset(rest) {
        return Some(Some(offset));
    }
    let mut ahead = *rest;
    let name = ahead.run(|byte| byte.is_ascii_uppercase());
    let found = match name {
        b"UTC" | b"GMT" if matches!(ahead.first(), Some(b' ' | b':')) => Some(Offset::UTC),
        _ => {
            let mut after = ahead;
            let has_year = after.spaces() && year(&mut after).is_some();
            let is_zone =
                (2..=5).contains(&name.len()) && (has_year || ahead.first() == Some(b':'));
            if !is_zone {
                return None;
            }
            None
        }
    };
    *rest = ahead;
    Some(found)
}

fn year(rest: &mut Cut<'_>) -> Option<u32> {
    let mut ahead = *rest;
    let year = ahead
        .number(4, 4)
        .filter(|year| (1970..2200).contains(year))?;
    *rest = ahead;
    Some(year)
}

/// `Jul` or `July`.
fn month(rest: &mut Cut<'_>) -> Option<u32> {
    let mut ahead = *rest;
    let name = ahead.run(|byte| byte.is_ascii_alphabetic());
    let month = MONTHS.iter().position(|month| {
        let is_short = month
            .get(..3)
            .is_some_and(|short| short.eq_ignore_ascii_case(name));
        is_short || month.eq_ignore_ascii_case(name)
    })?;
    *rest = ahead;
    u32::try_from(month + 1).ok()
}

const MONTHS: [&[u8]; 12] = [
    b"January",
    b"February",
    b"March",
    b"April",
    b"May",
    b"June",
    b"July",
    b"August",
    b"September",
    b"October",
    b"November",
    b"December",
];

const WEEKDAYS: [&[u8]; 7] = [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"];

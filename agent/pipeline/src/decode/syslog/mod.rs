//! Syslog as it is really sent, told apart by its first bytes: RFC 5424, RFC 3164 and its many
//! dialects.
//!
//! Fields are `facility` and `severity` (their names), `host`, `app`, `procid`, `msgid`,
//! `structured_data` (a map of maps), and of Cisco `sequence` (the number of the message),
//! `device_sequence` (a second number), `node` and `uptime` (instead of a time), each
//! only if it was sent. The message text becomes the payload. Decoding never fails: a message whose header makes
//! no sense is kept whole with `decode_error`, and with the fields that were understood.

mod bsd;
mod cut;
mod dialects;
mod framing;
mod ietf;
mod time;

pub use framing::{Framer, Message};
pub use time::{SyslogZone, UnknownZone};

use crate::record::Record;
use crate::time::WallClock;
use cut::Cut;

/// A message without what its framing may have left at its end.
pub fn trim(message: &[u8]) -> &[u8] {
    let len = message
        .iter()
        .rposition(|byte| !matches!(byte, b'\n' | b'\r' | 0))
        .map_or(0, |last| last + 1);
    message.get(..len).unwrap_or_default()
}

/// The record of one message. `zone` and `received_at` complete a time that lacks zone and year.
pub fn decode(received_at: WallClock, message: &[u8], zone: &SyslogZone) -> Record {
    decode_from(&bsd::Origin::Network, received_at, message, zone)
}

/// The record of one message from a program of this machine, which is called `host`. Such messages
/// name no host: syslog(3) does not.
pub fn decode_local(
    received_at: WallClock,
    message: &[u8],
    zone: &SyslogZone,
    host: &str,
) -> Record {
    decode_from(&bsd::Origin::Local { host }, received_at, message, zone)
}

fn decode_from(
    origin: &bsd::Origin<'_>,
    received_at: WallClock,
    message: &[u8],
    zone: &SyslogZone,
) -> Record {
    let message = trim(message);
    let mut record = Record::new(received_at, Vec::new());
    let mut rest = Cut::new(message);
    let understood = match priority(&mut rest) {
        Priority::Is(priority) => {
            insert_priority(&mut record, priority);
            match ietf::decode(&mut record, rest) {
                ietf::Outcome::Decoded(text) => Ok(text),
                ietf::Outcome::Malformed(reason) => Err(reason),
                ietf::Outcome::Other => Ok(bsd::decode(&mut record, rest, zone, origin)),
            }
        }
        Priority::Missing => {
            let text = bsd::decode(&mut record, rest, zone, origin);
            if record.time.is_some() {
                Ok(text)
            } else {
                record.fields = crate::record::Fields::new();
                Err("neither a priority nor a time at the beginning")
            }
        }
        Priority::Malformed => Err("the priority is not a number from 0 to 191"),
    };
    match understood {
        Ok(text) => text.clone_into(&mut record.payload),
        Err(reason) => {
            message.clone_into(&mut record.payload);
            record.mark(format!("syslog: {reason}"));
        }
    }
    record
}

enum Priority {
    Is(u8),
    Missing,
    Malformed,
}

fn priority(rest: &mut Cut<'_>) -> Priority {
    let mut ahead = *rest;
    if !ahead.byte(b'<') {
        return Priority::Missing;
    }
    let number = ahead
        .number(1, 3)
        .and_then(|number| u8::try_from(number).ok());
    match number {
        Some(number) if number <= PRIORITY_MAX && ahead.byte(b'>') => {
            *rest = ahead;
            Priority::Is(number)
        }
        _ => Priority::Malformed,
    }
}

fn insert_priority(record: &mut Record, priority: u8) {
    let facility = FACILITIES.get(usize::from(priority / 8));
    let severity = SEVERITIES.get(usize::from(priority % 8));
    for (name, value) in [("facility", facility), ("severity", severity)] {
        if let Some(value) = value {
            record.fields.insert(name, *value);
        }
    }
}

/// Sets a text field; what is not UTF-8 is replaced.
fn insert_text(record: &mut Record, name: &str, value: &[u8]) {
    record
        .fields
        .insert(name, String::from_utf8_lossy(value).into_owned());
}

const PRIORITY_MAX: u8 = 191;

/// As `logger -p` and rsyslog name them.
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "ftp", "ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4",
    "local5", "local6", "local7",
];

const SEVERITIES: [&str; 8] = [
    "emerg", "alert", "crit", "err", "warning", "notice", "info", "debug",
];

#[cfg(test)]
mod tests;

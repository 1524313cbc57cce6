//! Senders that leave out the time or write it elsewhere, and yet can be told.

use super::bsd::{Prefix, app, tag};
use super::cut::Cut;
use super::insert_text;
use super::time::{SyslogZone, iso_time};
use crate::record::Record;

/// The text of a message that begins without a time; `None` when its sender is not known.
pub(super) fn without_time<'a>(
    record: &mut Record,
    rest: Cut<'a>,
    zone: &SyslogZone,
) -> Option<&'a [u8]> {
    if rest.rest().starts_with(b"date=") {
        fortigate(record, rest, zone);
        return Some(rest.rest());
    }
    cisco(record, rest)
}

/// Cisco without a clock: `[SEQUENCE: ][HOST: ][UPTIME: ]%FACILITY-SEVERITY-MNEMONIC: TEXT`.
fn cisco<'a>(record: &mut Record, mut rest: Cut<'a>) -> Option<&'a [u8]> {
    let mut prefix = Prefix::default();
    let mut uptime = None;
    loop {
        while rest.spaces() || rest.byte(b':') {}
        if rest.first() == Some(b'%') {
            break;
        }
        let word = rest.word()?.strip_suffix(b":")?;
        if is_uptime(word) && uptime.is_none() {
            uptime = Some(word);
        } else if !prefix.take(word) {
            return None;
        }
    }
    tag(rest).filter(|tag| is_mnemonic(tag.app))?;
    prefix.tell(record);
    if let Some(uptime) = uptime {
        insert_text(record, "uptime", uptime);
    }
    Some(app(record, rest).rest())
}

/// `00:01:01`, `2d03h`, `1w2d`.
fn is_uptime(word: &[u8]) -> bool {
    let digits = |byte: &u8| byte.is_ascii_digit();
    let clock = word.len() >= 8 && word.iter().all(|byte| digits(byte) || *byte == b':');
    let spans = word.first().is_some_and(digits)
        && word.last().is_some_and(|byte| matches!(byte, b'd' | b'h'))
        && word
            .iter()
            .all(|byte| digits(byte) || matches!(byte, b'y' | b'w' | b'd' | b'h'));
    clock || spans
}

/// `%LINK-3-UPDOWN`, `%SYSMGR-STANDBY-3-SHUTDOWN_START`.
fn is_mnemonic(app: &[u8]) -> bool {
    let severity = |part: &[u8]| matches!(part, [b'0'..=b'7']);
    app.split(|byte| *byte == b'-').skip(1).any(severity)
}

/// Fortinet: `date=2026-11-23 time=16:39:58 devname="..." ... tz="+0100"`. The pairs stay in the
/// payload, for a transform to parse.
fn fortigate(record: &mut Record, mut rest: Cut<'_>, zone: &SyslogZone) {
    let pairs = rest;
    rest.take(b"date=".len());
    let date = rest.word().unwrap_or_default();
    rest.spaces();
    let time = rest.word().and_then(|word| word.strip_prefix(b"time="));
    if let Some(time) = time {
        let tz = pair(pairs, b"tz").unwrap_or_default();
        let written = [date, b" ", time, tz].concat();
        let mut written = Cut::new(&written);
        record.time = iso_time(&mut written, Some(zone)).filter(|_| written.is_empty());
    }
    if let Some(name) = pair(pairs, b"devname") {
        insert_text(record, "host", name);
    }
}

/// The value of the first pair of this name, without quotes.
fn pair<'a>(mut pairs: Cut<'a>, name: &[u8]) -> Option<&'a [u8]> {
    for _ in 0..PAIRS_MAX {
        pairs.spaces();
        let key = pairs.run(|byte| !matches!(byte, b'=' | b' '));
        if key.is_empty() || !pairs.byte(b'=') {
            return None;
        }
        let value = if pairs.byte(b'"') {
            let value = pairs.run(|byte| byte != b'"');
            pairs.byte(b'"');
            value
        } else {
            pairs.run(|byte| byte != b' ')
        };
        if key == name {
            return Some(value);
        }
    }
    None
}

/// So many pairs are looked at; the name and the zone are among the first.
const PAIRS_MAX: usize = 64;

/// The node of a router with IOS XR, `RP/0/RSP0/CPU0:`, which a time follows with or without a
/// space.
pub(super) fn xr_node<'a>(rest: &mut Cut<'a>) -> Option<&'a [u8]> {
    let mut ahead = *rest;
    let node = ahead.run(|byte| byte.is_ascii_alphanumeric() || byte == b'/');
    let parts = node.split(|byte| *byte == b'/').count();
    let is_node = parts == 4 && node.windows(3).any(|part| part == b"CPU");
    (is_node && ahead.byte(b':')).then(|| {
        *rest = ahead;
        node
    })
}

/// The host that a device of Ubiquiti calls itself, `MODEL,MAC,FIRMWARE` with or without a colon.
pub(super) fn unifi_host(word: &[u8]) -> Option<&[u8]> {
    let word = word.strip_suffix(b":").unwrap_or(word);
    let is_mac = |part: &[u8]| part.len() == 12 && part.iter().all(u8::is_ascii_hexdigit);
    let mut parts = word.split(|byte| *byte == b',');
    (word.contains(&b',') && parts.any(is_mac)).then_some(word)
}

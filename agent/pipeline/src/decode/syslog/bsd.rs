//! RFC 3164, which describes what was seen rather than what must be: everything is optional.
//!
//! `<PRI>[SEQUENCE: ][HOST: ][TIME[:] ][HOST ][APP[PID]: ]TEXT`. Without a time only an app is
//! looked for, since any first word could be a host.

use super::cut::Cut;
use super::insert_text;
use super::time::{SyslogZone, message_time};
use crate::record::Record;
use crate::time::WallClock;

/// Fills the fields and gives the text of the message.
pub(super) fn decode<'a>(record: &mut Record, rest: Cut<'a>, zone: &SyslogZone) -> &'a [u8] {
    let Some((mut rest, time, prefix)) = time_with_prefix(record.received_at, rest, zone) else {
        return app(record, rest).rest();
    };
    record.time = Some(time);
    if let Some(sequence) = prefix.sequence {
        insert_text(record, "sequence", sequence);
    }
    if let Some(host) = prefix.host {
        insert_text(record, "host", host);
    }
    rest.byte(b':');
    rest.spaces();
    if prefix.host.is_none() {
        host(record, &mut rest);
    }
    app(record, rest).rest()
}

/// What Cisco writes before the time.
#[derive(Clone, Copy, Default)]
struct Prefix<'a> {
    sequence: Option<&'a [u8]>,
    host: Option<&'a [u8]>,
}

fn time_with_prefix<'a>(
    now: WallClock,
    mut rest: Cut<'a>,
    zone: &SyslogZone,
) -> Option<(Cut<'a>, WallClock, Prefix<'a>)> {
    let mut prefix = Prefix::default();
    loop {
        rest.spaces();
        let mut ahead = rest;
        if let Some(time) = message_time(&mut ahead, now, zone) {
            return Some((ahead, time, prefix));
        }
        let word = rest.word()?.strip_suffix(b":")?;
        if word.is_empty() {
            continue;
        }
        if prefix.sequence.is_none() && word.iter().all(u8::is_ascii_digit) {
            prefix.sequence = Some(word);
        } else if prefix.host.is_none() && is_host(word) {
            prefix.host = Some(word);
        } else {
            return None;
        }
    }
}

/// Takes the host, unless the first word is an app or all there is.
fn host(record: &mut Record, rest: &mut Cut<'_>) {
    let mut ahead = *rest;
    let Some(word) = ahead.word() else { return };
    let is_last = ahead.is_empty();
    if is_last || !is_host(word) || tag(*rest).is_some() {
        return;
    }
    insert_text(record, "host", word);
    ahead.spaces();
    // Cisco ASA sets the colon off.
    if ahead.byte(b':') {
        ahead.spaces();
    }
    *rest = ahead;
}

fn app<'a>(record: &mut Record, rest: Cut<'a>) -> Cut<'a> {
    let Some(tag) = tag(rest) else { return rest };
    insert_text(record, "app", tag.app);
    if let Some(pid) = tag.pid {
        insert_text(record, "procid", pid);
    }
    tag.rest
}

struct Tag<'a> {
    app: &'a [u8],
    pid: Option<&'a [u8]>,
    rest: Cut<'a>,
}

/// `APP: `, `APP[PID]: ` or `APP[PID] `.
fn tag(mut rest: Cut<'_>) -> Option<Tag<'_>> {
    let app = rest.run(|byte| byte.is_ascii_graphic() && !matches!(byte, b':' | b'[' | b'"'));
    if app.is_empty() || app.len() > APP_BYTES_MAX {
        return None;
    }
    let mut pid = None;
    if rest.byte(b'[') {
        let inside = rest.run(|byte| byte.is_ascii_graphic() && byte != b']');
        if inside.is_empty() || !rest.byte(b']') {
            return None;
        }
        pid = Some(inside);
    }
    let has_colon = rest.byte(b':');
    let is_set_off = rest.is_empty() || rest.byte(b' ');
    (is_set_off && (has_colon || pid.is_some())).then_some(Tag { app, pid, rest })
}

/// Names and addresses, with the zone of a link-local one and the port some senders add.
fn is_host(word: &[u8]) -> bool {
    word.len() <= HOST_BYTES_MAX
        && word.iter().all(|byte| {
            byte.is_ascii_alphanumeric()
                || matches!(
                    byte,
                    b'.' | b'-' | b'_' | b':' | b'/' | b'%' | b'[' | b']' | b'@'
                )
                || *byte >= 0x80
        })
        && word
            .iter()
            .any(|byte| byte.is_ascii_alphanumeric() || *byte >= 0x80)
}

const APP_BYTES_MAX: usize = 128;
const HOST_BYTES_MAX: usize = 255;

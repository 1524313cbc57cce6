//! RFC 3164, which describes what was seen rather than what must be: everything is optional.
//!
//! `<PRI>[SEQUENCE: ][HOST: ][TIME[:] ][HOST ][APP[PID]: ]TEXT`. Without a time only an app is
//! looked for, since any first word could be a host; [`super::dialects`] knows the senders that can
//! be told without one.

use super::cut::Cut;
use super::time::{SyslogZone, bsd_time, message_time};
use super::{dialects, insert_text};
use crate::record::Record;
use crate::time::WallClock;

/// Where a message comes from, which says whether it names its host.
#[derive(Clone, Copy, Debug)]
pub(super) enum Origin<'a> {
    /// From anywhere.
    Network,
    /// From a program of the machine of this name; relays on it may still name another.
    Local { host: &'a str },
}

/// Fills the fields and gives the text of the message.
pub(super) fn decode<'a>(
    record: &mut Record,
    rest: Cut<'a>,
    zone: &SyslogZone,
    origin: &Origin<'_>,
) -> &'a [u8] {
    let Some((mut rest, time, prefix)) = time_with_prefix(record.received_at, rest, zone) else {
        if let Some(text) = dialects::without_time(record, rest, zone) {
            return text;
        }
        return app(record, rest).rest();
    };
    record.time = Some(time);
    prefix.tell(record);
    rest.byte(b':');
    rest.spaces();
    if prefix.node.is_some() && rest.byte(b':') {
        rest.spaces();
    }
    if prefix.host.is_none() {
        host(record, &mut rest, origin);
    }
    app(record, rest).rest()
}

/// What Cisco writes before the time.
#[derive(Clone, Copy, Default)]
pub(super) struct Prefix<'a> {
    sequence: Option<&'a [u8]>,
    device_sequence: Option<&'a [u8]>,
    host: Option<&'a [u8]>,
    node: Option<&'a [u8]>,
    task: Option<&'a [u8]>,
}

impl<'a> Prefix<'a> {
    /// Takes a word that ended with a colon; false when it is none of a prefix.
    pub(super) fn take(&mut self, word: &'a [u8]) -> bool {
        let is_number = word.iter().all(u8::is_ascii_digit);
        let place = if is_number && self.sequence.is_none() && self.host.is_none() {
            &mut self.sequence
        } else if is_number && self.device_sequence.is_none() {
            &mut self.device_sequence
        } else if let Some(task) = word.strip_prefix(b"*")
            && self.task.is_none()
        {
            // A wireless controller names the task, and marks it as other devices mark a clock.
            self.task = Some(task);
            return true;
        } else if self.host.is_none() && is_host(word) {
            &mut self.host
        } else {
            return false;
        };
        *place = Some(word);
        true
    }

    pub(super) fn tell(self, record: &mut Record) {
        for (name, value) in [
            ("sequence", self.sequence),
            ("device_sequence", self.device_sequence),
            ("host", self.host),
            ("node", self.node),
            ("procid", self.task),
        ] {
            if let Some(value) = value {
                insert_text(record, name, value);
            }
        }
    }
}

fn time_with_prefix<'a>(
    now: WallClock,
    mut rest: Cut<'a>,
    zone: &SyslogZone,
) -> Option<(Cut<'a>, WallClock, Prefix<'a>)> {
    let mut prefix = Prefix::default();
    // Some firewalls write the version of RFC 5424 before a time of RFC 3164.
    let mut ahead = rest;
    if ahead.byte(b'1') && ahead.spaces() && bsd_time(&mut ahead, now, zone).is_some() {
        rest.take(2);
    }
    loop {
        while rest.spaces() || rest.byte(b':') {}
        if prefix.node.is_none() {
            prefix.node = dialects::xr_node(&mut rest);
        }
        let mut ahead = rest;
        if let Some(time) = message_time(&mut ahead, now, zone) {
            return Some((ahead, time, prefix));
        }
        let word = rest.word()?.strip_suffix(b":")?;
        if !prefix.take(word) {
            return None;
        }
    }
}

/// Takes the host, unless the first word is an app or all there is.
fn host(record: &mut Record, rest: &mut Cut<'_>, origin: &Origin<'_>) {
    let mut ahead = *rest;
    let Some(word) = ahead.word() else { return };
    let is_last = ahead.is_empty();
    if let Some(word) = dialects::unifi_host(word).filter(|_| !is_last) {
        insert_text(record, "host", word);
        ahead.spaces();
        *rest = ahead;
        return;
    }
    if is_last || !is_host(word) || tag(*rest).is_some() {
        return;
    }
    if let Origin::Local { host } = origin
        && !word.eq_ignore_ascii_case(host.as_bytes())
    {
        let mut behind = ahead;
        behind.spaces();
        // The first word of a text is seldom followed by an app and its process.
        if tag(behind).is_none_or(|tag| tag.pid.is_none()) {
            return;
        }
    }
    insert_text(record, "host", word);
    ahead.spaces();
    // Cisco ASA sets the colon off.
    if ahead.byte(b':') {
        ahead.spaces();
    }
    *rest = ahead;
}

pub(super) fn app<'a>(record: &mut Record, rest: Cut<'a>) -> Cut<'a> {
    let Some(tag) = tag(rest) else { return rest };
    insert_text(record, "app", tag.app);
    if let Some(pid) = tag.pid {
        insert_text(record, "procid", pid);
    }
    tag.rest
}

pub(super) struct Tag<'a> {
    pub(super) app: &'a [u8],
    pid: Option<&'a [u8]>,
    rest: Cut<'a>,
}

/// `APP: `, `APP[PID]: ` or `APP[PID] `.
pub(super) fn tag(mut rest: Cut<'_>) -> Option<Tag<'_>> {
    let app = rest.run(|byte| byte.is_ascii_graphic() && !matches!(byte, b':' | b'[' | b'"'));
    // A number is not what a program is called.
    if app.iter().all(u8::is_ascii_digit) || app.len() > APP_BYTES_MAX {
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

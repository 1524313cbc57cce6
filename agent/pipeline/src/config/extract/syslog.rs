//! Syslog sources.

use super::super::model::{SyslogConfig, SyslogListen};
use super::super::settings::{Setting, Settings, Value};
use super::{owned, server_tls};
use crate::rate_limit::RateLimit;

/// A `syslog` source.
pub(super) fn config(settings: &Settings) -> Option<SyslogConfig> {
    let places = settings.list("listen").iter().map(listen);
    Some(SyslogConfig {
        listen: places.collect::<Option<_>>()?,
        tls: server_tls(settings),
        socket_mode: u32::from_str_radix(settings.text("socket_mode")?, 8).ok()?,
        socket_owner: owned(settings, "socket_owner"),
        timezone: owned(settings, "timezone"),
        message_bytes_max: settings.size("message_bytes_max")?,
        connections_max: settings.integer("connections_max")?,
        idle_max: settings.duration("idle_max")?,
        receive_buffer: settings.size("receive_buffer")?,
        rate_limit: rate_limit(settings.table("rate_limit")?)?,
    })
}

/// `Some(None)` is no limit.
#[expect(clippy::option_option, reason = "not known, no limit, a limit")]
fn rate_limit(settings: &Settings) -> Option<Option<RateLimit>> {
    let Some(messages) = settings.integer("messages") else {
        return Some(None);
    };
    Some(Some(RateLimit {
        messages,
        per: settings.duration("per")?,
        burst: settings.integer("burst").unwrap_or(messages),
    }))
}

fn listen(setting: &Setting) -> Option<SyslogListen> {
    if let Value::Listen(scheme, address) = setting.value {
        return match scheme {
            "udp" => Some(SyslogListen::Udp(address)),
            "tcp" => Some(SyslogListen::Tcp(address)),
            "tls" => Some(SyslogListen::Tls(address)),
            _ => None,
        };
    }
    let Value::ListenLocal(scheme, place) = &setting.value else {
        return None;
    };
    match *scheme {
        "unix" => Some(SyslogListen::Unix(place.into())),
        "unixgram" => Some(SyslogListen::UnixDatagram(place.into())),
        "systemd" => Some(SyslogListen::Systemd(place.clone())),
        _ => None,
    }
}

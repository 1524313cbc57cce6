//! Rules of sources.

mod file;

use std::collections::{BTreeMap, BTreeSet};

use crate::decode::mqtt::{TopicTemplate, filters_overlap, share_group};
use crate::decode::syslog::SyslogZone;

use super::super::Parts;
use super::super::problem::Problems;
use super::super::settings::{Setting, Settings, Value};
use super::super::tree::quoted;
use super::{excludes, is_loopback, needs, of_kind, server_tls, tls};

/// Reports what is wrong between the keys of a source.
pub(super) fn check(parts: &Parts, problems: &mut Problems) {
    for (_, settings) in of_kind(&parts.sources, "mqtt") {
        needs(settings, "password", "username", problems);
        topics(settings, problems);
        brokers(settings, problems);
    }
    sessions(parts, problems);
    for (_, settings) in of_kind(&parts.sources, "syslog") {
        zone(settings, problems);
        sockets(settings, problems);
        syslog_tls(settings, problems);
        if let Some(limit) = settings.table("rate_limit") {
            needs(limit, "per", "messages", problems);
            needs(limit, "burst", "messages", problems);
        }
    }
    for (_, settings) in of_kind(&parts.sources, "file") {
        file::check(settings, problems);
    }
    for (_, settings) in of_kind(&parts.sources, "mqtt_listener") {
        listener(settings, problems);
    }
}

fn listener(settings: &Settings, problems: &mut Problems) {
    needs(settings, "password", "username", problems);
    needs(settings, "username", "password", problems);
    excludes(settings, "password_file", "username", problems);
    server_tls(settings, problems);
    let tls = |key| {
        settings
            .table("tls")
            .is_some_and(|tls| tls.get(key).is_some())
    };
    let has_passwords = ["username", "password_file"]
        .iter()
        .any(|key| settings.get(key).is_some());
    let is_secure = tls("certificate_file");
    let (message, suggestion) = if !has_passwords && !tls("client_ca_file") {
        let suggestion = "add username and password, password_file, or tls.client_ca_file";
        ("anyone who reaches this port may publish", suggestion)
    } else if has_passwords && !is_secure {
        let suggestion = "add tls.certificate_file and tls.key_file";
        ("devices send their passwords in the clear", suggestion)
    } else {
        return;
    };
    // Only the socket unit knows the address of what it passes.
    let is_passed = settings.passed("listen").is_some();
    let address = settings.address("listen");
    if is_passed || address.is_some_and(|address| !address.ip().is_loopback()) {
        let (at, path) = (settings.place_of("listen"), settings.path_of("listen"));
        problems.warning(at, &path, message, Some(suggestion.to_owned()));
    }
}

/// What the URLs of a source say, each and together.
fn brokers(settings: &Settings, problems: &mut Problems) {
    let path = settings.path_of("url");
    let mut places = BTreeSet::new();
    let mut secure = settings.urls("url").count() == 0;
    for (setting, url) in settings.urls("url") {
        let is_secure = matches!(url.scheme, "mqtts" | "wss");
        secure |= is_secure;
        let has_path = matches!(url.scheme, "ws" | "wss");
        if !has_path && !matches!(url.tail.as_str(), "" | "/") {
            let suggestion = "write one like \"mqtt://host\"".to_owned();
            let message = "has something after the host";
            problems.error(setting.at, &path, message, Some(suggestion));
        }
        if !places.insert((url.host.to_ascii_lowercase(), url.port, url.scheme)) {
            let suggestion = "leave it out".to_owned();
            let message = "names a broker twice";
            problems.error(setting.at, &path, message, Some(suggestion));
        }
        if !is_secure && settings.get("username").is_some() && !is_loopback(url) {
            let better = if has_path { "wss" } else { "mqtts" };
            let message = "sends its password in the clear";
            let suggestion = format!("write {better}:// if the broker takes TLS");
            problems.warning(setting.at, &path, message, Some(suggestion));
        }
    }
    tls(settings, secure, "mqtts://", problems);
}

/// What is subscribed to twice comes twice, and a template that fits nothing is a mistake.
fn topics(settings: &Settings, problems: &mut Problems) {
    let filters = settings.texts("topics");
    for (number, (one, setting)) in filters.iter().zip(settings.list("topics")).enumerate() {
        let others = filters.iter().take(number);
        let is_double =
            |other: &&String| share_group(one) != share_group(other) && filters_overlap(one, other);
        if let Some(other) = others.into_iter().find(is_double) {
            let message = format!(
                "{} and {} take the same messages apart from each other: each is stored twice",
                quoted(other),
                quoted(one)
            );
            let suggestion = "leave one of them out".to_owned();
            let path = settings.path_of("topics");
            problems.warning(setting.at, &path, message, Some(suggestion));
        }
    }
    for setting in settings.list("topic_template") {
        let Some(text) = setting.text() else { continue };
        let fits = |template: TopicTemplate| filters.iter().any(|one| template.may_fit(one));
        if TopicTemplate::parse(text).is_ok_and(|template| !fits(template)) {
            let message = format!("{} fits no topic that topics take", quoted(text));
            let suggestion = "compare it with topics level by level".to_owned();
            let path = settings.path_of("topic_template");
            problems.warning(setting.at, &path, message, Some(suggestion));
        }
    }
}

/// Two clients with one id throw each other out at the broker, again and again.
fn sessions(parts: &Parts, problems: &mut Problems) {
    let mut owners = BTreeMap::new();
    for (_, settings) in of_kind(&parts.sources, "mqtt") {
        let Some(id) = settings.text("client_id") else {
            continue;
        };
        let others = settings.urls("url").filter_map(|(_, url)| {
            let host = url.host.to_ascii_lowercase();
            let owner = owners.insert((host, url.port, id), &settings.path)?;
            (owner != &settings.path).then_some(owner)
        });
        // All of them are entered, whatever the first says.
        if let Some(owner) = others.last() {
            let message = format!("is the client_id of {owner} at the same broker");
            let suggestion = "write another, or leave it out".to_owned();
            let at = settings.place_of("client_id");
            problems.error(
                at,
                &settings.path_of("client_id"),
                message,
                Some(suggestion),
            );
        }
    }
}

/// `tls://` shows a certificate, and a certificate is shown by nothing else.
fn syslog_tls(settings: &Settings, problems: &mut Problems) {
    server_tls(settings, problems);
    let Some(tls) = settings.table("tls") else {
        return;
    };
    let is_tls = |setting: &&Setting| matches!(setting.value, Value::Listen("tls", _));
    let listener = settings.list("listen").iter().find(is_tls);
    let has_certificate = tls.get("certificate_file").is_some();
    let (at, path, message, suggestion) = match listener {
        Some(listener) if !has_certificate => (
            listener.at,
            settings.path_of("listen"),
            "needs a certificate",
            "add tls.certificate_file and tls.key_file",
        ),
        None if has_certificate => (
            tls.place_of("certificate_file"),
            tls.path_of("certificate_file"),
            "is written, but nothing listens with TLS",
            "write tls://IP:PORT under listen",
        ),
        Some(_) | None => return,
    };
    problems.error(at, &path, message, Some(suggestion.to_owned()));
}

/// Who owns a socket is asked only of one that is made here.
fn sockets(settings: &Settings, problems: &mut Problems) {
    let is_made = |setting: &Setting| {
        matches!(
            setting.value,
            Value::ListenLocal("unix" | "unixgram", _) | Value::Unusable
        )
    };
    if settings.list("listen").iter().any(is_made) {
        return;
    }
    for key in ["socket_mode", "socket_owner"] {
        if settings.written(key).is_some() {
            let message = "is written, but no unix:// or unixgram:// socket is made";
            let suggestion = "leave it out, or set it in the socket unit".to_owned();
            let at = settings.place_of(key);
            problems.error(at, &settings.path_of(key), message, Some(suggestion));
        }
    }
}

/// A warning only: a machine that lost its time zones must still collect.
fn zone(settings: &Settings, problems: &mut Problems) {
    let Some(name) = settings.text("timezone") else {
        return;
    };
    if SyslogZone::new(Some(name)).is_err() {
        let message = format!("this machine does not know the time zone {}", quoted(name));
        let suggestion = "write one like \"Europe/Berlin\", or install tzdata".to_owned();
        let at = settings.place_of("timezone");
        problems.warning(at, &settings.path_of("timezone"), message, Some(suggestion));
    }
}

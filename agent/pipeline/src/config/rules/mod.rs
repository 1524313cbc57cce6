//! What no key can tell alone: keys that need or exclude each other, names that must exist, places
//! that can be taken only once.
//!
//! Each rule looks at what could be read, so that one mistake does not hide another.

mod buffer;
mod credentials;
mod destination;
mod source;
mod transform;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use super::Parts;
use super::check::instead;
use super::problem::{Place, Problems};
use super::settings::{Component, Settings, Url, Value};
use super::tree::quoted;

/// Reports what is wrong between the keys of `parts`.
pub(super) fn check(parts: &Parts, problems: &mut Problems) {
    agent(&parts.agent, problems);
    buffer::check(parts, problems);
    presence(parts, problems);
    references(parts, problems);
    listeners(parts, problems);
    source::check(parts, problems);
    transform::check(parts, problems);
    destination::check(parts, problems);
    // What is unused because of a mistake is not worth a warning beside it.
    if !problems.has_errors() {
        unused(parts, problems);
        buffer::unused(parts, problems);
        destination::unused(parts, problems);
    }
}

fn agent(settings: &Settings, problems: &mut Problems) {
    if settings.text("id") == Some("localhost") {
        let message = "is \"localhost\", as that of many other gateways may be";
        let suggestion = "write a name of its own".to_owned();
        problems.warning(
            settings.place_of("id"),
            "agent.id",
            message,
            Some(suggestion),
        );
    }
    if let Some(address) = settings.address("metrics_listen")
        && !address.ip().is_loopback()
    {
        let message = format!("{address} is no loopback address, and nobody is asked who they are");
        let suggestion = format!("write \"127.0.0.1:{}\"", address.port());
        let at = settings.place_of("metrics_listen");
        problems.error(
            at,
            &settings.path_of("metrics_listen"),
            message,
            Some(suggestion),
        );
    }
}

/// An agent without a source or a destination has nothing to do.
fn presence(parts: &Parts, problems: &mut Problems) {
    let whole = Place::default();
    if parts.names.sources.is_empty() {
        let suggestion = "add one, such as [sources.app] with type = \"file\" \
                          and paths = [\"/var/log/app/*.log\"]";
        problems.error(
            whole,
            "sources",
            "there is no source",
            Some(suggestion.to_owned()),
        );
    }
    if parts.names.destinations.is_empty() {
        let suggestion = "add one, such as [destinations.collector] with type = \"http\" \
                          and url = \"https://...\"";
        problems.error(
            whole,
            "destinations",
            "there is no destination",
            Some(suggestion.to_owned()),
        );
    }
}

/// Every name that is used must exist.
fn references(parts: &Parts, problems: &mut Problems) {
    for component in parts.sources.values().chain(parts.destinations.values()) {
        let settings = &component.settings;
        names(
            settings,
            "transforms",
            "transform",
            &parts.names.transforms,
            problems,
        );
    }
    for component in parts.destinations.values() {
        names(
            &component.settings,
            "from",
            "source",
            &parts.names.sources,
            problems,
        );
    }
}

/// Every source and transform should be used.
fn unused(parts: &Parts, problems: &mut Problems) {
    let users = parts.sources.values().chain(parts.destinations.values());
    let used: BTreeSet<String> = users
        .flat_map(|component| component.settings.texts("transforms"))
        .collect();
    for (name, component) in &parts.transforms {
        if !used.contains(name) {
            let settings = &component.settings;
            let suggestion = format!("add transforms = [\"{name}\"] to a source or destination");
            problems.warning(settings.at, &settings.path, "is not used", Some(suggestion));
        }
    }
    let destinations = || {
        parts
            .destinations
            .values()
            .map(|component| &component.settings)
            .filter(|settings| settings.bool("standby") != Some(true))
    };
    let takes_all = destinations().any(|settings| settings.get("from").is_none());
    let taken: BTreeSet<String> = destinations()
        .flat_map(|settings| settings.texts("from"))
        .collect();
    for (name, component) in &parts.sources {
        if !takes_all && !taken.contains(name) {
            let settings = &component.settings;
            let suggestion = format!("add \"{name}\" to the from list of one");
            let message = "is taken by no destination";
            problems.warning(settings.at, &settings.path, message, Some(suggestion));
        }
    }
}

/// The names in the list `key` must be among `known`, each of them once.
fn names(
    settings: &Settings,
    key: &str,
    singular: &str,
    known: &BTreeSet<String>,
    problems: &mut Problems,
) {
    let path = settings.path_of(key);
    let mut seen = BTreeSet::new();
    for setting in settings.list(key) {
        let Some(name) = setting.text() else { continue };
        if !known.contains(name) {
            let message = format!("there is no {singular} {}", quoted(name));
            let suggestion = if known.is_empty() {
                format!("add [{singular}s.NAME]")
            } else {
                instead(name, known.iter().map(String::as_str))
            };
            problems.error(setting.at, &path, message, Some(suggestion));
        } else if !seen.insert(name) {
            let message = format!("{} is named twice", quoted(name));
            problems.error(setting.at, &path, message, None);
        }
    }
}

/// A port can be listened on once.
fn listeners(parts: &Parts, problems: &mut Problems) {
    let mut taken: Vec<(&str, SocketAddr, String)> = Vec::new();
    let mut take = |scheme: &'static str, address: SocketAddr, at: Place, path: String| {
        let other = taken
            .iter()
            .find(|(other, held, _)| *other == scheme && clash(*held, address));
        if let Some((_, held, owner)) = other {
            let message = format!("{address} is taken by {owner} ({held})");
            problems.error(at, &path, message, Some("write another port".to_owned()));
        } else {
            taken.push((scheme, address, path));
        }
    };
    if let Some(address) = parts.agent.address("metrics_listen") {
        let at = parts.agent.place_of("metrics_listen");
        take("tcp", address, at, parts.agent.path_of("metrics_listen"));
    }
    for component in parts.sources.values() {
        let settings = &component.settings;
        let path = settings.path_of("listen");
        if let Some(address) = settings.address("listen") {
            take("tcp", address, settings.place_of("listen"), path.clone());
        }
        for setting in settings.list("listen") {
            if let Value::Listen(scheme, address) = setting.value {
                let scheme = if scheme == "tls" { "tcp" } else { scheme };
                take(scheme, address, setting.at, path.clone());
            }
        }
    }
    local_listeners(parts, problems);
}

/// So can a socket of this machine, whatever its kind.
fn local_listeners(parts: &Parts, problems: &mut Problems) {
    let mut taken: BTreeMap<&str, String> = BTreeMap::new();
    for component in parts.sources.values() {
        let settings = &component.settings;
        let path = settings.path_of("listen");
        for setting in settings
            .get("listen")
            .into_iter()
            .chain(settings.list("listen"))
        {
            let Value::ListenLocal(_, place) = &setting.value else {
                continue;
            };
            if let Some(owner) = taken.insert(place, path.clone()) {
                let message = format!("{} is taken by {owner}", quoted(place));
                let suggestion = "write another, or leave it out".to_owned();
                problems.error(setting.at, &path, message, Some(suggestion));
            }
        }
    }
}

/// Whether the kernel refuses the second of two listeners. Port 0 is any free port.
fn clash(one: SocketAddr, other: SocketAddr) -> bool {
    let (a, b) = (one.ip(), other.ip());
    let same_family = a.is_ipv4() == b.is_ipv4();
    let overlap = a == b || (same_family && (a.is_unspecified() || b.is_unspecified()));
    one.port() == other.port() && one.port() != 0 && overlap
}

/// `needed` must be there when `key` is.
fn needs(settings: &Settings, key: &str, needed: &str, problems: &mut Problems) {
    if settings.written(key).is_some() && settings.get(needed).is_none() {
        let message = format!("needs {needed} as well");
        problems.error(
            settings.place_of(key),
            &settings.path_of(key),
            message,
            None,
        );
    }
}

/// `key` must not be written when `other` is.
fn excludes(settings: &Settings, key: &str, other: &str, problems: &mut Problems) {
    if settings.written(key).is_some() && settings.written(other).is_some() {
        let message = format!("cannot be used together with {other}");
        let suggestion = "leave one of them out".to_owned();
        problems.error(
            settings.place_of(key),
            &settings.path_of(key),
            message,
            Some(suggestion),
        );
    }
}

/// The rules of a `tls` table; `secure` is whether the URL asks for TLS.
fn tls(settings: &Settings, secure: bool, instead: &str, problems: &mut Problems) {
    let Some(tls) = settings.table("tls") else {
        return;
    };
    needs(tls, "certificate_file", "key_file", problems);
    needs(tls, "key_file", "certificate_file", problems);
    if let Some(proxy) = settings.table("proxy") {
        needs(proxy, "username", "url", problems);
        needs(proxy, "username", "password", problems);
        needs(proxy, "password", "username", problems);
    }
    let keys = [
        "ca_file",
        "certificate_file",
        "key_file",
        "pins",
        "version_min",
    ];
    if let Some(key) = keys
        .iter()
        .find(|key| tls.written(key).is_some() && !secure)
    {
        let message = "is written, but the URL is not one with TLS";
        let suggestion = format!("write {instead}");
        problems.error(
            tls.place_of(key),
            &tls.path_of(key),
            message,
            Some(suggestion),
        );
    }
}

/// The rules of a listener's `tls` table.
fn server_tls(settings: &Settings, problems: &mut Problems) {
    if let Some(tls) = settings.table("tls") {
        needs(tls, "certificate_file", "key_file", problems);
        needs(tls, "key_file", "certificate_file", problems);
        needs(tls, "client_ca_file", "certificate_file", problems);
    }
}

/// Whether what is sent to `url` stays on this machine.
fn is_loopback(url: &Url) -> bool {
    url.host.eq_ignore_ascii_case("localhost")
        || url.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The components of one type.
fn of_kind<'a>(
    components: &'a BTreeMap<String, Component>,
    kind: &'static str,
) -> impl Iterator<Item = (&'a String, &'a Settings)> {
    let of_kind = components
        .iter()
        .filter(move |(_, component)| component.kind == kind);
    of_kind.map(|(name, component)| (name, &component.settings))
}

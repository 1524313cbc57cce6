//! Rules of sources.

use super::super::Parts;
use super::super::problem::Problems;
use super::{is_loopback, needs, of_kind, tls};

/// Reports what is wrong between the keys of a source.
pub(super) fn check(parts: &Parts, problems: &mut Problems) {
    for (_, settings) in of_kind(&parts.sources, "mqtt") {
        needs(settings, "password", "username", problems);
        let Some(url) = settings.url("url") else {
            continue;
        };
        let secure = url.scheme == "mqtts";
        tls(settings, secure, "mqtts://", problems);
        if !secure && settings.get("username").is_some() && !is_loopback(url) {
            let message = "sends its password in the clear";
            let suggestion = "write mqtts:// if the broker takes TLS".to_owned();
            let at = settings.place_of("url");
            problems.warning(at, &settings.path_of("url"), message, Some(suggestion));
        }
    }
    for (_, settings) in of_kind(&parts.sources, "mqtt_listener") {
        needs(settings, "password", "username", problems);
        needs(settings, "username", "password", problems);
        let Some(address) = settings.address("listen") else {
            continue;
        };
        if !address.ip().is_loopback() && settings.get("username").is_none() {
            let message = "anyone who reaches this port may publish";
            let suggestion = "add username and password".to_owned();
            let at = settings.place_of("listen");
            problems.warning(at, &settings.path_of("listen"), message, Some(suggestion));
        }
    }
}

//! `tls` and `proxy` of whatever connects to somebody.

use super::super::model::{ProxyConfig, TlsConfig};
use super::super::settings::Settings;
use super::{owned, path};

/// How a server is reached and verified.
pub(super) fn tls(settings: &Settings) -> Option<TlsConfig> {
    let tls = settings.table("tls")?;
    let pins = tls.texts("pins");
    Some(TlsConfig {
        ca_file: path(tls, "ca_file"),
        certificate_file: path(tls, "certificate_file"),
        key_file: path(tls, "key_file"),
        pins: pins.iter().filter_map(|pin| pin.parse().ok()).collect(),
        is_1_3_only: tls.text("version_min")? == "1.3",
        proxy: proxy(settings),
    })
}

/// Through whom, if somebody is named.
fn proxy(settings: &Settings) -> Option<Box<ProxyConfig>> {
    let proxy = settings.table("proxy")?;
    Some(Box::new(ProxyConfig {
        url: proxy.url("url")?.text.clone(),
        username: owned(proxy, "username"),
        password: proxy.secret("password").cloned(),
    }))
}

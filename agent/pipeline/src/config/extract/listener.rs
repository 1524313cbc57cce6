//! A listener for devices.

use std::collections::BTreeMap;

use super::super::model::{MqttListen, MqttListenerConfig};
use super::super::settings::{Setting, Settings, Value};
use super::{owned, path, server_tls, topic_templates};

pub(super) fn config(settings: &Settings) -> Option<MqttListenerConfig> {
    Some(MqttListenerConfig {
        listen: listen(settings)?,
        tls: server_tls(settings),
        username: owned(settings, "username"),
        password: settings.secret("password").cloned(),
        password_file: path(settings, "password_file"),
        rights: rights(settings),
        connections_max: settings.integer("connections_max")?,
        packet_bytes_max: settings.size("packet_bytes_max")?,
        topic_templates: topic_templates(settings),
        idle_max: settings.duration("idle_max")?,
    })
}

fn listen(settings: &Settings) -> Option<MqttListen> {
    if let Some(name) = settings.passed("listen") {
        return Some(MqttListen::Systemd(name.to_owned()));
    }
    settings.address("listen").map(MqttListen::Address)
}

/// Who may publish where.
fn rights(settings: &Settings) -> Option<BTreeMap<String, Vec<String>>> {
    let filters = |setting: &Setting| {
        let Value::List(filters) = &setting.value else {
            return Vec::new();
        };
        let texts = filters.iter().filter_map(|filter| {
            let Value::Text(text) = &filter.value else {
                return None;
            };
            Some(text.clone())
        });
        texts.collect()
    };
    let rights = settings.map("rights")?.iter();
    Some(
        rights
            .map(|(user, setting)| (user.clone(), filters(setting)))
            .collect(),
    )
}

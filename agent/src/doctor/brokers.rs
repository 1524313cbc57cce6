//! Tries out each broker of each source.

use pipeline::config::{Config, MqttBroker, MqttConfig, SourceKind};
use pipeline::doctor::{Finding, Version, Window, judge_probe};
use ring::rand::{SecureRandom, SystemRandom};

use crate::source::mqtt::{Lost, probe};

/// The sources that subscribe to a broker.
pub(super) fn sources(config: &Config) -> impl Iterator<Item = (&String, &MqttConfig)> {
    config
        .sources
        .iter()
        .filter_map(|(name, source)| match &source.kind {
            SourceKind::Mqtt(mqtt) => Some((name, mqtt)),
            SourceKind::MqttListener(_) | SourceKind::File(_) | SourceKind::Syslog(_) => None,
        })
}

/// What was found, and the version of mosquitto that one of them tells. `window` is what the
/// broker is set to send at a time, if that is known.
pub(super) async fn examine(
    config: &Config,
    window: Option<u32>,
) -> (Vec<Finding>, Option<Version>) {
    let (mut found, mut version) = (Vec::new(), None);
    for (name, mqtt) in sources(config) {
        let about = format!("sources.{name}");
        for broker in &mqtt.brokers {
            let place = format!("{}:{}", broker.host, broker.port);
            match probe(mqtt, broker, &scratch_id(mqtt)).await {
                Ok((mut probe, version_told)) => {
                    // Files of one broker say nothing about several.
                    let told = window.filter(|_| mqtt.brokers.len() == 1);
                    probe.window = probe.window.or(told.map(|count| Window {
                        count,
                        is_least: false,
                    }));
                    found.extend(judge_probe(&about, &place, mqtt, &probe));
                    if let Some(told) = version_told {
                        version = version.or(Version::find(&told));
                        found.push(Finding::ok(&about, format!("{place} is {told}")));
                    }
                }
                Err(lost) => {
                    let what = format!("{place}: {lost}");
                    found.push(Finding::problem(&about, what, hint(&lost, broker)));
                }
            }
        }
    }
    (found, version)
}

/// No other client has it, the agent least of all.
fn scratch_id(config: &MqttConfig) -> String {
    let mut bytes = [0; 4];
    // Without chance it is a fixed one, which only another doctor could have.
    SystemRandom::new().fill(&mut bytes).ok();
    format!(
        "{}-doctor-{:08x}",
        config.client_id,
        u32::from_le_bytes(bytes)
    )
}

/// What to do about a connection that cannot be made.
fn hint(lost: &Lost, broker: &MqttBroker) -> &'static str {
    match lost {
        Lost::Name(_) => "look at the name in url, and at the DNS of this machine",
        Lost::Unreachable(_) | Lost::TimedOut => {
            "is the broker running, listening at this address and port, and let through by \
             firewalls?"
        }
        Lost::Tls(_) => "look at the files in tls, and whether this user may read them",
        Lost::Handshake(_) if broker.tls.is_some() => {
            "let tls.ca_file hold the authority of the broker's certificate, and url a name that \
             is in it; if the broker wants client certificates, name one"
        }
        Lost::Handshake(_) | Lost::ServerName => "write the name that is in the certificate",
        Lost::WebSocket(_) => "look at the path and port of url: is there a WebSocket listener?",
        Lost::Refused(_) | Lost::Dismissed { .. } => {
            "look at username, password and client_id, and at the log of the broker"
        }
        Lost::Io(_)
        | Lost::ClosedByBroker
        | Lost::Silent
        | Lost::Malformed(_)
        | Lost::Unexpected(_)
        | Lost::Overrun => {
            "is this the port of an MQTT listener, with TLS exactly if url says so? The log of \
             the broker tells more"
        }
        Lost::Unwritable(_) | Lost::StoreEnded => "shorten client_id, username or password",
    }
}

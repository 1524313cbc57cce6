//! A broker that Hydrant subscribes to.

use std::time::Duration;

use crate::decode::mqtt::TopicTemplates;

use super::super::units::{ByteSize, Secret};
use super::{MqttVersion, Qos, TlsConfig};

/// `type = "mqtt"`.
#[derive(Clone, Debug, PartialEq)]
pub struct MqttConfig {
    /// The brokers, in the order in which they are tried; at least one.
    pub brokers: Vec<MqttBroker>,
    /// How often earlier brokers are tried while a later one serves.
    pub return_interval: Duration,
    /// Protocol version.
    pub version: MqttVersion,
    /// Stable over restarts, so that the broker keeps the session.
    pub client_id: String,
    /// Topic filters.
    pub topics: Vec<String>,
    /// Fields that are read out of the topic.
    pub topic_templates: TopicTemplates,
    /// The quality of service asked for.
    pub qos: Qos,
    /// User name.
    pub username: Option<String>,
    /// Password.
    pub password: Option<Secret>,
    /// How often the connection is probed.
    pub keep_alive: Duration,
    /// How long the broker keeps the session (MQTT 5).
    pub session_expiry: Duration,
    /// The largest packet taken.
    pub packet_bytes_max: ByteSize,
    /// How many messages may wait for their acknowledgement: the broker's window.
    pub in_flight_max: u16,
}

impl MqttConfig {
    /// Whether the session ends with its connection.
    pub fn has_short_session(&self) -> bool {
        self.version == MqttVersion::V5 && self.session_expiry.is_zero()
    }
}

/// One broker.
#[derive(Clone, Debug, PartialEq)]
pub struct MqttBroker {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// TLS, for `mqtts://` and `wss://`.
    pub tls: Option<TlsConfig>,
    /// The path of the WebSocket, for `ws://` and `wss://`.
    pub websocket_path: Option<String>,
}

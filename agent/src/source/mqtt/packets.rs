//! Packets as they go out, by rumqttc's codec.
//!
//! What comes in is read by `pipeline::decode::mqtt`, which checks what rumqttc does not;
//! acknowledgements are written here because they are two numbers.

use bytes::{BufMut, BytesMut};
use pipeline::config::{MqttConfig, MqttVersion, Qos, Secret};
use rumqttc::mqttbytes::v4;
use rumqttc::v5::mqttbytes::v5;

/// The acknowledgements that a receiver of publishes sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source) enum AckKind {
    /// PUBACK: a QoS 1 message is taken.
    Taken,
    /// PUBREC: a QoS 2 message is taken, its number remembered.
    Held,
    /// PUBCOMP: the number is forgotten.
    Released,
}

/// Reason code of MQTT 5: the packet identifier is not known.
pub(in crate::source) const PACKET_ID_NOT_FOUND: u8 = 0x92;

/// Writes an acknowledgement; a reason code other than 0 is for MQTT 5 only.
pub(in crate::source) fn write_ack(
    out: &mut BytesMut,
    kind: AckKind,
    packet_id: u16,
    reason_code: u8,
) {
    out.put_u8(match kind {
        AckKind::Taken => 0x40,
        AckKind::Held => 0x50,
        AckKind::Released => 0x70,
    });
    out.put_u8(if reason_code == 0 { 2 } else { 3 });
    out.put_u16(packet_id);
    if reason_code != 0 {
        out.put_u8(reason_code);
    }
}

/// Writes PINGREQ.
pub(in crate::source) fn write_ping_request(out: &mut BytesMut) {
    out.put_slice(&[0xc0, 0]);
}

/// Writes DISCONNECT without a reason.
pub(in crate::source) fn write_disconnect(out: &mut BytesMut) {
    out.put_slice(&[0xe0, 0]);
}

/// Writes DISCONNECT with a reason code of MQTT 5.
pub(in crate::source) fn write_disconnect_because(out: &mut BytesMut, reason_code: u8) {
    out.put_slice(&[0xe0, 1, reason_code]);
}

/// What of an outgoing packet does not fit MQTT.
#[derive(Debug)]
pub(crate) struct Unwritable(String);

impl std::fmt::Display for Unwritable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// CONNECT as `config` wants it, but for the client identifier; `clean` wants no session, neither
/// an earlier nor a later one.
pub(super) fn connect(
    config: &MqttConfig,
    client_id: &str,
    clean: bool,
    aliases_max: u16,
) -> Result<BytesMut, Unwritable> {
    let mut out = BytesMut::new();
    let keep_alive = u16::try_from(config.keep_alive.as_secs()).unwrap_or(u16::MAX);
    let username = config.username.clone().unwrap_or_default();
    let password = config.password.as_ref().map_or("", Secret::expose);
    match config.version {
        MqttVersion::V311 => {
            let mut connect = v4::Connect::new(client_id);
            connect.keep_alive = keep_alive;
            connect.clean_session = clean;
            connect.login = Some(v4::Login::new(username, password));
            connect.write(&mut out).map_err(unwritable)?;
        }
        MqttVersion::V5 => {
            let mut properties = v5::ConnectProperties::new();
            let expiry = u32::try_from(config.session_expiry.as_secs()).unwrap_or(u32::MAX);
            properties.session_expiry_interval = Some(if clean { 0 } else { expiry });
            properties.receive_maximum = Some(config.in_flight_max.max(1));
            properties.topic_alias_max = Some(aliases_max);
            let connect = v5::Connect {
                keep_alive,
                client_id: client_id.to_owned(),
                clean_start: clean,
                properties: Some(properties),
            };
            let login = v5::Login::new(username, password);
            connect
                .write(&None, &Some(login), &mut out)
                .map_err(unwritable)?;
        }
    }
    Ok(out)
}

/// SUBSCRIBE to `filters`.
pub(super) fn write_subscribe(
    out: &mut BytesMut,
    version: MqttVersion,
    qos: Qos,
    packet_id: u16,
    filters: &[&str],
) -> Result<(), Unwritable> {
    match version {
        MqttVersion::V311 => {
            let qos = match qos {
                Qos::AtMostOnce => rumqttc::mqttbytes::QoS::AtMostOnce,
                Qos::AtLeastOnce => rumqttc::mqttbytes::QoS::AtLeastOnce,
                Qos::ExactlyOnce => rumqttc::mqttbytes::QoS::ExactlyOnce,
            };
            let filter = |path: &&str| v4::SubscribeFilter::new((*path).to_owned(), qos);
            let mut subscribe = v4::Subscribe::new_many(filters.iter().map(filter));
            subscribe.pkid = packet_id;
            subscribe.write(out).map_err(unwritable)?;
        }
        MqttVersion::V5 => {
            let qos = match qos {
                Qos::AtMostOnce => rumqttc::v5::mqttbytes::QoS::AtMostOnce,
                Qos::AtLeastOnce => rumqttc::v5::mqttbytes::QoS::AtLeastOnce,
                Qos::ExactlyOnce => rumqttc::v5::mqttbytes::QoS::ExactlyOnce,
            };
            let filter = |path: &&str| {
                let mut filter = v5::Filter::new(*path, qos);
                // A subscription that the broker still has must not send retained messages anew.
                filter.retain_forward_rule = v5::RetainForwardRule::OnNewSubscribe;
                filter
            };
            let subscribe = v5::Subscribe {
                pkid: packet_id,
                filters: filters.iter().map(filter).collect(),
                properties: None,
            };
            subscribe.write(out).map_err(unwritable)?;
        }
    }
    Ok(())
}

/// UNSUBSCRIBE from `filters`.
pub(super) fn write_unsubscribe(
    out: &mut BytesMut,
    version: MqttVersion,
    packet_id: u16,
    filters: &[&str],
) -> Result<(), Unwritable> {
    let filters = filters.iter().map(|filter| (*filter).to_owned()).collect();
    match version {
        MqttVersion::V311 => {
            let unsubscribe = v4::Unsubscribe {
                pkid: packet_id,
                topics: filters,
            };
            unsubscribe.write(out).map_err(unwritable)?;
        }
        MqttVersion::V5 => {
            let unsubscribe = v5::Unsubscribe {
                pkid: packet_id,
                filters,
                properties: None,
            };
            unsubscribe.write(out).map_err(unwritable)?;
        }
    }
    Ok(())
}

fn unwritable(error: impl std::fmt::Display) -> Unwritable {
    Unwritable(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledgements() {
        let check = |kind, reason_code, expected: &[u8]| {
            let mut out = BytesMut::new();
            write_ack(&mut out, kind, 0x0102, reason_code);
            assert_eq!(out, expected);
        };
        check(AckKind::Taken, 0, &[0x40, 2, 1, 2]);
        check(AckKind::Held, 0, &[0x50, 2, 1, 2]);
        check(
            AckKind::Released,
            PACKET_ID_NOT_FOUND,
            &[0x70, 3, 1, 2, 0x92],
        );
    }
}

//! Packets as they go out, and the few that only a server sends, by rumqttc's codec.
//!
//! What comes from a peer that may be hostile is read by `pipeline::decode::mqtt`, which checks
//! what rumqttc does not; acknowledgements are written here because they are two numbers.

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

/// What of an outgoing packet does not fit MQTT.
#[derive(Debug)]
pub(in crate::source) struct Unwritable(String);

impl std::fmt::Display for Unwritable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// CONNECT as `config` wants it.
pub(super) fn connect(config: &MqttConfig, aliases_max: u16) -> Result<BytesMut, Unwritable> {
    let mut out = BytesMut::new();
    let keep_alive = u16::try_from(config.keep_alive.as_secs()).unwrap_or(u16::MAX);
    let username = config.username.clone().unwrap_or_default();
    let password = config.password.as_ref().map_or("", Secret::expose);
    match config.version {
        MqttVersion::V311 => {
            let mut connect = v4::Connect::new(config.client_id.as_str());
            connect.keep_alive = keep_alive;
            connect.clean_session = false;
            connect.login = Some(v4::Login::new(username, password));
            connect.write(&mut out).map_err(unwritable)?;
        }
        MqttVersion::V5 => {
            let mut properties = v5::ConnectProperties::new();
            let expiry = u32::try_from(config.session_expiry.as_secs()).unwrap_or(u32::MAX);
            properties.session_expiry_interval = Some(expiry);
            properties.receive_maximum = Some(config.in_flight_max.max(1));
            properties.topic_alias_max = Some(aliases_max);
            let connect = v5::Connect {
                keep_alive,
                client_id: config.client_id.clone(),
                clean_start: false,
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

/// The broker's answer to CONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ConnAck {
    /// Whether the broker kept the session.
    pub(super) session_present: bool,
    /// Why it does not want us.
    pub(super) refused: Option<String>,
    /// The keep-alive it wants instead, in seconds.
    pub(super) keep_alive_s: Option<u16>,
}

/// Reads a whole CONNACK; `None` when it is not one.
pub(super) fn read_connack(packet: &[u8], version: MqttVersion) -> Option<ConnAck> {
    let mut packet = BytesMut::from(packet);
    match version {
        MqttVersion::V311 => {
            let v4::Packet::ConnAck(answer) = v4::Packet::read(&mut packet, usize::MAX).ok()?
            else {
                return None;
            };
            let success = answer.code == v4::ConnectReturnCode::Success;
            Some(ConnAck {
                session_present: answer.session_present,
                refused: (!success).then(|| format!("{:?}", answer.code)),
                keep_alive_s: None,
            })
        }
        MqttVersion::V5 => {
            let v5::Packet::ConnAck(answer) = v5::Packet::read(&mut packet, None).ok()? else {
                return None;
            };
            let success = answer.code == v5::ConnectReturnCode::Success;
            let properties = answer.properties.as_ref();
            let reason = properties.and_then(|properties| properties.reason_string.as_ref());
            Some(ConnAck {
                session_present: answer.session_present,
                refused: (!success).then(|| match reason {
                    Some(reason) => format!("{:?} ({reason})", answer.code),
                    None => format!("{:?}", answer.code),
                }),
                keep_alive_s: properties.and_then(|properties| properties.server_keep_alive),
            })
        }
    }
}

/// The broker's answer to SUBSCRIBE: for each filter nothing, or why not.
pub(super) struct SubAck {
    /// Of the SUBSCRIBE.
    pub(super) packet_id: u16,
    /// In the order of the filters.
    pub(super) refused: Vec<Option<String>>,
}

/// Reads a whole SUBACK; `None` when it is not one.
pub(super) fn read_suback(packet: &[u8], version: MqttVersion) -> Option<SubAck> {
    let mut packet = BytesMut::from(packet);
    match version {
        MqttVersion::V311 => {
            let v4::Packet::SubAck(answer) = v4::Packet::read(&mut packet, usize::MAX).ok()? else {
                return None;
            };
            let refused = answer.return_codes.iter().map(|code| {
                let granted = matches!(code, v4::SubscribeReasonCode::Success(_));
                (!granted).then(|| "refused".to_owned())
            });
            Some(SubAck {
                packet_id: answer.pkid,
                refused: refused.collect(),
            })
        }
        MqttVersion::V5 => {
            let v5::Packet::SubAck(answer) = v5::Packet::read(&mut packet, None).ok()? else {
                return None;
            };
            let refused = answer.return_codes.iter().map(|code| {
                let granted = matches!(code, v5::SubscribeReasonCode::Success(_));
                (!granted).then(|| format!("{code:?}"))
            });
            Some(SubAck {
                packet_id: answer.pkid,
                refused: refused.collect(),
            })
        }
    }
}

fn unwritable(error: impl std::fmt::Display) -> Unwritable {
    Unwritable(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_a_broker() {
        let check = |packet: &[u8], version, expected: Option<(bool, bool, Option<u16>)>| {
            let read = read_connack(packet, version).map(|read| {
                (
                    read.session_present,
                    read.refused.is_some(),
                    read.keep_alive_s,
                )
            });
            assert_eq!(read, expected, "{packet:02x?}");
        };
        check(
            &[0x20, 2, 0, 0],
            MqttVersion::V311,
            Some((false, false, None)),
        );
        check(
            &[0x20, 2, 1, 0],
            MqttVersion::V311,
            Some((true, false, None)),
        );
        check(
            &[0x20, 2, 0, 5],
            MqttVersion::V311,
            Some((false, true, None)),
        );
        check(&[0x20, 2, 0, 99], MqttVersion::V311, None);
        check(&[0xd0, 0], MqttVersion::V311, None);
        check(
            &[0x20, 3, 1, 0, 0],
            MqttVersion::V5,
            Some((true, false, None)),
        );
        check(
            &[0x20, 6, 0, 0, 3, 19, 0, 9],
            MqttVersion::V5,
            Some((false, false, Some(9))),
        );
        check(
            &[0x20, 3, 0, 0x87, 0],
            MqttVersion::V5,
            Some((false, true, None)),
        );
        let subscribed = read_suback(&[0x90, 4, 0, 7, 1, 0x80], MqttVersion::V311).unwrap();
        assert_eq!(subscribed.packet_id, 7);
        assert_eq!(subscribed.refused, [None, Some("refused".to_owned())]);
        let subscribed = read_suback(&[0x90, 5, 0, 7, 0, 2, 0x87], MqttVersion::V5).unwrap();
        assert_eq!(subscribed.refused, [None, Some("NotAuthorized".to_owned())]);
    }

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

//! What the listener says to devices, by rumqttc's codec.

use bytes::{BufMut, BytesMut};
use pipeline::config::MqttVersion;
use pipeline::decode::mqtt::Subscription;
use rumqttc::mqttbytes::v4;
use rumqttc::v5::mqttbytes::v5;

/// What a device of MQTT 5 is told when it is taken in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Terms {
    /// Whether its session was kept.
    pub(super) session_present: bool,
    /// The identifier it gets because it has none.
    pub(super) assigned_client_id: Option<String>,
    /// The life of its session where that is not what it asked for, in seconds.
    pub(super) session_expiry_s: Option<u32>,
    /// The keep-alive where that is not what it asked for.
    pub(super) keep_alive_s: Option<u16>,
    /// How many unacknowledged messages it may send.
    pub(super) receive_maximum: u16,
    /// The largest packet it may send.
    pub(super) packet_bytes_max: u32,
    /// How many topic aliases it may use.
    pub(super) aliases_max: u16,
}

/// Why a device is not taken in: the code of 3.1.1 and that of 5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The client identifier.
    ClientId,
    /// User name or password.
    Credentials,
    /// Enhanced authentication, which is of MQTT 5.
    AuthenticationMethod,
    /// The answer would be larger than the device takes.
    TooLarge,
}

/// Writes a CONNACK that takes a device in.
pub(super) fn write_accepted(out: &mut BytesMut, version: MqttVersion, terms: Terms) {
    if version == MqttVersion::V311 {
        out.put_slice(&[0x20, 2, u8::from(terms.session_present), 0]);
        return;
    }
    let answer = v5::ConnAck {
        session_present: terms.session_present,
        code: v5::ConnectReturnCode::Success,
        properties: Some(v5::ConnAckProperties {
            session_expiry_interval: terms.session_expiry_s,
            receive_max: Some(terms.receive_maximum),
            max_qos: None,
            retain_available: None,
            max_packet_size: Some(terms.packet_bytes_max),
            assigned_client_identifier: terms.assigned_client_id,
            topic_alias_max: Some(terms.aliases_max),
            reason_string: None,
            user_properties: Vec::new(),
            wildcard_subscription_available: None,
            subscription_identifiers_available: None,
            shared_subscription_available: None,
            server_keep_alive: terms.keep_alive_s,
            response_information: None,
            server_reference: None,
            authentication_method: None,
            authentication_data: None,
        }),
    };
    written(&answer.write(out));
}

/// Writes a CONNACK that turns a device away.
pub(super) fn write_refused(out: &mut BytesMut, version: MqttVersion, refusal: Refusal) {
    match version {
        MqttVersion::V311 => {
            let code = match refusal {
                Refusal::ClientId => 2,
                Refusal::Credentials => 4,
                Refusal::AuthenticationMethod | Refusal::TooLarge => 5,
            };
            out.put_slice(&[0x20, 2, 0, code]);
        }
        MqttVersion::V5 => {
            let code = match refusal {
                Refusal::ClientId => 0x85,
                Refusal::Credentials => 0x86,
                Refusal::AuthenticationMethod => 0x8c,
                Refusal::TooLarge => 0x95,
            };
            out.put_slice(&[0x20, 3, 0, code, 0]);
        }
    }
}

/// Writes a CONNACK for a protocol level that is not spoken here, in the words of the nearest
/// version that is.
pub(super) fn write_version_refused(out: &mut BytesMut, level: u8) {
    if level < 5 {
        out.put_slice(&[0x20, 2, 0, 1]);
    } else {
        out.put_slice(&[0x20, 3, 0, 0x84, 0]);
    }
}

/// Writes a SUBACK that grants nothing: there is nothing to receive here. Devices that publish
/// and also subscribe go on; one of MQTT 5 is told why, if it wants to be.
pub(super) fn write_suback(
    out: &mut BytesMut,
    version: MqttVersion,
    asked: Subscription,
    with_reason: bool,
) {
    const FAILURE: u8 = 0x80;
    let properties = match version {
        MqttVersion::V311 => Vec::new(),
        MqttVersion::V5 if with_reason => reason_string(NOTHING_TO_RECEIVE),
        MqttVersion::V5 => vec![0],
    };
    out.put_u8(0x90);
    put_variable(out, 2 + properties.len() + asked.filters);
    out.put_u16(asked.packet_id);
    out.put_slice(&properties);
    out.put_bytes(FAILURE, asked.filters);
}

const NOTHING_TO_RECEIVE: &str = "this server only collects: there is nothing to receive";

/// The properties of a packet that has no other.
fn reason_string(text: &str) -> Vec<u8> {
    const REASON_STRING: u8 = 31;
    // The texts are our own, and far from 127 bytes.
    let len = u8::try_from(text.len()).unwrap_or(0);
    let mut properties = vec![len + 3, REASON_STRING, 0, len];
    properties.extend(text.as_bytes());
    properties
}

/// A number in as many bytes of seven bits as it takes.
fn put_variable(out: &mut BytesMut, mut number: usize) {
    loop {
        let digit = u8::try_from(number & 0x7f).unwrap_or(0);
        number >>= 7;
        out.put_u8(if number == 0 { digit } else { digit | 0x80 });
        if number == 0 {
            return;
        }
    }
}

/// Writes an UNSUBACK: no such subscription existed.
pub(super) fn write_unsuback(out: &mut BytesMut, version: MqttVersion, asked: Subscription) {
    match version {
        MqttVersion::V311 => {
            written(&v4::UnsubAck::new(asked.packet_id).write(out));
        }
        MqttVersion::V5 => {
            let answer = v5::UnsubAck {
                pkid: asked.packet_id,
                reasons: vec![v5::UnsubAckReason::NoSubscriptionExisted; asked.filters],
                properties: None,
            };
            written(&answer.write(out));
        }
    }
}

/// Writes PINGRESP.
pub(super) fn write_ping_response(out: &mut BytesMut) {
    out.put_slice(&[0xd0, 0]);
}

/// Writes the DISCONNECT of MQTT 5.
pub(super) fn write_disconnect(out: &mut BytesMut, reason_code: u8) {
    out.put_slice(&[0xe0, 1, reason_code]);
}

/// An answer is never longer than MQTT allows: it has a byte for each filter, which took at
/// least three.
fn written<E>(result: &Result<usize, E>) {
    debug_assert!(result.is_ok(), "an answer is longer than a packet may be");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expected: &[u8], write: impl Fn(&mut BytesMut)) {
        let mut out = BytesMut::new();
        write(&mut out);
        assert_eq!(out, expected);
    }

    #[test]
    fn answers() {
        use MqttVersion::{V5, V311};
        let asked = Subscription {
            packet_id: 7,
            filters: 2,
        };
        let terms = |session_present| Terms {
            session_present,
            receive_maximum: 9,
            packet_bytes_max: 0x0102,
            aliases_max: 3,
            ..Terms::default()
        };
        check(&[0x20, 2, 1, 0], |out| {
            write_accepted(out, V311, terms(true));
        });
        let accepted = [0x20, 14, 0, 0, 11, 33, 0, 9, 39, 0, 0, 1, 2, 34, 0, 3];
        check(&accepted, |out| write_accepted(out, V5, terms(false)));
        check(&[0x20, 2, 0, 4], |out| {
            write_refused(out, V311, Refusal::Credentials);
        });
        check(&[0x20, 3, 0, 0x86, 0], |out| {
            write_refused(out, V5, Refusal::Credentials);
        });
        check(&[0x20, 2, 0, 1], |out| write_version_refused(out, 3));
        check(&[0x20, 3, 0, 0x84, 0], |out| write_version_refused(out, 6));
        check(&[0x90, 4, 0, 7, 0x80, 0x80], |out| {
            write_suback(out, V311, asked, true);
        });
        check(&[0x90, 5, 0, 7, 0, 0x80, 0x80], |out| {
            write_suback(out, V5, asked, false);
        });
        let why = NOTHING_TO_RECEIVE.as_bytes();
        let head = [0x90, 62, 0, 7, 57, 31, 0, 54];
        check(&[&head[..], why, &[0x80, 0x80]].concat(), |out| {
            write_suback(out, V5, asked, true);
        });
        let many = Subscription {
            packet_id: 7,
            filters: 200,
        };
        let head = [0x90, 0xca, 1, 0, 7];
        check(&[&head[..], &[0x80; 200]].concat(), |out| {
            write_suback(out, V311, many, false);
        });
        check(&[0xb0, 2, 0, 7], |out| write_unsuback(out, V311, asked));
        check(&[0xb0, 5, 0, 7, 0, 0x11, 0x11], |out| {
            write_unsuback(out, V5, asked);
        });
    }
}

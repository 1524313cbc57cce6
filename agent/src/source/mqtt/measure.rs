//! How many messages a broker sends before it wants an acknowledgement.
//!
//! The doctor sends itself messages over a topic that nobody else has, acknowledges none, and
//! counts what comes until the broker falls silent.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use pipeline::config::{MqttVersion, Qos};
use pipeline::decode::mqtt::{Ack, Granted, PacketType, Publish, Sender, SubAck, reason_words};
use pipeline::doctor::Window;
use tokio::time::timeout;

use super::Lost;
use super::probe::Talk;

/// So many are sent before their acknowledgements are waited for: fewer than any broker takes.
const SENT_AT_ONCE: u16 = 10;

/// What the messages say.
const PAYLOAD: &[u8] = b"hydrant doctor";

/// Tries up to `tried` messages over `topic`, and takes the broker for silent after `quiet`. `Err`
/// says in words why nothing was learned.
pub(super) async fn measure(
    talk: &mut Talk,
    version: MqttVersion,
    topic: &str,
    tried: u16,
    quiet: Duration,
) -> Result<Window, String> {
    talk.ask(version, Qos::AtLeastOnce, 1, &[topic])
        .await
        .map_err(|lost| lost.to_string())?;
    // MQTT 3.1.1 has no other word for what may not be published.
    let refused = |lost: Lost| format!("the broker does not take {topic}: {lost}");
    let mut count = Count {
        version,
        acknowledged: 0,
        arrived: BTreeSet::new(),
        denied: None,
    };
    let mut sent = 0;
    let mut is_granted = false;
    let is_silent = loop {
        if is_granted && count.is_answered(sent) {
            if sent >= tried {
                break false;
            }
            let more = SENT_AT_ONCE.min(tried - sent);
            let mut out = BytesMut::new();
            for packet_id in sent + 1..=sent + more {
                write_publish(&mut out, version, topic, packet_id);
            }
            sent += more;
            talk.send(&out).await.map_err(refused)?;
        }
        let Ok(packet) = timeout(quiet, talk.next()).await else {
            break true;
        };
        let packet = packet.map_err(refused)?;
        if packet.header.kind == PacketType::SubAck {
            granted(packet.body(), version, topic)?;
            is_granted = true;
        }
        count.handle(packet.header.kind, packet.header.first, packet.body());
        if let Some(code) = count.denied {
            let words = reason_words(code);
            return Err(format!(
                "the broker does not take {topic}: {words} ({code:#04x})"
            ));
        }
    };
    if count.arrived.is_empty() {
        return Err(format!("the broker passes nothing on over {topic}"));
    }
    Ok(Window {
        count: u32::try_from(count.arrived.len()).unwrap_or(u32::MAX),
        is_least: !is_silent,
    })
}

/// Whether the topic may be subscribed to.
fn granted(body: &[u8], version: MqttVersion, topic: &str) -> Result<(), String> {
    let answer = SubAck::read(body, version).map_err(|error| error.to_string())?;
    match answer.granted().next() {
        Some(Granted::With(Qos::AtLeastOnce | Qos::ExactlyOnce)) => Ok(()),
        _ => Err(format!("the broker does not grant {topic}")),
    }
}

/// What has come back.
struct Count {
    version: MqttVersion,
    acknowledged: u16,
    arrived: BTreeSet<u16>,
    /// The reason code of a message that was not taken.
    denied: Option<u8>,
}

impl Count {
    fn handle(&mut self, kind: PacketType, first: u8, body: &[u8]) {
        if kind == PacketType::PubAck {
            self.acknowledged += 1;
            let code = Ack::read(body, self.version).map_or(0, |ack| ack.reason_code);
            self.denied = self.denied.or(Some(code).filter(|code| *code >= 0x80));
        }
        if kind == PacketType::Publish
            && let Ok(publish) = Publish::read(first, body, self.version, Sender::Server)
            && publish.qos == Qos::AtLeastOnce
        {
            self.arrived.insert(publish.packet_id);
        }
    }

    /// Whether everything that was sent was acknowledged and has come.
    fn is_answered(&self, sent: u16) -> bool {
        self.acknowledged >= sent && self.arrived.len() >= usize::from(sent)
    }
}

/// A message of QoS 1; `topic` is short.
fn write_publish(out: &mut BytesMut, version: MqttVersion, topic: &str, packet_id: u16) {
    let mut body = BytesMut::new();
    body.put_u16(u16::try_from(topic.len()).unwrap_or(0));
    body.put_slice(topic.as_bytes());
    body.put_u16(packet_id);
    if version == MqttVersion::V5 {
        body.put_u8(0);
    }
    body.put_slice(PAYLOAD);
    out.put_u8(0x32);
    // The topic is of our own making: the length takes one byte.
    out.put_u8(u8::try_from(body.len()).unwrap_or(0));
    out.put_slice(&body);
}

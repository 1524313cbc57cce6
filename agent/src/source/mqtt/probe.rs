//! What a broker does for a client like the source, tried out with an identifier of its own.
//!
//! Takes nothing from the source: its session is another one, a shared subscription is tried in
//! another group, nothing is acknowledged, and the session is ended behind it. What it publishes
//! goes to nobody but itself.

use std::time::Duration;

use bytes::BytesMut;
use pipeline::config::{MqttBroker, MqttConfig, MqttVersion, Qos};
use pipeline::decode::mqtt::{Granted, PacketType, Publish, Sender, SubAck, share_group, unshared};
use pipeline::doctor::{Probe, window_tried};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};

use super::inbox::{Inbox, Packet};
use super::measure::measure;
use super::open::{CONNECT_MAX, Opened, open};
use super::packets::{write_disconnect, write_subscribe};
use super::{Io, Lost};

/// How long the broker may take to answer a question.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// How long the broker may take to tell its version, which few may hear.
const VERSION_MAX: Duration = Duration::from_secs(1);

/// Where mosquitto tells its version.
const VERSION_TOPIC: &str = "$SYS/broker/version";

/// Below it the doctor sends itself messages.
const SCRATCH_TOPIC: &str = "hydrant/doctor/";

/// A broker that sends nothing for so long, and some round trips, waits for acknowledgements.
const QUIET_MIN: Duration = Duration::from_millis(500);

/// A message that is longer is cut: nobody reads it.
const BODY_BYTES_MAX: usize = 16 * 1024;

/// Tries out what `config` wants of `broker` as `client_id`. Beside it what the broker says that
/// it is.
pub(crate) async fn probe(
    config: &MqttConfig,
    broker: &MqttBroker,
    client_id: &str,
) -> Result<(Probe, Option<String>), Lost> {
    let begun = Instant::now();
    let opened = connect(config, broker, client_id, false).await?;
    let elapsed_ms = begun.elapsed().as_millis();
    let mut probe = Probe {
        connect_ms: u64::try_from(elapsed_ms).unwrap_or(u64::MAX),
        session_expiry_s: opened.session_expiry_s,
        ..Probe::default()
    };
    let mut talk = Talk::new(opened.stream);
    match timeout(ANSWER_MAX, talk.subscribe(config, client_id)).await {
        Ok(Ok(granted)) => probe.granted = granted,
        Ok(Err(lost)) => probe.subscribe_error = Some(lost.to_string()),
        Err(_) => {
            let seconds = ANSWER_MAX.as_secs();
            probe.subscribe_error = Some(format!("nothing came within {seconds} s"));
        }
    }
    talk.leave().await;
    let mut version = None;
    if let Ok(again) = connect(config, broker, client_id, false).await {
        probe.session_present = Some(again.session_present);
        let mut talk = Talk::new(again.stream);
        let told = timeout(VERSION_MAX, talk.version(config.version)).await;
        version = told.ok().and_then(Result::ok);
        talk.leave().await;
    }
    // Ends the session at the broker.
    if let Ok(last) = connect(config, broker, client_id, true).await {
        let mut talk = Talk::new(last.stream);
        // What the connection took says how far away the broker is, unless it was busy.
        let quiet = QUIET_MIN + 2 * Duration::from_millis(probe.connect_ms.min(1000));
        let topic = format!("{SCRATCH_TOPIC}{}", scratch_number(client_id));
        let tried = window_tried(config);
        let measured = measure(&mut talk, config.version, &topic, tried, quiet);
        match timeout(ANSWER_MAX, measured).await {
            Ok(Ok(window)) => probe.window = Some(window),
            Ok(Err(error)) => probe.window_error = Some(error),
            Err(_) => probe.window_error = Some("it took too long".to_owned()),
        }
        talk.leave().await;
    }
    Ok((probe, version))
}

/// What tells this doctor from others.
fn scratch_number(client_id: &str) -> &str {
    let number = client_id.rsplit('-').next().unwrap_or_default();
    number.get(..8).unwrap_or("0")
}

async fn connect(
    config: &MqttConfig,
    broker: &MqttBroker,
    client_id: &str,
    clean: bool,
) -> Result<Opened, Lost> {
    timeout(CONNECT_MAX, open(config, broker, client_id, clean))
        .await
        .unwrap_or(Err(Lost::TimedOut))
}

/// A connection on which one thing is asked after the other.
pub(super) struct Talk {
    stream: Box<dyn Io>,
    inbox: Inbox,
}

impl Talk {
    fn new(stream: Box<dyn Io>) -> Self {
        Self {
            stream,
            inbox: Inbox::new(BODY_BYTES_MAX),
        }
    }

    async fn subscribe(
        &mut self,
        config: &MqttConfig,
        client_id: &str,
    ) -> Result<Vec<Granted>, Lost> {
        let filters: Vec<String> = config
            .topics
            .iter()
            .map(|topic| match share_group(topic) {
                // A member of the group itself would be given messages that others should get.
                Some(_) => format!("$share/{client_id}/{}", unshared(topic)),
                None => topic.clone(),
            })
            .collect();
        let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
        self.ask(config.version, config.qos, 1, &filters).await?;
        loop {
            let packet = self.next().await?;
            if packet.header.kind == PacketType::SubAck {
                let answer =
                    SubAck::read(packet.body(), config.version).map_err(Lost::Malformed)?;
                return Ok(answer.granted().collect());
            }
        }
    }

    /// What the broker says that it is.
    async fn version(&mut self, version: MqttVersion) -> Result<String, Lost> {
        self.ask(version, Qos::AtMostOnce, 2, &[VERSION_TOPIC])
            .await?;
        loop {
            let packet = self.next().await?;
            if packet.header.kind != PacketType::Publish {
                continue;
            }
            let (first, body) = (packet.header.first, packet.body());
            let publish =
                Publish::read(first, body, version, Sender::Server).map_err(Lost::Malformed)?;
            if publish.topic == VERSION_TOPIC {
                return Ok(String::from_utf8_lossy(publish.payload).into_owned());
            }
        }
    }

    /// Subscribes.
    pub(super) async fn ask(
        &mut self,
        version: MqttVersion,
        qos: Qos,
        packet_id: u16,
        filters: &[&str],
    ) -> Result<(), Lost> {
        let mut out = BytesMut::new();
        write_subscribe(&mut out, version, qos, packet_id, filters).map_err(Lost::Unwritable)?;
        self.send(&out).await
    }

    /// Sends packets as they are.
    pub(super) async fn send(&mut self, packets: &[u8]) -> Result<(), Lost> {
        self.stream.write_all(packets).await.map_err(Lost::Io)?;
        self.stream.flush().await.map_err(Lost::Io)
    }

    /// The next packet. May be cancelled without loss.
    pub(super) async fn next(&mut self) -> Result<Packet, Lost> {
        loop {
            if let Some(packet) = self.inbox.take().map_err(Lost::Malformed)? {
                return Ok(packet);
            }
            let read = self.stream.read_buf(self.inbox.room()).await;
            if read.map_err(Lost::Io)? == 0 {
                return Err(Lost::ClosedByBroker);
            }
        }
    }

    /// Says goodbye and waits for the broker to close, so that it knows of it before what follows.
    async fn leave(mut self) {
        let mut out = BytesMut::new();
        write_disconnect(&mut out);
        let deadline = Instant::now() + VERSION_MAX;
        let goodbye = async {
            self.stream.write_all(&out).await?;
            self.stream.flush().await?;
            loop {
                let room = self.inbox.room();
                room.clear();
                if self.stream.read_buf(room).await? == 0 {
                    return std::io::Result::Ok(());
                }
            }
        };
        // Whatever it says, nothing is wanted any more.
        drop(timeout_at(deadline, goodbye).await);
    }
}

//! Subscribes to a broker.
//!
//! Keeps one connection, makes it again for as long as it takes, and acknowledges a message only
//! when its record is durable. rumqttc's event loop is not used, its packets are: the loop ends
//! the connection over a PUBREL that belongs to the connection before, and over a packet that is
//! too large, and the broker then sends the same again, for ever; and it writes to the socket
//! for each acknowledgement.

mod connection;
mod inbox;
mod kept;
mod measure;
pub(crate) mod open;
mod order;
pub(in crate::source) mod owed;
pub(crate) mod packets;
mod probe;
mod session;
mod subscriptions;
mod websocket;
pub(in crate::source) mod window;

use std::fmt;
use std::future::{Future, pending};
use std::io;
use std::pin::Pin;
use std::time::Duration;

use bytes::BytesMut;
use pipeline::config::{MqttBroker, MqttConfig};
use pipeline::decode::mqtt::{Malformed, PacketType, reason_words};
use pipeline::time::Monotonic;
use pipeline::websocket::WebSocketError;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, WriteHalf};

use crate::clock::Clock;
use crate::intake::{Closed, Intake, IntakeBatch, Shutdown};
use crate::telemetry::SourceCount;
use crate::tls::TlsError;
use connection::{Connection, set_mark};
use kept::{Kept, Left, Place};
use open::{CONNECT_MAX, Opened, open};
use order::Order;
use owed::Owed;
use packets::Unwritable;
pub(crate) use probe::probe;
use session::Session;
use subscriptions::Subscriptions;

/// A connection of any kind.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A batch on its way to a store that had no room for it at once.
pub(super) type Sending = Pin<Box<dyn Future<Output = Result<(), Closed>> + Send>>;

/// Why a connection was not made or has ended.
#[derive(Debug)]
pub(crate) enum Lost {
    /// The host name leads nowhere.
    Name(io::Error),
    /// The host does not answer.
    Unreachable(io::Error),
    /// The connection broke.
    Io(io::Error),
    /// It took too long.
    TimedOut,
    /// Certificates cannot be read or used.
    Tls(TlsError),
    /// The TLS handshake failed.
    Handshake(io::Error),
    /// The host cannot be the name in a certificate.
    ServerName,
    /// The server does not speak WebSocket, or not as it should.
    WebSocket(WebSocketError),
    /// The broker does not want us.
    Refused(String),
    /// The broker said DISCONNECT.
    Dismissed {
        /// Its reason code.
        reason_code: u8,
        /// Its words.
        reason: Option<String>,
    },
    /// The broker closed the connection without a word.
    ClosedByBroker,
    /// The broker does not answer any more.
    Silent,
    /// The broker does not speak MQTT.
    Malformed(Malformed),
    /// The broker sent what only a client may, or what nobody asked for.
    Unexpected(PacketType),
    /// The broker sent more at a time than it was told that it may.
    Overrun,
    /// The configuration does not fit into a packet.
    Unwritable(Unwritable),
    /// The agent is ending.
    StoreEnded,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(error) => write!(f, "broker's name cannot be resolved: {error}"),
            Self::Unreachable(error) => write!(f, "broker cannot be reached: {error}"),
            // TLS reports the end of a connection as an error.
            Self::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Self::ClosedByBroker.fmt(f)
            }
            Self::Io(error) => write!(f, "connection to the broker broke: {error}"),
            Self::TimedOut => write!(f, "broker took more than {} s", CONNECT_MAX.as_secs()),
            Self::Tls(error) => error.fmt(f),
            Self::Handshake(error) => write!(f, "TLS handshake with the broker failed: {error}"),
            Self::ServerName => f.write_str("broker's host cannot be a name in a certificate"),
            Self::WebSocket(error) => write!(f, "broker's WebSocket failed: {error}"),
            Self::Refused(reason) => write!(f, "broker refuses the connection: {reason}"),
            Self::Dismissed {
                reason_code,
                reason,
            } => {
                let words = reason_words(*reason_code);
                write!(
                    f,
                    "broker closed the connection: {words} (reason {reason_code:#04x})"
                )?;
                reason.iter().try_for_each(|text| write!(f, ": {text}"))
            }
            Self::ClosedByBroker => f.write_str("broker closed the connection"),
            Self::Silent => f.write_str("broker does not answer any more"),
            Self::Malformed(malformed) => write!(f, "broker sent what is not MQTT: {malformed}"),
            Self::Unexpected(kind) => write!(f, "broker sent an unexpected {kind:?}"),
            Self::Overrun => f.write_str(
                "broker sent more unacknowledged messages than the receive maximum allows",
            ),
            Self::Unwritable(error) => write!(f, "client cannot say what it is told to: {error}"),
            Self::StoreEnded => f.write_str("store has ended"),
        }
    }
}

/// Runs the source until `shutdown`.
pub(crate) async fn run(config: MqttConfig, intake: Intake, mut shutdown: Shutdown) {
    let mut client = Client::new(&config, &intake).await;
    let mut ready = None;
    while !*shutdown.borrow() {
        let opened = if let Some(opened) = ready.take() {
            Ok(opened)
        } else {
            tokio::select! {
                () = ended(&mut shutdown) => return,
                opened = client.open() => opened,
            }
        };
        let (wait, lost) = match opened {
            Ok(opened) => {
                let since = client.now();
                match client.serve(opened, &mut shutdown).await {
                    Ok(Left::ForGood) | Err(Lost::StoreEnded) => return,
                    Ok(Left::For((broker, better))) => {
                        client.order.handle_better(broker);
                        ready = Some(better);
                        continue;
                    }
                    Err(lost) => {
                        let told = client.tell(&lost);
                        (
                            client.order.handle_lost(since, client.now(), random()),
                            told,
                        )
                    }
                }
            }
            Err(lost) => {
                let told = client.tell(&lost);
                (client.order.handle_unreachable(random()), told)
            }
        };
        tracing::warn!(
            source = intake.name(),
            retry_in_ms = wait.as_millis(),
            "{lost}"
        );
        intake.counters().set_error(lost);
        tokio::select! {
            () = ended(&mut shutdown) => return,
            () = client.rest(wait) => {}
        }
    }
}

/// The source over all its connections.
struct Client<'a> {
    config: &'a MqttConfig,
    intake: &'a Intake,
    /// One for each broker.
    kept: Vec<Kept>,
    order: Order,
    /// How many connections were made, with whichever broker.
    connections: u32,
    /// Whether a lost session was told already.
    is_loss_told: bool,
}

impl<'a> Client<'a> {
    async fn new(config: &'a MqttConfig, intake: &'a Intake) -> Self {
        let checkpoints = intake.checkpoints();
        let kept = config.brokers.iter().map(|broker| {
            let port = broker.port.to_string();
            let owner = session::owner([config.client_id.as_str(), &broker.host, &port]);
            Kept {
                session: Session::new(config.version, owner, &checkpoints),
                subscriptions: Subscriptions::new(
                    &config.topics,
                    config.version,
                    config.qos,
                    owner,
                    &checkpoints,
                ),
                had_session: false,
            }
        });
        let kept: Vec<Kept> = kept.collect();
        // Of brokers and client identifiers that are configured no more.
        let mut batch = intake.batch();
        for (key, _) in &checkpoints {
            let is_ours = session::is_mark(key) || subscriptions::is_subscription(key);
            if is_ours && !kept.iter().any(|kept| kept.owns(key)) {
                batch.forget_checkpoint(key);
            }
        }
        // Before anything is subscribed to, so that a later run knows what to give up.
        for key in kept.iter().flat_map(|kept| kept.subscriptions.keys()) {
            if !checkpoints.iter().any(|(known, _)| *known == key) {
                batch.set_checkpoint(&key, 1);
            }
        }
        if intake.send(batch).await == Err(Closed) {
            tracing::debug!(
                source = intake.name(),
                "the store ended before the source began"
            );
        }
        Self {
            config,
            intake,
            order: Order::new(kept.len()),
            kept,
            connections: 0,
            is_loss_told: false,
        }
    }

    fn now(&self) -> Monotonic {
        self.intake.clock().monotonic()
    }

    fn broker(&self) -> Option<&'a MqttBroker> {
        self.config.brokers.get(self.order.current())
    }

    /// What is said about a connection that was not made or is lost.
    fn tell(&self, lost: &Lost) -> String {
        match self.broker() {
            Some(broker) => format!("{}:{}: {lost}", broker.host, broker.port),
            None => lost.to_string(),
        }
    }

    /// Connects to the broker whose turn it is.
    async fn open(&self) -> Result<Opened, Lost> {
        let Some(broker) = self.broker() else {
            return Err(Lost::TimedOut);
        };
        tokio::time::timeout(
            CONNECT_MAX,
            open(self.config, broker, &self.config.client_id, false),
        )
        .await
        .unwrap_or(Err(Lost::TimedOut))
    }

    /// Serves an accepted connection and counts it while it lasts.
    async fn serve(
        &mut self,
        opened: Opened,
        shutdown: &mut Shutdown,
    ) -> Result<Left<(usize, Opened)>, Lost> {
        let (config, intake, current) = (self.config, self.intake, self.order.current());
        intake
            .counters()
            .add(SourceCount::Reconnects, u64::from(self.connections > 0));
        self.connections = self.connections.wrapping_add(1).max(1);
        let (before, rest) = self.kept.split_at_mut(current);
        let Some((this, after)) = rest.split_first_mut() else {
            return Err(Lost::TimedOut);
        };
        let is_lost = this.had_session && !opened.session_present;
        this.had_session = true;
        let mut forgotten = intake.batch();
        if let Some((marks, receipt)) = this
            .session
            .handle_connected(self.connections, opened.session_present)
        {
            for mark in marks {
                set_mark(&mut forgotten, mark);
            }
            forgotten.owe(receipt);
        }
        let subscriptions = &mut this.subscriptions;
        let now = intake.clock().monotonic();
        for topic in subscriptions.handle_connected(now, opened.session_present) {
            forgotten.forget_checkpoint(&subscriptions.key(&topic));
        }
        if is_lost && !config.has_short_session() {
            tell_loss(intake, &mut self.is_loss_told);
        }
        intake.counters().clear_error();
        intake.counters().add(SourceCount::Connections, 1);
        tell_connected(config, intake, current, &opened);
        let keep_alive = match opened.keep_alive_s {
            Some(seconds) => Duration::from_secs(u64::from(seconds)),
            None => config.keep_alive,
        };
        let body_bytes_max = config
            .packet_bytes_max
            .as_usize()
            .min(intake.record_bytes_max());
        let place = Place {
            this,
            before,
            after,
        };
        let present = opened.session_present;
        let connection =
            Connection::new(config, intake, place, keep_alive, present, body_bytes_max);
        let better = better(config, current);
        let ended = connection
            .run(opened.stream, forgotten, shutdown, better)
            .await;
        if let Some(kept) = self.kept.get_mut(current) {
            kept.session.handle_disconnected();
        }
        intake.counters().subtract(SourceCount::Connections, 1);
        ended
    }

    /// Waits before the next attempt. Receipts that come back meanwhile still count: a QoS 2
    /// message that is durable must not be stored again.
    async fn rest(&mut self, wait: Duration) {
        let settle = async {
            loop {
                for owed in self.intake.settled().await.into_iter().map(Owed::of) {
                    let mut nobody = BytesMut::new();
                    for kept in &mut self.kept {
                        kept.session.handle_settled(owed, &mut nobody);
                    }
                }
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = settle => {}
        }
    }
}

/// Looks now and then whether a broker that comes before `current` answers again.
async fn better(config: &MqttConfig, current: usize) -> (usize, Opened) {
    loop {
        if current == 0 {
            pending::<()>().await;
        }
        tokio::time::sleep(config.return_interval).await;
        for (number, broker) in config.brokers.iter().take(current).enumerate() {
            let opening = open(config, broker, &config.client_id, false);
            if let Ok(Ok(opened)) = tokio::time::timeout(CONNECT_MAX, opening).await {
                return (number, opened);
            }
        }
    }
}

/// Counts a session that the broker has lost, and tells it once.
fn tell_loss(intake: &Intake, is_told: &mut bool) {
    intake.counters().add(SourceCount::SessionsLost, 1);
    if std::mem::replace(is_told, true) {
        return;
    }
    tracing::warn!(
        source = intake.name(),
        "the broker has lost the session: what it held for this client meanwhile is gone; \
         let it keep sessions on disk (mosquitto: persistence true) and for longer than outages \
         last; further losses are only counted, as sessions_lost"
    );
}

fn tell_connected(config: &MqttConfig, intake: &Intake, current: usize, opened: &Opened) {
    let broker = config.brokers.get(current);
    let host = broker.map_or("", |broker| broker.host.as_str());
    tracing::info!(
        source = intake.name(),
        broker = host,
        session_present = opened.session_present,
        "connected to the broker"
    );
    if let Some(granted_s) = opened.session_expiry_s
        && u64::from(granted_s) < config.session_expiry.as_secs()
    {
        tracing::warn!(
            source = intake.name(),
            "the broker keeps the session for {granted_s} s only, not for session_expiry"
        );
    }
}

/// Waits for the end of the agent.
pub(super) async fn ended(shutdown: &mut Shutdown) {
    // An error means that nobody can say it any more, which is the end as well.
    drop(shutdown.wait_for(|ended| *ended).await);
}

/// Hands a batch over, or leaves it to be sent when there is room.
pub(super) fn hand_over(intake: &Intake, batch: IntakeBatch) -> Option<Sending> {
    let refused = intake.try_send(batch).err()?;
    let intake = intake.clone();
    Some(Box::pin(async move { intake.send(refused.0).await }))
}

/// Waits for a batch to be taken; for ever when there is none.
pub(super) async fn handed_over(sending: &mut Option<Sending>) -> Result<(), Closed> {
    match sending {
        Some(sending) => sending.await,
        None => pending().await,
    }
}

/// Sleeps until `wake`; for ever when there is nothing to wake for.
pub(super) async fn sleep_until(clock: &Clock, wake: Option<Monotonic>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(clock.instant(wake)).await,
        None => pending().await,
    }
}

/// Writes all of `out` and pushes it through TLS. When cancelled, `out` holds what is left.
pub(super) async fn deliver(
    write: &mut WriteHalf<Box<dyn Io>>,
    out: &mut BytesMut,
) -> io::Result<()> {
    while !out.is_empty() {
        if write.write_buf(out).await? == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
    }
    write.flush().await
}

fn random() -> u32 {
    let mut bytes = [0; 4];
    match SystemRandom::new().fill(&mut bytes) {
        Ok(()) => u32::from_le_bytes(bytes),
        // Without chance the wait is the longest.
        Err(_) => u32::MAX,
    }
}

#[cfg(test)]
pub(in crate::source) mod harness;
#[cfg(test)]
mod tests;

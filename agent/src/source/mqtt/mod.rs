//! Subscribes to a broker.
//!
//! Keeps one connection, makes it again for as long as it takes, and acknowledges a message only
//! when its record is durable. rumqttc's event loop is not used, its packets are: the loop ends
//! the connection over a PUBREL that belongs to the connection before, and over a packet that is
//! too large, and the broker then sends the same again, for ever; and it writes to the socket
//! for each acknowledgement.

mod connection;
mod inbox;
pub(in crate::source) mod owed;
pub(in crate::source) mod packets;
mod session;
mod subscriptions;
pub(in crate::source) mod window;

use std::fmt;
use std::future::{Future, pending};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use pipeline::config::MqttConfig;
use pipeline::decode::mqtt::{Header, Malformed, PacketType};
use pipeline::time::Monotonic;
use ring::rand::{SecureRandom, SystemRandom};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, WriteHalf};
use tokio::net::TcpStream;

use crate::clock::Clock;
use crate::intake::{Closed, Intake, IntakeBatch, Shutdown};
use crate::telemetry::SourceCount;
use crate::tls::{self, TlsError};
use connection::{ALIASES_MAX, Connection, Kept};
use packets::{ConnAck, Unwritable};
use session::Session;
use subscriptions::Subscriptions;

/// How long it may take from looking up the name to the broker's CONNACK.
const CONNECT_MAX: Duration = Duration::from_secs(20);

/// The ceiling of the first wait before a connection is made again.
const BACKOFF_INITIAL: Duration = Duration::from_millis(500);

/// The ceiling of every wait.
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// What lasts so long was a good connection: the waits begin anew.
const GOOD: Duration = Duration::from_secs(30);

/// A larger CONNACK is nonsense.
const CONNACK_BYTES_MAX: usize = 64 * 1024;

/// A connection of any kind.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A batch on its way to a store that had no room for it at once.
pub(super) type Sending = Pin<Box<dyn Future<Output = Result<(), Closed>> + Send>>;

/// Why a connection was not made or has ended.
#[derive(Debug)]
enum Lost {
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
            Self::Refused(reason) => write!(f, "broker refuses the connection: {reason}"),
            Self::Dismissed {
                reason_code: 0x8e, ..
            } => f.write_str("broker closed the connection: another client uses this client_id"),
            Self::Dismissed {
                reason_code,
                reason,
            } => {
                write!(
                    f,
                    "broker closed the connection with reason {reason_code:#04x}"
                )?;
                reason.iter().try_for_each(|text| write!(f, " ({text})"))
            }
            Self::ClosedByBroker => f.write_str("broker closed the connection"),
            Self::Silent => f.write_str("broker does not answer any more"),
            Self::Malformed(malformed) => write!(f, "broker sent what is not MQTT: {malformed}"),
            Self::Unexpected(kind) => write!(f, "broker sent an unexpected {kind:?}"),
            Self::Unwritable(error) => write!(f, "client cannot say what it is told to: {error}"),
            Self::StoreEnded => f.write_str("store has ended"),
        }
    }
}

/// Runs the source until `shutdown`.
pub(crate) async fn run(config: MqttConfig, intake: Intake, mut shutdown: Shutdown) {
    let mut kept = Kept {
        session: Session::new(config.version),
        subscriptions: Subscriptions::new(&config.topics),
    };
    let mut attempt = 0;
    let mut connected_before = false;
    while !*shutdown.borrow() {
        let started = intake.clock().monotonic();
        let opened = tokio::select! {
            () = ended(&mut shutdown) => return,
            opened = tokio::time::timeout(CONNECT_MAX, open(&config)) => opened,
        };
        let served = match opened {
            Ok(Ok(opened)) => {
                intake
                    .counters()
                    .add(SourceCount::Reconnects, u64::from(connected_before));
                connected_before = true;
                serve(&config, &intake, &mut kept, opened, &mut shutdown).await
            }
            Ok(Err(lost)) => Err(lost),
            Err(_) => Err(Lost::TimedOut),
        };
        let lost = match served {
            Ok(()) | Err(Lost::StoreEnded) => return,
            Err(lost) => lost,
        };
        let now = intake.clock().monotonic();
        attempt = if now.since(started) >= GOOD {
            0
        } else {
            attempt + 1
        };
        let wait = backoff(attempt, random());
        let told = format!("{}:{}: {lost}", config.host, config.port);
        tracing::warn!(
            source = intake.name(),
            retry_in_ms = wait.as_millis(),
            "{told}"
        );
        intake.counters().set_error(told);
        tokio::select! {
            () = ended(&mut shutdown) => return,
            () = rest(&intake, &mut kept, wait) => {}
        }
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

/// Serves an accepted connection and counts it while it lasts.
async fn serve(
    config: &MqttConfig,
    intake: &Intake,
    kept: &mut Kept,
    (stream, answer): (Box<dyn Io>, ConnAck),
    shutdown: &mut Shutdown,
) -> Result<(), Lost> {
    let now = intake.clock().monotonic();
    let session_present = answer.session_present;
    kept.session.handle_connected(session_present);
    kept.subscriptions.handle_connected(now, session_present);
    intake.counters().clear_error();
    intake.counters().add(SourceCount::Connections, 1);
    tracing::info!(
        source = intake.name(),
        session_present,
        "connected to the broker"
    );
    let keep_alive = match answer.keep_alive_s {
        Some(seconds) => Duration::from_secs(u64::from(seconds)),
        None => config.keep_alive,
    };
    let body_bytes_max = config
        .packet_bytes_max
        .as_usize()
        .min(intake.record_bytes_max());
    let connection = Connection::new(config, intake, kept, keep_alive, body_bytes_max);
    let ended = connection.run(stream, shutdown).await;
    intake.counters().subtract(SourceCount::Connections, 1);
    ended
}

/// Waits before the next attempt. Receipts that come back meanwhile still count: a QoS 2 message
/// that is durable must not be stored again.
async fn rest(intake: &Intake, kept: &mut Kept, wait: Duration) {
    let settle = async {
        loop {
            for receipt in intake.settled().await {
                let mut nobody = BytesMut::new();
                kept.session.handle_settled(receipt, &mut nobody);
            }
        }
    };
    tokio::select! {
        () = tokio::time::sleep(wait) => {}
        () = settle => {}
    }
}

/// Connects and introduces itself.
async fn open(config: &MqttConfig) -> Result<(Box<dyn Io>, ConnAck), Lost> {
    let tcp = reach(&config.host, config.port).await?;
    tcp.set_nodelay(true).map_err(Lost::Io)?;
    let mut stream: Box<dyn Io> = match &config.tls {
        None => Box::new(tcp),
        Some(tls) => {
            // Read at each attempt, because certificates are renewed.
            let tls = tls::client_config(tls).map_err(Lost::Tls)?;
            let name = ServerName::try_from(config.host.clone()).map_err(|_| Lost::ServerName)?;
            let connector = tokio_rustls::TlsConnector::from(Arc::new(tls));
            Box::new(
                connector
                    .connect(name, tcp)
                    .await
                    .map_err(Lost::Handshake)?,
            )
        }
    };
    let connect = packets::connect(config, ALIASES_MAX).map_err(Lost::Unwritable)?;
    stream.write_all(&connect).await.map_err(Lost::Io)?;
    stream.flush().await.map_err(Lost::Io)?;
    let packet = read_first(&mut stream).await?;
    let answer = packets::read_connack(&packet, config.version)
        .ok_or(Lost::Unexpected(PacketType::ConnAck))?;
    match answer.refused {
        Some(reason) => Err(Lost::Refused(reason)),
        None => Ok((stream, answer)),
    }
}

/// Tries every address of the host in turn.
async fn reach(host: &str, port: u16) -> Result<TcpStream, Lost> {
    let nowhere = || io::Error::new(io::ErrorKind::NotFound, "no address");
    let mut last = Lost::Name(nowhere());
    for address in tokio::net::lookup_host((host, port))
        .await
        .map_err(Lost::Name)?
    {
        match TcpStream::connect(address).await {
            Ok(tcp) => return Ok(tcp),
            Err(error) => last = Lost::Unreachable(error),
        }
    }
    Err(last)
}

/// Reads exactly one packet, byte by byte where its length is not known: what follows it belongs
/// to the connection.
async fn read_first(stream: &mut Box<dyn Io>) -> Result<Vec<u8>, Lost> {
    let mut packet = Vec::new();
    loop {
        packet.push(stream.read_u8().await.map_err(Lost::Io)?);
        if let Some(header) = Header::read(&packet).map_err(Lost::Malformed)? {
            if header.kind != PacketType::ConnAck || header.body_len > CONNACK_BYTES_MAX {
                return Err(Lost::Unexpected(header.kind));
            }
            packet.resize(header.packet_len(), 0);
            let body = packet.get_mut(header.header_len..).unwrap_or_default();
            stream.read_exact(body).await.map_err(Lost::Io)?;
            return Ok(packet);
        }
    }
}

/// The wait before attempt number `attempt`: at least half of a ceiling that doubles, so that a
/// broker that is down costs next to nothing and many clients do not come back at once.
fn backoff(attempt: u32, random: u32) -> Duration {
    let doubled = BACKOFF_INITIAL.saturating_mul(1 << attempt.saturating_sub(1).min(16));
    let half = doubled.min(BACKOFF_MAX) / 2;
    half + half.mul_f64(f64::from(random) / f64::from(u32::MAX))
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

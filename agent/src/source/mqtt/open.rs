//! Connecting to a broker: name, address, TLS, WebSocket, CONNECT and CONNACK.
//!
//! All of it is done anew for each connection, because addresses and certificates change.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use pipeline::config::{MqttBroker, MqttConfig};
use pipeline::decode::mqtt::{ConnAck, Header, PacketType};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::connection::ALIASES_MAX;
use super::{Io, Lost, packets, websocket};
use crate::tls;

/// How long it may take from looking up the name to the broker's CONNACK.
pub(crate) const CONNECT_MAX: Duration = Duration::from_secs(20);

/// How long one address of several may take, so that the next one has its turn.
const ADDRESS_MAX: Duration = Duration::from_secs(6);

/// A larger CONNACK is nonsense.
const CONNACK_BYTES_MAX: usize = 64 * 1024;

/// A connection that the broker has accepted.
pub(crate) struct Opened {
    /// The connection.
    pub(crate) stream: Box<dyn Io>,
    /// Whether the broker still had the session.
    pub(crate) session_present: bool,
    /// The keep-alive that the broker wants instead, in seconds.
    pub(crate) keep_alive_s: Option<u16>,
    /// How long the broker keeps the session, where that is not what was asked for.
    pub(crate) session_expiry_s: Option<u32>,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opened")
            .field("session_present", &self.session_present)
            .finish_non_exhaustive()
    }
}

/// Connects as `client_id`; `clean` wants no session, neither an earlier nor a later one.
pub(crate) async fn open(
    config: &MqttConfig,
    broker: &MqttBroker,
    client_id: &str,
    clean: bool,
) -> Result<Opened, Lost> {
    let mut stream = reach(broker).await?;
    let connect =
        packets::connect(config, client_id, clean, ALIASES_MAX).map_err(Lost::Unwritable)?;
    stream.write_all(&connect).await.map_err(Lost::Io)?;
    stream.flush().await.map_err(Lost::Io)?;
    let body = read_first(&mut stream).await?;
    let answer = ConnAck::read(&body, config.version).map_err(Lost::Malformed)?;
    match answer.refusal(config.version) {
        Some(reason) => Err(Lost::Refused(reason)),
        None => Ok(Opened {
            session_present: answer.session_present,
            keep_alive_s: answer.keep_alive_s,
            session_expiry_s: answer.session_expiry_s,
            stream,
        }),
    }
}

/// Makes the way to the broker, on which MQTT may be spoken.
async fn reach(broker: &MqttBroker) -> Result<Box<dyn Io>, Lost> {
    let tcp = reach_host(&broker.host, broker.port).await?;
    tcp.set_nodelay(true).map_err(Lost::Io)?;
    let stream: Box<dyn Io> = match &broker.tls {
        None => Box::new(tcp),
        Some(tls) => {
            // Read at each attempt, because certificates are renewed.
            let tls = tls::client_config(tls).map_err(Lost::Tls)?;
            let name = ServerName::try_from(broker.host.clone()).map_err(|_| Lost::ServerName)?;
            let connector = tokio_rustls::TlsConnector::from(Arc::new(tls));
            Box::new(
                connector
                    .connect(name, tcp)
                    .await
                    .map_err(Lost::Handshake)?,
            )
        }
    };
    match &broker.websocket_path {
        None => Ok(stream),
        Some(path) => {
            let stream = websocket::open(stream, &broker.host, broker.port, path).await?;
            Ok(Box::new(stream))
        }
    }
}

/// Tries every address of the host in turn.
async fn reach_host(host: &str, port: u16) -> Result<TcpStream, Lost> {
    let nowhere = || io::Error::new(io::ErrorKind::NotFound, "no address");
    let mut last = Lost::Name(nowhere());
    for address in tokio::net::lookup_host((host, port))
        .await
        .map_err(Lost::Name)?
    {
        match tokio::time::timeout(ADDRESS_MAX, TcpStream::connect(address)).await {
            Ok(Ok(tcp)) => return Ok(tcp),
            Ok(Err(error)) => last = Lost::Unreachable(error),
            Err(_) => last = Lost::Unreachable(io::ErrorKind::TimedOut.into()),
        }
    }
    Err(last)
}

/// Reads exactly one packet, byte by byte where its length is not known: what follows it belongs
/// to the connection. Gives what follows its header.
async fn read_first(stream: &mut Box<dyn Io>) -> Result<Vec<u8>, Lost> {
    let mut packet = Vec::new();
    loop {
        packet.push(stream.read_u8().await.map_err(Lost::Io)?);
        if let Some(header) = Header::read(&packet).map_err(Lost::Malformed)? {
            if header.kind != PacketType::ConnAck || header.body_len > CONNACK_BYTES_MAX {
                return Err(Lost::Unexpected(header.kind));
            }
            let mut body = vec![0; header.body_len];
            stream.read_exact(&mut body).await.map_err(Lost::Io)?;
            return Ok(body);
        }
    }
}

//! TLS as a server: what is shown to clients, and which clients are let in.
//!
//! The files are looked at again when a client comes, at most once a second. A certificate that
//! was renewed is shown to whoever comes next; one that cannot be used is told, and the last good
//! one stays. Handshakes have a deadline and take turns, so that a crowd of them leaves room for
//! everybody else between any two.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use pipeline::certificate::Certificate;
use pipeline::config::ServerTlsConfig;
use pipeline::time::WallClock;
use rustls::server::WebPkiClientVerifier;
use rustls::sign::SingleCertAndKey;
use rustls::time_provider::TimeProvider;
use rustls::{CertificateError, InvalidMessage, ServerConfig};
use rustls_pki_types::UnixTime;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::{TlsError, identity, roots_of};
use crate::clock::Clock;
use crate::stamp::Stamp;

/// How long a handshake may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// How often the files are looked at, at most.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// One step of one handshake at a time, of all listeners: each takes milliseconds.
static TURN: Semaphore = Semaphore::const_new(1);

/// TLS of one listener.
pub(crate) struct TlsServer {
    source: String,
    config: ServerTlsConfig,
    clock: Clock,
    loaded: Mutex<Loaded>,
}

struct Loaded {
    acceptor: TlsAcceptor,
    stamps: Stamps,
    looked: Instant,
}

/// Of the certificate, its key and the authorities of clients.
type Stamps = [Option<Stamp>; 3];

/// Why a client is not let in.
#[derive(Debug)]
pub(crate) enum HandshakeError {
    /// It took too long.
    TimedOut,
    /// The connection ended, or the client said something that is not allowed.
    Failed(io::Error),
}

impl fmt::Debug for TlsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsServer")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Failed(error) = self else {
            return f.write_str("the TLS handshake took too long");
        };
        match tls_error(error) {
            Some(rustls::Error::InvalidMessage(
                InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
            )) => f.write_str("it does not speak TLS, which this listener wants"),
            Some(rustls::Error::NoCertificatesPresented) => {
                f.write_str("it has no certificate, which tls.client_ca_file asks for")
            }
            Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
                f.write_str("its certificate is of no authority in tls.client_ca_file")
            }
            Some(rustls::Error::InvalidCertificate(error)) => {
                write!(f, "its certificate is refused: {error}")
            }
            Some(rustls::Error::AlertReceived(alert)) => {
                write!(f, "it refuses the certificate or the handshake: {alert:?}")
            }
            Some(error) => write!(f, "the TLS handshake failed: {error}"),
            None => write!(f, "the TLS handshake broke off: {error}"),
        }
    }
}

impl std::error::Error for HandshakeError {}

impl TlsServer {
    /// Reads the files; `source` is who is named where something is told about them.
    pub(crate) fn new(
        source: &str,
        config: &ServerTlsConfig,
        clock: Clock,
    ) -> Result<Self, TlsError> {
        let stamps = stamps(config);
        Ok(Self {
            source: source.to_owned(),
            config: config.clone(),
            clock,
            loaded: Mutex::new(Loaded {
                acceptor: TlsAcceptor::from(Arc::new(server_config(config, clock)?)),
                stamps,
                looked: Instant::now(),
            }),
        })
    }

    /// Makes the handshake with a client that has just connected.
    pub(crate) async fn accept(
        &self,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, HandshakeError> {
        self.accept_within(HANDSHAKE_MAX, stream).await
    }

    async fn accept_within(
        &self,
        limit: Duration,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, HandshakeError> {
        let handshake = take_turns(self.acceptor(), stream);
        match tokio::time::timeout(limit, handshake).await {
            Ok(ended) => ended.map_err(HandshakeError::Failed),
            Err(_) => Err(HandshakeError::TimedOut),
        }
    }

    /// What clients are shown now.
    fn acceptor(&self) -> TlsAcceptor {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if loaded.looked.elapsed() >= LOOK_INTERVAL {
            loaded.looked = Instant::now();
            self.look(&mut loaded);
        }
        loaded.acceptor.clone()
    }

    /// Reads the files again if they have changed.
    fn look(&self, loaded: &mut Loaded) {
        // Before the files are read: what is written meanwhile is seen the next time.
        let stamps = stamps(&self.config);
        if stamps == loaded.stamps {
            return;
        }
        loaded.stamps = stamps;
        let source = &self.source;
        match server_config(&self.config, self.clock) {
            Ok(config) => {
                loaded.acceptor = TlsAcceptor::from(Arc::new(config));
                tracing::info!(source, "the files of tls changed and were read again");
            }
            Err(error) => tracing::warn!(
                source,
                "the files of tls changed and cannot be used, so what was read before stays: \
                 {error}"
            ),
        }
    }
}

/// The common name in the certificate that a client has shown.
pub(crate) fn client_name(stream: &TlsStream<TcpStream>) -> Option<String> {
    let (_, session) = stream.get_ref();
    let shown = session.peer_certificates()?.first()?;
    Certificate::read(shown)?.common_name.map(str::to_owned)
}

/// Reads the files that `tls` names.
pub(crate) fn server_config(tls: &ServerTlsConfig, clock: Clock) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let identity = identity(&tls.certificate_file, &tls.key_file, &provider)?;
    let issued = identity
        .cert
        .first()
        .and_then(|shown| Certificate::read(shown));
    let issued = issued.map_or(WallClock::from_millis(0), |shown| shown.not_before);
    let time = NotBefore { clock, issued };
    let builder = ServerConfig::builder_with_details(Arc::clone(&provider), Arc::new(time))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Protocol)?;
    let builder = match &tls.client_ca_file {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let roots = Arc::new(roots_of(path)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
            let unusable = |error: rustls::server::VerifierBuilderError| {
                TlsError::Authority(path.clone(), rustls::Error::General(error.to_string()))
            };
            builder.with_client_cert_verifier(verifier.map_err(unusable)?)
        }
    };
    Ok(builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(identity))))
}

/// Drives a handshake one step at a time, with a round of everything else between two steps.
async fn take_turns(acceptor: TlsAcceptor, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    let mut handshake = pin!(acceptor.accept(stream));
    loop {
        if let Some(stream) = handshake.get_ref() {
            stream.readable().await?;
        }
        let turn = TURN.acquire().await.map_err(io::Error::other)?;
        let mut ended = None;
        poll_fn(|context| {
            if let Poll::Ready(result) = Pin::new(&mut handshake).poll(context) {
                ended = Some(result);
            }
            Poll::Ready(())
        })
        .await;
        tokio::task::yield_now().await;
        drop(turn);
        if let Some(result) = ended {
            return result;
        }
    }
}

/// The clock of a gateway that has no battery may stand in 1970. It is at least as late as our
/// own certificate was issued, and so is what devices were given before.
#[derive(Debug)]
struct NotBefore {
    clock: Clock,
    issued: WallClock,
}

impl TimeProvider for NotBefore {
    fn current_time(&self) -> Option<UnixTime> {
        let now = self.clock.wall().max(self.issued);
        let since_epoch = u64::try_from(now.as_millis()).unwrap_or(0);
        let since_epoch = Duration::from_millis(since_epoch);
        Some(UnixTime::since_unix_epoch(since_epoch))
    }
}

fn stamps(tls: &ServerTlsConfig) -> Stamps {
    [
        Stamp::of(&tls.certificate_file),
        Stamp::of(&tls.key_file),
        tls.client_ca_file.as_deref().and_then(Stamp::of),
    ]
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

#[cfg(test)]
mod tests;

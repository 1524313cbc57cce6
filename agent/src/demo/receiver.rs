//! The demo's HTTPS receiver: takes anything, counts lines.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// The largest body taken.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What has arrived.
#[derive(Debug, Default)]
pub(super) struct Received {
    /// Requests.
    pub(super) requests: Cell<u64>,
    /// Bytes of their bodies, compressed as they came.
    pub(super) bytes: Cell<u64>,
    /// The key of the last one.
    pub(super) last_key: RefCell<String>,
}

/// A receiver that listens.
#[derive(Debug)]
pub(super) struct Receiver {
    port: u16,
    received: Rc<Received>,
}

impl Receiver {
    /// Listens on a free port of loopback with a new certificate, whose authority is written to
    /// `ca_file`.
    pub(super) async fn start(ca_file: &Path) -> io::Result<Self> {
        let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])
            .map_err(io::Error::other)?;
        std::fs::File::create(ca_file)?.write_all(certified.cert.pem().as_bytes())?;
        let key = PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(
                vec![certified.cert.der().clone()],
                PrivateKeyDer::Pkcs8(key),
            )
            .map_err(io::Error::other)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let received = Rc::new(Received::default());
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        tokio::task::spawn_local(serve(listener, acceptor, Rc::clone(&received)));
        Ok(Self { port, received })
    }

    /// Where it listens.
    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    /// What it has counted.
    pub(super) fn received(&self) -> Rc<Received> {
        Rc::clone(&self.received)
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, received: Rc<Received>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, received) = (acceptor.clone(), Rc::clone(&received));
        tokio::task::spawn_local(connection(stream, acceptor, received));
    }
}

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, received: Rc<Received>) {
    let Ok(stream) = acceptor.accept(stream).await else {
        return;
    };
    let service = service_fn(|request| take(request, &received));
    let connection =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // A sender that went away comes again.
    drop(connection.await);
}

async fn take(
    request: Request<Incoming>,
    received: &Received,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    let key = request
        .headers()
        .get("idempotency-key")
        .and_then(|value| value.to_str().ok());
    let key = key.unwrap_or_default().to_owned();
    let mut response = Response::new(Empty::new());
    match Limited::new(request.into_body(), BODY_BYTES_MAX)
        .collect()
        .await
    {
        Ok(body) => {
            let len = u64::try_from(body.to_bytes().len()).unwrap_or(u64::MAX);
            received.requests.set(received.requests.get() + 1);
            received.bytes.set(received.bytes.get() + len);
            received.last_key.replace(key);
        }
        Err(_) => *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE,
    }
    Ok(response)
}

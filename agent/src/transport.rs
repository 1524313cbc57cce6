//! The only step over the network towards a destination: one request, one answer.
//!
//! What the answer means is decided in `pipeline::destination`. No redirects, no retries, no
//! hidden state besides kept-alive connections.

use std::sync::Arc;
use std::time::Duration;

use pipeline::config::TlsConfig;
use pipeline::destination::{HttpRequest, HttpResponse, RESPONSE_BYTES_MAX, TransportError};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use crate::clock::Clock;
use crate::tls::{self, TlsError};

/// How long a connection may take to come about, name and handshake included.
const CONNECT_MAX: Duration = Duration::from_secs(15);

/// An unused connection is closed after so long; most servers close theirs after 60 s.
const IDLE_MAX: Duration = Duration::from_secs(50);

/// How often a silent peer is probed while an answer is awaited.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A client for one destination.
#[derive(Clone, Debug)]
pub(crate) struct Transport {
    client: reqwest::Client,
    clock: Clock,
}

/// Why a transport could not be made.
#[derive(Debug)]
pub(crate) enum TransportSetupError {
    /// The TLS files.
    Tls(TlsError),
    /// The HTTP client.
    Client(reqwest::Error),
}

impl std::fmt::Display for TransportSetupError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tls(error) => error.fmt(f),
            Self::Client(error) => f.write_str(&chain(error)),
        }
    }
}

impl std::error::Error for TransportSetupError {}

impl Transport {
    /// Reads the TLS files and the proxy variables.
    pub(crate) fn new(tls: &TlsConfig, clock: Clock) -> Result<Self, TransportSetupError> {
        Self::with(tls, clock, reqwest::ClientBuilder::new())
    }

    /// One that asks no proxy, for what is on this machine or beside it.
    pub(crate) fn direct(clock: Clock) -> Result<Self, TransportSetupError> {
        let builder = reqwest::ClientBuilder::new().no_proxy();
        Self::with(&TlsConfig::default(), clock, builder)
    }

    fn with(
        tls: &TlsConfig,
        clock: Clock,
        builder: reqwest::ClientBuilder,
    ) -> Result<Self, TransportSetupError> {
        let tls = tls::client_config(tls).map_err(TransportSetupError::Tls)?;
        let client = builder
            .tls_backend_preconfigured(tls)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(CONNECT_MAX)
            .pool_idle_timeout(IDLE_MAX)
            .pool_max_idle_per_host(1)
            .tcp_keepalive(KEEP_ALIVE)
            .tcp_nodelay(true)
            .build()
            .map_err(TransportSetupError::Client)?;
        Ok(Self { client, clock })
    }

    /// Sends a request and reads the answer, up to a limit.
    pub(crate) async fn send(&self, request: &HttpRequest) -> Result<HttpResponse, TransportError> {
        let started = self.clock.monotonic();
        let method = reqwest::Method::from_bytes(request.method.as_bytes())
            .map_err(|error| TransportError::Other(error.to_string()))?;
        let response = self
            .client
            .request(method, &request.url)
            .headers(headers(&request.headers)?)
            .timeout(request.timeout)
            .body(bytes::Bytes::from_owner(SharedBody(Arc::clone(
                &request.body,
            ))))
            .send()
            .await
            .map_err(|error| classify(&error))?;
        let tls_verified = response.url().scheme() == "https";
        let status = response.status().as_u16();
        let headers = response
            .headers()
            .iter()
            .map(|(name, value)| {
                (
                    name.as_str().to_owned(),
                    String::from_utf8_lossy(value.as_bytes()).into_owned(),
                )
            })
            .collect();
        let (body, body_cut) = read_body(response).await?;
        let response = HttpResponse {
            status,
            headers,
            body,
            body_cut,
            elapsed: self.clock.monotonic().since(started),
            tls_verified,
            received_at: self.clock.wall(),
        };
        self.clock.learn_date(&response);
        Ok(response)
    }
}

/// A body that costs no copy however often it is sent.
struct SharedBody(Arc<Vec<u8>>);

impl AsRef<[u8]> for SharedBody {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

async fn read_body(mut response: reqwest::Response) -> Result<(Vec<u8>, bool), TransportError> {
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await.map_err(|error| classify(&error))? {
        let room = RESPONSE_BYTES_MAX.saturating_sub(body.len());
        body.extend_from_slice(part.get(..part.len().min(room)).unwrap_or_default());
        if part.len() > room {
            return Ok((body, true));
        }
    }
    Ok((body, false))
}

fn headers(pairs: &[(String, String)]) -> Result<HeaderMap, TransportError> {
    let mut map = HeaderMap::with_capacity(pairs.len());
    for (name, value) in pairs {
        let bad = || TransportError::Other(format!("header \"{name}\" cannot be sent"));
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
        let value = HeaderValue::from_str(value).map_err(|_| bad())?;
        map.append(name, value);
    }
    Ok(map)
}

fn classify(error: &reqwest::Error) -> TransportError {
    let text = chain(error);
    if error.is_dns() {
        TransportError::Resolve(text)
    } else if error.is_timeout() {
        TransportError::Timeout
    } else if is_tls(error) {
        TransportError::Tls(text)
    } else if error.is_connect() {
        TransportError::Connect(text)
    } else if error.is_builder() {
        TransportError::Other(text)
    } else {
        TransportError::Closed(text)
    }
}

fn is_tls(error: &reqwest::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if error.is::<rustls::Error>() {
            return true;
        }
        // An I/O error gives its inner error's source as its own, and so hides the inner one.
        let inner = error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref);
        if inner.is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>) {
            return true;
        }
        source = error.source();
    }
    false
}

/// The innermost reason, which is the one a person can use; the outer ones repeat the URL.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

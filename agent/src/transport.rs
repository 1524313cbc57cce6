//! The only step over the network towards a destination: one request, one answer.
//!
//! What the answer means is decided in `pipeline::destination`. No redirects, no retries, no
//! hidden state besides kept-alive connections.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pipeline::certificate;
use pipeline::config::TlsConfig;
use pipeline::destination::{HttpRequest, HttpResponse, RESPONSE_BYTES_MAX, TransportError};
use pipeline::time::{Monotonic, WallClock};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use crate::clock::Clock;
use crate::names::Resolver;
use crate::stamp::Stamp;
use crate::tls::{self, Ends, TlsError};

/// How long a connection may take to come about, name and handshake included.
const CONNECT_MAX: Duration = Duration::from_secs(15);

/// An unused connection is closed after so long; most servers close theirs after 60 s.
const IDLE_MAX: Duration = Duration::from_secs(50);

/// As many connections are kept as calls are usually under way.
const IDLE_COUNT_MAX: usize = 4;

/// How often a silent peer is probed while an answer is awaited.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The files of TLS are looked at no more often than this.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// A transport that nobody uses any more is forgotten when there are so many.
const TRANSPORTS_MAX: usize = 16;

/// Shared by all who reach their servers alike: connections and TLS sessions are one destination's,
/// however many drivers it has and however often they begin anew.
static SHARED: Mutex<Vec<Transport>> = Mutex::new(Vec::new());

/// A client for one destination.
#[derive(Clone, Debug)]
pub(crate) struct Transport(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    tls: TlsConfig,
    clock: Clock,
    /// When certificates end.
    ends: Arc<Ends>,
    /// The ends that were warned of.
    warned: Mutex<Vec<(&'static str, WallClock)>>,
    loaded: Mutex<Loaded>,
}

/// What was made of the files of TLS.
#[derive(Debug)]
struct Loaded {
    client: reqwest::Client,
    stamps: [Option<Stamp>; 3],
    looked: Monotonic,
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
        Self::with(tls, clock, proxied)
    }

    /// The one of everybody who reaches his server in this way.
    pub(crate) fn shared(tls: &TlsConfig, clock: Clock) -> Result<Self, TransportSetupError> {
        let mut all = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.iter().find(|known| known.0.tls == *tls) {
            return Ok(known.clone());
        }
        if all.len() >= TRANSPORTS_MAX {
            all.retain(|transport| Arc::strong_count(&transport.0) > 1);
        }
        let transport = Self::new(tls, clock)?;
        all.push(transport.clone());
        Ok(transport)
    }

    /// One that asks no proxy, for what is on this machine or beside it.
    pub(crate) fn direct(clock: Clock) -> Result<Self, TransportSetupError> {
        Self::with(&TlsConfig::default(), clock, |_| {
            Ok(reqwest::ClientBuilder::new().no_proxy())
        })
    }

    fn with(
        tls: &TlsConfig,
        clock: Clock,
        builder: impl Fn(&TlsConfig) -> Result<reqwest::ClientBuilder, reqwest::Error>,
    ) -> Result<Self, TransportSetupError> {
        let ends = Arc::default();
        let stamps = stamps(tls);
        let builder = builder(tls).map_err(TransportSetupError::Client)?;
        let client = client(tls, &ends, builder)?;
        let looked = clock.monotonic();
        Ok(Self(Arc::new(Inner {
            tls: tls.clone(),
            clock,
            ends,
            warned: Mutex::default(),
            loaded: Mutex::new(Loaded {
                client,
                stamps,
                looked,
            }),
        })))
    }

    /// When certificates end.
    pub(crate) fn ends(&self) -> Arc<Ends> {
        Arc::clone(&self.0.ends)
    }

    /// Sends a request and reads the answer, up to a limit.
    pub(crate) async fn send(&self, request: &HttpRequest) -> Result<HttpResponse, TransportError> {
        let body = SharedBody(Arc::clone(&request.body));
        self.send_body(request, bytes::Bytes::from_owner(body).into())
            .await
    }

    /// Sends a request with another body than its own.
    pub(crate) async fn send_body(
        &self,
        request: &HttpRequest,
        body: reqwest::Body,
    ) -> Result<HttpResponse, TransportError> {
        let clock = self.0.clock;
        let started = clock.monotonic();
        let method = reqwest::Method::from_bytes(request.method.as_bytes())
            .map_err(|error| TransportError::Other(error.to_string()))?;
        let response = self
            .0
            .client()
            .request(method, &request.url)
            .headers(headers(&request.headers)?)
            .timeout(request.timeout)
            .body(body)
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
            elapsed: clock.monotonic().since(started),
            tls_verified,
            received_at: clock.wall(),
        };
        clock.learn_date(&response);
        self.0.warn(&request.url);
        Ok(response)
    }
}

impl Inner {
    /// The client, made anew if a file of TLS has changed: its connections and sessions are those
    /// of the old certificate.
    fn client(&self) -> reqwest::Client {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.monotonic();
        if now.since(loaded.looked) >= LOOK_INTERVAL {
            loaded.looked = now;
            self.look(&mut loaded);
        }
        loaded.client.clone()
    }

    fn look(&self, loaded: &mut Loaded) {
        // Before the files are read: what is written meanwhile is seen the next time.
        let stamps = stamps(&self.tls);
        if stamps == loaded.stamps {
            return;
        }
        loaded.stamps = stamps;
        let builder = proxied(&self.tls).map_err(TransportSetupError::Client);
        match builder.and_then(|builder| client(&self.tls, &self.ends, builder)) {
            Ok(client) => {
                loaded.client = client;
                tracing::info!("the files of a destination's tls changed and were read again");
            }
            Err(error) => tracing::warn!(
                "the files of a destination's tls changed and cannot be used, so what was read \
                 before stays: {error}"
            ),
        }
    }

    /// Says once that a certificate ends soon, if it is known what time it is.
    fn warn(&self, url: &str) {
        let moment = self.clock.moment();
        if moment.taken.is_unsynced {
            return;
        }
        let ends = [
            ("the server's certificate", self.ends.peer()),
            ("our own certificate", self.ends.own()),
        ];
        for (what, end) in ends {
            let Some(end) = end.filter(|end| certificate::ends_soon(*end, moment.time)) else {
                continue;
            };
            let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
            if !warned.contains(&(what, end)) {
                // Enough for a server of several certificates, and our own.
                warned.truncate(7);
                warned.insert(0, (what, end));
                let host = url.split('/').nth(2).unwrap_or(url);
                tracing::warn!("{host}: {what} expires at {end}: renew it");
            }
        }
    }
}

/// A builder whose connections go through the proxy that was named, or else as the environment
/// says.
fn proxied(tls: &TlsConfig) -> Result<reqwest::ClientBuilder, reqwest::Error> {
    let builder = reqwest::ClientBuilder::new();
    let Some(config) = &tls.proxy else {
        return Ok(builder);
    };
    // Names are looked up by the proxy, which is what the `h` says.
    let url = config.url.replacen("socks5://", "socks5h://", 1);
    let mut proxy = reqwest::Proxy::all(url)?;
    if let (Some(username), Some(password)) = (&config.username, &config.password) {
        proxy = proxy.basic_auth(username, password.expose());
    }
    Ok(builder.proxy(proxy))
}

fn client(
    tls: &TlsConfig,
    ends: &Arc<Ends>,
    builder: reqwest::ClientBuilder,
) -> Result<reqwest::Client, TransportSetupError> {
    let tls = tls::client_config_with(tls, ends).map_err(TransportSetupError::Tls)?;
    builder
        .tls_backend_preconfigured(tls)
        .dns_resolver(Resolver)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .connect_timeout(CONNECT_MAX)
        .pool_idle_timeout(IDLE_MAX)
        .pool_max_idle_per_host(IDLE_COUNT_MAX)
        .tcp_keepalive(KEEP_ALIVE)
        .tcp_nodelay(true)
        .build()
        .map_err(TransportSetupError::Client)
}

fn stamps(tls: &TlsConfig) -> [Option<Stamp>; 3] {
    [&tls.ca_file, &tls.certificate_file, &tls.key_file]
        .map(|file| file.as_deref().and_then(Stamp::of))
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
    let mut next = std::error::Error::source(error);
    while let Some(error) = next {
        if error.is::<rustls::Error>() {
            return true;
        }
        // An I/O error gives its inner error's source as its own, and so hides the inner one.
        let inner = error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref);
        next = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
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

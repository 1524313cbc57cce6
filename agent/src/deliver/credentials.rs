//! The AWS keys of drivers: asked for once for all destinations that are configured alike.
//!
//! How they are got and when they are asked for anew is decided in
//! `pipeline::destination::credentials`; here files are read, programs run and requests made.

mod fetch;
mod process;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use pipeline::config::{CredentialsConfig, DestinationKind, ProxyConfig};
use pipeline::destination::credentials::{Credentials, Need, Refresh};
use pipeline::destination::{ClockSkew, Retry, RetryClass, Verdict};
use pipeline::time::WallClock;
use tokio::sync::Mutex;

use super::driver::random;
use crate::clock::Clock;

/// Providers that nobody uses any more are forgotten when there are so many.
const PROVIDERS_MAX: usize = 16;

thread_local! {
    /// All destinations are on one thread.
    static PROVIDERS: RefCell<Vec<Rc<Provider>>> = const { RefCell::new(Vec::new()) };
}

/// The keys of one driver.
#[derive(Debug)]
pub(super) struct Keys {
    provider: Option<Rc<Provider>>,
    /// Id of those that were used last.
    used: Option<String>,
}

/// Who gives keys to every driver that is configured alike.
#[derive(Debug)]
struct Provider {
    asking: Asking,
    clock: Clock,
    refresh: RefCell<Refresh>,
    /// How wrong our clock is, as those say who give keys.
    skew: Cell<ClockSkew>,
    /// Held by the one who asks.
    turn: Mutex<()>,
}

/// What is asked for.
#[derive(Debug, PartialEq)]
struct Asking {
    config: CredentialsConfig,
    /// The region of the destination.
    region: String,
    /// Who takes roles.
    session_name: String,
    /// The way to those who give keys.
    proxy: Option<Box<ProxyConfig>>,
}

impl Keys {
    /// The keys that `kind` is configured with; none where none are needed. `agent` is who takes
    /// roles.
    pub(super) fn new(kind: &DestinationKind, agent: &str, clock: Clock) -> Self {
        let config = match kind {
            DestinationKind::Firehose(firehose) => {
                Some((&firehose.credentials, &firehose.region, &firehose.tls))
            }
            DestinationKind::Kinesis(kinesis) => {
                Some((&kinesis.credentials, &kinesis.region, &kinesis.tls))
            }
            DestinationKind::S3(s3) => Some((&s3.credentials, &s3.region, &s3.tls)),
            DestinationKind::Redshift(redshift) => Some((
                &redshift.store.credentials,
                &redshift.region,
                &redshift.store.tls,
            )),
            DestinationKind::Http(_) | DestinationKind::Directory(_) => None,
        };
        let asking = config.map(|(config, region, tls)| Asking {
            config: config.clone(),
            region: region.clone(),
            session_name: agent.to_owned(),
            proxy: tls.proxy.clone(),
        });
        Self {
            provider: asking.map(|asking| Provider::shared(asking, clock)),
            used: None,
        }
    }

    /// The keys; `refused` says that those of the last call were.
    pub(super) async fn current(&mut self, refused: bool) -> Result<Option<Credentials>, Verdict> {
        let Some(provider) = &self.provider else {
            return Ok(None);
        };
        if let Some(id) = self.used.take().filter(|_| refused) {
            provider.refresh.borrow_mut().handle_refused(&id);
        }
        let keys = provider.current().await?;
        self.used = Some(keys.access_key_id.clone());
        Ok(Some(keys))
    }
}

impl Provider {
    /// The one that asks for this.
    fn shared(asking: Asking, clock: Clock) -> Rc<Self> {
        PROVIDERS.with_borrow_mut(|providers| {
            if let Some(known) = providers.iter().find(|known| known.asking == asking) {
                return Rc::clone(known);
            }
            if providers.len() >= PROVIDERS_MAX {
                providers.retain(|provider| Rc::strong_count(provider) > 1);
            }
            let provider = Rc::new(Self {
                asking,
                clock,
                refresh: RefCell::default(),
                skew: Cell::default(),
                turn: Mutex::new(()),
            });
            providers.push(Rc::clone(&provider));
            provider
        })
    }

    /// Keys that have not expired, asked for first if need be.
    async fn current(self: &Rc<Self>) -> Result<Credentials, Verdict> {
        match self.need() {
            Need::Nothing => {}
            Need::Ahead => {
                // Unless somebody is asking already.
                if self.turn.try_lock().is_ok() {
                    let other = Rc::clone(self);
                    tokio::task::spawn_local(async move { other.renew().await });
                }
            }
            Need::Now => self.renew().await,
            Need::Wait { until, reason } => {
                let after = until.since(self.clock.monotonic());
                return Err(none(&reason, Some(after)));
            }
        }
        let refresh = self.refresh.borrow();
        let keys = refresh.credentials(self.now(), self.clock.monotonic());
        keys.cloned()
            .ok_or_else(|| none(refresh.failure().unwrap_or("they have expired"), None))
    }

    fn need(&self) -> Need {
        let (now, at) = (self.now(), self.clock.monotonic());
        self.refresh.borrow().need(now, at)
    }

    /// The time as those say it who give keys.
    fn now(&self) -> WallClock {
        self.skew.get().correct(self.clock.wall())
    }

    /// Asks, unless somebody else did meanwhile.
    async fn renew(&self) {
        let turn = self.turn.lock().await;
        if matches!(self.need(), Need::Now | Need::Ahead) {
            let fetched = fetch::fetch(self).await;
            let (now, at) = (self.now(), self.clock.monotonic());
            let mut refresh = self.refresh.borrow_mut();
            match fetched {
                Ok(granted) => {
                    if let Some(expires) = granted.expires {
                        tracing::info!("AWS keys came that expire at {expires}");
                    }
                    refresh.handle_granted(granted, now, at, random());
                }
                Err(reason) => {
                    let is_first = refresh.failure().is_none();
                    if let Some(expires) = refresh.expires().filter(|_| is_first) {
                        tracing::warn!(
                            "no new AWS keys, those at hand expire at {expires}: {reason}"
                        );
                    }
                    refresh.handle_failed(reason, at, random());
                }
            }
        }
        drop(turn);
    }
}

fn none(reason: &str, after: Option<std::time::Duration>) -> Verdict {
    let reason = format!("no AWS keys: {reason}");
    Verdict::Retry(Retry {
        class: RetryClass::Credentials,
        reason,
        after,
    })
}

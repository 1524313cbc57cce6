//! Asks for the addresses of names, and remembers them for when nobody answers.
//!
//! What of it is used is decided in `pipeline::names`. A name is asked for once at a time, so that
//! a resolver that hangs holds up one thread and not all.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use pipeline::names::{Knowledge, Names};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::clock::Clock;

/// So long somebody is waited for who may know newer addresses.
const NEWER_MAX: Duration = Duration::from_secs(2);

static MACHINE: LazyLock<Asked> = LazyLock::new(|| Asked {
    clock: Clock::start(),
    names: Mutex::default(),
    under_way: Mutex::default(),
});

/// What comes of a question: nothing yet, addresses, or why there are none.
type Outcome = Option<Result<Vec<IpAddr>, String>>;

struct Asked {
    clock: Clock,
    names: Mutex<Names>,
    under_way: Mutex<BTreeMap<String, watch::Receiver<Outcome>>>,
}

/// The resolver of HTTP clients.
pub(crate) struct Resolver;

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let addresses = lookup(name.as_str()).await?;
            // The URL says the port.
            let addresses = addresses.into_iter().map(|ip| SocketAddr::new(ip, 0));
            let addresses: Addrs = Box::new(addresses);
            Ok(addresses)
        })
    }
}

/// The addresses of `name`: the newest that somebody tells in time, or the last that are known.
async fn lookup(name: &str) -> io::Result<Vec<IpAddr>> {
    match MACHINE.knowledge(name) {
        Knowledge::Fresh(addresses) => Ok(addresses),
        Knowledge::Unknown => MACHINE.ask(name).await.map_err(io::Error::other),
        Knowledge::Stale(addresses) => match timeout(NEWER_MAX, MACHINE.ask(name)).await {
            Ok(Ok(newer)) => Ok(newer),
            Ok(Err(reason)) => Ok(told(name, &reason, addresses)),
            Err(_) => Ok(told(name, "no answer", addresses)),
        },
    }
}

fn told(name: &str, reason: &str, addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    tracing::debug!("{name} cannot be resolved, its last addresses are used: {reason}");
    addresses
}

impl Asked {
    fn knowledge(&self, name: &str) -> Knowledge {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.get(name, self.clock.monotonic())
    }

    /// Asks, or waits with somebody who has asked.
    async fn ask(&'static self, name: &str) -> Result<Vec<IpAddr>, String> {
        let mut outcome = self.question(name);
        let outcome = outcome.wait_for(Option::is_some).await;
        match outcome {
            Ok(outcome) => outcome
                .clone()
                .unwrap_or_else(|| Err("no answer".to_owned())),
            Err(_) => Err("nobody was asked".to_owned()),
        }
    }

    fn question(&'static self, name: &str) -> watch::Receiver<Outcome> {
        let mut under_way = self
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(outcome) = under_way.get(name) {
            return outcome.clone();
        }
        let (sender, outcome) = watch::channel(None);
        under_way.insert(name.to_owned(), outcome.clone());
        let name = name.to_owned();
        // It goes on when nobody waits any more: the next one wants to know as well.
        tokio::spawn(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await;
            let found = found
                .map(|found| found.map(|address| address.ip()).collect::<Vec<_>>())
                .map_err(|error| error.to_string());
            if let Ok(addresses) = &found {
                let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
                names.handle_resolved(&name, addresses.clone(), self.clock.monotonic());
            }
            let mut under_way = self
                .under_way
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            under_way.remove(&name);
            sender.send_replace(Some(found));
        });
        outcome
    }
}

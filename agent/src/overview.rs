//! What can be told about everything that runs: the status, put together from the rings and from
//! what sources and destinations show of themselves.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use pipeline::config::SourceConfig;
use pipeline::tally::{DestinationTally, Stretch, StretchKind};

use crate::clock::Clock;
use crate::deliver::DestinationGauges;
use crate::replay::{self, ReplayAnswer, ReplayQuestion};
use crate::store::{SourceNames, StoreEnded, StoreStatus, Stores};
use crate::telemetry::{
    DestinationStatus, LaneStatus, SourceCounters, SourceStatus, Status, StretchStatus,
};

/// What can be told about everything that runs.
#[derive(Debug)]
pub(crate) struct Overview {
    agent: String,
    clock: Clock,
    stores: Stores,
    sources: RefCell<BTreeMap<String, SourceView>>,
    destinations: RefCell<BTreeMap<String, Arc<DestinationGauges>>>,
}

/// What is seen of a source.
#[derive(Debug, Default)]
struct SourceView {
    buffer: String,
    counters: Arc<SourceCounters>,
}

impl Overview {
    /// Of an agent in which nothing runs yet.
    pub(crate) fn new(agent: String, clock: Clock, stores: Stores) -> Self {
        Self {
            agent,
            clock,
            stores,
            sources: RefCell::default(),
            destinations: RefCell::default(),
        }
    }

    /// The process's clock.
    pub(crate) const fn clock(&self) -> Clock {
        self.clock
    }

    /// The ways to the stores.
    pub(crate) const fn stores(&self) -> &Stores {
        &self.stores
    }

    /// Counters for a source that starts: those of an earlier task of its name, if there was one.
    pub(crate) fn add_source(&self, name: &str, config: &SourceConfig) -> Arc<SourceCounters> {
        let mut sources = self.sources.borrow_mut();
        let view = sources.entry(name.to_owned()).or_default();
        view.buffer.clone_from(&config.buffer);
        Arc::clone(&view.counters)
    }

    /// Shows only the sources that are named.
    pub(crate) fn retain_sources(&self, named: &BTreeMap<String, SourceConfig>) {
        let mut sources = self.sources.borrow_mut();
        sources.retain(|name, _| named.contains_key(name));
    }

    /// Shows a destination that starts.
    pub(crate) fn add_destination(&self, name: &str, gauges: Arc<DestinationGauges>) {
        let mut destinations = self.destinations.borrow_mut();
        destinations.insert(name.to_owned(), gauges);
    }

    /// How everything stands.
    pub(crate) async fn status(&self) -> Result<Status, StoreEnded> {
        let stores = self.stores.status().await?;
        Ok(Status {
            agent: self.agent.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_s: self.clock.monotonic().elapsed().as_secs(),
            clock: self.clock.status(),
            sources: self.source_statuses(&stores),
            destinations: self.destination_statuses(&stores),
            buffers: stores
                .into_iter()
                .map(|(buffer, store)| (buffer, store.buffer))
                .collect(),
        })
    }

    /// Begins or ends replays, in every buffer that the destination takes from.
    pub(crate) async fn replay(&self, question: ReplayQuestion) -> ReplayAnswer {
        let now = self.clock.wall();
        let folder = question.dead_letter.then(|| {
            let destinations = self.destinations.borrow();
            destinations.get(&question.destination)?.dead_letters()
        });
        let answer = match folder.flatten() {
            Some(folder) => {
                let gauges = self
                    .destinations
                    .borrow()
                    .get(&question.destination)
                    .cloned();
                let gauges = gauges.unwrap_or_default();
                let send = |files| gauges.send_letters(files);
                replay::letters::ask(&self.stores, question, folder, now, send).await
            }
            None => replay::ask(&self.stores, question, now).await,
        };
        answer.unwrap_or_else(|StoreEnded| ReplayAnswer::Error("the store has ended".to_owned()))
    }

    fn source_statuses(
        &self,
        stores: &BTreeMap<String, StoreStatus>,
    ) -> BTreeMap<String, SourceStatus> {
        let status = |(name, view): (&String, &SourceView)| {
            let stored = stores
                .values()
                .filter_map(|store| store.stored.get(name.as_str()));
            let mut status = SourceStatus::of(&view.counters, view.buffer.clone(), stored.sum());
            status.waiting_for_space = stores
                .get(&view.buffer)
                .is_some_and(|store| store.buffer.blocked);
            (name.clone(), status)
        };
        self.sources.borrow().iter().map(status).collect()
    }

    fn destination_statuses(
        &self,
        stores: &BTreeMap<String, StoreStatus>,
    ) -> BTreeMap<String, DestinationStatus> {
        let mut statuses: BTreeMap<String, DestinationStatus> = BTreeMap::new();
        for (buffer, store) in self.stores.iter() {
            let tallies = stores.get(buffer).map(|status| &status.destinations);
            let names = store.source_names();
            for (name, tally) in tallies.into_iter().flatten() {
                add_lane(
                    statuses.entry(name.clone()).or_default(),
                    buffer,
                    tally,
                    &names,
                );
            }
        }
        let now = self.clock.moment();
        let gauges = self.destinations.borrow();
        for (name, status) in &mut statuses {
            if let Some(gauges) = gauges.get(name) {
                gauges.fill(status, now);
            }
        }
        statuses
    }
}

/// What is shown of a stretch; nothing of the live one, which the destination's own numbers show.
pub(crate) fn stretch_status(buffer: &str, stretch: &Stretch) -> Option<StretchStatus> {
    let kind = match stretch.kind() {
        StretchKind::Live => return None,
        StretchKind::Backlog => "backlog",
        StretchKind::Replay => "replay",
    };
    Some(StretchStatus {
        kind: kind.to_owned(),
        buffer: buffer.to_owned(),
        committed: stretch.committed().get(),
        end: stretch.limit()?.get(),
        waiting: stretch.waiting(),
    })
}

/// Adds what a destination's book in one ring says.
fn add_lane(
    status: &mut DestinationStatus,
    buffer: &str,
    tally: &DestinationTally,
    sources: &SourceNames,
) {
    let lane = LaneStatus {
        committed: tally.committed().get(),
        waiting: tally.waiting(),
    };
    status.lanes.insert(buffer.to_owned(), lane);
    status.waiting += tally.waiting();
    status.delivered += tally.delivered();
    status.delivered_by_fallback += tally.by_fallback();
    status.rejected += tally.rejected();
    status.filtered += tally.filtered();
    status.truncated += tally.truncated();
    status.replayed += tally.replayed();
    let stretches = tally.stretches();
    status
        .stretches
        .extend(stretches.filter_map(|(_, stretch)| stretch_status(buffer, stretch)));
    for (tag, count) in tally.evicted() {
        status.evicted += count;
        let source = sources
            .get(tag)
            .map_or_else(|| "unknown".to_owned(), ToString::to_string);
        *status.evicted_by_source.entry(source).or_default() += count;
    }
}

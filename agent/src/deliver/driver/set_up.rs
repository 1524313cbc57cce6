//! What a driver needs before it can begin.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use pipeline::batch::Batcher;
use pipeline::config::{DestinationConfig, DestinationKind, TlsConfig};
use pipeline::dead_letter;
use pipeline::delivery::{Delivery, Remainder, Way};
use pipeline::destination::{Destination, Sender};
use pipeline::encode::Origin;
use pipeline::turns::Rank;
use tokio::sync::watch;

use super::Driver;
use crate::deliver::build::Recipe;
use crate::deliver::calls::Calls;
use crate::deliver::credentials::Keys;
use crate::deliver::folder::BoundedFolder;
use crate::deliver::{DestinationParts, Stop};
use crate::store::StretchOpening;
use crate::transport::Transport;

impl<'a> Driver<'a> {
    /// Reads the files it needs; the delivery goes on where the stretch stands.
    pub(in crate::deliver) fn set_up(
        parts: &'a DestinationParts,
        StretchOpening { id, stretch }: StretchOpening,
        stretches: watch::Receiver<u64>,
    ) -> Result<Self, Stop> {
        let rank = Rank {
            lane: parts.lane,
            kind: stretch.kind(),
        };
        let way = parts.ways.poll(parts.clock.monotonic());
        let config = by_way(parts, way);
        let ring = parts.store.ring_id();
        let sender = Sender {
            ring,
            agent: parts.agent.clone(),
            destination: parts.name.clone(),
            replay: stretch.mark(),
        };
        let origin = Origin {
            agent: parts.agent.clone(),
            ring_id: ring,
            is_replay: stretch.mark().is_some(),
        };
        let destination = Destination::new(&config.kind, sender, config.retry.timeout);
        let (tls, remainder) = nature(&config.kind);
        let transport = tls
            .map(|tls| Transport::shared(tls, parts.clock))
            .transpose()
            .map_err(|error| Stop::Setup(error.to_string()))?;
        if let Some(transport) = transport.as_ref().filter(|_| way == Way::Own) {
            parts.gauges.set_ends(transport.ends());
        }
        let folder = folder(&config.kind, &destination, &parts.rings);
        let committed = stretch.committed();
        let delivery = Delivery::new(&config.retry, remainder, committed)
            .map_err(|error| Stop::Setup(error.to_string()))?
            .with_concurrency(config.concurrency_max);
        Ok(Self {
            parts,
            key: (parts.index, id),
            rank,
            way,
            config,
            limit: stretch.limit(),
            stretches,
            recipe: Arc::new(Recipe::new(
                config.clone(),
                origin,
                Arc::clone(&parts.transforms),
            )),
            batcher: Batcher::new(&config.kind, &config.batch),
            keys: Keys::new(&config.kind, &parts.agent, parts.clock),
            dead_letters: BoundedFolder::new(
                &parts.config.dead_letter.path,
                dead_letter::folder(&parts.name, ring).beside(&parts.rings),
                parts.config.dead_letter.bytes_max.as_u64(),
            ),
            destination,
            delivery,
            transport,
            calls: Calls::default(),
            folder,
            frames: VecDeque::new(),
            read_to: committed,
            planned: stretch.planned(),
            is_planned_for_other: parts.ways.is_planned_for_other(rank, id, way),
            current: None,
            owed: 0,
            lost: Vec::new(),
            raw_bytes: 0,
            raw_bytes_due: 0,
            corrected_due: 0,
            unknown: BTreeSet::new(),
        })
    }
}

/// How records go out this way.
fn by_way(parts: &DestinationParts, way: Way) -> &DestinationConfig {
    match (&parts.config.fallback, way) {
        (Some(fallback), Way::Fallback) => &fallback.way,
        (_, Way::Own) | (None, Way::Fallback) => &parts.config,
    }
}

/// How a destination is connected to, and what is sent to it again after a crash.
fn nature(kind: &DestinationKind) -> (Option<&TlsConfig>, Remainder) {
    match kind {
        DestinationKind::Firehose(firehose) => (Some(&firehose.tls), Remainder::Whole),
        DestinationKind::Kinesis(kinesis) => (Some(&kinesis.tls), Remainder::Whole),
        DestinationKind::Http(http) => (Some(&http.tls), Remainder::Halves),
        DestinationKind::S3(s3) => (Some(&s3.tls), Remainder::Halves),
        DestinationKind::Directory(_) => (None, Remainder::Halves),
    }
}

/// Where files go, if they do.
fn folder(
    kind: &DestinationKind,
    destination: &Destination,
    rings: &[u64],
) -> Option<BoundedFolder> {
    let (DestinationKind::Directory(directory), Destination::Directory(codec)) =
        (kind, destination)
    else {
        return None;
    };
    let bytes_max = directory.bytes_max.as_u64();
    Some(BoundedFolder::new(
        &directory.path,
        codec.folder().clone().beside(rings),
        bytes_max,
    ))
}

//! What a driver needs before it can begin.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use pipeline::batch::Batcher;
use pipeline::config::DestinationKind;
use pipeline::dead_letter;
use pipeline::delivery::{Delivery, Remainder};
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
        let config = &parts.config;
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
        let (tls, remainder) = match &config.kind {
            DestinationKind::Firehose(firehose) => (Some(&firehose.tls), Remainder::Whole),
            DestinationKind::Kinesis(kinesis) => (Some(&kinesis.tls), Remainder::Whole),
            DestinationKind::Http(http) => (Some(&http.tls), Remainder::Halves),
            DestinationKind::S3(s3) => (Some(&s3.tls), Remainder::Halves),
            DestinationKind::Directory(_) => (None, Remainder::Halves),
        };
        let transport = tls
            .map(|tls| Transport::shared(tls, parts.clock))
            .transpose()
            .map_err(|error| Stop::Setup(error.to_string()))?;
        if let Some(transport) = &transport {
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
            rank: Rank {
                lane: parts.lane,
                kind: stretch.kind(),
            },
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
                &config.dead_letter.path,
                dead_letter::folder(&parts.name, ring).beside(&parts.rings),
                config.dead_letter.bytes_max.as_u64(),
            ),
            destination,
            delivery,
            transport,
            calls: Calls::default(),
            folder,
            frames: VecDeque::new(),
            read_to: committed,
            planned: stretch.planned(),
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

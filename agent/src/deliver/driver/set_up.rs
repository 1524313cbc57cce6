//! What a driver needs before it can begin.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use diskring::Seq;
use pipeline::batch::Batcher;
use pipeline::config::{DestinationConfig, DestinationKind, TlsConfig};
use pipeline::dead_letter;
use pipeline::delivery::{Delivery, Remainder, Way};
use pipeline::destination::{Destination, Sender};
use pipeline::encode::Origin;
use pipeline::transform::Transforms;
use pipeline::turns::Rank;
use tokio::sync::watch;

use super::Driver;
use crate::deliver::build::{LetterHead, Recipe};
use crate::deliver::calls::Calls;
use crate::deliver::credentials::Keys;
use crate::deliver::folder::BoundedFolder;
use crate::deliver::{DestinationParts, Stop};
use crate::store::{StretchKey, StretchOpening};
use crate::transport::Transport;

/// What a driver is to send, and how.
pub(super) struct Errand<'a> {
    pub(super) config: &'a DestinationConfig,
    /// What ids of batches and names of files begin with.
    pub(super) sender: String,
    /// What is told of each record in its place.
    pub(super) letters: Option<LetterHead>,
    /// The ring that the records are from.
    pub(super) ring: u64,
    /// What tells a replay from every other one.
    pub(super) mark: Option<u64>,
    /// Where it begins.
    pub(super) committed: Seq,
}

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
        let errand = Errand {
            config: by_way(parts, way),
            sender: parts.name.clone(),
            letters: None,
            ring: parts.store.ring_id(),
            mark: stretch.mark(),
            committed: stretch.committed(),
        };
        let mut driver = Self::outfit(parts, (parts.index, id), rank, stretches, errand)?;
        if let Some(transport) = driver.transport.as_ref().filter(|_| way == Way::Own) {
            parts.gauges.set_ends(transport.ends());
        }
        driver.way = way;
        driver.limit = stretch.limit();
        driver.planned = stretch.planned();
        driver.is_planned_for_other = parts.ways.is_planned_for_other(rank, id, way);
        Ok(driver)
    }

    /// A driver for an errand in a stretch.
    pub(super) fn outfit(
        parts: &'a DestinationParts,
        key: StretchKey,
        rank: Rank,
        stretches: watch::Receiver<u64>,
        errand: Errand<'a>,
    ) -> Result<Self, Stop> {
        let config = errand.config;
        let ring = errand.ring;
        let sender = Sender {
            ring,
            agent: parts.agent.clone(),
            destination: errand.sender,
            replay: errand.mark,
        };
        let origin = Origin {
            agent: parts.agent.clone(),
            ring_id: ring,
            is_replay: errand.mark.is_some(),
        };
        let destination = Destination::new(&config.kind, sender, config.retry.timeout);
        let (tls, remainder) = nature(&config.kind);
        let transport = tls
            .map(|tls| Transport::shared(tls, parts.clock))
            .transpose()
            .map_err(|error| Stop::Setup(error.to_string()))?;
        let folder = folder(&config.kind, &destination, &parts.rings);
        let delivery = Delivery::new(&config.retry, remainder, errand.committed)
            .map_err(|error| Stop::Setup(error.to_string()))?
            .with_concurrency(config.concurrency_max);
        let dead_letter = &parts.config.dead_letter;
        let is_for_letters = errand.letters.is_some();
        let recipe = Recipe::new(config.clone(), origin, transforms(parts, config));
        Ok(Self {
            parts,
            key,
            rank,
            way: Way::Own,
            config,
            is_for_letters,
            kept: None,
            mark: errand.mark,
            limit: None,
            stretches,
            recipe: Arc::new(recipe.with_letters(errand.letters)),
            batcher: Batcher::new(&config.kind, &config.batch),
            keys: Keys::new(&config.kind, &parts.agent, parts.clock),
            dead_letters: BoundedFolder::new(
                &dead_letter.path,
                dead_letter::folder(&parts.name, ring).beside(&parts.rings),
                dead_letter.bytes_max.as_u64(),
            ),
            destination,
            delivery,
            transport,
            calls: Calls::default(),
            folder,
            frames: VecDeque::new(),
            read_to: errand.committed,
            planned: None,
            is_planned_for_other: false,
            // Letters are planned by what they are of, and may be there from an earlier life.
            was_planned: is_for_letters,
            load: None,
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

/// What is done to records on the way out, which the way itself may add to.
fn transforms(parts: &DestinationParts, config: &DestinationConfig) -> Arc<Transforms> {
    if config.transforms == parts.config.transforms {
        return Arc::clone(&parts.transforms);
    }
    Arc::new(crate::source::compiled(&config.transforms))
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
        DestinationKind::Redshift(redshift) => (Some(&redshift.store.tls), Remainder::Halves),
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

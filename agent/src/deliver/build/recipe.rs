//! What batches of a destination are made with, and of which sources.

use std::collections::BTreeSet;
use std::sync::Arc;

use diskring::Frame;
use pipeline::config::DestinationConfig;
use pipeline::destination::SeqRange;
use pipeline::encode::{Encoding, EntryMeta, Origin, RecordWriter};
use pipeline::transform::Transforms;

use super::LetterHead;
use crate::intake::SourceTag;
use crate::store::SourceNames;

/// What every batch of a destination is made with.
#[derive(Debug)]
pub(in crate::deliver) struct Recipe {
    pub(super) config: DestinationConfig,
    pub(super) origin: Origin,
    pub(super) transforms: Arc<Transforms>,
    pub(super) writer: RecordWriter,
    /// What is told of each record, which then stands for it.
    pub(super) letters: Option<LetterHead>,
}

/// The sources of the ring, as a destination sees them.
#[derive(Clone, Debug)]
pub(in crate::deliver) struct Sources {
    names: SourceNames,
    takes: Option<Arc<BTreeSet<SourceTag>>>,
}

impl Recipe {
    /// A recipe for `config`, for records that come out of `origin`.
    pub(in crate::deliver) fn new(
        config: DestinationConfig,
        origin: Origin,
        transforms: Arc<Transforms>,
    ) -> Self {
        let writer = RecordWriter::new(config.format, config.metadata, &origin);
        Self {
            config,
            origin,
            transforms,
            writer,
            letters: None,
        }
    }

    /// The same, with a letter instead of each record.
    pub(in crate::deliver) fn with_letters(mut self, letters: Option<LetterHead>) -> Self {
        self.letters = letters;
        self
    }

    /// The sources of the ring as this destination sees them.
    pub(in crate::deliver) fn sources(&self, names: SourceNames) -> Sources {
        let takes = self.config.from.as_ref().map(|from| {
            let named = |name: &Arc<str>| from.iter().any(|from| **from == **name);
            let tags = names
                .iter()
                .filter(|(_, name)| named(name))
                .map(|(tag, _)| *tag);
            Arc::new(tags.collect())
        });
        Sources { names, takes }
    }

    /// How and of where the objects of this destination are written.
    pub(in crate::deliver) fn objects(&self) -> (Encoding, &Origin) {
        (self.encoding(), &self.origin)
    }

    pub(super) fn encoding(&self) -> Encoding {
        Encoding {
            format: self.config.format,
            compression: self.config.compression,
            level: self.config.compression_level,
            metadata: self.config.metadata,
        }
    }
}

impl Sources {
    /// Records of `frames` in `range` that are for this destination, as they are stored.
    pub(in crate::deliver) fn records<'a>(
        &'a self,
        frames: &'a [Frame],
        range: SeqRange,
    ) -> impl Iterator<Item = (EntryMeta<'a>, &'a [u8])> {
        frames
            .iter()
            .flat_map(Frame::entries)
            .filter(move |entry| range.contains(entry.seq) && self.takes(entry.tag))
            .map(|entry| {
                (
                    EntryMeta {
                        seq: entry.seq,
                        source: self.name(entry.tag),
                    },
                    entry.payload,
                )
            })
    }

    pub(super) fn takes(&self, tag: SourceTag) -> bool {
        self.takes.as_ref().is_none_or(|takes| takes.contains(&tag))
    }

    pub(super) fn name(&self, tag: SourceTag) -> &str {
        self.names.get(&tag).map_or("unknown", |name| &**name)
    }
}

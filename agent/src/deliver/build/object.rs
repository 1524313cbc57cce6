//! A batch that is one object of several, or that is sent while it grows.

use std::sync::Arc;

use diskring::Seq;
use pipeline::batch::Batcher;
use pipeline::boots::Boots;
use pipeline::destination::SeqRange;
use pipeline::destination::s3::{EncodedObject, ObjectWriter, S3};

use super::{Body, Builder, Recipe, Sources};

impl Recipe {
    /// A batch of which the objects are found.
    pub(super) fn plan(&self, store: &S3) -> Body {
        let (encoding, origin) = self.objects();
        Body::Objects(Box::new(store.plan(encoding, origin)))
    }
}

impl Builder {
    /// One object of the batch that covers `range`, written by `writer`.
    pub(in crate::deliver) fn of_object(
        recipe: &Arc<Recipe>,
        sources: Sources,
        boots: Arc<Boots>,
        batcher: Batcher,
        range: SeqRange,
        writer: ObjectWriter,
    ) -> Self {
        let body = Body::Objects(Box::new(writer));
        Self::with_body(
            recipe,
            (sources, boots),
            batcher,
            range.first,
            Some(range.end),
            body,
        )
    }

    /// What was written of an object since the last call.
    pub(in crate::deliver) fn drain(&mut self) -> Vec<u8> {
        match &mut self.body {
            Body::Objects(writer) => writer.drain(),
            Body::Whole(_) | Body::Packed(_) => Vec::new(),
        }
    }

    /// The records that were looked for in an object.
    pub(in crate::deliver) fn into_found(self) -> Vec<Seq> {
        match self.body {
            Body::Objects(writer) => writer.into_found(),
            Body::Whole(_) | Body::Packed(_) => Vec::new(),
        }
    }

    /// Completes an object.
    pub(in crate::deliver) fn finish_object(self) -> Option<(EncodedObject, Vec<u8>)> {
        match self.body {
            Body::Objects(writer) => writer.finish_object(),
            Body::Whole(_) | Body::Packed(_) => None,
        }
    }
}

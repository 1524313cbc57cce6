//! Whether ring and books say what is true; the text says where not.

use std::collections::BTreeMap;

use diskring::sim::SharedDisk;
use diskring::{Ring, Seq};
use pipeline::books::{Books, Counts};
use pipeline::tally::{DestinationTally, Stretch, StretchId, StretchKind, UNKNOWN_SOURCE};

use super::{DestinationTruth, Fate, SourceTruth, Truth};

impl Truth {
    pub(in crate::books) fn compare(
        &self,
        ring: &Ring<SharedDisk>,
        books: &Books,
    ) -> Result<(), String> {
        let (first, next) = (ring.first().get(), ring.next().get());
        if (first, next) != (self.first, self.next()) {
            return Err(format!(
                "{first}..{next} instead of {}..{}",
                self.first,
                self.next()
            ));
        }
        let names: BTreeMap<u16, String> = books
            .source_names()
            .into_iter()
            .map(|(tag, name)| (tag, name.to_string()))
            .collect();
        let known = self.sources.iter();
        let expected: BTreeMap<u16, String> = known
            .map(|(name, source)| (source.tag, name.clone()))
            .collect();
        if names != expected {
            return Err(format!("sources {names:?} instead of {expected:?}"));
        }
        for (name, source) in &self.sources {
            source
                .compare(ring, books)
                .map_err(|text| format!("source {name}: {text}"))?;
        }
        let tallies = books.tallies(ring);
        if !tallies.keys().eq(self.destinations.keys()) {
            return Err(format!("destinations {:?}", tallies.keys()));
        }
        for (name, tally) in &tallies {
            self.compare_destination(name, tally)
                .map_err(|text| format!("destination {name}: {text}"))?;
        }
        Ok(())
    }

    fn compare_destination(&self, name: &str, tally: &DestinationTally) -> Result<(), String> {
        let truth = &self.destinations[name];
        truth.compare(tally)?;
        let told: BTreeMap<StretchId, &Stretch> = tally.stretches().collect();
        if !told.keys().eq(truth.stretches.keys()) {
            return Err(format!("{told:?} instead of {:?}", truth.stretches));
        }
        let mut owed = 0;
        for (id, stretch) in told {
            let waiting = self.compare_stretch(name, id, stretch)?;
            owed += waiting * u64::from(truth.stretches[&id].is_owed());
        }
        same("waiting", tally.waiting(), owed)
    }

    /// How many records of a stretch wait, in which the books are right.
    pub(in crate::books) fn compare_stretch(
        &self,
        name: &str,
        id: StretchId,
        told: &Stretch,
    ) -> Result<u64, String> {
        let truth = &self.destinations[name].stretches[&id];
        let waiting = self.unfated(name, id, (truth.committed, self.next()));
        let waiting = u64::try_from(waiting.len()).unwrap();
        let mark = (truth.kind == StretchKind::Replay).then_some(truth.mark);
        let limit = (truth.limit != u64::MAX).then_some(truth.limit);
        let compared = same("kind", told.kind(), truth.kind)
            .and_then(|()| same("committed", told.committed().get(), truth.committed))
            .and_then(|()| same("planned", told.planned().map(Seq::get), truth.planned()))
            .and_then(|()| same("limit", told.limit().map(Seq::get), limit))
            .and_then(|()| same("mark", told.mark(), mark))
            .and_then(|()| same("waiting", told.waiting(), waiting));
        compared.map_err(|text| format!("{:?} {id:?}: {text}", truth.kind))?;
        Ok(waiting)
    }
}

impl DestinationTruth {
    fn compare(&self, tally: &DestinationTally) -> Result<(), String> {
        same("committed", tally.committed().get(), self.committed())?;
        same("delivered", tally.delivered(), self.count(Fate::Delivered))?;
        let by_fallback = self.count(Fate::ByFallback);
        same("by fallback", tally.by_fallback(), by_fallback)?;
        same("rejected", tally.rejected(), self.count(Fate::Rejected))?;
        same("filtered", tally.filtered(), self.count(Fate::Filtered))?;
        same("truncated", tally.truncated(), 0)?;
        same("replayed", tally.replayed(), self.replayed)?;
        same("takes", tally.takes(), self.takes.as_ref())?;
        for kind in [StretchKind::Live, StretchKind::Backlog, StretchKind::Replay] {
            same("next", tally.next_stretch(kind), self.next(kind))?;
        }
        // Where a state has no room for them, sources are not told apart any more.
        let evicted = self.evicted();
        let is_merged = tally.evicted().values().sum::<u64>() == evicted.values().sum::<u64>()
            && tally.evicted().iter().all(|(tag, count)| {
                *tag == UNKNOWN_SOURCE || evicted.get(tag).is_some_and(|truth| count <= truth)
            });
        if !is_merged {
            return same("evicted", tally.evicted(), &evicted);
        }
        Ok(())
    }
}

impl SourceTruth {
    fn compare(&self, ring: &Ring<SharedDisk>, books: &Books) -> Result<(), String> {
        let tally = books.source_tally(ring, self.tag).ok_or("unknown")?;
        let told = Counts {
            filtered: tally.filtered,
            decode_errors: tally.decode_errors,
            cut: tally.cut,
        };
        if (tally.stored, told, tally.refused) != (self.stored, self.counts, self.refused) {
            return Err(format!("{tally:?} instead of {self:?}"));
        }
        same(
            "received",
            tally.received(),
            self.stored + self.counts.filtered,
        )?;
        let checkpoints: BTreeMap<Vec<u8>, u64> =
            books.checkpoints(ring, self.tag).into_iter().collect();
        same("checkpoints", &checkpoints, &self.checkpoints)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "takes what is told as it is")]
fn same<T: PartialEq + std::fmt::Debug>(what: &str, told: T, truth: T) -> Result<(), String> {
    if told == truth {
        Ok(())
    } else {
        Err(format!("{told:?} {what} instead of {truth:?}"))
    }
}

//! Cuts, and what they leave.

use diskring::sim::SharedDisk;
use diskring::{OpenError, Ring, Unrecovered};
use pipeline::books::Books;
use pipeline::tally::StretchKind;

use super::truth::{Change, Step, Truth};
use super::{DESTINATIONS, World, fatal};

impl World {
    /// The power fails and comes back; what is left must be the truth after some of the steps.
    pub(super) fn recover(&mut self) -> Result<(), String> {
        self.coverage.count("cuts", 1);
        let ring = self.open_ring()?;
        let books = Books::open_mutant(&ring, self.mutant).map_err(fatal)?;
        let (first, next) = (ring.first().get(), ring.next().get());
        let steps = std::mem::take(&mut self.steps);
        let mut truth = self.durable.clone();
        let mut found = None;
        let mut last = Ok(());
        for count in 0..=steps.len() {
            if (truth.first, truth.next()) == (first, next) {
                let settled = truth.settled();
                last = settled.compare(&ring, &books);
                if last.is_ok() {
                    let losses = settled.fate_count() - truth.fate_count();
                    found = Some((count, losses, settled));
                }
            }
            if let Some(step) = steps.get(count) {
                truth.apply(step.clone());
            }
        }
        let Some((count, losses, settled)) = found else {
            let total = steps.len();
            return Err(format!(
                "recovered {first}..{next} after none of {total} steps: {last:?}"
            ));
        };
        let (kept, lost) = steps.split_at(count);
        self.coverage
            .count("rollbacks", u64::from(!lost.is_empty()));
        self.coverage.count("splits kept by a cut", splits(kept));
        self.coverage.count("splits lost by a cut", splits(lost));
        self.coverage.count("losses found at a start", losses);
        self.adopt(ring, books, settled);
        self.open_some()
    }

    /// Opens what the cut left; the power may fail once more meanwhile.
    fn open_ring(&mut self) -> Result<Ring<SharedDisk>, String> {
        let mut again = self.rng.one_in(4);
        loop {
            self.disk.disk().cut(&mut self.rng);
            if again {
                let fuel = u64::try_from(self.rng.below(6)).unwrap();
                self.disk.disk().set_fuel(Some(fuel));
            }
            let opened = Unrecovered::open(self.disk.clone())
                .and_then(|unrecovered| unrecovered.recover(&self.options));
            self.disk.disk().set_fuel(None);
            if self.disk.disk().is_dead() {
                self.coverage.count("cuts in a recovery", 1);
                again = false;
                continue;
            }
            let (ring, _) = opened.map_err(|error: OpenError| format!("recovery: {error}"))?;
            return Ok(ring);
        }
    }

    /// Goes on with what a cut has left; whatever was in memory is gone.
    fn adopt(&mut self, ring: Ring<SharedDisk>, books: Books, truth: Truth) {
        self.now = truth.clone();
        self.durable = truth;
        self.ring = ring;
        self.books = books;
        self.open.clear();
        self.drivers.clear();
        self.hands.clear();
        self.retired.clear();
        self.from.clear();
    }

    pub(super) fn open_some(&mut self) -> Result<(), String> {
        for name in DESTINATIONS {
            self.open_destination(name)?;
        }
        self.open_source()?;
        self.now.compare(&self.ring, &self.books)
    }

    /// Delivers everything: what a destination is owed has its fate, and no stretch but the live
    /// one is left.
    pub(super) fn drain(&mut self) -> Result<(), String> {
        self.disk.disk().set_fuel(None);
        self.sync()?;
        for name in self.open.keys().cloned().collect::<Vec<_>>() {
            for kind in [StretchKind::Backlog, StretchKind::Replay, StretchKind::Live] {
                self.deliver(&name, kind)?;
            }
            let tally = self.books.tallies(&self.ring)[&name].clone();
            let left = tally.live().committed();
            if tally.waiting() > 0 || tally.stretches().count() > 1 || left != self.ring.durable() {
                return Err(format!("{name} has {tally:?} left"));
            }
        }
        self.write()?;
        self.sync()?;
        self.coverage.count("histories drained", 1);
        self.now.compare(&self.ring, &self.books)
    }

    /// Delivers all stretches of a kind to their ends.
    pub(super) fn deliver(&mut self, name: &str, kind: StretchKind) -> Result<(), String> {
        while self.now.destinations[name].next(kind).is_some() {
            self.begin(name, kind)?;
            // Nothing is left where all of it was gone.
            let key = (name.to_owned(), kind);
            while self.drivers.contains_key(&key) && self.read_on(name, kind)? {}
            self.commit_up_to(name, kind, u64::MAX)?;
            if kind == StretchKind::Live {
                break;
            }
        }
        Ok(())
    }
}

fn splits(steps: &[Step]) -> u64 {
    let is_split = |step: &&Step| {
        matches!(
            step,
            Step::Destination {
                change: Change::Split { .. },
                ..
            }
        )
    };
    u64::try_from(steps.iter().filter(is_split).count()).unwrap()
}

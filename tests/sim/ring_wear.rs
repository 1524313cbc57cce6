//! What a ring has cost its disk, counted over crashes, against what the disk counted itself.

use diskring::sim::{Rng, SharedDisk, SimDisk};
use diskring::{AppendError, Compression, Options, Ring, RingId, Stats, Unrecovered};

use crate::ring_model::any_compression;

const PAGE: u64 = 4096;
const SEGMENT_PAGES: usize = 10;
const SEGMENTS: usize = 6;

/// The superblocks of a creation are written twice and synced twice, and not counted.
const CREATION_BYTES: u64 = 4 * PAGE;
const CREATION_SYNCS: u64 = 2;

fn options(compression: Compression) -> Options {
    Options {
        segment_bytes: Some(u32::try_from(SEGMENT_PAGES).unwrap() * 4096),
        compression,
        ..Options::default()
    }
}

/// A history and what it may have forgotten.
struct History {
    disk: SharedDisk,
    rng: Rng,
    options: Options,
    has_states: bool,
    cuts: u64,
    laps: u64,
    /// Written between the last whole sync and a cut.
    cut_bytes: u64,
    at_last_sync: u64,
}

impl History {
    fn step(&mut self, ring: &mut Ring<SharedDisk>) -> Result<(), AppendError> {
        let payload = vec![7; self.rng.below(3000)];
        match ring.append(1, 0, &payload) {
            Err(AppendError::Full) => {
                self.laps += 1;
                ring.evict_oldest()?;
                self.at_last_sync = self.disk.disk().stats().written_bytes;
            }
            other => drop(other?),
        }
        if self.has_states && self.rng.one_in(3) {
            ring.put(b"position", &ring.next().get().to_le_bytes()).ok();
        }
        if self.rng.one_in(4) {
            ring.sync()?;
            self.at_last_sync = self.disk.disk().stats().written_bytes;
        }
        Ok(())
    }

    /// Cuts the power, and recovers; in one of four times the recovery is cut as well.
    fn cut(&mut self) -> Ring<SharedDisk> {
        loop {
            let written = self.disk.disk().stats().written_bytes;
            self.cut_bytes += written - self.at_last_sync;
            self.disk.disk().cut(&mut self.rng);
            self.cuts += 1;
            let fuel = self.rng.one_in(4).then_some(1);
            self.disk.disk().set_fuel(fuel);
            let unrecovered = Unrecovered::open(self.disk.clone()).unwrap();
            self.at_last_sync = written;
            if let Ok((ring, _)) = unrecovered.recover(&self.options) {
                self.at_last_sync = self.disk.disk().stats().written_bytes;
                return ring;
            }
        }
    }

    fn check(&self, stats: &Stats, seed: u64) {
        let disk = self.disk.disk().stats();
        let (bytes, syncs) = (disk.written_bytes, disk.syncs);
        let least = bytes - CREATION_BYTES - self.cut_bytes - self.cuts * PAGE;
        assert!(
            (least..=bytes + self.cuts * PAGE).contains(&stats.written_bytes_ever),
            "seed {seed}: {} bytes, the disk says {bytes}, {} of them cut in {} cuts",
            stats.written_bytes_ever,
            self.cut_bytes,
            self.cuts
        );
        let syncs = syncs - CREATION_SYNCS;
        assert!(
            stats.syncs_ever.abs_diff(syncs) <= self.cuts,
            "seed {seed}: {} syncs, the disk says {syncs}, {} cuts",
            stats.syncs_ever,
            self.cuts
        );
    }
}

#[test]
fn wear_is_counted_over_cuts_and_laps() {
    let (mut cuts, mut laps) = (0, 0);
    for seed in 0..60 {
        let mut rng = Rng::new(seed);
        let disk = SharedDisk::new(SimDisk::new((2 + SEGMENTS * SEGMENT_PAGES) * 4096, 512));
        let compression = any_compression(&mut rng);
        let options = options(compression);
        let mut ring = Ring::create(disk.clone(), RingId(seed), &options).unwrap();
        let created = disk.disk().stats().written_bytes;
        let mut history = History {
            at_last_sync: created,
            disk,
            has_states: rng.one_in(2),
            rng,
            options,
            cuts: 0,
            laps: 0,
            cut_bytes: 0,
        };
        for _ in 0..1500 {
            if history.rng.one_in(200) {
                let fuel = history.rng.one_in(2).then_some(2);
                history.disk.disk().set_fuel(fuel);
                while fuel.is_some() && history.step(&mut ring).is_ok() {}
                drop(ring);
                ring = history.cut();
                history.check(&ring.stats(), seed);
            }
            history.step(&mut ring).unwrap();
        }
        history.check(&ring.stats(), seed);
        let disk = ring.close().unwrap();
        let (ring, _) = Unrecovered::open(disk)
            .unwrap()
            .recover(&history.options)
            .unwrap();
        history.check(&ring.stats(), seed);
        cuts += history.cuts;
        laps += history.laps;
    }
    assert!(cuts > 400 && laps > 600, "{cuts} cuts, {laps} evictions");
}

#[test]
fn an_orderly_end_forgets_nothing() {
    let disk = SharedDisk::new(SimDisk::new((2 + SEGMENTS * SEGMENT_PAGES) * 4096, 512));
    let options = options(Compression::None);
    let mut ring = Ring::create(disk.clone(), RingId(1), &options).unwrap();
    for number in 0..200_usize {
        while ring.append(1, 0, &vec![7; 100 + number]).is_err() {
            ring.evict_oldest().unwrap();
        }
        ring.sync().unwrap();
        if number % 20 == 0 {
            drop(ring.close().unwrap());
            let unrecovered = Unrecovered::open(disk.clone()).unwrap();
            ring = unrecovered.recover(&options).unwrap().0;
        }
        let (stats, truth) = (ring.stats(), disk.disk().stats());
        assert_eq!(
            stats.written_bytes_ever,
            truth.written_bytes - CREATION_BYTES,
            "{number}"
        );
        assert_eq!(stats.syncs_ever, truth.syncs - CREATION_SYNCS, "{number}");
    }
}

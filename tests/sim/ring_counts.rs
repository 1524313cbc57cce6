//! Entries counted by tag where the segments' snapshots do not tell all.

use std::collections::BTreeMap;

use diskring::sim::{Rng, SharedDisk, SimDisk};
use diskring::{Compression, Options, Read, Ring, RingId, Seq, Unrecovered};

const PAGE: usize = 4096;
const SEGMENT_PAGES: usize = 10;
const SEGMENTS: usize = 8;

type Counts = BTreeMap<u16, u64>;

fn options() -> Options {
    Options {
        segment_bytes: Some(u32::try_from(SEGMENT_PAGES * PAGE).unwrap()),
        compression: Compression::None,
        ..Options::default()
    }
}

fn created() -> (SharedDisk, Ring<SharedDisk>) {
    let disk = SharedDisk::new(SimDisk::new((2 + SEGMENTS * SEGMENT_PAGES) * PAGE, 512));
    let ring = Ring::create(disk.clone(), RingId(1), &options()).unwrap();
    (disk, ring)
}

/// Appends entries of so many tags, and says the tag of each.
fn fill(ring: &mut Ring<SharedDisk>, rng: &mut Rng, entries: usize, tags: usize) -> Vec<u16> {
    let mut appended = Vec::new();
    for _ in 0..entries {
        let tag = u16::try_from(rng.below(tags)).unwrap();
        ring.append(tag, 0, &vec![7; rng.below(200)]).unwrap();
        appended.push(tag);
        if rng.one_in(20) {
            ring.sync().unwrap();
        }
    }
    ring.sync().unwrap();
    appended
}

fn counted<'a>(tags: impl IntoIterator<Item = &'a u16>) -> Counts {
    let mut counts = Counts::new();
    for tag in tags {
        *counts.entry(*tag).or_default() += 1;
    }
    counts
}

#[test]
fn more_tags_than_are_kept_apart_are_counted() {
    let (_, mut ring) = created();
    let mut rng = Rng::new(1);
    let tags = fill(&mut ring, &mut rng, 1000, 300);
    assert!(ring.stats().segments_used > 4);
    for _ in 0..50 {
        let start = rng.below(tags.len());
        let end = start + rng.below(tags.len() - start);
        let seq = |index: usize| Seq::new(u64::try_from(index).unwrap());
        let counts = ring.counts(seq(start), seq(end)).unwrap();
        assert_eq!(counts, counted(&tags[start..end]), "{start}..{end}");
    }
}

#[test]
fn whole_segments_are_counted_without_being_read() {
    let (disk, mut ring) = created();
    let mut rng = Rng::new(2);
    let tags = fill(&mut ring, &mut rng, 1000, 5);
    let before = disk.disk().stats().read_bytes;
    let counts = ring.counts(Seq::ZERO, ring.next()).unwrap();
    let read = disk.disk().stats().read_bytes - before;
    assert_eq!(counts, counted(&tags));
    assert!(read <= 4 * 4096, "{read} bytes read");
    let before = disk.disk().stats().read_bytes;
    let counts = ring.counts(Seq::new(10), Seq::new(990)).unwrap();
    let read = disk.disk().stats().read_bytes - before;
    assert_eq!(counts, counted(&tags[10..990]));
    assert!(read <= 20 * 4096, "{read} bytes read");
}

/// A frame that a recovery could not read is missing in every snapshot since.
#[test]
fn what_a_recovery_missed_is_missed_by_no_other_range() {
    let mut missed = 0;
    for seed in 0..40 {
        let (disk, mut ring) = created();
        let mut rng = Rng::new(seed);
        let mut tags = fill(&mut ring, &mut rng, 300, 4);
        let newest = usize::try_from(ring.stats().segments_used).unwrap() - 1;
        drop(ring);
        let offset = PAGE + newest * SEGMENT_PAGES * PAGE + 3 * PAGE + rng.below(2 * PAGE);
        disk.disk().flip(offset, 16);
        let unrecovered = Unrecovered::open(disk.clone()).unwrap();
        let (mut ring, recovery) = unrecovered.recover(&options()).unwrap();
        tags.truncate(usize::try_from(recovery.end.get()).unwrap());
        tags.extend(fill(&mut ring, &mut rng, 300, 4));
        let readable = read(&ring);
        let counts = ring.counts(Seq::ZERO, ring.next()).unwrap();
        assert_eq!(counts, readable, "seed {seed}");
        missed += u64::from(counts != counted(&tags));
    }
    assert!(missed > 5, "only {missed} recoveries missed a frame");
}

fn read(ring: &Ring<SharedDisk>) -> Counts {
    let mut counts = Counts::new();
    let mut cursor = ring.cursor(Seq::ZERO);
    loop {
        match ring.read(&mut cursor).unwrap() {
            Read::Frame(frame) => {
                for entry in frame.entries() {
                    *counts.entry(entry.tag).or_default() += 1;
                }
            }
            Read::Lost { .. } => {}
            Read::End => return counts,
            evicted @ Read::Evicted { .. } => unreachable!("{evicted:?}"),
        }
    }
}

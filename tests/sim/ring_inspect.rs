//! Looking into a ring without changing it: after cuts and rot the look sees what a recovery sees,
//! and every damage is seen.

use std::collections::BTreeMap;

use diskring::sim::{Rng, SharedDisk, SimDisk};
use diskring::{
    Beside, Compression, DamagedPart, OpenError, Options, Overlay, Read, Recovery, Ring, RingId,
    Seq, Sight, Storage, Unrecovered,
};

use crate::ring_crash::{in_parallel, number};
use crate::ring_model::any_compression;
use crate::ring_sealed::sealing;

const PAGE: usize = 4096;
/// A segment's header stands behind two slots, its frames behind the room of the header.
const HEADER: usize = 2 * PAGE;
const FRAMES: usize = HEADER + 128;

/// What an open ring shows.
#[derive(Debug, Default, PartialEq, Eq)]
struct Shown {
    recovery: Option<Recovery>,
    states: BTreeMap<Vec<u8>, Vec<u8>>,
    entries: BTreeMap<u64, (u16, Vec<u8>)>,
    lost: Vec<(u64, u64)>,
}

fn shown<S: Storage>(ring: &Ring<S>, recovery: Option<Recovery>) -> Result<Shown, String> {
    let mut shown = Shown {
        recovery,
        states: ring
            .states()
            .map(|(key, value)| (key.to_vec(), value.to_vec()))
            .collect(),
        ..Shown::default()
    };
    let mut cursor = ring.cursor(ring.first());
    loop {
        match ring.read(&mut cursor).map_err(|error| error.to_string())? {
            Read::Frame(frame) => {
                for entry in frame.entries() {
                    let known = (entry.tag, entry.payload.to_vec());
                    shown.entries.insert(entry.seq.get(), known);
                }
            }
            Read::Lost { first, end } => shown.lost.push((first.get(), end.get())),
            Read::End => return Ok(shown),
            other @ Read::Evicted { .. } => return Err(format!("{other:?}")),
        }
    }
}

/// What an inspection sees: entries, and the seqs that are lost.
fn inspected<S: Storage>(ring: &Ring<S>) -> Result<(Shown, usize), String> {
    let mut seen = Shown::default();
    let mut damages = 0;
    let mut expected = ring.first();
    let mut inspection = ring.inspection();
    while let Some(sight) = ring
        .inspect(&mut inspection)
        .map_err(|error| error.to_string())?
    {
        let (first, end) = match sight {
            Sight::Frame(frame) => {
                for entry in frame.entries() {
                    let known = (entry.tag, entry.payload.to_vec());
                    seen.entries.insert(entry.seq.get(), known);
                }
                (frame.first(), frame.end())
            }
            Sight::Damage(damage) => {
                damages += 1;
                if damage.first < damage.end {
                    seen.lost.push((damage.first.get(), damage.end.get()));
                }
                (damage.first, damage.end)
            }
        };
        // Headers that are damaged lose nothing, and stand where a segment begins.
        if first != expected {
            return Err(format!("{first}..{end} instead of {expected}"));
        }
        expected = end;
    }
    if expected == ring.durable() {
        Ok((seen, damages))
    } else {
        Err(format!("ended at {expected}, not {}", ring.durable()))
    }
}

fn merged(ranges: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut merged: Vec<(u64, u64)> = Vec::new();
    for (first, end) in ranges {
        match merged.last_mut() {
            Some(last) if last.1 == *first => last.1 = *end,
            _ => merged.push((*first, *end)),
        }
    }
    merged
}

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    cuts: u64,
    truncated: u64,
    repaired: u64,
    lost: u64,
    damaged: u64,
    refused: u64,
}

/// How the disk of a history treats it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disk {
    Honest,
    Rotting,
    Lying,
    FallingBack,
}

const DISKS: [Disk; 4] = [Disk::Honest, Disk::Rotting, Disk::Lying, Disk::FallingBack];

/// One history of appends and cuts; at each cut somebody looks before the owner recovers.
fn history(seed: u64) -> Result<Tally, String> {
    let mut rng = Rng::new(seed);
    let kind = DISKS[rng.below(DISKS.len())];
    let segment_pages = 10 + rng.below(3);
    let segments = 4 + rng.below(2);
    let mut disk = SimDisk::new((2 + segments * segment_pages) * PAGE, 512);
    if kind == Disk::FallingBack {
        disk.remember_blocks();
    }
    let disk = SharedDisk::new(disk);
    let mut options = Options {
        segment_bytes: Some(u32::try_from(segment_pages * PAGE).unwrap()),
        compression: any_compression(&mut rng),
        sealing: rng.one_in(4).then(|| sealing(rng.next_u64())),
        ..Options::default()
    };
    let fatal = |error: OpenError| error.to_string();
    let mut ring = Ring::create(disk.clone(), RingId(seed | 1), &options).map_err(fatal)?;
    let mut tally = Tally::default();
    for _ in 0..5 + rng.below(10) {
        if kind == Disk::Lying && rng.one_in(2) {
            disk.disk().lose_syncs(1);
        }
        if rng.one_in(2) {
            let fuel = u64::try_from(rng.below(30)).unwrap();
            disk.disk().set_fuel(Some(fuel));
        }
        work(&mut ring, &mut rng);
        drop(ring);
        disk.disk().cut(&mut rng);
        harm(kind, &disk, &mut rng);
        tally.cuts += 1;
        if options.sealing.is_some() {
            options.sealing = Some(sealing(rng.next_u64()));
        }
        match compare(&disk, &options, &mut tally)? {
            Some(recovered) => ring = recovered,
            None => break,
        }
    }
    Ok(tally)
}

/// Appends, puts, evicts and syncs until the power fails or it has done enough.
fn work(ring: &mut Ring<SharedDisk>, rng: &mut Rng) {
    for step in 0..rng.below(150) {
        let mut payload = vec![b'-'; rng.below(1200)];
        let half = payload.len() / 2;
        rng.fill(&mut payload[..half]);
        let tag = u16::try_from(rng.below(4)).unwrap();
        while ring.append(tag, 0, &payload).is_err() {
            if ring.evict_oldest().is_err() {
                return;
            }
        }
        if rng.one_in(5) {
            drop(ring.put(b"position", &step.to_le_bytes()));
        }
        if rng.one_in(4) && ring.sync().is_err() {
            return;
        }
    }
}

fn harm(kind: Disk, disk: &SharedDisk, rng: &mut Rng) {
    let mut disk = disk.disk();
    let bytes = disk.bytes().len();
    match kind {
        Disk::Honest | Disk::Lying => {}
        Disk::Rotting => {
            for _ in 0..rng.below(6) {
                disk.flip(rng.below(bytes), 1 << rng.below(8));
            }
            if rng.one_in(3) {
                let start = rng.below(bytes / 512) * 512;
                disk.set_bad(start..start + 512);
            }
        }
        Disk::FallingBack => {
            if rng.one_in(2) {
                disk.roll_back(rng.below(bytes), rng);
            }
        }
    }
}

/// Looks, then recovers, and holds the one to the other.
fn compare(
    disk: &SharedDisk,
    options: &Options,
    tally: &mut Tally,
) -> Result<Option<Ring<SharedDisk>>, String> {
    let before = disk.disk().bytes().to_vec();
    let looked = Unrecovered::open(Overlay::new(disk.clone())).and_then(|it| it.recover(options));
    let seen = match &looked {
        Ok((ring, recovery)) => Ok((shown(ring, Some(*recovery))?, inspected(ring)?)),
        Err(error) => Err(error.to_string()),
    };
    let beside = Beside::open(disk.clone(), options.clone()).map(|it| *it.recovery());
    if disk.disk().bytes() != before {
        return Err("the look changed the disk".to_owned());
    }
    let recovered = Unrecovered::open(disk.clone()).and_then(|it| it.recover(options));
    match (seen, recovered) {
        (Ok((seen, (by_frame, damages))), Ok((ring, recovery))) => {
            let truth = shown(&ring, Some(recovery))?;
            if seen != truth || beside.ok() != Some(recovery) {
                return Err(format!("seen {seen:?} instead of {truth:?}"));
            }
            if by_frame.entries != truth.entries || merged(&by_frame.lost) != merged(&truth.lost) {
                return Err(format!("inspected {by_frame:?} instead of {truth:?}"));
            }
            tally.truncated += u64::from(recovery.truncated > 0);
            tally.repaired += u64::from(recovery.pages_repaired > 0);
            tally.lost += u64::from(!truth.lost.is_empty());
            tally.damaged += u64::from(damages > truth.lost.len());
            Ok(Some(ring))
        }
        (Err(seen), Err(error)) if seen == error.to_string() => {
            tally.refused += 1;
            Ok(None)
        }
        (seen, recovered) => Err(format!("{seen:?} and {:?}", recovered.map(|it| it.1))),
    }
}

#[test]
fn a_look_sees_what_a_recovery_sees() {
    let seeds = match number("SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SIM_SEEDS").map_or(400, |all| (all / 5).max(400)),
    };
    let mut tally = Tally::default();
    for seen in in_parallel(seeds, history) {
        tally.cuts += seen.cuts;
        tally.truncated += seen.truncated;
        tally.repaired += seen.repaired;
        tally.lost += seen.lost;
        tally.damaged += seen.damaged;
        tally.refused += seen.refused;
    }
    eprintln!("{tally:?}");
    if number("SIM_SEED").is_none() {
        let Tally {
            cuts,
            truncated,
            repaired,
            lost,
            damaged,
            refused: _,
        } = tally;
        for (what, times) in [
            ("cuts", cuts),
            ("groups cut off", truncated),
            ("repairs", repaired),
            ("losses", lost),
            ("damages without a loss", damaged),
        ] {
            assert!(times > 20, "only {times} {what}");
        }
    }
}

/// A ring on its second lap, closed in order, and where the frames of each segment end.
fn filled(options: &Options) -> (SimDisk, Vec<(usize, usize)>) {
    let segment_bytes = usize::try_from(options.segment_bytes.unwrap()).unwrap();
    let disk = SimDisk::new(2 * PAGE + 4 * segment_bytes, 512);
    let mut rng = Rng::new(1);
    let mut ring = Ring::create(disk, RingId(1), options).unwrap();
    for step in 0_u32.. {
        if ring.stats().used_bytes * 2 > ring.stats().capacity_bytes && ring.first() > Seq::ZERO {
            break;
        }
        let mut payload = vec![b'-'; 20 + rng.below(700)];
        let half = payload.len() / 2;
        rng.fill(&mut payload[..half]);
        while ring.append(1, i64::from(step), &payload).is_err() {
            ring.evict_oldest().unwrap();
        }
        if rng.one_in(3) {
            ring.put(b"position", &step.to_le_bytes()).unwrap();
            ring.sync().unwrap();
        }
    }
    ring.sync().unwrap();
    let numbers: Vec<u64> = ring.segments().map(|segment| segment.number).collect();
    let disk = ring.close().unwrap();
    let place = |number: &u64| PAGE + usize::try_from(number % 4).unwrap() * segment_bytes;
    // A header tells where the frames of the segment before it end.
    let ends = numbers.windows(2).map(|pair| {
        let at = place(&pair[1]) + HEADER + 60;
        let end = disk.bytes()[at..at + 4].try_into().unwrap();
        let end = usize::try_from(u32::from_le_bytes(end)).unwrap();
        (place(&pair[0]), place(&pair[0]) + end)
    });
    let ends = ends.collect();
    (disk, ends)
}

pub(crate) fn small(compression: Compression) -> Options {
    Options {
        segment_bytes: Some(u32::try_from(10 * PAGE).unwrap()),
        compression,
        ..Options::default()
    }
}

/// A flipped bit is seen wherever something was written, also where it costs no entry.
#[test]
fn every_flipped_bit_is_seen() {
    let options = small(Compression::None);
    let (mut disk, segments) = filled(&options);
    let look = |disk: &SimDisk| {
        let opened = Unrecovered::open(Overlay::new(disk.clone())).unwrap();
        let (ring, recovery) = opened.recover(&options).unwrap();
        let (seen, damages) = inspected(&ring).unwrap();
        (damages, seen.lost.len(), recovery)
    };
    let (damages, _, sound) = look(&disk);
    assert_eq!((damages, sound.pages_repaired), (0, 0));
    let (mut lossy, mut lossless, mut repaired) = (0, 0, 0);
    let mut rng = Rng::new(2);
    for (base, end) in segments {
        let written = (base + HEADER..base + HEADER + 80).chain(base + FRAMES..end);
        for offset in written.step_by(37) {
            let mask = 1 << rng.below(8);
            disk.flip(offset, mask);
            let (damages, lost, recovery) = look(&disk);
            disk.flip(offset, mask);
            // What a slot has an image of is made good before it is looked at.
            if recovery.pages_repaired > 0 {
                assert_eq!((damages, recovery.pages_repaired), (0, 1));
                repaired += 1;
                continue;
            }
            assert_eq!(damages, 1, "offset {} of {base}", offset - base);
            lossy += lost;
            lossless += 1 - lost;
        }
    }
    assert!(
        lossy > 500 && lossless > 50 && repaired > 5,
        "{lossy}, {lossless}, {repaired}"
    );
    for superblock in [0, disk.bytes().len() - PAGE] {
        disk.flip(superblock + 20, 1);
        let (damages, _, recovery) = look(&disk);
        let expected = [superblock != 0, superblock == 0];
        assert_eq!((damages, recovery.superblocks), (0, expected));
        disk.flip(superblock + 20, 1);
    }
}

/// A segment of which no header is left costs its entries, and they are told with it.
#[test]
fn a_segment_without_a_header_is_seen() {
    let options = small(Compression::Snappy);
    let (disk, segments) = filled(&options);
    let (whole, _) = Unrecovered::open(disk.clone())
        .unwrap()
        .recover(&options)
        .unwrap();
    let infos: Vec<_> = whole.segments().collect();
    for (index, (base, _)) in segments.into_iter().enumerate() {
        let mut disk = disk.clone();
        for page in [0, 1, 2, 8, 9] {
            disk.flip(base + page * PAGE + 20, 1);
        }
        let beside = Beside::open(SharedDisk::new(disk), options.clone());
        let mut beside = beside.unwrap();
        let lost = (infos[index].first, infos[index + 1].first);
        if index == 0 {
            assert_eq!(beside.lost_first().unwrap(), Some(lost));
            continue;
        }
        assert_eq!(beside.lost_first().unwrap(), None);
        let mut inspection = beside.ring().inspection();
        let mut damages = Vec::new();
        while let Some(sight) = beside.inspect(&mut inspection).unwrap() {
            if let Sight::Damage(damage) = sight {
                damages.push((damage.segment, damage.part, (damage.first, damage.end)));
            }
        }
        let expected = (infos[index].number, DamagedPart::EveryHeader, lost);
        assert_eq!(damages, [expected]);
    }
}

/// A reader that writes on gets an error, and few pages of memory.
#[test]
fn what_is_held_in_memory_is_bounded() {
    let options = Options {
        segment_bytes: Some(u32::try_from(40 * PAGE).unwrap()),
        ..small(Compression::None)
    };
    let (disk, _) = filled(&options);
    let disk = SharedDisk::new(disk);
    let before = disk.disk().bytes().to_vec();
    let opened = Unrecovered::open(Overlay::new(disk.clone())).unwrap();
    let (mut ring, _) = opened.recover(&options).unwrap();
    let failed = (0..1000).find_map(|_| {
        ring.append(1, 0, &[0; 3000]).err()?;
        ring.evict_oldest().err()
    });
    assert!(failed.is_some(), "memory took a whole ring");
    assert!(disk.disk().bytes() == before);
}

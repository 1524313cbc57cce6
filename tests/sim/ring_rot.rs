//! Flipped bits, foreign rings inside payloads, and arbitrary bytes in place of a ring.

use std::collections::BTreeMap;

use diskring::sim::{Rng, SimDisk};
use diskring::{Compression, Mutant, OpenError, Options, Read, Ring, RingId, Seq, Unrecovered};

const PAGE: usize = 4096;
const SEGMENT_PAGES: usize = 10;

type Entries = BTreeMap<u64, Vec<u8>>;

/// What reading a whole ring yields.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    entries: Entries,
    /// The frames, each by its first and its end.
    frames: Vec<(u64, u64)>,
    lost: Vec<(u64, u64)>,
    states: BTreeMap<Vec<u8>, Vec<u8>>,
}

fn options(compression: Compression, mutant: Mutant) -> Options {
    Options {
        segment_bytes: Some(u32::try_from(SEGMENT_PAGES * PAGE).unwrap()),
        compression,
        mutant,
        ..Options::default()
    }
}

fn empty(segments: usize) -> SimDisk {
    SimDisk::new((2 + segments * SEGMENT_PAGES) * PAGE, 512)
}

/// A ring on its second lap, closed in order.
fn filled(seed: u64, options: &Options) -> SimDisk {
    let mut rng = Rng::new(seed);
    let mut ring = Ring::create(empty(4), RingId(seed), options).unwrap();
    for number in 0_u32..900 {
        let mut payload = vec![b'-'; 20 + rng.below(900)];
        let half = payload.len() / 2;
        rng.fill(&mut payload[..half]);
        while ring.append(1, i64::from(number), &payload).is_err() {
            ring.evict_oldest().unwrap();
        }
        if rng.one_in(5) {
            ring.put(b"position", &number.to_le_bytes()).unwrap();
        }
        if rng.one_in(3) {
            ring.sync().unwrap();
        }
    }
    assert!(ring.first() > Seq::ZERO);
    ring.close().unwrap()
}

fn read_all(disk: SimDisk, options: &Options) -> Found {
    let (ring, recovery) = Unrecovered::open(disk).unwrap().recover(options).unwrap();
    assert_eq!(recovery.end, ring.next());
    let mut found = Found {
        states: ring
            .states()
            .map(|(key, value)| (key.to_vec(), value.to_vec()))
            .collect(),
        ..Found::default()
    };
    let mut cursor = ring.cursor(ring.first());
    let mut expected = ring.first();
    loop {
        let end = match ring.read(&mut cursor).unwrap() {
            Read::Frame(frame) => {
                assert_eq!(frame.first(), expected);
                found.frames.push((frame.first().get(), frame.end().get()));
                for entry in frame.entries() {
                    found
                        .entries
                        .insert(entry.seq.get(), entry.payload.to_vec());
                }
                frame.end()
            }
            Read::Lost { first, end } => {
                assert_eq!(first, expected);
                found.lost.push((first.get(), end.get()));
                end
            }
            Read::End => break,
            other @ Read::Evicted { .. } => unreachable!("{other:?}"),
        };
        assert_eq!(cursor.seq(), end);
        assert!(end > expected, "reading goes on");
        expected = end;
    }
    assert_eq!(expected, ring.durable());
    found
}

fn check_flips(compression: Compression, stride: usize, mutant: Mutant) {
    let options = options(compression, mutant);
    let mut disk = filled(1, &options);
    let whole = read_all(disk.clone(), &options);
    assert!(whole.lost.is_empty());
    let mut rng = Rng::new(2);
    let mut lossy_flips = 0;
    let bytes = disk.bytes().len();
    for offset in (0..bytes).step_by(stride) {
        let offset = (offset + rng.below(stride)).min(bytes - 1);
        let mask = 1 << rng.below(8);
        disk.flip(offset, mask);
        let found = read_all(disk.clone(), &options);
        disk.flip(offset, mask);
        let mut here = whole.entries.clone();
        if let Some((first, end)) = found.lost.first() {
            lossy_flips += 1;
            assert_eq!(found.lost.len(), 1, "offset {offset}");
            assert!(
                whole.frames.contains(&(*first, *end)),
                "offset {offset}: {:?}",
                found.lost
            );
            here.retain(|seq, _| !(*first..*end).contains(seq));
        }
        assert!(found.entries == here, "offset {offset} altered an entry");
    }
    assert!(lossy_flips > 50, "only {lossy_flips} flips hit a frame");
}

#[test]
fn a_flipped_bit_costs_its_frame() {
    check_flips(Compression::None, 61, Mutant::None);
    check_flips(Compression::Snappy, 61, Mutant::None);
    check_flips(Compression::Zstd { level: 1 }, 61, Mutant::None);
}

#[test]
fn reading_that_stops_at_rot_is_noticed() {
    let checked = std::panic::catch_unwind(|| {
        check_flips(Compression::None, 61, Mutant::NoResync);
    });
    assert!(checked.is_err());
}

#[test]
fn a_bad_sector_costs_its_frames() {
    let options = options(Compression::None, Mutant::None);
    let mut disk = filled(4, &options);
    let whole = read_all(disk.clone(), &options);
    let (mut lossy, bytes) = (0, disk.bytes().len());
    for start in (0..bytes).step_by(512) {
        disk.set_bad(start..start + 512);
        let found = read_all(disk.clone(), &options);
        let mut here = whole.entries.clone();
        here.retain(|seq, _| {
            !found
                .lost
                .iter()
                .any(|(first, end)| (*first..*end).contains(seq))
        });
        assert!(found.entries == here, "sector at {start}");
        assert!(found.lost.len() <= 1, "sector at {start}");
        lossy += usize::from(!found.lost.is_empty());
    }
    assert!(lossy > 50, "only {lossy} bad sectors hit a frame");
    disk.set_bad(0..bytes);
    assert!(matches!(
        Unrecovered::open(disk),
        Err(OpenError::Storage(_))
    ));
}

#[test]
fn states_survive_a_rotten_snapshot() {
    let options = options(Compression::None, Mutant::None);
    let mut disk = filled(3, &options);
    let whole = read_all(disk.clone(), &options);
    for segment in 0..4 {
        // Behind the header in the segment's third page.
        disk.flip((1 + segment * SEGMENT_PAGES + 2) * PAGE + 150, 1);
    }
    let found = read_all(disk, &options);
    assert_eq!(found.states, whole.states);
    assert!(found.entries == whole.entries);
}

/// A ring whose rotten entry holds a frame of another ring, valid at this very place there.
fn embedded(mutant: Mutant) -> Found {
    let options = options(Compression::None, mutant);
    // The foreign frame lies behind that of one long entry, 3,000 bytes into the data.
    let mut foreign = Ring::create(empty(4), RingId(7), &options).unwrap();
    foreign.append(1, 0, &[0; 3000]).unwrap();
    foreign.sync().unwrap();
    foreign.append(1, 0, &[b'f'; 3000]).unwrap();
    foreign.sync().unwrap();
    // More, so that the page in which the frame ends is written at home.
    foreign.append(1, 0, &[0; 3000]).unwrap();
    let foreign = foreign.close().unwrap();
    let data = 4 * PAGE;
    let image = &foreign.bytes()[data + 26..data + 7000];
    let mut ring = Ring::create(empty(4), RingId(8), &options).unwrap();
    // A single entry begins right behind its frame's header of 16 bytes.
    let mut payload = vec![0; 26 - 16];
    payload.extend_from_slice(image);
    assert!(payload.len() <= ring.entry_bytes_max());
    ring.append(1, 0, &payload).unwrap();
    ring.sync().unwrap();
    ring.append(1, 0, b"after").unwrap();
    let mut disk = ring.close().unwrap();
    disk.flip(data + 20, 1);
    read_all(disk, &options)
}

#[test]
fn a_ring_inside_a_payload_is_not_adopted() {
    let own = embedded(Mutant::None);
    assert_eq!(own.lost, [(0, 1)]);
    assert_eq!(own.entries, Entries::from([(1, b"after".to_vec())]));
    let adopted = embedded(Mutant::NoSeed).entries;
    let foreign = vec![b'f'; 3000];
    assert!(
        adopted.get(&1) == Some(&foreign),
        "it is not the safeguard that helps"
    );
}

/// Opens and reads whatever this is; only ending matters.
fn survive(disk: SimDisk, rng: &mut Rng) {
    let capacity = disk.bytes().len();
    let Ok(unrecovered) = Unrecovered::open(disk) else {
        return;
    };
    let Ok((mut ring, _)) = unrecovered.recover(&Options::default()) else {
        return;
    };
    let mut cursor = ring.cursor(ring.first());
    for steps in 0.. {
        assert!(steps < capacity, "reading ends");
        match ring.read(&mut cursor).unwrap() {
            Read::Frame(frame) => assert!(frame.entries().count() <= capacity * 32),
            Read::End => break,
            Read::Lost { .. } | Read::Evicted { .. } => {}
        }
    }
    let mut inspection = ring.inspection();
    for steps in 0.. {
        assert!(steps < capacity, "an inspection ends");
        if ring.inspect(&mut inspection).unwrap().is_none() {
            break;
        }
    }
    for _ in 0..20 {
        let payload = vec![0; rng.below(3000)];
        if ring.append(1, 0, &payload).is_err() {
            ring.evict_oldest().unwrap();
        }
        ring.sync().unwrap();
    }
}

#[test]
fn damaged_rings_open_or_are_refused() {
    let options = options(Compression::Snappy, Mutant::None);
    let image = filled(5, &options).bytes().to_vec();
    for seed in 0..1500 {
        let mut rng = Rng::new(seed);
        let mut bytes = image.clone();
        for _ in 0..=rng.below(40) {
            let start = rng.below(bytes.len());
            let len = [1, 16, 512, 4096, 40_000][rng.below(5)].min(bytes.len() - start);
            match rng.below(3) {
                0 => rng.fill(&mut bytes[start..start + len]),
                1 => bytes[start..start + len].fill(0),
                _ => {
                    let from = rng.below(bytes.len() - len);
                    bytes.copy_within(from..from + len, start);
                }
            }
        }
        if rng.one_in(10) {
            bytes.truncate(rng.below(bytes.len()));
        }
        // The superblocks are put back, or nothing behind them would ever be reached.
        let end = image.len() - PAGE;
        if bytes.len() == image.len() && rng.one_in(2) {
            bytes[end..].copy_from_slice(&image[end..]);
        }
        survive(SimDisk::from_bytes(bytes, 512), &mut rng);
    }
}

#[test]
fn arbitrary_bytes_are_refused() {
    for seed in 0..200 {
        let mut rng = Rng::new(seed);
        let mut bytes = vec![0; rng.below(200_000)];
        rng.fill(&mut bytes);
        assert!(Unrecovered::open(SimDisk::from_bytes(bytes, 512)).is_err());
    }
}

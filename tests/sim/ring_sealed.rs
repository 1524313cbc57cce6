//! Sealing: no plaintext on the disk, no nonce twice, and no harm done without the key.

use std::collections::BTreeSet;

use diskring::sim::{Rng, SharedDisk, SimDisk, take_nonces};
use diskring::{
    Compression, OpenError, Options, Read, Ring, RingId, Sealing, SealingKey, Unrecovered,
};

const PAGE: usize = 4096;
const SECRET: &[u8] = b"nobody but the plant may read this";

pub(crate) fn sealing(salt: u64) -> Sealing {
    with_key(1, &[], salt)
}

fn with_key(key: u8, old_keys: &[u8], salt: u64) -> Sealing {
    Sealing {
        key: SealingKey::new([key; 32]),
        old_keys: old_keys
            .iter()
            .map(|key| SealingKey::new([*key; 32]))
            .collect(),
        salt,
    }
}

fn options(sealing: Option<Sealing>) -> Options {
    Options {
        segment_bytes: Some(u32::try_from(10 * PAGE).unwrap()),
        compression: Compression::None,
        sealing,
        ..Options::default()
    }
}

fn empty() -> SimDisk {
    SimDisk::new((2 + 4 * 10) * PAGE, 512)
}

fn append(ring: &mut Ring<SimDisk>, entries: usize) {
    for number in 0..entries {
        let mut payload = SECRET.to_vec();
        payload.extend_from_slice(&number.to_le_bytes());
        payload.resize(40 + number % 900, b'-');
        while ring.append(1, 0, &payload).is_err() {
            ring.evict_oldest().unwrap();
        }
        ring.put(b"the name of a state", SECRET).unwrap();
        if number % 3 == 0 {
            ring.sync().unwrap();
        }
    }
    ring.sync().unwrap();
}

fn recover(disk: SimDisk, sealing: Option<Sealing>) -> Result<Ring<SimDisk>, OpenError> {
    let (ring, _) = Unrecovered::open(disk)?.recover(&options(sealing))?;
    Ok(ring)
}

fn count_entries(ring: &Ring<SimDisk>) -> u64 {
    let mut cursor = ring.cursor(ring.first());
    let mut entries = 0;
    loop {
        match ring.read(&mut cursor).unwrap() {
            Read::Frame(frame) => {
                for entry in frame.entries() {
                    assert!(entry.payload.starts_with(SECRET));
                    entries += 1;
                }
            }
            Read::End => return entries,
            other @ (Read::Lost { .. } | Read::Evicted { .. }) => panic!("{other:?}"),
        }
    }
}

fn holds(disk: &SimDisk, text: &[u8]) -> bool {
    disk.bytes()
        .windows(text.len())
        .any(|window| window == text)
}

#[test]
fn no_plaintext_is_on_the_disk() {
    for is_sealed in [false, true] {
        let options = options(is_sealed.then(|| sealing(5)));
        let mut ring = Ring::create(empty(), RingId(1), &options).unwrap();
        append(&mut ring, 600);
        assert!(ring.first().get() > 0, "the ring has lapped");
        let disk = ring.close().unwrap();
        for text in [&SECRET[..12], b"name of a state"] {
            assert_eq!(holds(&disk, text), !is_sealed);
        }
        let ring = recover(disk, is_sealed.then(|| sealing(6))).unwrap();
        assert_eq!(count_entries(&ring), ring.next().since(ring.first()));
        assert_eq!(ring.get(b"the name of a state"), Some(SECRET));
    }
}

#[test]
fn a_wrong_or_missing_key_changes_nothing() {
    let mut ring = Ring::create(empty(), RingId(1), &options(Some(sealing(5)))).unwrap();
    append(&mut ring, 100);
    let disk = ring.close().unwrap();
    for (wrong, was_given) in [(None, false), (Some(with_key(2, &[3], 6)), true)] {
        let shared = SharedDisk::new(disk.clone());
        let opened = Unrecovered::open(shared.clone())
            .unwrap()
            .recover(&options(wrong));
        let error = opened.expect_err("an error");
        assert!(
            matches!(error, OpenError::Key { is_given, .. } if is_given == was_given),
            "{error}"
        );
        assert!(
            shared.disk().bytes() == disk.bytes(),
            "the disk was changed"
        );
    }
    assert_eq!(
        count_entries(&recover(disk, Some(sealing(7))).unwrap()),
        100
    );
}

#[test]
fn old_keys_are_needed_until_their_segments_lap() {
    let mut ring = Ring::create(empty(), RingId(1), &options(None)).unwrap();
    append(&mut ring, 150);
    // The ring was plain before; what is there stays as it is.
    let mut ring = recover(ring.close().unwrap(), Some(with_key(1, &[], 1))).unwrap();
    append(&mut ring, 150);
    let mut ring = recover(ring.close().unwrap(), Some(with_key(2, &[1], 2))).unwrap();
    append(&mut ring, 150);
    assert_eq!(count_entries(&ring), ring.next().since(ring.first()));
    let disk = ring.close().unwrap();
    assert!(matches!(
        recover(disk.clone(), Some(with_key(2, &[], 3))),
        Err(OpenError::Key { is_given: true, .. })
    ));
    let mut ring = recover(disk, Some(with_key(2, &[1], 4))).unwrap();
    append(&mut ring, 600);
    let ring = recover(ring.close().unwrap(), Some(with_key(2, &[], 5))).unwrap();
    assert_eq!(count_entries(&ring), ring.next().since(ring.first()));
}

/// How many frames were sealed, and how many of their nonces were used before.
fn nonces_of(crashes: usize, mut salt: impl FnMut(&mut Rng) -> u64) -> (usize, usize) {
    let mut rng = Rng::new(11);
    let disk = SharedDisk::new(empty());
    let first = options(Some(sealing(salt(&mut rng))));
    let mut ring = Ring::create(disk.clone(), RingId(1), &first).unwrap();
    for _ in 0..crashes {
        for _ in 0..=rng.below(2) {
            let payload = vec![7; rng.below(200)];
            while let Err(diskring::AppendError::Full) = ring.append(1, 0, &payload) {
                ring.evict_oldest().unwrap();
            }
        }
        if rng.one_in(2) {
            disk.disk().set_fuel(Some(u64::from(rng.one_in(2))));
        }
        drop(ring.sync());
        disk.disk().cut(&mut rng);
        let options = options(Some(sealing(salt(&mut rng))));
        (ring, _) = Unrecovered::open(disk.clone())
            .unwrap()
            .recover(&options)
            .unwrap();
    }
    let nonces = take_nonces();
    let unique: BTreeSet<_> = nonces.iter().collect();
    (nonces.len(), nonces.len() - unique.len())
}

#[test]
fn no_nonce_is_used_twice() {
    let (sealed, repeated) = nonces_of(10_000, Rng::next_u64);
    assert!(sealed > 10_000, "only {sealed} frames");
    assert_eq!(repeated, 0);
    let (_, repeated) = nonces_of(300, |_| 1);
    assert!(repeated > 0, "without new salts the same nonces come back");
}

//! What the ring makes of its space and of the disk's life.

use diskring::sim::SimDisk;
use diskring::{AppendError, Compression, Mutant, Options, PutError, Ring, RingId, Unrecovered};

const PAGE: u64 = 4096;

fn create(capacity: usize, compression: Compression) -> Ring<SimDisk> {
    let options = Options {
        segment_bytes: None,
        compression,
        mutant: Mutant::None,
        ..Options::default()
    };
    Ring::create(SimDisk::new(capacity, 512), RingId(1), &options).unwrap()
}

fn append(ring: &mut Ring<SimDisk>, payload: &[u8]) -> bool {
    match ring.append(1, 0, payload) {
        Ok(_) => false,
        Err(AppendError::Full) => {
            ring.evict_oldest().unwrap();
            ring.append(1, 0, payload).unwrap();
            true
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_quiet_stream_uses_the_space() {
    // capacity, the least percentage of it that is payload in the middle between two evictions
    for (capacity, least) in [
        (1 << 20, 63),
        (2 << 20, 70),
        (4 << 20, 76),
        (8 << 20, 78),
        (16 << 20, 80),
    ] {
        let mut ring = create(capacity, Compression::None);
        let payload = [7; 100];
        let mut evictions = 0;
        let mut kept = Vec::new();
        while evictions < 4 {
            let evicted = append(&mut ring, &payload);
            ring.sync().unwrap();
            if evicted {
                let entries = ring.next().since(ring.first());
                kept.push(entries);
                evictions += 1;
                kept.extend(
                    ring.oldest()
                        .map(|oldest| entries + oldest.end.since(oldest.first)),
                );
            }
        }
        let entries = kept.iter().sum::<u64>() / u64::try_from(kept.len()).unwrap();
        let percent = entries * 100 * 100 / u64::try_from(capacity).unwrap();
        eprintln!("{capacity} bytes: {percent} % payload");
        assert!(
            percent >= least,
            "{capacity}: {percent} % of the ring is payload"
        );
    }
}

#[test]
fn wear_is_one_page_a_sync_and_a_little() {
    for (len, each) in [(100, 1), (100, 10), (1000, 3), (10_000, 1), (200, 1000)] {
        let mut ring = create(2 << 20, Compression::None);
        let before = ring.stats();
        let payload = vec![7; len];
        let mut stored = 0;
        for number in 0..4_000_000 / len {
            append(&mut ring, &payload);
            stored += u64::try_from(len).unwrap();
            if number % each == 0 {
                ring.sync().unwrap();
            }
        }
        let stats = ring.stats();
        let written = stats.written_bytes - before.written_bytes;
        let syncs = stats.syncs - before.syncs;
        // A header of 18 bytes for 100 is not wear but the entry's own size on disk.
        let framed = stored + (18 * stored).div_ceil(u64::try_from(len.max(100)).unwrap());
        let allowed = framed * 11 / 10 + syncs * PAGE;
        assert!(written <= allowed, "{len} x {each}: {written} of {allowed}");
        eprintln!(
            "{len} bytes x {each}: {} bytes/sync",
            written / syncs.max(1)
        );
    }
}

#[test]
fn opening_reads_headers_and_one_segment() {
    let mut ring = create(64 << 20, Compression::None);
    let payload = vec![7; 50_000];
    while !append(&mut ring, &payload) {}
    let segment = u64::from(ring.stats().segment_bytes);
    let segments = u64::from(ring.stats().segments);
    let disk = ring.close().unwrap();
    let before = disk.stats().read_bytes;
    let (ring, recovery) = Unrecovered::open(disk)
        .unwrap()
        .recover(&Options::default())
        .unwrap();
    assert!(u64::from(recovery.segments) >= segments - 1);
    let read = ring.close().unwrap().stats().read_bytes - before;
    assert!(
        read <= segments * 512 + 2 * segment + 64 * PAGE,
        "{read} bytes read"
    );
}

#[test]
fn the_largest_entry_fits_beside_the_largest_states() {
    for capacity in [1 << 20, 4 << 20, 40 << 20] {
        let mut ring = create(capacity, Compression::None);
        let mut number = 0_u32;
        loop {
            number += 1;
            match ring.put(&number.to_le_bytes(), &[7; 900]) {
                Ok(()) => {}
                Err(PutError::StateFull { len, max }) => {
                    assert!(len > max);
                    break;
                }
                Err(error) => panic!("{error}"),
            }
        }
        let max = ring.entry_bytes_max();
        assert!(ring.append(1, 0, &vec![7; max + 1]).is_err());
        let payload = vec![7; max];
        for _ in 0..20 {
            append(&mut ring, &payload);
        }
        ring.sync().unwrap();
        assert!(ring.reserve(1, max - 200, 0).is_ok_and(|()| true) || ring.oldest().is_some());
    }
}

#[test]
fn a_full_ring_keeps_states_until_it_can_write_them() {
    let mut ring = create(1 << 20, Compression::None);
    ring.put(b"position", &[0; 500]).unwrap();
    let payload = vec![7; 3000];
    while ring.append(1, 0, &payload).is_ok() {}
    for number in 0..2000_u32 {
        let mut value = vec![0; 500];
        value[..4].copy_from_slice(&number.to_le_bytes());
        ring.put(b"position", &value).unwrap();
        ring.sync().unwrap();
    }
    assert!(ring.is_pending(), "the states did not fill the segment");
    assert!(matches!(
        ring.append(1, 0, &payload),
        Err(AppendError::Full)
    ));
    ring.evict_oldest().unwrap();
    assert!(!ring.is_pending());
    let disk = ring.close().unwrap();
    let (ring, _) = Unrecovered::open(disk)
        .unwrap()
        .recover(&Options::default())
        .unwrap();
    assert_eq!(
        ring.get(b"position").map(|value| value[..4].to_vec()),
        Some(vec![207, 7, 0, 0])
    );
}

#[test]
fn nothing_pending_costs_no_sync() {
    let mut ring = create(1 << 20, Compression::None);
    ring.append(1, 0, b"x").unwrap();
    ring.sync().unwrap();
    let before = ring.stats();
    ring.put(b"key", b"value").unwrap();
    ring.sync().unwrap();
    ring.put(b"key", b"value").unwrap();
    ring.sync().unwrap();
    assert_eq!(ring.stats().syncs, before.syncs + 1);
}

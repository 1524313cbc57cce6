//! Rings as released versions wrote them are still opened: `tests/compat` has one for each version
//! of the format and each feature.
//!
//! `UPDATE_COMPAT=1` writes those of the present version anew, which is only right while that
//! version was never released.

use std::path::{Path, PathBuf};

use diskring::sim::SimDisk;
use diskring::{Compression, Options, Read, Ring, RingId, Sealing, SealingKey, Unrecovered};

const PAGE: usize = 4096;
const VERSION: u32 = 1;
const ENTRIES: usize = 120;

/// name, compression, whether sealed
const FEATURES: [(&str, Compression, bool); 4] = [
    ("plain", Compression::None, false),
    ("snappy", Compression::Snappy, false),
    ("zstd", Compression::Zstd { level: 1 }, false),
    ("sealed", Compression::Snappy, true),
];

fn options(compression: Compression, is_sealed: bool) -> Options {
    Options {
        segment_bytes: Some(u32::try_from(9 * PAGE).unwrap()),
        compression,
        sealing: is_sealed.then(|| Sealing {
            key: SealingKey::new([7; 32]),
            old_keys: Vec::new(),
            salt: 8,
        }),
        ..Options::default()
    }
}

fn payload(number: usize) -> Vec<u8> {
    let mut payload = format!("entry {number}, ")
        .into_bytes()
        .repeat(1 + number % 5);
    payload.truncate(200);
    payload
}

fn write(options: &Options) -> SimDisk {
    let disk = SimDisk::new((2 + 4 * 9) * PAGE, 512);
    let mut ring = Ring::create(disk, RingId(0x0063_6f6d_7061_7401), options).unwrap();
    for number in 0..ENTRIES {
        let tag = u16::try_from(number % 3).unwrap();
        ring.append(tag, i64::try_from(number).unwrap(), &payload(number))
            .unwrap();
        if number % 7 == 0 {
            let position = u64::try_from(number).unwrap().to_le_bytes();
            ring.put(b"position", &position).unwrap();
            ring.sync().unwrap();
        }
    }
    ring.sync().unwrap();
    ring.put(b"last", b"state").unwrap();
    ring.close().unwrap()
}

fn check(path: &Path, options: &Options) {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (ring, recovery) = Unrecovered::open(SimDisk::from_bytes(bytes, 512))
        .unwrap()
        .recover(options)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(recovery.frames_lost, 0);
    assert_eq!(ring.get(b"last"), Some(&b"state"[..]));
    assert_eq!(ring.get(b"position"), Some(&119_u64.to_le_bytes()[..]));
    let mut cursor = ring.cursor(ring.first());
    let mut entries = 0;
    while let Read::Frame(frame) = ring.read(&mut cursor).unwrap() {
        for entry in frame.entries() {
            assert_eq!(usize::from(entry.tag), entries % 3);
            assert_eq!(entry.payload, payload(entries), "{}", path.display());
            entries += 1;
        }
    }
    assert_eq!(entries, ENTRIES, "{}", path.display());
}

#[test]
#[expect(clippy::disallowed_methods, reason = "half a file would be noticed")]
fn rings_of_every_version_are_opened() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/compat");
    for (name, compression, is_sealed) in FEATURES {
        let options = options(compression, is_sealed);
        if std::env::var_os("UPDATE_COMPAT").is_some() {
            let path = folder.join(format!("ring-{VERSION}-{name}.bin"));
            std::fs::write(path, write(&options).bytes()).unwrap();
        }
        for version in 1..=VERSION {
            check(&folder.join(format!("ring-{version}-{name}.bin")), &options);
        }
    }
}

//! The ring against the raw limit of the same file: `cargo bench -p diskring [-- DIRECTORY]`.
//!
//! Raw is one `pwrite` and one `fdatasync` of as many bytes as the ring stores in a sync. The
//! figures belong to the machine and the disk; none of them is asserted.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "a benchmark measures real files with a real clock and prints"
)]

use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use diskring::{Compression, Options, Read, Ring, RingId, Storage, StorageError, Unrecovered};

const MIB: u64 = 1 << 20;

struct FileStorage {
    file: File,
    capacity: u64,
}

impl FileStorage {
    /// A file whose blocks exist, so that no write has to allocate.
    fn create(path: &Path, capacity: u64) -> Self {
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)
            .unwrap();
        let zeros = vec![0; 1 << 20];
        for offset in (0..capacity).step_by(1 << 20) {
            file.write_all_at(&zeros, offset).unwrap();
        }
        file.sync_all().unwrap();
        Self { file, capacity }
    }
}

impl Storage for FileStorage {
    fn capacity(&self) -> u64 {
        self.capacity
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), StorageError> {
        let len = buf.len();
        self.file
            .read_exact_at(buf, offset)
            .map_err(|error| StorageError::read(offset, len, error))
    }

    fn write_at(&mut self, offset: u64, data: &[u8]) -> Result<(), StorageError> {
        self.file
            .write_all_at(data, offset)
            .map_err(|error| StorageError::write(offset, data.len(), error))
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        self.file.sync_data().map_err(StorageError::sync)
    }
}

fn options(compression: Compression) -> Options {
    Options {
        compression,
        ..Options::default()
    }
}

fn append(ring: &mut Ring<FileStorage>, payload: &[u8]) {
    while ring.append(1, 0, payload).is_err() {
        ring.evict_oldest().unwrap();
    }
}

/// A JSON line of 200 bytes, differing from its neighbors as telemetry does.
fn line(number: u64) -> Vec<u8> {
    let mut line = format!(
        "{{\"device\":\"press-{:03}\",\"seq\":{number},\"temperature\":{}.{:02},\"state\":\"run\",\"site\":\"plant/a/line/4\",\"unit\":\"C\",\"note\":\"",
        number % 97,
        number * 7919 % 90,
        number * 104_729 % 100
    )
    .into_bytes();
    line.resize(198, b'x');
    line.extend_from_slice(b"\"}");
    line
}

fn rate(bytes: u64, took: Duration) -> f64 {
    bytes as f64 / took.as_secs_f64() / 1e6
}

/// Groups of `per_sync` bytes in entries of 200, each synced, by turns raw and through the ring:
/// whatever else the machine does then slows both.
fn sync_rate(path: &Path, per_sync: u64, groups: u64) {
    let lines: Vec<_> = (0..1000).map(line).collect();
    let each = per_sync.div_ceil(200);
    let len = usize::try_from(each * 200).unwrap();
    let bytes = lines.concat().repeat(8);
    for compression in [Compression::None, Compression::Snappy] {
        let raw_path = path.with_extension("raw");
        let mut raw = FileStorage::create(&raw_path, 64 * MIB);
        let storage = FileStorage::create(path, 64 * MIB);
        let mut ring = Ring::create(storage, RingId(1), &options(compression)).unwrap();
        let mut lines = lines.iter().cycle();
        let (mut raw_took, mut took) = (Vec::new(), Vec::new());
        for group in 0..groups {
            let start = Instant::now();
            raw.write_at(group * each * 200 % (48 * MIB), bytes.get(..len).unwrap())
                .unwrap();
            raw.sync().unwrap();
            raw_took.push(start.elapsed());
            let start = Instant::now();
            for line in lines.by_ref().take(usize::try_from(each).unwrap()) {
                append(&mut ring, line);
            }
            ring.sync().unwrap();
            took.push(start.elapsed());
        }
        std::fs::remove_file(&raw_path).unwrap();
        let (raw, took) = (median(raw_took), median(took));
        println!(
            "{each:>5} x 200 bytes a sync, {compression:?}: {took:.1?}, raw {raw:.1?}: {:.0} %",
            100.0 * raw.as_secs_f64() / took.as_secs_f64()
        );
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn append_and_read_rate(path: &Path, compression: Compression) {
    let lines: Vec<_> = (0..1_000_000).map(line).collect();
    let storage = FileStorage::create(path, 256 * MIB);
    let mut ring = Ring::create(storage, RingId(1), &options(compression)).unwrap();
    let start = Instant::now();
    for line in &lines {
        append(&mut ring, line);
    }
    let took = start.elapsed();
    ring.sync().unwrap();
    println!("1 M appends of 200 bytes, {compression:?}: {took:.2?}");
    let mut cursor = ring.cursor(ring.first());
    let mut bytes = 0;
    let start = Instant::now();
    while let Read::Frame(frame) = ring.read(&mut cursor).unwrap() {
        for entry in frame.entries() {
            bytes += u64::try_from(black_box(entry.payload).len()).unwrap();
        }
    }
    println!(
        "reading back, {compression:?}: {:.0} MB/s",
        rate(bytes, start.elapsed())
    );
}

fn recovery_time(path: &Path) {
    let storage = FileStorage::create(path, 1024 * MIB);
    let mut ring = Ring::create(storage, RingId(1), &options(Compression::None)).unwrap();
    let payload = vec![7; 10_000];
    while ring.append(1, 0, &payload).is_ok() {}
    let storage = ring.close().unwrap();
    let start = Instant::now();
    let (ring, recovery) = Unrecovered::open(storage)
        .unwrap()
        .recover(&options(Compression::None))
        .unwrap();
    println!(
        "recovery of a full 1 GiB ring, {} segments: {:.2?}",
        recovery.segments,
        start.elapsed()
    );
    drop(ring);
}

fn main() {
    let directory = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with('-'));
    let directory = directory.map_or_else(std::env::temp_dir, PathBuf::from);
    let path = directory.join(format!("ring-bench-{}", std::process::id()));
    for (per_sync, groups) in [(100, 2000), (10_000, 1000), (100_000, 500), (1_000_000, 50)] {
        sync_rate(&path, per_sync, groups);
    }
    for compression in [Compression::None, Compression::Snappy] {
        append_and_read_rate(&path, compression);
    }
    recovery_time(&path);
    std::fs::remove_file(&path).unwrap();
}

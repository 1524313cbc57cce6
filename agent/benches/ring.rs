//! The ring against the raw limit of the same file: `cargo bench -p diskring [-- DIRECTORY]`;
//! `-- DIRECTORY append` measures appending only.
//!
//! Raw is one `pwrite` and one `fdatasync` of as many bytes as the payloads of a sync have. The
//! figures belong to the machine and the disk; none of them is asserted. Memory is that of a process
//! of its own, which this program starts.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "a benchmark measures real files with a real clock and prints"
)]

use std::cell::Cell;
use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use diskring::{Compression, Options, Read, Ring, RingId, Storage, StorageError, Unrecovered};

const COMPRESSIONS: [Compression; 3] = [
    Compression::None,
    Compression::Snappy,
    Compression::Zstd { level: 1 },
];
const MIB: u64 = 1 << 20;
/// Asks for the memory of a ring only.
const MEMORY: &str = "--memory-of";

struct FileStorage {
    file: File,
    capacity: u64,
    read_bytes: Cell<u64>,
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
        Self::of(file, capacity)
    }

    fn open(path: &Path) -> Self {
        let file = File::options().read(true).write(true).open(path).unwrap();
        let capacity = file.metadata().unwrap().len();
        Self::of(file, capacity)
    }

    const fn of(file: File, capacity: u64) -> Self {
        Self {
            file,
            capacity,
            read_bytes: Cell::new(0),
        }
    }
}

impl Storage for FileStorage {
    fn capacity(&self) -> u64 {
        self.capacity
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), StorageError> {
        let len = buf.len();
        let read = u64::try_from(len).unwrap();
        self.read_bytes.set(self.read_bytes.get() + read);
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

/// The processor time of this thread so far: on a busy machine it tells more than the clock.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanos = stat.split_whitespace().next().unwrap();
    Duration::from_nanos(nanos.parse().unwrap())
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
    for compression in COMPRESSIONS {
        let raw_path = path.with_extension("raw");
        let mut raw = FileStorage::create(&raw_path, 64 * MIB);
        let storage = FileStorage::create(path, 64 * MIB);
        let mut ring = Ring::create(storage, RingId(1), &options(compression)).unwrap();
        let mut lines = lines.iter().cycle();
        let (mut raw_took, mut took) = (Vec::new(), Vec::new());
        let (mut raw_cpu, mut ring_cpu) = (Duration::ZERO, Duration::ZERO);
        for group in 0..groups {
            let (start, busy) = (Instant::now(), cpu());
            raw.write_at(group * each * 200 % (48 * MIB), bytes.get(..len).unwrap())
                .unwrap();
            raw.sync().unwrap();
            raw_took.push(start.elapsed());
            raw_cpu += cpu().saturating_sub(busy);
            let (start, busy) = (Instant::now(), cpu());
            for line in lines.by_ref().take(usize::try_from(each).unwrap()) {
                append(&mut ring, line);
            }
            ring.sync().unwrap();
            took.push(start.elapsed());
            ring_cpu += cpu().saturating_sub(busy);
        }
        let groups = u32::try_from(groups).unwrap();
        std::fs::remove_file(&raw_path).unwrap();
        let (raw, took) = (median(raw_took), median(took));
        println!(
            "{each:>5} x 200 bytes a sync, {compression:?}: {took:.1?}, raw {raw:.1?}: {:.0} %; \
             of them processor {:.1?}, raw {:.1?}",
            100.0 * raw.as_secs_f64() / took.as_secs_f64(),
            ring_cpu / groups,
            raw_cpu / groups
        );
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// How long the bytes take by themselves, in pieces as the ring writes them, with one sync; how much
/// of it is processor time.
fn raw_rate(path: &Path, bytes: &[u8]) -> (Duration, Duration) {
    let raw_path = path.with_extension("raw");
    let mut raw = FileStorage::create(&raw_path, 256 * MIB);
    let (start, busy) = (Instant::now(), cpu());
    let mut offset = 0;
    for piece in bytes.chunks(64 * 1024) {
        raw.write_at(offset, piece).unwrap();
        offset += u64::try_from(piece.len()).unwrap();
    }
    raw.sync().unwrap();
    let took = (start.elapsed(), cpu().saturating_sub(busy));
    std::fs::remove_file(&raw_path).unwrap();
    took
}

fn append_and_read_rate(path: &Path, compression: Compression) {
    let lines: Vec<_> = (0..1_000_000).map(line).collect();
    let storage = FileStorage::create(path, 256 * MIB);
    let mut ring = Ring::create(storage, RingId(1), &options(compression)).unwrap();
    let (start, busy) = (Instant::now(), cpu());
    for line in &lines {
        append(&mut ring, line);
    }
    ring.sync().unwrap();
    let (took, busy) = (start.elapsed(), cpu().saturating_sub(busy));
    let (raw, raw_busy) = raw_rate(path, &lines.concat());
    println!(
        "1 M appends of 200 bytes and a sync, {compression:?}: {took:.2?}, raw {raw:.2?}: {:.0} %; \
         of them processor {busy:.2?}, raw {raw_busy:.2?}",
        100.0 * raw.as_secs_f64() / took.as_secs_f64()
    );
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
    storage.read_bytes.set(0);
    let start = Instant::now();
    let (ring, recovery) = Unrecovered::open(storage)
        .unwrap()
        .recover(&options(Compression::None))
        .unwrap();
    println!(
        "recovery of a full 1 GiB ring, {} segments: {:.2?}, {} KiB read",
        recovery.segments,
        start.elapsed(),
        ring.close().unwrap().read_bytes.get() / 1024
    );
}

/// The memory that this process has of its own, in KiB.
fn anonymous_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.unwrap().parse().unwrap()
}

/// Opens the ring at `path`, works with it and tells what memory that took.
fn memory(path: &Path) {
    let before = anonymous_kib();
    let (mut ring, _) = Unrecovered::open(FileStorage::open(path))
        .unwrap()
        .recover(&options(Compression::Snappy))
        .unwrap();
    let opened = anonymous_kib();
    for number in 0..50_000 {
        append(&mut ring, &line(number));
        if number % 1000 == 0 {
            ring.sync().unwrap();
        }
    }
    let written = anonymous_kib();
    let mut cursor = ring.cursor(ring.first());
    while let Read::Frame(frame) = ring.read(&mut cursor).unwrap() {
        black_box(frame);
    }
    println!(
        "memory of a full 1 GiB ring: {} KiB open, {} after 50,000 appends, {} after reading it",
        opened - before,
        written - before,
        anonymous_kib() - before
    );
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some(MEMORY) {
        memory(Path::new(&arguments.next().unwrap()));
        return;
    }
    let directory = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with('-'));
    let directory = directory.map_or_else(std::env::temp_dir, PathBuf::from);
    let path = directory.join(format!("ring-bench-{}", std::process::id()));
    for (per_sync, groups) in [(100, 2000), (10_000, 1000), (100_000, 500), (1_000_000, 50)] {
        sync_rate(&path, per_sync, groups);
    }
    for compression in COMPRESSIONS {
        append_and_read_rate(&path, compression);
    }
    if std::env::args().any(|argument| argument == "append") {
        std::fs::remove_file(&path).unwrap();
        return;
    }
    recovery_time(&path);
    let program = std::env::current_exe().unwrap();
    let mut process = Command::new(program);
    let status = process.arg(MEMORY).arg(&path).status().unwrap();
    assert!(status.success());
    std::fs::remove_file(&path).unwrap();
}

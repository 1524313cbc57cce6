//! Encoded batches, decoded by programs that share nothing with the encoder.
//!
//! Needs gzip, unzip, zstd and Python 3 (`HYDRANT_TEST_PYTHON`, else `python3`), as `tests/run`
//! provides them.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that starts other programs on files of its own"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

use diskring::Seq;
use pipeline::config::{Compression, Format};
use pipeline::encode::{BatchEncoder, Encoded, Encoding, EntryMeta, Origin, gzip_member};
use pipeline::record::Record;
use pipeline::stored::{self, StoredRef};
use pipeline::time::WallClock;

/// Batches that differ in size by orders of magnitude: none, one, many records.
const COUNTS: [u32; 3] = [0, 1, 6000];

#[test]
fn gzip_is_read_by_gzip_and_python() {
    check(Compression::Gzip, "gz", &|file| {
        vec![
            command("gzip", &["-t", "-v"], file),
            command("gzip", &["-dc"], file),
            python("archive_decode.py", "gzip", file),
        ]
    });
}

#[test]
fn zip_is_read_by_unzip_and_python() {
    check(Compression::Zip, "zip", &|file| {
        vec![
            command("unzip", &["-t", "-qq"], file),
            command("unzip", &["-p"], file),
            python("archive_decode.py", "zip", file),
        ]
    });
}

#[test]
fn zstd_is_read_by_zstd() {
    check(Compression::Zstd, "zst", &|file| {
        vec![
            command("zstd", &["-q", "-t"], file),
            command("zstd", &["-q", "-dc"], file),
        ]
    });
}

#[test]
fn snappy_is_read_as_snappy_java_writes_it() {
    check(Compression::Snappy, "xerial", &|file| {
        vec![python("snappy_decode.py", "xerial", file)]
    });
}

#[test]
fn hadoop_snappy_is_read_as_hadoop_writes_it() {
    check(Compression::HadoopSnappy, "hadoop", &|file| {
        vec![python("snappy_decode.py", "hadoop", file)]
    });
}

#[test]
fn single_members_are_read_by_gzip() {
    let data = batch(Compression::None, 100).body;
    let file = write("member.gz", &gzip_member(&data));
    assert_eq!(run(command("gzip", &["-dc"], &file)), data);
}

/// Encodes batches and has them decoded; a command that only tests prints nothing.
fn check(compression: Compression, name: &str, commands: &dyn Fn(&Path) -> Vec<Command>) {
    for count in COUNTS {
        let expected = batch(Compression::None, count).body;
        let encoded = batch(compression, count);
        assert_eq!(encoded.raw_bytes, expected.len());
        let file = write(&format!("{count}.{name}"), &encoded.body);
        for command in commands(&file) {
            let shown = format!("{command:?}");
            let decoded = run(command);
            let only_tests = shown.contains("\"-t\"");
            let wanted: &[u8] = if only_tests { b"" } else { &expected };
            assert!(decoded == wanted, "{shown} of {count} records");
        }
    }
}

/// Lines of JSON, each tenth with bytes that do not compress.
fn batch(compression: Compression, count: u32) -> Encoded {
    let origin = Origin {
        agent: "gw1".to_owned(),
        ring_id: 0x1234_5678_9abc_def0,
        is_replay: false,
    };
    let encoding = Encoding {
        format: Format::Ndjson,
        compression,
        level: None,
        metadata: true,
    };
    let mut encoder = BatchEncoder::new(encoding, &origin);
    let mut noise = 1_u32;
    for number in 0..count {
        let mut payload = format!("{{\"n\":{number},\"t\":{}.5}}", number % 40).into_bytes();
        if number % 10 == 0 {
            for _ in 0..700 {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                payload.extend_from_slice(&noise.to_le_bytes()[2..]);
            }
        }
        let received_at = WallClock::from_millis(1_795_452_001_123 + i64::from(number));
        let mut bytes = Vec::new();
        stored::encode(&Record::new(received_at, payload), &mut bytes);
        let entry = EntryMeta {
            seq: Seq::new(u64::from(number)),
            source: "sensors",
        };
        encoder.push(entry, &StoredRef::decode(&bytes).unwrap());
    }
    encoder.finish()
}

fn write(name: &str, bytes: &[u8]) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn command(program: &str, arguments: &[&str], file: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).arg(file);
    command
}

fn python(script: &str, kind: &str, file: &Path) -> Command {
    let python = std::env::var("HYDRANT_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/decoders");
    let mut command = Command::new(python);
    command.arg(scripts.join(script)).arg(kind).arg(file);
    command
}

fn run(mut command: Command) -> Vec<u8> {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?} is needed (see tests/run): {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

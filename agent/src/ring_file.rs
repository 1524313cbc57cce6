//! The ring's file: made once, whole; opened and recovered at every start.
//!
//! Nothing that is in the file stops the agent: what is no ring any more is moved aside, told, and
//! replaced. Only a ring that was encrypted with another key is left alone, and the agent ends.

mod key;

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use diskring::{Compression, OpenError, Options, Ring, RingId, Sealing, Unrecovered};
use pipeline::config::{BufferConfig, ByteSize, DEFAULT_BUFFER, FrameCompression, buffer_table};
use ring::rand::{SecureRandom, SystemRandom};

use crate::app::with_sources;
use crate::file_storage::{FileStorage, sync_folder};
use key::KeyError;
pub(crate) use key::read_all as read_keys;

/// What is appended to its name until it is whole.
const UNFINISHED: &str = ".new";

/// What is appended to its name when it is no ring any more.
const DAMAGED: &str = ".damaged";

/// The name of a buffer's file in the state directory.
pub(crate) fn file_name(buffer: &str) -> String {
    if buffer == DEFAULT_BUFFER {
        "buffer.ring".to_owned()
    } else {
        format!("buffer.{buffer}.ring")
    }
}

/// The file for the checkpoints that a buffer's ring has no room for.
pub(crate) fn archive(state_dir: &Path, buffer: &str) -> PathBuf {
    state_dir
        .join(file_name(buffer))
        .with_extension("checkpoints")
}

/// Rings in a state directory that belong to none of these buffers.
pub(crate) fn unnamed(state_dir: &Path, buffers: &BTreeMap<String, BufferConfig>) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(state_dir) else {
        return Vec::new();
    };
    let is_ring = |name: &str| {
        name.strip_prefix("buffer.")
            .and_then(|rest| rest.strip_suffix(".ring"))
            .is_some()
    };
    let is_named = |name: &str| buffers.keys().any(|buffer| file_name(buffer) == name);
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| is_ring(name) && !is_named(name))
        .map(|name| state_dir.join(name))
        .collect();
    found.sort();
    found
}

/// Why there is no ring to write to.
#[derive(Debug)]
pub(crate) enum RingFileError {
    /// The state directory cannot be made.
    Folder(PathBuf, io::Error),
    /// The file cannot be made.
    Create(PathBuf, ByteSize, String, io::Error),
    /// The file cannot be opened.
    Open(PathBuf, io::Error),
    /// The ring in it cannot be opened.
    Ring(PathBuf, OpenError),
    /// The key cannot be had.
    Key(KeyError),
    /// The machine has no randomness for the ring's id.
    Random,
}

impl std::fmt::Display for RingFileError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder(path, error) => write!(
                f,
                "the state directory {} cannot be made or entered: {error}; make it and give it \
                 to the user that runs hydrant, or set agent.state_dir",
                path.display()
            ),
            Self::Create(path, size, table, error) => write!(
                f,
                "the ring of {size} cannot be made at {}: {error}; free the space, lower \
                 {table}.size or set agent.state_dir to another disk",
                path.display()
            ),
            Self::Open(path, error) => {
                write!(f, "the ring {} cannot be opened: {error}", path.display())
            }
            Self::Ring(path, error @ OpenError::Key { .. }) => write!(
                f,
                "the ring {} cannot be read: {error}; give the key in its encryption table, earlier \
                 ones in old_key_files, or move the file away to start anew; nothing was changed",
                path.display()
            ),
            Self::Ring(path, error) => {
                let error = with_sources(error);
                write!(
                    f,
                    "the ring {} cannot be recovered: {error}; look at the disk (dmesg) and start \
                     again, or set agent.state_dir to another disk",
                    path.display()
                )
            }
            Self::Key(error) => write!(f, "{error}; the ring was not touched"),
            Self::Random => f.write_str("the machine gives no random numbers"),
        }
    }
}

impl std::error::Error for RingFileError {}

/// Opens the ring of a buffer, or makes it.
pub(crate) fn open(
    state_dir: &Path,
    buffer: &str,
    config: &BufferConfig,
) -> Result<Ring<FileStorage>, RingFileError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o750)
        .create(state_dir)
        .map_err(|error| RingFileError::Folder(state_dir.to_owned(), error))?;
    let path = state_dir.join(file_name(buffer));
    let options = options(config)?;
    let storage = match FileStorage::open(&path) {
        Ok(storage) => storage,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return create(state_dir, buffer, config, &options);
        }
        Err(error) => return Err(RingFileError::Open(path, error)),
    };
    let recovered = Unrecovered::open(storage).and_then(|ring| ring.recover(&options));
    match recovered {
        Ok((ring, recovery)) => {
            tracing::info!(
                buffer,
                first = ring.first().get(),
                next = ring.next().get(),
                truncated = recovery.truncated,
                frames_lost = recovery.frames_lost,
                "ring recovered"
            );
            if ring.stats().capacity_bytes != config.size.as_u64() {
                tracing::warn!(
                    "the ring keeps the {} it was made with; to give it the {} of {}.size, \
                     wait until nothing waits any more, stop hydrant and remove {}; the places in \
                     followed files are in it, so that files are read again from their start",
                    ByteSize::bytes(ring.stats().capacity_bytes),
                    config.size,
                    buffer_table(buffer),
                    path.display()
                );
            }
            Ok(ring)
        }
        Err(error @ (OpenError::Storage(_) | OpenError::Key { .. })) => {
            Err(RingFileError::Ring(path, error))
        }
        Err(error) => {
            let aside = appended(&path, DAMAGED);
            tracing::error!(
                %error,
                "{} is not a ring that can be used; it is kept as {} and a new one is made",
                path.display(),
                aside.display()
            );
            std::fs::rename(&path, &aside).map_err(|error| RingFileError::Open(path, error))?;
            create(state_dir, buffer, config, &options)
        }
    }
}

fn appended(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Makes the file under another name first, so that a cut leaves either no ring or a whole one.
fn create(
    state_dir: &Path,
    buffer: &str,
    config: &BufferConfig,
    options: &Options,
) -> Result<Ring<FileStorage>, RingFileError> {
    let path = state_dir.join(file_name(buffer));
    let unfinished = appended(&path, UNFINISHED);
    let table = buffer_table(buffer);
    let failed = |error| RingFileError::Create(path.clone(), config.size, table.clone(), error);
    let mut made = FileStorage::create(&unfinished, config.size.as_u64());
    let damaged = appended(&path, DAMAGED);
    if matches!(&made, Err(error) if error.kind() == io::ErrorKind::StorageFull)
        && std::fs::remove_file(&damaged).is_ok()
    {
        tracing::error!("{} made room for a new ring", damaged.display());
        made = FileStorage::create(&unfinished, config.size.as_u64());
    }
    if made.is_err() {
        // A part of a file would only take the space that is missing.
        drop(std::fs::remove_file(&unfinished));
    }
    let ring = Ring::create(made.map_err(failed)?, RingId(random()?), options)
        .map_err(|error| RingFileError::Ring(unfinished.clone(), error))?;
    std::fs::rename(&unfinished, &path).map_err(failed)?;
    sync_folder(state_dir).map_err(failed)?;
    tracing::info!("ring of {} made at {}", config.size, path.display());
    Ok(ring)
}

fn options(config: &BufferConfig) -> Result<Options, RingFileError> {
    let sealing = match &config.encryption {
        Some(encryption) => {
            let (key, old_keys) = key::read_all(encryption).map_err(RingFileError::Key)?;
            let salt = random()?;
            Some(Sealing {
                key,
                old_keys,
                salt,
            })
        }
        None => None,
    };
    Ok(Options {
        sealing,
        compression: match config.compression {
            FrameCompression::None => Compression::None,
            FrameCompression::Snappy => Compression::Snappy,
            FrameCompression::Zstd { level } => Compression::Zstd { level },
        },
        ..Options::default()
    })
}

fn random() -> Result<u64, RingFileError> {
    let mut bytes = [0; 8];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| RingFileError::Random)?;
    Ok(u64::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use diskring::Seq;
    use pipeline::config::{EncryptionConfig, KeySource, WhenFull};

    use super::*;

    fn config(key: Option<&Path>, old_key: Option<&Path>) -> BufferConfig {
        BufferConfig {
            size: ByteSize::bytes(1 << 20),
            when_full: WhenFull::Block,
            sync_delay_max: Duration::from_secs(1),
            sync_bytes: ByteSize::bytes(4096),
            write_budget: None,
            compression: FrameCompression::None,
            encryption: key.map(|key| EncryptionConfig {
                key: KeySource::File(key.to_owned()),
                old_key_files: old_key.into_iter().map(Path::to_owned).collect(),
            }),
        }
    }

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "a test's file may be half written"
    )]
    fn without_its_key_the_file_stays_untouched() {
        let folder = std::env::temp_dir().join(format!("hydrant-key-{}", std::process::id()));
        let (key, other) = (folder.join("key"), folder.join("other"));
        let (short, missing) = (folder.join("short"), folder.join("missing"));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(&key, [1; 32]).unwrap();
        std::fs::write(&other, "02".repeat(32)).unwrap();
        std::fs::write(&short, [1; 31]).unwrap();
        let mut ring = open(&folder, DEFAULT_BUFFER, &config(Some(&key), None)).unwrap();
        ring.append(1, 0, b"nobody else may read this").unwrap();
        ring.sync().unwrap();
        drop(ring);
        let path = folder.join(file_name(DEFAULT_BUFFER));
        let image = std::fs::read(&path).unwrap();
        // key, what the error says
        let table = [
            (Some(&other), "sealed with another key"),
            (None, "no key is given"),
            (Some(&short), "holds no key but 31 bytes"),
            (Some(&missing), "cannot be read"),
        ];
        for (wrong, text) in table {
            let wrong = wrong.map(PathBuf::as_path);
            let error = open(&folder, DEFAULT_BUFFER, &config(wrong, None))
                .unwrap_err()
                .to_string();
            assert!(error.contains(text), "{error}");
            assert!(std::fs::read(&path).unwrap() == image, "{text}: changed");
        }
        let ring = open(&folder, DEFAULT_BUFFER, &config(Some(&other), Some(&key))).unwrap();
        assert_eq!(ring.next(), Seq::new(1));
        drop(ring);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

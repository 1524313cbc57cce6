//! Which file, which key, and what to do when it is the wrong one.

use std::io;
use std::path::{Path, PathBuf};

use diskring::{Beside, OpenError, Options, Sealing};
use pipeline::config::{BufferConfig, DEFAULT_BUFFER, EncryptionConfig, KeySource};

use super::ToolError;
use crate::cli::RingPlace;
use crate::read_only_file::ReadOnlyFile;
use crate::{config_files, ring_file};

/// Smaller files are not even looked at for a superblock.
const SUPERBLOCKS_BYTES_MIN: u64 = 4 * 4096;

/// A ring that is open for reading.
pub(super) struct Located {
    /// Its file.
    pub(super) path: PathBuf,
    /// The ring in it.
    pub(super) beside: Beside<ReadOnlyFile>,
}

/// Opens the ring that was named, or else that of the configuration.
pub(super) fn open(place: &RingPlace) -> Result<Located, ToolError> {
    let (path, encryption) = if let Some(file) = &place.file {
        (file.clone(), None)
    } else {
        let (path, buffer) = of_buffer(&place.config, &place.buffer)?;
        (path, buffer.encryption)
    };
    let storage = ReadOnlyFile::open(&path).map_err(|error| cannot_open(&path, &error))?;
    let opened = match Beside::open(storage.clone(), Options::default()) {
        Err(OpenError::Key { .. }) => {
            let encryption = match keys_given(place) {
                Some(given) => given,
                None => encryption_of(place, encryption, &path)?,
            };
            let options = Options {
                sealing: Some(sealing(&encryption)?),
                ..Options::default()
            };
            Beside::open(storage, options)
        }
        opened => opened,
    };
    match opened {
        Ok(beside) => Ok(Located { path, beside }),
        Err(error) => Err(no_ring(&path, error, place)),
    }
}

/// The file and the settings of the buffer of this name.
fn of_buffer(config: &Path, name: &str) -> Result<(PathBuf, BufferConfig), ToolError> {
    let (agent, buffer) = config_files::load_ring(config, name).map_err(|problems| {
        let found: Vec<String> = problems.iter().map(ToString::to_string).collect();
        ToolError::usage(format!(
            "{}; name the file of a ring, or the configuration of its agent with --config",
            found.join("; ")
        ))
    })?;
    Ok((agent.state_dir.join(ring_file::file_name(name)), buffer))
}

/// The keys on the command line: the present one, then older ones.
fn keys_given(place: &RingPlace) -> Option<EncryptionConfig> {
    let (key, old_keys) = place.key_files.split_first()?;
    Some(EncryptionConfig {
        key: KeySource::File(key.clone()),
        old_key_files: old_keys.to_vec(),
    })
}

/// The keys that the configuration names, for a file that may have been named without it.
fn encryption_of(
    place: &RingPlace,
    known: Option<EncryptionConfig>,
    path: &Path,
) -> Result<EncryptionConfig, ToolError> {
    known
        .or_else(|| of_buffer(&place.config, &place.buffer).ok()?.1.encryption)
        .ok_or_else(|| {
            ToolError::storage(format!(
                "{} is encrypted, and {} names no key; give the file of its key with --key-file",
                path.display(),
                place.config.display()
            ))
        })
}

fn sealing(encryption: &EncryptionConfig) -> Result<Sealing, ToolError> {
    let (key, old_keys) = ring_file::read_keys(encryption).map_err(|error| {
        ToolError::storage(format!(
            "{error}; the ring is encrypted: give a file with its key with --key-file"
        ))
    })?;
    Ok(Sealing {
        key,
        old_keys,
        // Nothing is ever sealed with it: what recovery writes stays in memory.
        salt: 0,
    })
}

fn cannot_open(path: &Path, error: &io::Error) -> ToolError {
    let (path, file) = (path.display(), ring_file::file_name(DEFAULT_BUFFER));
    let known = [
        (
            io::ErrorKind::NotFound,
            "does not exist; name the file of a ring, or the configuration of its agent with \
             --config",
        ),
        (
            io::ErrorKind::PermissionDenied,
            "may not be read by this user; ask as root, or as the user of its agent",
        ),
    ];
    if error.kind() == io::ErrorKind::IsADirectory {
        return ToolError::storage(format!("{path} is a folder; name the file in it ({file})"));
    }
    let known = known.iter().find(|(kind, _)| *kind == error.kind());
    ToolError::storage(match known {
        Some((_, text)) => format!("{path} {text}"),
        None => format!("{path} cannot be opened: {error}"),
    })
}

fn no_ring(path: &Path, error: OpenError, place: &RingPlace) -> ToolError {
    let path = path.display();
    ToolError::storage(match error {
        OpenError::NotARing => format!("{path} holds no ring: it is empty, or begins with zeros"),
        OpenError::Damaged { what } => format!(
            "{path} is no ring, or damaged beyond recovery: {what}; name the file of a ring \
             ({}), or another copy of it",
            ring_file::file_name(DEFAULT_BUFFER)
        ),
        OpenError::Geometry { capacity, .. } if capacity < SUPERBLOCKS_BYTES_MIN => {
            format!("{path} is no ring, or what is left of one: it has only {capacity} bytes")
        }
        OpenError::Geometry { capacity, needed } => format!(
            "{path} has {capacity} bytes where its ring has {needed}: it was cut; copy it again"
        ),
        OpenError::Version { found, known } => format!(
            "{path} has format version {found} and this program knows {known}; use a newer hydrant"
        ),
        OpenError::Key { segment, .. } => {
            let given = if place.key_files.is_empty() {
                "the configuration names; give earlier keys in old_key_files, or all with --key-file"
            } else {
                "is given; give the right one, and each earlier one, with --key-file"
            };
            format!("segment {segment} of {path} is encrypted with another key than {given}")
        }
        OpenError::Storage(error) => {
            let error = ToolError::from(error);
            format!("{path}: {error}")
        }
        error => format!("{path} cannot be read: {error}"),
    })
}

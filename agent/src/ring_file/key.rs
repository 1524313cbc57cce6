//! Keys of the ring: 32 bytes, as they are, as 64 hexadecimal digits, or as base64.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use diskring::SealingKey;
use pipeline::config::{EncryptionConfig, KeySource};

const KEY_BYTES: usize = 32;
/// Longer files hold something else.
const FILE_BYTES_MAX: u64 = 1024;

/// Why there is no key.
#[derive(Debug)]
pub(crate) enum KeyError {
    /// The file cannot be read.
    Read(PathBuf, io::Error),
    /// What is in the file is no key.
    NoKey(PathBuf, usize),
    /// The credential is not given by systemd.
    NoCredentials(String),
}

impl std::fmt::Display for KeyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Read(path, error) => {
                write!(f, "the key {} cannot be read: {error}", path.display())
            }
            Self::NoKey(path, len) => write!(
                f,
                "{} holds no key but {len} bytes; a key is 32 bytes, as they are, as 64 \
                 hexadecimal digits or as base64",
                path.display()
            ),
            Self::NoCredentials(name) => write!(
                f,
                "credential {name} is not there, because CREDENTIALS_DIRECTORY is not set (systemd \
                 sets it for a service with LoadCredential=)"
            ),
        }
    }
}

impl std::error::Error for KeyError {}

/// The key for new records and those of older ones.
pub(crate) fn read_all(
    config: &EncryptionConfig,
) -> Result<(SealingKey, Vec<SealingKey>), KeyError> {
    let key = match &config.key {
        KeySource::File(path) => read(path)?,
        KeySource::Credential(name) => {
            let folder = std::env::var_os("CREDENTIALS_DIRECTORY")
                .ok_or_else(|| KeyError::NoCredentials(name.clone()))?;
            read(&Path::new(&folder).join(name))?
        }
    };
    let old_keys = config.old_key_files.iter().map(|path| read(path));
    Ok((key, old_keys.collect::<Result<_, _>>()?))
}

fn read(path: &Path) -> Result<SealingKey, KeyError> {
    let failed = |error| KeyError::Read(path.to_owned(), error);
    let mut bytes = Vec::new();
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(failed(io::Error::other("it is not a file")));
    }
    let file = File::open(path).map_err(failed)?;
    file.take(FILE_BYTES_MAX)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    parse(&bytes)
        .map(SealingKey::new)
        .ok_or_else(|| KeyError::NoKey(path.to_owned(), bytes.len()))
}

fn parse(bytes: &[u8]) -> Option<[u8; KEY_BYTES]> {
    if let Ok(key) = bytes.try_into() {
        return Some(key);
    }
    let text = std::str::from_utf8(bytes).ok()?.trim();
    if text.len() == 2 * KEY_BYTES && text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        let mut key = [0; KEY_BYTES];
        for (byte, digits) in key.iter_mut().zip(text.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        }
        return Some(key);
    }
    STANDARD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn keys_are_taken_in_three_forms() {
        let digits = "07".repeat(32);
        let wrong = "0g".repeat(32);
        let table: [(&[u8], bool); 9] = [
            (&[7; 32], true),
            (digits.as_bytes(), true),
            (b"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\n", true),
            (&[7; 31], false),
            (&[7; 33], false),
            (wrong.as_bytes(), false),
            (b"", false),
            (b"BwcH", false),
            (b"not a key at all, only a sentence of words", false),
        ];
        for (bytes, is_key) in table {
            assert_eq!(parse(bytes), is_key.then_some([7; 32]), "{bytes:?}");
        }
    }
}

//! What a file is recognized by: device, inode and a hash of what was read of its beginning.
//!
//! An inode is reused as soon as its file is deleted, and a file can be emptied and filled anew
//! in place, so the two numbers alone do not say that the content is the one that was read. The
//! fingerprint covers the first bytes up to the checkpoint, at most [`FINGERPRINT_BYTES`]: it
//! grows with the checkpoint, and what is skipped after a restart is what was read before it.

/// How much of a file's beginning a fingerprint covers at most.
pub const FINGERPRINT_BYTES: usize = 1024;

/// Which file system and which file on it; reused after a deletion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId {
    /// The device number, which a reboot may change.
    pub device: u64,
    /// The inode number.
    pub inode: u64,
}

/// A hash of a file's first bytes and how many they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint {
    len: u16,
    hash: u64,
}

impl Fingerprint {
    /// Of no bytes: every file has it.
    pub const EMPTY: Self = Self {
        len: 0,
        hash: FNV_BASIS,
    };

    /// Of as much of `head` as is covered; `head` is the beginning of a file.
    pub fn of(head: &[u8]) -> Self {
        let mut fingerprint = Self::EMPTY;
        fingerprint.extend(0, head);
        fingerprint
    }

    /// How many bytes are covered.
    pub fn len(self) -> usize {
        usize::from(self.len)
    }

    /// Whether nothing is covered.
    pub const fn is_empty(self) -> bool {
        self.len == 0
    }

    /// Whether as much is covered as ever will be.
    pub fn is_full(self) -> bool {
        self.len() == FINGERPRINT_BYTES
    }

    /// Takes in what follows the covered bytes, from `bytes` that stand at `offset` of the file.
    /// Bytes that do not follow directly, or are beyond the limit, change nothing.
    pub fn extend(&mut self, offset: u64, bytes: &[u8]) {
        let Some(known) = u64::try_from(self.len())
            .ok()
            .and_then(|len| len.checked_sub(offset))
            .and_then(|len| usize::try_from(len).ok())
        else {
            return;
        };
        let room = FINGERPRINT_BYTES.saturating_sub(self.len());
        for byte in bytes.iter().skip(known).take(room) {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME);
            self.len = self.len.saturating_add(1);
        }
    }

    /// Whether a file that begins with `head` has this fingerprint; `head` is its first
    /// [`FINGERPRINT_BYTES`], or all of it.
    pub fn matches(self, head: &[u8]) -> bool {
        head.get(..self.len())
            .is_some_and(|covered| Self::of(covered) == self)
    }
}

/// The key of a file's checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileKey {
    /// Which file.
    pub id: FileId,
    /// With which beginning.
    pub fingerprint: Fingerprint,
}

/// Length of an encoded [`FileKey`].
pub const KEY_BYTES: usize = 27;

/// What the first byte of an encoded key says: the layout of the rest.
const KEY_VERSION: u8 = 1;

impl FileKey {
    /// Version, device, inode, covered length, hash; little-endian.
    pub fn encode(self) -> [u8; KEY_BYTES] {
        let mut key = [KEY_VERSION; KEY_BYTES];
        let parts = self
            .id
            .device
            .to_le_bytes()
            .into_iter()
            .chain(self.id.inode.to_le_bytes())
            .chain(self.fingerprint.len.to_le_bytes())
            .chain(self.fingerprint.hash.to_le_bytes());
        for (place, byte) in key.iter_mut().skip(1).zip(parts) {
            *place = byte;
        }
        key
    }

    /// The reverse; `None` for anything else.
    pub fn decode(key: &[u8]) -> Option<Self> {
        let (&version, rest) = key.split_first()?;
        let (device, rest) = rest.split_first_chunk()?;
        let (inode, rest) = rest.split_first_chunk()?;
        let (len, rest) = rest.split_first_chunk()?;
        let (hash, rest) = rest.split_first_chunk()?;
        let fingerprint = Fingerprint {
            len: u16::from_le_bytes(*len),
            hash: u64::from_le_bytes(*hash),
        };
        let valid =
            version == KEY_VERSION && rest.is_empty() && fingerprint.len() <= FINGERPRINT_BYTES;
        valid.then_some(Self {
            id: FileId {
                device: u64::from_le_bytes(*device),
                inode: u64::from_le_bytes(*inode),
            },
            fingerprint,
        })
    }
}

/// FNV-1a, 64 bits: extends byte by byte, so that a growing fingerprint needs no second read.
const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fnv_is_the_published_one() {
        assert_eq!(Fingerprint::of(b"a").hash, 0xaf63_dc4c_8601_ec8c);
        assert_eq!(Fingerprint::of(b"foobar").hash, 0x8594_4171_f739_67e8);
    }

    #[test]
    fn grows_the_same_in_any_pieces() {
        let content: Vec<u8> = (0..3000_u32)
            .map(|n| u8::try_from(n % 251).unwrap())
            .collect();
        let whole = Fingerprint::of(&content);
        assert_eq!(whole.len(), FINGERPRINT_BYTES);
        for step in [1, 7, 100, 1023, 1024, 1025] {
            let mut grown = Fingerprint::EMPTY;
            for (n, piece) in content.chunks(step).enumerate() {
                grown.extend(u64::try_from(n * step).unwrap(), piece);
            }
            assert_eq!(grown, whole, "in steps of {step}");
        }
    }

    #[test]
    fn overlap_is_taken_once_and_gaps_never() {
        let mut fingerprint = Fingerprint::of(b"hello");
        fingerprint.extend(0, b"hello wor");
        assert_eq!(fingerprint, Fingerprint::of(b"hello wor"));
        fingerprint.extend(20, b"far away");
        assert_eq!(fingerprint, Fingerprint::of(b"hello wor"));
    }

    #[test]
    fn matches_the_same_beginning_only() {
        let fingerprint = Fingerprint::of(b"one line\n");
        for (head, expected) in [
            (&b"one line\n"[..], true),
            (b"one line\nand more", true),
            (b"one line", false),
            (b"One line\nand more", false),
            (b"", false),
        ] {
            assert_eq!(fingerprint.matches(head), expected, "{head:?}");
        }
        assert!(Fingerprint::EMPTY.matches(b""));
    }

    #[test]
    fn keys_survive_encoding_and_others_are_refused() {
        let key = FileKey {
            id: FileId {
                device: 0x0102_0304_0506_0708,
                inode: u64::MAX - 1,
            },
            fingerprint: Fingerprint::of(b"content"),
        };
        let encoded = key.encode();
        assert_eq!(FileKey::decode(&encoded), Some(key));
        assert_eq!(FileKey::decode(b"started"), None);
        assert_eq!(FileKey::decode(&encoded[..26]), None);
        let mut other = encoded;
        other[0] = 2;
        assert_eq!(FileKey::decode(&other), None);
    }
}

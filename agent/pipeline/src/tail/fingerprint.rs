//! What a file is recognized by: device, inode and a hash of what was read of its beginning.
//!
//! An inode is reused as soon as its file is deleted, and a file can be emptied and filled anew
//! in place, so the two numbers alone do not say that the content is the one that was read. The
//! fingerprint covers the first bytes up to the checkpoint, at most [`FINGERPRINT_BYTES`]: it
//! grows with the checkpoint, and what is skipped after a restart is what was read before it.
//! Where the file system says when a file was made, that tells files of one beginning apart as well.

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

/// When a file was made, as far as the file system says: a hash of the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Birth(u32);

impl Birth {
    /// The file system does not say, or nobody has asked.
    pub const UNKNOWN: Self = Self(0);

    /// At this moment since 1970.
    pub fn at(seconds: i64, nanos: u32) -> Self {
        let moment = seconds.to_le_bytes().into_iter().chain(nanos.to_le_bytes());
        let hash = moment.fold(FNV_BASIS, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME)
        });
        let folded = u32::try_from((hash >> 32) ^ (hash & u64::from(u32::MAX))).unwrap_or(0);
        Self(folded.max(1))
    }

    /// Whether nothing is known of it.
    pub const fn is_unknown(self) -> bool {
        self.0 == 0
    }

    /// Whether the two are surely of two files.
    pub fn differs(self, other: Self) -> bool {
        !self.is_unknown() && !other.is_unknown() && self != other
    }
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
    /// Made when.
    pub birth: Birth,
}

/// What the first byte of an encoded key says: the layout of the rest.
const KEY_WITHOUT_BIRTH: u8 = 1;
const KEY_WITH_BIRTH: u8 = 2;

impl FileKey {
    /// Version, device, inode, covered length, hash, and the birth where it is known;
    /// little-endian.
    pub fn encode(self) -> Vec<u8> {
        let mut key = vec![KEY_WITHOUT_BIRTH];
        key.extend(self.id.device.to_le_bytes());
        key.extend(self.id.inode.to_le_bytes());
        key.extend(self.fingerprint.len.to_le_bytes());
        key.extend(self.fingerprint.hash.to_le_bytes());
        if !self.birth.is_unknown() {
            key.extend(self.birth.0.to_le_bytes());
            if let Some(version) = key.first_mut() {
                *version = KEY_WITH_BIRTH;
            }
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
        let birth = match version {
            KEY_WITHOUT_BIRTH if rest.is_empty() => Birth::UNKNOWN,
            KEY_WITH_BIRTH => Birth(u32::from_le_bytes(rest.try_into().ok()?)),
            _ => return None,
        };
        (fingerprint.len() <= FINGERPRINT_BYTES).then_some(Self {
            id: FileId {
                device: u64::from_le_bytes(*device),
                inode: u64::from_le_bytes(*inode),
            },
            fingerprint,
            birth,
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
        let old = FileKey {
            id: FileId {
                device: 0x0102_0304_0506_0708,
                inode: u64::MAX - 1,
            },
            fingerprint: Fingerprint::of(b"content"),
            birth: Birth::UNKNOWN,
        };
        let birth = Birth::at(1_795_564_800, 7);
        for (key, len, version) in [(old, 27, 1), (FileKey { birth, ..old }, 31, 2)] {
            let encoded = key.encode();
            assert_eq!((encoded.len(), encoded[0]), (len, version));
            assert_eq!(FileKey::decode(&encoded), Some(key));
            assert_eq!(FileKey::decode(&encoded[..len - 1]), None);
            let mut other = encoded;
            other[0] = 3 - version;
            assert_eq!(FileKey::decode(&other), None);
        }
        assert_eq!(FileKey::decode(b"started"), None);
    }

    #[test]
    fn births_differ_only_where_both_are_known() {
        let birth = Birth::at(1_795_564_800, 7);
        assert!(birth.differs(Birth::at(1_795_564_800, 8)));
        assert!(birth.differs(Birth::at(-1, 7)));
        for same in [birth, Birth::UNKNOWN] {
            assert!(!birth.differs(same) && !same.differs(birth));
        }
    }
}

//! Sealing: what a frame holds is encrypted, so that a stolen disk tells nothing.
//!
//! ChaCha20-Poly1305 with a key for each segment, derived from the ring's id and the segment's
//! number, neither of which is ever used twice. The nonce is the frame's offset in its segment and
//! a random number drawn each time the ring is opened, which stands in the frame: within one
//! opening no offset is written twice, and two openings that write at the same place, because a
//! cut took back what the first wrote there, differ in the number. The frame's header is
//! authenticated with it. Without the `sealing` feature no key can be made.

use std::fmt;
use std::sync::Arc;

use crate::RingId;

/// What sealing adds to a frame: the random half of the nonce, and the tag.
pub(crate) const SEAL_BYTES: usize = SALT_BYTES + TAG_BYTES;
const SALT_BYTES: usize = 8;
const TAG_BYTES: usize = 16;
/// The id of the key of a segment that is not sealed.
pub(crate) const NOT_SEALED: u64 = 0;

/// A key of 256 bits.
#[derive(Clone, PartialEq, Eq)]
pub struct SealingKey {
    bytes: [u8; 32],
    id: u64,
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealingKey").finish_non_exhaustive()
    }
}

/// How a ring is sealed.
#[derive(Clone, Debug)]
pub struct Sealing {
    /// The key of segments begun from here on.
    pub key: SealingKey,
    /// Keys that segments still on disk were sealed with.
    pub old_keys: Vec<SealingKey>,
    /// A random number, drawn anew each time the ring is created or opened.
    pub salt: u64,
}

/// The keys as every part of an open ring has them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keys(Option<Arc<Sealing>>);

impl Keys {
    pub(crate) fn new(sealing: Option<&Sealing>) -> Self {
        Self(sealing.cloned().map(Arc::new))
    }

    /// The id of the key for new segments.
    pub(crate) fn id(&self) -> u64 {
        self.0.as_ref().map_or(NOT_SEALED, |sealing| sealing.key.id)
    }

    /// Whether a segment with this key's id can be read.
    pub(crate) fn know(&self, id: u64) -> bool {
        id == NOT_SEALED || self.all().any(|key| key.id == id)
    }

    /// The key of a segment that is being written; `None` when it is not sealed.
    pub(crate) fn segment(&self, id: u64, ring: RingId, number: u64) -> Option<SegmentKey> {
        let salt = self.0.as_ref()?.salt;
        let key = self.all().find(|key| key.id == id)?;
        Some(SegmentKey {
            key: aead::Key::new(&key.bytes, ring, number),
            #[cfg(feature = "sim")]
            number,
            salt,
        })
    }

    /// The body of a sealed frame as it was; `None` when no key fits or something was altered.
    pub(crate) fn open(
        &self,
        ring: RingId,
        number: u64,
        offset: u32,
        header: &[u8],
        body: &[u8],
    ) -> Option<Vec<u8>> {
        let (salt, sealed) = body.split_first_chunk::<SALT_BYTES>()?;
        self.all().find_map(|key| {
            let key = aead::Key::new(&key.bytes, ring, number);
            key.open(nonce(offset, *salt), header, sealed)
        })
    }

    fn all(&self) -> impl Iterator<Item = &SealingKey> {
        let sealing = self.0.as_ref();
        sealing
            .into_iter()
            .flat_map(|sealing| std::iter::once(&sealing.key).chain(&sealing.old_keys))
    }
}

/// Seals the frames of one segment.
#[derive(Debug)]
pub(crate) struct SegmentKey {
    key: aead::Key,
    #[cfg(feature = "sim")]
    number: u64,
    salt: u64,
}

impl SegmentKey {
    /// Appends the sealed body.
    pub(crate) fn seal(&self, offset: u32, header: &[u8], body: &[u8], out: &mut Vec<u8>) {
        #[cfg(feature = "sim")]
        crate::sim::note_nonce(self.number, offset, self.salt);
        let salt = self.salt.to_le_bytes();
        out.extend_from_slice(&salt);
        self.key.seal(nonce(offset, salt), header, body, out);
    }
}

fn nonce(offset: u32, salt: [u8; SALT_BYTES]) -> [u8; 12] {
    let mut nonce = [0; 12];
    let bytes = offset.to_le_bytes().into_iter().chain(salt);
    for (to, from) in nonce.iter_mut().zip(bytes) {
        *to = from;
    }
    nonce
}

#[cfg(feature = "sealing")]
mod aead {
    //! The cipher, from the `ring` crate.

    use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
    use ring::hmac;

    use super::{SealingKey, TAG_BYTES};
    use crate::RingId;

    impl SealingKey {
        /// The key with these bytes, which nobody can guess.
        pub fn new(bytes: [u8; 32]) -> Self {
            let digest = hmac::sign(
                &hmac::Key::new(hmac::HMAC_SHA256, &bytes),
                b"hydrant ring: id of the key",
            );
            let id = digest
                .as_ref()
                .first_chunk()
                .map_or(1, |head| u64::from_le_bytes(*head));
            Self {
                bytes,
                id: id.max(1),
            }
        }
    }

    /// The key of one segment.
    #[derive(Debug)]
    pub(super) struct Key(LessSafeKey);

    impl Key {
        #[expect(
            clippy::expect_used,
            reason = "a digest of SHA-256 is as long as a key of the cipher"
        )]
        pub(super) fn new(master: &[u8; 32], ring: RingId, number: u64) -> Self {
            let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, master));
            context.update(b"hydrant ring: key of a segment");
            context.update(&ring.0.to_le_bytes());
            context.update(&number.to_le_bytes());
            let key = UnboundKey::new(&CHACHA20_POLY1305, context.sign().as_ref());
            Self(LessSafeKey::new(key.expect("32 bytes")))
        }

        #[expect(
            clippy::expect_used,
            reason = "frames are far shorter than the cipher's limit"
        )]
        pub(super) fn seal(&self, nonce: [u8; 12], header: &[u8], body: &[u8], out: &mut Vec<u8>) {
            let start = out.len();
            out.extend_from_slice(body);
            let nonce = Nonce::assume_unique_for_key(nonce);
            let text = out.get_mut(start..).unwrap_or_default();
            let tag = self
                .0
                .seal_in_place_separate_tag(nonce, Aad::from(header), text)
                .expect("a frame is short");
            debug_assert_eq!(tag.as_ref().len(), TAG_BYTES);
            out.extend_from_slice(tag.as_ref());
        }

        pub(super) fn open(
            &self,
            nonce: [u8; 12],
            header: &[u8],
            sealed: &[u8],
        ) -> Option<Vec<u8>> {
            let mut text = sealed.to_vec();
            let nonce = Nonce::assume_unique_for_key(nonce);
            let opened = self.0.open_in_place(nonce, Aad::from(header), &mut text);
            let len = opened.ok()?.len();
            text.truncate(len);
            Some(text)
        }
    }
}

#[cfg(not(feature = "sealing"))]
mod aead {
    //! In place of the cipher: without a key nothing here is ever called.

    use crate::RingId;

    #[derive(Debug)]
    pub(super) struct Key;

    impl Key {
        pub(super) const fn new(_master: &[u8; 32], _ring: RingId, _number: u64) -> Self {
            Self
        }

        #[expect(clippy::unused_self, reason = "the same call in both builds")]
        pub(super) const fn seal(
            &self,
            _nonce: [u8; 12],
            _header: &[u8],
            _body: &[u8],
            _out: &mut Vec<u8>,
        ) {
        }

        #[expect(clippy::unused_self, reason = "the same call in both builds")]
        pub(super) const fn open(
            &self,
            _nonce: [u8; 12],
            _header: &[u8],
            _sealed: &[u8],
        ) -> Option<Vec<u8>> {
            None
        }
    }
}

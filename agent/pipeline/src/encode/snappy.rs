//! Snappy in blocks of 32 KiB, framed as snappy-java or as Hadoop frames it.
//!
//! Xerial: a header of 16 bytes, then the length of each compressed block and the block. Hadoop:
//! before each block its length, uncompressed and compressed. Lengths are 32 bits, big-endian.

use std::fmt;

/// Uncompressed bytes in a block.
const BLOCK_BYTES: usize = 32 << 10;

/// Magic, version 1, compatible with version 1.
const XERIAL_HEADER: [u8; 16] = *b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";

/// Whose framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// `SnappyOutputStream` of snappy-java.
    Xerial,
    /// Hadoop's `BlockCompressorStream`.
    Hadoop,
}

/// A snappy stream that grows.
pub(super) struct Snappy {
    framing: Framing,
    encoder: Box<snap::raw::Encoder>,
    block: Vec<u8>,
    compressed: Vec<u8>,
    out: Vec<u8>,
}

impl Snappy {
    pub(super) fn new(framing: Framing) -> Self {
        Self {
            framing,
            encoder: Box::new(snap::raw::Encoder::new()),
            block: Vec::with_capacity(BLOCK_BYTES),
            compressed: vec![0; snap::raw::max_compress_len(BLOCK_BYTES)],
            out: match framing {
                Framing::Xerial => XERIAL_HEADER.to_vec(),
                Framing::Hadoop => Vec::new(),
            },
        }
    }

    /// Lines are half as long, or less.
    pub(super) fn reserve(&mut self, raw_bytes: usize) {
        self.out.reserve_exact(raw_bytes / 2);
    }

    pub(super) fn write(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            let space = BLOCK_BYTES.saturating_sub(self.block.len());
            let (piece, rest) = data.split_at(space.min(data.len()));
            self.block.extend_from_slice(piece);
            data = rest;
            if self.block.len() == BLOCK_BYTES {
                self.close_block();
            }
        }
    }

    pub(super) const fn packed_bytes(&self) -> usize {
        self.out.len()
    }

    pub(super) fn drain(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.close_block();
        self.out
    }

    #[expect(
        clippy::expect_used,
        reason = "the space is what a whole block may need"
    )]
    fn close_block(&mut self) {
        if self.block.is_empty() {
            return;
        }
        let len = self
            .encoder
            .compress(&self.block, &mut self.compressed)
            .expect("a block fits");
        if self.framing == Framing::Hadoop {
            self.out.extend_from_slice(&be32(self.block.len()));
        }
        self.out.extend_from_slice(&be32(len));
        self.out.extend(self.compressed.iter().take(len));
        self.block.clear();
    }
}

impl fmt::Debug for Snappy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snappy")
            .field("framing", &self.framing)
            .field("compressed_bytes", &self.out.len())
            .finish_non_exhaustive()
    }
}

#[expect(clippy::big_endian_bytes, reason = "both framings want it")]
fn be32(number: usize) -> [u8; 4] {
    u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: &[u8] = b"\x06\x14hello\n";

    fn framed(framing: Framing, data: &[u8]) -> Vec<u8> {
        let mut snappy = Snappy::new(framing);
        for piece in data.chunks(1000) {
            snappy.write(piece);
        }
        snappy.finish()
    }

    /// The lengths and blocks of `bytes`, taken apart as Hadoop's decompressor does.
    fn unframed(framing: Framing, bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut rest = match framing {
            Framing::Xerial => bytes.strip_prefix(&XERIAL_HEADER).unwrap(),
            Framing::Hadoop => bytes,
        };
        let mut blocks = Vec::new();
        let length = |rest: &mut &[u8]| {
            let (number, after) = rest.split_at(4);
            *rest = after;
            number
                .iter()
                .fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte))
        };
        while !rest.is_empty() {
            let raw = (framing == Framing::Hadoop).then(|| length(&mut rest));
            let (block, after) = rest.split_at(4 + length(&mut &*rest));
            rest = after;
            let block = snap::raw::Decoder::new()
                .decompress_vec(&block[4..])
                .unwrap();
            assert!(raw.is_none_or(|raw| raw == block.len()));
            blocks.push(block);
        }
        blocks
    }

    #[test]
    fn small_streams_have_known_bytes() {
        assert_eq!(framed(Framing::Hadoop, b""), b"");
        assert_eq!(framed(Framing::Xerial, b""), XERIAL_HEADER);
        assert_eq!(
            framed(Framing::Hadoop, b"hello\n"),
            [b"\0\0\0\x06\0\0\0\x08", HELLO].concat()
        );
        assert_eq!(
            framed(Framing::Xerial, b"hello\n"),
            [XERIAL_HEADER.as_slice(), b"\0\0\0\x08", HELLO].concat()
        );
    }

    #[test]
    fn long_streams_are_cut_into_blocks() {
        for (len, last) in [(BLOCK_BYTES, BLOCK_BYTES), (100_000, 100_000 % BLOCK_BYTES)] {
            let data: Vec<u8> = (0..=250).cycle().take(len).collect();
            for framing in [Framing::Xerial, Framing::Hadoop] {
                let blocks = unframed(framing, &framed(framing, &data));
                assert_eq!(blocks.last().map(Vec::len), Some(last));
                for block in blocks.iter().rev().skip(1) {
                    assert_eq!(block.len(), BLOCK_BYTES);
                }
                assert_eq!(blocks.concat(), data);
            }
        }
    }
}

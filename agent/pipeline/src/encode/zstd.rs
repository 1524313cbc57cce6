//! Zstandard (RFC 8878): one frame with a checksum, in deterministic bytes.

use std::fmt;

use zstd_safe::zstd_sys::ZSTD_EndDirective;
use zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer};

/// On lines of JSON, level 3 is slower than this and no smaller.
const LEVEL_USUAL: i32 = 1;

/// 1 MiB: whoever decompresses needs as much, and so does every level here, instead of 8 MiB.
const WINDOW_LOG: u32 = 20;

/// The largest table of positions, 2 to the power of this; level 9 would take sixteen times as much.
const TABLE_LOG_MAX: u32 = 18;

/// So much smaller logs become, at least.
const RATIO: usize = 4;

/// What one call may write before it is called again.
const STEP_BYTES: usize = 32 << 10;

/// A frame that grows.
pub(super) struct Zstd {
    context: CCtx<'static>,
    out: Vec<u8>,
}

impl Zstd {
    /// An empty frame, compressed at this level of 1 to 9.
    #[expect(
        clippy::expect_used,
        reason = "parameters are constants that a test sets"
    )]
    pub(super) fn new(level: Option<u8>) -> Self {
        let mut context = CCtx::create();
        let level = level.map_or(LEVEL_USUAL, |level| i32::from(level.clamp(1, 9)));
        let mut parameters = vec![
            CParameter::CompressionLevel(level),
            CParameter::WindowLog(WINDOW_LOG),
            CParameter::ChecksumFlag(true),
        ];
        if level > 3 {
            parameters.push(CParameter::HashLog(TABLE_LOG_MAX));
            parameters.push(CParameter::ChainLog(TABLE_LOG_MAX));
        }
        for parameter in parameters {
            context.set_parameter(parameter).expect("a valid parameter");
        }
        Self {
            context,
            out: Vec::new(),
        }
    }

    pub(super) fn reserve(&mut self, raw_bytes: usize) {
        self.out.reserve_exact(raw_bytes / RATIO);
    }

    pub(super) fn write(&mut self, data: &[u8]) {
        self.run(data, ZSTD_EndDirective::ZSTD_e_continue);
    }

    pub(super) const fn packed_bytes(&self) -> usize {
        self.out.len()
    }

    pub(super) fn drain(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.run(&[], ZSTD_EndDirective::ZSTD_e_end);
        self.out
    }

    #[expect(
        clippy::expect_used,
        reason = "there is always room, so that only a lack of memory fails"
    )]
    fn run(&mut self, data: &[u8], directive: ZSTD_EndDirective) {
        let mut input = InBuffer::around(data);
        loop {
            self.out.reserve(STEP_BYTES);
            let at = self.out.len();
            let mut output = OutBuffer::around_pos(&mut self.out, at);
            let left = self
                .context
                .compress_stream2(&mut output, &mut input, directive)
                .expect("compression cannot fail");
            let is_taken = input.pos() == data.len();
            let is_done = match directive {
                ZSTD_EndDirective::ZSTD_e_continue => is_taken,
                ZSTD_EndDirective::ZSTD_e_flush | ZSTD_EndDirective::ZSTD_e_end => left == 0,
            };
            if is_done {
                return;
            }
        }
    }
}

impl fmt::Debug for Zstd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Zstd")
            .field("compressed_bytes", &self.out.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(level: Option<u8>, data: &[u8]) -> Vec<u8> {
        let mut zstd = Zstd::new(level);
        for piece in data.chunks(STEP_BYTES) {
            zstd.write(piece);
        }
        zstd.finish()
    }

    fn decoded(frame: &[u8], len: usize) -> Vec<u8> {
        let mut data = Vec::with_capacity(len + 1);
        zstd_safe::decompress(&mut data, frame).unwrap();
        data
    }

    #[test]
    fn every_level_gives_back_what_went_in() {
        let mut noise = 1_u32;
        let data: Vec<u8> = (0..400_000_u32)
            .flat_map(|number| {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let byte = u8::try_from(noise >> 24).unwrap();
                [byte, u8::try_from(number % 97).unwrap(), 0, b'{']
            })
            .collect();
        let mut sizes = Vec::new();
        for level in (1..=9).map(Some).chain([None]) {
            for len in [0, 1, 100_000, data.len()] {
                let frame = frame(level, &data[..len]);
                assert!(decoded(&frame, len) == data[..len], "{level:?} {len}");
                sizes.push(frame.len());
            }
        }
        assert!(sizes.iter().all(|size| *size < data.len() * 3 / 4));
    }

    /// What is checked is the content checksum: without it this would be other data.
    #[test]
    fn a_flipped_byte_is_noticed() {
        let data = vec![b'x'; 1000];
        let mut frame = frame(None, &data);
        *frame.last_mut().unwrap() ^= 1;
        let mut decoded: Vec<u8> = Vec::with_capacity(2000);
        assert!(zstd_safe::decompress(&mut decoded, &frame).is_err());
    }
}

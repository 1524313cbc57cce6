//! gzip (RFC 1952) and zip around one stream of deflate (RFC 1951), in deterministic bytes.

use std::fmt;

use miniz_oxide::DataFormat;
use miniz_oxide::deflate::core::{
    CompressionStrategy, CompressorOxide, TDEFLFlush, TDEFLStatus, compress_to_output,
};

/// What a gateway can afford: level 1 costs about as much and saves less.
const LEVEL_USUAL: u8 = 2;

const WINDOW_BITS: u8 = 15;

/// So much smaller logs become, at least.
const RATIO: usize = 4;

/// Method deflate, no flags, no time, no extra flags, unknown system.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// The header of a zip entry without its name.
const ZIP_LOCAL_BYTES: usize = 30;

/// A name in a zip archive has the length of a UUID.
const ZIP_NAME_BYTES: usize = 36;

/// Version 2.0, no flags, method deflate, midnight of 1980-01-01.
const ZIP_COMMON: [u8; 10] = [20, 0, 0, 0, 8, 0, 0, 0, 0x21, 0];

/// A gzip member that grows.
#[derive(Debug)]
pub(super) struct Gzip(Deflate);

/// A zip archive of one entry that grows.
#[derive(Debug)]
pub(super) struct Zip(Deflate);

/// Deflate behind a header, with the checksum and size of what went in.
struct Deflate {
    compressor: Box<CompressorOxide>,
    header_bytes: usize,
    out: Vec<u8>,
    crc: crc32fast::Hasher,
    raw_bytes: u64,
}

/// `data` as one gzip member.
pub fn gzip_member(data: &[u8]) -> Vec<u8> {
    gzip_member_at(data, None)
}

/// `data` as one gzip member, compressed at this level of 1 to 9.
pub fn gzip_member_at(data: &[u8], level: Option<u8>) -> Vec<u8> {
    let mut gzip = Gzip::new(level);
    gzip.write(data);
    gzip.finish()
}

impl Gzip {
    pub(super) fn new(level: Option<u8>) -> Self {
        Self(Deflate::new(GZIP_HEADER.to_vec(), level))
    }

    pub(super) fn reserve(&mut self, raw_bytes: usize) {
        self.0.reserve(raw_bytes);
    }

    pub(super) fn write(&mut self, data: &[u8]) {
        self.0.write(data);
    }

    pub(super) const fn packed_bytes(&self) -> usize {
        self.0.out.len()
    }

    pub(super) fn drain(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0.out)
    }

    pub(super) fn finish(self) -> Vec<u8> {
        let (mut out, sums) = self.0.finish();
        out.extend_from_slice(&sums.crc.to_le_bytes());
        out.extend_from_slice(&sums.raw_bytes.to_le_bytes());
        out
    }
}

impl Zip {
    pub(super) fn new(level: Option<u8>) -> Self {
        // The header is written at the end, when sizes and name are known.
        let header = vec![0; ZIP_LOCAL_BYTES + ZIP_NAME_BYTES];
        Self(Deflate::new(header, level))
    }

    pub(super) fn reserve(&mut self, raw_bytes: usize) {
        self.0.reserve(raw_bytes);
    }

    pub(super) fn write(&mut self, data: &[u8]) {
        self.0.write(data);
    }

    /// Completes the archive; its entry is called `name`.
    pub(super) fn finish(self, name: &str) -> Vec<u8> {
        assert_eq!(name.len(), ZIP_NAME_BYTES, "the header has this much space");
        let (mut out, sums) = self.0.finish();
        let mut about = ZIP_COMMON.to_vec();
        about.extend_from_slice(&sums.crc.to_le_bytes());
        about.extend_from_slice(&sums.compressed_bytes.to_le_bytes());
        about.extend_from_slice(&sums.raw_bytes.to_le_bytes());
        about.extend_from_slice(&le16(name.len()));
        about.extend_from_slice(&[0, 0]);

        let mut local = b"PK\x03\x04".to_vec();
        local.extend_from_slice(&about);
        local.extend_from_slice(name.as_bytes());
        for (place, byte) in out.iter_mut().zip(&local) {
            *place = *byte;
        }

        let central_at = out.len();
        out.extend_from_slice(b"PK\x01\x02\x14\x00");
        out.extend_from_slice(&about);
        // No comment, first disk, no attributes, header at 0.
        out.extend_from_slice(&[0; 14]);
        out.extend_from_slice(name.as_bytes());

        let central_bytes = out.len().saturating_sub(central_at);
        out.extend_from_slice(b"PK\x05\x06\0\0\0\0\x01\0\x01\0");
        out.extend_from_slice(&le32(central_bytes));
        out.extend_from_slice(&le32(central_at));
        out.extend_from_slice(&[0, 0]);
        out
    }
}

/// What a trailer says of a stream.
struct Sums {
    crc: u32,
    raw_bytes: u32,
    compressed_bytes: u32,
}

impl Deflate {
    fn new(header: Vec<u8>, level: Option<u8>) -> Self {
        Self {
            compressor: Box::new(CompressorOxide::with_params(
                DataFormat::Raw,
                level.unwrap_or(LEVEL_USUAL).clamp(1, 9),
                CompressionStrategy::Default,
                WINDOW_BITS,
            )),
            header_bytes: header.len(),
            out: header,
            crc: crc32fast::Hasher::new(),
            raw_bytes: 0,
        }
    }

    fn reserve(&mut self, raw_bytes: usize) {
        self.out.reserve_exact(raw_bytes / RATIO);
    }

    fn write(&mut self, data: &[u8]) {
        self.crc.update(data);
        self.raw_bytes = self
            .raw_bytes
            .saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
        let status = self.compress(data, TDEFLFlush::None);
        assert_eq!(status, TDEFLStatus::Okay, "there is always space");
    }

    fn finish(mut self) -> (Vec<u8>, Sums) {
        let status = self.compress(&[], TDEFLFlush::Finish);
        assert_eq!(status, TDEFLStatus::Done, "there is always space");
        let sums = Sums {
            crc: self.crc.finalize(),
            raw_bytes: modulo(self.raw_bytes),
            compressed_bytes: u32::from_le_bytes(le32(
                self.out.len().saturating_sub(self.header_bytes),
            )),
        };
        (self.out, sums)
    }

    fn compress(&mut self, data: &[u8], flush: TDEFLFlush) -> TDEFLStatus {
        let out = &mut self.out;
        let (status, consumed) =
            compress_to_output(&mut self.compressor, data, flush, |compressed| {
                out.extend_from_slice(compressed);
                true
            });
        assert_eq!(consumed, data.len(), "nothing may be left out");
        status
    }
}

impl fmt::Debug for Deflate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deflate")
            .field("raw_bytes", &self.raw_bytes)
            .field("compressed_bytes", &self.out.len())
            .finish_non_exhaustive()
    }
}

/// The low 32 bits, as RFC 1952 wants a size.
fn modulo(number: u64) -> u32 {
    u32::try_from(number & u64::from(u32::MAX)).unwrap_or(u32::MAX)
}

fn le16(number: usize) -> [u8; 2] {
    u16::try_from(number).unwrap_or(u16::MAX).to_le_bytes()
}

/// A batch is smaller than 4 GiB.
fn le32(number: usize) -> [u8; 4] {
    u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "01234567-89ab-8def-8123-456789abcdef";

    fn zip_of(data: &[u8]) -> Vec<u8> {
        let mut zip = Zip::new(None);
        zip.write(data);
        zip.finish(NAME)
    }

    #[test]
    fn gzip_bytes_stay() {
        // What zlib's own inflate takes, with CRC and length checked.
        assert_eq!(
            gzip_member(b""),
            [
                0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0
            ]
        );
        assert_eq!(
            gzip_member(b"hello\n"),
            [
                0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 0xcb, 0x48, 0xcd, 0xc9, 0xc9, 0xe7, 2, 0,
                0x20, 0x30, 0x3a, 0x36, 6, 0, 0, 0
            ]
        );
    }

    #[test]
    fn zip_bytes_stay() {
        let archive = zip_of(b"hello\n");
        let mut expected = b"PK\x03\x04\x14\0\0\0\x08\0\0\0\x21\0\x20\x30\x3a\x36".to_vec();
        expected.extend_from_slice(b"\x08\0\0\0\x06\0\0\0\x24\0\0\0");
        expected.extend_from_slice(NAME.as_bytes());
        expected.extend_from_slice(b"\xcb\x48\xcd\xc9\xc9\xe7\x02\0");
        let central_at = u8::try_from(expected.len()).unwrap();
        expected.extend_from_slice(b"PK\x01\x02\x14\0\x14\0\0\0\x08\0\0\0\x21\0\x20\x30\x3a\x36");
        expected.extend_from_slice(b"\x08\0\0\0\x06\0\0\0\x24\0\0\0");
        expected.extend_from_slice(&[0; 14]);
        expected.extend_from_slice(NAME.as_bytes());
        expected.extend_from_slice(b"PK\x05\x06\0\0\0\0\x01\0\x01\0\x52\0\0\0");
        expected.extend_from_slice(&[central_at, 0, 0, 0, 0, 0]);
        assert_eq!(archive, expected);
    }

    #[test]
    fn what_is_written_in_pieces_is_the_whole() {
        let data: Vec<u8> = (0..200_000_u32)
            .flat_map(|number| (number % 1000 * 7).to_le_bytes())
            .collect();
        let mut gzip = Gzip::new(None);
        for piece in data.chunks(32 << 10) {
            gzip.write(piece);
        }
        let member = gzip.finish();
        let body = &member[GZIP_HEADER.len()..member.len() - 8];
        assert_eq!(miniz_oxide::inflate::decompress_to_vec(body).unwrap(), data);
        assert_eq!(
            member[member.len() - 8..member.len() - 4],
            crc32fast::hash(&data).to_le_bytes()
        );
    }
}

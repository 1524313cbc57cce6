//! How the bodies of frames are made smaller: each alone, so that a damaged one costs no other.

use std::fmt;

use zstd_safe::{CCtx, CParameter};

use crate::geometry::{Compression, FRAME_RAW_MAX};

/// Bodies that are smaller are not worth trying.
const RAW_MIN: usize = 48;

/// The largest tables of positions, 2 to the power of this: 256 KiB each, where a level would take
/// more of them than the usual frame of 32 KiB can use.
const TABLE_LOG_MAX: u32 = 16;

/// What a frame's header says of its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    /// As it is.
    None,
    /// Snappy, without framing.
    Snappy,
    /// A frame of Zstandard that tells its size.
    Zstd,
}

/// Compresses bodies, with what it needs for that kept for the next.
pub(crate) struct Compressor(Method);

enum Method {
    None,
    Snappy(Box<snap::raw::Encoder>),
    Zstd(CCtx<'static>),
}

impl Compressor {
    pub(crate) fn new(compression: Compression) -> Self {
        Self(match compression {
            Compression::None => Method::None,
            Compression::Snappy => Method::Snappy(Box::new(snap::raw::Encoder::new())),
            Compression::Zstd { level } => Method::Zstd(context(level)),
        })
    }

    /// Puts the body into the front of `out`, which grows as needed. How it is packed there and how
    /// long it is; `None` where that saves too little.
    pub(crate) fn compress(&mut self, raw: &[u8], out: &mut Vec<u8>) -> Option<(Packing, usize)> {
        if raw.len() < RAW_MIN {
            return None;
        }
        let (packing, len) = match &mut self.0 {
            Method::None => return None,
            Method::Snappy(encoder) => {
                make_room(out, snap::raw::max_compress_len(raw.len()));
                (Packing::Snappy, encoder.compress(raw, out).ok()?)
            }
            Method::Zstd(context) => {
                make_room(out, zstd_safe::compress_bound(raw.len()));
                (Packing::Zstd, context.compress2(&mut out[..], raw).ok()?)
            }
        };
        // A sixteenth saved pays for the decompression.
        (len <= raw.len() - raw.len() / 16).then_some((packing, len))
    }
}

fn context(level: u8) -> CCtx<'static> {
    let mut context = CCtx::create();
    let mut parameters = vec![CParameter::CompressionLevel(i32::from(level.clamp(1, 9)))];
    if level > 3 {
        parameters.push(CParameter::HashLog(TABLE_LOG_MAX));
        parameters.push(CParameter::ChainLog(TABLE_LOG_MAX));
    }
    for parameter in parameters {
        let taken = context.set_parameter(parameter);
        // With another parameter than this the frames would be valid all the same.
        debug_assert!(taken.is_ok());
    }
    context
}

pub(crate) fn make_room(out: &mut Vec<u8>, len: usize) {
    if out.len() < len {
        out.resize(len, 0);
    }
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Method::None => "None",
            Method::Snappy(_) => "Snappy",
            Method::Zstd(_) => "Zstd",
        })
    }
}

/// What was compressed; `None` when it cannot be had, or would take more memory than any frame.
pub(crate) fn decompress(packing: Packing, body: &[u8]) -> Option<Vec<u8>> {
    match packing {
        Packing::None => Some(body.to_vec()),
        Packing::Snappy => {
            let len = snap::raw::decompress_len(body).ok()?;
            // Snappy expands at most 64 bytes for each three; more is a lie that would cost memory.
            if len > FRAME_RAW_MAX || len / 32 > body.len() {
                return None;
            }
            let mut raw = vec![0; len];
            let written = snap::raw::Decoder::new().decompress(body, &mut raw).ok()?;
            (written == len).then_some(raw)
        }
        Packing::Zstd => {
            let len = zstd_safe::get_frame_content_size(body).ok()??;
            let len = usize::try_from(len)
                .ok()
                .filter(|len| *len <= FRAME_RAW_MAX)?;
            let mut raw = vec![0; len];
            let written = zstd_safe::decompress(&mut raw[..], body).ok()?;
            (written == len).then_some(raw)
        }
    }
}

//! Unpacks gzip (RFC 1952) piece by piece, with a window of 32 KiB whatever the file says.
//!
//! A file may hold several members one after another, and zeros behind the last one. Nothing is
//! believed: length and checksum of each member are compared.

use std::fmt;

use crc32fast::Hasher;
use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZError, MZFlush, MZStatus};

/// The fixed part of a member's header.
const HEADER_BYTES: usize = 10;
const TRAILER_BYTES: usize = 8;

const FLAG_HEADER_CRC: u8 = 2;
const FLAG_EXTRA: u8 = 4;
const FLAG_NAME: u8 = 8;
const FLAG_COMMENT: u8 = 16;
const FLAGS_RESERVED: u8 = 0xe0;

/// Why a file cannot be unpacked any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GunzipError {
    /// It does not begin as gzip does.
    NoGzip,
    /// The compressed bytes are none.
    Damaged,
    /// Length or checksum differ from what was unpacked.
    Mismatch,
    /// Something else stands behind the end.
    Trailing,
    /// It ends too early.
    Truncated,
}

impl fmt::Display for GunzipError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoGzip => "is not a gzip file",
            Self::Damaged => "is damaged: its compressed bytes cannot be read any further",
            Self::Mismatch => "is damaged: its checksum is another than that of its content",
            Self::Trailing => "has something behind its end that is not gzip",
            Self::Truncated => "ends too early: the rest of its content is missing",
        })
    }
}

impl std::error::Error for GunzipError {}

/// How far a call came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Bytes of the input that are done with.
    pub consumed: usize,
    /// Bytes of the output that were written.
    pub written: usize,
    /// Why nothing comes behind them.
    pub error: Option<GunzipError>,
}

/// A gzip file that is being unpacked.
pub struct Gunzip {
    state: State,
    inflate: Box<InflateState>,
    hasher: Hasher,
    len: u32,
    members: u64,
}

impl fmt::Debug for Gunzip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gunzip")
            .field("state", &self.state)
            .field("members", &self.members)
            .finish_non_exhaustive()
    }
}

/// What comes next in the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The fixed part of a header, of which so much has come.
    Header([u8; HEADER_BYTES], usize),
    /// The length of the extra field, of which so much has come.
    ExtraLen { flags: u8, lower: Option<u8> },
    /// The extra field.
    Extra { flags: u8, left: u16 },
    /// A text that ends with a zero; of the flags those that are not done.
    Text { flags: u8 },
    /// The checksum of the header, which is not looked at.
    HeaderCrc { left: u8 },
    /// Compressed bytes.
    Body,
    /// Checksum and length, of which so much has come.
    Trailer([u8; TRAILER_BYTES], usize),
    /// Zeros behind the last member.
    Padding,
}

impl Default for Gunzip {
    fn default() -> Self {
        Self {
            state: State::Header([0; HEADER_BYTES], 0),
            inflate: InflateState::new_boxed(DataFormat::Raw),
            hasher: Hasher::new(),
            len: 0,
            members: 0,
        }
    }
}

impl Gunzip {
    /// Unpacks what `input` goes on with, until it is used up or `output` is full.
    pub fn unpack(&mut self, input: &[u8], output: &mut [u8]) -> Unpacked {
        let mut done = Unpacked::default();
        while done.error.is_none() {
            let rest = input.get(done.consumed..).unwrap_or_default();
            if self.state == State::Body {
                let room = output.get_mut(done.written..).unwrap_or_default();
                let step = self.body(rest, room);
                done.consumed += step.consumed;
                done.written += step.written;
                done.error = step.error;
                let is_stuck = step.consumed == 0 && step.written == 0;
                if self.state == State::Body && is_stuck {
                    break;
                }
                continue;
            }
            let Some(byte) = rest.first() else {
                break;
            };
            done.error = self.byte(*byte).err();
            done.consumed += 1;
        }
        done
    }

    /// The file is over: whether that is where it may be.
    pub fn handle_end(&self) -> Result<(), GunzipError> {
        match self.state {
            State::Padding => Ok(()),
            State::Header(_, 0) if self.members > 0 => Ok(()),
            State::Header(..)
            | State::ExtraLen { .. }
            | State::Extra { .. }
            | State::Text { .. }
            | State::HeaderCrc { .. }
            | State::Body
            | State::Trailer(..) => Err(GunzipError::Truncated),
        }
    }

    fn body(&mut self, input: &[u8], output: &mut [u8]) -> Unpacked {
        let result = inflate(&mut self.inflate, input, output, MZFlush::None);
        let written = output.get(..result.bytes_written).unwrap_or_default();
        self.hasher.update(written);
        let len = u32::try_from(written.len()).unwrap_or(u32::MAX);
        self.len = self.len.wrapping_add(len);
        let error = match result.status {
            Ok(MZStatus::StreamEnd) => {
                self.state = State::Trailer([0; TRAILER_BYTES], 0);
                None
            }
            // That nothing can be done without more input or room is no error here.
            Ok(MZStatus::Ok | MZStatus::NeedDict) | Err(MZError::Buf) => None,
            Err(_) => Some(GunzipError::Damaged),
        };
        Unpacked {
            consumed: result.bytes_consumed,
            written: result.bytes_written,
            error,
        }
    }

    /// Takes a byte that is not a compressed one.
    fn byte(&mut self, byte: u8) -> Result<(), GunzipError> {
        self.state = match self.state {
            State::Header(header, len) => return self.header(header, len, byte),
            State::ExtraLen { flags, lower: None } => State::ExtraLen {
                flags,
                lower: Some(byte),
            },
            State::ExtraLen {
                flags,
                lower: Some(lower),
            } => match u16::from_le_bytes([lower, byte]) {
                0 => after(flags),
                left => State::Extra { flags, left },
            },
            State::Extra { flags, left: 1 } => after(flags),
            State::Extra { flags, left } => State::Extra {
                flags,
                left: left.saturating_sub(1),
            },
            State::Text { flags } if byte == 0 => after(flags),
            State::HeaderCrc { left: 1 } => State::Body,
            State::HeaderCrc { left } => State::HeaderCrc {
                left: left.saturating_sub(1),
            },
            State::Trailer(trailer, len) => return self.trailer(trailer, len, byte),
            State::Padding if byte != 0 => return Err(GunzipError::Trailing),
            state @ (State::Text { .. } | State::Body | State::Padding) => state,
        };
        Ok(())
    }

    fn header(
        &mut self,
        mut header: [u8; HEADER_BYTES],
        len: usize,
        byte: u8,
    ) -> Result<(), GunzipError> {
        let is_first = self.members == 0;
        if len == 0 && byte == 0 && !is_first {
            self.state = State::Padding;
            return Ok(());
        }
        let fits = match len {
            0 => byte == 0x1f,
            1 => byte == 0x8b,
            2 => byte == 8,
            3 => byte & FLAGS_RESERVED == 0,
            _ => true,
        };
        if !fits {
            return Err(if is_first {
                GunzipError::NoGzip
            } else {
                GunzipError::Trailing
            });
        }
        if let Some(place) = header.get_mut(len) {
            *place = byte;
        }
        let [_, _, _, flags, ..] = header;
        self.state = if len + 1 == HEADER_BYTES {
            after(flags)
        } else {
            State::Header(header, len + 1)
        };
        Ok(())
    }

    fn trailer(
        &mut self,
        mut trailer: [u8; TRAILER_BYTES],
        len: usize,
        byte: u8,
    ) -> Result<(), GunzipError> {
        if let Some(place) = trailer.get_mut(len) {
            *place = byte;
        }
        if len + 1 < TRAILER_BYTES {
            self.state = State::Trailer(trailer, len + 1);
            return Ok(());
        }
        let hasher = std::mem::take(&mut self.hasher);
        let (crc, size) = (hasher.finalize().to_le_bytes(), self.len.to_le_bytes());
        if !trailer.starts_with(&crc) || !trailer.ends_with(&size) {
            return Err(GunzipError::Mismatch);
        }
        self.len = 0;
        self.members = self.members.saturating_add(1);
        self.inflate.reset(DataFormat::Raw);
        self.state = State::Header([0; HEADER_BYTES], 0);
        Ok(())
    }
}

/// What follows in a header of which only these flags are not done.
const fn after(flags: u8) -> State {
    if flags & FLAG_EXTRA != 0 {
        State::ExtraLen {
            flags: flags & !FLAG_EXTRA,
            lower: None,
        }
    } else if flags & FLAG_NAME != 0 {
        State::Text {
            flags: flags & !FLAG_NAME,
        }
    } else if flags & FLAG_COMMENT != 0 {
        State::Text {
            flags: flags & !FLAG_COMMENT,
        }
    } else if flags & FLAG_HEADER_CRC != 0 {
        State::HeaderCrc { left: 2 }
    } else {
        State::Body
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::gzip_member;

    /// Unpacks in pieces of `step` and room for `room`.
    fn unpack(packed: &[u8], step: usize, room: usize) -> (Vec<u8>, Result<(), GunzipError>) {
        let mut gunzip = Gunzip::default();
        let mut content = Vec::new();
        let mut output = vec![0; room];
        for piece in packed.chunks(step) {
            let mut piece = piece;
            loop {
                let done = gunzip.unpack(piece, &mut output);
                content.extend_from_slice(&output[..done.written]);
                if let Some(error) = done.error {
                    return (content, Err(error));
                }
                piece = &piece[done.consumed..];
                if done.written < room && piece.is_empty() {
                    break;
                }
            }
        }
        (content, gunzip.handle_end())
    }

    fn lines() -> Vec<u8> {
        (0..20_000)
            .flat_map(|n: u32| format!("line {n} {}\n", n.wrapping_mul(2_654_435_761)).into_bytes())
            .collect()
    }

    #[test]
    fn every_way_of_reading_unpacks_the_same() {
        let lines = lines();
        let packed = gzip_member(&lines);
        for (step, room) in [
            (1, 1000),
            (7, 64),
            (1000, 7),
            (65_536, 65_536),
            (1 << 20, 1 << 20),
        ] {
            let (content, end) = unpack(&packed, step, room);
            assert!(content == lines, "step {step}, room {room}");
            assert_eq!(end, Ok(()));
        }
    }

    #[test]
    fn several_members_and_zeros_behind_them() {
        let mut packed = gzip_member(b"one\n");
        packed.extend(gzip_member(b""));
        packed.extend(gzip_member(b"two\n"));
        assert_eq!(unpack(&packed, 3, 5), (b"one\ntwo\n".to_vec(), Ok(())));
        packed.extend([0; 600]);
        assert_eq!(unpack(&packed, 3, 5), (b"one\ntwo\n".to_vec(), Ok(())));
        packed.push(b'x');
        let (content, end) = unpack(&packed, 3, 5);
        assert_eq!(
            (content.as_slice(), end),
            (&b"one\ntwo\n"[..], Err(GunzipError::Trailing))
        );
    }

    #[test]
    fn optional_parts_of_a_header_are_skipped() {
        let plain = gzip_member(b"x");
        for flags in 0..32 {
            let mut packed = plain[..HEADER_BYTES].to_vec();
            packed[3] = flags;
            let parts: [(u8, &[u8]); 4] = [
                (FLAG_EXTRA, b"\x03\0abc"),
                (FLAG_NAME, b"name\0"),
                (FLAG_COMMENT, b"comment\0"),
                (FLAG_HEADER_CRC, b"\0\0"),
            ];
            for (flag, part) in parts {
                if flags & flag != 0 {
                    packed.extend_from_slice(part);
                }
            }
            packed.extend_from_slice(&plain[HEADER_BYTES..]);
            assert_eq!(unpack(&packed, 1, 5), (b"x".to_vec(), Ok(())), "{flags}");
        }
    }

    #[test]
    fn what_is_cut_or_damaged_is_told_and_what_was_read_is_true() {
        let lines = lines();
        let packed = gzip_member(&lines);
        for end in (0..packed.len()).step_by(997) {
            let (content, told) = unpack(&packed[..end], 500, 1000);
            assert_eq!(told, Err(GunzipError::Truncated), "cut at {end}");
            assert!(lines.starts_with(&content));
        }
        for place in (0..packed.len()).step_by(997) {
            let mut broken = packed.clone();
            broken[place] ^= 0x10;
            let (content, told) = unpack(&broken, 500, 1000);
            // Time, flags of the compressor and the system are not looked at.
            assert!(content == lines || told.is_err(), "broken at {place}");
        }
        for garbage in [
            &b"plain text\n"[..],
            b"\x1f\x8b\x07",
            b"\0",
            b"\x1f\x8b\x08\xff",
        ] {
            assert_eq!(
                unpack(garbage, 2, 5),
                (Vec::new(), Err(GunzipError::NoGzip))
            );
        }
        assert_eq!(unpack(b"", 2, 5), (Vec::new(), Err(GunzipError::Truncated)));
    }
}

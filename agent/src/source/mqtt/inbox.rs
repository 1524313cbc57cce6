//! Bytes from a broker, taken apart into packets.
//!
//! A packet larger than the limit comes out with its head only, and only after all of it has
//! passed: the broker may not be answered before, and must not be disconnected, because it would
//! send the same packet again for ever.

use bytes::{Buf, BytesMut};
use pipeline::decode::mqtt::{Header, Malformed};

/// How much is read at once.
const READ_BYTES: usize = 64 * 1024;

/// What is not taken apart yet.
#[derive(Debug)]
pub(super) struct Inbox {
    bytes: BytesMut,
    /// Bodies are kept up to this size.
    body_bytes_max: usize,
    passing: Option<Passing>,
}

/// One packet.
#[derive(Debug)]
pub(super) struct Packet {
    /// Its header.
    pub(super) header: Header,
    /// Header and body, the body possibly cut.
    pub(super) bytes: BytesMut,
    /// How much of the body is missing.
    pub(super) missing: usize,
}

#[derive(Debug)]
struct Passing {
    packet: Packet,
    left: usize,
}

impl Inbox {
    /// Nothing came yet.
    pub(super) fn new(body_bytes_max: usize) -> Self {
        Self {
            bytes: BytesMut::new(),
            body_bytes_max,
            passing: None,
        }
    }

    /// Room for what is read next.
    pub(super) fn room(&mut self) -> &mut BytesMut {
        self.bytes.reserve(READ_BYTES);
        &mut self.bytes
    }

    /// The next packet, if all of it has come.
    pub(super) fn take(&mut self) -> Result<Option<Packet>, Malformed> {
        if let Some(mut passing) = self.passing.take() {
            let passed = passing.left.min(self.bytes.len());
            self.bytes.advance(passed);
            passing.left -= passed;
            if passing.left == 0 {
                return Ok(Some(passing.packet));
            }
            self.passing = Some(passing);
            return Ok(None);
        }
        let Some(header) = Header::read(&self.bytes)? else {
            return Ok(None);
        };
        let body_len = header.body_len.min(self.body_bytes_max);
        let len = header.header_len + body_len;
        if self.bytes.len() < len {
            return Ok(None);
        }
        let packet = Packet {
            header,
            bytes: self.bytes.split_to(len),
            missing: header.body_len - body_len,
        };
        if packet.missing == 0 {
            return Ok(Some(packet));
        }
        let left = packet.missing;
        self.passing = Some(Passing { packet, left });
        self.take()
    }
}

impl Packet {
    /// What follows the header.
    pub(super) fn body(&self) -> &[u8] {
        self.bytes.get(self.header.header_len..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, body_bytes_max: usize, pieces: &[&[u8]], expected: &[(&[u8], usize)]) {
        let mut inbox = Inbox::new(body_bytes_max);
        let mut taken = Vec::new();
        for piece in pieces {
            inbox.room().extend_from_slice(piece);
            while let Some(packet) = inbox.take().unwrap() {
                taken.push((packet.body().to_vec(), packet.missing));
            }
        }
        let expected: Vec<_> = expected
            .iter()
            .map(|(body, missing)| (body.to_vec(), *missing))
            .collect();
        assert_eq!(taken, expected, "{name}");
    }

    #[test]
    fn packets_come_out_whole_or_cut() {
        let two: &[u8] = &[0x30, 3, 0, 1, b'a', 0xd0, 0];
        check("two at once", 9, &[two], &[(&[0, 1, b'a'], 0), (&[], 0)]);
        let bytes: Vec<&[u8]> = two.chunks(1).collect();
        check("byte by byte", 9, &bytes, &[(&[0, 1, b'a'], 0), (&[], 0)]);
        let large: &[u8] = &[0x30, 6, 0, 1, b'a', 1, 2, 3, 0xd0, 0];
        check("cut", 4, &[large], &[(&[0, 1, b'a', 1], 2), (&[], 0)]);
        let bytes: Vec<&[u8]> = large.chunks(1).collect();
        check(
            "cut byte by byte",
            4,
            &bytes,
            &[(&[0, 1, b'a', 1], 2), (&[], 0)],
        );
        check("the rest is still to come", 4, &[&large[..7]], &[]);
    }
}

//! Little-endian numbers out of and into bytes, without a panic for any input.

/// Reads numbers and slices from the front of what is left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bytes<'a> {
    rest: &'a [u8],
}

impl<'a> Bytes<'a> {
    pub(crate) const fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn slice(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*head)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(u8::from_le_bytes)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array::<2>().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array::<4>().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array::<8>().map(u64::from_le_bytes)
    }

    pub(crate) fn i64(&mut self) -> Option<i64> {
        self.array::<8>().map(i64::from_le_bytes)
    }

    /// A number of up to 32 bits, seven bits a byte, the lowest first.
    pub(crate) fn varint(&mut self) -> Option<u32> {
        let mut value = 0_u32;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.u8()?;
            let bits = u32::from(byte & 0x7f);
            if shift == 28 && bits > 0x0f {
                return None;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

/// Appends `value` as [`Bytes::varint`] reads it.
pub(crate) fn push_varint(out: &mut Vec<u8>, mut value: u32) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            out.push(low & 0x7f);
            return;
        }
        out.push(low | 0x80);
    }
}

/// A length within 32 bits as the machine counts it.
#[expect(
    clippy::expect_used,
    reason = "every machine that runs this has pointers of at least 32 bits"
)]
pub(crate) fn to_usize(value: u32) -> usize {
    usize::try_from(value).expect("32 bits fit")
}

/// A length that the geometry bounds to 32 bits.
#[expect(
    clippy::expect_used,
    reason = "buffers are bounded by a segment, whose size has 32 bits"
)]
pub(crate) fn to_u32(value: usize) -> u32 {
    u32::try_from(value).expect("bounded by a segment")
}

#[cfg(test)]
mod tests {
    use super::{Bytes, push_varint};

    #[test]
    fn varints_come_back() {
        for value in [0, 1, 127, 128, 16_383, 16_384, u32::MAX - 1, u32::MAX] {
            let mut out = Vec::new();
            push_varint(&mut out, value);
            let mut bytes = Bytes::new(&out);
            assert_eq!(bytes.varint(), Some(value));
            assert!(bytes.is_empty());
        }
    }

    #[test]
    fn bad_varints_are_refused() {
        for bad in [&[0x80_u8][..], &[0xff; 5], &[0xff, 0xff, 0xff, 0xff, 0x1f]] {
            assert_eq!(Bytes::new(bad).varint(), None);
        }
    }
}

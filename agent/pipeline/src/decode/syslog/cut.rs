//! What is left of a message while its header is taken off from the front.

/// The rest of a message; a copy is a look ahead.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut<'a>(&'a [u8]);

impl<'a> Cut<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) const fn rest(self) -> &'a [u8] {
        self.0
    }

    pub(super) const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn first(self) -> Option<u8> {
        self.0.first().copied()
    }

    /// Takes `byte` if it is next.
    pub(super) fn byte(&mut self, byte: u8) -> bool {
        self.any(|next| next == byte).is_some()
    }

    /// Takes the next byte if `wanted`.
    pub(super) fn any(&mut self, wanted: impl Fn(u8) -> bool) -> Option<u8> {
        let (&next, rest) = self.0.split_first()?;
        wanted(next).then(|| {
            self.0 = rest;
            next
        })
    }

    /// Takes bytes as long as they are `wanted`.
    pub(super) fn run(&mut self, wanted: impl Fn(u8) -> bool) -> &'a [u8] {
        let len = self
            .0
            .iter()
            .position(|byte| !wanted(*byte))
            .unwrap_or(self.0.len());
        self.take(len)
    }

    /// Takes `len` bytes, or what is left.
    pub(super) fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Takes spaces.
    pub(super) fn spaces(&mut self) -> bool {
        !self.run(|byte| byte == b' ').is_empty()
    }

    /// Takes what stands before the next space or the end; not empty.
    pub(super) fn word(&mut self) -> Option<&'a [u8]> {
        Some(self.run(|byte| byte != b' ')).filter(|word| !word.is_empty())
    }

    /// Takes a number of `min` to `max` digits that no further digit follows.
    pub(super) fn number(&mut self, min: usize, max: usize) -> Option<u32> {
        let mut ahead = *self;
        let digits = ahead.run(|byte| byte.is_ascii_digit());
        if digits.len() < min || digits.len() > max {
            return None;
        }
        let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
        *self = ahead;
        Some(number)
    }
}

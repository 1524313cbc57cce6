//! Chance that can be repeated.

/// Marsaglia's xorshift.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    /// True so many times in a hundred.
    pub(crate) fn percent(&mut self, share: u64) -> bool {
        self.below(100) < share
    }

    /// One of them; there must be one.
    pub(crate) fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        let at = self.below(u64::try_from(all.len()).unwrap());
        &all[usize::try_from(at).unwrap()]
    }
}

/// The seed of this run: `HYDRANT_TEST_SEED`, or always the same one.
pub(crate) fn seed() -> u64 {
    let given = std::env::var("HYDRANT_TEST_SEED")
        .ok()
        .map(|text| text.parse().unwrap());
    let seed = given.unwrap_or(0x5eed);
    eprintln!("HYDRANT_TEST_SEED={seed}");
    seed
}

//! How many calls may be under way at a time: one more while the service accepts, half when it
//! does not.

/// The limit, as far as it is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Concurrency {
    limit: u32,
    max: u32,
    /// Calls in a row that were accepted while the limit was used up.
    accepted: u32,
}

impl Concurrency {
    /// One call, up to `max` later on.
    pub(super) const fn new(max: u32) -> Self {
        Self {
            limit: 1,
            max: if max == 0 { 1 } else { max },
            accepted: 0,
        }
    }

    pub(super) const fn limit(self) -> u32 {
        self.limit
    }

    /// A call was accepted; `is_used_up` says whether no other could be made meanwhile.
    pub(super) const fn handle_accepted(&mut self, is_used_up: bool) {
        if !is_used_up || self.limit >= self.max {
            return;
        }
        // A whole round of calls earns one more: the growth is by time, not by calls.
        self.accepted = self.accepted.saturating_add(1);
        if self.accepted >= self.limit {
            self.accepted = 0;
            self.limit = self.limit.saturating_add(1);
        }
    }

    /// The service wants less, or the way to it does not bear so much.
    pub(super) const fn handle_trouble(&mut self) {
        self.accepted = 0;
        self.limit = if self.limit > 1 { self.limit / 2 } else { 1 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Letters are calls: `a` accepted with the limit used up, `i` accepted with room left, `t`
    /// throttled; the digits are the limit after each.
    fn check(max: u32, calls: &str, expected: &str) {
        let mut concurrency = Concurrency::new(max);
        let limits: String = calls
            .chars()
            .map(|call| {
                match call {
                    'a' => concurrency.handle_accepted(true),
                    'i' => concurrency.handle_accepted(false),
                    _ => concurrency.handle_trouble(),
                }
                concurrency.limit().to_string()
            })
            .collect();
        assert_eq!(limits, expected, "{calls}");
    }

    #[test]
    fn grows_by_one_a_round_and_halves() {
        check(8, "aaaaaaaaaa", "2233344445");
        check(8, "aaaaaat", "2233342");
        check(8, "aaaaaattt", "223334211");
        check(4, "aaaaaaaaaaaaaa", "22333444444444");
        // Half a round is forgotten when the service throttles.
        check(8, "aaataa", "223122");
        // What is not used up says nothing of more.
        check(8, "iiiiaiii", "11112222");
        check(1, "aaaat", "11111");
        check(0, "aat", "111");
    }
}

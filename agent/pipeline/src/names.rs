//! Addresses of names, kept for when nobody can be asked.
//!
//! A resolver that fails for an hour must not stop deliveries to a server that has not moved. So
//! what was resolved last is used as long as nothing newer is known; it is asked for anew all the
//! same, whenever a connection is made and the last answer is not from just before.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::time::Monotonic;

/// So long nobody is asked again.
const FRESH_MAX: Duration = Duration::from_secs(10);

/// So many names are known; an agent has few destinations.
const NAMES_MAX: usize = 64;

/// So many addresses of each.
const ADDRESSES_MAX: usize = 16;

/// What is known of names.
#[derive(Clone, Debug, Default)]
pub struct Names(BTreeMap<String, Known>);

#[derive(Clone, Debug)]
struct Known {
    addresses: Vec<IpAddr>,
    since: Monotonic,
}

/// What is known of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Knowledge {
    /// These are good.
    Fresh(Vec<IpAddr>),
    /// These are used if nobody says others.
    Stale(Vec<IpAddr>),
    /// Nothing.
    Unknown,
}

impl Names {
    /// What is known of `name`, whatever the case of its letters.
    pub fn get(&self, name: &str, at: Monotonic) -> Knowledge {
        match self.0.get(&name.to_ascii_lowercase()) {
            None => Knowledge::Unknown,
            Some(known) if at.since(known.since) <= FRESH_MAX => {
                Knowledge::Fresh(known.addresses.clone())
            }
            Some(known) => Knowledge::Stale(known.addresses.clone()),
        }
    }

    /// Somebody resolved `name`; no address at all is no news.
    pub fn handle_resolved(&mut self, name: &str, mut addresses: Vec<IpAddr>, at: Monotonic) {
        addresses.truncate(ADDRESSES_MAX);
        if addresses.is_empty() {
            return;
        }
        let name = name.to_ascii_lowercase();
        if self.0.len() >= NAMES_MAX && !self.0.contains_key(&name) {
            let oldest = self.0.iter().min_by_key(|(_, known)| known.since);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                self.0.remove(&oldest);
            }
        }
        let since = at;
        self.0.insert(name, Known { addresses, since });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_start(Duration::from_secs(seconds))
    }

    fn address(last: u8) -> Vec<IpAddr> {
        vec![IpAddr::from([192, 0, 2, last])]
    }

    #[test]
    fn addresses_outlive_their_resolver() {
        let mut names = Names::default();
        assert_eq!(names.get("a.example", at(0)), Knowledge::Unknown);
        names.handle_resolved("A.example", address(1), at(0));
        assert_eq!(names.get("a.Example", at(10)), Knowledge::Fresh(address(1)));
        assert_eq!(names.get("a.example", at(11)), Knowledge::Stale(address(1)));
        assert_eq!(
            names.get("a.example", at(1_000_000)),
            Knowledge::Stale(address(1))
        );
        names.handle_resolved("a.example", Vec::new(), at(20));
        assert_eq!(names.get("a.example", at(20)), Knowledge::Stale(address(1)));
        names.handle_resolved("a.example", address(2), at(30));
        assert_eq!(names.get("a.example", at(30)), Knowledge::Fresh(address(2)));
        assert_eq!(names.get("b.example", at(30)), Knowledge::Unknown);
    }

    #[test]
    fn what_is_known_is_bounded() {
        let mut names = Names::default();
        for number in 0..200 {
            names.handle_resolved(&format!("n{number}"), address(1), at(number));
        }
        assert_eq!(names.0.len(), NAMES_MAX);
        assert_eq!(names.get("n0", at(200)), Knowledge::Unknown);
        assert_eq!(names.get("n199", at(200)), Knowledge::Fresh(address(1)));
        names.handle_resolved("n199", vec![address(1)[0]; 100], at(200));
        assert_eq!(
            names.get("n199", at(200)),
            Knowledge::Fresh(vec![address(1)[0]; ADDRESSES_MAX])
        );
    }
}

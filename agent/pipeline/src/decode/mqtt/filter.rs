//! Topic filters, shared and not.
//!
//! `$share/GROUP/FILTER` gives each message to one client of the group only. Brokers of MQTT 5
//! know it, and most that speak 3.1.1 as well.

use super::template::{overlap, parts};

/// What a shared subscription begins with.
const SHARE: &str = "$share/";

/// Why a text is no topic filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterError {
    /// Empty, with a NUL, or longer than MQTT can say.
    Text,
    /// `+` beside something else.
    Plus,
    /// `#` beside something else or not at the end.
    Hash,
    /// A shared subscription without a group or with a wildcard in its name.
    Group,
    /// A shared subscription without a filter.
    Unfiltered,
}

impl FilterError {
    /// What to write instead; empty where nothing can be said.
    pub const fn hint(self) -> &'static str {
        match self {
            Self::Text => "",
            Self::Plus => "\"+\" must fill its whole level",
            Self::Hash => "\"#\" must be the whole last level",
            Self::Group | Self::Unfiltered => "write one like \"$share/group/plant/+/telemetry\"",
        }
    }
}

/// Checks a topic filter: MQTT 5, sections 4.7.1 and 4.8.2.
pub fn check_filter(text: &str) -> Result<(), FilterError> {
    if text.is_empty() || text.len() > usize::from(u16::MAX) || text.contains('\0') {
        return Err(FilterError::Text);
    }
    if let Some(shared) = text.strip_prefix(SHARE) {
        let (group, filter) = shared.split_once('/').unwrap_or((shared, ""));
        if group.is_empty() || group.contains(['+', '#']) {
            return Err(FilterError::Group);
        }
        if filter.is_empty() {
            return Err(FilterError::Unfiltered);
        }
    } else if text == "$share" {
        return Err(FilterError::Unfiltered);
    }
    let mut levels = unshared(text).split('/').peekable();
    while let Some(level) = levels.next() {
        if level.contains('+') && level != "+" {
            return Err(FilterError::Plus);
        }
        if level.contains('#') && (level != "#" || levels.peek().is_some()) {
            return Err(FilterError::Hash);
        }
    }
    Ok(())
}

/// The group of a shared subscription.
pub fn share_group(filter: &str) -> Option<&str> {
    let (group, _) = filter.strip_prefix(SHARE)?.split_once('/')?;
    Some(group)
}

/// What a filter, shared or not, takes.
pub fn unshared(filter: &str) -> &str {
    let shared = filter.strip_prefix(SHARE);
    shared
        .and_then(|shared| shared.split_once('/'))
        .map_or(filter, |(_, filter)| filter)
}

/// Whether a topic exists that both filters take, whoever shares them.
pub fn filters_overlap(one: &str, other: &str) -> bool {
    let (one, other) = (unshared(one), unshared(other));
    // Wildcards in the first level leave out what begins with `$`.
    let hides = |wild: &str, named: &str| wild.starts_with(['+', '#']) && named.starts_with('$');
    !hides(one, other) && !hides(other, one) && overlap(&parts(one), &parts(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters() {
        let check = |text: &str, expected: Result<(), FilterError>| {
            assert_eq!(check_filter(text), expected, "{text:?}");
        };
        for good in ["a", "/", "+", "#", "a/+/b", "a/#", "$SYS/#", "$share/g/#"] {
            check(good, Ok(()));
        }
        check("$share/g/a/+", Ok(()));
        check("$share/g//a", Ok(()));
        check("", Err(FilterError::Text));
        check("a\0", Err(FilterError::Text));
        check("a+", Err(FilterError::Plus));
        check("#/a", Err(FilterError::Hash));
        check("$share/g/a#", Err(FilterError::Hash));
        check("$share", Err(FilterError::Unfiltered));
        check("$share/g", Err(FilterError::Unfiltered));
        check("$share/g/", Err(FilterError::Unfiltered));
        check("$share//a", Err(FilterError::Group));
        check("$share/+/a", Err(FilterError::Group));
    }

    #[test]
    fn overlaps() {
        let check = |one: &str, other: &str, expected: bool| {
            assert_eq!(filters_overlap(one, other), expected, "{one} {other}");
            assert_eq!(filters_overlap(other, one), expected, "{other} {one}");
        };
        check("plant/#", "$share/g/plant/+/data", true);
        check("plant", "plant/#", true);
        check("plant/+", "plant/7", true);
        check("plant/+", "plant/7/data", false);
        check("a/+/c", "+/b/c", true);
        check("a/+/c", "+/b/d", false);
        check("#", "$SYS/broker", false);
        check("$SYS/#", "$SYS/broker", true);
        assert_eq!(share_group("$share/g/a/b"), Some("g"));
        assert_eq!(share_group("a/b"), None);
    }
}

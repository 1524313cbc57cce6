//! Who may publish where.
//!
//! A rule is a topic filter in which `%u` stands for the user and `%c` for the client identifier.
//! What stands for them is compared as it is: a name with `/`, `+` or `#` gives no more rights.

use std::collections::BTreeMap;

/// The name that stands for everybody.
pub const EVERYBODY: &str = "*";

/// Who may publish where; what nobody allows is denied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights(BTreeMap<String, Vec<String>>);

impl Rights {
    /// Filters by user; those of [`EVERYBODY`] are everybody's.
    pub const fn new(rules: BTreeMap<String, Vec<String>>) -> Self {
        Self(rules)
    }

    /// Whether a client may publish to `topic`; `user` is who it is for sure.
    pub fn allow(&self, user: Option<&str>, client: &str, topic: &str) -> bool {
        let own = user.and_then(|user| self.0.get(user));
        let all = self.0.get(EVERYBODY);
        own.into_iter()
            .chain(all)
            .flatten()
            .any(|filter| matches(filter, topic, user, client))
    }
}

fn matches(filter: &str, topic: &str, user: Option<&str>, client: &str) -> bool {
    // MQTT: a wildcard in front does not take what begins with `$`.
    if topic.starts_with('$') && filter.starts_with(['#', '+']) {
        return false;
    }
    let mut levels = topic.split('/');
    for wanted in filter.split('/') {
        if wanted == "#" {
            return true;
        }
        let Some(level) = levels.next() else {
            return false;
        };
        if wanted != "+" && !is_level(wanted, level, user, client) {
            return false;
        }
    }
    levels.next().is_none()
}

fn is_level(wanted: &str, level: &str, user: Option<&str>, client: &str) -> bool {
    if !wanted.contains('%') {
        return wanted == level;
    }
    if wanted.contains("%u") && user.is_none() {
        return false;
    }
    // Piece by piece, so that a user called `%c` is nobody else.
    let mut rest = level;
    for (number, piece) in wanted.split('%').enumerate() {
        let (name, text) = match piece.chars().next() {
            Some('u') if number > 0 => (user.unwrap_or_default(), piece.get(1..)),
            Some('c') if number > 0 => (client, piece.get(1..)),
            _ if number > 0 => ("%", Some(piece)),
            _ => ("", Some(piece)),
        };
        let behind = rest.strip_prefix(name);
        let Some(behind) = behind.and_then(|rest| rest.strip_prefix(text.unwrap_or_default()))
        else {
            return false;
        };
        rest = behind;
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_publish_where() {
        let rules = [
            (
                EVERYBODY,
                vec!["all/%u/#", "by/%c/+", "x-%u-%c/t", "100%/t"],
            ),
            ("press", vec!["plant/press/#", "plant/+/alarm", "#"]),
            ("paint", vec!["plant/paint"]),
        ];
        let rules = rules.map(|(user, filters)| {
            let filters = filters.into_iter().map(str::to_owned).collect();
            (user.to_owned(), filters)
        });
        let rights = Rights::new(rules.into());
        let check = |user: Option<&str>, client: &str, topic: &str, expected: bool| {
            let allowed = rights.allow(user, client, topic);
            assert_eq!(allowed, expected, "{user:?} {client} {topic}");
        };
        let paint = Some("paint");
        check(Some("press"), "c", "anything/at/all", true);
        check(Some("press"), "c", "$SYS/x", false);
        check(paint, "c", "plant/paint", true);
        check(paint, "c", "plant/paint/x", false);
        check(paint, "c", "plant", false);
        check(paint, "c", "plant/press/1", false);
        check(paint, "c", "all/paint", true);
        check(paint, "c", "all/paint/a/b", true);
        check(paint, "c", "all/press/a", false);
        check(paint, "c", "by/c/1", true);
        check(paint, "c", "by/c", false);
        check(paint, "c", "by/c/1/2", false);
        check(paint, "c", "x-paint-c/t", true);
        check(paint, "c", "x-paint-d/t", false);
        check(None, "c", "by/c/1", true);
        check(None, "c", "all//a", false);
        check(None, "c", "x--c/t", false);
        check(None, "c", "100%/t", true);
        // Names are what they are.
        check(Some("+"), "c", "all/+/a", true);
        check(Some("+"), "c", "all/paint/a", false);
        check(Some("a/b"), "c", "all/a/b", false);
        check(Some("%c"), "c", "all/c/a", false);
        check(Some("*"), "c", "plant/paint", false);
        check(Some("nobody"), "c", "plant/paint", false);
        assert!(!Rights::default().allow(paint, "c", "plant/paint"));
    }
}

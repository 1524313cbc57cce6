//! Findings and how they are shown.

use std::fmt::Write;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Ok,
    /// It works, and may surprise later.
    Warning,
    /// It does not work, or loses data.
    Problem,
}

impl Level {
    /// In one word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// Something that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at, as in `sources.plant`.
    pub about: String,
    /// How bad it is.
    pub level: Level,
    /// What was found.
    pub what: String,
    /// What to do, where something is to be done.
    pub hint: Option<String>,
}

impl Finding {
    /// All is well.
    pub fn ok(about: &str, what: impl Into<String>) -> Self {
        Self {
            about: about.to_owned(),
            level: Level::Ok,
            what: what.into(),
            hint: None,
        }
    }

    /// Something may surprise.
    pub fn warning(about: &str, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::bad(Level::Warning, about, what.into(), hint.into())
    }

    /// Something does not work.
    pub fn problem(about: &str, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::bad(Level::Problem, about, what.into(), hint.into())
    }

    fn bad(level: Level, about: &str, what: String, hint: String) -> Self {
        Self {
            about: about.to_owned(),
            level,
            what,
            hint: (!hint.is_empty()).then_some(hint),
        }
    }
}

/// The findings for people: a line each below what they are about, and how many are bad.
pub fn render(findings: &[Finding]) -> String {
    let mut out = String::new();
    let mut about = None;
    for finding in findings {
        if about != Some(&finding.about) {
            out.push_str(&finding.about);
            out.push('\n');
            about = Some(&finding.about);
        }
        let mark = format!("[{}]", finding.level.word());
        // Writing to a string cannot fail.
        writeln!(out, "  {mark:<9} {}", finding.what).ok();
        if let Some(hint) = &finding.hint {
            writeln!(out, "            -> {hint}").ok();
        }
    }
    let count = |level| {
        findings
            .iter()
            .filter(|finding| finding.level == level)
            .count()
    };
    let (problems, warnings) = (count(Level::Problem), count(Level::Warning));
    let total = match (problems, warnings) {
        (0, 0) => "all is well".to_owned(),
        _ => format!(
            "{}, {}",
            counted(problems, "problem"),
            counted(warnings, "warning")
        ),
    };
    out.push_str(&total);
    out.push('\n');
    out
}

fn counted(count: usize, singular: &str) -> String {
    match count {
        0 => format!("no {singular}"),
        1 => format!("1 {singular}"),
        _ => format!("{count} {singular}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_for_people() {
        let findings = [
            Finding::ok("sources.plant", "b:1883 answers"),
            Finding::problem("sources.plant", "refused", "write another"),
            Finding::warning("clock", "unknown", ""),
        ];
        assert_eq!(
            render(&findings),
            "sources.plant\n  [ok]      b:1883 answers\n  [problem] refused\n            \
             -> write another\nclock\n  [warning] unknown\n1 problem, 1 warning\n"
        );
        assert!(render(&findings[..1]).ends_with("all is well\n"));
        assert!(render(&findings[2..]).ends_with("no problem, 1 warning\n"));
    }
}

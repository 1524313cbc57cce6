//! The table of keys against the configuration that is made with it.

use super::super::keys::{self, Family, Kind, Section};
use super::{load_files, shown};

/// Every key and every word of the table is understood by what makes the configuration.
#[test]
fn the_table_of_keys_agrees_with_the_configuration() {
    let mut tried = 0;
    for (family, others) in [
        (
            &keys::SOURCES,
            "[destinations.o]\ntype = \"directory\"\npath = \"/o\"\n",
        ),
        (
            &keys::DESTINATIONS,
            "[sources.o]\ntype = \"file\"\npaths = [\"/o\"]\n",
        ),
        (
            &keys::TRANSFORMS,
            "[sources.o]\ntype = \"file\"\npaths = [\"/o\"]\ntransforms = [\"x\"]\n\
            [destinations.o]\ntype = \"directory\"\npath = \"/o\"\n",
        ),
    ] {
        for (word, section) in family.types {
            let minimal = minimal(family, word, section);
            for (key, value) in samples("", section) {
                let name = key.split('.').next().unwrap();
                let rest = minimal
                    .lines()
                    .filter(|line| !line.starts_with(&format!("{name} ")));
                let rest = rest.collect::<Vec<_>>().join(
                    "
",
                );
                let text = format!("{rest}\n{key} = {value}\n{others}");
                let lines = shown(&load_files(&[("h.toml", &text)]));
                let bad = [
                    "fault of Hydrant",
                    "unknown key",
                    "not known here",
                    "h.toml: ",
                ];
                for line in &lines {
                    assert!(
                        !bad.iter().any(|bad| line.contains(bad)),
                        "{text}\n{lines:?}"
                    );
                }
                tried += 1;
            }
        }
    }
    assert!(tried > 150, "{tried}");
}

fn minimal(family: &Family, word: &str, section: &'static Section) -> String {
    let mut text = format!("[{}.x]\ntype = \"{word}\"\n", family.name);
    for (key, value) in samples("", section) {
        let required = section
            .key(&key)
            .is_some_and(|key| matches!(key.default, keys::Default::Required));
        if required && !text.contains(&format!("\n{key} =")) {
            text += &[&key, " = ", &value, "\n"].concat();
        }
    }
    text
}

/// Every key below `section` with values that it takes.
fn samples(prefix: &str, section: &'static Section) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for key in section.keys() {
        let name = format!("{prefix}{}", key.name);
        if let Kind::Table(table) = &key.kind {
            found.extend(samples(&format!("{name}."), table));
        }
        found.extend(
            values(&key.kind)
                .into_iter()
                .map(|value| (name.clone(), value)),
        );
    }
    found
}

fn values(kind: &'static Kind) -> Vec<String> {
    let one = |text: &str| vec![text.to_owned()];
    match kind {
        Kind::Text(keys::TextRule::Glob) | Kind::Path => one("\"/a\""),
        Kind::Text(keys::TextRule::TopicTemplate) => one("\"{a}\""),
        Kind::Text(keys::TextRule::FileMode) => one("\"0660\""),
        Kind::Text(keys::TextRule::KeyPin) => one(&format!("\"sha256//{}=\"", "A".repeat(43))),
        Kind::Text(_) | Kind::Secret => one("\"a\""),
        Kind::Bool => vec!["true".to_owned(), "false".to_owned()],
        Kind::Integer(range) | Kind::Size(range) => {
            vec![range.min.to_string(), range.max.to_string()]
        }
        Kind::SizePerDay(range) => {
            vec![
                format!("\"{}/day\"", range.min),
                format!("\"{}B/day\"", range.max),
            ]
        }
        Kind::Duration(range) => {
            vec![
                format!("\"{}ms\"", range.min),
                format!("\"{}ms\"", range.max),
            ]
        }
        Kind::Words(words) => words.iter().map(|word| format!("\"{word}\"")).collect(),
        Kind::Address => one("\"127.0.0.1:1\""),
        Kind::AddressOrPassed => vec!["\"127.0.0.1:1\"".to_owned(), "\"systemd:a\"".to_owned()],
        Kind::Listen(schemes) => schemes
            .iter()
            .map(|scheme| match keys::ListenForm::of(scheme) {
                keys::ListenForm::Address => format!("\"{scheme}://127.0.0.1:1\""),
                keys::ListenForm::Path => format!("\"{scheme}:///a\""),
                keys::ListenForm::Name => format!("\"{scheme}:a\""),
            })
            .collect(),
        Kind::Url(rule) => rule
            .schemes
            .iter()
            .map(|s| format!("\"{s}://localhost\""))
            .collect(),
        Kind::List(each) => values(each)
            .iter()
            .map(|value| format!("[{value}]"))
            .collect(),
        Kind::OneOrMore(each) => {
            let values = values(each);
            let listed = values.iter().map(|value| format!("[{value}]")).collect();
            [values, listed].concat()
        }
        Kind::Map(each) => values(each)
            .iter()
            .map(|value| format!("{{ a = {value} }}"))
            .collect(),
        Kind::Json => one("{ a = [1, 2.5, true, \"x\", 1979-05-27] }"),
        Kind::Table(_) => Vec::new(),
    }
}

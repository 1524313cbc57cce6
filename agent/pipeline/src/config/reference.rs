//! The tables of docs/configuration.md, made from the table of keys.
//!
//! In the document a table stands between `<!-- keys: NAME -->` and `<!-- end of keys -->`; all
//! else is written by hand.

use super::keys::{AGENT, BUFFER, DESTINATIONS, Family, Key, Kind, SOURCES, Section, TRANSFORMS};

const BEGIN: &str = "<!-- keys: ";
const END: &str = "<!-- end of keys -->";

/// `document` with each of its tables made anew. A name that is not known gives an empty table.
pub fn with_reference(document: &str) -> String {
    let mut out = String::with_capacity(document.len());
    let mut rest = document;
    while let Some((before, after)) = rest.split_once(BEGIN) {
        let Some((name, after)) = after.split_once(" -->") else {
            break;
        };
        let Some((_, after)) = after.split_once(END) else {
            break;
        };
        out.push_str(before);
        out.push_str(BEGIN);
        out.push_str(name);
        out.push_str(" -->\n");
        out.push_str(&tables(name));
        out.push_str(END);
        rest = after;
    }
    out.push_str(rest);
    out
}

fn tables(name: &str) -> String {
    match name {
        "agent" => section(&AGENT),
        "buffer" => section(&BUFFER),
        "sources" => family(&SOURCES),
        "transforms" => family(&TRANSFORMS),
        "destinations" => family(&DESTINATIONS),
        _ => String::new(),
    }
}

fn family(family: &'static Family) -> String {
    let mut out = String::new();
    for (word, keys) in family.types {
        let title = format!(
            "### `type = \"{word}\"`

{}

",
            sentences(keys.doc)
        );
        out.push_str(&title);
        out.push_str(&section(keys));
        out.push('\n');
    }
    out
}

fn section(section: &'static Section) -> String {
    let mut out = String::from("| key | takes | default | meaning |\n| --- | --- | --- | --- |\n");
    rows(&mut out, "", section);
    out
}

fn rows(out: &mut String, prefix: &str, section: &'static Section) {
    for key in section.keys() {
        let name = format!("{prefix}{}", key.name);
        if let Kind::Table(table) = &key.kind {
            rows(out, &format!("{name}."), table);
        } else {
            row(out, &name, key);
        }
    }
}

fn row(out: &mut String, name: &str, key: &'static Key) {
    let cells = [
        format!("`{name}`"),
        key.kind.describe(),
        key.default.describe(),
        key.doc.to_owned(),
    ];
    for cell in cells {
        out.push_str("| ");
        out.push_str(&cell.replace('|', "\\|"));
        out.push(' ');
    }
    out.push_str("|\n");
}

/// One sentence a line.
fn sentences(text: &str) -> String {
    text.replace(". ", ".\n")
}

//! A program that prints keys as JSON, as `credential_process` of the shared files names it.

use serde_json::Value;

use super::Granted;
use super::answer::{self, Names};

/// How the members of what a program prints are called.
const NAMES: Names = Names {
    id: "AccessKeyId",
    secret: "SecretAccessKey",
    token: "SessionToken",
    expiration: "Expiration",
};

/// The keys that a program printed.
pub fn read(printed: &[u8]) -> Result<Granted, String> {
    let value: Value = serde_json::from_slice(printed)
        .map_err(|_| "printed something else than JSON".to_owned())?;
    match value.get("Version").and_then(Value::as_u64) {
        Some(1) => answer::granted(&value, &NAMES),
        Some(version) => Err(format!("printed version {version}, and only 1 is known")),
        None => Err("printed no Version".to_owned()),
    }
}

/// What a program said when it failed, as far as it is told.
pub fn complaint(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let last = text.lines().rev().find(|line| !line.trim().is_empty());
    answer::short(last.unwrap_or_default().trim())
}

/// A command line as words: quotes keep spaces, a backslash keeps what follows it. Nothing is
/// expanded, because no shell is asked.
pub fn words(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (None, '"' | '\'') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (Some(open), _) if open == letter => quote = None,
            (None | Some('"'), '\\') => {
                let next = letters.next().ok_or("ends with a backslash")?;
                word.get_or_insert_default().push(next);
            }
            (None, _) if letter.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    if quote.is_some() {
        return Err("has a quote that does not end".to_owned());
    }
    words.extend(word);
    if words.first().is_none_or(String::is_empty) {
        return Err("names no program".to_owned());
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines_become_words() {
        let check = |line: &str, expected: Result<&[&str], &str>| {
            let found = words(line);
            let found = found
                .as_ref()
                .map(|words| words.iter().map(String::as_str).collect::<Vec<_>>());
            assert_eq!(
                found.map_err(String::as_str),
                expected.map(<[&str]>::to_vec),
                "{line}"
            );
        };
        check(
            "/usr/bin/keys --profile  a",
            Ok(&["/usr/bin/keys", "--profile", "a"]),
        );
        check(
            "\"/opt/my keys\" 'a \"b\"' ''",
            Ok(&["/opt/my keys", "a \"b\"", ""]),
        );
        check("a\\ b \"c\\\"d\" 'e\\f'", Ok(&["a b", "c\"d", "e\\f"]));
        check("keys $HOME; rm", Ok(&["keys", "$HOME;", "rm"]));
        check("a \"b", Err("has a quote that does not end"));
        check("a\\", Err("ends with a backslash"));
        check("  ", Err("names no program"));
        check("''", Err("names no program"));
    }

    #[test]
    fn what_is_printed_is_read() {
        let keys = "\"AccessKeyId\":\"AK\",\"SecretAccessKey\":\"SK\"";
        let told = |text: &str| read(text.as_bytes());
        assert!(told(&format!("{{\"Version\":1,{keys}}}\n")).is_ok());
        let check = |text: &str, expected: &str| assert_eq!(told(text).unwrap_err(), expected);
        check(
            &format!("{{\"Version\":2,{keys}}}"),
            "printed version 2, and only 1 is known",
        );
        check(&format!("{{{keys}}}"), "printed no Version");
        check("{\"Version\":1}", "has no AccessKeyId");
        check("", "printed something else than JSON");
    }

    #[test]
    fn the_last_line_is_the_complaint() {
        assert_eq!(complaint(b"usage\nno token\x07\n\n"), "no token");
        assert_eq!(complaint(b""), "");
    }
}

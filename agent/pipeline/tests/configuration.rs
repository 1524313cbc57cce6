//! docs/configuration.md and the JSON Schema against the code.
//!
//! With `UPDATE_DOCS=1` the tables of the document are written anew.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

use std::path::{Path, PathBuf};

use pipeline::config::{
    Config, Environment, Problem, Reference, SourceText, load, schema, with_reference,
};
use regex::Regex;
use serde_json::Value;

const LARGE: &str = include_str!("../src/config/testdata/large.toml");

const MINIMAL: &str = "
[sources.app]
type = \"file\"
paths = [\"/var/log/app/*.log\"]
[destinations.collector]
type = \"http\"
url = \"https://collector.example/ingest\"
";

fn document() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md")
}

fn resolve(reference: Reference<'_>) -> Result<String, String> {
    match reference {
        Reference::Variable("HOSTNAME" | "STREAM") => Ok("gateway".to_owned()),
        Reference::Variable(name) => Err(format!("environment variable {name} is not set")),
        Reference::File(_) | Reference::Credential(_) => Ok("secret".to_owned()),
    }
}

fn load_text(text: &str) -> Result<(Config, Vec<Problem>), Vec<Problem>> {
    load(
        &[SourceText::new("h.toml", text)],
        &Environment::new(&resolve),
    )
}

#[test]
fn the_document_has_every_key() {
    let path = document();
    let written = std::fs::read_to_string(&path).unwrap();
    let made = with_reference(&written);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        #[expect(
            clippy::disallowed_methods,
            reason = "no power cut is feared for a document"
        )]
        std::fs::write(&path, &made).unwrap();
    } else {
        assert!(
            written == made,
            "run this test with UPDATE_DOCS=1 and look at the difference"
        );
    }
    let row = "| `retry.give_up_after` | duration, 1s to 365d | never |";
    assert!(made.contains(row), "{made}");
    examples_are_good(&made);
}

fn examples_are_good(document: &str) {
    let blocks = document.split("```toml\n").skip(1);
    let blocks = blocks.filter_map(|rest| rest.split("```").next());
    let mut whole = 0;
    for block in blocks {
        let is_whole = block.contains("[destinations.") && block.contains("[sources.");
        let main = if is_whole { "" } else { MINIMAL };
        let files = [
            SourceText::new("main.toml", main),
            SourceText::new("docs.toml", block),
        ];
        if let Err(problems) = load(&files, &Environment::new(&resolve)) {
            panic!("{block}\n{problems:#?}");
        }
        whole += u32::from(is_whole);
    }
    assert_eq!(whole, 2);
}

#[test]
fn the_schema_takes_what_is_good() {
    for text in [MINIMAL, LARGE] {
        assert!(load_text(text).is_ok());
        assert_eq!(mistakes(text), Vec::<String>::new());
    }
}

/// Mistakes of one key are found by both; `check` says so with its own words.
#[test]
fn the_schema_and_the_check_refuse_the_same() {
    for wrong in [
        "[agnet]\n",
        "[agent]\nid = 3\n",
        "[agent]\nid = \"a b\"\n",
        "[agent]\nlog_level = \"loud\"\n",
        "[agent]\nstate_dir = \"state\"\n",
        "[buffer]\nsize = 12\n",
        "[buffer]\nsize = \"12 apples\"\n",
        "[buffer]\nsync_delay_max = \"5 apples\"\n",
        "[buffer]\nsync_delay_max = 5\n",
        "[buffers.default]\n",
        "[buffers]\nsize = \"1GiB\"\n",
        "[buffers.x]\nsise = \"1GiB\"\n",
        "[buffers.\"a b\"]\n",
        "[sources.x]\n",
        "[sources.x]\ntype = \"mqt\"\n",
        "[sources.x]\ntype = \"file\"\n",
        "[sources.x]\ntype = \"file\"\npaths = \"/a\"\n",
        "[sources.x]\ntype = \"file\"\npaths = []\n",
        "[sources.x]\ntype = \"file\"\npaths = [\"/a\"]\nurl = \"x\"\n",
        "[sources.x]\ntype = \"syslog\"\nlisten = [\"relp://0.0.0.0:1\"]\n",
        "[sources.x]\ntype = \"mqtt\"\nurl = \"http://b\"\ntopics = [\"a\"]\n",
        "[sources.x]\ntype = \"mqtt\"\nurl = \"mqtt://b\"\ntopics = [\"a\"]\nqos = 3\n",
        "[sources.\"a b\"]\ntype = \"file\"\npaths = [\"/a\"]\n",
        "[destinations.x]\ntype = \"http\"\nurl = \"https://c/\"\nbatch = { count_max = 0 }\n",
        "[destinations.x]\ntype = \"http\"\nurl = \"https://c/\"\nbatch = { count = 1 }\n",
        "[destinations.x]\ntype = \"http\"\nurl = \"https://c/\"\nmetadata = \"yes\"\n",
        "[destinations.x]\ntype = \"http\"\nurl = \"https://c/\"\nheaders = { a = 1 }\n",
    ] {
        let text = format!("{MINIMAL}{wrong}");
        assert!(load_text(&text).is_err(), "{wrong}");
        assert!(!mistakes(&text).is_empty(), "{wrong}");
    }
}

/// What the schema says against `text`.
fn mistakes(text: &str) -> Vec<String> {
    let schema = schema();
    let value: Value = toml::from_str(text).unwrap();
    let mut found = Vec::new();
    validate(&schema, &schema, &value, "", &mut found);
    found
}

/// The keywords that the schema uses; any other fails the test.
fn validate(root: &Value, schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    for (keyword, rule) in schema.as_object().unwrap() {
        match keyword.as_str() {
            "allOf" => {
                for rule in rule.as_array().unwrap() {
                    validate(root, rule, value, path, found);
                }
            }
            "if" if accepts(root, rule, value) => {
                validate(root, schema.get("then").unwrap(), value, path, found);
            }
            "items" => {
                for item in value.as_array().into_iter().flatten() {
                    validate(root, rule, item, path, found);
                }
            }
            keyword => {
                if !is_kept(root, keyword, rule, value) {
                    found.push(format!("{path}: {keyword} {rule}"));
                }
            }
        }
    }
    let known = |name: &String| schema.get("properties").and_then(|known| known.get(name));
    for (name, value) in value.as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        match known(name).or_else(|| schema.get("additionalProperties")) {
            Some(Value::Bool(false)) => found.push(format!("{path}: unknown")),
            Some(rule) => validate(root, rule, value, &path, found),
            None => {}
        }
    }
}

fn is_kept(root: &Value, keyword: &str, rule: &Value, value: &Value) -> bool {
    match keyword {
        "$schema"
        | "title"
        | "description"
        | "default"
        | "$defs"
        | "if"
        | "then"
        | "properties"
        | "additionalProperties" => true,
        "$ref" => {
            let pointer = rule.as_str().unwrap().trim_start_matches('#');
            accepts(root, root.pointer(pointer).unwrap(), value)
        }
        "type" => is_type(rule.as_str().unwrap(), value),
        "const" => rule == value,
        "enum" => rule.as_array().unwrap().contains(value),
        "pattern" => value.as_str().is_none_or(|text| matches(rule, text)),
        "minLength" => value.as_str().is_none_or(|text| !text.is_empty()),
        "minItems" => value.as_array().is_none_or(|items| !items.is_empty()),
        "minimum" => value
            .as_i64()
            .is_none_or(|number| number >= rule.as_i64().unwrap()),
        "maximum" => value
            .as_i64()
            .is_none_or(|number| number <= rule.as_i64().unwrap()),
        "anyOf" => rule
            .as_array()
            .unwrap()
            .iter()
            .any(|rule| accepts(root, rule, value)),
        "required" => {
            let names = rule.as_array().unwrap();
            names
                .iter()
                .all(|name| value.get(name.as_str().unwrap()).is_some())
        }
        "propertyNames" => {
            let pattern = rule.get("pattern").unwrap();
            value
                .as_object()
                .into_iter()
                .flatten()
                .all(|(name, _)| matches(pattern, name))
        }
        _ => panic!("the test does not know {keyword}"),
    }
}

fn accepts(root: &Value, schema: &Value, value: &Value) -> bool {
    let mut found = Vec::new();
    validate(root, schema, value, "", &mut found);
    found.is_empty()
}

fn matches(pattern: &Value, text: &str) -> bool {
    Regex::new(pattern.as_str().unwrap())
        .unwrap()
        .is_match(text)
}

fn is_type(name: &str, value: &Value) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        _ => panic!("the test does not know the type {name}"),
    }
}

//! The JSON Schema of the configuration, for editors, made from the table of keys.
//!
//! It describes one whole configuration. What needs two keys at once is left to `hydrant check`.

use serde_json::{Map, Value, json};

use super::keys::{
    AGENT, BUFFER, DESTINATIONS, Default, Family, Key, Kind, ListenForm, NAME_LEN_MAX, SOURCES,
    Section, TRANSFORMS, TextRule,
};
use super::model::DEFAULT_BUFFER;

/// The schema, draft 2020-12.
pub fn schema() -> Value {
    let mut properties = Map::new();
    properties.insert("agent".to_owned(), section(&AGENT, None));
    properties.insert("buffer".to_owned(), section(&BUFFER, None));
    properties.insert("buffers".to_owned(), buffers());
    for group in [&SOURCES, &TRANSFORMS, &DESTINATIONS] {
        properties.insert(group.name.to_owned(), family(group));
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of Hydrant",
        "type": "object",
        "properties": properties,
        "required": ["sources", "destinations"],
        "additionalProperties": false,
        "$defs": {
            "reference": {
                "description": "Text with ${VAR}, ${file:/path} or ${credential:NAME} in it",
                "type": "string",
                "pattern": "\\$\\{",
            },
            "size": { "type": "string", "pattern": "^\\s*[0-9]+\\s*([KMGkmg]i?)?[Bb]?\\s*$" },
            "size_per_day": { "type": "string", "pattern": "^\\s*[0-9]+\\s*([KMGkmg]i?)?[Bb]?\\s*/\\s*day\\s*$" },
            "duration": { "type": "string", "pattern": "^\\s*([0-9]+\\s*(ms|s|m|h|d)\\s*)+$" },
        },
    })
}

/// The buffers that have names; the one that has none is not among them.
fn buffers() -> Value {
    json!({
        "description": "More buffers, each with a ring of its own.",
        "type": "object",
        "properties": { DEFAULT_BUFFER: false },
        "propertyNames": { "pattern": name_pattern() },
        "additionalProperties": section(&BUFFER, None),
    })
}

fn family(family: &'static Family) -> Value {
    let types: Vec<&str> = family.types.iter().map(|(word, _)| *word).collect();
    let cases: Vec<Value> = family
        .types
        .iter()
        .map(|(word, keys)| {
            json!({
                "if": { "properties": { "type": { "const": word } }, "required": ["type"] },
                "then": section(keys, Some(word)),
            })
        })
        .collect();
    json!({
        "description": family.doc,
        "type": "object",
        "propertyNames": { "pattern": name_pattern() },
        "additionalProperties": {
            "type": "object",
            "properties": {
                "type": {
                    "description": format!("Type of the {}", family.singular),
                    "enum": types,
                },
            },
            "required": ["type"],
            "allOf": cases,
        },
    })
}

/// `word` is what must be written as `type`, in a family.
fn section(section: &'static Section, word: Option<&str>) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    if let Some(word) = word {
        properties.insert(
            "type".to_owned(),
            json!({ "const": word, "description": section.doc }),
        );
    }
    for key in section.keys() {
        properties.insert(key.name.to_owned(), self::key(key));
        if matches!(key.default, Default::Required) {
            required.push(key.name);
        }
    }
    json!({
        "description": section.doc,
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn key(key: &'static Key) -> Value {
    let mut value = kind(&key.kind);
    let default = match key.default {
        Default::Required | Default::Absent(_) => None,
        Default::Text(text) => Some(json!(text)),
        Default::Integer(number) => Some(json!(number)),
        Default::Bool(truth) => Some(json!(truth)),
    };
    if let Value::Object(fields) = &mut value {
        fields.insert("description".to_owned(), json!(key.doc));
        if let Some(default) = default {
            fields.insert("default".to_owned(), default);
        }
    }
    value
}

fn kind(kind: &'static Kind) -> Value {
    match kind {
        Kind::Text(TextRule::Empty) => json!({ "type": "string" }),
        Kind::Text(
            TextRule::Any | TextRule::TopicFilter | TextRule::TopicTemplate | TextRule::KeyTemplate,
        )
        | Kind::Secret => {
            json!({ "type": "string", "minLength": 1 })
        }
        Kind::Text(TextRule::Name) => {
            or_reference(&json!({ "type": "string", "pattern": name_pattern() }))
        }
        Kind::Text(TextRule::Region) => {
            or_reference(&json!({ "type": "string", "pattern": "^[a-z0-9-]+$" }))
        }
        Kind::Text(TextRule::KeyPin) => {
            or_reference(&json!({ "type": "string", "pattern": "^sha256//[A-Za-z0-9+/]{43}=$" }))
        }
        Kind::Text(TextRule::RoleAlias) => {
            or_reference(&json!({ "type": "string", "pattern": "^[A-Za-z0-9_=,@-]{1,128}$" }))
        }
        Kind::Text(TextRule::FileMode) => {
            or_reference(&json!({ "type": "string", "pattern": "^0?[0-7]{3}$" }))
        }
        Kind::Text(TextRule::Glob) | Kind::Path => {
            or_reference(&json!({ "type": "string", "pattern": "^/" }))
        }
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::Integer(range) => {
            json!({ "type": "integer", "minimum": range.min, "maximum": range.max })
        }
        Kind::Size(range) => json!({ "anyOf": [
            { "$ref": "#/$defs/size" },
            { "type": "integer", "minimum": range.min, "maximum": range.max },
            { "$ref": "#/$defs/reference" },
        ] }),
        Kind::SizePerDay(_) => or_reference(&json!({ "$ref": "#/$defs/size_per_day" })),
        Kind::Duration(_) => or_reference(&json!({ "$ref": "#/$defs/duration" })),
        Kind::Words(words) => or_reference(&json!({ "enum": words })),
        Kind::Address => or_reference(&json!({ "type": "string", "pattern": ":[0-9]+$" })),
        Kind::AddressOrPassed => {
            or_reference(&json!({ "type": "string", "pattern": "^systemd:[^/:].*|:[0-9]+$" }))
        }
        Kind::Listen(schemes) => {
            let forms = schemes.iter().map(|scheme| match ListenForm::of(scheme) {
                ListenForm::Address => format!("{scheme}://.+:[0-9]+"),
                ListenForm::Path => format!("{scheme}:///.+"),
                ListenForm::Name => format!("{scheme}:[^/:].*"),
            });
            let pattern = format!("^({})$", forms.collect::<Vec<_>>().join("|"));
            or_reference(&json!({ "type": "string", "pattern": pattern }))
        }
        Kind::Url(rule) => {
            let pattern = format!("^({})://.+", rule.schemes.join("|"));
            or_reference(&json!({ "type": "string", "pattern": pattern }))
        }
        Kind::List(each) => json!({ "type": "array", "items": self::kind(each), "minItems": 1 }),
        Kind::OneOrMore(each) => {
            let one = self::kind(each);
            let more = json!({ "type": "array", "items": one, "minItems": 1 });
            json!({ "anyOf": [one, more] })
        }
        Kind::Map(each) => json!({ "type": "object", "additionalProperties": self::kind(each) }),
        Kind::Json => json!({}),
        Kind::Table(section) => self::section(section, None),
    }
}

fn name_pattern() -> String {
    format!("^[A-Za-z0-9_-][A-Za-z0-9._-]{{0,{}}}$", NAME_LEN_MAX - 1)
}

fn or_reference(kind: &Value) -> Value {
    json!({ "anyOf": [kind, { "$ref": "#/$defs/reference" }] })
}

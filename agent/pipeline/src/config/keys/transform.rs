//! `[transforms.NAME]`.

use super::{Default, Family, Key, Kind, Section, TextRule, range};

/// `[transforms.NAME]`.
pub(in super::super) static TRANSFORMS: Family = Family {
    name: "transforms",
    singular: "transform",
    doc: "What is done to records. \
          A source names transforms that run before a record is stored, \
          a destination names transforms that run on its way out. \
          Names of fields may be paths: `a.b` is the field `b` of the field `a`. \
          A field that is missing is never an error.",
    types: &[
        ("parse", &PARSE),
        ("filter", &FILTER),
        ("set", &SET),
        ("remove", &REMOVE),
        ("rename", &RENAME),
        ("keep_only", &KEEP_ONLY),
        ("sample", &SAMPLE),
        ("redact", &REDACT),
    ],
};

static PARSE: Section = Section {
    doc: "Looks into the payload, or into a text field, and adds what it finds as fields.",
    groups: &[&[
        Key {
            name: "format",
            kind: Kind::Words(&["json", "key_value", "regex"]),
            default: Default::Required,
            doc: "How the text is written: a JSON object, `key=value key=\"quoted value\"`, \
                  or what `pattern` says.",
        },
        Key {
            name: "pattern",
            kind: Kind::Text(TextRule::Any),
            default: Default::Absent("none"),
            doc: "With `format = \"regex\"`: a regular expression with named groups, \
                  such as `(?<level>\\w+)`.",
        },
        Key {
            name: "field",
            kind: Kind::Text(TextRule::Any),
            default: Default::Absent("the payload"),
            doc: "The text field to look into.",
        },
        Key {
            name: "into",
            kind: Kind::Text(TextRule::Any),
            default: Default::Absent("the record itself"),
            doc: "The field that takes what is found.",
        },
    ]],
};

static FILTER: Section = Section {
    doc: "Keeps a record only if an expression is true. What it filters is counted.",
    groups: &[&[Key {
        name: "keep",
        kind: Kind::Text(TextRule::Any),
        default: Default::Required,
        doc: "The expression; see \"Filter expressions\".",
    }]],
};

static SET: Section = Section {
    doc: "Gives fields constant values.",
    groups: &[&[Key {
        name: "fields",
        kind: Kind::Map(&Kind::Json),
        default: Default::Required,
        doc: "Names and values.",
    }]],
};

static REMOVE: Section = Section {
    doc: "Takes fields away.",
    groups: &[&[Key {
        name: "fields",
        kind: Kind::List(&Kind::Text(TextRule::Any)),
        default: Default::Required,
        doc: "Names of the fields.",
    }]],
};

static RENAME: Section = Section {
    doc: "Gives fields other names.",
    groups: &[&[Key {
        name: "fields",
        kind: Kind::Map(&Kind::Text(TextRule::Any)),
        default: Default::Required,
        doc: "Old name to new name.",
    }]],
};

static KEEP_ONLY: Section = Section {
    doc: "Takes every other field away.",
    groups: &[&[Key {
        name: "fields",
        kind: Kind::List(&Kind::Text(TextRule::Any)),
        default: Default::Required,
        doc: "Names of the fields that stay.",
    }]],
};

static SAMPLE: Section = Section {
    doc: "Keeps one record in so many, by a hash, so that a repeat decides the same. \
          What it filters is counted.",
    groups: &[&[Key {
        name: "one_in",
        kind: Kind::Integer(range(1, 1_000_000)),
        default: Default::Required,
        doc: "One in this many.",
    }]],
};

static REDACT: Section = Section {
    doc: "Hides what must not leave the gateway, by a mask or by a keyed hash.",
    groups: &[&[
        Key {
            name: "fields",
            kind: Kind::List(&Kind::Text(TextRule::Any)),
            default: Default::Absent("none"),
            doc: "Fields that are hidden whole.",
        },
        Key {
            name: "patterns",
            kind: Kind::List(&Kind::Text(TextRule::Any)),
            default: Default::Absent("none"),
            doc: "Regular expressions; what they match is hidden \
                  in the payload and in every text field.",
        },
        Key {
            name: "mask",
            kind: Kind::Text(TextRule::Empty),
            default: Default::Absent("`\"***\"`, when there is no `hash_key`"),
            doc: "What is written instead.",
        },
        Key {
            name: "hash_key",
            kind: Kind::Secret,
            default: Default::Absent("none"),
            doc: "Writes the first 16 hexadecimal digits of the HMAC-SHA-256 under this key \
                  instead, so that equal values stay equal.",
        },
    ]],
};

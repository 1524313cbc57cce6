//! `credentials` of a destination in AWS.

use super::{Default, Key, Kind, Section, TextRule};

/// `[destinations.NAME.credentials]`.
pub(super) static CREDENTIALS: Section = Section {
    doc: "Where the AWS keys come from.",
    groups: &[STATIC, FOUND],
};

static STATIC: &[Key] = &[
    Key {
        name: "access_key_id",
        kind: Kind::Text(TextRule::Any),
        default: Default::Absent("`AWS_ACCESS_KEY_ID`"),
        doc: "Access key id. It needs `secret_access_key`.",
    },
    Key {
        name: "secret_access_key",
        kind: Kind::Secret,
        default: Default::Absent("`AWS_SECRET_ACCESS_KEY`"),
        doc: "Secret access key.",
    },
    Key {
        name: "session_token",
        kind: Kind::Secret,
        default: Default::Absent("`AWS_SESSION_TOKEN`"),
        doc: "Token of temporary credentials.",
    },
];

static FOUND: &[Key] = &[
    Key {
        name: "profile",
        kind: Kind::Text(TextRule::Any),
        default: Default::Absent("`AWS_PROFILE`, then `default`"),
        doc: "Profile in the shared files.",
    },
    Key {
        name: "file",
        kind: Kind::Path,
        default: Default::Absent(
            "`AWS_CONFIG_FILE` and `AWS_SHARED_CREDENTIALS_FILE`, then those in `~/.aws`",
        ),
        doc: "The shared file, instead of both.",
    },
    Key {
        name: "process",
        kind: Kind::List(&Kind::Text(TextRule::Any)),
        default: Default::Absent("`credential_process` of the profile"),
        doc: "Program and arguments that print keys as JSON, in the form of `credential_process`.",
    },
    Key {
        name: "instance_metadata",
        kind: Kind::Bool,
        default: Default::Bool(false),
        doc: "Whether the keys are those of the EC2 instance, and nothing else is looked for.",
    },
];

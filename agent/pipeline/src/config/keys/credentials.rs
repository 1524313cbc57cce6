//! `credentials` of a destination in AWS.

use super::{Default, HOUR, Key, Kind, MINUTE, Section, TextRule, UrlRule, range};

/// `[destinations.NAME.credentials]`.
pub(super) static CREDENTIALS: Section = Section {
    doc: "Where the AWS keys come from.",
    groups: &[STATIC, FOUND, ROLE, FLEET],
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

static ROLE: &[Key] = &[
    Key {
        name: "role_arn",
        kind: Kind::Text(TextRule::Any),
        default: Default::Absent("none"),
        doc: "Role that is taken (STS `AssumeRole`) with the keys that the other settings give.",
    },
    Key {
        name: "role_session_name",
        kind: Kind::Text(TextRule::Any),
        default: Default::Absent("`agent.id`"),
        doc: "Who takes the role, as CloudTrail shows it.",
    },
    Key {
        name: "role_external_id",
        kind: Kind::Text(TextRule::Any),
        default: Default::Absent("none"),
        doc: "What the role's trust policy may ask for.",
    },
    Key {
        name: "role_duration",
        kind: Kind::Duration(range(15 * MINUTE, 12 * HOUR)),
        default: Default::Absent("1 h"),
        doc: "How long the role's keys last.",
    },
    Key {
        name: "web_identity_token_file",
        kind: Kind::Path,
        default: Default::Absent("`AWS_WEB_IDENTITY_TOKEN_FILE`, with `AWS_ROLE_ARN`"),
        doc: "File with a token of somebody that the role trusts; \
              it is taken with that, and no other keys are looked for.",
    },
    Key {
        name: "sts_endpoint",
        kind: ENDPOINT,
        default: Default::Absent("`AWS_ENDPOINT_URL_STS`, then that of the region"),
        doc: "Another endpoint of STS.",
    },
    Key {
        name: "ca_file",
        kind: Kind::Path,
        default: Default::Absent("`AWS_CA_BUNDLE`, then the authorities of the system"),
        doc: "PEM file of the authorities that STS is trusted by instead.",
    },
];

const ENDPOINT: Kind = Kind::Url(UrlRule {
    schemes: &["https", "http"],
    path: true,
});

static FLEET: &[Key] = &[
    Key {
        name: "iot_core",
        kind: Kind::Table(&IOT_CORE),
        default: Default::Absent("none"),
        doc: "The credentials provider of AWS IoT Core.",
    },
    Key {
        name: "roles_anywhere",
        kind: Kind::Table(&ROLES_ANYWHERE),
        default: Default::Absent("none"),
        doc: "IAM Roles Anywhere.",
    },
];

static IOT_CORE: Section = Section {
    doc: "Keys for the certificate of a device, from the credentials provider of AWS IoT Core.",
    groups: &[&[
        Key {
            name: "endpoint",
            kind: Kind::Url(UrlRule {
                schemes: &["https"],
                path: false,
            }),
            default: Default::Absent("none"),
            doc: "What `aws iot describe-endpoint --endpoint-type iot:CredentialProvider` says, \
                  behind `https://`.",
        },
        Key {
            name: "role_alias",
            kind: Kind::Text(TextRule::RoleAlias),
            default: Default::Absent("none"),
            doc: "Name of the role alias.",
        },
        Key {
            name: "thing_name",
            kind: Kind::Text(TextRule::Any),
            default: Default::Absent("none"),
            doc: "Name of the thing, which policies with `credentials-iot:ThingName` need.",
        },
        CERTIFICATE_FILE,
        KEY_FILE,
        CA_FILE,
    ]],
};

static ROLES_ANYWHERE: Section = Section {
    doc: "Keys for a certificate of an authority that AWS was told to trust.",
    groups: &[&[
        Key {
            name: "trust_anchor_arn",
            kind: Kind::Text(TextRule::Any),
            default: Default::Absent("none"),
            doc: "ARN of the trust anchor; it also names the region.",
        },
        Key {
            name: "profile_arn",
            kind: Kind::Text(TextRule::Any),
            default: Default::Absent("none"),
            doc: "ARN of the profile.",
        },
        Key {
            name: "role_arn",
            kind: Kind::Text(TextRule::Any),
            default: Default::Absent("none"),
            doc: "ARN of the role.",
        },
        CERTIFICATE_FILE,
        KEY_FILE,
        CA_FILE,
        Key {
            name: "duration",
            kind: Kind::Duration(range(15 * MINUTE, 12 * HOUR)),
            default: Default::Absent("what the profile says"),
            doc: "How long the keys last.",
        },
        Key {
            name: "endpoint",
            kind: ENDPOINT,
            default: Default::Absent("that of the region"),
            doc: "Another endpoint.",
        },
    ]],
};

const CERTIFICATE_FILE: Key = Key {
    name: "certificate_file",
    kind: Kind::Path,
    default: Default::Absent("none"),
    doc: "PEM file of the gateway's certificate, with those between it and its authority.",
};

const KEY_FILE: Key = Key {
    name: "key_file",
    kind: Kind::Path,
    default: Default::Absent("none"),
    doc: "PEM file of its private key.",
};

const CA_FILE: Key = Key {
    name: "ca_file",
    kind: Kind::Path,
    default: Default::Absent("the authorities of the system"),
    doc: "PEM file of the authorities that the endpoint is trusted by instead.",
};

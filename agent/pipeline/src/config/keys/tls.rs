//! `tls` and `proxy` of whatever connects to somebody.

use super::{Default, Key, Kind, Section, TextRule, UrlRule};

static TLS: Section = Section {
    doc: "How the server is verified, and what is shown to it.",
    groups: &[&[
        Key {
            name: "ca_file",
            kind: Kind::Path,
            default: Default::Absent("the authorities of the system"),
            doc: "PEM file of the certificate authorities that are trusted instead.",
        },
        Key {
            name: "certificate_file",
            kind: Kind::Path,
            default: Default::Absent("none"),
            doc: "PEM file of a client certificate and its chain. It needs `key_file`.",
        },
        Key {
            name: "key_file",
            kind: Kind::Path,
            default: Default::Absent("none"),
            doc: "PEM file of the private key of that certificate.",
        },
        Key {
            name: "pins",
            kind: Kind::List(&Kind::Text(TextRule::KeyPin)),
            default: Default::Absent("any key"),
            doc: "Public keys that the server may have, beside being verified: \
                  `sha256//` and base64, as curl takes them.",
        },
        Key {
            name: "version_min",
            kind: Kind::Words(&["1.2", "1.3"]),
            default: Default::Text("1.2"),
            doc: "Older versions of TLS are refused.",
        },
    ]],
};

/// `proxy`.
pub(super) const PROXY_KEY: Key = Key {
    name: "proxy",
    kind: Kind::Table(&PROXY),
    default: Default::Absent("as the environment says"),
    doc: "Through whom the server is reached.",
};

static PROXY: Section = Section {
    doc: "A proxy, which looks up the server's name itself.",
    groups: &[&[
        Key {
            name: "url",
            kind: Kind::Url(UrlRule {
                schemes: &["http", "https", "socks5"],
                path: false,
            }),
            default: Default::Absent("`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`"),
            doc: "The proxy, such as `http://proxy:3128` or `socks5://proxy:1080`.",
        },
        Key {
            name: "username",
            kind: Kind::Text(TextRule::Any),
            default: Default::Absent("none"),
            doc: "Who asks the proxy.",
        },
        Key {
            name: "password",
            kind: Kind::Secret,
            default: Default::Absent("none"),
            doc: "Password. It needs a `username`.",
        },
    ]],
};

/// `tls`; `doc` says when it may be written.
pub(super) const fn tls(doc: &'static str) -> Key {
    let doc = if doc.is_empty() {
        "How the server is verified."
    } else {
        doc
    };
    Key {
        name: "tls",
        kind: Kind::Table(&TLS),
        default: Default::Absent("see below"),
        doc,
    }
}

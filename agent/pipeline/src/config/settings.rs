//! Settings: what is written and what is the default, checked key by key.
//!
//! A [`Settings`] holds only keys that the table knows, with values of their kind and in their
//! range; whatever is required and missing, or unusable, has been reported. So what reads it ([`super::extract`],
//! [`super::rules`]) need not report that again.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::problem::Place;
use super::tree::join;
use super::units::{ByteSize, Secret};

/// A section with its values.
#[derive(Debug)]
pub(super) struct Settings {
    /// Its path, as in `destinations.lake.batch`.
    pub(super) path: String,
    /// Where it is written.
    pub(super) at: Place,
    values: BTreeMap<&'static str, Setting>,
}

/// A value and where it is written.
#[derive(Debug)]
pub(super) struct Setting {
    /// Where; the place of the section for a default.
    pub(super) at: Place,
    /// Whether the user wrote it.
    pub(super) written: bool,
    /// The value.
    pub(super) value: Value,
}

/// A value of its kind.
#[derive(Debug)]
pub(super) enum Value {
    /// Text, a word, a path.
    Text(String),
    /// A secret.
    Secret(Secret),
    /// A truth.
    Bool(bool),
    /// A whole number.
    Integer(u64),
    /// A size.
    Size(ByteSize),
    /// A duration.
    Duration(Duration),
    /// An address.
    Address(SocketAddr),
    /// A scheme and an address.
    Listen(&'static str, SocketAddr),
    /// A scheme and the path or name of a socket of this machine.
    ListenLocal(&'static str, String),
    /// A URL.
    Url(Url),
    /// Several of one kind.
    List(Vec<Setting>),
    /// Names of the user's own.
    Map(BTreeMap<String, Setting>),
    /// Any value.
    Json(serde_json::Value),
    /// A table of keys.
    Table(Settings),
    /// Something is written that cannot be used, which was reported.
    Unusable,
}

/// A URL, taken apart as far as the configuration needs it.
#[derive(Clone, Debug)]
pub(super) struct Url {
    /// The whole text.
    pub(super) text: String,
    /// What is before `://`.
    pub(super) scheme: &'static str,
    /// Host name or address, without brackets.
    pub(super) host: String,
    /// The port, when one is named.
    pub(super) port: Option<u16>,
    /// What comes after host and port.
    pub(super) tail: String,
}

/// A source, transform or destination as it is written.
#[derive(Debug)]
pub(super) struct Component {
    /// What its `type` says.
    pub(super) kind: &'static str,
    /// Its keys.
    pub(super) settings: Settings,
}

impl Settings {
    /// What [`super::check`] found.
    pub(super) fn new(path: String, at: Place, values: BTreeMap<&'static str, Setting>) -> Self {
        Self { path, at, values }
    }

    /// The value of `key`, unless it is absent or was reported.
    pub(super) fn get(&self, key: &str) -> Option<&Setting> {
        self.values.get(key)
    }

    /// The value of `key` if the user wrote it.
    pub(super) fn written(&self, key: &str) -> Option<&Setting> {
        self.get(key).filter(|setting| setting.written)
    }

    /// The path of `key`.
    pub(super) fn path_of(&self, key: &str) -> String {
        join(&self.path, key)
    }

    /// Where `key` is written, or else the section.
    pub(super) fn place_of(&self, key: &str) -> Place {
        self.get(key).map_or(self.at, |setting| setting.at)
    }

    /// A text.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        let Value::Text(text) = &self.get(key)?.value else {
            return None;
        };
        Some(text)
    }

    /// A secret.
    pub(super) fn secret(&self, key: &str) -> Option<&Secret> {
        let Value::Secret(secret) = &self.get(key)?.value else {
            return None;
        };
        Some(secret)
    }

    /// A truth.
    pub(super) fn bool(&self, key: &str) -> Option<bool> {
        let Value::Bool(value) = self.get(key)?.value else {
            return None;
        };
        Some(value)
    }

    /// A whole number that fits.
    pub(super) fn integer<T: TryFrom<u64>>(&self, key: &str) -> Option<T> {
        let Value::Integer(number) = self.get(key)?.value else {
            return None;
        };
        T::try_from(number).ok()
    }

    /// A size.
    pub(super) fn size(&self, key: &str) -> Option<ByteSize> {
        let Value::Size(size) = self.get(key)?.value else {
            return None;
        };
        Some(size)
    }

    /// A duration.
    pub(super) fn duration(&self, key: &str) -> Option<Duration> {
        let Value::Duration(duration) = self.get(key)?.value else {
            return None;
        };
        Some(duration)
    }

    /// An address.
    pub(super) fn address(&self, key: &str) -> Option<SocketAddr> {
        let Value::Address(address) = self.get(key)?.value else {
            return None;
        };
        Some(address)
    }

    /// The name of a socket that the service manager passes.
    pub(super) fn passed(&self, key: &str) -> Option<&str> {
        let Value::ListenLocal(_, name) = &self.get(key)?.value else {
            return None;
        };
        Some(name)
    }

    /// A URL.
    pub(super) fn url(&self, key: &str) -> Option<&Url> {
        let Value::Url(url) = &self.get(key)?.value else {
            return None;
        };
        Some(url)
    }

    /// The URLs in a list, and where each is written.
    pub(super) fn urls(&self, key: &str) -> impl Iterator<Item = (&Setting, &Url)> {
        self.list(key).iter().filter_map(|setting| {
            let Value::Url(url) = &setting.value else {
                return None;
            };
            Some((setting, url))
        })
    }

    /// What is in a list; nothing when there is none.
    pub(super) fn list(&self, key: &str) -> &[Setting] {
        let Some(Setting {
            value: Value::List(settings),
            ..
        }) = self.get(key)
        else {
            return &[];
        };
        settings
    }

    /// The texts in a list; nothing when there is none.
    pub(super) fn texts(&self, key: &str) -> Vec<String> {
        self.list(key)
            .iter()
            .filter_map(Setting::text)
            .map(str::to_owned)
            .collect()
    }

    /// What is in a map; `None` when there is none.
    pub(super) fn map(&self, key: &str) -> Option<&BTreeMap<String, Setting>> {
        let Value::Map(map) = &self.get(key)?.value else {
            return None;
        };
        Some(map)
    }

    /// A table of keys.
    pub(super) fn table(&self, key: &str) -> Option<&Settings> {
        let Value::Table(settings) = &self.get(key)?.value else {
            return None;
        };
        Some(settings)
    }
}

impl Setting {
    /// The text, if it is one.
    pub(super) fn text(&self) -> Option<&str> {
        let Value::Text(text) = &self.value else {
            return None;
        };
        Some(text)
    }
}

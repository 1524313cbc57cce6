//! AWS keys: where they come from, what is asked for them, what the answers mean, when they are
//! asked for anew, and that they are not printed. Files, programs and sockets are the agent's.
//!
//! [`chain`] makes a [`Plan`] of configuration, environment and shared files; the agent carries it
//! out with the requests that are made and the answers that are read here; [`Refresh`] says when.

mod answer;
pub mod chain;
pub mod container;
pub mod iot_core;
pub mod metadata;
pub mod process;
mod profiles;
mod refresh;
pub mod roles_anywhere;
pub mod sts;

use std::fmt;

use crate::config::Secret;
use crate::time::WallClock;

pub use chain::{Plan, Surroundings};
pub use profiles::{ProfileError, Profiles};
pub use refresh::{Need, Refresh};

/// What a request is signed with.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Names the key.
    pub access_key_id: String,
    /// The key.
    pub secret_access_key: Secret,
    /// Belongs to temporary keys.
    pub session_token: Option<Secret>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}

/// Credentials as somebody gave them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// What requests are signed with.
    pub credentials: Credentials,
    /// From when on they are worth nothing; `None` for those that last.
    pub expires: Option<WallClock>,
}

impl Granted {
    /// Credentials that last.
    pub const fn lasting(credentials: Credentials) -> Self {
        Self {
            credentials,
            expires: None,
        }
    }
}

impl Credentials {
    /// The keys that `get` finds in the environment; `None` unless both are there.
    pub fn from_environment(get: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let get = |name: &str| get(name).filter(|value| !value.is_empty());
        Some(Self {
            access_key_id: get("AWS_ACCESS_KEY_ID")?,
            secret_access_key: Secret::new(get("AWS_SECRET_ACCESS_KEY")?),
            session_token: get("AWS_SESSION_TOKEN").map(Secret::new),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment_needs_both_keys() {
        let environment = |pairs: &'static [(&str, &str)]| {
            move |name: &str| {
                let pair = pairs.iter().find(|(key, _)| *key == name)?;
                Some(pair.1.to_owned())
            }
        };
        let both = &[("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "s")];
        let keys = Credentials::from_environment(environment(both)).unwrap();
        assert_eq!(
            (keys.access_key_id.as_str(), keys.session_token),
            ("a", None)
        );
        let empty = &[("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "")];
        assert_eq!(Credentials::from_environment(environment(empty)), None);
        assert_eq!(Credentials::from_environment(environment(&[])), None);
    }

    #[test]
    fn secrets_do_not_print() {
        let keys = Credentials {
            access_key_id: "AK".to_owned(),
            secret_access_key: Secret::new("hush"),
            session_token: Some(Secret::new("hush")),
        };
        let text = format!("{keys:?}");
        assert!(text.contains("AK") && !text.contains("hush"), "{text}");
    }
}

//! AWS keys: how they are written and kept from being printed. Where they are read is the agent's.

use std::fmt;

use crate::config::Secret;

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

/// Why a shared credentials file gives no credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialsError {
    /// It has no such profile.
    NoProfile {
        /// The profile asked for.
        profile: String,
    },
    /// The profile lacks a key.
    NoKey {
        /// The profile asked for.
        profile: String,
        /// What it lacks.
        key: &'static str,
    },
}

impl fmt::Display for CredentialsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoProfile { profile } => write!(f, "no profile \"{profile}\""),
            Self::NoKey { profile, key } => write!(f, "profile \"{profile}\" has no {key}"),
        }
    }
}

impl std::error::Error for CredentialsError {}

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

    /// The keys of `profile` in the `text` of a shared credentials file.
    ///
    /// Sections are `[NAME]` or, as in `~/.aws/config`, `[profile NAME]`; names of keys are taken
    /// in any case; lines that are neither section nor `key = value` are passed over, as are
    /// indented ones, which belong to nested settings.
    pub fn parse_shared_file(text: &str, profile: &str) -> Result<Self, CredentialsError> {
        let mut found = false;
        let mut inside = false;
        let (mut id, mut secret, mut token) = (None, None, None);
        for line in text.lines() {
            if let Some(name) = section(line) {
                inside = name == profile;
                found |= inside;
            } else if inside && let Some((key, value)) = setting(line) {
                match key.to_ascii_lowercase().as_str() {
                    "aws_access_key_id" => id = Some(value.to_owned()),
                    "aws_secret_access_key" => secret = Some(Secret::new(value)),
                    "aws_session_token" => token = Some(Secret::new(value)),
                    _ => {}
                }
            }
        }
        let profile = || profile.to_owned();
        if !found {
            return Err(CredentialsError::NoProfile { profile: profile() });
        }
        let missing = |key| CredentialsError::NoKey {
            profile: profile(),
            key,
        };
        Ok(Self {
            access_key_id: id.ok_or_else(|| missing("aws_access_key_id"))?,
            secret_access_key: secret.ok_or_else(|| missing("aws_secret_access_key"))?,
            session_token: token,
        })
    }
}

/// The name in `[name]` or `[profile name]`.
fn section(line: &str) -> Option<&str> {
    let (name, _) = line.trim().strip_prefix('[')?.split_once(']')?;
    let name = name.trim();
    let name = name
        .strip_prefix("profile")
        .filter(|rest| rest.starts_with(char::is_whitespace))
        .unwrap_or(name);
    Some(name.trim().trim_matches('"'))
}

/// Key and value of `key = value`, without a comment that follows white space.
fn setting(line: &str) -> Option<(&str, &str)> {
    if line.starts_with(|c: char| c.is_whitespace() || c == '#' || c == ';') {
        return None;
    }
    let (key, value) = line.split_once('=')?;
    let value = value.split(" #").next().unwrap_or(value);
    let value = value.split(" ;").next().unwrap_or(value).trim();
    (!value.is_empty()).then_some((key.trim(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, profile: &str, expected: Result<(&str, &str, Option<&str>), &str>) {
        let parsed = Credentials::parse_shared_file(text, profile);
        let parsed = parsed.map_err(|error| error.to_string());
        let seen = parsed.as_ref().map(|keys| {
            (
                keys.access_key_id.as_str(),
                keys.secret_access_key.expose(),
                keys.session_token.as_ref().map(Secret::expose),
            )
        });
        assert_eq!(seen.map_err(String::as_str), expected);
    }

    #[test]
    fn shared_file_is_read() {
        let text = "; keys\n[default]\naws_access_key_id = AK1 \nAWS_SECRET_ACCESS_KEY=s/+=1\n\n\
                    [ edge ]\r\naws_access_key_id=AK2\r\naws_secret_access_key=s2 # mine\r\n\
                    aws_session_token = t==\r\ns3 =\n  aws_access_key_id = nested\nrubbish\n\
                    [profile other]\naws_access_key_id=AK3\n";
        check(text, "default", Ok(("AK1", "s/+=1", None)));
        check(text, "edge", Ok(("AK2", "s2", Some("t=="))));
        check(text, "none", Err("no profile \"none\""));
        check(
            text,
            "other",
            Err("profile \"other\" has no aws_secret_access_key"),
        );
        check("", "default", Err("no profile \"default\""));
        check(
            "[a]\naws_access_key_id=\n",
            "a",
            Err("profile \"a\" has no aws_access_key_id"),
        );
    }

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

//! Shared files of AWS: `~/.aws/config` and `~/.aws/credentials`.
//!
//! Sections are `[NAME]` or, as in `~/.aws/config`, `[profile NAME]`; names of keys are taken in
//! any case; lines that are neither section nor `key = value` are passed over, as are indented
//! ones, which belong to nested settings.

use std::collections::BTreeMap;
use std::fmt;

use super::Credentials;
use crate::config::Secret;

/// The settings of each profile; their values may be secrets and are not printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Profiles(BTreeMap<String, BTreeMap<String, String>>);

impl fmt::Debug for Profiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Why a profile gives no credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProfileError {
    /// There is no such profile.
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

impl fmt::Display for ProfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoProfile { profile } => write!(f, "no profile \"{profile}\""),
            Self::NoKey { profile, key } => write!(f, "profile \"{profile}\" has no {key}"),
        }
    }
}

impl std::error::Error for ProfileError {}

impl Profiles {
    /// Adds what `text` says; it counts more than what was there before.
    pub fn add(&mut self, text: &str) {
        let mut inside = None;
        for line in text.lines() {
            if let Some(name) = section(line) {
                self.0.entry(name.to_owned()).or_default();
                inside = Some(name);
            } else if let Some((key, value)) = setting(line)
                && let Some(profile) = inside.and_then(|name| self.0.get_mut(name))
            {
                profile.insert(key.to_ascii_lowercase(), value.to_owned());
            }
        }
    }

    /// Whether there is a profile of this name.
    pub fn has(&self, profile: &str) -> bool {
        self.0.contains_key(profile)
    }

    /// A setting of a profile.
    pub fn get(&self, profile: &str, key: &str) -> Option<&str> {
        self.0.get(profile)?.get(key).map(String::as_str)
    }

    /// The keys that are written in a profile.
    pub fn keys(&self, profile: &str) -> Result<Credentials, ProfileError> {
        if !self.has(profile) {
            return Err(ProfileError::NoProfile {
                profile: profile.to_owned(),
            });
        }
        let get = |key| {
            self.get(profile, key).ok_or_else(|| ProfileError::NoKey {
                profile: profile.to_owned(),
                key,
            })
        };
        Ok(Credentials {
            access_key_id: get("aws_access_key_id")?.to_owned(),
            secret_access_key: Secret::new(get("aws_secret_access_key")?),
            session_token: self.get(profile, "aws_session_token").map(Secret::new),
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
        let mut profiles = Profiles::default();
        profiles.add(text);
        let parsed = profiles.keys(profile).map_err(|error| error.to_string());
        let seen = parsed.as_ref().map(|keys| {
            (
                keys.access_key_id.as_str(),
                keys.secret_access_key.expose(),
                keys.session_token.as_ref().map(Secret::expose),
            )
        });
        assert_eq!(seen.map_err(String::as_str), expected);
        assert!(!format!("{profiles:?}").contains("s2"));
    }

    #[test]
    fn shared_files_are_read() {
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
    fn the_later_file_counts_more() {
        let mut profiles = Profiles::default();
        profiles.add("[profile a]\nregion = eu-west-1\naws_access_key_id = old\n");
        profiles.add("[a]\naws_access_key_id = new\n[b]\n");
        assert_eq!(profiles.get("a", "region"), Some("eu-west-1"));
        assert_eq!(profiles.get("a", "aws_access_key_id"), Some("new"));
        assert!(profiles.has("b") && !profiles.has("c"));
    }
}

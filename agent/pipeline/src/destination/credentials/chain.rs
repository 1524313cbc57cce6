//! Where keys come from: configuration, environment and shared files, in the order of AWS's own
//! tools, made into a [`Plan`].
//!
//! One thing is different: the metadata of an instance is asked only where the machine says that
//! it is one. On a plant's network anybody could answer at that address, and make a gateway
//! deliver with keys of his own.

use std::path::{Path, PathBuf};

use super::container::Container;
use super::{Credentials, Profiles, metadata, process};
use crate::config::CredentialsConfig;

const PROFILE_DEFAULT: &str = "default";

/// How keys are got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// They are there.
    Keys(Credentials),
    /// A program prints them.
    Process(Vec<String>),
    /// The endpoint of a container has them.
    Container(Container),
    /// The metadata of the instance has them.
    Metadata {
        /// Where that is.
        endpoint: String,
    },
}

/// What the agent finds around it.
pub struct Surroundings<'a> {
    /// A variable of the environment.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// The text of a file, or why it cannot be read.
    pub read: &'a dyn Fn(&Path) -> Result<String, String>,
    /// Whether the machine is an instance of EC2.
    pub is_instance: bool,
}

impl std::fmt::Debug for Surroundings<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Surroundings")
            .field("is_instance", &self.is_instance)
            .finish_non_exhaustive()
    }
}

impl Surroundings<'_> {
    /// A variable that is set to something.
    fn variable(&self, name: &str) -> Option<String> {
        (self.variable)(name).filter(|value| !value.is_empty())
    }

    /// A shared file: what a variable names, or a name in the home directory.
    fn shared_file(&self, variable: &str, name: &str) -> Option<PathBuf> {
        let named = self.variable(variable).map(PathBuf::from);
        named.or_else(|| {
            Some(
                PathBuf::from(self.variable("HOME")?)
                    .join(".aws")
                    .join(name),
            )
        })
    }
}

/// How the keys that `config` means are got; an error says what to do.
pub fn plan(config: &CredentialsConfig, around: &Surroundings<'_>) -> Result<Plan, String> {
    match config {
        CredentialsConfig::Static {
            access_key_id,
            secret_access_key,
            session_token,
        } => Ok(Plan::Keys(Credentials {
            access_key_id: access_key_id.clone(),
            secret_access_key: secret_access_key.clone(),
            session_token: session_token.clone(),
        })),
        CredentialsConfig::Process { command } => Ok(Plan::Process(command.clone())),
        CredentialsConfig::InstanceMetadata => Ok(instance(around)),
        CredentialsConfig::Default {
            profile: None,
            file: None,
        } => found(around),
        CredentialsConfig::Default { profile, file } => {
            let files = SharedFiles::read(file.as_deref(), around);
            files.plan(&profile_name(profile.as_deref(), around))
        }
    }
}

/// The first of what may be there.
fn found(around: &Surroundings<'_>) -> Result<Plan, String> {
    if let Some(keys) = Credentials::from_environment(|name| around.variable(name)) {
        return Ok(Plan::Keys(keys));
    }
    let files = SharedFiles::read(None, around);
    let profile = profile_name(None, around);
    if files.profiles.has(&profile) || around.variable("AWS_PROFILE").is_some() {
        return files.plan(&profile);
    }
    if let Some(container) = Container::from_environment(|name| around.variable(name)) {
        return container.map(Plan::Container);
    }
    let is_disabled = around
        .variable("AWS_EC2_METADATA_DISABLED")
        .is_some_and(|value| value.eq_ignore_ascii_case("true"));
    if around.is_instance && !is_disabled {
        return Ok(instance(around));
    }
    files.plan(&profile)
}

fn instance(around: &Surroundings<'_>) -> Plan {
    let named = around.variable("AWS_EC2_METADATA_SERVICE_ENDPOINT");
    let mode = around.variable("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE");
    let endpoint = named.unwrap_or_else(|| {
        let is_ipv6 = mode.is_some_and(|mode| mode.eq_ignore_ascii_case("ipv6"));
        let endpoint = if is_ipv6 {
            metadata::ENDPOINT_IPV6
        } else {
            metadata::ENDPOINT
        };
        endpoint.to_owned()
    });
    Plan::Metadata { endpoint }
}

fn profile_name(profile: Option<&str>, around: &Surroundings<'_>) -> String {
    let named = profile.map(str::to_owned);
    named
        .or_else(|| around.variable("AWS_PROFILE"))
        .unwrap_or_else(|| PROFILE_DEFAULT.to_owned())
}

/// What the shared files say.
struct SharedFiles {
    profiles: Profiles,
    /// The file that keys are expected in.
    path: PathBuf,
    /// Why that cannot be read, and what to do.
    trouble: Option<String>,
}

impl SharedFiles {
    /// Reads `file` alone, or else both files of the environment.
    fn read(file: Option<&Path>, around: &Surroundings<'_>) -> Self {
        const HELP: &str =
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or credentials in the configuration";
        let mut profiles = Profiles::default();
        if file.is_none()
            && let Some(config) = around.shared_file("AWS_CONFIG_FILE", "config")
            && let Ok(text) = (around.read)(&config)
        {
            profiles.add(&text);
        }
        let shared = || around.shared_file("AWS_SHARED_CREDENTIALS_FILE", "credentials");
        let Some(path) = file.map(Path::to_path_buf).or_else(shared) else {
            return Self {
                profiles,
                path: PathBuf::new(),
                trouble: Some(HELP.to_owned()),
            };
        };
        let trouble = match (around.read)(&path) {
            Ok(text) => {
                profiles.add(&text);
                None
            }
            Err(error) => Some(format!(
                "{} cannot be read ({error}); {HELP}",
                path.display()
            )),
        };
        Self {
            profiles,
            path,
            trouble,
        }
    }

    fn plan(&self, profile: &str) -> Result<Plan, String> {
        let get = |key| self.profiles.get(profile, key);
        if get("aws_access_key_id").is_none()
            && let Some(command) = get("credential_process")
        {
            return process::words(command)
                .map(Plan::Process)
                .map_err(|error| format!("credential_process of profile \"{profile}\" {error}"));
        }
        self.profiles
            .keys(profile)
            .map(Plan::Keys)
            .map_err(|error| match &self.trouble {
                Some(trouble) if !self.profiles.has(profile) => trouble.clone(),
                _ => format!("{}: {error}", self.path.display()),
            })
    }
}

#[cfg(test)]
mod tests;

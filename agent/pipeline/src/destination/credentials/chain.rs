//! Where keys come from: configuration, environment and shared files, in the order of AWS's own
//! tools, made into a [`Plan`].
//!
//! One thing is different: the metadata of an instance is asked only where the machine says that
//! it is one. On a plant's network anybody could answer at that address, and make a gateway
//! deliver with keys of his own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::container::Container;
use super::sts::Role;
use super::{Credentials, Profiles, metadata, process};
use crate::config::{CredentialsConfig, IotCoreConfig, RoleConfig, RolesAnywhereConfig};

const PROFILE_DEFAULT: &str = "default";

/// Roles of profiles that are taken with those of other profiles.
const ROLES_MAX: usize = 5;

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
    /// IoT Core gives them for the device's certificate.
    IotCore(Box<IotCoreConfig>),
    /// Roles Anywhere gives them for a certificate.
    RolesAnywhere {
        /// What is asked.
        config: Box<RolesAnywhereConfig>,
        /// Where, if the trust anchor does not say.
        region: String,
    },
    /// STS gives them for a token.
    WebIdentity {
        /// The file with the token.
        token_file: PathBuf,
        /// The role.
        role: Role,
    },
    /// STS gives them for others.
    Role {
        /// The role.
        role: Role,
        /// How the others are got.
        with: Box<Plan>,
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
    /// The region that is asked where nothing else is said.
    pub region: &'a str,
    /// Who takes roles where nothing else is said.
    pub session_name: &'a str,
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

impl Surroundings<'_> {
    fn role(&self, config: &RoleConfig) -> Role {
        let named = config.session_name.as_deref();
        let mut role = self.role_of(&config.arn);
        named
            .unwrap_or(self.session_name)
            .clone_into(&mut role.session_name);
        role.external_id.clone_from(&config.external_id);
        role.duration = config.duration;
        role.endpoint = config.endpoint.clone().or(role.endpoint);
        role.ca_file = config.ca_file.clone().or(role.ca_file);
        role
    }

    /// A role of which no more than this is said.
    fn role_of(&self, arn: &str) -> Role {
        Role {
            arn: arn.to_owned(),
            session_name: self.session_name.to_owned(),
            external_id: None,
            duration: None,
            region: self.region.to_owned(),
            endpoint: self.variable("AWS_ENDPOINT_URL_STS"),
            ca_file: self.variable("AWS_CA_BUNDLE").map(PathBuf::from),
        }
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
        CredentialsConfig::IotCore(config) => Ok(Plan::IotCore(config.clone())),
        CredentialsConfig::RolesAnywhere(config) => Ok(Plan::RolesAnywhere {
            config: config.clone(),
            region: around.region.to_owned(),
        }),
        CredentialsConfig::WebIdentity { token_file, role } => Ok(Plan::WebIdentity {
            token_file: token_file.clone(),
            role: around.role(role),
        }),
        CredentialsConfig::Role { role, with } => Ok(Plan::Role {
            role: around.role(role),
            with: Box::new(plan(with, around)?),
        }),
        CredentialsConfig::Default {
            profile: None,
            file: None,
        } => found(around),
        CredentialsConfig::Default { profile, file } => {
            let files = SharedFiles::read(file.as_deref(), around);
            files.plan(&profile_name(profile.as_deref(), around), around)
        }
    }
}

/// The first of what may be there.
fn found(around: &Surroundings<'_>) -> Result<Plan, String> {
    if let Some(keys) = Credentials::from_environment(|name| around.variable(name)) {
        return Ok(Plan::Keys(keys));
    }
    if let (Some(token_file), Some(arn)) = (
        around.variable("AWS_WEB_IDENTITY_TOKEN_FILE"),
        around.variable("AWS_ROLE_ARN"),
    ) {
        let mut role = around.role_of(&arn);
        if let Some(name) = around.variable("AWS_ROLE_SESSION_NAME") {
            role.session_name = name;
        }
        return Ok(Plan::WebIdentity {
            token_file: PathBuf::from(token_file),
            role,
        });
    }
    let files = SharedFiles::read(None, around);
    let profile = profile_name(None, around);
    if files.profiles.has(&profile) || around.variable("AWS_PROFILE").is_some() {
        return files.plan(&profile, around);
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
    files.plan(&profile, around)
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

    /// How the keys of a profile are got: a role first, then keys, then a program.
    fn plan(&self, profile: &str, around: &Surroundings<'_>) -> Result<Plan, String> {
        self.follow(profile, around, 0)
    }

    fn follow(
        &self,
        profile: &str,
        around: &Surroundings<'_>,
        roles: usize,
    ) -> Result<Plan, String> {
        let get = |key| self.profiles.get(profile, key);
        if let Some(arn) = get("role_arn") {
            return self.role(profile, arn, around, roles);
        }
        self.keys(profile)
    }

    /// The role of a profile, and what it is taken with.
    fn role(
        &self,
        profile: &str,
        arn: &str,
        around: &Surroundings<'_>,
        roles: usize,
    ) -> Result<Plan, String> {
        let get = |key| self.profiles.get(profile, key);
        let wrong = |what: &str| {
            let path = self.path.display();
            Err(format!("{path}: profile \"{profile}\" {what}"))
        };
        let mut role = around.role_of(arn);
        if let Some(name) = get("role_session_name") {
            name.clone_into(&mut role.session_name);
        }
        if let Some(region) = get("region") {
            region.clone_into(&mut role.region);
        }
        if let Some(file) = get("ca_bundle") {
            role.ca_file = Some(PathBuf::from(file));
        }
        role.external_id = get("external_id").map(str::to_owned);
        let seconds = get("duration_seconds").and_then(|text| text.parse().ok());
        role.duration = seconds.map(Duration::from_secs);
        if let Some(token_file) = get("web_identity_token_file") {
            let token_file = PathBuf::from(token_file);
            return Ok(Plan::WebIdentity { token_file, role });
        }
        let with = match (get("source_profile"), get("credential_source")) {
            (Some(source), _) if source == profile => self.keys(profile)?,
            (Some(_), _) if roles >= ROLES_MAX => return wrong("names roles in a circle"),
            (Some(source), _) => self.follow(source, around, roles + 1)?,
            (None, Some("Environment")) => {
                let keys = Credentials::from_environment(|name| around.variable(name));
                match keys {
                    Some(keys) => Plan::Keys(keys),
                    None => return wrong("wants keys in the environment, which has none"),
                }
            }
            (None, Some("EcsContainer")) => {
                match Container::from_environment(|name| around.variable(name)) {
                    Some(container) => Plan::Container(container?),
                    None => return wrong("wants a container's endpoint, which is not set"),
                }
            }
            (None, Some("Ec2InstanceMetadata")) => instance(around),
            (None, Some(_)) => return wrong("has a credential_source that is not known"),
            (None, None) => return wrong("has neither source_profile nor credential_source"),
        };
        let with = Box::new(with);
        Ok(Plan::Role { role, with })
    }

    fn keys(&self, profile: &str) -> Result<Plan, String> {
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

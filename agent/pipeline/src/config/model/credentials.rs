//! Where AWS keys come from.

use std::path::PathBuf;
use std::time::Duration;

use super::TlsConfig;
use crate::config::units::Secret;

/// Where AWS keys come from.
#[derive(Clone, Debug, PartialEq)]
pub enum CredentialsConfig {
    /// From the configuration.
    Static {
        /// Access key id.
        access_key_id: String,
        /// Secret access key.
        secret_access_key: Secret,
        /// Token of temporary credentials.
        session_token: Option<Secret>,
    },
    /// What is found first in the environment, the shared files and around the machine; with a
    /// profile or file, what is found there.
    Default {
        /// Profile in the shared files.
        profile: Option<String>,
        /// The shared file; `None` is those of the environment or `~/.aws`.
        file: Option<PathBuf>,
    },
    /// A program prints them.
    Process {
        /// The program and its arguments.
        command: Vec<String>,
    },
    /// The metadata of the EC2 instance has them.
    InstanceMetadata,
    /// AWS IoT Core gives them for a device's certificate.
    IotCore(Box<IotCoreConfig>),
    /// IAM Roles Anywhere gives them for a certificate.
    RolesAnywhere(Box<RolesAnywhereConfig>),
    /// STS gives them for a token of somebody that a role trusts.
    WebIdentity {
        /// The file with the token, which changes.
        token_file: PathBuf,
        /// The role.
        role: RoleConfig,
    },
    /// STS gives them for others.
    Role {
        /// The role.
        role: RoleConfig,
        /// Where the others come from.
        with: Box<CredentialsConfig>,
    },
}

/// A role that is taken.
#[derive(Clone, Debug, PartialEq)]
pub struct RoleConfig {
    /// Its ARN.
    pub arn: String,
    /// Who takes it; `None` is the agent's id.
    pub session_name: Option<String>,
    /// What its trust policy may ask for.
    pub external_id: Option<String>,
    /// How long its keys last; `None` is what STS says.
    pub duration: Option<Duration>,
    /// Another endpoint of STS.
    pub endpoint: Option<String>,
    /// PEM file of the authorities that STS is trusted by, instead of the system's.
    pub ca_file: Option<PathBuf>,
}

/// The credentials provider of AWS IoT Core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IotCoreConfig {
    /// Where it is.
    pub endpoint: String,
    /// The role alias.
    pub role_alias: String,
    /// Name of the thing, for policies that ask for it.
    pub thing_name: Option<String>,
    /// The device's certificate, and who is trusted.
    pub tls: TlsConfig,
}

/// IAM Roles Anywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolesAnywhereConfig {
    /// Who vouches for the certificate.
    pub trust_anchor_arn: String,
    /// What may be done.
    pub profile_arn: String,
    /// The role.
    pub role_arn: String,
    /// Another endpoint.
    pub endpoint: Option<String>,
    /// How long the keys last; `None` is what the profile says.
    pub duration: Option<Duration>,
    /// PEM file of the certificate, the own one first.
    pub certificate_file: PathBuf,
    /// PEM file of its private key.
    pub key_file: PathBuf,
    /// PEM file of the authorities that the endpoint is trusted by, instead of the system's.
    pub ca_file: Option<PathBuf>,
}

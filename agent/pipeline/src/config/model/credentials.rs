//! Where AWS keys come from.

use std::path::PathBuf;

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
}

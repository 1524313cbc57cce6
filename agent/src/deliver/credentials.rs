//! Where a driver takes its AWS keys from: the configuration, the environment, the shared file.

use std::path::PathBuf;

use pipeline::config::{CredentialsConfig, DestinationKind};
use pipeline::destination::credentials::Credentials;
use pipeline::destination::{Retry, RetryClass, Verdict};

const PROFILE_DEFAULT: &str = "default";

/// The keys of one destination, read when they are first needed.
#[derive(Debug)]
pub(super) struct Keys {
    config: Option<CredentialsConfig>,
    current: Option<Credentials>,
}

impl Keys {
    /// The keys that `kind` is configured with; none where none are needed.
    pub(super) fn new(kind: &DestinationKind) -> Self {
        let config = match kind {
            DestinationKind::Firehose(firehose) => Some(firehose.credentials.clone()),
            DestinationKind::Http(_) | DestinationKind::Directory(_) => None,
        };
        Self {
            config,
            current: None,
        }
    }

    /// The keys, read anew if `refused` says that the last ones were.
    pub(super) fn current(&mut self, refused: bool) -> Result<Option<&Credentials>, Verdict> {
        let Some(config) = &self.config else {
            return Ok(None);
        };
        if refused {
            self.current = None;
        }
        if self.current.is_none() {
            let keys = load(config)
                .map_err(|reason| Verdict::Retry(Retry::new(RetryClass::Credentials, reason)))?;
            self.current = Some(keys);
        }
        Ok(self.current.as_ref())
    }
}

fn load(config: &CredentialsConfig) -> Result<Credentials, String> {
    let (profile, file) = match config {
        CredentialsConfig::Static {
            access_key_id,
            secret_access_key,
            session_token,
        } => {
            return Ok(Credentials {
                access_key_id: access_key_id.clone(),
                secret_access_key: secret_access_key.clone(),
                session_token: session_token.clone(),
            });
        }
        CredentialsConfig::Default { profile, file } => (profile.clone(), file.clone()),
    };
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if profile.is_none()
        && file.is_none()
        && let Some(keys) = Credentials::from_environment(variable)
    {
        return Ok(keys);
    }
    let profile = profile
        .or_else(|| variable("AWS_PROFILE"))
        .unwrap_or_else(|| PROFILE_DEFAULT.to_owned());
    let file = file
        .or_else(|| variable("AWS_SHARED_CREDENTIALS_FILE").map(PathBuf::from))
        .or_else(|| Some(PathBuf::from(variable("HOME")?).join(".aws/credentials")));
    let Some(file) = file else {
        return Err(
            "no AWS keys: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or \
                    credentials in the configuration"
                .to_owned(),
        );
    };
    let text = std::fs::read_to_string(&file).map_err(|error| {
        format!(
            "no AWS keys: {} cannot be read ({error}); set AWS_ACCESS_KEY_ID and \
             AWS_SECRET_ACCESS_KEY, or credentials in the configuration",
            file.display()
        )
    })?;
    Credentials::parse_shared_file(&text, &profile)
        .map_err(|error| format!("no AWS keys: {}: {error}", file.display()))
}

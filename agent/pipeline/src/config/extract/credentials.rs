//! `credentials` of a destination in AWS.

use super::super::model::CredentialsConfig;
use super::super::settings::Settings;
use super::{owned, path};

/// Where keys come from.
pub(super) fn config(settings: &Settings) -> Option<CredentialsConfig> {
    if let Some(access_key_id) = owned(settings, "access_key_id") {
        return Some(CredentialsConfig::Static {
            access_key_id,
            secret_access_key: settings.secret("secret_access_key")?.clone(),
            session_token: settings.secret("session_token").cloned(),
        });
    }
    if settings.get("process").is_some() {
        let command = settings.texts("process");
        return Some(CredentialsConfig::Process { command });
    }
    if settings.bool("instance_metadata")? {
        return Some(CredentialsConfig::InstanceMetadata);
    }
    Some(CredentialsConfig::Default {
        profile: owned(settings, "profile"),
        file: path(settings, "file"),
    })
}

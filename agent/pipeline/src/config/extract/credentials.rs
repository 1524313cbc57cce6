//! `credentials` of a destination in AWS.

use super::super::model::{
    CredentialsConfig, IotCoreConfig, RoleConfig, RolesAnywhereConfig, TlsConfig,
};
use super::super::settings::Settings;
use super::{owned, path};

/// Where keys come from.
pub(super) fn config(settings: &Settings) -> Option<CredentialsConfig> {
    let Some(role) = role(settings) else {
        return base(settings);
    };
    Some(match path(settings, "web_identity_token_file") {
        Some(token_file) => CredentialsConfig::WebIdentity { token_file, role },
        None => CredentialsConfig::Role {
            role,
            with: Box::new(base(settings)?),
        },
    })
}

/// Where the keys come from that no role needs.
fn base(settings: &Settings) -> Option<CredentialsConfig> {
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
    if settings.written("iot_core").is_some() {
        return iot_core(settings.table("iot_core")?)
            .map(Box::new)
            .map(CredentialsConfig::IotCore);
    }
    if settings.written("roles_anywhere").is_some() {
        let config = roles_anywhere(settings.table("roles_anywhere")?);
        return config.map(Box::new).map(CredentialsConfig::RolesAnywhere);
    }
    Some(CredentialsConfig::Default {
        profile: owned(settings, "profile"),
        file: path(settings, "file"),
    })
}

fn role(settings: &Settings) -> Option<RoleConfig> {
    Some(RoleConfig {
        arn: owned(settings, "role_arn")?,
        session_name: owned(settings, "role_session_name"),
        external_id: owned(settings, "role_external_id"),
        duration: settings.duration("role_duration"),
        endpoint: settings.url("sts_endpoint").map(|url| url.text.clone()),
        ca_file: path(settings, "ca_file"),
    })
}

fn iot_core(settings: &Settings) -> Option<IotCoreConfig> {
    Some(IotCoreConfig {
        endpoint: settings.url("endpoint")?.text.clone(),
        role_alias: owned(settings, "role_alias")?,
        thing_name: owned(settings, "thing_name"),
        tls: TlsConfig {
            ca_file: path(settings, "ca_file"),
            certificate_file: Some(path(settings, "certificate_file")?),
            key_file: Some(path(settings, "key_file")?),
            ..TlsConfig::default()
        },
    })
}

fn roles_anywhere(settings: &Settings) -> Option<RolesAnywhereConfig> {
    Some(RolesAnywhereConfig {
        trust_anchor_arn: owned(settings, "trust_anchor_arn")?,
        profile_arn: owned(settings, "profile_arn")?,
        role_arn: owned(settings, "role_arn")?,
        endpoint: settings.url("endpoint").map(|url| url.text.clone()),
        duration: settings.duration("duration"),
        certificate_file: path(settings, "certificate_file")?,
        key_file: path(settings, "key_file")?,
        ca_file: path(settings, "ca_file"),
    })
}

//! Gets keys as a plan says.

use std::path::Path;

use pipeline::config::{RolesAnywhereConfig, TlsConfig};
use pipeline::destination::credentials::container::{self, Container, Token};
use pipeline::destination::credentials::roles_anywhere::{self, KeyKind};
use pipeline::destination::credentials::sts::{self, Role};
use pipeline::destination::credentials::{Granted, Plan, Surroundings, chain, iot_core, metadata};
use pipeline::destination::{HttpRequest, HttpResponse, TransportError};

use super::{Provider, process};
use crate::tls;
use crate::transport::Transport;

/// No shared file and no token is larger.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// What the firmware of an EC2 instance calls itself.
const VENDORS: [&str; 2] = [
    "/sys/class/dmi/id/sys_vendor",
    "/sys/class/dmi/id/board_vendor",
];
const VENDOR: &str = "Amazon EC2";

/// Gets keys; an error says why there are none.
pub(super) async fn fetch(provider: &Provider) -> Result<Granted, String> {
    let asking = &provider.asking;
    let plan = chain::plan(
        &asking.config,
        &Surroundings {
            variable: &|name| std::env::var(name).ok(),
            read: &read,
            is_instance: is_instance(),
            region: &asking.region,
            session_name: &asking.session_name,
        },
    )?;
    carry_out(plan, provider).await
}

async fn carry_out(plan: Plan, provider: &Provider) -> Result<Granted, String> {
    match plan {
        Plan::Keys(keys) => Ok(Granted::lasting(keys)),
        Plan::Process(words) => process::run(&words)
            .await
            .map_err(|error| format!("{} {error}", words.first().map_or("", String::as_str))),
        Plan::Container(container) => from_container(&container, provider)
            .await
            .map_err(|error| format!("{} {error}", container.url)),
        Plan::Metadata { endpoint } => from_metadata(&endpoint, provider)
            .await
            .map_err(|error| format!("the metadata of the instance ({endpoint}): {error}")),
        Plan::IotCore(config) => {
            let answer = provider.ask(&config.tls, &iot_core::ask(&config)).await;
            let granted = answer.and_then(|answer| iot_core::read(answer.as_ref()));
            granted.map_err(|error| format!("{}: {error}", config.endpoint))
        }
        Plan::RolesAnywhere { config, region } => from_roles_anywhere(&config, &region, provider)
            .await
            .map_err(|error| format!("IAM Roles Anywhere for role {}: {error}", config.role_arn)),
        Plan::WebIdentity { token_file, role } => {
            let token = read(&token_file)
                .map_err(|error| format!("no token: {}: {error}", token_file.display()))?;
            from_sts(&role, &sts::assume_with_token(&role, &token), provider).await
        }
        Plan::Role { role, with } => {
            let keys = Box::pin(carry_out(*with, provider)).await?.credentials;
            let request = sts::assume(&role, &keys, provider.now());
            from_sts(&role, &request, provider).await
        }
    }
}

impl Provider {
    /// Makes one request over a connection of its own: the next one is far away, and files of TLS
    /// may have changed by then.
    async fn ask(
        &self,
        tls: &TlsConfig,
        request: &HttpRequest,
    ) -> Result<Result<HttpResponse, TransportError>, String> {
        let tls = TlsConfig {
            proxy: self.asking.proxy.clone(),
            ..tls.clone()
        };
        let transport = Transport::new(&tls, self.clock).map_err(|error| error.to_string())?;
        let answer = transport.send(request).await;
        if let Ok(response) = &answer {
            let mut skew = self.skew.get();
            skew.learn(response);
            self.skew.set(skew);
        }
        Ok(answer)
    }
}

async fn from_sts(
    role: &Role,
    request: &HttpRequest,
    provider: &Provider,
) -> Result<Granted, String> {
    let tls = TlsConfig {
        ca_file: role.ca_file.clone(),
        ..TlsConfig::default()
    };
    let answer = provider.ask(&tls, request).await;
    let granted = answer.and_then(|answer| sts::read(answer.as_ref()));
    granted.map_err(|error| format!("{} for role {}: {error}", request.url, role.arn))
}

async fn from_roles_anywhere(
    config: &RolesAnywhereConfig,
    region: &str,
    provider: &Provider,
) -> Result<Granted, String> {
    let identity = tls::signer(&config.certificate_file, &config.key_file);
    let identity = identity.map_err(|error| error.to_string())?;
    let chain: Vec<&[u8]> = identity.chain.iter().map(AsRef::as_ref).collect();
    let kind = if identity.is_rsa {
        KeyKind::Rsa
    } else {
        KeyKind::Ecdsa
    };
    let unsigned = roles_anywhere::ask(config, region, &chain, kind, provider.now())?;
    let signature = identity.signer.sign(unsigned.string_to_sign().as_bytes());
    let request = unsigned.signed(&signature.map_err(|error| error.to_string())?);
    let tls = TlsConfig {
        ca_file: config.ca_file.clone(),
        ..TlsConfig::default()
    };
    let answer = provider.ask(&tls, &request).await?;
    roles_anywhere::read(answer.as_ref())
}

async fn from_container(container: &Container, provider: &Provider) -> Result<Granted, String> {
    let token = match &container.token {
        Some(Token::Text(text)) => Some(text.expose().to_owned()),
        Some(Token::File(path)) => {
            let text = read(path);
            Some(text.map_err(|error| format!("wants a token: {}: {error}", path.display()))?)
        }
        None => None,
    };
    let transport = Transport::direct(provider.clock).map_err(|error| error.to_string())?;
    let answer = transport.send(&container.ask(token.as_deref())).await;
    container::read(answer.as_ref())
}

async fn from_metadata(endpoint: &str, provider: &Provider) -> Result<Granted, String> {
    let transport = Transport::direct(provider.clock).map_err(|error| error.to_string())?;
    let ask = async |request: HttpRequest| transport.send(&request).await;
    let token = metadata::read_token(ask(metadata::ask_token(endpoint)).await.as_ref())?;
    let role = ask(metadata::ask_role(endpoint, &token)).await;
    let role = metadata::read_role(role.as_ref())?;
    let keys = ask(metadata::ask_keys(endpoint, &token, &role)).await;
    metadata::read_keys(keys.as_ref())
}

/// The text of a small file.
fn read(path: &Path) -> Result<String, String> {
    let size = std::fs::metadata(path)
        .map_err(|error| error.to_string())?
        .len();
    if size > FILE_BYTES_MAX {
        return Err(format!("{size} bytes are too many"));
    }
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}

/// Whether this machine says that it is an instance of EC2.
fn is_instance() -> bool {
    let vendor = |path| std::fs::read_to_string(path).unwrap_or_default();
    VENDORS.iter().any(|path| vendor(path).trim() == VENDOR)
}

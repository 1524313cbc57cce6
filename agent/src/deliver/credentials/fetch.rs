//! Gets keys as a plan says.

use std::path::Path;

use pipeline::config::CredentialsConfig;
use pipeline::destination::HttpRequest;
use pipeline::destination::credentials::container::{self, Container, Token};
use pipeline::destination::credentials::{Granted, Plan, Surroundings, chain, metadata};

use super::process;
use crate::clock::Clock;
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
pub(super) async fn fetch(config: &CredentialsConfig, clock: Clock) -> Result<Granted, String> {
    let plan = chain::plan(
        config,
        &Surroundings {
            variable: &|name| std::env::var(name).ok(),
            read: &read,
            is_instance: is_instance(),
        },
    )?;
    match plan {
        Plan::Keys(keys) => Ok(Granted::lasting(keys)),
        Plan::Process(words) => process::run(&words)
            .await
            .map_err(|error| format!("{} {error}", words.first().map_or("", String::as_str))),
        Plan::Container(container) => from_container(&container, clock)
            .await
            .map_err(|error| format!("{} {error}", container.url)),
        Plan::Metadata { endpoint } => from_metadata(&endpoint, clock)
            .await
            .map_err(|error| format!("the metadata of the instance ({endpoint}): {error}")),
    }
}

async fn from_container(container: &Container, clock: Clock) -> Result<Granted, String> {
    let token = match &container.token {
        Some(Token::Text(text)) => Some(text.expose().to_owned()),
        Some(Token::File(path)) => {
            let text = read(path);
            Some(text.map_err(|error| format!("wants a token: {}: {error}", path.display()))?)
        }
        None => None,
    };
    let transport = Transport::direct(clock).map_err(|error| error.to_string())?;
    let answer = transport.send(&container.ask(token.as_deref())).await;
    container::read(answer.as_ref())
}

async fn from_metadata(endpoint: &str, clock: Clock) -> Result<Granted, String> {
    let transport = Transport::direct(clock).map_err(|error| error.to_string())?;
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

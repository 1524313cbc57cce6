//! The endpoint that ECS, EKS, Greengrass and the helpers of Roles Anywhere have keys at.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{Granted, answer};
use crate::config::Secret;
use crate::destination::{HttpRequest, HttpResponse, TransportError};

/// Where the agent of ECS is.
const HOST: &str = "http://169.254.170.2";

/// Beside this machine itself, those that may be asked in the clear.
const IN_THE_CLEAR: [&str; 3] = ["169.254.170.2", "169.254.170.23", "fd00:ec2::23"];

const TIMEOUT: Duration = Duration::from_secs(5);

/// An endpoint and what it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Where it is.
    pub url: String,
    /// What shows that we may ask.
    pub token: Option<Token>,
}

/// What shows that we may ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// This.
    Text(Secret),
    /// What is in this file, which changes.
    File(PathBuf),
}

impl Container {
    /// The endpoint that the environment names, if it does.
    pub fn from_environment(
        variable: impl Fn(&str) -> Option<String>,
    ) -> Option<Result<Self, String>> {
        let relative = variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
        let url = match relative {
            Some(path) => format!("{HOST}/{}", path.trim_start_matches('/')),
            None => variable("AWS_CONTAINER_CREDENTIALS_FULL_URI")?,
        };
        if !may_be_asked(&url) {
            return Some(Err(format!(
                "AWS_CONTAINER_CREDENTIALS_FULL_URI is {}, which is neither https nor this machine",
                answer::short(&url)
            )));
        }
        let file = variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
        let text = || variable("AWS_CONTAINER_AUTHORIZATION_TOKEN");
        let token = match file {
            Some(file) => Some(Token::File(PathBuf::from(file))),
            None => text().map(|text| Token::Text(Secret::new(text))),
        };
        Some(Ok(Self { url, token }))
    }

    /// Asks for keys; `token` is what [`Container::token`] leads to.
    pub fn ask(&self, token: Option<&str>) -> HttpRequest {
        let authorization = |token: &str| ("authorization".to_owned(), token.trim().to_owned());
        HttpRequest {
            method: "GET",
            url: self.url.clone(),
            headers: token.map(authorization).into_iter().collect(),
            body: Arc::default(),
            timeout: TIMEOUT,
        }
    }
}

/// The keys in an answer.
pub fn read(answer: Result<&HttpResponse, &TransportError>) -> Result<Granted, String> {
    answer::granted(&answer::json(answer)?, &answer::TOKEN)
}

/// Keys come in the clear only where nobody else is on the line.
fn may_be_asked(url: &str) -> bool {
    if url.starts_with("https://") {
        return true;
    }
    let Some(rest) = url.strip_prefix("http://") else {
        return false;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(bracketed) => bracketed.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host.eq_ignore_ascii_case("localhost")
        || IN_THE_CLEAR.contains(&host)
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_asked_for_where_nobody_listens() {
        let check = |url: &str, expected: bool| assert_eq!(may_be_asked(url), expected, "{url}");
        check("http://169.254.170.2/v2/x", true);
        check("http://169.254.170.23/v1/credentials", true);
        check("http://[fd00:ec2::23]/v1/credentials", true);
        check("http://localhost:9911/x", true);
        check("http://127.0.0.1:9911", true);
        check("http://[::1]:9911/", true);
        check("https://keys.example/", true);
        check("http://keys.example/", false);
        check("http://169.254.170.2.example/", false);
        check("http://127.0.0.1@keys.example/", false);
        check("http://10.0.0.1/", false);
        check("file:///etc/passwd", false);
        check("", false);
    }

    const FULL: (&str, &str) = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://localhost/a");
    const TEXT: (&str, &str) = ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "t");
    const FILE: (&str, &str) = ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/t");
    const RELATIVE: (&str, &str) = ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/c?id=1");

    #[test]
    fn the_environment_names_it() {
        let check = |pairs: &'static [(&str, &str)], expected: Option<(&str, Option<Token>)>| {
            let variable = move |name: &str| {
                let pair = pairs.iter().find(|(key, _)| *key == name)?;
                Some(pair.1.to_owned())
            };
            let found = Container::from_environment(variable).map(Result::unwrap);
            let found = found
                .as_ref()
                .map(|found| (found.url.as_str(), found.token.clone()));
            assert_eq!(found, expected, "{pairs:?}");
        };
        check(&[], None);
        check(&[TEXT], None);
        check(&[FULL], Some(("http://localhost/a", None)));
        check(
            &[FULL, TEXT],
            Some(("http://localhost/a", Some(Token::Text(Secret::new("t"))))),
        );
        check(
            &[FULL, TEXT, FILE],
            Some(("http://localhost/a", Some(Token::File(PathBuf::from("/t"))))),
        );
        check(
            &[FULL, RELATIVE],
            Some(("http://169.254.170.2/v2/c?id=1", None)),
        );
    }
}

//! AWS STS: keys of a role, for other keys or for a token of somebody that the role trusts.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{Credentials, Granted, answer};
use crate::config::Secret;
use crate::destination::sigv4::{self, PathStyle, Signing, TokenStyle};
use crate::destination::{HttpRequest, HttpResponse, TransportError};
use crate::time::WallClock;

const VERSION: &str = "2011-06-15";

const CONTENT_TYPE: &str = "application/x-www-form-urlencoded; charset=utf-8";

const TIMEOUT: Duration = Duration::from_secs(30);

/// STS takes no longer name of a session, and no shorter one.
const SESSION_NAME_LEN_MAX: usize = 64;
const SESSION_NAME_LEN_MIN: usize = 2;

/// A role and how it is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Its ARN.
    pub arn: String,
    /// Who takes it, as CloudTrail shows it; made fit for STS.
    pub session_name: String,
    /// What the trust policy may ask for.
    pub external_id: Option<String>,
    /// How long its keys last; `None` is what the role says.
    pub duration: Option<Duration>,
    /// Which STS is asked.
    pub region: String,
    /// Another endpoint.
    pub endpoint: Option<String>,
    /// PEM file of the authorities that the endpoint is trusted by, instead of the system's.
    pub ca_file: Option<PathBuf>,
}

impl Role {
    fn url(&self) -> String {
        let region = &self.region;
        let domain = if region.starts_with("cn-") {
            "amazonaws.com.cn"
        } else {
            "amazonaws.com"
        };
        let endpoint = self
            .endpoint
            .as_deref()
            .map(|url| url.trim_end_matches('/'));
        match endpoint {
            Some(endpoint) => format!("{endpoint}/"),
            None => format!("https://sts.{region}.{domain}/"),
        }
    }

    /// The parameters that both ways share.
    fn form(&self, action: &str) -> String {
        let mut form = format!("Action={action}&Version={VERSION}");
        push(&mut form, "RoleArn", &self.arn);
        push(
            &mut form,
            "RoleSessionName",
            &session_name(&self.session_name),
        );
        if let Some(duration) = self.duration {
            push(
                &mut form,
                "DurationSeconds",
                &duration.as_secs().to_string(),
            );
        }
        form
    }
}

/// Asks for keys of `role` with `credentials`; `now` is what the service takes for the time.
pub fn assume(role: &Role, credentials: &Credentials, now: WallClock) -> HttpRequest {
    let mut form = role.form("AssumeRole");
    if let Some(id) = &role.external_id {
        push(&mut form, "ExternalId", id);
    }
    let mut request = request(role, form);
    let url = request.url.clone();
    let (host, path) = host_and_path(&url);
    let mut headers = vec![("host".to_owned(), host)];
    headers.extend(request.headers.iter().cloned());
    let signed = sigv4::sign(
        &sigv4::Request {
            method: "POST",
            path,
            query: "",
            headers: &headers,
            body_sha256: &sigv4::sha256_hex(&request.body),
        },
        &Signing {
            credentials,
            region: &role.region,
            service: "sts",
            now,
            path: PathStyle::Normalized,
            token: TokenStyle::Signed,
        },
    );
    request.headers.extend(signed.headers);
    request
}

/// Asks for keys of `role` with a token of somebody that it trusts, which is not signed.
pub fn assume_with_token(role: &Role, token: &str) -> HttpRequest {
    let mut form = role.form("AssumeRoleWithWebIdentity");
    push(&mut form, "WebIdentityToken", token.trim());
    request(role, form)
}

/// The keys in an answer.
pub fn read(answer: Result<&HttpResponse, &TransportError>) -> Result<Granted, String> {
    let response = answer.map_err(ToString::to_string)?;
    let text = String::from_utf8_lossy(&response.body);
    if response.status != 200 {
        let status = response.status;
        return Err(match (element(&text, "Code"), element(&text, "Message")) {
            (Some(code), message) => {
                let (code, message) = (answer::short(code), answer::short(message.unwrap_or("")));
                format!("answered {status}: {code}: {message}")
            }
            (None, _) => format!("answered {status}"),
        });
    }
    let keys = element(&text, "Credentials").ok_or("has no Credentials")?;
    let needed = |name: &'static str| {
        let text = element(keys, name).filter(|text| !text.is_empty());
        text.ok_or_else(|| format!("has no {name}"))
    };
    Ok(Granted {
        credentials: Credentials {
            access_key_id: needed("AccessKeyId")?.to_owned(),
            secret_access_key: Secret::new(needed("SecretAccessKey")?),
            session_token: Some(Secret::new(needed("SessionToken")?)),
        },
        expires: Some(answer::expires(needed("Expiration")?)?),
    })
}

/// What is in the first element of this name, whose values never have a `<` or `&` in them.
fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (inside, _) = rest.split_once(&format!("</{name}>"))?;
    Some(inside.trim())
}

fn request(role: &Role, form: String) -> HttpRequest {
    HttpRequest {
        method: "POST",
        url: role.url(),
        headers: vec![("content-type".to_owned(), CONTENT_TYPE.to_owned())],
        body: Arc::new(form.into_bytes()),
        timeout: TIMEOUT,
    }
}

/// The value of the `host` header, as the transport derives it from a URL, and the path.
pub(super) fn host_and_path(url: &str) -> (String, &str) {
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    };
    let default_port = if scheme == "http" { ":80" } else { ":443" };
    let host = authority.strip_suffix(default_port).unwrap_or(authority);
    (host.to_ascii_lowercase(), path)
}

fn push(form: &mut String, name: &str, value: &str) {
    // Writing to a `String` cannot fail.
    write!(form, "&{name}={}", sigv4::percent_encoded(value)).unwrap_or_default();
}

/// A name that STS takes.
fn session_name(wanted: &str) -> String {
    let fit = |c: char| {
        let is_fit = c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
        if is_fit { c } else { '-' }
    };
    let mut name: String = wanted.chars().take(SESSION_NAME_LEN_MAX).map(fit).collect();
    while name.len() < SESSION_NAME_LEN_MIN {
        name.push('-');
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role() -> Role {
        Role {
            arn: "arn:aws:iam::123456789012:role/edge".to_owned(),
            session_name: "plant 7/gw".to_owned(),
            external_id: Some("a+b".to_owned()),
            duration: Some(Duration::from_mins(15)),
            region: "eu-west-1".to_owned(),
            endpoint: None,
            ca_file: None,
        }
    }

    #[test]
    fn requests_are_forms() {
        let keys = Credentials {
            access_key_id: "AK".to_owned(),
            secret_access_key: Secret::new("SK"),
            session_token: Some(Secret::new("T")),
        };
        let signed = assume(&role(), &keys, WallClock::from_millis(1_440_938_160_000));
        assert_eq!(signed.url, "https://sts.eu-west-1.amazonaws.com/");
        assert_eq!(
            str::from_utf8(&signed.body).unwrap(),
            "Action=AssumeRole&Version=2011-06-15\
             &RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fedge\
             &RoleSessionName=plant-7-gw&DurationSeconds=900&ExternalId=a%2Bb"
        );
        let names: Vec<&str> = signed
            .headers
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        let expected = [
            "content-type",
            "x-amz-date",
            "x-amz-security-token",
            "authorization",
        ];
        assert_eq!(names, expected);
        assert!(
            signed.headers[3]
                .1
                .contains("/20150830/eu-west-1/sts/aws4_request")
        );
        let china = Role {
            region: "cn-north-1".to_owned(),
            session_name: String::new(),
            duration: None,
            ..role()
        };
        let unsigned = assume_with_token(&china, " to.k/en\n");
        assert_eq!(unsigned.url, "https://sts.cn-north-1.amazonaws.com.cn/");
        assert_eq!(unsigned.headers.len(), 1);
        assert!(
            str::from_utf8(&unsigned.body)
                .unwrap()
                .ends_with("&RoleSessionName=--&WebIdentityToken=to.k%2Fen")
        );
    }

    #[test]
    fn answers_are_read() {
        let check = |status, text: &str, expected: Result<i64, &str>| {
            let response = HttpResponse {
                status,
                body: text.as_bytes().to_vec(),
                ..HttpResponse::default()
            };
            let found = read(Ok(&response));
            let seen = found.as_ref().map(|granted| {
                assert_eq!(granted.credentials.access_key_id, "AK");
                assert_eq!(granted.credentials.secret_access_key.expose(), "S/K+=");
                granted.expires.unwrap().as_millis()
            });
            assert_eq!(seen.map_err(String::as_str), expected);
        };
        let keys = "<AccessKeyId>AK</AccessKeyId>\n<SecretAccessKey>S/K+=</SecretAccessKey>\
                    <SessionToken>T</SessionToken>";
        let answer = |more: &str| {
            format!(
                "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
                 <AssumeRoleResult><Credentials>{keys}{more}</Credentials></AssumeRoleResult>\
                 </AssumeRoleResponse>"
            )
        };
        let expiration = "<Expiration>2018-01-18T09:18:06Z</Expiration>";
        check(200, &answer(expiration), Ok(1_516_267_086_000));
        check(200, &answer(""), Err("has no Expiration"));
        check(200, "<html>", Err("has no Credentials"));
        check(
            403,
            "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code>\
             <Message>not you</Message></Error></ErrorResponse>",
            Err("answered 403: AccessDenied: not you"),
        );
        check(503, "", Err("answered 503"));
    }
}

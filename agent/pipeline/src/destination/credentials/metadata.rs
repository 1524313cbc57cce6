//! The metadata of an EC2 instance, version 2: a token first, then the role's name, then its keys.

use std::sync::Arc;
use std::time::Duration;

use super::{Granted, answer};
use crate::destination::{HttpRequest, HttpResponse, TransportError};

/// Where every instance finds it.
pub const ENDPOINT: &str = "http://169.254.169.254";

/// The same over IPv6.
pub const ENDPOINT_IPV6: &str = "http://[fd00:ec2::254]";

/// It is on the same machine, or it is not there.
const TIMEOUT: Duration = Duration::from_secs(5);

const TOKEN_PATH: &str = "/latest/api/token";
const ROLE_PATH: &str = "/latest/meta-data/iam/security-credentials/";

/// Asks for a token that the other requests need.
pub fn ask_token(endpoint: &str) -> HttpRequest {
    let seconds = ("x-aws-ec2-metadata-token-ttl-seconds", "21600");
    request("PUT", endpoint, TOKEN_PATH, seconds)
}

/// Asks for the name of the instance's role.
pub fn ask_role(endpoint: &str, token: &str) -> HttpRequest {
    request(
        "GET",
        endpoint,
        ROLE_PATH,
        ("x-aws-ec2-metadata-token", token),
    )
}

/// Asks for the keys of a role.
pub fn ask_keys(endpoint: &str, token: &str, role: &str) -> HttpRequest {
    let path = format!("{ROLE_PATH}{role}");
    request("GET", endpoint, &path, ("x-aws-ec2-metadata-token", token))
}

/// The token in an answer.
pub fn read_token(answer: Result<&HttpResponse, &TransportError>) -> Result<String, String> {
    read_line(answer)
}

/// The name of the role in an answer.
pub fn read_role(answer: Result<&HttpResponse, &TransportError>) -> Result<String, String> {
    if let Ok(HttpResponse { status: 404, .. }) = answer {
        return Err("has no role for this instance".to_owned());
    }
    read_line(answer)
}

/// The keys in an answer.
pub fn read_keys(answer: Result<&HttpResponse, &TransportError>) -> Result<Granted, String> {
    let value = answer::json(answer)?;
    match value.get("Code").and_then(serde_json::Value::as_str) {
        Some("Success") | None => answer::granted(&value, &answer::TOKEN),
        Some(code) => Err(format!("answered {}", answer::short(code))),
    }
}

/// What is put into the next request must not break out of it.
fn read_line(answer: Result<&HttpResponse, &TransportError>) -> Result<String, String> {
    let text = str::from_utf8(answer::body(answer)?).unwrap_or_default();
    let line = text.lines().next().unwrap_or_default().trim();
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"?#%\\\"<>{}".contains(&byte);
    if line.is_empty() || !line.bytes().all(is_plain) {
        return Err("answered something else than a name".to_owned());
    }
    Ok(line.to_owned())
}

fn request(
    method: &'static str,
    endpoint: &str,
    path: &str,
    (name, value): (&str, &str),
) -> HttpRequest {
    HttpRequest {
        method,
        url: format!("{}{path}", endpoint.trim_end_matches('/')),
        headers: vec![(name.to_owned(), value.to_owned())],
        body: Arc::default(),
        timeout: TIMEOUT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let answer = |status, text: &str| HttpResponse {
            status,
            body: text.as_bytes().to_vec(),
            ..HttpResponse::default()
        };
        assert_eq!(
            read_token(Ok(&answer(200, "AQAE=="))),
            Ok("AQAE==".to_owned())
        );
        for odd in ["", "\n", "a b", "a\u{e4}", "a?b"] {
            let told = read_token(Ok(&answer(200, odd))).unwrap_err();
            assert_eq!(told, "answered something else than a name", "{odd:?}");
        }
        assert_eq!(
            read_token(Ok(&answer(403, ""))).unwrap_err(),
            "answered 403"
        );
        assert_eq!(read_role(Ok(&answer(200, "edge\n"))), Ok("edge".to_owned()));
        assert_eq!(
            read_role(Ok(&answer(404, ""))).unwrap_err(),
            "has no role for this instance"
        );
        let keys = "\"AccessKeyId\":\"AK\",\"SecretAccessKey\":\"SK\",\"Token\":\"T\",\
                    \"Expiration\":\"2018-01-18T09:18:06Z\"";
        assert!(
            read_keys(Ok(&answer(
                200,
                &format!("{{\"Code\":\"Success\",{keys}}}")
            )))
            .is_ok()
        );
        assert_eq!(
            read_keys(Ok(&answer(200, &format!("{{\"Code\":\"Failed\",{keys}}}")))).unwrap_err(),
            "answered Failed"
        );
        assert!(read_keys(Ok(&answer(200, "<html>"))).is_err());
    }

    #[test]
    fn requests_are_those_of_version_2() {
        let request = ask_token("http://127.0.0.1:1/");
        assert_eq!(
            (request.method, request.url.as_str()),
            ("PUT", "http://127.0.0.1:1/latest/api/token")
        );
        let request = ask_keys(ENDPOINT, "T", "edge");
        assert_eq!(
            request.url,
            "http://169.254.169.254/latest/meta-data/iam/security-credentials/edge"
        );
        assert_eq!(
            request.headers,
            [("x-aws-ec2-metadata-token".to_owned(), "T".to_owned())]
        );
    }
}

//! What those who give keys answer. A refusal is told by its status, code and message, never with
//! more of the body: there may be keys in it.

use serde_json::Value;

use super::{Credentials, Granted};
use crate::config::Secret;
use crate::destination::{HttpResponse, TransportError};
use crate::time::WallClock;

/// More of a foreign text is not told.
const TEXT_LEN_MAX: usize = 300;

/// How the members of an answer are called.
pub(super) struct Names {
    pub(super) id: &'static str,
    pub(super) secret: &'static str,
    pub(super) token: &'static str,
    pub(super) expiration: &'static str,
}

/// Of IoT Core and IAM Roles Anywhere.
pub(super) const CAMEL: Names = Names {
    id: "accessKeyId",
    secret: "secretAccessKey",
    token: "sessionToken",
    expiration: "expiration",
};

/// Of a container's endpoint and the metadata of an instance.
pub(super) const TOKEN: Names = Names {
    id: "AccessKeyId",
    secret: "SecretAccessKey",
    token: "Token",
    expiration: "Expiration",
};

/// The keys in an object with these `names`.
pub(super) fn granted(value: &Value, names: &Names) -> Result<Granted, String> {
    let text = |name: &str| {
        let text = value.get(name).and_then(Value::as_str);
        text.filter(|text| !text.is_empty())
    };
    let needed = |name| text(name).ok_or_else(|| format!("has no {name}"));
    let expires = match text(names.expiration) {
        Some(expiration) => Some(expires(expiration)?),
        None => None,
    };
    Ok(Granted {
        credentials: Credentials {
            access_key_id: needed(names.id)?.to_owned(),
            secret_access_key: Secret::new(needed(names.secret)?),
            session_token: text(names.token).map(Secret::new),
        },
        expires,
    })
}

/// The moment in an answer from when on its keys are worth nothing.
pub(super) fn expires(text: &str) -> Result<WallClock, String> {
    text.trim()
        .parse()
        .map_err(|_| format!("expires at no time: {}", short(text)))
}

/// The body of an answer that is well.
pub(super) fn body<'a>(
    answer: Result<&'a HttpResponse, &TransportError>,
) -> Result<&'a [u8], String> {
    let response = answer.map_err(ToString::to_string)?;
    if matches!(response.status, 200 | 201) && !response.body_cut {
        return Ok(&response.body);
    }
    Err(refusal(response))
}

/// The JSON of an answer that is well.
pub(super) fn json(answer: Result<&HttpResponse, &TransportError>) -> Result<Value, String> {
    serde_json::from_slice(body(answer)?)
        .map_err(|_| "answered something else than JSON".to_owned())
}

/// What a refusal says.
fn refusal(response: &HttpResponse) -> String {
    let status = response.status;
    let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    let member = |names: &[&str]| {
        let text = names.iter().find_map(|name| body.get(name)?.as_str());
        text.map(short)
    };
    let code = member(&["code", "Code", "__type"]);
    let message = member(&["message", "Message"]);
    match (code, message) {
        (Some(code), Some(message)) => format!("answered {status}: {code}: {message}"),
        (Some(text), None) | (None, Some(text)) => format!("answered {status}: {text}"),
        (None, None) => format!("answered {status}"),
    }
}

/// At most the beginning of a foreign text, on one line.
pub(super) fn short(text: &str) -> String {
    let plain = text.chars().filter(|c| !c.is_control());
    plain.take(TEXT_LEN_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_tell_no_more_than_they_must() {
        let check = |status, text: &str, expected: &str| {
            let response = HttpResponse {
                status,
                body: text.as_bytes().to_vec(),
                ..HttpResponse::default()
            };
            assert_eq!(body(Ok(&response)), Err(expected.to_owned()));
        };
        check(403, "", "answered 403");
        check(403, "<html>SECRET", "answered 403");
        check(
            403,
            "{\"message\":\"Access\\nDenied\",\"traceId\":\"x\"}",
            "answered 403: AccessDenied",
        );
        check(
            400,
            "{\"code\":\"InvalidToken\",\"message\":\"no\",\"SecretAccessKey\":\"SECRET\"}",
            "answered 400: InvalidToken: no",
        );
        assert_eq!(
            body(Err(&TransportError::Timeout)).unwrap_err(),
            "no answer in time"
        );
    }

    #[test]
    fn keys_are_read_or_what_is_missing_is_told() {
        let check = |text: &str, expected: Result<(Option<&str>, Option<i64>), &str>| {
            let value = serde_json::from_str(text).unwrap();
            let found = granted(&value, &TOKEN);
            let seen = found.as_ref().map(|granted| {
                assert_eq!(granted.credentials.access_key_id, "AK");
                assert_eq!(granted.credentials.secret_access_key.expose(), "SK");
                let token = granted.credentials.session_token.as_ref();
                (
                    token.map(Secret::expose),
                    granted.expires.map(WallClock::as_millis),
                )
            });
            assert_eq!(seen.map_err(String::as_str), expected, "{text}");
        };
        let keys = "\"AccessKeyId\":\"AK\",\"SecretAccessKey\":\"SK\"";
        check(&format!("{{{keys}}}"), Ok((None, None)));
        check(
            &format!("{{{keys},\"Token\":\"T\",\"Expiration\":\"2018-01-18T09:18:06Z\"}}"),
            Ok((Some("T"), Some(1_516_267_086_000))),
        );
        check(
            &format!("{{{keys},\"Expiration\":\"soon\"}}"),
            Err("expires at no time: soon"),
        );
        check("{\"AccessKeyId\":\"AK\"}", Err("has no SecretAccessKey"));
        check(
            "{\"AccessKeyId\":\"\",\"SecretAccessKey\":\"SK\"}",
            Err("has no AccessKeyId"),
        );
        check("[]", Err("has no AccessKeyId"));
    }
}

//! Any HTTP endpoint: a batch is one request, and the status is the verdict.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::skew::http_date;
use super::{
    EncodedBody, HttpRequest, HttpResponse, Refusal, Retry, RetryClass, Sender, TransportError,
    Verdict,
};
use crate::config::{HttpAuth, HttpConfig, HttpMethod};

/// How Hydrant names itself.
pub(super) const USER_AGENT: &str = concat!("hydrant/", env!("CARGO_PKG_VERSION"));

/// So much of an answer's body is worth showing.
const EXCERPT_CHARS_MAX: usize = 200;

/// Sends a request a batch.
#[derive(Clone, Debug)]
pub struct Http {
    config: HttpConfig,
    sender: Sender,
    timeout: Duration,
}

impl Http {
    pub(super) fn new(config: &HttpConfig, sender: Sender, timeout: Duration) -> Self {
        Self {
            config: config.clone(),
            sender,
            timeout,
        }
    }

    pub(super) fn prepare(&self, body: &EncodedBody) -> HttpRequest {
        let mut headers = Headers::default();
        headers.set("content-type", body.content_type);
        if let Some(encoding) = body.content_encoding {
            headers.set("content-encoding", encoding);
        }
        let id = self.sender.batch_id(body.unit.range);
        headers.set("idempotency-key", id.to_string());
        if let Some(mark) = self.sender.replay {
            headers.set("hydrant-replay", mark.to_string());
        }
        headers.set("user-agent", USER_AGENT);
        match &self.config.auth {
            HttpAuth::None => {}
            HttpAuth::Bearer(token) => {
                headers.set("authorization", format!("Bearer {}", token.expose()));
            }
            HttpAuth::Basic { username, password } => {
                let pair = STANDARD.encode(format!("{username}:{}", password.expose()));
                headers.set("authorization", format!("Basic {pair}"));
            }
        }
        for (name, value) in &self.config.headers {
            headers.set(name, value.expose());
        }
        HttpRequest {
            method: match self.config.method {
                HttpMethod::Post => "POST",
                HttpMethod::Put => "PUT",
                HttpMethod::Patch => "PATCH",
            },
            url: self.config.url.clone(),
            headers: headers.0,
            body: Arc::clone(&body.bytes),
            timeout: self.timeout,
        }
    }

    pub(super) fn interpret(result: Result<&HttpResponse, &TransportError>) -> Verdict {
        let response = match result {
            Ok(response) => response,
            Err(error) => return Verdict::Retry(no_response(error)),
        };
        let status = response.status;
        let retry = |class| {
            Verdict::Retry(Retry {
                class,
                reason: describe(response),
                after: retry_after(response),
            })
        };
        let refusal = || Refusal {
            code: status.to_string(),
            reason: describe(response),
        };
        match status {
            200..=299 => Verdict::Accepted,
            300..=399 => Verdict::Retry(redirect(response)),
            // Said by a proxy on the way: the destination has not decided anything.
            407 => retry(RetryClass::Configuration),
            413 => Verdict::TooLarge(refusal()),
            429 => retry(RetryClass::Throttled),
            408 | 425 => retry(RetryClass::Transient),
            400..=499 => Verdict::Rejected(refusal()),
            // 5xx, and numbers that are no status at all.
            _ => retry(RetryClass::Transient),
        }
    }
}

/// Headers in order; a later value replaces an earlier one of the same name.
#[derive(Debug, Default)]
struct Headers(Vec<(String, String)>);

impl Headers {
    fn set(&mut self, name: &str, value: impl Into<String>) {
        let name = name.to_ascii_lowercase();
        match self.0.iter_mut().find(|(key, _)| *key == name) {
            Some((_, place)) => *place = value.into(),
            None => self.0.push((name, value.into())),
        }
    }
}

/// What the absence of a response means.
pub(super) fn no_response(error: &TransportError) -> Retry {
    let class = match error {
        TransportError::Tls(_) => RetryClass::Configuration,
        TransportError::Resolve(_)
        | TransportError::Connect(_)
        | TransportError::Timeout
        | TransportError::Closed(_)
        | TransportError::Other(_) => RetryClass::Transient,
    };
    Retry::new(class, error.to_string())
}

/// What a redirect means: requests with data do not follow them.
pub(super) fn redirect(response: &HttpResponse) -> Retry {
    let status = response.status;
    let place = response.header("location").unwrap_or("an unnamed place");
    let place = excerpt(place.as_bytes());
    Retry::new(
        RetryClass::Configuration,
        format!(
            "answered {status}, a redirect to {place}, which is not followed: set the final URL"
        ),
    )
}

/// The pause that `Retry-After` asks for: seconds, or a date by the server's own clock.
pub(super) fn retry_after(response: &HttpResponse) -> Option<Duration> {
    let value = response.header("retry-after")?;
    let pause = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        value.parse().map_or(Duration::MAX, Duration::from_secs)
    } else {
        let until = http_date(value)?;
        let now = response.header("date").and_then(http_date);
        until.since(now.unwrap_or(response.received_at))
    };
    // Zero would ask for an attempt without a pause.
    (!pause.is_zero()).then_some(pause)
}

/// Status and the beginning of the body, in one line.
pub(super) fn describe(response: &HttpResponse) -> String {
    let text = excerpt(&response.body);
    if text.is_empty() {
        format!("answered {}", response.status)
    } else {
        format!("answered {}: {text}", response.status)
    }
}

/// The beginning of `bytes` as one line of text without control characters.
pub(super) fn excerpt(bytes: &[u8]) -> String {
    // A character takes at most four bytes.
    let start = bytes
        .get(..EXCERPT_CHARS_MAX.saturating_mul(4))
        .unwrap_or(bytes);
    let text = String::from_utf8_lossy(start);
    let mut line = String::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()) {
        if word.is_empty() {
            continue;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    match line.char_indices().nth(EXCERPT_CHARS_MAX) {
        Some((at, _)) => line.get(..at).unwrap_or_default().to_owned() + "...",
        None => line,
    }
}

#[cfg(test)]
mod tests;

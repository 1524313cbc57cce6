//! The credentials provider of AWS IoT Core: a device's certificate gives keys of the role that a
//! role alias names.

use std::sync::Arc;
use std::time::Duration;

use super::{Granted, answer};
use crate::config::IotCoreConfig;
use crate::destination::{HttpRequest, HttpResponse, TransportError};

const TIMEOUT: Duration = Duration::from_secs(30);

/// Asks for keys; the transport shows the certificate.
pub fn ask(config: &IotCoreConfig) -> HttpRequest {
    let endpoint = config.endpoint.trim_end_matches('/');
    let thing = |name: &String| ("x-amzn-iot-thingname".to_owned(), name.clone());
    HttpRequest {
        method: "GET",
        url: format!("{endpoint}/role-aliases/{}/credentials", config.role_alias),
        headers: config.thing_name.iter().map(thing).collect(),
        body: Arc::default(),
        timeout: TIMEOUT,
    }
}

/// The keys in an answer.
pub fn read(answer: Result<&HttpResponse, &TransportError>) -> Result<Granted, String> {
    let value = answer::json(answer)?;
    answer::granted(
        value.get("credentials").ok_or("has no credentials")?,
        &answer::CAMEL,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TlsConfig;

    #[test]
    fn the_alias_is_in_the_path_and_the_thing_in_a_header() {
        let mut config = IotCoreConfig {
            endpoint: "https://c1.credentials.iot.eu-west-1.amazonaws.com/".to_owned(),
            role_alias: "edge".to_owned(),
            thing_name: Some("gw-7".to_owned()),
            tls: TlsConfig::default(),
        };
        let request = ask(&config);
        assert_eq!(
            request.url,
            "https://c1.credentials.iot.eu-west-1.amazonaws.com/role-aliases/edge/credentials"
        );
        assert_eq!(
            request.headers,
            [("x-amzn-iot-thingname".to_owned(), "gw-7".to_owned())]
        );
        config.thing_name = None;
        assert_eq!(ask(&config).headers, []);
    }

    #[test]
    fn answers_are_read() {
        let read = |status, text: &str| {
            read(Ok(&HttpResponse {
                status,
                body: text.as_bytes().to_vec(),
                ..HttpResponse::default()
            }))
        };
        let text = "{\"credentials\":{\"accessKeyId\":\"AK\",\"secretAccessKey\":\"SK\",\
                    \"sessionToken\":\"T\",\"expiration\":\"2018-01-18T09:18:06Z\"}}";
        let granted = read(200, text).unwrap();
        assert_eq!(granted.credentials.access_key_id, "AK");
        assert_eq!(granted.expires.unwrap().as_millis(), 1_516_267_086_000);
        assert_eq!(
            read(403, "{\"message\":\"Access Denied\",\"traceId\":\"x\"}").unwrap_err(),
            "answered 403: Access Denied"
        );
        assert_eq!(read(200, "{}").unwrap_err(), "has no credentials");
    }
}

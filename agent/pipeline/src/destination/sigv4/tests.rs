use super::*;
use crate::config::Secret;

#[test]
fn get_vanilla_of_the_official_suite() {
    let credentials = Credentials {
        access_key_id: "AKIDEXAMPLE".to_owned(),
        secret_access_key: Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
        session_token: None,
    };
    let headers = [("Host".to_owned(), "example.amazonaws.com".to_owned())];
    let request = Request {
        method: "GET",
        path: "/",
        query: "",
        headers: &headers,
        body_sha256: &sha256_hex(b""),
    };
    let signing = Signing {
        credentials: &credentials,
        region: "us-east-1",
        service: "service",
        now: WallClock::from_millis(1_440_938_160_000),
        path: PathStyle::Normalized,
        token: TokenStyle::Signed,
    };
    assert_eq!(
        sign(&request, &signing).signature,
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
    );
}

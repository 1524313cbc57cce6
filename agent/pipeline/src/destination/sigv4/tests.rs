//! Against another implementation: `testdata/sigv4_vectors.py` has botocore sign at a frozen time.

use serde::Deserialize;

use super::*;
use crate::config::Secret;

#[derive(Deserialize)]
struct Vectors {
    access_key_id: String,
    secret_access_key: String,
    session_token: String,
    now_ms: i64,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    body: String,
    region: String,
    service: String,
    s3: bool,
    token: String,
    canonical_request: String,
    authorization: String,
}

fn check(vectors: &Vectors, case: &Case) {
    let credentials = Credentials {
        access_key_id: vectors.access_key_id.clone(),
        secret_access_key: Secret::new(&vectors.secret_access_key),
        session_token: (case.token != "none").then(|| Secret::new(&vectors.session_token)),
    };
    let request = Request {
        method: &case.method,
        path: &case.path,
        query: &case.query,
        headers: &case.headers,
        body_sha256: &sha256_hex(case.body.as_bytes()),
    };
    let signing = Signing {
        credentials: &credentials,
        region: &case.region,
        service: &case.service,
        now: WallClock::from_millis(vectors.now_ms),
        path: if case.s3 {
            PathStyle::Verbatim
        } else {
            PathStyle::Normalized
        },
        token: if case.token == "after" {
            TokenStyle::AddedAfter
        } else {
            TokenStyle::Signed
        },
    };
    let signed = sign(&request, &signing);
    assert_eq!(
        signed.canonical_request, case.canonical_request,
        "{}",
        case.name
    );
    let added: Vec<(&str, &str)> = signed
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let mut expected = vec![("x-amz-date", "20261122T214804Z")];
    if case.token != "none" {
        expected.push(("x-amz-security-token", &vectors.session_token));
    }
    expected.push(("authorization", &case.authorization));
    assert_eq!(added, expected, "{}", case.name);
}

#[test]
fn signs_as_botocore_does() {
    let vectors: Vectors = serde_json::from_str(include_str!("../testdata/sigv4.json")).unwrap();
    assert!(vectors.cases.len() > 50);
    for case in &vectors.cases {
        check(&vectors, case);
    }
}

fn example() -> Credentials {
    Credentials {
        access_key_id: "AKIDEXAMPLE".to_owned(),
        secret_access_key: Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
        session_token: None,
    }
}

fn signing(credentials: &Credentials) -> Signing<'_> {
    Signing {
        credentials,
        region: "us-east-1",
        service: "service",
        // 2015-08-30T12:36:00Z.
        now: WallClock::from_millis(1_440_938_160_000),
        path: PathStyle::Normalized,
        token: TokenStyle::Signed,
    }
}

#[test]
fn get_vanilla_of_the_official_suite() {
    let given = [("Host".to_owned(), "example.amazonaws.com".to_owned())];
    let dated = [
        given[0].clone(),
        ("X-Amz-Date".to_owned(), "20150830T123600Z".to_owned()),
    ];
    // A date that is there already is signed and not added.
    for (headers, added) in [(&given[..], 2), (&dated[..], 1)] {
        let request = Request {
            method: "GET",
            path: "/",
            query: "",
            headers,
            body_sha256: &sha256_hex(b""),
        };
        let signed = sign(&request, &signing(&example()));
        assert_eq!(
            signed.signature,
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
        );
        assert_eq!(signed.headers.len(), added);
    }
}

#[test]
fn clocks_beyond_the_calendar_sign_something() {
    for now in [i64::MIN, -1, 0, i64::MAX] {
        let request = Request {
            method: "GET",
            path: "",
            query: "&&%",
            headers: &[],
            body_sha256: "",
        };
        let credentials = example();
        let mut signing = signing(&credentials);
        signing.now = WallClock::from_millis(now);
        assert_eq!(sign(&request, &signing).signature.len(), 64);
    }
}

use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;

/// Made by `testdata/x509_vectors.py`.
#[derive(Deserialize)]
struct Vector {
    certificate: String,
    serial: String,
    time_ms: i64,
    arns: BTreeMap<String, String>,
    canonical_request: String,
    string_to_sign: String,
}

fn vector() -> Vector {
    serde_json::from_str(include_str!("../../testdata/x509.json")).unwrap()
}

fn config(vector: &Vector) -> RolesAnywhereConfig {
    RolesAnywhereConfig {
        trust_anchor_arn: vector.arns["trustAnchorArn"].clone(),
        profile_arn: vector.arns["profileArn"].clone(),
        role_arn: vector.arns["roleArn"].clone(),
        endpoint: None,
        duration: Some(Duration::from_hours(1)),
        certificate_file: "/c".into(),
        key_file: "/k".into(),
        ca_file: None,
    }
}

#[test]
fn a_request_is_made_canonical_as_botocore_does() {
    let vector = vector();
    let der = STANDARD.decode(&vector.certificate).unwrap();
    let now = WallClock::from_millis(vector.time_ms);
    let chain = [der.as_slice(), &der, &der];
    let config = config(&vector);
    // The region is that of the trust anchor, whatever the destination's.
    let unsigned = ask(&config, "us-east-1", &chain, KeyKind::Ecdsa, now).unwrap();
    assert_eq!(unsigned.to_sign.canonical_request, vector.canonical_request);
    assert_eq!(unsigned.string_to_sign(), vector.string_to_sign);
    let request = unsigned.signed(&[0x30, 0x0a, 0xff]);
    assert_eq!(
        request.headers.last().unwrap().1,
        format!(
            "AWS4-X509-ECDSA-SHA256 \
             Credential={}/20261122/eu-west-1/rolesanywhere/aws4_request, \
             SignedHeaders=content-type;host;x-amz-date;x-amz-x509;x-amz-x509-chain, \
             Signature=300aff",
            vector.serial
        )
    );
    assert_eq!(request.body.as_slice(), b"{\"durationSeconds\":3600}");
    assert!(request.url.starts_with(
        "https://rolesanywhere.eu-west-1.amazonaws.com/sessions?profileArn=arn%3Aaws%3A"
    ));
    let names: Vec<&str> = request
        .headers
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    let expected = [
        "content-type",
        "x-amz-x509",
        "x-amz-x509-chain",
        "x-amz-date",
        "authorization",
    ];
    assert_eq!(names, expected);
    let rsa = ask(&config, "us-east-1", &chain[..1], KeyKind::Rsa, now).unwrap();
    assert!(rsa.string_to_sign().starts_with("AWS4-X509-RSA-SHA256\n"));
    assert!(!rsa.to_sign.canonical_request.contains("chain"));
    assert!(ask(&config, "us-east-1", &[], KeyKind::Rsa, now).is_err());
    assert!(ask(&config, "us-east-1", &[b"x"], KeyKind::Rsa, now).is_err());
}

#[test]
fn serial_numbers_are_decimal() {
    let check = |bytes: &[u8], expected: &str| assert_eq!(decimal(bytes), expected);
    check(&[], "0");
    check(&[0], "0");
    check(&[0, 200], "200");
    check(&[1, 0], "256");
    check(&[0xff; 16], "340282366920938463463374607431768211455");
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
    let text = "{\"credentialSet\":[{\"credentials\":{\"accessKeyId\":\"AK\",\
                \"secretAccessKey\":\"SK\",\"sessionToken\":\"T\",\
                \"expiration\":\"2018-01-18T09:18:06Z\"}}],\"subjectArn\":\"x\"}";
    assert_eq!(read(201, text).unwrap().credentials.access_key_id, "AK");
    assert_eq!(
        read(200, "{\"credentialSet\":[]}").unwrap_err(),
        "has no credentials"
    );
    assert_eq!(
        read(403, "{\"message\":\"Untrusted certificate\"}").unwrap_err(),
        "answered 403: Untrusted certificate"
    );
}

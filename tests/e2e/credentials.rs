//! Where AWS keys come from: programs, files, containers, instances; and that nobody prints them.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use pipeline::time::WallClock;
use serde_json::{Value, json};

use crate::harness::{
    Agent, Answer, Certificates, Folder, Moto, Nginx, Receiver, Request, RolesAnywhere, append,
    hydrant, now, run, write,
};

/// What must never be seen.
const SECRET: &str = "hush-secret";
const TOKEN: &str = "hush-token";

/// Variables of the machine that the tests run on count for nothing.
const FOREIGN: [&str; 5] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
];

/// A stand-in for Firehose: takes everything, or what `judge` says of the id of the key.
fn firehose(judge: impl Fn(&str) -> Option<Answer> + Send + 'static) -> Receiver {
    Receiver::scripted(move |request| judge(&key_of(request)).unwrap_or_else(|| accept(request)))
}

/// The id of the key that signed a request.
fn key_of(request: &Request) -> String {
    let authorization = request.header("authorization");
    let (_, rest) = authorization.split_once("Credential=").unwrap();
    rest.split('/').next().unwrap().to_owned()
}

fn accept(request: &Request) -> Answer {
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    let count = body["Records"].as_array().unwrap().len();
    let each = vec![json!({"RecordId": "id"}); count];
    let body = json!({"FailedPutCount": 0, "RequestResponses": each});
    Answer::Status(200, vec![], body.to_string())
}

fn refuse(code: &str) -> Answer {
    let body = json!({"__type": code, "message": "no"});
    Answer::Status(400, vec![], body.to_string())
}

/// A Firehose destination with these `credentials`.
fn destination(name: &str, receiver: &Receiver, credentials: &str) -> String {
    format!(
        "[destinations.{name}]\ntype = \"firehose\"\nstream = \"plant\"\nregion = \"eu-west-1\"\n\
         endpoint = \"http://127.0.0.1:{}\"\nbatch = {{ age_max = \"100ms\" }}\n\
         retry = {{ initial = \"20ms\", max = \"200ms\", timeout = \"5s\" }}\n{credentials}",
        receiver.port
    )
}

/// An agent that reads `input.log`, with these variables.
fn start(folder: &Folder, destinations: &str, variables: &[(&str, &str)]) -> Agent {
    let input = folder.text("input.log");
    let source = format!("[sources.app]\ntype = \"file\"\npaths = [\"{input}\"]\n");
    let mut agent = Agent::new(folder.path(), &format!("{source}{destinations}"));
    let mut wrapper = vec!["env".to_owned()];
    wrapper.extend(FOREIGN.iter().map(|name| format!("--unset={name}")));
    wrapper.push(format!("HOME={}", folder.text("home")));
    wrapper.extend(
        variables
            .iter()
            .map(|(name, value)| format!("{name}={value}")),
    );
    let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    agent.launch_under(&wrapper);
    agent.ready();
    append(&folder.join("input.log"), "first\n");
    agent
}

/// Nothing that people look at has a secret in it.
fn nobody_tells(folder: &Folder, agent: &Agent) {
    let config = agent.config().to_owned();
    let seen = [
        agent.log(),
        agent.status().to_string(),
        hydrant(&["check", "--config", &config]).stdout,
    ];
    let socket = folder.text("control.sock");
    let shown = hydrant(&["status", "--socket", &socket]).stdout;
    for text in seen.iter().chain([&shown]) {
        assert!(!text.contains("hush"), "tells a secret: {text}");
    }
}

fn program(path: &Path, script: &str) {
    write(path, format!("#!/bin/sh\n{script}"));
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// A script that prints keys of this id, and notes each call in `calls`.
fn printing(folder: &Folder, id: &str) -> String {
    let keys = json!({
        "Version": 1, "AccessKeyId": id, "SecretAccessKey": SECRET, "SessionToken": TOKEN,
        "Expiration": "2099-01-01T00:00:00Z",
    });
    format!("echo \"$*\" >> {}\necho '{keys}'\n", folder.text("calls"))
}

/// One call of the program does for both destinations; until it goes well, records wait.
#[test]
fn a_program_gives_keys_to_all_destinations() {
    let folder = Folder::new();
    let receiver = firehose(|_| None);
    let tool = folder.join("my keys");
    program(&tool, "echo no card in the reader >&2\nexit 3\n");
    let credentials = format!(
        "credentials.process = [\"{}\", \"--for\", \"a b\"]\n",
        tool.display()
    );
    let both =
        destination("one", &receiver, &credentials) + &destination("two", &receiver, &credentials);
    let agent = start(&folder, &both, &[]);
    agent.wait_for_error(
        "destinations",
        "one",
        &["no aws keys", "no card in the reader"],
    );
    program(&tool, &printing(&folder, "PRINTED"));
    for name in ["one", "two"] {
        agent.wait_for_count("destinations", name, "delivered", 1);
    }
    assert_eq!(
        std::fs::read_to_string(folder.join("calls")).unwrap(),
        "--for a b\n"
    );
    for (request, _) in &receiver.log().requests {
        assert_eq!(key_of(request), "PRINTED");
        assert_eq!(request.header("x-amz-security-token"), TOKEN);
    }
    nobody_tells(&folder, &agent);
}

/// Keys that were changed in their file are found when the old ones are refused.
#[test]
fn rotated_keys_are_read_from_the_shared_files() {
    let folder = Folder::new();
    let keys =
        |id: &str| format!("[edge]\naws_access_key_id = {id}\naws_secret_access_key = {SECRET}\n");
    folder.make("home/.aws");
    let file = folder.join("home/.aws/credentials");
    write(&file, keys("OLD"));
    let receiver = firehose(move |id| {
        (id == "OLD").then(|| {
            write(&file, keys("NEW"));
            refuse("ExpiredTokenException")
        })
    });
    let config = destination("lake", &receiver, "credentials.profile = \"edge\"\n");
    let agent = start(&folder, &config, &[("AWS_ACCESS_KEY_ID", "OTHER")]);
    agent.wait_for_count("destinations", "lake", "delivered", 1);
    let used: Vec<String> = receiver
        .log()
        .requests
        .iter()
        .map(|(request, _)| key_of(request))
        .collect();
    assert_eq!(used, ["OLD", "NEW"]);
    nobody_tells(&folder, &agent);
}

/// The endpoint of a container is told the token that is in its file now.
#[test]
fn a_container_has_keys_at_an_endpoint() {
    let folder = Folder::new();
    let receiver =
        firehose(|id| (id != "CONTAINED").then(|| refuse("UnrecognizedClientException")));
    let file = folder.join("token");
    write(&file, "stale\n");
    let token = file.clone();
    let endpoint = Receiver::scripted(move |request| {
        assert_eq!(
            (request.method.as_str(), request.path.as_str()),
            ("GET", "/keys?x=1")
        );
        if request.header("authorization") != "fresh" {
            write(&token, "fresh\n");
            return Answer::status(401);
        }
        Answer::Status(200, vec![], contained("CONTAINED", "2099-01-01T00:00:00Z"))
    });
    let url = format!("http://127.0.0.1:{}/keys?x=1", endpoint.port);
    let variables = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", url.as_str()),
        (
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
            file.to_str().unwrap(),
        ),
        // No proxy is asked for what is on this machine.
        ("http_proxy", "http://127.0.0.1:1"),
        ("no_proxy", "localhost"),
    ];
    let config = destination("lake", &receiver, "").replace("//127.0.0.1", "//localhost");
    let agent = start(&folder, &config, &variables);
    agent.wait_for_count("destinations", "lake", "delivered", 1);
    assert_eq!(endpoint.log().requests.len(), 2);
    nobody_tells(&folder, &agent);
}

/// The metadata of an instance, which gives nothing without the token of version 2.
#[test]
fn an_instance_has_keys_in_its_metadata() {
    let folder = Folder::new();
    let receiver = firehose(|id| (id != "INSTANCE").then(|| refuse("UnrecognizedClientException")));
    let metadata = Receiver::scripted(move |request| {
        let path = "/latest/meta-data/iam/security-credentials/";
        let text = match (request.method.as_str(), request.path.as_str()) {
            ("PUT", "/latest/api/token") => {
                assert_eq!(
                    request.header("x-aws-ec2-metadata-token-ttl-seconds"),
                    "21600"
                );
                "AQAE==".to_owned()
            }
            _ if request.header("x-aws-ec2-metadata-token") != "AQAE==" => {
                return Answer::status(401);
            }
            ("GET", asked) if asked == path => "edge-role".to_owned(),
            ("GET", asked) if asked == format!("{path}edge-role") => json!({
                "Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": "INSTANCE",
                "SecretAccessKey": SECRET, "Token": TOKEN, "Expiration": "2099-01-01T00:00:00Z",
            })
            .to_string(),
            _ => return Answer::status(404),
        };
        Answer::Status(200, vec![], text)
    });
    let endpoint = format!("http://127.0.0.1:{}", metadata.port);
    let config = destination("lake", &receiver, "credentials.instance_metadata = true\n");
    let variables = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint.as_str())];
    let agent = start(&folder, &config, &variables);
    agent.wait_for_count("destinations", "lake", "delivered", 1);
    assert_eq!(metadata.log().requests.len(), 3);
    nobody_tells(&folder, &agent);
}

/// Keys that are about to expire are asked for anew, and used as long as nobody gives others.
#[test]
fn the_last_keys_are_used_through_an_outage() {
    let folder = Folder::new();
    let receiver = firehose(|_| None);
    let endpoint = Receiver::scripted(|_| {
        // Less than a minute is left from the start.
        let expires = i64::try_from(now().as_millis()).unwrap() + 50_000;
        let expires = WallClock::from_millis(expires).to_string();
        Answer::Status(200, vec![], contained("SHORT", &expires))
    });
    let url = format!("http://127.0.0.1:{}/keys", endpoint.port);
    let variables = [("AWS_CONTAINER_CREDENTIALS_FULL_URI", url.as_str())];
    let agent = start(&folder, &destination("lake", &receiver, ""), &variables);
    agent.wait_for_count("destinations", "lake", "delivered", 1);
    assert_eq!(endpoint.log().requests.len(), 1);
    endpoint.set_down(true);
    append(&folder.join("input.log"), "second\n");
    agent.wait_for_count("destinations", "lake", "delivered", 2);
    assert!(
        agent
            .log()
            .contains("no new AWS keys, those at hand expire at")
    );
    nobody_tells(&folder, &agent);
}

fn contained(id: &str, expires: &str) -> String {
    let keys = json!({
        "AccessKeyId": id, "SecretAccessKey": SECRET, "Token": TOKEN, "Expiration": expires,
    });
    keys.to_string()
}

/// A role that the keys of the configuration may take; moto checks every signature.
#[test]
fn a_role_is_assumed_with_other_keys() {
    let folder = Folder::new();
    let certificates = Certificates::make(&folder);
    let moto = Moto::start(&folder, &certificates);
    let role = moto.make_role();
    let (id, secret, url) = (&moto.access_key, &moto.secret_key, moto.url());
    let ca = &certificates.ca;
    let written = format!(
        "endpoint = \"{url}\"\ntls = {{ ca_file = \"{ca}\" }}\ncredentials = {{ \
         access_key_id = \"{id}\", secret_access_key = \"{secret}\", role_arn = \"{role}\", \
         role_duration = \"15m\", sts_endpoint = \"{url}\", ca_file = \"{ca}\" }}\n"
    );
    let config = format!(
        "[destinations.lake]\ntype = \"firehose\"\nstream = \"{}\"\nregion = \"{}\"\n\
         batch = {{ age_max = \"100ms\" }}\nretry = {{ initial = \"20ms\", max = \"200ms\" }}\n",
        Moto::STREAM,
        Moto::REGION
    );
    let agent = start(&folder, &(config.clone() + &written), &[]);
    agent.wait_for_count("destinations", "lake", "delivered", 1);
    let log = agent.log();
    assert!(log.contains("AWS keys came that expire at"), "{log}");
    assert!(!log.contains(secret), "{log}");
    drop(agent);
    // The same by the shared file, where the keys are those of another profile.
    let file = folder.join("shared");
    write(
        &file,
        format!(
            "[user]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n\
             [profile edge]\nrole_arn = {role}\nsource_profile = user\nca_bundle = {ca}\n"
        ),
    );
    let written = format!(
        "endpoint = \"{url}\"\ntls = {{ ca_file = \"{ca}\" }}\n\
         credentials = {{ profile = \"edge\", file = \"{}\" }}\n",
        file.display()
    );
    let second = Folder::new();
    let agent = start(
        &second,
        &(config + &written),
        &[("AWS_ENDPOINT_URL_STS", &url)],
    );
    agent.wait_for_count("destinations", "lake", "delivered", 1);
    assert!(agent.log().contains("AWS keys came that expire at"));
    let landed = String::from_utf8(moto.delivered()).unwrap();
    assert_eq!(landed.lines().count(), 2);
}

/// A token of somebody that a role trusts is read from its file each time, and not signed.
#[test]
fn a_role_is_assumed_with_a_token() {
    let folder = Folder::new();
    let receiver = firehose(|id| (id != "ASSUMED").then(|| refuse("UnrecognizedClientException")));
    let sts = Receiver::scripted(|request| {
        assert_eq!(request.header("authorization"), "");
        assert_eq!(
            request.text(),
            "Action=AssumeRoleWithWebIdentity&Version=2011-06-15\
             &RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fedge\
             &RoleSessionName=gateway&WebIdentityToken=a.b%2Fc"
        );
        let answer = format!(
            "<R><AssumeRoleWithWebIdentityResult><Credentials>\
             <AccessKeyId>ASSUMED</AccessKeyId><SecretAccessKey>{SECRET}</SecretAccessKey>\
             <SessionToken>{TOKEN}</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration>\
             </Credentials></AssumeRoleWithWebIdentityResult></R>"
        );
        Answer::Status(200, vec![], answer)
    });
    let token = folder.join("token");
    write(&token, "a.b/c\n");
    let endpoint = format!("http://127.0.0.1:{}", sts.port);
    let variables = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.to_str().unwrap()),
        ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/edge"),
        ("AWS_ENDPOINT_URL_STS", &endpoint),
    ];
    let agent = start(&folder, &destination("lake", &receiver, ""), &variables);
    agent.wait_for_count("destinations", "lake", "delivered", 1);
    nobody_tells(&folder, &agent);
}

/// nginx asks for the device's certificate, as the credentials provider of IoT Core does.
#[test]
fn a_device_certificate_gives_keys_of_a_role_alias() {
    let folder = Folder::new();
    let certificates = Certificates::make(&folder);
    let receiver = firehose(|id| (id != "DEVICE").then(|| refuse("UnrecognizedClientException")));
    let keys = json!({"credentials": {
        "accessKeyId": "DEVICE", "secretAccessKey": SECRET, "sessionToken": TOKEN,
        "expiration": "2099-01-01T00:00:00Z",
    }});
    let options = format!(
        "ssl_verify_client on;\nlocation /role-aliases/edge-alias/credentials {{\n\
         if ($http_x_amzn_iot_thingname != \"gw-7\") {{ return 403 '{{\"message\":\"Access Denied\"}}'; }}\n\
         return 200 '{keys}'; }}\n"
    );
    let provider = Nginx::start(&folder, &certificates, 1, &options);
    let config = |thing: &str| {
        let table = format!(
            "[destinations.lake.credentials.iot_core]\nendpoint = \"https://localhost:{}\"\n\
             role_alias = \"edge-alias\"\nthing_name = \"{thing}\"\nca_file = \"{}\"\n\
             certificate_file = \"{}\"\nkey_file = \"{}\"\n",
            provider.port, certificates.ca, certificates.client.0, certificates.client.1
        );
        destination("lake", &receiver, &table)
    };
    let mut agent = start(&folder, &config("gw-8"), &[]);
    agent.wait_for_error(
        "destinations",
        "lake",
        &["localhost", "answered 403", "access denied"],
    );
    assert_eq!(agent.stop().code(), Some(0));
    let agent = start(&folder, &config("gw-7"), &[]);
    agent.wait_for_count("destinations", "lake", "delivered", 1);
    nobody_tells(&folder, &agent);
}

/// What the certificate's key signs is checked by Python, for both kinds of keys.
#[test]
fn a_certificate_signs_for_roles_anywhere() {
    let folder = Folder::new();
    let certificates = Certificates::make(&folder);
    let receiver = firehose(|id| (id != "ANYWHERE").then(|| refuse("UnrecognizedClientException")));
    let (rsa, rsa_key) = (folder.text("rsa.pem"), folder.text("rsa.key"));
    let mut args = vec![
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=gw",
    ];
    args.extend(["-keyout", &rsa_key, "-out", &rsa]);
    run("openssl", &args);
    let service = RolesAnywhere::start(&folder, &[&certificates.ca, &rsa]);
    let config = |certificate: &str, key: &str| {
        let arn = "arn:aws:rolesanywhere:eu-west-1:123456789012";
        let table = format!(
            "[destinations.lake.credentials.roles_anywhere]\n\
             trust_anchor_arn = \"{arn}:trust-anchor/t-1\"\n\
             profile_arn = \"{arn}:profile/p-1\"\n\
             role_arn = \"arn:aws:iam::123456789012:role/edge\"\nduration = \"1h\"\n\
             endpoint = \"http://127.0.0.1:{}\"\n\
             certificate_file = \"{certificate}\"\nkey_file = \"{key}\"\n",
            service.port
        );
        destination("lake", &receiver, &table)
    };
    let foreign = (folder.text("foreign.pem"), folder.text("foreign.key"));
    let mut args = vec![
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=gw",
    ];
    args.extend(["-keyout", &foreign.1, "-out", &foreign.0]);
    run("openssl", &args);
    let mut agent = start(&folder, &config(&foreign.0, &foreign.1), &[]);
    agent.wait_for_error(
        "destinations",
        "lake",
        &["answered 403", "untrusted certificate"],
    );
    agent.stop();
    for (certificate, key) in [
        (&certificates.client.0, &certificates.client.1),
        (&rsa, &rsa_key),
    ] {
        let own = Folder::new();
        let agent = start(&own, &config(certificate, key), &[]);
        agent.wait_for_count("destinations", "lake", "delivered", 1);
        nobody_tells(&own, &agent);
    }
}

//! Where AWS keys come from: programs, files, containers, instances; and that nobody prints them.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Agent, Answer, Folder, Receiver, Request, append, hydrant, write};

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
        let keys = json!({
            "AccessKeyId": "CONTAINED", "SecretAccessKey": SECRET, "Token": TOKEN,
            "Expiration": "2099-01-01T00:00:00Z",
        });
        Answer::Status(200, vec![], keys.to_string())
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

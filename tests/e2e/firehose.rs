//! Amazon Data Firehose: moto with its signature check on, and answers that moto never gives.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::harness::{
    Agent, Answer, Certificates, Folder, Moto, Receiver, Request, append, run_with,
};

fn lines(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("line {number}")).collect()
}

/// A Firehose destination at this endpoint, with these keys.
fn destination(endpoint: &str, access_key: &str, secret_key: &str, more: &str) -> String {
    format!(
        "[destinations.lake]\ntype = \"firehose\"\nstream = \"{}\"\nregion = \"{}\"\n\
         endpoint = \"{endpoint}\"\nbatch = {{ age_max = \"100ms\" }}\n\
         retry = {{ initial = \"20ms\", max = \"200ms\", timeout = \"5s\" }}\n\
         credentials = {{ access_key_id = \"{access_key}\", secret_access_key = \"{secret_key}\" }}\n\
         {more}",
        Moto::STREAM,
        Moto::REGION
    )
}

fn start(folder: &Folder, destination: &str) -> Agent {
    let input = folder.text("input.log");
    let source = format!("[sources.app]\ntype = \"file\"\npaths = [\"{input}\"]\n");
    let mut agent = Agent::new(folder.path(), &format!("{source}{destination}"));
    agent.start();
    agent
}

fn feed(folder: &Folder, lines: &[String]) {
    append(&folder.join("input.log"), lines.join("\n") + "\n");
}

#[test]
fn moto_accepts_the_signature_and_lands_every_record() {
    let folder = Folder::new();
    let certificates = Certificates::make(&folder);
    let moto = Moto::start(&folder, &certificates);
    let tls = certificates.anonymous_table();
    let config = destination(&moto.url(), &moto.access_key, &moto.secret_key, &tls);
    let agent = start(&folder, &config);
    feed(&folder, &lines(1_200));
    agent.wait_for_count("destinations", "lake", "delivered", 1_200);
    let landed = String::from_utf8(moto.delivered()).unwrap();
    let mut messages: Vec<String> = landed
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|record| record["message"].as_str().unwrap().to_owned())
        .collect();
    // Objects of the same second have no order in the bucket.
    messages.sort_by_key(|line| line[5..].parse::<usize>().unwrap());
    assert_eq!(messages, lines(1_200));
}

/// A wrong key is told in plain words; nothing is thrown away, and the right key delivers it.
#[test]
fn a_wrong_secret_keeps_the_records_until_it_is_put_right() {
    let folder = Folder::new();
    let certificates = Certificates::make(&folder);
    let moto = Moto::start(&folder, &certificates);
    let tls = certificates.anonymous_table();
    let mut agent = start(
        &folder,
        &destination(&moto.url(), &moto.access_key, "wrong", &tls),
    );
    feed(&folder, &lines(10));
    let error = agent.wait_for_error("destinations", "lake", &["signature"]);
    assert!(!error.contains("wrong"), "tells the secret: {error}");
    assert_eq!(agent.count("destinations", "lake", "waiting"), 10);
    assert_eq!(agent.stop().code(), Some(0));
    let config = destination(&moto.url(), &moto.access_key, &moto.secret_key, &tls);
    let agent = start(&folder, &config);
    agent.wait_for_count("destinations", "lake", "delivered", 10);
    assert_eq!(agent.count("destinations", "lake", "rejected"), 0);
    drop(agent);
}

/// The records of a `PutRecordBatch`, decoded by a program that is not ours.
fn records_of(request: &Request) -> Vec<String> {
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(
        request.header("x-amz-target"),
        "Firehose_20150804.PutRecordBatch"
    );
    assert_eq!(body["DeliveryStreamName"], Moto::STREAM);
    let records = body["Records"].as_array().unwrap();
    assert!(
        !records.is_empty() && records.len() <= 500,
        "{} records",
        records.len()
    );
    records
        .iter()
        .map(|record| {
            let data = record["Data"].as_str().unwrap();
            let decoded = run_with("base64", &["-d"], data.as_bytes()).stdout;
            assert!(decoded.len() <= 1_024_000, "{} bytes", decoded.len());
            String::from_utf8(decoded).unwrap()
        })
        .collect()
}

fn answer(failed: &[bool]) -> Answer {
    let each: Vec<Value> = failed
        .iter()
        .map(|failed| match failed {
            true => {
                json!({"ErrorCode": "ServiceUnavailableException", "ErrorMessage": "Slow down."})
            }
            false => json!({"RecordId": "id"}),
        })
        .collect();
    let count = failed.iter().filter(|failed| **failed).count();
    let body = json!({"FailedPutCount": count, "Encrypted": false, "RequestResponses": each});
    let json = ("Content-Type", "application/x-amz-json-1.1".to_owned());
    Answer::Status(200, vec![json], body.to_string())
}

/// Only what failed is sent again, and in the end everything was taken exactly once.
#[test]
fn a_partial_failure_resends_only_what_failed() {
    let folder = Folder::new();
    let (sender, taken) = std::sync::mpsc::sync_channel(100_000);
    let mut calls = 0;
    let receiver = Receiver::scripted(move |request| {
        calls += 1;
        let records = records_of(request);
        let failed: Vec<bool> = (0..records.len())
            .map(|at| calls <= 3 && at % 3 == calls % 3)
            .collect();
        for (record, failed) in records.into_iter().zip(&failed) {
            if !failed {
                sender.send(record).unwrap();
            }
        }
        answer(&failed)
    });
    let endpoint = format!("http://127.0.0.1:{}", receiver.port);
    let agent = start(
        &folder,
        &destination(&endpoint, "AK", "SK", "packing = \"none\"\n"),
    );
    feed(&folder, &lines(100));
    agent.wait_for_count("destinations", "lake", "delivered", 100);
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for record in taken.try_iter() {
        let record: Value = serde_json::from_str(record.trim_end()).unwrap();
        *times
            .entry(record["message"].as_str().unwrap().to_owned())
            .or_default() += 1;
    }
    assert_eq!(times.len(), 100);
    assert!(times.values().all(|times| *times == 1), "{times:?}");
}

/// Small records share a Firehose record, because each of those is billed in steps.
#[test]
fn packing_puts_many_lines_into_one_record() {
    let folder = Folder::new();
    let receiver = Receiver::scripted(|request| answer(&vec![false; records_of(request).len()]));
    let endpoint = format!("http://127.0.0.1:{}", receiver.port);
    let agent = start(
        &folder,
        &destination(
            &endpoint,
            "AK",
            "SK",
            "packing = \"lines\"\npacking_hint = \"4KiB\"\nmetadata = false\n",
        ),
    );
    feed(&folder, &lines(1_000));
    agent.wait_for_count("destinations", "lake", "delivered", 1_000);
    let log = receiver.log();
    let records: Vec<String> = log
        .requests
        .iter()
        .flat_map(|(request, _)| records_of(request))
        .collect();
    assert!(
        records.len() < 40,
        "{} Firehose records for 1,000 lines",
        records.len()
    );
    assert!(
        records
            .iter()
            .all(|record| record.len() <= 4096 && record.ends_with('\n'))
    );
    assert_eq!(records.concat().lines().count(), 1_000);
}

/// A 200 that does not say what became of each record counts for nothing.
#[test]
fn a_good_status_with_rubbish_is_not_a_delivery() {
    let folder = Folder::new();
    let receiver = Receiver::scripted(|_| Answer::Status(200, vec![], "<html>".to_owned()));
    let endpoint = format!("http://127.0.0.1:{}", receiver.port);
    let agent = start(&folder, &destination(&endpoint, "AK", "SK", ""));
    feed(&folder, &lines(10));
    agent.wait_for_error("destinations", "lake", &[]);
    assert_eq!(agent.count("destinations", "lake", "delivered"), 0);
    receiver.set_script(|request| answer(&vec![false; records_of(request).len()]));
    agent.wait_for_count("destinations", "lake", "delivered", 10);
}

/// Errors of the service, of the credentials and of the network are waited out.
#[test]
fn throttling_and_server_errors_lose_nothing() {
    let folder = Folder::new();
    let error = |code: u16, name: &str| {
        let body = json!({"__type": format!("com.amazonaws#{name}"), "message": "no"});
        Answer::Status(code, vec![], body.to_string())
    };
    let mut answers = vec![
        error(400, "ThrottlingException"),
        error(500, "InternalFailure"),
        error(503, "ServiceUnavailableException"),
        error(400, "ResourceNotFoundException"),
        error(400, "ExpiredTokenException"),
        Answer::Reset,
        Answer::Truncate,
    ]
    .into_iter();
    let receiver = Receiver::scripted(move |request| {
        answers
            .next()
            .unwrap_or_else(|| answer(&vec![false; records_of(request).len()]))
    });
    let endpoint = format!("http://127.0.0.1:{}", receiver.port);
    let agent = start(&folder, &destination(&endpoint, "AK", "SK", ""));
    feed(&folder, &lines(10));
    agent.wait_for_count("destinations", "lake", "delivered", 10);
    assert_eq!(agent.count("destinations", "lake", "rejected"), 0);
    assert_eq!(receiver.log().requests.len(), 8);
}

//! HTTP endpoints and folders: every answer that a destination may give.

use std::collections::BTreeSet;
use std::fs;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{
    Agent, Answer, Certificates, Folder, Nginx, Receiver, append, dead_letters, run, wait_until,
};

/// An agent that follows one file, with these destinations.
struct Fed {
    agent: Agent,
    folder: Folder,
}

impl Fed {
    fn start(destinations: &str) -> Self {
        let folder = Folder::new();
        Fed::start_in(folder, destinations)
    }

    fn start_in(folder: Folder, destinations: &str) -> Self {
        let source = format!(
            "[sources.app]\ntype = \"file\"\npaths = [\"{}\"]\n",
            folder.text("input.log")
        );
        let mut agent = Agent::new(folder.path(), &format!("{source}{destinations}"));
        agent.start();
        Fed { agent, folder }
    }

    fn feed(&self, lines: impl IntoIterator<Item = String>) {
        let lines: Vec<String> = lines.into_iter().map(|line| line + "\n").collect();
        append(&self.folder.join("input.log"), lines.concat());
    }
}

fn lines(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("line {number}")).collect()
}

/// Gives these answers one after the other, then only good ones.
fn answering(answers: Vec<Answer>) -> Receiver {
    let mut answers = answers.into_iter();
    Receiver::scripted(move |_| answers.next().unwrap_or_else(Answer::ok))
}

/// After each of these answers the same batch is sent again, with the same key, until it is
/// taken; nothing is lost and nothing is doubled.
#[test]
fn every_failure_that_may_pass_is_tried_again() {
    let failures = [
        Answer::status(500),
        Answer::status(503),
        Answer::status(429),
        Answer::status(408),
        Answer::status(425),
        Answer::Reset,
        Answer::Truncate,
        Answer::Rubbish,
        Answer::Hang,
        Answer::status(302),
    ];
    for failure in failures {
        let receiver = answering(vec![failure.clone(), failure.clone()]);
        let mut fed = Fed::start(&receiver.destination("lake"));
        fed.feed(lines(5));
        receiver.wait_for_messages(5);
        let log = receiver.log();
        assert_eq!(log.messages(), lines(5), "{failure:?}");
        let keys: BTreeSet<&str> = log
            .requests
            .iter()
            .filter(|(request, _)| request.text().contains("line 0"))
            .map(|(request, _)| request.header("idempotency-key"))
            .collect();
        assert_eq!(keys.len(), 1, "{failure:?}: {keys:?}");
        assert!(!keys.contains(""), "{failure:?}: no Idempotency-Key");
        drop(log);
        wait_until("the error is over", || {
            let status = fed.agent.status();
            status["destinations"]["lake"]["error"]
                .is_null()
                .then_some(())
        });
        assert_eq!(
            fed.agent.count("destinations", "lake", "delivered"),
            5,
            "{failure:?}"
        );
        assert_eq!(
            fed.agent.count("destinations", "lake", "rejected"),
            0,
            "{failure:?}"
        );
        fed.agent.check();
    }
}

/// A 200 is a 200, whatever stands in its body.
#[test]
fn a_good_answer_may_hold_rubbish() {
    let receiver = Receiver::scripted(|_| {
        Answer::Status(
            200,
            vec![("Content-Type", "application/json".to_owned())],
            "{{{".to_owned(),
        )
    });
    let fed = Fed::start(&receiver.destination("lake"));
    fed.feed(lines(3));
    receiver.wait_for_messages(3);
    fed.agent
        .wait_for_count("destinations", "lake", "delivered", 3);
    let log = receiver.log();
    let sent = log
        .requests
        .iter()
        .filter(|(request, _)| request.text().contains("line 0"));
    assert_eq!(sent.count(), 1, "sent again although it was taken");
}

/// The time in so many seconds, as a server writes it.
fn http_date(seconds: u32) -> String {
    let when = format!("now {seconds} seconds");
    let date = run("date", &["-u", "-d", &when, "+%a, %d %b %Y %H:%M:%S GMT"]);
    String::from_utf8(date.stdout).unwrap().trim().to_owned()
}

#[test]
fn retry_after_is_obeyed_in_seconds_and_as_a_date() {
    // A date has whole seconds, the first of which may be nearly over.
    let ways: [fn() -> String; 2] = [|| "2".to_owned(), || http_date(3)];
    for way in ways {
        let (sender, refused) = sync_channel(1);
        let mut refuse = Some(sender);
        let receiver = Receiver::scripted(move |_| match refuse.take() {
            Some(sender) => {
                sender.send(Instant::now()).unwrap();
                Answer::Status(429, vec![("Retry-After", way())], String::new())
            }
            None => Answer::ok(),
        });
        let fed = Fed::start(&receiver.destination("lake"));
        fed.feed(lines(1));
        receiver.wait_for_messages(1);
        let waited = refused.recv().unwrap().elapsed();
        assert!(waited > Duration::from_millis(1_900), "{waited:?}");
    }
}

/// What is refused for ever is kept, with the reason, and what comes behind goes on.
#[test]
fn refused_records_go_to_the_dead_letter() {
    let receiver = answering(vec![Answer::Status(
        400,
        vec![],
        "no such field".to_owned(),
    )]);
    let fed = Fed::start(&receiver.destination("lake"));
    fed.feed(lines(2));
    fed.agent
        .wait_for_count("destinations", "lake", "rejected", 1);
    fed.feed(["behind".to_owned()]);
    receiver.wait_for_message("behind");
    let kept = dead_letters(&fed.folder, "lake");
    let rejected = fed.agent.count("destinations", "lake", "rejected");
    assert_eq!(u64::try_from(kept.len()).unwrap(), rejected);
    assert!(kept[0].to_string().contains("400"), "{}", kept[0]);
    assert!(kept[0]["id"].is_string(), "{}", kept[0]);
    let delivered = fed.agent.count("destinations", "lake", "delivered");
    assert_eq!(delivered + rejected, 3);
}

/// A batch that is too large is halved until it fits; a record alone that is, is refused.
#[test]
fn too_large_batches_are_split() {
    let receiver = Receiver::scripted(|request| {
        let count = request.text().lines().count();
        let huge = request.text().contains("huge");
        Answer::status(if count > 3 || huge { 413 } else { 200 })
    });
    let fed = Fed::start(&receiver.destination("lake"));
    let mut wanted = lines(20);
    wanted.insert(10, "huge".to_owned());
    fed.feed(wanted);
    receiver.wait_for_messages(20);
    assert_eq!(receiver.log().messages(), lines(20), "order is kept");
    fed.agent
        .wait_for_count("destinations", "lake", "rejected", 1);
    assert_eq!(dead_letters(&fed.folder, "lake").len(), 1);
}

#[test]
fn a_destination_that_is_down_does_not_slow_another() {
    let (up, down) = (Receiver::start(), Receiver::start_down());
    let hanging = Receiver::scripted(|_| Answer::Hang);
    let fed = Fed::start(&format!(
        "{}{}{}",
        up.destination("up"),
        down.destination("down"),
        hanging.destination("hanging")
    ));
    fed.feed(lines(500));
    assert_eq!(up.wait_for_messages(500), lines(500));
    assert!(fed.agent.wait_for_error("destinations", "down", &[]).len() > 5);
    assert_eq!(fed.agent.count("destinations", "down", "waiting"), 500);
    fed.agent.wait_for_error("destinations", "hanging", &[]);
    down.set_down(false);
    assert_eq!(down.wait_for_messages(500), lines(500));
}

/// The key is the same for the same batch after a crash: the plan was made durable.
#[test]
fn a_batch_has_the_same_key_after_a_crash() {
    let receiver = Receiver::scripted(|_| Answer::Hang);
    let mut fed = Fed::start(&receiver.destination("lake"));
    fed.feed(lines(7));
    let what = "the first request";
    let (first, body) = receiver.wait(what, |log| {
        let (request, _) = log.requests.first()?;
        Some((
            request.header("idempotency-key").to_owned(),
            request.body.clone(),
        ))
    });
    fed.agent.kill();
    receiver.set_script(|_| Answer::ok());
    // What comes now must not join the batch.
    fed.feed(["more".to_owned()]);
    fed.agent.start();
    receiver.wait_for_message("more");
    let log = receiver.log();
    let again = log.requests.iter().rev().find(|(request, answer)| {
        matches!(answer, Answer::Status(..)) && request.header("idempotency-key") == first
    });
    let (again, _) = again.expect("the same key after the crash");
    assert_eq!(again.body, body);
}

#[test]
fn credentials_headers_and_methods() {
    let receiver = Receiver::start();
    let more = [
        ("bearer = \"tok\"\n", "Bearer tok", "POST"),
        (
            "username = \"u\"\npassword = \"p\"\nmethod = \"PUT\"\n",
            "Basic dTpw",
            "PUT",
        ),
    ];
    for (number, (options, authorization, method)) in more.into_iter().enumerate() {
        let fed = Fed::start(&format!(
            "{}headers = {{ X-Site = \"north\" }}\n{options}",
            receiver.destination("lake")
        ));
        fed.feed([format!("try {number}")]);
        receiver.wait_for_message(&format!("try {number}"));
        let log = receiver.log();
        let (request, _) = log.requests.last().unwrap();
        assert_eq!(request.header("authorization"), authorization);
        assert_eq!(request.header("x-site"), "north");
        assert_eq!(request.method, method);
        assert_eq!(request.path, "/in");
    }
}

#[test]
fn tls_with_a_client_certificate() {
    let folder = Folder::new();
    let receiver = Receiver::start();
    let certificates = Certificates::make(&folder);
    let nginx = Nginx::start(
        &folder,
        &certificates,
        receiver.port,
        "ssl_verify_client on;",
    );
    let destination = format!(
        "[destinations.lake]\ntype = \"http\"\nurl = \"https://localhost:{}/in\"\n\
         batch = {{ age_max = \"0s\" }}\n{}",
        nginx.port,
        certificates.client_table()
    );
    let fed = Fed::start_in(folder, &destination);
    fed.feed(lines(3));
    assert_eq!(receiver.wait_for_messages(3), lines(3));
}

/// A server whose authority is unknown gets nothing, and the reason is told.
#[test]
fn an_unknown_authority_gets_nothing() {
    let folder = Folder::new();
    let receiver = Receiver::start();
    let certificates = Certificates::make(&folder);
    let nginx = Nginx::start(&folder, &certificates, receiver.port, "");
    let destination = format!(
        "[destinations.lake]\ntype = \"http\"\nurl = \"https://localhost:{}/in\"\n\
         batch = {{ age_max = \"0s\" }}\nretry = {{ initial = \"20ms\", max = \"100ms\" }}\n",
        nginx.port
    );
    let fed = Fed::start_in(folder, &destination);
    fed.feed(lines(3));
    fed.agent
        .wait_for_error("destinations", "lake", &["certificate"]);
    assert_eq!(fed.agent.count("destinations", "lake", "waiting"), 3);
    assert_eq!(receiver.log().requests.len(), 0);
}

/// nginx refuses large bodies and too many requests in its own words.
#[test]
fn nginx_limits_bodies_and_requests() {
    let folder = Folder::new();
    let receiver = Receiver::start();
    let certificates = Certificates::make(&folder);
    let nginx = Nginx::start(
        &folder,
        &certificates,
        receiver.port,
        "client_max_body_size 2k;",
    );
    let destination = format!(
        "[destinations.lake]\ntype = \"http\"\nurl = \"https://localhost:{}/in\"\n\
         batch = {{ age_max = \"100ms\" }}\n{}",
        nginx.port,
        certificates.anonymous_table()
    );
    let fed = Fed::start_in(folder, &destination);
    fed.feed(lines(200));
    assert_eq!(receiver.wait_for_messages(200), lines(200));
    assert_eq!(fed.agent.count("destinations", "lake", "rejected"), 0);
}

/// Batches as files, whole at every moment, with a bound for all of them.
#[test]
fn a_folder_as_destination() {
    let folder = Folder::new();
    let out = folder.text("out");
    let destination = format!(
        "[destinations.disk]\ntype = \"directory\"\npath = \"{out}\"\ncompression = \"none\"\n\
         batch = {{ count_max = 10, age_max = \"100ms\" }}\n"
    );
    let fed = Fed::start_in(folder, &destination);
    fed.feed(lines(95));
    fed.agent
        .wait_for_count("destinations", "disk", "delivered", 95);
    let mut messages: Vec<(String, String)> = Vec::new();
    for file in fs::read_dir(&out).unwrap() {
        let path = file.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            text.ends_with('\n') && text.lines().count() <= 10,
            "{}",
            path.display()
        );
        for line in text.lines() {
            let record: Value = serde_json::from_str(line).unwrap();
            let id = record["hydrant"]["id"].as_str().unwrap().to_owned();
            messages.push((id, record["message"].as_str().unwrap().to_owned()));
        }
    }
    let ids: BTreeSet<&String> = messages.iter().map(|(id, _)| id).collect();
    assert_eq!(ids.len(), 95, "every record has its own id");
    let mut messages: Vec<&str> = messages
        .iter()
        .map(|(_, message)| message.as_str())
        .collect();
    messages.sort_by_key(|line| line[5..].parse::<usize>().unwrap());
    assert_eq!(messages, lines(95));
}

/// At an age of 0 s a record leaves at once; at 2 s records wait for each other.
#[test]
fn batches_close_by_count_and_by_age() {
    let receiver = Receiver::start();
    let destination = format!(
        "[destinations.lake]\ntype = \"http\"\nurl = \"{}\"\n\
         batch = {{ count_max = 10, age_max = \"2s\" }}\n",
        receiver.url()
    );
    let fed = Fed::start(&destination);
    fed.feed(lines(25));
    receiver.wait_for_messages(25);
    let counts: Vec<usize> = receiver
        .log()
        .requests
        .iter()
        .map(|(request, _)| request.text().lines().count())
        .collect();
    assert_eq!(counts, [10, 10, 5]);
}

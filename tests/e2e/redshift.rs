//! A table of Redshift: kills between object, COPY and commit, and moto with its signature check.

use std::sync::mpsc::{Receiver as Signals, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::harness::{
    Agent, Answer, Certificates, DEADLINE, Folder, Moto, Receiver, RedshiftService, Request,
    append, dead_letters, wait_until,
};

fn config(folder: &Folder, destination: &str) -> String {
    let input = folder.text("input.log");
    format!(
        "[sources.app]\ntype = \"file\"\npaths = [\"{input}\"]\n\
         [destinations.table]\ntype = \"redshift\"\nworkgroup = \"plant\"\ndatabase = \"dev\"\n\
         table = \"plant.readings\"\nregion = \"{}\"\nprefix = \"in/\"\ncompression = \"none\"\n\
         retry = {{ initial = \"20ms\", max = \"200ms\", timeout = \"60s\" }}\n{destination}",
        Moto::REGION
    )
}

/// Where the agent is killed: a request of this kind is done or not, and never answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    Before(&'static str),
    After(&'static str),
}

/// What kind of request it is.
fn kind(request: &Request) -> &str {
    match request.method.as_str() {
        "PUT" if request.path.ends_with(".manifest") => "manifest",
        "PUT" => "object",
        _ if request.text().contains("\"StatementName\"")
            && !request.text().contains("MaxResults") =>
        {
            "copy"
        }
        _ if request.text().contains("\"Sql\"") => "question",
        _ => {
            let target = request.header("x-amz-target");
            target.strip_prefix("RedshiftData.").unwrap()
        }
    }
}

/// A warehouse that goes silent at each of these in turn, as the agent dies.
struct Warehouse {
    receiver: Receiver,
    silent: Signals<Cut>,
    loaded: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Warehouse {
    fn start(service: RedshiftService, cuts: Vec<Cut>) -> Self {
        let loaded = Arc::new(Mutex::new(Vec::new()));
        let (tell, silent): (SyncSender<Cut>, _) = sync_channel(8);
        let mut cuts = cuts.into_iter().peekable();
        let table = Arc::clone(&loaded);
        let receiver = Receiver::scripted(move |request| {
            let kind = kind(request);
            let cut = cuts.next_if(|(Cut::Before(cut) | Cut::After(cut))| *cut == kind);
            if let Some(before @ Cut::Before(_)) = cut {
                tell.send(before).unwrap();
                return Answer::Hang;
            }
            let (answer, records) = service.take(request);
            table.lock().unwrap().extend(records);
            match cut {
                Some(after) => {
                    tell.send(after).unwrap();
                    Answer::Hang
                }
                None => answer,
            }
        });
        Warehouse {
            receiver,
            silent,
            loaded,
        }
    }

    fn destination(&self) -> String {
        let port = self.receiver.port;
        format!(
            "bucket = \"lake\"\nendpoint = \"http://127.0.0.1:{port}\"\n\
             bucket_endpoint = \"http://127.0.0.1:{port}\"\nbatch = {{ age_max = \"100ms\" }}\n\
             credentials = {{ access_key_id = \"AK\", secret_access_key = \"SK\" }}\n"
        )
    }

    /// How often a request of this kind came.
    fn count(&self, wanted: &str) -> usize {
        let log = self.receiver.log();
        let requests = log.requests.iter();
        requests
            .filter(|(request, _)| kind(request) == wanted)
            .count()
    }
}

/// Kills the agent at each of `cuts`; every line is loaded once.
fn lines_are_loaded_once(service: RedshiftService, cuts: &[Cut]) {
    let folder = Folder::new();
    let warehouse = Warehouse::start(service, cuts.to_vec());
    let mut agent = Agent::new(folder.path(), &config(&folder, &warehouse.destination()));
    let lines: Vec<String> = (0..50).map(|number| format!("a line {number}")).collect();
    append(&folder.join("input.log"), lines.join("\n") + "\n");
    agent.start();
    for cut in cuts {
        assert_eq!(warehouse.silent.recv_timeout(DEADLINE), Ok(*cut));
        assert_eq!(agent.count("destinations", "table", "delivered"), 0);
        agent.kill();
        agent.start();
    }
    wait_until("every record accounted for", || {
        let status = agent.ask()?;
        let of = |name: &str| status["destinations"]["table"][name].as_u64();
        (of("delivered")? + of("rejected")? == 50).then_some(())
    });
    let loaded = warehouse.loaded.lock().unwrap().clone();
    let mut messages: Vec<String> = loaded.iter().map(|line| message(line)).collect();
    let letters = dead_letters(&folder, "table");
    for letter in &letters {
        let payload = letter["payload"].as_str().unwrap();
        assert!(["a line 13", "a line 14"].contains(&payload), "{letter}");
        let reason = letter.to_string();
        assert!(reason.contains("column message: Invalid digit"), "{reason}");
        messages.push(payload.to_owned());
    }
    assert_eq!(letters.len(), 2);
    messages.sort();
    let mut expected = lines;
    expected.sort();
    assert_eq!(messages, expected, "each line once");
    assert_eq!(agent.count("destinations", "table", "delivered"), 48);
    let copies = warehouse.count("copy");
    eprintln!("{cuts:?}: {copies} COPYs were asked for");
}

fn message(line: &[u8]) -> String {
    let record: Value = serde_json::from_slice(line).unwrap();
    record["message"].as_str().unwrap().to_owned()
}

#[test]
fn a_kill_between_object_and_copy_repeats_neither() {
    let cuts = [
        Cut::Before("object"),
        Cut::After("object"),
        Cut::Before("manifest"),
        Cut::After("manifest"),
        Cut::Before("copy"),
    ];
    lines_are_loaded_once(RedshiftService::default(), &cuts);
}

/// The names of statements do alone: no token tells a repeat.
#[test]
fn a_kill_between_copy_and_commit_loads_nothing_twice() {
    let cuts = [
        // It is under way, and nobody knows what it is called.
        Cut::After("copy"),
        Cut::Before("DescribeStatement"),
        Cut::After("DescribeStatement"),
        Cut::After("ListStatements"),
        Cut::Before("question"),
        Cut::After("GetStatementResult"),
        // Parts of it are loaded by themselves.
        Cut::After("copy"),
        Cut::After("DescribeStatement"),
        Cut::After("copy"),
    ];
    lines_are_loaded_once(RedshiftService::without_tokens(), &cuts);
}

/// Shapes and signatures of both services as others see them; moto's COPY never ends.
#[test]
fn moto_takes_the_calls_of_the_data_api() {
    let folder = Folder::new();
    let certificates = Certificates::make(&folder);
    let moto = Moto::start(&folder, &certificates);
    let destination = format!(
        "bucket = \"delivered\"\nendpoint = \"{0}\"\nbucket_endpoint = \"{0}\"\n\
         batch = {{ age_max = \"100ms\" }}\n\
         credentials = {{ access_key_id = \"{1}\", secret_access_key = \"{2}\" }}\n{3}",
        moto.url(),
        moto.access_key,
        moto.secret_key,
        certificates.anonymous_table(),
    );
    let config = config(&folder, &destination);
    let mut agent = Agent::new(folder.path(), &config);
    append(&folder.join("input.log"), "a line\n");
    agent.start();
    // Object, manifest, statement, and looks at it.
    agent.wait_for_count("destinations", "table", "requests", 6);
    assert_eq!(agent.count("destinations", "table", "failures"), 0);
    assert_eq!(agent.count("destinations", "table", "delivered"), 0);
    let objects = moto.objects();
    let of = |end: &str| {
        let mut objects = objects.iter();
        let key = |object: &&Value| object["key"].as_str().unwrap().ends_with(end);
        objects.find(key).unwrap()
    };
    assert_eq!(objects.len(), 2);
    let manifest: Value = serde_json::from_str(of(".manifest")["body"].as_str().unwrap()).unwrap();
    let url = format!("s3://delivered/{}", of(".ndjson")["key"].as_str().unwrap());
    assert_eq!(manifest["entries"][0]["url"], url);

    // The start looks for the COPY, which a wrong key may not.
    assert_eq!(agent.stop().code(), Some(0));
    agent.configure("16MiB", &config.replace(&moto.secret_key, "wrong"));
    agent.start();
    agent.wait_for_error("destinations", "table", &["ignature"]);
    assert_eq!(agent.count("destinations", "table", "delivered"), 0);
}

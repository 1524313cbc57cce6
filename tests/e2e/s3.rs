//! Objects in a bucket: moto with its signature check on, and a bucket that breaks off.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use serde_json::Value;

use crate::harness::{Agent, Certificates, Folder, Moto, append, sha256_hex, write};

fn config(folder: &Folder, destination: &str) -> String {
    let input = folder.text("input.log");
    format!(
        "[sources.app]\ntype = \"file\"\npaths = [\"{input}\"]\ntransforms = [\"parse\"]\n\
         [transforms.parse]\ntype = \"parse\"\nformat = \"json\"\n\
         [destinations.lake]\ntype = \"s3\"\n\
         retry = {{ initial = \"20ms\", max = \"200ms\", timeout = \"5s\" }}\n{destination}"
    )
}

fn moto_destination(moto: &Moto, secret_key: &str) -> String {
    format!(
        "bucket = \"delivered\"\nregion = \"{}\"\nendpoint = \"{}\"\n\
         prefix = \"d=!{{timestamp:yyyy}}/site=!{{partition:site}}/!{{firehose:random-string}}-\"\n\
         error_prefix = \"bad/!{{firehose:error-output-type}}/\"\n\
         compression = \"none\"\nbatch = {{ age_max = \"100ms\" }}\n\
         encryption = \"s3\"\nstorage_class = \"STANDARD_IA\"\ntags = {{ plant = \"north 3\" }}\n\
         credentials = {{ access_key_id = \"{}\", secret_access_key = \"{secret_key}\" }}\n",
        Moto::REGION,
        moto.url(),
        moto.access_key,
    )
}

/// Partitions, headers and signatures as an independent S3 sees them.
#[test]
fn moto_stores_every_record_in_its_partition() {
    let folder = Folder::new();
    let certificates = Certificates::make(&folder);
    let moto = Moto::start(&folder, &certificates);
    let tls = certificates.anonymous_table();
    let mut lines: Vec<String> = (0..300)
        .map(|number| format!("{{\"site\":\"s {}\",\"n\":{number}}}", number % 3))
        .collect();
    lines.push("{\"n\":300}".to_owned());
    append(&folder.join("input.log"), lines.join("\n") + "\n");

    // A wrong key keeps them all.
    let wrong = moto_destination(&moto, "wrong") + &tls;
    let mut agent = Agent::new(folder.path(), &config(&folder, &wrong));
    agent.start();
    agent.wait_for_error("destinations", "lake", &["SignatureDoesNotMatch"]);
    assert_eq!(agent.stop().code(), Some(0));
    let right = moto_destination(&moto, &moto.secret_key) + &tls;
    let mut agent = Agent::new(folder.path(), &config(&folder, &right));
    agent.start();
    agent.wait_for_count("destinations", "lake", "delivered", 301);

    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut numbers = BTreeSet::new();
    for object in moto.objects() {
        let key = object["key"].as_str().unwrap();
        let (folder, name) = key.rsplit_once('/').unwrap();
        assert!(
            name.contains("-lake-") && name.ends_with(".ndjson"),
            "{key}"
        );
        assert_eq!(object["encryption"], "AES256", "{key}");
        assert_eq!(object["class"], "STANDARD_IA", "{key}");
        assert_eq!(
            object["tags"],
            serde_json::json!({"plant": "north 3"}),
            "{key}"
        );
        for line in object["body"].as_str().unwrap().lines() {
            let record: Value = serde_json::from_str(line).unwrap();
            assert!(
                numbers.insert(record["n"].as_u64().unwrap()),
                "twice: {line}"
            );
            *counts.entry(folder.to_owned()).or_default() += 1;
        }
    }
    let years: BTreeSet<&str> = counts.keys().filter_map(|key| key.get(..6)).collect();
    assert_eq!(numbers.len(), 301);
    assert_eq!(
        counts.values().copied().collect::<Vec<_>>(),
        [1, 100, 100, 100]
    );
    assert!(counts.contains_key("bad/processing-failed"), "{counts:?}");
    assert!(
        years.iter().any(|year| year.starts_with("d=20")),
        "{counts:?}"
    );
    assert!(
        counts.keys().any(|key| key.ends_with("/site=s 1")),
        "{counts:?}"
    );
}

/// What became of a request to [`Bucket`].
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    /// The connection ended in the middle of the body.
    Broken(String),
    /// The middle of the body has come, and nothing more is read.
    Held(String),
    /// It is stored, and nobody is told.
    Stored(String, Vec<u8>),
    /// It is there.
    Refused(String),
}

/// A bucket that goes through all of these, one request after the other.
struct Bucket {
    port: u16,
    seen: Receiver<Seen>,
}

impl Bucket {
    fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (tell, seen) = sync_channel(8);
        thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let tell = tell.clone();
                // An agent that is killed says no good-bye.
                thread::spawn(move || drop(serve(number, &stream.unwrap(), &tell)));
            }
        });
        Bucket { port, seen }
    }
}

fn serve(number: usize, stream: &TcpStream, tell: &SyncSender<Seen>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        lines.push(line.trim().to_owned());
    }
    let header = |name: &str| {
        let mut values = lines.iter().filter_map(|line| line.split_once(": "));
        values
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .unwrap()
            .1
    };
    let path = lines[0].split(' ').nth(1).unwrap().to_owned();
    let len: usize = header("content-length").parse().unwrap();
    let part = match number {
        0 => len / 3,
        1 => len / 2,
        _ => len,
    };
    let mut body = vec![0; part];
    reader.read_exact(&mut body)?;
    let seen = match number {
        0 => Seen::Broken(path),
        1 => Seen::Held(path),
        2 => {
            assert_eq!(header("x-amz-content-sha256"), sha256_hex(&body));
            Seen::Stored(path, body)
        }
        _ => Seen::Refused(path),
    };
    tell.send(seen).unwrap();
    match number {
        1 => drop(reader.read_to_end(&mut Vec::new())),
        0 | 2 => {}
        _ => {
            let mut stream = stream;
            stream.write_all(b"HTTP/1.1 412 There\r\nContent-Length: 0\r\n\r\n")?;
        }
    }
    Ok(())
}

/// An object that is larger than what may be kept is stored once, whole, whatever breaks off:
/// the connection, the agent, the answer.
#[test]
fn a_large_object_is_stored_once_over_breaks_and_a_kill() {
    const LINES: usize = 60_000;
    let folder = Folder::new();
    let bucket = Bucket::start();
    let filling = "some text ".repeat(40);
    let lines = (0..LINES).map(|number| format!("line {number:06} {filling}\n"));
    let lines = lines.collect::<Vec<_>>().concat();
    write(&folder.join("input.log"), &lines);
    let destination = format!(
        "bucket = \"lake\"\nregion = \"eu-west-1\"\nendpoint = \"http://127.0.0.1:{}\"\n\
         prefix = \"big/!{{hydrant:agent}}/\"\nformat = \"raw\"\ncompression = \"none\"\n\
         batch = {{ bytes_max = \"64MiB\", count_max = {LINES}, age_max = \"15m\" }}\n\
         credentials = {{ access_key_id = \"AK\", secret_access_key = \"SK\" }}\n",
        bucket.port
    );
    let config = config(&folder, &destination).replace("transforms = [\"parse\"]\n", "");
    let mut agent = Agent::with_ring(folder.path(), "64MiB", &config);
    agent.start();
    let next = |what: &str| {
        bucket
            .seen
            .recv_timeout(crate::harness::DEADLINE)
            .expect(what)
    };
    let Seen::Broken(key) = next("a first attempt") else {
        panic!("the first one is broken off");
    };
    assert!(key.starts_with("/lake/big/"), "{key}");
    assert_eq!(next("a second attempt"), Seen::Held(key.clone()));
    assert_eq!(agent.count("destinations", "lake", "delivered"), 0);
    let held_kib = agent.memory_kib("RssAnon");
    agent.kill();
    agent.start();
    let Seen::Stored(path, body) = next("a third attempt") else {
        panic!("the third one is taken");
    };
    assert_eq!(path, key, "a repeat has the same key");
    assert!(
        body == lines.as_bytes(),
        "what is stored is what was written"
    );
    assert_eq!(next("a fourth attempt"), Seen::Refused(key));
    let count = u64::try_from(LINES).unwrap();
    agent.wait_for_count("destinations", "lake", "delivered", count);
    let size_kib = u64::try_from(body.len() / 1024).unwrap();
    eprintln!("{held_kib} KiB held for an object of {size_kib} KiB");
    assert!(
        held_kib < size_kib / 2,
        "{held_kib} KiB: the object is held in memory"
    );
}

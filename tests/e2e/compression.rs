//! Every format and compression, read back by programs that are not ours.

use crate::harness::{Agent, Folder, Receiver, append, python, run, run_with, write};

const DECODER: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../tests/decoders/snappy_decode.py"
);

/// Lines that are long and alike enough for several blocks of snappy.
fn lines() -> Vec<String> {
    (0..2_000)
        .map(|number| format!("line {number} {}", "abcdef ".repeat(number % 20)))
        .collect()
}

/// Sends the lines with these options and gives the only body back.
fn sent(options: &str) -> (Vec<u8>, String) {
    let folder = Folder::new();
    let receiver = Receiver::start();
    let input = folder.join("input.log");
    write(&input, lines().join("\n") + "\n");
    let config = format!(
        "[sources.app]\ntype = \"file\"\npaths = [\"{}\"]\n\
         [destinations.lake]\ntype = \"http\"\nurl = \"{}\"\n\
         batch = {{ count_max = 2000, bytes_max = \"4MiB\", age_max = \"30s\" }}\n{options}",
        input.to_str().unwrap(),
        receiver.url()
    );
    let mut agent = Agent::new(folder.path(), &config);
    agent.start();
    let request = receiver.wait("a batch", |log| log.requests.pop()).0;
    let encoding = request.header("content-encoding").to_owned();
    drop(agent);
    (request.body, encoding)
}

fn check(compression: &str, encoding: &str, decode: impl Fn(&[u8]) -> Vec<u8>) {
    let options = format!("compression = \"{compression}\"\nformat = \"raw\"\n");
    let (body, told) = sent(&options);
    assert_eq!(told, encoding, "{compression}");
    let plain = lines().join("\n") + "\n";
    if compression != "none" {
        assert!(
            body.len() < plain.len() / 2,
            "{compression}: {} bytes",
            body.len()
        );
    }
    let decoded = String::from_utf8(decode(&body)).unwrap();
    assert_eq!(
        decoded.trim_end_matches('\n'),
        plain.trim_end_matches('\n'),
        "{compression}"
    );
}

#[test]
fn none() {
    check("none", "", <[u8]>::to_vec);
}

#[test]
fn gzip() {
    check("gzip", "gzip", |body| {
        run_with("gzip", &["-dc"], body).stdout
    });
}

#[test]
fn zip() {
    check("zip", "", |body| {
        let folder = Folder::new();
        write(&folder.join("body.zip"), body);
        run("unzip", &["-tq", &folder.text("body.zip")]);
        run("unzip", &["-p", &folder.text("body.zip")]).stdout
    });
}

fn decode_snappy(framing: &str, body: &[u8]) -> Vec<u8> {
    let folder = Folder::new();
    let path = folder.text("body.snappy");
    write(&folder.join("body.snappy"), body);
    run(python().to_str().unwrap(), &[DECODER, framing, &path]).stdout
}

#[test]
fn snappy() {
    check("snappy", "snappy-java", |body| {
        decode_snappy("xerial", body)
    });
}

#[test]
fn hadoop_snappy() {
    check("hadoop_snappy", "hadoop-snappy", |body| {
        decode_snappy("hadoop", body)
    });
}

#[test]
fn zstd() {
    check("zstd", "zstd", |body| {
        run_with("zstd", &["-dc"], body).stdout
    });
}

/// The same lines: a higher level leaves less of them.
#[test]
fn levels() {
    for compression in ["gzip", "zip", "zstd"] {
        let sent_at = |level: u8| {
            let options = format!("compression = \"{compression}\"\ncompression_level = {level}\n");
            sent(&options).0.len()
        };
        let (least, most) = (sent_at(1), sent_at(9));
        assert!(most < least, "{compression}: {least}, {most}");
    }
}

#[test]
fn json_array() {
    let (body, _) = sent("format = \"json_array\"\n");
    let records: Vec<serde_json::Value> = serde_json::from_slice(&body).unwrap();
    let messages: Vec<&str> = records
        .iter()
        .map(|record| record["message"].as_str().unwrap())
        .collect();
    assert_eq!(messages, lines());
}

/// Transforms on the way in and on the way out, seen from outside.
#[test]
fn transforms_before_and_after_the_ring() {
    let folder = Folder::new();
    let receiver = Receiver::start();
    let input = folder.join("input.log");
    write(&input, "");
    let config = format!(
        "[sources.app]\ntype = \"file\"\npaths = [\"{}\"]\ntransforms = [\"parse\", \"trim\"]\n\
         [transforms.parse]\ntype = \"parse\"\nformat = \"json\"\n\
         [transforms.trim]\ntype = \"filter\"\nkeep = 'level != \"debug\"'\n\
         [transforms.site]\ntype = \"set\"\nfields = {{ site = \"north\" }}\n{}\
         transforms = [\"site\"]\n",
        input.to_str().unwrap(),
        receiver.destination("lake")
    );
    let mut agent = Agent::new(folder.path(), &config);
    agent.start();
    append(
        &input,
        "{\"level\": \"debug\", \"n\": 1}\n{\"level\": \"info\", \"n\": 2}\nno json\n",
    );
    receiver.wait("two records", |log| (log.records.len() >= 2).then_some(()));
    let log = receiver.log();
    assert_eq!(log.records[0]["n"], 2, "{}", log.records[0]);
    assert_eq!(log.records[0]["site"], "north", "{}", log.records[0]);
    assert_eq!(log.records[1]["message"], "no json", "{}", log.records[1]);
    drop(log);
    assert_eq!(agent.count("sources", "app", "received"), 3);
    assert_eq!(agent.count("sources", "app", "filtered"), 1);
    assert_eq!(agent.count("sources", "app", "stored"), 2);
}

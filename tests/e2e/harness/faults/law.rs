//! The conservation law, checked against what came out of the agent.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;

use crate::harness::{Agent, Folder};

/// What went in, what came out, and what the agent says of it.
pub(crate) struct Law<'a> {
    /// The source that stored the lines.
    pub(crate) source: &'a str,
    pub(crate) destination: &'a str,
    /// Every line that went in, each another one.
    pub(crate) sent: &'a [String],
    /// Every record that was taken as NDJSON with metadata, as often as it was.
    pub(crate) taken: &'a [Vec<u8>],
    pub(crate) letters: &'a [Value],
}

/// What became of the lines.
#[derive(Debug)]
pub(crate) struct Sum {
    /// Lines that the destination took.
    pub(crate) delivered: usize,
    /// Lines that became dead letters.
    pub(crate) rejected: usize,
    /// Lines that are neither; the agent must have counted them.
    pub(crate) missing: usize,
    /// How many records came more than once.
    pub(crate) repeated: usize,
}

impl Law<'_> {
    /// Fails unless received = delivered + rejected + evicted + truncated + waiting, every line
    /// is what the counts say of it, and what came twice has one id.
    pub(crate) fn check(&self, agent: &Agent) -> Sum {
        let (taken, repeated) = self.taken_once();
        let letters: BTreeSet<&str> = self
            .letters
            .iter()
            .map(|letter| letter["payload"].as_str().unwrap())
            .collect();
        let sent: BTreeSet<&str> = self.sent.iter().map(String::as_str).collect();
        assert_eq!(sent.len(), self.sent.len(), "the lines are different ones");
        let taken_lines = taken.iter().map(String::as_str);
        let invented = taken_lines
            .chain(letters.iter().copied())
            .find(|line| !sent.contains(line));
        assert_eq!(invented, None, "came out and never went in");
        let missing = sent
            .iter()
            .filter(|line| !taken.contains(**line) && !letters.contains(**line))
            .count();

        let status = agent.status();
        let stored = status["sources"][self.source]["stored"].as_u64().unwrap();
        let of = |name: &str| {
            status["destinations"][self.destination][name]
                .as_u64()
                .unwrap()
        };
        let gone = of("evicted") + of("truncated") + of("filtered");
        let all = of("delivered") + of("rejected") + gone + of("waiting");
        assert_eq!(stored, all, "the counts do not add up: {status}");
        let sum = Sum {
            delivered: taken.len(),
            rejected: letters.len(),
            missing,
            repeated,
        };
        let size = |count: usize| u64::try_from(count).unwrap();
        assert_eq!(stored, size(self.sent.len()), "{sum:?}");
        assert_eq!(of("rejected"), size(sum.rejected), "{sum:?}");
        assert!(size(missing) <= gone + of("waiting"), "{sum:?} {status}");
        // What was taken and not heard of may have become a dead letter or been evicted.
        assert!(of("delivered") <= size(sum.delivered), "{sum:?} {status}");
        sum
    }

    /// The payloads, each once, and how many records came again.
    fn taken_once(&self) -> (BTreeSet<String>, usize) {
        let mut payloads = BTreeSet::new();
        let mut by_id: BTreeMap<String, Value> = BTreeMap::new();
        let mut repeated = 0;
        let bodies = self.taken.iter().map(|body| str::from_utf8(body).unwrap());
        for line in bodies.flat_map(str::lines) {
            let record: Value = serde_json::from_str(line).unwrap();
            let id = record["hydrant"]["id"].as_str().unwrap().to_owned();
            let payload = record["message"].as_str().unwrap().to_owned();
            if let Some(first) = by_id.get(&id) {
                assert_eq!(first, &record, "one id for two records");
                repeated += 1;
            } else {
                assert!(payloads.insert(payload), "two ids for one record: {record}");
                by_id.insert(id, record);
            }
        }
        (payloads, repeated)
    }
}

/// The dead letters of a destination.
pub(crate) fn dead_letters(folder: &Folder, destination: &str) -> Vec<Value> {
    let path = folder.join("state/dead-letter").join(destination);
    let Ok(files) = fs::read_dir(path) else {
        return Vec::new();
    };
    files
        .flat_map(|file| {
            let text = fs::read_to_string(file.unwrap().path()).unwrap();
            text.lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect::<Vec<Value>>()
        })
        .collect()
}

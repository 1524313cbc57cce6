//! Destinations whose services fail at random, until every record is accounted for.
//!
//! `HYDRANT_TEST_SEED` repeats the faults of a run, as far as threads let them be repeated.

use serde_json::Value;

use crate::harness::{
    Agent, Certificates, Chance, FaultServer, FirehoseService, Folder, HttpService, KinesisService,
    Law, RedshiftService, S3Service, Service, Sum, append, dead_letters, is_bad, long, seed,
    wait_until,
};

const STREAM: &str = "plant-telemetry";

/// Retries are quick, and what hangs is given up soon.
const RETRY: &str = "retry = { initial = \"10ms\", max = \"100ms\", timeout = \"500ms\" }\n";

/// One destination under faults, with an agent that is killed at times.
struct Trial {
    folder: Folder,
    agent: Agent,
    server: FaultServer,
    chance: Chance,
    sent: Vec<String>,
    /// The lines that the service never takes.
    is_bad: fn(&str) -> bool,
}

impl Trial {
    /// `destination` writes the table for an endpoint and its `tls`.
    fn start(service: impl Service + 'static, destination: impl Fn(&str, &str) -> String) -> Self {
        let folder = Folder::new();
        let certificates = Certificates::make(&folder);
        let mut chance = Chance(seed());
        let server = FaultServer::start(&certificates, service, chance.below(u64::MAX));
        let tls = certificates.anonymous_table();
        let config = format!(
            "[sources.app]\ntype = \"file\"\npaths = [\"{}\"]\n\
             [destinations.lake]\n{RETRY}{}",
            folder.text("input.log"),
            destination(&server.receiver.endpoint(), &tls)
        );
        let mut agent = Agent::new(folder.path(), &config);
        agent.start();
        Trial {
            folder,
            agent,
            server,
            chance,
            sent: Vec::new(),
            is_bad: |_| false,
        }
    }

    /// Feeds lines in rounds, some of which end with a kill, until enough went wrong; then
    /// everything must be accounted for.
    fn run(mut self) -> Sum {
        let faults_min = if long() { 3_000 } else { 40 };
        let mut round = 0;
        while self.faults() < faults_min {
            let lines: Vec<String> = (0..=self.chance.below(400))
                .map(|number| format!("round {round} line {number}"))
                .collect();
            append(&self.folder.join("input.log"), lines.join("\n") + "\n");
            self.sent.extend(lines);
            round += 1;
            let requests = self.server.receiver.log().requests.len();
            self.server.receiver.wait("another request", |log| {
                (log.requests.len() > requests).then_some(())
            });
            if self.chance.percent(10) {
                self.agent.kill();
                self.agent.start();
            }
        }
        self.settle()
    }

    /// Answers so far that told of something else than success.
    fn faults(&self) -> u64 {
        let seen = self.server.seen();
        let faults = seen
            .iter()
            .filter(|(name, _)| !["taken", "slow"].contains(&name.as_str()));
        faults.map(|(_, count)| count).sum()
    }

    fn settle(self) -> Sum {
        let total = u64::try_from(self.sent.len()).unwrap();
        let of = |status: &Value, name: &str| status["destinations"]["lake"][name].as_u64();
        let seen = self.server.seen();
        self.server.recover();
        let mut accounted = 0;
        while accounted < total {
            accounted = wait_until("another record accounted for", || {
                let status = self.agent.ask()?;
                let sum = of(&status, "delivered")? + of(&status, "rejected")?;
                (sum > accounted).then_some(sum)
            });
        }
        assert_eq!(accounted, total);
        let taken = self.server.taken();
        let letters = dead_letters(&self.folder, "lake");
        let law = Law {
            source: "app",
            destination: "lake",
            sent: &self.sent,
            taken: &taken,
            letters: &letters,
        };
        let sum = law.check(&self.agent);
        assert_eq!(sum.missing, 0, "{sum:?}");
        let bad = self.sent.iter().filter(|line| (self.is_bad)(line));
        for line in bad {
            let is_kept = letters.iter().any(|letter| letter["payload"] == **line);
            assert!(is_kept, "no dead letter of {line}");
        }
        let (rejected, repeated) = (sum.rejected, sum.repeated);
        eprintln!("{total} lines, {rejected} rejected, {repeated} repeated; answers {seen:?}");
        sum
    }
}

#[test]
fn firehose_loses_nothing_under_random_faults() {
    let service = FirehoseService { stream: STREAM };
    let trial = Trial::start(service, |endpoint, tls| {
        format!(
            "type = \"firehose\"\nstream = \"{STREAM}\"\nregion = \"eu-west-1\"\n\
             endpoint = \"{endpoint}\"\npacking_hint = \"4KiB\"\n\
             batch = {{ age_max = \"20ms\", count_max = 20 }}\n\
             credentials = {{ access_key_id = \"AK\", secret_access_key = \"SK\" }}\n{tls}"
        )
    });
    trial.run();
}

#[test]
fn http_loses_nothing_under_random_faults() {
    let trial = Trial::start(HttpService, |endpoint, tls| {
        format!(
            "type = \"http\"\nurl = \"{endpoint}/in\"\n\
             batch = {{ age_max = \"20ms\", count_max = 50 }}\n{tls}"
        )
    });
    trial.run();
}

#[test]
fn kinesis_loses_nothing_under_random_faults() {
    let service = KinesisService { stream: STREAM };
    let trial = Trial::start(service, |endpoint, tls| {
        format!(
            "type = \"kinesis\"\nstream = \"{STREAM}\"\nregion = \"eu-west-1\"\n\
             endpoint = \"{endpoint}\"\naggregation = \"lines\"\naggregation_hint = \"4KiB\"\n\
             batch = {{ age_max = \"20ms\", count_max = 20 }}\n\
             credentials = {{ access_key_id = \"AK\", secret_access_key = \"SK\" }}\n{tls}"
        )
    });
    trial.run();
}

/// Each object has its key, and is stored once whatever is repeated.
#[test]
fn s3_stores_everything_once_under_random_faults() {
    let trial = Trial::start(S3Service::default(), |endpoint, tls| {
        format!(
            "type = \"s3\"\nbucket = \"lake\"\nregion = \"eu-west-1\"\n\
             endpoint = \"{endpoint}\"\nprefix = \"!{{hydrant:source}}/\"\n\
             compression = \"none\"\nbatch = {{ age_max = \"20ms\", count_max = 50 }}\n\
             credentials = {{ access_key_id = \"AK\", secret_access_key = \"SK\" }}\n{tls}"
        )
    });
    let sum = trial.run();
    assert_eq!((sum.repeated, sum.rejected), (0, 0), "{sum:?}");
}

/// What is loaded is loaded once, and what the table does not take is a dead letter.
#[test]
fn redshift_loads_everything_once_under_random_faults() {
    let mut trial = Trial::start(RedshiftService::default(), |endpoint, tls| {
        format!(
            "type = \"redshift\"\nworkgroup = \"plant\"\ndatabase = \"dev\"\n\
             table = \"plant.readings\"\nregion = \"eu-west-1\"\nendpoint = \"{endpoint}\"\n\
             bucket = \"lake\"\nbucket_endpoint = \"{endpoint}\"\nprefix = \"in/\"\n\
             compression = \"none\"\nbatch = {{ age_max = \"20ms\", count_max = 2000 }}\n\
             credentials = {{ access_key_id = \"AK\", secret_access_key = \"SK\" }}\n{tls}"
        )
    });
    trial.is_bad = is_bad;
    let bad = |sum: &Sum| (sum.repeated, sum.rejected > 0);
    let sum = trial.run();
    assert_eq!(bad(&sum), (0, true), "{sum:?}");
}

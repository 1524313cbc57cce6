//! Calls that are spaced so that a service need not throttle them.

use crate::harness::{
    Agent, Certificates, FaultServer, FirehoseService, Folder, KinesisService, Service,
    ServiceQuota, append, wait_until,
};

const STREAM: &str = "plant-telemetry";

/// What the service takes in a second.
const QUOTA: ServiceQuota = ServiceQuota {
    bytes: 40_000,
    requests: 8,
    records: 200,
};

/// What no agent keeps to by being slow.
const TIGHT: ServiceQuota = ServiceQuota {
    requests: 1,
    ..QUOTA
};

/// Delivers a backlog to a service with a quota; says how often it throttled, and how long calls
/// waited to keep within it.
fn drained(
    kind: &str,
    service: impl Service + 'static,
    taken: ServiceQuota,
    quota: &str,
) -> (u64, u64) {
    const LINES: usize = 1_200;
    let folder = Folder::new();
    let certificates = Certificates::make(&folder);
    let server = FaultServer::start(&certificates, service, 1);
    server.recover();
    server.set_quota(taken);
    let lines: Vec<String> = (0..LINES)
        .map(|number| format!("line {number} {}", "x".repeat(150)))
        .collect();
    append(&folder.join("input.log"), lines.join("\n") + "\n");
    let config = format!(
        "[sources.app]\ntype = \"file\"\npaths = [\"{}\"]\n\
         [destinations.lake]\ntype = \"{kind}\"\nstream = \"{STREAM}\"\nregion = \"eu-south-2\"\n\
         endpoint = \"{}\"\nformat = \"raw\"\n{quota}\
         batch = {{ age_max = \"20ms\", bytes_max = \"6KB\" }}\n\
         retry = {{ initial = \"10ms\", max = \"100ms\" }}\n\
         credentials = {{ access_key_id = \"AK\", secret_access_key = \"SK\" }}\n{}",
        folder.text("input.log"),
        server.receiver.endpoint(),
        certificates.anonymous_table(),
    );
    let mut agent = Agent::new(folder.path(), &config);
    agent.start();
    let total = u64::try_from(LINES).unwrap();
    agent.wait_for_count("destinations", "lake", "delivered", total);
    let paced = agent.count("destinations", "lake", "paced_ms");
    wait_until("everything is taken", || {
        let taken = server.taken().join(&b'\n');
        let lines = taken.split(|byte| *byte == b'\n');
        (lines.filter(|line| !line.is_empty()).count() == LINES).then_some(())
    });
    (server.seen().get("throttled").copied().unwrap_or(0), paced)
}

const KEYS: &str = "quota = { bytes_per_second = \"40KB\", requests_per_second = 8, \
                    records_per_second = 200 }\n";

#[test]
fn firehose_is_not_asked_for_more_than_its_quota() {
    let service = || FirehoseService { stream: STREAM };
    let packing = "packing_hint = \"4KiB\"\n";
    let (throttled, paced) = drained("firehose", service(), TIGHT, packing);
    assert!(
        throttled > 0 && paced == 0,
        "{throttled} throttled without a quota"
    );
    let (throttled, paced) = drained("firehose", service(), QUOTA, &format!("{packing}{KEYS}"));
    assert!(
        throttled == 0 && paced > 0,
        "{throttled} throttled, {paced} ms"
    );
}

#[test]
fn kinesis_is_not_asked_for_more_than_its_quota() {
    let service = KinesisService { stream: STREAM };
    let (throttled, paced) = drained("kinesis", service, QUOTA, KEYS);
    assert!(
        throttled == 0 && paced > 0,
        "{throttled} throttled, {paced} ms"
    );
}

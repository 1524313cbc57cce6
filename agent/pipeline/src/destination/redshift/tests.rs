//! A load step by step: what is called, and what each answer leads to.

mod earlier;
mod errors;
mod refused;

use std::collections::BTreeMap;

use diskring::Seq;

use super::super::{HttpResponse, Refusal, RetryClass};
use super::*;
use crate::config::{
    AwsEndpoint, CredentialsConfig, Format, S3Addressing, S3Config, S3Encryption, Secret, TlsConfig,
};
use crate::destination::s3::{KeyPlace, KeyPrefix};
use crate::destination::{Unit, aws};
use crate::encode::{Encoding, EntryMeta, Origin};
use crate::record::Record;
use crate::stored::{self, StoredRef};

const NOW: WallClock = WallClock::from_millis(1_795_452_001_123);

const ID: &str = "d9b6c0c9-0747-4bf4-b142-e8883122f766";

fn config() -> RedshiftConfig {
    RedshiftConfig {
        store: S3Config {
            bucket: "lake".to_owned(),
            region: "eu-west-1".to_owned(),
            endpoint: None,
            addressing: S3Addressing::Auto,
            prefix: KeyPrefix::parse("in/", KeyPlace::Records, None).unwrap(),
            error_prefix: None,
            partitions_max: 1,
            file_extension: None,
            if_none_match: true,
            checksum: true,
            encryption: S3Encryption::Bucket,
            storage_class: None,
            tags: BTreeMap::new(),
            bucket_owner: None,
            credentials: CredentialsConfig::Default {
                profile: None,
                file: None,
            },
            tls: TlsConfig::default(),
        },
        region: "eu-west-1".to_owned(),
        endpoint: AwsEndpoint::default(),
        warehouse: Warehouse::Cluster("plant".to_owned()),
        database: "dev".to_owned(),
        login: RedshiftLogin::User("loader".to_owned()),
        table: TableName::parse("readings").unwrap(),
        columns: Vec::new(),
        copy_options: CopyOptions::default(),
        iam_role: None,
        compression: Compression::Gzip,
        has_lines: true,
    }
}

fn redshift(config: &RedshiftConfig) -> Redshift {
    let sender = Sender {
        ring: 0xab,
        agent: "gw1".to_owned(),
        destination: "table".to_owned(),
        replay: None,
    };
    Redshift::new(config, &sender, Duration::from_secs(30))
}

fn range() -> SeqRange {
    SeqRange::new(Seq::new(3), Seq::new(9))
}

fn credentials() -> Credentials {
    Credentials {
        access_key_id: "AKIDEXAMPLE".to_owned(),
        secret_access_key: Secret::new("secret"),
        session_token: None,
    }
}

/// The only object of one record.
fn object(redshift: &Redshift) -> (ObjectGroup, EncodedObject) {
    let encoding = Encoding {
        format: Format::Ndjson,
        compression: Compression::Gzip,
        level: None,
        metadata: false,
    };
    let mut writer = redshift.store().plan(encoding, &Origin::default());
    let mut bytes = Vec::new();
    stored::encode(&Record::new(NOW, b"hello".to_vec()), &mut bytes);
    let entry = EntryMeta {
        seq: Seq::new(3),
        source: "app",
    };
    writer.push(entry, &StoredRef::decode(&bytes).unwrap());
    let batch = S3::batch(writer, Unit::empty(Seq::new(3)), Arc::default());
    let planned = batch.objects.into_iter().next().unwrap();
    (planned.group, planned.encoded.unwrap())
}

/// A load with the codec that it goes by.
struct Trial {
    redshift: Redshift,
    load: Load,
}

impl Trial {
    /// A batch of six records that nobody has begun.
    fn fresh() -> Self {
        Self::of(&config(), 6, false)
    }

    /// The same, which was planned in an earlier life.
    fn planned() -> Self {
        Self::of(&config(), 6, true)
    }

    fn of(config: &RedshiftConfig, count: u32, was_planned: bool) -> Self {
        Self {
            redshift: redshift(config),
            load: Load::new(range(), count, was_planned),
        }
    }

    fn request(&self) -> HttpRequest {
        self.load
            .prepare(&self.redshift, NOW, Some(&credentials()))
            .unwrap()
    }

    /// What is called next, and with what.
    fn call(&self) -> (String, Value) {
        let request = self.request();
        let body = serde_json::from_slice(&request.body).unwrap();
        if request.method == "PUT" {
            return (request.url, body);
        }
        let mut headers = request.headers.into_iter();
        let target = headers.find(|(name, _)| name == "x-amz-target").unwrap().1;
        (
            target.strip_prefix("RedshiftData.").unwrap().to_owned(),
            body,
        )
    }

    #[track_caller]
    fn calls(&self, expected: &str) -> Value {
        let (name, body) = self.call();
        assert_eq!(name, expected);
        body
    }

    fn answer(&mut self, status: u16, body: &Value) -> Progress {
        let mut response = HttpResponse {
            status,
            body: body.to_string().into_bytes(),
            ..HttpResponse::default()
        };
        if status == 200 {
            response.headers = vec![("ETag".to_owned(), "\"e\"".to_owned())];
        }
        self.load.handle(&mut self.redshift, Ok(&response))
    }

    #[track_caller]
    fn goes_on(&mut self, body: &Value) {
        assert_eq!(self.answer(200, body), Progress::On);
    }

    /// Stores object and manifest.
    fn store(&mut self) {
        assert_eq!(self.load.next(), Next::Object);
        let (group, object) = object(&self.redshift);
        self.load.handle_stored(&self.redshift, &group, &object);
        self.goes_on(&json!({}));
    }

    /// Brings the COPY under way.
    fn copy(&mut self) {
        self.calls("ExecuteStatement");
        self.goes_on(&json!({"Id": ID}));
        self.calls("DescribeStatement");
    }

    fn fail(&mut self, error: &str) -> Progress {
        let body = json!({"Id": ID, "Status": "FAILED", "Error": error, "RedshiftQueryId": 77});
        self.answer(200, &body)
    }

    /// Answers the question that is under way.
    fn rows(&mut self, records: &Value) -> Progress {
        self.calls("ExecuteStatement");
        self.goes_on(&json!({"Id": ID}));
        self.calls("DescribeStatement");
        self.goes_on(&json!({"Id": ID, "Status": "FINISHED"}));
        self.calls("GetStatementResult");
        self.answer(200, &json!({"Records": records}))
    }
}

fn text(text: &str) -> Value {
    json!({"stringValue": text})
}

#[track_caller]
fn check_retry(progress: Progress, class: RetryClass, reason: &str) {
    let Progress::Done(Verdict::Retry(retry)) = progress else {
        panic!("{progress:?}");
    };
    assert_eq!(retry.class, class, "{retry:?}");
    assert!(retry.reason.contains(reason), "{retry:?}");
}

const CLUSTER_FAULT: &str = "ERROR: Load into table 'readings' failed. Check \
                             'sys_load_error_detail' system table for details.";

#[test]
fn a_batch_is_stored_named_and_copied() {
    let mut trial = Trial::fresh();
    let (group, object) = object(&trial.redshift);
    trial.load.handle_stored(&trial.redshift, &group, &object);
    let base = "lake.s3.eu-west-1.amazonaws.com/in/2026/11/23/16/";
    let name = "gw1-table-00000000000000ab-000000000003-000000000009";
    let (url, manifest) = trial.call();
    assert_eq!(url, format!("https://{base}{name}.manifest"));
    let object_url = format!("s3://lake/in/2026/11/23/16/{name}.ndjson.gz");
    assert_eq!(
        manifest,
        json!({"entries": [{"url": object_url, "mandatory": true}]})
    );
    trial.goes_on(&json!({}));
    let mut body = trial.calls("ExecuteStatement");
    let token = body["ClientToken"].take();
    assert_eq!(token.as_str().unwrap().len(), 64);
    assert_eq!(
        body,
        json!({
            "Sql": format!(
                "COPY \"readings\" FROM 's3://lake/in/2026/11/23/16/{name}.manifest' \
                 IAM_ROLE default MANIFEST GZIP FORMAT AS JSON 'auto'"
            ),
            "Database": "dev",
            "ClusterIdentifier": "plant",
            "DbUser": "loader",
            "StatementName": format!("{name}.1"),
            "ClientToken": null,
        })
    );
    let request = trial.request();
    assert_eq!(
        request.url,
        "https://redshift-data.eu-west-1.amazonaws.com/"
    );
    trial.copy();
    assert_eq!(trial.calls("DescribeStatement"), json!({"Id": ID}));
    let progress = trial.answer(200, &json!({"Id": ID, "Status": "FINISHED"}));
    assert_eq!(progress, Progress::Done(Verdict::Accepted));
}

#[test]
fn whom_and_where_are_as_configured() {
    let mut config = config();
    config.warehouse = Warehouse::Workgroup("plant".to_owned());
    config.login = RedshiftLogin::Secret("arn:aws:secretsmanager:x".to_owned());
    let body = redshift(&config).execute("SELECT 1", None);
    let expected = json!({
        "Sql": "SELECT 1",
        "Database": "dev",
        "WorkgroupName": "plant",
        "SecretArn": "arn:aws:secretsmanager:x",
    });
    assert_eq!(body, expected);
    config.login = RedshiftLogin::Iam;
    let body = redshift(&config).execute("SELECT 1", None);
    let expected = json!({"Sql": "SELECT 1", "Database": "dev", "WorkgroupName": "plant"});
    assert_eq!(body, expected);
}

#[test]
fn endpoints_follow_the_rules_of_the_region() {
    let url = |region: &str, fips: bool, dual_stack: bool| {
        let endpoint = AwsEndpoint {
            url: None,
            fips,
            dual_stack,
        };
        aws::Endpoint::new("redshift-data", region, &endpoint).url
    };
    for (region, fips, dual_stack, host) in [
        (
            "eu-west-1",
            false,
            false,
            "redshift-data.eu-west-1.amazonaws.com",
        ),
        (
            "us-east-1",
            true,
            false,
            "redshift-data-fips.us-east-1.amazonaws.com",
        ),
        ("eu-west-1", false, true, "redshift-data.eu-west-1.api.aws"),
        (
            "us-gov-west-1",
            true,
            true,
            "redshift-data-fips.us-gov-west-1.api.aws",
        ),
        (
            "us-gov-west-1",
            true,
            false,
            "redshift-data-fips.us-gov-west-1.amazonaws.com",
        ),
        (
            "cn-north-1",
            false,
            false,
            "redshift-data.cn-north-1.amazonaws.com.cn",
        ),
        (
            "cn-north-1",
            false,
            true,
            "redshift-data.cn-north-1.api.amazonwebservices.com.cn",
        ),
    ] {
        assert_eq!(url(region, fips, dual_stack), format!("https://{host}/"));
    }
}

/// The same call again, the same token; another statement, another one.
#[test]
fn tokens_are_of_what_is_asked() {
    let token = |config: &RedshiftConfig, sql: &str, name: &str| {
        redshift(config).execute(sql, Some(name))["ClientToken"].clone()
    };
    let first = token(&config(), "COPY a", "x.1");
    assert_eq!(first, token(&config(), "COPY a", "x.1"));
    assert_ne!(first, token(&config(), "COPY b", "x.1"));
    assert_ne!(first, token(&config(), "COPY a", "x.2"));
    let mut other = config();
    other.database = "prod".to_owned();
    assert_ne!(first, token(&other, "COPY a", "x.1"));
}

#[test]
fn a_running_statement_is_looked_after_later_and_later() {
    let mut trial = Trial::fresh();
    trial.store();
    trial.copy();
    let mut pauses = Vec::new();
    let mut waited = Duration::ZERO;
    let told = loop {
        let Next::Call(pause) = trial.load.next() else {
            panic!("it is looked after");
        };
        pauses.push(pause.as_millis());
        waited += pause;
        let status = ["SUBMITTED", "PICKED", "STARTED"][pauses.len() % 3];
        let progress = trial.answer(200, &json!({"Id": ID, "Status": status}));
        if progress != Progress::On {
            break progress;
        }
    };
    assert_eq!(pauses[..7], [100, 200, 400, 800, 1600, 3200, 6400]);
    assert!(pauses[7..].iter().all(|pause| *pause == 10_000));
    assert!((280..300).contains(&waited.as_secs()), "{waited:?}");
    check_retry(told, RetryClass::Transient, ID);
    assert_eq!(trial.load.next(), Next::Call(Duration::from_secs(10)));
    let progress = trial.answer(200, &json!({"Id": ID, "Status": "FINISHED"}));
    assert_eq!(progress, Progress::Done(Verdict::Accepted));
}

#[test]
fn a_manifest_that_is_there_is_not_stored_again() {
    let mut trial = Trial::fresh();
    let (group, object) = object(&trial.redshift);
    trial.load.handle_stored(&trial.redshift, &group, &object);
    let progress = trial.answer(503, &json!({}));
    check_retry(progress, RetryClass::Throttled, "503");
    assert_eq!(trial.answer(412, &json!({})), Progress::On);
    trial.calls("ExecuteStatement");
}

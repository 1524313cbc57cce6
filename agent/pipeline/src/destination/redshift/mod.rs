//! Amazon Redshift: an object in S3, a manifest that names it, and a COPY through the Data API.
//!
//! A batch is loaded by [`Load`], which says what to call next and what an answer means. Object,
//! manifest and statement have names that are made from where the records are in the log, so that
//! a start after a crash finds what was begun instead of beginning it once more.

mod answer;
mod load;
mod sql;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::aws::{Caller, Operation};
use super::credentials::Credentials;
use super::s3::{EncodedObject, ObjectGroup};
use super::sigv4::sha256_hex;
use super::{ClockSkew, Folder, HttpRequest, HttpResponse, S3, Sender, SeqRange};
use super::{TransportError, Verdict};
use crate::config::{Compression, RedshiftConfig, RedshiftLogin, Warehouse};
use crate::time::WallClock;

pub use load::{Load, Next, Progress};
pub use sql::{CopyOptions, OptionsError, TableName, check_name};

use sql::Copy;

const EXECUTE: &str = "RedshiftData.ExecuteStatement";
const DESCRIBE: &str = "RedshiftData.DescribeStatement";
const LIST: &str = "RedshiftData.ListStatements";
const RESULT: &str = "RedshiftData.GetStatementResult";

/// How the name of a manifest ends.
const MANIFEST: &str = "manifest";

/// Statements on one page of a list.
const PAGE_LEN: u32 = 100;

/// Loads batches into a table.
#[derive(Clone, Debug)]
pub struct Redshift {
    store: S3,
    config: RedshiftConfig,
    caller: Caller,
    folder: Folder,
}

impl Redshift {
    pub(super) fn new(config: &RedshiftConfig, sender: &Sender, timeout: Duration) -> Self {
        let stem = format!("{}-{}", sender.agent, sender.destination);
        let execute = Operation {
            service: "redshift-data",
            target: EXECUTE,
        };
        Self {
            store: S3::new(&config.store, sender, timeout),
            caller: Caller::new(execute, &config.region, &config.endpoint, timeout),
            folder: Folder::new(&stem, sender.ring).of_replay(sender.replay),
            config: config.clone(),
        }
    }

    /// What stores its objects.
    pub const fn store(&self) -> &S3 {
        &self.store
    }

    /// Whether the line of an object tells which record it is.
    pub const fn has_lines(&self) -> bool {
        self.config.has_lines
    }

    /// What is known of the clock of the Data API.
    pub const fn skew(&self) -> ClockSkew {
        self.caller.skew()
    }

    pub(super) fn interpret_object(
        &mut self,
        result: Result<&HttpResponse, &TransportError>,
    ) -> Verdict {
        self.store.interpret(result)
    }

    /// What the names of all that belongs to `range` have in common, and of nothing else.
    fn stem(&self, range: SeqRange) -> String {
        self.folder.file_name(range, "")
    }

    /// The key and content of the manifest that names `object`.
    fn manifest(
        &self,
        range: SeqRange,
        group: &ObjectGroup,
        object: &EncodedObject,
    ) -> (String, EncodedObject) {
        let url = self.url(&self.store.key(range, group, object));
        // Without it a COPY of an object that is not there would load nothing and end well.
        let manifest = json!({"entries": [{"url": url, "mandatory": true}]});
        let key = self.store.key_beside(range, group, object, MANIFEST);
        (key, object.beside(manifest.to_string().into_bytes()))
    }

    fn url(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.store.bucket())
    }

    fn copy(&self, manifest_key: &str) -> String {
        let config = &self.config;
        let region = &config.store.region;
        let copy = Copy {
            table: &config.table,
            columns: &config.columns,
            manifest_url: &self.url(manifest_key),
            iam_role: config.iam_role.as_deref(),
            compression: match config.compression {
                Compression::Gzip => Some("GZIP"),
                Compression::Zstd => Some("ZSTD"),
                Compression::None
                | Compression::Zip
                | Compression::Snappy
                | Compression::HadoopSnappy => None,
            },
            region: (*region != config.region).then_some(region),
            options: &config.copy_options,
        };
        copy.write()
    }

    /// The call that begins a statement; one with a name is begun once, however often it is called.
    fn execute(&self, sql: &str, name: Option<&str>) -> Value {
        let mut body = json!({"Sql": sql, "Database": self.config.database});
        let mut set = |key: &str, value: &str| {
            if let Some(fields) = body.as_object_mut() {
                fields.insert(key.to_owned(), Value::from(value));
            }
        };
        let (key, warehouse) = self.warehouse();
        set(key, warehouse);
        match &self.config.login {
            RedshiftLogin::Iam => {}
            RedshiftLogin::User(user) => set("DbUser", user),
            RedshiftLogin::Secret(arn) => set("SecretArn", arn),
        }
        if let Some(name) = name {
            set("StatementName", name);
            // Another statement, user or warehouse is another token: with the same one it would be
            // refused.
            let token = sha256_hex(body.to_string().as_bytes());
            if let Some(fields) = body.as_object_mut() {
                fields.insert("ClientToken".to_owned(), Value::from(token));
            }
        }
        body
    }

    /// The call that lists the statements for `range`, whatever became of them.
    fn list(&self, range: SeqRange, page: Option<&str>) -> Value {
        let mut body = json!({
            "StatementName": self.stem(range),
            "Status": "ALL",
            "MaxResults": PAGE_LEN,
        });
        if let Some(fields) = body.as_object_mut() {
            let (key, warehouse) = self.warehouse();
            fields.insert(key.to_owned(), Value::from(warehouse));
            if let Some(page) = page {
                fields.insert("NextToken".to_owned(), Value::from(page));
            }
        }
        body
    }

    fn warehouse(&self) -> (&'static str, &str) {
        match &self.config.warehouse {
            Warehouse::Cluster(cluster) => ("ClusterIdentifier", cluster),
            Warehouse::Workgroup(workgroup) => ("WorkgroupName", workgroup),
        }
    }

    fn call(
        &self,
        target: &str,
        body: &Value,
        now: WallClock,
        credentials: Option<&Credentials>,
    ) -> Result<HttpRequest, Verdict> {
        let body = body.to_string().into_bytes();
        let hash = sha256_hex(&body);
        let body = (Arc::new(body), hash);
        self.caller.prepare_as(target, body, now, credentials)
    }
}

#[cfg(test)]
mod tests;

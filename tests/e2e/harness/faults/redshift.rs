//! Amazon Redshift as the fault server plays it: a bucket, the Data API and one table.
//!
//! A COPY reads the manifest and the objects that it names, and loads all of their lines or, when
//! the table does not take one of them, none. It is begun once for each `ClientToken`. Some COPYs
//! fail by themselves, are stopped, or are forgotten by the Data API while the database has loaded
//! them.

use std::collections::BTreeMap;
use std::sync::Mutex;

use serde_json::{Value, json};

use super::S3Service;
use super::service::{Failure, Refusal, Service, amz_json, failure, with_header};
use crate::harness::{Answer, Request};

/// A bucket and a warehouse.
#[derive(Default)]
pub(crate) struct RedshiftService {
    store: S3Service,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Whether a `ClientToken` says nothing any more, as after 8 hours.
    forgets_tokens: bool,
    /// Bodies by the path of their request.
    objects: BTreeMap<String, Vec<u8>>,
    statements: Vec<Statement>,
    /// Whether the last request was one of the bucket.
    is_put: bool,
}

struct Statement {
    token: Option<String>,
    name: String,
    sql: String,
    /// How it ends, and why.
    end: (&'static str, &'static str),
    /// So many looks come before its end.
    looks: usize,
    rows: Vec<Value>,
    is_forgotten: bool,
}

/// What a COPY would do.
struct Outcome {
    end: (&'static str, &'static str),
    loaded: Vec<Vec<u8>>,
    errors: Vec<Value>,
}

const FINISHED: (&str, &str) = ("FINISHED", "");

const LOAD_FAILED: (&str, &str) = (
    "FAILED",
    "ERROR: Load into table 'readings' failed. Check 'sys_load_error_detail' system table.",
);

const FAILURES: &[Failure<'static>] = &[
    failure(400, "ThrottlingException", "Rate exceeded"),
    failure(400, "ActiveStatementsExceededException", "200 statements"),
    failure(400, "ActiveSessionsExceededException", "sessions"),
    failure(500, "InternalServerException", "internal"),
    failure(500, "ExecuteStatementException", "environment"),
    // What is looked for is not there yet, or not any more.
    failure(400, "ResourceNotFoundException", "Query does not exist."),
    failure(400, "ValidationException", "Redshift endpoint is resuming"),
    failure(400, "ExpiredTokenException", "token expired"),
    failure(400, "AccessDeniedException", "not authorized"),
    with_header(failure(503, "ServiceUnavailable", ""), "Retry-After", "1"),
    failure(502, "", "bad gateway"),
];

/// What the table does not take.
pub(crate) fn is_bad(line: &str) -> bool {
    line.ends_with("a line 13") || line.ends_with("a line 14") || line.ends_with("2 line 77")
}

impl State {
    /// The number of the statement that was begun with this token.
    fn begun(&self, body: &Value) -> Option<usize> {
        let token = body["ClientToken"]
            .as_str()
            .filter(|_| !self.forgets_tokens)?;
        let mut statements = self.statements.iter();
        statements.position(|statement| {
            statement.token.as_deref() == Some(token) && !statement.is_forgotten
        })
    }

    /// What this COPY does, as the next statement.
    fn copy(&self, sql: &str) -> Outcome {
        assert!(
            sql.starts_with("COPY \"plant\".\"readings\" FROM 's3://lake/in/"),
            "{sql}"
        );
        assert!(
            sql.ends_with(" IAM_ROLE default MANIFEST FORMAT AS JSON 'auto'"),
            "{sql}"
        );
        let url = sql.split('\'').nth(1).unwrap();
        let manifest = self.object(url);
        let manifest: Value = serde_json::from_slice(manifest).unwrap();
        let (mut loaded, mut errors) = (Vec::new(), Vec::new());
        for entry in manifest["entries"].as_array().unwrap() {
            assert_eq!(entry["mandatory"], true);
            let body = self.object(entry["url"].as_str().unwrap());
            for (number, line) in str::from_utf8(body).unwrap().lines().enumerate() {
                let record: Value = serde_json::from_str(line).unwrap();
                if is_bad(record["message"].as_str().unwrap()) {
                    let number = i64::try_from(number + 1).unwrap();
                    errors.push(error_row(number));
                }
                loaded.push(line.as_bytes().to_vec());
            }
        }
        // One slice tells the first that it meets; which one that is nobody knows.
        let number = self.statements.len();
        if !errors.is_empty() {
            errors = vec![errors.swap_remove(number % errors.len())];
        }
        let end = match number {
            _ if number % 11 == 5 => ("FAILED", "ERROR: disk full"),
            _ if number % 13 == 7 => ("ABORTED", ""),
            _ if !errors.is_empty() => LOAD_FAILED,
            _ => FINISHED,
        };
        if end != FINISHED {
            loaded.clear();
        }
        Outcome {
            end,
            loaded,
            errors,
        }
    }

    fn object(&self, url: &str) -> &[u8] {
        let path = url.strip_prefix("s3:/").unwrap();
        self.objects.get(path).expect("COPY reads what was stored")
    }

    fn execute(&mut self, body: &Value) -> Value {
        assert_eq!(body["Database"], "dev");
        assert_eq!(body["WorkgroupName"], "plant");
        let number = self.begun(body).unwrap_or_else(|| self.begin(body));
        json!({"Id": id(number), "Database": "dev"})
    }

    /// Begins another statement; its number.
    fn begin(&mut self, body: &Value) -> usize {
        let text = |key: &str| body[key].as_str().map(str::to_owned);
        let sql = text("Sql").unwrap();
        let number = self.statements.len();
        let (end, rows) = if text("StatementName").is_some() {
            let outcome = self.copy(&sql);
            (outcome.end, outcome.errors)
        } else {
            (FINISHED, self.select(&sql))
        };
        self.statements.push(Statement {
            token: text("ClientToken"),
            name: text("StatementName").unwrap_or_default(),
            is_forgotten: false,
            sql,
            end,
            looks: usize::from(number % 5 == 3),
            rows,
        });
        number
    }

    /// The rows of a question about load errors or loads.
    fn select(&self, sql: &str) -> Vec<Value> {
        if sql.contains("sys_load_history") {
            let stem = sql.split('\'').nth(1).unwrap();
            let mut loads = self.statements.iter();
            let is_loaded = loads.any(|copy| {
                copy.sql.starts_with("COPY") && copy.sql.contains(stem) && copy.end == FINISHED
            });
            let row = || json!([{"stringValue": "completed "}]);
            return is_loaded.then(row).into_iter().collect();
        }
        let (_, query) = sql.split_once("query_id = ").unwrap();
        let number: usize = query.split(' ').next().unwrap().parse().unwrap();
        self.statements[number - 1].rows.clone()
    }

    fn describe(&mut self, body: &Value) -> Option<Value> {
        let number = number(body);
        let statement = &mut self.statements[number];
        // As if 24 hours had passed: neither its id nor its token says anything any more.
        statement.is_forgotten |=
            number % 9 == 4 && !statement.name.is_empty() && statement.end == FINISHED;
        if statement.is_forgotten {
            return None;
        }
        let (status, error) = if statement.looks == 0 {
            statement.end
        } else {
            statement.looks -= 1;
            (["SUBMITTED", "PICKED", "STARTED"][statement.looks % 3], "")
        };
        Some(json!({
            "Id": id(number),
            "Status": status,
            "Error": error,
            "RedshiftQueryId": number + 1,
            "ResultRows": -1,
        }))
    }

    /// Two statements a page.
    fn list(&self, body: &Value) -> Value {
        assert_eq!(body["Status"], "ALL", "or only what has finished is listed");
        let prefix = body["StatementName"].as_str().unwrap();
        let from = body["NextToken"]
            .as_str()
            .map_or(0, |text| text.parse().unwrap());
        let known =
            self.statements.iter().enumerate().filter(|(_, statement)| {
                statement.name.starts_with(prefix) && !statement.is_forgotten
            });
        let known: Vec<Value> = known
            .map(|(number, statement)| {
                let status = if statement.looks == 0 {
                    statement.end.0
                } else {
                    "STARTED"
                };
                json!({"Id": id(number), "StatementName": statement.name, "Status": status})
            })
            .collect();
        let page: Vec<&Value> = known.iter().skip(from).take(2).collect();
        let next = (from + 2 < known.len()).then(|| (from + 2).to_string());
        json!({"Statements": page, "NextToken": next})
    }
}

/// What is called, and with what.
fn operation(request: &Request) -> (String, Value) {
    let target = request.header("x-amz-target");
    let name = target.strip_prefix("RedshiftData.").unwrap().to_owned();
    (name, serde_json::from_slice(&request.body).unwrap())
}

fn error_row(line: i64) -> Value {
    json!([
        {"longValue": line},
        {"stringValue": "message   "},
        {"stringValue": "Invalid digit, Value 'r', Pos 0, Type: Integer"},
    ])
}

fn id(number: usize) -> String {
    format!("00000000-0000-0000-0000-{number:012}")
}

fn number(body: &Value) -> usize {
    let id = body["Id"].as_str().unwrap();
    id.rsplit('-').next().unwrap().parse().unwrap()
}

fn answered(body: &Value) -> Answer {
    Answer::Status(200, vec![amz_json()], body.to_string())
}

impl RedshiftService {
    /// One for which each call is another one, whatever its `ClientToken`.
    pub(crate) fn without_tokens() -> Self {
        let service = RedshiftService::default();
        service.state.lock().unwrap().forgets_tokens = true;
        service
    }

    /// Does what a request asks for; says what it loaded as well.
    pub(crate) fn take(&self, request: &Request) -> (Answer, Vec<Vec<u8>>) {
        let records = self.records(request);
        let answer = self.success(request, &vec![None; records.len()]);
        (answer, records)
    }
}

impl Service for RedshiftService {
    fn records(&self, request: &Request) -> Vec<Vec<u8>> {
        let mut state = self.state.lock().unwrap();
        state.is_put = request.method == "PUT";
        if state.is_put {
            self.store.records(request);
            return Vec::new();
        }
        let (operation, body) = operation(request);
        let is_copy = operation == "ExecuteStatement" && body.get("StatementName").is_some();
        if !is_copy || state.begun(&body).is_some() {
            return Vec::new();
        }
        state.copy(body["Sql"].as_str().unwrap()).loaded
    }

    fn success(&self, request: &Request, fates: &[Option<Refusal>]) -> Answer {
        let mut state = self.state.lock().unwrap();
        if state.is_put {
            let objects = &mut state.objects;
            let stored = objects.entry(request.path.clone());
            stored.or_insert_with(|| request.body.clone());
            return self.store.success(request, fates);
        }
        let (operation, body) = operation(request);
        match operation.as_str() {
            "ExecuteStatement" => answered(&state.execute(&body)),
            "ListStatements" => answered(&state.list(&body)),
            "GetStatementResult" => {
                let rows = &state.statements[number(&body)].rows;
                answered(&json!({"Records": rows, "TotalNumRows": rows.len()}))
            }
            "DescribeStatement" => {
                let described = state.describe(&body);
                drop(state);
                let forgotten = failure(400, "ResourceNotFoundException", "no such query");
                described.map_or_else(|| self.failure(&forgotten), |body| answered(&body))
            }
            _ => panic!("{operation} is not called"),
        }
    }

    fn failures(&self) -> &'static [Failure<'static>] {
        if self.state.lock().unwrap().is_put {
            self.store.failures()
        } else {
            FAILURES
        }
    }

    /// What was taken once is never too large the next time.
    fn too_large(&self) -> &'static [Failure<'static>] {
        self.failures()
    }

    fn failure(&self, refused: &Failure<'_>) -> Answer {
        if self.state.lock().unwrap().is_put {
            return self.store.failure(refused);
        }
        let kind = format!("com.amazonaws.redshiftdata#{}", refused.code);
        let body = json!({"__type": kind, "Message": refused.message});
        let mut headers = vec![amz_json()];
        headers.extend(refused.header.map(|(name, value)| (name, value.to_owned())));
        Answer::Status(refused.status, headers, body.to_string())
    }
}

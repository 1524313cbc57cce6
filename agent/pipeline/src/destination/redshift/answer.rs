//! What the Data API answers.

use serde::Deserialize;
use serde_json::Value;

/// A statement that was begun.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Begun {
    pub(super) id: String,
}

/// How a statement is doing.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Described {
    pub(super) status: String,
    pub(super) error: Option<String>,
    redshift_query_id: Option<i64>,
}

impl Described {
    /// How Redshift itself numbers it.
    pub(super) fn query(&self) -> Option<u64> {
        let query = self.redshift_query_id?;
        u64::try_from(query).ok().filter(|query| *query > 0)
    }
}

/// A page of statements.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Listed {
    pub(super) statements: Vec<Statement>,
    next_token: Option<String>,
}

impl Listed {
    pub(super) fn next_page(&self) -> Option<String> {
        self.next_token.clone().filter(|token| !token.is_empty())
    }
}

/// A statement in a list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Statement {
    id: String,
    status: Option<String>,
    #[serde(rename = "StatementName")]
    name: Option<String>,
}

/// The COPY that counts among those that were begun for one batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) id: String,
    pub(super) attempt: u32,
    /// What has loaded goes before what may load yet, and that before what has not.
    rank: u8,
}

impl Found {
    /// The one of a statement whose name is `stem` and the number of an attempt.
    pub(super) fn of(statement: &Statement, stem: &str) -> Option<Self> {
        let attempt = statement.name.as_deref()?.strip_prefix(stem)?;
        Some(Self {
            id: statement.id.clone(),
            attempt: attempt.parse().ok()?,
            rank: match statement.status.as_deref() {
                Some("FINISHED") => 2,
                Some("FAILED" | "ABORTED") => 0,
                _ => 1,
            },
        })
    }

    /// The one of two that counts; among equals the last.
    pub(super) fn or(self, other: Self) -> Self {
        if (self.rank, self.attempt) < (other.rank, other.attempt) {
            other
        } else {
            self
        }
    }
}

/// A page of the result of a query.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Rows {
    pub(super) records: Vec<Vec<Value>>,
}

/// What Redshift says of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LoadError {
    pub(super) line: Option<u64>,
    pub(super) reason: String,
}

impl LoadError {
    /// Of a row of line, column and message.
    pub(super) fn of(row: &[Value]) -> Self {
        let column = text(row.get(1));
        let message = text(row.get(2));
        Self {
            line: row.first().and_then(number),
            reason: match (column.as_str(), message.as_str()) {
                ("", "") => "Redshift tells no reason".to_owned(),
                ("", message) => message.to_owned(),
                (column, message) => format!("column {column}: {message}"),
            },
        }
    }
}

/// A field of a row as text; empty where there is none.
pub(super) fn text(field: Option<&Value>) -> String {
    let text = field.and_then(|field| field.get("stringValue")?.as_str());
    text.unwrap_or_default().trim().to_owned()
}

fn number(field: &Value) -> Option<u64> {
    let number = field.get("longValue").and_then(Value::as_u64);
    number.or_else(|| text(Some(field)).parse().ok())
}

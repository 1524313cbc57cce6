//! SQL for Redshift: names that are quoted, texts that are escaped, options that are looked at.

use std::fmt::{self, Write as _};

/// What Redshift takes as a name.
const NAME_BYTES_MAX: usize = 127;

/// A table, with its schema and database where they are named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableName(Vec<String>);

/// Options of COPY as they are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CopyOptions {
    text: String,
    has_format: bool,
}

/// Why something is no option of COPY here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionsError {
    message: String,
    hint: &'static str,
}

/// Options that are Hydrant's to write, or that it cannot work with.
const REFUSED: &[(&[&str], &str)] = &[
    (
        &["MAXERROR", "IGNOREALLERRORS"],
        "leave it out: COPY would skip records without naming all of them; \
         Hydrant finds them, loads the others and keeps them as dead letters",
    ),
    (
        &["NOLOAD"],
        "leave it out: nothing would be loaded, and counted as delivered",
    ),
    (&["MANIFEST"], "leave it out: Hydrant writes it itself"),
    (
        &["GZIP", "ZSTD", "BZIP2", "LZOP"],
        "leave it out, and write compression = \"gzip\", \"zstd\" or \"none\"",
    ),
    (
        &[
            "IAM_ROLE",
            "CREDENTIALS",
            "ACCESS_KEY_ID",
            "SECRET_ACCESS_KEY",
            "SESSION_TOKEN",
        ],
        "leave it out, and write iam_role",
    ),
    (&["REGION"], "leave it out, and write bucket_region"),
    (
        &["AVRO", "PARQUET", "ORC", "SHAPEFILE", "FIXEDWIDTH"],
        "leave it out: Hydrant writes JSON or lines of text",
    ),
    (&["SSH", "ENCRYPTED"], "leave it out"),
];

/// Options that name a format.
const FORMATS: [&str; 4] = ["JSON", "CSV", "DELIMITER", "FORMAT"];

impl OptionsError {
    fn new(message: impl Into<String>, hint: &'static str) -> Self {
        Self {
            message: message.into(),
            hint,
        }
    }

    /// What is wrong.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to write instead.
    pub const fn hint(&self) -> &'static str {
        self.hint
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

impl TableName {
    /// Reads `table`, `schema.table` or `database.schema.table`; says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let names: Vec<String> = text.split('.').map(str::to_owned).collect();
        if names.len() > 3 {
            return Err(format!(
                "{text:?} has more than a database, schema and table"
            ));
        }
        for name in &names {
            check_name(name)?;
        }
        Ok(Self(names))
    }

    fn write(&self) -> String {
        let names: Vec<String> = self.0.iter().map(|name| quoted(name)).collect();
        names.join(".")
    }
}

/// Whether `name` can be the name of a column, schema or table; says why not.
pub fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("has an empty name".to_owned());
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(format!("{name:?} is longer than {NAME_BYTES_MAX} bytes"));
    }
    match name.chars().find(|c| c.is_control() || *c == '"') {
        Some(c) => Err(format!("{name:?} has {c:?}, which no name has")),
        None => Ok(()),
    }
}

impl CopyOptions {
    /// Looks at the options: what is Hydrant's own, or would end the statement, is refused.
    pub fn parse(text: &str) -> Result<Self, OptionsError> {
        let words = words(text)?;
        for word in &words {
            let refused = REFUSED
                .iter()
                .find(|(words, _)| words.contains(&word.as_str()));
            if let Some((_, hint)) = refused {
                return Err(OptionsError::new(
                    format!("{word} cannot be used here"),
                    hint,
                ));
            }
        }
        Ok(Self {
            text: text.trim().to_owned(),
            has_format: words.iter().any(|word| FORMATS.contains(&word.as_str())),
        })
    }
}

/// The words outside of quotes, in upper case.
fn words(text: &str) -> Result<Vec<String>, OptionsError> {
    let mut bare = String::new();
    let mut is_quoted = false;
    for c in text.chars() {
        if c == '\'' {
            is_quoted = !is_quoted;
            bare.push(' ');
        } else if !is_quoted {
            bare.push(c);
        }
    }
    if is_quoted {
        let hint = "close it with another \"'\"";
        return Err(OptionsError::new("has a quoted text without an end", hint));
    }
    if bare.contains(';') || bare.contains("--") || bare.contains("/*") {
        let message = "has \";\", \"--\" or \"/*\", which end a statement or begin a comment";
        return Err(OptionsError::new(message, "write options of COPY only"));
    }
    let is_end = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    let words = bare.split(is_end).filter(|word| !word.is_empty());
    Ok(words.map(str::to_ascii_uppercase).collect())
}

/// What a COPY is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Copy<'a> {
    pub(super) table: &'a TableName,
    pub(super) columns: &'a [String],
    pub(super) manifest_url: &'a str,
    pub(super) iam_role: Option<&'a str>,
    /// `GZIP`, `ZSTD`.
    pub(super) compression: Option<&'static str>,
    /// Where the bucket is, if not where the warehouse is.
    pub(super) region: Option<&'a str>,
    pub(super) options: &'a CopyOptions,
}

impl Copy<'_> {
    pub(super) fn write(&self) -> String {
        let mut sql = format!("COPY {}", self.table.write());
        if !self.columns.is_empty() {
            let columns: Vec<String> = self.columns.iter().map(|name| quoted(name)).collect();
            push(&mut sql, format_args!("({})", columns.join(", ")));
        }
        push(
            &mut sql,
            format_args!("FROM {}", literal(self.manifest_url)),
        );
        match self.iam_role {
            Some(role) => push(&mut sql, format_args!("IAM_ROLE {}", literal(role))),
            None => push(&mut sql, format_args!("IAM_ROLE default")),
        }
        push(&mut sql, format_args!("MANIFEST"));
        if let Some(compression) = self.compression {
            push(&mut sql, format_args!("{compression}"));
        }
        if let Some(region) = self.region {
            push(&mut sql, format_args!("REGION {}", literal(region)));
        }
        if !self.options.has_format {
            push(&mut sql, format_args!("FORMAT AS JSON 'auto'"));
        }
        if !self.options.text.is_empty() {
            push(&mut sql, format_args!("{}", self.options.text));
        }
        sql
    }
}

fn push(sql: &mut String, part: fmt::Arguments<'_>) {
    sql.push(' ');
    // A string takes everything.
    sql.write_fmt(part).ok();
}

/// What Redshift says of the records that COPY did not take. `query` is how it numbers the COPY, if
/// it did; `stem` is in the names of the files.
pub(super) fn load_errors(query: Option<u64>, stem: &str, count_max: u32) -> String {
    let of_file = format!("POSITION({} IN file_name) > 0", literal(stem));
    let which = query.map_or_else(
        || {
            format!(
                "{of_file} AND query_id = \
                 (SELECT MAX(query_id) FROM sys_load_error_detail WHERE {of_file})"
            )
        },
        |query| format!("query_id = {query}"),
    );
    format!(
        "SELECT line_number, TRIM(column_name), TRIM(error_message) FROM sys_load_error_detail \
         WHERE {which} ORDER BY line_number LIMIT {count_max}"
    )
}

/// Whether a COPY of files with `stem` in their names has ended well, or is still running.
pub(super) fn load_history(stem: &str) -> String {
    format!(
        "SELECT TRIM(status) FROM sys_load_history WHERE POSITION({} IN data_source) > 0 \
         AND TRIM(status) IN ('completed', 'running') LIMIT 100",
        literal(stem)
    )
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text; to Redshift a backslash escapes as a quote does.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests;

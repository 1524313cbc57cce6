use super::*;

fn copy(table: &str, columns: &[&str], options: &str) -> String {
    let columns: Vec<String> = columns.iter().map(|name| (*name).to_owned()).collect();
    let copy = Copy {
        table: &TableName::parse(table).unwrap(),
        columns: &columns,
        manifest_url: "s3://lake/a'b\\c.manifest",
        iam_role: Some("arn:aws:iam::123456789012:role/load"),
        compression: Some("GZIP"),
        region: Some("eu-central-1"),
        options: &CopyOptions::parse(options).unwrap(),
    };
    copy.write()
}

#[test]
fn names_are_quoted_and_texts_escaped() {
    assert_eq!(
        copy("plant.order", &["site", "a b"], ""),
        "COPY \"plant\".\"order\" (\"site\", \"a b\") FROM 's3://lake/a''b\\\\c.manifest' \
         IAM_ROLE 'arn:aws:iam::123456789012:role/load' MANIFEST GZIP REGION 'eu-central-1' \
         FORMAT AS JSON 'auto'"
    );
    let plain = Copy {
        table: &TableName::parse("readings").unwrap(),
        columns: &[],
        manifest_url: "s3://lake/x",
        iam_role: None,
        compression: None,
        region: None,
        options: &CopyOptions::default(),
    };
    assert_eq!(
        plain.write(),
        "COPY \"readings\" FROM 's3://lake/x' IAM_ROLE default MANIFEST FORMAT AS JSON 'auto'"
    );
}

#[test]
fn options_that_name_a_format_stand_alone() {
    for (options, end) in [
        (
            "TIMEFORMAT 'auto'",
            "FORMAT AS JSON 'auto' TIMEFORMAT 'auto'",
        ),
        (
            "JSON 's3://lake/paths.json'",
            "'eu-central-1' JSON 's3://lake/paths.json'",
        ),
        ("format as csv", "'eu-central-1' format as csv"),
        (
            "delimiter '|' ESCAPE",
            "'eu-central-1' delimiter '|' ESCAPE",
        ),
        // What stands in quotes names nothing.
        ("NULL AS 'json'", "FORMAT AS JSON 'auto' NULL AS 'json'"),
    ] {
        let sql = copy("t", &[], options);
        assert!(sql.ends_with(end), "{sql}");
    }
}

#[test]
fn what_is_no_option_here_is_refused() {
    for (options, message) in [
        ("MAXERROR 10", "MAXERROR cannot be used here"),
        ("json 'auto' maxerror as 10", "MAXERROR cannot be used here"),
        ("NOLOAD", "NOLOAD cannot be used here"),
        ("gzip", "GZIP cannot be used here"),
        ("FORMAT AS PARQUET", "PARQUET cannot be used here"),
        ("IAM_ROLE default", "IAM_ROLE cannot be used here"),
        ("REGION 'x'", "REGION cannot be used here"),
        ("NULL AS 'x", "has a quoted text without an end"),
        (
            "CSV; DROP TABLE t",
            "has \";\", \"--\" or \"/*\", which end a statement or begin a comment",
        ),
        (
            "CSV -- x",
            "has \";\", \"--\" or \"/*\", which end a statement or begin a comment",
        ),
    ] {
        let error = CopyOptions::parse(options).unwrap_err();
        assert_eq!(error.message(), message, "{options}");
    }
    // It says nothing outside of its quotes.
    assert!(CopyOptions::parse("NULL AS 'MAXERROR; --'").is_ok());
}

#[test]
fn what_is_no_name_is_refused() {
    for name in ["", "a.", ".a", "a.b.c.d", "a\"b", "a\nb", &"x".repeat(128)] {
        assert!(TableName::parse(name).is_err(), "{name:?}");
    }
    assert_eq!(TableName::parse("d.s.t").unwrap().to_string(), "d.s.t");
}

#[test]
fn questions_ask_for_one_copy() {
    assert_eq!(
        load_errors(Some(77), "gw-1.", 100),
        "SELECT line_number, TRIM(column_name), TRIM(error_message) FROM sys_load_error_detail \
         WHERE query_id = 77 ORDER BY line_number LIMIT 100"
    );
    let unnumbered = load_errors(None, "gw'1.", 100);
    assert!(
        unnumbered.contains("WHERE POSITION('gw''1.' IN file_name) > 0 AND query_id = (SELECT MAX"),
        "{unnumbered}"
    );
    let history = load_history("gw-1.");
    assert!(
        history.contains("POSITION('gw-1.' IN data_source) > 0"),
        "{history}"
    );
}

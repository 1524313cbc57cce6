//! What an earlier life has begun.

use super::*;

fn statement(name: &str, attempt: u32, status: &str) -> Value {
    let name = format!("gw1-table-00000000000000ab-{name}.{attempt}");
    json!({"Id": format!("id-{attempt}"), "StatementName": name, "Status": status})
}

const NAME: &str = "000000000003-000000000009";

#[test]
fn a_start_looks_for_what_an_earlier_life_has_begun() {
    let mut trial = Trial::planned();
    let body = trial.calls("ListStatements");
    let expected = json!({
        "StatementName": format!("gw1-table-00000000000000ab-{NAME}."),
        "Status": "ALL",
        "MaxResults": 100,
        "ClusterIdentifier": "plant",
    });
    assert_eq!(body, expected);
    let page = json!({
        "Statements": [
            statement(NAME, 2, "FINISHED"),
            statement(NAME, 1, "FAILED"),
            // A replay of the same records.
            statement(&format!("{NAME}-replay-7"), 3, "FINISHED"),
        ],
        "NextToken": "more",
    });
    trial.goes_on(&page);
    assert_eq!(trial.calls("ListStatements")["NextToken"], "more");
    trial.goes_on(&json!({"Statements": [statement(NAME, 3, "FAILED")], "NextToken": ""}));
    assert_eq!(trial.calls("DescribeStatement"), json!({"Id": "id-2"}));
    let progress = trial.answer(200, &json!({"Id": "id-2", "Status": "FINISHED"}));
    assert_eq!(progress, Progress::Done(Verdict::Accepted));
}

/// What may load yet is waited for; what has failed is begun anew, with the next number.
#[test]
fn what_was_begun_and_has_not_loaded_goes_on() {
    let mut trial = Trial::planned();
    let statements = [statement(NAME, 2, "STARTED"), statement(NAME, 1, "ABORTED")];
    trial.goes_on(&json!({"Statements": statements}));
    assert_eq!(trial.calls("DescribeStatement"), json!({"Id": "id-2"}));
    let progress = trial.answer(
        200,
        &json!({"Id": "id-2", "Status": "FAILED", "Error": "x"}),
    );
    check_retry(progress, RetryClass::Transient, "COPY failed: x");
    trial.store();
    let body = trial.calls("ExecuteStatement");
    assert!(
        body["StatementName"].as_str().unwrap().ends_with(".3"),
        "{body}"
    );
}

/// Statements are forgotten after 24 hours; the database remembers loads for longer.
#[test]
fn what_nobody_remembers_is_asked_of_the_database() {
    for (rows, loaded) in [
        (json!([[text("completed")]]), Some(true)),
        (json!([[text("running   ")]]), Some(false)),
        (json!([]), None),
    ] {
        let mut trial = Trial::fresh();
        trial.store();
        trial.copy();
        let error = json!({"__type": "ResourceNotFoundException", "Message": "no such query"});
        check_retry(
            trial.answer(400, &error),
            RetryClass::Configuration,
            "no such query",
        );
        trial.calls("ListStatements");
        trial.goes_on(&json!({"Statements": []}));
        let question = trial.calls("ExecuteStatement");
        assert!(
            question["Sql"]
                .as_str()
                .unwrap()
                .contains("sys_load_history"),
            "{question}"
        );
        let progress = trial.rows(&rows);
        match loaded {
            Some(true) => assert_eq!(progress, Progress::Done(Verdict::Accepted)),
            Some(false) => {
                check_retry(progress, RetryClass::Transient, "still running");
                assert_eq!(trial.calls("ExecuteStatement"), question);
            }
            None => {
                assert_eq!(progress, Progress::On);
                trial.store();
                trial.copy();
            }
        }
    }
}

//! COPYs that fail, and why.

use super::*;

/// A COPY that failed loaded nothing: the next one has another name and token.
#[test]
fn a_failed_copy_is_begun_anew() {
    for (status, error, class) in [
        (
            "FAILED",
            "ERROR: relation \"readings\" does not exist",
            RetryClass::Configuration,
        ),
        (
            "FAILED",
            "S3ServiceException:Access Denied,Status 403",
            RetryClass::Configuration,
        ),
        ("FAILED", "ERROR: disk full", RetryClass::Transient),
        ("ABORTED", "", RetryClass::Transient),
    ] {
        let mut trial = Trial::fresh();
        trial.store();
        let first = trial.calls("ExecuteStatement");
        trial.copy();
        let progress = trial.answer(200, &json!({"Id": ID, "Status": status, "Error": error}));
        check_retry(progress, class, error.trim_start_matches("ERROR: "));
        let second = trial.calls("ExecuteStatement");
        assert!(
            second["StatementName"].as_str().unwrap().ends_with(".2"),
            "{second}"
        );
        assert_ne!(first["ClientToken"], second["ClientToken"]);
        assert_eq!(first["Sql"], second["Sql"]);
    }
}

#[test]
fn what_is_not_taken_is_named_by_its_line() {
    let mut trial = Trial::fresh();
    trial.store();
    trial.copy();
    assert_eq!(trial.fail(CLUSTER_FAULT), Progress::On);
    let question = trial.calls("ExecuteStatement");
    assert!(
        question["Sql"].as_str().unwrap().contains("query_id = 77"),
        "{question}"
    );
    assert_eq!(question.get("StatementName"), None, "it is no COPY");
    let progress = trial.rows(&json!([
        [{"longValue": 2}, text("v       "), text("Invalid digit, Value 'x'")],
        [{"longValue": 2}, text("w"), text("String length exceeds DDL length")],
        [{"stringValue": "5"}, {"isNull": true}, text("Invalid JSON")],
        // Nobody knows what this one means.
        [{"longValue": 7}, text("v"), text("words")],
    ]));
    let refusal = Refusal {
        code: "LoadError".to_owned(),
        reason: "column v: Invalid digit, Value 'x'".to_owned(),
    };
    assert_eq!(progress, Progress::Lines(vec![2, 5], refusal));
}

/// Alone, without lines, or without a reason: parts of it may do.
#[test]
fn what_is_not_taken_is_cut_where_no_line_tells() {
    let row = json!([[{"longValue": 1}, text("v"), text("Invalid digit")]]);
    let mut of_text = config();
    of_text.has_lines = false;
    for (config, count, rows, reason) in [
        (&config(), 1, &row, "column v: Invalid digit"),
        (&of_text, 6, &row, "column v: Invalid digit"),
    ] {
        let mut trial = Trial::of(config, count, false);
        trial.store();
        trial.copy();
        assert_eq!(trial.fail(CLUSTER_FAULT), Progress::On);
        let refusal = Refusal {
            code: "LoadError".to_owned(),
            reason: reason.to_owned(),
        };
        let at = Vec::new();
        assert_eq!(
            trial.rows(rows),
            Progress::Done(Verdict::Cut { at, refusal })
        );
    }
    let mut trial = Trial::fresh();
    trial.store();
    trial.copy();
    assert_eq!(trial.fail(CLUSTER_FAULT), Progress::On);
    let mut asked = 0;
    let cut = loop {
        asked += 1;
        let progress = trial.rows(&json!([]));
        if progress != Progress::On {
            break progress;
        }
        assert!(
            trial.load.next() > Next::Call(Duration::ZERO),
            "not at once"
        );
    };
    assert_eq!(asked, 6);
    let Progress::Done(Verdict::Cut { at, refusal }) = cut else {
        panic!("{cut:?}");
    };
    assert_eq!((at.len(), refusal.reason.as_str()), (0, CLUSTER_FAULT));
}

#[test]
fn a_question_that_fails_is_asked_again() {
    let mut trial = Trial::fresh();
    trial.store();
    trial.copy();
    assert_eq!(trial.fail(CLUSTER_FAULT), Progress::On);
    let question = trial.calls("ExecuteStatement");
    trial.goes_on(&json!({"Id": ID}));
    let progress = trial.answer(200, &json!({"Id": ID, "Status": "FAILED", "Error": "oops"}));
    check_retry(progress, RetryClass::Transient, "oops");
    assert_eq!(trial.calls("ExecuteStatement"), question);
    trial.goes_on(&json!({"Id": ID}));
    // Its result is kept for 24 hours.
    let error = json!({"__type": "ResourceNotFoundException", "Message": "Query does not exist."});
    let progress = trial.answer(400, &error);
    check_retry(
        progress,
        RetryClass::Configuration,
        "ResourceNotFoundException",
    );
    assert_eq!(trial.calls("ExecuteStatement"), question);
}

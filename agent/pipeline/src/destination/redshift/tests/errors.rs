//! Calls that are not taken.

use super::*;

/// Every error of a call leaves the load where it is.
#[test]
fn errors_are_tried_again_where_they_were() {
    let cases = [
        (
            400,
            "ActiveStatementsExceededException",
            RetryClass::Throttled,
        ),
        (
            400,
            "ActiveSessionsExceededException",
            RetryClass::Throttled,
        ),
        (400, "ThrottlingException", RetryClass::Throttled),
        (500, "InternalServerException", RetryClass::Transient),
        (500, "ExecuteStatementException", RetryClass::Transient),
        (400, "ValidationException", RetryClass::Configuration),
        (400, "AccessDeniedException", RetryClass::Configuration),
        (400, "ExpiredTokenException", RetryClass::Credentials),
        (403, "UnrecognizedClientException", RetryClass::Credentials),
        (400, "InvalidSignatureException", RetryClass::Credentials),
        (503, "", RetryClass::Transient),
    ];
    for (status, code, class) in cases {
        let error = json!({"__type": format!("com.amazonaws#{code}"), "Message": "words"});
        let mut fresh = Trial::fresh();
        fresh.store();
        let mut waiting = Trial::fresh();
        waiting.store();
        waiting.copy();
        for mut trial in [fresh, waiting, Trial::planned()] {
            let before = trial.call();
            let progress = trial.answer(status, &error);
            check_retry(progress, class, if code.is_empty() { "503" } else { code });
            assert_eq!(trial.call(), before, "{code}");
        }
    }
}

#[test]
fn an_unknown_warehouse_waits_for_somebody() {
    let mut trial = Trial::fresh();
    trial.store();
    let before = trial.call();
    let error = json!({"__type": "ResourceNotFoundException", "Message": "no cluster plant"});
    let progress = trial.answer(400, &error);
    check_retry(progress, RetryClass::Configuration, "no cluster plant");
    assert_eq!(trial.call(), before);
}

/// What is no answer is not believed.
#[test]
fn rubbish_is_tried_again() {
    let mut trial = Trial::fresh();
    trial.store();
    trial.calls("ExecuteStatement");
    let progress = trial.answer(200, &json!({"Ident": 3}));
    check_retry(progress, RetryClass::Transient, "something else");
    trial.copy();
    let progress = trial.answer(200, &json!([]));
    check_retry(progress, RetryClass::Transient, "something else");
    trial.calls("DescribeStatement");
    let error = TransportError::Timeout;
    let progress = trial.load.handle(&mut trial.redshift, Err(&error));
    check_retry(progress, RetryClass::Transient, "no answer in time");
    trial.calls("DescribeStatement");
}

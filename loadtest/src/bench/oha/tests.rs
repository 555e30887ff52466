use serde_json::json;

use super::*;

fn said(statuses: &Value, errors: &Value) -> Value {
    json!({
        "summary": {"requestsPerSec": 12_000.5},
        "latencyPercentiles": {"p50": 0.0015, "p99": 0.004},
        "statusCodeDistribution": statuses,
        "errorDistribution": errors,
    })
}

#[test]
fn a_clean_run_is_read() {
    let outcome = outcome(&said(
        &json!({"200": 96_000}),
        &json!({"aborted due to deadline": 32}),
    ))
    .unwrap();
    assert_eq!(outcome.requests, 96_000);
    assert!((outcome.p99_ms - 4.0).abs() < 1e-9);
}

#[test]
fn a_run_with_other_answers_or_errors_does_not_count() {
    for (statuses, errors) in [
        (json!({"200": 5, "403": 1}), json!({})),
        (json!({}), json!({})),
        (json!({"200": 5}), json!({"connection closed": 1})),
    ] {
        assert!(
            outcome(&said(&statuses, &errors)).is_err(),
            "{statuses} {errors}"
        );
    }
}

use super::*;

#[test]
fn a_moment_is_a_time_or_how_long_ago() {
    assert_eq!(
        moment("2026-01-02T03:04:05Z").unwrap().to_string(),
        "2026-01-02T03:04:05Z"
    );
    assert!(moment("1h").unwrap() < Timestamp::now());
    assert!(moment("yesterday").is_err());
}

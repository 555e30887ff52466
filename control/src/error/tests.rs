use super::*;

#[test]
fn the_cause_is_for_the_log_and_never_for_the_client() {
    let error = Error::internal(std::io::Error::other("canary-7f3a"));
    assert!(Chain(&error).to_string().contains("canary-7f3a"));
    assert!(!error.detail().contains("canary-7f3a"));
    assert!(!error.to_status().message().contains("canary-7f3a"));
    assert_eq!(error.to_status().code(), tonic::Code::Internal);
}

#[test]
fn outages_are_told_from_defects() {
    for state in [
        SqlState::ADMIN_SHUTDOWN,
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::TOO_MANY_CONNECTIONS,
        SqlState::READ_ONLY_SQL_TRANSACTION,
    ] {
        assert!(is_outage(&state), "{}", state.code());
    }
    assert!(!is_outage(&SqlState::SYNTAX_ERROR));
    assert!(!is_outage(&SqlState::INSUFFICIENT_PRIVILEGE));
}

use super::*;

fn problem(text: &str) -> Error {
    Error::Problem(Box::new(serde_json::from_str(text).unwrap()))
}

#[test]
fn a_refusal_names_each_field_and_the_next_step() {
    let error = problem(
        r#"{"type":"about:blank","title":"Invalid","status":400,"detail":"two fields","code":"invalid_argument",
            "errors":[{"field":"host","message":"not a host"},{"field":"inject.0.type","message":"unknown"}]}"#,
    );
    let text = error.to_string();
    assert!(
        text.starts_with("two fields (invalid_argument, HTTP 400)"),
        "{text}"
    );
    assert!(
        text.contains("\n  host: not a host\n  inject.0.type: unknown"),
        "{text}"
    );
    assert_eq!(error.next().as_deref(), Some(Code::InvalidArgument.text()));
}

#[test]
fn a_sentence_is_not_said_twice() {
    let text = Code::NotFound.text();
    let error = problem(&format!(
        r#"{{"status":404,"detail":"{text}","code":"not_found"}}"#
    ));
    assert!(error.is_not_found());
    assert_eq!(error.next(), None);
}

#[test]
fn what_only_fields_say_is_said_once() {
    let sentence = Code::InvalidArgument.text();
    let error = problem(&format!(
        r#"{{"status":400,"title":"{sentence}","code":"invalid_argument","errors":[{{"field":"host","message":"no"}}]}}"#
    ));
    assert_eq!(
        error.to_string(),
        "control does not accept this (invalid_argument, HTTP 400)\n  host: no"
    );
    assert_eq!(error.next(), None);
}

#[test]
fn what_is_not_there_is_named() {
    let mut missing = Problem {
        title: Code::NotFound.text().to_owned(),
        code: "not_found".to_owned(),
        status: 404,
        ..Problem::default()
    };
    missing.subject = "vaults/nowhere".to_owned();
    let text = missing.to_string();
    assert!(
        text.ends_with("(not_found, HTTP 404)\n  vaults/nowhere"),
        "{text}"
    );
}

#[test]
fn a_key_that_is_not_enough_says_which_would_be() {
    for code in [Code::Unauthenticated, Code::PermissionDenied] {
        let error = problem(&format!(
            r#"{{"status":401,"title":"{}","code":"{}"}}"#,
            code.text(),
            code.name()
        ));
        let next = error.next().unwrap();
        assert!(next.contains("SORTIE_API_KEY_FILE"), "{next}");
    }
}

#[test]
fn exit_codes_are_those_of_the_documentation() {
    let check = |error: Error, code: u8| {
        assert_eq!(
            format!("{:?}", error.exit_code()),
            format!("{:?}", ExitCode::from(code))
        );
    };
    check(problem(r#"{"status":401}"#), 77);
    check(problem(r#"{"status":403}"#), 77);
    check(problem(r#"{"status":404}"#), 1);
    check(problem(r#"{"status":503}"#), 69);
    check(Error::Usage(String::new()), 2);
    check(Error::Config(String::new()), 64);
    check(Error::failed("a", "b"), 1);
}

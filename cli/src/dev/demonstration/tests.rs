use super::*;

fn shown(received: &str, echoed: &str, echoed_placeholder: &str) -> Shown {
    Shown {
        received: received.replace("VALUE", &fingerprint(b"the-value")),
        stored: fingerprint(b"the-value"),
        echoed: echoed.to_owned(),
        echoed_placeholder: echoed_placeholder.to_owned(),
    }
}

#[test]
fn the_verdict_is_strict() {
    let check = |shown: Shown, good: bool| assert_eq!(shown.verdict().is_ok(), good, "{shown:?}");
    check(shown("Bearer VALUE", "Bearer *********", "*********"), true);
    check(
        shown(
            "Bearer sha256:000000000000",
            "Bearer *********",
            "*********",
        ),
        false,
    );
    check(shown("", "Bearer *********", "*********"), false);
    check(
        shown("Bearer VALUE", "Bearer the-value", "*********"),
        false,
    );
    check(
        shown("Bearer VALUE", "Bearer *********", "the-value"),
        false,
    );
    check(shown("Bearer VALUE", "", "*********"), false);
}

#[test]
fn a_refusal_in_place_of_the_answer_is_shown() {
    let answer = serde_json::json!({"code": "host_unmatched", "detail": "no service"});
    let error = field(&answer, "authorization").unwrap_err().to_string();
    assert!(error.contains("host_unmatched"), "{error}");
}

use super::*;

#[test]
fn destinations_are_hosts_with_or_without_a_port() {
    let check = |text, expect: Value| assert_eq!(destination(text), Ok(expect), "{text}");
    check("api.github.com", json!({"host": "api.github.com"}));
    check(
        "*.example.com:8443",
        json!({"host": "*.example.com", "port": 8443}),
    );
    check("::1", json!({"host": "::1"}));
    check("[::1]", json!({"host": "[::1]"}));
    check("[::1]:443", json!({"host": "[::1]", "port": 443}));
    for text in ["", ":443", "a:", "a:0", "a:x", "https://a", "a:70000"] {
        assert!(destination(text).is_err(), "{text}");
    }
}

#[test]
fn a_value_goes_in_whole() {
    let body = body(
        &Secret::new(vec![0, 255, b'\n']),
        &[json!({"host": "a"})],
        Some("__A__"),
    );
    assert_eq!(body["value_base64"], "AP8K");
    assert_eq!(body["placeholder"], "__A__");
    assert_eq!(body["destinations"][0]["host"], "a");
}

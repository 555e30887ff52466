use super::*;

fn check(spec: &Spec, expect: &Value) {
    assert_eq!(&spec.body().unwrap(), expect);
}

#[test]
fn arguments_become_a_specification() {
    check(
        &Spec {
            host: Some("api.github.com".to_owned()),
            bearer: Some("T".to_owned()),
            basic: Some("x-access-token:P".to_owned()),
            header: vec!["X-Key: token {{ K }}".to_owned()],
            query: vec!["key=Q".to_owned()],
            method: vec!["get".to_owned()],
            path: Some("/repos/**".to_owned()),
            port: Some(8443),
            encoded_slash: true,
            ..Spec::default()
        },
        &json!({"host": "api.github.com", "port": 8443, "path": "/repos/**", "methods": ["GET"], "encoded_slash": true, "inject": [
            {"type": "bearer", "credential": "T"},
            {"type": "basic", "username": "x-access-token", "credential": "P"},
            {"type": "header", "name": "X-Key", "template": "token {{ K }}"},
            {"type": "query", "name": "key", "credential": "Q"},
        ]}),
    );
}

#[test]
fn placeholders_are_looked_for_in_headers_unless_said_otherwise() {
    let spec = |surfaces| Spec {
        host: Some("h".to_owned()),
        placeholder: vec!["A".to_owned()],
        surfaces,
        ..Spec::default()
    };
    check(
        &spec(vec![]),
        &json!({"host": "h", "inject": [], "placeholders": {"credentials": ["A"], "surfaces": ["header"]}}),
    );
    check(
        &spec(vec![Surface::Path, Surface::Query]),
        &json!({"host": "h", "inject": [], "placeholders": {"credentials": ["A"], "surfaces": ["path", "query"]}}),
    );
}

#[test]
fn an_argument_without_its_separator_is_refused() {
    let spec = Spec {
        host: Some("h".to_owned()),
        basic: Some("user".to_owned()),
        ..Spec::default()
    };
    assert!(matches!(spec.body(), Err(Error::Usage(_))));
}

#[test]
fn a_list_says_what_each_service_injects() {
    let mut service = json!({"spec": {"inject": [{"type": "bearer", "credential": "T"},
        {"type": "header", "name": "X-Key", "template": "{{ K }}"}], "placeholders": {"credentials": ["P"]}}});
    summarise(&mut service);
    assert_eq!(
        service["injects"],
        json!(["bearer T", "header X-Key", "placeholder P"])
    );
}

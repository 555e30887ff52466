use super::*;

fn entry(outcome: &str, url: &str, code: &str) -> Value {
    let service = if matches!(code, "host_unmatched") || outcome == "passed" {
        ""
    } else {
        "s"
    };
    json!({"outcome": outcome, "url": url, "code": code, "method": "POST", "service": service})
}

fn summary(entries: &[Value], vault: &str) -> Summary {
    Summary {
        session: "ses_1".to_owned(),
        lines: lines(entries, vault),
        is_complete: true,
    }
}

#[test]
fn hosts_are_counted_by_what_became_of_them() {
    let entries = [
        entry("refused", "https://a.test/x", "host_unmatched"),
        entry("brokered", "https://b.test/x", ""),
        entry("brokered", "https://b.test/y", ""),
        entry("refused", "https://a.test/y", "host_unmatched"),
        entry("refused", "https://b.test:8443/it's", "request_unmatched"),
        entry("refused", "https://b.test/", "session_revoked"),
        entry("passed", "https://c.test:8080/", ""),
    ];
    let text = summary(&entries, "").text();
    let sentence = Code::SessionRevoked.text();
    let expect = [
        "sortie: 2 brokered, 1 passed, 4 refused (session ses_1)",
        "  brokered   b.test  2 s",
        "  passed     c.test:8080  1",
        "             sortie service set c-test --host c.test --port 8080 --method POST",
        "  refused    a.test  2 host_unmatched",
        "             sortie service set a-test --host a.test --method POST",
        "  refused    b.test  1 session_revoked",
        &format!("             {sentence}"),
        "  refused    b.test:8443  1 request_unmatched",
        "             sortie service set s-more --host b.test --port 8443 --method POST",
    ];
    assert_eq!(text, expect);
}

#[test]
fn commands_name_the_vault_where_it_is_another() {
    let entries = [entry("passed", "https://c.test/", "")];
    let json = summary(&entries, "payments").json();
    assert_eq!(
        json.pointer("/hosts/0/command").unwrap(),
        "sortie service set c-test --host c.test --method POST --vault payments"
    );
    assert_eq!(json.pointer("/complete").unwrap(), true);
}

#[test]
fn what_may_be_missing_is_said_and_long_lists_are_cut() {
    let mut all: Vec<_> = (0..SHOWN_MAX + 5)
        .map(|at| entry("passed", &format!("https://h{at}.test/"), ""))
        .collect();
    all.push(entry("unknown", "https://x.test/", ""));
    let mut made = summary(&all, "");
    made.is_complete = false;
    let text = made.text();
    assert!(
        text.contains(&"  passed     and 5 more".to_owned()),
        "{text:?}"
    );
    assert!(text.last().unwrap().contains("incomplete"));
    assert_eq!(
        summary(&[], "").text(),
        ["sortie: no request (session ses_1)"]
    );
}

#[test]
fn the_gateway_s_own_pages_are_nobody_s_host() {
    let entries = [
        entry("refused", "https://sortie.internal/doctor/", "not_found"),
        entry("brokered", "https://b.test/", ""),
    ];
    let text = summary(&entries, "").text();
    assert_eq!(
        text,
        [
            "sortie: 1 brokered (session ses_1)",
            "  brokered   b.test  1 s"
        ]
    );
}

#[test]
fn a_stream_that_its_client_left_is_like_any_other() {
    let entries = [
        entry("brokered", "https://b.test/", ""),
        entry("brokered", "https://b.test/", "client_gone"),
    ];
    let text = summary(&entries, "").text();
    assert_eq!(
        text,
        [
            "sortie: 2 brokered (session ses_1)",
            "  brokered   b.test  2 s"
        ]
    );
}

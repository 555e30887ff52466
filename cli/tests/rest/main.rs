//! The program itself against a control that records what it is asked.

#[cfg(test)]
mod import;
#[cfg(test)]
mod support;
#[cfg(test)]
mod profiles;
#[cfg(test)]
mod watch;

use std::net::TcpListener;

use serde_json::{Value, json};

use support::{Control, KEY, TOKEN, for_run, text};

#[test]
fn a_value_goes_from_standard_input_to_control_and_nowhere_else() {
    let answer = json!({"name": "TOKEN", "version": 1}).to_string();
    let control = Control::start(vec![("PUT", 200, answer)]);
    let done = control.sortie(
        &[
            "credential",
            "set",
            "TOKEN",
            "--to",
            "api.example.com:8443",
            "--stdin",
        ],
        "the-secret-value\n",
    );
    assert!(done.status.success(), "{}", text(&done.stderr));
    let asked = control.asked();
    assert_eq!(
        asked[0].line,
        "PUT /v1/tenants/-/vaults/default/credentials/TOKEN"
    );
    assert_eq!(asked[0].key, format!("Bearer {KEY}"));
    let body: Value = serde_json::from_str(&asked[0].body).unwrap();
    assert_eq!(body["value_base64"], "dGhlLXNlY3JldC12YWx1ZQ==");
    assert_eq!(
        body["destinations"],
        json!([{"host": "api.example.com", "port": 8443}])
    );
    let said = text(&done.stdout) + &text(&done.stderr);
    assert!(
        said.contains("version 1") && !said.contains("the-secret-value"),
        "{said}"
    );
}

#[test]
fn a_value_that_is_too_short_is_not_sent() {
    let control = Control::start(vec![]);
    let done = control.sortie(&["credential", "set", "T", "--to", "a.example"], "short\n");
    assert_eq!(done.status.code(), Some(1));
    assert!(control.asked().is_empty());
}

#[test]
fn a_refusal_is_told_with_its_fields_and_its_exit_code() {
    let problem = json!({"type": "about:blank", "title": "Denied", "status": 403, "detail": "members may not",
        "code": "permission_denied", "errors": [{"field": "role", "message": "is member"}]});
    let control = Control::start(vec![("POST", 403, problem.to_string())]);
    let done = control.sortie(&["vault", "create", "x"], "");
    assert_eq!(done.status.code(), Some(77));
    let said = text(&done.stderr);
    for part in [
        "members may not",
        "permission_denied",
        "role: is member",
        "next: ",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains(KEY));
}

#[test]
fn what_agents_wrote_steers_no_terminal() {
    let entry = json!({"id": "a", "at": "2026-01-01T00:00:01.5Z", "kind": "request", "method": "GET\r\n",
        "url": "https://a.example:443/\u{1b}]0;title\u{7}\u{1b}[2J\u{202e}gpj.exe\u{9b}31m", "outcome": "passed"});
    let listed = json!({"entries": [entry]}).to_string();
    let control = Control::start(vec![("GET", 200, listed)]);
    let done = control.sortie(&["audit", "list"], "");
    assert!(done.status.success(), "{}", text(&done.stderr));
    let said = text(&done.stdout);
    assert_eq!(said.lines().count(), 2, "{said:?}");
    let odd = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    assert!(!said.contains(odd), "{said:?}");
    assert!(said.contains("2026-01-01 00:00:01Z"), "{said}");
    assert!(
        said.contains("https://a.example/\u{fffd}]0;title"),
        "{said}"
    );
}

#[test]
fn nobody_to_ask_deletes_nothing() {
    let control = Control::start(vec![("DELETE", 200, "{}".to_owned())]);
    let done = control.sortie(&["vault", "delete", "x"], "y\n");
    assert_eq!(done.status.code(), Some(2));
    assert!(control.asked().is_empty());
    let done = control.sortie(&["vault", "delete", "x", "--yes"], "");
    assert!(done.status.success());
    assert_eq!(control.asked()[0].line, "DELETE /v1/tenants/-/vaults/x");
}

#[test]
fn a_service_is_switched_on_and_the_rest_of_it_stays() {
    let spec = json!({"enabled": false, "host": "api.github.com", "encoded_slash": true});
    let service = json!({"id": "svc_1", "name": "github", "spec": spec});
    let control = Control::start(vec![
        ("GET", 200, service.to_string()),
        ("PUT", 200, service.to_string()),
    ]);
    let done = control.sortie(&["service", "enable", "svc_1", "--vault", "v"], "");
    assert!(done.status.success(), "{}", text(&done.stderr));
    let asked = control.asked();
    assert_eq!(asked[0].line, "GET /v1/tenants/-/vaults/v/services/svc_1");
    // By its name: what is put under an id would be another service.
    assert_eq!(asked[1].line, "PUT /v1/tenants/-/vaults/v/services/github");
    let put: Value = serde_json::from_str(&asked[1].body).unwrap();
    let expected = json!({"enabled": true, "host": "api.github.com", "encoded_slash": true});
    assert_eq!(put, expected);
}

#[test]
fn pages_are_followed() {
    let first = json!({"vaults": [{"name": "a"}], "next_page_token": "t/1"}).to_string();
    let second = json!({"vaults": [{"name": "b"}], "next_page_token": ""}).to_string();
    let control = Control::start(vec![
        (
            "GET /v1/tenants/-/vaults?page_size=200&page_token=t%2F1",
            200,
            second,
        ),
        ("GET /v1/tenants/-/vaults?page_size=200", 200, first),
    ]);
    let done = control.sortie(&["vault", "list", "--output", "json"], "");
    let listed: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(listed, json!([{"name": "a"}, {"name": "b"}]));
    let done = control.sortie(&["vault", "list"], "");
    assert_eq!(
        text(&done.stdout).lines().count(),
        3,
        "{}",
        text(&done.stdout)
    );
}

#[test]
fn an_answer_is_written_as_yaml() {
    let listed = json!({"vaults": [{"name": "a", "enabled": true}, {"name": "true"}]}).to_string();
    let control = Control::start(vec![("GET /v1/tenants/-/vaults", 200, listed)]);
    let done = control.sortie(&["vault", "list", "--output", "yaml"], "");
    // What reads like a boolean stays a name.
    assert_eq!(
        text(&done.stdout),
        "- enabled: true\n  name: a\n- name: 'true'\n"
    );
}

#[test]
fn control_that_is_away_is_told_as_such() {
    let control = Control::start(vec![]);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", taken.local_addr().unwrap());
    drop(taken);
    let done = control.sortie(&["--api-url", &url, "vault", "list"], "");
    assert_eq!(done.status.code(), Some(69));
    assert!(
        text(&done.stderr).contains("sortie dev"),
        "{}",
        text(&done.stderr)
    );
}

#[test]
fn a_command_gets_a_session_and_no_key() {
    let control = Control::start(for_run());
    let script =
        "env; test -r \"$SSL_CERT_FILE\" && cat \"$NODE_EXTRA_CA_CERTS\" >/dev/null && exit 42";
    let done = control.sortie(
        &[
            "run", "--agent", "builder", "--label", "run=7", "--", "sh", "-c", script,
        ],
        "",
    );
    assert_eq!(done.status.code(), Some(42), "{}", text(&done.stderr));
    let seen = text(&done.stdout);
    // A relay of this machine holds the session, and the command has its password.
    assert!(seen.contains("HTTPS_PROXY=http://x:"), "{seen}");
    assert!(
        !seen.contains("7380") && !seen.contains("sortie_ses_"),
        "{seen}"
    );
    assert!(seen.contains("API_KEY=__API_KEY__\n"), "{seen}");
    assert!(!seen.contains(KEY) && !seen.contains("SORTIE_"), "{seen}");
    let folder = seen
        .lines()
        .find_map(|line| line.strip_prefix("SSL_CERT_FILE="))
        .unwrap();
    assert!(!std::fs::exists(folder).unwrap());

    let asked = control.asked();
    let minted = asked
        .iter()
        .find(|asked| asked.line == "POST /v1/tenants/-/sessions")
        .unwrap();
    let body: Value = serde_json::from_str(&minted.body).unwrap();
    assert_eq!(body["agent"], "builder");
    assert_eq!(body["labels"], json!({"run": "7"}));
    assert!(is_revoked(&control));
}

#[test]
fn without_a_relay_the_command_shows_its_token_itself() {
    let control = Control::start(for_run());
    let done = control.sortie(&["run", "--no-relay", "--", "env"], "");
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    let seen = text(&done.stdout);
    let proxy = format!("HTTPS_PROXY=http://x:{TOKEN}@127.0.0.1:7380\n");
    assert!(seen.contains(&proxy), "{seen}");
    assert!(is_revoked(&control));
}

/// Whether the session was ended. What happened in it is asked for after that.
fn is_revoked(control: &Control) -> bool {
    let revoke = "POST /v1/tenants/-/sessions/ses_1:revoke";
    control.asked().iter().any(|asked| asked.line == revoke)
}

#[test]
fn a_command_that_does_not_exist_still_ends_its_session() {
    let control = Control::start(for_run());
    let done = control.sortie(&["run", "--", "/nowhere/to-be-found"], "");
    assert_eq!(done.status.code(), Some(127), "{}", text(&done.stderr));
    assert!(is_revoked(&control));
}

#[test]
fn a_signal_reaches_the_command_and_the_session_ends() {
    let control = Control::start(for_run());
    // The command signals its parent, which is `sortie run`, and waits to be told in turn.
    let script = "trap 'exit 9' TERM; kill -TERM $PPID; while :; do sleep 0.05; done";
    let done = control.sortie(&["run", "--", "sh", "-c", script], "");
    assert_eq!(done.status.code(), Some(9), "{}", text(&done.stderr));
    assert!(is_revoked(&control));
}

#[test]
fn limits_take_the_place_of_those_before_and_are_shown_as_they_are_written() {
    let requests = json!({"count": 600, "per": "minute", "burst": 50});
    let answer = json!({"name": "main", "limits": {"requests": requests}}).to_string();
    let control = Control::start(vec![("PATCH", 200, answer)]);
    let arguments = [
        "vault",
        "update",
        "main",
        "--limit",
        "requests=600/minute:50",
        "--limit",
        "concurrency=8",
        "--session-limit",
        "none",
    ];
    let done = control.sortie(&arguments, "");
    assert!(done.status.success(), "{}", text(&done.stderr));
    let asked = control.asked();
    assert_eq!(asked[0].line, "PATCH /v1/tenants/-/vaults/main");
    let body: Value = serde_json::from_str(&asked[0].body).unwrap();
    assert_eq!(
        body,
        json!({"limits": {"requests": requests, "concurrency": 8}, "session_limits": {}})
    );
    assert!(text(&done.stdout).contains("requests=600/minute:50"));
}

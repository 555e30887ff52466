use super::*;

fn entry(outcome: &str, method: &str, url: &str, service: &str) -> Value {
    let code = match (outcome, service) {
        ("refused", "") => "host_unmatched",
        ("refused", _) => "request_unmatched",
        _ => "",
    };
    json!({"outcome": outcome, "method": method, "url": url, "service": service, "code": code})
}

fn check(entries: &[Value], expect: &[(&str, &str)]) {
    let rows = rows(entries, None);
    let seen: Vec<_> = rows
        .iter()
        .map(|row| (cell(row, "/host"), cell(row, "/command")))
        .collect();
    let seen: Vec<_> = seen
        .iter()
        .map(|(host, command)| (host.as_str(), command.as_str()))
        .collect();
    assert_eq!(seen, expect);
}

#[test]
fn hosts_become_bundles_packs_and_commands() {
    check(
        &[
            entry("passed", "POST", "https://api.openai.com/v1/responses", ""),
            entry("passed", "POST", "https://api.openai.com/v1/responses", ""),
            entry("passed", "GET", "https://registry.npmjs.org/left-pad", ""),
            entry("refused", "GET", "http://deb.debian.org/debian/x", ""),
            entry(
                "refused",
                "POST",
                "https://api.internal.example:8443/v1",
                "",
            ),
            entry("passed", "GET", "http://plain.example/", ""),
        ],
        &[
            ("api.openai.com", "sortie service add openai"),
            ("deb.debian.org", "sortie service add pack:apt-debian"),
            (
                "plain.example",
                "echo '{\"scheme\":\"http\",\"host\":\"plain.example\"}' | sortie service set plain-example --file -",
            ),
            (
                "api.internal.example:8443",
                "sortie service set internal-example --host api.internal.example --port 8443 --method POST",
            ),
            ("registry.npmjs.org", "sortie service add pack:npm"),
        ],
    );
}

#[test]
fn what_a_service_covered_and_other_refusals_are_left_out() {
    let mut revoked = entry("refused", "GET", "https://a.example/", "");
    revoked["code"] = "session_revoked".into();
    let mut misspelt = entry("refused", "GET", "https://a.example/", "a");
    misspelt["code"] = "placeholder_unresolved".into();
    check(
        &[
            misspelt,
            entry("brokered", "GET", "https://a.example/", "a"),
            entry("passed", "GET", "https://a.example/", "a"),
            revoked,
            entry("passed", "GET", "not a url", ""),
        ],
        &[],
    );
}

#[test]
fn a_service_that_is_too_narrow_is_named_with_what_was_missing() {
    check(
        &[entry(
            "refused",
            "DELETE",
            "https://a.example/v1/items/7",
            "narrow",
        )],
        &[(
            "a.example",
            "sortie service set narrow-more --host a.example --method DELETE --path /v1/items/7",
        )],
    );
}

/// Agents choose hosts, methods and paths, and a person may paste the command.
#[test]
fn no_command_holds_what_a_shell_reads_otherwise() {
    for (method, url) in [
        ("GET;id", "https://a.example/"),
        ("`id`", "https://a.example/$(id)"),
        ("GET", "https://a.example/x';id;'"),
        ("GET", "https://$(id).example/"),
        ("GET", "https://a.example/\u{1b}[2J"),
    ] {
        for row in rows(&[entry("refused", method, url, "s")], Some("main")) {
            let command = cell(&row, "/command");
            assert!(
                command
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b" -./".contains(&byte)),
                "{command}"
            );
            assert!(command.ends_with(" --vault main"), "{command}");
        }
    }
}

#[test]
fn a_placeholder_at_a_host_without_a_service_wants_one() {
    let mut wanting = entry("refused", "POST", "https://api.openai.com/v1/responses", "");
    wanting["code"] = "placeholder_unresolved".into();
    check(
        &[wanting],
        &[("api.openai.com", "sortie service add openai")],
    );
}

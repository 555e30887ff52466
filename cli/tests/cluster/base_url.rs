//! The base-URL form, with clients that know nothing of a proxy: a base URL and a "key" are all that they are given.

use serde_json::json;

use super::support::{Cluster, Finished, Minted};

impl Cluster {
    fn base(&self, service: &str) -> String {
        format!("http://127.0.0.1:{}/r/main/{service}", self.ports.proxy)
    }

    /// Without proxy and certificate: they are not needed.
    async fn bare_curl(&self, arguments: &[&str]) -> Finished {
        let all = [
            &[
                "--silent",
                "--show-error",
                "--max-time",
                "50",
                "--noproxy",
                "*",
            ],
            arguments,
        ]
        .concat();
        self.run("curl", &all, &[]).await
    }
}

fn header<'a>(seen: &'a serde_json::Value, name: &str) -> Vec<&'a str> {
    let headers = seen["headers"].as_array().unwrap().iter();
    headers
        .filter(|pair| pair[0] == name)
        .filter_map(|pair| pair[1].as_str())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_url_and_a_token_are_all_that_a_client_needs() {
    let cluster = Cluster::start().await;
    let value = cluster.bearer_service().await;
    let session = cluster.session().await;
    let Minted { token, .. } = &session;
    let bearer = format!("Authorization: Bearer {token}");
    let (api_key, azure) = (format!("x-api-key: {token}"), format!("api-key: {token}"));
    let (user, password) = (format!("{token}:"), format!("someone:{token}"));
    let keys = [
        ["-H", bearer.as_str()],
        ["-H", &api_key],
        ["-H", &azure],
        ["-u", &user],
        ["-u", &password],
    ];
    for (number, key) in keys.iter().enumerate() {
        let path = format!("/json/base/{number}?q=%2F1");
        let url = format!("{}{path}", cluster.base("api"));
        let answer = cluster
            .bare_curl(&[&key[..], &["-f", "--data", "{}", &url]].concat())
            .await
            .ok();
        assert!(
            !answer.contains(token) && !answer.contains(&value),
            "{answer}"
        );
        let seen = cluster.recorded_at(&path).remove(0);
        assert_eq!(header(&seen, "authorization"), [format!("Bearer {value}")]);
        assert_eq!(seen["host"], format!("api.up.test:{}", cluster.ports.https));
        assert_eq!(seen["body_bytes"], 2);
        assert!(!seen.to_string().contains(token), "{seen}");
    }
    // What it echoes is masked; a stream comes as it is made.
    for path in [
        "/echo/json",
        "/echo/header",
        "/sse?n=3&interval_ms=5&echo=1",
    ] {
        let url = format!("{}{path}", cluster.base("api"));
        let answer = cluster
            .bare_curl(&["-i", "-f", "-H", &bearer, &url])
            .await
            .ok();
        assert!(
            answer.contains(&"*".repeat(value.len())),
            "{path}: {answer}"
        );
    }
    // Two requests on one connection.
    let (first, second) = (
        format!("{}/bytes/8", cluster.base("api")),
        format!("{}/bytes/16", cluster.base("api")),
    );
    let reused = cluster
        .bare_curl(&[
            "-f",
            "-H",
            &bearer,
            "-w",
            "[%{num_connects}]",
            &first,
            &second,
        ])
        .await
        .ok();
    assert_eq!(reused, "xxxxxxxx[1]xxxxxxxxxxxxxxxx[0]");
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_python_needs_no_more_and_follows_where_it_is_led() {
    let cluster = Cluster::start().await;
    let value = cluster.bearer_service().await;
    let session = cluster.session().await;
    let python = std::env::var("SORTIE_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let code = "\
import json, os, urllib.request
def ask(path, body=None):
    request = urllib.request.Request(os.environ['BASE'] + path, data=body, method='POST' if body else 'GET')
    request.add_header('Authorization', 'Bearer ' + os.environ['KEY'])
    request.add_header('Content-Type', 'application/json')
    with urllib.request.urlopen(request) as answer:
        return answer.status, json.load(answer)
print(ask('/json/python', b'{\"model\": 1}')[1]['body_bytes'])
print(ask('/redirect?to=/json/followed')[1]['target'])
print(ask('/redirect?to=https://api.up.test:' + os.environ['PORT'] + '/json/absolute')[1]['target'])
";
    let port = cluster.ports.https.to_string();
    let env = [
        ("BASE", cluster.base("api")),
        ("KEY", session.token.clone()),
        ("PORT", port),
        ("no_proxy", "*".to_owned()),
    ];
    let env: Vec<_> = env
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let printed = cluster.run(&python, &["-c", code], &env).await.ok();
    assert_eq!(printed, "12\n/json/followed\n/json/absolute\n");
    for path in ["/json/python", "/json/followed", "/json/absolute"] {
        let seen = cluster.recorded_at(path).remove(0);
        assert_eq!(header(&seen, "authorization"), [format!("Bearer {value}")]);
    }
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_what_an_api_s_client_understands() {
    let cluster = Cluster::start().await;
    let value = cluster.bearer_service().await;
    cluster
        .service("wide", json!({"host": "*.wide.test", "path": "/**"}))
        .await;
    cluster
        .service("narrow", json!({"path": "/json/narrow/**"}))
        .await;
    let session = cluster.session().await;
    let key = format!("x-api-key: {}", session.token);
    let ask = async |key: &str, path: &str| {
        let url = format!("http://127.0.0.1:{}/r/{path}", cluster.ports.proxy);
        cluster.bare_curl(&["-i", "-H", key, &url]).await.seen()
    };
    let missing = ask("x-api-key: sk-something", "main/api/bytes/8").await;
    assert!(
        missing.contains("HTTP/1.1 401 ") && missing.contains("key_missing"),
        "{missing}"
    );
    assert!(missing.contains("WWW-Authenticate: Bearer"), "{missing}");
    for (path, status, code) in [
        ("other/api/bytes/8", 403, "vault_mismatch"),
        ("main/none/bytes/8", 404, "service_unknown"),
        ("main/wide/bytes/8", 403, "base_url_unsupported"),
        // Another service of the same host takes these, and it was not named.
        ("main/api/json/narrow/x", 403, "request_unmatched"),
        ("main/narrow/bytes/8", 403, "request_unmatched"),
        ("main", 400, "target_invalid"),
    ] {
        let seen = ask(&key, path).await;
        assert!(
            seen.contains(&format!("HTTP/1.1 {status} ")),
            "{path}: {seen}"
        );
        assert!(seen.contains(&format!("\"{code}\"")), "{path}: {seen}");
        assert!(seen.contains("dec_"), "{path}: {seen}");
    }
    cluster.api.revoke(&session).await;
    super::support::poll("the revocation", || async {
        let seen = ask(&key, "main/api/bytes/8").await;
        (seen.contains("401") && seen.contains("session_revoked")).then_some(())
    })
    .await;
    assert!(cluster.recorded().is_empty());
    // It is what `finish` looks for.
    assert!(!value.is_empty());
    cluster.finish().await;
}

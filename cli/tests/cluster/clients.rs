//! Real clients, each with a placeholder or nothing: the upstream sees the credential once, in the right place.

use serde_json::{Value, json};

use super::support::{Cluster, process};

/// The value of a header in a recorded request; a header that came twice fails the test.
fn header<'a>(seen: &'a Value, name: &str) -> Option<&'a str> {
    let found: Vec<&str> = seen["headers"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|pair| pair[0].as_str().unwrap().eq_ignore_ascii_case(name))
        .map(|pair| pair[1].as_str().unwrap())
        .collect();
    assert!(found.len() <= 1, "{name} came {} times", found.len());
    found.first().copied()
}

fn only(mut seen: Vec<Value>) -> Value {
    assert_eq!(seen.len(), 1, "{seen:#?}");
    seen.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_over_http_1_and_2_holds_nothing_and_the_upstream_sees_the_credential() {
    let cluster = Cluster::start().await;
    let value = cluster.bearer_service().await;
    let session = cluster.session().await;
    for (flag, version, path) in [
        ("--http1.1", "1.1", "/bytes/64?v=1"),
        ("--http2", "2", "/bytes/64?v=2"),
    ] {
        let seen = cluster
            .curl(
                &session,
                &[
                    flag,
                    "-w",
                    "%{http_version} %{http_code}",
                    "-o",
                    "/dev/null",
                    &cluster.url(path),
                ],
            )
            .await;
        assert_eq!(seen.ok(), format!("{version} 200"));
        let seen = only(cluster.recorded_at(path));
        assert_eq!(
            header(&seen, "authorization"),
            Some(format!("Bearer {value}").as_str())
        );
        assert_eq!(header(&seen, "proxy-authorization"), None);
    }
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_agent_sends_in_the_same_place_is_replaced() {
    let cluster = Cluster::start().await;
    let value = cluster.bearer_service().await;
    let session = cluster.session().await;
    let forged = [
        "-H",
        "Authorization: Bearer forged",
        "-H",
        "Connection: authorization, keep-alive",
    ];
    cluster
        .curl(
            &session,
            &[&forged[..], &["-f", &cluster.url("/bytes/8")]].concat(),
        )
        .await
        .ok();
    let seen = only(cluster.recorded_at("/bytes/8"));
    assert_eq!(
        header(&seen, "authorization"),
        Some(format!("Bearer {value}").as_str())
    );
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_of_injecting_puts_the_value_where_it_belongs() {
    let cluster = Cluster::start().await;
    let (basic, key, query, placeholder) = (
        cluster.plain_secret("basic"),
        cluster.plain_secret("header"),
        cluster.plain_secret("query"),
        cluster.plain_secret("placeholder"),
    );
    for (name, value) in [
        ("BASIC", &basic),
        ("KEY", &key),
        ("QUERY", &query),
        ("PLACED", &placeholder),
    ] {
        cluster.credential(name, value).await;
    }
    let basic_injection = json!([{"type": "basic", "username": "robot", "credential": "BASIC"}]);
    cluster
        .service(
            "basic",
            json!({"path": "/json/basic", "inject": basic_injection}),
        )
        .await;
    let header_injection =
        json!([{"type": "header", "name": "x-api-key", "template": "token {{ KEY }}"}]);
    cluster
        .service(
            "header",
            json!({"path": "/json/header", "inject": header_injection}),
        )
        .await;
    let query_injection = json!([{"type": "query", "name": "key", "credential": "QUERY"}]);
    cluster
        .service(
            "query",
            json!({"path": "/json/query", "inject": query_injection}),
        )
        .await;
    let placeholders = json!({"credentials": ["PLACED"], "surfaces": ["header", "path", "query"]});
    cluster
        .service(
            "placed",
            json!({"path": "/json/placed/**", "placeholders": placeholders}),
        )
        .await;
    let session = cluster.session().await;

    use base64::Engine;
    let pair = |user: &str, password: &str| {
        format!(
            "Basic {}",
            base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"))
        )
    };
    cluster
        .curl(&session, &["-f", &cluster.url("/json/basic")])
        .await
        .ok();
    assert_eq!(
        header(&only(cluster.recorded_at("/json/basic")), "authorization"),
        Some(pair("robot", &basic).as_str())
    );

    cluster
        .curl(&session, &["-f", &cluster.url("/json/header")])
        .await
        .ok();
    let wanted = format!("token {key}");
    assert_eq!(
        header(&only(cluster.recorded_at("/json/header")), "x-api-key"),
        Some(wanted.as_str())
    );

    cluster
        .curl(&session, &["-f", &cluster.url("/json/query?a=1&key=mine")])
        .await
        .ok();
    let seen = only(cluster.recorded_at("/json/query"));
    assert_eq!(seen["target"], format!("/json/query?a=1&key={query}"));

    let path = "/json/placed/__PLACED__/x?q=__PLACED__";
    let arguments = [
        "-f",
        "-H",
        "X-Token: a __PLACED__ b",
        "-u",
        "me:__PLACED__",
        &cluster.url(path),
    ];
    cluster.curl(&session, &arguments).await.ok();
    let seen = only(cluster.recorded_at("/json/placed"));
    assert_eq!(
        seen["target"],
        format!("/json/placed/{placeholder}/x?q={placeholder}")
    );
    assert_eq!(
        header(&seen, "x-token"),
        Some(format!("a {placeholder} b").as_str())
    );
    assert_eq!(
        header(&seen, "authorization"),
        Some(pair("me", &placeholder).as_str())
    );
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn git_clones_and_pushes_with_a_placeholder_for_its_password() {
    let cluster = Cluster::start().await;
    cluster.credential("GIT_TOKEN", &cluster.git_password).await;
    let placeholders = json!({"credentials": ["GIT_TOKEN"], "surfaces": ["header"]});
    let more = json!({"host": "git.up.test", "path": "/git/**", "placeholders": placeholders});
    cluster.service("git", more).await;
    let session = cluster.session().await;
    let proxy = cluster.proxy(&session);
    let ca = cluster.ca().display().to_string();
    let home = cluster.path().display().to_string();
    let env = [
        ("HTTPS_PROXY", proxy.as_str()),
        ("GIT_SSL_CAINFO", &ca),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("HOME", &home),
        ("GIT_AUTHOR_NAME", "agent"),
        ("GIT_AUTHOR_EMAIL", "agent@up.test"),
        ("GIT_COMMITTER_NAME", "agent"),
        ("GIT_COMMITTER_EMAIL", "agent@up.test"),
    ];
    cluster
        .run(
            "git",
            &[
                "init",
                "-q",
                "--bare",
                "-b",
                "main",
                "upstream/git/repo.git",
            ],
            &env,
        )
        .await
        .ok();
    cluster
        .run(
            "git",
            &[
                "-C",
                "upstream/git/repo.git",
                "config",
                "http.receivepack",
                "true",
            ],
            &env,
        )
        .await
        .ok();
    let url = format!(
        "https://agent:__GIT_TOKEN__@git.up.test:{}/git/repo.git",
        cluster.ports.https
    );
    cluster
        .run("git", &["clone", "-q", &url, "work"], &env)
        .await
        .ok();
    std::fs::write(cluster.path().join("work/file"), "x".repeat(200_000)).unwrap();
    cluster
        .run("git", &["-C", "work", "add", "file"], &env)
        .await
        .ok();
    cluster
        .run("git", &["-C", "work", "commit", "-q", "-m", "a file"], &env)
        .await
        .ok();
    cluster
        .run(
            "git",
            &["-C", "work", "push", "-q", "origin", "HEAD:main"],
            &env,
        )
        .await
        .ok();
    cluster
        .run("git", &["clone", "-q", "-b", "main", &url, "again"], &env)
        .await
        .ok();
    assert_eq!(
        std::fs::read(cluster.path().join("again/file"))
            .unwrap()
            .len(),
        200_000
    );
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_requests_and_httpx_are_brokered() {
    let cluster = Cluster::start().await;
    let value = cluster.bearer_service().await;
    let session = cluster.session().await;
    let proxy = cluster.proxy(&session);
    let ca = cluster.ca().display().to_string();
    let env = [
        ("HTTPS_PROXY", proxy.as_str()),
        ("REQUESTS_CA_BUNDLE", &ca),
        ("SSL_CERT_FILE", &ca),
    ];
    let python = std::env::var("SORTIE_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    for module in ["requests", "httpx"] {
        let code = format!(
            "import {module}; r = {module}.get({:?}); print(r.status_code)",
            cluster.url(&format!("/json/{module}"))
        );
        assert_eq!(
            cluster.run(&python, &["-c", &code], &env).await.ok().trim(),
            "200"
        );
        let seen = only(cluster.recorded_at(&format!("/json/{module}")));
        assert_eq!(
            header(&seen, "authorization"),
            Some(format!("Bearer {value}").as_str())
        );
    }
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_fetch_is_brokered() {
    let cluster = Cluster::start().await;
    let value = cluster.bearer_service().await;
    let session = cluster.session().await;
    let proxy = cluster.proxy(&session);
    let ca = cluster.ca().display().to_string();
    // Node's own fetch reads proxy variables from version 22.21 on; before that, undici's agent does it.
    let modules = std::env::var("SORTIE_TEST_NODE_MODULES").unwrap_or_default();
    let env = [
        ("HTTPS_PROXY", proxy.as_str()),
        ("NODE_EXTRA_CA_CERTS", &ca),
        ("NODE_USE_ENV_PROXY", "1"),
        ("NODE_PATH", &modules),
    ];
    let code = format!(
        "const {{fetch, EnvHttpProxyAgent}} = require('undici');\
         fetch({:?}, {{dispatcher: new EnvHttpProxyAgent()}}).then(r => console.log(r.status))",
        cluster.url("/json/node"),
    );
    assert_eq!(
        cluster.run("node", &["-e", &code], &env).await.ok().trim(),
        "200"
    );
    let seen = only(cluster.recorded_at("/json/node"));
    assert_eq!(
        header(&seen, "authorization"),
        Some(format!("Bearer {value}").as_str())
    );
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn absolute_form_reaches_a_plain_upstream_and_uploads_stream() {
    let cluster = Cluster::start().await;
    let value = cluster.plain_secret("plain");
    cluster.credential("PLAIN", &value).await;
    let more = json!({
        "host": "plain.up.test", "scheme": "http", "port": cluster.ports.http,
        "inject": [{"type": "bearer", "credential": "PLAIN"}],
    });
    cluster.service("plain", more).await;
    cluster.bearer_service().await;
    let session = cluster.session().await;
    let url = format!("http://plain.up.test:{}/json/plain", cluster.ports.http);
    cluster.curl(&session, &["-f", &url]).await.ok();
    let seen = only(cluster.recorded_at("/json/plain"));
    assert_eq!(
        header(&seen, "authorization"),
        Some(format!("Bearer {value}").as_str())
    );

    let file = cluster.path().join("upload");
    std::fs::write(&file, vec![7; 20_000_000]).unwrap();
    for flag in ["--http1.1", "--http2"] {
        let upload = cluster
            .curl(
                &session,
                &[
                    flag,
                    "-f",
                    "-T",
                    &file.display().to_string(),
                    &cluster.url("/upload"),
                ],
            )
            .await
            .ok();
        assert!(upload.contains("20000000"), "{upload}");
    }
    std::fs::remove_file(file).unwrap();
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_session_costs_no_database_statement_on_the_way_of_its_requests() {
    let cluster = Cluster::start().await;
    cluster.bearer_service().await;
    let first = cluster.session().await;
    cluster
        .curl(&first, &["-f", &cluster.url("/bytes/8")])
        .await
        .ok();
    let fresh = cluster
        .api
        .mint_batch(vec![json!({"agent": "runner", "vaults": ["main"]}); 5])
        .await;
    let statements = || async {
        let text = process::get(cluster.ports.control_admin, "/metrics")
            .await
            .unwrap();
        // What runs by the clock, whoever calls, and the shipping of the journal are not the gateway's reads.
        let own = [
            "beat",
            "audit",
            "gateways.get",
            "gateways.seen",
            "gateways.locked",
            "journal",
            "sequence",
            "changes",
            "outbox",
            "listen",
            "upkeep",
            "partition",
            "poll",
        ];
        let counted: Vec<String> = text
            .lines()
            .filter(|line| line.starts_with("sortie_control_database_statements_total"))
            .filter(|line| !own.iter().any(|name| line.contains(name)))
            .map(str::to_owned)
            .collect();
        assert!(!counted.is_empty(), "no statement is counted:\n{text}");
        counted
    };
    let before = statements().await;
    for session in &fresh {
        cluster
            .curl(session, &["-f", &cluster.url("/bytes/8")])
            .await
            .ok();
    }
    assert_eq!(statements().await, before);
    cluster.finish().await;
}

//! Each refusal, as curl, git, Python and Node show it: the agent can tell what to do.

use serde_json::json;

use super::support::{Cluster, Finished, Minted};

/// What every client printed for one request.
struct Seen {
    curl: Finished,
    git: Finished,
    python: Finished,
    node: Finished,
}

async fn ask(cluster: &Cluster, proxy: &str, url: &str) -> Seen {
    ask_with(cluster, proxy, url, None).await
}

/// As [`ask`], with another `Host` than the URL's.
async fn ask_with(cluster: &Cluster, proxy: &str, url: &str, host: Option<&str>) -> Seen {
    let ca = cluster.ca().display().to_string();
    let modules = std::env::var("SORTIE_TEST_NODE_MODULES").unwrap_or_default();
    let home = cluster.path().display().to_string();
    let env = [
        ("HTTPS_PROXY", proxy),
        ("HTTP_PROXY", proxy),
        ("http_proxy", proxy),
        ("REQUESTS_CA_BUNDLE", &ca),
        ("GIT_SSL_CAINFO", &ca),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_CURL_VERBOSE", "0"),
        ("HOME", &home),
        ("NODE_EXTRA_CA_CERTS", &ca),
        ("NODE_PATH", &modules),
    ];
    let headers = host.map_or_else(|| json!({}), |host| json!({"Host": host}));
    let python_code = format!(
        "import requests\ntry:\n  r = requests.get({url:?}, headers={headers}); print(r.status_code, r.text)\nexcept Exception as e:\n  print(e)"
    );
    // `fetch` does not let its caller name the host; what is below it does.
    let node_call = match host {
        None => {
            format!("fetch({url:?}, {{dispatcher}}).then(async r => [r.status, await r.text()])")
        }
        Some(_) => format!(
            "request({url:?}, {{dispatcher, headers: {headers}}})\
             .then(async r => [r.statusCode, await r.body.text()])"
        ),
    };
    let node_code = format!(
        "const {{fetch, request, EnvHttpProxyAgent}} = require('undici');\
         const dispatcher = new EnvHttpProxyAgent();\
         {node_call}.then(seen => console.log(...seen), e => console.log(String(e), String(e.cause)))"
    );
    let python = std::env::var("SORTIE_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let header = host.map(|host| format!("Host: {host}"));
    let extra = header.as_ref().map(|it| format!("http.extraHeader={it}"));
    let mut curl = vec!["-i", url];
    let mut git = vec!["ls-remote", url];
    if let (Some(header), Some(extra)) = (&header, &extra) {
        curl.extend(["-H", header]);
        git.splice(0..0, ["-c", extra]);
    }
    Seen {
        curl: cluster.curl_through(proxy, &curl).await,
        git: cluster.run("git", &git, &env).await,
        python: cluster.run(&python, &["-c", &python_code], &env).await,
        node: cluster.run("node", &["-e", &node_code], &env).await,
    }
}

/// A refusal inside the tunnel: every client that shows an answer shows the code and what to do.
async fn inside(cluster: &Cluster, session: &Minted, url: &str, code: &str, status: u16) {
    let seen = ask(cluster, &cluster.proxy(session), url).await;
    shows(&seen, code, status);
}

fn shows(seen: &Seen, code: &str, status: u16) {
    let text = sortie_proto::code::Code::from_name(code).unwrap().text();
    for (client, finished) in [
        ("curl", &seen.curl),
        ("python", &seen.python),
        ("node", &seen.node),
    ] {
        let printed = finished.seen();
        assert!(
            printed.contains(&format!("\"{code}\"")),
            "{client} for {code}: {printed}"
        );
        assert!(
            printed.contains(&status.to_string()),
            "{client} for {code}: {printed}"
        );
        assert!(printed.contains("dec_"), "{client} for {code}: {printed}");
        let message: serde_json::Value = printed
            .find('{')
            .and_then(|at| {
                // What follows may be the client's own words.
                serde_json::Deserializer::from_str(&printed[at..])
                    .into_iter()
                    .next()?
                    .ok()
            })
            .unwrap_or_default();
        assert_eq!(
            message["message"].as_str(),
            Some(text),
            "{client}: {printed}"
        );
    }
    assert_ne!(seen.git.code, 0);
    let printed = seen.git.seen();
    assert!(
        printed.contains(&status.to_string()),
        "git for {code}: {printed}"
    );
}

/// A refusal of the CONNECT itself. Clients throw its body away; what each of them shows is the status or the reason.
fn before_the_tunnel(seen: &Seen, code: &str) {
    for (client, finished) in [("curl", &seen.curl), ("python", &seen.python)] {
        assert!(
            finished.seen().contains(code),
            "{client}: {}",
            finished.seen()
        );
    }
    for (client, finished) in [("git", &seen.git), ("python", &seen.python)] {
        assert!(
            finished.seen().contains("407"),
            "{client}: {}",
            finished.seen()
        );
    }
    assert!(
        seen.node.seen().contains("407") || seen.node.seen().contains("Proxy"),
        "node: {}",
        seen.node.seen()
    );
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_has_ended_is_refused_by_the_databases_clock() {
    let clock = super::support::clock::MovableClock::build();
    let setup = super::support::Setup {
        control_env: clock.environment(),
        ..Default::default()
    };
    let cluster = Cluster::start_with(setup).await;
    cluster.bearer_service().await;
    let session = cluster.session().await;
    let (proxy, url) = (cluster.proxy(&session), cluster.url("/bytes/8"));
    cluster.curl(&session, &["-f", &url]).await.ok();
    clock.advance_cluster(&cluster, 2 * 60 * 60).await;
    before_the_tunnel(&ask(&cluster, &proxy, &url).await, "token_expired");
    assert_eq!(cluster.recorded().len(), 1);
    clock.advance_cluster(&cluster, 0).await;
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_without_a_good_token_is_told_why() {
    let cluster = Cluster::start().await;
    cluster.bearer_service().await;
    let revoked = cluster.session().await;
    cluster.api.revoke(&revoked).await;
    let short = cluster
        .api
        .mint(json!({"agent": "runner", "vaults": ["main"]}))
        .await;
    let mut altered = short.token.clone();
    altered.replace_range(altered.len() - 4.., "AAAA");
    let port = cluster.ports.proxy;
    let cases = [
        ("token_missing", format!("http://127.0.0.1:{port}")),
        (
            "token_malformed",
            format!("http://x:nonsense@127.0.0.1:{port}"),
        ),
        (
            "token_invalid",
            format!("http://x:{altered}@127.0.0.1:{port}"),
        ),
        (
            "session_revoked",
            format!("http://x:{}@127.0.0.1:{port}", revoked.token),
        ),
    ];
    let url = cluster.url("/bytes/8");
    for (code, proxy) in cases {
        before_the_tunnel(&ask(&cluster, &proxy, &url).await, code);
    }
    assert!(cluster.recorded().is_empty(), "something was sent");
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_request_says_what_to_do() {
    let cluster = Cluster::start().await;
    cluster.bearer_service().await;
    let port = cluster.ports.https;
    // A service whose credential nobody set, one that its credential is not bound to, and a private address.
    let missing = json!({"host": "other.up.test", "path": "/missing", "inject": [{"type": "bearer", "credential": "NOT_SET"}]});
    cluster.service("missing", missing).await;
    let unbound = cluster.plain_secret("unbound");
    cluster
        .credential_for("UNBOUND", &unbound, &["elsewhere.up.test"])
        .await;
    let elsewhere = json!({"host": "other.up.test", "path": "/unbound", "inject": [{"type": "bearer", "credential": "UNBOUND"}]});
    cluster.service("unbound", elsewhere).await;
    cluster
        .service("private", json!({"host": "private.up.test"}))
        .await;
    cluster
        .service("untrusted", json!({"port": cluster.ports.untrusted}))
        .await;
    cluster
        .service(
            "narrow",
            json!({"host": "git.up.test", "path": "/only", "methods": ["POST"]}),
        )
        .await;
    let placed = cluster.plain_secret("placed");
    cluster.credential("PLACED", &placed).await;
    let placeholders = json!({"credentials": ["PLACED"], "surfaces": ["query"]});
    cluster
        .service(
            "placed",
            json!({"host": "other.up.test", "path": "/placed", "placeholders": placeholders}),
        )
        .await;
    cluster
        .service(
            "off",
            json!({"host": "other.up.test", "path": "/off", "enabled": false}),
        )
        .await;
    let session = cluster.session().await;

    let other = |path: &str| format!("https://other.up.test:{port}{path}");
    let cases = [
        ("https://unknown.up.test/".to_owned(), "host_unmatched", 403),
        (
            format!("https://git.up.test:{port}/only"),
            "request_unmatched",
            403,
        ),
        (other("/missing"), "credential_missing", 403),
        (other("/unbound"), "destination_refused", 403),
        (
            other("/placed?q=__UNKNOWN__"),
            "placeholder_unresolved",
            422,
        ),
        (other("/off"), "service_disabled", 403),
        (
            format!("https://private.up.test:{port}/"),
            "address_refused",
            403,
        ),
        (
            format!("https://api.up.test:{}/", cluster.ports.untrusted),
            "upstream_tls",
            502,
        ),
    ];
    for (url, code, status) in cases {
        inside(&cluster, &session, &url, code, status).await;
    }
    assert!(
        cluster.recorded().is_empty(),
        "something was sent: {:?}",
        cluster.recorded()
    );

    let audit = super::support::poll("the refusals in the audit log", || async {
        let entries = cluster.api.audit().await;
        let all = [
            "host_unmatched",
            "credential_missing",
            "placeholder_unresolved",
            "address_refused",
        ];
        all.iter()
            .all(|code| entries.iter().any(|entry| entry["code"] == *code))
            .then_some(entries)
    })
    .await;
    assert!(
        audit
            .iter()
            .all(|entry| !entry["url"].as_str().unwrap_or_default().contains('?')),
        "a query is audited"
    );
    cluster.finish().await;
}

/// The tenant may reach all of 127.0.0.0/8.
#[tokio::test(flavor = "multi_thread")]
async fn neither_the_node_nor_controls_feed_is_dialled() {
    let cluster = Cluster::start().await;
    let ports = cluster.ports;
    let refused = [ports.proxy, ports.gateway_admin, ports.feed];
    for port in refused {
        cluster
            .service(&format!("at-{port}"), json!({"port": port}))
            .await;
    }
    let session = cluster.session().await;
    for port in refused {
        let url = format!("https://api.up.test:{port}/");
        let answer = cluster.curl(&session, &["-i", &url]).await;
        assert!(
            answer.seen().contains("address_refused"),
            "{url}: {}",
            answer.seen()
        );
    }
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connect_and_host_must_agree_and_the_hint_must_be_a_vault_of_the_session() {
    let cluster = Cluster::start().await;
    cluster.bearer_service().await;
    cluster
        .service("other", json!({"host": "other.up.test"}))
        .await;
    let session = cluster.session().await;
    let (proxy, url) = (cluster.proxy(&session), cluster.url("/bytes/8"));
    let other = "other.up.test";
    let fronted = ask_with(&cluster, &proxy, &url, Some(other)).await;
    shows(&fronted, "authority_mismatch", 421);
    let header = format!("Host: {other}");
    let fronted = cluster
        .curl(&session, &["--http1.1", "-i", "-H", &header, &url])
        .await
        .seen();
    assert!(fronted.contains("authority_mismatch"), "{fronted}");
    assert!(cluster.recorded().is_empty(), "something was sent");
    let hint = |name: &str| {
        format!(
            "http://{}:{name}@127.0.0.1:{}",
            session.token, cluster.ports.proxy
        )
    };
    cluster
        .curl_through(&hint("main"), &["-f", &cluster.url("/bytes/8")])
        .await
        .ok();
    let wrong = ask(&cluster, &hint("other-vault"), &url).await;
    shows(&wrong, "vault_mismatch", 403);
    let user_name = format!(
        "http://{}:@127.0.0.1:{}",
        session.token, cluster.ports.proxy
    );
    cluster
        .curl_through(&user_name, &["-f", &cluster.url("/bytes/8")])
        .await
        .ok();
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_that_observes_lets_unmatched_hosts_pass_without_credentials() {
    let setup = super::support::Setup {
        mode: "observe",
        ..Default::default()
    };
    let cluster = Cluster::start_with(setup).await;
    let value = cluster.bearer_service().await;
    let session = cluster.session().await;
    let url = format!(
        "https://other.up.test:{}/json/observed",
        cluster.ports.https
    );
    cluster.curl(&session, &["-f", &url]).await.ok();
    let seen = cluster.recorded_at("/json/observed");
    assert_eq!(seen.len(), 1);
    assert!(!seen[0].to_string().contains(&value));
    super::support::poll("the passed request in the audit log", || async {
        cluster
            .api
            .audit()
            .await
            .iter()
            .any(|entry| entry["outcome"] == "passed")
            .then_some(())
    })
    .await;
    cluster
        .curl(&session, &["-f", &cluster.url("/bytes/8")])
        .await
        .ok();
    cluster.finish().await;
}

//! Upstreams that hand the credential back: it reaches no client, and lengths stay right.

use serde_json::json;

use super::support::Cluster;

#[tokio::test(flavor = "multi_thread")]
async fn an_echoed_credential_reaches_no_client_in_any_form() {
    let cluster = Cluster::start().await;
    let value = cluster.bearer_service().await;
    let session = cluster.session().await;
    let paths = [
        "/echo/header",
        "/echo/name",
        "/echo/json",
        "/echo/base64?align=0",
        "/echo/base64?align=1",
        "/echo/base64?align=2",
        "/echo/hex",
        "/echo/percent",
        "/echo/chunks?size=1",
        "/echo/chunks?size=7",
        "/echo/trailer",
    ];
    for flag in ["--http1.1", "--http2"] {
        for path in paths {
            let answer = cluster
                .curl(&session, &[flag, "-i", "-f", &cluster.url(path)])
                .await
                .ok();
            assert!(!answer.contains(&value), "{path}: {answer}");
            let lines = if path == "/echo/trailer" { 1_200 } else { 0 };
            assert_eq!(
                answer.matches("see the trailers\n").count(),
                lines,
                "{flag}"
            );
        }
    }
    // `finish` searches what curl printed for every encoding.
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_split_at_any_offset_is_masked() {
    let cluster = Cluster::start().await;
    let value = cluster.bearer_service().await;
    let session = cluster.session().await;
    let mut arguments = vec!["-f".to_owned()];
    for offset in 0..=value.len() {
        arguments.push(cluster.url(&format!("/echo/split?at={offset}")));
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    for flag in ["--http1.1", "--http2"] {
        let answer = cluster
            .curl(&session, &[&[flag], &arguments[..]].concat())
            .await
            .ok();
        let mask = "*".repeat(value.len());
        assert_eq!(answer.matches(&mask).count(), value.len() + 1, "{answer}");
    }
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_every_encoding_changes_is_masked_too() {
    let cluster = Cluster::start().await;
    let value = cluster.secret("odd");
    cluster.credential("ODD", &value).await;
    let inject = json!([{"type": "header", "name": "x-api-key", "template": "{{ ODD }}"}]);
    cluster.service("odd", json!({"inject": inject})).await;
    let session = cluster.session().await;
    for path in [
        "/echo/header",
        "/echo/json",
        "/echo/base64?align=1",
        "/echo/hex",
        "/echo/percent",
        "/json/odd",
    ] {
        cluster
            .curl(&session, &["-i", "-f", &cluster.url(path)])
            .await
            .ok();
    }
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_cannot_be_searched_are_withheld() {
    let cluster = Cluster::start().await;
    let value = cluster.bearer_service().await;
    let more = json!({"host": "api.up.test", "port": cluster.ports.malformed,
        "inject": [{"type": "bearer", "credential": "API_KEY"}]});
    cluster.service("malformed", more).await;
    let session = cluster.session().await;
    let gzip = cluster
        .curl(&session, &["-i", &cluster.url("/echo/gzip")])
        .await;
    assert!(gzip.seen().contains("response_encoded"), "{}", gzip.seen());
    let malformed = format!("https://api.up.test:{}/malformed", cluster.ports.malformed);
    let answer = cluster.curl(&session, &["-i", &malformed]).await;
    assert!(!answer.seen().contains(&value), "{}", answer.seen());
    // This one can be answered: without its reason phrase.
    let reason = format!("https://api.up.test:{}/reason", cluster.ports.malformed);
    let answer = cluster
        .curl(&session, &["--http1.1", "-i", "-f", &reason])
        .await
        .ok();
    assert!(
        answer.contains("200 OK") && !answer.contains(&value),
        "{answer}"
    );
    cluster.finish().await;
}

//! Revoking a session ends what it has open.

use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

use super::relay::surroundings;
use super::support::{Cluster, DEADLINE, Minted, poll, tunnel};

/// A curl that runs until something ends it.
fn streaming(cluster: &Cluster, session: &Minted, flag: &str, path: &str, file: &str) -> Child {
    Command::new("curl")
        .args([
            "--silent",
            "--no-buffer",
            flag,
            "--proxy",
            &cluster.proxy(session),
            "--cacert",
        ])
        .arg(cluster.ca())
        .arg("-o")
        .arg(cluster.path().join(file))
        .arg(cluster.url(path))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// The path and the code of each request that did not end well, sorted.
async fn endings(cluster: &Cluster) -> Vec<String> {
    let audit = cluster.api.audit().await;
    let host = cluster.url("");
    let ended = audit.iter().filter_map(|entry| {
        let code = entry["code"].as_str().filter(|code| !code.is_empty())?;
        let path = entry["url"].as_str()?.strip_prefix(&host)?;
        Some(format!("{path} {code}"))
    });
    let mut ended: Vec<_> = ended.collect();
    ended.sort_unstable();
    ended
}

#[tokio::test(flavor = "multi_thread")]
async fn revoking_cuts_tunnels_http_2_streams_and_event_streams() {
    let cluster = Cluster::start().await;
    cluster.bearer_service().await;
    let (session, other) = (cluster.session().await, cluster.session().await);

    let authority = format!("api.up.test:{}", cluster.ports.https);
    let (status, mut tunnel) =
        tunnel::connect(cluster.ports.proxy, &authority, &session.token).await;
    assert_eq!(status, 200);

    let mut events = streaming(
        &cluster,
        &session,
        "--http1.1",
        "/sse?n=0&interval_ms=20",
        "events",
    );
    let mut events2 = streaming(
        &cluster,
        &session,
        "--http2",
        "/sse?n=0&interval_ms=20",
        "events2",
    );
    let mut waiting = streaming(&cluster, &session, "--http2", "/slow?ms=50000", "waiting");
    let mut untouched = streaming(
        &cluster,
        &other,
        "--http2",
        "/sse?n=0&interval_ms=20",
        "untouched",
    );
    let size =
        |file: &str| std::fs::metadata(cluster.path().join(file)).map_or(0, |found| found.len());
    for file in ["events", "events2", "untouched"] {
        poll("the stream to flow", || async {
            (size(file) > 0).then_some(())
        })
        .await;
    }
    poll("the slow request", || async {
        (!cluster.recorded_at("/slow").is_empty()).then_some(())
    })
    .await;

    cluster.api.revoke(&session).await;

    for (what, child) in [
        ("events", &mut events),
        ("events over HTTP/2", &mut events2),
        ("waiting", &mut waiting),
    ] {
        let status = tokio::time::timeout(DEADLINE, child.wait()).await;
        let status = status
            .unwrap_or_else(|_| panic!("{what} is still open"))
            .unwrap();
        assert!(!status.success(), "{what} ended as if it were complete");
    }
    let end = tokio::time::timeout(DEADLINE, tunnel.read(&mut [0; 16]))
        .await
        .expect("the tunnel is cut");
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");

    assert!(
        untouched.try_wait().unwrap().is_none(),
        "another session's stream was cut"
    );
    let before = size("untouched");
    poll("the other stream to go on", || async {
        (size("untouched") > before).then_some(())
    })
    .await;
    untouched.kill().await.unwrap();
    // What was cut has the code of what cut it, and not that of a client that left.
    let end = tokio::time::Instant::now() + DEADLINE;
    let mut ended = endings(&cluster).await;
    while ended.len() < 4 && tokio::time::Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(50)).await;
        ended = endings(&cluster).await;
    }
    let expect = [
        "/slow session_revoked",
        "/sse client_gone",
        "/sse session_revoked",
        "/sse session_revoked",
    ];
    assert_eq!(ended, expect);
    let refused = cluster.curl(&session, &[&cluster.url("/bytes/8")]).await;
    assert!(refused.seen().contains("407"), "{}", refused.seen());
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn revoking_an_agent_or_a_grant_acts_on_tokens_that_are_out() {
    let cluster = Cluster::start().await;
    cluster.bearer_service().await;
    let session = cluster.session().await;
    cluster
        .curl(&session, &["-f", &cluster.url("/bytes/8")])
        .await
        .ok();

    cluster
        .api
        .delete("/v1/tenants/-/vaults/main/grants/runner")
        .await;
    poll("the grant to end", || async {
        let seen = cluster
            .curl(&session, &[&cluster.url("/bytes/8")])
            .await
            .seen();
        seen.contains("role_missing").then_some(())
    })
    .await;
    cluster
        .api
        .put(
            "/v1/tenants/-/vaults/main/grants/runner",
            json!({"role": "user"}),
        )
        .await;
    poll("the grant to act", || async {
        (cluster
            .curl(&session, &["-f", &cluster.url("/bytes/8")])
            .await
            .code
            == 0)
            .then_some(())
    })
    .await;

    cluster
        .api
        .post("/v1/tenants/-/agents/runner:revoke", json!({}))
        .await;
    poll("the agent's sessions to end", || async {
        cluster
            .curl(&session, &[&cluster.url("/bytes/8")])
            .await
            .seen()
            .contains("407")
            .then_some(())
    })
    .await;
    let fresh = cluster.session().await;
    cluster
        .curl(&fresh, &["-f", &cluster.url("/bytes/8")])
        .await
        .ok();
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn once_a_wait_is_answered_the_next_request_is_refused() {
    let cluster = Cluster::start().await;
    cluster.bearer_service().await;
    let url = cluster.url("/bytes/8");
    let own = surroundings(&cluster);
    let env: Vec<_> = own
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let mut said = String::new();
    for round in 0..10 {
        let session = cluster.session().await;
        cluster.curl(&session, &["-f", &url]).await.ok();
        let file = format!("events-{round}");
        let mut events = streaming(
            &cluster,
            &session,
            "--http1.1",
            "/sse?n=0&interval_ms=20",
            &file,
        );
        poll("events", || async {
            std::fs::metadata(cluster.path().join(&file))
                .is_ok_and(|file| file.len() > 0)
                .then_some(())
        })
        .await;
        let arguments = ["session", "revoke", &session.id, "--wait=20s"];
        let revoked = cluster
            .run(env!("CARGO_BIN_EXE_sortie"), &arguments, &env)
            .await;
        said = revoked.ok();
        // What was open is over: all that curl still has to do is to end. Its stream would go on for ever.
        let ended = tokio::time::timeout(DEADLINE, events.wait());
        let ended = ended
            .await
            .expect("the stream outlived the answer")
            .unwrap();
        assert!(!ended.success());
        // Nothing is polled: it holds already.
        let refused = cluster.curl(&session, &[&url]).await;
        assert!(refused.seen().contains("407"), "{}", refused.seen());
    }
    assert!(said.contains("enforced on 1 of 1 gateways"), "{said}");
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_session_is_the_same_session() {
    let cluster = Cluster::start().await;
    cluster.bearer_service().await;
    let session = cluster.session().await;
    let renewed = cluster
        .api
        .post(
            &format!("/v1/tenants/-/sessions/{}:renew", session.id),
            json!({}),
        )
        .await;
    assert_eq!(renewed["id"], session.id.as_str());
    let renewed = Minted {
        id: session.id.clone(),
        token: renewed["token"].as_str().unwrap().to_owned(),
    };
    cluster
        .curl(&renewed, &["-f", &cluster.url("/bytes/8")])
        .await
        .ok();
    cluster.api.revoke(&renewed).await;
    for minted in [&session, &renewed] {
        poll("both tokens to be refused", || async {
            cluster
                .curl(minted, &[&cluster.url("/bytes/8")])
                .await
                .seen()
                .contains("407")
                .then_some(())
        })
        .await;
    }
    cluster.finish().await;
}

//! Processes that stand still, run out of descriptors, panic, or are made to leave a core dump; upstreams that break off.

use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;
use tokio::net::TcpStream;

use super::invariants;
use crate::support::process::{self, Process, metric};
use crate::support::{Cluster, Setup, poll};

/// Connections that send nothing.
async fn idle(port: u16, count: usize) -> Vec<TcpStream> {
    let mut idle = Vec::new();
    for _ in 0..count {
        // The kernel accepts for a program that cannot.
        idle.push(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
    }
    idle
}

#[tokio::test(flavor = "multi_thread")]
async fn f1b_a_gateway_that_stood_still_decides_nothing_on_what_it_knew_before() {
    let cluster = Cluster::start().await;
    cluster.bearer_service().await;
    let (revoked, kept) = (cluster.session().await, cluster.session().await);
    let ask = async |session| {
        cluster
            .curl(session, &["-i", &cluster.url("/json/ask")])
            .await
    };
    assert!(ask(&revoked).await.seen().contains("200"));
    let before = cluster.recorded_at("/json/ask").len();
    cluster.gateway.signal(Signal::SIGSTOP);
    cluster
        .api
        .post(
            &format!("/v1/tenants/-/sessions/{}:revoke", revoked.id),
            json!({}),
        )
        .await;
    // Those that are asked while it stands still are the first that it decides.
    let asked: Vec<_> = (0..4).map(|_| ask(&revoked)).collect();
    let stopped = async {
        tokio::time::sleep(Duration::from_secs(12)).await;
        cluster.gateway.signal(Signal::SIGCONT);
    };
    let (answers, ()) = tokio::join!(futures_util::future::join_all(asked), stopped);
    for answer in answers {
        let seen = answer.seen();
        // Or its tunnel is cut before there is an answer.
        let closed = ["stale_lease", "session_revoked", "curl: ("]
            .iter()
            .any(|code| seen.contains(code));
        assert!(closed, "{seen}");
    }
    assert_eq!(cluster.recorded_at("/json/ask").len(), before);
    poll("a fresh lease", || async {
        ask(&kept).await.seen().contains("HTTP/2 200").then_some(())
    })
    .await;
    Box::pin(invariants::hold(cluster, &[])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f17_a_gateway_without_descriptors_closes_what_it_cannot_take_and_recovers() {
    let mut cluster = Cluster::start().await;
    cluster.bearer_service().await;
    let session = cluster.session().await;
    cluster.gateway.stop().await;
    let config = cluster.path().join("gateway.toml").display().to_string();
    cluster.gateway = Process::start_with_descriptors(
        256,
        cluster.path(),
        "gateway",
        ("sortie-gateway", &["--config".to_owned(), config]),
    );
    let admin = cluster.ports.gateway_admin;
    cluster.gateway.wait_until_ready(admin).await;
    let ask = async || {
        cluster
            .curl(&session, &["-f", &cluster.url("/bytes/8")])
            .await
    };
    ask().await.ok();
    let held = idle(cluster.ports.proxy, 400).await;
    let shed = poll("connections that are closed", || async {
        let shed = metric(admin, "sortie_gateway_connections_shed_total").await?;
        (shed > 100.0).then_some(shed)
    })
    .await;
    assert!(shed <= 400.0, "{shed}");
    assert!(process::get(admin, "/livez").await.is_some());
    // A loop that spins would count many thousands by now.
    let errors = metric(admin, "sortie_gateway_accept_errors_total")
        .await
        .unwrap();
    assert!(errors < 100.0, "{errors}");
    assert_ne!(ask().await.code, 0, "there is no descriptor for it");
    drop(held);
    poll("requests to go through again", || async {
        (ask().await.code == 0).then_some(())
    })
    .await;
    Box::pin(invariants::hold(cluster, &[])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f17_a_control_without_descriptors_still_answers_for_its_health_and_to_gateways() {
    let mut cluster = Cluster::start().await;
    cluster.bearer_service().await;
    let session = cluster.session().await;
    cluster.control.stop().await;
    let config = cluster.path().join("control.toml").display().to_string();
    cluster.control = Process::start_with_descriptors(
        256,
        cluster.path(),
        "control",
        ("sortie-control", &["--config".to_owned(), config]),
    );
    cluster
        .control
        .wait_until_ready(cluster.ports.control_admin)
        .await;
    let change = async || {
        let body = json!({"host": "other.up.test"});
        let path = "/v1/tenants/-/vaults/main/services/again";
        let made = cluster.api.try_put(path, body);
        let made = tokio::time::timeout(Duration::from_secs(5), made).await;
        made.is_ok_and(|made| made)
    };
    let held = idle(cluster.ports.api, 400).await;
    assert!(!change().await, "the API has a descriptor left");
    let ready = process::get(cluster.ports.control_admin, "/readyz").await;
    assert!(ready.is_some(), "its health is not to be asked");
    let answer = cluster
        .curl(&session, &["-f", &cluster.url("/bytes/8")])
        .await;
    assert_eq!(answer.ok(), "xxxxxxxx", "the gateway has its lease");
    drop(held);
    poll("the API to answer again", || async {
        change().await.then_some(())
    })
    .await;
    Box::pin(invariants::hold(cluster, &[])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f24_a_panic_in_a_stage_is_one_requests_end_and_is_recorded() {
    let setup = Setup {
        gateway_env: vec![("SORTIE_TEST_PANIC".to_owned(), "1".to_owned())],
        ..Setup::default()
    };
    let cluster = Cluster::start_with(setup).await;
    cluster.bearer_service().await;
    let session = cluster.session().await;
    // Before anything has left, the agent is told; behind the head of an answer, the answer breaks off.
    let stages = [
        ("decide", true),
        ("leave", true),
        ("rewrite", true),
        ("answer", true),
        ("body", false),
    ];
    for (stage, is_told) in stages {
        for version in ["--http1.1", "--http2"] {
            let panics = cluster.url(&format!("/json/panic/{stage}"));
            let fine = cluster.url("/bytes/8");
            // On one connection: what comes behind it on it is answered too.
            let answer = cluster
                .curl(&session, &["-i", version, &panics, &fine])
                .await;
            let seen = answer.seen();
            if is_told {
                assert!(
                    seen.contains(" 500") && seen.contains("internal"),
                    "{stage}: {seen}"
                );
            }
            assert!(seen.contains("xxxxxxxx"), "{stage}: {seen}");
            let alone = cluster.curl(&session, &["-f", version, &panics]).await;
            assert_ne!(alone.code, 0, "{stage}: {}", alone.seen());
        }
    }
    let panics = metric(cluster.ports.gateway_admin, "sortie_gateway_panics_total").await;
    assert_eq!(panics, Some(20.0));
    poll("every entry to be closed", || async {
        let audit = cluster.api.audit().await;
        let of_panics = audit.iter().filter(|entry| {
            let url = entry["url"].as_str().unwrap_or_default();
            url.contains("/json/panic/") && entry["code"] == "internal"
        });
        (of_panics.count() == 20).then_some(())
    })
    .await;
    Box::pin(invariants::hold(cluster, &[])).await;
}

/// What reads a file as somebody who is not root. What is not dumpable is refused to its own user, too.
fn reader(file: &str) -> Vec<&str> {
    let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    if nix::unistd::geteuid().is_root() {
        [&["setpriv"], &nobody[..], &["cat", file]].concat()
    } else {
        vec!["cat", file]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f26_an_abort_leaves_no_core_and_another_user_reads_no_memory() {
    let mut cluster = Cluster::start().await;
    cluster.bearer_service().await;
    let session = cluster.session().await;
    cluster
        .curl(&session, &["-f", &cluster.url("/bytes/8")])
        .await
        .ok();
    for process in [&cluster.gateway, &cluster.control] {
        // Dumpable processes belong to their user there; these, to nobody but root.
        let memory = format!("/proc/{}/mem", process.id());
        let maps = format!("/proc/{}/maps", process.id());
        for file in [memory, maps] {
            let reader = reader(&file);
            let read = cluster.run(reader[0], &reader[1..], &[]).await;
            assert!(read.code != 0 && read.stdout.is_empty(), "{}", read.seen());
            assert!(read.stderr.contains("Permission denied"), "{}", read.seen());
        }
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", process.id())).unwrap();
        let core = limits
            .lines()
            .find(|line| line.starts_with("Max core file size"));
        let words: Vec<_> = core.unwrap().split_whitespace().collect();
        assert_eq!(
            words[4..6],
            ["0", "0"],
            "soft and hard: nobody raises it again"
        );
        process.signal(Signal::SIGABRT);
    }
    for process in [&mut cluster.gateway, &mut cluster.control] {
        let status = process.ended().await;
        assert_eq!(status.signal(), Some(Signal::SIGABRT as i32));
        assert!(!status.core_dumped());
    }
    cluster.restart_control().await;
    cluster.restart_gateway().await;
    // With the search of all files that were left, cores among them.
    Box::pin(invariants::hold(cluster, &[])).await;
}

/// What curl says of an answer that broke off: it was partial or empty, was reset, or was an
/// error before its head had come.
const BROKEN_OFF: [i32; 6] = [18, 22, 52, 55, 56, 92];

#[tokio::test(flavor = "multi_thread")]
async fn f9_an_answer_that_breaks_off_is_seen_to_and_nothing_is_sent_twice() {
    let cluster = Cluster::start().await;
    let value = cluster.bearer_service().await;
    let inject = json!([{"type": "bearer", "credential": "API_KEY"}]);
    let raw = json!({"port": cluster.ports.malformed, "inject": inject});
    cluster.service("raw", raw).await;
    let session = cluster.session().await;
    let at = |port: u16, path: &str| format!("https://api.up.test:{port}{path}");
    let mut sent = 0;
    for round in 0..10 {
        for version in ["--http1.1", "--http2"] {
            let urls = [
                at(cluster.ports.malformed, &format!("/truncated?{round}")),
                at(cluster.ports.malformed, &format!("/reset?{round}")),
                at(
                    cluster.ports.malformed,
                    &format!("/malformed/short?{round}"),
                ),
                // Over HTTP/2 to the upstream.
                at(cluster.ports.https, &format!("/close?{round}")),
            ];
            for url in &urls {
                let answer = cluster
                    .curl(&session, &["-f", version, "-d", "once", url])
                    .await;
                let (code, seen) = (answer.code, answer.seen());
                assert!(BROKEN_OFF.contains(&code), "{url}: {code} {seen}");
                assert!(!answer.seen().contains(&value));
                sent += 1;
            }
        }
    }
    let seen = cluster.recorded().len();
    assert_eq!(seen, sent, "each reached the upstream once");
    poll("each to be recorded as what it was", || async {
        let audit = cluster.api.audit().await;
        let failed = audit.iter().filter(|entry| !entry["code"].is_null());
        (failed.count() == sent).then_some(())
    })
    .await;
    Box::pin(invariants::hold(cluster, &[])).await;
}
